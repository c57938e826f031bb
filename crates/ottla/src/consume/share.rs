//! Tells on stderr what a member of a group has been given of it, and what it has given up.

use std::collections::BTreeSet;

use ottla_client::{Rebalance, RebalanceListener, TopicPartition};

use crate::output::complain;

/// What the member has.
#[derive(Debug, Default)]
pub struct Share(BTreeSet<TopicPartition>);

impl RebalanceListener for Share {
    fn revoked(&mut self, _: &mut Rebalance<'_>, partitions: &[TopicPartition]) {
        complain(&self.without("revoked", partitions));
    }

    fn assigned(&mut self, _: &mut Rebalance<'_>, partitions: &[TopicPartition]) {
        complain(&self.with(partitions));
    }

    fn lost(&mut self, _: &mut Rebalance<'_>, partitions: &[TopicPartition]) {
        complain(&self.without("lost", partitions));
    }
}

impl Share {
    fn with(&mut self, partitions: &[TopicPartition]) -> String {
        self.0.extend(partitions.iter().cloned());
        match (partitions.is_empty(), self.0.is_empty()) {
            (_, true) => {
                "assigned: nothing; there are no more partitions than other members, this one waits\n"
                    .to_owned()
            }
            (true, false) => format!("assigned: nothing new; {}\n", self.text()),
            (false, false) => format!("assigned: {}; {}\n", names(partitions), self.text()),
        }
    }

    fn without(&mut self, how: &str, partitions: &[TopicPartition]) -> String {
        self.0.retain(|of| !partitions.contains(of));
        // A rebalance takes away nothing of most members.
        match partitions.is_empty() {
            true => String::new(),
            false => format!("{how}: {}; {}\n", names(partitions), self.text()),
        }
    }

    fn text(&self) -> String {
        match self.0.len() {
            1 => "this member has 1 partition".to_owned(),
            count => format!("this member has {count} partitions"),
        }
    }
}

fn names(partitions: &[TopicPartition]) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_has_is_counted_through_changes() {
        let of = |partition| TopicPartition::new("t", partition);
        let mut share = Share::default();
        assert!(share.with(&[]).starts_with("assigned: nothing; "));
        assert_eq!(share.with(&[of(0), of(1)]), "assigned: t-0 t-1; this member has 2 partitions\n");
        assert_eq!(share.with(&[]), "assigned: nothing new; this member has 2 partitions\n");
        assert_eq!(share.without("revoked", &[of(1)]), "revoked: t-1; this member has 1 partition\n");
        assert_eq!(share.without("lost", &[of(0)]), "lost: t-0; this member has 0 partitions\n");
        assert_eq!(share.without("lost", &[]), "");
    }
}
