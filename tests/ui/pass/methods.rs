//! Methods with each kind of receiver.
#![allow(clippy::disallowed_types, reason = "what is generated names the real one")]

use std::fmt::Debug;
use std::sync::Arc;

use stampede::coalesce;

use super::run;
use crate::stores::Store;

/// A repository with a store of its own.
#[derive(Clone, Debug)]
pub struct Repository {
    tenant: u32,
    store: Store,
}

impl Repository {
    /// By reference.
    #[coalesce(ttl = "5s", key = "self.tenant, id")]
    pub async fn by_ref(&self, id: u64) -> String {
        let tenant = self.tenant;
        format!("{id} {tenant} {self:?}").chars().take(3).collect()
    }

    /// In an `Arc`.
    #[coalesce(ttl = "5s", store = self.store)]
    pub(crate) async fn in_arc(self: Arc<Self>, id: u64) -> Result<u64, String> {
        u64::from(self.tenant).checked_add(id).ok_or_else(|| "too much".into())
    }

    /// By a reference to an `Arc`.
    #[coalesce(ttl = "5s", store = &self.store)]
    async fn by_arc_ref(self: &Arc<Self>, id: u64) -> u64 {
        Box::pin(Self::in_arc(Self::clone_of(self), id)).await.unwrap_or_default()
    }

    fn clone_of(this: &Arc<Self>) -> Arc<Self> {
        Arc::clone(this)
    }

    /// By value.
    #[coalesce(ttl = "5s", key = "self.tenant")]
    async fn by_value(mut self) -> u32 {
        self.tenant += 1;
        self.tenant
    }

    /// In a `Box`.
    #[coalesce(ttl = "5s", key = "self.tenant", entry = boxed)]
    pub async fn in_box(self: Box<Self>) -> u32 {
        self.tenant
    }

    /// Calls itself, down to zero.
    #[coalesce(ttl = "5s", key = "self.tenant, n")]
    async fn recursive(&self, n: u64) -> u64 {
        if n == 0 { 0 } else { n + Box::pin(self.recursive(n - 1)).await }
    }

    /// Without a companion.
    #[coalesce(ttl = "5s", skip(self), entry = false)]
    async fn alone(&self, mut id: u64) -> u64 {
        id += u64::from(self.tenant);
        id
    }

    /// Without a receiver.
    #[coalesce(ttl = "5s")]
    pub async fn new(tenant: u32) -> Self {
        Self { tenant, store: Store::default() }
    }
}

#[test]
fn they_work() {
    run(async {
        let repository = Repository::new(7).await;
        assert_eq!(repository.by_ref(1).await, "1 7");
        assert_eq!(repository.by_ref_entry(1).get().await.as_deref(), Some("1 7"));
        let arc = Arc::new(repository.clone());
        assert_eq!(Arc::clone(&arc).in_arc(1).await, Ok(8));
        assert_eq!(Arc::clone(&arc).in_arc_entry(1).get().await, Some(8));
        assert_eq!(arc.by_arc_ref(2).await, 9);
        assert_eq!(arc.store.stats().entries, 3);
        assert_eq!(repository.clone().by_value().await, 8);
        assert_eq!(Box::new(repository.clone()).in_box().await, 7);
        assert_eq!(Box::new(repository.clone()).boxed().get().await, Some(7));
        assert_eq!(repository.recursive(4).await, 10);
        assert_eq!(repository.alone(4).await, 11);
    });
}
