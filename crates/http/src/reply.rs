//! The form of all replies.

use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use serde::Serialize;

pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
pub(crate) const JSON: &str = "application/json";
/// The version of the text format that Prometheus and its kin read.
pub(crate) const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A status, headers and a body.
pub type Reply = (StatusCode, [(HeaderName, &'static str); 3], String);

/// A reply of any type. It ends the connection: a scrape every few seconds gains nothing from keeping it, and
/// what nobody may keep cannot be hoarded.
pub fn reply(status: StatusCode, content_type: &'static str, body: String) -> Reply {
    (status, [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store"), (CONNECTION, "close")], body)
}

/// Plain text.
pub fn text(status: StatusCode, body: impl Into<String>) -> Reply {
    reply(status, TEXT, body.into())
}

/// One line of JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    match serde_json::to_string(body) {
        Ok(line) => reply(status, JSON, line + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}
