//! AddOffsetsToTxn (key 25): the offsets of a group become part of a transaction. KIP-98. Clients that speak transaction
//! version 2 do not ask: TxnOffsetCommit does it for them.

use ottla_txn::{Request, Response};
use ottla_wire::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use ottla_wire::protocol::ErrorCode;

use super::Call;
use crate::coordinator::{groups, transactions};

pub async fn handle(call: &mut Call<'_>, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    match add(call, request).await {
        Ok(response) => response,
        Err(code) => AddOffsetsToTxnResponse { error_code: code.code(), ..Default::default() },
    }
}

async fn add(call: &Call<'_>, request: AddOffsetsToTxnRequest) -> Result<AddOffsetsToTxnResponse, ErrorCode> {
    let partition = groups::partition_in_charge(call.ctx, &request.group_id).await?;
    let id = request.transactional_id.clone();
    let asked = transactions::call(call.version, Request::AddOffsetsToTxn { request, partition });
    match transactions::ask(call.ctx, &id, asked).await? {
        Response::AddOffsetsToTxn(response) => Ok(response),
        _ => unreachable!("a coordinator answers what it was asked"),
    }
}
