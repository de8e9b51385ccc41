//! 304, 206 and 416 from the stored full response.

use std::sync::Arc;
use std::sync::Mutex;

use axum::body::Body;
use axum::response::Response;
use http::HeaderMap;
use stampede::http::CacheLayer;

use crate::harness::{Origin, TTL, fed, request, streaming};

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

/// An origin with validators; what its handler was asked for.
fn origin() -> (Origin, Arc<Mutex<Vec<HeaderMap>>>) {
    let asked: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
    let origin = Origin::open({
        let asked = Arc::clone(&asked);
        move |_, request| {
            asked.lock().unwrap().push(request.headers().clone());
            let response = Response::builder().header("etag", "\"v1\"").header("last-modified", DATE);
            response.header("content-type", "text/plain").body(Body::from("0123456789")).unwrap()
        }
    });
    (origin, asked)
}

/// Seen in other layers: nobody answers `If-None-Match` with 304 or a `Range` from the stored body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repro_conditions_and_ranges_are_not_answered_from_the_store() {
    for stored in [false, true] {
        for (lines, status, text, headers) in [
            (&[][..], 200, "0123456789", &[("content-length", "10")][..]),
            (
                &[("if-none-match", "\"v1\"")],
                304,
                "",
                &[("etag", "\"v1\""), ("content-length", ""), ("content-type", "")],
            ),
            (&[("if-none-match", "W/\"v1\"")], 304, "", &[]),
            (&[("if-none-match", "\"v2\"")], 200, "0123456789", &[]),
            (&[("if-modified-since", DATE)], 304, "", &[("last-modified", DATE)]),
            (&[("if-modified-since", EARLIER)], 200, "0123456789", &[]),
            (&[("if-none-match", "\"v2\""), ("if-modified-since", DATE)], 200, "0123456789", &[]),
            (
                &[("range", "bytes=2-4")],
                206,
                "234",
                &[("content-range", "bytes 2-4/10"), ("content-length", "3"), ("content-type", "text/plain")],
            ),
            (&[("range", "bytes=-2")], 206, "89", &[("content-range", "bytes 8-9/10")]),
            (&[("range", "bytes=8-99")], 206, "89", &[]),
            (&[("range", "bytes=10-")], 416, "", &[("content-range", "bytes */10"), ("content-length", "0")]),
            (&[("range", "bytes=5-2")], 200, "0123456789", &[]),
            (&[("range", "lines=1-2")], 200, "0123456789", &[]),
            (&[("range", "bytes=2-4"), ("if-range", "\"v1\"")], 206, "234", &[]),
            (&[("range", "bytes=2-4"), ("if-range", "\"v2\"")], 200, "0123456789", &[]),
            (&[("range", "bytes=2-4"), ("if-range", "W/\"v1\"")], 200, "0123456789", &[]),
            (&[("range", "bytes=2-4"), ("if-range", DATE)], 206, "234", &[]),
            (&[("range", "bytes=2-4"), ("if-range", EARLIER)], 200, "0123456789", &[]),
            (&[("range", "bytes=2-4"), ("if-none-match", "\"v1\"")], 304, "", &[]),
        ] {
            let (origin, asked) = origin();
            let server = origin.serve(CacheLayer::new(TTL)).await;
            if stored {
                server.get("/").await;
            }
            let read = server.get_with("/", lines).await;
            assert_eq!((read.status.as_u16(), read.text()), (status, text), "{lines:?}, stored: {stored}");
            for (name, value) in headers {
                assert_eq!(read.header(name), *value, "{lines:?}");
            }
            // The whole is stored, whoever asked for a part of it.
            assert_eq!(server.get("/").await.text(), "0123456789");
            assert_eq!(origin.runs(), 1);
            for name in ["range", "if-range", "if-none-match", "if-modified-since"] {
                assert!(!asked.lock().unwrap()[0].contains_key(name), "the handler is asked for all, whatever follows");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_ranges_are_parts_of_one_answer() {
    let (origin, _) = origin();
    let server = origin.serve(CacheLayer::new(TTL)).await;
    let read = server.get_with("/", &[("range", "bytes=7-8,0-1")]).await;
    assert_eq!(read.status, 206);
    let boundary = read.header("content-type").strip_prefix("multipart/byteranges; boundary=").expect("parts");
    let part = |range: &str, text: &str| {
        format!("--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/10\r\n\r\n{text}\r\n")
    };
    assert_eq!(read.text(), format!("{}{}--{boundary}--\r\n", part("7-8", "78"), part("0-1", "01")));
    assert_eq!(read.header("content-length"), read.text().len().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_of_a_body_on_its_way_is_given_as_it_comes() {
    let (feed, body) = fed();
    let origin = streaming(vec![body], &[("content-length", "10")]);
    let server = origin.serve(CacheLayer::new(TTL)).await;
    let whole = server.begin(request("GET", "/", &[])).await;
    let part = server.begin(request("GET", "/", &[("range", "bytes=2-4")])).await;
    feed.send("012");
    feed.send("345");
    let part = crate::harness::read(part).await.unwrap();
    assert_eq!((part.status.as_u16(), part.text()), (206, "234"), "before the whole is there");
    feed.send("6789");
    drop(feed);
    assert_eq!(crate::harness::read(whole).await.unwrap().text(), "0123456789");
}

/// What comes first in the body may have been let go of when its turn comes, if the body is about as large as may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_ranges_of_a_body_on_its_way_are_the_whole() {
    let (feed, body) = fed();
    let origin = streaming(vec![body], &[("content-length", "40000")]);
    let server = origin.serve(CacheLayer::new(TTL).max_body(40_000)).await;
    let read = server.begin(request("GET", "/", &[("range", "bytes=39000-39999,0-9")])).await;
    for _ in 0..20 {
        feed.send("x".repeat(2000));
    }
    drop(feed);
    let read = crate::harness::read(read).await.expect("a complete body");
    assert_eq!((read.status.as_u16(), read.body.len()), (200, 40_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_personal_response_is_cut_for_its_caller_too() {
    for (lines, status, text) in [
        (&[("range", "bytes=2-4")][..], 206, "234"),
        (&[("if-none-match", "\"v1\"")], 304, ""),
        (&[("range", "bytes=2-4,6-7")], 200, "0123456789"),
    ] {
        let origin = Origin::open(|_, _| {
            let response = Response::builder().header("etag", "\"v1\"").header("content-length", "10");
            response.header("cache-control", "private").body(Body::from("0123456789")).unwrap()
        });
        let server = origin.serve(CacheLayer::new(TTL)).await;
        let read = server.get_with("/", lines).await;
        assert_eq!((read.status.as_u16(), read.text()), (status, text));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preconditions_go_to_the_handler() {
    let (origin, asked) = origin();
    let server = origin.serve(CacheLayer::new(TTL)).await;
    server.get("/").await;
    for (n, name) in ["if-match", "if-unmodified-since"].into_iter().enumerate() {
        let read = server.get_with("/", &[(name, "x")]).await;
        assert_eq!(read.cache_status(), "stampede; fwd=bypass");
        assert!(asked.lock().unwrap()[n + 1].contains_key(name));
    }
    assert_eq!(origin.runs(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_are_generated_if_wanted() {
    let origin = Origin::open(|_, _| Response::new(Body::from("text")));
    let server = origin.serve(CacheLayer::new(TTL).etag(true)).await;
    let first = server.get("/").await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"'), "{tag}");
    for path in ["/", "/other"] {
        assert_eq!(server.get_with(path, &[("if-none-match", &tag)]).await.status, 304);
    }
    let server = origin.serve(CacheLayer::new(TTL)).await;
    assert_eq!(server.get("/").await.header("etag"), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_says_what_get_would() {
    let (origin, _) = origin();
    let server = origin.serve(CacheLayer::new(TTL)).await;
    server.get("/").await;
    let head = server.send(request("HEAD", "/", &[])).await;
    assert_eq!((head.header("content-length"), head.header("etag"), head.text()), ("10", "\"v1\"", ""));
    assert_eq!(server.send(request("HEAD", "/", &[("if-none-match", "\"v1\"")])).await.status, 304);
    assert_eq!(server.send(request("HEAD", "/", &[("range", "bytes=2-4")])).await.status, 200, "a HEAD has no parts");
    // A HEAD of its own, and from its own entry.
    for _ in 0..2 {
        let head = server.send(request("HEAD", "/other", &[])).await;
        assert_eq!((head.status.as_u16(), head.header("etag")), (200, "\"v1\""));
    }
    assert_eq!(origin.runs(), 2);
}

/// Nobody has told how long GET's body is, and what HEAD's own is does not say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_of_its_own_claims_nothing_about_a_body_that_it_has_not_seen() {
    let origin = Origin::open(|_, request| {
        let (feed, body) = fed();
        feed.send(if request.method() == "HEAD" { "" } else { "text" });
        Response::new(Body::new(body))
    });
    let server = origin.serve(CacheLayer::new(TTL).etag(true)).await;
    for _ in 0..2 {
        let head = server.send(request("HEAD", "/", &[])).await;
        assert_eq!((head.header("content-length"), head.header("etag")), ("", ""));
    }
    assert_eq!(origin.runs(), 1);
    assert_eq!(server.get("/").await.text(), "text");
}
