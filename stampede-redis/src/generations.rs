//! What tags stand at, in a Cluster.
//!
//! On one server the scripts see to it. In a Cluster the tags live on other nodes than the key, and are read beside it, at
//! the same time. That is enough:
//!
//! 1. A lease bears what its tags stood at before its run began. A value bears the same, whenever it is written, and counts
//!    only while it equals what they stand at when it is read. So a value whose tag was voided after its run began is void.
//! 2. A tag is voided by first changing what the tags in sum stand at, and then its own. A run that comes to know of a tag
//!    at its end reads the tag first, and then the sum. If it has seen the tag as it is after, it sees the sum so, too, and
//!    knows that some tag was voided since it began.

use std::sync::Arc;

use redis::cmd;

use crate::envelope::Opened;
use crate::error::Fault;
use crate::names::Names;
use crate::random;
use crate::wire::Wire;

/// How long a tag that no value bears is remembered, in milliseconds.
const DAY: u64 = 86_400_000;

/// What everything stands at, and then each tag; begun where there was nothing.
pub(crate) async fn current(wire: &mut Wire, names: &Names, tags: &[Arc<str>]) -> Result<Vec<u64>, Fault> {
    let keys: Vec<String> = std::iter::once(names.all.clone()).chain(tags.iter().map(|tag| names.tag(tag))).collect();
    let found: Vec<Option<Vec<u8>>> = wire.query(cmd("MGET").arg(&keys)).await?;
    let mut generations = Vec::with_capacity(keys.len());
    for (index, (key, found)) in keys.iter().zip(found).enumerate() {
        generations.push(match found.and_then(|found| found.try_into().ok()) {
            Some(generation) => u64::from_be_bytes(generation),
            None => begin(wire, key, index > 0).await?,
        });
    }
    Ok(generations)
}

/// What the tags in sum stand at.
pub(crate) async fn voids(wire: &mut Wire, names: &Names) -> Result<u64, Fault> {
    let found: Option<Vec<u8>> = wire.query(cmd("GET").arg(&names.voids)).await?;
    match found.and_then(|found| found.try_into().ok()) {
        Some(generation) => Ok(u64::from_be_bytes(generation)),
        None => begin(wire, &names.voids, false).await,
    }
}

async fn begin(wire: &mut Wire, key: &str, is_tag: bool) -> Result<u64, Fault> {
    let ours: [u8; 8] = random()?;
    let mut set = cmd("SET");
    set.arg(key).arg(&ours).arg("NX").arg("GET");
    if is_tag {
        set.arg("PX").arg(DAY);
    }
    let theirs: Option<Vec<u8>> = wire.query(&set).await?;
    Ok(u64::from_be_bytes(theirs.and_then(|theirs| theirs.try_into().ok()).unwrap_or(ours)))
}

/// Whether no tag of a value was voided since it was made.
pub(crate) async fn stands(wire: &mut Wire, names: &Names, opened: &Opened) -> Result<bool, Fault> {
    Ok(current(wire, names, &opened.record.tags).await? == opened.generations)
}

/// Lets what tags stand at live for longer than a value that bears them.
pub(crate) async fn outlive(wire: &mut Wire, names: &Names, tags: &[Arc<str>], time: u64) -> Result<(), Fault> {
    for tag in tags {
        let mut prolong = cmd("PEXPIRE");
        prolong.arg(names.tag(tag)).arg(time.saturating_add(DAY)).arg("GT");
        let _: () = wire.query(&prolong).await?;
    }
    Ok(())
}

/// Voids a tag. In this order: see above.
pub(crate) async fn void(wire: &mut Wire, names: &Names, tag: &str) -> Result<(), Fault> {
    let generation: [u8; 8] = random()?;
    let _: () = wire.query(cmd("SET").arg(&names.voids).arg(&generation)).await?;
    let _: () = wire.query(cmd("DEL").arg(names.tag(tag))).await?;
    Ok(())
}
