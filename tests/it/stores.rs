//! The stores of the tests: after each test, nothing may be left under way in any store that it made.
//!
//! This is the one place that makes them: clippy refuses `stampede::Store` elsewhere in the tests (see `clippy.toml`), so
//! no test can forget it. A test's stores are looked at when its thread ends, which is after its runtime has: what it left
//! running on purpose has been dropped by then, and has to have taken itself out of the table. It is too late for a test
//! to fail then, so the process does.
#![allow(clippy::disallowed_types, reason = "here is where they are wrapped")]
#![allow(dead_code, reason = "each test program has a use for some of it")]

use std::cell::RefCell;
use std::ops::Deref;
use std::panic::Location;
use std::time::{Duration, Instant};
use std::{process, thread};

/// A `stampede::Store` that is looked at after the test.
#[derive(Clone, Debug)]
pub(crate) struct Store(stampede::Store);

impl Deref for Store {
    type Target = stampede::Store;

    fn deref(&self) -> &stampede::Store {
        &self.0
    }
}

impl Default for Store {
    #[track_caller]
    fn default() -> Self {
        Self::builder().build()
    }
}

impl Store {
    pub(crate) fn builder() -> StoreBuilder {
        StoreBuilder(stampede::Store::builder())
    }

    /// Not looked at: within a scope it is one that is, and the process's always is.
    pub(crate) fn current() -> Self {
        Self(stampede::Store::current())
    }

    pub(crate) fn install(self) -> Result<(), stampede::InstallError> {
        self.0.install()
    }
}

#[derive(Debug)]
pub(crate) struct StoreBuilder(stampede::StoreBuilder);

impl StoreBuilder {
    pub(crate) fn max_entries(self, max_entries: u64) -> Self {
        Self(self.0.max_entries(max_entries))
    }

    pub(crate) fn max_weight(self, max_weight: u64) -> Self {
        Self(self.0.max_weight(max_weight))
    }

    pub(crate) fn max_ttl(self, max_ttl: Duration) -> Self {
        Self(self.0.max_ttl(max_ttl))
    }

    /// What not all of the packages that have these tests are built with.
    pub(crate) fn and(self, describe: impl FnOnce(stampede::StoreBuilder) -> stampede::StoreBuilder) -> Self {
        Self(describe(self.0))
    }

    pub(crate) fn on_event(self, hook: impl Fn(&stampede::event::Event) + Send + Sync + 'static) -> Self {
        Self(self.0.on_event(hook))
    }

    #[track_caller]
    pub(crate) fn build(self) -> Store {
        let (store, place) = (self.0.build(), Location::caller());
        let look = Box::new(stampede::__private::watch(&store));
        MADE.with_borrow_mut(|made| made.0.push((look, place)));
        Store(store)
    }
}

thread_local! {
    static MADE: RefCell<Made> = const { RefCell::new(Made(Vec::new())) };
}

/// How many flights a store's table holds, how many runs are under way, how many callers wait.
type Look = Box<dyn Fn() -> (usize, usize, usize) + Send>;

/// The stores that a thread has made, and where.
struct Made(Vec<(Look, &'static Location<'static>)>);

impl Drop for Made {
    fn drop(&mut self) {
        let made = std::mem::take(&mut self.0);
        let test = thread::current().name().unwrap_or("a test").to_owned();
        // On another thread: this one's locals, which the library has some among, are being dropped.
        let looked = thread::spawn(move || {
            for (look, place) in made {
                at_rest(&look, &format!("{test}: the store made at {place}"));
            }
            // Other tests may be using it, but each lets go of it in the end.
            let process = stampede::__private::watch(&stampede::Store::current());
            at_rest(&process, &format!("{test}: the process's store"));
        });
        if looked.join().is_err() {
            process::abort();
        }
    }
}

/// Waits until nothing is under way in a store; a runtime that shuts down in the background may take its time.
fn at_rest(look: impl Fn() -> (usize, usize, usize), name: &str) {
    let begun = Instant::now();
    loop {
        let (flights, runs, callers) = look();
        if (flights, runs, callers) == (0, 0, 0) {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{name} has flights in its table ({flights}), runs under way ({runs}), callers waiting ({callers})"
        );
        thread::yield_now();
    }
}
