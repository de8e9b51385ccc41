//! Stores: bounds, scopes, switches, figures, and values that come back when they are dropped.

use std::pin::pin;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stampede::{Cache, coalesce, fresh, no_stale};

use crate::stores::{Store, StoreBuilder};
use crate::tools::{Call, Origin, assert_at_rest, drive, ms, pass, secs, settle};

#[coalesce(ttl = "10s", stale_while_revalidate = "20s", key = "id")]
async fn load(o: &Origin, id: u64) -> u64 {
    let _ = id;
    o.read().await
}

#[coalesce(ttl = "1m", key = "id", store = store)]
#[allow(clippy::disallowed_types, reason = "what is generated names the real one")]
async fn in_its_own(store: &Store, o: &Origin, id: u64) -> u64 {
    let _ = (store, id);
    o.read().await
}

#[tokio::test]
async fn a_store_holds_no_more_than_it_is_told() {
    // The bounds, what each value weighs, and how many values of a hundred are there at most and at least.
    let cases: [(StoreBuilder, u32, u64, u64); 9] = [
        (Store::builder(), 1, 10_000, 100),
        (Store::builder().max_entries(10), 1, 10, 9),
        (Store::builder().max_entries(10), 50, 10, 9),
        (Store::builder().max_weight(100), 10, 10, 9),
        (Store::builder().max_weight(100), 1, 100, 90),
        (Store::builder().max_weight(100), 101, 0, 0),
        (Store::builder().max_weight(100).max_entries(5), 10, 5, 4),
        (Store::builder().max_weight(100).max_entries(50), 10, 10, 9),
        (Store::builder().max_weight(0), 1, 0, 0),
    ];
    for (builder, weight, most, least) in cases {
        let described = format!("{builder:?}");
        let store = builder.build();
        let cache: Cache<u32> = Cache::builder("bounded").ttl(secs(60)).weight(|weight| *weight).store(&store).build();
        for key in 0..100 {
            assert_eq!(cache.get_with(&key, move || async move { weight }).await, weight);
        }
        let entries = store.stats().entries;
        assert!((least..=most).contains(&entries), "{described}, weight {weight}: {entries}");
        for key in 100..200 {
            cache.entry(&key).put(weight).await;
        }
        assert!(store.stats().entries <= most, "{described}, weight {weight}: {:?}", store.stats());
    }
}

#[tokio::test]
async fn what_weighs_nothing_still_counts_as_an_entry() {
    let store = Store::builder().max_entries(10).max_weight(100).build();
    let cache: Cache<u32> = Cache::builder("weightless").ttl(secs(60)).weight(|_| 0).store(&store).build();
    for key in 0..100 {
        cache.entry(&key).put(1).await;
    }
    assert!(store.stats().entries <= 10, "{:?}", store.stats());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_holds_nothing_still_coalesces() {
    for builder in [Store::builder().max_entries(0), Store::builder().max_weight(0), Store::builder().max_ttl(secs(0))]
    {
        let described = format!("{builder:?}");
        let store = builder.build();
        let run = async {
            let o = &Origin::gated();
            let mut calls = [Call::start(load(o, 1)).await, Call::start(load(o, 1)).await];
            drive(&mut calls).await;
            o.release(1);
            assert_eq!(drive(&mut calls).await, [Some(1), Some(1)]);
            o.release(2);
            assert_eq!(load(o, 1).await, 2);
            load_entry(1).put(7).await;
            assert_eq!(load_entry(1).get().await, None);
            // Nobody can use this run any more once its caller has left.
            drop(Call::start(load(o, 1)).await);
            settle().await;
        };
        store.scope(run).await;
        let stats = store.stats();
        assert_eq!((stats.runs.ok, stats.runs.cancelled, stats.entries), (2, 1, 0), "{described}: {stats:?}");
        assert_at_rest(&store, 4);
    }
}

#[tokio::test(start_paused = true)]
async fn max_ttl_bounds_what_is_put_as_well() {
    let store = Store::builder().max_ttl(secs(4)).build();
    let run = async {
        let o = &Origin::open();
        assert_eq!(load(o, 1).await, 1);
        load_entry(2).put(100).await;
        pass(ms(3_999)).await;
        assert_eq!((load_entry(1).get().await, load_entry(2).get().await), (Some(1), Some(100)));
        pass(ms(1)).await;
        assert_eq!((load_entry(1).get().await, load_entry(2).get().await), (None, None));
        // The stale window follows on the shortened TTL.
        assert_eq!(load(o, 2).await, 100);
        pass(secs(20)).await;
        assert_eq!(load(o, 1).await, 3);
    };
    store.scope(run).await;
}

#[coalesce(ttl = "1m", skip(o))]
async fn outer(o: &Origin) -> (u64, bool) {
    let store = Store::current();
    let value = load(o, 1).await;
    (value, store.stats().entries == 1 && load_entry(1).get().await == Some(value))
}

#[tokio::test(start_paused = true)]
async fn the_innermost_scope_counts() {
    let (a, b, own) = (Store::default(), Store::default(), Store::default());
    let o = &Origin::open();
    let entries = |store: &Store| store.stats().entries;
    a.scope(async {
        assert_eq!(load(o, 1).await, 1);
        let within = b.scope(async {
            assert_eq!(load(o, 1).await, 2);
            assert_eq!(in_its_own(&own, o, 1).await, 3);
            load(o, 1).await
        });
        let (within, beside) = tokio::join!(within, load(o, 1));
        assert_eq!((within, beside), (2, 1));
        assert_eq!(in_its_own(&own, o, 1).await, 3, "a store that is named");
        let origin = o.clone();
        let task = tokio::spawn(async move { load(&origin, 1).await });
        assert_eq!(task.await.expect("no panic"), 4, "a spawned task is outside");
        assert_eq!(Store::current().stats(), a.stats());
    })
    .await;
    assert_eq!((entries(&a), entries(&b), entries(&own)), (1, 1, 1));
    // A body sees the store of the call that started it.
    let fresh_one = Store::default();
    assert_eq!(fresh_one.scope(outer(o)).await, (5, true));
    assert_eq!(fresh_one.stats().entries, 2);
}

#[tokio::test(start_paused = true)]
async fn a_clone_is_the_same_store_and_another_is_another() {
    let (a, b) = (Store::default(), Store::default());
    let o = &Origin::open();
    assert_eq!(a.scope(load(o, 1)).await, 1);
    let clone = a.clone();
    assert_eq!(clone.scope(load(o, 1)).await, 1);
    assert_eq!(clone.stats(), a.stats());
    assert_eq!(b.scope(load(o, 1)).await, 2);
    clone.clear().await;
    assert_eq!((a.stats().entries, b.stats().entries), (0, 1));
    assert_eq!((a.scope(load(o, 1)).await, b.scope(load(o, 1)).await), (3, 2));

    // The same with caches: name and type and store make one.
    let cache = |store: &Store| -> Cache<u8> { Cache::builder("one").ttl(secs(9)).store(store).build() };
    cache(&a).entry(&1).put(7).await;
    assert_eq!(cache(&clone).entry(&1).get().await, Some(7));
    assert_eq!(cache(&b).entry(&1).get().await, None);
    let of_another_type: Cache<u16> = Cache::builder("one").ttl(secs(9)).store(&a).build();
    assert_eq!(of_another_type.entry(&1).get().await, None);
    let bound = a.scope(async { Cache::<u8>::builder("one").ttl(secs(9)).build() }).await;
    assert_eq!(b.scope(bound.entry(&1).get()).await, Some(7), "the store in force when it was built");
}

#[tokio::test(start_paused = true)]
async fn bypass_neither_reads_nor_writes_and_still_coalesces() {
    let store = Store::default();
    let run = async {
        let o = &Origin::gated();
        load_entry(1).put(100).await;
        store.bypass(true);
        for (number, stale) in [(1, false), (2, true)] {
            let calls = (load(o, 1), fresh(load(o, 1)), no_stale(load(o, 1)));
            let mut calls = [Call::start(calls.0).await, Call::start(calls.2).await, Call::start(load(o, 1)).await];
            drive(&mut calls).await;
            o.release(number);
            assert_eq!(drive(&mut calls).await, [Some(number); 3], "stale: {stale}");
            assert_eq!(o.begun(), number);
            pass(secs(10)).await;
        }
        o.release(3);
        assert_eq!(load(o, 2).await, 3);
        store.bypass(false);
        assert_eq!((load_entry(2).get().await, load(o, 1).await), (None, 100), "what was there is there, stale by now");
        pass(secs(20)).await;
    };
    store.scope(run).await;
    let stats = store.stats();
    assert_eq!((stats.calls.bypass, stats.calls.total(), stats.runs_saved()), (7, 8, 1), "{stats:?}");
}

#[tokio::test]
async fn what_is_cleared_while_the_store_is_off_stays_so() {
    let store = Store::default();
    let run = async {
        let o = &Origin::gated();
        (1..=4).for_each(|number| o.release(number));
        assert_eq!((load(o, 1).await, load(o, 2).await), (1, 2));
        store.bypass(true);
        store.bypass(true);
        assert!(store.clear().await);
        assert_eq!(load(o, 1).await, 3);
        store.bypass(false);
        store.bypass(false);
        assert_eq!(load_entry(1).get().await, None);
        assert_eq!((load(o, 1).await, load(o, 1).await), (4, 4), "and what comes after that is stored");
    };
    store.scope(run).await;
}

#[tokio::test(start_paused = true)]
async fn the_figures_add_up() {
    let store = Store::default();
    let run = async {
        let o = &Origin::gated();
        let mut calls = [
            Call::start(load(o, 1)).await,
            Call::start(load(o, 1)).await,
            Call::start(load(o, 2)).await,
            Call::start(load(o, 2)).await,
        ];
        drive(&mut calls).await;
        let stats = store.stats();
        assert_eq!((stats.in_flight, stats.waiting, stats.calls.total()), (2, 4, 0), "{stats:?}");
        let [_, _, _, left] = calls;
        drop(left);
        let stats = store.stats();
        assert_eq!((stats.in_flight, stats.waiting, stats.calls.coalesced), (2, 3, 1), "{stats:?}");
        o.release(1);
        o.release(2);
        settle().await;
        let stats = store.stats();
        assert_eq!((stats.in_flight, stats.runs.ok, stats.entries), (0, 2, 2), "{stats:?}");
    };
    store.scope(run).await;
    let stats = store.stats();
    // The calls in the array are dropped unread: they count by the way they took.
    assert_eq!((stats.calls.miss, stats.calls.coalesced, stats.runs_saved()), (2, 2, 2), "{stats:?}");
    assert_at_rest(&store, 4);
}

/// What a value does when it is dropped.
#[derive(Clone, Copy, Debug)]
enum Reentry {
    Stats,
    Get,
    Invalidate,
    Put,
    Clear,
    Call,
}

type Reentrant = Arc<Reenters>;

struct Reenters {
    cache: Mutex<Option<Cache<Reentrant>>>,
    store: Store,
    key: u64,
    does: Reentry,
    /// How deep this may go.
    depth: u32,
}

impl Reenters {
    fn make(cache: &Cache<Reentrant>, store: &Store, key: u64, does: Reentry, depth: u32) -> Reentrant {
        Arc::new(Self { cache: Mutex::new(Some(cache.clone())), store: store.clone(), key, does, depth })
    }
}

impl Drop for Reenters {
    fn drop(&mut self) {
        let Some(cache) = self.cache.get_mut().expect("no panic").take() else { return };
        if self.depth == 0 {
            return;
        }
        let (Self { store, key, does, depth, .. }, other) = (&*self, self.key + 1);
        let new = |key| Self::make(&cache, store, key, *does, depth - 1);
        match does {
            Reentry::Stats => drop(store.stats()),
            Reentry::Get => drop(now(cache.entry(key).get())),
            Reentry::Invalidate => {
                now(cache.entry(key).invalidate());
                now(cache.entry(&other).invalidate());
            }
            Reentry::Put => {
                now(cache.entry(key).put(new(*key)));
                now(cache.entry(&other).put(new(other)));
            }
            Reentry::Clear => assert!(now(store.clear())),
            // Its run goes on, if it has to: there is nobody to wait for it.
            Reentry::Call => {
                let mut call = pin!(cache.get_with(key, || std::future::ready(new(*key))));
                let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
        }
    }
}

/// What a future comes to that has nothing to wait for.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

async fn drop_values(does: Reentry) {
    let store = Store::builder().max_entries(4).build();
    let cache: Cache<Reentrant> =
        Cache::builder("reentrant").ttl(ms(20)).stale_while_revalidate(ms(20)).store(&store).build();
    let new = |key| Reenters::make(&cache, &store, key, does, 3);
    for round in 0..40 {
        // Replaced, voided, evicted, cleared, refreshed, refused, never stored.
        cache.entry(&1_u64).put(new(1)).await;
        cache.entry(&1_u64).put(new(1)).await;
        cache.entry(&1_u64).invalidate().await;
        for key in 0..40_u64 {
            cache.entry(&key).put(new(key)).await;
            drop(cache.entry(&(key / 2)).get().await);
        }
        store.stats();
        if round % 8 == 0 {
            store.clear().await;
        }
        for key in 0..10_u64 {
            let value = new(key);
            drop(cache.get_with(&key, move || std::future::ready(Arc::clone(&value))).await);
            let value = new(key);
            drop(fresh(async { cache.get_with(&key, move || std::future::ready(Arc::clone(&value))).await }).await);
            pass(ms(7)).await;
        }
        store.stats();
    }
    drop(cache);
}

/// How it goes when values do this as they are dropped.
fn outcome_of(does: Reentry) -> Result<(), String> {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(drop_values(does));
        let _ = done.send(());
    });
    is_done.recv_timeout(Duration::from_secs(10)).map_err(|error| match error {
        mpsc::RecvTimeoutError::Timeout => format!("{does:?}: a deadlock"),
        mpsc::RecvTimeoutError::Disconnected => format!("{does:?}: a panic"),
    })
}

#[test]
fn values_may_come_back_to_the_store_when_they_are_dropped() {
    let all = [Reentry::Stats, Reentry::Get, Reentry::Invalidate, Reentry::Put, Reentry::Clear, Reentry::Call];
    let faults: Vec<_> = all.into_iter().filter_map(|does| outcome_of(does).err()).collect();
    assert!(faults.is_empty(), "{faults:?}");
}
