//! One hot query on a real database, without `#[coalesce]` and with it. Takes half a minute.
//!
//! `cargo run --release --example quickstart`
//!
//! - `main.rs`: the query, three times: plain, coalesced, and coalesced with stale answers
//! - `origin.rs`: the database, a temporary `SQLite` file that logs the queries it gets
//! - `load.rs`: the callers
//! - `phase.rs`: the callers let loose on one of the three, and what must have come of it
//! - `view.rs`: chart and table

mod load;
mod origin;
mod phase;
mod view;

use stampede::coalesce;

use crate::origin::{BoxError, Shop};
use crate::phase::Phase;
use crate::view::Chart;

/// How it is usually written: each call is a query.
async fn also_bought_plain(shop: &Shop, product: u32) -> Result<Vec<u32>, BoxError> {
    shop.query_also_bought(product).await
}

/// One query per product every two seconds, however many call. Who comes while it runs waits for it.
#[coalesce(ttl = "2s", key = "product")]
async fn also_bought(shop: &Shop, product: u32) -> Result<Vec<u32>, BoxError> {
    shop.query_also_bought(product).await
}

/// The same, but nobody waits: who comes while it runs gets the previous answer.
#[coalesce(ttl = "2s", stale_while_revalidate = "30s", key = "product")]
async fn also_bought_or_stale(shop: &Shop, product: u32) -> Result<Vec<u32>, BoxError> {
    shop.query_also_bought(product).await
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tokio::select! {
        done = compare() => done,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()), // so that the temporary file is removed
    }
}

async fn compare() -> Result<(), BoxError> {
    view::preparing();
    let shop = Shop::open().await?;
    view::introduce(&shop);
    let mut chart = Chart::new();

    view::title("(no attribute)");
    let call = |shop, product| async move { also_bought_plain(&shop, product).await };
    let plain = Phase::run(&shop, &mut chart, call).await?;

    view::title(r#"#[coalesce(ttl = "2s", key = "product")]"#);
    let call = |shop, product| async move { also_bought(&shop, product).await };
    let ttl = Phase::run(&shop, &mut chart, call).await?;

    view::title(r#"#[coalesce(ttl = "2s", stale_while_revalidate = "30s", key = "product")]"#);
    let call = |shop, product| async move { also_bought_or_stale(&shop, product).await };
    let stale = Phase::run(&shop, &mut chart, call).await?;

    view::axis();
    let phases = [plain, ttl, stale];
    view::table(&phases);
    phase::judge(&phases)
}
