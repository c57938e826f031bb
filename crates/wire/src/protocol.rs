//! The table of API keys with their versions and listeners, the versions of headers, and the error codes.
//!
//! The tables are generated from `schema/` when the crate is built.

use std::fmt;
use std::ops::RangeInclusive;

include!(concat!(env!("OUT_DIR"), "/api_key.rs"));
include!(concat!(env!("OUT_DIR"), "/error_code.rs"));

/// The lowest version of Produce that is advertised. Versions 0 to 2 are not served, but librdkafka looks for
/// version 0 to learn whether the broker knows gzip, snappy and lz4, and without it sends uncompressed
/// (KAFKA-18659).
pub const PRODUCE_ADVERTISED_MIN: i16 = 0;

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listener {
    Broker,
    Controller,
}

/// A row of the table of APIs.
struct Facts {
    name: &'static str,
    min_version: i16,
    max_version: i16,
    unstable: bool,
    request_flexible_from: i16,
    response_flexible_from: i16,
    listeners: &'static [Listener],
}

impl ApiKey {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// Kafka's name, as `Produce`.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The versions that can be served: all of the schema, without the newest where that is unstable.
    pub fn versions(self) -> RangeInclusive<i16> {
        let facts = self.facts();
        facts.min_version..=facts.max_version - i16::from(facts.unstable)
    }

    /// The versions that ApiVersions names: [`ApiKey::versions`], but see [`PRODUCE_ADVERTISED_MIN`].
    pub fn advertised_versions(self) -> RangeInclusive<i16> {
        let served = self.versions();
        if self == ApiKey::Produce { PRODUCE_ADVERTISED_MIN..=*served.end() } else { served }
    }

    /// Whether the schema has one more version above [`ApiKey::versions`] that is not finished.
    pub fn latest_version_unstable(self) -> bool {
        self.facts().unstable
    }

    /// Where the API is served.
    pub fn listeners(self) -> &'static [Listener] {
        self.facts().listeners
    }
}

impl From<ApiKey> for i16 {
    fn from(key: ApiKey) -> i16 {
        key.code()
    }
}

impl TryFrom<i16> for ApiKey {
    type Error = UnknownApiKey;
    fn try_from(code: i16) -> Result<ApiKey, UnknownApiKey> {
        ApiKey::from_code(code).ok_or(UnknownApiKey(code))
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No API has this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("API key {0} is not known")]
pub struct UnknownApiKey(pub i16);

/// The version of the header before a request. Defined for every version, also those that are not served:
/// ApiVersions of an unknown version is read as far as its header.
pub fn request_header_version(key: ApiKey, version: i16) -> i16 {
    if version >= key.facts().request_flexible_from { 2 } else { 1 }
}

/// The version of the header before a response. That of ApiVersions is always 0, because the client does not
/// know yet what the broker understands (KIP-511).
pub fn response_header_version(key: ApiKey, version: i16) -> i16 {
    if key != ApiKey::ApiVersions && version >= key.facts().response_flexible_from { 1 } else { 0 }
}

impl ErrorCode {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }
}

impl From<ErrorCode> for i16 {
    fn from(error: ErrorCode) -> i16 {
        error.code()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
