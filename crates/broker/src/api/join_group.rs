//! JoinGroup (key 11): a member joins the next generation of a classic group.
//!
//! - 1: the rebalance timeout (KIP-62).
//! - 2: the time of throttling.
//! - 4: a member gets its id before it joins with it (KIP-394).
//! - 5: static members (KIP-345).
//! - 6: flexible.
//! - 7: type and name of the protocol in the answer; the name may be null (KIP-559).
//! - 8: the reason (KIP-800).
//! - 9: the leader may be told to leave the assignment as it is (KIP-814).

use ottla_wire::messages::{JoinGroupRequest, JoinGroupResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::door::Operation;

/// Before this version the name of the protocol cannot be null.
const NULL_PROTOCOL_VERSION: i16 = 7;

pub async fn handle(call: &mut Call<'_>, request: JoinGroupRequest) -> JoinGroupResponse {
    let member = request.member_id.clone();
    let answer = call.ask_group_with_others(Operation::Read, request).await;
    let mut response = answer.unwrap_or_else(|code| refuse(member, code));
    // In Kafka an error comes without a protocol.
    if response.error_code != 0 {
        response.protocol_name = (call.version < NULL_PROTOCOL_VERSION).then(Str::default);
    }
    response
}

fn refuse(member_id: Str, code: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse { error_code: code.code(), member_id, protocol_name: None, ..Default::default() }
}
