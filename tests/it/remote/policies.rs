//! What the policies come to in a fleet.

use std::time::Duration;

use stampede::tier::memory::{Fault, MemoryTier};
use stampede::{Cache, CircuitOpen, no_stale, uncached};

use super::{Process, fleet, two};
use crate::stores::Store;
use crate::tools::{ms, pass, secs, settle};
use crate::ways::{End, Fault as Failed, Script};

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
async fn what_arrives_when_the_store_is_switched_off_is_not_kept() {
    let (a, b) = two(|builder| builder);
    let script = Script::open();
    assert_eq!(b.call(&script).await, Ok(1));
    settle().await;
    a.tier.set_fault(Fault::Slow(ms(200)));
    let call = a.spawn(&script).await;
    a.store.bypass(true);
    assert_eq!(call.await.expect("no panic"), Ok(1));
    a.store.bypass(false);
    a.tier.set_fault(Fault::None);
    assert_eq!((a.call(&script).await, a.stats().tier.hits), (Ok(1), 2), "the tier has to be asked again");
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
async fn a_breaker_is_asked_when_the_tier_has_nothing() {
    let tier = MemoryTier::new();
    let process = |tier: &MemoryTier| {
        let store = Store::builder().and(|store| store.remote(tier.another())).build();
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
        let store = Store::builder().max_entries(0).and(|store| store.remote(tier.another())).build();
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

#[tokio::test(start_paused = true)]
async fn a_store_grants_no_longer_ttl_to_what_comes_from_elsewhere() {
    let tier = MemoryTier::new();
    let process = |max_ttl| {
        let store = Store::builder().max_ttl(max_ttl).and(|store| store.remote(tier.another())).build();
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
