//! Methods: what of `self` belongs to the key, and a store of the service's own.
//!
//! `cargo run --example methods`

use std::time::Duration;

use stampede::{Store, coalesce};

/// A service, one per tenant. Runs are tasks of their own, so `self` is cloned for them: keep it cheap.
#[derive(Clone)]
struct Catalogue {
    tenant: String,
    store: Store,
}

impl Catalogue {
    fn new(tenant: &str, store: &Store) -> Self {
        let (tenant, store) = (tenant.to_owned(), store.clone());
        Self { tenant, store }
    }

    /// The same id is another product for another tenant, so the tenant is part of the key.
    #[coalesce(ttl = "30s", key = "self.tenant, id", store = self.store)]
    async fn product(&self, id: u64) -> Option<String> {
        tokio::time::sleep(Duration::from_millis(40)).await;
        (id < 100).then(|| format!("{} product {id}", self.tenant))
    }

    /// The same for everybody: `skip(self)` says that this is meant.
    #[coalesce(ttl = "1h", skip(self), store = self.store)]
    async fn exchange_rate(&self, currency: &str) -> u32 {
        tokio::time::sleep(Duration::from_millis(40)).await;
        if currency == "EUR" { 100 } else { 117 }
    }

    /// The companion of a method is a method. (The writing itself is left out.)
    async fn rename_product(&self, id: u64) {
        self.product_entry(id).invalidate().await;
    }
}

fn report(when: &str, store: &Store) {
    let stats = store.stats();
    println!("{when}: {} calls, {} runs", stats.calls.total(), stats.runs.total());
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    let store = Store::builder().max_entries(10_000).build();
    let acme = Catalogue::new("Acme", &store);
    let bolt = Catalogue::new("Bolt", &store);

    // One store, two tenants, two entries.
    assert_eq!(acme.product(7).await.as_deref(), Some("Acme product 7"));
    assert_eq!(bolt.product(7).await.as_deref(), Some("Bolt product 7"));
    assert_eq!(acme.product(7).await, acme.product(7).await);
    assert_eq!(store.stats().runs.total(), 2);
    report("products", &store);

    // One rate for both.
    assert_eq!(acme.exchange_rate("USD").await, bolt.exchange_rate("USD").await);
    assert_eq!(store.stats().runs.total(), 3);
    report("with rates", &store);

    // What is voided for Acme is still there for Bolt.
    acme.rename_product(7).await;
    bolt.product(7).await;
    assert_eq!(store.stats().runs.total(), 3);
    acme.product(7).await;
    assert_eq!(store.stats().runs.total(), 4);
    report("after Acme renamed one", &store);
}
