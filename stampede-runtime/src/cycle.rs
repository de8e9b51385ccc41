//! Runs that wait for themselves.
//!
//! While a body waits for another run, an edge "that run is awaited by this one" stands here. A body that is about to wait
//! for a key which, walking those edges backwards from the body's own run, turns out to be waiting for it, would wait for
//! ever. It is told so instead.
//!
//! 1. Edges are checked and added in one step under one lock, so of two calls that together close a cycle, one sees it.
//! 2. An edge is removed when the call that added it ends or is dropped, in whatever way.
//! 3. A call that leads a new run closes a circle also if its *key* is one that is waited with: a body that asks for its own
//!    key anew (`fresh`, or after an invalidation) starts another run of itself, and so would that.
//!
//! Only calls made within a run, and only those that have to wait, come here.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use once_cell::sync::Lazy;

use crate::run::Run;
use crate::sync::Mutex;

/// For each awaited run, the runs that wait for it, by the number of their edge.
#[derive(Default)]
struct Waits {
    edges: u64,
    waiters: HashMap<u64, HashMap<u64, Arc<Run>>>,
}

static WAITS: Lazy<Mutex<Waits>> = Lazy::new(Mutex::default);

/// The fact that one run waits for another, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Edge {
    awaited: u64,
    number: u64,
}

impl Edge {
    /// Notes that the body of `waiter` is going to wait for `awaited`, which its call has led or joined.
    ///
    /// # Errors
    ///
    /// The chain of names from the first run of the cycle back to itself.
    pub(crate) fn add(waiter: &Arc<Run>, awaited: &Run, leads: bool) -> Result<Self, String> {
        let mut waits = WAITS.lock();
        if let Some(chain) = waits.path_to(waiter, |run| run.id == awaited.id || leads && run.same_key(awaited)) {
            drop(waits);
            return Err(describe(&chain, awaited));
        }
        waits.edges += 1;
        let edge = Self { awaited: awaited.id, number: waits.edges };
        waits.waiters.entry(edge.awaited).or_default().insert(edge.number, Arc::clone(waiter));
        Ok(edge)
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let mut waits = WAITS.lock();
        let mut gone = None;
        if let Entry::Occupied(mut waiters) = waits.waiters.entry(self.awaited) {
            gone = waiters.get_mut().remove(&self.number);
            if waiters.get().is_empty() {
                waiters.remove();
            }
        }
        drop(waits);
        drop(gone);
    }
}

impl Waits {
    /// The runs from one that is `sought` to `from`, each waiting for the next, if there are such.
    fn path_to(&self, from: &Arc<Run>, sought: impl Fn(&Run) -> bool) -> Option<Vec<Arc<Run>>> {
        let mut seen = HashSet::from([from.id]);
        // Each with the index of the run that it waits for.
        let mut found = vec![(Arc::clone(from), None)];
        let mut next = 0;
        while let Some((run, _)) = found.get(next) {
            if sought(run) {
                let mut chain = Vec::new();
                let mut at = Some(next);
                while let Some(index) = at {
                    let (run, waits_for) = &found[index];
                    chain.push(Arc::clone(run));
                    at = *waits_for;
                }
                return Some(chain);
            }
            for waiter in self.waiters.get(&run.id).into_iter().flat_map(HashMap::values) {
                if seen.insert(waiter.id) {
                    found.push((Arc::clone(waiter), Some(next)));
                }
            }
            next += 1;
        }
        None
    }
}

/// The chain for people: each run's name, with a mark that tells keys of one function apart.
fn describe(chain: &[Arc<Run>], awaited: &Run) -> String {
    let mark = |run: &Run| {
        let mut hasher = DefaultHasher::new();
        run.key.hash(&mut hasher);
        format!("`{}` (key #{:04x})", run.name, hasher.finish() & 0xffff)
    };
    let mut text = String::new();
    for run in chain {
        text.push_str(&mark(run));
        text.push_str(" -> ");
    }
    text.push_str(&mark(awaited));
    text
}
