//! What a starting broker may claim about the records it acknowledged earlier (KIP-966).

use ottla_log::DataDir;
use ottla_wire::BrokerEpoch;
use tokio::task::JoinHandle;

use super::node::Node;

/// A broker's claims when it registers, and those that it may make from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The epoch of its last registration, if everything acknowledged in it is still here.
    pub previous_epoch: Option<BrokerEpoch>,
    /// Everything it ever acknowledged is flushed.
    all_flushed: bool,
}

/// The traces of an earlier process.
#[derive(Clone, Copy, Debug, Default)]
struct Remains {
    stopped_cleanly: bool,
    /// The epoch in which it stopped cleanly.
    clean_epoch: Option<BrokerEpoch>,
    /// The epoch in which it always flushed before it acknowledged.
    flushed_first: Option<BrokerEpoch>,
    /// The epoch of the last registration.
    registered: Option<BrokerEpoch>,
    /// No other broker is registered.
    alone: bool,
}

impl Claims {
    /// The claims that the data directory and the metadata log support, before the broker registers.
    pub fn of(node: &Node) -> Claims {
        let published = node.ctx.published.load();
        Claims::from(Remains {
            stopped_cleanly: node.dir.was_clean(),
            clean_epoch: node.dir.clean_broker_epoch(),
            flushed_first: node.dir.flushed_first_epoch(),
            registered: published.image.broker_epoch(node.ctx.node),
            alone: published.image.brokers.keys().all(|id| *id == node.ctx.node),
        })
    }

    /// Topic settings prove nothing here: they may have been different when something was acknowledged.
    fn from(remains: Remains) -> Claims {
        let clean = remains.clean_epoch.filter(|_| remains.stopped_cleanly);
        // A mark of another epoch is not from the last process.
        let vouched = remains.flushed_first.filter(|epoch| Some(*epoch) == remains.registered);
        // If no other broker can have the data, none can be missing here.
        let alone = remains.registered.filter(|_| remains.alone);
        Claims {
            previous_epoch: clean.or(vouched).or(alone),
            all_flushed: remains.stopped_cleanly || vouched.is_some() || remains.registered.is_none(),
        }
    }

    /// Vouches for flushing first in the new epoch, unless earlier data may be missing. Clients need not wait
    /// for it: without the mark the broker only claims less. Whoever closes the directory MUST wait for it.
    pub fn renew(self, dir: &DataDir, epoch: BrokerEpoch) -> JoinHandle<()> {
        let dir = dir.clone();
        tokio::task::spawn_blocking(move || {
            if self.all_flushed
                && let Err(error) = dir.vouch_flushed_first(epoch)
            {
                tracing::error!(%error, "the data directory cannot be marked");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use ottla_log::Disk;
    use ottla_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
    use ottla_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    use ottla_wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

    use super::super::stage::Stage;
    use super::*;

    #[test]
    fn what_is_claimed() {
        let (old, last) = (Some(BrokerEpoch(3)), Some(BrokerEpoch(5)));
        let registered = Remains { registered: last, ..Remains::default() };
        let clean = Remains { stopped_cleanly: true, clean_epoch: last, ..registered };
        let cases = [
            ("a new broker", Remains::default(), None, true),
            ("a clean stop", clean, last, true),
            ("a clean stop of an older program", Remains { clean_epoch: None, ..clean }, None, true),
            ("a crash", registered, None, false),
            ("a crash, all flushed first", Remains { flushed_first: last, ..registered }, last, true),
            ("a mark of an earlier process", Remains { flushed_first: old, ..registered }, None, false),
            ("a crash alone", Remains { alone: true, ..registered }, last, false),
        ];
        for (what, remains, previous_epoch, all_flushed) in cases {
            assert_eq!(Claims::from(remains), Claims { previous_epoch, all_flushed }, "{what}");
        }
    }

    impl Stage {
        fn is_marked(&self) -> bool {
            let names = self.disk.read_dir(self.node.dir.path()).unwrap();
            names.iter().any(|one| one.name == ".ottla_flushed_first")
        }

        async fn create_with(&self, name: &str, flush_messages: &str) {
            let flush =
                CreatableTopicConfig { name: "flush.messages".into(), value: Some(flush_messages.into()) };
            let topic = CreatableTopic {
                name: name.into(),
                num_partitions: 1,
                replication_factor: 1,
                configs: vec![flush],
                ..Default::default()
            };
            self.create(topic).await;
        }

        async fn set_flush_messages(&self, topic: &str, value: &str) {
            let config = AlterableConfig {
                name: "flush.messages".into(),
                config_operation: 0,
                value: Some(value.into()),
            };
            let resource =
                AlterConfigsResource { resource_type: 2, resource_name: topic.into(), configs: vec![config] };
            let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
            let response: IncrementalAlterConfigsResponse = self.connection().ask(1, &request).await.unwrap();
            assert_eq!(response.responses[0].error_code, 0, "{response:?}");
        }
    }

    /// A crash while a topic is relaxed may lose acknowledged records, whatever its settings are later.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_does_not_vouch_for_what_it_has_not_flushed_first() {
        let altered = Stage::new().await;
        assert!(altered.is_marked());
        altered.create_with("t", "1").await;
        assert!(altered.is_marked());
        altered.set_flush_messages("t", "1000").await;
        assert!(!altered.is_marked());
        altered.set_flush_messages("t", "1").await;
        assert!(!altered.is_marked());

        let created = Stage::new().await;
        assert!(created.is_marked());
        created.create_with("t", "1000").await;
        assert!(!created.is_marked());
    }
}
