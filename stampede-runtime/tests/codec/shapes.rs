//! A type with everything in it, and what holds of the codecs whatever bytes they are given. For the tests and the fuzz target.

#![allow(unreachable_pub, reason = "the fuzz target has it as a module, too")]
#![allow(clippy::option_option, reason = "that is what has to survive")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stampede_runtime::codec::{Codec, Json, MessagePack};

pub type Nested<T> = Option<Option<Option<T>>>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Shape {
    Unit,
    Newtype(Nested<u8>),
    Tuple(Option<()>, Nested<Box<Shape>>),
    Struct { one: Nested<Vec<Shape>>, two: Option<Shapeless> },
    Map(BTreeMap<String, Option<Option<Shape>>>),
    Wrapped(Option<Wrapped>),
    Flat(Flat),
    Untagged(Option<Untagged>),
    Tagged(Tagged),
    Adjacent(Option<Adjacent>),
    Json(Option<serde_json::Value>),
    Numbers(u128, i128, i64, u64, f32, f64),
    Text(char, String),
    Bytes(Bytes),
    Nothing(Option<Option<PhantomData<u8>>>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shapeless;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wrapped(pub Option<Option<Box<Wrapped>>>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flat {
    pub before: Option<Option<u8>>,
    #[serde(flatten)]
    pub inner: Inner,
    #[serde(flatten)]
    pub rest: BTreeMap<String, Nested<bool>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inner {
    pub deep: Nested<Vec<Option<Option<u8>>>>,
    pub unit: Option<()>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Untagged {
    Unit,
    Named { id: u8, name: Nested<String> },
    List(Vec<Option<Option<bool>>>),
    Map(BTreeMap<String, Option<Option<Untagged>>>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Tagged {
    Unit,
    Named { a: Nested<u8>, b: Option<()> },
    Newtype(Inner),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of")]
pub enum Adjacent {
    Unit,
    Newtype(Nested<u8>),
    Tuple(Option<()>, Option<Option<u8>>),
}

/// Written as bytes, not as a list of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut parts: A) -> Result<Bytes, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = parts.next_element()? {
                    bytes.push(byte);
                }
                Ok(Bytes(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Visitor)
    }
}

/// What can be read of these bytes can be written again, and then read as the same. By what is written: NaN is not itself.
pub fn check(bytes: &[u8]) {
    check_as::<Shape, MessagePack>(bytes);
    check_as::<Shape, Json>(bytes);
    check_as::<serde_json::Value, MessagePack>(bytes);
    check_as::<serde_json::Value, Json>(bytes);
    check_as::<Vec<Vec<Vec<[u64; 8]>>>, MessagePack>(bytes);
    check_as::<BTreeMap<Option<Option<u8>>, Nested<()>>, MessagePack>(bytes);
}

fn check_as<V: Serialize + DeserializeOwned + Debug, C: Codec<V>>(bytes: &[u8]) {
    let Ok(value) = C::decode(bytes) else { return };
    // It may be nested more deeply as it is written by us, or have a mark for a key where none is read.
    let Ok(bytes) = C::encode(&value) else { return };
    let again = C::decode(&bytes).unwrap_or_else(|error| panic!("{error}: {value:?} as {bytes:?}"));
    assert_eq!(C::encode(&again).expect("it was written before"), bytes, "{value:?} became {again:?}");
}
