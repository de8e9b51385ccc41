//! What the tests say again and again.

use std::sync::Arc;
use std::time::Duration;

use stampede_redis::Redis;
use stampede_runtime::tier::{Acquired, Claim, Kept, Lease, News, Record, Tier, TierKey};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::server::Server;

pub(crate) const MINUTE: Duration = Duration::from_mins(1);

pub(crate) async fn connect(server: &Server) -> Redis {
    Redis::connect(server.url()).prefix("shop").await.unwrap()
}

pub(crate) fn key(parts: &str) -> TierKey {
    TierKey { cache: "app::load".into(), parts: parts.as_bytes().into() }
}

pub(crate) fn tags<const N: usize>(tags: [&str; N]) -> Arc<[Arc<str>]> {
    tags.into_iter().map(Arc::from).collect()
}

pub(crate) fn record(payload: &str) -> Record {
    Record {
        payload: payload.as_bytes().to_vec(),
        fingerprint: 7,
        fresh: MINUTE,
        stale: Duration::ZERO,
        run_time: Duration::from_micros(1500),
        tags: Arc::default(),
    }
}

pub(crate) fn tagged<const N: usize>(payload: &str, names: [&str; N]) -> Record {
    Record { tags: tags(names), ..record(payload) }
}

pub(crate) fn claim<const N: usize>(names: [&str; N]) -> Claim {
    Claim { tags: tags(names), ..Claim::default() }
}

pub(crate) fn leased(acquired: Acquired) -> Lease {
    let Acquired::Leased(lease) = acquired else { panic!("{acquired:?} is no lease") };
    lease
}

pub(crate) fn value(acquired: Acquired) -> Kept {
    let Acquired::Value(kept) = acquired else { panic!("{acquired:?} is no value") };
    kept
}

pub(crate) fn busy(acquired: Acquired) -> Duration {
    match acquired {
        Acquired::Busy(left) => left,
        other => panic!("{other:?} is not busy"),
    }
}

pub(crate) async fn lease(tier: &impl Tier, key: &TierKey) -> Lease {
    leased(tier.acquire(key, Claim::default()).await.unwrap())
}

pub(crate) async fn payload(tier: &impl Tier, key: &TierKey) -> Option<String> {
    tier.read(key).await.unwrap().map(|kept| String::from_utf8(kept.record.payload).unwrap())
}

/// What a tier tells from now on.
pub(crate) fn listen(tier: &impl Tier) -> UnboundedReceiver<News> {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tier.attach(Box::new(move |news| _ = sender.send(news)));
    receiver
}

/// What a tier tells, once it is linked.
pub(crate) async fn linked(tier: &impl Tier) -> UnboundedReceiver<News> {
    let mut news = listen(tier);
    assert_eq!(next(&mut news).await, News::Linked);
    news
}

pub(crate) async fn next(news: &mut UnboundedReceiver<News>) -> News {
    within(Duration::from_secs(10), news.recv()).await.unwrap()
}

pub(crate) async fn within<T>(time: Duration, future: impl IntoFuture<Output = T>) -> T {
    tokio::time::timeout(time, future).await.expect("it takes too long")
}

/// Asks again until the answer is yes.
pub(crate) async fn until(mut question: impl AsyncFnMut() -> bool) {
    within(Duration::from_secs(15), async {
        while !question().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
