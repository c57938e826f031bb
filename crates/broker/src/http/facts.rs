//! What the metrics tell besides counters: of topics, data directories and the process.

use std::fs;

use ottla_log::DataDir;
use ottla_wire::BrokerId;
use ottla_wire::primitives::Str;

use crate::published::{LocalTopic, Published};

/// The partitions of one topic that this broker holds, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicFacts {
    pub name: Str,
    /// Partitions held here.
    pub partitions: u64,
    /// Of those, the ones that this broker leads.
    pub leading: u64,
    /// Led here, with fewer in-sync replicas than there are replicas.
    pub under_replicated: u64,
    /// Led here, with fewer in-sync replicas than `min.insync.replicas`.
    pub under_min_isr: u64,
    /// Held here, of a topic that asks for compaction, which is not carried out yet.
    pub uncompacted: u64,
    /// Held here, with no leader known or their log failed.
    pub offline: u64,
    /// Size of the logs in bytes.
    pub log_bytes: u64,
    /// Log end offsets added up: it grows by one for each record.
    pub end_offsets: u64,
}

impl TopicFacts {
    /// Of all topics with partitions here, in the order of their names.
    pub fn of(published: &Published) -> Vec<TopicFacts> {
        let mut all: Vec<TopicFacts> = published.topics().map(|topic| of_topic(published, topic)).collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Adds the numbers of another topic.
    pub fn add(&mut self, other: &TopicFacts) {
        self.partitions += other.partitions;
        self.leading += other.leading;
        self.under_replicated += other.under_replicated;
        self.under_min_isr += other.under_min_isr;
        self.uncompacted += other.uncompacted;
        self.offline += other.offline;
        self.log_bytes += other.log_bytes;
        self.end_offsets += other.end_offsets;
    }
}

fn of_topic(published: &Published, topic: &LocalTopic) -> TopicFacts {
    use ottla_replica::ViewRole::{Follower, Idle, Leader, Offline, Retired};
    let mut facts = TopicFacts { name: topic.name.clone(), ..TopicFacts::default() };
    for partition in topic.partitions() {
        let view = partition.view();
        let replica = &view.replica;
        facts.partitions += 1;
        facts.uncompacted += u64::from(topic.config.cleanup_compact);
        facts.log_bytes += partition.reader.size();
        facts.end_offsets += u64::try_from(replica.log_end.0).unwrap_or(0);
        match replica.role {
            Leader => {
                let known = published.image.partition(topic.id, partition.index);
                let replicas = known.map_or(0, |known| known.replicas.len());
                facts.leading += 1;
                facts.under_replicated += u64::from(replica.isr.len() < replicas);
                facts.under_min_isr += u64::from(replica.under_min_isr);
            }
            Idle | Offline => facts.offline += 1,
            Follower | Retired => {}
        }
    }
    facts
}

/// One data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirFacts {
    pub path: String,
    pub online: bool,
    /// Bytes of its file system: all, and those that can still be written. `None` if it does not say.
    pub space: Option<(u64, u64)>,
}

impl DirFacts {
    pub fn of(dir: &DataDir) -> DirFacts {
        DirFacts {
            path: dir.path().display().to_string(),
            online: dir.health().is_online(),
            space: dir.space().ok().map(|space| (space.total, space.usable)),
        }
    }
}

/// Who the broker is.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeFacts {
    pub id: BrokerId,
    pub cluster_id: Str,
    pub version: &'static str,
    /// When the process started, in seconds since 1970.
    pub started_s: f64,
}

/// How full things are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelFacts {
    /// Bytes of requests that are being read or served.
    pub admitted_bytes: usize,
    pub fetch_sessions: usize,
    /// How far the metadata log is applied and published.
    pub metadata_index: u64,
}

/// What the operating system says of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessFacts {
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub cpu_s: f64,
    pub threads: u64,
    pub open_fds: u64,
    pub max_fds: u64,
}

/// Linux tells times of processes in units of 1/100 s on every architecture that Rust runs on.
const TICKS_PER_S: f64 = 100.0;

impl ProcessFacts {
    /// Reads `/proc/self`; `None` where there is no such thing.
    pub fn read() -> Option<ProcessFacts> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        Some(ProcessFacts {
            resident_bytes: status_number(&status, "VmRSS:")? * 1024,
            virtual_bytes: status_number(&status, "VmSize:")? * 1024,
            threads: status_number(&status, "Threads:")?,
            cpu_s: cpu_seconds(&stat)?,
            // The count includes the descriptor that reads the folder.
            open_fds: fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64,
            max_fds: rustix::process::getrlimit(rustix::process::Resource::Nofile)
                .current
                .unwrap_or(u64::MAX),
        })
    }
}

/// A number of `/proc/self/status` (proc_pid_status(5)): sizes are in KiB there.
fn status_number(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

/// User and system time from the line of `/proc/self/stat` (proc_pid_stat(5)); the name in parentheses may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let behind_name = stat.get(stat.rfind(')')? + 1..)?;
    // They are fields 14 and 15; the first behind the name is number 3.
    let mut times = behind_name.split_whitespace().skip(14 - 3);
    let ticks = times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?;
    Some(ticks as f64 / TICKS_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_whatever_the_process_is_called() {
        let cases = [
            ("42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 7 0", Some(3.0)),
            ("1 (x) S 1", None),
            ("", None),
        ];
        for (line, seconds) in cases {
            assert_eq!(cpu_seconds(line), seconds, "{line}");
        }
    }

    #[test]
    fn numbers_of_the_status_are_found_by_name() {
        let status = "Name:\tx\nVmSize:\t  104 kB\nVmRSS:\t    52 kB\nThreads:\t7\n";
        let cases = [("VmRSS:", Some(52)), ("Threads:", Some(7)), ("VmSwap:", None)];
        for (name, number) in cases {
            assert_eq!(status_number(status, name), number, "{name}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_facts() {
        let facts = ProcessFacts::read().unwrap();
        assert!(facts.resident_bytes > 0 && facts.open_fds > 0 && facts.threads > 0, "{facts:?}");
        assert!(facts.max_fds >= facts.open_fds, "{facts:?}");
    }
}
