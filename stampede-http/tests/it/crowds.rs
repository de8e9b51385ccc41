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

use crate::harness::{Origin, Read, Server, TTL, chunk, fed, numbered, request};

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
    origin.open_gate(1);
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
    origin.open_gate(1);
    while let Some(read) = callers.join_next().await {
        let read = read.unwrap();
        assert_eq!((read.status, read.text()), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    }
    assert_eq!(origin.runs(), 1);
    origin.open_gate(1);
    assert_eq!(server.get("/").await.text(), "2", "it is not stored");
}

/// Seen in other layers: 64 runs at once at each expiry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repro_an_expiry_under_load_is_more_than_one_run() {
    const TTL: Duration = Duration::from_millis(100);
    let runs: Arc<Mutex<Vec<[Instant; 2]>>> = Arc::default();
    let page = {
        let runs = Arc::clone(&runs);
        move || async move {
            let start = Instant::now();
            // On the real clock, for the sockets are real: a handler that takes its time.
            tokio::time::sleep(Duration::from_millis(10)).await;
            runs.lock().unwrap().push([start, Instant::now()]);
            "page"
        }
    };
    let store = Store::builder().build();
    let app = Router::new().route("/", get(page)).layer(CacheLayer::new(TTL).store(&store));
    let server = Arc::new(Server::of(app).await);
    let end = Instant::now() + 12 * TTL;
    let mut callers = JoinSet::new();
    for _ in 0..64 {
        let server = Arc::clone(&server);
        callers.spawn(async move {
            let mut client = server.connect().await;
            let mut calls = 0;
            while Instant::now() < end {
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
    assert!((3..=12).contains(&runs.len()), "{} runs", runs.len());
    assert_eq!(store.stats().calls.total(), calls);
    assert_eq!(store.stats().runs.total(), runs.len() as u64);
}

/// Seen in other layers: the first byte comes when the last one is ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repro_the_first_byte_of_a_stream_of_a_second_waits_for_the_last() {
    /// A body that notes when its first byte is written, and goes on for a second.
    fn stream(first: Arc<Mutex<Option<Instant>>>) -> Body {
        let (feed, body) = fed();
        tokio::spawn(async move {
            *first.lock().unwrap() = Some(Instant::now());
            for n in 0..10 {
                feed.send(vec![b'0' + n; 100]);
                // On the real clock: it is a stream of a second.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Body::new(body)
    }
    let mut delays = Vec::new();
    for _ in 0..3 {
        let wrote: Arc<Mutex<Option<Instant>>> = Arc::default();
        let origin = Origin::gated({
            let wrote = Arc::clone(&wrote);
            move |_, _| axum::response::Response::new(stream(Arc::clone(&wrote)))
        });
        let server = Arc::new(origin.serve(CacheLayer::new(TTL)).await);
        let reader = || {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                let mut response = server.begin(request("GET", "/", &[])).await;
                let text = chunk(response.body_mut()).await.unwrap();
                let first = Instant::now();
                assert_eq!(text[0], b'0');
                let rest = crate::harness::read(response).await.unwrap().body.len();
                (first, Instant::now(), text.len() + rest)
            })
        };
        let leader = reader();
        server.waiting(1).await;
        let follower = reader();
        server.waiting(2).await;
        origin.open_gate(1);
        let (leader, follower) = (leader.await.unwrap(), follower.await.unwrap());
        let wrote = wrote.lock().unwrap().expect("a first byte");
        for (_, last, len) in [leader, follower] {
            assert!(last - wrote >= Duration::from_millis(900), "a stream of a second");
            assert_eq!(len, 1000);
        }
        delays.push([leader.0 - wrote, follower.0 - wrote]);
        assert_eq!(origin.runs(), 1);
    }
    // The best of three for each, for the machine may have other things to do.
    for who in 0..2 {
        let best = delays.iter().map(|delays| delays[who]).min();
        assert!(best < Some(Duration::from_millis(5)), "{delays:?}");
    }
}
