//! The tier in memory keeps the promises of a tier, and fails as it is told to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use stampede_runtime::tier::memory::{Fault, MemoryTier};
use stampede_runtime::tier::{Acquired, Claim, Limits, News, Record, Tier, TierKey, conformance};
use tokio::time::{Instant, timeout};

fn pair() -> (MemoryTier, MemoryTier) {
    let one = MemoryTier::with_limits(Limits { lease: Duration::from_secs(1), ..Limits::default() });
    let two = one.another();
    (one, two)
}

fn key(name: &str) -> TierKey {
    TierKey { cache: "tier".into(), parts: name.as_bytes().into() }
}

fn record() -> Record {
    Record {
        payload: b"value".to_vec(),
        fingerprint: 1,
        fresh: Duration::from_mins(1),
        stale: Duration::ZERO,
        run_time: Duration::ZERO,
        tags: Arc::default(),
    }
}

fn attach(tier: &MemoryTier) -> Arc<Mutex<Vec<News>>> {
    let news = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&news);
    tier.attach(Box::new(move |news| heard.lock().expect("no listener panics").push(news)));
    news
}

fn heard(news: &Mutex<Vec<News>>) -> Vec<News> {
    std::mem::take(&mut news.lock().expect("no listener panics"))
}

#[tokio::test(start_paused = true)]
async fn it_conforms() {
    conformance::check(async || pair()).await;
}

#[tokio::test(start_paused = true)]
async fn it_does_as_the_model_does() {
    conformance::replay(async || pair()).await;
}

#[tokio::test(start_paused = true)]
async fn it_fails_in_the_ways_that_it_is_told_to_and_for_one_process_alone() {
    let (one, two) = pair();
    let key = key("a");
    one.set_fault(Fault::Failing);
    assert!(one.put(&key, record()).await.is_err_and(|error| !error.is_loud()));
    one.set_fault(Fault::Refusing);
    assert!(one.put(&key, record()).await.is_err_and(|error| error.is_loud()));
    one.set_fault(Fault::Hanging);
    assert!(timeout(Duration::from_secs(9), one.put(&key, record())).await.is_err());
    assert!(two.read(&key).await.is_ok_and(|kept| kept.is_none()), "nothing has been done");
    one.set_fault(Fault::Mute);
    assert!(timeout(Duration::from_secs(9), one.put(&key, record())).await.is_err());
    assert!(two.read(&key).await.is_ok_and(|kept| kept.is_some()), "it has been done");
    one.set_fault(Fault::None);
    assert!(one.invalidate(&key).await.is_ok() && two.ping().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_slow_tier_acts_halfway_through_the_trip() {
    let (one, two) = pair();
    let key = key("a");
    one.set_fault(Fault::Slow(Duration::from_secs(2)));
    let begun = Instant::now();
    let (put, (before, after)) = tokio::join!(one.put(&key, record()), async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        let before = two.read(&key).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        (before, two.read(&key).await)
    });
    assert!(put.is_ok() && begun.elapsed() == Duration::from_secs(2));
    assert!(before.is_ok_and(|kept| kept.is_none()) && after.is_ok_and(|kept| kept.is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_brings_no_news() {
    let (one, two) = pair();
    let news = attach(&two);
    assert_eq!(heard(&news), [News::Linked]);
    one.clear().await.expect("nothing is wrong");
    two.clear().await.expect("nothing is wrong");
    assert_eq!(heard(&news), [News::Cleared], "of others");
    two.set_linked(false);
    two.set_linked(false);
    one.invalidate(&key("a")).await.expect("nothing is wrong");
    two.set_linked(true);
    assert_eq!(heard(&news), [News::Unlinked, News::Linked]);
    two.set_linked(false);
    heard(&news);
    assert_eq!(heard(&attach(&two)), [], "there is no link to begin with");
}

#[tokio::test(start_paused = true)]
async fn a_read_only_tier_answers_and_takes_nothing() {
    let (one, two) = pair();
    let key = key("a");
    one.put(&key, record()).await.expect("nothing is wrong");
    two.set_read_only(true);
    assert!(one.read(&key).await.is_ok_and(|kept| kept.is_some()));
    assert!(one.ping().await.is_err() && one.invalidate(&key).await.is_err());
    assert!(one.acquire(&key, Claim::default()).await.is_err());
    assert!(two.read(&key).await.is_ok_and(|kept| kept.is_some()), "nothing was invalidated");
    one.set_read_only(false);
    assert!(one.ping().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_restarted_tier_has_forgotten_values_leases_and_voids() {
    let (one, two) = pair();
    let (a, b) = (key("a"), key("b"));
    let (news, away) = (attach(&one), attach(&two));
    two.set_linked(false);
    one.put(&a, record()).await.expect("nothing is wrong");
    let Ok(Acquired::Leased(lease)) = one.acquire(&b, Claim::default()).await else { panic!("nobody has it") };
    let signal = one.watch(&b).await.expect("nothing is wrong");
    heard(&news);
    heard(&away);
    one.restart_empty();
    assert_eq!((heard(&news), heard(&away)), (vec![News::Unlinked, News::Linked], vec![]));
    assert!(two.read(&a).await.is_ok_and(|kept| kept.is_none()));
    assert!(one.fill(&b, lease, record()).await.is_ok_and(|fill| fill.is_none()), "its lease was forgotten");
    assert!(timeout(Duration::from_secs(1), signal).await.is_ok(), "those who wait are woken");
}
