//! Keys: what a call is about, as bytes.
//!
//! A key is its hash (eight bytes), the identity of its cache (four, see [`crate::space`]) and the serialized parts, encoded
//! with bincode and marked so that different values have different bytes:
//!
//! 1. Every value is preceded by a byte for its kind, so `1u8`, `1u64`, `'\x01'`, `true` and `Some(1)` differ, and so do
//!    `0`, `""`, `[]`, `{}`, `false` and `null` of one dynamic type.
//! 2. Everything of variable length says where it ends, so `("ab", "c")` and `("a", "bc")` differ.
//! 3. Structs, newtypes and enums bear their names, fields and variants included, so `UserId(1)` and `OrderId(1)` differ,
//!    and so do two structs that skip different fields.
//! 4. Lengths need not be known in advance.
//!
//! A look-up builds no key. The encoding is streamed into a hasher ([`Origin::hash`]), and, where a key of that hash is found,
//! once more into a comparison with its bytes ([`Parts::are`]). A [`Probe`] is what remembers the one and can do the other.
//! The bytes are made when they are to be kept.
//!
//! Keys are only ever compared, never decoded. Two equal `HashMap`s may iterate in different orders: unordered
//! collections have no place in a key.

#[cfg(all(test, not(stampede_model)))]
mod alike;
mod encoding;
#[cfg(all(test, not(stampede_model)))]
mod tests;

use std::borrow::Borrow;
use std::fmt::{self, Display};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::Arc;

use bincode::config::{Configuration, Fixint, LittleEndian};
use bincode::enc::write::Writer;
use bincode::enc::{Encode, EncoderImpl};
use bincode::error::EncodeError;
use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;
use once_cell::sync::Lazy;
use serde::ser::{self, Serialize};

use crate::space::Space;

use self::encoding::{KeySerializer, Kind, Leaf, SHORT, Sink, length};

/// The bytes of a key, shared by whoever holds them: its hash, its cache, its parts.
pub(crate) type Key = Arc<[u8]>;

/// How long the hash is that a key begins with.
const HASH: usize = size_of::<u64>();
/// How long that and the cache are.
const HEAD: usize = HASH + size_of::<Space>();

/// Keys up to this many bytes are built without touching the heap.
const INLINE: usize = 192;

/// The hash of a key, which it bears in front. A key that has none (of a run outside all flights) is in no table.
pub(crate) fn hash_of(key: &[u8]) -> u64 {
    key.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// What follows the hash.
pub(crate) fn rest_of(key: &[u8]) -> &[u8] {
    key.get(HASH..).unwrap_or_default()
}

/// What follows hash and cache.
pub(crate) fn parts_of(key: &[u8]) -> &[u8] {
    key.get(HEAD..).unwrap_or_default()
}

/// Builds tables of what bears its hash already.
pub(crate) type ByHash = BuildHasherDefault<Given>;

/// The hash that was given, or that of the key that was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given(pub(crate) u64);

impl Hasher for Given {
    fn write(&mut self, key: &[u8]) {
        self.0 = hash_of(key);
    }

    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// What precedes a key is its length.
    fn write_usize(&mut self, _: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

/// What a table of keys can be asked for: a key, or whatever key has this hash.
///
/// A hash is equal to each of its keys, which are not equal to each other. So it may only be asked for: a table that had one
/// among its keys would not know what to make of the others.
pub(crate) trait Sought {
    fn hash(&self) -> u64;

    /// Nothing, if any will do.
    fn key(&self) -> Option<&[u8]>;
}

impl Sought for Key {
    fn hash(&self) -> u64 {
        hash_of(self)
    }

    fn key(&self) -> Option<&[u8]> {
        Some(self)
    }
}

impl Sought for Given {
    fn hash(&self) -> u64 {
        self.0
    }

    fn key(&self) -> Option<&[u8]> {
        None
    }
}

impl Hash for dyn Sought {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(Sought::hash(self));
    }
}

impl PartialEq for dyn Sought {
    fn eq(&self, other: &Self) -> bool {
        let is_same = || self.key().zip(other.key()).is_none_or(|(one, another)| one == another);
        Sought::hash(self) == Sought::hash(other) && is_same()
    }
}

impl Eq for dyn Sought {}

impl Borrow<dyn Sought> for Key {
    fn borrow(&self) -> &(dyn Sought + 'static) {
        self
    }
}

/// The cache that a key belongs to.
pub(crate) fn space_of(key: &[u8]) -> Option<Space> {
    key.get(HASH..)?.first_chunk().map(|bytes| Space::from_bytes(*bytes))
}

/// What is asked for: a key that has been hashed, and need not be built before it turns out to be new.
///
/// The parts are serialized anew each time that they are asked. Should they come out different, the key is found nowhere.
#[derive(Clone, Copy)]
pub(crate) struct Probe<'k> {
    pub(crate) space: Space,
    /// As [`hash`] gives it.
    pub(crate) hash: u64,
    pub(crate) parts: &'k dyn Parts,
}

/// The parts of a key, whatever their types.
pub(crate) trait Parts {
    /// Whether this is their encoding.
    fn are(&self, bytes: &[u8]) -> bool;

    /// Collects it.
    ///
    /// # Errors
    ///
    /// They cannot be serialized.
    fn collect(&self, built: &mut Built) -> Result<(), KeyError>;
}

impl<K: Serialize> Parts for K {
    // As a function of its own, it is all in registers.
    #[inline(never)]
    fn are(&self, bytes: &[u8]) -> bool {
        let mut comparing = Comparing { rest: bytes, has_diverged: false };
        let result = self.serialize(KeySerializer { sink: &mut comparing });
        if result.is_err() {
            return false;
        }
        // Who serializes may have passed over an error.
        comparing.rest.is_empty() && !comparing.has_diverged
    }

    #[cold]
    fn collect(&self, built: &mut Built) -> Result<(), KeyError> {
        self.serialize(KeySerializer { sink: built })
    }
}

/// The hash of the key of this cache with these parts.
pub(crate) fn hash<K: Serialize + ?Sized>(space: Space, parts: &K) -> Result<u64, KeyError> {
    Origin::of(space).hash(parts)
}

impl Probe<'_> {
    /// Builds the key.
    pub(crate) fn to_key(self) -> Result<Key, KeyError> {
        let mut built = Built { inline: [0; INLINE], len: 0, spilled: Vec::new() };
        built.push(&self.hash.to_le_bytes());
        built.push(&self.space.to_bytes());
        self.parts.collect(&mut built)?;
        Ok(Arc::from(built.as_bytes()))
    }

    /// Whether this is its key, given that their hashes are equal.
    pub(crate) fn is_key(&self, key: &[u8]) -> bool {
        space_of(key).is_some_and(|space| self.is(space, parts_of(key)))
    }

    /// Whether it is the key of this hash, of this cache and with these parts.
    #[inline]
    pub(crate) fn is(&self, space: Space, parts: &[u8]) -> bool {
        space == self.space && self.parts.are(parts)
    }
}

/// The key of this cache with these parts.
pub(crate) fn encode<K: Serialize + ?Sized>(space: Space, parts: &K) -> Result<Key, KeyError> {
    Probe { space, hash: hash(space, parts)?, parts: &parts }.to_key()
}

/// Where the hashes of a cache's keys begin.
#[derive(Clone, Copy)]
pub struct Origin {
    pub(crate) space: Space,
    seed: u64,
    shared: &'static SharedSeed,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("space", &self.space).finish_non_exhaustive()
    }
}

impl Origin {
    /// The seeds are random, once per process.
    pub(crate) fn of(space: Space) -> Self {
        static SEEDS: Lazy<(u64, u64, SharedSeed)> = Lazy::new(|| {
            let random = RandomState::new();
            (random.hash_one(0), random.hash_one(1) | 1, SharedSeed::from_u64(random.hash_one(2)))
        });
        let (seed, stride, shared) = &*SEEDS;
        // Those of caches are far apart. A hasher takes in a number by an exclusive or: with neighbouring seeds, one cache's 1
        // would have the hash of the next one's 2.
        Self { space, seed: seed.wrapping_add(space.number().wrapping_mul(*stride)), shared }
    }

    /// A copy, piece by piece: one in a piece would be in memory.
    #[inline]
    pub(crate) fn copied(&self) -> Self {
        let Self { space, seed, shared } = *self;
        Self { space, seed, shared }
    }

    /// The hash of the key with these parts.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn hash<K: Serialize + ?Sized>(&self, parts: &K) -> Result<u64, KeyError> {
        let hasher = FoldHasher::with_seed(self.seed, self.shared);
        let mut hashing = Hashing { hasher, has_begun: false };
        parts.serialize(KeySerializer { sink: &mut hashing })?;
        Ok(hashing.hasher.finish())
    }
}

/// Hashes an encoding as it goes by.
struct Hashing {
    hasher: FoldHasher<'static>,
    has_begun: bool,
}

impl Hashing {
    /// Such a hasher has the least to do with as much at once.
    #[inline]
    fn pair(&mut self, kind: Kind, bits: u64) {
        self.has_begun = true;
        self.hasher.write_u128(u128::from(kind as u8) << 64 | u128::from(bits));
    }
}

impl Sink for Hashing {
    type Error = KeyError;

    #[inline]
    fn kind(&mut self, kind: Kind) -> Result<(), KeyError> {
        // Nearly all keys begin with a tuple. Its end tells it from what does not.
        if self.has_begun || !matches!(kind, Kind::Tuple) {
            self.pair(kind, 0);
        }
        self.has_begun = true;
        Ok(())
    }

    #[inline]
    fn leaf<V: Leaf>(&mut self, kind: Kind, value: V) -> Result<(), KeyError> {
        let bits = value.bits();
        #[expect(clippy::cast_possible_truncation, reason = "one half, then the other")]
        {
            self.pair(kind, bits as u64);
            if size_of::<V>() > 8 {
                self.pair(kind, (bits >> 64) as u64);
            }
        }
        Ok(())
    }

    #[inline]
    fn run(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), KeyError> {
        self.pair(kind, bytes.len() as u64);
        self.hasher.write(bytes);
        Ok(())
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), KeyError> {
        // A hasher sees where the cuts are: there is one after each.
        for byte in bytes {
            self.pair(Kind::Text, (*byte).into());
        }
        Ok(())
    }
}

/// Compares an encoding, as it goes by, to that of a key.
struct Comparing<'r> {
    /// What is yet to come if it is the key.
    rest: &'r [u8],
    has_diverged: bool,
}

/// It is another key.
#[derive(Debug)]
struct Differs;

impl Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another key")
    }
}

impl std::error::Error for Differs {}

impl ser::Error for Differs {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

impl<'r> Comparing<'r> {
    #[cold]
    fn after_long_run(rest: &'r [u8], kind: Kind, bytes: &[u8]) -> Option<&'r [u8]> {
        let run = rest.strip_prefix(&[kind as u8])?;
        length(bytes, |len| run.strip_prefix(len))?.strip_prefix(bytes)
    }

    #[inline]
    fn take(&mut self, rest: Option<&'r [u8]>) -> Result<(), Differs> {
        match rest {
            Some(rest) => self.rest = rest,
            None => self.has_diverged = true,
        }
        rest.map(drop).ok_or(Differs)
    }
}

impl Sink for Comparing<'_> {
    type Error = Differs;

    #[inline]
    fn kind(&mut self, kind: Kind) -> Result<(), Differs> {
        self.take(self.rest.strip_prefix(&[kind as u8]))
    }

    #[inline]
    fn leaf<V: Leaf>(&mut self, kind: Kind, value: V) -> Result<(), Differs> {
        self.take(match self.rest.split_at_checked(1 + size_of::<V>()) {
            Some(([first, bytes @ ..], rest)) if *first == kind as u8 && value.is(bytes) => Some(rest),
            _ => None,
        })
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn run(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), Differs> {
        self.take(if bytes.len() < SHORT {
            match self.rest.split_at_checked(2 + bytes.len()) {
                Some(([first, len, run @ ..], rest))
                    if *first == kind as u8 && usize::from(*len) == bytes.len() && is_same(run, bytes) =>
                {
                    Some(rest)
                }
                _ => None,
            }
        } else {
            Self::after_long_run(self.rest, kind, bytes)
        })
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), Differs> {
        self.take(self.rest.strip_prefix(bytes))
    }
}

/// Whether these are equal, which are short and of one length. They are compared in place: to call for it costs more.
#[inline]
fn is_same(left: &[u8], right: &[u8]) -> bool {
    fn ends<const N: usize>(left: &[u8], right: &[u8]) -> bool {
        (left.first_chunk::<N>() == right.first_chunk()) & (left.last_chunk::<N>() == right.last_chunk())
    }

    match right.len() {
        ..4 => left.iter().eq(right),
        4..8 => ends::<4>(left, right),
        8..=16 => ends::<8>(left, right),
        _ => left.chunks_exact(16).eq(right.chunks_exact(16)) && ends::<16>(left, right),
    }
}

/// A key under construction; the bytes of ordinary ones stay on the stack.
pub(crate) struct Built {
    inline: [u8; INLINE],
    len: usize,
    spilled: Vec<u8>,
}

impl Built {
    fn as_bytes(&self) -> &[u8] {
        if self.spilled.is_empty() { &self.inline[..self.len] } else { &self.spilled }
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.spilled.is_empty() {
            if let Some(room) = self.inline.get_mut(self.len..self.len + bytes.len()) {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
                return;
            }
            self.spilled.reserve(2 * INLINE + bytes.len());
            self.spilled.extend_from_slice(&self.inline[..self.len]);
        }
        self.spilled.extend_from_slice(bytes);
    }
}

type Config = Configuration<LittleEndian, Fixint>;
const CONFIG: Config = bincode::config::standard().with_little_endian().with_fixed_int_encoding();

impl Writer for &mut Built {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.push(bytes);
        Ok(())
    }
}

impl Built {
    fn put(&mut self, value: impl Encode) -> Result<(), KeyError> {
        value.encode(&mut EncoderImpl::new(self, CONFIG)).map_err(ser::Error::custom)
    }
}

impl Sink for Built {
    type Error = KeyError;

    fn kind(&mut self, kind: Kind) -> Result<(), KeyError> {
        self.put(kind as u8)
    }

    fn leaf<V: Leaf>(&mut self, kind: Kind, value: V) -> Result<(), KeyError> {
        self.put((kind as u8, value))
    }

    fn run(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), KeyError> {
        self.put(kind as u8)?;
        length(bytes, |len| self.push(len));
        self.push(bytes);
        Ok(())
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), KeyError> {
        self.push(bytes);
        Ok(())
    }
}

/// A part of a key could not be serialized: what its `Serialize` said. In a box, for all that can go wrong is small then.
#[derive(Debug)]
pub(crate) struct KeyError(Box<Box<str>>);

impl Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}

impl ser::Error for KeyError {
    fn custom<T: Display>(message: T) -> Self {
        Self(Box::new(message.to_string().into()))
    }
}
