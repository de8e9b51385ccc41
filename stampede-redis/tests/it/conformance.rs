//! What every tier has to do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stampede_redis::{Connect, Redis};
use stampede_runtime::tier::conformance;

use crate::server::Server;

/// Runs the suite, with a prefix of its own for each case.
pub(crate) async fn check(connect: impl Fn() -> Connect) {
    let count = AtomicUsize::new(0);
    conformance::check(async || {
        let prefix = format!("case{}", count.fetch_add(1, Ordering::Relaxed));
        let connect = || connect().prefix(&prefix).lease(Duration::from_secs(1));
        (connect().await.unwrap(), connect().await.unwrap())
    })
    .await;
}

/// Replays the traces, which have keys of their own.
pub(crate) async fn replay(connect: impl Fn() -> Connect) {
    conformance::replay(async || {
        let connect = || connect().prefix("traces").lease(Duration::from_mins(1));
        (connect().await.unwrap(), connect().await.unwrap())
    })
    .await;
}

#[tokio::test]
async fn one_server_does_as_the_model_does() {
    let server = Server::start();
    replay(|| Redis::connect(server.url())).await;
}

#[tokio::test]
async fn one_server_conforms() {
    let server = Server::start();
    check(|| Redis::connect(server.url())).await;
}
