//! Other attributes beside ours, above and below.

#![allow(unsafe_code, reason = "shown here")]

use stampede::coalesce;

use super::run;

/// Instrumented below.
#[coalesce(ttl = "5s", key = "id")]
#[tracing::instrument(skip_all, fields(id))]
pub async fn below(id: u8, password: &str) -> Result<usize, String> {
    tracing::info!(id, "running");
    Ok(password.len())
}

/// Instrumented above.
#[tracing::instrument(level = "debug", ret)]
#[coalesce(ttl = "5s")]
pub async fn above(id: u8) -> u8 {
    id
}

/// Discouraged.
#[deprecated(note = "for the sake of it")]
#[must_use = "for the sake of it"]
#[inline]
#[cfg(not(windows))]
#[doc(alias = "old")]
#[coalesce(ttl = "5s")]
pub async fn discouraged(id: u8) -> u8 {
    id
}

/// An unsafe one.
///
/// # Safety
///
/// None needed.
#[coalesce(ttl = "5s")]
pub async unsafe fn danger(id: u8) -> u8 {
    id
}

/// A type.
#[derive(Clone, Copy, Debug)]
pub struct Type(u8);

impl Type {
    /// An unsafe method.
    ///
    /// # Safety
    ///
    /// None needed.
    #[coalesce(ttl = "5s", key = "self.0")]
    #[tracing::instrument]
    pub(crate) async unsafe fn danger(&self) -> u8 {
        self.0
    }
}

#[test]
fn they_all_hold() {
    run(async {
        assert_eq!(below(1, "abc").await, Ok(3));
        assert_eq!(above(1).await, 1);
        #[allow(deprecated)]
        let one = discouraged(1).await;
        // SAFETY: none needed.
        assert_eq!((one, unsafe { danger(1) }.await, unsafe { Type(1).danger() }.await), (1, 1, 1));
        #[allow(deprecated)]
        let entry = discouraged_entry(1);
        assert_eq!((entry.get().await, danger_entry(1).get().await), (Some(1), Some(1)));
    });
}
