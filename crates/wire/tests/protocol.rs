//! The tables of API keys and error codes against the schema, line by line.

use ottla_wire::messages::*;
use ottla_wire::primitives::{Message, Request};
use ottla_wire::protocol::{
    ApiKey, ErrorCode, Listener, PRODUCE_ADVERTISED_MIN, UnknownApiKey, request_header_version,
    response_header_version,
};

const PROTOCOL: &str = include_str!("../schema/protocol.txt");
const ERRORS: &str = include_str!("../schema/errors.txt");

struct Head {
    name: &'static str,
    kind: &'static str,
    key: Option<i16>,
    listeners: &'static str,
    min: i16,
    max: i16,
    flexible_from: Option<i16>,
    unstable: bool,
}

fn heads() -> Vec<Head> {
    let lines = PROTOCOL.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    lines.map(head).collect()
}

fn head(line: &'static str) -> Head {
    let words: Vec<&str> = line.split(' ').collect();
    let value = |name: &str| words.iter().find_map(|w| w.strip_prefix(name));
    let versions = value("versions=").expect("schema");
    let (min, max) = versions.split_once('-').unwrap_or((versions, versions));
    Head {
        name: words[0],
        kind: words[1],
        key: value("key=").map(|k| k.parse().expect("schema")),
        listeners: value("listeners=").unwrap_or_default(),
        min: min.parse().expect("schema"),
        max: max.parse().expect("schema"),
        flexible_from: value("flexible=").and_then(|f| f.trim_end_matches('+').parse().ok()),
        unstable: words.contains(&"unstable"),
    }
}

#[test]
fn every_request_of_the_schema_has_its_key() {
    let requests: Vec<Head> = heads().into_iter().filter(|h| h.kind == "request").collect();
    assert_eq!(requests.len(), 89);
    assert_eq!(ApiKey::ALL.len(), requests.len());
    for (head, key) in requests.iter().zip(ApiKey::ALL) {
        assert_eq!(Some(key.code()), head.key, "{key}");
        assert_eq!(format!("{key}Request"), head.name);
        assert_eq!(ApiKey::try_from(key.code()), Ok(key));
        let listeners: Vec<_> = key.listeners().iter().map(|l| format!("{l:?}").to_lowercase()).collect();
        assert_eq!(listeners.join(","), head.listeners, "{key}");
        assert_eq!(key.latest_version_unstable(), head.unstable, "{key}");
        let newest = head.max - i16::from(head.unstable);
        assert_eq!(key.versions(), head.min..=newest, "{key}");
    }
}

#[test]
fn numbers_that_are_no_key_are_refused() {
    let known = ApiKey::ALL.map(ApiKey::code);
    for code in (i16::MIN..=i16::MAX).filter(|code| !known.contains(code)) {
        assert_eq!(ApiKey::try_from(code), Err(UnknownApiKey(code)));
    }
}

#[test]
fn a_request_and_its_response_have_the_same_versions() {
    let heads = heads();
    for request in heads.iter().filter(|h| h.kind == "request") {
        let name = request.name.replace("Request", "Response");
        let response = heads.iter().find(|h| h.name == name).unwrap();
        assert_eq!((request.min, request.max), (response.min, response.max), "{name}");
    }
}

#[test]
fn headers_are_flexible_where_the_bodies_are() {
    let heads = heads();
    for key in ApiKey::ALL {
        let find = |suffix: &str| heads.iter().find(|h| h.name == format!("{key}{suffix}")).unwrap();
        for version in 0..=30 {
            let is_flexible = |head: &Head| head.flexible_from.is_some_and(|from| version >= from);
            let request = if is_flexible(find("Request")) { 2 } else { 1 };
            assert_eq!(request_header_version(key, version), request, "{key} v{version}");
            let response = i16::from(is_flexible(find("Response")) && key != ApiKey::ApiVersions);
            assert_eq!(response_header_version(key, version), response, "{key} v{version}");
        }
    }
}

#[test]
fn headers_of_well_known_requests() {
    for (key, version, request, response) in [
        (ApiKey::Produce, 8, 1, 0),
        (ApiKey::Produce, 9, 2, 1),
        (ApiKey::Fetch, 11, 1, 0),
        (ApiKey::Fetch, 12, 2, 1),
        (ApiKey::ApiVersions, 0, 1, 0),
        (ApiKey::ApiVersions, 4, 2, 0),
        (ApiKey::ApiVersions, i16::MAX, 2, 0),
        (ApiKey::ApiVersions, -1, 1, 0),
        (ApiKey::SaslHandshake, 1, 1, 0),
        (ApiKey::ConsumerGroupHeartbeat, 0, 2, 1),
    ] {
        assert_eq!(request_header_version(key, version), request, "{key} v{version}");
        assert_eq!(response_header_version(key, version), response, "{key} v{version}");
    }
}

#[test]
fn what_is_advertised_is_what_is_served_but_for_two() {
    for key in ApiKey::ALL.into_iter().filter(|key| *key != ApiKey::Produce) {
        assert_eq!(key.advertised_versions(), key.versions(), "{key}");
    }
    assert_eq!(ApiKey::Produce.versions(), 3..=13);
    assert_eq!(ApiKey::Produce.advertised_versions(), PRODUCE_ADVERTISED_MIN..=13);
    let unstable: Vec<_> = ApiKey::ALL.into_iter().filter(|key| key.latest_version_unstable()).collect();
    assert_eq!(unstable, [ApiKey::InitProducerId]);
    assert_eq!(ApiKey::InitProducerId.advertised_versions(), 0..=5);
    assert_eq!(InitProducerIdRequest::MAX_VERSION, 6);
}

#[test]
fn requests_know_their_key_and_response() {
    fn facts<R: Request>() -> (ApiKey, &'static str, bool) {
        (R::KEY, R::Response::NAME, R::flexible(R::MAX_VERSION))
    }
    assert_eq!(facts::<ProduceRequest>(), (ApiKey::Produce, "ProduceResponse", true));
    assert_eq!(facts::<SaslHandshakeRequest>(), (ApiKey::SaslHandshake, "SaslHandshakeResponse", false));
    assert_eq!(ApiKey::Vote.listeners(), [Listener::Controller]);
}

#[test]
fn every_error_of_the_schema_has_its_code() {
    let lines: Vec<&str> = ERRORS.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(ErrorCode::ALL.len(), lines.len());
    for (line, error) in lines.into_iter().zip(ErrorCode::ALL) {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(error.code().to_string(), words[0]);
        assert_eq!(error.name(), words[1]);
        assert_eq!(error.to_string(), words[1]);
        assert_eq!(error.is_retriable(), words.get(2) == Some(&"retriable"), "{error}");
        assert_eq!(ErrorCode::from_code(error.code()), Some(error));
        let variant = words[1].replace('_', "").to_lowercase();
        assert_eq!(format!("{error:?}").to_lowercase(), variant);
    }
    assert_eq!(ErrorCode::from_code(134), None);
    assert_eq!(ErrorCode::from_code(-2), None);
    assert_eq!(i16::from(ErrorCode::NotLeaderOrFollower), 6);
}
