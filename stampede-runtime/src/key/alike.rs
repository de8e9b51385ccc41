//! Keys that are alike have hashes that are not: those of one hash are in each other's way. If two have one hash all the same,
//! they are told apart by their bytes.

use std::collections::HashMap;
use std::fmt::Debug;

use serde::Serialize;

use super::{Key, Kind, Parts, Probe, encode, hash, parts_of};
use crate::space::Space;

#[derive(Clone, Copy, Debug, Serialize)]
enum Shape {
    Point,
    Dot,
    Line(u64),
    Circle(u64),
}

/// Who has which hash.
#[derive(Default)]
struct Seen(HashMap<u64, String>);

impl Seen {
    fn add(&mut self, space: u32, key: impl Serialize + Debug) {
        let space = Space::from_bytes(space.to_le_bytes());
        let who = format!("{key:?} of {space:?}");
        let hash = hash(space, &key).expect("a hash");
        if let Some(other) = self.0.insert(hash, who) {
            panic!("{key:?} of {space:?} has the hash of {other}");
        }
    }
}

#[test]
fn what_is_alike_has_hashes_that_are_not() {
    let mut seen = Seen::default();
    let few = if cfg!(miri) { 3 } else { 24 };
    for space in 1..few {
        for a in 0..u64::from(few) {
            seen.add(space, a);
            seen.add(space, (a,));
            seen.add(space, ((a,),));
            seen.add(space, u128::from(a) << 64 | 1);
            seen.add(space, a.cast_signed());
            seen.add(space, Some(a));
            seen.add(space, vec![a]);
            seen.add(space, (Shape::Line(a), Shape::Circle(a)));
            seen.add(space, 1_u64 << (a + 32));
            for b in 0..u64::from(few) {
                seen.add(space, (a, b));
                seen.add(space, ((a, b), ()));
                seen.add(space, (a, (b,)));
                seen.add(space, vec![a, b]);
                seen.add(space, (a, b.to_string()));
                seen.add(space, (a.to_string(), b));
                seen.add(space, (a, b, a));
                seen.add(space, (Some(a), None::<u64>, b));
            }
        }
        for shape in [Shape::Point, Shape::Dot] {
            seen.add(space, shape);
            seen.add(space, (shape, shape));
        }
        for (a, b) in [(false, false), (false, true), (true, false), (true, true)] {
            seen.add(space, (a, b));
            seen.add(space, (u8::from(a), u8::from(b)));
            seen.add(space, (a, 0_u8, b));
        }
        ('\0'..'\u{40}').for_each(|char| seen.add(space, char));
        ('\0'..'\u{40}').for_each(|char| seen.add(space, char.to_string()));
    }
}

#[test]
fn texts_that_differ_in_one_place_have_hashes_of_their_own() {
    let mut seen = Seen::default();
    let long = if cfg!(miri) { 10 } else { 300 };
    seen.add(1, "");
    for len in 1..long {
        let text = "x".repeat(len);
        seen.add(1, &*text);
        seen.add(1, ("", &*text));
        seen.add(1, (&*text, ""));
        for place in 0..len {
            let mut other = text.clone().into_bytes();
            other[place] = b'y';
            seen.add(1, String::from_utf8(other).expect("a text"));
        }
    }
}

#[test]
fn hashes_of_numbers_are_spread_in_all_that_is_made_of_them() {
    let keys = if cfg!(miri) { 1 << 10 } else { 1 << 16 };
    // The slot, the tag and the shard: see the table of the memory tier.
    for shift in [0, 49, 56] {
        let mut counts = [0_usize; 8];
        for n in 0..keys {
            let hash = hash(Space::from_bytes([1; 4]), &n).expect("a hash");
            counts[usize::try_from((hash >> shift) % 8).expect("a few")] += 1;
        }
        let even = keys / 8;
        assert!(counts.iter().all(|count| count.abs_diff(even) < even / 2), "{counts:?} at {shift}");
    }
}

#[test]
fn parts_are_their_own_encoding_and_no_other() {
    let space = Space::from_bytes([1; 4]);
    let key = |parts: &dyn Parts| -> Key { Probe { space, hash: 0, parts }.to_key().expect("a key") };
    let longest = if cfg!(miri) { 4 } else { 20 };
    let texts = (1..longest).flat_map(|len| {
        (0..=len).map(move |place| (0..len).map(|at| if at == place { 'y' } else { 'x' }).collect::<String>())
    });
    // Of some the length takes more than a byte.
    let long = [254, 255, 256, 511].map(|len| "x".repeat(len));
    let texts = texts.chain(long).collect::<Vec<_>>();
    let mut all: Vec<&dyn Parts> = vec![
        &(),
        &"",
        &(1_u8, 2_u8),
        &(1_u8, 3_u8),
        &(2_u8, 2_u8),
        &1_u8,
        &1_i8,
        &1_u16,
        &256_u16,
        &1_u64,
        &1_u128,
        &1.0_f64,
        &true,
        &false,
        &'x',
        &'y',
        &None::<u8>,
        &Some(1_u8),
        &Some(()),
        &("", "x"),
        &("x", ""),
        &("x",),
        &("x", "x", "x"),
        // A text that has the bytes of the one above in it, but for its length.
        &("x", "y"),
        &("x\u{f}\u{1}y",),
        &Shape::Point,
        &Shape::Dot,
        &Shape::Line(1),
        &Shape::Line(2),
        &Shape::Circle(1),
        &(Shape::Line(1), 1_u8),
    ];
    all.extend(texts.iter().map(|text| text as &dyn Parts));
    let keys = all.iter().map(|parts| key(*parts)).collect::<Vec<_>>();
    assert_eq!(Kind::Str as u8, b'\x0f');
    for (n, parts) in all.iter().enumerate() {
        for (m, key) in keys.iter().enumerate() {
            assert_eq!(parts.are(parts_of(key)), n == m, "{n} and {m}");
        }
        let bytes = parts_of(&keys[n]);
        assert!(!parts.are(&[bytes, &[0]].concat()), "{n} and more");
        assert!(!bytes.split_last().is_some_and(|(_, less)| parts.are(less)), "{n} and less");
    }
    assert_eq!(encode(space, &"x").expect("a key")[..8], hash(space, &"x").expect("a hash").to_le_bytes());
}
