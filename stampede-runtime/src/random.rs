//! Chance, for jitter and early refreshes: a small generator per thread. Nothing here is secret.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
}

/// A number in (0, 1].
pub(crate) fn unit() -> f64 {
    let bits = STATE.with(|state| {
        let (next, bits) = splitmix(state.get());
        state.set(next);
        bits
    });
    in_unit(bits)
}

/// Makes what follows on this thread repeatable.
#[cfg(feature = "test-util")]
pub fn seed(seed: u64) {
    STATE.set(seed);
}

/// Steele, Lea and Flood's `SplitMix64`: the next state, and what it gives.
fn splitmix(state: u64) -> (u64, u64) {
    let next = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = next;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (next, bits ^ (bits >> 31))
}

#[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
fn in_unit(bits: u64) -> f64 {
    ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lie_in_the_half_open_unit_interval() {
        assert!(in_unit(0) > 0.0 && in_unit(0) < 1e-15);
        assert!((in_unit(u64::MAX) - 1.0).abs() < f64::EPSILON);
        let mean = (0..10_000).map(|_| unit()).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
