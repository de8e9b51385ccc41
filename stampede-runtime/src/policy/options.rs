//! What a cache is told: the attribute's arguments and the builder's methods.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::{Terms, Trip};
use crate::codec::Codec;
use crate::memory::AnyStored;
use crate::remote::{Identity, Typed, Wire};
use crate::reply::Value;
use crate::tags::{Tag, Tags};

/// How a cache treats its values, which are of type `V`, and runs: what the attribute's arguments and the builder's methods
/// come to.
#[doc(hidden)]
pub struct Options<V> {
    pub(crate) rules: Rules,
    values: PhantomData<fn(&V)>,
}

/// What the application has to say about each value.
#[derive(Clone, Default)]
pub(crate) struct Opinion {
    cache_if: Option<OfValue<bool>>,
    pub(crate) weight: Weight,
}

/// What values weigh: one, unless told.
#[derive(Clone, Default)]
pub(crate) struct Weight(Option<OfValue<u32>>);

/// What the application says of a value of the one type that it knows.
type OfValue<T> = Arc<dyn Fn(&AnyStored) -> T + Send + Sync>;

/// The same, for code that is the same for values of all types.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) terms: Terms,
    pub(crate) retry_after: Duration,
    run_limit: Duration,
    /// Zero: none.
    pub(crate) timeout: Duration,
    /// Zero: none.
    pub(crate) soft_timeout: Duration,
    /// Zero: errors are not stored.
    pub(crate) error_ttl: Duration,
    pub(crate) trip: Option<Trip>,
    pub(crate) tags: Tags,
    pub(crate) opinion: Opinion,
    /// How values travel, where there is a remote tier for them.
    pub(crate) wire: Option<Arc<dyn Wire>>,
}

// Not derived: that would ask for `V: Clone`.
impl<V> Clone for Options<V> {
    fn clone(&self) -> Self {
        Self { rules: self.rules.clone(), values: PhantomData }
    }
}

impl<V> Default for Options<V> {
    fn default() -> Self {
        Self { rules: Rules::default(), values: PhantomData }
    }
}

impl<V> fmt::Debug for Options<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.fmt(f)
    }
}

impl Opinion {
    /// Whether a value may be stored.
    pub(crate) fn accepts(&self, value: &AnyStored) -> bool {
        self.cache_if.as_ref().is_none_or(|accepts| accepts(value))
    }
}

impl Weight {
    pub(crate) fn of(&self, value: &AnyStored) -> u32 {
        self.0.as_ref().map_or(1, |weigh| weigh(value))
    }
}

impl fmt::Debug for Opinion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cache_if, weight } = self;
        let (cache_if, weight) = (cache_if.is_some(), weight.0.is_some());
        f.debug_struct("Opinion").field("cache_if", &cache_if).field("weight", &weight).finish()
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            terms: Terms::DEFAULT,
            retry_after: Duration::from_secs(1),
            run_limit: Duration::ZERO,
            timeout: Duration::ZERO,
            soft_timeout: Duration::ZERO,
            error_ttl: Duration::ZERO,
            trip: None,
            tags: Tags::default(),
            opinion: Opinion::default(),
            wire: None,
        }
    }
}

impl Rules {
    /// How long a run may take: what was said, else the larger of five minutes and ten times the timeout.
    pub(crate) fn limit(&self) -> Duration {
        if self.run_limit.is_zero() {
            self.timeout.saturating_mul(10).max(Duration::from_mins(5))
        } else {
            self.run_limit
        }
    }
}

/// Setters, one for each argument of the attribute. What makes no sense is off: the attribute and the builder say so first,
/// where they can see it.
impl<V> Options<V> {
    /// How long a value is fresh.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.rules.terms.ttl = ttl;
        self
    }

    /// How long after that it may be served while it is refreshed.
    #[must_use]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.rules.terms.stale_while_revalidate = window;
        self
    }

    /// How long after that it may be served in place of an error.
    #[must_use]
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.rules.terms.stale_if_error = window;
        self
    }

    /// The share of the TTL after which a hit starts a refresh.
    #[must_use]
    pub fn refresh_ahead(mut self, share: f64) -> Self {
        self.rules.terms.refresh_ahead = if share > 0.0 && share < 1.0 { share } else { 0.0 };
        self
    }

    /// β of `XFetch`.
    #[must_use]
    pub fn xfetch(mut self, beta: f64) -> Self {
        self.rules.terms.xfetch = if beta.is_finite() { beta.max(0.0) } else { 0.0 };
        self
    }

    /// The share of each TTL up to which it is cut.
    #[must_use]
    pub fn jitter(mut self, share: f64) -> Self {
        self.rules.terms.jitter = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        self
    }

    /// How long a failed refresh keeps the next one away.
    #[must_use]
    pub fn retry_after(mut self, retry_after: Duration) -> Self {
        self.rules.retry_after = retry_after;
        self
    }

    /// How long a run may take. Zero would let none run: it means the default.
    #[must_use]
    pub fn run_limit(mut self, run_limit: Duration) -> Self {
        self.rules.run_limit = run_limit;
        self
    }

    /// How long a call may take. Zero would let none be answered: it means no limit.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.rules.timeout = timeout;
        self
    }

    /// How long a call waits while there is an old value.
    #[must_use]
    pub fn soft_timeout(mut self, soft_timeout: Duration) -> Self {
        self.rules.soft_timeout = soft_timeout;
        self
    }

    /// How long an error is the answer.
    #[must_use]
    pub fn error_ttl(mut self, error_ttl: Duration) -> Self {
        self.rules.error_ttl = error_ttl;
        self
    }

    /// Values also go to the remote tier, in this codec.
    #[must_use]
    pub fn remote<C: Codec<V>>(mut self, identity: Identity) -> Self
    where
        V: Value,
    {
        self.rules.wire = Some(Arc::new(Typed { identity, codec: C::ID, encode: C::encode, decode: C::decode }));
        self
    }

    /// After how many failures in a row runs are refused, and for how long.
    #[must_use]
    pub fn breaker(mut self, failures: u32, reset_after: Duration) -> Self {
        self.rules.trip = (failures > 0).then_some(Trip { failures, reset_after });
        self
    }

    /// What entries can be voided by, besides what they bear already.
    #[must_use]
    pub fn tags(mut self, tags: &[Tag]) -> Self {
        self.rules.tags.add(tags);
        self
    }
}

impl<V: Value> Options<V> {
    /// Which values are stored.
    #[must_use]
    pub fn cache_if(mut self, cache_if: fn(&V) -> bool) -> Self {
        let cache_if = move |stored: &AnyStored| stored.downcast::<V>().is_none_or(cache_if);
        self.rules.opinion.cache_if = Some(Arc::new(cache_if));
        self
    }

    /// What a value weighs.
    #[must_use]
    pub fn weight(mut self, weight: fn(&V) -> u32) -> Self {
        let weight = move |stored: &AnyStored| stored.downcast::<V>().map_or(1, weight);
        self.rules.opinion.weight = Weight(Some(Arc::new(weight)));
        self
    }
}
