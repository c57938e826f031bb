//! The one source of chance: everything that a run decides is drawn from its seed.

use std::time::Duration;

/// SplitMix64: small, fast, and the same on every platform and in every version.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        let mut rng = Rng(seed);
        rng.draw(); // seeds that lie close together part ways
        rng
    }

    /// A generator of its own, so that what one part draws does not change what another draws.
    pub fn fork(&mut self) -> Rng {
        Rng::new(self.draw())
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which MUST NOT be 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }

    /// An index into something of this length, which MUST NOT be 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True `n` times of a thousand.
    pub fn chance(&mut self, n: u64) -> bool {
        self.below(1000) < n
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(self.between(low * 1000, high * 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        let mut rng = Rng::new(1);
        assert_eq!([rng.draw(), rng.draw()], [0xbeeb_8da1_658e_ec67, 0xf893_a2ee_fb32_555e]);
        let mut forked = rng.fork();
        assert_ne!(forked.draw(), rng.draw());
    }
}
