//! Who may do what with what, in the words of Kafka's ACLs (KIP-11).

use ottla_net::Principal;
use ottla_wire::protocol::ErrorCode;

/// What is done; the number is the code of Kafka's `AclOperation`.
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

/// What it is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
    TransactionalId(&'a str),
    Cluster,
}

impl Resource<'_> {
    /// What a client is told that may not do what it asks for.
    pub fn refusal(self) -> ErrorCode {
        match self {
            Resource::Topic(_) => ErrorCode::TopicAuthorizationFailed,
            Resource::Group(_) => ErrorCode::GroupAuthorizationFailed,
            Resource::TransactionalId(_) => ErrorCode::TransactionalIdAuthorizationFailed,
            Resource::Cluster => ErrorCode::ClusterAuthorizationFailed,
        }
    }
}

/// Who asks, and from where: a slash and the address.
#[derive(Clone, Copy, Debug)]
pub struct Requester<'a> {
    pub principal: &'a Principal,
    pub host: &'a str,
}

/// Decides. Asked for every topic of a Produce and a Fetch: an implementation MUST neither wait nor lock.
pub trait Authorizer: Send + Sync {
    fn allows(&self, who: Requester<'_>, operation: Operation, resource: Resource<'_>) -> bool;
}

/// There are no ACLs: everybody may do everything, as in Kafka without `authorizer.class.name`.
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn allows(&self, _who: Requester<'_>, _operation: Operation, _resource: Resource<'_>) -> bool {
        true
    }
}
