//! What tracing and the hook are told, in a process of its own: there is one subscriber.
#![warn(clippy::disallowed_types)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stampede::event::{BreakerState, Event, Outcome, RunResult, Trigger};
use stampede::tier::memory::{Fault, MemoryTier};
use stampede::{Cache, CircuitOpen, fresh};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};

use tracing::{Instrument, Level, Metadata, Subscriber, info_span};
use tracing_core::span::Current;

#[path = "it/stores.rs"]
mod stores;

use stores::Store;

const SECOND: Duration = Duration::from_secs(1);

/// Keeps what is told, as text: `new`, `record`, `follows` and `close` of spans, events.
#[derive(Clone, Default)]
struct Keep(Arc<Kept>);

#[derive(Default)]
struct Kept {
    said: Mutex<Vec<String>>,
    /// Each with what it is, and how many hold it.
    spans: Mutex<Vec<(&'static Metadata<'static>, i64)>>,
}

impl Keep {
    fn say(&self, text: String) {
        self.0.said.lock().expect("no panic").push(text);
    }

    /// So many more hold a span: how many are there?
    fn count(&self, id: &Id, more: i64) -> i64 {
        let at = usize::try_from(id.into_u64()).expect("a few") - 1;
        let count = &mut self.0.spans.lock().expect("no panic")[at].1;
        *count += more;
        *count
    }

    /// What has been said since the last time.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.said.lock().expect("no panic"))
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Fields {
    fn text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = write!(text, " {name}={value}");
            text
        })
    }
}

thread_local! {
    static CURRENT: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Subscriber for Keep {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::DEBUG
            && ["stampede", "telemetry"].iter().any(|ours| metadata.target().starts_with(ours))
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut spans = self.0.spans.lock().expect("no panic");
        spans.push((span.metadata(), 1));
        let id = spans.len() as u64;
        drop(spans);
        let mut fields = Fields::default();
        span.record(&mut fields);
        assert!(span.metadata().name() != "run" || span.is_root(), "a run outlives what caused it");
        self.say(format!("new {id} {}{}", span.metadata().name(), fields.text()));
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, record: &Record<'_>) {
        let mut fields = Fields::default();
        record.record(&mut fields);
        self.say(format!("record {}{}", id.into_u64(), fields.text()));
    }

    fn record_follows_from(&self, id: &Id, from: &Id) {
        self.say(format!("follows {} {}", id.into_u64(), from.into_u64()));
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = CURRENT.with_borrow(|current| current.last().copied().unwrap_or_default());
        self.say(format!("{} in {span}{}", event.metadata().level(), fields.text()));
    }

    fn enter(&self, id: &Id) {
        CURRENT.with_borrow_mut(|current| current.push(id.into_u64()));
    }

    fn exit(&self, _: &Id) {
        CURRENT.with_borrow_mut(Vec::pop);
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.count(id, 1);
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let is_last = self.count(&id, -1) == 0;
        if is_last {
            self.say(format!("close {}", id.into_u64()));
        }
        is_last
    }

    fn current_span(&self) -> Current {
        match CURRENT.with_borrow(|current| current.last().copied()) {
            Some(id) => {
                let at = usize::try_from(id).expect("a few") - 1;
                Current::new(Id::from_u64(id), self.0.spans.lock().expect("no panic")[at].0)
            }
            None => Current::none(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_told() {
    let keep = Keep::default();
    tracing::subscriber::set_global_default(keep.clone()).expect("the first");
    spans(&keep).await;
    throttled(&keep).await;
    the_hook().await;
}

/// A run has a span, which follows from the call that caused it; who waits is told of.
async fn spans(keep: &Keep) {
    let cache: Cache<String> =
        Cache::builder("spans").ttl(SECOND).stale_while_revalidate(SECOND).store(&Store::default()).build();
    let body = || async {
        tracing::info!("at work");
        tokio::time::sleep(SECOND / 4).await;
        "done".to_owned()
    };
    let leads = cache.get_with("a secret", body).instrument(info_span!("leads"));
    let joins = async {
        tokio::time::sleep(SECOND / 8).await;
        cache.get_with("a secret", body).instrument(info_span!("joins")).await
    };
    tokio::join!(leads, joins);
    let said = keep.take();
    let says = [
        "new 1 leads",
        "new 2 run cache=\"spans\" trigger=\"miss\"",
        "follows 2 1",
        "INFO in 2 message=at work",
        "new 3 joins",
        "record 2 result=\"ok\"",
        "close 2",
        "DEBUG in 1 cache=\"spans\" message=waited for a run outcome=\"miss\" waited=250ms",
        "DEBUG in 3 cache=\"spans\" message=waited for a run outcome=\"coalesced\" waited=125ms",
    ];
    for text in says {
        assert!(said.iter().any(|said| said == text), "{text}: {said:#?}");
    }
    assert_eq!(
        said.iter().filter(|said| said.starts_with("new") && said.contains(" run ")).count(),
        1,
        "one for the run: {said:#?}"
    );
    assert!(!said.iter().any(|said| said.contains("secret")), "{said:#?}");

    // In the background, for a call that does not wait; and by hand.
    tokio::time::advance(SECOND).await;
    cache.get_with("a secret", body).await;
    tokio::time::sleep(SECOND / 2).await;
    fresh(cache.get_with("a secret", body)).await;
    // A run that nobody can use ends, and says so.
    let unstored: Cache<u64> = Cache::builder("unstored").store(&Store::default()).build();
    let _ = tokio::time::timeout(SECOND, unstored.get_with(&1, pending)).await;
    tokio::task::yield_now().await;
    let said = keep.take();
    for text in ["trigger=\"stale\"", "trigger=\"manual\"", "result=\"cancelled\""] {
        assert!(said.iter().any(|said| said.contains(text)), "{text}: {said:#?}");
    }
    let count = |what: &str| said.iter().filter(|said| said.starts_with(what)).count();
    assert_eq!((count("new"), count("close")), (3, 3), "{said:#?}");
}

/// Failures that no caller sees are warned of once in each window, and counted.
async fn throttled(keep: &Keep) {
    let cache: Cache<u64> = Cache::builder("throttled")
        .ttl(SECOND)
        .stale_if_error(60 * SECOND)
        .retry_after(5 * SECOND)
        .store(&Store::default())
        .build();
    for key in 0..4_u64 {
        cache.entry(&key).put(key).await;
    }
    tokio::time::advance(SECOND).await;
    keep.take();
    let warnings =
        |keep: &Keep| -> Vec<String> { keep.take().into_iter().filter(|said| said.starts_with("WARN")).collect() };
    let fail = async |key: u64| cache.try_get_with(&key, || async { Err::<u64, _>("no") }).await;
    for key in 0..3 {
        assert_eq!(fail(key).await, Ok(key));
    }
    let warned = warnings(keep);
    assert_eq!(warned.len(), 1, "{warned:#?}");
    assert!(warned[0].contains("the old value stays in use") && warned[0].contains("unsaid=0"), "{warned:#?}");
    tokio::time::advance(5 * SECOND).await;
    assert_eq!(fail(3).await, Ok(3));
    let warned = warnings(keep);
    assert!(warned.len() == 1 && warned[0].contains("unsaid=2"), "{warned:#?}");

    // Without an old value, and without anybody who waits.
    tokio::time::advance(5 * SECOND).await;
    let call = cache.try_get_with(&9, || async {
        tokio::time::sleep(2 * SECOND).await;
        Err::<u64, _>("no")
    });
    let _ = tokio::time::timeout(SECOND, call).await;
    tokio::time::sleep(10 * SECOND).await;
    let warned = warnings(keep);
    assert!(warned.len() == 1 && warned[0].contains("nobody waited for"), "{warned:#?}");
}

/// The hook hears of runs, waits, breakers and the tier; it may use the store, and panic.
async fn the_hook() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let tier = MemoryTier::new();
    let store = {
        let heard = Arc::clone(&heard);
        Store::builder()
            .and(|store| store.remote(tier.clone()))
            .on_event(move |event| {
                heard.lock().expect("no panic").push(event.clone());
                panic!("no business of the caller's");
            })
            .build()
    };
    let take = || std::mem::take(&mut *heard.lock().expect("no panic"));
    let cache: Cache<u64, CircuitOpen> =
        Cache::builder("hook").ttl(SECOND).breaker(1, SECOND).run_limit(2 * SECOND).store(&store).build();
    let run = || async {
        tokio::time::sleep(SECOND).await;
        Ok::<_, CircuitOpen>(1)
    };
    assert_eq!(cache.try_get_with(&1, run).await, Ok(1));
    let events = take();
    assert!(
        matches!(
            events[..],
            [
                Event::RunEnded { cache: "hook", trigger: Trigger::Miss, result: RunResult::Ok, run_time, .. },
                Event::Waited { cache: "hook", outcome: Outcome::Miss, time, .. },
            ] if run_time == SECOND && time >= SECOND
        ),
        "{events:?}"
    );
    let hangs = tokio::time::timeout(10 * SECOND, fresh(cache.try_get_with(&1, pending::<Result<u64, CircuitOpen>>)));
    let _ = hangs.await;
    let events = take();
    let ended =
        |event: &Event| matches!(event, Event::RunEnded { trigger: Trigger::Manual, result: RunResult::Timeout, .. });
    let opened = |event: &Event| matches!(event, Event::Breaker { cache: "hook", state: BreakerState::Open, .. });
    assert!(events.iter().any(ended) && events.iter().any(opened), "{events:?}");

    // Each change is told once, also where the tier is asked first.
    tokio::time::sleep(SECOND).await;
    let far: Cache<u64, CircuitOpen> =
        Cache::builder("far").ttl(SECOND).breaker(1, SECOND).remote().store(&store).build();
    let fails = || async { Err::<u64, Box<dyn std::error::Error + Send + Sync>>("no".into()) };
    assert!(far.try_get_with(&1, fails).await.is_err());
    tokio::time::sleep(SECOND).await;
    assert_eq!(far.try_get_with(&1, run).await, Ok(1));
    let changes = take().into_iter().filter_map(|event| match event {
        Event::Breaker { state, .. } => Some(state),
        _ => None,
    });
    assert_eq!(changes.collect::<Vec<_>>(), [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed]);

    tier.set_fault(Fault::Failing);
    for _ in 0..3 {
        store.invalidate_tag("any").await;
    }
    tier.set_fault(Fault::None);
    tokio::time::sleep(10 * SECOND).await;
    let events = take();
    let went =
        |up: bool| move |event: &Event| matches!(event, Event::Tier { tier: "memory", is_up, .. } if *is_up == up);
    assert!(events.iter().any(went(false)) && events.iter().any(went(true)), "{events:?}");
}
