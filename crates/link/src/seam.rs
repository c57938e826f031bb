//! Time and chance: the one place where connections read a clock or roll dice.
//!
//! Time is tokio's, so that a paused or simulated runtime moves it, and every random choice comes from
//! [`Dice`], which a seed makes repeatable.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
pub use tokio::time::Instant;

/// The monotonic time now.
pub fn now() -> Instant {
    Instant::now()
}

/// A shared source of random numbers. Clones draw from the same stream.
#[derive(Clone, Debug)]
pub struct Dice(Arc<Mutex<StdRng>>);

impl Dice {
    /// The same seed gives the same stream; `None` takes a seed from the operating system.
    pub fn new(seed: Option<u64>) -> Dice {
        let rng = seed.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64);
        Dice(Arc::new(Mutex::new(rng)))
    }

    /// A number in `0..n`; 0 when `n` is 0.
    pub fn below(&self, n: usize) -> usize {
        if n == 0 { 0 } else { self.with(|rng| rng.random_range(0..n)) }
    }

    /// A factor in `1 - spread ..= 1 + spread`.
    pub fn factor(&self, spread: f64) -> f64 {
        self.with(|rng| rng.random_range(1.0 - spread..=1.0 + spread))
    }

    /// Sixteen random bytes, for an id.
    pub fn bytes(&self) -> [u8; 16] {
        self.with(|rng| rng.random())
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
