//! What is logged, once each: in a process of its own, for "once" is once per process.
#![warn(clippy::disallowed_types)]

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Serialize, Serializer};
use stampede::{Cache, CircuitOpen, coalesce, fresh};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

#[path = "it/stores.rs"]
mod stores;

use stores::Store;

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps what warnings and notes say.
struct Keep;

impl Subscriber for Keep {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text(String);

        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                let _ = write!(self.0, "{field}={value:?} ");
            }
        }

        let mut text = Text(String::new());
        event.record(&mut text);
        WARNINGS.lock().expect("no panic").push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Clone)]
struct Unwilling;

impl Serialize for Unwilling {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no key of mine"))
    }
}

#[coalesce(ttl = "1m", name = "unwilling")]
async fn length(key: Unwilling) -> usize {
    let Unwilling = key;
    3
}

#[tokio::test(start_paused = true)]
async fn warnings_come_once() {
    tracing::subscriber::set_global_default(Keep).expect("the first");
    let store = Store::default();
    store
        .scope(async {
            for _ in 0..3 {
                assert_eq!(length(Unwilling).await, 3);
                // Wraps nothing that could be fresh.
                fresh(async {}).await;
            }
            fresh(length(Unwilling)).await;
        })
        .await;
    assert_eq!((store.stats().calls.bypass, store.stats().calls.total()), (4, 4));
    let warnings = WARNINGS.lock().expect("no panic").clone();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("unwilling") && warnings[0].contains("no key of mine"), "{warnings:?}");
    assert!(warnings[1].contains("met no coalesced call"), "{warnings:?}");

    policies().await;
}

/// A failure that an old value hides shows here, and so does what a breaker does.
async fn policies() {
    const SECOND: Duration = Duration::from_secs(1);
    WARNINGS.lock().expect("no panic").clear();
    let cache: Cache<u64, CircuitOpen> = Cache::builder("hidden failures")
        .ttl(SECOND)
        .stale_if_error(60 * SECOND)
        .retry_after(Duration::ZERO)
        .run_limit(SECOND)
        .breaker(3, 5 * SECOND)
        .store(&Store::default())
        .build();
    let answers =
        async |run: fn() -> Result<u64, CircuitOpen>| cache.try_get_with(&1, || async move { run() }).await == Ok(1);
    cache.entry(&1).put(1).await;
    tokio::time::advance(SECOND).await;
    assert!(answers(|| panic!("no luck")).await);
    let hangs = cache.try_get_with(&1, std::future::pending::<Result<u64, CircuitOpen>>).await;
    assert_eq!(hangs, Ok(1));
    let failing: Cache<u64> = Cache::builder("other failures").ttl(SECOND).store(&Store::default()).build();
    assert_eq!(failing.try_get_with(&1, || async { Err::<u64, _>(7) }).await, Err(7), "this one the caller sees");
    assert!(answers(|| panic!("no luck")).await);
    assert!(answers(|| Ok(2)).await, "the breaker is open");
    tokio::time::advance(5 * SECOND).await;
    assert!(!answers(|| Ok(2)).await);
    let events = WARNINGS.lock().expect("no panic").clone();
    let says = [
        "no luck",
        "it reached its limit",
        "circuit open",
        "a run failed: the old value stays in use",
        "circuit half-open",
        "circuit closed",
    ];
    assert_eq!(events.len(), says.len(), "{events:?}");
    for (event, says) in events.iter().zip(says) {
        assert!(event.contains(says) && event.contains("hidden failures"), "{says}: {events:?}");
    }
}
