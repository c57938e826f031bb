//! FindCoordinator.

use ottla_wire::messages::FindCoordinatorRequest;

use crate::play::play;

/// From this version on a request names several keys.
const SEVERAL: i16 = 4;

#[test]
fn coordinators() {
    play("coordinators", |play| {
        let request = |version: i16, key_type: i8, keys: &[&str]| match version {
            0 => FindCoordinatorRequest { key: keys[0].into(), ..Default::default() },
            1..SEVERAL => FindCoordinatorRequest { key: keys[0].into(), key_type, ..Default::default() },
            _ => FindCoordinatorRequest {
                coordinator_keys: keys.iter().map(|key| (*key).into()).collect(),
                key_type,
                ..Default::default()
            },
        };
        play.each("a group", 0, |version| request(version, 0, &["g"]));
        play.each("the empty group", 0, |version| request(version, 0, &[""]));
        play.each("no such type", 1, |version| request(version, 3, &["g"]));
        play.each("a negative type", 1, |version| request(version, -1, &["g"]));
        let share = |version| request(version, 2, &["g:AAAAAAAAAAAAAAAAAAAAAQ:0"]);
        play.call_version("a share group before there were any", &share(5), 5);
        play.call("a share group", &share(6));
        play.each("several", SEVERAL, |version| request(version, 0, &["g", "", "h", "g"]));
        play.each("several of no such type", SEVERAL, |version| request(version, 3, &["g", "h"]));
        play.each("none", SEVERAL, |version| request(version, 0, &[]));
    });
}
