//! The seam to the other voters. This room writes and reads the messages; a [`Transport`] only carries them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use openraft::error::{
    InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, SnapshotMismatch, Unreachable,
};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{AnyError, RaftNetwork, RaftNetworkFactory};
use ottla_wire::ids::BrokerId;

use crate::raft::{Raft, TypeConfig};
use crate::rpc::{Request, VoterAnswer};
use crate::types::ReceiveError;

type RpcError<E = openraft::error::Infallible> = RPCError<BrokerId, (), RaftError<BrokerId, E>>;

/// Carries requests to other voters, where [`Quorum::receive`](crate::Quorum::receive) answers them.
pub trait Transport: Send + Sync + 'static {
    /// Sends a request and waits for the answer. The caller has its own deadlines and may drop it at any
    /// time. Requests to one node may overtake each other.
    fn send(&self, to: BrokerId, request: Bytes) -> Answering<'_>;
}

/// The future of an answer.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Bytes, TransportError>> + Send + 'a>>;

/// Why no answer came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The node cannot be reached now. Wait before the next try.
    #[error("node {0} cannot be reached")]
    Unreachable(BrokerId),
    /// The connection broke, or the answer could not be read. Try again.
    #[error("connection to node {0} failed: {1}")]
    Failed(BrokerId, String),
}

/// The transport of a quorum of one, which has nobody to reach.
pub struct NoTransport;

impl Transport for NoTransport {
    fn send(&self, to: BrokerId, _request: Bytes) -> Answering<'_> {
        Box::pin(async move { Err(TransportError::Unreachable(to)) })
    }
}

/// Answers a request of another voter.
pub(crate) async fn answer(raft: &Raft, request: Bytes) -> Result<Bytes, ReceiveError> {
    let request = Request::decode(request).map_err(|malformed| ReceiveError::Malformed(malformed.0))?;
    let answer = match request {
        Request::Vote(request) => raft.vote(request).await.map_or(VoterAnswer::Stopped, VoterAnswer::Vote),
        Request::Append(request) => {
            raft.append_entries(request).await.map_or(VoterAnswer::Stopped, VoterAnswer::Append)
        }
        Request::Snapshot(request) => match raft.install_snapshot(request).await {
            Ok(answer) => VoterAnswer::Snapshot(answer),
            Err(RaftError::APIError(InstallSnapshotError::SnapshotMismatch(mismatch))) => {
                VoterAnswer::Mismatch { expect: mismatch.expect, got: mismatch.got }
            }
            Err(RaftError::Fatal(_)) => VoterAnswer::Stopped,
        },
    };
    Ok(answer.encode())
}

/// Creates openraft's clients.
pub(crate) struct Network(pub(crate) Arc<dyn Transport>);

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: BrokerId, _node: &()) -> Peer {
        Peer { transport: self.0.clone(), target }
    }
}

/// openraft's client of one voter.
pub(crate) struct Peer {
    transport: Arc<dyn Transport>,
    target: BrokerId,
}

impl Peer {
    async fn call<E: std::error::Error>(&self, request: Request) -> Result<VoterAnswer, RpcError<E>> {
        let answer =
            self.transport.send(self.target, request.encode()).await.map_err(|error| match error {
                TransportError::Unreachable(_) => RPCError::Unreachable(Unreachable::new(&error)),
                TransportError::Failed(..) => RPCError::Network(NetworkError::new(&error)),
            })?;
        match VoterAnswer::decode(answer) {
            Ok(VoterAnswer::Stopped) => {
                Err(RPCError::Unreachable(Unreachable::new(&AnyError::error("its quorum has stopped"))))
            }
            Ok(answer) => Ok(answer),
            Err(malformed) => Err(self.nonsense(malformed.0)),
        }
    }

    fn nonsense<E: std::error::Error>(&self, what: &str) -> RpcError<E> {
        RPCError::Network(NetworkError::new(&TransportError::Failed(
            self.target,
            format!("unexpected {what}"),
        )))
    }
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<BrokerId>, RpcError> {
        match self.call(Request::Append(request)).await? {
            VoterAnswer::Append(answer) => Ok(answer),
            _ => Err(self.nonsense("answer to an append")),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<BrokerId>,
        _option: RPCOption,
    ) -> Result<VoteResponse<BrokerId>, RpcError> {
        match self.call(Request::Vote(request)).await? {
            VoterAnswer::Vote(answer) => Ok(answer),
            _ => Err(self.nonsense("answer to a vote")),
        }
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<BrokerId>, RpcError<InstallSnapshotError>> {
        match self.call(Request::Snapshot(request)).await? {
            VoterAnswer::Snapshot(answer) => Ok(answer),
            VoterAnswer::Mismatch { expect, got } => {
                let source = RaftError::APIError(SnapshotMismatch { expect, got }.into());
                Err(RPCError::RemoteError(RemoteError::new(self.target, source)))
            }
            _ => Err(self.nonsense("answer to a snapshot")),
        }
    }
}
