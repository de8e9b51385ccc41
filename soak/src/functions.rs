//! The annotated functions, detached and inline, and what may be expected of each.

use std::pin::Pin;
use std::time::Duration;

use stampede::{Cache, Store, coalesce};

use crate::arena::Task;
use crate::body;
use crate::value::{Answer, Value};

/// How many keys each function is called with.
pub(crate) const KEYS: u16 = 40;
/// How many groups they make.
pub(crate) const GROUPS: u16 = 4;
/// The limit of the runs that may hang.
const LIMIT: Duration = ms(120);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Whole,
    Plain,
    Revalidated,
    Reserved,
    Inline,
    InlineGuarded,
    Patient,
    KeptErrors,
    Coalesced,
    Outer,
    Raw,
    /// Those of the quiet arena: see [`crate::quiet`].
    Quiet,
    QuietInline,
}

/// What holds for the answers of a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) ttl: Duration,
    pub(crate) revalidate: Duration,
    pub(crate) on_error: Duration,
    /// Zero: off, as everywhere.
    pub(crate) retry_after: Duration,
    pub(crate) error_ttl: Duration,
    pub(crate) timeout: Duration,
    pub(crate) tagged: bool,
    pub(crate) breaker: bool,
    /// Whether its bodies may hang until their limit.
    pub(crate) hangs: bool,
}

impl Policy {
    const BARE: Self = Self {
        ttl: ms(50),
        revalidate: Duration::ZERO,
        on_error: Duration::ZERO,
        retry_after: Duration::ZERO,
        error_ttl: Duration::ZERO,
        timeout: Duration::ZERO,
        tagged: false,
        breaker: false,
        hangs: true,
    };
    const TAGGED: Self = Self { tagged: true, ..Self::BARE };

    /// For how long a value is of any use after its TTL.
    pub(crate) fn window(&self) -> Duration {
        self.revalidate.max(self.on_error)
    }
}

const REVALIDATED: Policy = Policy { ttl: ms(30), revalidate: ms(80), ..Policy::TAGGED };
const RESERVED: Policy = Policy { ttl: ms(20), on_error: ms(200), retry_after: ms(40), ..Policy::TAGGED };
const INLINE_GUARDED: Policy = Policy {
    ttl: ms(25),
    revalidate: ms(30),
    on_error: ms(150),
    retry_after: ms(30),
    timeout: ms(100),
    breaker: true,
    ..Policy::BARE
};
const PATIENT: Policy = Policy { ttl: ms(40), on_error: ms(100), timeout: ms(80), breaker: true, ..Policy::BARE };
const KEPT_ERRORS: Policy = Policy { error_ttl: ms(60), ..Policy::TAGGED };
const COALESCED: Policy = Policy { ttl: Duration::ZERO, ..Policy::BARE };
const QUIET: Policy =
    Policy { ttl: ms(20), on_error: Duration::from_mins(10), retry_after: ms(100), hangs: false, ..Policy::BARE };
const QUIET_INLINE: Policy = Policy { revalidate: ms(60), error_ttl: ms(30), ..QUIET };

impl Function {
    /// Those that everything is done to.
    pub(crate) const NOISY: [Self; 11] = [
        Self::Whole,
        Self::Plain,
        Self::Revalidated,
        Self::Reserved,
        Self::Inline,
        Self::InlineGuarded,
        Self::Patient,
        Self::KeptErrors,
        Self::Coalesced,
        Self::Outer,
        Self::Raw,
    ];
    /// Those that are left alone.
    pub(crate) const QUIET: [Self; 2] = [Self::Quiet, Self::QuietInline];

    pub(crate) const fn policy(self) -> Policy {
        match self {
            Self::Whole | Self::Plain => Policy::BARE,
            Self::Inline | Self::Outer => Policy::TAGGED,
            Self::Revalidated | Self::Raw => REVALIDATED,
            Self::Reserved => RESERVED,
            Self::InlineGuarded => INLINE_GUARDED,
            Self::Patient => PATIENT,
            Self::KeptErrors => KEPT_ERRORS,
            Self::Coalesced => COALESCED,
            Self::Quiet => QUIET,
            Self::QuietInline => QUIET_INLINE,
        }
    }

    pub(crate) fn is_quiet(self) -> bool {
        Self::QUIET.contains(&self)
    }

    /// Calls it.
    pub(crate) fn call(self, task: &Task, key: u16) -> Call {
        let task = task.clone();
        match self {
            Self::Whole => Box::pin(async move { Ok(whole(&task, key).await) }),
            Self::Plain => Box::pin(async move { plain(&task, key).await }),
            Self::Revalidated => Box::pin(async move { revalidated(&task, key).await }),
            Self::Reserved => Box::pin(async move { reserved(&task, key).await }),
            Self::Inline => Box::pin(async move { inline(&task, key).await }),
            Self::InlineGuarded => Box::pin(async move { inline_guarded(&task, key).await }),
            Self::Patient => Box::pin(async move { patient(&task, key).await }),
            Self::KeptErrors => Box::pin(async move { kept_errors(&task, key).await }),
            Self::Coalesced => Box::pin(async move { coalesced(&task, key).await }),
            Self::Outer => Box::pin(async move { outer(&task, key).await }),
            Self::Raw => Box::pin(async move {
                let cache = task.arena.raw.tagged(tags(key));
                cache.try_get_with(&key, || body::run(task.clone(), Self::Raw, key)).await
            }),
            Self::Quiet => Box::pin(async move { quiet(&task, key).await }),
            Self::QuietInline => Box::pin(async move { quiet_inline(&task, key).await }),
        }
    }

    /// Does something to what is stored.
    pub(crate) async fn act(self, task: &Task, key: u16, act: Act) -> Option<Value> {
        macro_rules! act {
            ($entry:expr) => {{
                let entry = $entry;
                match act {
                    Act::Get => return entry.get().await,
                    Act::Put(value) => entry.put(value).await,
                    Act::Invalidate => _ = entry.invalidate().await,
                    Act::Expire => _ = entry.expire().await,
                }
            }};
        }
        match self {
            Self::Whole => act!(whole_entry(key)),
            Self::Plain => act!(plain_entry(key)),
            Self::Revalidated => act!(revalidated_entry(key)),
            Self::Reserved => act!(reserved_entry(key)),
            Self::Inline => act!(inline_entry(key)),
            Self::InlineGuarded => act!(inline_guarded_entry(key)),
            Self::Patient => act!(patient_entry(key)),
            Self::KeptErrors => act!(kept_errors_entry(key)),
            Self::Coalesced => act!(coalesced_entry(key)),
            Self::Outer => act!(outer_entry(key)),
            Self::Raw => act!(task.arena.raw.tagged(tags(key)).entry(&key)),
            Self::Quiet => act!(quiet_entry(key)),
            Self::QuietInline => act!(quiet_inline_entry(key)),
        }
        None
    }
}

pub(crate) type Call = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What can be done to an entry.
#[derive(Debug)]
pub(crate) enum Act {
    Get,
    Put(Value),
    Invalidate,
    Expire,
}

/// What the entries of tagged functions bear, besides `all`.
fn tags(key: u16) -> [String; 2] {
    [group_tag(key % GROUPS), key_tag(key)]
}

pub(crate) fn group_tag(group: u16) -> String {
    format!("group:{group}")
}

pub(crate) fn key_tag(key: u16) -> String {
    format!("key:{key}")
}

/// The cache of [`Function::Raw`].
pub(crate) fn raw(store: &Store) -> Cache<Value> {
    let builder = Cache::builder("raw").ttl(REVALIDATED.ttl).stale_while_revalidate(REVALIDATED.revalidate);
    builder.run_limit(LIMIT).tags(["all"]).store(store).build()
}

fn weigh(value: &Value) -> u32 {
    1 + u32::from(value.key() % 3)
}

fn is_stored(value: &Value) -> bool {
    !value.number().is_multiple_of(17)
}

#[coalesce(ttl = Policy::BARE.ttl, jitter = 0.3, weight = weigh, cache_if = is_stored, run_limit = LIMIT, skip(task))]
async fn whole(task: &Task, key: u16) -> Value {
    body::run_whole(task.clone(), Function::Whole, key).await
}

#[coalesce(ttl = Policy::BARE.ttl, refresh_ahead = 0.6, run_limit = LIMIT, skip(task))]
async fn plain(task: &Task, key: u16) -> Answer {
    body::run(task.clone(), Function::Plain, key).await
}

#[coalesce(
    ttl = REVALIDATED.ttl, stale_while_revalidate = REVALIDATED.revalidate, jitter = 0.2, run_limit = LIMIT,
    tags = "\"all\", format!(\"group:{}\", key % GROUPS), format!(\"key:{key}\")", skip(task)
)]
async fn revalidated(task: &Task, key: u16) -> Answer {
    body::run(task.clone(), Function::Revalidated, key).await
}

#[coalesce(
    ttl = RESERVED.ttl, stale_if_error = RESERVED.on_error, retry_after = RESERVED.retry_after, refresh_ahead = 0.7,
    run_limit = LIMIT, tags = "\"all\", format!(\"group:{}\", key % GROUPS), format!(\"key:{key}\")", skip(task)
)]
async fn reserved(task: &Task, key: u16) -> Answer {
    body::run(task.clone(), Function::Reserved, key).await
}

#[coalesce(
    ttl = Policy::TAGGED.ttl, run_limit = LIMIT,
    tags = "\"all\", format!(\"group:{}\", key % GROUPS), format!(\"key:{key}\")", skip(task), inline
)]
async fn inline(task: &Task, key: u16) -> Answer {
    body::run(task.clone(), Function::Inline, key).await
}

#[coalesce(
    ttl = INLINE_GUARDED.ttl, stale_while_revalidate = INLINE_GUARDED.revalidate,
    stale_if_error = INLINE_GUARDED.on_error, retry_after = INLINE_GUARDED.retry_after, xfetch = 1.0,
    timeout = INLINE_GUARDED.timeout, soft_timeout = ms(15), breaker(failures = 6, reset_after = ms(60)),
    run_limit = LIMIT, skip(task), inline
)]
async fn inline_guarded(task: &Task, key: u16) -> Answer {
    body::run(task.clone(), Function::InlineGuarded, key).await
}

#[coalesce(
    ttl = PATIENT.ttl, stale_if_error = PATIENT.on_error, timeout = PATIENT.timeout, soft_timeout = ms(10),
    breaker(failures = 5, reset_after = ms(80)), run_limit = LIMIT, skip(task)
)]
async fn patient(task: &Task, key: u16) -> Answer {
    body::run(task.clone(), Function::Patient, key).await
}

#[coalesce(
    ttl = KEPT_ERRORS.ttl, error_ttl = KEPT_ERRORS.error_ttl, xfetch = 2.0, run_limit = LIMIT,
    tags = "\"all\", format!(\"group:{}\", key % GROUPS), format!(\"key:{key}\")", skip(task)
)]
async fn kept_errors(task: &Task, key: u16) -> Answer {
    body::run(task.clone(), Function::KeptErrors, key).await
}

#[coalesce(run_limit = LIMIT, skip(task))]
async fn coalesced(task: &Task, key: u16) -> Answer {
    body::run(task.clone(), Function::Coalesced, key).await
}

/// Calls another function before it does anything else.
#[coalesce(
    ttl = Policy::TAGGED.ttl, run_limit = LIMIT * 2,
    tags = "\"all\", format!(\"group:{}\", key % GROUPS), format!(\"key:{key}\")", skip(task)
)]
async fn outer(task: &Task, key: u16) -> Answer {
    body::run(task.clone(), Function::Outer, key).await
}

#[coalesce(ttl = QUIET.ttl, stale_if_error = QUIET.on_error, retry_after = QUIET.retry_after, skip(task))]
async fn quiet(task: &Task, key: u16) -> Answer {
    body::run(task.clone(), Function::Quiet, key).await
}

#[coalesce(
    ttl = QUIET_INLINE.ttl, stale_while_revalidate = QUIET_INLINE.revalidate, stale_if_error = QUIET_INLINE.on_error,
    retry_after = QUIET_INLINE.retry_after, error_ttl = QUIET_INLINE.error_ttl, skip(task), inline
)]
async fn quiet_inline(task: &Task, key: u16) -> Answer {
    body::run(task.clone(), Function::QuietInline, key).await
}
