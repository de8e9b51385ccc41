//! What a response may be used for, by its head. Pure.
//!
//! 1. A 206 or 304 answers what its own request asked, and a 101 is no response at all: it is for its caller alone.
//! 2. So is one that is personal, by `private`, `no-store`, `no-cache`, `Set-Cookie`, a `Vary` on what the key leaves out,
//!    or an `Access-Control-Allow-Origin` for one origin while the key leaves out `Origin`; and an endless one
//!    (`text/event-stream`, `multipart/x-mixed-replace`), or one that declares more than `max_body`. The URL is remembered.
//! 3. A 5xx is a failure, unless the application gives its status a TTL: it is shared with those who wait for it.
//! 4. Everything else is shared, and stored for the TTL of its status, unless the handler says otherwise, and for no longer
//!    than its headers allow.

use std::time::{Duration, SystemTime};

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, HeaderMap, SET_COOKIE,
};
use http::{StatusCode, response};

use crate::config::Config;
use crate::control::{Control, varies_beyond};

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// For the caller whose run it is.
    Exclusive {
        /// Whether the URL is remembered.
        remembered: bool,
    },
    /// For all who wait.
    Shared(Terms),
}

/// How a response is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Zero: not at all.
    pub(crate) ttl: Duration,
    /// How long its headers say that it is fresh, from now on: a body that takes its time uses that up.
    pub(crate) lifetime: Duration,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) public: bool,
    /// It counts as an error.
    pub(crate) failure: bool,
}

impl Terms {
    /// Whether it is going to be stored.
    pub(crate) fn stored(&self) -> bool {
        !self.failure && !self.ttl.is_zero()
    }
}

/// `said`: the TTL by what the handler has said about it, if it has; zero if it is not to be stored. `len`: the
/// length of the body, as far as it is known beforehand.
pub(crate) fn judge(head: &response::Parts, config: &Config, said: Option<Duration>, len: Option<u64>) -> Verdict {
    let (status, headers) = (head.status, &head.headers);
    if matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED) || status.is_informational() {
        return Verdict::Exclusive { remembered: false };
    }
    let control = Control::read(headers);
    let by_status = config.ttl_of(status);
    let failure = status.is_server_error() && by_status.is_none_or(|ttl| ttl.is_zero());
    let too_large = len.is_some_and(|len| len > config.max_body as u64);
    if is_personal(&control, headers, config) || is_endless(headers) || too_large {
        // A failure says nothing about what the URL is like.
        return Verdict::Exclusive { remembered: !failure };
    }
    let ttl = match (said, by_status) {
        (_, None) => Duration::ZERO,
        (Some(said), Some(_)) => said,
        (None, Some(ttl)) => ttl,
    };
    let lifetime = control.lifetime(headers, SystemTime::now()).unwrap_or(Duration::MAX);
    let window = |stated: Option<Duration>| match stated {
        _ if control.must_revalidate => Duration::ZERO,
        Some(stated) => stated,
        None => Duration::MAX,
    };
    Verdict::Shared(Terms {
        ttl: ttl.min(lifetime),
        lifetime,
        stale_while_revalidate: window(control.stale_while_revalidate),
        stale_if_error: window(control.stale_if_error),
        public: control.public,
        failure,
    })
}

fn is_personal(control: &Control, headers: &HeaderMap, config: &Config) -> bool {
    let origin = headers.get(ACCESS_CONTROL_ALLOW_ORIGIN);
    let for_one_origin =
        origin.is_some_and(|origin| origin != "*") || headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS);
    control.private
        || control.no_store
        || control.no_cache
        || headers.contains_key(SET_COOKIE)
        || varies_beyond(headers, &config.vary_on)
        || for_one_origin && !config.key_has_origin()
}

fn is_endless(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        [&b"text/event-stream"[..], b"multipart/x-mixed-replace"]
            .iter()
            .any(|endless| kind.trim_ascii().eq_ignore_ascii_case(endless))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, Response};

    const TTL: Duration = Duration::from_mins(1);

    fn verdict(config: &Config, status: u16, lines: &[(&str, &str)], said: Option<Duration>) -> Verdict {
        let mut response = Response::builder().status(status);
        for (name, value) in lines {
            response = response.header(*name, *value);
        }
        judge(&response.body(()).expect("a response").into_parts().0, config, said, None)
    }

    fn ttl(verdict: Verdict) -> Option<Duration> {
        match verdict {
            Verdict::Shared(terms) => Some(terms.ttl),
            Verdict::Exclusive { .. } => None,
        }
    }

    #[test]
    fn personal_responses_are_exclusive_and_remembered() {
        let config = Config::new(TTL);
        for line in [
            ("cache-control", "private"),
            ("cache-control", "no-store"),
            ("cache-control", "no-cache"),
            ("cache-control", "public, private=\"x\""),
            ("set-cookie", "id=1"),
            ("vary", "*"),
            ("vary", "accept-language"),
            ("access-control-allow-origin", "https://a.example"),
            ("access-control-allow-credentials", "true"),
            ("content-type", "text/event-stream; charset=utf-8"),
            ("content-type", "multipart/x-mixed-replace;boundary=x"),
        ] {
            assert_eq!(verdict(&config, 200, &[line], None), Verdict::Exclusive { remembered: true }, "{line:?}");
            assert_eq!(verdict(&config, 503, &[line], None), Verdict::Exclusive { remembered: false }, "{line:?}");
        }
        let large = judge(&Response::new(()).into_parts().0, &config, None, Some(99_999_999));
        assert_eq!(large, Verdict::Exclusive { remembered: true });
        for status in [101, 206, 304] {
            assert_eq!(verdict(&config, status, &[], None), Verdict::Exclusive { remembered: false }, "{status}");
        }
    }

    #[test]
    fn what_the_key_includes_may_vary() {
        let mut config = Config::new(TTL);
        config.vary_on = ["accept-language", "origin"].map(HeaderName::from_static).into();
        for line in [("vary", "Accept-Language, Origin"), ("access-control-allow-origin", "https://a.example")] {
            assert_eq!(ttl(verdict(&config, 200, &[line], None)), Some(TTL), "{line:?}");
        }
    }

    #[test]
    fn a_response_can_only_be_stricter_than_the_layer() {
        let config = Config::new(TTL);
        let secs = Duration::from_secs;
        for (line, expected) in [
            (("cache-control", "public"), TTL),
            (("cache-control", "max-age=5"), secs(5)),
            (("cache-control", "max-age=500"), TTL),
            (("cache-control", "max-age=0"), secs(0)),
            (("cache-control", "max-age=5, s-maxage=20"), secs(20)),
            (("expires", "0"), secs(0)),
            (("access-control-allow-origin", "*"), TTL),
        ] {
            assert_eq!(ttl(verdict(&config, 200, &[line], None)), Some(expected), "{line:?}");
        }
        assert_eq!(ttl(verdict(&config, 200, &[], Some(secs(500)))), Some(secs(500)), "the handler's own word");
        assert_eq!(ttl(verdict(&config, 200, &[("cache-control", "max-age=5")], Some(secs(500)))), Some(secs(5)));
        assert_eq!(ttl(verdict(&config, 200, &[], Some(secs(0)))), Some(secs(0)));
    }

    #[test]
    fn windows_are_no_longer_than_a_response_allows() {
        let config = Config::new(TTL);
        let windows = |line| match verdict(&config, 200, &[("cache-control", line)], None) {
            Verdict::Shared(terms) => (terms.stale_while_revalidate, terms.stale_if_error),
            Verdict::Exclusive { .. } => panic!("{line} is shared"),
        };
        assert_eq!(windows("public"), (Duration::MAX, Duration::MAX));
        assert_eq!(windows("stale-while-revalidate=3"), (Duration::from_secs(3), Duration::MAX));
        assert_eq!(windows("stale-if-error=3"), (Duration::MAX, Duration::from_secs(3)));
        assert_eq!(windows("must-revalidate"), (Duration::ZERO, Duration::ZERO));
        assert_eq!(windows("s-maxage=3"), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn the_status_decides_what_is_stored() {
        let mut config = Config::new(TTL);
        for (status, expected, failure) in [
            (200, TTL, false),
            (301, TTL, false),
            (404, TTL, false),
            (302, Duration::ZERO, false),
            (401, Duration::ZERO, false),
            (299, Duration::ZERO, false),
            (500, Duration::ZERO, true),
            (503, Duration::ZERO, true),
        ] {
            let Verdict::Shared(terms) = verdict(&config, status, &[], None) else { panic!("{status} is shared") };
            assert_eq!((terms.ttl, terms.failure), (expected, failure), "{status}");
            let Verdict::Shared(terms) = verdict(&config, status, &[], Some(TTL)) else { panic!("{status} is shared") };
            assert_eq!(terms.ttl, expected, "{status}: nobody can store it");
        }
        config.ttl_by_status = Some(std::sync::Arc::new(|status| (status == 503).then_some(Duration::from_secs(1))));
        let Verdict::Shared(terms) = verdict(&config, 503, &[], None) else { panic!("it is shared") };
        assert_eq!((terms.ttl, terms.failure), (Duration::from_secs(1), false));
        assert_eq!(ttl(verdict(&config, 200, &[], None)), Some(Duration::ZERO));
    }
}
