//! Listeners: the addresses a broker binds and those it tells clients.

use crate::error::ConfigError;
use crate::key;
use crate::value::split_list;

/// One listener, `NAME://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// In capitals.
    pub name: String,
    /// Empty: every address of the host (to bind), or the name of the host (to advertise).
    pub host: String,
    pub port: u16,
}

/// Reads the listeners of one setting: names and ports MUST be different, except that port 0 may be used
/// again.
pub fn parse(setting: &'static str, entries: &[String]) -> Result<Vec<Listener>, ConfigError> {
    let conflict =
        |why: &str| ConfigError::Conflict { name: setting, value: entries.join(","), why: why.to_owned() };
    let mut listeners: Vec<Listener> = Vec::new();
    for entry in entries {
        let listener = parse_one(entry)
            .ok_or_else(|| conflict(&format!("{entry} is not NAME://host:port{}", brackets(entry))))?;
        if listeners.iter().any(|other| other.name == listener.name) {
            return Err(conflict(&format!("the name {} comes twice", listener.name)));
        }
        let taken =
            |other: &Listener| other.port == listener.port && other.host == listener.host && other.port != 0;
        if listeners.iter().any(taken) && setting == key::LISTENERS.name() {
            return Err(conflict(&format!("port {} is used twice", listener.port)));
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

fn parse_one(entry: &str) -> Option<Listener> {
    let (name, address) = entry.split_once("://")?;
    let (host, port) = host_and_port(address)?;
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
    (!name.is_empty() && name.bytes().all(fits)).then(|| Listener { name: name.to_uppercase(), host, port })
}

/// Reads `host:port`; an IPv6 address is in brackets, and the host may be missing.
pub fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains([':', '[', ']', '/', ' ']) => return None,
        None => host,
    };
    Some((host.to_owned(), port.parse().ok()?))
}

/// What to say of an address that cannot be read, if it looks like IPv6 without brackets: nobody can tell
/// where its port begins.
pub fn brackets(text: &str) -> &'static str {
    let address = text.split_once("://").map_or(text, |(_, address)| address);
    let is_bare = address.matches(':').count() > 1 && !address.contains('[');
    if is_bare { ": an IPv6 address is written in brackets, such as [::1]:9092" } else { "" }
}

/// Which security protocol each listener name stands for, by `listener.security.protocol.map`.
pub fn protocols(text: &str) -> Result<Vec<(String, String)>, ConfigError> {
    const NAME: &str = key::LISTENER_SECURITY_PROTOCOL_MAP.name();
    let mut map = Vec::new();
    for entry in split_list(text) {
        let pair =
            entry.split_once(':').map(|(name, protocol)| (name.to_uppercase(), protocol.to_uppercase()));
        match pair {
            Some((_, protocol))
                if !["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"].contains(&&*protocol) =>
            {
                let why = format!("{protocol} is not a security protocol");
                return Err(ConfigError::Conflict { name: NAME, value: text.to_owned(), why });
            }
            Some(pair) => map.push(pair),
            None => {
                let why = format!("{entry} is not NAME:PROTOCOL");
                return Err(ConfigError::Conflict { name: NAME, value: text.to_owned(), why });
            }
        }
    }
    Ok(map)
}

/// `max.connections.per.ip.overrides`: pairs of address and number.
pub fn connection_overrides(text: &str) -> Result<Vec<(String, u32)>, ConfigError> {
    let pair = |entry: String| {
        let pair = entry
            .rsplit_once(':')
            .and_then(|(host, number)| Some((host.to_owned(), number.trim().parse().ok()?)));
        pair.ok_or_else(|| ConfigError::Conflict {
            name: key::MAX_CONNECTIONS_PER_IP_OVERRIDES.name(),
            value: text.to_owned(),
            why: format!("{entry} is not address:number"),
        })
    };
    split_list(text).into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read() {
        let of =
            |name: &str, host: &str, port| Listener { name: name.to_owned(), host: host.to_owned(), port };
        let cases = [
            ("PLAINTEXT://:9092", Some(vec![of("PLAINTEXT", "", 9092)])),
            (
                "plaintext://localhost:0, B://0.0.0.0:0",
                Some(vec![of("PLAINTEXT", "localhost", 0), of("B", "0.0.0.0", 0)]),
            ),
            ("IN://[::1]:1", Some(vec![of("IN", "::1", 1)])),
            ("", Some(vec![])),
            ("A://:1,A://:2", None),
            ("A://:1,B://:1", None),
            ("A://::1:9092", None),
            ("A://:99999", None),
            ("localhost:9092", None),
            ("://:1", None),
        ];
        for (text, listeners) in cases {
            assert_eq!(parse("listeners", &split_list(text)).ok(), listeners, "{text}");
        }
    }
}
