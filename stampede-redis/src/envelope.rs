//! How a value lies in Redis: a header of fixed size, what its tags stood at, their names, and the payload.
//!
//! ```text
//! offset  bytes
//!      0      4  "STMP"
//!      4      1  version of this format
//!      5      1  zero
//!      6      2  number of tags, n
//!      8     16  which filling this is
//!     24      8  fingerprint of type, codec and version
//!     32      8  how long it is fresh, in nanoseconds
//!     40      8  how long beyond that it may be served
//!     48      8  how long its run took
//!     56      8  checksum (XXH3) of all but itself and the generations
//!     64      4  length of the payload
//!     68      4  zero
//!     72   8+8n  the generations: of everything, then of each tag
//!             …  for each tag, with a length of two bytes before each: its name in Redis; its name, if that is another
//!             …  the payload
//! ```
//!
//! Numbers are big-endian. The scripts rely on the offsets: they compare the filling, read the stale window, and compare and
//! write the generations, which is why the checksum leaves these out (a generation that is damaged equals no other, and the
//! value is void).

use std::sync::Arc;
use std::time::Duration;

use stampede_runtime::tier::{FillId, Record};
use xxhash_rust::xxh3::Xxh3;

use crate::names::tag_name;

/// What each value begins with: the format and its version.
pub(crate) const MAGIC: &[u8; 6] = b"STMP\x01\0";
/// Where the generations begin, and the least that a value takes but for them.
pub(crate) const HEADER: usize = 72;
/// What a value may take beside its payload.
pub(crate) const OVERHEAD: usize = 64 << 10;

const GENERATION: usize = 8;
const CHECKSUM: std::ops::Range<usize> = 56..64;

/// Why a value cannot go to Redis.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Why bytes are no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    /// Nothing of ours, or not as it was written.
    Corrupt,
    /// Its payload takes more bytes than are wanted.
    TooLarge,
}

/// A value as it was stored.
#[derive(Debug, PartialEq)]
pub(crate) struct Opened {
    pub(crate) record: Record,
    pub(crate) fill: FillId,
    /// Of everything, then of each tag.
    pub(crate) generations: Vec<u64>,
}

/// The bytes of a value. Generations that are not given are zero, for a script to fill in.
pub(crate) fn seal(
    record: &Record,
    fill: FillId,
    generations: &[u64],
    max_payload: usize,
) -> Result<Vec<u8>, TooLarge> {
    if record.payload.len() > max_payload {
        return Err(TooLarge);
    }
    let payload = u32::try_from(record.payload.len()).map_err(|_| TooLarge)?;
    let tags = u16::try_from(record.tags.len()).map_err(|_| TooLarge)?;
    let mut bytes = Vec::with_capacity(HEADER + GENERATION * (record.tags.len() + 1) + record.payload.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&tags.to_be_bytes());
    bytes.extend_from_slice(&fill.0.to_be_bytes());
    bytes.extend_from_slice(&record.fingerprint.to_be_bytes());
    for time in [record.fresh, record.stale, record.run_time] {
        bytes.extend_from_slice(&nanos(time).to_be_bytes());
    }
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&payload.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    for index in 0..=record.tags.len() {
        bytes.extend_from_slice(&generations.get(index).copied().unwrap_or(0).to_be_bytes());
    }
    let names = bytes.len();
    for tag in record.tags.iter() {
        let name = tag_name(tag);
        push(&mut bytes, name.as_bytes())?;
        push(&mut bytes, if *name == **tag { b"" } else { tag.as_bytes() })?;
    }
    if bytes.len() > OVERHEAD {
        return Err(TooLarge);
    }
    bytes.extend_from_slice(&record.payload);
    let checksum = checksum(&bytes, names);
    bytes[CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    Ok(bytes)
}

/// Reads what [`seal`] has written. Never panics, and allocates no more than the bytes that it is given.
pub(crate) fn open(mut bytes: Vec<u8>, max_payload: usize) -> Result<Opened, Reject> {
    let (mut opened, payload) = read(&bytes, max_payload)?;
    bytes.drain(..payload);
    opened.record.payload = bytes;
    Ok(opened)
}

/// The value but for its payload, and where that begins.
fn read(bytes: &[u8], max_payload: usize) -> Result<(Opened, usize), Reject> {
    let mut rest = Reader(bytes);
    if rest.take(MAGIC.len())? != MAGIC {
        return Err(Reject::Corrupt);
    }
    let tags = usize::from(u16::from_be_bytes(rest.array()?));
    let fill = FillId(u128::from_be_bytes(rest.array()?));
    let fingerprint = u64::from_be_bytes(rest.array()?);
    let mut time = || Ok(Duration::from_nanos(u64::from_be_bytes(rest.array()?)));
    let (fresh, stale, run_time) = (time()?, time()?, time()?);
    let expected = u64::from_be_bytes(rest.array()?);
    let payload = usize::try_from(u32::from_be_bytes(rest.array()?)).map_err(|_| Reject::TooLarge)?;
    rest.take(4)?;
    let mut generations = Reader(rest.take(GENERATION * (tags + 1))?);
    let names = bytes.len() - rest.0.len();
    if rest.0.len() < payload {
        return Err(Reject::Corrupt);
    }
    if payload > max_payload {
        return Err(Reject::TooLarge);
    }
    if checksum(bytes, names) != expected {
        return Err(Reject::Corrupt);
    }
    let generations =
        (0..=tags).map(|_| Ok(u64::from_be_bytes(generations.array()?))).collect::<Result<_, Reject>>()?;
    let tags = (0..tags).map(|_| rest.tag()).collect::<Result<Arc<[_]>, _>>()?;
    if rest.0.len() != payload {
        return Err(Reject::Corrupt);
    }
    let record = Record { payload: Vec::new(), fingerprint, fresh, stale, run_time, tags };
    Ok((Opened { record, fill, generations }, bytes.len() - payload))
}

/// Which filling bytes say to be, whatever else is wrong with them.
pub(crate) fn fill_of(bytes: &[u8]) -> FillId {
    FillId(bytes.get(8..24).and_then(|fill| fill.try_into().ok()).map_or(0, u128::from_be_bytes))
}

/// What the checksum of some bytes would have to be, if they have room for what they promise.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn checksum_of(bytes: &[u8]) -> Option<u64> {
    let tags = u16::from_be_bytes(bytes.get(6..8)?.try_into().ok()?);
    let names = HEADER + GENERATION * (usize::from(tags) + 1);
    (names <= bytes.len()).then(|| checksum(bytes, names))
}

/// Of all but itself and the generations, which end where `names` begin.
fn checksum(bytes: &[u8], names: usize) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&bytes[..CHECKSUM.start]);
    hasher.update(&bytes[CHECKSUM.end..HEADER]);
    hasher.update(&bytes[names..]);
    hasher.digest()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn push(bytes: &mut Vec<u8>, piece: &[u8]) -> Result<(), TooLarge> {
    let len = u16::try_from(piece.len()).map_err(|_| TooLarge)?;
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(piece);
    Ok(())
}

/// What is left of some bytes.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, len: usize) -> Result<&'b [u8], Reject> {
        let (piece, rest) = self.0.split_at_checked(len).ok_or(Reject::Corrupt)?;
        self.0 = rest;
        Ok(piece)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reject> {
        self.take(N)?.try_into().map_err(|_| Reject::Corrupt)
    }

    fn piece(&mut self) -> Result<&'b str, Reject> {
        let len = u16::from_be_bytes(self.array()?);
        std::str::from_utf8(self.take(usize::from(len))?).map_err(|_| Reject::Corrupt)
    }

    fn tag(&mut self) -> Result<Arc<str>, Reject> {
        let name = self.piece()?;
        let tag = self.piece()?;
        Ok(if tag.is_empty() { name } else { tag }.into())
    }
}
