//! The attribute where the macro and the runtime are there, and the facade is not.
#![deny(warnings, missing_docs, unsafe_code, clippy::all, clippy::pedantic, clippy::nursery)]

use stampede_macros::coalesce;
use stampede_runtime::NoCache;

/// A small thing.
#[coalesce(ttl = "5s", key = "id", crate = stampede_runtime)]
pub async fn load(id: u64, name: String) -> Option<String> {
    if id == 0 {
        return NoCache(Some(name)).into_inner();
    }
    Some(format!("{id} {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_works() {
        assert_eq!(load(1, "a".into()).await.as_deref(), Some("1 a"));
        assert_eq!(load_entry(1).get().await.flatten().as_deref(), Some("1 a"));
        assert_eq!(load(0, "a".into()).await.as_deref(), Some("a"));
        assert_eq!(load_entry(0).get().await, None);
    }
}
