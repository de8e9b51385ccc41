//! Which public types and futures are `Send`, `Sync`, `Unpin`, `UnwindSafe` and `RefUnwindSafe`, and which are not. All of
//! it is a promise to somebody: this does not compile when one of them changes.
//!
//! A `yes` that is none any more is an unsatisfied bound; a `no` that has become a yes is a "type annotations needed" for
//! `Unless<_>`. Whoever adds a public item is told by the test below to add it here.
#![allow(clippy::disallowed_types, reason = "a table of them")]

use std::cell::Cell;
use std::future::{Pending, pending};
use std::marker::PhantomPinned;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

use stampede::{
    Cache, CacheBuilder, Calls, CircuitOpen, Entry, FnEntry, InstallError, NoCache, Runs, Scope, Stats, Store,
    StoreBuilder, TierStats, Timeout, Wrapped, coalesce, codec, event, fresh, is_background, no_cache, no_stale,
    store_for, tier, uncached,
};

/// Something of this type, to speak of. Nothing here is ever run.
fn some<T>() -> T {
    unreachable!()
}

/// Asks a value about one trait: whether it has it (`yes`) or not (`no`).
macro_rules! ask {
    ($value:expr, yes, $trait:ident) => {{
        fn yes<T: $trait>(_: &T) {}
        yes(&$value);
    }};
    ($value:expr, no, $trait:ident) => {{
        // Two answers, and so none, if the second holds as well.
        trait Unless<Which> {
            fn no(&self) {}
        }
        impl<T> Unless<()> for T {}
        impl<T: $trait> Unless<u8> for T {}
        Unless::<_>::no(&$value);
    }};
}

macro_rules! holds {
    ($type:ty: $send:ident $sync:ident $unpin:ident $unwind:ident $ref_unwind:ident) => {
        ask!(some::<$type>(), $send, Send);
        ask!(some::<$type>(), $sync, Sync);
        ask!(some::<$type>(), $unpin, Unpin);
        ask!(some::<$type>(), $unwind, UnwindSafe);
        ask!(some::<$type>(), $ref_unwind, RefUnwindSafe);
    };
}

macro_rules! holds_of {
    ($future:expr => $send:ident $sync:ident $unpin:ident) => {
        ask!($future, $send, Send);
        ask!($future, $sync, Sync);
        ask!($future, $unpin, Unpin);
    };
}

/// Neither `Send` nor `Sync`.
type Local = Rc<Cell<u8>>;
/// `Send`, and not `Sync`.
type Single = Cell<u8>;

#[expect(dead_code, reason = "it is enough that it compiles")]
fn types() {
    // type                     Send Sync Unpin UnwindSafe RefUnwindSafe
    holds!(Store:                 yes yes yes no no);
    holds!(StoreBuilder:          yes yes yes yes yes);
    holds!(InstallError:          yes yes yes no no);
    holds!(Stats:                 yes yes yes yes yes);
    holds!(TierStats:             yes yes yes yes yes);
    holds!(codec::MessagePack:    yes yes yes yes yes);
    holds!(codec::CodecError:     yes yes yes yes yes);
    holds!(tier::TierError:       yes yes yes yes yes);
    holds!(tier::Claim:           yes yes yes yes yes);
    holds!(tier::Acquired:        yes yes yes yes yes);
    holds!(tier::News:            yes yes yes yes yes);
    holds!(tier::Trip<'static, u8>: yes no yes no no);
    holds!(stampede::redis::Redis:          yes yes yes no no);
    holds!(stampede::redis::Connect:        yes yes yes yes yes);
    holds!(stampede::redis::ConnectError:   yes yes yes yes yes);
    holds!(event::Event:          yes yes yes yes yes);
    // `metrics` is names, and no types.
    holds!(Timeout:               yes yes yes yes yes);
    holds!(CircuitOpen:           yes yes yes yes yes);
    holds!(Calls:                 yes yes yes yes yes);
    holds!(Runs:                  yes yes yes yes yes);
    // They name values and hold none.
    holds!(Cache<u8>:             yes yes yes no no);
    holds!(Cache<Local>:          yes yes yes no no);
    holds!(Cache<PhantomPinned>:  yes yes yes no no);
    holds!(CacheBuilder<u8>:      yes yes yes no no);
    holds!(CacheBuilder<Local>:   yes yes yes no no);
    holds!(Entry<u8>:             yes yes yes no no);
    holds!(Entry<Local>:          yes yes yes no no);
    holds!(Entry<PhantomPinned>:  yes yes yes no no);
    holds!(FnEntry<u8>:           yes yes yes no no);
    holds!(FnEntry<Result<Local, Local>>: yes yes yes no no);
    // They hold one, and are what it is.
    holds!(NoCache<u8>:           yes yes yes yes yes);
    holds!(NoCache<Single>:       yes no  yes yes no);
    holds!(NoCache<Local>:        no  no  yes no  no);
    holds!(NoCache<PhantomPinned>: yes yes no yes yes);
    holds!(Wrapped<Pending<u8>>:  yes yes yes yes yes);
    holds!(Wrapped<Single>:       yes no  yes yes no);
    holds!(Wrapped<Local>:        no  no  yes no  no);
    holds!(Wrapped<PhantomPinned>: yes yes no yes yes);
    holds!(Scope<Pending<u8>>:    yes yes yes no  no);
    holds!(Scope<Single>:         yes no  yes no  no);
    holds!(Scope<Local>:          no  no  yes no  no);
    holds!(Scope<PhantomPinned>:  yes yes no  no  no);
}

#[expect(dead_code, reason = "it is enough that it compiles")]
fn types_of_http() {
    use stampede::http::{BodyError, CacheLayer, CacheService, NoCache, ResponseBody, StoreFor, Tags};

    // type                       Send Sync Unpin UnwindSafe RefUnwindSafe
    holds!(CacheLayer:              yes yes yes no  no);
    holds!(CacheService<u8>:        yes yes yes no  no);
    holds!(CacheService<Single>:    yes no  yes no  no);
    holds!(CacheService<Local>:     no  no  yes no  no);
    holds!(BodyError:               yes yes yes no  no);
    holds!(NoCache:                 yes yes yes yes yes);
    holds!(StoreFor:                yes yes yes yes yes);
    holds!(Tags:                    yes yes yes yes yes);
    ask!(some::<ResponseBody<http_body_util::Empty<bytes::Bytes>>>(), yes, Send);
}

#[coalesce(ttl = "1m")]
async fn plain(id: u64) -> u64 {
    id
}

#[coalesce(ttl = "1m")]
async fn fallible(name: &str, ids: &[u8]) -> Result<usize, String> {
    Ok(name.len() + ids.len())
}

/// Its argument can go elsewhere, and not be looked at from there.
#[coalesce(ttl = "1m", key = "argument.get()")]
async fn of_single(argument: Single) -> u8 {
    argument.get()
}

#[coalesce(ttl = "1m", inline)]
async fn inline(id: u64) -> u64 {
    id
}

#[coalesce(ttl = "1m", key = "argument.get()", inline)]
async fn inline_of_local(argument: Local) -> u8 {
    argument.get()
}

/// Its body holds what cannot go elsewhere.
#[coalesce(ttl = "1m", inline)]
async fn inline_with_local(id: u8) -> u8 {
    let local = Local::new(Cell::new(id));
    pending::<()>().await;
    local.get()
}

#[derive(Clone)]
struct Service;

impl Service {
    #[coalesce(ttl = "1m", skip(self))]
    async fn method(&self, id: u64) -> u64 {
        id
    }
}

/// Holds something of the thread's own while it waits.
async fn holding() {
    let _held = some::<Local>();
    pending::<()>().await;
}

/// Has nothing of the thread's own any more while it waits.
async fn letting_go() {
    drop(some::<Local>());
    pending::<()>().await;
}

#[expect(dead_code, reason = "it is enough that it compiles")]
fn futures(store: &Store, cache: &Cache<u8>, entry: &Entry<u8>, fn_entry: &FnEntry<Result<u8, Local>>) {
    // future                                                              Send Sync Unpin
    holds_of!(plain(1)                                                  => yes yes no);
    holds_of!(fallible("", &[])                                         => yes yes no);
    holds_of!(of_single(some())                                         => no  no  no);
    holds_of!(inline(1)                                                 => yes yes no);
    holds_of!(inline_of_local(some())                                   => no  no  no);
    holds_of!(inline_with_local(1)                                      => no  no  no);
    holds_of!(Service.method(1)                                         => yes yes no);
    holds_of!(cache.get_with("", pending::<u8>)                         => yes yes no);
    holds_of!(cache.try_get_with("", pending::<Result<u8, String>>)     => yes yes no);
    holds_of!(cache.get_with(&some::<Local>().get(), pending::<u8>)     => yes yes no);
    holds_of!(entry.get()                                               => yes yes no);
    holds_of!(entry.put(1)                                              => yes yes no);
    holds_of!(entry.invalidate()                                        => yes yes no);
    holds_of!(fn_entry.get()                                            => yes yes no);
    holds_of!(fn_entry.put(1)                                           => yes yes no);
    holds_of!(plain_entry(1).invalidate()                               => yes yes no);
    holds_of!(store.clear()                                             => yes yes no);
    // They are what they wrap.
    holds_of!(store.scope(plain(1))                                     => yes yes no);
    holds_of!(store.scope(pending::<u8>())                              => yes yes yes);
    holds_of!(store.scope(holding())                                    => no  no  no);
    holds_of!(fresh(plain(1))                                           => yes yes no);
    holds_of!(fresh(holding())                                          => no  no  no);
    holds_of!(no_stale(pending::<u8>())                                 => yes yes yes);
    holds_of!(uncached(letting_go())                                    => yes yes no);
    // No futures.
    holds_of!(store_for(some())                                         => yes yes yes);
    holds_of!(no_cache()                                                => yes yes yes);
    holds_of!(is_background()                                           => yes yes yes);
}

/// Every public item is in one of the tables.
#[test]
fn nothing_public_is_left_out() {
    let (exports, table) = (include_str!("../src/lib.rs"), include_str!("auto.rs"));
    let rows = table.split_once("fn types()").expect("the tables").1;
    let exports: Vec<_> = exports.lines().skip_while(|line| !line.starts_with("pub use stampede_macros::")).collect();
    let exports = exports.join(" ");
    let items = exports.split("pub use ").flat_map(|import| {
        let names = import.split(';').next().unwrap_or_default().rsplit("::").next().unwrap_or_default();
        names.trim_matches(['{', '}', ' ']).split(',').map(str::trim)
    });
    let items = items.map(|name| name.rsplit(" as ").next().unwrap_or(name));
    let items: Vec<_> = items.filter(|name| !name.is_empty() && *name != "__private").collect();
    assert!(items.len() >= 20 && items.contains(&"Store") && items.contains(&"coalesce"), "{items:?}");
    for item in items {
        let mentioned = rows.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == item);
        assert!(mentioned, "`{item}` is public, and in neither table");
    }
}
