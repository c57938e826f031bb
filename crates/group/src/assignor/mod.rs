//! How the broker spreads partitions over the members of a consumer group (KIP-848).
//!
//! An assignor is a pure function of a [`Spec`]: equal input gives equal output, whatever came before.
//!
//! - [`spec`]: what an assignor knows of a group.
//! - [`partitions`]: sets of partitions.
//! - [`uniform`]: every member as many partitions as the next; partitions stay where they are.
//! - [`range`]: neighbouring partitions to one member; equal partitions of different topics to the same
//!   member.

pub mod partitions;
pub mod range;
pub mod spec;
pub mod uniform;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

pub use partitions::Partitions;
pub use spec::{MemberSpec, Spec};

/// The assignors that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    Uniform,
    Range,
}

impl Assignor {
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// The assignor of a name, as clients and `group.consumer.assignors` spell it.
    pub fn named(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The partitions of each member, in the order of [`Spec::members`]. Each partition of a topic goes to
    /// one member that is subscribed to it.
    pub fn assign(self, spec: &Spec<'_>) -> Vec<Partitions> {
        match self {
            Assignor::Uniform => uniform::assign(spec),
            Assignor::Range => range::assign(spec),
        }
    }
}
