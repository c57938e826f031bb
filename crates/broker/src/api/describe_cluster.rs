//! DescribeCluster (key 60): the brokers, the controller and the cluster's id.
//! KIP-700, KIP-919 (endpoint type), KIP-1073 (fenced brokers).

use ottla_wire::messages::describe_cluster_response::DescribeClusterBroker;
use ottla_wire::messages::{DescribeClusterRequest, DescribeClusterResponse};
use ottla_wire::protocol::ErrorCode;

use super::authorized;
use super::call::Call;

/// `EndpointType`: brokers, not controllers.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub async fn handle(call: &mut Call<'_>, request: DescribeClusterRequest) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        return refuse(request.endpoint_type);
    }
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
        cluster_authorized_operations: authorized::cluster(request.include_cluster_authorized_operations),
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
