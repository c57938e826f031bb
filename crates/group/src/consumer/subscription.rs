//! A group's knowledge of its subscribed topics.
//!
//! It is only looked at when members or topics change. A heartbeat that brings nothing new costs nothing
//! here.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_wire::primitives::Str;

use crate::consumer::group::ConsumerGroup;
use crate::consumer::lasting::Lasting;
use crate::consumer::topic_regex::{self, Regex, Resolved};
use crate::context::Context;
use crate::history::{Begin, Cause};
use crate::topics::Topics;

/// The least time between two looks of all expressions at all topics, as in Kafka: topics may come many a
/// second.
pub const REGEX_REFRESH_MIN: Duration = Duration::from_secs(10);

impl ConsumerGroup {
    /// Looks whether topics have changed. The group's epoch moves on if they have, or if `begin` gives a
    /// reason.
    pub(super) fn refresh(&mut self, ctx: &mut Context<'_>, begin: Option<Begin>) {
        let resolved_otherwise = self.resolve(ctx);
        let begin = begin.or_else(|| {
            let changed = resolved_otherwise || self.metadata_hash(ctx) != self.lasting.metadata_hash;
            changed.then(|| self.begin(Cause::TopicsChanged, None, None))
        });
        if let Some(begin) = begin {
            self.bump(ctx, begin);
        }
    }

    /// Resolves new expressions, and all of them if it is time. Returns whether one matches other topics than
    /// before.
    fn resolve(&mut self, ctx: &mut Context<'_>) -> bool {
        let wanted = self.lasting.subscribed_regexes().len();
        if wanted == 0 {
            return false;
        }
        let all = self.is_time_to_resolve(ctx);
        if all {
            self.soft.resolved_at = Some(ctx.at.now);
            self.soft.topics_changed = false;
        } else if wanted == self.lasting.regexes().len() {
            // Every expression that is kept is wanted, so none is new.
            return false;
        }
        let is_due = |regex: &&Str| all || !self.lasting.regexes().contains_key(*regex);
        let regexes: Vec<Str> = self.lasting.subscribed_regexes().filter(is_due).cloned().collect();
        let mut matches = topic_regex::resolve(&self.compiled(&regexes), ctx.topics);
        let mut changed = false;
        for regex in regexes {
            let before = self.lasting.regexes().get(&regex);
            // Another broker may have let in one that this one cannot read. It matches what it matched
            // before.
            let kept = || before.map(|before| before.topics.clone()).unwrap_or_default();
            let topics = matches.remove(&regex).unwrap_or_else(kept);
            let other = before.map_or(!topics.is_empty(), |before| before.topics != topics);
            if other || before.is_none() {
                let version = before.map_or(0, |before| before.version) + 1;
                let resolved = Resolved { topics, version, timestamp: ctx.at.wall.0 };
                self.put_regex(ctx, &regex, Some(&resolved));
            }
            changed |= other;
        }
        changed
    }

    fn is_time_to_resolve(&self, ctx: &Context<'_>) -> bool {
        let Some(resolved_at) = self.soft.resolved_at else { return true };
        let since = ctx.at.now.since(resolved_at);
        since >= ctx.config.regex_refresh_interval || (self.soft.topics_changed && since >= REGEX_REFRESH_MIN)
    }

    /// Those of `regexes` that this broker can read.
    fn compiled(&mut self, regexes: &[Str]) -> BTreeMap<Str, Regex> {
        let lasting = &self.lasting;
        self.soft.compiled.retain(|regex| lasting.members_by_regex(regex) > 0);
        let compiled =
            regexes.iter().filter_map(|regex| Some((regex.clone(), self.soft.compiled.of(regex)?)));
        compiled.collect()
    }

    /// The hash of what the group must know of its topics. Computed when topics, or the wish for them, have
    /// changed.
    pub(super) fn metadata_hash(&mut self, ctx: &Context<'_>) -> i64 {
        let version = self.lasting.topics_version();
        if self.soft.hashed.is_none_or(|(hashed, _)| hashed != version) {
            self.soft.hashed = Some((version, metadata_hash(&self.lasting, ctx.topics)));
        }
        self.soft.hashed.map_or(0, |(_, hash)| hash)
    }
}

/// FNV-1a over the topics that there are, in order of their names: name, id, and for each partition its
/// racks. No topic, no hash. Kafka's value is another one; both are read by their writer only.
fn metadata_hash(lasting: &Lasting, topics: &dyn Topics) -> i64 {
    let mut hash = Fnv::default();
    for facts in lasting.topics().filter_map(|name| topics.by_name(name)) {
        hash.text(facts.name.as_bytes());
        hash.bytes(&facts.id.0);
        hash.bytes(&facts.partitions.to_be_bytes());
        for partition in 0..facts.partitions {
            for rack in topics.racks(facts.id, partition) {
                hash.bytes(&partition.to_be_bytes());
                hash.text(rack.as_bytes());
            }
        }
    }
    hash.0.map_or(0, u64::cast_signed)
}

#[derive(Default)]
struct Fnv(Option<u64>);

impl Fnv {
    /// Text of any length, told apart from what follows.
    fn text(&mut self, text: &[u8]) {
        self.bytes(text);
        self.bytes(&[0xff]);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let start = self.0.unwrap_or(BASIS);
        self.0 = Some(bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME)));
    }
}
