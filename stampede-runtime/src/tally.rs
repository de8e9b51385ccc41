//! Counting a call, and what it asks of the flights of a store.

use std::any::TypeId;
use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Instant;

use crate::breaker::{Permit, Refusal};
use crate::flight::Flight;
use crate::flights::Request;
use crate::key::{Key, space_of};
use crate::memory::AnyStored;
use crate::patience::Patience;
use crate::policy::{self, Mode, Rules, Step};
use crate::remote::Remote;
use crate::reply::{Share, Value};
use crate::run::Run;
use crate::settled::AnyError;
use crate::space::Space;
use crate::stats::{Outcome, Trigger};
use crate::store::Store;
use crate::telemetry::Since;

/// The types of a call, for code that is the same for all.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// That of its values: see [`AnyStored::is`].
    pub(crate) value: TypeId,
    /// That of its errors: see [`AnyError::is`].
    pub(crate) error: TypeId,
}

impl Kind {
    pub(crate) const fn of<V: Value, E: Send + 'static, H: Share<E>>() -> Self {
        Self { value: AnyStored::type_of::<V>(), error: AnyError::type_of::<E, H>() }
    }

    /// Whether this is an error that such a call can end in.
    pub(crate) fn is_error(self, stored: &AnyStored) -> bool {
        stored.downcast::<AnyError>().is_some_and(|error| error.is(self.error))
    }
}

/// Counts a call when it is over, in whatever way: as an error, or by the path that it had taken.
pub(crate) struct Tally {
    pub(crate) store: Store,
    pub(crate) space: Space,
    pub(crate) outcome: Outcome,
    since: Since,
}

impl Tally {
    /// For a call of this cache that takes this path, as far as is known.
    pub(crate) fn new(store: Store, space: Space, outcome: Outcome) -> Self {
        Self { store, space, outcome, since: Since::default() }
    }

    /// The call has to wait from now on.
    pub(crate) fn waits(&mut self) {
        self.store.flights().telemetry.waits(self.space, &mut self.since);
    }

    pub(crate) fn took(&mut self, outcome: Outcome) {
        // A call that goes past the store stays one that does, or what was saved would not add up.
        if self.outcome != Outcome::Bypass {
            self.outcome = outcome;
        }
    }

    /// The user's code is about to run: the call is an error if that panics. What it [`took`](Self::took) so far, and takes
    /// again if not.
    pub(crate) fn enter_users_code(&mut self) -> Outcome {
        let path = self.outcome;
        self.took(Outcome::Error);
        path
    }

    /// Runs code of the user's.
    pub(crate) fn guard<T>(&mut self, users: impl FnOnce() -> T) -> T {
        let path = self.enter_users_code();
        let result = users();
        self.took(path);
        result
    }

    /// Gives a call up with a panic.
    pub(crate) fn panic(&mut self, message: &str) -> ! {
        self.took(Outcome::Error);
        panic!("stampede: {message}")
    }

    /// Whether the store is switched off for this call.
    pub(crate) fn bypass(&self) -> bool {
        self.outcome == Outcome::Bypass
    }

    /// The remote tier, if it is to be asked before a run of these rules.
    pub(crate) fn remote(&self, rules: &Rules) -> Option<Arc<Remote>> {
        let remote = self.store.remote().filter(|remote| rules.wire.is_some() && !self.bypass() && remote.is_well())?;
        (!self.store.cap(rules.terms.ttl).is_zero()).then(|| Arc::clone(remote))
    }

    /// Asks the breaker, where there is one, whether a run may start.
    pub(crate) fn permit(&self, key: &Key, cache: &'static str, rules: &Rules) -> Result<Option<Permit>, Refusal> {
        let (Some(trip), Some(space)) = (rules.trip, space_of(key)) else { return Ok(None) };
        self.store.breakers().admit(space, cache, trip, rules.limit()).map(Some)
    }

    /// The stored value that will do in place of an error, or of a longer wait, if there is one: see [`policy::makes_up`].
    /// What has been voided meanwhile is not there any more.
    pub(crate) fn make_up(&mut self, key: &Key, kind: Kind, mode: Mode, refreshes: bool) -> Option<Arc<AnyStored>> {
        if self.bypass() {
            return None;
        }
        let (stored, age) = self.store.look_up(key)?;
        if !stored.is(kind.value) || !policy::makes_up(age, mode, refreshes, &stored.life()) {
            return None;
        }
        self.took(if age.is_fresh() { Outcome::Fresh } else { Outcome::Stale });
        Some(stored)
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.store.flights().call_ended(self.space, self.outcome, self.since);
    }
}

/// What a call is about.
pub(crate) enum Subject {
    Key(Key),
    /// A key that had this flight just now.
    Flight(Arc<Flight>),
}

impl Subject {
    pub(crate) fn key(&self) -> &Key {
        match self {
            Self::Key(key) => key,
            Self::Flight(flight) => &flight.key,
        }
    }
}

/// A question to the flights of a store.
pub(crate) struct Ticket {
    pub(crate) subject: Subject,
    pub(crate) name: &'static str,
    pub(crate) mode: Mode,
    pub(crate) tally: Tally,
    /// How long the call has yet to wait, once it has begun to.
    pub(crate) patience: Option<Pin<Box<Patience>>>,
    /// What the remote tier had, and will not do.
    pub(crate) seen: Option<Arc<AnyStored>>,
}

/// What the store knows after all.
pub(crate) enum Found {
    /// An answer, that counts so.
    Answer(Arc<AnyStored>, Outcome),
    /// That no run may start.
    Refusal,
}

impl Ticket {
    pub(crate) fn key(&self) -> &Key {
        self.subject.key()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.tally.store
    }

    pub(crate) fn remote(&self, rules: &Rules) -> Option<Arc<Remote>> {
        self.tally.remote(rules)
    }

    pub(crate) fn request(&self, rules: &Rules) -> Request {
        let store = self.store();
        let trigger = if self.mode == Mode::Fresh { Trigger::Manual } else { Trigger::Miss };
        Request {
            run: Run::new(self.name, Arc::clone(self.key()), store.id()).triggered(trigger),
            fresh: self.mode == Mode::Fresh,
            stores: !self.tally.bypass() && !store.cap(rules.terms.ttl).is_zero(),
            counts: !self.tally.bypass(),
            run_limit: rules.limit(),
            retry_after: rules.retry_after,
            epoch: store.epoch(),
            bearing: rules.tags.bearing(store.tags()),
        }
    }

    /// What a run that has just ended may have stored, or put off. Runs none of the user's code.
    pub(crate) fn look_again(&self, kind: Kind) -> Option<Found> {
        if self.mode == Mode::Fresh || self.tally.bypass() {
            return None;
        }
        let (stored, age) = self.store().look_up(self.key())?;
        if stored.is(kind.value) {
            let outcome = if age.is_fresh() { Outcome::Fresh } else { Outcome::Stale };
            let put_off = stored.is_put_off(Instant::now());
            let answers = age.is_fresh() || policy::step(age, self.mode, put_off) == Step::Answer;
            return answers.then_some(Found::Answer(stored, outcome));
        }
        kind.is_error(&stored).then_some(Found::Answer(stored, Outcome::Error))
    }
}
