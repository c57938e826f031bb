//! The other end of a connection.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Numbers the connections of a server from 1, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who is at the other end of a connection, and how they came.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address the connection came from.
    pub addr: SocketAddr,
    /// The address it came to.
    pub local: SocketAddr,
    /// The name of the listener it came through.
    pub listener: Arc<str>,
    /// The listener's protocol.
    pub security_protocol: SecurityProtocol,
    /// The peer's principal according to the transport. Requests (SASL) may prove another one, which only the
    /// service knows.
    pub principal: Principal,
    /// The number of the connection.
    pub connection: ConnectionId,
}

/// What a listener speaks, by Kafka's names (`listener.security.protocol.map`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Kafka's requests on bare TCP.
    Plaintext,
    /// The same within TLS.
    Ssl,
    /// On bare TCP, after the client has authenticated.
    SaslPlaintext,
    /// Both.
    SaslSsl,
}

impl SecurityProtocol {
    /// The number that stands for it in metadata.
    pub fn id(self) -> i16 {
        match self {
            SecurityProtocol::Plaintext => 0,
            SecurityProtocol::Ssl => 1,
            SecurityProtocol::SaslPlaintext => 2,
            SecurityProtocol::SaslSsl => 3,
        }
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        })
    }
}

/// The identity behind requests: a type and a name, as in Kafka's ACLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// `User`, in all that Kafka itself knows of.
    pub principal_type: Cow<'static, str>,
    /// The name, whose meaning depends on who vouches for it.
    pub name: Cow<'static, str>,
}

impl Principal {
    /// Anyone: the peer has not been authenticated.
    pub const ANONYMOUS: Principal =
        Principal { principal_type: Cow::Borrowed("User"), name: Cow::Borrowed("ANONYMOUS") };
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.principal_type, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_those_of_kafka() {
        assert_eq!(Principal::ANONYMOUS.to_string(), "User:ANONYMOUS");
        for (protocol, name, id) in [
            (SecurityProtocol::Plaintext, "PLAINTEXT", 0),
            (SecurityProtocol::Ssl, "SSL", 1),
            (SecurityProtocol::SaslPlaintext, "SASL_PLAINTEXT", 2),
            (SecurityProtocol::SaslSsl, "SASL_SSL", 3),
        ] {
            assert_eq!((protocol.to_string().as_str(), protocol.id()), (name, id));
        }
    }
}
