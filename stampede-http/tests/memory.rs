//! What the layer takes of the machine's memory: any number of URLs and of slow readers.
#![cfg(not(debug_assertions))] // hundreds of thousands of requests: for `cargo test --release`
#![allow(unsafe_code, reason = "a global allocator is an unsafe trait, and so is the limit of open files")]

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{Channel, Empty, Full};
use stampede::Store;
use stampede::http::CacheLayer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tower::{Layer, ServiceExt};

#[path = "../../tests/it/heap.rs"]
mod heap;

use heap::{IN_USE, MIB, PEAK};

const TTL: Duration = Duration::from_hours(1);

/// The two tests share one heap.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Runs something, and tells by how much the heap has grown at its highest point.
async fn growth(run: impl Future<Output = ()>) -> usize {
    let before = IN_USE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    run.await;
    PEAK.load(Ordering::Relaxed) - before
}

#[tokio::test]
async fn two_hundred_thousand_urls_take_no_more_than_the_store_holds() {
    let _alone = ALONE.lock().await;
    const BOUND: usize = 8 * MIB;
    let layers = [
        CacheLayer::new(TTL),
        CacheLayer::new(TTL).vary_on([header::ACCEPT]),
        CacheLayer::new(TTL).x_cache(true).etag(true),
    ];
    for (n, layer) in layers.into_iter().enumerate() {
        // One in ten is personal; all are asked for twice.
        let inner = tower::service_fn(|request: Request<Empty<Bytes>>| {
            let path = request.uri().path().to_owned();
            let personal = path.ends_with('7');
            let mut response = Response::new(Full::<Bytes>::from(path.repeat(100)));
            if personal {
                response.headers_mut().insert("cache-control", header::HeaderValue::from_static("private"));
            }
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let store = Store::builder().max_entries(1_000_000).max_weight(BOUND as u64).build();
        let service = layer.store(&store).layer(inner);
        let grown = growth(async {
            for url in 0..200_000 {
                for _ in 0..2 {
                    let request = Request::get(format!("/{url}")).header("accept", "text/html").body(Empty::new());
                    service.clone().oneshot(request.expect("a request")).await.expect("a response");
                }
            }
        });
        let grown = grown.await;
        let stats = store.stats();
        println!("layer {n}: {} MiB at most, {} entries", grown / MIB, stats.entries);
        assert!(stats.entries > 1000, "{stats:?}");
        assert_eq!((stats.in_flight, stats.waiting), (0, 0));
        // What the store counts, and as much again for what it does not: its own tables, and what it has yet to let go of.
        assert!(grown < 2 * BOUND + 4 * MIB, "{} MiB for a store of {}", grown / MIB, BOUND / MIB);
    }
}

/// Two sockets for each reader, and what the process has open besides.
fn allow_files(files: u64) {
    #[cfg(unix)]
    {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: it writes to the place that it is given, which is of its type.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
        limit.rlim_cur = limit.rlim_cur.max(files.min(limit.rlim_max));
        // SAFETY: it reads from the place that it is given.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        assert!(limit.rlim_cur >= files, "the system allows for {} open files", limit.rlim_cur);
    }
}

/// A thousand clients ask for one large body and read a little of it; one reads all; then they read on, each in its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_slow_readers_of_one_large_body_share_its_bytes() {
    let _alone = ALONE.lock().await;
    const LEN: usize = 16 * MIB;
    const READERS: usize = 1000;
    allow_files(2 * READERS as u64 + 100);
    let page = || async {
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(4);
        tokio::spawn(async move {
            for n in 0..LEN / 65_536 {
                let byte = u8::try_from(n % 251).expect("a byte");
                if sender.send_data(vec![byte; 65_536].into()).await.is_err() {
                    break;
                }
            }
        });
        Body::new(body)
    };
    let store = Store::builder().build();
    let app = Router::new().route("/", get(page)).layer(CacheLayer::new(TTL).max_body(2 * LEN).store(&store));
    // Buffers of the system's are not what is measured, and a thousand that are full take more than it has.
    let socket = || {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_send_buffer_size(16 * 1024).expect("a size");
        socket.set_recv_buffer_size(16 * 1024).expect("a size");
        socket
    };
    let listener = socket();
    listener.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let listener = listener.listen(1024).expect("a listener");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    let ask = || async {
        let mut stream = socket().connect(addr).await.expect("a connection");
        stream.write_all(b"GET / HTTP/1.1\r\nhost: one\r\nconnection: close\r\n\r\n").await.expect("a request");
        stream
    };
    let rest = |mut stream: TcpStream| async move {
        let (mut buffer, mut len) = (vec![0; 4096], 0);
        loop {
            match stream.read(&mut buffer).await.expect("bytes") {
                0 => break len,
                read => len += read,
            }
        }
    };
    let grown = growth(async {
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let mut stream = ask().await;
            let mut some = [0; 1000];
            stream.read_exact(&mut some).await.expect("the first bytes");
            readers.push(stream);
        }
        assert!(rest(ask().await).await > LEN, "one who reads fast waits for nobody");
        // Some read on, and the others stand still.
        for stream in readers.drain(..20) {
            assert!(rest(stream).await > LEN - 1000, "one who was slow has all of it in the end");
        }
    });
    let grown = grown.await;
    println!("{READERS} readers: {} MiB", grown / MIB);
    assert_eq!(store.stats().runs.total(), 1);
    // The body once, and for each reader what its connection takes on either side.
    assert!(grown < LEN + READERS * 64 * 1024, "{} MiB", grown / MIB);
}
