//! What can be said only where nothing is voided and nothing is evicted: the quiet arena.
//!
//! 1. No two bodies of one key run at once.
//! 2. Once a value has been returned, every call of its key gets one: the old value makes up for all failures.
//! 3. After a failed run, with a value stored, the next one begins no sooner than `retry_after` later. The body notes its
//!    failure before the store does, so this needs no slack.
//! 4. A value past `stale_while_revalidate` is the answer only in place of a run that failed during the call, or less than
//!    `retry_after` before; here there is slack, for nobody sees when the store notes the failure.
//! 5. An error is not stored where a value is that can still be served: follows from 2, for one of the functions has an
//!    `error_ttl`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::arena::{Arena, World};
use crate::functions::{Function, KEYS};
use crate::value::GRACE;

pub(crate) struct Quiet {
    keys: Vec<Mutex<Key>>,
    /// The runs that began after a failed one, and the shortest time in between as a share of `retry_after`.
    retries: Mutex<(u64, f64)>,
}

#[derive(Default)]
struct Key {
    live: u32,
    /// A run has ended in a value, and so has been stored when the next one begins.
    stored: bool,
    /// A call has returned one.
    answered: bool,
    /// The last run failed, at this time, and there was a value.
    failed_at: Option<Instant>,
    /// The last failure, whatever came after it.
    last_failure: Option<Instant>,
}

impl Quiet {
    pub(crate) fn new() -> Self {
        let keys = Function::QUIET.len() * usize::from(KEYS);
        Self { keys: (0..keys).map(|_| Mutex::default()).collect(), retries: Mutex::new((0, f64::INFINITY)) }
    }

    fn key(&self, function: Function, key: u16) -> MutexGuard<'_, Key> {
        let at = (function as usize - Function::Quiet as usize) * usize::from(KEYS) + usize::from(key);
        self.keys[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn answered(&self, function: Function, key: u16) {
        self.key(function, key).answered = true;
    }

    /// Whether a call that begins now must get a value.
    pub(crate) fn must_answer(&self, function: Function, key: u16) -> bool {
        self.key(function, key).answered
    }

    /// Whether a call that began then may be answered in place of a failure.
    pub(crate) fn makes_up(&self, function: Function, key: u16, began: Instant) -> bool {
        let since = function.policy().retry_after + GRACE;
        self.key(function, key).last_failure.is_some_and(|failed| failed + since >= began)
    }

    /// How many runs followed failed ones, and the shortest time in between as a share of `retry_after`.
    pub(crate) fn retries(&self) -> (u64, f64) {
        *self.retries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retried(&self, after: Duration, function: Function, key: u16, world: &World) {
        let share = after.as_secs_f64() / function.policy().retry_after.as_secs_f64();
        {
            let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
            *retries = (retries.0 + 1, retries.1.min(share));
        }
        world.failures.expect(share >= 1.0, || {
            let due = function.policy().retry_after;
            format!("{function:?}({key}) runs {after:?} after it failed; it has a value, and `retry_after` is {due:?}")
        });
    }
}

/// A body of the quiet arena, from its begin to its end, however it ends.
pub(crate) struct Running<'a> {
    arena: &'a Arena,
    function: Function,
    key: u16,
}

impl<'a> Running<'a> {
    pub(crate) fn begin(arena: &'a Arena, function: Function, key: u16) -> Self {
        let mut state = arena.quiet.key(function, key);
        state.live += 1;
        let (live, after) = (state.live, state.failed_at.map(|failed_at| failed_at.elapsed()));
        drop(state);
        arena.world.failures.expect(live == 1, || format!("{live} bodies of {function:?}({key}) run at once"));
        if let Some(after) = after {
            arena.quiet.retried(after, function, key, &arena.world);
        }
        Self { arena, function, key }
    }

    /// The body is about to end so.
    pub(crate) fn ends(&self, well: bool) {
        let mut state = self.arena.quiet.key(self.function, self.key);
        state.stored |= well;
        let failed_at = (!well).then(Instant::now);
        state.failed_at = failed_at.filter(|_| state.stored);
        state.last_failure = failed_at.or(state.last_failure);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.arena.quiet.key(self.function, self.key).live -= 1;
    }
}
