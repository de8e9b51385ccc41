//! Functions of many shapes. Each is called, so that its run starts, too.

mod basics;
mod borrowed;
mod conditional;
mod generics;
mod lints;
mod local;
mod methods;
mod names;
mod patterns;
mod remote;
mod stacked;
mod traits;

/// Polls a future to its end on a runtime and in a store of its own.
fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let store = crate::stores::Store::default();
    let output = runtime.expect("a runtime").block_on(store.scope(future));
    assert_eq!(store.stats().waiting, 0);
    output
}
