//! When a voter of the metadata quorum stands for election.
//!
//! A voter that misses its leader asks the others first whether they would vote for it (a pre-vote, as in
//! section 9.6 of the Raft thesis); nothing changes by that. Only with a majority behind it does it stand. So
//! a voter that was paused or cut off does not depose a leader whom the others hear.
//!
//! Each wait is drawn anew, so that two voters that once came at the same time do not do so for ever. Who
//! sees that the leader's process is gone does not wait for the lease.
//!
//! The driver calls [`Campaign::judge`] at [`Campaign::wake_at`] and tells what it hears. Random numbers are
//! the driver's: any number will do.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_wire::Instant;

/// How patient a voter is.
#[derive(Clone, Copy, Debug)]
pub struct CampaignConfig {
    /// How long after it was last heard a leader is taken to lead.
    pub lease: Duration,
    /// By how much voters differ in their waits. Several round trips.
    pub spread: Duration,
    /// How long the others are waited for. At least a round trip and a flush.
    pub round: Duration,
}

/// Counts the times that this voter has asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoundNumber(pub u64);

/// What a voter is to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask the other voters whether they would vote for this one; [`Campaign::promised`] brings who would.
    Ask(RoundNumber),
    /// Stand for election.
    Stand,
}

/// The part of a voter that decides when there should be another leader.
#[derive(Debug)]
pub struct Campaign<V> {
    config: CampaignConfig,
    /// Votes that elect, this voter's own among them.
    majority: usize,
    /// The leader was last heard, and what has been seen of it since.
    heard: Instant,
    is_gone: bool,
    /// When something is to be done about it.
    due: Instant,
    last_round: u64,
    /// Who has promised a vote in the round that is open.
    promised: Option<BTreeSet<V>>,
}

impl<V: Ord + Copy> Campaign<V> {
    /// Of a voter among so many. A leader that was there before has a lease to be heard.
    pub fn new(now: Instant, config: CampaignConfig, voters: usize, random: u64) -> Campaign<V> {
        let mut campaign = Campaign {
            config,
            majority: 0,
            heard: now,
            is_gone: false,
            due: now,
            last_round: 0,
            promised: None,
        };
        campaign.voters(voters);
        campaign.heard(now, random);
        campaign
    }

    /// The number of voters has changed.
    pub fn voters(&mut self, voters: usize) {
        self.majority = voters / 2 + 1;
    }

    /// A leader was heard, or this voter has become the leader and hears a majority.
    pub fn heard(&mut self, now: Instant, random: u64) {
        (self.heard, self.is_gone, self.promised) = (now, false, None);
        self.due = now + self.config.lease + self.drawn(random);
    }

    /// The leader's process is gone: its host refuses connections, or has restarted it.
    pub fn leader_gone(&mut self, now: Instant, random: u64) {
        if !std::mem::replace(&mut self.is_gone, true) {
            self.due = self.due.min(now + self.drawn(random));
        }
    }

    /// Looks at the time. With `random` the next wait is drawn.
    pub fn judge(&mut self, now: Instant, random: u64) -> Option<Step> {
        if now < self.due {
            return None;
        }
        self.last_round += 1;
        self.promised = Some(BTreeSet::new());
        self.due = now + self.config.round + self.drawn(random);
        // Its own vote is enough where there is nobody else.
        if self.majority <= 1 { self.stand() } else { Some(Step::Ask(RoundNumber(self.last_round))) }
    }

    /// Another voter would vote for this one.
    pub fn promised(&mut self, round: RoundNumber, by: V) -> Option<Step> {
        if round.0 != self.last_round {
            return None;
        }
        let promised = self.promised.as_mut()?;
        promised.insert(by);
        if promised.len() + 1 >= self.majority { self.stand() } else { None }
    }

    /// Whether this voter would vote for another, whose log is at least as new as its own or not.
    pub fn would_vote(&self, now: Instant, is_as_new: bool) -> bool {
        is_as_new && (self.is_gone || now.since(self.heard) >= self.config.lease)
    }

    pub fn wake_at(&self) -> Instant {
        self.due
    }

    /// Once for each round.
    fn stand(&mut self) -> Option<Step> {
        self.promised = None;
        Some(Step::Stand)
    }

    fn drawn(&self, random: u64) -> Duration {
        let nanos = u64::try_from(self.config.spread.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(random.checked_rem(nanos).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: CampaignConfig = CampaignConfig {
        lease: Duration::from_millis(300),
        spread: Duration::from_millis(100),
        round: Duration::from_millis(50),
    };
    const MS: u64 = 1_000_000;

    fn after(ms: u64) -> Instant {
        Instant(0) + Duration::from_millis(ms)
    }

    fn campaign(voters: usize) -> Campaign<u8> {
        Campaign::new(after(0), CONFIG, voters, 40 * MS)
    }

    #[test]
    fn a_voter_asks_before_it_stands() {
        let mut one = campaign(5);
        assert_eq!(one.wake_at(), after(340));
        assert_eq!(one.judge(after(339), 0), None);
        assert_eq!(one.judge(after(340), 0), Some(Step::Ask(RoundNumber(1))));
        assert_eq!(one.promised(RoundNumber(1), 2), None);
        assert_eq!(one.promised(RoundNumber(1), 2), None, "the same voter");
        assert_eq!(one.promised(RoundNumber(1), 3), Some(Step::Stand));
        assert_eq!(one.promised(RoundNumber(1), 4), None, "once");
    }

    #[test]
    fn a_leader_that_is_heard_ends_the_round() {
        let mut one = campaign(3);
        assert_eq!(one.judge(after(340), 0), Some(Step::Ask(RoundNumber(1))));
        one.heard(after(341), 0);
        assert_eq!(one.promised(RoundNumber(1), 2), None);
        assert_eq!(one.judge(after(640), 0), None);
        assert_eq!(one.judge(after(641), 0), Some(Step::Ask(RoundNumber(2))));
        assert_eq!(one.promised(RoundNumber(1), 2), None, "an old promise");
    }

    #[test]
    fn a_leader_that_is_gone_is_not_waited_for() {
        let mut one = campaign(3);
        one.leader_gone(after(10), 30 * MS);
        one.leader_gone(after(20), 90 * MS);
        assert_eq!(one.wake_at(), after(40));
        assert!(one.would_vote(after(10), true));
    }

    #[test]
    fn who_hears_a_leader_votes_for_nobody_else() {
        let one = campaign(3);
        for (ms, is_as_new, votes) in
            [(0, true, false), (299, true, false), (300, true, true), (300, false, false)]
        {
            assert_eq!(one.would_vote(after(ms), is_as_new), votes, "after {ms} ms");
        }
    }

    #[test]
    fn a_voter_alone_stands_at_once() {
        assert_eq!(campaign(1).judge(after(340), 0), Some(Step::Stand));
    }

    /// Voters whose leader has vanished, over a network that takes `delay_ms` each way. When the first one
    /// has a majority behind it.
    fn first_to_stand(voters: u8, delay_ms: u64, mut random: impl FnMut() -> u64) -> u64 {
        let mut all: Vec<Campaign<u8>> =
            (0..voters).map(|_| Campaign::new(after(0), CONFIG, usize::from(voters) + 1, random())).collect();
        // Promises on their way: when they arrive, to whom, of which round, by whom.
        let mut under_way: Vec<(u64, usize, RoundNumber, u8)> = Vec::new();
        for ms in 0..5_000 {
            let (arrived, later): (Vec<_>, Vec<_>) = under_way.into_iter().partition(|(at, ..)| *at <= ms);
            under_way = later;
            for (_, to, round, by) in arrived {
                if all[to].promised(round, by) == Some(Step::Stand) {
                    return ms;
                }
            }
            for one in 0..all.len() {
                if let Some(Step::Ask(round)) = all[one].judge(after(ms), random()) {
                    let asked = after(ms + delay_ms);
                    let others = (0..voters).filter(|other| usize::from(*other) != one);
                    let would = others.filter(|other| all[usize::from(*other)].would_vote(asked, true));
                    under_way.extend(would.map(|other| (ms + 2 * delay_ms, one, round, other)));
                }
            }
        }
        panic!("nobody stands");
    }

    proptest! {
        /// However the dice fall, those that are left elect soon: no wait repeats itself.
        #[test]
        fn a_leader_that_vanishes_is_replaced_soon(seed in any::<u64>(), voters in 2..5_u8, delay in 0..20_u64) {
            let mut state = seed | 1;
            let random = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            };
            let ms = first_to_stand(voters, delay, random);
            prop_assert!((300..=500).contains(&ms), "after {ms} ms");
        }
    }
}
