//! The way of a member from its present partitions to its target.
//!
//! A member first gives up what the target does not give it. Then it moves to the epoch of the target and
//! gets what is free. It gets the rest when others have given it up. So no partition is ever with two
//! members.

use ottla_wire::TopicId;

use crate::assignor::Partitions;
use crate::consumer::member::{Current, State};
use crate::consumer::owned::Owned;

/// The facts that decide a member's next state.
pub struct Facts<'a> {
    pub target_epoch: i32,
    pub target: &'a Partitions,
    /// The partitions that the member reports as its own; `None` if it reports nothing.
    pub owned: Option<&'a Partitions>,
    /// The member has just changed its subscription. It loses partitions of other topics at once.
    pub subscription_changed: bool,
    pub is_subscribed: &'a dyn Fn(TopicId) -> bool,
    /// Whether another member has a partition. One that is still giving it up has it.
    pub is_taken: &'a dyn Fn(TopicId, i32) -> bool,
}

/// The member's state is from a newer broker: it must give everything up and join again.
#[derive(Debug, PartialEq, Eq)]
pub struct MustRejoin;

/// The next state of a member; `None` if it stays as it is.
pub fn next(current: &Current, facts: &Facts<'_>) -> Result<Option<Current>, MustRejoin> {
    let next = match current.state {
        State::Stable if current.epoch != facts.target_epoch => toward_target(current, current.epoch, facts),
        State::Stable => return Ok(without_unsubscribed(current, facts)),
        State::UnrevokedPartitions if still_owns(&current.revoking, facts.owned) => {
            return Ok(without_unsubscribed(current, facts));
        }
        State::UnrevokedPartitions | State::UnreleasedPartitions => {
            toward_target(current, current.epoch, facts)
        }
        State::Unknown if facts.owned.is_some_and(Partitions::is_empty) => {
            toward_target(current, facts.target_epoch, facts)
        }
        State::Unknown => return Err(MustRejoin),
    };
    Ok(Some(next).filter(|next| !is_same(next, current)))
}

/// Whether only the epoch before differs, which says nothing new.
fn is_same(next: &Current, current: &Current) -> bool {
    (next.epoch, next.state) == (current.epoch, current.state)
        && next.assigned == current.assigned
        && next.revoking == current.revoking
}

/// Whether the member may still have some of `revoking`: it has not said otherwise.
fn still_owns(revoking: &Owned, owned: Option<&Partitions>) -> bool {
    let Some(owned) = owned else { return true };
    owned.iter().any(|(topic, partition)| revoking.contains(topic, partition))
}

/// Takes partitions from the member that it is not subscribed to any more. `None` if there are none.
fn without_unsubscribed(current: &Current, facts: &Facts<'_>) -> Option<Current> {
    if !facts.subscription_changed {
        return None;
    }
    let mut next = Current { assigned: Owned::default(), ..current.clone() };
    let mut revoking = current.revoking.clone();
    for (topic, partitions) in current.assigned.topics() {
        let keeps = (facts.is_subscribed)(topic);
        let into = if keeps { &mut next.assigned } else { &mut revoking };
        partitions.iter().for_each(|(partition, epoch)| into.insert(topic, *partition, *epoch));
    }
    if next.assigned == current.assigned {
        return None;
    }
    next.previous_epoch = current.epoch;
    if still_owns(&revoking, facts.owned) {
        next.state = State::UnrevokedPartitions;
        next.revoking = revoking;
    }
    Some(next)
}

/// One step toward the target, from the epoch that the member counts as being in.
fn toward_target(current: &Current, epoch: i32, facts: &Facts<'_>) -> Current {
    let is_wanted = |topic: TopicId, partition: i32| {
        facts.target.contains(topic, partition) && (facts.is_subscribed)(topic)
    };
    let (mut assigned, mut revoking) = (Owned::default(), Owned::default());
    for (topic, partition, since) in current.assigned.iter() {
        let into = if is_wanted(topic, partition) { &mut assigned } else { &mut revoking };
        into.insert(topic, partition, since);
    }
    let next = Current { previous_epoch: current.epoch, ..Current::default() };
    if !revoking.is_empty() && still_owns(&revoking, facts.owned) {
        return Current { epoch, state: State::UnrevokedPartitions, assigned, revoking, ..next };
    }
    let mut state = State::Stable;
    for (topic, partitions) in facts.target.topics() {
        if !(facts.is_subscribed)(topic) {
            continue;
        }
        for &partition in partitions {
            if assigned.contains(topic, partition) {
                continue;
            }
            match (facts.is_taken)(topic, partition) {
                true => state = State::UnreleasedPartitions,
                false => assigned.insert(topic, partition, facts.target_epoch),
            }
        }
    }
    Current { epoch: facts.target_epoch, state, assigned, ..next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignor::fixture::id;

    fn partitions(of: &[i32]) -> Partitions {
        of.iter().map(|partition| (id("t"), *partition)).collect()
    }

    fn owned(of: &[(i32, i32)]) -> Owned {
        of.iter().map(|(partition, epoch)| (id("t"), *partition, *epoch)).collect()
    }

    fn current(epoch: i32, state: State, assigned: &[(i32, i32)], revoking: &[(i32, i32)]) -> Current {
        Current {
            epoch,
            previous_epoch: epoch - 1,
            state,
            assigned: owned(assigned),
            revoking: owned(revoking),
        }
    }

    struct Case {
        target: Partitions,
        owned: Option<Partitions>,
        taken: Vec<i32>,
        subscribed: bool,
        changed: bool,
    }

    fn case(target: &[i32]) -> Case {
        Case { target: partitions(target), owned: None, taken: vec![], subscribed: true, changed: false }
    }

    impl Case {
        fn owns(self, owned: &[i32]) -> Case {
            Case { owned: Some(partitions(owned)), ..self }
        }

        fn taken(self, taken: &[i32]) -> Case {
            Case { taken: taken.to_vec(), ..self }
        }

        fn unsubscribed(self) -> Case {
            Case { subscribed: false, changed: true, ..self }
        }

        /// The next state, with target epoch 5.
        fn next(&self, current: &Current) -> Option<Current> {
            next(current, &self.facts(&|_| self.subscribed, &|_, p| self.taken.contains(&p))).unwrap()
        }

        fn facts<'a>(
            &'a self,
            is_subscribed: &'a dyn Fn(TopicId) -> bool,
            is_taken: &'a dyn Fn(TopicId, i32) -> bool,
        ) -> Facts<'a> {
            Facts {
                target_epoch: 5,
                target: &self.target,
                owned: self.owned.as_ref(),
                subscription_changed: self.changed,
                is_subscribed,
                is_taken,
            }
        }
    }

    use State::*;

    #[test]
    fn stable_members_move_to_the_target() {
        let at_4 = current(4, Stable, &[(0, 2), (1, 3)], &[]);
        let cases = [
            (case(&[0, 1]), current(5, Stable, &[(0, 2), (1, 3)], &[])),
            (case(&[0, 1, 2]), current(5, Stable, &[(0, 2), (1, 3), (2, 5)], &[])),
            (case(&[0, 1, 2]).taken(&[2]), current(5, UnreleasedPartitions, &[(0, 2), (1, 3)], &[])),
            (
                case(&[0, 1, 2, 3]).taken(&[2]),
                current(5, UnreleasedPartitions, &[(0, 2), (1, 3), (3, 5)], &[]),
            ),
            // It says that it has 1: it must give it up first, and gets nothing new before.
            (case(&[0, 2]).owns(&[0, 1]), current(4, UnrevokedPartitions, &[(0, 2)], &[(1, 3)])),
            (case(&[0, 2]), current(4, UnrevokedPartitions, &[(0, 2)], &[(1, 3)])),
            // It does not have 1, whatever it was assigned.
            (case(&[0, 2]).owns(&[0]), current(5, Stable, &[(0, 2), (2, 5)], &[])),
        ];
        for (case, expected) in cases {
            let expected = Current { previous_epoch: 4, ..expected };
            assert_eq!(case.next(&at_4), Some(expected));
        }
    }

    #[test]
    fn who_is_there_stays() {
        let there = current(5, Stable, &[(0, 2)], &[]);
        assert_eq!(case(&[0]).next(&there), None);
        let waiting = current(5, UnreleasedPartitions, &[(0, 2)], &[]);
        assert_eq!(case(&[0, 1]).taken(&[1]).next(&waiting), None);
        let revoking = current(4, UnrevokedPartitions, &[(0, 2)], &[(1, 3)]);
        assert_eq!(case(&[0]).next(&revoking), None);
        assert_eq!(case(&[0]).owns(&[0, 1]).next(&revoking), None);
    }

    #[test]
    fn what_was_given_up_lets_members_go_on() {
        let revoking = current(3, UnrevokedPartitions, &[(0, 2)], &[(1, 3)]);
        let next = case(&[0, 2]).owns(&[0]).next(&revoking).unwrap();
        assert_eq!(next, Current { previous_epoch: 3, ..current(5, Stable, &[(0, 2), (2, 5)], &[]) });
        let waiting = current(5, UnreleasedPartitions, &[(0, 2)], &[]);
        let next = case(&[0, 1]).next(&waiting).unwrap();
        assert_eq!(next, Current { previous_epoch: 5, ..current(5, Stable, &[(0, 2), (1, 5)], &[]) });
    }

    #[test]
    fn unsubscribed_topics_are_taken_at_once() {
        let there = current(5, Stable, &[(0, 2)], &[]);
        let next = case(&[0]).unsubscribed().next(&there).unwrap();
        assert_eq!((next.epoch, next.state), (5, UnrevokedPartitions));
        assert_eq!((next.assigned, next.revoking), (owned(&[]), owned(&[(0, 2)])));
        let next = case(&[0]).unsubscribed().owns(&[]).next(&there).unwrap();
        assert_eq!((next.state, next.assigned, next.revoking), (Stable, owned(&[]), owned(&[])));
        let revoking = current(4, UnrevokedPartitions, &[(0, 2)], &[(1, 3)]);
        let next = case(&[0]).unsubscribed().owns(&[1]).next(&revoking).unwrap();
        assert_eq!((next.epoch, next.revoking), (4, owned(&[(0, 2), (1, 3)])));
    }

    #[test]
    fn unknown_states_must_rejoin() {
        let unknown = current(4, Unknown, &[(0, 2)], &[]);
        let case = case(&[0]);
        let facts = case.facts(&|_| true, &|_, _| false);
        assert_eq!(next(&unknown, &facts), Err(MustRejoin));
        let empty = Partitions::default();
        let facts = Facts { owned: Some(&empty), ..facts };
        let rejoined = next(&unknown, &facts).unwrap().unwrap();
        assert_eq!((rejoined.epoch, rejoined.state), (5, Stable));
    }
}
