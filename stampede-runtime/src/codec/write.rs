//! A serializer round another one, which marks the `Some`s that this would lose.
//!
//! What is in a `Some` is written as if it were not, unless it is an `Option` itself or a unit: then it is put in a map with the
//! key [`SOME`]. A newtype struct is what it contains. Nothing else may use that key, so the mark is known by itself, even to
//! those who read without knowing the type.

use std::fmt::Display;

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{MAX_DEPTH, SOME, TOO_DEEP};

/// Which floating-point numbers a format has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Floats {
    All,
    #[cfg_attr(not(feature = "json"), expect(dead_code, reason = "JSON alone has no others"))]
    Finite,
}

/// Writes a value.
pub(super) fn write<S: Serializer>(value: &impl Serialize, inner: S, floats: Floats) -> Result<S::Ok, S::Error> {
    Part { value, at: At { depth: 0, place: Place::Plain, floats } }.serialize(inner)
}

/// Where in the whole a part stands.
#[derive(Clone, Copy)]
struct At {
    depth: u8,
    place: Place,
    floats: Floats,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Plain,
    InSome,
    Key,
}

impl At {
    fn place(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// Within what stands here, so many levels down.
    fn within<E: serde::ser::Error>(self, levels: u8) -> Result<Self, E> {
        let depth = self.depth + levels;
        if depth > MAX_DEPTH { Err(E::custom(TOO_DEEP)) } else { Ok(Self { depth, place: Place::Plain, ..self }) }
    }
}

fn check_name<E: serde::ser::Error>(name: &str) -> Result<(), E> {
    if name == SOME { Err(E::custom(format_args!("`{SOME}` cannot be a key, field or variant"))) } else { Ok(()) }
}

/// A value, to be written at its place.
struct Part<'v, T: ?Sized> {
    value: &'v T,
    at: At,
}

impl<T: Serialize + ?Sized> Serialize for Part<'_, T> {
    fn serialize<S: Serializer>(&self, inner: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Writer { inner, at: self.at })
    }
}

/// `Some` of a reference would be of another type at each level of a recursive one.
struct SomeOf<'v, T: ?Sized>(&'v T);

impl<T: Serialize + ?Sized> Serialize for SomeOf<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_some(self.0)
    }
}

struct UnitStruct(&'static str);

impl Serialize for UnitStruct {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit_struct(self.0)
    }
}

struct Writer<S> {
    inner: S,
    at: At,
}

impl<S: Serializer> Writer<S> {
    fn mark<T: Serialize>(self, value: &T) -> Result<S::Ok, S::Error> {
        let value = Part { value, at: self.at.within(1)? };
        let mut map = self.inner.serialize_map(Some(1))?;
        map.serialize_entry(SOME, &value)?;
        map.end()
    }

    fn is_in_some(&self) -> bool {
        self.at.place == Place::InSome
    }

    fn check_float(&self, is_finite: bool) -> Result<(), S::Error> {
        if is_finite || self.at.floats == Floats::All {
            Ok(())
        } else {
            Err(S::Error::custom("the format has no numbers that are not finite"))
        }
    }
}

macro_rules! forward {
    ($($method:ident: $type:ty),+ $(,)?) => {$(
        fn $method(self, v: $type) -> Result<S::Ok, S::Error> {
            self.inner.$method(v)
        }
    )+};
}

impl<S: Serializer> Serializer for Writer<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Parts<S::SerializeSeq>;
    type SerializeTuple = Parts<S::SerializeTuple>;
    type SerializeTupleStruct = Parts<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Parts<S::SerializeTupleVariant>;
    type SerializeMap = Parts<S::SerializeMap>;
    type SerializeStruct = Parts<S::SerializeStruct>;
    type SerializeStructVariant = Parts<S::SerializeStructVariant>;

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }

    forward! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_char: char,
        serialize_bytes: &[u8],
    }

    fn serialize_f32(self, v: f32) -> Result<S::Ok, S::Error> {
        self.check_float(v.is_finite())?;
        self.inner.serialize_f32(v)
    }

    fn serialize_f64(self, v: f64) -> Result<S::Ok, S::Error> {
        self.check_float(v.is_finite())?;
        self.inner.serialize_f64(v)
    }

    fn serialize_str(self, v: &str) -> Result<S::Ok, S::Error> {
        if self.at.place == Place::Key {
            check_name(v)?;
        }
        self.inner.serialize_str(v)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        if self.at.place == Place::Key { self.serialize_str(&value.to_string()) } else { self.inner.collect_str(value) }
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        if self.is_in_some() { self.mark(&None::<()>) } else { self.inner.serialize_none() }
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        if self.is_in_some() {
            return self.mark(&SomeOf(value));
        }
        self.inner.serialize_some(&Part { value, at: self.at.place(Place::InSome) })
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        if self.is_in_some() { self.mark(&()) } else { self.inner.serialize_unit() }
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        if self.is_in_some() { self.mark(&UnitStruct(name)) } else { self.inner.serialize_unit_struct(name) }
    }

    fn serialize_unit_variant(self, name: &'static str, i: u32, variant: &'static str) -> Result<S::Ok, S::Error> {
        check_name(variant)?;
        self.at.within::<S::Error>(1)?;
        self.inner.serialize_unit_variant(name, i, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_struct(name, &Part { value, at: self.at })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        check_name(variant)?;
        let value = Part { value, at: self.at.within(1)? };
        self.inner.serialize_newtype_variant(name, index, variant, &value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        Ok(Parts { at: self.at.within(1)?, inner: self.inner.serialize_seq(len)? })
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        Ok(Parts { at: self.at.within(1)?, inner: self.inner.serialize_tuple(len)? })
    }

    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeTupleStruct, S::Error> {
        Ok(Parts { at: self.at.within(1)?, inner: self.inner.serialize_tuple_struct(name, len)? })
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        check_name(variant)?;
        Ok(Parts { at: self.at.within(2)?, inner: self.inner.serialize_tuple_variant(name, index, variant, len)? })
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        Ok(Parts { at: self.at.within(1)?, inner: self.inner.serialize_map(len)? })
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        Ok(Parts { at: self.at.within(1)?, inner: self.inner.serialize_struct(name, len)? })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        check_name(variant)?;
        Ok(Parts { at: self.at.within(2)?, inner: self.inner.serialize_struct_variant(name, index, variant, len)? })
    }
}

/// What consists of parts, which stand at this place.
struct Parts<C> {
    inner: C,
    at: At,
}

macro_rules! elements {
    ($($trait:ident :: $method:ident),+) => {$(
        impl<C: $trait> $trait for Parts<C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                self.inner.$method(&Part { value, at: self.at })
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        }
    )+};
}

elements!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

macro_rules! fields {
    ($($trait:ident),+) => {$(
        impl<C: $trait> $trait for Parts<C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), C::Error> {
                check_name(name)?;
                self.inner.serialize_field(name, &Part { value, at: self.at })
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), C::Error> {
                self.inner.skip_field(name)
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        }
    )+};
}

fields!(SerializeStruct, SerializeStructVariant);

impl<C: SerializeMap> SerializeMap for Parts<C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        self.inner.serialize_key(&Part { value, at: self.at.place(Place::Key) })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        self.inner.serialize_value(&Part { value, at: self.at })
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.inner.end()
    }
}
