//! Writes: unsafe methods reach the handler, and void what is stored for their URL, whoever asked for it in which way.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use http::{Method, header};
use stampede::Store;
use stampede::http::CacheLayer;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::harness::{Origin, Server, TTL, numbered, request, until_asked};

/// Over HTTP/2 a request says its scheme and host in other places than over HTTP/1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_over_http_2_voids_what_was_read_over_http_1_and_the_reverse() {
    for variants in [false, true] {
        let origin = Origin::open(|run, _| numbered(run));
        let layer = CacheLayer::new(TTL);
        let server = origin.serve(if variants { layer.vary_on([header::ACCEPT]) } else { layer }).await;
        let mut h2 = server.connect_h2().await;
        let before = server.get("/").await;
        assert_eq!(server.get("/").await.text(), before.text());
        let over_h2 = server.send_h2(&mut h2, "GET", "/").await;
        server.send_h2(&mut h2, "POST", "/").await;
        assert_ne!(server.get("/").await.text(), before.text(), "read over HTTP/1, written over HTTP/2");
        let again = server.send_h2(&mut h2, "GET", "/").await;
        assert_ne!(again.text(), over_h2.text(), "both over HTTP/2");
        server.send(request("POST", "/", &[])).await;
        assert_ne!(server.send_h2(&mut h2, "GET", "/").await.text(), again.text(), "the reverse");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_voids_entries_of_opted_in_methods_too() {
    let origin = Origin::open(|run, _| numbered(run));
    let layer = CacheLayer::new(TTL).methods([Method::GET, Method::POST]);
    let server = Server::of(origin.app().layer(layer)).await;
    let search = || server.send_with(request("POST", "/search", &[]), "a");
    assert_eq!((search().await.text(), search().await.text()), ("1", "1"));
    assert_eq!(server.send(request("PUT", "/search", &[])).await.text(), "2");
    assert_eq!(search().await.text(), "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_voids_what_was_read_with_a_body() {
    let origin = Origin::open(|run, _| numbered(run));
    let server = Server::of(origin.app().layer(CacheLayer::new(TTL).methods([Method::GET]))).await;
    let read = || server.send_with(request("GET", "/search", &[]), "a");
    assert_eq!((read().await.text(), read().await.text()), ("1", "1"));
    assert_eq!(server.send(request("PUT", "/search", &[])).await.text(), "2");
    assert_eq!(read().await.text(), "3");
}

/// Java's client asks for HTTP/2 with the first request of a connection, whatever its method.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_asks_for_an_upgrade_voids_all_the_same() {
    let origin = Origin::open(|run, _| numbered(run));
    let server = origin.serve(CacheLayer::new(TTL)).await;
    assert_eq!(server.get("/").await.text(), "1");
    let upgrade = [("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "AAEAAEAA")];
    assert_eq!(server.send(request("PUT", "/", &upgrade)).await.text(), "2");
    assert_eq!(server.get("/").await.text(), "3");
}

/// The client of a write hangs up when the handler has written and not yet answered. Nobody knows how far it has come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_client_hangs_up_voids_all_the_same() {
    for variants in [false, true] {
        let (written, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let origin = Origin::open(|run, _| numbered(run));
        let app = axum::Router::new().fallback({
            let (origin, written, gate) = (origin.clone(), Arc::clone(&written), Arc::clone(&gate));
            move |request: Request| async move {
                if request.method() == Method::POST {
                    written.add_permits(1);
                    gate.acquire().await.expect("an open gate").forget();
                }
                origin.answer(request).await
            }
        });
        let store = Store::builder().build();
        let layer = CacheLayer::new(TTL).store(&store);
        let layer = if variants { layer.vary_on([header::ACCEPT]) } else { layer };
        let server = Server::of(app.layer(layer)).await;
        let before = server.get("/").await;
        let mut writer = TcpStream::connect(server.addr).await.unwrap();
        let text = format!("POST / HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n\r\n", server.addr);
        writer.write_all(text.as_bytes()).await.unwrap();
        written.acquire().await.unwrap().forget();
        assert_eq!(server.get("/").await.text(), before.text());
        drop(writer);
        until_asked(|| async { server.get("/").await.text() != before.text() }).await;
    }
}

/// Preconditions make a difference to what an opted-in method does, and the handler sees to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditional_requests_with_opted_in_methods_share_nothing() {
    let origin = Origin::open(|run, request| {
        let mut response = numbered(run);
        if request.headers().contains_key("if-none-match") {
            *response.status_mut() = http::StatusCode::PRECONDITION_FAILED;
            *response.body_mut() = Body::empty();
        }
        response
    });
    let layer = CacheLayer::new(TTL).methods([Method::POST]).ttl_by_status(|_| Some(TTL));
    let server = Server::of(origin.app().layer(layer)).await;
    for name in ["if-none-match", "range", "if-range", "if-modified-since"] {
        server.send_with(request("POST", "/", &[(name, "\"x\"")]), "a").await;
    }
    assert_eq!(server.send_with(request("POST", "/", &[]), "a").await.text(), "5");
    assert_eq!(server.send_with(request("POST", "/", &[]), "a").await.text(), "5");
}
