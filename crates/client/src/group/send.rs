//! Sends what members ask to their coordinator, once each.

use std::sync::Arc;
use std::time::Duration;

use ottla_link::Terms;
use ottla_wire::messages::LeaveGroupRequest;
use ottla_wire::messages::leave_group_request::MemberIdentity;
use ottla_wire::primitives::{Request, Str};

use super::driver::Protocol;
use super::membership::{classic, consumer};
use crate::cluster::Lane;
use crate::coordinator::Coordinator;
use crate::error::{ApiError, Error};

/// How much longer than the rebalance may take the answer to JoinGroup is waited for, as in Kafka.
const JOIN_GRACE: Duration = Duration::from_secs(5);
/// The first version of LeaveGroup that takes many members (KIP-345).
const LEAVE_MANY_MIN: i16 = 3;

impl Protocol for classic::Classic {
    const MATCHES_PATTERNS: bool = true;

    fn is_farewell(question: &classic::Question) -> bool {
        match question {
            classic::Question::Leave { .. } => true,
            classic::Question::Join(_) | classic::Question::Sync(_) | classic::Question::Heartbeat(_) => {
                false
            }
        }
    }

    async fn send(coordinator: Arc<Coordinator>, question: classic::Question) -> classic::Answer {
        match question {
            // The coordinator answers these when the others are there, and everything behind them waits: they
            // have a connection of their own.
            classic::Question::Join(request) => {
                let rebalance =
                    Duration::from_millis(u64::try_from(request.rebalance_timeout_ms).unwrap_or(0));
                let patience = coordinator.cluster().config().request_timeout.max(rebalance + JOIN_GRACE);
                let lane = coordinator.waiting_lane();
                classic::Answer::Join(ask(&coordinator, lane, &request, patience, |r| r.error_code).await)
            }
            classic::Question::Sync(request) => {
                let (lane, patience) = (coordinator.waiting_lane(), request_timeout(&coordinator));
                classic::Answer::Sync(ask(&coordinator, lane, &request, patience, |r| r.error_code).await)
            }
            classic::Question::Heartbeat(request) => {
                let patience = request_timeout(&coordinator);
                let answer = ask(&coordinator, Lane::SHARED, &request, patience, |r| r.error_code).await;
                classic::Answer::Heartbeat(answer)
            }
            classic::Question::Leave { member_id, instance, reason } => {
                let request = leave_request(&coordinator, member_id, instance, reason).await;
                classic::Answer::Leave(match request {
                    Ok(request) => {
                        let patience = request_timeout(&coordinator);
                        ask(&coordinator, Lane::SHARED, &request, patience, |r| r.error_code).await
                    }
                    Err(error) => Err(error),
                })
            }
        }
    }
}

impl Protocol for consumer::Consumer {
    const MATCHES_PATTERNS: bool = false;

    fn is_farewell(question: &consumer::Question) -> bool {
        question.member_epoch < 0
    }

    async fn send(coordinator: Arc<Coordinator>, question: consumer::Question) -> consumer::Answer {
        let patience = request_timeout(&coordinator);
        ask(&coordinator, Lane::SHARED, &question, patience, |r| r.error_code).await
    }
}

fn request_timeout(coordinator: &Coordinator) -> Duration {
    coordinator.cluster().config().request_timeout
}

async fn ask<R: Request>(
    coordinator: &Coordinator,
    lane: Lane,
    request: &R,
    patience: Duration,
    code: impl Fn(&R::Response) -> i16,
) -> Result<R::Response, Error> {
    let connection = coordinator.connection(lane).await?;
    let answer = connection.call_on(request, Terms::patient(patience)).await.map_err(Error::from);
    match &answer {
        Ok(response) => {
            if let Err(error) = ApiError::check(code(response), None) {
                coordinator.learn_from(&Error::Api(error));
            }
        }
        Err(error) => coordinator.learn_from(error),
    }
    answer
}

async fn leave_request(
    coordinator: &Coordinator,
    member_id: Str,
    group_instance_id: Option<Str>,
    reason: &'static str,
) -> Result<LeaveGroupRequest, Error> {
    let version = coordinator.connection(Lane::SHARED).await?.version_of::<LeaveGroupRequest>()?;
    let group_id = coordinator.key().clone();
    if version < LEAVE_MANY_MIN {
        return Ok(LeaveGroupRequest { group_id, member_id, members: Vec::new() });
    }
    let member = MemberIdentity { member_id, group_instance_id, reason: Some(Str::from_static(reason)) };
    Ok(LeaveGroupRequest { group_id, member_id: Str::default(), members: vec![member] })
}
