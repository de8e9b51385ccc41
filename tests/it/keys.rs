//! Keys: what is one key, and what is two.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use serde::ser::{SerializeMap, SerializeSeq, SerializeTuple};
use serde::{Serialize, Serializer};
use stampede::{Cache, coalesce};

use crate::stores::Store;
use crate::tools::{Origin, secs};

/// Whether two values are one key of a cache.
fn are_one<A: Serialize + ?Sized, B: Serialize + ?Sized>(a: &A, b: &B) -> bool {
    let cache: Cache<u8> = Cache::builder("keys").ttl(secs(60)).store(&Store::default()).build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        cache.entry(a).put(1).await;
        assert_eq!(cache.entry(a).get().await, Some(1), "a value is found by its own key");
        // By way of a call and by way of an entry it is the same key.
        assert_eq!(cache.get_with(a, || async { 2 }).await, 1);
        cache.entry(b).get().await.is_some()
    })
}

#[test]
fn long_keys_of_two_caches_are_two_keys() {
    let store = Store::default();
    let cache = |name: &str| -> Cache<u8> { Cache::builder(name).ttl(secs(60)).store(&store).build() };
    let key = "k".repeat(2_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        cache("one").entry(&key).put(1).await;
        assert_eq!((cache("one").entry(&key).get().await, cache("two").entry(&key).get().await), (Some(1), None));
    });
}

/// Two keys of one hash take turns in memory: that is not to happen to those that are everybody's first.
#[test]
fn small_numbers_of_many_caches_are_kept_side_by_side() {
    let store = Store::default();
    let caches = (0..64).map(|n| Cache::<u64>::builder(&format!("cache {n}")).ttl(secs(60)).store(&store).build());
    let caches = caches.collect::<Vec<_>>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        for cache in &caches {
            for n in 0..64_u64 {
                cache.entry(&n).put(n).await;
            }
        }
        for cache in &caches {
            for n in 0..64_u64 {
                assert_eq!(cache.entry(&n).get().await, Some(n), "{n} of {cache:?}");
            }
        }
    });
}

/// As `serde_json::Value` serializes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Json {
    Null,
    Bool(bool),
    Number(i64),
    String(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

#[derive(Serialize)]
struct UserId(u64);

#[derive(Serialize)]
struct OrderId(u64);

#[derive(Default, Serialize)]
struct Query {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u8>,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct Unit;

#[derive(Serialize)]
enum Shape {
    Point,
    Dot,
    Circle(u8),
    Square(u8),
    Rect { a: u8, b: u8 },
    Pair(u8, u8),
}

#[test]
fn different_values_are_different_keys() {
    macro_rules! two {
        ($($a:expr, $b:expr;)*) => {
            $(assert!(!are_one(&$a, &$b), "{} and {} are one key", stringify!($a), stringify!($b));)*
        };
    }
    let same = |text: &str| text.to_owned();
    two! {
        1_u8, 1_u64;
        1_u8, 1_i8;
        1_u8, '\x01';
        1_u8, true;
        1_u32, 1_f32;
        1_u8, Some(1_u8);
        1_u8, (1_u8,);
        0_u8, None::<u8>;
        0_u8, ();
        0_u128, 0_i128;
        1_u128, 1_u128 << 64;
        -1_i64, u64::MAX;
        0.0_f64, -0.0_f64;
        'a', "a";
        "1", 1_u8;
        "", ();
        "", None::<String>;
        ("ab", "c"), ("a", "bc");
        ("ab", "c"), ("abc", "");
        ("a", "b"), ("b", "a");
        (("a", "b"), "c"), ("a", ("b", "c"));
        ("a", "b", "c"), (("a", "b", "c"),);
        vec![1_u8, 2], vec![1_u8, 2, 0];
        vec![vec![1_u8], vec![]], vec![vec![], vec![1_u8]];
        vec![vec![1_u8, 2]], vec![vec![1_u8], vec![2]];
        vec![Some(1_u8), None], vec![None, Some(1_u8)];
        (vec![1_u8], 1_u8), (vec![1_u8, 1],);
        ((1_u8,), 1_u8), ((1_u8, 1_u8),);
        (Shape::Pair(1, 2), 3_u8), (Shape::Pair(1, 2), 3_u8, ());
        vec![1_u8], [1_u8];
        Some(None::<u8>), None::<Option<u8>>;
        Some(Some(1_u8)), Some(1_u8);
        UserId(1), OrderId(1);
        UserId(1), 1_u64;
        UserId(1), UserId(2);
        Query { from: Some(1), to: None }, Query { from: None, to: Some(1) };
        Query::default(), Query { from: None, to: Some(1) };
        Query::default(), Empty {};
        Unit, Empty {};
        Unit, ();
        Shape::Point, Shape::Dot;
        Shape::Point, "Point";
        Shape::Circle(1), Shape::Square(1);
        Shape::Rect { a: 1, b: 2 }, Shape::Pair(1, 2);
        Shape::Rect { a: 1, b: 2 }, Shape::Rect { a: 2, b: 1 };
        Ipv4Addr::new(1, 2, 3, 4), Ipv4Addr::new(4, 3, 2, 1);
        same("k").repeat(2000), same("k").repeat(2001);
        same("k").repeat(2000) + "a", same("k").repeat(2000) + "b";
        same("a") + &same("k").repeat(2000), same("b") + &same("k").repeat(2000);
        (1_u8, same("k").repeat(2000)), (2_u8, same("k").repeat(2000));
        // About as long as what is built on the stack.
        same("k").repeat(175), same("k").repeat(176);
        (same("k").repeat(175), 1_u8), (same("k").repeat(175), 2_u8);
        (same("k").repeat(182), ""), (same("k").repeat(182), "a");
    }
}

#[test]
fn equal_values_are_one_key() {
    assert!(are_one("a", &String::from("a")));
    assert!(are_one(&"a", &std::borrow::Cow::Borrowed("a")));
    assert!(are_one(&[1_u8, 2][..], &vec![1_u8, 2]));
    assert!(are_one(&Box::new(7_u64), &7_u64));
    assert!(are_one(&("a", 1), &(String::from("a"), 1)));
    assert!(are_one(&Some("a"), &Some(String::from("a"))));
    assert!(are_one(&f64::NAN, &f64::NAN));
    for length in [0, 1, 150, 170, 175, 176, 180, 183, 184, 192, 200, 1_025, 100_000] {
        assert!(are_one(&("k".repeat(length), 1_u64), &("k".repeat(length), 1_u64)), "{length} bytes");
    }
}

#[test]
fn the_empty_values_of_a_dynamic_type_are_six_keys() {
    let values = [
        Json::Number(0),
        Json::String(String::new()),
        Json::Array(vec![]),
        Json::Object(BTreeMap::new()),
        Json::Bool(false),
        Json::Null,
    ];
    for a in &values {
        for b in &values {
            assert_eq!(are_one(a, b), a == b, "{a:?} and {b:?}");
            let (in_a, in_b) = (Json::Array(vec![a.clone(), Json::Null]), Json::Array(vec![b.clone(), Json::Null]));
            assert_eq!(are_one(&in_a, &in_b), a == b, "{a:?} and {b:?} in arrays");
        }
    }
}

/// Anything that serde can be told, said in serde's own words.
#[derive(Clone, Debug, PartialEq)]
enum Any {
    Bool(bool),
    U8(u8),
    U64(u64),
    I64(i64),
    Char(char),
    Str(String),
    Text(String),
    Bytes(Vec<u8>),
    None,
    Unit,
    UnitStruct(&'static str),
    Some(Box<Any>),
    Newtype(&'static str, Box<Any>),
    Variant(u32, &'static str, Box<Any>),
    Seq(Vec<Any>),
    Tuple(Vec<Any>),
    Map(Vec<(Any, Any)>),
}

impl Serialize for Any {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(v) => s.serialize_bool(*v),
            Self::U8(v) => s.serialize_u8(*v),
            Self::U64(v) => s.serialize_u64(*v),
            Self::I64(v) => s.serialize_i64(*v),
            Self::Char(v) => s.serialize_char(*v),
            Self::Str(v) => s.serialize_str(v),
            Self::Text(v) => s.collect_str(v as &dyn Display),
            Self::Bytes(v) => s.serialize_bytes(v),
            Self::None => s.serialize_none(),
            Self::Unit => s.serialize_unit(),
            Self::UnitStruct(name) => s.serialize_unit_struct(name),
            Self::Some(v) => s.serialize_some(v),
            Self::Newtype(name, v) => s.serialize_newtype_struct(name, v),
            Self::Variant(index, name, v) => s.serialize_newtype_variant("Any", *index, name, v),
            Self::Seq(v) => {
                // A length that nobody knows beforehand.
                let mut seq = s.serialize_seq(None)?;
                v.iter().try_for_each(|v| seq.serialize_element(v))?;
                seq.end()
            }
            Self::Tuple(v) => {
                let mut tuple = s.serialize_tuple(v.len())?;
                v.iter().try_for_each(|v| tuple.serialize_element(v))?;
                tuple.end()
            }
            Self::Map(v) => {
                let mut map = s.serialize_map(Some(v.len()))?;
                v.iter().try_for_each(|(k, v)| map.serialize_entry(k, v))?;
                map.end()
            }
        }
    }
}

/// Few different leaves, so that two values are often nearly the same.
fn anything() -> impl Strategy<Value = Any> {
    let text = || prop_oneof![Just(""), Just("a"), Just("\0"), Just("a\0"), Just("ab")].prop_map(str::to_owned);
    let name = || prop_oneof![Just("N"), Just("M")];
    let leaf = prop_oneof![
        any::<bool>().prop_map(Any::Bool),
        (0..3_u8).prop_map(Any::U8),
        (0..3_u64).prop_map(Any::U64),
        (0..3_i64).prop_map(Any::I64),
        prop_oneof![Just('\0'), Just('\x01'), Just('a')].prop_map(Any::Char),
        text().prop_map(Any::Str),
        text().prop_map(Any::Text),
        text().prop_map(|text| Any::Bytes(text.into_bytes())),
        Just(Any::None),
        Just(Any::Unit),
        name().prop_map(Any::UnitStruct),
    ];
    // The same leaves in all sorts of brackets.
    let one = Just(Any::U8(1));
    let brackets = one.prop_recursive(4, 12, 3, |inner| prop::collection::vec(inner, 0..4).prop_map(Any::Seq));
    let mixed = leaf.prop_recursive(4, 24, 4, move |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed().prop_map(Any::Some),
            (name(), boxed()).prop_map(|(name, v)| Any::Newtype(name, v)),
            (0..2_u32, name(), boxed()).prop_map(|(index, name, v)| Any::Variant(index, name, v)),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Any::Seq),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Any::Tuple),
            prop::collection::vec((inner.clone(), inner.clone()), 0..3).prop_map(Any::Map),
        ]
    });
    prop_oneof![brackets, mixed]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Of a heap of similar values, each finds what was stored under it, and nothing else.
    #[test]
    fn values_are_equal_exactly_if_their_keys_are(values in prop::collection::vec(anything(), 2..24)) {
        let cache: Cache<usize> = Cache::builder("any").ttl(secs(60)).store(&Store::default()).build();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            for (index, value) in values.iter().enumerate() {
                let first = values.iter().position(|other| other == value).expect("it is there itself");
                let found = cache.get_with(value, || async move { index }).await;
                prop_assert_eq!(found, first, "{:?} found what is under {:?}", value, values[found]);
            }
            Ok(())
        })?;
    }
}

/// A part of a key that refuses to be one.
#[derive(Clone, Copy)]
struct Refuses;

impl Serialize for Refuses {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

#[coalesce(ttl = "1m", skip(origin))]
async fn refused(origin: &Origin, id: (u8, Refuses)) -> u64 {
    let _ = id;
    origin.read().await
}

#[tokio::test]
async fn a_key_that_cannot_be_serialized_makes_the_call_a_bypass() {
    let store = Store::default();
    let run = async {
        let origin = Origin::open();
        assert_eq!(refused(&origin, (1, Refuses)).await, 1);
        assert_eq!(refused(&origin, (1, Refuses)).await, 2);
        let entry = refused_entry((1, Refuses));
        entry.put(7).await;
        assert_eq!(entry.get().await, None);
        entry.invalidate().await;
        assert_eq!(refused(&origin, (1, Refuses)).await, 3);
    };
    store.scope(run).await;
    let stats = store.stats();
    assert_eq!((stats.calls.bypass, stats.calls.total(), stats.runs.total(), stats.entries), (3, 3, 0, 0), "{stats:?}");
}
