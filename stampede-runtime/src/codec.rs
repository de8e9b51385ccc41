//! How values become bytes for a [tier](crate::tier), and values again.
//!
//! [`MessagePack`] is the default; [`Json`] is for tiers that people or other programs look into. Both take what serde
//! takes, and give back what was written, [`Option`]s included: serde's own formats write `Some(None)`, `Some(())` and the
//! `Some` of a JSON `null` as they write `None`. Here a `Some` that would be mistaken for something else is written as a map
//! with the one key `"stampede:some"`. All others, that of an `Option<u32>` say, are written as ever, as their contents.
//!
//! What a codec cannot write stays in memory; what it cannot read is a miss. Neither is an error of the call.

use std::error::Error;
use std::fmt;

#[cfg(feature = "tier")]
use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "tier")]
mod read;
#[cfg(feature = "tier")]
mod write;

/// Writes values of one type, and reads them.
///
/// Bytes come from outside: from other builds of the program, or from whoever can write to the tier. So `decode` does not
/// panic, whatever it is given, allocates in proportion to what is there and not to what it claims to be, and reads all of it or
/// none.
#[diagnostic::on_unimplemented(
    message = "values of type `{V}` cannot go to the remote tier by `{Self}`",
    label = "not something that it reads and writes",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it, without borrowed parts, or leave `remote` out",
    note = "`FeatureTierIsOff`: enable the feature `tier` or `redis` of `stampede-rs`"
)]
pub trait Codec<V> {
    /// Tells codecs apart, so that none reads what another has written. Those below 128 are of this crate.
    const ID: u8;

    /// The value as bytes.
    fn encode(value: &V) -> Result<Vec<u8>, CodecError>;

    /// The value that these bytes are, from the first to the last.
    fn decode(bytes: &[u8]) -> Result<V, CodecError>;
}

/// A value could not be written, or bytes not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecError(String);

impl CodecError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for CodecError {}

/// [MessagePack](https://msgpack.org), with the names of fields and variants written.
///
/// A struct that has gained an optional field, or one with a `default`, still reads what was written before, and one whose
/// fields were reordered does not mistake them.
///
/// Not written: values that are nested in more than 120 levels, and maps that have `"stampede:some"` for a key.
#[cfg(feature = "tier")]
#[derive(Debug, Clone, Copy, Default)]
pub struct MessagePack;

#[cfg(feature = "tier")]
#[diagnostic::do_not_recommend]
impl<V: Serialize + DeserializeOwned> Codec<V> for MessagePack {
    const ID: u8 = 1;

    fn encode(value: &V) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::new();
        let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
        write::write(value, &mut serializer, write::Floats::All).map_err(message)?;
        Ok(bytes)
    }

    fn decode(bytes: &[u8]) -> Result<V, CodecError> {
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
        let value = read::read(&mut deserializer).map_err(message)?;
        // It does not say where it stands. At the end there is no next marker to be read.
        match <bool as serde::Deserialize>::deserialize(&mut deserializer) {
            Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
            _ => Err(CodecError::new("there are bytes beyond the value")),
        }
    }
}

/// JSON.
///
/// Not written: what [`MessagePack`] does not write, floating-point numbers that are not finite, and maps whose keys are not
/// text, numbers, `bool`s, or variants without contents.
#[cfg(feature = "json")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

#[cfg(feature = "json")]
#[diagnostic::do_not_recommend]
impl<V: Serialize + DeserializeOwned> Codec<V> for Json {
    const ID: u8 = 2;

    fn encode(value: &V) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut bytes);
        write::write(value, &mut serializer, write::Floats::Finite).map_err(message)?;
        Ok(bytes)
    }

    fn decode(bytes: &[u8]) -> Result<V, CodecError> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let value = read::read(&mut deserializer).map_err(message)?;
        deserializer.end().map_err(message)?;
        Ok(value)
    }
}

#[cfg(feature = "tier")]
fn message(error: impl fmt::Display) -> CodecError {
    CodecError(error.to_string())
}

/// The key of the map that a `Some` is written as whose contents might be taken for `None`, or for those of another `Some`.
#[cfg(feature = "tier")]
const SOME: &str = "stampede:some";

/// How deep values may be nested. `serde_json` stops at 128 levels, and `rmp-serde` does not count those of enums at all.
#[cfg(feature = "tier")]
const MAX_DEPTH: u8 = 120;
#[cfg(feature = "tier")]
const TOO_DEEP: &str = "it is nested too deeply";
