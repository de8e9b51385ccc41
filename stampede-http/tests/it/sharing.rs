//! Keys, storing, sharing: one run for whoever asks for the same.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{Method, StatusCode, header};
use stampede::http::CacheLayer;
use tokio::task::JoinSet;

use crate::harness::{Origin, Server, TTL, numbered, request, until, with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_is_stored_for_those_who_come_later() {
    let origin = Origin::open(|run, _| numbered(run));
    let server = origin.serve(CacheLayer::new(TTL)).await;
    let first = server.get("/a").await;
    assert_eq!((first.text(), first.cache_status()), ("1", "stampede; fwd=miss; stored"));
    let second = server.get("/a").await;
    assert_eq!((second.text(), second.is_fresh_of(TTL)), ("1", true), "{}", second.cache_status());
    assert!(second.header("age").parse::<u64>().unwrap() < TTL.as_secs() / 2, "{}", second.header("age"));
    assert_eq!(server.get("/b").await.text(), "2");
    assert_eq!(server.store.stats().runs_saved(), 1);
}

/// Seen in other layers: keys without query, host or method.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repro_keys_that_leave_out_half_of_the_request() {
    let origin = Origin::open(|run, _| numbered(run));
    let server = origin.serve(CacheLayer::new(TTL)).await;
    let mut seen = Vec::new();
    for (path, lines) in
        [("/a", &[][..]), ("/a?x=1", &[]), ("/a?x=2", &[]), ("/a?", &[]), ("/A", &[]), ("/a", &[("host", "other")])]
    {
        seen.push(server.get_with(path, lines).await.text().to_owned());
    }
    assert_eq!(seen, ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(server.get("/a?x=2").await.text(), "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_on_sockets_share_a_run() {
    let origin = Origin::gated(|run, _| numbered(run));
    let server = std::sync::Arc::new(origin.serve(CacheLayer::new(TTL)).await);
    let mut callers = JoinSet::new();
    for _ in 0..200 {
        let server = std::sync::Arc::clone(&server);
        callers.spawn(async move { server.get("/").await });
    }
    server.waiting(200).await;
    origin.open_gate(1);
    let mut collapsed = 0;
    while let Some(read) = callers.join_next().await {
        let read = read.unwrap();
        assert_eq!(read.text(), "1");
        collapsed += usize::from(read.cache_status() == "stampede; fwd=miss; collapsed; stored");
    }
    assert_eq!((origin.runs(), collapsed), (1, 199));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_a_500_for_those_who_waited_and_the_next_request_runs() {
    let origin = Origin::gated(|run, _| if run == 1 { panic!("the handler's fault") } else { numbered(run) });
    let server = std::sync::Arc::new(origin.serve(CacheLayer::new(TTL)).await);
    let mut callers = JoinSet::new();
    for _ in 0..5 {
        let server = std::sync::Arc::clone(&server);
        callers.spawn(async move { server.get("/").await.status });
    }
    server.waiting(5).await;
    origin.open_gate(1);
    while let Some(status) = callers.join_next().await {
        assert_eq!(status.unwrap(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!((origin.runs(), server.store.stats().runs.panic), (1, 1));
    origin.open_gate(1);
    assert_eq!(server.get("/").await.text(), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leaders_client_hangs_up_and_the_others_get_the_answer() {
    let origin = Origin::gated(|run, _| numbered(run));
    let server = std::sync::Arc::new(origin.serve(CacheLayer::new(TTL)).await);
    let leader = tokio::spawn({
        let server = std::sync::Arc::clone(&server);
        async move { server.get("/").await }
    });
    server.waiting(1).await;
    let follower = tokio::spawn({
        let server = std::sync::Arc::clone(&server);
        async move { server.get("/").await }
    });
    server.waiting(2).await;
    leader.abort();
    let _ = leader.await;
    server.waiting(1).await;
    origin.open_gate(1);
    assert_eq!(follower.await.unwrap().text(), "1");
    assert_eq!(server.get("/").await.text(), "1", "it is stored");
    assert_eq!(origin.runs(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_stored_is_finished_though_nobody_is_left_and_one_that_is_not_is_cancelled() {
    for (layer, runs_after) in [(CacheLayer::new(TTL), 1_u64), (CacheLayer::coalesce_only(), 2)] {
        let origin = Origin::gated(|run, _| numbered(run));
        let server = std::sync::Arc::new(origin.serve(layer).await);
        let alone = tokio::spawn({
            let server = std::sync::Arc::clone(&server);
            async move { server.get("/").await }
        });
        server.waiting(1).await;
        until(|| origin.runs() == 1).await;
        alone.abort();
        server.waiting(0).await;
        origin.open_gate(2);
        until(|| server.store.stats().in_flight == 0).await;
        assert_eq!(server.get("/").await.text(), runs_after.to_string());
        let runs = server.store.stats().runs;
        assert_eq!((runs.ok, runs.cancelled), (1, runs_after - 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coalesce_only_shares_and_stores_nothing() {
    for layer in [CacheLayer::coalesce_only(), CacheLayer::new(Duration::ZERO)] {
        let origin = Origin::gated(|run, _| numbered(run));
        let server = std::sync::Arc::new(origin.serve(layer).await);
        let mut callers = JoinSet::new();
        for _ in 0..5 {
            let server = std::sync::Arc::clone(&server);
            callers.spawn(async move { server.get("/").await });
        }
        server.waiting(5).await;
        origin.open_gate(2);
        while let Some(read) = callers.join_next().await {
            assert_eq!(read.unwrap().text(), "1");
        }
        let later = server.get("/").await;
        assert_eq!((later.text(), later.cache_status()), ("2", "stampede; fwd=miss"));
    }
}

/// Seen in other layers: HEAD poisons GET, and a DELETE is answered from a cached GET.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repro_methods_that_answer_for_each_other() {
    let origin = Origin::open(|run, _| numbered(run));
    let server = origin.serve(CacheLayer::new(TTL)).await;
    let head = server.send(request("HEAD", "/", &[])).await;
    assert_eq!((head.text(), head.cache_status()), ("", "stampede; fwd=miss; stored"));
    let get = server.get("/").await;
    assert_eq!((get.text(), origin.runs()), ("2", 2), "GET is not answered from HEAD's entry");
    let head = server.send(request("HEAD", "/", &[])).await;
    assert_eq!((head.text(), origin.runs(), head.header("content-length")), ("", 2, "1"), "HEAD is, from GET's");
    assert!(head.cache_status().starts_with("stampede; hit"), "{}", head.cache_status());
    let options = server.send(request("OPTIONS", "/", &[])).await;
    assert_eq!(options.text(), "3");
    assert_eq!(server.get("/").await.text(), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsafe_method_passes_and_its_success_voids_the_url() {
    for (layer, vary) in [
        (CacheLayer::new(TTL), &[][..]),
        (CacheLayer::new(TTL).vary_on([header::ACCEPT_LANGUAGE]), &[("accept-language", "de")]),
    ] {
        let origin = Origin::open(|run, request| {
            let mut response = numbered(run);
            if request.uri().path() == "/refused" && request.method() != Method::GET {
                *response.status_mut() = StatusCode::FORBIDDEN;
            }
            response
        });
        let server = origin.serve(layer).await;
        for method in ["POST", "PUT", "DELETE", "PATCH", "PURGE"] {
            let before = server.get_with("/x", vary).await;
            let other = server.get("/y").await;
            let written = server.send(request(method, "/x", &[])).await;
            assert_ne!(written.text(), before.text(), "{method} is never answered from the store");
            assert_eq!(written.cache_status(), "stampede; fwd=method");
            assert_ne!(server.get_with("/x", vary).await.text(), before.text(), "{method} voids");
            assert_eq!(server.get("/y").await.text(), other.text(), "and no other URL");
        }
        let before = server.get_with("/refused", vary).await;
        server.send(request("POST", "/refused", &[])).await;
        assert_eq!(server.get_with("/refused", vary).await.text(), before.text(), "a failure voids nothing");
    }
}

/// Seen in other layers: POST bodies are ignored in keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repro_bodies_that_are_not_in_the_key() {
    let origin = Origin::open(|run, _| numbered(run));
    let layer = CacheLayer::new(TTL).methods([Method::GET, Method::POST]).max_request_body(8);
    let server = Server::of(origin.app().layer(layer)).await;
    let post = |body| server.send_with(request("POST", "/search", &[]), body);
    assert_eq!(post("a").await.text(), "1");
    assert_eq!(post("b").await.text(), "2");
    assert_eq!(post("a").await.text(), "1");
    assert_eq!(server.get("/search").await.text(), "3");
    assert_eq!(post("longer than that").await.text(), "4");
    assert_eq!(post("longer than that").await.text(), "5");
    assert_eq!(post("").await.text(), "6");
}

/// The same bytes may mean something else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_body_is_said_to_be_is_in_the_key_with_it() {
    let origin = Origin::open(|run, _| numbered(run));
    let server = Server::of(origin.app().layer(CacheLayer::new(TTL).methods([Method::POST]))).await;
    let post = |name, value| server.send_with(request("POST", "/search", &[(name, value)]), "a=1");
    for (name, value, run) in [
        ("content-type", "text/plain", "1"),
        ("content-type", "application/x-www-form-urlencoded", "2"),
        ("content-encoding", "gzip", "3"),
        ("content-encoding", "br", "4"),
        ("content-type", "text/plain", "1"),
        ("x-other", "text/plain", "5"),
        ("x-other", "gzip", "5"),
    ] {
        assert_eq!(post(name, value).await.text(), run, "{name}: {value}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_echoes_gets_its_body_also_where_that_is_in_the_key() {
    let app = axum::Router::new().fallback(|body: String| async move { body });
    let server = Server::of(app.layer(CacheLayer::new(TTL).methods([Method::POST]))).await;
    for text in ["one", "two", "one"] {
        assert_eq!(server.send_with(request("POST", "/", &[]), text).await.text(), text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_can_be_added_to_and_replaced() {
    let origin = Origin::open(|run, _| numbered(run));
    let tenant = |parts: &http::request::Parts| {
        parts.headers.get("x-tenant").map_or(String::new(), |tenant| tenant.to_str().unwrap().to_owned())
    };
    let server = origin.serve(CacheLayer::new(TTL).key_part(tenant)).await;
    assert_eq!(server.get_with("/", &[("x-tenant", "a")]).await.text(), "1");
    assert_eq!(server.get_with("/", &[("x-tenant", "b")]).await.text(), "2");
    assert_eq!(server.get_with("/", &[("x-tenant", "a")]).await.text(), "1");
    let server = origin.serve(CacheLayer::new(TTL).key_fn(|parts| parts.uri.path().to_owned())).await;
    assert_eq!(server.get("/?a").await.text(), "3");
    assert_eq!(server.get("/?b").await.text(), "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_layer_can_be_limited() {
    let origin = Origin::open(|run, _| numbered(run));
    let layer = CacheLayer::new(TTL).paths(["/a", "/b/*"]).accept_request(|parts| parts.uri.query().is_none());
    let server = origin.serve(layer).await;
    for (path, cached) in [("/a", true), ("/a/x", false), ("/b/x", true), ("/c", false), ("/a?q", false)] {
        let (first, second) = (server.get(path).await, server.get(path).await);
        assert_eq!(first.text() == second.text(), cached, "{path}");
        assert_eq!(first.cache_status().is_empty(), !cached, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_say_how_long_and_whether_they_are_stored() {
    let origin = Origin::open(|run, request| match request.uri().path() {
        "/no" => {
            let mut response = numbered(run);
            response.extensions_mut().insert(stampede::http::NoCache);
            response
        }
        "/said" => {
            stampede::no_cache();
            numbered(run)
        }
        "/zero" => with(run, &[("cache-control", "max-age=0")]),
        "/short" => {
            let mut response = numbered(run);
            response.extensions_mut().insert(stampede::http::StoreFor(Duration::from_mins(1)));
            response
        }
        "/tagged" => {
            let mut response = numbered(run);
            response.extensions_mut().insert(stampede::http::Tags::new(["red", "blue"]));
            response
        }
        "/odd" => Response::builder().status(302).body(Body::from(run.to_string())).unwrap(),
        _ => numbered(run),
    });
    let layer = CacheLayer::new(TTL).tags(["all"]).accept_response(|head, size| {
        assert_eq!(head.status.as_u16() / 100, 2);
        size < 3
    });
    let server = origin.serve(layer).await;
    for path in ["/no", "/said", "/zero", "/odd"] {
        assert_ne!(server.get(path).await.text(), server.get(path).await.text(), "{path}");
    }
    let (first, short) = (server.get("/short").await, server.get("/short").await);
    assert_eq!(first.text(), short.text());
    assert!(short.is_fresh_of(Duration::from_mins(1)), "{}", short.cache_status());
    let tagged = server.get("/tagged").await;
    assert_eq!(server.get("/tagged").await.text(), tagged.text());
    server.store.invalidate_tag("blue").await;
    let again = server.get("/tagged").await;
    assert_ne!(again.text(), tagged.text());
    let plain = server.get("/plain").await;
    server.store.invalidate_tag("red").await;
    assert_eq!(server.get("/plain").await.text(), plain.text());
    server.store.invalidate_tag("all").await;
    assert_ne!(server.get("/plain").await.text(), plain.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_share_by_being_clones_or_by_name() {
    let origin = Origin::open(|run, _| numbered(run));
    let store = stampede::Store::builder().build();
    let layer = CacheLayer::new(TTL).store(&store);
    let one = Server::of(origin.app().layer(layer.clone())).await;
    let two = Server::of(origin.app().layer(layer.clone())).await;
    let told = Server::of(origin.app().layer(layer.x_cache(true))).await;
    let lines = &[("host", "same")][..];
    assert_eq!(one.get_with("/", lines).await.text(), "1");
    assert_eq!(two.get_with("/", lines).await.text(), "1");
    assert_eq!(told.get_with("/", lines).await.text(), "2");
    let named = || CacheLayer::new(TTL).store(&store).name("pages");
    let (three, four) = (Server::of(origin.app().layer(named())).await, Server::of(origin.app().layer(named())).await);
    assert_eq!(three.get_with("/", lines).await.text(), "3");
    let read = four.get_with("/", lines).await;
    assert_eq!(read.text(), "3");
    // Each says of a hit what it has been told to say.
    let five = Server::of(origin.app().layer(named().x_cache(true))).await;
    for (server, word) in [(&five, "HIT"), (&four, ""), (&five, "HIT")] {
        let read = server.get_with("/", lines).await;
        assert_eq!((read.text(), read.header("x-cache")), ("3", word));
    }
    assert!(read.is_fresh_of(TTL) && read.cache_status().starts_with("pages; "), "{}", read.cache_status());
}
