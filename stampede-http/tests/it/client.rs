//! Around a client: responses are shared and stored before they leave the machine.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use stampede::Store;
use stampede::http::CacheLayer;
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt};

use crate::harness::{Origin, Server, TTL, numbered, read, with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_shares_and_stores_what_it_fetches() {
    let origin = Origin::gated(|run, request| match request.uri().path() {
        "/private" => with(run, &[("set-cookie", "id=1")]),
        "/aged" => with(run, &[("cache-control", "max-age=100"), ("age", "70")]),
        _ => numbered(run),
    });
    let server = Server::of(origin.app()).await;
    let store = Store::builder().build();
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let client = CacheLayer::new(TTL).store(&store).layer(client);
    let get = |path: &str| {
        let request = Request::get(format!("http://{}{path}", server.addr)).body(Empty::new()).unwrap();
        let call = client.clone().oneshot(request);
        async move { read(call.await.unwrap()).await.unwrap() }
    };
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        callers.spawn(get("/"));
    }
    crate::harness::until(|| store.stats().waiting == 100).await;
    origin.open_gate(100);
    while let Some(read) = callers.join_next().await {
        assert_eq!(read.unwrap().text(), "1");
    }
    assert_eq!((get("/").await.text(), origin.runs()), ("1", 1));
    assert_ne!(get("/private").await.text(), get("/private").await.text());
    get("/aged").await;
    let aged = get("/aged").await;
    assert!(aged.is_fresh_of(Duration::from_secs(30)), "{}", aged.cache_status());
    assert!((70..85).contains(&aged.header("age").parse().unwrap()), "{}", aged.header("age"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_cannot_connect_has_its_own_error_and_an_old_response_if_there_is_one() {
    let origin = Origin::open(|run, _| numbered(run));
    let server = Server::of(origin.app()).await;
    let store = Store::builder().build();
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http::<Empty<Bytes>>();
    let layer = CacheLayer::new(Duration::from_millis(1)).stale_if_error(Duration::from_mins(1));
    let client = layer.store(&store).layer(client);
    let uri = format!("http://{}/", server.addr);
    let get = || client.clone().oneshot(Request::get(&uri).body(Empty::new()).unwrap());
    assert_eq!(read(get().await.unwrap()).await.unwrap().text(), "1");
    server.stop().await;
    // For the first time: there is no old response.
    let other = Request::get(format!("{uri}other")).body(Empty::new()).unwrap();
    assert!(client.clone().oneshot(other).await.unwrap_err().is_connect());
    assert_eq!(read(get().await.unwrap()).await.unwrap().text(), "1");
}
