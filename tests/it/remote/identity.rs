//! Who reads whose values.

use serde::{Deserialize, Serialize};
use stampede::tier::memory::MemoryTier;
use stampede::{Cache, coalesce};

use crate::stores::Store;
use crate::tools::{secs, settle};

mod old {
    use super::{Deserialize, Serialize};

    #[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
    pub(super) struct User {
        pub(super) id: u64,
    }
}

mod new {
    use super::{Deserialize, Serialize};

    #[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
    pub(super) struct User {
        pub(super) id: String,
    }
}

#[tokio::test(start_paused = true)]
async fn types_versions_and_names_do_not_read_each_other() {
    let tier = MemoryTier::new();
    let store = || Store::builder().and(|store| store.remote(tier.another())).build();
    let (one, two, three) = (store(), store(), store());
    let old: Cache<old::User> = Cache::builder("users").ttl(secs(10)).remote().store(&one).build();
    let new: Cache<new::User> = Cache::builder("users").ttl(secs(10)).remote().store(&two).build();
    assert_eq!(old.get_with(&1, || async { old::User { id: 1 } }).await.id, 1);
    settle().await;
    assert_eq!(new.get_with(&1, || async { new::User { id: "1".to_owned() } }).await.id, "1");
    settle().await;
    assert_eq!(two.stats().tier.undecodable, 1);
    let version: Cache<new::User> = Cache::builder("users").version(2).ttl(secs(10)).remote().store(&three).build();
    assert_eq!(version.entry(&1).get().await, None);
    let name: Cache<new::User> = Cache::builder("people").ttl(secs(10)).remote().store(&three).build();
    assert_eq!(name.entry(&1).get().await, None);
    let same: Cache<new::User> = Cache::builder("users").ttl(secs(10)).remote().store(&three).build();
    assert_eq!(same.entry(&1).get().await, Some(new::User { id: "1".to_owned() }));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_removed_whatever_comes_of_the_run() {
    let tier = MemoryTier::new();
    let store = || Store::builder().and(|store| store.remote(tier.another())).build();
    let (one, two, three) = (store(), store(), store());
    let old: Cache<old::User> = Cache::builder("users").ttl(secs(10)).remote().store(&one).build();
    let new: Cache<new::User> = Cache::builder("users").ttl(secs(10)).remote().store(&two).build();
    let same: Cache<old::User> = Cache::builder("users").ttl(secs(10)).remote().store(&three).build();
    old.entry(&1).put(old::User { id: 1 }).await;
    assert_eq!(new.try_get_with(&1, || async { Err("no such user") }).await, Err("no such user"));
    settle().await;
    assert_eq!(same.entry(&1).get().await, None);
}

#[coalesce(ttl = "10s", remote)]
async fn number(id: u64) -> u64 {
    id
}

#[tokio::test(start_paused = true)]
async fn a_function_and_its_companion_mean_the_same_in_the_tier() {
    let tier = MemoryTier::new();
    let (a, b) = (
        Store::builder().and(|store| store.remote(tier.another())).build(),
        Store::builder().and(|store| store.remote(tier.another())).build(),
    );
    a.scope(async { assert_eq!(number(1).await, 1) }).await;
    settle().await;
    b.scope(async { assert_eq!(number_entry(1).get().await, Some(1)) }).await;
    b.scope(async { number_entry(2).put(20).await }).await;
    a.scope(async { assert_eq!(number(2).await, 20) }).await;
}

/// Each has an inner function of the same name.
mod namesakes {
    use stampede::coalesce;

    pub(super) async fn one() -> u64 {
        #[coalesce(ttl = "10s", remote)]
        async fn inner() -> u64 {
            1
        }
        inner().await
    }

    pub(super) async fn two() -> u64 {
        #[coalesce(ttl = "10s", remote)]
        async fn inner() -> u64 {
            2
        }
        inner().await
    }
}

#[tokio::test(start_paused = true)]
async fn functions_in_functions_are_told_apart() {
    let tier = MemoryTier::new();
    let (a, b) = (
        Store::builder().and(|store| store.remote(tier.another())).build(),
        Store::builder().and(|store| store.remote(tier.another())).build(),
    );
    a.scope(async { assert_eq!(namesakes::one().await, 1) }).await;
    settle().await;
    b.scope(async { assert_eq!(namesakes::two().await, 2) }).await;
}

/// A struct as two versions of a program have it.
mod grown {
    use super::{Deserialize, Serialize};

    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub(super) struct Before {
        pub(super) id: u64,
        pub(super) name: String,
    }

    #[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
    pub(super) struct After {
        pub(super) name: String,
        pub(super) mail: Option<String>,
        pub(super) id: u64,
    }
}

#[test]
fn a_struct_that_has_gained_an_optional_field_reads_what_was_there() {
    use stampede::codec::{Codec, Json, MessagePack};

    let before = grown::Before { id: 7, name: "Ada".to_owned() };
    let after = grown::After { id: 7, name: "Ada".to_owned(), mail: None };
    let bytes = MessagePack::encode(&before).expect("it can be written");
    assert_eq!(<MessagePack as Codec<grown::After>>::decode(&bytes).as_ref(), Ok(&after));
    let bytes = Json::encode(&before).expect("it can be written");
    assert_eq!(<Json as Codec<grown::After>>::decode(&bytes), Ok(after));
    let bytes = MessagePack::encode(&"Ada".to_owned()).expect("it can be written");
    assert!(<MessagePack as Codec<grown::After>>::decode(&bytes).is_err());
}
