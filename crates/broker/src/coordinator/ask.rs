//! How to send requests to a coordinator of any kind.

use std::time::Duration;

use ottla_coordinator::Coordinator;
use ottla_partition::Unserved;
use ottla_wire::PartitionIndex;
use ottla_wire::protocol::ErrorCode;
use tokio::sync::oneshot;

use super::desk::Coordinators;
use super::kind::{CoordinatorKind, Letter, PendingRequest, Proof};
use crate::shard::Letters;

/// Kafka's code for this: clients of any age then look for the coordinator and ask again.
pub const TOO_LATE: ErrorCode = ErrorCode::CoordinatorNotAvailable;

/// One request to coordinators of a kind.
pub trait Ask {
    type Kind: CoordinatorKind;

    /// The answer to it.
    type Answer;

    fn question(self) -> <Self::Kind as CoordinatorKind>::Question;

    /// Picks its answer out of all answers of the kind. `None` for the answer to another request, which never
    /// happens.
    fn answer(answer: <Self::Kind as CoordinatorKind>::Answer) -> Option<Self::Answer>;
}

/// Declares the requests of a kind: a type for each variant of its questions, and its answer.
macro_rules! asks {
    ($kind:ty, $question:ident, $response:ident: $($name:ident($asked:ty) => $answer:ty,)+) => {$(
        pub struct $name(pub $asked);

        impl Ask for $name {
            type Kind = $kind;
            type Answer = $answer;

            fn question(self) -> $question {
                $question::$name(self.0)
            }

            fn answer(answer: $response) -> Option<$answer> {
                if let $response::$name(answer) = answer { Some(answer) } else { None }
            }
        }
    )+};
}
pub(super) use asks;

impl Coordinators {
    /// Adds a request to the coordinator of a partition to `letters`. The answer comes after they have been
    /// sent.
    pub(super) fn write_to<A: Ask>(
        &self,
        letters: &mut Letters,
        index: PartitionIndex,
        request: <A::Kind as Coordinator>::Request,
        proof: Option<Proof>,
    ) -> Result<PendingAnswer<A>, ErrorCode> {
        let published = self.published.load();
        let topic = A::Kind::TOPIC.topic();
        let partition = published.partition(topic, index).map_err(|_| ErrorCode::NotCoordinator)?;
        let (answer, answered) = oneshot::channel();
        let asked = Box::new(PendingRequest { request, proof, answer });
        letters.add(partition, Letter::<A::Kind>::Ask(asked));
        Ok(PendingAnswer(answered))
    }

    /// Sends a request to the coordinator of a partition.
    pub(super) async fn send_to<A: Ask>(
        &self,
        index: PartitionIndex,
        request: <A::Kind as Coordinator>::Request,
        proof: Option<Proof>,
    ) -> Result<PendingAnswer<A>, ErrorCode> {
        let mut letters = Letters::default();
        let answer = self.write_to(&mut letters, index, request, proof)?;
        letters.send().await;
        Ok(answer)
    }

    /// Runs `look` on every coordinator of a kind that serves on this broker, and returns the results. Its
    /// work delays the partitions in the same shard.
    pub async fn look<K: CoordinatorKind, T: Send + 'static>(
        &self,
        look: impl Fn(&K) -> T + Clone + Send + 'static,
    ) -> Vec<T> {
        let mut seen = Vec::new();
        for index in self.led_here(K::TOPIC) {
            let partition = self.published.load().partition(K::TOPIC.topic(), index).cloned();
            let Ok(partition) = partition else { continue };
            let (told, hears) = oneshot::channel();
            let look = look.clone();
            let letter = Letter::<K>::Look(Box::new(move |core: &K| {
                let _gone = told.send(look(core));
            }));
            let mut letters = Letters::default();
            letters.add(&partition, letter);
            letters.send().await;
            seen.extend(hears.await);
        }
        seen
    }
}

/// A pending answer.
pub struct PendingAnswer<A: Ask>(oneshot::Receiver<Result<<A::Kind as CoordinatorKind>::Answer, Unserved>>);

impl<A: Ask> PendingAnswer<A> {
    /// Waits for it.
    pub async fn come(self) -> Result<A::Answer, ErrorCode> {
        match self.0.await {
            Ok(answer) => match A::answer(answer?) {
                Some(answer) => Ok(answer),
                None => unreachable!("a coordinator answers what it was asked"),
            },
            // The leadership ended before the answer.
            Err(_) => Err(ErrorCode::NotCoordinator),
        }
    }

    /// Waits for it up to `patience`. After that the request may still be carried out.
    pub async fn come_within(self, patience: Duration) -> Result<A::Answer, ErrorCode> {
        tokio::time::timeout(patience, self.come()).await.unwrap_or(Err(TOO_LATE))
    }
}
