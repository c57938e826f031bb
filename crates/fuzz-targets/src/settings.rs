//! Settings: what is accepted can be used, and says the same when it is written and read again.

use std::collections::BTreeMap;

use ottla_settings::{
    BrokerSettings, ConfigMap, Layers, Listener, TopicConfig, host_and_port, parse_properties, tables,
    validate_topic,
};
use ottla_wire::InternalTopic;

/// A file in Java's `.properties` format: as the broker's settings and as a topic's.
pub fn properties(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(pairs) = parse_properties(text) else {
        assert!(BrokerSettings::parse(text, &[]).is_err());
        return;
    };
    let written: String = pairs.iter().map(|(name, value)| property(name, value)).collect();
    assert_eq!(parse_properties(&written).as_ref(), Ok(&pairs), "{written:?}");
    check_topic(&pairs);
    let Ok(settings) = BrokerSettings::parse(text, &[]) else { return };
    check_settings(&settings);
}

/// `HOST:PORT`, and a list of listeners as the command line and the settings have them.
pub fn addresses(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some((host, port)) = host_and_port(text) {
        let again = address(&host, port);
        assert_eq!(host_and_port(&again), Some((host, port)), "{again}");
    }
    for text in [text.to_owned(), format!("PLAINTEXT://{text}")] {
        let Ok(settings) = BrokerSettings::from_pairs([("listeners", text)]) else { continue };
        let shown = |one: &Listener| format!("{}://{}", one.name, address(&one.host, one.port));
        let listeners = settings.listeners();
        assert!(!listeners.is_empty(), "a broker without a listener serves nobody");
        let text = listeners.iter().map(shown).collect::<Vec<_>>().join(",");
        let again = BrokerSettings::from_pairs([("listeners", text.as_str())]);
        let again = again.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(again.listeners(), listeners);
        check_settings(&settings);
    }
}

fn address(host: &str, port: u16) -> String {
    if host.contains([':', '[', ']', '/', ' ']) {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// One line of a properties file, with everything escaped that has a meaning.
fn property(name: &str, value: &str) -> String {
    let escaped = |text: &str| -> String {
        let escape = |c: char| match c {
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            '\u{c}' => "\\f".to_owned(),
            ' ' | '\\' | '=' | ':' | '#' | '!' => format!("\\{c}"),
            c => c.to_string(),
        };
        text.chars().map(escape).collect()
    };
    format!("{}={}\n", escaped(name), escaped(value))
}

fn check_settings(settings: &BrokerSettings) {
    assert_eq!(BrokerSettings::from_pairs(settings.pairs()).as_ref(), Ok(settings));
    for definition in tables::brokers() {
        let set = settings.set_value(definition.name);
        assert!(set.is_none_or(|text| definition.parse(text).is_ok()), "{} is of its type", definition.name);
    }
    for listener in settings.advertised_listeners() {
        assert!(settings.listeners().iter().any(|bound| bound.name == listener.name));
    }
    let _ = (settings.node_id(), settings.log_dirs(), settings.inter_broker_listener());
    let _ = (settings.max_connections_per_ip_overrides(), settings.metrics_listener());
    for topic in [InternalTopic::Offsets, InternalTopic::TransactionState] {
        let _ = (settings.internal_replication_factor(topic, 1), settings.internal_min_isr(topic, 1));
    }
    let _ = TopicConfig::of(None, &Layers::fixed(settings));
}

fn check_topic(pairs: &[(String, String)]) {
    let own: BTreeMap<&str, &str> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    if validate_topic(&own).is_err() {
        return;
    }
    let own: ConfigMap = own.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let settings = BrokerSettings::default();
    let config = TopicConfig::of(Some(&own), &Layers::fixed(&settings));
    assert!(config.segment_bytes > 0 && config.max_message_bytes >= 0 && config.min_insync_replicas > 0);
}
