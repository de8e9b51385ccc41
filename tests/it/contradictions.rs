//! What the builder refuses, as the attribute refuses it to compile.

use std::panic::catch_unwind;

use stampede::{Cache, CacheBuilder};

use crate::harness::said;
use crate::tools::secs;

/// What `build` says to this.
fn fault<X>(describe: impl FnOnce(CacheBuilder<u64>) -> CacheBuilder<u64, X>) -> Option<String> {
    let builder = describe(Cache::builder("contradictory").ttl(secs(10)));
    let built = catch_unwind(std::panic::AssertUnwindSafe(|| builder.build()));
    built.err().map(|payload| said(&*payload))
}

#[test]
fn contradictions_are_named() {
    let cases = [
        (fault(|builder| builder.refresh_ahead(0.0)), "between 0 and 1"),
        (fault(|builder| builder.refresh_ahead(1.0)), "between 0 and 1"),
        (fault(|builder| builder.refresh_ahead(f64::NAN)), "between 0 and 1"),
        (fault(|builder| builder.xfetch(0.0)), "above 0"),
        (fault(|builder| builder.xfetch(f64::INFINITY)), "above 0"),
        (fault(|builder| builder.jitter(1.0)), "below 1"),
        (fault(|builder| builder.jitter(-0.1)), "below 1"),
        (fault(|builder| builder.refresh_ahead(0.5).xfetch(1.0)), "say one of them"),
        (fault(|builder| builder.breaker(0, secs(1))), "at least 1"),
        (fault(|builder| builder.breaker(1, secs(0))), "more than no time"),
        (fault(|builder| builder.soft_timeout(secs(1))), "`stale_if_error` or"),
        (fault(|builder| builder.stale_if_error(secs(1)).soft_timeout(secs(2)).timeout(secs(2))), "a shorter one"),
        (fault(|builder| builder.retry_after(secs(1))), "`refresh_ahead` or `xfetch` too"),
    ];
    for (fault, says) in cases {
        let fault = fault.unwrap_or_else(|| panic!("nothing was said that has: {says}"));
        assert!(fault.contains(says) && fault.contains("`contradictory`"), "{fault}");
    }
}

#[test]
fn what_is_no_contradiction_is_built() {
    let cases = [
        fault(|builder| builder.refresh_ahead(0.99).jitter(0.0).retry_after(secs(1))),
        fault(|builder| builder.xfetch(1.0).jitter(0.5).ttl(secs(0))),
        fault(|builder| builder.stale_if_error(secs(0)).soft_timeout(secs(1)).retry_after(secs(1))),
        fault(|builder| builder.stale_while_revalidate(secs(9)).soft_timeout(secs(1)).timeout(secs(2))),
        fault(|builder| builder.breaker(1, secs(1)).timeout(secs(1)).error_ttl(secs(1)).tags(["a"])),
    ];
    assert_eq!(cases, [const { None }; 5]);
}
