//! DescribeCluster (key 60): the brokers, the controller and the cluster's id. KIP-700.
//!
//! - 1: brokers or controllers (KIP-919).
//! - 2: fenced brokers, too (KIP-1073).

use ottla_wire::messages::describe_cluster_response::DescribeClusterBroker;
use ottla_wire::messages::{DescribeClusterRequest, DescribeClusterResponse};
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::door::{Operation, Resource};

/// `EndpointType`: brokers, not controllers.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub async fn handle(call: &mut Call<'_>, request: DescribeClusterRequest) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        return refuse(request.endpoint_type);
    }
    let with_operations = request.include_cluster_authorized_operations;
    // A client that may not describe the cluster gets no operations on it.
    let operations = match call.may(Operation::Describe, Resource::Cluster) {
        false if with_operations => 0,
        _ => call.authorized_operations(with_operations, Resource::Cluster),
    };
    let published = call.ctx.published.load();
    let listener = &*call.session.peer.listener;
    let shown =
        published.image.brokers.values().filter(|broker| request.include_fenced_brokers || !broker.fenced);
    let brokers = shown.filter_map(|broker| {
        let at = broker.listener(listener)?;
        Some(DescribeClusterBroker {
            broker_id: broker.id.0,
            host: at.host.clone(),
            port: i32::from(at.port),
            rack: broker.rack.clone(),
            is_fenced: broker.fenced,
        })
    });
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: call.ctx.cluster_id.clone(),
        controller_id: call.ctx.controller_id(&published).0,
        brokers: brokers.collect(),
        cluster_authorized_operations: operations,
        ..Default::default()
    }
}

fn refuse(endpoint_type: i8) -> DescribeClusterResponse {
    let (code, message) = match endpoint_type {
        CONTROLLERS => (
            ErrorCode::MismatchedEndpointType,
            "the request was sent to a broker endpoint and asks for controllers".to_owned(),
        ),
        other => (ErrorCode::UnsupportedEndpointType, format!("endpoint type {other} is not known")),
    };
    DescribeClusterResponse {
        error_code: code.code(),
        error_message: Some(message.into()),
        ..Default::default()
    }
}
