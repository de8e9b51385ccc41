//! Which keys are asked for: the same ones in every run.

/// A small generator of numbers that look random (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Anything below `end`.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        u32::try_from(((self.next() >> 32) * u64::from(end)) >> 32).expect("less than `end`")
    }

    /// Anything from 0 to 1.
    fn fraction(&mut self) -> f64 {
        const WHOLE: u32 = 1 << 31;
        f64::from(self.below(WHOLE)) / f64::from(WHOLE)
    }
}

/// `count` keys below `keys`, the `n`-th being asked for with a probability proportional to 1 / `n` to the `exponent`.
pub(crate) fn zipf(keys: u32, exponent: f64, count: usize) -> Vec<u32> {
    let mut sum = 0.0;
    let sums = (1..=keys).map(|n| {
        sum += f64::from(n).powf(-exponent);
        sum
    });
    let sums = sums.collect::<Vec<_>>();
    let mut random = Random(1);
    let key = |_| {
        let at = random.fraction() * sum;
        u32::try_from(sums.partition_point(|up_to| *up_to <= at)).expect("less than `keys`")
    };
    (0..count).map(key).collect()
}
