//! What is looked for in tables, and found.

use std::collections::HashMap;

use super::*;

fn space(number: u32) -> Space {
    Space::from_bytes(number.to_le_bytes())
}

/// A probe with a hash that need not be its own.
fn probe<'p>(hash: u64, parts: &'p &'static str) -> Probe<'p> {
    Probe { space: space(7), hash, parts }
}

#[test]
fn a_key_that_is_there_is_not_built_again() {
    let there = probe(1, &"a").to_key().expect("a key");
    let taken = probe(1, &"a").to_key_of(|hash| (hash == 1).then(|| Key::clone(&there))).expect("a key");
    assert!(Arc::ptr_eq(&taken, &there));
}

#[test]
fn another_key_of_the_same_hash_is_not_taken_for_it() {
    let key = probe(1, &"b").to_key().expect("a key");
    let elsewhere = Probe { space: space(8), ..probe(1, &"b") }.to_key().expect("a key");
    for there in [probe(1, &"a").to_key().expect("a key"), elsewhere] {
        assert_eq!(probe(1, &"b").to_key_of(|_| Some(there)).expect("a key"), key);
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
