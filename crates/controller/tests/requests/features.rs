//! Feature levels.

use ottla_controller::image::MetadataVersion;
use ottla_wire::messages::update_features_request::FeatureUpdateKey;
use ottla_wire::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use ottla_wire::protocol::ErrorCode;

use crate::world::{World, expect, ids};

const ELR: &str = "eligible.leader.replicas.version";

#[test]
fn a_new_cluster_has_what_is_served() {
    let world = World::new(0);
    assert_eq!(world.image.features.metadata_version(), MetadataVersion::LATEST);
    assert!(world.image.features.eligible_leader_replicas());
    assert!(world.image.features.consumer_groups());
    assert_eq!(world.image.features.level("share.version"), 0);
    assert_eq!(world.image.features.transaction_version(), 2);
    assert_eq!(world.image.features.levels.len(), 4);
}

#[test]
fn levels_change_together_or_not_at_all() {
    let update = |feature: &str, level: i16, upgrade_type: i8| FeatureUpdateKey {
        feature: feature.into(),
        max_version_level: level,
        upgrade_type,
        ..FeatureUpdateKey::default()
    };
    let cases = [
        (vec![update("no.such", 1, 1)], ErrorCode::InvalidUpdateVersion),
        (vec![update(ELR, 2, 1)], ErrorCode::InvalidUpdateVersion),
        (vec![update("share.version", 1, 1)], ErrorCode::InvalidUpdateVersion),
        (vec![update("metadata.version", 29, 2)], ErrorCode::InvalidUpdateVersion),
        (vec![update("metadata.version", 0, 3)], ErrorCode::InvalidUpdateVersion),
        (vec![update(ELR, 0, 1)], ErrorCode::InvalidUpdateVersion),
        (vec![update(ELR, 0, 2), update("no.such", 1, 1)], ErrorCode::InvalidUpdateVersion),
        (vec![update(ELR, 0, 2), update(ELR, 1, 2)], ErrorCode::InvalidRequest),
        (vec![update("share.version", 0, 1), update("metadata.version", 30, 1)], ErrorCode::None),
    ];
    let mut world = World::new(3);
    world.place("t", &[1, 2, 3], &[("min.insync.replicas", "3")]);
    assert_eq!(world.grow_isr("t", &[1, 2]), 0);
    assert_eq!(world.partition("t").elr, ids(&[3]));
    for (feature_updates, code) in cases {
        let request = UpdateFeaturesRequest { feature_updates, ..UpdateFeaturesRequest::default() };
        let response: UpdateFeaturesResponse = world.ask(request.clone());
        expect(response.error_code, code, &request);
        assert!(world.records.is_empty());
        assert_eq!(response.results.len(), request.feature_updates.len());
    }
    for (validate_only, left) in [(true, ids(&[3])), (false, ids(&[]))] {
        let feature_updates = vec![update(ELR, 0, 2)];
        let request =
            UpdateFeaturesRequest { feature_updates, validate_only, ..UpdateFeaturesRequest::default() };
        let response: UpdateFeaturesResponse = world.ask(request);
        expect(response.error_code, ErrorCode::None, &response);
        assert_eq!(world.partition("t").elr, left);
    }
    assert!(!world.image.features.eligible_leader_replicas());
    let raised_as = |upgrade_type: i8| UpdateFeaturesRequest {
        feature_updates: vec![update(ELR, 1, upgrade_type)],
        ..UpdateFeaturesRequest::default()
    };
    for (upgrade_type, code) in
        [(2, ErrorCode::InvalidUpdateVersion), (3, ErrorCode::InvalidUpdateVersion), (1, ErrorCode::None)]
    {
        let response: UpdateFeaturesResponse = world.ask(raised_as(upgrade_type));
        expect(response.error_code, code, &response);
    }
}
