//! A deserializer round another one, for what [`write`](super::write) has written: it takes the marks off, counts levels, and
//! keeps to itself how many parts the input claims to have, because collections would make room for them.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::{MAX_DEPTH, SOME, TOO_DEEP};

/// Reads a value.
pub(super) fn read<'de, D: Deserializer<'de>, T: Deserialize<'de>>(inner: D) -> Result<T, D::Error> {
    T::deserialize(Reader { inner, at: At { depth: 0, is_in_some: false } })
}

/// Where in the whole a part stands.
#[derive(Clone, Copy)]
struct At {
    depth: u8,
    /// The `Some` round it has been read, though not the mark that it may bear.
    is_in_some: bool,
}

impl At {
    fn within<E: Error>(self, levels: u8) -> Result<Self, E> {
        let depth = self.depth + levels;
        if depth > MAX_DEPTH { Err(E::custom(TOO_DEEP)) } else { Ok(Self { depth, is_in_some: false }) }
    }
}

/// What a value that may bear a mark is taken for.
#[derive(Clone, Copy)]
enum Kind {
    Any,
    Option,
    Unit,
    UnitStruct(&'static str),
}

struct Reader<D> {
    inner: D,
    at: At,
}

impl<'de, D: Deserializer<'de>> Reader<D> {
    fn read_as<V: Visitor<'de>>(self, kind: Kind, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = Watch { visitor, at: self.at, kind: Some(kind) };
        match kind {
            Kind::Any => self.inner.deserialize_any(visitor),
            // Here it does bear one.
            _ if self.at.is_in_some => self.inner.deserialize_map(visitor),
            Kind::Option => self.inner.deserialize_option(visitor),
            Kind::Unit => self.inner.deserialize_unit(visitor),
            Kind::UnitStruct(name) => self.inner.deserialize_unit_struct(name, visitor),
        }
    }
}

macro_rules! forward {
    ($($method:ident($($arg:ident: $type:ty),*)),+ $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($arg,)* Watch { visitor, at: self.at, kind: None })
        }
    )+};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Reader<D> {
    type Error = D::Error;

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.read_as(Kind::Any, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.read_as(Kind::Option, visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.read_as(Kind::Unit, visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.read_as(Kind::UnitStruct(name), visitor)
    }

    forward! {
        deserialize_bool(),
        deserialize_i8(),
        deserialize_i16(),
        deserialize_i32(),
        deserialize_i64(),
        deserialize_i128(),
        deserialize_u8(),
        deserialize_u16(),
        deserialize_u32(),
        deserialize_u64(),
        deserialize_u128(),
        deserialize_f32(),
        deserialize_f64(),
        deserialize_char(),
        deserialize_str(),
        deserialize_string(),
        deserialize_bytes(),
        deserialize_byte_buf(),
        deserialize_newtype_struct(name: &'static str),
        deserialize_seq(),
        deserialize_tuple(len: usize),
        deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_map(),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
        deserialize_enum(name: &'static str, variants: &'static [&'static str]),
        deserialize_identifier(),
        deserialize_ignored_any(),
    }
}

/// Hands on what there is to see, with readers for its parts.
struct Watch<V> {
    visitor: V,
    at: At,
    /// If there may be a mark.
    kind: Option<Kind>,
}

macro_rules! see {
    ($($method:ident: $type:ty),+ $(,)?) => {$(
        fn $method<E: Error>(self, v: $type) -> Result<V::Value, E> {
            self.visitor.$method(v)
        }
    )+};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watch<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    see! {
        visit_bool: bool,
        visit_i8: i8,
        visit_i16: i16,
        visit_i32: i32,
        visit_i64: i64,
        visit_i128: i128,
        visit_u8: u8,
        visit_u16: u16,
        visit_u32: u32,
        visit_u64: u64,
        visit_u128: u128,
        visit_f32: f32,
        visit_f64: f64,
        visit_char: char,
        visit_str: &str,
        visit_borrowed_str: &'de str,
        visit_string: String,
        visit_bytes: &[u8],
        visit_borrowed_bytes: &'de [u8],
        visit_byte_buf: Vec<u8>,
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Reader { inner, at: At { is_in_some: true, ..self.at } })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Reader { inner, at: self.at })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(Parts { inner, at: self.at.within(1)?, first: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut inner: A) -> Result<V::Value, A::Error> {
        let at = self.at.within(1)?;
        let first = match self.kind {
            None => None,
            Some(kind) => match inner.next_key()? {
                Some(Key::Str(key)) if key == SOME => {
                    // If the `Some` has not been read yet, this is it.
                    let is_some = !self.at.is_in_some;
                    return inner.next_value_seed(Marked { visitor: self.visitor, kind, is_some, at });
                }
                first => first,
            },
        };
        match self.kind {
            None | Some(Kind::Any) => self.visitor.visit_map(Parts { inner, at, first }),
            Some(_) => Err(A::Error::custom("a mark is missing")),
        }
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(Parts { inner, at: self.at.within(1)?, first: None })
    }
}

/// What is under a mark.
struct Marked<V> {
    visitor: V,
    kind: Kind,
    is_some: bool,
    at: At,
}

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Marked<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let reader = Reader { inner, at: self.at };
        if self.is_some { self.visitor.visit_some(reader) } else { reader.read_as(self.kind, self.visitor) }
    }
}

/// What consists of parts, which stand at this place.
struct Parts<A> {
    inner: A,
    at: At,
    /// The first key of a map, if it has been read.
    first: Option<Key>,
}

/// A part, to be read at its place.
struct Part<S> {
    seed: S,
    at: At,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Part<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.seed.deserialize(Reader { inner, at: self.at })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Parts<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_element_seed(Part { seed, at: self.at })
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Parts<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        match self.first.take() {
            None => self.inner.next_key_seed(Part { seed, at: self.at }),
            Some(first) => first.read(seed).map(Some),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Part { seed, at: self.at })
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Parts<A> {
    type Error = A::Error;
    type Variant = Parts<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (variant, inner) = self.inner.variant_seed(Part { seed, at: self.at })?;
        Ok((variant, Parts { inner, at: self.at, first: None }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Parts<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(Part { seed, at: self.at })
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, Watch { visitor, at: self.at, kind: None })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, Watch { visitor, at: self.at, kind: None })
    }
}

/// A key that was read without knowing the type.
enum Key {
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
    Str(String),
    Bytes(Vec<u8>),
}

impl Key {
    fn read<'de, S: DeserializeSeed<'de>, E: Error>(self, seed: S) -> Result<S::Value, E> {
        match self {
            Self::Bool(v) => seed.deserialize(v.into_deserializer()),
            Self::I64(v) => seed.deserialize(v.into_deserializer()),
            Self::U64(v) => seed.deserialize(v.into_deserializer()),
            Self::F64(v) => seed.deserialize(v.into_deserializer()),
            Self::Str(v) => seed.deserialize(v.into_deserializer()),
            Self::Bytes(v) => seed.deserialize(v.as_slice().into_deserializer()),
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeyVisitor)
    }
}

struct KeyVisitor;

macro_rules! keys {
    ($($method:ident($type:ty) => $kind:ident),+ $(,)?) => {$(
        fn $method<E: Error>(self, v: $type) -> Result<Key, E> {
            Ok(Key::$kind(v.into()))
        }
    )+};
}

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, bytes, a number or a `bool`")
    }

    keys! {
        visit_bool(bool) => Bool,
        visit_i64(i64) => I64,
        visit_u64(u64) => U64,
        visit_f64(f64) => F64,
        visit_str(&str) => Str,
        visit_string(String) => Str,
        visit_bytes(&[u8]) => Bytes,
        visit_byte_buf(Vec<u8>) => Bytes,
    }
}
