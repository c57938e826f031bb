//! AddOffsetsToTxn (key 25): the offsets of a group become part of a transaction. KIP-98. Clients that speak transaction
//! version 2 do not ask: TxnOffsetCommit does it for them.

use ottla_txn::AddGroup;
use ottla_wire::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::coordinator::transactions::AddOffsetsToTxn;

pub async fn handle(call: &mut Call<'_>, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    match add(call, request).await {
        Ok(response) => response,
        Err(code) => AddOffsetsToTxnResponse { error_code: code.code(), ..Default::default() },
    }
}

async fn add(call: &Call<'_>, request: AddOffsetsToTxnRequest) -> Result<AddOffsetsToTxnResponse, ErrorCode> {
    let partition = call.ctx.coordinators.groups().partition_for(&request.group_id).await?;
    let id = request.transactional_id.clone();
    let question = AddOffsetsToTxn(AddGroup { request, partition });
    call.ctx.coordinators.transactions().ask(call.version, &id, question).await
}
