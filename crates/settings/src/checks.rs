//! What broker settings must be together.

use crate::error::ConfigError;
use crate::groups;
use crate::listeners::{self, Listener};
use crate::settings::BrokerSettings;

/// All that is wrong with settings of which each is right alone.
pub(crate) fn together(settings: &BrokerSettings) -> Vec<ConfigError> {
    let checks =
        [roles, node_id, quorum, all_listeners, retention, metrics_listener, overrides, groups::together];
    checks.into_iter().filter_map(|check| check(settings).err()).collect()
}

fn roles(settings: &BrokerSettings) -> Result<(), ConfigError> {
    let roles = settings.list("process.roles");
    if ["broker", "controller"].iter().all(|role| roles.iter().any(|one| one == role)) {
        return Ok(());
    }
    let reason = "every node is broker and controller; separate ones are not served yet";
    Err(ConfigError::NotServed { name: "process.roles", value: roles.join(","), reason })
}

fn node_id(settings: &BrokerSettings) -> Result<(), ConfigError> {
    let number = |name| settings.set_value(name).and_then(|text: &str| text.trim().parse::<i32>().ok());
    match (number("node.id"), number("broker.id")) {
        (Some(node), Some(broker)) if node != broker && broker != -1 => Err(ConfigError::Conflict {
            name: "broker.id",
            value: broker.to_string(),
            why: format!("node.id is {node}; set only that one"),
        }),
        _ => Ok(()),
    }
}

/// A quorum of one: whoever is named must be this node.
fn quorum(settings: &BrokerSettings) -> Result<(), ConfigError> {
    for name in ["controller.quorum.voters", "controller.quorum.bootstrap.servers"] {
        let voters = settings.list(name);
        if voters.len() > 1 {
            let reason = "clusters of several nodes are not served yet";
            return Err(ConfigError::NotServed { name, value: voters.join(","), reason });
        }
        if let ("controller.quorum.voters", Some(voter)) = (name, voters.first()) {
            let id = voter.split_once('@').and_then(|(id, _)| id.parse::<i32>().ok());
            let own = settings.node_id().map(|id| id.0);
            if id.is_none() || (own.is_some() && id != own) {
                let why = "it must be the node itself, as id@host:port".to_owned();
                return Err(ConfigError::Conflict { name, value: voter.clone(), why });
            }
        }
    }
    Ok(())
}

fn all_listeners(settings: &BrokerSettings) -> Result<(), ConfigError> {
    let bound = listeners::parse("listeners", settings.get("listeners").unwrap_or_default())?;
    let conflict = |name: &'static str, why: String| {
        Err(ConfigError::Conflict { name, value: settings.get(name).unwrap_or_default().to_owned(), why })
    };
    let controllers = settings.list("controller.listener.names");
    let clients: Vec<&Listener> = bound.iter().filter(|one| !is_named(&controllers, &one.name)).collect();
    if clients.is_empty() {
        return conflict("listeners", "there is no listener for clients".to_owned());
    }
    for advertised in
        listeners::parse("advertised.listeners", settings.get("advertised.listeners").unwrap_or_default())?
    {
        if is_named(&controllers, &advertised.name) {
            continue;
        }
        if !clients.iter().any(|one| one.name == advertised.name) {
            return conflict("advertised.listeners", format!("{} is not one of listeners", advertised.name));
        }
        if is_unroutable(&advertised.host) {
            return conflict(
                "advertised.listeners",
                "clients cannot connect to 0.0.0.0; name an address".to_owned(),
            );
        }
    }
    if let Some(name) = settings.get("inter.broker.listener.name")
        && !clients.iter().any(|one| one.name.eq_ignore_ascii_case(name))
    {
        return conflict("inter.broker.listener.name", "it is not one of listeners".to_owned());
    }
    security(settings, &bound, &controllers)
}

/// Every listener in use must be one that can be served.
fn security(
    settings: &BrokerSettings,
    bound: &[Listener],
    controllers: &[String],
) -> Result<(), ConfigError> {
    const NAME: &str = "listener.security.protocol.map";
    let map = listeners::protocols(settings.get(NAME).unwrap_or_default())?;
    for listener in bound {
        let protocol =
            map.iter().find(|(name, _)| *name == listener.name).map(|(_, protocol)| protocol.as_str());
        match protocol {
            Some("PLAINTEXT") => {}
            // Kafka too lets the controller's listener go without, while the map is not set.
            None if is_named(controllers, &listener.name) && settings.set_value(NAME).is_none() => {}
            Some(protocol) => {
                let reason = "only PLAINTEXT listeners are served yet";
                return Err(ConfigError::NotServed {
                    name: NAME,
                    value: format!("{}:{protocol}", listener.name),
                    reason,
                });
            }
            None => {
                let why = format!("it does not say what listener {} speaks", listener.name);
                let value = settings.get(NAME).unwrap_or_default().to_owned();
                return Err(ConfigError::Conflict { name: NAME, value, why });
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
    match settings.get("metrics.listener") {
        Some(value) if !value.trim().is_empty() && listeners::host_and_port(value.trim()).is_none() => {
            let why = "it is not host:port".to_owned();
            Err(ConfigError::Conflict { name: "metrics.listener", value: value.to_owned(), why })
        }
        _ => Ok(()),
    }
}

fn overrides(settings: &BrokerSettings) -> Result<(), ConfigError> {
    listeners::connection_overrides(settings.get("max.connections.per.ip.overrides").unwrap_or_default())
        .map(drop)
}

fn is_named(names: &[String], name: &str) -> bool {
    names.iter().any(|one| one.eq_ignore_ascii_case(name))
}

fn is_unroutable(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "::" | "0:0:0:0:0:0:0:0")
}
