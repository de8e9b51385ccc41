//! Durations as people write them: `"5s"`, `"1m 30s"`, `"250ms"`.

use std::time::Duration;

const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 60 * 60 * 1_000_000_000),
    ("d", 24 * 60 * 60 * 1_000_000_000),
];

/// Reads a duration: numbers with units, largest first or not, with or without spaces between.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("an empty duration: write a number and a unit, as in \"5s\"".to_owned());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (digits, after) = split(rest, |c| c.is_ascii_digit());
        if digits.is_empty() {
            return Err(format!("`{text}` is no duration: write numbers with units, as in \"5s\" or \"1m 30s\""));
        }
        let (unit, after) = split(after.trim_start(), char::is_alphabetic);
        let Some((_, nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(if unit.is_empty() {
                format!("`{digits}` has no unit: write ns, us, ms, s, m, h or d, as in \"{digits}s\"")
            } else {
                format!("`{unit}` is no unit of time: write ns, us, ms, s, m, h or d, as in \"{digits}s\"")
            });
        };
        let too_long = || format!("`{text}` is too long a duration");
        let number: u64 = digits.parse().map_err(|_| too_long())?;
        let part = Duration::from_nanos(*nanos);
        let part = u32::try_from(number).ok().and_then(|number| part.checked_mul(number)).ok_or_else(too_long)?;
        total = total.checked_add(part).ok_or_else(too_long)?;
        rest = after.trim_start();
    }
    Ok(total)
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_with_units() {
        for (text, millis) in [
            ("5s", 5_000),
            ("250ms", 250),
            ("1m 30s", 90_000),
            ("1m30s", 90_000),
            ("2 h", 7_200_000),
            ("1d", 86_400_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse("7us 3ns"), Ok(Duration::from_nanos(7_003)));
    }

    #[test]
    fn says_what_to_write_instead() {
        for (text, says) in [
            ("", "an empty duration"),
            ("5", "`5` has no unit"),
            ("5 parsecs", "`parsecs` is no unit of time"),
            ("s", "`s` is no duration"),
            ("-5s", "`-5s` is no duration"),
            ("1.5s", "`1` has no unit"),
            ("99999999999999999999s", "too long"),
            ("4294967295d 4294967295d", ""),
        ] {
            match parse(text) {
                Err(message) => assert!(message.contains(says) && !says.is_empty(), "{text}: {message}"),
                Ok(_) => assert!(says.is_empty(), "{text} was read"),
            }
        }
    }
}
