//! What is logged, once each: in a process of its own, for "once" is once per process.
#![warn(clippy::disallowed_types)]

use std::fmt::Write as _;
use std::sync::Mutex;

use serde::{Serialize, Serializer};
use stampede::{coalesce, fresh};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

#[path = "it/stores.rs"]
mod stores;

use stores::Store;

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps what warnings say.
struct Keep;

impl Subscriber for Keep {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
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
    drop(key);
    3
}

#[tokio::test]
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
    let warnings = WARNINGS.lock().expect("no panic");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("unwilling") && warnings[0].contains("no key of mine"), "{warnings:?}");
    assert!(warnings[1].contains("met no coalesced call"), "{warnings:?}");
}
