//! What things are called in Redis.
//!
//! ```text
//! shop:{my_app::load_user/%2a}      the value of a key: cache, then parts
//! shop:{my_app::load_user/%2a}:l    its lease
//! shop:{my_app::load_user/%2a}:w    the channel on which those are woken who wait for it
//! shop:{user%2f7}                   what a tag stands at
//! shop:{~all}, shop:{~voids}        what everything stands at, and what the tags in sum stand at
//! shop:{~news}, shop:{~ping}        the channel of the news, and a key that is written to see whether that can be done
//! ```
//!
//! No two things share a name: no prefix contains a brace, names within the braces escape `/` and `~`, a value's name has
//! exactly one `/`, a tag's none. What lies between the braces decides the slot of a Cluster, so a key's value, lease and
//! channel are in one. Pieces that take more than [`CLEAR`] bytes are replaced by a `~` and a hash.

use std::borrow::Cow;
use std::fmt::Write;

use sha2::{Digest, Sha256};
use stampede_runtime::tier::TierKey;

/// How long a piece may be to appear as it is.
const CLEAR: usize = 64;

/// How much of SHA-256 stands for a long piece: 192 bits.
const HASH: usize = 24;

/// Names with a prefix.
#[derive(Debug)]
pub(crate) struct Names {
    /// Up to the brace that opens, included.
    root: String,
    pub(crate) all: String,
    pub(crate) voids: String,
    pub(crate) news: String,
    pub(crate) ping: String,
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        let root = format!("{prefix}:{{");
        let reserved = |name: &str| format!("{root}~{name}}}");
        Self { all: reserved("all"), voids: reserved("voids"), news: reserved("news"), ping: reserved("ping"), root }
    }

    /// The value of a key.
    pub(crate) fn value(&self, key: &TierKey) -> String {
        let (cache, parts) = (piece(key.cache.as_bytes()), piece(&key.parts));
        let mut name = String::with_capacity(self.root.len() + cache.len() + parts.len() + 4);
        for piece in [&self.root, &*cache, "/", &*parts, "}"] {
            name.push_str(piece);
        }
        name
    }

    /// What a tag stands at.
    pub(crate) fn tag(&self, tag: &str) -> String {
        format!("{}{}}}", self.root, tag_name(tag))
    }

    /// What stands before the name of a tag; a brace follows it.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }
}

/// The lease of the key whose value has this name.
pub(crate) fn lease(value: &str) -> String {
    format!("{value}:l")
}

/// The channel of the key whose value has this name.
pub(crate) fn wake(value: &str) -> String {
    format!("{value}:w")
}

/// A tag's name, between the braces.
pub(crate) fn tag_name(tag: &str) -> Cow<'_, str> {
    piece(tag.as_bytes())
}

/// Bytes, escaped as in a URL, or hashed.
fn piece(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && bytes.len() <= CLEAR
        && bytes.iter().all(|&byte| is_plain(byte))
    {
        return text.into();
    }
    let mut name = String::with_capacity(CLEAR);
    if bytes.len() <= CLEAR {
        for &byte in bytes {
            if is_plain(byte) { name.push(byte.into()) } else { hex(&mut name, '%', &[byte]) }
        }
    }
    if bytes.len() > CLEAR || name.len() > CLEAR {
        name.clear();
        hex(&mut name, '~', &Sha256::digest(bytes)[..HASH]);
    }
    name.into()
}

/// Whether a byte stands for itself.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}' | b'/' | b'~' | b'%')
}

fn hex(name: &mut String, mark: char, bytes: &[u8]) {
    name.push(mark);
    for byte in bytes {
        // Writing to a string does not fail.
        _ = write!(name, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(cache: &str, parts: &[u8]) -> TierKey {
        TierKey { cache: cache.into(), parts: parts.into() }
    }

    #[test]
    fn names_are_as_the_docs_say() {
        let names = Names::new("shop");
        let value = names.value(&key("my_app::load_user", b"*{"));
        assert_eq!(value, "shop:{my_app::load_user/*%7b}");
        assert_eq!(lease(&value), "shop:{my_app::load_user/*%7b}:l");
        assert_eq!(wake(&value), "shop:{my_app::load_user/*%7b}:w");
        assert_eq!(names.tag("user/7"), "shop:{user%2f7}");
        assert_eq!(names.all, "shop:{~all}");
    }

    #[test]
    fn long_pieces_are_hashed() {
        let names = Names::new("p");
        let (secret, other) = ("s".repeat(65), "s".repeat(66));
        let name = names.value(&key(&secret, secret.as_bytes()));
        assert_eq!(name.len(), "p:{~/~}".len() + 2 * 2 * HASH);
        assert_ne!(name, names.value(&key(&secret, other.as_bytes())));
        assert!(!names.tag(&secret).contains("ss"));
        assert!(names.tag(&"s".repeat(64)).contains("ss"));
    }

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            proptest::sample::select(vec![&b"/"[..], b"~", b"~all", b"%2f", b"}", b"{", b"a", b"", b"\xff"])
                .prop_map(<[u8]>::to_vec),
            proptest::collection::vec(any::<u8>(), 0..80),
        ];
        proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_two_things_share_a_name(a in pieces(), b in pieces(), c in pieces(), d in pieces()) {
            let names = Names::new("p");
            let of = |cache: &[u8], parts: &[u8]| names.value(&key(&String::from_utf8_lossy(cache), parts));
            let one = (String::from_utf8_lossy(&a), &b);
            let two = (String::from_utf8_lossy(&c), &d);
            prop_assert_eq!(of(&a, &b) == of(&c, &d), one == two);
            let tag = names.tag(&one.0);
            prop_assert_eq!(tag == names.tag(&two.0), one.0 == two.0);
            prop_assert!(tag != of(&c, &d) && tag != names.all && tag != names.news);
            // One slot: what lies between the first braces is the same for the value and what belongs to it.
            let value = of(&a, &b);
            prop_assert_eq!(value.matches(['{', '}']).count(), 2);
            let is_closed = value.ends_with('}') && !value.ends_with("{}");
            prop_assert!(is_closed, "{value}");
        }
    }
}
