//! What a call costs whoever holds it: the size of its future. A hundred thousand callers may wait for one key, and each
//! of them has one.
//!
//! A call's future keeps its arguments, for a run that it may have to start later on (the compiler keeps each twice, and a
//! reference to it), a place for the value that it may give, and its place in a flight. The body of a run is on the heap,
//! once for all who wait. `cargo test --test sizes -- --nocapture` prints the table.
//!
//! A row that grows is a decision: raise its bound in the commit that takes it.
#![cfg(target_pointer_width = "64")]
#![warn(clippy::disallowed_types)]

use std::sync::Arc;

use stampede::{Cache, coalesce, fresh};

#[path = "it/stores.rs"]
mod stores;

use stores::Store;

#[coalesce(ttl = "1m")]
async fn nothing() -> u64 {
    1
}

#[coalesce(ttl = "1m")]
async fn number(id: u64) -> u64 {
    id
}

#[coalesce]
async fn unstored(id: u64) -> u64 {
    id
}

#[coalesce(ttl = "1m", stale_while_revalidate = "1m", retry_after = "1s", run_limit = "1m", key = "id")]
async fn all_options(id: u64) -> u64 {
    id
}

#[coalesce(ttl = "1m")]
async fn owned(name: String) -> usize {
    name.len()
}

#[coalesce(ttl = "1m")]
async fn borrowed(name: &str, ids: &[u64]) -> usize {
    name.len() + ids.len()
}

#[coalesce(ttl = "1m")]
#[allow(clippy::large_types_passed_by_value, reason = "that is the point")]
async fn large(block: [[u64; 16]; 8]) -> u64 {
    block[0][0]
}

#[coalesce(ttl = "1m")]
async fn generic<T: serde::Serialize + Clone + Send + Sync + 'static>(value: T) -> usize {
    size_of_val(&value)
}

#[coalesce(ttl = "1m")]
#[allow(clippy::many_single_char_names, clippy::too_many_arguments, reason = "that is the point")]
async fn many(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64, h: u64) -> u64 {
    a + b + c + d + e + f + g + h
}

#[coalesce(ttl = "1m")]
async fn fallible(id: u64) -> Result<u64, String> {
    Ok(id)
}

#[coalesce(ttl = "1m")]
async fn anyhow(id: u64) -> anyhow::Result<u64> {
    Ok(id)
}

#[coalesce(ttl = "1m")]
async fn text(id: u64) -> String {
    id.to_string()
}

#[coalesce(ttl = "1m")]
async fn shared(id: u64) -> Arc<[u64; 128]> {
    Arc::new([id; 128])
}

#[coalesce(ttl = "1m")]
async fn whole(id: u64) -> [u64; 128] {
    [id; 128]
}

/// Its body is large, and elsewhere.
#[coalesce(ttl = "1m")]
async fn large_body(id: u64) -> u64 {
    let block = [id; 128];
    tokio::task::yield_now().await;
    block.iter().sum()
}

#[coalesce(ttl = "1m", inline)]
async fn inline(id: u64) -> u64 {
    id
}

#[coalesce(ttl = "1m", inline)]
async fn inline_large_body(id: u64) -> u64 {
    let block = [id; 128];
    tokio::task::yield_now().await;
    block.iter().sum()
}

#[derive(Clone)]
struct Service {
    tenant: u64,
    _pool: Arc<()>,
}

impl Service {
    #[coalesce(ttl = "1m", key = "self.tenant, id")]
    async fn method(&self, id: u64) -> u64 {
        id
    }

    #[coalesce(ttl = "1m", skip(self))]
    async fn by_value(self, id: u64) -> u64 {
        id
    }
}

async fn number_plain(id: u64) -> u64 {
    tokio::task::yield_now().await;
    id
}

/// The table: an expression, and what its value takes at most.
macro_rules! sizes {
    ($($value:expr => $most:literal;)*) => {
        [$((stringify!($value), size_of_val(&$value), $most)),*]
    };
}

#[test]
fn a_call_is_small() {
    let (store, service) = (Store::default(), Service { tenant: 1, _pool: Arc::default() });
    let cache: Cache<u64> = Cache::builder("sizes").store(&store).build();
    let entry = number_entry(1);
    let rows = sizes! {
        // Nothing coalesced, to compare with.
        number_plain(1)                                                        => 40;
        // By what they take.
        nothing()                                                              => 96;
        number(1)                                                              => 120;
        unstored(1)                                                            => 120;
        all_options(1)                                                         => 120;
        owned(String::new())                                                   => 152;
        borrowed("", &[])                                                      => 176;
        generic(1_u8)                                                          => 104;
        many(1, 2, 3, 4, 5, 6, 7, 8)                                           => 288;
        large([[0; 16]; 8])                                                    => 2152;
        // By what they give.
        fallible(1)                                                            => 120;
        anyhow(1)                                                              => 120;
        text(1)                                                                => 120;
        shared(1)                                                              => 120;
        whole(1)                                                               => 120;
        // By where they run, and what.
        large_body(1)                                                          => 120;
        inline(1)                                                              => 120;
        inline_large_body(1)                                                   => 120;
        // Methods.
        service.method(1)                                                      => 144;
        service.clone().by_value(1)                                            => 160;
        // Within others.
        fresh(number(1))                                                       => 144;
        store.scope(number(1))                                                 => 136;
        store.scope(fresh(number(1)))                                          => 160;
        // Without the macro.
        cache.get_with(&1_u64, || std::future::ready(1))                       => 120;
        cache.try_get_with(&1_u64, || std::future::ready(Ok::<_, String>(1)))  => 120;
        // Not calls, and at hand all the same.
        number_entry(1)                                                        => 136;
        entry.get()                                                            => 88;
        entry.put(1)                                                           => 32;
        entry.invalidate()                                                     => 24;
        store                                                                  => 8;
        cache                                                                  => 288;
    };
    println!("{:<72} bytes  at most", "");
    for (what, bytes, most) in rows {
        println!("{what:<72} {bytes:>5} {most:>8}");
    }
    let too_large: Vec<_> = rows.into_iter().filter(|(_, bytes, most)| bytes > most).collect();
    assert!(too_large.is_empty(), "larger than they may be: {too_large:?}");
}
