//! What goes wrong, and when: drawn from the seed before the run begins.

use std::time::Duration;

use ottla_replica::Durability;
use ottla_wire::Instant;

use crate::rng::Rng;
use crate::settings::{BROKERS, Settings};

/// Something that goes wrong, or an operator's doing. `for_ms` says how long it lasts.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// kill -9; the process is started again.
    Kill {
        node: usize,
        for_ms: u64,
    },
    /// What was not flushed is lost, in part.
    PowerLoss {
        node: usize,
        for_ms: u64,
    },
    /// Of all of them at about the same time.
    PowerLossOfAll {
        for_ms: u64,
    },
    /// SIGSTOP, then SIGCONT.
    Pause {
        node: usize,
        for_ms: u64,
    },
    /// SIGTERM, and a start after that.
    Stop {
        node: usize,
        for_ms: u64,
    },
    /// Nobody reaches this broker, and it reaches nobody.
    Isolate {
        node: usize,
        for_ms: u64,
    },
    /// This broker reaches the controller no more, or is not reached by it.
    CutFromController {
        node: usize,
        answers_only: bool,
        for_ms: u64,
    },
    /// In one direction.
    CutFromBroker {
        from: usize,
        to: usize,
        for_ms: u64,
    },
    /// Of a thousand messages, some get lost and some are late.
    BadNetwork {
        lost: u64,
        slow: u64,
        slow_ms: u64,
        for_ms: u64,
    },
    /// The disk is full, every write fails, or every fsync does. The process ends at the first failure, and
    /// is started again once the disk is sound.
    BadDisk {
        node: usize,
        how: DiskFault,
        for_ms: u64,
    },
    SlowDisk {
        node: usize,
        flush_ms: u64,
        for_ms: u64,
    },
    /// Nothing fails, but writes need more than one call.
    ShortWrites {
        node: usize,
    },
    ClockJump {
        node: usize,
        by_ms: i64,
    },
    ControllerFailsOver,
    /// The same, in the middle of the next decision that takes several entries of the metadata log.
    ControllerBreaksOff,
    ElectPreferred,
    SetMinIsr(u32),
}

#[derive(Clone, Copy, Debug)]
pub enum DiskFault {
    /// So many bytes are left.
    Full(u64),
    Writes,
    Syncs,
}

/// Draws what happens in a run, in order of time.
pub fn plan(rng: &mut Rng, settings: &Settings, begin: Instant) -> Vec<(Instant, Fault)> {
    let every_ms = rng.between(300, 3_000);
    let mut plan = Vec::new();
    let mut at_ms = rng.between(0, every_ms);
    while at_ms < settings.chaos_ms {
        plan.push((begin + Duration::from_millis(at_ms), draw(rng, settings)));
        at_ms += rng.between(1, 2 * every_ms);
    }
    plan
}

fn draw(rng: &mut Rng, settings: &Settings) -> Fault {
    let node = rng.index(BROKERS);
    let for_ms = rng.pick(&[50, 300, 1_000, 2_500, 5_000]);
    let for_ms = rng.between(for_ms / 2, for_ms);
    let flushed = settings.durability == Durability::Flushed;
    match rng.below(16) {
        0 => Fault::Kill { node, for_ms },
        1 | 2 if flushed => Fault::PowerLoss { node, for_ms },
        3 if flushed && rng.chance(300) => Fault::PowerLossOfAll { for_ms },
        4 => Fault::Pause { node, for_ms },
        5 => Fault::Stop { node, for_ms },
        6 => Fault::Isolate { node, for_ms },
        7 => Fault::CutFromController { node, answers_only: rng.chance(400), for_ms },
        8 => Fault::CutFromBroker { from: node, to: (node + 1 + rng.index(BROKERS - 1)) % BROKERS, for_ms },
        9 => Fault::BadNetwork {
            lost: rng.pick(&[0, 20, 100, 300]),
            slow: rng.pick(&[0, 50, 500]),
            slow_ms: rng.pick(&[20, 200, 1_500]),
            for_ms,
        },
        10 if flushed => {
            let how = match rng.below(3) {
                0 => DiskFault::Full(rng.between(0, 5_000)),
                1 => DiskFault::Writes,
                _ => DiskFault::Syncs,
            };
            Fault::BadDisk { node, how, for_ms }
        }
        11 => Fault::SlowDisk { node, flush_ms: rng.pick(&[20, 200, 1_000]), for_ms },
        12 if rng.chance(300) => rng.pick(&[Fault::ControllerFailsOver, Fault::ControllerBreaksOff]),
        12 => Fault::ShortWrites { node },
        13 => Fault::ClockJump { node, by_ms: rng.between(0, 20_000) as i64 - 10_000 },
        14 => Fault::ElectPreferred,
        15 if settings.changes_min_isr => Fault::SetMinIsr(rng.between(1, 2) as u32),
        _ => Fault::Kill { node, for_ms },
    }
}
