//! Responses that a fleet shares: several layers on one tier in memory, under a paused clock.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Channel, Empty};
use stampede::Store;
use stampede::http::{CacheLayer, CacheService};
use stampede::tier::memory::MemoryTier;
use tokio::time::advance;
use tower::util::BoxCloneService;
use tower::{Layer, ServiceExt};

use crate::harness::{Read, empty, read};

const TTL: Duration = Duration::from_secs(10);

type Inner = BoxCloneService<Request<Empty<Bytes>>, Response<Channel<Bytes, Infallible>>, Infallible>;

/// One process of a fleet. Its handler says which run it is, in two pieces, and then its trailers.
struct Site {
    service: CacheService<Inner>,
    store: Store,
}

/// The handler of all of them.
#[derive(Clone, Default)]
struct Handler {
    runs: Arc<AtomicUsize>,
    lines: &'static [(&'static str, &'static str)],
    /// How long it takes from the first piece to the second.
    takes: Duration,
}

impl Handler {
    fn runs(&self) -> usize {
        self.runs.load(SeqCst)
    }
}

fn site(tier: &MemoryTier, handler: &Handler, layer: CacheLayer) -> Site {
    let handler = handler.clone();
    let inner = tower::service_fn(move |_| {
        let Handler { runs, lines, takes } = handler.clone();
        async move {
            let run = runs.fetch_add(1, SeqCst) + 1;
            let mut response = Response::builder().status(200);
            for (name, value) in lines {
                response = response.header(*name, *value);
            }
            let (mut sender, body) = Channel::new(4);
            tokio::spawn(async move {
                sender.send_data(Bytes::from(format!("run {run}, "))).await.unwrap();
                tokio::time::sleep(takes).await;
                sender.send_data(Bytes::from_static(b"the end")).await.unwrap();
            });
            Ok::<_, Infallible>(response.body(body).unwrap())
        }
    });
    let store = Store::builder().remote(tier.another()).build();
    let service = layer.store(&store).remote().layer(BoxCloneService::new(inner));
    Site { service, store }
}

impl Site {
    async fn get(&self) -> Read {
        let answer = read(self.service.clone().oneshot(empty("GET", "/a?b", &[])).await.unwrap()).await.unwrap();
        settle().await;
        answer
    }
}

async fn settle() {
    for _ in 0..40 {
        tokio::task::yield_now().await;
    }
}

async fn pass(time: Duration) {
    settle().await;
    advance(time).await;
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_response_is_one_run_for_the_fleet() {
    let (tier, handler) =
        (MemoryTier::new(), Handler { lines: &[("x-line", "1"), ("x-line", "2")], ..Handler::default() });
    let sites: Vec<_> = (0..4).map(|_| site(&tier, &handler, CacheLayer::new(TTL))).collect();
    let first = sites[0].get().await;
    assert_eq!(first.text(), "run 1, the end");
    pass(Duration::from_secs(4)).await;
    for site in &sites[1..] {
        let answer = site.get().await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "run 1, the end"));
        let lines: Vec<_> = answer.headers.get_all("x-line").iter().collect();
        assert_eq!(lines, ["1", "2"]);
        let status = answer.headers["cache-status"].to_str().unwrap();
        assert!(status.contains("hit"), "{status}");
        assert_eq!(site.store.stats().calls.fresh, 1);
    }
    pass(Duration::from_secs(6)).await;
    assert_eq!(sites[3].get().await.text(), "run 2, the end", "no later than where it was made");
    assert_eq!((sites[0].get().await.text(), handler.runs()), ("run 2, the end", 2));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_streams_travels_when_it_is_whole() {
    let (tier, handler) = (MemoryTier::new(), Handler { takes: Duration::from_secs(5), ..Handler::default() });
    let (a, b) = (site(&tier, &handler, CacheLayer::new(TTL)), site(&tier, &handler, CacheLayer::new(TTL)));
    let (one, two) = tokio::join!(a.get(), b.get());
    assert_eq!((one.text(), two.text(), handler.runs()), ("run 1, the end", "run 1, the end", 1));
    assert_eq!((a.store.stats().tier.fills, b.store.stats().tier.hits), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_personal_stays_where_it_was_made() {
    let (tier, handler) = (MemoryTier::new(), Handler { lines: &[("set-cookie", "user=1")], ..Handler::default() });
    let sites: Vec<_> = (0..4).map(|_| site(&tier, &handler, CacheLayer::new(TTL))).collect();
    let mut answers = Vec::new();
    for site in &sites {
        answers.push(site.get().await.text().to_owned());
    }
    assert_eq!(answers, ["run 1, the end", "run 2, the end", "run 3, the end", "run 4, the end"]);
    for site in &sites {
        assert_eq!(site.store.stats().tier.fills, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_response_from_elsewhere_is_refreshed_here() {
    let (tier, handler) = (MemoryTier::new(), Handler::default());
    let layer = || CacheLayer::new(TTL).stale_while_revalidate(Duration::from_mins(1));
    let (a, b) = (site(&tier, &handler, layer()), site(&tier, &handler, layer()));
    assert_eq!(a.get().await.text(), "run 1, the end");
    pass(Duration::from_secs(11)).await;
    assert_eq!(b.get().await.text(), "run 1, the end", "old, and at once");
    settle().await;
    assert_eq!((b.get().await.text(), handler.runs()), ("run 2, the end", 2));
    assert_eq!((a.get().await.text(), handler.runs()), ("run 1, the end", 2), "its own copy, once");
    assert_eq!((a.get().await.text(), handler.runs()), ("run 2, the end", 2));
}

#[tokio::test(start_paused = true)]
async fn an_old_response_that_will_not_do_leads_to_a_run() {
    let (tier, handler) = (MemoryTier::new(), Handler::default());
    let layer = || CacheLayer::new(TTL).stale_if_error(Duration::from_mins(1));
    let (a, b) = (site(&tier, &handler, layer()), site(&tier, &handler, layer()));
    assert_eq!(a.get().await.text(), "run 1, the end");
    pass(Duration::from_secs(11)).await;
    assert_eq!(b.get().await.text(), "run 2, the end");
}

#[tokio::test(start_paused = true)]
async fn what_one_process_voids_is_void_for_all() {
    let (tier, handler) = (MemoryTier::new(), Handler::default());
    let layer = || CacheLayer::new(TTL).tags(["all"]);
    let (a, b) = (site(&tier, &handler, layer()), site(&tier, &handler, layer()));
    assert_eq!((a.get().await.text(), b.get().await.text()), ("run 1, the end", "run 1, the end"));
    assert!(a.store.invalidate_tag("all").await);
    settle().await;
    assert_eq!(b.get().await.text(), "run 2, the end");
    let write = a.service.clone().oneshot(empty("POST", "/a?b", &[])).await.unwrap();
    assert_eq!(read(write).await.unwrap().text(), "run 3, the end");
    settle().await;
    assert_eq!(b.get().await.text(), "run 4, the end");
}
