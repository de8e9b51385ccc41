//! Responses on their way to the remote tier, and from there.
//!
//! A response travels when its body is complete: its head as others than its first caller see it, the body, its trailers, and
//! how old it was. Its age in seconds goes on by the clocks of the hosts, which is what `Age` and `Date` always rest on; how
//! long it may be used does not.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use stampede_runtime::codec::{Codec, CodecError, MessagePack};

use crate::exchange::{Answer, Exchange, Travelled};
use crate::key::Class;
use crate::stream::Stream;

/// The codec of responses.
#[derive(Debug)]
pub(crate) struct Responses;

/// Bytes that are written as such.
#[derive(Debug)]
struct Blob(Bytes);

type Lines = Vec<(String, Blob)>;

/// A response as it is written: head, body, trailers; and what else is known of it: whether it is public, the method that it
/// answers, whether it gets a tag, the size of its key, the declared length, its age and TTL in milliseconds, and when that
/// was, in milliseconds since 1970.
type Written = (u16, u8, Lines, Blob, Option<Lines>, (bool, String, bool, u64, Option<u64>), (u64, u64, u64));

impl Codec<Answer> for Responses {
    const ID: u8 = 64;

    fn encode(answer: &Answer) -> Result<Vec<u8>, CodecError> {
        let Answer::Shared(exchange) = answer else { return Err(CodecError::new("it is for one caller alone")) };
        let Some(whole) = exchange.stream.whole() else { return Err(CodecError::new("it is not complete")) };
        let version = match exchange.version {
            Version::HTTP_10 => 10,
            Version::HTTP_11 => 11,
            Version::HTTP_2 => 20,
            Version::HTTP_3 => 30,
            _ => return Err(CodecError::new("it is of an unknown version of HTTP")),
        };
        let Travelled { class, generates_etag, key_size, age, ttl } = exchange.travels();
        let body: Vec<u8> = whole.bytes().flatten().copied().collect();
        let written: Written = (
            exchange.status.as_u16(),
            version,
            lines(&exchange.headers),
            Blob(body.into()),
            whole.trailers.as_ref().map(lines),
            (exchange.public, class.as_str().to_owned(), generates_etag, key_size as u64, exchange.declared),
            (millis(age), millis(ttl), millis(since_1970())),
        );
        MessagePack::encode(&written)
    }

    fn decode(bytes: &[u8]) -> Result<Answer, CodecError> {
        let odd = |what: &str| CodecError::new(format!("its {what} is none"));
        let (status, version, headers, Blob(body), trailers, about, times): Written = MessagePack::decode(bytes)?;
        let (public, class, generates_etag, key_size, declared) = about;
        let (age, ttl, at) = times;
        let passed = since_1970().saturating_sub(Duration::from_millis(at));
        let class = http::Method::from_bytes(class.as_bytes()).map_err(|_| odd("method"))?;
        let stream = Stream::new(usize::MAX);
        stream.push(body);
        stream.end(Ok(trailers.map(header_map).transpose()?));
        let version = match version {
            10 => Version::HTTP_10,
            11 => Version::HTTP_11,
            20 => Version::HTTP_2,
            30 => Version::HTTP_3,
            _ => return Err(odd("version")),
        };
        let status = StatusCode::from_u16(status).map_err(|_| odd("status"))?;
        let travelled = Travelled {
            class: Class::of(&class),
            generates_etag,
            key_size: usize::try_from(key_size).unwrap_or(usize::MAX),
            age: Duration::from_millis(age).saturating_add(passed),
            ttl: Duration::from_millis(ttl).saturating_sub(passed),
        };
        let exchange =
            Exchange::arrived(status, version, header_map(headers)?, Arc::new(stream), declared, public, travelled);
        Ok(Answer::Shared(Arc::new(exchange)))
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn lines(headers: &HeaderMap) -> Lines {
    let blob = |value: &HeaderValue| Blob(Bytes::copy_from_slice(value.as_bytes()));
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), blob(value))).collect()
}

fn header_map(lines: Lines) -> Result<HeaderMap, CodecError> {
    let mut headers = HeaderMap::with_capacity(lines.len());
    for (name, Blob(value)) in lines {
        let name = HeaderName::try_from(name).map_err(|_| CodecError::new("a header's name is none"))?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| CodecError::new("a header's value is none"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Blob;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(Bytes::copy_from_slice(bytes)))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes.into()))
            }
        }

        deserializer.deserialize_byte_buf(Visitor)
    }
}
