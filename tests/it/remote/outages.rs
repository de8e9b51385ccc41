//! A tier that does not answer, has no news, or has forgotten.

use std::time::Duration;

use stampede::tier::Limits;
use stampede::tier::memory::Fault;
use tokio::time::Instant;

use super::{fleet, two};
use crate::tools::{ms, pass, secs, settle};
use crate::ways::{End, Fault as Failed, Script};

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
async fn what_was_loaded_while_an_invalidation_was_on_its_way_is_void() {
    let (a, b) = two(|builder| builder);
    let script = Script::open();
    assert_eq!(b.call(&script).await, Ok(1));
    settle().await;
    a.tier.set_linked(false);
    a.tier.set_fault(Fault::Slow(ms(200)));
    let entry = a.cache.entry(&1);
    let told = tokio::spawn(async move { entry.invalidate().await });
    settle().await;
    a.tier.set_fault(Fault::None);
    assert_eq!(a.call(&script).await, Ok(1), "the tier has not heard of it yet");
    assert!(told.await.expect("no panic"));
    // Memory is all that is left to ask.
    a.tier.set_fault(Fault::Failing);
    assert_eq!(a.call(&script).await, Ok(2));
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
