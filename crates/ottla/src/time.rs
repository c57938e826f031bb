//! Times as people write and read them.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ottla_wire::Timestamp;

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    At(Timestamp),
    /// So many milliseconds ago.
    AgoMs(i64),
}

const FORMS: &str =
    "it must be like 2026-01-31T12:00:00Z (or with +02:00), milliseconds since 1970, or 90s, 15m, 12h, 7d";

impl Time {
    /// The point in time as of now.
    pub fn resolve(self) -> Timestamp {
        match self {
            Time::At(timestamp) => timestamp,
            Time::AgoMs(ago) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
                Timestamp(i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(ago).max(0))
            }
        }
    }
}

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Time, &'static str> {
        let time = match text.bytes().all(|c| c.is_ascii_digit()) {
            true => text.parse().ok().map(|ms| Time::At(Timestamp(ms))),
            false => {
                span_ms(text).map(Time::AgoMs).or_else(|| date_time(text).map(|ms| Time::At(Timestamp(ms))))
            }
        };
        time.ok_or(FORMS)
    }
}

/// Whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970 as `2026-01-31T12:00:00.250Z`.
pub fn date_time_text(ms: i64) -> String {
    const DAY_MS: i64 = 86_400_000;
    let (mut day, in_day) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    // A year is 365.2425 days: this is the year or the one before it.
    let mut year = 1970 + day * 400 / 146_097 - 1;
    while days_since_1970(year + 1, 1, 1) <= day {
        year += 1;
    }
    day -= days_since_1970(year, 1, 1);
    let mut month = 1;
    while day >= days_in(year, month) {
        day -= days_in(year, month);
        month += 1;
    }
    let (hour, minute, second) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
    let date = format!("{year:04}-{month:02}-{:02}", day + 1);
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{:03}Z", in_day % 1000)
}

/// A length of time in its two largest units: `0s`, `250ms`, `1m 5s`, `7d 0h`.
pub fn duration_for_people(ms: i64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 if ms != 0 => format!("{ms}ms"),
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Milliseconds of `90s`, `15m`, `12h`, `7d`.
pub fn span_ms(text: &str) -> Option<i64> {
    let unit = match text.as_bytes().last()? {
        b's' => 1_000,
        b'm' => 60_000,
        b'h' => 3_600_000,
        b'd' => 86_400_000,
        _ => return None,
    };
    digits(&text[..text.len() - 1])?.checked_mul(unit)
}

/// Milliseconds since 1970 of a date and time in the manner of RFC 3339; without a time it is midnight,
/// without a zone UTC.
fn date_time(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, time),
        None => (text, "00:00:00"),
    };
    let [year, month, day] = numbers(date, '-')?;
    let in_month = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if date.len() != 10 || !in_month {
        return None;
    }
    let (time, zone_minutes) = zone(time)?;
    let (time, fraction) = time.split_once('.').map_or((time, "0"), |(time, fraction)| (time, fraction));
    let [hour, minute, second] = numbers(time, ':')?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Three digits of the fraction count.
    digits(fraction)?;
    let ms = digits(&format!("{fraction:0<3}")[..3])?;
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - zone_minutes;
    Some((minutes * 60 + second) * 1000 + ms).filter(|ms| *ms >= 0)
}

/// The time without its zone, and the minutes that the zone is ahead of UTC.
fn zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(at) = time.find(['+', '-']) else { return Some((time, 0)) };
    let sign = if time[at..].starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = time[at + 1..].split_once(':')?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours < 24 && minutes < 60).then_some((&time[..at], sign * (hours * 60 + minutes)))
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let numbers = [digits(parts.next()?)?, digits(parts.next()?)?, digits(parts.next()?)?];
    parts.next().is_none().then_some(numbers)
}

/// A number of digits only: no sign, no spaces.
fn digits(text: &str) -> Option<i64> {
    text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())?
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Of the Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years 1 to year - 1 have a leap day every 4 years, but not every 100, yet every 400.
    let before = |year: i64| (year - 1) * 365 + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let in_year: i64 = (1..month).map(|month| days_in(year, month)).sum();
    before(year) - before(1970) + in_year + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let at = |ms| Some(Time::At(Timestamp(ms)));
        let cases = [
            ("0", at(0)),
            ("1769860800000", at(1_769_860_800_000)),
            ("1970-01-01T00:00:00Z", at(0)),
            ("2026-01-31T12:00:00Z", at(1_769_860_800_000)),
            ("2026-01-31 12:00:00", at(1_769_860_800_000)),
            ("2026-01-31T14:00:00.25+02:00", at(1_769_860_800_250)),
            ("2026-01-31T11:30:00.123456-00:30", at(1_769_860_800_123)),
            ("2026-01-31", at(1_769_817_600_000)),
            ("2000-02-29T00:00:00Z", at(951_782_400_000)),
            ("2024-12-31T23:59:59.999Z", at(1_735_689_599_999)),
            ("90s", Some(Time::AgoMs(90_000))),
            ("15m", Some(Time::AgoMs(900_000))),
            ("12h", Some(Time::AgoMs(43_200_000))),
            ("7d", Some(Time::AgoMs(604_800_000))),
            ("", None),
            ("m", None),
            ("-5m", None),
            ("2026-02-29", None),
            ("2026-13-01", None),
            ("2026-1-1", None),
            ("2026-01-31T24:00:00Z", None),
            ("2026-01-31T12:00Z", None),
            ("2026-01-31T12:00:00+2", None),
            ("1969-12-31T23:59:59Z", None),
            ("99999999999999999999", None),
            ("tomorrow", None),
            ("é", None),
        ];
        for (text, time) in cases {
            assert_eq!(text.parse::<Time>().ok(), time, "{text:?}");
        }
    }

    #[test]
    fn times_are_told_as_they_are_read() {
        for text in [
            "1970-01-01T00:00:00.000Z",
            "1999-12-31T23:59:59.999Z",
            "2000-02-29T12:00:00.250Z",
            "2024-12-31T00:00:00.000Z",
            "2026-01-31T12:00:00.007Z",
            "2100-03-01T00:00:00.000Z",
        ] {
            assert_eq!(date_time(text).map(date_time_text).as_deref(), Some(text));
        }
        assert_eq!(date_time_text(-1), "1969-12-31T23:59:59.999Z");
        // Any number that a broker may send.
        assert!(date_time_text(i64::MAX).ends_with('Z') && date_time_text(i64::MIN).ends_with('Z'));
    }

    #[test]
    fn lengths_of_time_are_short() {
        for (ms, text) in [
            (0, "0s"),
            (250, "250ms"),
            (59_999, "59s"),
            (61_000, "1m 1s"),
            (3_600_000, "1h 0m"),
            (90_000_000, "1d 1h"),
        ] {
            assert_eq!(duration_for_people(ms), text);
        }
    }
}
