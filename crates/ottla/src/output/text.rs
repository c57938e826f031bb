//! Values as text.

use serde_json::Value;

/// One JSON document on a line.
pub fn json_line(value: &Value) -> String {
    format!("{value}\n")
}

/// A size for people: `0 B`, `999 B`, `1.5 KiB`, `12 MiB`.
pub fn bytes_for_people(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        // What would be shown as 1024 is shown as 1 of the next unit.
        if size < 1023.5 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    let digits = if unit == "B" || size >= 9.95 { 0 } else { 1 };
    format!("{size:.digits$} {unit}")
}

/// A dash where there is nothing to show.
pub fn or_dash(text: Option<impl ToString>) -> String {
    let text = text.map(|text| visible(&text.to_string()));
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}

/// Names and reasons are what clients say: what would move a cursor or part a column is not shown.
pub fn visible(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10 << 10, "10 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (12 << 20, "12 MiB"),
            (i64::MAX, "8.0 EiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(bytes_for_people(bytes), text);
        }
    }

    #[test]
    fn what_clients_say_cannot_write_elsewhere() {
        assert_eq!(or_dash(Some("a\x1b[2J\tb\nü")), "a\u{fffd}[2J\u{fffd}b\u{fffd}ü");
        assert_eq!(
            (or_dash(Some("")), or_dash(None::<i32>), or_dash(Some(7))),
            ("-".into(), "-".into(), "7".into())
        );
    }
}
