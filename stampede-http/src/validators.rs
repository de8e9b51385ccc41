//! Validators: `ETag` and `Last-Modified`, and the conditions that requests make of them. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, SystemTime};

use http::header::{DATE, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED};

use crate::control::{date, items};

/// An entity tag: what is between its quotes, and whether it stands for equal bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntityTag<'a> {
    pub(crate) weak: bool,
    pub(crate) text: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads one; `None` if it is none.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let (weak, rest) = match text.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let text = rest.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let is_tag = text.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..));
        is_tag.then_some(Self { weak, text })
    }

    fn strong_eq(self, other: Self) -> bool {
        !self.weak && self == other
    }
}

/// Whether the condition of a request finds the response unchanged: the answer is a 304.
///
/// `If-None-Match` goes before `If-Modified-Since`; what cannot be read is no condition.
pub(crate) fn is_unchanged(request: &HeaderMap, response: &HeaderMap) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let own = response.get(ETAG).and_then(|tag| EntityTag::parse(tag.as_bytes()));
        return request.get_all(IF_NONE_MATCH).iter().any(|line| {
            items(line.as_bytes()).any(|item| {
                item == b"*" || own.is_some_and(|own| EntityTag::parse(item).is_some_and(|tag| tag.text == own.text))
            })
        });
    }
    let dates = |name, headers: &HeaderMap| headers.get(name).and_then(date);
    match (dates(IF_MODIFIED_SINCE, request), dates(LAST_MODIFIED, response)) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// Whether `If-Range` allows for a part of the response: without it, any part may be given.
pub(crate) fn allows_part(request: &HeaderMap, response: &HeaderMap) -> bool {
    let Some(condition) = request.get(IF_RANGE) else { return true };
    if let Some(tag) = EntityTag::parse(condition.as_bytes()) {
        let own = response.get(ETAG).and_then(|own| EntityTag::parse(own.as_bytes()));
        return own.is_some_and(|own| own.strong_eq(tag));
    }
    let Some(modified) = response.get(LAST_MODIFIED).and_then(date) else { return false };
    // A date tells equal bytes only if there was time enough for the clock to move on.
    let now = response.get(DATE).map_or_else(|| Some(SystemTime::now()), date);
    now.is_some_and(|now| older_by_a_minute(modified, now)) && date(condition) == Some(modified)
}

fn older_by_a_minute(modified: SystemTime, now: SystemTime) -> bool {
    now.duration_since(modified).is_ok_and(|age| age >= Duration::from_mins(1))
}

/// A strong tag for these bytes.
pub(crate) fn generate<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Option<HeaderValue> {
    // How the bytes are cut leaves no trace.
    let mut hasher = DefaultHasher::new();
    let mut len = 0;
    for chunk in chunks {
        hasher.write(chunk);
        len += chunk.len();
    }
    len.hash(&mut hasher);
    HeaderValue::from_str(&format!("\"{len:x}-{:016x}\"", hasher.finish())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn tags_are_read() {
        let tag = |weak, text: &'static str| Some(EntityTag { weak, text: text.as_bytes() });
        for (text, expected) in [
            ("\"a\"", tag(false, "a")),
            ("W/\"a\"", tag(true, "a")),
            ("\"\"", tag(false, "")),
            ("\"a,b\"", tag(false, "a,b")),
            ("w/\"a\"", None),
            ("\"", None),
            ("a", None),
            ("\"a", None),
            ("\"a b\"", None),
            ("\"a\"b\"", None),
            ("", None),
        ] {
            assert_eq!(EntityTag::parse(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn conditions_are_judged() {
        let response = headers(&[(ETAG, "\"v,1\""), (LAST_MODIFIED, "Sun, 06 Nov 1994 08:49:37 GMT")]);
        for (request, unchanged) in [
            (&[][..], false),
            (&[(IF_NONE_MATCH, "\"v,1\"")], true),
            (&[(IF_NONE_MATCH, "W/\"v,1\"")], true),
            (&[(IF_NONE_MATCH, "\"x\", \"v,1\"")], true),
            (&[(IF_NONE_MATCH, "*")], true),
            (&[(IF_NONE_MATCH, "\"v\"")], false),
            (&[(IF_NONE_MATCH, "v,1")], false),
            (&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT")], false),
            (&[(IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT")], true),
            (&[(IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:36 GMT")], false),
            (&[(IF_MODIFIED_SINCE, "yesterday")], false),
        ] {
            assert_eq!(is_unchanged(&headers(request), &response), unchanged, "{request:?}");
        }
    }

    #[test]
    fn a_part_is_given_of_what_is_surely_the_same() {
        let response = headers(&[
            (ETAG, "\"v1\""),
            (LAST_MODIFIED, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (DATE, "Sun, 06 Nov 1994 09:49:37 GMT"),
        ]);
        let young = headers(&[
            (ETAG, "W/\"v1\""),
            (LAST_MODIFIED, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (DATE, "Sun, 06 Nov 1994 08:49:38 GMT"),
        ]);
        for (request, of_old, of_young) in [
            (&[][..], true, true),
            (&[(IF_RANGE, "\"v1\"")], true, false),
            (&[(IF_RANGE, "W/\"v1\"")], false, false),
            (&[(IF_RANGE, "\"v2\"")], false, false),
            (&[(IF_RANGE, "Sun, 06 Nov 1994 08:49:37 GMT")], true, false),
            (&[(IF_RANGE, "Sun, 06 Nov 1994 08:49:38 GMT")], false, false),
            (&[(IF_RANGE, "nonsense")], false, false),
        ] {
            let request = headers(request);
            assert_eq!([&response, &young].map(|of| allows_part(&request, of)), [of_old, of_young], "{request:?}");
        }
    }

    #[test]
    fn a_generated_tag_goes_by_the_bytes_alone() {
        let tag = |chunks: &[&[u8]]| generate(chunks.iter().copied());
        assert_eq!(tag(&[b"ab", b"c"]), tag(&[b"a", b"bc"]));
        assert_ne!(tag(&[b"abc"]), tag(&[b"abd"]));
        assert!(EntityTag::parse(tag(&[b"abc"]).expect("a tag").as_bytes()).is_some_and(|tag| !tag.weak));
    }
}
