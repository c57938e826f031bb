//! Who may do what with what, in the words of Kafka's ACLs (KIP-11).

use ottla_net::Principal;
use ottla_wire::protocol::ErrorCode;

/// An operation. The number is the code of Kafka's `AclOperation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
}

/// The thing that an operation works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
    TransactionalId(&'a str),
    Cluster,
}

impl Resource<'_> {
    /// The error code for a client that lacks permission.
    pub fn refusal(self) -> ErrorCode {
        match self {
            Resource::Topic(_) => ErrorCode::TopicAuthorizationFailed,
            Resource::Group(_) => ErrorCode::GroupAuthorizationFailed,
            Resource::TransactionalId(_) => ErrorCode::TransactionalIdAuthorizationFailed,
            Resource::Cluster => ErrorCode::ClusterAuthorizationFailed,
        }
    }
}

/// The client, and where it is: a slash and the address.
#[derive(Clone, Copy, Debug)]
pub struct Requester<'a> {
    pub principal: &'a Principal,
    pub host: &'a str,
}

/// Decides about permissions. Called for every topic of a Produce and a Fetch, so an implementation MUST
/// neither wait nor lock.
pub trait Authorizer: Send + Sync {
    fn allows(&self, who: Requester<'_>, operation: Operation, resource: Resource<'_>) -> bool;
}

/// Without ACLs everyone may do everything, as in Kafka without `authorizer.class.name`.
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn allows(&self, _who: Requester<'_>, _operation: Operation, _resource: Resource<'_>) -> bool {
        true
    }
}
