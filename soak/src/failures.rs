//! What has gone wrong. One failure ends the soak.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// How many are told in full.
const TOLD: usize = 10;

#[derive(Default)]
pub(crate) struct Failures {
    count: AtomicU64,
    told: Mutex<Vec<String>>,
}

impl Failures {
    pub(crate) fn add(&self, what: String) {
        self.count.fetch_add(1, SeqCst);
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.len() < TOLD {
            told.push(what);
        }
    }

    /// A failure unless it holds.
    pub(crate) fn expect(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.add(what());
        }
    }

    pub(crate) fn any(&self) -> bool {
        self.count.load(SeqCst) > 0
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for what in &*told {
            writeln!(f, "FAILED: {what}")?;
        }
        write!(f, "{} failures", self.count.load(SeqCst))
    }
}
