//! The tier itself: each operation is a script, run once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, try_join_all};
use redis::{Cmd, Value};
use stampede_runtime::tier::{
    Acquired, Claim, FillId, Kept, Lease, Limits, Listener, News as Item, Record, Signal, Tier, TierError, TierKey,
    Trip,
};
use xxhash_rust::xxh3::Xxh3;

use crate::commands::Commands;
use crate::envelope::{OVERHEAD, Reject, TooLarge, fill_of, open, seal};
use crate::error::Fault;
use crate::link::Task;
use crate::message::Message;
use crate::names::{Names, lease, wake};
use crate::news::News;
use crate::scripts::{ACQUIRE, CLEAR, DISCARD, EXPIRE, FILL, INVALIDATE, PUT, READ, RELEASE, RENEW, Script, VOID};
use crate::wire::Wire;
use crate::{generations, random};

/// Redis never hears of a longer time: a hundred years, in milliseconds.
const FOR_EVER: u64 = 100 * 365 * 86_400_000;

/// How many leases one script renews.
const RENEWED_AT_ONCE: usize = 100;

/// A tier that a fleet shares, on Redis or Valkey. See the [crate].
///
/// A cheap handle: clones share two connections, one for commands and one for news, until the last of them is dropped.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) names: Names,
    pub(crate) limits: Limits,
    /// What our news are known by.
    pub(crate) me: u128,
    pub(crate) commands: Arc<Commands>,
    pub(crate) news: Arc<News>,
    pub(crate) _tasks: [Task; 2],
}

/// What to do with what was found in Redis.
enum Found {
    Valid(Kept),
    /// Not ours to read, but perhaps others'.
    Unwanted(FillId),
    /// Nobody's.
    Void(FillId),
}

impl Redis {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// What came of the first attempt to connect.
    pub(crate) async fn first(&self) -> Result<(), Fault> {
        self.inner.commands.first().await
    }

    fn wire(&self) -> Result<Wire, Fault> {
        self.inner.commands.wire()
    }

    async fn run<T: redis::FromRedisValue>(
        &self,
        wire: &mut Wire,
        script: &Script,
        keys: &[String],
        arguments: impl Fn(&mut Cmd) + Send + Sync,
    ) -> Result<T, Fault> {
        let result = script.run(wire, keys.len(), |command| {
            command.arg(keys);
            arguments(command);
        });
        result.await.map_err(|error| self.inner.commands.failed(error))
    }

    /// The keys of a script that concerns one of ours, as `prelude.lua` has them.
    fn keys(&self, wire: &Wire, key: &TierKey, tags: Option<&[Arc<str>]>) -> Vec<String> {
        let names = &self.inner.names;
        let value = names.value(key);
        let lease = lease(&value);
        match tags {
            Some(tags) if !wire.is_cluster() => [value, lease, names.all.clone(), names.voids.clone()]
                .into_iter()
                .chain(tags.iter().map(|tag| names.tag(tag)))
                .collect(),
            _ => vec![value, lease],
        }
    }

    fn message(&self, item: Item) -> Vec<u8> {
        Message { sender: self.inner.me, item }.write()
    }

    /// The most bytes that a value takes.
    fn max(&self) -> usize {
        self.inner.limits.value_bytes.saturating_add(OVERHEAD)
    }

    fn seal(&self, record: &Record, fill: FillId, generations: &[u64]) -> Result<Vec<u8>, Fault> {
        let max = self.inner.limits.value_bytes;
        seal(record, fill, generations, max).map_err(|TooLarge| {
            Fault::new(format!("a value takes more than {max} bytes, or its tags more than {OVERHEAD}"))
        })
    }

    /// Looks at a value that a script has given.
    async fn found(&self, wire: &mut Wire, bytes: Vec<u8>, left: u64) -> Result<Found, Fault> {
        let fill = fill_of(&bytes);
        let opened = match open(bytes, self.inner.limits.value_bytes) {
            Ok(opened) => opened,
            Err(Reject::TooLarge) => return Ok(Found::Unwanted(fill)),
            Err(Reject::Corrupt) => {
                tracing::debug!("a value in Redis is damaged, and is removed");
                return Ok(Found::Void(fill));
            }
        };
        if wire.is_cluster() && !generations::stands(wire, &self.inner.names, &opened).await? {
            return Ok(Found::Void(fill));
        }
        let record = opened.record;
        let left = Duration::from_millis(left).min(record.fresh.saturating_add(record.stale));
        Ok(Found::Valid(Kept { record, fill, left }))
    }

    async fn read_key(&self, key: &TierKey) -> Result<Option<Kept>, Fault> {
        let mut wire = self.wire()?;
        let keys = self.keys(&wire, key, Some(&[]));
        let (max, root) = (self.max(), self.inner.names.root());
        let reply: Option<(Vec<u8>, u64)> = self
            .run(&mut wire, &READ, &keys, |command| {
                command.arg(max).arg(root);
            })
            .await?;
        let Some((bytes, left)) = reply else { return Ok(None) };
        match self.found(&mut wire, bytes, left).await? {
            Found::Valid(kept) => Ok(Some(kept)),
            Found::Unwanted(_) => Ok(None),
            Found::Void(fill) => {
                let () = self
                    .run(&mut wire, &DISCARD, &keys, |command| {
                        command.arg(&fill.0.to_be_bytes());
                    })
                    .await?;
                Ok(None)
            }
        }
    }

    async fn claim(&self, key: &TierKey, mut claim: Claim) -> Result<Acquired, Fault> {
        let mut wire = self.wire()?;
        loop {
            let (bytes, left) = match self.ask(&mut wire, key, &claim).await? {
                Asked::Answer(answer) => return Ok(answer),
                Asked::Bytes(bytes, left) => (bytes, left),
            };
            // Once more, if what was found does not count. Only who writes such values as fast as they are found could
            // keep us here, and the time of the call ends that.
            (claim.seen, claim.discard) = match self.found(&mut wire, bytes, left).await? {
                Found::Valid(kept) => return Ok(Acquired::Value(kept)),
                Found::Unwanted(fill) => (Some(fill), false),
                Found::Void(fill) => (Some(fill), true),
            };
        }
    }

    /// One trip for a value or a lease.
    async fn ask(&self, wire: &mut Wire, key: &TierKey, claim: &Claim) -> Result<Asked, Fault> {
        let names = &self.inner.names;
        let keys = self.keys(wire, key, Some(&claim.tags));
        let seen = claim.seen.map(|seen| seen.0.to_be_bytes());
        let seen = seen.as_ref().map_or(&[][..], |seen| &seen[..]);
        let mode: String = [('d', claim.discard), ('f', claim.force), ('o', claim.has_old)]
            .iter()
            .filter_map(|&(mode, is_on)| is_on.then_some(mode))
            .collect();
        let (token, generation): ([u8; 16], [u8; 8]) = (random()?, random()?);
        let tags = stands_for(&claim.tags).to_be_bytes();
        let (max, root, time) = (self.max(), names.root(), millis(self.inner.limits.lease));
        let mut beside = wire.is_cluster().then(|| wire.clone());
        let asking = self.run(wire, &ACQUIRE, &keys, |command| {
            command.arg(max).arg(root).arg(seen).arg(&mode).arg(&token).arg(time).arg(&generation).arg(&tags);
        });
        // In a Cluster, what the tags stand at is read at the same time. It is of before the run.
        let standing = async {
            let Some(wire) = &mut beside else { return Ok(None) };
            let mut tags = generations::current(wire, names, &claim.tags).await?;
            tags.push(generations::voids(wire, names).await?);
            Ok::<_, Fault>(Some(tags))
        };
        let (reply, standing) = join(asking, standing).await;
        let reply: Vec<Value> = reply?;
        let mut reply = reply.into_iter();
        let mut next = || reply.next().ok_or_else(nonsense);
        Ok(match next()? {
            Value::Int(0) => Asked::Bytes(bytes(next()?)?, int(&next()?)?),
            Value::Int(1) => {
                let tags = match standing? {
                    Some(tags) => tags,
                    None => bytes(next()?)?.as_chunks().0.iter().copied().map(u64::from_be_bytes).collect(),
                };
                Asked::Answer(Acquired::Leased(Lease { token: u128::from_be_bytes(token), tags }))
            }
            Value::Int(2) => Asked::Answer(Acquired::Busy(Duration::from_millis(int(&next()?)?))),
            Value::Int(3) => Asked::Answer(Acquired::Throttled(Duration::from_millis(int(&next()?)?))),
            _ => return Err(nonsense()),
        })
    }

    async fn store(&self, key: &TierKey, lease: Lease, record: Record) -> Result<Option<FillId>, Fault> {
        let mut wire = self.wire()?;
        let names = &self.inner.names;
        // Of everything and of the claim's tags; then of the tags in sum.
        let Some((voids, claimed)) = lease.tags.split_last() else { return Ok(None) };
        let fill = FillId(lease.token);
        let time = millis(record.fresh.saturating_add(record.stale));
        let mut standing = claimed.to_vec();
        if wire.is_cluster() {
            let now = generations::current(&mut wire, names, &record.tags).await?;
            let has_more = now.len() > claimed.len();
            if !now.starts_with(claimed) || has_more && generations::voids(&mut wire, names).await? != *voids {
                self.give_up(key, &lease, Duration::ZERO).await?;
                return Ok(None);
            }
            generations::outlive(&mut wire, names, &record.tags, time).await?;
            standing = now;
        }
        let keys = self.keys(&wire, key, Some(&record.tags));
        let (bytes, seed) = (self.seal(&record, fill, &standing)?, random::<8>()?);
        let claimed: Vec<u8> = claimed.iter().flat_map(|generation| generation.to_be_bytes()).collect();
        let is_stored: bool = self
            .run(&mut wire, &FILL, &keys, |command| {
                command.arg(&lease.token.to_be_bytes()).arg(&bytes).arg(time);
                command.arg(&claimed).arg(&voids.to_be_bytes()).arg(&seed);
            })
            .await?;
        Ok(is_stored.then_some(fill))
    }

    async fn give_up(&self, key: &TierKey, lease: &Lease, throttle: Duration) -> Result<(), Fault> {
        let mut wire = self.wire()?;
        let keys = self.keys(&wire, key, None);
        let throttle = if throttle.is_zero() { 0 } else { millis(throttle) };
        self.run(&mut wire, &RELEASE, &keys, |command| {
            command.arg(&lease.token.to_be_bytes()).arg(throttle);
        })
        .await
    }

    async fn prolong(&self, leases: &[(TierKey, Lease)]) -> Result<(), Fault> {
        let wire = self.wire()?;
        let at_once = if wire.is_cluster() { 1 } else { RENEWED_AT_ONCE };
        let time = millis(self.inner.limits.lease);
        try_join_all(leases.chunks(at_once).map(|leases| {
            let mut wire = wire.clone();
            async move {
                let keys: Vec<_> = leases.iter().map(|(key, _)| lease(&self.inner.names.value(key))).collect();
                self.run::<()>(&mut wire, &RENEW, &keys, |command| {
                    command.arg(time);
                    for (_, lease) in leases {
                        command.arg(&lease.token.to_be_bytes());
                    }
                })
                .await
            }
        }))
        .await
        .map(drop)
    }

    async fn write(&self, key: &TierKey, record: Record) -> Result<FillId, Fault> {
        let mut wire = self.wire()?;
        let names = &self.inner.names;
        let (fill, seed) = (FillId(u128::from_be_bytes(random()?)), random::<8>()?);
        let time = millis(record.fresh.saturating_add(record.stale));
        let mut standing = Vec::new();
        if wire.is_cluster() {
            standing = generations::current(&mut wire, names, &record.tags).await?;
            generations::outlive(&mut wire, names, &record.tags, time).await?;
        }
        let keys = self.keys(&wire, key, Some(&record.tags));
        let (bytes, message) = (self.seal(&record, fill, &standing)?, self.message(Item::Voided(key.clone())));
        let () = self
            .run(&mut wire, &PUT, &keys, |command| {
                command.arg(&bytes).arg(time).arg(&seed).arg(&names.news).arg(&message);
            })
            .await?;
        Ok(fill)
    }

    /// Runs a script that takes a key's value away from all, and says so.
    async fn end(&self, script: &Script, key: &TierKey, item: Item) -> Result<(), Fault> {
        let mut wire = self.wire()?;
        let keys = self.keys(&wire, key, None);
        let message = self.message(item);
        self.run(&mut wire, script, &keys, |command| {
            command.arg(&self.inner.names.news).arg(&message);
        })
        .await
    }

    async fn void(&self, tag: &str) -> Result<(), Fault> {
        let mut wire = self.wire()?;
        let names = &self.inner.names;
        let message = self.message(Item::Tag(tag.into()));
        if wire.is_cluster() {
            generations::void(&mut wire, names, tag).await?;
            return self.publish(&mut wire, &message).await;
        }
        let seed: [u8; 8] = random()?;
        self.run(&mut wire, &VOID, &[names.tag(tag), names.voids.clone()], |command| {
            command.arg(&seed).arg(&names.news).arg(&message);
        })
        .await
    }

    async fn void_all(&self) -> Result<(), Fault> {
        let mut wire = self.wire()?;
        let names = &self.inner.names;
        let message = self.message(Item::Cleared);
        let seed: [u8; 8] = random()?;
        self.run(&mut wire, &CLEAR, std::slice::from_ref(&names.all), |command| {
            command.arg(&seed).arg(&names.news).arg(&message);
        })
        .await
    }

    async fn publish(&self, wire: &mut Wire, message: &[u8]) -> Result<(), Fault> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&self.inner.names.news).arg(message);
        wire.query(&publish).await.map_err(|error| self.inner.commands.failed(error))
    }

    async fn try_out(&self) -> Result<(), Fault> {
        let mut set = redis::cmd("SET");
        set.arg(&self.inner.names.ping).arg(1).arg("PX").arg(1000);
        self.wire()?.query(&set).await.map_err(|error| self.inner.commands.failed(error))
    }
}

/// What [`Redis::ask`] got.
enum Asked {
    Answer(Acquired),
    /// A value, unopened, and how long it lives yet.
    Bytes(Vec<u8>, u64),
}

fn bytes(value: Value) -> Result<Vec<u8>, Fault> {
    if let Value::BulkString(bytes) = value { Ok(bytes) } else { Err(nonsense()) }
}

fn int(value: &Value) -> Result<u64, Fault> {
    if let &Value::Int(int) = value { u64::try_from(int).map_err(|_| nonsense()) } else { Err(nonsense()) }
}

fn nonsense() -> Fault {
    Fault::new("Redis answers something else than was asked for")
}

/// Never none, as Redis takes that for a mistake.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).clamp(1, FOR_EVER)
}

/// A number that stands for the names of some tags, in their order.
fn stands_for(tags: &[Arc<str>]) -> u64 {
    let mut hasher = Xxh3::new();
    for tag in tags {
        hasher.update(&(tag.len() as u64).to_be_bytes());
        hasher.update(tag.as_bytes());
    }
    hasher.digest()
}

impl Tier for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn limits(&self) -> Limits {
        self.inner.limits
    }

    fn attach(&self, listener: Listener) {
        self.inner.news.attach(listener);
    }

    fn read<'t>(&'t self, key: &'t TierKey) -> Trip<'t, Option<Kept>> {
        trip(self.read_key(key))
    }

    fn acquire<'t>(&'t self, key: &'t TierKey, claim: Claim) -> Trip<'t, Acquired> {
        trip(self.claim(key, claim))
    }

    fn watch<'t>(&'t self, key: &'t TierKey) -> Trip<'t, Signal> {
        trip(self.inner.news.watch(wake(&self.inner.names.value(key))))
    }

    fn fill<'t>(&'t self, key: &'t TierKey, lease: Lease, record: Record) -> Trip<'t, Option<FillId>> {
        trip(self.store(key, lease, record))
    }

    fn release<'t>(&'t self, key: &'t TierKey, lease: Lease, throttle: Duration) -> Trip<'t, ()> {
        trip(async move { self.give_up(key, &lease, throttle).await })
    }

    fn renew<'t>(&'t self, leases: &'t [(TierKey, Lease)]) -> Trip<'t, ()> {
        trip(self.prolong(leases))
    }

    fn put<'t>(&'t self, key: &'t TierKey, record: Record) -> Trip<'t, FillId> {
        trip(self.write(key, record))
    }

    fn invalidate<'t>(&'t self, key: &'t TierKey) -> Trip<'t, ()> {
        trip(self.end(&INVALIDATE, key, Item::Voided(key.clone())))
    }

    fn expire<'t>(&'t self, key: &'t TierKey) -> Trip<'t, ()> {
        trip(self.end(&EXPIRE, key, Item::Expired(key.clone())))
    }

    fn invalidate_tag<'t>(&'t self, tag: &'t str) -> Trip<'t, ()> {
        trip(self.void(tag))
    }

    fn clear(&self) -> Trip<'_, ()> {
        trip(self.void_all())
    }

    fn ping(&self) -> Trip<'_, ()> {
        trip(self.try_out())
    }
}

fn trip<'t, T>(future: impl Future<Output = Result<T, Fault>> + Send + 't) -> Trip<'t, T> {
    Box::pin(async move { future.await.map_err(TierError::from) })
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("names", &self.inner.names)
            .field("limits", &self.inner.limits)
            .finish_non_exhaustive()
    }
}
