//! The remote tier: a fleet of stores in one process, on a tier in memory that fails as it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stampede::tier::Limits;
use stampede::tier::memory::{Fault, MemoryTier};
use stampede::{Cache, CacheBuilder, CircuitOpen, Stats, coalesce, fresh, no_stale, uncached};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::stores::Store;
use crate::tools::{ms, pass, secs, settle};
use crate::ways::{Answer, End, Fault as Failed, Script};

/// One process of a fleet.
struct Process {
    tier: MemoryTier,
    store: Store,
    cache: Cache<u64>,
}

impl Process {
    fn new(tier: MemoryTier, build: impl Fn(CacheBuilder<u64>) -> CacheBuilder<u64>) -> Self {
        let store = Store::builder().remote(tier.clone()).build();
        let cache = build(Cache::builder("remote").ttl(secs(10)).remote().store(&store)).build();
        Self { tier, store, cache }
    }

    async fn call(&self, script: &Script) -> Answer {
        self.cache.try_get_with(&1, || script.clone().run()).await
    }

    /// A call that somebody else sees to.
    async fn spawn(&self, script: &Script) -> JoinHandle<Answer> {
        let (cache, script) = (self.cache.clone(), script.clone());
        let call = tokio::spawn(async move { cache.try_get_with(&1, || script.clone().run()).await });
        settle().await;
        call
    }

    async fn get(&self) -> Option<u64> {
        self.cache.entry(&1).get().await
    }

    fn stats(&self) -> Stats {
        self.store.stats()
    }
}

fn fleet(size: usize, build: impl Fn(CacheBuilder<u64>) -> CacheBuilder<u64>) -> Vec<Process> {
    let tier = MemoryTier::new();
    (0..size).map(|_| Process::new(tier.another(), &build)).collect()
}

fn two(build: impl Fn(CacheBuilder<u64>) -> CacheBuilder<u64>) -> (Process, Process) {
    let mut fleet = fleet(2, build);
    let b = fleet.pop().expect("two");
    (fleet.pop().expect("two"), b)
}

#[tokio::test(start_paused = true)]
async fn a_fleet_shares_one_run() {
    let fleet = fleet(8, |builder| builder);
    let runs = Arc::new(AtomicU64::new(0));
    let mut calls = JoinSet::new();
    for process in &fleet {
        for _ in 0..200 {
            let (cache, runs) = (process.cache.clone(), Arc::clone(&runs));
            let body = move || {
                let runs = Arc::clone(&runs);
                async move {
                    runs.fetch_add(1, SeqCst);
                    tokio::time::sleep(ms(100)).await;
                    7
                }
            };
            calls.spawn(async move { cache.get_with(&1, body).await });
        }
    }
    assert!(calls.join_all().await.into_iter().all(|value| value == 7));
    assert_eq!(runs.load(SeqCst), 1);
    let sum = |of: fn(Stats) -> u64| fleet.iter().map(|process| of(process.stats())).sum::<u64>();
    assert_eq!(sum(|stats| stats.calls.total()), 1600);
    assert_eq!((sum(|stats| stats.runs.total()), sum(|stats| stats.calls.miss)), (1, 1));
    assert_eq!(
        (sum(|stats| stats.tier.leases), sum(|stats| stats.tier.fills), sum(|stats| stats.tier.hits)),
        (1, 1, 7)
    );
    assert_eq!(sum(|stats| stats.in_flight + stats.waiting), 0);
}

#[tokio::test(start_paused = true)]
async fn each_ttl_sees_one_run() {
    let fleet = fleet(4, |builder| builder);
    let script = Script::open();
    for window in 1..=5 {
        for process in &fleet {
            assert_eq!(process.call(&script).await, Ok(window));
        }
        assert_eq!(script.runs(), window);
        pass(ms(9_999)).await;
        for process in &fleet {
            assert_eq!(process.call(&script).await, Ok(window), "up to the last moment");
        }
        pass(ms(1)).await;
    }
    let stats = fleet[3].stats();
    assert_eq!((stats.runs.total(), stats.calls.fresh, stats.calls.miss), (0, 10, 0), "all from the tier: {stats:?}");
}

#[tokio::test(start_paused = true)]
async fn copies_expire_with_the_value_that_they_are_copies_of() {
    let (a, b) = two(|builder| builder);
    let script = Script::open();
    assert_eq!(a.call(&script).await, Ok(1));
    pass(secs(6)).await;
    assert_eq!(b.call(&script).await, Ok(1));
    pass(ms(3_999)).await;
    assert_eq!(b.call(&script).await, Ok(1));
    pass(ms(1)).await;
    assert_eq!(b.call(&script).await, Ok(2), "not ten seconds after it came here");
}

#[tokio::test(start_paused = true)]
async fn a_failure_elsewhere_is_no_answer_and_no_convoy() {
    let fleet = fleet(8, |builder| builder);
    let script = Script::gated();
    script.ends(End::Error);
    let mut calls = Vec::new();
    for process in &fleet {
        calls.push(process.spawn(&script).await);
    }
    assert_eq!(script.runs(), 1, "one for all, so far");
    // The others do not queue up to fail in turn: all run at once.
    script.release(1);
    settle().await;
    assert_eq!(script.runs(), 8);
    (2..=8).for_each(|run| script.release(run));
    settle().await;
    for (at, call) in calls.into_iter().enumerate() {
        assert!(call.is_finished(), "process {at} waits");
        assert!(matches!(call.await.expect("no panic"), Err(Failed::Run(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_run_gives_its_lease_back_at_once() {
    let (a, b) = two(|builder| builder);
    let script = Script::gated();
    // Nobody needs the value of a cache that has no TTL, and this one's run is inline: it goes with its caller.
    let call = {
        let (store, script) = (a.store.clone(), script.clone());
        tokio::spawn(async move { store.scope(inline(&script, 1)).await })
    };
    settle().await;
    let other = {
        let (store, script) = (b.store.clone(), script.clone());
        tokio::spawn(async move { store.scope(inline(&script, 1)).await })
    };
    settle().await;
    assert_eq!(script.runs(), 1, "the other process waits for it");
    call.abort();
    settle().await;
    assert_eq!(script.runs(), 2, "and takes over, at once");
    script.release(2);
    assert_eq!(other.await.expect("no panic"), Ok(2));
}

#[coalesce(ttl = "10s", skip(script), remote, inline)]
async fn inline(script: &Script, key: u8) -> Answer {
    let _ = key;
    script.clone().run().await
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_dies_is_replaced_when_its_lease_ends() {
    let (a, b) = two(|builder| builder);
    let script = Script::gated();
    let _held = a.spawn(&script).await;
    let call = b.spawn(&script).await;
    // It lives on, and so does its lease.
    for _ in 0..20 {
        pass(ms(900)).await;
    }
    assert_eq!(script.runs(), 1);
    a.tier.set_fault(Fault::Hanging);
    // What can be left of it, and what those who wait are spread over.
    pass(Limits::default().lease + ms(100)).await;
    assert_eq!(script.runs(), 2);
    script.release(2);
    assert_eq!(call.await.expect("no panic"), Ok(2));
    // The first comes back from the dead: its value is delivered to whoever waits for it, and stored nowhere.
    a.tier.set_fault(Fault::None);
    script.release(1);
    settle().await;
    pass(secs(3)).await;
    assert_eq!((a.get().await, b.get().await), (Some(2), Some(2)), "{:?}", a.stats());
}

#[tokio::test(start_paused = true)]
async fn what_is_voided_elsewhere_is_void_here() {
    type Act = for<'p> fn(&'p Process) -> std::pin::Pin<Box<dyn Future<Output = bool> + 'p>>;
    let acts: [(&str, Act, Option<u64>); 5] = [
        ("invalidate", |process| Box::pin(async { process.cache.entry(&1).invalidate().await }), None),
        ("expire", |process| Box::pin(async { process.cache.entry(&1).expire().await }), None),
        ("tag", |process| Box::pin(async { process.store.invalidate_tag("tag").await }), None),
        ("clear", |process| Box::pin(async { process.store.clear().await }), None),
        (
            "put",
            |process| {
                Box::pin(async {
                    process.cache.entry(&1).put(100).await;
                    true
                })
            },
            Some(100),
        ),
    ];
    for (name, act, left) in acts {
        let (a, b) = two(|builder| builder.tags(["tag"]));
        let script = Script::open();
        assert_eq!((a.call(&script).await, b.call(&script).await), (Ok(1), Ok(1)));
        assert!(act(&a).await, "{name}");
        assert_eq!(a.get().await, left, "{name}");
        settle().await;
        assert_eq!(b.get().await, left, "{name}: the news has arrived");

        // And what runs meanwhile is stored nowhere, on whichever side it runs.
        for (runner, other) in [(&a, &b), (&b, &a)] {
            assert!(other.cache.entry(&1).invalidate().await);
            settle().await;
            let script = Script::gated();
            let call = runner.spawn(&script).await;
            assert_eq!(script.runs(), 1, "{name}");
            assert!(act(other).await, "{name}");
            settle().await;
            script.release(1);
            assert_eq!(call.await.expect("no panic"), Ok(1), "{name}: delivered");
            settle().await;
            assert_eq!((runner.get().await, other.get().await), (left, left), "{name}: and not stored");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_process_refreshes_what_all_have_stale_copies_of() {
    let fleet = fleet(4, |builder| builder.stale_while_revalidate(secs(60)));
    let script = Script::gated();
    script.release(1);
    for process in &fleet {
        assert_eq!(process.call(&script).await, Ok(1));
    }
    pass(secs(11)).await;
    for process in &fleet {
        assert_eq!(process.call(&script).await, Ok(1), "at once");
        settle().await;
    }
    assert_eq!(script.runs(), 2, "one for all");
    script.release(2);
    settle().await;
    for process in &fleet {
        assert_eq!(process.call(&script).await, Ok(2), "all have heard of it");
    }
    assert_eq!(script.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_has_just_started_gets_the_old_value_too() {
    let (a, b) = two(|builder| builder.stale_while_revalidate(secs(60)));
    let script = Script::gated();
    script.release(1);
    assert_eq!(a.call(&script).await, Ok(1));
    pass(secs(30)).await;
    assert_eq!(b.call(&script).await, Ok(1), "at once");
    settle().await;
    assert_eq!(script.runs(), 2, "and refreshes it");
    assert_eq!(b.stats().calls.stale, 1);
    let strict = tokio::spawn({
        let (cache, script) = (b.cache.clone(), script.clone());
        async move { no_stale(cache.try_get_with(&1, || script.clone().run())).await }
    });
    settle().await;
    script.release(2);
    assert_eq!(strict.await.expect("no panic"), Ok(2));
    assert_eq!(script.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_wants_no_stale_value_does_not_get_it_from_the_tier() {
    let (a, b) = two(|builder| builder.stale_while_revalidate(secs(60)));
    let script = Script::open();
    assert_eq!(a.call(&script).await, Ok(1));
    pass(secs(30)).await;
    assert_eq!(no_stale(b.call(&script)).await, Ok(2));
    assert_eq!((script.runs(), a.get().await), (2, Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_those_away_who_have_an_old_value() {
    let (a, b) = two(|builder| builder.stale_if_error(secs(60)).retry_after(secs(5)));
    let script = Script::open();
    assert_eq!((a.call(&script).await, b.call(&script).await), (Ok(1), Ok(1)));
    pass(secs(11)).await;
    script.ends(End::Error);
    assert_eq!((a.call(&script).await, script.runs()), (Ok(1), 2), "in place of the error");
    settle().await;
    assert_eq!((b.call(&script).await, script.runs()), (Ok(1), 2), "it is not even tried");
    pass(secs(6)).await;
    script.ends(End::Value);
    assert_eq!((b.call(&script).await, script.runs()), (Ok(3), 3));
    // Who has none may try.
    let c = Process::new(a.tier.another(), |builder| builder);
    assert_eq!(c.call(&script).await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn a_fresh_call_runs_whoever_else_does() {
    let (a, b) = two(|builder| builder);
    let script = Script::gated();
    let slow = a.spawn(&script).await;
    let call = tokio::spawn({
        let (cache, script) = (b.cache.clone(), script.clone());
        async move { fresh(cache.try_get_with(&1, || script.clone().run())).await }
    });
    settle().await;
    assert_eq!(script.runs(), 2);
    script.release(2);
    assert_eq!(call.await.expect("no panic"), Ok(2));
    settle().await;
    script.release(1);
    assert_eq!(slow.await.expect("no panic"), Ok(1), "delivered");
    settle().await;
    assert_eq!((a.get().await, b.get().await), (Some(2), Some(2)), "the later one is stored");
}

#[tokio::test(start_paused = true)]
async fn calls_that_go_past_the_store_go_past_the_tier() {
    let (a, b) = two(|builder| builder);
    let script = Script::open();
    assert_eq!(uncached(a.call(&script)).await, Ok(1));
    a.store.bypass(true);
    assert_eq!(a.call(&script).await, Ok(2));
    settle().await;
    assert_eq!(b.get().await, None);
    assert_eq!(a.stats().tier, stampede::TierStats::default());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_to_be_stored_does_not_travel() {
    for end in [End::NoCache, End::Refused, End::StoredForNothing] {
        let (a, b) = two(|builder| builder.cache_if(|value| *value != crate::ways::REFUSED));
        let script = Script::open();
        script.ends(end);
        a.call(&script).await.expect("a value");
        settle().await;
        assert_eq!((a.get().await, b.get().await), (None, None), "{end:?}");
        script.ends(End::Value);
        assert_eq!(b.call(&script).await, Ok(2), "{end:?}: and nobody waits for it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_does_not_answer_is_done_without() {
    for fault in [Fault::Hanging, Fault::Failing, Fault::Refusing, Fault::Mute, Fault::Slow(secs(5))] {
        let (a, _) = two(|builder| builder);
        a.tier.set_fault(fault);
        let share = match fault {
            Fault::Failing | Fault::Refusing => Duration::ZERO,
            _ => Limits::default().time,
        };
        let mut slow = 0;
        for key in 0..10 {
            let start = Instant::now();
            assert_eq!(a.cache.get_with(&key, || async { 7 }).await, 7);
            assert!(start.elapsed() == share || start.elapsed().is_zero(), "{fault:?}: {:?}", start.elapsed());
            slow += u32::from(start.elapsed() > Duration::ZERO);
            assert_eq!(a.cache.get_with(&key, || async { 8 }).await, 7, "memory answers");
        }
        assert!(slow <= 3, "{fault:?}: {slow} calls waited");
        assert_eq!((a.stats().runs.ok, a.stats().tier.outages), (10, 1), "{fault:?}");
        assert!(!a.cache.entry(&1).invalidate().await, "{fault:?}: it has not been told");
        // It recovers without a call.
        a.tier.set_fault(Fault::None);
        pass(secs(5)).await;
        assert!(a.cache.entry(&1).invalidate().await, "{fault:?}: it is back");
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_told_is_told_before_the_tier_is_read_again() {
    let (a, b) = two(|builder| builder.tags(["tag"]));
    let script = Script::open();
    assert_eq!((a.call(&script).await, b.call(&script).await), (Ok(1), Ok(1)));
    a.tier.set_fault(Fault::Failing);
    assert!(!a.cache.entry(&1).invalidate().await);
    assert_eq!(a.get().await, None, "here it is void");
    assert_eq!(b.get().await, Some(1), "there nobody knows");
    a.tier.set_fault(Fault::None);
    assert_eq!(a.get().await, None, "it is not asked yet");
    pass(secs(5)).await;
    assert_eq!((a.get().await, b.get().await), (None, None));
    // A value that was put in an outage stays in force here.
    a.tier.set_fault(Fault::Failing);
    a.cache.entry(&1).put(100).await;
    assert_eq!(a.get().await, Some(100));
    assert!(!a.store.invalidate_tag("tag").await);
    assert!(!a.store.clear().await);
}

#[tokio::test(start_paused = true)]
async fn without_news_the_tier_is_asked_and_without_the_tier_memory_is_trusted() {
    let (a, b) = two(|builder| builder);
    let script = Script::open();
    assert_eq!((a.call(&script).await, b.call(&script).await), (Ok(1), Ok(1)));
    let hits = b.stats().tier.hits;
    assert_eq!((b.call(&script).await, b.stats().tier.hits), (Ok(1), hits), "memory answers");
    b.tier.set_linked(false);
    assert_eq!((b.call(&script).await, b.stats().tier.hits), (Ok(1), hits + 1), "the tier is asked");
    assert_eq!((b.call(&script).await, b.stats().tier.hits), (Ok(1), hits + 2), "each time");
    a.cache.entry(&1).put(100).await;
    assert_eq!(b.call(&script).await, Ok(100), "so nothing is missed");
    b.tier.set_linked(true);
    assert_eq!((b.call(&script).await, b.stats().tier.hits), (Ok(100), hits + 4), "what was missed is not known");
    assert_eq!((b.call(&script).await, b.stats().tier.hits), (Ok(100), hits + 4), "from now on it is");
    b.tier.set_linked(false);
    b.tier.set_fault(Fault::Failing);
    assert_eq!(b.get().await, Some(100), "there is nobody to ask");
    assert_eq!((b.call(&script).await, script.runs()), (Ok(100), 1), "there is nobody to ask");
    b.tier.set_fault(Fault::None);
    pass(secs(5)).await;
    assert!(a.cache.entry(&1).invalidate().await);
    assert_eq!((b.call(&script).await, script.runs()), (Ok(2), 2));
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_has_forgotten_everything_costs_one_run() {
    let fleet = fleet(4, |builder| builder);
    let script = Script::open();
    for process in &fleet {
        assert_eq!(process.call(&script).await, Ok(1));
    }
    fleet[0].tier.restart_empty();
    settle().await;
    for process in &fleet {
        assert_eq!(process.call(&script).await, Ok(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_breaker_is_asked_when_the_tier_has_nothing() {
    let tier = MemoryTier::new();
    let process = |tier: &MemoryTier| {
        let store = Store::builder().remote(tier.another()).build();
        let builder = Cache::builder("guarded").ttl(secs(10)).breaker(1, secs(60)).remote();
        let cache: Cache<u64, CircuitOpen> = builder.store(&store).build();
        (cache, store)
    };
    let ((a, _), (b, _)) = (process(&tier), process(&tier));
    let call =
        async |cache: &Cache<u64, CircuitOpen>, script: &Script| cache.try_get_with(&1, || script.clone().run()).await;
    let script = Script::open();
    script.ends(End::Error);
    assert_eq!(call(&a, &script).await, Err(Failed::Run(1)));
    assert!(matches!(call(&a, &script).await, Err(Failed::Open(_))));
    script.ends(End::Value);
    assert_eq!(call(&b, &script).await, Ok(2), "its breaker is its own");
    assert_eq!(call(&a, &script).await, Ok(2), "what the fleet has is no run");
    assert_eq!(script.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_known_to_be_slow_is_refreshed_early_elsewhere() {
    let (a, b) = two(|builder| builder.ttl(secs(100)).xfetch(1.0));
    let script = Script::open();
    script.takes(secs(90));
    assert_eq!(a.call(&script).await, Ok(1));
    script.takes(Duration::ZERO);
    settle().await;
    let mut refreshed = false;
    for _ in 0..99 {
        assert!(b.call(&script).await.is_ok());
        settle().await;
        refreshed |= script.runs() > 1;
        pass(ms(900)).await;
    }
    assert!(refreshed, "the run time travels with the value");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_holds_nothing_still_shares() {
    let tier = MemoryTier::new();
    let process = || {
        let store = Store::builder().max_entries(0).remote(tier.another()).build();
        Cache::<u64>::builder("held nowhere")
            .ttl(secs(10))
            .stale_while_revalidate(secs(60))
            .remote()
            .store(&store)
            .build()
    };
    let (a, b) = (process(), process());
    let script = Script::open();
    let call = async |cache: &Cache<u64>| cache.try_get_with(&1, || script.clone().run()).await;
    assert_eq!((call(&a).await, call(&b).await), (Ok(1), Ok(1)));
    pass(secs(11)).await;
    assert_eq!(call(&b).await, Ok(1), "old, and at once");
    settle().await;
    assert_eq!(call(&a).await, Ok(2), "refreshed");
    assert_eq!(no_stale(call(&a)).await, Ok(2));
}

mod old {
    use super::{Deserialize, Serialize};

    #[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
    pub(super) struct User {
        pub(super) id: u64,
    }
}

mod new {
    use super::{Deserialize, Serialize};

    #[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
    pub(super) struct User {
        pub(super) id: String,
    }
}

#[tokio::test(start_paused = true)]
async fn types_versions_and_names_do_not_read_each_other() {
    let tier = MemoryTier::new();
    let store = || Store::builder().remote(tier.another()).build();
    let (one, two, three) = (store(), store(), store());
    let old: Cache<old::User> = Cache::builder("users").ttl(secs(10)).remote().store(&one).build();
    let new: Cache<new::User> = Cache::builder("users").ttl(secs(10)).remote().store(&two).build();
    assert_eq!(old.get_with(&1, || async { old::User { id: 1 } }).await.id, 1);
    settle().await;
    assert_eq!(new.get_with(&1, || async { new::User { id: "1".to_owned() } }).await.id, "1");
    settle().await;
    assert_eq!(two.stats().tier.undecodable, 1);
    let version: Cache<new::User> = Cache::builder("users").version(2).ttl(secs(10)).remote().store(&three).build();
    assert_eq!(version.entry(&1).get().await, None);
    let name: Cache<new::User> = Cache::builder("people").ttl(secs(10)).remote().store(&three).build();
    assert_eq!(name.entry(&1).get().await, None);
    let same: Cache<new::User> = Cache::builder("users").ttl(secs(10)).remote().store(&three).build();
    assert_eq!(same.entry(&1).get().await, Some(new::User { id: "1".to_owned() }));
}

#[coalesce(ttl = "10s", remote)]
async fn number(id: u64) -> u64 {
    id
}

#[tokio::test(start_paused = true)]
async fn a_function_and_its_companion_mean_the_same_in_the_tier() {
    let tier = MemoryTier::new();
    let (a, b) = (Store::builder().remote(tier.another()).build(), Store::builder().remote(tier.another()).build());
    a.scope(async { assert_eq!(number(1).await, 1) }).await;
    settle().await;
    b.scope(async { assert_eq!(number_entry(1).get().await, Some(1)) }).await;
    b.scope(async { number_entry(2).put(20).await }).await;
    a.scope(async { assert_eq!(number(2).await, 20) }).await;
}

/// Each has an inner function of the same name.
mod namesakes {
    use stampede::coalesce;

    pub(super) async fn one() -> u64 {
        #[coalesce(ttl = "10s", remote)]
        async fn inner() -> u64 {
            1
        }
        inner().await
    }

    pub(super) async fn two() -> u64 {
        #[coalesce(ttl = "10s", remote)]
        async fn inner() -> u64 {
            2
        }
        inner().await
    }
}

#[tokio::test(start_paused = true)]
async fn functions_in_functions_are_told_apart() {
    let tier = MemoryTier::new();
    let (a, b) = (Store::builder().remote(tier.another()).build(), Store::builder().remote(tier.another()).build());
    a.scope(async { assert_eq!(namesakes::one().await, 1) }).await;
    settle().await;
    b.scope(async { assert_eq!(namesakes::two().await, 2) }).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_leaves_no_lease_behind() {
    let (a, b) = two(|builder| builder);
    let script = Script::open();
    a.tier.set_fault(Fault::Slow(ms(100)));
    for polls in [0, 40, 60, 90] {
        let call = {
            let (store, script) = (a.store.clone(), script.clone());
            tokio::spawn(async move { store.scope(inline(&script, 1)).await })
        };
        settle().await;
        pass(ms(polls)).await;
        call.abort();
        // The claim comes to its end, and then the lease goes back.
        for _ in 0..4 {
            pass(ms(100)).await;
        }
        let start = Instant::now();
        b.store.scope(async { inline(&script, 1).await.expect("a value") }).await;
        assert!(start.elapsed() < ms(10), "after {polls} ms: {:?}", start.elapsed());
        b.store.scope(async { assert!(inline_entry(1).invalidate().await) }).await;
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_copy_that_nobody_vouches_for_is_no_answer() {
    let (a, b) = two(|builder| builder.stale_if_error(secs(60)).retry_after(secs(5)));
    let script = Script::open();
    assert_eq!((a.call(&script).await, b.call(&script).await), (Ok(1), Ok(1)));
    b.tier.set_linked(false);
    assert!(a.cache.entry(&1).invalidate().await, "which B does not hear");
    pass(secs(11)).await;
    script.ends(End::Error);
    assert_eq!(b.call(&script).await, Err(Failed::Run(2)), "the old value is void");
    assert_eq!(b.call(&script).await, Err(Failed::Run(3)));
}

#[tokio::test(start_paused = true)]
async fn a_store_grants_no_longer_ttl_to_what_comes_from_elsewhere() {
    let tier = MemoryTier::new();
    let process = |max_ttl| {
        let store = Store::builder().max_ttl(max_ttl).remote(tier.another()).build();
        Cache::<u64>::builder("granted").ttl(secs(60)).remote().store(&store).build()
    };
    let (a, b) = (process(secs(60)), process(secs(10)));
    assert_eq!(a.get_with(&1, || async { 1 }).await, 1);
    pass(secs(4)).await;
    assert_eq!(b.get_with(&1, || async { 2 }).await, 1);
    pass(ms(5_999)).await;
    assert_eq!(b.get_with(&1, || async { 2 }).await, 1);
    pass(ms(1)).await;
    assert_eq!(b.get_with(&1, || async { 2 }).await, 2, "ten seconds after it was made");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_in_mind_one_by_one_is_voided_altogether() {
    let (a, b) = two(|builder| builder);
    for key in 0..10 {
        assert_eq!(b.cache.get_with(&key, || async { 1 }).await, 1);
    }
    settle().await;
    a.tier.set_fault(Fault::Failing);
    // More than are kept.
    for key in 0..5000 {
        assert!(!a.cache.entry(&key).invalidate().await);
    }
    a.tier.set_fault(Fault::None);
    pass(secs(5)).await;
    for key in 0..10 {
        assert_eq!((a.cache.entry(&key).get().await, b.cache.entry(&key).get().await), (None, None), "{key}");
    }
}

/// A struct as two versions of a program have it.
mod grown {
    use super::{Deserialize, Serialize};

    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub(super) struct Before {
        pub(super) id: u64,
        pub(super) name: String,
    }

    #[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
    pub(super) struct After {
        pub(super) name: String,
        pub(super) mail: Option<String>,
        pub(super) id: u64,
    }
}

#[test]
fn a_struct_that_has_gained_an_optional_field_reads_what_was_there() {
    use stampede::codec::{Codec, Json, MessagePack};

    let before = grown::Before { id: 7, name: "Ada".to_owned() };
    let after = grown::After { id: 7, name: "Ada".to_owned(), mail: None };
    let bytes = MessagePack::encode(&before).expect("it can be written");
    assert_eq!(<MessagePack as Codec<grown::After>>::decode(&bytes).as_ref(), Ok(&after));
    let bytes = Json::encode(&before).expect("it can be written");
    assert_eq!(<Json as Codec<grown::After>>::decode(&bytes), Ok(after));
    let bytes = MessagePack::encode(&"Ada".to_owned()).expect("it can be written");
    assert!(<MessagePack as Codec<grown::After>>::decode(&bytes).is_err());
}

#[tokio::test(start_paused = true)]
async fn what_was_expired_by_hand_is_not_trusted_as_fresh() {
    let (a, b) = two(|builder| builder.stale_if_error(secs(60)));
    let script = Script::open();
    assert_eq!((a.call(&script).await, b.call(&script).await), (Ok(1), Ok(1)));
    b.tier.set_linked(false);
    b.tier.set_fault(Fault::Failing);
    assert!(!b.cache.entry(&1).expire().await);
    assert_eq!(b.get().await, None);
    assert_eq!(b.call(&script).await, Ok(2));
    // The first trip that fails is a call's.
    let c = Process::new(a.tier.another(), |builder| builder.stale_if_error(secs(60)));
    assert_eq!(c.call(&script).await, Ok(1));
    assert!(a.cache.entry(&1).expire().await);
    settle().await;
    c.tier.set_linked(false);
    c.tier.set_fault(Fault::Failing);
    assert_eq!(c.call(&script).await, Ok(3));
}
