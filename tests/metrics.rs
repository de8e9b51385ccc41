//! What metrics say adds up, under load and with everything in use.
#![warn(clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use stampede::tier::memory::{Fault, MemoryTier};
use stampede::{Cache, CircuitOpen, Timeout, metrics, uncached};

#[path = "it/stores.rs"]
mod stores;

use stores::Store;

const MS: Duration = Duration::from_millis(1);

/// Those of the cache whose runs reach their limit now and then.
static RUNS: AtomicU64 = AtomicU64::new(0);

/// All that was recorded, by name and labels.
struct Recorded(BTreeMap<(String, BTreeMap<String, String>), (MetricKind, DebugValue)>);

impl Recorded {
    /// Once for each recorder: it empties what it takes.
    fn take(snapshotter: &Snapshotter) -> Self {
        let all = snapshotter.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
            let (kind, key) = key.into_parts();
            let labels = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
            ((key.name().to_owned(), labels), (kind, value))
        });
        Self(all.collect())
    }

    /// The sum of all that has this name and these labels. Of a histogram, how often something was recorded.
    #[expect(clippy::cast_precision_loss, reason = "there are not that many")]
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |there: &BTreeMap<String, String>| {
            labels.iter().all(|(key, value)| there.get(*key).is_some_and(|there| there == value))
        };
        let series = self.0.iter().filter(|((there, labels), _)| there == name && has(labels));
        series
            .map(|(_, (_, value))| match value {
                DebugValue::Counter(count) => *count as f64,
                DebugValue::Gauge(level) => level.into_inner(),
                DebugValue::Histogram(values) => values.len() as f64,
            })
            .sum()
    }
}

/// Calls of a cache, and how many there were.
struct Counted<V: 'static, X> {
    name: &'static str,
    cache: Cache<V, X>,
    calls: AtomicU64,
}

impl<X> Counted<u64, X> {
    fn new(name: &'static str, cache: Cache<u64, X>) -> Arc<Self> {
        Arc::new(Self { name, cache, calls: AtomicU64::new(0) })
    }
}

/// A body that takes a while, and then gives this.
async fn body<T>(time: Duration, result: T) -> T {
    tokio::time::sleep(time).await;
    result
}

/// What the errors of caches come to here.
#[derive(Clone, Debug)]
struct Failed;

impl From<Timeout> for Failed {
    fn from(_: Timeout) -> Self {
        Self
    }
}

impl From<CircuitOpen> for Failed {
    fn from(_: CircuitOpen) -> Self {
        Self
    }
}

/// Makes calls to a cache from some tasks: plain ones, ones that want a fresh value or go past the store, and ones that give up.
macro_rules! load {
    ($counted:expr, $keys:literal, $time:expr, |$n:ident| $result:expr) => {
        (0..8_u64).map(|task| {
            let counted = Arc::clone(&$counted);
            tokio::spawn(async move {
                for i in 0..60_u64 {
                    let counted = Arc::clone(&counted);
                    let $n = task * 60 + i;
                    let key = $n % $keys;
                    counted.calls.fetch_add(1, Ordering::Relaxed);
                    let call = async move {
                        let call = counted.cache.try_get_with(&key, || body($time, $result));
                        let _: Result<u64, Failed> = match $n % 19 {
                            7 => stampede::fresh(call).await,
                            13 => uncached(call).await,
                            _ => call.await,
                        };
                    };
                    let patience = if $n % 11 == 3 { MS } else { Duration::from_mins(1) };
                    // Some panic.
                    let _ = tokio::spawn(tokio::time::timeout(patience, call)).await;
                    if $n.is_multiple_of(5) {
                        tokio::time::sleep(MS).await;
                    }
                }
            })
        })
    };
}

#[expect(clippy::too_many_lines, reason = "one load, and all that there is to say of it")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_hold_under_load() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().expect("the first");
    metrics::describe();

    let tier = MemoryTier::new();
    // Another process, which makes some of the values.
    let store = Store::builder().max_entries(20).and(|store| store.remote(tier.clone())).build();
    let elsewhere = Store::builder().and(|store| store.remote(tier.another())).build();
    let built = |name: &'static str| Cache::<u64>::builder(name).store(&store);

    let plain = Counted::new("plain", built("plain").ttl(3 * MS).breaker(3, MS).build());
    let stale = Counted::new("stale", built("stale").ttl(2 * MS).stale_while_revalidate(100 * MS).build());
    let early = Counted::new("early", built("early").ttl(5 * MS).refresh_ahead(0.2).build());
    let guarded = built("guarded").ttl(MS).stale_if_error(20 * MS).retry_after(MS).breaker(3, 5 * MS).build();
    let guarded = Counted::new("guarded", guarded);
    let hasty = Counted::new("hasty", built("hasty").ttl(2 * MS).timeout(2 * MS).error_ttl(2 * MS).build());
    let limited = Counted::new("limited", built("limited").ttl(2 * MS).run_limit(2 * MS).build());
    let tagged =
        Counted::new("tagged", built("tagged").ttl(MS * 50).tags(["a"]).cache_if(|value| value % 2 == 0).build());
    let far = Counted::new("far", built("far").ttl(4 * MS).remote().build());
    let far_elsewhere: Cache<u64> = Cache::builder("far").store(&elsewhere).ttl(4 * MS).remote().build();

    let mut tasks: Vec<_> = load!(plain, 7, MS, |n| Ok(n)).collect();
    tasks.extend(load!(stale, 7, MS, |n| Ok(n)));
    tasks.extend(load!(early, 3, MS, |n| Ok(n)));
    tasks.extend(load!(guarded, 2, MS, |n| if n % 100 < 60 { Err(Failed) } else { Ok(n) }));
    tasks.extend(load!(hasty, 3, Duration::from_millis(n % 5), |n| Err(Failed)));
    tasks.extend(load!(
        limited,
        3,
        MS * if RUNS.fetch_add(1, Ordering::Relaxed).is_multiple_of(9) { 50 } else { 1 },
        |n| Ok(n)
    ));
    tasks.extend(load!(tagged, 60, MS, |n| if n % 50 == 49 { panic!("no luck") } else { Ok(n) }));
    tasks.extend(load!(far, 5, MS, |n| Ok(n)));
    let meddler = {
        let (store, tier, far, tagged) = (store.clone(), tier.clone(), Arc::clone(&far), Arc::clone(&tagged));
        tokio::spawn(async move {
            for i in 0..40_u64 {
                tokio::time::sleep(3 * MS).await;
                match i % 5 {
                    0 => drop(store.invalidate_tag("a").await),
                    1 => drop(far.cache.entry(&(i % 5)).invalidate().await),
                    2 => drop(tagged.cache.entry(&i).expire().await),
                    3 if i == 23 => drop(store.clear().await),
                    _ => drop(far_elsewhere.get_with(&(i % 5), || body(5 * MS, i)).await),
                }
                tier.set_fault(if i == 30 { Fault::Failing } else { Fault::None });
            }
            tier.set_fault(Fault::None);
            far_elsewhere.entry(&1).invalidate().await;
        })
    };
    for task in tasks.into_iter().chain([meddler]) {
        let _ = task.await;
    }
    while store.stats().in_flight > 0 || elsewhere.stats().in_flight > 0 {
        tokio::time::sleep(MS).await;
    }

    let (stats, other) = (store.stats(), elsewhere.stats());
    let seen = Recorded::take(&snapshotter);
    let sum = |name, labels: &[(&str, &str)]| seen.sum(name, labels);
    let is = |name, labels: &[(&str, &str)], count: u64| {
        #[expect(clippy::cast_precision_loss, reason = "there are not that many")]
        let count = count as f64;
        assert!((sum(name, labels) - count).abs() < 0.5, "{name} {labels:?}: {} for {count}", sum(name, labels));
    };

    // Each call once, and each run.
    let mut all = 0;
    macro_rules! each {
        ($($counted:ident)*) => { $(
            let calls = $counted.calls.load(Ordering::Relaxed);
            let more = if $counted.name == "far" { other.calls.total() } else { 0 };
            is(metrics::CALLS, &[("cache", $counted.name)], calls + more);
            is(metrics::RUN_DURATION, &[("cache", $counted.name)], {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
                let runs = sum(metrics::RUNS, &[("cache", $counted.name)]) as u64;
                runs
            });
            all += calls;
        )* };
    }
    each!(plain stale early guarded hasty limited tagged far);
    assert_eq!(all, stats.calls.total());
    let both = |count: fn(&stampede::Stats) -> u64| count(&stats) + count(&other);
    for (outcome, count) in [
        ("fresh", both(|stats| stats.calls.fresh)),
        ("stale", both(|stats| stats.calls.stale)),
        ("miss", both(|stats| stats.calls.miss)),
        ("coalesced", both(|stats| stats.calls.coalesced)),
        ("error", both(|stats| stats.calls.error)),
        ("bypass", both(|stats| stats.calls.bypass)),
    ] {
        assert!(count > 0, "{outcome}: the load is to show all there is");
        is(metrics::CALLS, &[("outcome", outcome)], count);
    }
    for (result, count) in [
        ("ok", both(|stats| stats.runs.ok)),
        ("error", both(|stats| stats.runs.error)),
        ("panic", both(|stats| stats.runs.panic)),
        ("timeout", both(|stats| stats.runs.timeout)),
        ("cancelled", both(|stats| stats.runs.cancelled)),
        ("no_cache", both(|stats| stats.runs.no_cache)),
    ] {
        if result != "cancelled" {
            assert!(count > 0, "{result}: the load is to show all there is");
        }
        is(metrics::RUNS, &[("result", result)], count);
    }
    is(metrics::RUNS, &[], both(|stats| stats.runs.total()));
    is(metrics::STALE_AGE, &[], both(|stats| stats.calls.stale));
    for (cache, trigger) in [("plain", "miss"), ("stale", "stale"), ("early", "early"), ("plain", "manual")] {
        assert!(sum(metrics::RUNS, &[("cache", cache), ("trigger", trigger)]) > 0.0, "{cache} {trigger}");
    }
    is(metrics::RUNS, &[("cache", "plain"), ("trigger", "stale")], 0);
    is(metrics::RUNS, &[("cache", "stale"), ("trigger", "early")], 0);

    // Levels come back.
    is(metrics::RUNS_IN_FLIGHT, &[], 0);
    is(metrics::CALLERS_WAITING, &[], 0);
    is(metrics::ENTRIES, &[], stats.entries + other.entries);
    assert!(sum(metrics::EVICTIONS, &[("reason", "size")]) > 0.0);
    assert!(sum(metrics::WAIT_DURATION, &[("outcome", "coalesced")]) > 0.0);

    // What was done to them.
    is(metrics::INVALIDATIONS, &[("op", "tag"), ("reason", "call")], 8);
    is(metrics::INVALIDATIONS, &[("op", "invalidate"), ("reason", "call")], 9);
    is(metrics::INVALIDATIONS, &[("op", "expire"), ("reason", "call")], 8);
    is(metrics::INVALIDATIONS, &[("op", "clear"), ("reason", "call")], 1);
    assert!(sum(metrics::INVALIDATIONS, &[("reason", "news")]) > 0.0);
    for state in ["open", "half_open"] {
        assert!(sum(metrics::BREAKER_TRANSITIONS, &[("cache", "guarded"), ("result", state)]) > 0.0, "{state}");
    }

    // What has not happened yet is 0, not nothing.
    let transitions = seen.0.iter().filter(|((name, labels), _)| {
        name == metrics::BREAKER_TRANSITIONS && labels.get("cache").is_some_and(|cache| cache == "plain")
    });
    assert_eq!(transitions.count(), 3);

    // The tier.
    for (name, result, count) in [
        (metrics::TIER_VALUES, "hit", both(|stats| stats.tier.hits)),
        (metrics::TIER_LEASES, "won", both(|stats| stats.tier.leases)),
        (metrics::TIER_LEASES, "busy", both(|stats| stats.tier.busy)),
        (metrics::TIER_LEASES, "takeover", both(|stats| stats.tier.takeovers)),
        (metrics::TIER_LEASES, "revoked", both(|stats| stats.tier.revoked)),
        (metrics::TIER_LEASES, "lost", both(|stats| stats.tier.lost)),
        (metrics::TIER_FILLS, "stored", both(|stats| stats.tier.fills)),
        (metrics::TIER_FILLS, "refused", both(|stats| stats.tier.refused)),
    ] {
        is(name, &[("tier", "memory"), ("result", result)], count);
    }
    assert!(stats.tier.leases > 0 && stats.tier.fills > 0, "{stats:?}");
    assert!(sum(metrics::TIER_OPERATIONS, &[("op", "acquire"), ("result", "ok")]) > 0.0);
    is(metrics::TIER_OPERATION_DURATION, &[], {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let trips = sum(metrics::TIER_OPERATIONS, &[]) as u64;
        trips
    });
    assert!(sum(metrics::TIER_OPERATIONS, &[("result", "error")]) > 0.0);

    // Nothing else is recorded, and no key is.
    for ((name, labels), (kind, _)) in &seen.0 {
        assert!(metrics::ALL.contains(&name.as_str()), "{name}");
        assert_eq!(*kind == MetricKind::Counter, name.ends_with("_total"), "{name}");
        assert_eq!(*kind == MetricKind::Histogram, name.ends_with("_seconds"), "{name}");
        let known = ["cache", "outcome", "result", "trigger", "tier", "op", "reason"];
        assert!(labels.keys().all(|label| known.contains(&label.as_str())), "{name} {labels:?}");
    }
    let missing: Vec<_> = metrics::ALL.iter().filter(|name| !seen.0.keys().any(|(there, _)| there == *name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
