//! What the headers of a request ask for, as far as it matters here. Pure.

use http::header::{CONNECTION, HeaderMap, HeaderName};

use crate::control::items;

/// Read in one pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each stands for headers of its own")]
pub(crate) struct Asks {
    /// For another protocol.
    pub(crate) upgrade: bool,
    /// `If-Match`, `If-Unmodified-Since`: the handler's to judge.
    pub(crate) preconditions: bool,
    /// For a part, or only for what has changed.
    pub(crate) conditions: bool,
    /// It says who asks, and the key does not.
    pub(crate) credentials: bool,
}

impl Asks {
    /// `keyed`: the headers that are a part of the key.
    pub(crate) fn read(headers: &HeaderMap, keyed: &[HeaderName]) -> Self {
        let mut asks = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "upgrade" => asks.upgrade = true,
                "connection" => asks.upgrade |= names_upgrade(headers),
                "if-match" | "if-unmodified-since" => asks.preconditions = true,
                "if-none-match" | "if-modified-since" | "range" | "if-range" => asks.conditions = true,
                "authorization" | "cookie" | "proxy-authorization" => asks.credentials |= !keyed.contains(name),
                _ => {}
            }
        }
        asks
    }
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(CONNECTION).iter();
    lines.any(|line| items(line.as_bytes()).any(|item| item.eq_ignore_ascii_case(b"upgrade")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn each_header_asks_for_its_own() {
        let none = Asks::default();
        for (lines, asks) in [
            (&[("accept", "*/*"), ("host", "one")][..], none),
            (&[("connection", "keep-alive")], none),
            (&[("connection", "keep-alive, Upgrade")], Asks { upgrade: true, ..none }),
            (&[("connection", "close"), ("connection", "upgrade")], Asks { upgrade: true, ..none }),
            (&[("upgrade", "h2c")], Asks { upgrade: true, ..none }),
            (&[("if-match", "*")], Asks { preconditions: true, ..none }),
            (&[("if-unmodified-since", "x")], Asks { preconditions: true, ..none }),
            (&[("if-none-match", "*")], Asks { conditions: true, ..none }),
            (&[("if-modified-since", "x")], Asks { conditions: true, ..none }),
            (&[("range", "bytes=0-"), ("if-range", "x")], Asks { conditions: true, ..none }),
            (&[("authorization", "x")], Asks { credentials: true, ..none }),
            (&[("proxy-authorization", "x")], Asks { credentials: true, ..none }),
            (&[("cookie", "x")], none),
            (&[("cookie", "x"), ("authorization", "x")], Asks { credentials: true, ..none }),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(Asks::read(&headers, &[http::header::COOKIE]), asks, "{lines:?}");
        }
    }
}
