//! JoinGroup (key 11): a member takes part in the next generation of a classic group.
//! KIP-62 (rebalance timeout), KIP-345 (static members), KIP-394 (member ids), KIP-559 (protocol names), KIP-800 (reasons).

use ottla_wire::messages::{JoinGroupRequest, JoinGroupResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::call::Call;

/// Before this version the name of the protocol cannot be null.
const NULL_PROTOCOL_VERSION: i16 = 7;

pub async fn handle(call: &mut Call<'_>, request: JoinGroupRequest) -> JoinGroupResponse {
    let member = request.member_id.clone();
    let mut response = call
        .ctx
        .coordinators
        .groups()
        .ask_with_others(call.caller(), request)
        .await
        .unwrap_or_else(|code| refuse(member, code));
    // Kafka names no protocol with an error.
    if response.error_code != 0 {
        response.protocol_name = (call.version < NULL_PROTOCOL_VERSION).then(Str::default);
    }
    response
}

fn refuse(member_id: Str, code: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse { error_code: code.code(), member_id, protocol_name: None, ..Default::default() }
}
