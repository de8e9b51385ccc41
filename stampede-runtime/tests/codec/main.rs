//! What a codec writes, it reads as the same; and what it did not write does no harm.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::marker::PhantomData;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stampede_runtime::codec::{Codec, CodecError, Json, MessagePack};

mod allocator;
mod hostile;
mod shapes;

use shapes::{Adjacent, Bytes, Flat, Inner, Nested, Shape, Shapeless, Tagged, Untagged, Wrapped};

fn survives_in<C: Codec<V>, V: PartialEq + Debug>(value: &V) {
    let bytes = C::encode(value).unwrap_or_else(|error| panic!("{error}: {value:?}"));
    match C::decode(&bytes) {
        Ok(again) => assert_eq!(&again, value, "as {}", bytes.escape_ascii()),
        Err(error) => panic!("{error}: {value:?} as {}", bytes.escape_ascii()),
    }
}

#[track_caller]
fn survives<V: Serialize + DeserializeOwned + PartialEq + Debug>(value: &V) {
    survives_in::<MessagePack, V>(value);
    survives_in::<Json, V>(value);
}

fn json<V: Serialize + DeserializeOwned>(value: &V) -> String {
    String::from_utf8(Json::encode(value).expect("it can be written")).expect("JSON is text")
}

#[test]
fn options_survive_at_any_depth() {
    for value in [None, Some(None), Some(Some(None)), Some(Some(Some(7_u8)))] {
        survives(&value);
        survives(&vec![value]);
        survives(&(value, [value]));
        survives(&BTreeMap::from([("key".to_owned(), value)]));
        survives(&Shape::Newtype(value));
        survives(&Ok::<_, ()>(value));
        survives(&value.map(|inner| inner.map(|inner| inner.map(|_| Vec::<()>::new()))));
        survives_in::<MessagePack, _>(&BTreeMap::from([(value, value)]));
    }
    survives(&Some(()));
    survives(&Some(Some(())));
    survives(&Some(Shapeless));
    survives(&Some(PhantomData::<u8>));
    survives(&Some(Value::Null));
    survives(&Some(json!([null, {}, {"": null}])));
    survives(&None::<Value>);
    survives(&Wrapped(Some(Some(Box::new(Wrapped(Some(None)))))));
}

#[test]
fn ordinary_values_are_written_as_ever() {
    #[derive(Serialize, Deserialize)]
    struct User {
        id: u32,
        name: Option<String>,
        age: Option<u8>,
        list: Option<Vec<Option<u8>>>,
    }
    let user = User { id: 7, name: Some("Ada".to_owned()), age: None, list: Some(vec![Some(1), None]) };
    assert_eq!(json(&user), serde_json::to_string(&user).expect("it can be written"));
    let bytes = MessagePack::encode(&user).expect("it can be written");
    assert_eq!(bytes, b"\x84\xa2id\x07\xa4name\xa3Ada\xa3age\xc0\xa4list\x92\x01\xc0");
    assert_eq!(json(&Some(Some(5))), r#"{"stampede:some":5}"#);
    assert_eq!(json(&Some(Some(None::<u8>))), r#"{"stampede:some":{"stampede:some":null}}"#);
}

#[test]
fn numbers_text_and_bytes_survive() {
    for value in [0, 1, u128::from(u64::MAX) + 1, u128::MAX] {
        survives(&value);
    }
    for value in [0, -1, i128::MIN, i128::MAX] {
        survives(&value);
    }
    survives(&(f32::MIN_POSITIVE, f64::MIN_POSITIVE, f32::MAX, f64::MAX, 0.1_f32, 0.1_f64));
    survives(&Bytes(vec![0xff, 0, 0xc1, 0x80]));
    survives(&"a \u{0} and a \u{10ffff}".to_owned());
    survives(&HashMap::from([(1_u64, 'a'), (u64::MAX, '\u{0}')]));
    survives_in::<MessagePack, _>(&HashMap::from([((1, Some(2)), 3)]));
    let negative_zero = MessagePack::decode(&MessagePack::encode(&-0.0_f64).expect("it can be written"));
    assert_eq!(negative_zero.map(f64::to_bits), Ok((-0.0_f64).to_bits()));
}

#[test]
fn nan_survives_in_messagepack_and_is_refused_in_json() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let again: f64 = MessagePack::decode(&MessagePack::encode(&value).expect("it can be written")).expect("NaN");
        assert_eq!(again.to_bits(), value.to_bits());
        assert!(Json::encode(&value).is_err() && Json::encode(&Some(value)).is_err());
        #[expect(clippy::cast_possible_truncation, reason = "it has no digits")]
        let value = value as f32;
        let again: f32 = MessagePack::decode(&MessagePack::encode(&value).expect("it can be written")).expect("NaN");
        assert_eq!(again.to_bits(), value.to_bits());
        assert!(Json::encode(&vec![value]).is_err());
    }
}

#[test]
fn what_has_no_key_in_json_is_refused() {
    assert!(Json::encode(&BTreeMap::from([((1, 2), 3)])).is_err());
    assert!(Json::encode(&BTreeMap::from([(None::<String>, 3)])).is_err());
    assert!(Json::encode(&BTreeMap::from([(Some(None::<String>), 3)])).is_err());
}

#[test]
fn the_mark_is_nobody_elses_key() {
    #[derive(Serialize, Deserialize)]
    struct Renamed {
        #[serde(rename = "stampede:some")]
        field: u8,
    }
    #[derive(Serialize, Deserialize)]
    enum Variants {
        #[serde(rename = "stampede:some")]
        Unit,
        #[serde(rename(serialize = "stampede:some"))]
        Newtype(u8),
        #[serde(rename(serialize = "stampede:some"))]
        Tuple(u8, u8),
        #[serde(rename(serialize = "stampede:some"))]
        Struct { field: u8 },
    }
    fn is_refused<V: Serialize + DeserializeOwned>(value: &V) {
        assert!(MessagePack::encode(value).is_err() && Json::encode(value).is_err());
    }
    is_refused(&json!({"stampede:some": null}));
    is_refused(&Renamed { field: 1 });
    is_refused(&Variants::Unit);
    is_refused(&Variants::Newtype(1));
    is_refused(&Variants::Tuple(1, 1));
    is_refused(&Variants::Struct { field: 1 });
    survives(&"stampede:some".to_owned());
    survives(&json!({"stampede:": "stampede:some"}));
}

#[test]
fn a_struct_may_gain_an_optional_field_and_reorder_the_others() {
    #[derive(Serialize, Deserialize)]
    struct Old {
        a: u8,
        b: u8,
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct New {
        b: u8,
        c: Option<u8>,
        a: u8,
    }
    fn changes<C: Codec<Old> + Codec<New>>() {
        let bytes = <C as Codec<Old>>::encode(&Old { a: 1, b: 2 }).expect("it can be written");
        assert_eq!(<C as Codec<New>>::decode(&bytes), Ok(New { a: 1, b: 2, c: None }));
        let bytes = <C as Codec<New>>::encode(&New { a: 1, b: 2, c: Some(3) }).expect("it can be written");
        assert!(<C as Codec<Old>>::decode(&bytes).is_ok_and(|old| (old.a, old.b) == (1, 2)));
    }
    changes::<MessagePack>();
    changes::<Json>();
}

#[test]
fn what_its_type_refuses_is_an_error() {
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    impl<'de> Deserialize<'de> for Refuses {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("not today"))
        }
    }
    assert_eq!(MessagePack::encode(&Refuses).map_err(|error| error.to_string()), Err("not today".to_owned()));
    assert_eq!(<MessagePack as Codec<Refuses>>::decode(&[0]).err(), Some(CodecError::new("not today")));
}

fn nested<T: Clone + Debug + 'static>(inner: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Nested<T>> {
    option::of(option::of(option::of(inner))).boxed()
}

fn inner() -> impl Strategy<Value = Inner> {
    let deep = nested(vec(option::of(option::of(any::<u8>())), 0..3));
    (deep, option::of(Just(()))).prop_map(|(deep, unit)| Inner { deep, unit })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), "[a-c]{0,2}".prop_map(Value::from)];
    leaf.prop_recursive(3, 12, 3, |value| {
        prop_oneof![
            vec(value.clone(), 0..3).prop_map(Value::from),
            btree_map("[a-c]{0,2}", value, 0..3).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Names that cannot be taken for those of the variant before.
fn names() -> &'static str {
    "[a-c]{0,2}"
}

fn untagged() -> impl Strategy<Value = Untagged> {
    let leaf = prop_oneof![
        Just(Untagged::Unit),
        (any::<u8>(), nested("[a-c]{0,2}")).prop_map(|(id, name)| Untagged::Named { id, name }),
        vec(option::of(option::of(any::<bool>())), 0..3).prop_map(Untagged::List),
    ];
    leaf.prop_recursive(2, 6, 3, |untagged| {
        btree_map(names(), option::of(option::of(untagged)), 1..3).prop_map(Untagged::Map)
    })
}

fn wrapped() -> impl Strategy<Value = Wrapped> {
    let leaf = prop_oneof![Just(Wrapped(None)), Just(Wrapped(Some(None)))];
    leaf.prop_recursive(4, 4, 1, |wrapped| wrapped.prop_map(|wrapped| Wrapped(Some(Some(Box::new(wrapped))))))
}

fn leaf() -> impl Strategy<Value = Shape> {
    let flat = (option::of(option::of(any::<u8>())), inner(), btree_map(names(), nested(any::<bool>()), 0..3));
    let tagged = prop_oneof![
        Just(Tagged::Unit),
        (nested(any::<u8>()), option::of(Just(()))).prop_map(|(a, b)| Tagged::Named { a, b }),
        inner().prop_map(Tagged::Newtype),
    ];
    let adjacent = prop_oneof![
        Just(Adjacent::Unit),
        nested(any::<u8>()).prop_map(Adjacent::Newtype),
        (option::of(Just(())), option::of(option::of(any::<u8>()))).prop_map(|(a, b)| Adjacent::Tuple(a, b)),
    ];
    let numbers = (any::<u128>(), any::<i128>(), any::<i64>(), any::<u64>(), any::<f32>(), any::<f64>());
    prop_oneof![
        Just(Shape::Unit),
        nested(any::<u8>()).prop_map(Shape::Newtype),
        option::of(wrapped()).prop_map(Shape::Wrapped),
        flat.prop_map(|(before, inner, rest)| Shape::Flat(Flat { before, inner, rest })),
        option::of(untagged()).prop_map(Shape::Untagged),
        tagged.prop_map(Shape::Tagged),
        option::of(adjacent).prop_map(Shape::Adjacent),
        option::of(value()).prop_map(Shape::Json),
        numbers.prop_map(|(a, b, c, d, e, f)| Shape::Numbers(a, b, c, d, e, f)),
        any::<(char, String)>().prop_map(|(c, text)| Shape::Text(c, text)),
        vec(any::<u8>(), 0..9).prop_map(|bytes| Shape::Bytes(Bytes(bytes))),
        option::of(option::of(Just(PhantomData))).prop_map(Shape::Nothing),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    leaf().prop_recursive(5, 24, 4, |shape| {
        prop_oneof![
            (option::of(Just(())), nested(shape.clone().prop_map(Box::new))).prop_map(|(a, b)| Shape::Tuple(a, b)),
            (nested(vec(shape.clone(), 0..4)), option::of(Just(Shapeless)))
                .prop_map(|(one, two)| Shape::Struct { one, two }),
            btree_map("[a-c]{0,2}", option::of(option::of(shape)), 0..3).prop_map(Shape::Map),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_value_survives(value in shape()) {
        survives(&value);
    }

    #[test]
    fn no_cut_of_a_value_is_one(value in shape(), cut in any::<proptest::sample::Index>()) {
        let bytes = MessagePack::encode(&value).expect("it can be written");
        let cut = &bytes[..cut.index(bytes.len())];
        prop_assert!(<MessagePack as Codec<Shape>>::decode(cut).is_err());
    }
}
