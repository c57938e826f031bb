//! UnregisterBroker (key 64): a broker that will not come back.

use ottla_wire::BrokerId;
use ottla_wire::messages::{
    MetadataRecord, UnregisterBrokerRecord, UnregisterBrokerRequest, UnregisterBrokerResponse,
};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::{Call, Controller, Outcome, broker_heartbeat};

impl Controller {
    /// Its replicas stay assigned to it until they are reassigned; they are in no ISR any more.
    pub fn unregister_broker(
        &mut self,
        call: &mut Call<'_>,
        request: &UnregisterBrokerRequest,
    ) -> Outcome<UnregisterBrokerResponse> {
        let id = BrokerId(request.broker_id);
        let Some(broker) = call.image.broker(id) else {
            return Outcome::only(UnregisterBrokerResponse {
                error_code: ErrorCode::BrokerIdNotRegistered.code(),
                error_message: Some(Str::from(format!("Broker ID {id} is not currently registered"))),
                ..UnregisterBrokerResponse::default()
            });
        };
        self.sessions.forget(id);
        let mut records = broker_heartbeat::fence(call.image, call.settings, broker);
        records.push(MetadataRecord::UnregisterBroker(UnregisterBrokerRecord {
            broker_id: id.0,
            broker_epoch: broker.epoch.0,
        }));
        Outcome::cut(records, UnregisterBrokerResponse::default())
    }
}
