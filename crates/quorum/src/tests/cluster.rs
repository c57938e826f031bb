//! Three voters over a transport in memory, whose connections can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use openraft::SnapshotSegmentId;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use ottla_wire::ids::BrokerId;

use super::{Recorder, eventually, record};
use crate::network::Answering;
use crate::raft::{
    Batch, Entry, Membership, Payload, Proposal, SnapshotMeta, StoredMembership, Vote, log_id,
};
use crate::rpc::{Request, VoterAnswer};
use crate::{MetadataLog, ProposeError, Quorum, Settings, StartError, Transport, TransportError};

/// Connects all nodes, except those that are cut off.
#[derive(Clone, Default)]
struct Hub(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    nodes: BTreeMap<BrokerId, Weak<Quorum>>,
    cut_off: BTreeSet<BrokerId>,
}

struct Link {
    hub: Hub,
    from: BrokerId,
}

impl Transport for Link {
    fn send(&self, to: BrokerId, request: Bytes) -> Answering<'_> {
        let target = {
            let state = self.hub.0.lock().unwrap();
            let cut = state.cut_off.contains(&self.from) || state.cut_off.contains(&to);
            if cut { None } else { state.nodes.get(&to).and_then(Weak::upgrade) }
        };
        Box::pin(async move {
            let target = target.ok_or(TransportError::Unreachable(to))?;
            target.receive(request).await.map_err(|error| TransportError::Failed(to, error.to_string()))
        })
    }
}

struct Node {
    quorum: Arc<Quorum>,
    recorder: Recorder,
}

struct Cluster {
    hub: Hub,
    dirs: BTreeMap<BrokerId, tempfile::TempDir>,
    nodes: BTreeMap<BrokerId, Node>,
    settings: Settings,
}

impl Cluster {
    async fn start(settings: Settings) -> Cluster {
        let ids = [1, 2, 3].map(BrokerId);
        let dirs = ids.into_iter().map(|id| (id, tempfile::tempdir().unwrap())).collect();
        let mut cluster = Cluster { hub: Hub::default(), dirs, nodes: BTreeMap::new(), settings };
        for id in ids {
            cluster.start_node(id).await;
        }
        cluster
    }

    async fn start_node(&mut self, id: BrokerId) {
        let voters: BTreeSet<BrokerId> = self.dirs.keys().copied().collect();
        let dir: PathBuf = self.dirs[&id].path().into();
        let recorder = Recorder::default();
        let link = Arc::new(Link { hub: self.hub.clone(), from: id });
        let quorum = Quorum::start_voter(dir, id, voters, self.settings.clone(), recorder.clone(), link)
            .await
            .unwrap();
        let quorum = Arc::new(quorum);
        self.hub.0.lock().unwrap().nodes.insert(id, Arc::downgrade(&quorum));
        self.nodes.insert(id, Node { quorum, recorder });
    }

    async fn stop_node(&mut self, id: BrokerId) {
        let node = self.nodes.remove(&id).unwrap();
        node.quorum.shutdown().await;
    }

    fn cut_off(&self, id: BrokerId) {
        self.hub.0.lock().unwrap().cut_off.insert(id);
    }

    fn heal(&self) {
        self.hub.0.lock().unwrap().cut_off.clear();
    }

    fn epoch(&self, id: BrokerId) -> u64 {
        self.nodes[&id].quorum.leadership().borrow().epoch
    }

    fn leader_among(&self, among: &BTreeSet<BrokerId>) -> Option<BrokerId> {
        among.iter().copied().find(|id| self.nodes[id].quorum.leadership().borrow().me)
    }

    /// The leader of all but `without`, once they agree on one. It may soon change, because leaders miss
    /// heartbeats on a busy machine.
    async fn leader(&self, without: Option<BrokerId>) -> BrokerId {
        let among: BTreeSet<BrokerId> =
            self.nodes.keys().copied().filter(|id| Some(*id) != without).collect();
        let leads = |id: &BrokerId| self.nodes[id].quorum.leadership().borrow().leader;
        eventually("a leader", || {
            self.leader_among(&among).is_some_and(|leader| among.iter().all(|id| leads(id) == Some(leader)))
        })
        .await;
        self.leader_among(&among).unwrap()
    }

    async fn propose(&self, text: &str) -> BrokerId {
        self.propose_without(None, text).await
    }

    /// Proposes to the leader of all but `without` until it is acknowledged. Returns the node that did.
    /// Earlier tries may be applied as well, so a text may appear several times.
    async fn propose_without(&self, without: Option<BrokerId>, text: &str) -> BrokerId {
        loop {
            let leader = self.leader(without).await;
            let node = &self.nodes[&leader];
            if let Ok(index) = node.quorum.propose(record(text)).await {
                assert_eq!(
                    node.recorder.texts()[index as usize - 1],
                    text,
                    "applied where it was told to be"
                );
                return leader;
            }
        }
    }

    /// Every node has applied these in order, ignoring repeats.
    async fn all_have(&self, texts: &[String]) {
        let once = |node: &Node| {
            let mut texts = node.recorder.texts();
            texts.dedup();
            texts
        };
        eventually("every node has applied everything", || {
            self.nodes.values().all(|node| once(node) == texts)
        })
        .await;
        let all = |node: &Node| node.recorder.texts();
        eventually("all have applied the same", || {
            let mut nodes = self.nodes.values().map(all);
            let first = nodes.next();
            nodes.all(|other| Some(other) == first)
        })
        .await;
    }

    async fn stop(mut self) {
        for id in self.dirs.keys().copied().collect::<Vec<_>>() {
            self.stop_node(id).await;
        }
    }
}

fn quick() -> Settings {
    Settings {
        heartbeat_interval: Duration::from_millis(40),
        election_timeout: Duration::from_millis(250),
        propose_timeout: Duration::from_secs(2),
        ..Settings::default()
    }
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| format!("record {i}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_voters_elect_one_and_all_apply_the_same() {
    let cluster = Cluster::start(quick()).await;
    let texts = numbered(0..20);
    for text in &texts {
        cluster.propose(text).await;
    }
    cluster.all_have(&texts).await;
    loop {
        let leader = cluster.leader(None).await;
        let epoch = cluster.epoch(leader);
        let follower = cluster.nodes.keys().copied().find(|id| *id != leader).unwrap();
        let refused = cluster.nodes[&follower].quorum.propose(record("here?")).await;
        if (cluster.leader(None).await, cluster.epoch(leader)) == (leader, epoch) {
            assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some(leader) }));
            break;
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_is_replaced_and_what_it_could_not_commit_is_taken_back() {
    let cluster = Cluster::start(quick()).await;
    cluster.propose("first").await;
    let (old, old_epoch) = loop {
        let old = cluster.leader(None).await;
        let old_epoch = cluster.epoch(old);
        cluster.cut_off(old);
        match cluster.nodes[&old].quorum.propose(record("lost")).await {
            Err(ProposeError::Unavailable) => break (old, old_epoch),
            // It was replaced before it was cut off.
            Err(ProposeError::NotLeader { .. }) => cluster.heal(),
            other => panic!("{other:?}"),
        }
    };
    let mut leadership = cluster.nodes[&old].quorum.leadership();
    assert!(leadership.wait_for(|leadership| !leadership.me).await.is_ok(), "it notices that nobody answers");

    let new = cluster.propose_without(Some(old), "second").await;
    assert_ne!(new, old);
    assert!(cluster.epoch(new) > old_epoch);
    let late = record("decided by the old leader");
    let refused = cluster.nodes[&new].quorum.propose_in(old_epoch, late).await;
    assert!(
        matches!(refused, Err(ProposeError::NotLeader { .. } | ProposeError::Unavailable)),
        "{refused:?}"
    );

    cluster.heal();
    cluster.all_have(&["first".into(), "second".into()]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_was_away_catches_up_from_a_snapshot() {
    let settings = Settings { snapshot_bytes: 1_000, keep_bytes: 100, segment_bytes: 500, ..quick() };
    let mut cluster = Cluster::start(settings).await;
    let texts = numbered(0..200);
    for text in &texts[..10] {
        cluster.propose(text).await;
    }
    let leader = cluster.leader(None).await;
    let away = cluster.nodes.keys().copied().find(|id| *id != leader).unwrap();
    cluster.stop_node(away).await;
    for text in &texts[10..190] {
        cluster.propose(text).await;
    }
    cluster.start_node(away).await;
    for text in &texts[190..] {
        cluster.propose(text).await;
    }
    cluster.all_have(&texts).await;
    let snapshots = crate::disk::Disk::default().list(cluster.dirs[&away].path(), "snapshot").unwrap();
    assert!(!snapshots.is_empty());

    // Then all of them restart from their disks.
    for id in [1, 2, 3].map(BrokerId) {
        cluster.stop_node(id).await;
    }
    for id in [1, 2, 3].map(BrokerId) {
        cluster.start_node(id).await;
    }
    cluster.propose("after").await;
    cluster.all_have(&[texts, vec!["after".into()]].concat()).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_of_several_does_not_start_alone() {
    let mut cluster = Cluster::start(quick()).await;
    cluster.propose("first").await;
    cluster.stop_node(BrokerId(1)).await;
    let dir = cluster.dirs[&BrokerId(1)].path();
    let alone = Quorum::start(dir, BrokerId(1), quick(), Recorder::default()).await;
    match alone.err() {
        Some(StartError::NotAlone { voters, .. }) => assert_eq!(voters, [1, 2, 3].map(BrokerId)),
        other => panic!("{other:?}"),
    }
    cluster.start_node(BrokerId(1)).await;
    cluster.stop().await;
}

fn requests() -> Vec<Request> {
    let vote = Vote::new_committed(3, BrokerId(2));
    let membership = Membership::new(vec![BTreeSet::from([BrokerId(1), BrokerId(2)])], ());
    let batch = Batch(vec![Proposal { epoch: 3, records: vec![Bytes::from_static(b"abc"), Bytes::new()] }]);
    let entries = vec![
        Entry { log_id: log_id(3, 8), payload: Payload::Blank },
        Entry { log_id: log_id(3, 9), payload: Payload::Normal(batch) },
        Entry { log_id: log_id(3, 10), payload: Payload::Membership(membership.clone()) },
    ];
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(2, 7)),
        last_membership: StoredMembership::new(Some(log_id(0, 0)), membership),
        snapshot_id: "2-7".into(),
    };
    vec![
        Request::Vote(VoteRequest { vote, last_log_id: None }),
        Request::Append(AppendEntriesRequest {
            vote,
            prev_log_id: Some(log_id(2, 7)),
            entries,
            leader_commit: Some(log_id(2, 6)),
        }),
        Request::Snapshot(InstallSnapshotRequest { vote, meta, offset: 5, data: vec![1, 2, 3], done: true }),
    ]
}

fn answers() -> Vec<VoterAnswer> {
    let vote = Vote::new(3, BrokerId(2));
    let segment = |id: &str, offset| SnapshotSegmentId { id: id.into(), offset };
    vec![
        VoterAnswer::Vote(VoteResponse { vote, vote_granted: true, last_log_id: Some(log_id(1, 2)) }),
        VoterAnswer::Append(AppendEntriesResponse::Success),
        VoterAnswer::Append(AppendEntriesResponse::Conflict),
        VoterAnswer::Append(AppendEntriesResponse::PartialSuccess(Some(log_id(1, 2)))),
        VoterAnswer::Append(AppendEntriesResponse::HigherVote(vote)),
        VoterAnswer::Snapshot(InstallSnapshotResponse { vote }),
        VoterAnswer::Mismatch { expect: segment("a", 0), got: segment("b", 7) },
        VoterAnswer::Stopped,
    ]
}

#[test]
fn golden_bytes_of_a_vote() {
    let request =
        Request::Vote(VoteRequest { vote: Vote::new(3, BrokerId(2)), last_log_id: Some(log_id(1, 4)) });
    let expected: &[u8] = &[
        1, 1, // version, vote
        0, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 0, 0, 2, // term 3, not committed, for node 2
        1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4,
    ];
    assert_eq!(request.encode(), expected);
}

#[test]
fn messages_read_back_and_no_cut_one_does() {
    for request in requests() {
        let bytes = request.encode();
        let again = Request::decode(bytes.clone()).map(|request| request.encode());
        assert_eq!(again, Ok(bytes.clone()));
        for len in 0..bytes.len() {
            assert!(Request::decode(bytes.slice(..len)).is_err(), "cut at {len}");
        }
    }
    for answer in answers() {
        let bytes = answer.encode();
        assert_eq!(VoterAnswer::decode(bytes.clone()), Ok(answer));
        for len in 0..bytes.len() {
            assert!(VoterAnswer::decode(bytes.slice(..len)).is_err(), "cut at {len}");
        }
    }
}

/// Reading any bytes from a peer ends, and allocates no more than the bytes justify.
#[test]
fn changed_messages_do_no_harm() {
    for bytes in requests().iter().map(Request::encode).chain(answers().iter().map(VoterAnswer::encode)) {
        for i in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.to_vec();
                changed[i] = value;
                let _ = Request::decode(Bytes::from(changed.clone()));
                let _ = VoterAnswer::decode(Bytes::from(changed));
            }
        }
    }
}
