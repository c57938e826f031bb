//! Where the value of a setting comes from: the layers in which Kafka looks for it, the strongest first.

use crate::dynamic::{ConfigMap, Dynamic};
use crate::settings::BrokerSettings;
use crate::synonyms::Unit;
use crate::tables;

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

/// One place that gives a setting a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: &'static str,
    /// As it was written there.
    pub value: String,
    pub source: Source,
    /// In the unit of the setting asked about.
    pub converted: String,
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
    pub fn new(dynamic: &'a impl Dynamic, settings: &'a BrokerSettings) -> Layers<'a> {
        let broker = settings.node_id().and_then(|id| dynamic.of_broker(id));
        Layers { broker, all_brokers: dynamic.of_all_brokers(), fixed: settings }
    }

    /// What the broker was started with, and nothing above it.
    pub fn fixed(settings: &'a BrokerSettings) -> Layers<'a> {
        Layers { broker: None, all_brokers: None, fixed: settings }
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
