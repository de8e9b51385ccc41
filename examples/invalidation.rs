//! Reads and writes: the generated companion voids, replaces or looks at an entry; wrappers ask for more than a hit.
//!
//! `cargo run --example invalidation`

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stampede::{Store, coalesce, fresh, no_stale, uncached};
use tokio::time::{advance, sleep};

/// A table of names.
#[derive(Clone, Default)]
struct Db(Arc<Mutex<HashMap<u64, String>>>);

impl Db {
    async fn read(&self, id: u64) -> String {
        sleep(Duration::from_millis(5)).await;
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(&id).cloned().unwrap_or_default()
    }

    async fn write(&self, id: u64, name: &str) {
        sleep(Duration::from_millis(5)).await;
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(id, name.to_owned());
    }
}

#[coalesce(ttl = "1m", stale_while_revalidate = "1h", key = "id")]
async fn user_name(db: &Db, id: u64) -> String {
    db.read(id).await
}

/// Write, then void: the next caller reads. A run that began before this is not stored when it ends.
async fn rename(db: &Db, id: u64, name: &str) {
    db.write(id, name).await;
    user_name_entry(id).invalidate().await;
}

/// Write, then put: the next caller does not even have to read.
async fn rename_and_keep(db: &Db, id: u64, name: &str) {
    db.write(id, name).await;
    user_name_entry(id).put(name.to_owned()).await;
}

fn runs() -> u64 {
    Store::current().stats().runs.total()
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    let db = Db::default();
    db.write(7, "Ada").await;
    assert_eq!(user_name(&db, 7).await, "Ada");

    rename(&db, 7, "Ada L.").await;
    assert_eq!(user_name_entry(7).get().await, None); // `get` looks, and never runs anything
    assert_eq!(user_name(&db, 7).await, "Ada L.");
    assert_eq!(runs(), 2);
    println!("invalidate: the next call reads ({} runs)", runs());

    rename_and_keep(&db, 7, "Countess").await;
    assert_eq!(user_name_entry(7).get().await.as_deref(), Some("Countess"));
    assert_eq!(user_name(&db, 7).await, "Countess");
    assert_eq!(runs(), 2);
    println!("put: the next call has it ({} runs)", runs());

    // Somebody writes past us. The entry does not know, until it expires or somebody insists.
    db.write(7, "Lady Lovelace").await;
    assert_eq!(user_name(&db, 7).await, "Countess");
    assert_eq!(uncached(user_name(&db, 7)).await, "Lady Lovelace"); // reads for itself, leaves the entry alone
    assert_eq!(user_name(&db, 7).await, "Countess");
    assert_eq!(fresh(user_name(&db, 7)).await, "Lady Lovelace"); // reads now, for everybody
    assert_eq!(user_name(&db, 7).await, "Lady Lovelace");
    assert_eq!(runs(), 3); // that of an uncached call is not the store's
    println!("fresh: read again at once ({} runs)", runs());

    // After the TTL a stale answer is good enough for most, but not for everybody.
    db.write(7, "A. A. L.").await;
    advance(Duration::from_secs(61)).await;
    assert_eq!(user_name(&db, 7).await, "Lady Lovelace");
    assert_eq!(no_stale(user_name(&db, 7)).await, "A. A. L."); // waits for the run that the stale call started
    assert_eq!(runs(), 4);
    println!("no_stale: waits for the refresh ({} runs)", runs());
}
