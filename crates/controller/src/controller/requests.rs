//! All requests in one type, for drivers that have one queue for them.

use ottla_wire::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterConfigsRequest, AlterConfigsResponse,
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, AlterPartitionRequest,
    AlterPartitionResponse, AssignReplicasToDirsRequest, AssignReplicasToDirsResponse,
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, ElectLeadersRequest, ElectLeadersResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, UnregisterBrokerRequest,
    UnregisterBrokerResponse, UpdateFeaturesRequest, UpdateFeaturesResponse,
};

use super::{Call, Controller, Outcome};

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident($request:ident) -> $response:ident by $method:ident;)*) => {
        /// A request to the controller, as its message of the wire.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Request { $($(#[$doc])* $name($request),)* }

        /// The answer to the [`Request`] of the same name.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Response { $($name($response),)* }

        $(impl From<$request> for Request {
            fn from(request: $request) -> Request { Request::$name(request) }
        }

        impl TryFrom<Response> for $response {
            type Error = Response;
            /// Gives the response back if it is another.
            fn try_from(response: Response) -> Result<$response, Response> {
                match response { Response::$name(response) => Ok(response), other => Err(other) }
            }
        })*

        impl Controller {
            /// Decides on any request.
            pub fn handle(&mut self, call: &mut Call<'_>, request: &Request) -> Outcome<Response> {
                match request { $(Request::$name(request) => self.$method(call, request).map(Response::$name),)* }
            }
        }
    };
}

requests! {
    AllocateProducerIds(AllocateProducerIdsRequest) -> AllocateProducerIdsResponse by allocate_producer_ids;
    AlterConfigs(AlterConfigsRequest) -> AlterConfigsResponse by alter_configs;
    AlterPartition(AlterPartitionRequest) -> AlterPartitionResponse by alter_partition;
    AlterPartitionReassignments(AlterPartitionReassignmentsRequest) -> AlterPartitionReassignmentsResponse
        by alter_partition_reassignments;
    AssignReplicasToDirs(AssignReplicasToDirsRequest) -> AssignReplicasToDirsResponse by assign_replicas_to_dirs;
    BrokerHeartbeat(BrokerHeartbeatRequest) -> BrokerHeartbeatResponse by broker_heartbeat;
    BrokerRegistration(BrokerRegistrationRequest) -> BrokerRegistrationResponse by register_broker;
    CreatePartitions(CreatePartitionsRequest) -> CreatePartitionsResponse by create_partitions;
    CreateTopics(CreateTopicsRequest) -> CreateTopicsResponse by create_topics;
    DeleteTopics(DeleteTopicsRequest) -> DeleteTopicsResponse by delete_topics;
    ElectLeaders(ElectLeadersRequest) -> ElectLeadersResponse by elect_leaders;
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse
        by incremental_alter_configs;
    UnregisterBroker(UnregisterBrokerRequest) -> UnregisterBrokerResponse by unregister_broker;
    UpdateFeatures(UpdateFeaturesRequest) -> UpdateFeaturesResponse by update_features;
}
