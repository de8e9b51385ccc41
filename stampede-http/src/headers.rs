//! Which headers of a response reach whom. Pure.

use http::header::{CONNECTION, HeaderMap, HeaderName};

use crate::control::items;
use crate::patterns::Patterns;

/// Headers of a connection, not of a response; and those that concern one caller whatever the application says.
const NEVER: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "te",
    "transfer-encoding",
    "upgrade",
    "cache-status",
    "set-cookie",
    "set-cookie2",
];

/// Headers that concern one caller only, unless the application has a list of its own. A `*` stands for any end.
pub(crate) const PERSONAL: [&str; 8] = [
    "x-ratelimit-*",
    "ratelimit*",
    "x-request-id",
    "request-id",
    "x-correlation-id",
    "x-trace-id",
    "traceparent",
    "server-timing",
];

/// The headers that others than the first caller get as well: those that are end-to-end and not personal. Repeated lines
/// stay repeated, in their order.
pub(crate) fn shareable(headers: &HeaderMap, personal: &Patterns) -> HeaderMap {
    let of_connection = |name: &HeaderName| {
        NEVER.contains(&name.as_str())
            || headers
                .get_all(CONNECTION)
                .iter()
                .any(|line| items(line.as_bytes()).any(|item| item.eq_ignore_ascii_case(name.as_str().as_bytes())))
    };
    let mut shareable = HeaderMap::with_capacity(headers.keys_len() + 2);
    for name in headers.keys() {
        if of_connection(name) || personal.contain(name.as_str()) {
            continue;
        }
        for value in headers.get_all(name) {
            shareable.append(name, value.clone());
        }
    }
    shareable
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_concerns_a_connection_or_a_caller_stays_with_it() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "text/plain"),
            ("link", "<a>"),
            ("link", "<b>"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("set-cookie", "id=1"),
            ("set-cookie", "id=2"),
            ("x-ratelimit-remaining", "3"),
            ("ratelimit", "3"),
            ("x-request-id", "abc"),
            ("cache-status", "inner; hit"),
            ("etag", "\"v\""),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let shared = shareable(&headers, &Patterns::of_names(PERSONAL));
        let lines: Vec<_> =
            shared.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
        assert_eq!(lines, ["content-type: text/plain", "link: <a>", "link: <b>", "etag: \"v\""]);
    }

    #[test]
    fn cookies_concern_one_caller_whatever_the_list_says() {
        let mut headers = HeaderMap::new();
        for name in ["set-cookie", "set-cookie2", "x-mine", "x-request-id"] {
            headers.append(name, HeaderValue::from_static("1"));
        }
        let shared = shareable(&headers, &Patterns::of_names(["x-mine"]));
        assert_eq!(shared.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-request-id"]);
    }

    #[test]
    fn a_list_of_names_takes_the_place_of_the_usual_one() {
        let names = Patterns::of_names(["X-Mine", "x-my-*"]);
        for (name, contained) in [("x-mine", true), ("x-mine-too", false), ("x-my-own", true), ("x-request-id", false)]
        {
            assert_eq!(names.contain(name), contained, "{name}");
        }
    }
}
