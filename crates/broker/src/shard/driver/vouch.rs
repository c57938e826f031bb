//! Moving the recovery point of a partition's log: what is above it is scanned after a crash.

use std::time::Duration;

use ottla_wire::Instant;

use super::PartitionDriver;

/// How long what was written to a topic that has given up flushes may stay in the page cache only.
const INTERVAL_RELAXED: Duration = Duration::from_secs(30);

impl PartitionDriver {
    /// Bytes that a crash now would make the next start scan. Those of a topic that has given up flushes do not count.
    pub fn unvouched_bytes(&self) -> u64 {
        if self.log.is_relaxed() { 0 } else { self.log.unvouched_bytes() }
    }

    /// Asks for a flush that lets a crash find nothing to do here, if there are at least so many bytes to be found. A log
    /// that has given up flushes is asked rarely.
    pub(super) fn vouch(&mut self, now: Instant, least: u64) {
        let interval = if self.log.is_relaxed() { INTERVAL_RELAXED } else { Duration::ZERO };
        if self.log.unvouched_bytes() >= least && now.since(self.vouched_at) >= interval {
            self.vouched_at = now;
            self.vouch_wanted = true;
            self.want_flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_log::{LogConfig, MemDisk};
    use ottla_wire::{Instant, Timestamp};

    use super::super::truncate::tests::{follower, in_memory, log};
    use super::super::{Due, Turn};

    #[test]
    fn a_log_is_asked_if_it_has_enough_to_be_found_and_rarely_if_it_has_given_up_flushes() {
        const MUCH: Option<u64> = Some(1 << 20);
        let cases = [
            ("it is not time", 1, 40, None, false),
            ("it has little", 1, 40, MUCH, false),
            ("it is time", 1, 4, Some(1), true),
            ("given up flushes, too early", i64::MAX, 29, Some(1), false),
            ("given up flushes", i64::MAX, 30, Some(1), true),
        ];
        for (name, flush_messages, seconds, vouching, expected) in cases {
            let disk = MemDisk::new();
            let dir = in_memory(&disk);
            let mut log = log(&dir);
            log.set_config(LogConfig { flush_messages, ..LogConfig::default() });
            let end = log.log_end();
            let mut driver = follower(log);
            let now = Instant(seconds * 1_000_000_000);
            let turn = Turn { now, wall: Timestamp(0) };
            driver.tick(turn, Due { retention: false, vouching });
            let job = driver.end_turn(turn);
            assert_eq!(job.is_some(), expected, "{name}");
            if let Some(job) = job {
                driver.flushed(turn, job.run());
                dir.do_chores();
                assert_eq!(driver.unvouched_bytes(), 0, "{name}");
                drop((driver, dir));
                let found = in_memory(&disk).partitions().unwrap();
                assert_eq!(found[0].recovery.recovery_point, end, "{name}: after a crash");
            }
        }
    }
}
