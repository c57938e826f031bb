//! Whether a disk is full, or will be soon: decided from what it says of itself now and then.
//!
//! Pure: times and sizes come in, a level goes out. Between the levels there is a gap, so that a disk at the
//! border does not go to and fro.

use std::collections::VecDeque;
use std::time::Duration;

use ottla_wire::Instant;

use crate::disk::Space;

/// What is kept free is at most this part of the volume: a small one is not all reserve.
const RESERVE_PART: u64 = 20;

/// A volume is low when less than this part of it is left,
const LOW_PART: u64 = 10;

/// but not while there is more than this.
const LOW_BYTES_MAX: u64 = 10 << 30;

/// It is low, too, when it will be full so soon at the rate of the last minutes.
const LOW_TIME: Duration = Duration::from_secs(3600);

/// The rate is that of so long at the most,
const WINDOW: Duration = Duration::from_secs(600);

/// is not known before so long has passed,
const WINDOW_MIN: Duration = Duration::from_secs(60);

/// and is taken from samples that are so far apart.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);

/// A disk that has refused a write although it says that there is room (a quota, the file system's own needs)
/// is tried again after so long.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// How much room there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    #[default]
    Free,
    /// It will be full soon.
    Low,
    /// Nothing is appended.
    Full,
}

/// What is known of the room in a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub level: Level,
    pub space: Space,
    /// Appends stop where less than this is left.
    pub reserve: u64,
    /// When it will be full at the rate of the last minutes; `None` if it does not fill up, or nobody knows
    /// yet.
    pub full_in: Option<Duration>,
}

/// Keeps an eye on one volume.
#[derive(Debug)]
pub(super) struct Gauge {
    reserve_max: u64,
    level: Level,
    /// What could be written at these times, oldest first.
    samples: VecDeque<(Instant, u64)>,
    /// A write was refused: until then the disk's own word is not enough.
    refused_until: Option<Instant>,
}

impl Gauge {
    /// `reserve_max` bytes are kept free, or less where the volume is small.
    pub fn new(reserve_max: u64) -> Gauge {
        Gauge { reserve_max, level: Level::Free, samples: VecDeque::new(), refused_until: None }
    }

    /// Room was asked for that is not there.
    pub fn used_up(&mut self) {
        self.level = Level::Full;
    }

    /// The disk has refused a write not long ago.
    pub fn refuses(&self, now: Instant) -> bool {
        self.refused_until.is_some_and(|until| now < until)
    }

    /// What the volume says. `refused`: since the last time it has refused a write.
    pub fn measured(&mut self, now: Instant, space: Space, refused: bool) -> Reading {
        if refused {
            self.refused_until = Some(now + TRY_AGAIN);
        }
        let reserve = self.reserve_max.min(space.total / RESERVE_PART);
        let full_in = self.full_in(now, space.usable, reserve);
        self.level = match self.level {
            _ if self.refuses(now) || space.usable < reserve => Level::Full,
            Level::Full if space.usable < reserve + reserve / 2 => Level::Full,
            Level::Free if is_low(space, reserve, full_in) => Level::Low,
            Level::Low | Level::Full if !is_ample(space, reserve, full_in) => Level::Low,
            Level::Free | Level::Low | Level::Full => Level::Free,
        };
        Reading { level: self.level, space, reserve, full_in }
    }

    fn full_in(&mut self, now: Instant, usable: u64, reserve: u64) -> Option<Duration> {
        while self.samples.front().is_some_and(|(at, _)| now.since(*at) > WINDOW) {
            self.samples.pop_front();
        }
        if self.samples.back().is_none_or(|(at, _)| now.since(*at) >= SAMPLE_EVERY) {
            self.samples.push_back((now, usable));
        }
        let &(then, had) = self.samples.front()?;
        let (time, used) = (now.since(then), had.checked_sub(usable).filter(|used| *used > 0)?);
        let left = usable.saturating_sub(reserve);
        (time >= WINDOW_MIN).then(|| Duration::from_secs_f64(time.as_secs_f64() * left as f64 / used as f64))
    }
}

fn low_bytes(space: Space, reserve: u64) -> u64 {
    (space.total / LOW_PART).min(LOW_BYTES_MAX).max(2 * reserve)
}

fn is_low(space: Space, reserve: u64, full_in: Option<Duration>) -> bool {
    space.usable < low_bytes(space, reserve) || full_in.is_some_and(|time| time < LOW_TIME)
}

/// Surely not low any more.
fn is_ample(space: Space, reserve: u64, full_in: Option<Duration>) -> bool {
    let low = low_bytes(space, reserve);
    space.usable >= low + low / 4 && full_in.is_none_or(|time| time >= 2 * LOW_TIME)
}

#[cfg(test)]
mod tests {
    use super::Level::{Free, Full, Low};
    use super::*;

    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;

    /// One reading after the other, ten seconds apart.
    fn levels(total: u64, readings: &[(u64, bool)]) -> Vec<Level> {
        let mut gauge = Gauge::new(256 * MIB);
        let read = |(at, (usable, refused)): (usize, &(u64, bool))| {
            let now = Instant(at as u64 * 10_000_000_000);
            gauge.measured(now, Space { total, usable: *usable }, *refused).level
        };
        readings.iter().enumerate().map(read).collect()
    }

    /// What is said of a volume of so many bytes: what is left, and the level that comes of it.
    type Case = (&'static str, u64, &'static [(u64, Level)]);

    #[test]
    fn a_level_is_kept_until_it_has_surely_passed() {
        let cases: [Case; 6] = [
            ("a large volume", 1000 * GIB, &[(500 * GIB, Free), (11 * GIB, Free), (9 * GIB, Low)]),
            ("low until a quarter more", 100 * GIB, &[(9 * GIB, Low), (11 * GIB, Low), (13 * GIB, Free)]),
            ("full below the reserve", 100 * GIB, &[(256 * MIB, Low), (255 * MIB, Full), (300 * MIB, Full)]),
            ("not full with half as much again", 100 * GIB, &[(MIB, Full), (384 * MIB, Low)]),
            ("from full to free at once", 100 * GIB, &[(0, Full), (50 * GIB, Free)]),
            ("a small volume keeps a twentieth", 40 * MIB, &[(3 * MIB, Low), (MIB, Full), (3 * MIB, Low)]),
        ];
        for (name, total, readings) in cases {
            let asked: Vec<(u64, bool)> = readings.iter().map(|(usable, _)| (*usable, false)).collect();
            let expected: Vec<Level> = readings.iter().map(|(_, level)| *level).collect();
            assert_eq!(levels(total, &asked), expected, "{name}");
        }
    }

    #[test]
    fn a_disk_that_refuses_is_full_whatever_it_says() {
        let say = 50 * GIB;
        assert_eq!(levels(100 * GIB, &[(say, false), (say, true), (say, false)]), [Free, Full, Free]);
        assert_eq!(levels(100 * GIB, &[(say, true), (say, true), (say, false)]), [Full, Full, Free]);
        let mut gauge = Gauge::new(MIB);
        gauge.used_up();
        let space = Space { total: GIB, usable: MIB + MIB / 4 };
        assert_eq!(
            gauge.measured(Instant(0), space, false).level,
            Full,
            "not free again before there is more"
        );
    }

    #[test]
    fn the_time_that_is_left_is_told_by_the_rate_of_the_last_minutes() {
        let mut gauge = Gauge::new(0);
        let mut read = |second: u64, usable: u64| {
            let space = Space { total: 100_000 * GIB, usable: usable * GIB };
            let reading = gauge.measured(Instant(second * 1_000_000_000), space, false);
            (reading.full_in.map(|time| time.as_secs()), reading.level)
        };
        assert_eq!(read(0, 50_000), (None, Free));
        assert_eq!(read(59, 49_941), (None, Free), "too early to say");
        assert_eq!(read(60, 49_940), (Some(49_940), Free));
        // Ten times as fast: what lies further back is forgotten by and by.
        assert_eq!(read(600, 44_540), (Some(4_894), Free));
        assert_eq!(read(700, 43_540), (Some(4_354), Free));
        assert_eq!(read(1_300, 37_540), (Some(3_754), Free));
        assert_eq!(read(1_400, 36_540).1, Free);
        assert_eq!(read(1_500, 35_540), (Some(3_554), Low));
        assert_eq!(read(1_600, 70_000), (None, Free), "somebody has made room");
    }
}
