//! Bytes that nobody has written.

use std::collections::BTreeMap;
use std::thread;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stampede_runtime::codec::{Codec, Json, MessagePack};

use crate::allocator::allocated_by;
use crate::shapes::{self, Shape};

#[derive(Debug, Serialize, Deserialize)]
enum Chain {
    End,
    Link(Box<Chain>),
    Struct { next: Option<Box<Chain>> },
    Seq(Vec<Chain>),
}

fn is_refused<V, C: Codec<V>>(bytes: &[u8]) {
    assert!(C::decode(bytes).is_err(), "{} is a value", bytes.escape_ascii());
}

/// As many levels as it takes to overflow a stack.
fn repeated(part: &[u8]) -> Vec<u8> {
    part.repeat((1 << 20) / part.len())
}

#[test]
fn what_is_nested_too_deeply_is_an_error() {
    let small_stack = thread::Builder::new().stack_size(1 << 20);
    let run = small_stack.spawn(|| {
        for bytes in [&b"\x91"[..], b"\x81\xa4Link", b"\x81\xa3Seq\x91", b"\x81\xa6Struct\x81\xa4next", b"\xd4\x00\x91"]
        {
            let bytes = repeated(bytes);
            is_refused::<Chain, MessagePack>(&bytes);
            is_refused::<Shape, MessagePack>(&bytes);
            is_refused::<Value, MessagePack>(&bytes);
            is_refused::<u8, MessagePack>(&bytes);
        }
        let marks = repeated(b"\x81\xadstampede:some");
        is_refused::<Option<Option<Value>>, MessagePack>(&marks);
        is_refused::<Value, MessagePack>(&marks);
        // A field that is not known is passed over.
        is_refused::<BTreeMap<String, u8>, MessagePack>(&[&b"\x82\xa1a\x00\xa1b"[..], &repeated(b"\x91")].concat());
        is_refused::<Chain, MessagePack>(&[&b"\x81\xa6Struct\x82\xa1x"[..], &repeated(b"\x91")].concat());
        for bytes in [&b"["[..], br#"{"Link":"#, br#"{"Seq":["#, br#"{"Struct":{"next":"#, br#"{"stampede:some":"#] {
            let bytes = repeated(bytes);
            is_refused::<Chain, Json>(&bytes);
            is_refused::<Shape, Json>(&bytes);
            is_refused::<Option<Option<Value>>, Json>(&bytes);
        }
    });
    run.expect("there is room for a thread").join().expect("all were refused");
}

#[test]
fn what_is_nested_too_deeply_is_not_written() {
    for (levels, is_written) in [(50, true), (1_000, false)] {
        let mut chain = Chain::End;
        for _ in 0..levels {
            chain = Chain::Link(Box::new(chain));
        }
        for written in [MessagePack::encode(&chain), Json::encode(&chain)] {
            assert_eq!(written.is_ok(), is_written, "{levels} levels");
        }
    }
}

/// The deepest that is written can be read: each way of nesting costs no less in writing.
#[test]
fn what_is_written_can_be_read() {
    type Nest = fn(Chain) -> Chain;
    fn deepest<C: Codec<Chain>>(nest: Nest) {
        let mut chain = Chain::End;
        for level in 0.. {
            let Ok(bytes) = C::encode(&chain) else { return assert!(level > 35) };
            assert!(C::decode(&bytes).is_ok(), "{level} levels");
            chain = nest(chain);
        }
    }
    let nests: [Nest; 3] = [
        |chain| Chain::Link(Box::new(chain)),
        |chain| Chain::Struct { next: Some(Box::new(chain)) },
        |chain| Chain::Seq(vec![chain]),
    ];
    for nest in nests {
        deepest::<MessagePack>(nest);
        deepest::<Json>(nest);
    }
}

#[test]
fn what_is_left_over_is_an_error() {
    for rest in [&b"\x00"[..], b"\xc0", b"\xc1", b"\xff", b"\xdd\xff\xff\xff\xff", b"\x91"] {
        is_refused::<u8, MessagePack>(&[b"\x07", rest].concat());
        is_refused::<Option<Option<u8>>, MessagePack>(&[b"\xc0", rest].concat());
    }
    is_refused::<u8, Json>(b"7 7");
    is_refused::<(), MessagePack>(b"");
    is_refused::<(), Json>(b"");
    is_refused::<Vec<u8>, MessagePack>(b"\x92\x01");
    is_refused::<[u8; 1], MessagePack>(b"\x92\x01\x02");
}

#[test]
fn lengths_that_are_claimed_are_not_believed() {
    let list = b"\xdd\xff\xff\xff\xff";
    let map = b"\xdf\xff\xff\xff\xff";
    for claim in [&list[..], map, b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x05"] {
        let bytes = claim.repeat(20);
        let most = 64 * bytes.len();
        let used = allocated_by(|| {
            is_refused::<Vec<Vec<Vec<[u64; 32]>>>, MessagePack>(&bytes);
            is_refused::<Vec<u8>, MessagePack>(&bytes);
            is_refused::<BTreeMap<String, Vec<String>>, MessagePack>(&bytes);
            is_refused::<std::collections::HashMap<u8, [u64; 32]>, MessagePack>(&bytes);
            is_refused::<String, MessagePack>(&bytes);
            is_refused::<Shape, MessagePack>(&bytes);
            is_refused::<Value, MessagePack>(&bytes);
        });
        assert!(used < most, "{used} bytes for {}", bytes.len());
    }
}

/// What is changed in a few places looks more like a value than noise does.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<proptest::sample::Index>(), any::<u8>());
    (super::shape(), any::<bool>(), proptest::collection::vec(change, 1..4)).prop_map(|(value, is_json, changes)| {
        let bytes = if is_json { Json::encode(&value) } else { MessagePack::encode(&value) };
        let mut bytes = bytes.expect("it can be written");
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes
    })
}

fn is_harmless(bytes: &[u8]) {
    let used = allocated_by(|| shapes::check(bytes));
    assert!(used <= 50_000 + 2_000 * bytes.len(), "{used} bytes for {}: {}", bytes.len(), bytes.escape_ascii());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_is_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        is_harmless(&bytes);
    }

    #[test]
    fn changed_values_are_harmless(bytes in mutated()) {
        is_harmless(&bytes);
    }
}
