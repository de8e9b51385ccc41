//! What is looked for in tables, and found.

use std::collections::HashMap;

use serde::{Serializer, ser::SerializeSeq};

use super::*;

fn space(number: u32) -> Space {
    Space::from_bytes(number.to_le_bytes())
}

/// A probe with a hash that need not be its own.
fn probe<'p>(hash: u64, parts: &'p &'static str) -> Probe<'p> {
    Probe { space: space(7), hash, parts }
}

#[test]
fn a_key_is_known_by_its_cache_and_parts() {
    let key = |probe: Probe<'_>| probe.to_key().expect("a key");
    let sought = probe(1, &"b");
    assert!(sought.is_key(&key(probe(1, &"b"))));
    for other in [probe(1, &"a"), Probe { space: space(8), ..sought }] {
        assert!(!sought.is_key(&key(other)), "another key of the same hash");
    }
}

/// Does not care whether its numbers are taken.
struct Careless(&'static [u8]);

impl Serialize for Careless {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut numbers = serializer.serialize_seq(None)?;
        self.0.iter().for_each(|number| _ = numbers.serialize_element(number));
        numbers.end()
    }
}

#[test]
fn a_key_that_passes_over_errors_is_told_from_others() {
    let probe = |key: &'static Careless| Probe { space: space(7), hash: 1, parts: key };
    let key = probe(&Careless(&[1])).to_key().expect("a key");
    assert!(probe(&Careless(&[1])).is_key(&key));
    for other in [&Careless(&[1, 2]), &Careless(&[2]), &Careless(&[])] {
        assert!(!probe(other).is_key(&key), "{:?}", other.0);
    }
}

#[test]
fn a_table_gives_a_key_by_itself_or_any_by_its_hash() {
    let [a, b] = [&"a", &"b"].map(|text| probe(1, text).to_key().expect("a key"));
    let mut table = HashMap::<Key, u8, ByHash>::default();
    table.insert(Key::clone(&a), 1);
    table.insert(Key::clone(&b), 2);
    assert_eq!((table.get(&a), table.get(&b)), (Some(&1), Some(&2)));
    let any = |hash| table.get_key_value(&Given(hash) as &dyn Sought).map(|(key, _)| Key::clone(key));
    assert!(any(1).is_some_and(|key| key == a || key == b));
    assert_eq!(any(2), None);
}
