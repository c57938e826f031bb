//! Answers as text that is the same for the same behaviour: ids that brokers make get names, and prose is
//! left out.

use std::fmt::Debug;

use ottla_wire::messages::*;
use ottla_wire::{ErrorCode, TopicId};

/// Member ids that brokers make are at least this long. Those of scripts are shorter.
const MADE_ID_BYTES_MIN: usize = 20;

/// Of more settings than these, some are shown: which there are, and their defaults, is told elsewhere.
const SETTINGS_SHOWN_MAX: usize = 3;
const SETTINGS_SHOWN: [&str; 4] =
    ["cleanup.policy", "num.io.threads", "consumer.session.timeout.ms", "interval.ms"];

/// An answer with more topics is about all topics.
const TOPICS_ASKED_MAX: usize = 2;

/// What stands for what in a transcript.
pub struct Names {
    /// What groups and topics of this run begin with.
    pub prefix: String,
    known: Vec<(String, String)>,
    members: usize,
}

impl Names {
    pub fn new(prefix: String) -> Names {
        Names { prefix, known: Vec::new(), members: 0 }
    }

    pub fn learn(&mut self, id: &str, name: &str) {
        self.known.push((id.to_owned(), name.to_owned()));
    }

    fn learn_member(&mut self, id: &str) {
        if id.len() >= MADE_ID_BYTES_MIN && !self.known.iter().any(|(known, _)| known == id) {
            self.members += 1;
            self.learn(id, &format!("member {}", self.members));
        }
    }

    fn learn_topic(&mut self, id: TopicId, name: &str) {
        if !id.is_zero() {
            self.learn(&id.to_string(), &format!("id of {name}"));
        }
    }

    fn name_of(&self, id: &str) -> String {
        let known = self.known.iter().find(|(known, _)| known == id);
        known.map_or_else(|| id.to_owned(), |(_, name)| name.clone())
    }
}

/// Puts an answer in an order that does not depend on ids, and learns the ids in it.
pub trait Tidy {
    fn tidy(&mut self, names: &mut Names);
}

impl Tidy for JoinGroupResponse {
    fn tidy(&mut self, names: &mut Names) {
        names.learn_member(&self.member_id);
        self.members
            .sort_by(|one, other| one.group_instance_id.as_deref().cmp(&other.group_instance_id.as_deref()));
        self.members.iter().for_each(|member| names.learn_member(&member.member_id));
        self.members.sort_by_key(|member| names.name_of(&member.member_id));
    }
}

impl Tidy for ConsumerGroupHeartbeatResponse {
    fn tidy(&mut self, names: &mut Names) {
        if let Some(member) = &self.member_id {
            names.learn_member(member);
        }
        if let Some(assignment) = &mut self.assignment {
            assignment.topic_partitions.sort_by_key(|topic| names.name_of(&topic.topic_id.to_string()));
            assignment.topic_partitions.iter_mut().for_each(|topic| topic.partitions.sort());
        }
    }
}

impl Tidy for DescribeGroupsResponse {
    fn tidy(&mut self, names: &mut Names) {
        for group in &mut self.groups {
            group.members.sort_by_key(|member| names.name_of(&member.member_id));
        }
    }
}

impl Tidy for ConsumerGroupDescribeResponse {
    fn tidy(&mut self, names: &mut Names) {
        for group in &mut self.groups {
            group.members.sort_by_key(|member| names.name_of(&member.member_id));
            for member in &mut group.members {
                member.subscribed_topic_names.sort();
                for assignment in [&mut member.assignment, &mut member.target_assignment] {
                    assignment.topic_partitions.iter_mut().for_each(|topic| topic.partitions.sort());
                }
            }
        }
    }
}

impl Tidy for ListGroupsResponse {
    fn tidy(&mut self, names: &mut Names) {
        self.groups.retain(|group| group.group_id.starts_with(&names.prefix));
        self.groups.sort_by(|one, other| one.group_id.cmp(&other.group_id));
    }
}

impl Tidy for OffsetFetchResponse {
    fn tidy(&mut self, names: &mut Names) {
        self.topics.sort_by(|one, other| one.name.cmp(&other.name));
        self.topics.iter_mut().for_each(|topic| topic.partitions.sort_by_key(|it| it.partition_index));
        for group in &mut self.groups {
            group
                .topics
                .sort_by_key(|topic| (topic.name.clone(), names.name_of(&topic.topic_id.to_string())));
            group.topics.iter_mut().for_each(|topic| topic.partitions.sort_by_key(|it| it.partition_index));
        }
    }
}

impl Tidy for OffsetCommitResponse {
    fn tidy(&mut self, names: &mut Names) {
        self.topics.sort_by_key(|topic| (topic.name.clone(), names.name_of(&topic.topic_id.to_string())));
        self.topics.iter_mut().for_each(|topic| topic.partitions.sort_by_key(|it| it.partition_index));
    }
}

impl Tidy for OffsetDeleteResponse {
    fn tidy(&mut self, _: &mut Names) {
        self.topics.sort_by(|one, other| one.name.cmp(&other.name));
        self.topics.iter_mut().for_each(|topic| topic.partitions.sort_by_key(|it| it.partition_index));
    }
}

impl Tidy for FindCoordinatorResponse {
    fn tidy(&mut self, _: &mut Names) {
        if self.port > 0 {
            self.port = 1;
        }
        for coordinator in self.coordinators.iter_mut().filter(|coordinator| coordinator.port > 0) {
            coordinator.port = 1;
        }
    }
}

impl Tidy for DeleteGroupsResponse {
    fn tidy(&mut self, _: &mut Names) {
        self.results.sort_by(|one, other| one.group_id.cmp(&other.group_id));
    }
}

impl Tidy for DescribeConfigsResponse {
    fn tidy(&mut self, _: &mut Names) {
        for result in &mut self.results {
            // Which settings there are, and their values, is told elsewhere.
            if result.configs.len() > SETTINGS_SHOWN_MAX {
                result.configs.retain(|config| SETTINGS_SHOWN.contains(&config.name.as_str()));
            }
            result.configs.sort_by(|one, other| one.name.cmp(&other.name));
        }
    }
}

impl Tidy for CreateTopicsResponse {
    fn tidy(&mut self, names: &mut Names) {
        self.topics.sort_by(|one, other| one.name.cmp(&other.name));
        for topic in &mut self.topics {
            names.learn_topic(topic.topic_id, &topic.name);
            if let Some(configs) = &mut topic.configs {
                configs.retain(|config| SETTINGS_SHOWN.contains(&config.name.as_str()));
            }
        }
    }
}

impl Tidy for MetadataResponse {
    fn tidy(&mut self, names: &mut Names) {
        if self.topics.len() > TOPICS_ASKED_MAX {
            self.topics.retain(|topic| is_of_the_run(topic.name.as_deref(), names));
        }
        self.topics.sort_by(|one, other| one.name.cmp(&other.name));
        for broker in &mut self.brokers {
            broker.port = 1;
        }
        self.cluster_id = self.cluster_id.take().map(|_| "the cluster".into());
    }
}

impl Tidy for DescribeTopicPartitionsResponse {
    fn tidy(&mut self, names: &mut Names) {
        self.topics.retain(|topic| is_of_the_run(topic.name.as_deref(), names));
    }
}

impl Tidy for DescribeLogDirsResponse {
    fn tidy(&mut self, names: &mut Names) {
        for dir in &mut self.results {
            dir.log_dir = "the directory".into();
            (dir.total_bytes, dir.usable_bytes) = (1, 1);
            dir.topics.retain(|topic| is_of_the_run(Some(&topic.name), names));
            dir.topics.sort_by(|one, other| one.name.cmp(&other.name));
            dir.topics.iter_mut().for_each(|topic| topic.partitions.sort_by_key(|it| it.partition_index));
        }
    }
}

impl Tidy for DeleteTopicsResponse {
    fn tidy(&mut self, _: &mut Names) {
        self.responses.sort_by(|one, other| one.name.cmp(&other.name));
    }
}

/// Answers in which nothing differs from run to run.
macro_rules! tidy_already {
    ($($answer:ty),+ $(,)?) => {
        $(impl Tidy for $answer {
            fn tidy(&mut self, _: &mut Names) {}
        })+
    };
}

tidy_already!(
    AlterConfigsResponse,
    CreatePartitionsResponse,
    HeartbeatResponse,
    IncrementalAlterConfigsResponse,
    LeaveGroupResponse,
    ListConfigResourcesResponse,
    SyncGroupResponse,
    UpdateFeaturesResponse,
);

/// Other topics are those of other scripts, and internal ones.
fn is_of_the_run(name: Option<&str>, names: &Names) -> bool {
    name.is_none_or(|name| name.starts_with(&names.prefix) || !name.contains(char::is_alphabetic))
}

pub fn text(answer: &impl Debug, names: &Names) -> String {
    let mut text = format!("{answer:?}").replace("throttle_time_ms: 0, ", "");
    // Longer ids first would be needed if one could begin with another; UUIDs do not.
    for (id, name) in &names.known {
        text = text.replace(id, name);
    }
    text = text.replace(&names.prefix, "");
    // What an error says in words is each broker's own.
    text = with_each(&text, "error_message: Some(\"", |rest| {
        let end = rest.find("\")").unwrap_or(rest.len());
        ("..".to_owned(), end)
    });
    with_each(&text, "error_code: ", |rest| {
        let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(rest.len());
        let code = rest[..end].parse().ok().and_then(ErrorCode::from_code);
        (code.map_or_else(|| rest[..end].to_owned(), |code| format!("{code:?}")), end)
    })
}

/// Replaces what follows `before`, each time. `replacement` is given the rest, and gives what stands instead
/// of how much.
fn with_each(text: &str, before: &str, replacement: impl Fn(&str) -> (String, usize)) -> String {
    let mut parts = text.split(before);
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (instead, len) = replacement(part);
        all += before;
        all += &instead;
        all += &part[len..];
    }
    all
}
