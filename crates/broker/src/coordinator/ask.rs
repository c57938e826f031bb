//! How a coordinator of any kind is asked.

use std::time::Duration;

use ottla_coordinator::Coordinator;
use ottla_partition::Unserved;
use ottla_wire::PartitionIndex;
use ottla_wire::protocol::ErrorCode;
use tokio::sync::oneshot;

use super::desk::Coordinators;
use super::kind::{Asked, Kind, Letter, Proof};
use crate::shard::Letters;

/// As Kafka says it: clients of any age look for the coordinator and ask again.
pub const TOO_LATE: ErrorCode = ErrorCode::CoordinatorNotAvailable;

/// One thing that coordinators of a kind are asked.
pub trait Ask {
    type Kind: Kind;

    /// What it is answered.
    type Answer;

    fn question(self) -> <Self::Kind as Kind>::Question;

    /// Its answer, of all that there are; `None` for that to something else, which never comes.
    fn answer(answer: <Self::Kind as Kind>::Answer) -> Option<Self::Answer>;
}

/// Declares what a kind can be asked: a type for each variant of its questions, and its answer.
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
    /// Adds a request to the coordinator of a partition to `letters`. Its answer comes when they have been
    /// sent.
    pub(super) fn write_to<A: Ask>(
        &self,
        letters: &mut Letters,
        index: PartitionIndex,
        request: <A::Kind as Coordinator>::Request,
        proof: Option<Proof>,
    ) -> Result<Answer<A>, ErrorCode> {
        let published = self.published.load();
        let topic = A::Kind::TOPIC.topic();
        let partition = published.partition(topic, index).map_err(|_| ErrorCode::NotCoordinator)?;
        let (answer, answered) = oneshot::channel();
        let asked = Box::new(Asked { request, proof, answer });
        letters.add(partition, Letter::<A::Kind>::Ask(asked));
        Ok(Answer(answered))
    }

    /// Sends a request to the coordinator of a partition.
    pub(super) async fn send_to<A: Ask>(
        &self,
        index: PartitionIndex,
        request: <A::Kind as Coordinator>::Request,
        proof: Option<Proof>,
    ) -> Result<Answer<A>, ErrorCode> {
        let mut letters = Letters::default();
        let answer = self.write_to(&mut letters, index, request, proof)?;
        letters.send().await;
        Ok(answer)
    }

    /// Looks at every coordinator of a kind that serves on this broker, and gives what `look` has seen. What
    /// it does delays the partitions that share the shard.
    pub async fn look<K: Kind, T: Send + 'static>(
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

/// An answer that is awaited.
pub struct Answer<A: Ask>(oneshot::Receiver<Result<<A::Kind as Kind>::Answer, Unserved>>);

impl<A: Ask> Answer<A> {
    /// Waits for it.
    pub async fn come(self) -> Result<A::Answer, ErrorCode> {
        match self.0.await {
            Ok(answer) => match A::answer(answer?) {
                Some(answer) => Ok(answer),
                None => unreachable!("a coordinator answers what it was asked"),
            },
            // The leadership went away with the request.
            Err(_) => Err(ErrorCode::NotCoordinator),
        }
    }

    /// Waits for it so long: what was asked may be done all the same.
    pub async fn come_within(self, patience: Duration) -> Result<A::Answer, ErrorCode> {
        tokio::time::timeout(patience, self.come()).await.unwrap_or(Err(TOO_LATE))
    }
}
