//! How values travel: what a cache with a remote tier knows of their type, for code that does not.

use std::fmt;
use std::sync::Arc;

use crate::codec::CodecError;
use crate::memory::{AnyStored, Stored};
use crate::reply::Value;

/// How the values of a cache travel.
pub(crate) trait Wire: Send + Sync {
    /// What distinguishes the cache in all processes, besides its name.
    fn identity(&self) -> &Identity;

    /// Tells values of this type, version and codec from all others.
    fn fingerprint(&self) -> u64;

    /// Runs the user's code.
    fn encode(&self, stored: &AnyStored) -> Result<Vec<u8>, String>;

    /// Runs the user's code.
    fn decode(&self, payload: &[u8]) -> Result<Arc<AnyStored>, String>;
}

/// What distinguishes a cache in all processes of a fleet, besides its name.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The name of something that stands in the function, or in its companion.
    pub place: &'static str,
    /// The function's own name.
    pub function: &'static str,
    /// The types of its instantiation.
    pub types: Vec<&'static str>,
    /// What the attribute or the builder says.
    pub version: u32,
}

impl Identity {
    /// That of stored responses.
    pub const HTTP: Self = Self { place: "", function: "", types: Vec::new(), version: 1 };

    /// What the fleet calls a cache of this name.
    pub(crate) fn of(&self, name: &str) -> String {
        let Self { place, function, types, version } = self;
        let mut text = name.to_owned();
        if !function.is_empty() {
            let path = format!("{}::{function}", around(place));
            if path != name {
                text.extend(["@", &path]);
            }
        }
        if !types.is_empty() {
            text.extend(["<", &types.join(", "), ">"]);
        }
        text + " v" + &version.to_string()
    }
}

/// What a function stands in, by the name of a closure in it: all before the function's own name.
fn around(closure: &str) -> &str {
    let mut text = closure;
    while let Some(rest) = text.strip_suffix("::{{closure}}") {
        text = rest;
    }
    // Types in the name have paths of their own.
    let mut depth = 0_usize;
    let mut end = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'<' | b'(' | b'[' | b'{' => depth += 1,
            b'>' | b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b':' if depth == 0 && text[at..].starts_with("::") && !text[at + 2..].starts_with('<') => end = at,
            _ => {}
        }
    }
    &text[..end]
}

/// The [`Wire`] of values of one type.
pub(crate) struct Typed<V> {
    pub(crate) identity: Identity,
    pub(crate) codec: u8,
    pub(crate) encode: fn(&V) -> Result<Vec<u8>, CodecError>,
    pub(crate) decode: fn(&[u8]) -> Result<V, CodecError>,
}

impl fmt::Debug for dyn Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wire").field(self.identity()).finish()
    }
}

impl<V: Value> Wire for Typed<V> {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn fingerprint(&self) -> u64 {
        let version = self.identity.version.to_le_bytes();
        fnv1a([std::any::type_name::<V>().as_bytes(), &[self.codec], &version])
    }

    fn encode(&self, stored: &AnyStored) -> Result<Vec<u8>, String> {
        let value = stored.downcast::<V>().ok_or("the value is of another type")?;
        (self.encode)(value).map_err(|error| error.to_string())
    }

    fn decode(&self, payload: &[u8]) -> Result<Arc<AnyStored>, String> {
        let value = (self.decode)(payload).map_err(|error| error.to_string())?;
        Ok(Arc::new(Stored::new(value)))
    }
}

/// FNV-1a (Fowler, Noll, Vo; 64 bits): the same in all builds, which nothing in the standard library promises.
fn fnv1a<const N: usize>(texts: [&[u8]; N]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for text in texts {
        // The length, so that two texts are not one.
        let length = (text.len() as u64).to_le_bytes();
        for byte in text.iter().chain(&length) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_what_a_function_stands_in() {
        for (closure, place) in [
            ("shop::users::load::{{closure}}::{{closure}}", "shop::users"),
            ("shop::users::load_entry::{{closure}}", "shop::users"),
            ("shop::outer::load::{{closure}}", "shop::outer"),
            ("shop::load<alloc::string::String>::{{closure}}", "shop"),
            ("<shop::Users as shop::Load>::load::{{closure}}", "<shop::Users as shop::Load>"),
            ("shop::Users<a::T>::load::{{closure}}", "shop::Users<a::T>"),
            ("load", ""),
        ] {
            assert_eq!(around(closure), place, "{closure}");
        }
    }

    #[test]
    fn a_name_tells_functions_types_and_versions_apart() {
        let identity = |function, types: &[&'static str], version| {
            let place = "shop::load::{{closure}}";
            Identity { place, function, types: types.to_vec(), version }.of("shop::load")
        };
        assert_eq!(identity("load", &[], 1), "shop::load v1");
        assert_eq!(identity("find", &[], 1), "shop::load@shop::find v1", "named alike");
        assert_eq!(identity("load", &["u8"], 2), "shop::load<u8> v2");
    }
}
