//! The broker's place in its cluster: registration, heartbeats, controlled shutdown.

use std::sync::Arc;
use std::time::Duration;

use ottla_controller::controller::{Request, Response};
use ottla_controller::image::{Endpoint, Feature};
use ottla_settings::key;
use ottla_wire::messages::broker_registration_request::{Feature as SupportedFeature, Listener};
use ottla_wire::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerEpoch, Uuid};

use super::StartError;
use crate::context::Context;
use crate::controllers::AskError;

/// How long a controlled shutdown waits for the controller.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// How often a waiting broker asks again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// The membership of a registered broker.
#[derive(Clone)]
pub struct Membership {
    ctx: Arc<Context>,
    epoch: BrokerEpoch,
}

impl Membership {
    /// Registers, then asks to be unfenced until it is.
    pub async fn join(
        ctx: Arc<Context>,
        endpoints: Vec<Endpoint>,
        directories: Vec<Uuid>,
        previous_epoch: Option<BrokerEpoch>,
    ) -> Result<Membership, StartError> {
        let request = registration(&ctx, endpoints, directories, previous_epoch);
        let response: BrokerRegistrationResponse = ask(&ctx, request).await?;
        if let Some(code) = failure(response.error_code) {
            return Err(StartError::Join(format!("the registration was refused: {code}")));
        }
        // The registration is the newest entry of the metadata log, and it is published.
        ctx.coordinators.set_caught_up();
        let membership = Membership { ctx, epoch: BrokerEpoch(response.broker_epoch) };
        while membership.beat(false).await?.is_fenced {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Ok(membership)
    }

    pub fn epoch(&self) -> BrokerEpoch {
        self.epoch
    }

    /// Sends heartbeats to the controller. Never returns.
    pub async fn stay(self) {
        let interval = self.ctx.started_with.read(key::BROKER_HEARTBEAT_INTERVAL_MS);
        let interval = interval.max(Duration::from_millis(1));
        loop {
            tokio::time::sleep(interval).await;
            if let Err(error) = self.beat(false).await {
                tracing::warn!(%error, "a heartbeat was not answered");
            }
        }
    }

    /// Hands its leaderships over and leaves, within [`LEAVE_MAX`]. Without `controlled.shutdown.enable` it
    /// leaves silently, and the controller notices missing heartbeats.
    pub async fn leave(&self) {
        if !self.ctx.started_with.read(key::CONTROLLED_SHUTDOWN_ENABLE) {
            return;
        }
        let leaving = async {
            while !self.beat(true).await.is_ok_and(|answer| answer.should_shut_down) {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        };
        if tokio::time::timeout(LEAVE_MAX, leaving).await.is_err() {
            tracing::warn!("the controller did not let this broker go in time; it leaves without");
        }
    }

    async fn beat(&self, want_shut_down: bool) -> Result<BrokerHeartbeatResponse, StartError> {
        let offline = self.ctx.data_dirs.iter().filter(|dir| !dir.health().is_online());
        let request = BrokerHeartbeatRequest {
            broker_id: self.ctx.node.0,
            broker_epoch: self.epoch.0,
            current_metadata_offset: i64::try_from(self.ctx.published.load().index).unwrap_or(i64::MAX),
            want_fence: false,
            want_shut_down,
            offline_log_dirs: offline.map(|dir| dir.meta().directory_id).collect(),
            ..Default::default()
        };
        let response: BrokerHeartbeatResponse = ask(&self.ctx, request).await?;
        match failure(response.error_code) {
            None => Ok(response),
            Some(code) => Err(StartError::Join(format!("the heartbeat was refused: {code}"))),
        }
    }
}

/// Asks the controller, for as long as there is none: there will be one. What is asked here may arrive twice.
async fn ask<R: TryFrom<Response>>(
    ctx: &Context,
    request: impl Into<Request> + Clone,
) -> Result<R, StartError> {
    loop {
        match ctx.controller.ask(request.clone()).await {
            Err(error @ (AskError::NotController { .. } | AskError::TimedOut)) => {
                tracing::warn!(%error, "waiting for a controller");
            }
            answer => return answer.map_err(|error| StartError::Join(error.to_string())),
        }
    }
}

fn registration(
    ctx: &Context,
    endpoints: Vec<Endpoint>,
    log_dirs: Vec<Uuid>,
    previous_epoch: Option<BrokerEpoch>,
) -> BrokerRegistrationRequest {
    let listener = |at: Endpoint| Listener {
        name: at.name,
        host: at.host,
        port: at.port,
        security_protocol: at.security_protocol,
    };
    let feature = |feature: &Feature| SupportedFeature {
        name: Str::from_static(feature.name),
        min_supported_version: feature.min,
        max_supported_version: feature.max,
    };
    BrokerRegistrationRequest {
        broker_id: ctx.node.0,
        cluster_id: ctx.cluster_id.clone(),
        incarnation_id: ctx.incarnation,
        listeners: endpoints.into_iter().map(listener).collect(),
        features: Feature::ALL.iter().map(feature).collect(),
        rack: ctx.started_with.read(key::BROKER_RACK).map(Str::from),
        is_migrating_zk_broker: false,
        log_dirs,
        previous_broker_epoch: previous_epoch.map_or(-1, |epoch| epoch.0),
    }
}

fn failure(error_code: i16) -> Option<String> {
    match ErrorCode::from_code(error_code) {
        Some(ErrorCode::None) => None,
        Some(code) => Some(code.name().to_owned()),
        None => Some(format!("error {error_code}")),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use ottla_settings::BrokerSettings;

    use crate::Broker;

    /// `controlled.shutdown.enable`: whether a stopping broker tells its cluster.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_says_that_it_leaves_unless_it_is_set_not_to() {
        for (set, told) in [("true", true), ("false", false)] {
            let data = tempfile::tempdir().unwrap();
            let settings = [
                ("log.dirs", data.path().to_str().unwrap()),
                ("listeners", "PLAINTEXT://127.0.0.1:0"),
                ("controlled.shutdown.enable", set),
            ];
            let broker = Broker::start(BrokerSettings::from_pairs(settings).unwrap()).await.unwrap();
            let ctx = broker.node.ctx.clone();
            broker.shutdown(pending()).await.unwrap();
            let image = &ctx.published.load().image;
            let known = image.broker(ctx.node).unwrap();
            assert_eq!(known.fenced || known.in_controlled_shutdown, told, "{set}: {known:?}");
        }
    }
}
