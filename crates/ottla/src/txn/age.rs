//! How long ago something was.

use ottla_wire::Timestamp;

use crate::output::Style;
use crate::time::Time;

pub fn now() -> Timestamp {
    Time::AgoMs(0).resolve()
}

/// How long ago something was: for people in one unit, for programs in milliseconds.
pub fn age(style: Style, ms: i64) -> String {
    match style {
        Style::Plain | Style::Json => ms.to_string(),
        Style::Terminal { .. } => match ms {
            ..1_000 => format!("{ms} ms"),
            1_000..120_000 => format!("{} s", ms / 1_000),
            120_000..7_200_000 => format!("{} min", ms / 60_000),
            7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
            172_800_000.. => format!("{} d", ms / 86_400_000),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short_for_people() {
        let cases = [
            (7, "7 ms"),
            (1_500, "1 s"),
            (119_999, "119 s"),
            (900_000, "15 min"),
            (7_200_000, "2 h"),
            (604_800_000, "7 d"),
        ];
        for (ms, text) in cases {
            assert_eq!(age(Style::Terminal { colour: false }, ms), text);
            assert_eq!(age(Style::Plain, ms), ms.to_string());
        }
    }
}
