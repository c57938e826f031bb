//! Decides which requests are admitted.

use bytes::{Buf, Bytes};
use ottla_net::{CloseReason, Frame};
use ottla_wire::messages::RequestHeader;
use ottla_wire::primitives::{Message, Reader, Str};
use ottla_wire::protocol::{ApiKey, request_header_version};

use super::session::Session;

/// An admitted request. Its header is read, and its API is served in its version.
pub struct Admitted {
    pub key: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<Str>,
    /// The bytes after the header.
    pub body: Reader,
}

/// Why a request was not admitted.
pub enum TurnedAway {
    /// Later bytes cannot be trusted or must not be served, so the connection closes.
    Closed(CloseReason),
    /// The client asks for ApiVersions in an unknown version. The answer says so, and the client chooses
    /// another version (KIP-511).
    UnsupportedApiVersions { correlation_id: i32 },
}

impl From<CloseReason> for TurnedAway {
    fn from(reason: CloseReason) -> TurnedAway {
        TurnedAway::Closed(reason)
    }
}

impl From<TurnedAway> for CloseReason {
    fn from(turned_away: TurnedAway) -> CloseReason {
        match turned_away {
            TurnedAway::Closed(reason) => reason,
            TurnedAway::UnsupportedApiVersions { .. } => {
                CloseReason::refused("ApiVersions among other requests")
            }
        }
    }
}

/// Admits a request if it is served.
pub fn admit(served: &[ApiKey], session: &Session, frame: Bytes) -> Result<Admitted, TurnedAway> {
    let (code, version) = peek(&frame).ok_or_else(|| CloseReason::refused("a request without a header"))?;
    let key = ApiKey::try_from(code).map_err(|unknown| CloseReason::refused(unknown.to_string()))?;
    let mut body = Reader::new(frame);
    let header = RequestHeader::decode(&mut body, request_header_version(key, version))
        .map_err(|error| CloseReason::refused(format!("header of {key} version {version}: {error}")))?;
    let RequestHeader { correlation_id, client_id, .. } = header;
    if !session.admits(key) {
        return Err(CloseReason::refused(format!("{key} before the client has said who it is")).into());
    }
    if !served.contains(&key) {
        return Err(CloseReason::refused(format!("{key} is not served")).into());
    }
    match key.versions().contains(&version) {
        true => Ok(Admitted { key, version, correlation_id, client_id, body }),
        false if key == ApiKey::ApiVersions => Err(TurnedAway::UnsupportedApiVersions { correlation_id }),
        false => Err(CloseReason::refused(format!("{key} version {version} is not served")).into()),
    }
}

/// API key and version, the beginning of every header.
fn peek(frame: &Bytes) -> Option<(i16, i16)> {
    let mut start = frame.get(..4)?;
    Some((start.get_i16(), start.get_i16()))
}

/// Whether a frame is a request of this API.
pub fn is_of(frame: &Frame, key: ApiKey) -> bool {
    peek(&frame.bytes).is_some_and(|(code, _)| code == key.code())
}
