//! The first look of a call: an entry near its key, that may be the answer.
//!
//! 1. To find it, to look whether it is the answer, to copy the value and to count the hit are functions of their own, which
//!    have little to remember across calls of each other. What they have in common is here, and stays where it was made:
//!    to move it would be to read as a whole what was written in parts, which takes longer than all the rest.
//! 2. A call is counted once, when this is dropped: as a hit if it has taken its answer, as an error if the copying has
//!    panicked, or not at all: then it goes on, and is counted elsewhere.
//! 3. The store's epoch is looked at after the entry was found: what was voided by then is not fresh. While the store is
//!    switched off, nothing is.

use crate::key::Probe;
use crate::memory::{Held, Section};
use crate::output::Seen;
use crate::policy::Age;
use crate::space::Space;
use crate::stats::Outcome;
use crate::sync::Ordering;
use crate::telemetry::Since;

use super::{Found, Inner, Store};

/// An entry that may be what a call asks for. It stays where it is as long as this lives; which counts the call in the end, if
/// it has begun to take its answer.
pub(crate) struct Near<'s> {
    store: &'s Store,
    held: Held<'s>,
    /// What it is good for, as far as is known.
    age: Age,
    answer: Answer,
}

/// Whether the call has its answer.
#[derive(Clone, Copy)]
enum Answer {
    None,
    BeingTaken,
    Taken,
}

impl<'s> Near<'s> {
    #[inline]
    const fn new(store: &'s Store, held: Held<'s>) -> Self {
        Self { store, held, age: Age::Fresh, answer: Answer::None }
    }

    /// The parts of its key.
    #[inline]
    pub(crate) fn parts(&self) -> &[u8] {
        self.held.entry().parts()
    }

    /// The value, if it is a fresh one. From now on the call takes its answer, and is an error until it has it.
    #[inline]
    pub(crate) fn seen(&mut self) -> Option<Seen<'_>> {
        let (entry, epoch) = (self.held.entry(), self.store.inner.epoch.load(Ordering::SeqCst));
        if !entry.is_fresh(epoch) {
            self.age = self.store.age(entry.stored(), epoch);
            if self.age != Age::Fresh {
                return None;
            }
        }
        self.answer = Answer::BeingTaken;
        Some(Seen(self.held.entry()))
    }

    /// The call has its answer.
    #[inline]
    pub(crate) const fn taken(&mut self) {
        self.answer = Answer::Taken;
    }

    /// The call does not take its answer from it.
    pub(crate) const fn let_be(&mut self) {
        self.answer = Answer::None;
    }

    /// The same, for it is not fresh or not of the kind that is asked for: what it is.
    #[cold]
    pub(crate) fn refused(&mut self) -> Found {
        self.let_be();
        (self.age != Age::Dead).then(|| (self.held.entry().share(), self.age))
    }

    #[cold]
    fn left(&self) {
        if let Answer::BeingTaken = self.answer {
            self.store.flights().call_ended(self.held.entry().space, Outcome::Error, Since::default());
        }
    }
}

impl Drop for Near<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Answer::Taken = self.answer {
            let Inner { memory, flights, .. } = &*self.store.inner;
            memory.hit(&self.held);
            // Counted by the memory.
            flights.telemetry.call_ended(self.held.entry().space, Outcome::Fresh, Since::default());
        } else {
            self.left();
        }
    }
}

impl Store {
    /// What is stored under a key.
    pub(crate) fn look(&self, probe: &Probe<'_>) -> Option<Near<'_>> {
        Some(Near::new(self, self.inner.memory.look(probe)?))
    }

    /// What is stored under some key of this cache and hash, if it is easily come by.
    #[inline]
    pub(crate) fn near(&self, space: Space, hash: u64) -> Option<Near<'_>> {
        match self.inner.memory.first(Section::start_easily()?, space, hash) {
            Ok(held) => Some(Near::new(self, held)),
            Err(section) => self.near_in(section, space, hash),
        }
    }

    #[cold]
    fn near_in(&self, section: Section, space: Space, hash: u64) -> Option<Near<'_>> {
        Some(Near::new(self, self.inner.memory.near(section, space, hash)?))
    }
}
