//! LeaveGroup for members, DeleteGroups for whole groups.

use std::collections::BTreeMap;

use ottla_wire::messages::leave_group_request::MemberIdentity;
use ottla_wire::messages::{DeleteGroupsRequest, LeaveGroupRequest};
use ottla_wire::primitives::Str;

use super::super::coordinators::{Outcomes, all_failed, by_name};
use super::super::{Admin, Repeat};
use crate::coordinator::Coordinated;
use crate::error::{ApiError, Error};

/// A member that is to leave its group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberToRemove {
    /// By the id that [`Admin::describe_groups`] tells.
    Id(String),
    /// A static member, by its `group.instance.id`.
    Instance(String),
}

impl Admin {
    /// Deletes groups with all that they have committed. They MUST have no members (NON_EMPTY_GROUP).
    pub async fn delete_groups(&self, groups: &[impl AsRef<str>]) -> BTreeMap<String, Result<(), Error>> {
        let groups = groups.iter().map(|group| Str::from(group.as_ref()));
        let delete = |_, connection: crate::Connection, groups: Vec<Str>| async move {
            let request = DeleteGroupsRequest { groups_names: groups.clone() };
            let response = match connection.call(&request).await {
                Ok(response) => response,
                Err(error) => return all_failed(&groups, &error.into()),
            };
            let outcome = |code| ApiError::check(code, None).map_err(Error::Api);
            let deleted = response.results.iter().map(|of| (of.group_id.detached(), outcome(of.error_code)));
            deleted.collect::<Outcomes<()>>()
        };
        by_name(self.ask_coordinators(Coordinated::Group, groups, Repeat::OnlyIfNotDone, delete).await)
    }

    /// Has members leave a group; they come back if they live. The broker may log the reason.
    pub async fn remove_members(
        &self,
        group: &str,
        members: &[MemberToRemove],
        reason: &str,
    ) -> Result<BTreeMap<MemberToRemove, Result<(), ApiError>>, Error> {
        let identities: Vec<MemberIdentity> = members.iter().map(|member| identity(member, reason)).collect();
        let request =
            &LeaveGroupRequest { group_id: Str::from(group), member_id: Str::default(), members: identities };
        self.ask_coordinator(Coordinated::Group, group, Repeat::OnlyIfNotDone, |connection| async move {
            let response = connection.call(request).await?;
            ApiError::check(response.error_code, None)?;
            // The broker answers in its own way (with the id of a member that was named by its instance), but
            // in order.
            let outcomes = response.members.iter().map(|member| ApiError::check(member.error_code, None));
            Ok(members.iter().cloned().zip(outcomes).collect())
        })
        .await
    }
}

fn identity(member: &MemberToRemove, reason: &str) -> MemberIdentity {
    let (member_id, group_instance_id) = match member {
        MemberToRemove::Id(id) => (Str::from(id), None),
        MemberToRemove::Instance(instance) => (Str::default(), Some(Str::from(instance))),
    };
    MemberIdentity { member_id, group_instance_id, reason: Some(Str::from(reason)) }
}
