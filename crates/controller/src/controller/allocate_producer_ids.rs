//! AllocateProducerIds (key 67): a block of producer ids for one broker (KIP-730).

use ottla_wire::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, MetadataRecord, ProducerIdsRecord,
};
use ottla_wire::protocol::ErrorCode;

use super::broker_heartbeat::check_epoch;
use super::{Call, Controller, Outcome};

/// Ids in a block.
pub const PRODUCER_ID_BLOCK_LEN: i32 = 1000;

impl Controller {
    pub fn allocate_producer_ids(
        &mut self,
        call: &mut Call<'_>,
        request: &AllocateProducerIdsRequest,
    ) -> Outcome<AllocateProducerIdsResponse> {
        let refuse = |code: ErrorCode| {
            let response = AllocateProducerIdsResponse { error_code: code.code(), ..Default::default() };
            Outcome::only(response)
        };
        if let Err(failure) = check_epoch(call.image, request.broker_id, request.broker_epoch) {
            return refuse(failure.code);
        }
        let first = call.image.next_producer_id.0;
        let Some(next) = first.checked_add(i64::from(PRODUCER_ID_BLOCK_LEN)) else {
            // 9 * 10^18 ids are used up.
            return refuse(ErrorCode::UnknownServerError);
        };
        let record = MetadataRecord::ProducerIds(ProducerIdsRecord {
            broker_id: request.broker_id,
            broker_epoch: request.broker_epoch,
            next_producer_id: next,
        });
        let response = AllocateProducerIdsResponse {
            producer_id_start: first,
            producer_id_len: PRODUCER_ID_BLOCK_LEN,
            ..AllocateProducerIdsResponse::default()
        };
        Outcome::new(vec![record], response)
    }
}
