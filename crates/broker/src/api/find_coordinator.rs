//! FindCoordinator (key 10): the coordinator of a group or a transactional id.
//!
//! - 1: transactional ids (KIP-98), a message with an error.
//! - 3: flexible.
//! - 4: several keys in one request (KIP-699).
//! - 5: TRANSACTION_ABORTABLE (KIP-890).
//! - 6: share groups (KIP-932), which have no coordinator here.
//!
//! The coordinator is the leader of the id's partition of an internal topic, which is created on first need.

use ottla_wire::messages::find_coordinator_response::Coordinator;
use ottla_wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, InternalTopic};

use super::call::Call;
use crate::door::{Operation, Resource};

/// From this version on, a request names several keys.
const SEVERAL_VERSION: i16 = 4;

/// The kinds of coordinators, as Kafka numbers them.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// The address of a coordinator: node, host and port.
type CoordinatorAddress = (BrokerId, Str, u16);

pub async fn handle(call: &mut Call<'_>, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    if call.version >= SEVERAL_VERSION {
        let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
        for key in request.coordinator_keys {
            let found = find(call, request.key_type, &key).await;
            coordinators.push(coordinator(key, found));
        }
        return FindCoordinatorResponse { coordinators, ..Default::default() };
    }
    let Coordinator { node_id, host, port, error_code, error_message, .. } =
        coordinator(Str::default(), find(call, request.key_type, &request.key).await);
    FindCoordinatorResponse { error_code, error_message, node_id, host, port, ..Default::default() }
}

/// Why there is no coordinator to name.
struct NotFound {
    code: ErrorCode,
    message: &'static str,
}

async fn find(call: &Call<'_>, key_type: i8, key: &str) -> Result<CoordinatorAddress, NotFound> {
    let topic = match key_type {
        GROUP => InternalTopic::Offsets,
        TRANSACTION => InternalTopic::TransactionState,
        // Share groups (2), and kinds of later versions.
        _ => {
            let message = "coordinators are for groups (0) and transactional ids (1)";
            return Err(NotFound { code: ErrorCode::InvalidRequest, message });
        }
    };
    let resource = match topic {
        InternalTopic::Offsets => Resource::Group(key),
        InternalTopic::TransactionState => Resource::TransactionalId(key),
    };
    call.authorize(Operation::Describe, resource)
        .map_err(|code| NotFound { code, message: "the client may not describe it" })?;
    let not_now = |message| NotFound { code: ErrorCode::CoordinatorNotAvailable, message };
    let index = call.ctx.coordinators.partition_for(topic, key).await;
    let index =
        index.map_err(|_| not_now("the topic of the coordinators is not there and cannot be created now"))?;
    let published = call.ctx.published.load();
    let image = &published.image;
    let topic = image.topic(topic.topic());
    let partition = topic.and_then(|topic| topic.partition(index));
    let leader = partition.and_then(|partition| partition.leader).and_then(|id| image.broker(id));
    let leader = leader.filter(|broker| !broker.fenced);
    let endpoint = leader.and_then(|broker| Some((broker.id, broker.listener(&call.session.peer.listener)?)));
    let (id, endpoint) = endpoint.ok_or_else(|| not_now("the coordinator is not there now"))?;
    Ok((id, endpoint.host.clone(), endpoint.port))
}

fn coordinator(key: Str, found: Result<CoordinatorAddress, NotFound>) -> Coordinator {
    match found {
        Ok((id, host, port)) => {
            Coordinator { key, node_id: id.0, host, port: i32::from(port), ..Default::default() }
        }
        Err(NotFound { code, message }) => Coordinator {
            key,
            node_id: BrokerId::NONE.0,
            port: -1,
            error_code: code.code(),
            error_message: Some(Str::from_static(message)),
            ..Default::default()
        },
    }
}
