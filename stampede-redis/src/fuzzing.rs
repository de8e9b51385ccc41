//! What holds of the envelope whatever it is given, for the fuzz target and the tests.

use stampede_runtime::tier::FillId;

use crate::envelope::{HEADER, MAGIC, OVERHEAD, Opened, Reject, checksum_of, fill_of, open, seal};
use crate::message::Message;

/// The largest payload that is wanted.
const MAX: usize = 1000;

/// Opens bytes as they are, and once more with what stands in the way of mere chance put right. Panics if something does not
/// hold that has to.
pub(crate) fn check_envelope(data: &[u8]) {
    open_and_seal(data);
    let mut mended = data.to_vec();
    if mended.len() > HEADER {
        mended[..MAGIC.len()].copy_from_slice(MAGIC);
        if let Some(checksum) = checksum_of(&mended) {
            mended[56..64].copy_from_slice(&checksum.to_be_bytes());
        }
        open_and_seal(&mended);
    }
    if let Some(message) = Message::read(data) {
        assert_eq!(message.write(), data);
    }
}

fn open_and_seal(data: &[u8]) {
    let fill = fill_of(data);
    match open(data.to_vec(), MAX) {
        Ok(Opened { record, fill: opened, generations }) => {
            assert_eq!(opened, fill);
            assert!(record.payload.len() <= MAX && generations.len() == record.tags.len() + 1);
            // What has been read is written again, and says the same: tags may have been named in another way.
            if let Ok(bytes) = seal(&record, fill, &generations, MAX) {
                let again = open(bytes, MAX).unwrap();
                assert_eq!(again, Opened { record, fill, generations });
            } else {
                assert!(data.len() > OVERHEAD / 8, "a small value can be written");
            }
        }
        Err(Reject::TooLarge) => assert!(data.len() > MAX),
        Err(Reject::Corrupt) => {}
    }
    assert!(data.len() >= 24 || fill == FillId(0));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use stampede_runtime::tier::Record;

    use super::*;
    use crate::envelope::TooLarge;

    fn records() -> impl Strategy<Value = Record> {
        let tags = proptest::collection::vec(prop_oneof![".{0,10}", "[a-z]{60,70}"], 0..5);
        let time = || prop_oneof![any::<u64>().prop_map(Duration::from_nanos), Just(Duration::from_nanos(u64::MAX))];
        (proptest::collection::vec(any::<u8>(), 0..200), any::<u64>(), time(), time(), time(), tags).prop_map(
            |(payload, fingerprint, fresh, stale, run_time, tags)| Record {
                payload,
                fingerprint,
                fresh,
                stale,
                run_time,
                tags: tags.into_iter().map(Into::into).collect(),
            },
        )
    }

    #[test]
    fn what_is_too_large_is_not_sealed() {
        let of = |payload: usize, tags: Vec<String>| Record {
            payload: vec![0; payload],
            fingerprint: 0,
            fresh: Duration::MAX,
            stale: Duration::MAX,
            run_time: Duration::MAX,
            tags: tags.into_iter().map(Into::into).collect(),
        };
        let seal = |record: &Record| seal(record, FillId(0), &[], MAX).map(drop);
        assert_eq!(seal(&of(MAX, Vec::new())), Ok(()));
        assert_eq!(seal(&of(MAX + 1, Vec::new())), Err(TooLarge));
        assert_eq!(seal(&of(0, vec!["t".repeat(70_000)])), Err(TooLarge));
        assert_eq!(seal(&of(0, vec![String::new(); 70_000])), Err(TooLarge));
        assert_eq!(seal(&of(0, (0..10_000).map(|tag| tag.to_string()).collect())), Err(TooLarge));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_sealed_is_opened(record in records(), fill: u128, seed: u64) {
            let generations: Vec<u64> = (0..=record.tags.len() as u64).map(|tag| seed ^ tag).collect();
            let bytes = seal(&record, FillId(fill), &generations, MAX).unwrap();
            prop_assert_eq!(fill_of(&bytes), FillId(fill));
            prop_assert_eq!(open(bytes, MAX), Ok(Opened { record, fill: FillId(fill), generations }));
        }

        #[test]
        fn no_damage_goes_unnoticed(record in records(), at: prop::sample::Index, bit in 0_u32..8) {
            let mut bytes = seal(&record, FillId(1), &[], MAX).unwrap();
            let at = at.index(bytes.len());
            let generations = HEADER..HEADER + 8 * (record.tags.len() + 1);
            bytes[at] ^= 1_u8 << bit;
            if generations.contains(&at) {
                // The scripts find these out.
                prop_assert!(open(bytes, MAX).unwrap().generations.iter().any(|&generation| generation != 0));
            } else {
                prop_assert!(open(bytes, MAX).is_err());
            }
        }

        #[test]
        fn whatever_is_found_is_read_safely(
            record in records(),
            cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            len: prop::sample::Index,
            noise in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            check_envelope(&noise);
            let mut bytes = seal(&record, FillId(1), &[], MAX).unwrap();
            for (at, byte) in cuts {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            check_envelope(&bytes);
            bytes.truncate(len.index(bytes.len() + 1));
            check_envelope(&bytes);
        }
    }
}
