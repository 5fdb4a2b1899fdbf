//! Repeatable random numbers: the same for a seed on every machine and in every release.
//!
//! The algorithm is SplitMix64 as published. It is written out here so that it never changes. Not for secrets.

/// SplitMix64: small, well distributed, and stable.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        // Not exactly uniform: off by less than one in a quadrillion for bounds as small as ours.
        usize::try_from(self.roll() % end as u64).unwrap_or(0)
    }

    /// Puts `things` into a random order.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published first outputs of SplitMix64 for the seed 1234567: printed seeds must repeat in every release.
    #[test]
    fn the_outputs_are_those_published_for_splitmix64() {
        let mut rng = Rng::new(1_234_567);
        let rolled: Vec<u64> = (0..3).map(|_| rng.roll()).collect();
        assert_eq!(
            rolled,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn shuffling_keeps_everything_and_changes_the_order() {
        let mut things: Vec<usize> = (0..20).collect();
        Rng::new(1).shuffle(&mut things);
        assert_ne!(things, (0..20).collect::<Vec<_>>());
        things.sort_unstable();
        assert_eq!(things, (0..20).collect::<Vec<_>>());
    }
}
