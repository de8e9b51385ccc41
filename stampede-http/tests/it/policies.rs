//! Freshness and failure, under a paused clock: no sockets.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use stampede::Store;
use stampede::http::{CacheLayer, CacheService};
use tokio::sync::Semaphore;
use tokio::time::{Instant, advance};
use tower::util::BoxCloneService;
use tower::{Layer, ServiceExt};

use crate::harness::{Read, empty, read, service};

const TTL: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_mins(1);

type Inner = BoxCloneService<Request<Empty<Bytes>>, Response<Full<Bytes>>, Infallible>;

/// A service behind a layer, whose handler answers with its run's number, and the status it is told; 0 is a panic.
struct Site {
    service: CacheService<Inner>,
    runs: Arc<AtomicUsize>,
    status: Arc<AtomicU16>,
    gate: Arc<Semaphore>,
    store: Store,
}

fn site(layer: CacheLayer, lines: &'static [(&'static str, &'static str)]) -> Site {
    let (runs, status, gate) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU16::new(200)), Arc::new(Semaphore::new(1000)));
    let inner = {
        let (runs, status, gate) = (Arc::clone(&runs), Arc::clone(&status), Arc::clone(&gate));
        service(move |_| {
            let (run, status, gate) = (runs.fetch_add(1, SeqCst) + 1, Arc::clone(&status), Arc::clone(&gate));
            async move {
                gate.acquire().await.unwrap().forget();
                let status = status.load(SeqCst);
                assert_ne!(status, 0, "the handler's fault");
                let mut response = Response::builder().status(status);
                for (name, value) in lines {
                    response = response.header(*name, *value);
                }
                response.body(Full::from(run.to_string())).unwrap()
            }
        })
    };
    let store = Store::builder().build();
    let service = layer.store(&store).layer(BoxCloneService::new(inner));
    Site { service, runs, status, gate, store }
}

impl Site {
    async fn get(&self) -> Read {
        read(self.service.clone().oneshot(empty("GET", "/", &[])).await.unwrap()).await.unwrap()
    }

    async fn text(&self) -> String {
        let read = self.get().await;
        format!("{} {}", read.status.as_u16(), read.text())
    }

    /// Lets the runs in the background come to their end.
    async fn settle(&self) {
        while self.store.stats().in_flight > 0 {
            tokio::task::yield_now().await;
        }
    }

    fn shut_gate(&self) {
        self.gate.forget_permits(1000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_expires_and_one_run_takes_its_place() {
    let site = site(CacheLayer::new(TTL), &[]);
    assert_eq!(site.text().await, "200 1");
    advance(Duration::from_millis(9_999)).await;
    let read = site.get().await;
    assert_eq!((read.text(), read.header("age"), read.cache_status()), ("1", "9", "stampede; hit; ttl=0"));
    advance(Duration::from_millis(1)).await;
    let callers = (0..100).map(|_| site.text());
    let mut texts = Vec::new();
    for caller in callers.map(Box::pin).collect::<Vec<_>>() {
        texts.push(caller.await);
    }
    assert!(texts.iter().all(|text| text == "200 2"));
    assert_eq!(site.runs.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn stale_while_revalidate() {
    let site = site(CacheLayer::new(TTL).stale_while_revalidate(WINDOW).x_cache(true), &[]);
    assert_eq!(site.get().await.header("x-cache"), "MISS");
    advance(TTL + Duration::from_secs(3)).await;
    let stale = site.get().await;
    assert_eq!((stale.text(), stale.header("x-cache"), stale.cache_status()), ("1", "STALE", "stampede; hit; ttl=-4"));
    assert_eq!(stale.header("age"), "13");
    site.settle().await;
    let fresh = site.get().await;
    assert_eq!((fresh.text(), fresh.header("x-cache"), fresh.header("age")), ("2", "HIT", "0"));
    advance(TTL + WINDOW).await;
    assert_eq!(site.text().await, "200 3", "past the window nobody gets an old one");
}

#[tokio::test(start_paused = true)]
async fn a_response_may_shorten_its_windows_and_not_lengthen_them() {
    for (lines, after, text) in [
        (&[("cache-control", "must-revalidate")][..], 1, "200 2"),
        (&[("cache-control", "max-age=10, stale-while-revalidate=5")], 4, "200 1"),
        (&[("cache-control", "max-age=10, stale-while-revalidate=5")], 6, "200 2"),
        (&[("cache-control", "stale-while-revalidate=9999")], 59, "200 1"),
        (&[("cache-control", "stale-while-revalidate=9999")], 61, "200 2"),
    ] {
        let site = site(CacheLayer::new(TTL).stale_while_revalidate(WINDOW), lines);
        site.get().await;
        advance(TTL + Duration::from_secs(after)).await;
        assert_eq!(site.text().await, text, "{lines:?} after {after} s");
    }
}

#[tokio::test(start_paused = true)]
async fn stale_if_error_covers_5xx_panics_and_time_outs() {
    for fault in ["500", "panic", "timeout"] {
        let layer = CacheLayer::new(TTL).stale_if_error(WINDOW).timeout(Duration::from_secs(1));
        let site = site(layer, &[]);
        site.get().await;
        advance(TTL + Duration::from_secs(1)).await;
        match fault {
            "500" => site.status.store(500, SeqCst),
            "panic" => site.status.store(0, SeqCst),
            _ => site.shut_gate(),
        }
        let read = site.get().await;
        assert_eq!((read.status.as_u16(), read.text()), (200, "1"), "{fault}");
        assert!(read.cache_status().starts_with("stampede; hit; ttl=-"), "{fault}: {}", read.cache_status());
        assert_eq!(site.runs.load(SeqCst), 2, "{fault}");
        if fault != "timeout" {
            site.get().await;
            assert_eq!(site.runs.load(SeqCst), 2, "{fault}: not at once again");
            advance(Duration::from_secs(2)).await;
            site.get().await;
            assert_eq!(site.runs.load(SeqCst), 3, "{fault}: but after `retry_after`");
            advance(WINDOW).await;
            assert_eq!(site.get().await.status, 500, "{fault}: past the window");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_a_504_and_the_run_goes_on() {
    let site = site(CacheLayer::new(TTL).timeout(Duration::from_secs(1)), &[]);
    site.shut_gate();
    let start = Instant::now();
    assert_eq!(site.get().await.status, 504);
    assert_eq!(start.elapsed().as_secs(), 1);
    site.gate.add_permits(1);
    site.settle().await;
    assert_eq!(site.text().await, "200 1");
}

#[tokio::test(start_paused = true)]
async fn a_run_beyond_its_limit_is_a_504_to_all_who_wait() {
    let site = site(CacheLayer::new(TTL).run_limit(Duration::from_secs(3)), &[]);
    site.shut_gate();
    let start = Instant::now();
    let (one, two) = tokio::join!(site.get(), site.get());
    assert_eq!((one.status.as_u16(), two.status.as_u16(), site.runs.load(SeqCst)), (504, 504, 1));
    assert_eq!(start.elapsed().as_secs(), 3);
    site.gate.add_permits(1);
    assert_eq!(site.text().await, "200 2");
}

#[tokio::test(start_paused = true)]
async fn soft_timeout() {
    let layer = CacheLayer::new(TTL).stale_if_error(WINDOW).soft_timeout(Duration::from_millis(100));
    let site = site(layer, &[]);
    site.get().await;
    advance(TTL + Duration::from_secs(1)).await;
    site.shut_gate();
    let start = Instant::now();
    assert_eq!(site.text().await, "200 1");
    assert_eq!(start.elapsed(), Duration::from_millis(100));
    site.gate.add_permits(1);
    site.settle().await;
    assert_eq!(site.text().await, "200 2");
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_a_503_with_retry_after() {
    let site = site(CacheLayer::new(TTL).breaker(2, Duration::from_secs(30)), &[]);
    site.status.store(500, SeqCst);
    for text in ["500 1", "500 2"] {
        assert_eq!(site.text().await, text);
    }
    let read = site.get().await;
    assert_eq!((read.status.as_u16(), read.header("retry-after"), site.runs.load(SeqCst)), (503, "30", 2));
    site.status.store(200, SeqCst);
    advance(Duration::from_secs(31)).await;
    assert_eq!(site.text().await, "200 3");
}

#[tokio::test(start_paused = true)]
async fn refresh_ahead_and_xfetch_run_before_the_end() {
    let layers = [CacheLayer::new(TTL).refresh_ahead(0.5), CacheLayer::new(TTL).xfetch(1e12)];
    for (layer, at) in layers.into_iter().zip([6, 1]) {
        let site = site(layer, &[]);
        site.shut_gate();
        // A run that takes a second, for XFetch goes by that.
        tokio::join!(site.get(), async {
            while site.runs.load(SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            advance(Duration::from_secs(1)).await;
            site.gate.add_permits(2);
        });
        advance(Duration::from_secs(at)).await;
        assert_eq!(site.text().await, "200 1");
        site.settle().await;
        assert_eq!(site.runs.load(SeqCst), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn jitter_only_shortens() {
    let mut ages = Vec::new();
    for _ in 0..20 {
        let site = site(CacheLayer::new(TTL).jitter(0.5), &[]);
        site.get().await;
        let mut age = 0;
        while site.text().await == "200 1" {
            advance(Duration::from_millis(100)).await;
            age += 1;
        }
        ages.push(age);
    }
    assert!(ages.iter().all(|age| (49..=100).contains(age)), "{ages:?}");
    assert!(ages.iter().any(|age| *age != ages[0]), "{ages:?}");
}

#[tokio::test(start_paused = true)]
async fn ttl_by_status() {
    let layer = CacheLayer::new(TTL).ttl_by_status(|status| match status.as_u16() {
        200 => Some(Duration::from_secs(5)),
        503 => Some(Duration::from_secs(1)),
        _ => None,
    });
    let site = site(layer, &[]);
    for (status, seconds) in [(200, 5), (503, 1), (404, 0)] {
        site.status.store(status, SeqCst);
        let first = site.text().await;
        if seconds > 0 {
            advance(Duration::from_millis(seconds * 1000 - 1)).await;
            assert_eq!(site.text().await, first, "{status}");
            advance(Duration::from_millis(1)).await;
        }
        let next = site.runs.load(SeqCst) + 1;
        assert_eq!(site.text().await, format!("{status} {next}"));
        advance(TTL).await;
    }
}

#[tokio::test(start_paused = true)]
async fn wrappers_and_switches_of_the_store_apply() {
    let site = site(CacheLayer::new(TTL), &[]);
    assert_eq!(site.text().await, "200 1");
    assert_eq!(stampede::fresh(site.text()).await, "200 2");
    assert_eq!(stampede::uncached(site.text()).await, "200 3");
    assert_eq!(site.text().await, "200 2");
    site.store.bypass(true);
    assert_eq!(site.text().await, "200 4");
    site.store.bypass(false);
    assert_eq!(site.text().await, "200 2");
    site.store.clear().await;
    assert_eq!(site.text().await, "200 5");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_dies_in_its_body_leaves_the_old_response_in_use() {
    use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
    type Streamed = UnsyncBoxBody<Bytes, std::io::Error>;
    let runs = Arc::new(AtomicUsize::new(0));
    let inner = tower::service_fn({
        let runs = Arc::clone(&runs);
        move |_: Request<Empty<Bytes>>| {
            let run = runs.fetch_add(1, SeqCst) + 1;
            async move {
                let body: Streamed = if run == 2 {
                    let (feed, body) = crate::harness::fed();
                    feed.send("half a ");
                    tokio::spawn(async move {
                        tokio::task::yield_now().await;
                        feed.fail();
                    });
                    body.map_err(std::io::Error::other).boxed_unsync()
                } else {
                    Full::from(run.to_string()).map_err(|never| match never {}).boxed_unsync()
                };
                Ok::<_, Infallible>(Response::new(body))
            }
        }
    });
    let store = Store::builder().build();
    let layer = CacheLayer::new(TTL).stale_while_revalidate(WINDOW).store(&store);
    let service = layer.layer(inner);
    let get = || async {
        let response = service.clone().oneshot(empty("GET", "/", &[])).await.unwrap();
        String::from_utf8(read(response).await.unwrap().body.to_vec()).unwrap()
    };
    assert_eq!(get().await, "1");
    advance(TTL).await;
    assert_eq!(get().await, "1");
    while store.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((get().await.as_str(), runs.load(SeqCst)), ("1", 2));
    advance(Duration::from_secs(2)).await;
    assert_eq!(get().await, "1");
    while store.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((get().await.as_str(), runs.load(SeqCst)), ("3", 3));
}

/// What a response says about its lifetime, it says when it begins.
#[tokio::test(start_paused = true)]
async fn a_body_that_takes_its_time_uses_up_what_its_head_grants() {
    for (lines, ttl) in [
        (&[][..], "ttl=10"),
        (&[("cache-control", "max-age=100")], "ttl=10"),
        (&[("cache-control", "max-age=10")], "ttl=6"),
        (&[("cache-control", "max-age=3")], "none"),
    ] {
        let (feed, body) = crate::harness::fed();
        let body = Arc::new(std::sync::Mutex::new(Some(body)));
        let inner = tower::service_fn(move |_: Request<Empty<Bytes>>| {
            let mut response = Response::new(body.lock().unwrap().take().unwrap_or_else(|| crate::harness::fed().1));
            for (name, value) in lines {
                response.headers_mut().append(*name, value.parse().unwrap());
            }
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let store = Store::builder().build();
        let service = CacheLayer::new(TTL).store(&store).layer(inner);
        let get = || service.clone().oneshot(empty("GET", "/", &[]));
        let first = get().await.unwrap();
        advance(Duration::from_secs(4)).await;
        feed.send("x");
        drop(feed);
        read(first).await.unwrap();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let next = get().await.unwrap();
        let status = next.headers()["cache-status"].to_str().unwrap().to_owned();
        if ttl == "none" {
            assert!(status.contains("fwd=miss"), "{lines:?}: {status}");
        } else {
            assert!(status.ends_with(ttl), "{lines:?}: {status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_released_to_run_on_its_own_has_the_rest_of_its_time() {
    let site = site(CacheLayer::new(TTL).timeout(Duration::from_secs(3)), &[("cache-control", "private")]);
    site.shut_gate();
    let start = Instant::now();
    let callers = async {
        tokio::join!(site.get(), site.get(), async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            site.gate.add_permits(1);
        })
    };
    let (leader, follower, ()) = tokio::time::timeout(WINDOW, callers).await.expect("an answer to both");
    assert_eq!((leader.status.as_u16(), follower.status.as_u16()), (200, 504));
    assert_eq!(start.elapsed().as_secs(), 3);
}

/// Headers of hits are made once, and given as long as they are right.
#[tokio::test(start_paused = true)]
async fn age_and_ttl_are_right_at_any_time() {
    let (feed, body) = crate::harness::fed();
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let inner = tower::service_fn(move |_: Request<Empty<Bytes>>| {
        let body = body.lock().unwrap().take().expect("one run");
        std::future::ready(Ok::<_, Infallible>(Response::new(body)))
    });
    let store = Store::builder().build();
    let service = CacheLayer::new(TTL).store(&store).layer(inner);
    let get = || service.clone().oneshot(empty("GET", "/", &[]));
    let head = Instant::now();
    let first = get().await.unwrap();
    // So that age and TTL do not change at the same instants.
    advance(Duration::from_millis(300)).await;
    drop(feed);
    read(first).await.unwrap();
    let end = Instant::now();
    while end.elapsed() < TTL {
        let left = TTL.saturating_sub(end.elapsed());
        let response = get().await.unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("age"), head.elapsed().as_secs().to_string());
        assert_eq!(header("cache-status"), format!("stampede; hit; ttl={}", left.as_secs()));
        advance(Duration::from_millis(50)).await;
    }
}
