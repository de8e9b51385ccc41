//! How parts become a key: what of them goes where an encoding goes.

use std::fmt::{self, Display, Write as _};

use bincode::enc::Encode;
use serde::ser::{
    self, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// The byte before a value that says what kind of value it is.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Kind {
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
pub(super) trait Sink {
    /// Why it takes no more.
    type Error: ser::Error;

    /// Takes a kind, of what follows or of what is nothing else.
    fn kind(&mut self, kind: Kind) -> Result<(), Self::Error>;

    /// Takes a number, with its kind.
    fn leaf<V: Leaf>(&mut self, kind: Kind, value: V) -> Result<(), Self::Error>;

    /// Takes text or bytes, whose length is told before them, with their kind.
    fn run(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Takes bytes as they are. How they are cut leaves no trace.
    fn raw(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Numbers.
pub(super) trait Leaf: Encode + Copy {
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

/// From this length on, a run is long.
pub(super) const SHORT: usize = 255;

/// How long a run is, as a key tells: in one byte if it is short, or else in one that says so and eight more.
#[inline]
pub(super) fn length<T>(bytes: &[u8], tell: impl FnOnce(&[u8]) -> T) -> T {
    match u8::try_from(bytes.len()) {
        Ok(len) if usize::from(len) < SHORT => tell(&[len]),
        _ => {
            let mut long = [u8::MAX; 9];
            long[1..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
            tell(&long)
        }
    }
}

/// No UTF-8 text contains this byte.
const END_OF_TEXT: u8 = 0xff;

pub(super) struct KeySerializer<'s, S: Sink> {
    pub(super) sink: &'s mut S,
}

impl<S: Sink> KeySerializer<'_, S> {
    fn variant(&mut self, kind: Kind, name: &str, index: u32, variant: &str) -> Result<(), S::Error> {
        self.sink.run(kind, name.as_bytes())?;
        self.sink.raw(&index.to_le_bytes())?;
        length(variant.as_bytes(), |len| self.sink.raw(len))?;
        self.sink.raw(variant.as_bytes())
    }

    #[inline]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        value.serialize(KeySerializer { sink: &mut *self.sink })
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), S::Error> {
        self.sink.run(Kind::Str, name.as_bytes())?;
        self.part(value)
    }
}

impl<S: Sink> Serializer for KeySerializer<'_, S> {
    type Ok = ();
    type Error = S::Error;
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

    fn serialize_bool(self, v: bool) -> Result<(), S::Error> {
        self.sink.leaf(Kind::Bool, u8::from(v))
    }

    #[inline]
    fn serialize_i8(self, v: i8) -> Result<(), S::Error> {
        self.sink.leaf(Kind::I8, v)
    }

    #[inline]
    fn serialize_i16(self, v: i16) -> Result<(), S::Error> {
        self.sink.leaf(Kind::I16, v)
    }

    #[inline]
    fn serialize_i32(self, v: i32) -> Result<(), S::Error> {
        self.sink.leaf(Kind::I32, v)
    }

    #[inline]
    fn serialize_i64(self, v: i64) -> Result<(), S::Error> {
        self.sink.leaf(Kind::I64, v)
    }

    #[inline]
    fn serialize_i128(self, v: i128) -> Result<(), S::Error> {
        self.sink.leaf(Kind::I128, v)
    }

    #[inline]
    fn serialize_u8(self, v: u8) -> Result<(), S::Error> {
        self.sink.leaf(Kind::U8, v)
    }

    #[inline]
    fn serialize_u16(self, v: u16) -> Result<(), S::Error> {
        self.sink.leaf(Kind::U16, v)
    }

    #[inline]
    fn serialize_u32(self, v: u32) -> Result<(), S::Error> {
        self.sink.leaf(Kind::U32, v)
    }

    #[inline]
    fn serialize_u64(self, v: u64) -> Result<(), S::Error> {
        self.sink.leaf(Kind::U64, v)
    }

    #[inline]
    fn serialize_u128(self, v: u128) -> Result<(), S::Error> {
        self.sink.leaf(Kind::U128, v)
    }

    #[inline]
    fn serialize_f32(self, v: f32) -> Result<(), S::Error> {
        self.sink.leaf(Kind::F32, v)
    }

    #[inline]
    fn serialize_f64(self, v: f64) -> Result<(), S::Error> {
        self.sink.leaf(Kind::F64, v)
    }

    fn serialize_char(self, v: char) -> Result<(), S::Error> {
        self.sink.kind(Kind::Char)?;
        self.sink.raw(v.encode_utf8(&mut [0; 4]).as_bytes())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn serialize_str(self, v: &str) -> Result<(), S::Error> {
        self.sink.run(Kind::Str, v.as_bytes())
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), S::Error> {
        self.sink.kind(Kind::Text)?;
        write!(Text(&mut *self.sink), "{value}").map_err(ser::Error::custom)?;
        self.sink.raw(&[END_OF_TEXT])
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<(), S::Error> {
        self.sink.run(Kind::Bytes, v)
    }

    fn serialize_none(self) -> Result<(), S::Error> {
        self.sink.kind(Kind::None)
    }

    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> Result<(), S::Error> {
        self.sink.kind(Kind::Some)?;
        self.part(value)
    }

    fn serialize_unit(self) -> Result<(), S::Error> {
        self.sink.kind(Kind::Unit)
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), S::Error> {
        self.sink.run(Kind::UnitStruct, name.as_bytes())
    }

    fn serialize_unit_variant(mut self, name: &'static str, index: u32, variant: &'static str) -> Result<(), S::Error> {
        self.variant(Kind::UnitVariant, name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), S::Error> {
        self.sink.run(Kind::Newtype, name.as_bytes())?;
        self.part(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), S::Error> {
        self.variant(Kind::NewtypeVariant, name, index, variant)?;
        self.part(value)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self, S::Error> {
        self.sink.kind(Kind::Seq)?;
        Ok(self)
    }

    #[inline]
    fn serialize_tuple(self, _len: usize) -> Result<Self, S::Error> {
        self.sink.kind(Kind::Tuple)?;
        Ok(self)
    }

    fn serialize_tuple_struct(self, name: &'static str, _len: usize) -> Result<Self, S::Error> {
        self.sink.run(Kind::TupleStruct, name.as_bytes())?;
        Ok(self)
    }

    fn serialize_tuple_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Self, S::Error> {
        self.variant(Kind::TupleVariant, name, index, variant)?;
        Ok(self)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self, S::Error> {
        self.sink.kind(Kind::Map)?;
        Ok(self)
    }

    fn serialize_struct(self, name: &'static str, _len: usize) -> Result<Self, S::Error> {
        self.sink.run(Kind::Struct, name.as_bytes())?;
        Ok(self)
    }

    fn serialize_struct_variant(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Self, S::Error> {
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
            type Error = S::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                self.part(value)
            }

            #[inline]
            fn end(self) -> Result<(), S::Error> {
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
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.part(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.part(value)
    }

    fn end(self) -> Result<(), S::Error> {
        self.sink.kind(Kind::End)
    }
}

impl<S: Sink> SerializeStruct for KeySerializer<'_, S> {
    type Ok = ();
    type Error = S::Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), S::Error> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), S::Error> {
        self.sink.kind(Kind::End)
    }
}

impl<S: Sink> SerializeStructVariant for KeySerializer<'_, S> {
    type Ok = ();
    type Error = S::Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), S::Error> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), S::Error> {
        self.sink.kind(Kind::End)
    }
}
