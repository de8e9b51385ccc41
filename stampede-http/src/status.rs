//! `Cache-Status` (RFC 9211): what the cache did with a request. Pure.

use std::fmt::Write as _;

use http::HeaderValue;

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    /// From the store; the seconds for which that is still fresh, less than none if it is stale.
    Hit { ttl: Option<i64> },
    /// By the handler.
    Forward { why: Why, stored: bool },
    /// By a run that another request had started.
    Collapse { stored: bool },
}

/// Why a request went to the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// There was no response that could be used.
    Miss,
    /// The layer is not to look at it, or it is personal.
    Bypass,
    /// Its method is not one that is answered from the store.
    Method,
}

impl Did {
    /// The header's value, of the cache that goes by this name.
    pub(crate) fn to_header(self, cache: &str) -> Option<HeaderValue> {
        let mut text = member(cache);
        // Writing to a string does not fail.
        let _ = match self {
            Self::Hit { ttl: None } => write!(text, "; hit"),
            Self::Hit { ttl: Some(ttl) } => write!(text, "; hit; ttl={ttl}"),
            Self::Forward { why, stored } => {
                let why = match why {
                    Why::Miss => "miss",
                    Why::Bypass => "bypass",
                    Why::Method => "method",
                };
                write!(text, "; fwd={why}{}", if stored { "; stored" } else { "" })
            }
            Self::Collapse { stored } => {
                write!(text, "; fwd=miss; collapsed{}", if stored { "; stored" } else { "" })
            }
        };
        HeaderValue::from_str(&text).ok()
    }

    /// The same in one word, for those who like it short.
    pub(crate) fn word(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hit { ttl: Some(..0) } => "STALE",
            Self::Hit { .. } => "HIT",
            Self::Forward { why: Why::Miss, .. } => "MISS",
            Self::Forward { .. } => "BYPASS",
            Self::Collapse { .. } => "COLLAPSED",
        })
    }
}

/// A name as a member of a structured list: a token if it is one, else a string without what a string cannot hold.
fn member(name: &str) -> String {
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*');
    if starts && name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c)) {
        return name.to_owned();
    }
    let mut text = String::from("\"");
    for c in name.chars().filter(|c| (' '..='~').contains(c)) {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_header() {
        for (did, text, word) in [
            (Did::Hit { ttl: Some(4) }, "app; hit; ttl=4", "HIT"),
            (Did::Hit { ttl: Some(-3) }, "app; hit; ttl=-3", "STALE"),
            (Did::Hit { ttl: None }, "app; hit", "HIT"),
            (Did::Forward { why: Why::Miss, stored: true }, "app; fwd=miss; stored", "MISS"),
            (Did::Forward { why: Why::Miss, stored: false }, "app; fwd=miss", "MISS"),
            (Did::Forward { why: Why::Bypass, stored: false }, "app; fwd=bypass", "BYPASS"),
            (Did::Forward { why: Why::Method, stored: false }, "app; fwd=method", "BYPASS"),
            (Did::Collapse { stored: true }, "app; fwd=miss; collapsed; stored", "COLLAPSED"),
        ] {
            assert_eq!(did.to_header("app").expect("a value"), text);
            assert_eq!(did.word(), word);
        }
    }

    #[test]
    fn any_name_is_a_member() {
        for (name, text) in [
            ("stampede", "stampede"),
            ("my cache", "\"my cache\""),
            ("9", "\"9\""),
            ("a\"b\\c\u{7f}ü", "\"a\\\"b\\\\c\""),
            ("", "\"\""),
        ] {
            assert_eq!(member(name), text);
        }
    }
}
