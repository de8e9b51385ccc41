//! Ranges: which parts of a body a request asks for. Pure.

use http::header::HeaderMap;
use http::header::RANGE;

/// More parts than this are given as the whole, which is shorter to say.
const MOST_PARTS: usize = 16;

/// Bytes `start..end` of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// What a request for ranges comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: nothing else was asked for, or not in a way that can be followed.
    Whole,
    /// These parts: at least one, none of them empty.
    Parts(Vec<Part>),
    /// Only what is not there.
    Nothing,
}

/// What a request wants of a body of this length.
pub(crate) fn wanted(headers: &HeaderMap, len: u64) -> Wanted {
    let mut lines = headers.get_all(RANGE).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => parse(line.as_bytes(), len),
        _ => Wanted::Whole,
    }
}

fn parse(line: &[u8], len: u64) -> Wanted {
    let Some((unit, set)) = split(line, b'=') else { return Wanted::Whole };
    if !unit.trim_ascii().eq_ignore_ascii_case(b"bytes") {
        return Wanted::Whole;
    }
    let mut parts = Vec::new();
    let mut any = false;
    for spec in set.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|spec| !spec.is_empty()) {
        any = true;
        match resolve(spec, len) {
            Ok(Some(part)) => parts.push(part),
            Ok(None) => {}
            Err(NoRange) => return Wanted::Whole,
        }
        if parts.len() > MOST_PARTS {
            return Wanted::Whole;
        }
    }
    let total: u128 = parts.iter().map(|part| u128::from(part.end - part.start)).sum();
    match parts.len() {
        0 if any => Wanted::Nothing,
        0 => Wanted::Whole,
        1 => Wanted::Parts(parts),
        // Overlapping parts that add up to more than there is are no way to save anything.
        _ if total > u128::from(len) => Wanted::Whole,
        _ => Wanted::Parts(parts),
    }
}

/// What is no range at all.
struct NoRange;

/// One range; `None` if it lies beyond the end.
fn resolve(spec: &[u8], len: u64) -> Result<Option<Part>, NoRange> {
    let (first, last) = split(spec, b'-').ok_or(NoRange)?;
    match (first.trim_ascii(), last.trim_ascii()) {
        (b"", last) => {
            let suffix = number(last).ok_or(NoRange)?.min(len);
            Ok((suffix > 0).then_some(Part { start: len - suffix, end: len }))
        }
        (first, last) => {
            let start = number(first).ok_or(NoRange)?;
            let end = if last.is_empty() { u64::MAX } else { number(last).ok_or(NoRange)? };
            if end < start {
                return Err(NoRange);
            }
            Ok((start < len).then_some(Part { start, end: end.saturating_add(1).min(len) }))
        }
    }
}

fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == at)?;
    Some((&text[..at], &text[at + 1..]))
}

/// Digits; what is too large for a number is as large as can be.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: &[(u64, u64)]) -> Wanted {
        Wanted::Parts(parts.iter().map(|&(start, end)| Part { start, end }).collect())
    }

    #[test]
    fn ranges_are_resolved() {
        for (line, expected) in [
            ("bytes=0-0", parts(&[(0, 1)])),
            ("bytes=0-99", parts(&[(0, 10)])),
            ("bytes=3-", parts(&[(3, 10)])),
            ("bytes=-3", parts(&[(7, 10)])),
            ("bytes=-30", parts(&[(0, 10)])),
            ("BYTES = 2-4", parts(&[(2, 5)])),
            ("bytes=0-1,4-5", parts(&[(0, 2), (4, 6)])),
            ("bytes=0-1, ,20-", parts(&[(0, 2)])),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=99999999999999999999999999-", Wanted::Nothing),
            ("bytes=0-,0-,0-", Wanted::Whole),
            ("bytes=5-4", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=--1", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
            ("0-1", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(parse(line.as_bytes(), 10), expected, "{line}");
        }
        assert_eq!(parse(b"bytes=0-0", 0), Wanted::Nothing);
        assert_eq!(parse(b"bytes=0-,0-", u64::MAX), Wanted::Whole);
        let many: Vec<String> = (0..40).step_by(2).map(|n| format!("{n}-{n}")).collect();
        assert_eq!(parse(format!("bytes={}", many.join(",")).as_bytes(), 1000), Wanted::Whole);
    }
}
