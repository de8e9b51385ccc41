//! Values that go to the remote tier.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use stampede::coalesce;

/// A value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// Which.
    pub id: u64,
}

/// By the codec that is there.
#[coalesce(ttl = "5s", key = "id", remote)]
pub async fn user(pool: &str, id: u64) -> Result<User, String> {
    let _ = pool;
    Ok(User { id })
}

/// By another, with everything else besides.
#[coalesce(
    ttl = "5s", stale_if_error = "1m", tags = "format!(\"user:{id}\")", version = 2, name = "users", remote,
    codec = stampede::codec::Json
)]
pub async fn named(id: u64) -> Option<User> {
    Some(User { id })
}

/// Something generic.
#[derive(Clone, Serialize)]
pub struct Crate<T>(PhantomData<T>);

impl<T: Clone + Send + Sync + Serialize + 'static> Crate<T> {
    /// A method.
    #[coalesce(ttl = "5s", skip(self), remote)]
    pub async fn open<U: Serialize + Clone + Send + Sync + 'static, const N: usize>(
        &self,
        other: U,
        more: impl Serialize + Clone + Send + Sync + 'static,
    ) -> u64 {
        let _ = (other, more);
        N as u64
    }
}

#[test]
fn without_a_tier_they_stay_in_memory() {
    super::run(async {
        assert_eq!(user("pool", 1).await.expect("a user").id, 1);
        assert_eq!(user_entry(1).get().await.expect("a user").id, 1);
        assert_eq!(named(2).await.expect("a user").id, 2);
        assert_eq!(Crate(PhantomData::<u8>).open::<_, 3>("other", "more").await, 3);
    });
}
