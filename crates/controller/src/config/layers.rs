//! Where the value of a setting comes from: the layers in which Kafka looks for it, the strongest first.

use super::settings::BrokerSettings;
use super::synonyms::{Synonym, Unit};
use super::tables;
use crate::image::{ConfigMap, ConfigResource, Image};

/// The origin of a value, with the numbers of DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    DynamicTopic,
    DynamicBroker,
    DynamicDefaultBroker,
    StaticBroker,
    Default,
    ClientMetrics,
    Group,
}

/// The layers below a topic's own settings, for one broker.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    broker: Option<&'a ConfigMap>,
    all_brokers: Option<&'a ConfigMap>,
    fixed: &'a BrokerSettings,
}

impl Source {
    pub fn code(self) -> i8 {
        match self {
            Source::DynamicTopic => 1,
            Source::DynamicBroker => 2,
            Source::DynamicDefaultBroker => 3,
            Source::StaticBroker => 4,
            Source::Default => 5,
            Source::ClientMetrics => 7,
            Source::Group => 8,
        }
    }
}

impl<'a> Layers<'a> {
    /// What holds on the broker that `settings` is of.
    pub fn new(image: &'a Image, settings: &'a BrokerSettings) -> Layers<'a> {
        let broker = settings.node_id().and_then(|id| image.config(&ConfigResource::broker(id)));
        Layers { broker, all_brokers: image.config(&ConfigResource::all_brokers()), fixed: settings }
    }

    /// Every value that the broker settings `names` have in some layer, the strongest first.
    pub fn synonyms(&self, names: &[(&'static str, Unit)]) -> Vec<Synonym> {
        let mut found = Vec::new();
        for source in
            [Source::DynamicBroker, Source::DynamicDefaultBroker, Source::StaticBroker, Source::Default]
        {
            for (name, unit) in names {
                if let Some(value) = self.value(name, source) {
                    let converted = unit.convert(value);
                    found.push(Synonym { name, value: value.to_owned(), source, converted });
                }
            }
        }
        found
    }

    fn value(&self, name: &str, source: Source) -> Option<&'a str> {
        match source {
            Source::DynamicBroker => self.broker?.get(name).map(|value| value.as_str()),
            Source::DynamicDefaultBroker => self.all_brokers?.get(name).map(|value| value.as_str()),
            Source::StaticBroker => self.fixed.set_value(name),
            Source::Default => tables::broker(name)?.default_text(),
            Source::DynamicTopic | Source::ClientMetrics | Source::Group => None,
        }
    }
}
