//! AddOffsetsToTxn (key 25): the offsets of a group become part of a transaction. KIP-98. Clients with
//! transaction version 2 do not send it: TxnOffsetCommit does the same for them.
//!
//! - 2: INVALID_PRODUCER_EPOCH became PRODUCER_FENCED (KIP-588).
//! - 3: flexible.
//! - 4: TRANSACTION_ABORTABLE (KIP-890).

use ottla_txn::AddGroup;
use ottla_wire::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::coordinator::transactions::AddOffsetsToTxn;
use crate::door::{Operation, Resource};

pub async fn handle(call: &mut Call<'_>, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    match add(call, request).await {
        Ok(response) => response,
        Err(code) => AddOffsetsToTxnResponse { error_code: code.code(), ..Default::default() },
    }
}

async fn add(call: &Call<'_>, request: AddOffsetsToTxnRequest) -> Result<AddOffsetsToTxnResponse, ErrorCode> {
    call.authorize(Operation::Write, Resource::TransactionalId(&request.transactional_id))?;
    call.authorize(Operation::Read, Resource::Group(&request.group_id))?;
    let partition = call.ctx.coordinators.groups().partition_for(&request.group_id).await?;
    let question = AddOffsetsToTxn(AddGroup { request, partition });
    call.ctx.coordinators.transactions().ask(call.version, question).await
}
