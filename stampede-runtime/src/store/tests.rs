//! What is near a key, and is not it.

use std::any::TypeId;
use std::time::Duration;

use tokio::time::Instant;

use super::Store;
use crate::cache::Cache;
use crate::key::{Key, Probe, encode, hash};
use crate::memory::{Stored, Verdict};
use crate::policy::{Lifetime, Terms};
use crate::space::Space;

/// A key of this cache that has the hash of another.
fn twin(space: Space, of: &str) -> Key {
    let hash = hash(space, of).expect("a hash");
    Probe { space, hash, parts: &"its twin" }.to_key().expect("a key")
}

#[tokio::test]
async fn a_key_of_the_same_hash_is_another() {
    let (store, name) = (Store::default(), "twins");
    let cache = Cache::<u64>::builder(name).ttl(Duration::from_hours(1)).store(&store).build();
    let (space, _) = Space::named(name, TypeId::of::<u64>());
    let now = Instant::now();
    let terms = Terms { stale_while_revalidate: Duration::from_hours(1), ..Terms::DEFAULT };
    let lives = [
        ("fresh", Lifetime::plain(now, Duration::from_hours(1))),
        ("stale", Lifetime::starting(now, Duration::ZERO, &terms, Duration::ZERO, || 0.5)),
    ];
    for (n, (what, life)) in (1..).zip(lives) {
        let twin = twin(space, what);
        store.keep(Stored::new(99_u64).with(&twin, Verdict::plain(life, store.epoch())));
        for _ in 0..2 {
            assert_eq!(cache.get_with(what, || async move { n }).await, n, "beside a {what} value of its twin's");
        }
        assert!(store.peek(&twin).is_some(), "its twin's is still there");
    }
    let stats = store.stats();
    assert_eq!((stats.calls.miss, stats.calls.fresh, stats.calls.stale), (2, 2, 0));
}

#[tokio::test]
async fn what_is_stored_late_is_void() {
    let (store, name) = (Store::default(), "late");
    let cache = Cache::<u64>::builder(name).ttl(Duration::from_hours(1)).store(&store).build();
    let (space, _) = Space::named(name, TypeId::of::<u64>());
    let (key, life) = (encode(space, "key").expect("a key"), Lifetime::plain(Instant::now(), Duration::from_hours(1)));
    let before = store.epoch();
    assert_eq!(cache.get_with("key", || async { 1 }).await, 1);
    store.clear().await;
    // As by a run that has asked whether it may, and then was slow.
    store.keep(Stored::new(2_u64).with(&key, Verdict::plain(life, before)));
    assert_eq!(cache.get_with("key", || async { 3 }).await, 3);
    assert_eq!(cache.get_with("key", || async { 4 }).await, 3);
}
