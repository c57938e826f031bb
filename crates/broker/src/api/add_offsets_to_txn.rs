//! AddOffsetsToTxn (key 25): the offsets of a group become part of a transaction. KIP-98. Clients that speak transaction
//! version 2 do not ask: TxnOffsetCommit does it for them.

use ottla_txn::AddGroup;
use ottla_wire::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::coordinator::groups::partition_in_charge;
use crate::coordinator::transactions::{AddOffsetsToTxn, ask};

pub async fn handle(call: &mut Call<'_>, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    match add(call, request).await {
        Ok(response) => response,
        Err(code) => AddOffsetsToTxnResponse { error_code: code.code(), ..Default::default() },
    }
}

async fn add(call: &Call<'_>, request: AddOffsetsToTxnRequest) -> Result<AddOffsetsToTxnResponse, ErrorCode> {
    let partition = partition_in_charge(call.ctx, &request.group_id).await?;
    let id = request.transactional_id.clone();
    ask(call.ctx, &id, call.version, AddOffsetsToTxn(AddGroup { request, partition })).await
}
