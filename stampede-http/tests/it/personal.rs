//! What must never reach another caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, Method, header};
use stampede::http::CacheLayer;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceBuilder;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::harness::{Origin, Server, TTL, numbered, request, until, with};

/// A page that greets by name, and says so in its headers or not.
fn greeting(lines: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::open(move |_, request| {
        let name = |header| request.headers().get(header).map(|name: &HeaderValue| name.to_str().unwrap().to_owned());
        let name = name("authorization").or_else(|| name("cookie")).or_else(|| name("x-user")).unwrap_or_default();
        let mut response = Response::new(Body::from(format!("hello {name}")));
        for (name, value) in lines {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        response
    })
}

/// Seen in other layers: Bob sees Alice's answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repro_bob_sees_alices_answer() {
    for who in ["authorization", "cookie"] {
        let origin = greeting(&[]);
        let server = origin.serve(CacheLayer::new(TTL)).await;
        for name in ["Alice", "Bob", "Alice"] {
            let read = server.get_with("/me", &[(who, name)]).await;
            assert_eq!((read.text(), read.cache_status()), (&*format!("hello {name}"), "stampede; fwd=bypass"));
        }
        assert_eq!(server.get("/me").await.text(), "hello ", "nor does somebody who says nothing");
        assert_eq!(server.get_with("/me", &[(who, "Eve")]).await.text(), "hello Eve", "nor is that for those who do");
        assert_eq!(origin.runs(), 5);
        assert_eq!(server.store.stats().calls.bypass, 4);
        assert_eq!(server.store.stats().runs_saved(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_who_asks_waits_for_nobody() {
    let origin = Origin::gated(|run, _| numbered(run));
    let server = Arc::new(origin.serve(CacheLayer::new(TTL)).await);
    let callers: Vec<_> = [&[][..], &[("cookie", "a")], &[("authorization", "b")], &[("cookie", "a")]]
        .into_iter()
        .map(|lines| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { server.get_with("/", lines).await })
        })
        .collect();
    until(|| origin.runs() == 4).await;
    // The one who says nothing: it may yet have to note that it waits.
    server.waiting(1).await;
    origin.open_gate(4);
    for caller in callers {
        caller.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_in_the_key_tell_callers_apart() {
    let origin = greeting(&[]);
    let server = origin.serve(CacheLayer::new(TTL).vary_on([header::AUTHORIZATION])).await;
    for name in ["Alice", "Bob", "Alice", "Bob"] {
        assert_eq!(server.get_with("/me", &[("authorization", name)]).await.text(), format!("hello {name}"));
    }
    assert_eq!(origin.runs(), 2);
    server.get_with("/me", &[("authorization", "Alice"), ("cookie", "c")]).await;
    assert_eq!(origin.runs(), 3, "the cookie is not in the key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_public_is_for_those_who_say_who_they_are_as_well() {
    let origin = Origin::open(|run, _| with(run, &[("cache-control", "public")]));
    let server = origin.serve(CacheLayer::new(TTL)).await;
    let first = server.get_with("/", &[("cookie", "a")]).await;
    assert_eq!((first.text(), first.cache_status()), ("1", "stampede; fwd=bypass; stored"));
    until(|| server.store.stats().entries == 1).await;
    for lines in [&[("cookie", "b")][..], &[], &[("authorization", "c")]] {
        let read = server.get_with("/", lines).await;
        assert_eq!((read.text(), read.is_fresh_of(TTL)), ("1", true), "{}", read.cache_status());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalidation_wins_over_a_public_response_that_began_before() {
    for written in [false, true] {
        let (runs, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let page = {
            let (runs, gate) = (Arc::clone(&runs), Arc::clone(&gate));
            move || async move {
                let run = runs.fetch_add(1, SeqCst) + 1;
                gate.acquire().await.unwrap().forget();
                ([(header::CACHE_CONTROL, "public")], run.to_string())
            }
        };
        let store = stampede::Store::builder().build();
        let app = Router::new().route("/", axum::routing::get(page).post(|| async { "written" }));
        let server = Arc::new(Server::of(app.layer(CacheLayer::new(TTL).store(&store))).await);
        let old = tokio::spawn({
            let server = Arc::clone(&server);
            async move { server.get_with("/", &[("cookie", "a")]).await }
        });
        until(|| runs.load(SeqCst) == 1).await;
        if written {
            assert_eq!(server.send(request("POST", "/", &[])).await.text(), "written");
        }
        gate.add_permits(2);
        assert_eq!(old.await.unwrap().text(), "1");
        if !written {
            until(|| store.stats().entries == 1).await;
        }
        assert_eq!(server.get("/").await.text(), if written { "2" } else { "1" });
    }
}

/// Seen in other layers: `private` and `no-store` are ignored, Set-Cookie is replayed, `Vary` is ignored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repro_personal_responses_are_stored() {
    for line in [
        ("cache-control", "private"),
        ("cache-control", "no-store"),
        ("cache-control", "no-cache"),
        ("set-cookie", "id=secret"),
        ("vary", "x-user"),
        ("vary", "*"),
        ("access-control-allow-origin", "https://a.example"),
    ] {
        let lines: &'static [_] = Box::leak(Box::new([line]));
        let origin = greeting(lines);
        let server = origin.serve(CacheLayer::new(TTL)).await;
        for (name, status) in [("Alice", "stampede; fwd=miss"), ("Bob", "stampede; fwd=bypass")] {
            let read = server.get_with("/me", &[("x-user", name)]).await;
            assert_eq!((read.text(), read.cache_status()), (&*format!("hello {name}"), status), "{line:?}");
            assert_eq!(read.header(line.0), line.1, "{line:?}: it is whole");
        }
        assert_eq!((server.store.stats().entries, server.store.stats().runs_saved()), (0, 0), "{line:?}");
    }
}

/// Seen in other layers: parallel users share one private response even where storing it is refused. Here they run on their own, in
/// parallel, as soon as the first one's headers are there; and the next time at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repro_parallel_users_share_a_private_response() {
    let (runs, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let app = Router::new().fallback({
        let (runs, gate) = (Arc::clone(&runs), Arc::clone(&gate));
        move |request: Request| {
            let (runs, gate) = (Arc::clone(&runs), Arc::clone(&gate));
            async move {
                runs.fetch_add(1, SeqCst);
                gate.acquire().await.unwrap().forget();
                let user = request.headers()["x-user"].to_str().unwrap().to_owned();
                ([(header::CACHE_CONTROL, "private")], user)
            }
        }
    });
    let store = stampede::Store::builder().build();
    let mut server = Server::of(app.layer(CacheLayer::new(TTL).store(&store))).await;
    server.store = store;
    let server = Arc::new(server);
    let mut users = JoinSet::new();
    for user in 0..50 {
        let server = Arc::clone(&server);
        users.spawn(async move {
            let name = user.to_string();
            assert_eq!(server.get_with("/me", &[("x-user", &name)]).await.text(), name);
        });
    }
    server.waiting(50).await;
    assert_eq!(runs.load(SeqCst), 1);
    gate.add_permits(1);
    // All of them at once, although none has been answered yet.
    until(|| runs.load(SeqCst) == 50).await;
    gate.add_permits(49);
    while let Some(user) = users.join_next().await {
        user.unwrap();
    }
    for user in ["x", "y"] {
        let server = Arc::clone(&server);
        users.spawn(async move {
            assert_eq!(server.get_with("/me", &[("x-user", user)]).await.text(), user);
        });
    }
    until(|| runs.load(SeqCst) == 52).await;
    gate.add_permits(2);
    while let Some(user) = users.join_next().await {
        user.unwrap();
    }
    assert_eq!(server.store.stats().runs_saved(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_of_a_private_response_hangs_up_and_the_others_get_their_own() {
    let origin = Origin::gated(|_, request| {
        let user = request.headers()["x-user"].to_str().unwrap().to_owned();
        let mut response = Response::new(Body::from(user));
        response.headers_mut().insert("cache-control", HeaderValue::from_static("private"));
        response
    });
    let server = Arc::new(origin.serve(CacheLayer::new(TTL)).await);
    let call = |user: &'static str| {
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.get_with("/", &[("x-user", user)]).await })
    };
    let leader = call("Alice");
    server.waiting(1).await;
    let follower = call("Bob");
    server.waiting(2).await;
    leader.abort();
    server.waiting(1).await;
    origin.open_gate(2);
    assert_eq!(follower.await.unwrap().text(), "Bob");
}

/// Seen in other layers: 206 and 304 are cached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repro_partial_and_conditional_answers_are_stored_as_whole_ones() {
    for status in [206, 304] {
        let origin = Origin::open(move |run, _| {
            let mut response = numbered(run);
            *response.status_mut() = status.try_into().unwrap();
            if status == 304 {
                *response.body_mut() = Body::empty();
            }
            response
        });
        let server = origin.serve(CacheLayer::new(TTL)).await;
        for run in 1..4 {
            let read = server.get_with("/", &[("range", "bytes=0-0")]).await;
            assert_eq!((read.status.as_u16(), origin.runs()), (status, run));
            assert_eq!(read.cache_status(), "stampede; fwd=miss", "the URL is not marked");
        }
    }
}

/// Seen in other layers: the leader's request id, nonce and limits go to everyone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repro_headers_of_one_caller_reach_another() {
    let origin = Origin::open(|run, _| {
        let lines =
            [("x-request-id", "1"), ("x-ratelimit-remaining", "9"), ("link", "<a>"), ("link", "<b>"), ("x-mine", "1")];
        with(run, &lines)
    });
    let server = origin.serve(CacheLayer::new(TTL)).await;
    let (first, second) = (server.get("/").await, server.get("/").await);
    assert_eq!([first.header("x-request-id"), first.header("x-ratelimit-remaining")], ["1", "9"]);
    assert!(!second.headers.contains_key("x-request-id") && !second.headers.contains_key("x-ratelimit-remaining"));
    assert_eq!(second.headers.get_all("link").iter().collect::<Vec<_>>(), ["<a>", "<b>"], "repeated lines stay so");
    assert_eq!(second.header("x-mine"), "1");
    assert_eq!(second.header("date").len(), first.header("date").len());

    let server = origin.serve(CacheLayer::new(TTL).personal_headers(["x-m*"])).await;
    let (first, second) = (server.get("/").await, server.get("/").await);
    assert_eq!((first.header("x-mine"), second.header("x-mine"), second.header("x-request-id")), ("1", "", "1"));
}

/// Seen in other layers: CORS headers are replayed to other origins. (Their own test of it, with the layer inside and outside.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repro_origins_get_each_others_cors_headers() {
    let cors = || {
        let origins = ["https://a.example", "https://b.example"].map(HeaderValue::from_static);
        CorsLayer::new().allow_origin(AllowOrigin::list(origins)).allow_methods([Method::GET])
    };
    let cache = || CacheLayer::new(TTL);
    let origin = || Origin::open(|run, _| numbered(run));
    let (outside, inside, keyed) = (origin(), origin(), origin());
    let apps = [
        (outside.app().layer(ServiceBuilder::new().layer(cors()).layer(cache())), &outside, 1),
        (inside.app().layer(ServiceBuilder::new().layer(cache()).layer(cors())), &inside, 8),
        (
            keyed.app().layer(
                ServiceBuilder::new()
                    .layer(cache().vary_on([
                        header::ORIGIN,
                        header::ACCESS_CONTROL_REQUEST_METHOD,
                        header::ACCESS_CONTROL_REQUEST_HEADERS,
                    ]))
                    .layer(cors()),
            ),
            &keyed,
            4,
        ),
    ];
    for (app, origin, runs) in apps {
        let server = Server::of(app).await;
        for _ in 0..2 {
            for (asks, gets) in [
                ("https://a.example", "https://a.example"),
                ("https://b.example", "https://b.example"),
                ("https://evil.example", ""),
            ] {
                let read = server.get_with("/", &[("origin", asks)]).await;
                assert_eq!(read.header("access-control-allow-origin"), gets);
            }
            assert_eq!(server.get("/").await.header("access-control-allow-origin"), "");
        }
        assert_eq!(origin.runs(), runs);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_outer_middleware_adds_for_one_caller_stays_with_it() {
    let origin = Origin::open(|run, _| numbered(run));
    let id = Arc::new(AtomicUsize::new(0));
    let add = tower::util::MapResponseLayer::new(move |mut response: Response| {
        let id = id.fetch_add(1, SeqCst) + 1;
        response.headers_mut().append("x-nonce", id.into());
        response
    });
    let server = Server::of(origin.app().layer(CacheLayer::new(TTL)).layer(add)).await;
    for n in ["1", "2", "3"] {
        let read = server.get("/").await;
        assert_eq!(read.headers.get_all("x-nonce").iter().collect::<Vec<_>>(), [n]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_url_is_personal_for_a_while_only() {
    use tower::{Layer, ServiceExt};
    let private = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let runs = Arc::new(AtomicUsize::new(0));
    let inner = crate::harness::service({
        let (private, runs) = (Arc::clone(&private), Arc::clone(&runs));
        move |_| {
            runs.fetch_add(1, SeqCst);
            let mut response = http::Response::new(http_body_util::Full::from("x"));
            if private.load(SeqCst) {
                response.headers_mut().insert("cache-control", HeaderValue::from_static("private"));
            }
            std::future::ready(response)
        }
    });
    let service = CacheLayer::new(TTL).store(&stampede::Store::builder().build()).layer(inner);
    let call = || service.clone().oneshot(crate::harness::empty("GET", "/", &[]));
    call().await.unwrap();
    private.store(false, SeqCst);
    call().await.unwrap();
    call().await.unwrap();
    assert_eq!(runs.load(SeqCst), 3);
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    call().await.unwrap();
    call().await.unwrap();
    assert_eq!(runs.load(SeqCst), 4, "then one request asks again, and others share");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_switched_off_and_wrappers_hold_for_those_who_say_who_they_are() {
    use tower::{Layer, ServiceExt};
    let runs = Arc::new(AtomicUsize::new(0));
    let inner = crate::harness::service({
        let runs = Arc::clone(&runs);
        move |_| {
            let run = runs.fetch_add(1, SeqCst) + 1;
            let mut response = http::Response::new(http_body_util::Full::from(run.to_string()));
            response.headers_mut().insert("cache-control", HeaderValue::from_static("public"));
            std::future::ready(response)
        }
    });
    let store = stampede::Store::builder().build();
    let service = CacheLayer::new(TTL).store(&store).layer(inner);
    for (method, lines) in [("GET", &[("cookie", "a")][..]), ("HEAD", &[]), ("GET", &[])] {
        let call = || async { service.clone().oneshot(crate::harness::empty(method, "/", lines)).await.unwrap() };
        store.clear().await;
        service.clone().oneshot(crate::harness::empty("GET", "/", &[])).await.unwrap();
        let before = runs.load(SeqCst);
        call().await;
        assert_eq!(runs.load(SeqCst), before, "{method} {lines:?}: from the store");
        stampede::uncached(call()).await;
        assert_eq!(runs.load(SeqCst), before + 1, "{method} {lines:?}: uncached");
        stampede::fresh(call()).await;
        assert_eq!(runs.load(SeqCst), before + 2, "{method} {lines:?}: fresh");
        store.bypass(true);
        call().await;
        assert_eq!(runs.load(SeqCst), before + 3, "{method} {lines:?}: bypass");
        store.bypass(false);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_for_a_proxy_are_credentials() {
    let origin = greeting(&[]);
    let server = origin.serve(CacheLayer::new(TTL)).await;
    for _ in 0..2 {
        let read = server.get_with("/me", &[("proxy-authorization", "a")]).await;
        assert_eq!(read.cache_status(), "stampede; fwd=bypass");
    }
}
