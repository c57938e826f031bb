//! What `/readyz` tells.

use serde::{Serialize, Serializer};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recovery {
    /// Logs in the data directories.
    pub logs: usize,
    /// Those of them that are open.
    pub logs_open: usize,
    /// Bytes that must be read because the last stop was not a clean one. Grows while logs are opened.
    pub bytes_to_scan: u64,
    pub bytes_scanned: u64,
}

/// What is told of it. What does not apply is left out.
#[derive(Default, Serialize)]
struct Told<'a> {
    ready: bool,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<&'a Recovery>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

impl Serialize for Readiness {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let told = match self {
            Readiness::Starting { step, recovery } => {
                Told { state: "starting", step: Some(*step), recovery: Some(recovery), ..Told::default() }
            }
            Readiness::Ready => Told { ready: true, state: "ready", ..Told::default() },
            Readiness::Stopping => Told { state: "stopping", ..Told::default() },
            Readiness::Failed(why) => Told { state: "failed", why: Some(why), ..Told::default() },
        };
        told.serialize(to)
    }
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
                r#"{"ready":false,"state":"failed","why":"\"/data\" \\ is\ngone"}"#,
            ),
        ];
        for (readiness, json) in cases {
            assert_eq!(serde_json::to_string(&readiness).unwrap(), json);
        }
    }
}
