//! Keys: what a call is about, as bytes.
//!
//! A key is the identity of its cache (eight bytes, see [`crate::space`]) and the serialized parts, encoded with bincode
//! and marked so that different values have different bytes:
//!
//! 1. Every value is preceded by a byte for its kind, so `1u8`, `1u64`, `'\x01'`, `true` and `Some(1)` differ, and so do
//!    `0`, `""`, `[]`, `{}`, `false` and `null` of one dynamic type.
//! 2. Everything of variable length says where it ends, so `("ab", "c")` and `("a", "bc")` differ.
//! 3. Structs, newtypes and enums bear their names, fields and variants included, so `UserId(1)` and `OrderId(1)` differ,
//!    and so do two structs that skip different fields.
//! 4. Lengths need not be known in advance.
//!
//! Keys are only ever compared, never decoded. Two equal `HashMap`s may iterate in different orders: unordered
//! collections have no place in a key.

use std::fmt::{self, Display, Write as _};
use std::sync::Arc;

use bincode::config::{Configuration, Fixint, LittleEndian};
use bincode::enc::write::Writer;
use bincode::enc::{Encode, EncoderImpl};
use bincode::error::EncodeError;
use serde::ser::{
    self, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::space::Space;

/// The bytes of a key, shared by whoever holds them.
pub(crate) type Key = Arc<[u8]>;

/// Keys up to this many bytes are built without touching the heap.
const INLINE: usize = 192;

/// A key under construction; the bytes of ordinary ones stay on the stack.
pub(crate) struct KeyBuf {
    inline: [u8; INLINE],
    len: usize,
    spilled: Vec<u8>,
}

impl KeyBuf {
    /// Encodes `parts` as a key of `space`.
    pub(crate) fn encode<K: Serialize + ?Sized>(space: Space, parts: &K) -> Result<Self, KeyError> {
        let mut key = Self { inline: [0; INLINE], len: 0, spilled: Vec::new() };
        key.push(&space.to_bytes());
        parts.serialize(KeySerializer { encoder: &mut EncoderImpl::new(&mut key, CONFIG) })?;
        Ok(key)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        if self.spilled.is_empty() { &self.inline[..self.len] } else { &self.spilled }
    }

    pub(crate) fn to_key(&self) -> Key {
        Arc::from(self.as_bytes())
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

impl Writer for &mut KeyBuf {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.push(bytes);
        Ok(())
    }
}

/// A part of a key could not be serialized: what its `Serialize` said.
#[derive(Debug)]
pub(crate) struct KeyError(String);

impl Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}

impl ser::Error for KeyError {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
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

/// No UTF-8 text contains this byte.
const END_OF_TEXT: u8 = 0xff;

struct KeySerializer<'e, W: Writer> {
    encoder: &'e mut EncoderImpl<W, Config>,
}

impl<W: Writer> KeySerializer<'_, W> {
    fn put(&mut self, value: impl Encode) -> Result<(), KeyError> {
        value.encode(self.encoder).map_err(ser::Error::custom)
    }

    fn kind(&mut self, kind: Kind) -> Result<(), KeyError> {
        self.put(kind as u8)
    }

    fn leaf(mut self, kind: Kind, value: impl Encode) -> Result<(), KeyError> {
        self.kind(kind)?;
        self.put(value)
    }

    fn variant(&mut self, kind: Kind, name: &str, index: u32, variant: &str) -> Result<(), KeyError> {
        self.kind(kind)?;
        self.put(name)?;
        self.put(index)?;
        self.put(variant)
    }

    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        value.serialize(KeySerializer { encoder: &mut *self.encoder })
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), KeyError> {
        self.kind(Kind::Str)?;
        self.put(name)?;
        self.part(value)
    }

    fn close(mut self) -> Result<(), KeyError> {
        self.kind(Kind::End)
    }
}

impl<W: Writer> Serializer for KeySerializer<'_, W> {
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
        self.leaf(Kind::Bool, v)
    }

    fn serialize_i8(self, v: i8) -> Result<(), KeyError> {
        self.leaf(Kind::I8, v)
    }

    fn serialize_i16(self, v: i16) -> Result<(), KeyError> {
        self.leaf(Kind::I16, v)
    }

    fn serialize_i32(self, v: i32) -> Result<(), KeyError> {
        self.leaf(Kind::I32, v)
    }

    fn serialize_i64(self, v: i64) -> Result<(), KeyError> {
        self.leaf(Kind::I64, v)
    }

    fn serialize_i128(self, v: i128) -> Result<(), KeyError> {
        self.leaf(Kind::I128, v)
    }

    fn serialize_u8(self, v: u8) -> Result<(), KeyError> {
        self.leaf(Kind::U8, v)
    }

    fn serialize_u16(self, v: u16) -> Result<(), KeyError> {
        self.leaf(Kind::U16, v)
    }

    fn serialize_u32(self, v: u32) -> Result<(), KeyError> {
        self.leaf(Kind::U32, v)
    }

    fn serialize_u64(self, v: u64) -> Result<(), KeyError> {
        self.leaf(Kind::U64, v)
    }

    fn serialize_u128(self, v: u128) -> Result<(), KeyError> {
        self.leaf(Kind::U128, v)
    }

    fn serialize_f32(self, v: f32) -> Result<(), KeyError> {
        self.leaf(Kind::F32, v)
    }

    fn serialize_f64(self, v: f64) -> Result<(), KeyError> {
        self.leaf(Kind::F64, v)
    }

    fn serialize_char(self, v: char) -> Result<(), KeyError> {
        self.leaf(Kind::Char, v)
    }

    fn serialize_str(self, v: &str) -> Result<(), KeyError> {
        self.leaf(Kind::Str, v)
    }

    fn collect_str<T: Display + ?Sized>(mut self, value: &T) -> Result<(), KeyError> {
        self.kind(Kind::Text)?;
        write!(Text(&mut self), "{value}").map_err(ser::Error::custom)?;
        self.put(END_OF_TEXT)
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<(), KeyError> {
        self.leaf(Kind::Bytes, v)
    }

    fn serialize_none(mut self) -> Result<(), KeyError> {
        self.kind(Kind::None)
    }

    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> Result<(), KeyError> {
        self.kind(Kind::Some)?;
        self.part(value)
    }

    fn serialize_unit(mut self) -> Result<(), KeyError> {
        self.kind(Kind::Unit)
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), KeyError> {
        self.leaf(Kind::UnitStruct, name)
    }

    fn serialize_unit_variant(mut self, name: &'static str, index: u32, variant: &'static str) -> Result<(), KeyError> {
        self.variant(Kind::UnitVariant, name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), KeyError> {
        self.kind(Kind::Newtype)?;
        self.put(name)?;
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

    fn serialize_seq(mut self, _len: Option<usize>) -> Result<Self, KeyError> {
        self.kind(Kind::Seq)?;
        Ok(self)
    }

    fn serialize_tuple(mut self, _len: usize) -> Result<Self, KeyError> {
        self.kind(Kind::Tuple)?;
        Ok(self)
    }

    fn serialize_tuple_struct(mut self, name: &'static str, _len: usize) -> Result<Self, KeyError> {
        self.kind(Kind::TupleStruct)?;
        self.put(name)?;
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

    fn serialize_map(mut self, _len: Option<usize>) -> Result<Self, KeyError> {
        self.kind(Kind::Map)?;
        Ok(self)
    }

    fn serialize_struct(mut self, name: &'static str, _len: usize) -> Result<Self, KeyError> {
        self.kind(Kind::Struct)?;
        self.put(name)?;
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

/// Feeds the output of a `Display` into the key, piece by piece: how it is cut leaves no trace.
struct Text<'s, 'e, W: Writer>(&'s mut KeySerializer<'e, W>);

impl<W: Writer> fmt::Write for Text<'_, '_, W> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        bincode::enc::Encoder::writer(self.0.encoder).write(piece.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// The compound serializers differ only in the names of their methods.
macro_rules! compound {
    ($($trait:ident :: $method:ident),+) => {$(
        impl<W: Writer> $trait for KeySerializer<'_, W> {
            type Ok = ();
            type Error = KeyError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
                self.part(value)
            }

            fn end(self) -> Result<(), KeyError> {
                self.close()
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

impl<W: Writer> SerializeMap for KeySerializer<'_, W> {
    type Ok = ();
    type Error = KeyError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), KeyError> {
        self.part(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        self.part(value)
    }

    fn end(self) -> Result<(), KeyError> {
        self.close()
    }
}

impl<W: Writer> SerializeStruct for KeySerializer<'_, W> {
    type Ok = ();
    type Error = KeyError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), KeyError> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), KeyError> {
        self.close()
    }
}

impl<W: Writer> SerializeStructVariant for KeySerializer<'_, W> {
    type Ok = ();
    type Error = KeyError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), KeyError> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), KeyError> {
        self.close()
    }
}
