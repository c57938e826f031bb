//! Agreeing on versions, the first thing on each connection.

use std::sync::Arc;

use ottla_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::primitives::{Request, Str, decode_from};
use ottla_wire::protocol::ErrorCode;

use super::response::{Times, read_response};
use super::shared::Shared;
use crate::error::LinkError;
use crate::seam;
use crate::versions::Versions;

/// Asks for the broker's versions with our newest ApiVersions; a broker that does not know it answers a
/// version 0 body with UNSUPPORTED_VERSION and the versions it knows, and is asked again (KIP-511).
pub(super) async fn negotiate(shared: &Arc<Shared>) -> Result<Versions, LinkError> {
    let newest = *<ApiVersionsRequest as Request>::KEY.versions().end();
    let mut version = newest;
    loop {
        let response = ask_versions(shared, version).await?;
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => return Ok(Versions::of(&response)),
            Some(ErrorCode::UnsupportedVersion) if version == newest => {
                let theirs = Versions::of(&response).best(ApiVersionsRequest::KEY, newest);
                version = theirs.filter(|&v| v < newest).unwrap_or(0);
            }
            code => {
                let code = code.unwrap_or(ErrorCode::UnknownServerError);
                return Err(LinkError::Refused { address: shared.name.to_string(), code });
            }
        }
    }
}

async fn ask_versions(shared: &Arc<Shared>, version: i16) -> Result<ApiVersionsResponse, LinkError> {
    let request = ApiVersionsRequest {
        client_software_name: Str::from_static("ottla"),
        client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
    };
    let began = seam::now();
    let deadline = began + shared.request_timeout;
    let times = Times { began, deadline, late_at: deadline };
    let permit = shared.in_flight.clone().try_acquire_owned();
    let permit = permit.map_err(|_| shared.disconnected::<ApiVersionsRequest>())?;
    let mut pending = shared.submit(&request, version, times, permit)?;
    // Nothing but this question was sent, so nothing can have come of it.
    let frame = pending.frame().await.map_err(LinkError::into_not_sent)?;
    // The body begins with the error code at every version; it decides how the rest is to be read.
    const BODY: usize = size_of::<i32>();
    let unsupported = ErrorCode::UnsupportedVersion.code().to_be_bytes();
    if frame.get(BODY..BODY + 2) == Some(&unsupported[..]) {
        let body = frame.slice(BODY..);
        return decode_from(body, 0)
            .map_err(|error| LinkError::malformed(ApiVersionsRequest::KEY, &shared.name, error));
    }
    read_response::<ApiVersionsRequest>(&shared.name, frame, version)
}
