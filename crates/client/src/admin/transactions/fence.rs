//! InitProducerId (key 22) in the name of others: whoever has the transactional id now can do nothing with it
//! any more.

use std::collections::BTreeMap;

use ottla_link::Connection;
use ottla_wire::messages::InitProducerIdRequest;
use ottla_wire::primitives::Str;
use ottla_wire::{BrokerId, ProducerEpoch, ProducerId};

use super::super::coordinators::{Outcomes, by_name};
use super::super::{Admin, Repeat};
use crate::coordinator::Coordinated;
use crate::error::{ApiError, Error};

impl Admin {
    /// Fences the producers of transactional ids, and thereby aborts what they have open; gives the id and
    /// epoch that are the current ones then.
    pub async fn fence_producers(
        &self,
        ids: &[impl AsRef<str>],
    ) -> BTreeMap<String, Result<(ProducerId, ProducerEpoch), Error>> {
        let ids = ids.iter().map(|id| Str::from(id.as_ref()));
        let timeout_ms = self.timeout_ms();
        let ask = |_: BrokerId, connection, ids| fence(connection, ids, timeout_ms);
        by_name(self.ask_coordinators(Coordinated::Transactions, ids, Repeat::Harmless, ask).await)
    }
}

async fn fence(
    connection: Connection,
    ids: Vec<Str>,
    timeout_ms: i32,
) -> Outcomes<(ProducerId, ProducerEpoch)> {
    let mut fenced = Outcomes::new();
    for id in ids {
        let request = InitProducerIdRequest {
            transactional_id: Some(id.clone()),
            transaction_timeout_ms: timeout_ms,
            ..InitProducerIdRequest::default()
        };
        let outcome = connection.call(&request).await.map_err(Error::from).and_then(|answer| {
            ApiError::check(answer.error_code, None)?;
            Ok((ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch)))
        });
        fenced.insert(id, outcome);
    }
    fenced
}
