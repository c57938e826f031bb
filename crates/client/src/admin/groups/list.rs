//! ListGroups: the groups of every broker.

use std::collections::BTreeMap;

use ottla_wire::BrokerId;
use ottla_wire::messages::ListGroupsRequest;
use ottla_wire::messages::list_groups_response::ListedGroup;
use ottla_wire::primitives::Str;

use super::super::{Admin, Repeat};
use crate::cluster::Lane;
use crate::error::{ApiError, Error};

/// The first version of ListGroups that filters by state (KIP-518).
const STATES_MIN: i16 = 4;
/// The first version of ListGroups that filters by type (KIP-848).
const TYPES_MIN: i16 = 5;

/// The protocol that a group's members speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupType {
    Classic,
    Consumer,
    Share,
    Streams,
}

impl GroupType {
    pub const ALL: [GroupType; 4] =
        [GroupType::Classic, GroupType::Consumer, GroupType::Share, GroupType::Streams];

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            GroupType::Classic => "Classic",
            GroupType::Consumer => "Consumer",
            GroupType::Share => "Share",
            GroupType::Streams => "Streams",
        }
    }

    /// In any case of letters.
    pub fn from_name(name: &str) -> Option<GroupType> {
        GroupType::ALL.into_iter().find(|of| of.name().eq_ignore_ascii_case(name))
    }
}

/// What a group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupState {
    PreparingRebalance,
    CompletingRebalance,
    Stable,
    Dead,
    Empty,
    Assigning,
    Reconciling,
    NotReady,
}

impl GroupState {
    pub const ALL: [GroupState; 8] = [
        GroupState::PreparingRebalance,
        GroupState::CompletingRebalance,
        GroupState::Stable,
        GroupState::Dead,
        GroupState::Empty,
        GroupState::Assigning,
        GroupState::Reconciling,
        GroupState::NotReady,
    ];

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
            GroupState::Empty => "Empty",
            GroupState::Assigning => "Assigning",
            GroupState::Reconciling => "Reconciling",
            GroupState::NotReady => "NotReady",
        }
    }

    /// In any case of letters.
    pub fn from_name(name: &str) -> Option<GroupState> {
        GroupState::ALL.into_iter().find(|state| state.name().eq_ignore_ascii_case(name))
    }
}

/// Which groups are listed. Each empty list means all.
#[derive(Clone, Debug, Default)]
pub struct GroupFilter {
    pub states: Vec<GroupState>,
    pub types: Vec<GroupType>,
    /// As `consumer` or `connect`; empty text for groups that only commit offsets.
    pub protocol_types: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    pub group_id: String,
    pub protocol_type: String,
    /// None if the broker is too old to tell, or tells what this client does not know.
    pub state: Option<GroupState>,
    /// Likewise.
    pub group_type: Option<GroupType>,
}

/// The groups of the brokers that answered, in the order of their ids, and why the others did not.
#[derive(Clone, Debug, Default)]
pub struct GroupListings {
    pub groups: Vec<GroupListing>,
    pub errors: BTreeMap<BrokerId, Error>,
}

impl Admin {
    /// Groups of all brokers. Older brokers do not filter: what they tell of a group is filtered here, and a
    /// group of which they do not tell enough is left out.
    pub async fn list_groups(&self, filter: &GroupFilter) -> Result<GroupListings, Error> {
        let brokers: Vec<BrokerId> = self.cluster.refresh().await?.brokers.keys().copied().collect();
        let mut listings = GroupListings::default();
        for broker in brokers {
            match self.repeat(Repeat::Harmless, || self.list_groups_of(broker, filter)).await {
                Ok(groups) => listings.groups.extend(groups),
                Err(error) => drop(listings.errors.insert(broker, error)),
            }
        }
        listings.groups.sort_unstable_by(|a, b| a.group_id.cmp(&b.group_id));
        Ok(listings)
    }

    async fn list_groups_of(
        &self,
        broker: BrokerId,
        filter: &GroupFilter,
    ) -> Result<Vec<GroupListing>, Error> {
        let connection = self.cluster.connection(broker, Lane::SHARED).await?;
        let version = connection.version_of::<ListGroupsRequest>()?;
        let mut request = ListGroupsRequest::default();
        if version >= STATES_MIN {
            request.states_filter =
                filter.states.iter().map(|state| Str::from_static(state.name())).collect();
        }
        if version >= TYPES_MIN {
            request.types_filter = filter.types.iter().map(|of| Str::from_static(of.name())).collect();
        }
        let response = connection.call(&request).await?;
        ApiError::check(response.error_code, None)?;
        Ok(response.groups.into_iter().map(read).filter(|group| filter.admits(group)).collect())
    }
}

impl GroupFilter {
    fn admits(&self, group: &GroupListing) -> bool {
        fn among<T: PartialEq>(all: &[T], one: Option<&T>) -> bool {
            all.is_empty() || one.is_some_and(|one| all.contains(one))
        }
        among(&self.states, group.state.as_ref())
            && among(&self.types, group.group_type.as_ref())
            && among(&self.protocol_types, Some(&group.protocol_type))
    }
}

fn read(group: ListedGroup) -> GroupListing {
    GroupListing {
        group_id: group.group_id.into(),
        protocol_type: group.protocol_type.into(),
        state: GroupState::from_name(&group.group_state),
        group_type: GroupType::from_name(&group.group_type),
    }
}
