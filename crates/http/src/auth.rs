//! Who may ask.

use std::future::Future;

use axum::http::StatusCode;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use crate::reply::text;

/// Decides on each request before anything else is done with it.
pub trait Authenticate: Send + Sync + 'static {
    /// Whether the request may go on. Sees all of it but its body.
    fn authenticate(&self, head: &Parts) -> impl Future<Output = Result<(), Refused>> + Send;
}

/// Why a request may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The caller has to say who they are; `scheme` says how.
    #[error("this listener needs to know who asks")]
    Unknown {
        /// What `WWW-Authenticate` tells.
        scheme: &'static str,
    },
    /// The caller is known, and may not.
    #[error("the caller may not ask for this")]
    Forbidden,
}

/// Everybody who reaches the listener may ask for everything: its address is what protects it.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Authenticate for AllowAll {
    async fn authenticate(&self, _: &Parts) -> Result<(), Refused> {
        Ok(())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Refused::Unknown { scheme } => {
                let reply = text(StatusCode::UNAUTHORIZED, format!("{self}\n"));
                ([(WWW_AUTHENTICATE, scheme)], reply).into_response()
            }
            Refused::Forbidden => text(StatusCode::FORBIDDEN, format!("{self}\n")).into_response(),
        }
    }
}
