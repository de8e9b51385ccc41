//! Bounds of what is on its way. (Those that take a crowd are in `tests/memory.rs`.)

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use stampede::Store;
use stampede::http::CacheLayer;
use tower::{Layer, ServiceExt};

use crate::harness::{TTL, empty, fed, read, service};

#[tokio::test(start_paused = true)]
async fn an_endless_body_keeps_to_its_bound_and_to_the_pace_of_its_readers() {
    let (feed, body) = fed();
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(body.boxed_unsync())));
    let inner = tower::service_fn(move |_: http::Request<_>| {
        let body: UnsyncBoxBody<Bytes, &'static str> = body.lock().unwrap().take().expect("one run");
        std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(body)))
    });
    let store = Store::builder().build();
    let service = CacheLayer::new(TTL).store(&store).max_body(10_000).layer(inner);
    let get = || async { service.clone().oneshot(empty("GET", "/", &[])).await.unwrap().into_body() };
    let (mut fast, mut slow) = (get().await, get().await);
    for _ in 0..1000 {
        feed.send(vec![b'x'; 1000]);
    }
    // The slow one holds up the fast one for a second at a time, and is left behind then.
    let start = tokio::time::Instant::now();
    let mut read = 0;
    while read < 500_000 {
        read += fast.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    assert_eq!(start.elapsed().as_secs(), 1);
    let mut got = 0;
    let error = loop {
        match slow.frame().await.unwrap() {
            Ok(frame) => got += frame.into_data().unwrap().len(),
            Err(error) => break error,
        }
    };
    assert!(got < 20_000, "{got}");
    assert!(error.to_string().contains("held up"), "{error}");
    drop((fast, slow));
    while !feed.is_closed() {
        tokio::task::yield_now().await;
    }
}

/// What a client reads from a socket are slices of large buffers.
#[tokio::test]
async fn a_small_body_does_not_keep_the_buffer_that_it_is_a_slice_of() {
    struct Large(Vec<u8>, #[expect(dead_code, reason = "it counts")] std::sync::Arc<()>);
    impl AsRef<[u8]> for Large {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let alive = std::sync::Arc::new(());
    let inner = service({
        let alive = std::sync::Arc::clone(&alive);
        move |_: http::Request<_>| {
            let large = Bytes::from_owner(Large(vec![b'x'; 1 << 20], std::sync::Arc::clone(&alive)));
            std::future::ready(Response::new(http_body_util::Full::from(large.slice(10..20))))
        }
    });
    let store = Store::builder().build();
    let service = CacheLayer::new(TTL).store(&store).layer(inner);
    for _ in 0..2 {
        let response = service.clone().oneshot(empty("GET", "/", &[])).await.unwrap();
        assert_eq!(read(response).await.unwrap().text(), "xxxxxxxxxx");
    }
    assert_eq!((std::sync::Arc::strong_count(&alive), store.stats().entries), (2, 1), "the handler's, and ours");
}
