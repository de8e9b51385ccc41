//! Clients that are gone, at every point of a request and a response: what becomes of the others, of the run, of the store.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use stampede::http::CacheLayer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Feed, Origin, Server, TTL, fed, numbered, read, request, until};

/// A client that reads and leaves as it is told.
struct Client(TcpStream);

impl Client {
    async fn ask(server: &Server, text: &str) -> Self {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        Self(stream)
    }

    /// Up to and with this text.
    async fn read_until(&mut self, end: &str) {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            read.push(self.0.read_u8().await.unwrap());
        }
    }

    /// Hangs up, politely or by a reset.
    fn leave(self, reset: bool) {
        if reset {
            self.0.set_zero_linger().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_byte_of_a_request_and_of_a_stored_response() {
    let origin = Origin::open(|run, _| {
        let mut response = numbered(run);
        *response.body_mut() = Bytes::from(vec![b'x'; 200_000]).into();
        response
    });
    let server = Arc::new(origin.serve(CacheLayer::new(TTL)).await);
    let text = "GET /cut HTTP/1.1\r\nhost: cut\r\naccept: */*\r\n\r\n";
    for reset in [false, true] {
        for cut in 0..text.len() {
            Client::ask(&server, &text[..cut]).await.leave(reset);
        }
        for cut in [0, 1, 100, 10_000, 150_000] {
            let mut client = Client::ask(&server, text).await;
            let mut some = vec![0; cut];
            client.0.read_exact(&mut some).await.unwrap();
            client.leave(reset);
        }
    }
    let read = server.get_with("/cut", &[("host", "cut")]).await;
    assert_eq!((read.body.len(), origin.runs()), (200_000, 1));
}

/// Where a client leaves that shares a response with another.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Point {
    /// The handler has not answered.
    Waiting,
    /// It has, and nothing of the body is there.
    Head,
    /// Some of it is.
    Chunk,
    /// It is complete, and not read.
    End,
}

/// What a run answers: its body is fed by hand, in the order of runs.
fn fed_origin(runs: usize, lines: &'static [(&'static str, &'static str)]) -> (Vec<Feed>, Origin) {
    let (feeds, bodies): (Vec<_>, Vec<_>) = (0..runs).map(|_| fed()).unzip();
    let bodies = std::sync::Mutex::new(bodies.into_iter());
    let origin = Origin::gated(move |_, _| {
        let mut response = Response::new(Body::new(bodies.lock().unwrap().next().expect("a body for each run")));
        for (name, value) in lines {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        response
    });
    (feeds, origin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_leader_or_a_follower_at_every_point_of_a_shared_response() {
    const TEXT: &str = "GET / HTTP/1.1\r\nhost: one\r\n\r\n";
    let stored = || CacheLayer::new(TTL);
    for (layer, is_stored) in [(stored(), true), (CacheLayer::coalesce_only(), false)] {
        for leads in [true, false] {
            for reset in [false, true] {
                for point in [Point::Waiting, Point::Head, Point::Chunk, Point::End] {
                    let what = format!("stored {is_stored}, leads {leads}, reset {reset}, {point:?}");

                    let (feeds, origin) = fed_origin(2, &[]);
                    let server = Arc::new(origin.serve(layer.clone()).await);
                    let mut first = Client::ask(&server, TEXT).await;
                    server.waiting(1).await;
                    let mut second = Client::ask(&server, TEXT).await;
                    server.waiting(2).await;
                    if !leads {
                        (first, second) = (second, first);
                    }
                    let (mut gone, mut stays) = (Some(first), second);
                    let mut now = |at: Point| {
                        if point == at {
                            gone.take().expect("it is there").leave(reset);
                        }
                    };
                    now(Point::Waiting);
                    if point == Point::Waiting {
                        server.waiting(1).await;
                    }
                    origin.open_gate(2);
                    stays.read_until("\r\n\r\n").await;
                    now(Point::Head);
                    feeds[0].send("one");
                    stays.read_until("one").await;
                    now(Point::Chunk);
                    feeds[0].send("two");
                    drop(feeds);
                    stays.read_until("two").await;
                    now(Point::End);
                    stays.read_until("0\r\n\r\n").await;
                    assert_eq!(origin.runs(), 1, "{what}");
                    until(|| server.store.stats().entries == u64::from(is_stored)).await;
                    let next = server.get_with("/", &[("host", "one")]).await;
                    assert_eq!(next.text(), if is_stored { "onetwo" } else { "" }, "{what}");
                }
            }
        }
    }
}

/// Where nobody is left, a run goes on only if its response will be stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_everybody_at_every_point_of_a_response() {
    const TEXT: &str = "GET / HTTP/1.1\r\nhost: one\r\n\r\n";
    for (layer, lines, goes_on) in [
        (CacheLayer::new(TTL), &[][..], true),
        (CacheLayer::coalesce_only(), &[], false),
        (CacheLayer::new(TTL), &[("cache-control", "private")], false),
        (CacheLayer::new(TTL), &[("cache-control", "max-age=0")], false),
        (CacheLayer::new(TTL), &[("content-type", "text/event-stream")], false),
    ] {
        for reset in [false, true] {
            for point in [Point::Head, Point::Chunk] {
                let (feeds, origin) = fed_origin(1, lines);
                let server = Arc::new(origin.serve(layer.clone()).await);
                let mut alone = Client::ask(&server, TEXT).await;
                origin.open_gate(1);
                alone.read_until("\r\n\r\n").await;
                if point == Point::Chunk {
                    feeds[0].send("one");
                    alone.read_until("one").await;
                }
                alone.leave(reset);
                if goes_on {
                    feeds[0].send("two");
                    drop(feeds);
                    let text = if point == Point::Chunk { "onetwo" } else { "two" };
                    assert_eq!(server.get_with("/", &[("host", "one")]).await.text(), text);
                    assert_eq!(origin.runs(), 1);
                } else {
                    until(|| feeds[0].is_closed()).await;
                    until(|| server.store.stats().in_flight == 0).await;
                }
            }
        }
    }
}

/// One who was released to run on its own hangs up: its run ends, and nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_have_runs_of_their_own() {
    let (feeds, origin) = fed_origin(3, &[("cache-control", "private")]);
    let server = Arc::new(origin.serve(CacheLayer::new(TTL)).await);
    let text = "GET / HTTP/1.1\r\nhost: one\r\n\r\n";
    let mut clients = Vec::new();
    for n in 1..=3 {
        clients.push(Client::ask(&server, text).await);
        server.waiting(n).await;
    }
    origin.open_gate(3);
    for client in &mut clients {
        client.read_until("\r\n\r\n").await;
    }
    assert_eq!(origin.runs(), 3);
    // Runs are numbered as they began, which need not be the order of the clients.
    drop(clients.remove(1));
    until(|| feeds.iter().filter(|feed| feed.is_closed()).count() == 1).await;
    for feed in &feeds {
        feed.send("mine");
    }
    for client in &mut clients {
        client.read_until("mine").await;
    }
    assert_eq!(feeds.iter().filter(|feed| feed.is_closed()).count(), 1);
}

/// In the middle of a body that is a part of the key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_middle_of_a_request_with_a_body() {
    let origin = Origin::open(|run, _| numbered(run));
    let layer = CacheLayer::new(TTL).methods([http::Method::POST]);
    let server = Server::of(origin.app().layer(layer)).await;
    for reset in [false, true] {
        for sent in ["", "a", "ab"] {
            let head = format!("POST / HTTP/1.1\r\nhost: {}\r\ncontent-length: 3\r\n\r\n{sent}", server.addr);
            Client::ask(&server, &head).await.leave(reset);
        }
    }
    assert_eq!(server.send_with(request("POST", "/", &[]), "abc").await.text(), "1");
    assert_eq!(server.send_with(request("POST", "/", &[]), "abc").await.text(), "1");
}

/// A tunnel: what is no HTTP any more goes through untouched, both ways, for each who asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_is_a_tunnel_of_ones_own() {
    let origin = Origin::open(|_, mut request| {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
            let mut text = [0; 4];
            stream.read_exact(&mut text).await.unwrap();
            text.reverse();
            stream.write_all(&text).await.unwrap();
        });
        Response::new(Body::empty())
    });
    let server = origin.serve(CacheLayer::new(TTL)).await;
    let mut tunnels = Vec::new();
    for _ in 0..2 {
        let mut client = Client::ask(&server, "CONNECT one:443 HTTP/1.1\r\nhost: one:443\r\n\r\n").await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.0.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 200") && !head.contains("cache-status"), "{head}");
        tunnels.push(client);
    }
    for (client, (sent, back)) in tunnels.iter_mut().zip([(b"ping", b"gnip"), (b"abcd", b"dcba")]) {
        client.0.write_all(sent).await.unwrap();
        let mut text = [0; 4];
        client.0.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, back);
    }
    assert_eq!((origin.runs(), server.store.stats().calls.total()), (2, 0));
}

/// A body that outgrows its bound without having said so, and a reader that is gone in the middle of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_reader_of_a_body_that_is_too_large() {
    for reset in [false, true] {
        let (feeds, origin) = fed_origin(1, &[]);
        let server = origin.serve(CacheLayer::new(TTL).max_body(10_000)).await;
        origin.open_gate(1);
        let gone = server.begin(request("GET", "/", &[])).await;
        let mut reset_one = Client::ask(&server, &format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", server.addr)).await;
        reset_one.read_until("\r\n\r\n").await;
        let stays = tokio::spawn(read(server.begin(request("GET", "/", &[])).await));
        for _ in 0..10 {
            feeds[0].send(vec![b'x'; 1500]);
        }
        drop(gone);
        reset_one.leave(reset);
        for _ in 0..100 {
            feeds[0].send(vec![b'x'; 1500]);
        }
        drop(feeds);
        assert_eq!(stays.await.unwrap().unwrap().body.len(), 110 * 1500);
        until(|| server.store.stats().entries == 0).await;
    }
}
