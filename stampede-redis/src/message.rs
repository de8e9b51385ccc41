//! What is said on the channel of the news: who says it, in 16 bytes, what it is, in one, and of what.

use stampede_runtime::tier::{News, TierKey};

/// A piece of news.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) sender: u128,
    pub(crate) item: News,
}

const VOIDED: u8 = b'v';
const EXPIRED: u8 = b'e';
const TAG: u8 = b't';
const CLEARED: u8 = b'c';

impl Message {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut bytes = self.sender.to_be_bytes().to_vec();
        match &self.item {
            News::Voided(key) => write_key(&mut bytes, VOIDED, key),
            News::Expired(key) => write_key(&mut bytes, EXPIRED, key),
            News::Tag(tag) => {
                bytes.push(TAG);
                bytes.extend_from_slice(tag.as_bytes());
            }
            // Of a link, only its own end can tell.
            News::Cleared | News::Linked | News::Unlinked => bytes.push(CLEARED),
        }
        bytes
    }

    /// Reads what [`write`](Self::write) has written. Never panics; `None` for anything else.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (sender, rest) = bytes.split_first_chunk()?;
        let (kind, rest) = rest.split_first()?;
        let item = match *kind {
            VOIDED => News::Voided(read_key(rest)?),
            EXPIRED => News::Expired(read_key(rest)?),
            TAG => News::Tag(std::str::from_utf8(rest).ok()?.into()),
            CLEARED if rest.is_empty() => News::Cleared,
            _ => return None,
        };
        Some(Self { sender: u128::from_be_bytes(*sender), item })
    }
}

fn write_key(bytes: &mut Vec<u8>, kind: u8, key: &TierKey) {
    bytes.push(kind);
    bytes.extend_from_slice(&(key.cache.len() as u64).to_be_bytes());
    bytes.extend_from_slice(key.cache.as_bytes());
    bytes.extend_from_slice(&key.parts);
}

fn read_key(bytes: &[u8]) -> Option<TierKey> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (cache, parts) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*len)).ok()?)?;
    Some(TierKey { cache: std::str::from_utf8(cache).ok()?.into(), parts: parts.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items() -> impl Strategy<Value = News> {
        let key = || {
            (".{0,20}", proptest::collection::vec(any::<u8>(), 0..40))
                .prop_map(|(cache, parts)| TierKey { cache: cache.into(), parts: parts.into() })
        };
        prop_oneof![
            key().prop_map(News::Voided),
            key().prop_map(News::Expired),
            ".{0,20}".prop_map(|tag| News::Tag(tag.into())),
            Just(News::Cleared),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read(sender: u128, item in items()) {
            let message = Message { sender, item };
            prop_assert_eq!(Message::read(&message.write()), Some(message));
        }

        #[test]
        fn whatever_is_heard_is_read_safely(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(message) = Message::read(&bytes) {
                prop_assert_eq!(message.write(), bytes);
            }
        }
    }
}
