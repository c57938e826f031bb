//! The operations a client may do, for the authorized-operations fields (KIP-430).

use super::authorize::{Operation, Resource};
use super::{Door, Session};

/// The value of the field when it was not requested.
const NOT_ASKED: i32 = i32::MIN;

/// All operations on a resource.
fn all(resource: Resource<'_>) -> &'static [Operation] {
    use Operation::{
        Alter, AlterConfigs, ClusterAction, Create, Delete, Describe, DescribeConfigs, IdempotentWrite, Read,
        Write,
    };
    match resource {
        Resource::Topic(_) => &[Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs],
        Resource::Group(_) => &[Read, Delete, Describe, AlterConfigs, DescribeConfigs],
        Resource::TransactionalId(_) => &[Describe, Write],
        Resource::Cluster => {
            &[Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite]
        }
    }
}

/// The field for a resource: bit N stands for the operation with code N. If the field was not requested, it
/// is the smallest number.
pub fn authorized(door: &Door, session: &Session, asked: bool, resource: Resource<'_>) -> i32 {
    if !asked {
        return NOT_ASKED;
    }
    let allowed = all(resource).iter().filter(|operation| session.may(door, **operation, resource));
    allowed.fold(0, |field, operation| field | 1 << (*operation as i8))
}
