//! Many callers at once, over real sockets: ten thousand are as many streams on a hundred connections of HTTP/2.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::StatusCode;
use http_body_util::Full;
use stampede::Store;
use stampede::http::CacheLayer;
use tokio::task::JoinSet;

use crate::harness::{Origin, Read, Server, TTL, chunk, fed, numbered, request, until};

/// So many requests for `/`, a hundred on each connection.
async fn crowd(server: &Arc<Server>, callers: usize) -> JoinSet<Read> {
    let mut crowd = JoinSet::new();
    for _ in 0..callers / 100 {
        let client = server.connect_h2().await;
        for _ in 0..100 {
            let (server, mut client) = (Arc::clone(server), client.clone());
            crowd.spawn(async move { server.send_h2(&mut client, "GET", "/").await });
        }
    }
    crowd
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_for_a_cold_url_are_one_run() {
    let origin = Origin::gated(|run, _| numbered(run));
    let server = Arc::new(origin.serve(CacheLayer::new(TTL)).await);
    let mut callers = crowd(&server, 10_000).await;
    server.waiting(10_000).await;
    // For all the runs that there should not be, too.
    origin.open_gate(10_000);
    let mut led = 0;
    while let Some(read) = callers.join_next().await {
        let read = read.unwrap();
        assert_eq!((read.status, read.text()), (StatusCode::OK, "1"));
        led += usize::from(read.cache_status() == "stampede; fwd=miss; stored");
    }
    assert_eq!((origin.runs(), led, server.store.stats().runs_saved()), (1, 1, 9_999));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_of_a_503_are_one_run() {
    let origin = Origin::gated(|run, _| {
        let mut response = numbered(run);
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    });
    let server = Arc::new(origin.serve(CacheLayer::new(TTL)).await);
    let mut callers = crowd(&server, 1000).await;
    server.waiting(1000).await;
    // For all the runs that there should not be, too.
    origin.open_gate(2000);
    while let Some(read) = callers.join_next().await {
        let read = read.unwrap();
        assert_eq!((read.status, read.text()), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    }
    assert_eq!(origin.runs(), 1);
    // As the crowd has asked: over HTTP/1 it is another URL.
    let mut client = server.connect_h2().await;
    for text in ["2", "3"] {
        let read = server.send_h2(&mut client, "GET", "/").await;
        assert_eq!(read.text(), text, "it is neither stored nor remembered as something else");
    }
    assert_eq!(server.store.stats().calls.bypass, 0);
}

/// Seen in other layers: 64 runs at once at each expiry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repro_an_expiry_under_load_is_more_than_one_run() {
    const CALLERS: u64 = 64;
    const RUNS: usize = 5;
    // On the real clock, for the sockets are real.
    const TTL: Duration = Duration::from_millis(100);
    let store = Store::builder().build();
    let runs: Arc<Mutex<Vec<[Instant; 2]>>> = Arc::default();
    let page = {
        let (runs, store) = (Arc::clone(&runs), store.clone());
        move || async move {
            let start = Instant::now();
            // Nobody is answered before all have asked.
            until(|| store.stats().waiting == CALLERS).await;
            runs.lock().unwrap().push([start, Instant::now()]);
            "page"
        }
    };
    let app = Router::new().route("/", get(page)).layer(CacheLayer::new(TTL).store(&store));
    let server = Arc::new(Server::of(app).await);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (server, runs) = (Arc::clone(&server), Arc::clone(&runs));
        callers.spawn(async move {
            let mut client = server.connect().await;
            let mut calls = 0;
            while runs.lock().unwrap().len() < RUNS {
                let host = server.addr.to_string();
                let request = request("GET", "/", &[("host", &host)]).body(Full::default()).unwrap();
                client.ready().await.unwrap();
                let read = crate::harness::read(client.send_request(request).await.unwrap()).await.unwrap();
                assert_eq!(read.text(), "page");
                calls += 1;
            }
            calls
        });
    }
    let calls: u64 = callers.join_all().await.iter().sum();
    let runs = runs.lock().unwrap();
    for pair in runs.windows(2) {
        let [[_, end], [start, _]] = [pair[0], pair[1]];
        assert!(start.saturating_duration_since(end) >= TTL, "a run began while the last response was fresh");
    }
    let stats = store.stats();
    assert_eq!((runs.len(), stats.runs.total(), stats.calls.total()), (RUNS, RUNS as u64, calls));
    assert_eq!((stats.calls.miss, stats.calls.coalesced), (RUNS as u64, RUNS as u64 * (CALLERS - 1)));
}

/// Seen in other layers: the first byte comes when the last one is ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repro_the_first_byte_of_a_stream_waits_for_the_last() {
    const SOON: Duration = Duration::from_millis(5);
    const ROUNDS: usize = 50;
    let mut best = [Duration::MAX; 2];
    // The best of some rounds for each, for the machine may have other things to do.
    for _ in 0..ROUNDS {
        let delays = delays_of_first_bytes().await;
        best = [best[0].min(delays[0]), best[1].min(delays[1])];
        if best.iter().all(|delay| *delay < SOON) {
            return;
        }
    }
    panic!("the leader and the follower have waited for at least {best:?}");
}

/// How long after the handler has written its first byte a leader and a follower have it. The next one is not written before
/// that, however long it takes.
async fn delays_of_first_bytes() -> [Duration; 2] {
    let (feed, body) = fed();
    let parts = Mutex::new(Some((feed.clone(), body)));
    let wrote: Arc<Mutex<Option<Instant>>> = Arc::default();
    let origin = Origin::gated({
        let wrote = Arc::clone(&wrote);
        move |_, _| {
            let (feed, body) = parts.lock().unwrap().take().expect("one run");
            *wrote.lock().unwrap() = Some(Instant::now());
            feed.send("first, ");
            axum::response::Response::new(Body::new(body))
        }
    });
    let server = Arc::new(origin.serve(CacheLayer::new(TTL)).await);
    let reader = || {
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let mut response = server.begin(request("GET", "/", &[])).await;
            assert_eq!(chunk(response.body_mut()).await.unwrap(), "first, ");
            (Instant::now(), response)
        })
    };
    let leader = reader();
    server.waiting(1).await;
    let follower = reader();
    server.waiting(2).await;
    origin.open_gate(1);
    let readers = [leader.await.unwrap(), follower.await.unwrap()];
    let wrote = wrote.lock().unwrap().expect("a first byte");
    feed.send("last");
    drop(feed);
    let mut delays = Vec::new();
    for (first, response) in readers {
        delays.push(first - wrote);
        assert_eq!(crate::harness::read(response).await.unwrap().text(), "last");
    }
    [delays[0], delays[1]]
}
