//! The metrics by name: what each means, its unit (at the end of its name) and its labels (in its help).

/// What Prometheus calls a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric.
pub struct Family {
    pub name: &'static str,
    pub kind: MetricKind,
    pub help: &'static str,
}

impl MetricKind {
    pub fn name(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }
}

/// Declares metrics, one a line.
macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal $help:literal;)+) => {
        $(pub const $constant: Family = Family { name: $name, kind: MetricKind::$kind, help: $help };)+
        #[cfg(test)]
        const ALL: &[&Family] = &[$(&$constant),+];
    };
}

families! {
    BUILD_INFO = Gauge "ottla_build_info" "Always 1; labels: version.";
    NODE_INFO = Gauge "ottla_node_info" "Always 1; labels: node_id, cluster_id.";

    REQUEST_SECONDS = Histogram "ottla_request_seconds" "Time from the arrival of a request to its answer, waits included; labels: api.";
    PRODUCED_BYTES = Counter "ottla_produced_bytes_total" "Bytes of record batches that producers have appended.";
    FETCHED_BYTES = Counter "ottla_fetched_bytes_total" "Bytes of records that were sent to consumers.";
    BATCHES_REFUSED = Counter "ottla_batches_refused_total" "Record batches of producers that were refused, for whatever reason.";

    COORDINATORS_LOADING = Gauge "ottla_coordinators_loading" "Partitions of internal topics whose coordinator is being loaded here.";
    COORDINATORS_ACTIVE = Gauge "ottla_coordinators_active" "Partitions of internal topics whose coordinator serves here.";
    COORDINATOR_LOADS = Counter "ottla_coordinator_loads_total" "Coordinators that were loaded.";
    COORDINATOR_LOAD_SECONDS = Counter "ottla_coordinator_load_seconds_total" "Time that the loading of coordinators took, added up.";
    GROUPS = Gauge "ottla_groups" "Groups coordinated here; labels: kind, state.";
    GROUP_MEMBERS = Gauge "ottla_group_members" "Members of all groups coordinated here.";
    GROUP_REBALANCES = Counter "ottla_group_rebalances_total" "Rebalances that have begun since the coordinators here were loaded.";
    GROUP_OFFSETS = Gauge "ottla_group_offsets" "Offsets that groups coordinated here have committed.";
    GROUP_STATE_BYTES = Gauge "ottla_group_state_bytes" "Memory that groups coordinated here take, with members, offsets and histories: an estimate. group.coordinator.state.max.bytes is its limit.";
    GROUP_OFFSET_COMMITS = Counter "ottla_group_offset_commits_total" "Commits of offsets, one for each partition.";
    GROUP_LAGS_ITEMIZED = Gauge "ottla_group_lags_itemized" "Committed offsets whose lag is told, the first by group, topic and partition.";
    GROUP_LAG_RECORDS = Gauge "ottla_group_lag_records" "Records between what a group has committed and the high watermark, where both are on this broker; labels: group, topic, partition.";

    TRANSACTIONS = Gauge "ottla_transactions" "Transactional ids coordinated here; labels: state.";
    TRANSACTION_OLDEST_SECONDS = Gauge "ottla_transaction_oldest_seconds" "Age of the oldest transaction coordinated here that has not ended; 0 without one.";
    STABLE_OFFSET_HELD_SECONDS = Gauge "ottla_stable_offset_held_seconds" "How long the last stable offset of a partition led here has stood behind the high watermark, the longest: readers of committed data wait for the end of a transaction.";

    CONNECTIONS_OPEN = Gauge "ottla_connections_open" "Client connections open now.";
    CONNECTIONS_ACCEPTED = Counter "ottla_connections_accepted_total" "Client connections that were accepted.";
    CONNECTIONS_CLOSED = Counter "ottla_connections_closed_total" "Client connections that have ended; labels: reason.";
    CONNECTIONS_REFUSED_PER_IP = Counter "ottla_connections_refused_per_ip_total" "Connections closed at once because of max.connections.per.ip.";
    CONNECTIONS_REFUSED_DESCRIPTORS = Counter "ottla_connections_refused_descriptors_total" "Connections closed at once because the file descriptors that are left are for files.";
    ACCEPT_WAITS_CONNECTIONS = Counter "ottla_accept_waits_connections_total" "Times that accepting waited because of max.connections.";
    ACCEPT_WAITS_RATE = Counter "ottla_accept_waits_rate_total" "Times that accepting waited because of max.connection.creation.rate.";
    ACCEPT_ERRORS = Counter "ottla_accept_errors_total" "Times that a connection could not be accepted.";
    NET_REQUESTS = Counter "ottla_net_requests_total" "Requests that have arrived.";
    NET_RESPONSES = Counter "ottla_net_responses_total" "Responses that were queued for sending.";
    NET_RECEIVED_BYTES = Counter "ottla_net_received_bytes_total" "Bytes received from clients.";
    NET_SENT_BYTES = Counter "ottla_net_sent_bytes_total" "Bytes sent to clients.";
    NET_SENT_FILE_BYTES = Counter "ottla_net_sent_file_bytes_total" "The part of ottla_net_sent_bytes_total that the kernel sent straight from files.";
    NET_READS = Counter "ottla_net_reads_total" "Receive calls that brought bytes.";
    NET_WRITES = Counter "ottla_net_writes_total" "Send calls that took bytes.";
    NET_COLD_READS = Counter "ottla_net_cold_reads_total" "Times that records had to be read from the disk before they could be sent.";
    NET_ADMISSION_WAITS = Counter "ottla_net_admission_waits_total" "Times that a connection waited because queued.max.request.bytes was used up.";
    TASK_PANICS = Counter "ottla_task_panics_total" "Pieces of work that have panicked, each for itself; labels: task.";
    NET_ADMITTED_BYTES = Gauge "ottla_net_admitted_bytes" "Bytes of requests that are being received or served, of the queued.max.request.bytes that they may take.";
    FETCH_SESSIONS = Gauge "ottla_fetch_sessions" "Fetch sessions that are open, of the max.incremental.fetch.session.cache.slots that there may be.";
    METADATA_INDEX = Gauge "ottla_metadata_index" "How far the metadata log is applied on this node, in changes.";
    NET_MUTES = Counter "ottla_net_mutes_total" "Times that a connection was muted to throttle its client.";

    TOPICS = Gauge "ottla_topics" "Topics with partitions on this broker.";
    TOPICS_ITEMIZED = Gauge "ottla_topics_itemized" "Topics that have metrics of their own; the rest is added up under topic=\"(others)\".";
    PARTITIONS = Gauge "ottla_partitions" "Partitions on this broker.";
    PARTITIONS_LEADING = Gauge "ottla_partitions_leading" "Partitions that this broker leads.";
    PARTITIONS_UNDER_REPLICATED = Gauge "ottla_partitions_under_replicated" "Partitions led here with a replica out of sync.";
    PARTITIONS_UNDER_MIN_ISR = Gauge "ottla_partitions_under_min_isr" "Partitions led here that refuse acks=all, with fewer replicas in sync than min.insync.replicas.";
    PARTITIONS_UNCOMPACTED = Gauge "ottla_partitions_uncompacted" "Partitions here whose topic asks for compaction, which is not carried out yet: they keep every record.";
    PARTITIONS_OFFLINE = Gauge "ottla_partitions_offline" "Partitions here without a leader or with a failed log.";
    LOG_BYTES = Gauge "ottla_log_bytes" "Size of all logs.";
    TOPIC_PARTITIONS = Gauge "ottla_topic_partitions" "Partitions on this broker; labels: topic.";
    TOPIC_LOG_BYTES = Gauge "ottla_topic_log_bytes" "Size of the logs; labels: topic.";
    TOPIC_END_OFFSETS = Gauge "ottla_topic_end_offsets" "Log end offsets of the partitions here, added up: grows by one for each record; labels: topic.";

    DATA_DIR_ONLINE = Gauge "ottla_data_dir_online" "1 while the data directory works, 0 after a failed write or flush; labels: dir.";
    DATA_DIR_FULL = Gauge "ottla_data_dir_full" "1 while appends are refused because the disk is full; labels: dir.";
    DATA_DIR_LOW = Gauge "ottla_data_dir_low" "1 while the disk is full or will be soon; labels: dir.";
    DATA_DIR_RESERVE_BYTES = Gauge "ottla_data_dir_reserve_bytes" "Bytes that are kept free: appends are refused when less is left; labels: dir.";
    DATA_DIR_FULL_IN_SECONDS = Gauge "ottla_data_dir_full_in_seconds" "Time until the disk is full at the rate of the last ten minutes; absent while it does not fill up; labels: dir.";
    DATA_DIR_TOTAL_BYTES = Gauge "ottla_data_dir_total_bytes" "Size of the file system of the data directory; labels: dir.";
    DATA_DIR_USABLE_BYTES = Gauge "ottla_data_dir_usable_bytes" "Bytes that can still be written there; labels: dir.";

    PROCESS_START = Gauge "process_start_time_seconds" "When the process started, in seconds since 1970.";
    PROCESS_CPU = Counter "process_cpu_seconds_total" "CPU time of the process, in user and system mode.";
    PROCESS_RESIDENT = Gauge "process_resident_memory_bytes" "Memory of the process that is in RAM.";
    PROCESS_VIRTUAL = Gauge "process_virtual_memory_bytes" "Address space of the process.";
    PROCESS_THREADS = Gauge "process_threads" "Threads of the process.";
    PROCESS_OPEN_FDS = Gauge "process_open_fds" "Open file descriptors.";
    PROCESS_MAX_FDS = Gauge "process_max_fds" "File descriptors that the process may have open.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        let mut names: Vec<&str> = ALL.iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len(), "each name once");
        for family in ALL {
            assert_eq!(
                family.name.ends_with("_total"),
                family.kind == MetricKind::Counter,
                "{}",
                family.name
            );
            assert!(family.help.ends_with('.') && !family.help.contains('\n'), "{}", family.name);
            assert!(family.name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_'), "{}", family.name);
        }
    }
}
