//! Bodies on their way: to the leader and to followers, at their own pace, whole or not at all.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use stampede::http::CacheLayer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::{Layer, ServiceExt};

use crate::harness::{Origin, Server, TTL, chunk, empty, fed, read, request, streaming, until, until_asked};

/// Seen in other layers: the first byte comes when the last one is ready. (How soon it comes, `crowds.rs` asks.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repro_the_first_byte_waits_for_the_last() {
    let (feed, body) = fed();
    let origin = streaming(vec![body], &[]);
    let server = origin.serve(CacheLayer::new(TTL)).await;
    let mut leader = server.begin(request("GET", "/", &[])).await;
    let mut follower = server.begin(request("GET", "/", &[])).await;
    assert_eq!(follower.headers()["cache-status"], "stampede; hit");
    for text in ["one", "two", "three"] {
        feed.send(text);
        assert_eq!(chunk(leader.body_mut()).await.unwrap(), text);
        assert_eq!(chunk(follower.body_mut()).await.unwrap(), text);
    }
    // One who comes late gets all that there was.
    let mut late = server.begin(request("GET", "/", &[])).await;
    assert_eq!(chunk(late.body_mut()).await.unwrap(), "one");
    drop(feed);
    assert_eq!(leader.into_body().collect().await.unwrap().to_bytes(), "");
    assert_eq!(late.into_body().collect().await.unwrap().to_bytes(), "twothree");
    until(|| server.store.stats().entries == 1).await;
    let stored = server.get("/").await;
    assert_eq!((stored.text(), stored.header("content-length"), origin.runs()), ("onetwothree", "11", 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_voids_a_response_does_so_while_its_body_streams_and_after() {
    for after in [false, true] {
        let ((feed, body), (next, next_body)) = (fed(), fed());
        let origin = streaming(vec![body, next_body], &[]);
        let server = origin.serve(CacheLayer::new(TTL).tags(["all"])).await;
        let reader = server.begin(request("GET", "/", &[])).await;
        feed.send("one");
        if !after {
            server.store.invalidate_tag("all").await;
        }
        drop(feed);
        assert_eq!(read(reader).await.unwrap().text(), "one");
        if after {
            until_asked(|| async { server.get("/").await.is_fresh_of(TTL) }).await;
            server.store.invalidate_tag("all").await;
        }
        next.send("two");
        drop(next);
        assert_eq!((server.get("/").await.text(), origin.runs()), ("two", 2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_dies_aborts_every_reader_and_nothing_is_stored() {
    for declared in [false, true] {
        let ((feed, body), (next, next_body)) = (fed(), fed());
        let lines: &[_] = if declared { &[("content-length", "10")] } else { &[] };
        let origin = streaming(vec![body, next_body], lines);
        let server = origin.serve(CacheLayer::new(TTL)).await;
        let readers = [server.begin(request("GET", "/", &[])).await, server.begin(request("GET", "/", &[])).await];
        feed.send("12345");
        // It dies, or it ends before it has given what it has declared.
        if declared {
            drop(feed);
        } else {
            feed.fail();
        }
        for reader in readers {
            read(reader).await.expect_err("a body that looks complete");
        }
        until(|| server.store.stats().entries == 0).await;
        next.send("1234567890");
        drop(next);
        assert_eq!(server.get("/").await.text(), "1234567890");
        assert_eq!(origin.runs(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_survive() {
    let (feed, body) = fed();
    let origin = streaming(vec![body], &[("trailer", "x-sum")]);
    let server = origin.serve(CacheLayer::new(TTL)).await;
    feed.send("x");
    feed.trailers(&[("x-sum", "42")]);
    drop(feed);
    for _ in 0..2 {
        let read = server.send(request("GET", "/", &[("te", "trailers")])).await;
        assert_eq!(read.text(), "x");
        assert_eq!(read.trailers.expect("trailers")["x-sum"], "42");
    }
    assert_eq!(origin.runs(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_vanish_neither_stall_the_others_nor_cut_what_is_stored() {
    let (feed, body) = fed();
    let origin = streaming(vec![body], &[]);
    let server = origin.serve(CacheLayer::new(TTL)).await;
    let mut leader = server.begin(request("GET", "/", &[])).await;
    let mut gone = server.begin(request("GET", "/", &[])).await;
    let slow = server.begin(request("GET", "/", &[])).await;
    let follower = server.begin(request("GET", "/", &[])).await;
    feed.send("one");
    chunk(leader.body_mut()).await.unwrap();
    chunk(gone.body_mut()).await.unwrap();
    drop((leader, gone));
    for _ in 0..100 {
        feed.send(vec![b'x'; 1000]);
    }
    drop(feed);
    assert_eq!(read(follower).await.unwrap().body.len(), 100_003);
    assert_eq!(server.get("/").await.body.len(), 100_003);
    assert_eq!(read(slow).await.unwrap().body.len(), 100_003);
    assert_eq!(origin.runs(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_stored_is_finished_though_nobody_reads_and_one_that_is_not_is_given_up() {
    for (lines, finished) in [(&[][..], true), (&[("cache-control", "max-age=0")], false)] {
        let (feed, body) = fed();
        let origin = streaming(vec![body], lines);
        let server = origin.serve(CacheLayer::new(TTL)).await;
        let mut reader = server.begin(request("GET", "/", &[])).await;
        feed.send("one");
        chunk(reader.body_mut()).await.unwrap();
        drop(reader);
        if finished {
            feed.send("two");
            drop(feed);
            assert_eq!((server.get("/").await.text(), origin.runs()), ("onetwo", 1));
        } else {
            until(|| feed.is_closed()).await;
        }
    }
    // What counts as an error is not stored, not even on its way.
    let (feed, body) = fed();
    let body = std::sync::Mutex::new(Some(body));
    let origin = Origin::open(move |_, _| {
        let body = body.lock().unwrap().take().expect("one run");
        axum::response::Response::builder().status(500).body(axum::body::Body::new(body)).unwrap()
    });
    let server = origin.serve(CacheLayer::new(TTL)).await;
    let mut reader = server.begin(request("GET", "/", &[])).await;
    feed.send("one");
    chunk(reader.body_mut()).await.unwrap();
    assert!(!feed.is_closed());
    drop(reader);
    until(|| feed.is_closed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_was_voided_before_it_was_stored_is_given_up_with_its_last_reader() {
    let (feed, body) = fed();
    let (gate, body) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(std::sync::Mutex::new(Some(body))));
    let page = {
        let gate = Arc::clone(&gate);
        move || async move {
            gate.acquire().await.unwrap().forget();
            axum::body::Body::new(body.lock().unwrap().take().expect("one run"))
        }
    };
    let store = stampede::Store::builder().build();
    let app = axum::Router::new().route("/", axum::routing::get(page).post(|| async { "written" }));
    let server = Arc::new(crate::harness::Server::of(app.layer(CacheLayer::new(TTL).store(&store))).await);
    let reader = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.begin(request("GET", "/", &[])).await }
    });
    until(|| store.stats().waiting == 1).await;
    server.send(request("POST", "/", &[])).await;
    gate.add_permits(1);
    let mut reader = reader.await.unwrap();
    feed.send("one");
    chunk(reader.body_mut()).await.unwrap();
    assert!(!feed.is_closed());
    drop(reader);
    until(|| feed.is_closed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_come_while_the_body_streams_share_it_even_if_it_is_not_stored() {
    let ((feed, body), (again, next_body)) = (fed(), fed());
    let origin = streaming(vec![body, next_body], &[]);
    let server = origin.serve(CacheLayer::coalesce_only()).await;
    let leader = server.begin(request("GET", "/", &[])).await;
    feed.send("one");
    let follower = server.begin(request("GET", "/", &[])).await;
    drop(feed);
    assert_eq!(read(leader).await.unwrap().text(), "one");
    assert_eq!(read(follower).await.unwrap().text(), "one");
    until(|| server.store.stats().entries == 0).await;
    again.send("two");
    drop(again);
    assert_eq!(server.get("/").await.text(), "two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_too_large_pass_whole_and_are_not_stored() {
    let big = |run: usize| Bytes::from(vec![b'0' + u8::try_from(run).unwrap(); 50_000]);
    // It says so.
    let origin = Origin::open(move |run, _| axum::response::Response::new(big(run).into()));
    let server = origin.serve(CacheLayer::new(TTL).max_body(10_000)).await;
    for (run, status) in [(1, "stampede; fwd=miss"), (2, "stampede; fwd=miss"), (3, "stampede; fwd=bypass")] {
        let read = server.get("/").await;
        assert_eq!(read.body, big(run));
        if run != 2 {
            assert_eq!(read.cache_status(), status);
        }
    }
    assert_eq!(server.store.stats().entries, 0);
    // It does not.
    let ((feed, body), (next, next_body)) = (fed(), fed());
    let origin = streaming(vec![body, next_body], &[]);
    let server = origin.serve(CacheLayer::new(TTL).max_body(10_000)).await;
    let leader = server.begin(request("GET", "/", &[])).await;
    let follower = server.begin(request("GET", "/", &[])).await;
    let readers = [leader, follower].map(|reader| tokio::spawn(read(reader)));
    for _ in 0..50 {
        feed.send(vec![b'x'; 1000]);
    }
    drop(feed);
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap().body.len(), 50_000);
    }
    until(|| server.store.stats().entries == 0).await;
    next.send("two");
    drop(next);
    assert_eq!(server.get("/").await.text(), "two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_upgrades_and_unsafe_streams_pass_untouched() {
    let ((feed, body), (other, other_body)) = (fed(), fed());
    let origin = streaming(vec![body, other_body], &[("content-type", "text/event-stream")]);
    let server = origin.serve(CacheLayer::new(TTL)).await;
    let mut one = server.begin(request("GET", "/", &[])).await;
    let mut two = server.begin(request("GET", "/", &[])).await;
    feed.send("data: one\n\n");
    other.send("data: two\n\n");
    assert_eq!(chunk(one.body_mut()).await.unwrap(), "data: one\n\n");
    assert_eq!(chunk(two.body_mut()).await.unwrap(), "data: two\n\n");
    drop(one);
    until(|| feed.is_closed()).await;

    // An upgrade, to a protocol that echoes. That of a write is marked as such.
    let app = axum::Router::new().fallback(|mut request: axum::extract::Request| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
            let mut text = [0; 4];
            stream.read_exact(&mut text).await.unwrap();
            stream.write_all(&text).await.unwrap();
        });
        axum::response::Response::builder()
            .status(101)
            .header("connection", "upgrade")
            .header("upgrade", "echo")
            .body(axum::body::Body::empty())
            .unwrap()
    });
    let server = crate::harness::Server::of(app.layer(CacheLayer::new(TTL))).await;
    for method in ["GET", "GET", "POST"] {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        let request = format!("{method} / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert_eq!(head.contains("cache-status"), method == "POST", "{head}");
        stream.write_all(b"ping").await.unwrap();
        let mut text = [0; 4];
        stream.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"ping");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_of_one_caller_reach_no_other() {
    let (feed, body) = fed();
    let origin = streaming(vec![body], &[]);
    let server = origin.serve(CacheLayer::new(TTL)).await;
    // Over HTTP/2, where trailers need not be announced.
    let mut client = server.connect_h2().await;
    feed.send("x");
    feed.trailers(&[("x-sum", "42"), ("set-cookie", "id=1"), ("x-request-id", "1")]);
    drop(feed);
    for _ in 0..2 {
        let trailers = server.send_h2(&mut client, "GET", "/").await.trailers.expect("trailers");
        assert_eq!(trailers.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(), ["x-sum"]);
    }
}

/// A body of small pieces is as large as its bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_pieces_of_a_body_are_not_taken_for_a_large_one() {
    let (feed, body) = fed();
    let origin = streaming(vec![body], &[]);
    let server = origin.serve(CacheLayer::new(TTL).max_body(150_000)).await;
    let mut reader = server.begin(request("GET", "/", &[])).await;
    let text = (0..9_000).map(|n| format!("line {n:04}\n")).collect::<Vec<_>>().concat();
    for (n, line) in text.as_bytes().chunks(10).enumerate() {
        feed.send(line.to_vec());
        if n == 20 {
            // In the middle of what is going to be put together.
            chunk(reader.body_mut()).await.unwrap();
        }
    }
    drop(feed);
    let read = server.get("/").await;
    assert_eq!((read.text(), origin.runs()), (&*text, 1));
    until(|| server.store.stats().entries == 1).await;
    assert_eq!((server.get("/").await.text(), origin.runs()), (&*text, 1));
    let rest = reader.into_body().collect().await.unwrap().to_bytes();
    assert!(text.ends_with(std::str::from_utf8(&rest).unwrap()) && rest.len() > 80_000, "{}", rest.len());
}

/// The leader's client is gone before there is a head. Who comes then need not wait for more than what there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_nobody_waits_for_streams_to_those_who_come_nevertheless() {
    let (feed, body) = fed();
    let (body, asked) = (std::sync::Mutex::new(Some(body)), Arc::new(tokio::sync::Notify::new()));
    let origin = Origin::gated({
        let asked = Arc::clone(&asked);
        move |_, _| {
            asked.notify_one();
            axum::response::Response::new(axum::body::Body::new(body.lock().unwrap().take().expect("one run")))
        }
    });
    let server = Arc::new(origin.serve(CacheLayer::new(TTL)).await);
    let leader = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.begin(request("GET", "/", &[])).await }
    });
    server.waiting(1).await;
    leader.abort();
    server.waiting(0).await;
    feed.send("one");
    origin.open_gate(1);
    asked.notified().await;
    // There is no more of the body before this has a head.
    let mut late = server.begin(request("GET", "/", &[])).await;
    assert_eq!(chunk(late.body_mut()).await.unwrap(), "one");
    feed.send("two");
    drop(feed);
    assert_eq!(late.into_body().collect().await.unwrap().to_bytes(), "two");
}

/// The store may let go of anything, and a body on its way is not run twice for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_on_its_way_that_the_store_has_no_room_for_is_shared_all_the_same() {
    for (entries, voided) in [(0, false), (2, false), (0, true), (2, true)] {
        let ((feed, body), (next, next_body)) = (fed(), fed());
        let bodies = std::sync::Mutex::new(VecDeque::from([body, next_body]));
        let origin = Origin::open(move |run, request| match request.uri().path() {
            "/stream" => {
                let body = bodies.lock().unwrap().pop_front().expect("a body for each run");
                axum::response::Response::new(axum::body::Body::new(body))
            }
            _ => crate::harness::numbered(run),
        });
        let store = stampede::Store::builder().max_entries(entries).build();
        let server = Server::of(origin.app().layer(CacheLayer::new(TTL).store(&store).tags(["all"]))).await;
        let begin = || server.begin(request("GET", "/stream", &[]));
        let leader = begin().await;
        // More than there is room for, and wanted more.
        for n in 0..100 {
            for _ in 0..3 {
                server.get(&format!("/{n}")).await;
            }
        }
        let runs = origin.runs();
        if voided {
            store.invalidate_tag("all").await;
        }
        let follower = begin().await;
        assert_eq!(origin.runs() - runs, usize::from(voided), "{entries} entries");
        let status = if voided { "stampede; fwd=miss; stored" } else { "stampede; fwd=miss; collapsed; stored" };
        assert_eq!(follower.headers()["cache-status"], status, "{entries} entries");
        feed.send("one");
        next.send("two");
        drop((feed, next));
        assert_eq!(read(leader).await.unwrap().text(), "one");
        assert_eq!(read(follower).await.unwrap().text(), if voided { "two" } else { "one" });
        assert_eq!(store.stats().calls.total(), 302);
    }
}

#[tokio::test]
async fn nobody_follows_a_body_on_its_way_after_a_fresh_one_was_asked_for() {
    let (mut feeds, bodies): (VecDeque<_>, VecDeque<_>) = (0..3).map(|_| fed()).unzip();
    for (run, feed) in feeds.iter().enumerate() {
        feed.send(run.to_string());
    }
    // The first one is on its way, and the others are whole.
    let under_way = feeds.pop_front();
    drop(feeds);
    let bodies = Arc::new(std::sync::Mutex::new(bodies));
    let inner = tower::service_fn(move |_: http::Request<Empty<Bytes>>| {
        let body = bodies.lock().unwrap().pop_front().expect("a body for each run");
        std::future::ready(Ok::<_, std::convert::Infallible>(http::Response::new(body)))
    });
    let store = stampede::Store::builder().max_entries(0).build();
    let service = CacheLayer::new(TTL).store(&store).layer(inner);
    let get = || async { service.clone().oneshot(empty("GET", "/", &[])).await.unwrap() };
    let (leader, follower) = (get().await, get().await);
    assert_eq!(read(stampede::fresh(get()).await).await.unwrap().text(), "1");
    let later = get().await;
    drop(under_way);
    assert_eq!(read(later).await.unwrap().text(), "2");
    for reader in [leader, follower] {
        assert_eq!(read(reader).await.unwrap().text(), "0");
    }
}
