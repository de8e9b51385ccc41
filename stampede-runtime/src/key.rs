//! Keys: what a call is about, as bytes.
//!
//! A key is its hash, the identity of its cache (eight bytes each, see [`crate::space`]) and the serialized parts, encoded
//! with bincode and marked so that different values have different bytes:
//!
//! 1. Every value is preceded by a byte for its kind, so `1u8`, `1u64`, `'\x01'`, `true` and `Some(1)` differ, and so do
//!    `0`, `""`, `[]`, `{}`, `false` and `null` of one dynamic type.
//! 2. Everything of variable length says where it ends, so `("ab", "c")` and `("a", "bc")` differ.
//! 3. Structs, newtypes and enums bear their names, fields and variants included, so `UserId(1)` and `OrderId(1)` differ,
//!    and so do two structs that skip different fields.
//! 4. Lengths need not be known in advance.
//!
//! A look-up builds no key. The encoding is streamed into a hasher, and, where a key of that hash is found, once more into a
//! comparison with its bytes: a [`Probe`] does that. The bytes are made when they are to be kept.
//!
//! Keys are only ever compared, never decoded. Two equal `HashMap`s may iterate in different orders: unordered
//! collections have no place in a key.

use std::fmt::{self, Display, Write as _};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::Arc;

use bincode::config::{Configuration, Fixint, LittleEndian};
use bincode::enc::write::Writer;
use bincode::enc::{Encode, EncoderImpl};
use bincode::error::EncodeError;
use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;
use once_cell::sync::Lazy;
use serde::ser::{
    self, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::space::Space;

/// The bytes of a key, shared by whoever holds them: its hash, its cache, its parts.
pub(crate) type Key = Arc<[u8]>;

/// How long hash and cache are, with which a key begins.
const WORD: usize = 8;

/// Keys up to this many bytes are built without touching the heap.
const INLINE: usize = 192;

/// The hash of a key, which it bears in front. A key that has none (of a run outside all flights) is in no table.
pub(crate) fn hash_of(key: &[u8]) -> u64 {
    key.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// What follows the hash.
pub(crate) fn rest_of(key: &[u8]) -> &[u8] {
    key.get(WORD..).unwrap_or_default()
}

/// What follows hash and cache.
pub(crate) fn parts_of(key: &[u8]) -> &[u8] {
    key.get(2 * WORD..).unwrap_or_default()
}

/// Builds tables of what bears its hash already.
pub(crate) type ByHash = BuildHasherDefault<Given>;

/// The hash that was given, or that of the key that was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given(u64);

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

/// The cache that a key belongs to.
pub(crate) fn space_of(key: &[u8]) -> Option<Space> {
    key.get(WORD..)?.first_chunk().map(|bytes| Space::from_bytes(*bytes))
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
    fn are(&self, bytes: &[u8]) -> bool {
        let mut comparing = Comparing { rest: bytes, has_diverged: false };
        let result = self.serialize(KeySerializer { sink: &mut comparing });
        result.is_ok() && comparing.rest.is_empty() && !comparing.has_diverged
    }

    #[cold]
    fn collect(&self, built: &mut Built) -> Result<(), KeyError> {
        self.serialize(KeySerializer { sink: built })
    }
}

/// The hash of the key of this cache with these parts.
#[inline]
pub(crate) fn hash<K: Serialize + ?Sized>(space: Space, parts: &K) -> Result<u64, KeyError> {
    let mut hashing = Hashing::of(space);
    parts.serialize(KeySerializer { sink: &mut hashing })?;
    Ok(hashing.hasher.finish())
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

/// Hashes an encoding as it goes by. The seed is random, once per process.
struct Hashing {
    hasher: FoldHasher<'static>,
    has_begun: bool,
}

impl Hashing {
    #[inline]
    fn of(space: Space) -> Self {
        static SEEDS: Lazy<(u64, SharedSeed)> = Lazy::new(|| {
            let random = RandomState::new();
            (random.hash_one(0), SharedSeed::from_u64(random.hash_one(1)))
        });
        let (seed, shared) = &*SEEDS;
        let hasher = FoldHasher::with_seed(seed ^ u64::from_le_bytes(space.to_bytes()), shared);
        Self { hasher, has_begun: false }
    }
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

impl Comparing<'_> {
    #[inline]
    fn diverge(&mut self) {
        (self.rest, self.has_diverged) = (&[], true);
    }
}

impl Sink for Comparing<'_> {
    #[inline]
    fn kind(&mut self, kind: Kind) -> Result<(), KeyError> {
        match self.rest {
            [first, rest @ ..] if *first == kind as u8 => self.rest = rest,
            _ => self.diverge(),
        }
        Ok(())
    }

    #[inline]
    fn leaf<V: Leaf>(&mut self, kind: Kind, value: V) -> Result<(), KeyError> {
        match self.rest.split_at_checked(1 + size_of::<V>()) {
            Some(([first, bytes @ ..], rest)) if *first == kind as u8 && value.is(bytes) => self.rest = rest,
            _ => self.diverge(),
        }
        Ok(())
    }

    #[inline]
    fn run(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), KeyError> {
        match self.rest.split_first_chunk::<9>() {
            Some(([first, len @ ..], rest))
                if *first == kind as u8 && *len == length(bytes) && rest.len() >= bytes.len() =>
            {
                let (head, rest) = rest.split_at(bytes.len());
                self.rest = rest;
                self.has_diverged |= !is_same(head, bytes);
            }
            _ => self.diverge(),
        }
        Ok(())
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), KeyError> {
        match self.rest.strip_prefix(bytes) {
            Some(rest) => self.rest = rest,
            _ => self.diverge(),
        }
        Ok(())
    }
}

/// Whether these are equal. Short texts are compared in place: to call for it costs more.
#[inline]
fn is_same(left: &[u8], right: &[u8]) -> bool {
    fn ends<const N: usize>(left: &[u8], right: &[u8]) -> Option<bool> {
        let (start, end) = (left.first_chunk::<N>()?, left.last_chunk::<N>()?);
        Some((start == right.first_chunk()?) & (end == right.last_chunk()?))
    }

    let known = match right.len() {
        4..=7 => ends::<4>(left, right),
        8..=16 => ends::<8>(left, right),
        _ => None,
    };
    known.unwrap_or_else(|| left == right)
}

/// How long a run is, as a key tells.
fn length(bytes: &[u8]) -> [u8; 8] {
    (bytes.len() as u64).to_le_bytes()
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
    fn kind(&mut self, kind: Kind) -> Result<(), KeyError> {
        self.put(kind as u8)
    }

    fn leaf<V: Leaf>(&mut self, kind: Kind, value: V) -> Result<(), KeyError> {
        self.put((kind as u8, value))
    }

    fn run(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), KeyError> {
        self.put((kind as u8, bytes))
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

type Config = Configuration<LittleEndian, Fixint>;
const CONFIG: Config = bincode::config::standard().with_little_endian().with_fixed_int_encoding();

/// The byte before a value that says what kind of value it is.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    /// Ends whatever was opened last and has no length of its own.
    End,
    Bool,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    Str,
    /// Text that is only known by its `Display`: its bytes, then one that no text contains.
    Text,
    Bytes,
    None,
    Some,
    Unit,
    UnitStruct,
    Newtype,
    Seq,
    Tuple,
    TupleStruct,
    Map,
    Struct,
    UnitVariant,
    NewtypeVariant,
    TupleVariant,
    StructVariant,
}

/// Where an encoding goes.
trait Sink {
    /// Takes a kind, of what follows or of what is nothing else.
    fn kind(&mut self, kind: Kind) -> Result<(), KeyError>;

    /// Takes a number, with its kind.
    fn leaf<V: Leaf>(&mut self, kind: Kind, value: V) -> Result<(), KeyError>;

    /// Takes text or bytes, whose length is told before them, with their kind.
    fn run(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), KeyError>;

    /// Takes bytes as they are. How they are cut leaves no trace.
    fn raw(&mut self, bytes: &[u8]) -> Result<(), KeyError>;
}

/// Numbers.
trait Leaf: Encode + Copy {
    fn bits(self) -> u128;

    /// Whether this is its encoding.
    fn is(self, bytes: &[u8]) -> bool;
}

macro_rules! leaves {
    ($($number:ty = $value:ident => $bits:expr),+ $(,)?) => {$(
        impl Leaf for $number {
            #[inline]
            fn bits(self) -> u128 {
                let $value = self;
                $bits.into()
            }

            #[inline]
            fn is(self, bytes: &[u8]) -> bool {
                *bytes == self.to_le_bytes()
            }
        }
    )+};
}

leaves! {
    u8 = v => v, u16 = v => v, u32 = v => v, u64 = v => v, u128 = v => v,
    i8 = v => v.cast_unsigned(), i16 = v => v.cast_unsigned(), i32 = v => v.cast_unsigned(), i64 = v => v.cast_unsigned(),
    i128 = v => v.cast_unsigned(),
    f32 = v => v.to_bits(), f64 = v => v.to_bits(),
}

/// No UTF-8 text contains this byte.
const END_OF_TEXT: u8 = 0xff;

struct KeySerializer<'s, S: Sink> {
    sink: &'s mut S,
}

impl<S: Sink> KeySerializer<'_, S> {
    fn variant(&mut self, kind: Kind, name: &str, index: u32, variant: &str) -> Result<(), KeyError> {
        self.sink.run(kind, name.as_bytes())?;
        self.sink.raw(&index.to_le_bytes())?;
        self.sink.raw(&length(variant.as_bytes()))?;
        self.sink.raw(variant.as_bytes())
    }

    #[inline]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        value.serialize(KeySerializer { sink: &mut *self.sink })
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), KeyError> {
        self.sink.run(Kind::Str, name.as_bytes())?;
        self.part(value)
    }
}

impl<S: Sink> Serializer for KeySerializer<'_, S> {
    type Ok = ();
    type Error = KeyError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, v: bool) -> Result<(), KeyError> {
        self.sink.leaf(Kind::Bool, u8::from(v))
    }

    #[inline]
    fn serialize_i8(self, v: i8) -> Result<(), KeyError> {
        self.sink.leaf(Kind::I8, v)
    }

    #[inline]
    fn serialize_i16(self, v: i16) -> Result<(), KeyError> {
        self.sink.leaf(Kind::I16, v)
    }

    #[inline]
    fn serialize_i32(self, v: i32) -> Result<(), KeyError> {
        self.sink.leaf(Kind::I32, v)
    }

    #[inline]
    fn serialize_i64(self, v: i64) -> Result<(), KeyError> {
        self.sink.leaf(Kind::I64, v)
    }

    #[inline]
    fn serialize_i128(self, v: i128) -> Result<(), KeyError> {
        self.sink.leaf(Kind::I128, v)
    }

    #[inline]
    fn serialize_u8(self, v: u8) -> Result<(), KeyError> {
        self.sink.leaf(Kind::U8, v)
    }

    #[inline]
    fn serialize_u16(self, v: u16) -> Result<(), KeyError> {
        self.sink.leaf(Kind::U16, v)
    }

    #[inline]
    fn serialize_u32(self, v: u32) -> Result<(), KeyError> {
        self.sink.leaf(Kind::U32, v)
    }

    #[inline]
    fn serialize_u64(self, v: u64) -> Result<(), KeyError> {
        self.sink.leaf(Kind::U64, v)
    }

    #[inline]
    fn serialize_u128(self, v: u128) -> Result<(), KeyError> {
        self.sink.leaf(Kind::U128, v)
    }

    #[inline]
    fn serialize_f32(self, v: f32) -> Result<(), KeyError> {
        self.sink.leaf(Kind::F32, v)
    }

    #[inline]
    fn serialize_f64(self, v: f64) -> Result<(), KeyError> {
        self.sink.leaf(Kind::F64, v)
    }

    fn serialize_char(self, v: char) -> Result<(), KeyError> {
        self.sink.kind(Kind::Char)?;
        self.sink.raw(v.encode_utf8(&mut [0; 4]).as_bytes())
    }

    #[inline]
    fn serialize_str(self, v: &str) -> Result<(), KeyError> {
        self.sink.run(Kind::Str, v.as_bytes())
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), KeyError> {
        self.sink.kind(Kind::Text)?;
        write!(Text(&mut *self.sink), "{value}").map_err(ser::Error::custom)?;
        self.sink.raw(&[END_OF_TEXT])
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<(), KeyError> {
        self.sink.run(Kind::Bytes, v)
    }

    fn serialize_none(self) -> Result<(), KeyError> {
        self.sink.kind(Kind::None)
    }

    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> Result<(), KeyError> {
        self.sink.kind(Kind::Some)?;
        self.part(value)
    }

    fn serialize_unit(self) -> Result<(), KeyError> {
        self.sink.kind(Kind::Unit)
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), KeyError> {
        self.sink.run(Kind::UnitStruct, name.as_bytes())
    }

    fn serialize_unit_variant(mut self, name: &'static str, index: u32, variant: &'static str) -> Result<(), KeyError> {
        self.variant(Kind::UnitVariant, name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), KeyError> {
        self.sink.run(Kind::Newtype, name.as_bytes())?;
        self.part(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), KeyError> {
        self.variant(Kind::NewtypeVariant, name, index, variant)?;
        self.part(value)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self, KeyError> {
        self.sink.kind(Kind::Seq)?;
        Ok(self)
    }

    #[inline]
    fn serialize_tuple(self, _len: usize) -> Result<Self, KeyError> {
        self.sink.kind(Kind::Tuple)?;
        Ok(self)
    }

    fn serialize_tuple_struct(self, name: &'static str, _len: usize) -> Result<Self, KeyError> {
        self.sink.run(Kind::TupleStruct, name.as_bytes())?;
        Ok(self)
    }

    fn serialize_tuple_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Self, KeyError> {
        self.variant(Kind::TupleVariant, name, index, variant)?;
        Ok(self)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self, KeyError> {
        self.sink.kind(Kind::Map)?;
        Ok(self)
    }

    fn serialize_struct(self, name: &'static str, _len: usize) -> Result<Self, KeyError> {
        self.sink.run(Kind::Struct, name.as_bytes())?;
        Ok(self)
    }

    fn serialize_struct_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Self, KeyError> {
        self.variant(Kind::StructVariant, name, index, variant)?;
        Ok(self)
    }
}

/// Feeds the output of a `Display` into the key, byte by byte: how it is cut leaves no trace.
struct Text<'s, S: Sink>(&'s mut S);

impl<S: Sink> fmt::Write for Text<'_, S> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.0.raw(piece.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// The compound serializers differ only in the names of their methods.
macro_rules! compound {
    ($($trait:ident :: $method:ident),+) => {$(
        impl<S: Sink> $trait for KeySerializer<'_, S> {
            type Ok = ();
            type Error = KeyError;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
                self.part(value)
            }

            #[inline]
            fn end(self) -> Result<(), KeyError> {
                self.sink.kind(Kind::End)
            }
        }
    )+};
}

compound!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

impl<S: Sink> SerializeMap for KeySerializer<'_, S> {
    type Ok = ();
    type Error = KeyError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), KeyError> {
        self.part(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        self.part(value)
    }

    fn end(self) -> Result<(), KeyError> {
        self.sink.kind(Kind::End)
    }
}

impl<S: Sink> SerializeStruct for KeySerializer<'_, S> {
    type Ok = ();
    type Error = KeyError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), KeyError> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), KeyError> {
        self.sink.kind(Kind::End)
    }
}

impl<S: Sink> SerializeStructVariant for KeySerializer<'_, S> {
    type Ok = ();
    type Error = KeyError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), KeyError> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), KeyError> {
        self.sink.kind(Kind::End)
    }
}
