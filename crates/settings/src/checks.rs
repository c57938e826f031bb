//! What broker settings must be together.

use crate::error::ConfigError;
use crate::groups;
use crate::key;
use crate::listeners::{self, Listener};
use crate::settings::BrokerSettings;
use crate::typed::Key;

/// All that is wrong with settings of which each is right alone.
pub(crate) fn together(settings: &BrokerSettings) -> Vec<ConfigError> {
    let checks =
        [roles, node_id, quorum, all_listeners, retention, metrics_listener, overrides, groups::together];
    checks.into_iter().filter_map(|check| check(settings).err()).collect()
}

fn roles(settings: &BrokerSettings) -> Result<(), ConfigError> {
    let roles = settings.read(key::PROCESS_ROLES);
    if ["broker", "controller"].iter().all(|role| roles.iter().any(|one| one == role)) {
        return Ok(());
    }
    let reason = "every node is broker and controller; separate ones are not served yet";
    Err(ConfigError::NotServed { name: key::PROCESS_ROLES.name(), value: roles.join(","), reason })
}

fn node_id(settings: &BrokerSettings) -> Result<(), ConfigError> {
    match (settings.read(key::NODE_ID), settings.read(key::BROKER_ID)) {
        (Some(node), Some(broker)) if node != broker => {
            Err(settings.conflict(key::BROKER_ID, format!("node.id is {node}; set only that one")))
        }
        _ => Ok(()),
    }
}

/// A quorum of one: whoever is named must be this node.
fn quorum(settings: &BrokerSettings) -> Result<(), ConfigError> {
    for key in [key::CONTROLLER_QUORUM_VOTERS, key::CONTROLLER_QUORUM_BOOTSTRAP_SERVERS] {
        let named = settings.read(key);
        if named.len() > 1 {
            let reason = "clusters of several nodes are not served yet";
            return Err(ConfigError::NotServed { name: key.name(), value: named.join(","), reason });
        }
    }
    let Some(voter) = settings.read(key::CONTROLLER_QUORUM_VOTERS).into_iter().next() else { return Ok(()) };
    let id = voter.split_once('@').and_then(|(id, _)| id.parse::<i32>().ok());
    let own = settings.node_id().map(|id| id.0);
    if id.is_none() || (own.is_some() && id != own) {
        let why = "it must be the node itself, as id@host:port".to_owned();
        return Err(settings.conflict(key::CONTROLLER_QUORUM_VOTERS, why));
    }
    Ok(())
}

fn all_listeners(settings: &BrokerSettings) -> Result<(), ConfigError> {
    let bound = listeners::parse(key::LISTENERS.name(), &settings.read(key::LISTENERS))?;
    let controllers = settings.read(key::CONTROLLER_LISTENER_NAMES);
    let clients: Vec<&Listener> = bound.iter().filter(|one| !is_named(&controllers, &one.name)).collect();
    if clients.is_empty() {
        return Err(settings.conflict(key::LISTENERS, "there is no listener for clients".to_owned()));
    }
    advertised(settings, &clients, &controllers)?;
    if let Some(name) = settings.read(key::INTER_BROKER_LISTENER_NAME)
        && !clients.iter().any(|one| one.name.eq_ignore_ascii_case(&name))
    {
        let why = "it is not one of listeners".to_owned();
        return Err(settings.conflict(key::INTER_BROKER_LISTENER_NAME, why));
    }
    security(settings, &bound, &controllers)
}

/// What clients are told must be a listener for clients, at an address that they can connect to.
fn advertised(
    settings: &BrokerSettings,
    clients: &[&Listener],
    controllers: &[String],
) -> Result<(), ConfigError> {
    const KEY: Key<Vec<String>> = key::ADVERTISED_LISTENERS;
    for advertised in listeners::parse(KEY.name(), &settings.read(KEY))? {
        if is_named(controllers, &advertised.name) {
            continue;
        }
        if !clients.iter().any(|one| one.name == advertised.name) {
            return Err(settings.conflict(KEY, format!("{} is not one of listeners", advertised.name)));
        }
        if is_unroutable(&advertised.host) {
            let why = "clients cannot connect to 0.0.0.0; name an address".to_owned();
            return Err(settings.conflict(KEY, why));
        }
    }
    Ok(())
}

/// Every listener in use must be one that can be served.
fn security(
    settings: &BrokerSettings,
    bound: &[Listener],
    controllers: &[String],
) -> Result<(), ConfigError> {
    const KEY: Key<String> = key::LISTENER_SECURITY_PROTOCOL_MAP;
    let map = listeners::protocols(&settings.read(KEY))?;
    for listener in bound {
        let protocol =
            map.iter().find(|(name, _)| *name == listener.name).map(|(_, protocol)| protocol.as_str());
        match protocol {
            Some("PLAINTEXT") => {}
            // Kafka too lets the controller's listener go without, while the map is not set.
            None if is_named(controllers, &listener.name) && !settings.is_set(KEY) => {}
            Some(protocol) => {
                let reason = "only PLAINTEXT listeners are served yet";
                return Err(ConfigError::NotServed {
                    name: KEY.name(),
                    value: format!("{}:{protocol}", listener.name),
                    reason,
                });
            }
            None => {
                let why = format!("it does not say what listener {} speaks", listener.name);
                return Err(settings.conflict(KEY, why));
            }
        }
    }
    Ok(())
}

fn retention(settings: &BrokerSettings) -> Result<(), ConfigError> {
    for name in ["log.retention.ms", "log.retention.minutes", "log.retention.hours"] {
        if settings.set_value(name).is_some_and(|value| value.trim() == "0") {
            let why = "it must be -1 (no limit) or at least 1".to_owned();
            return Err(ConfigError::Conflict { name, value: "0".to_owned(), why });
        }
    }
    Ok(())
}

fn metrics_listener(settings: &BrokerSettings) -> Result<(), ConfigError> {
    match settings.read(key::METRICS_LISTENER) {
        Some(value) if !value.is_empty() && listeners::host_and_port(&value).is_none() => {
            Err(settings.conflict(key::METRICS_LISTENER, "it is not host:port".to_owned()))
        }
        _ => Ok(()),
    }
}

fn overrides(settings: &BrokerSettings) -> Result<(), ConfigError> {
    listeners::connection_overrides(&settings.read(key::MAX_CONNECTIONS_PER_IP_OVERRIDES)).map(drop)
}

fn is_named(names: &[String], name: &str) -> bool {
    names.iter().any(|one| one.eq_ignore_ascii_case(name))
}

fn is_unroutable(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "::" | "0:0:0:0:0:0:0:0")
}
