//! What a response says about its own use: `Cache-Control`, `Expires`, `Vary`.
//!
//! Pure, and strict where the text is not: a lifetime that cannot be read is none, of two that contradict each other the
//! shorter holds, and `private="…"` or `no-cache="…"` count as if they named no field.

use std::time::{Duration, SystemTime};

use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderMap, HeaderName, HeaderValue, VARY};

/// Lifetimes beyond this are this, as the RFC has it.
const LONGEST: u64 = 1 << 31;

/// The directives of a response that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "directives stand for themselves")]
pub(crate) struct Control {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) private: bool,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) s_maxage: Option<Duration>,
    pub(crate) stale_while_revalidate: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
}

impl Control {
    /// Reads all `Cache-Control` lines of a response.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            for item in items(line.as_bytes()) {
                control.add(item);
                // A quote that is not closed hides nothing.
                if is_open(item) {
                    item.split(|byte| *byte == b',').for_each(|part| control.add(part.trim_ascii()));
                }
            }
        }
        control
    }

    fn add(&mut self, item: &[u8]) {
        let (name, value) = match item.iter().position(|byte| *byte == b'=') {
            Some(at) => (item[..at].trim_ascii_end(), Some(item[at + 1..].trim_ascii())),
            None => (item, None),
        };
        let lifetime = |before: &mut Option<Duration>| {
            let seconds = seconds(value.unwrap_or_default());
            *before = Some(before.map_or(seconds, |before| before.min(seconds)));
        };
        match name.to_ascii_lowercase().as_slice() {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache = true,
            b"private" => self.private = true,
            b"public" => self.public = true,
            b"must-revalidate" | b"proxy-revalidate" => self.must_revalidate = true,
            b"max-age" => lifetime(&mut self.max_age),
            b"s-maxage" => {
                self.must_revalidate = true;
                lifetime(&mut self.s_maxage);
            }
            b"stale-while-revalidate" => lifetime(&mut self.stale_while_revalidate),
            b"stale-if-error" => lifetime(&mut self.stale_if_error),
            _ => {}
        }
    }

    /// How long the response says that it is fresh, from `now`, if it says so at all.
    pub(crate) fn lifetime(&self, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
        let stated = self.s_maxage.or(self.max_age).or_else(|| expires(headers, now))?;
        Some(stated.saturating_sub(age(headers)))
    }
}

/// What `Age` says: the time that a response has spent in caches before this one.
pub(crate) fn age(headers: &HeaderMap) -> Duration {
    headers.get(AGE).map_or(Duration::ZERO, |age| seconds(age.as_bytes().trim_ascii()))
}

/// The lifetime that `Expires` gives; none at all if it is no date.
fn expires(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let expires = headers.get(EXPIRES)?;
    let from = headers.get(DATE).and_then(date).unwrap_or(now);
    Some(date(expires).and_then(|end| end.duration_since(from).ok()).unwrap_or_default())
}

pub(crate) fn date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// A number of seconds, perhaps quoted; none if it is no number.
fn seconds(text: &[u8]) -> Duration {
    let text = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Duration::ZERO;
    }
    let number = text.iter().fold(0u64, |number, digit| (number * 10 + u64::from(digit - b'0')).min(LONGEST));
    Duration::from_secs(number)
}

/// Where in a text with quoted strings one is.
#[derive(Default)]
struct Quotes {
    quoted: bool,
    escaped: bool,
}

impl Quotes {
    fn pass(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.quoted => self.escaped = true,
            b'"' => self.quoted = !self.quoted,
            _ => {}
        }
    }
}

/// Whether a quoted string begins here that does not end.
fn is_open(item: &[u8]) -> bool {
    let mut quotes = Quotes::default();
    for byte in item {
        quotes.pass(*byte);
    }
    quotes.quoted
}

/// The members of a comma-separated list, without what is empty. Commas in quoted strings separate nothing.
pub(crate) fn items(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let list = rest?;
        let mut quotes = Quotes::default();
        let end = list.iter().position(|byte| {
            quotes.pass(*byte);
            *byte == b',' && !quotes.quoted
        });
        let (item, left) = match end {
            Some(end) => (&list[..end], Some(&list[end + 1..])),
            None => (list, None),
        };
        rest = left;
        Some(item.trim_ascii())
    })
    .filter(|item| !item.is_empty())
}

/// Whether a response differs by something outside these headers of its request, as far as `Vary` says.
pub(crate) fn varies_beyond(headers: &HeaderMap, known: &[HeaderName]) -> bool {
    let is_known = |item: &[u8]| known.iter().any(|name| name.as_str().as_bytes().eq_ignore_ascii_case(item));
    headers.get_all(VARY).iter().any(|line| items(line.as_bytes()).any(|item| !is_known(item)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_str(line).expect("a value"));
        }
        headers
    }

    fn control(lines: &[&str]) -> Control {
        Control::read(&with(&CACHE_CONTROL, lines))
    }

    #[test]
    fn directives_are_read_whatever_their_spelling() {
        for (lines, expected) in [
            (&["no-store"][..], Control { no_store: true, ..Control::default() }),
            (&["NO-STORE , Private"], Control { no_store: true, private: true, ..Control::default() }),
            (&["public", "no-cache"], Control { public: true, no_cache: true, ..Control::default() }),
            (&["private=\"x, y\", public"], Control { private: true, public: true, ..Control::default() }),
            (&["extension=\"no-store, private\""], Control::default()),
            (&["extension=\"a\\\", no-store\""], Control::default()),
            (&["extension=\"no-store, private"], Control { private: true, ..Control::default() }),
            (&["extension=\"a\\\", no-store"], Control { no_store: true, ..Control::default() }),
            (&["", ",, ,"], Control::default()),
            (&["max-age=60"], Control { max_age: Some(Duration::from_mins(1)), ..Control::default() }),
            (&["max-age=\"60\""], Control { max_age: Some(Duration::from_mins(1)), ..Control::default() }),
            (&["max-age = 60"], Control { max_age: Some(Duration::from_mins(1)), ..Control::default() }),
            (&["max-age=60, max-age=5"], Control { max_age: Some(Duration::from_secs(5)), ..Control::default() }),
            (&["max-age=-1"], Control { max_age: Some(Duration::ZERO), ..Control::default() }),
            (&["max-age=1e3"], Control { max_age: Some(Duration::ZERO), ..Control::default() }),
            (&["max-age"], Control { max_age: Some(Duration::ZERO), ..Control::default() }),
            (
                &["max-age=99999999999999999999999999"],
                Control { max_age: Some(Duration::from_secs(LONGEST)), ..Control::default() },
            ),
        ] {
            assert_eq!(control(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_lifetime_is_that_of_shared_caches_less_the_age() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        for (lines, expected) in [
            (&[("cache-control", "max-age=60")][..], Some(60)),
            (&[("cache-control", "max-age=60, s-maxage=7")], Some(7)),
            (&[("cache-control", "max-age=0, s-maxage=7")], Some(7)),
            (&[("cache-control", "max-age=60"), ("age", "50")], Some(10)),
            (&[("cache-control", "max-age=60"), ("age", "70")], Some(0)),
            (&[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], Some(60)),
            (&[("expires", "Sun, 06 Nov 1994 08:50:37 GMT"), ("date", "Sun, 06 Nov 1994 08:50:30 GMT")], Some(7)),
            (&[("expires", "Sun, 06 Nov 1994 08:50:37 GMT"), ("cache-control", "max-age=3")], Some(3)),
            (&[("expires", "Sun, 06 Nov 1994 08:40:37 GMT")], Some(0)),
            (&[("expires", "0")], Some(0)),
            (&[("cache-control", "public")], None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            let lifetime = Control::read(&headers).lifetime(&headers, now);
            assert_eq!(lifetime, expected.map(Duration::from_secs), "{lines:?}");
        }
    }

    #[test]
    fn what_varies_beyond_the_key_is_told() {
        let known = [http::header::ACCEPT_LANGUAGE];
        for (lines, beyond) in [
            (&[][..], false),
            (&[""], false),
            (&["accept-language"], false),
            (&["Accept-Language"], false),
            (&["Accept-Language, Cookie"], true),
            (&["Accept-Language", "cookie"], true),
            (&["*"], true),
            (&["not a header name"], true),
        ] {
            assert_eq!(varies_beyond(&with(&VARY, lines), &known), beyond, "{lines:?}");
        }
    }
}
