//! The network: messages are delayed, overtake each other, get lost, and whole links go dead.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::rng::Rng;

/// Who sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    Controller,
    /// By index, not by broker id.
    Broker(usize),
    Client(usize),
}

/// How the network is now.
#[derive(Debug)]
pub struct Network {
    /// Links that carry nothing, each in one direction.
    dead: BTreeSet<(Party, Party)>,
    /// Of a thousand messages.
    pub lost: u64,
    /// Of a thousand messages: these take up to `slow_ms`.
    pub slow: u64,
    pub slow_ms: u64,
}

impl Network {
    pub fn sound() -> Network {
        Network { dead: BTreeSet::new(), lost: 0, slow: 0, slow_ms: 0 }
    }

    /// How long a message takes; `None` if it does not arrive.
    pub fn carry(&self, rng: &mut Rng, from: Party, to: Party) -> Option<Duration> {
        let lost = self.dead.contains(&(from, to)) || (self.lost > 0 && rng.chance(self.lost));
        let slow = self.slow > 0 && rng.chance(self.slow);
        let time =
            if slow { rng.millis(1, self.slow_ms) } else { Duration::from_micros(rng.between(100, 2_000)) };
        (!lost).then_some(time)
    }

    pub fn cut(&mut self, from: Party, to: Party) {
        self.dead.insert((from, to));
    }

    pub fn heal(&mut self, from: Party, to: Party) {
        self.dead.remove(&(from, to));
    }
}
