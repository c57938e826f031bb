//! What `/readyz` tells.

use std::fmt::Write;

/// Whether the broker serves clients, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is starting: `step` says with what it is busy, in a few words.
    Starting { step: &'static str, recovery: Recovery },
    /// Clients are served.
    Ready,
    /// It was asked to stop.
    Stopping,
    /// It cannot serve clients, and that will not change by itself.
    Failed(String),
}

/// How far the recovery of logs is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Logs in the data directories.
    pub logs: usize,
    /// Those of them that are open.
    pub logs_open: usize,
    /// Bytes that must be read because the last stop was not a clean one. Grows while logs are opened.
    pub bytes_to_scan: u64,
    pub bytes_scanned: u64,
}

impl Readiness {
    /// As one line of JSON.
    pub fn to_json(&self) -> String {
        match self {
            Readiness::Starting { step, recovery } => format!(
                "{{\"ready\":false,\"state\":\"starting\",\"step\":{},\"recovery\":{{\"logs\":{},\"logs_open\":{},\"bytes_to_scan\":{},\"bytes_scanned\":{}}}}}\n",
                quoted(step),
                recovery.logs,
                recovery.logs_open,
                recovery.bytes_to_scan,
                recovery.bytes_scanned
            ),
            Readiness::Ready => "{\"ready\":true,\"state\":\"ready\"}\n".to_owned(),
            Readiness::Stopping => "{\"ready\":false,\"state\":\"stopping\"}\n".to_owned(),
            Readiness::Failed(why) => {
                format!("{{\"ready\":false,\"state\":\"failed\",\"why\":{}}}\n", quoted(why))
            }
        }
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_one_line_of_json() {
        let recovery = Recovery { logs: 10, logs_open: 3, bytes_to_scan: 4096, bytes_scanned: 1024 };
        let cases = [
            (Readiness::Ready, r#"{"ready":true,"state":"ready"}"#),
            (Readiness::Stopping, r#"{"ready":false,"state":"stopping"}"#),
            (
                Readiness::Starting { step: "opening logs", recovery },
                r#"{"ready":false,"state":"starting","step":"opening logs","recovery":{"logs":10,"logs_open":3,"bytes_to_scan":4096,"bytes_scanned":1024}}"#,
            ),
            (
                Readiness::Failed("\"/data\" \\ is\ngone".to_owned()),
                r#"{"ready":false,"state":"failed","why":"\"/data\" \\ is\u000agone"}"#,
            ),
        ];
        for (readiness, json) in cases {
            assert_eq!(readiness.to_json(), format!("{json}\n"));
        }
    }
}
