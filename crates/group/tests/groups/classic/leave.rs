//! LeaveGroup: members go, one or many at once.

use ottla_group::{Caller, Request, Response};
use ottla_wire::ErrorCode;
use ottla_wire::messages::LeaveGroupRequest;
use ottla_wire::messages::leave_group_request::MemberIdentity;
use ottla_wire::primitives::Str;

use super::client::*;

fn identity(member: &str, instance: Option<&str>) -> MemberIdentity {
    MemberIdentity { member_id: member.into(), group_instance_id: instance.map(Str::from), reason: None }
}

#[test]
fn the_last_one_to_leave_leaves_an_empty_group() {
    let mut world = world();
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    settle(&mut world, &mut [&mut a, &mut b]);
    assert_eq!(a.leave(&mut world), ErrorCode::None);
    assert_eq!(b.heartbeat(&mut world), ErrorCode::RebalanceInProgress);
    assert_eq!(b.leave(&mut world), ErrorCode::None);
    assert_eq!(state(&mut world), "Empty");
    assert_eq!(b.leave(&mut world), ErrorCode::UnknownMemberId, "it is gone already");
    world.check_against_log();
}

#[test]
fn each_member_of_a_batch_has_its_own_outcome() {
    let mut world = world();
    let mut a = Client::new("a");
    let mut s = Client::new("s").instance("s");
    let mut t = Client::new("t").instance("t");
    let mut stays = Client::new("stays");
    settle(&mut world, &mut [&mut a, &mut s, &mut t, &mut stays]);
    let pending = {
        let client = Client::new("pending");
        let ticket = world.ask(&client.caller, Request::JoinGroup(client.join_request()));
        join_answer(&mut world, ticket).member_id
    };
    let members = vec![
        (identity(&a.id, None), ErrorCode::None),
        (identity(&a.id, None), ErrorCode::UnknownMemberId),
        (identity("", Some("s")), ErrorCode::None),
        (identity("", Some("nobody")), ErrorCode::UnknownMemberId),
        (identity("", None), ErrorCode::UnknownMemberId),
        (identity(&stays.id, Some("t")), ErrorCode::FencedInstanceId),
        (identity("nobody", None), ErrorCode::UnknownMemberId),
        (identity(&t.id, Some("t")), ErrorCode::None),
        (identity(&pending, None), ErrorCode::None),
    ];
    let (asked, expected): (Vec<_>, Vec<_>) = members.into_iter().unzip();
    let response = leave(&mut world, &stays.at(5), GROUP, asked.clone());
    assert_eq!(error(response.error_code), ErrorCode::None);
    let outcomes: Vec<_> = response.members.iter().map(|member| error(member.error_code)).collect();
    assert_eq!(outcomes, expected);
    for (asked, told) in asked.iter().zip(&response.members) {
        assert_eq!((&asked.member_id, &asked.group_instance_id), (&told.member_id, &told.group_instance_id));
    }
    rejoin(&mut world, &mut [&mut stays]);
    assert_eq!(super::client::members(&mut world).keys().collect::<Vec<_>>(), ["stays"]);
}

#[test]
fn old_versions_name_one_member() {
    for version in 0..=2 {
        let mut world = world();
        let mut a = Client::new("a");
        settle(&mut world, &mut [&mut a]);
        let caller = Caller { version, ..Caller::default() };
        let mut ask = |group: &str, member: &str| {
            let request =
                LeaveGroupRequest { group_id: group.into(), member_id: member.into(), members: vec![] };
            match world.call(&caller, Request::LeaveGroup(request)) {
                Response::LeaveGroup(response) => {
                    assert!(response.members.is_empty());
                    error(response.error_code)
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(ask(GROUP, "nobody"), ErrorCode::UnknownMemberId);
        assert_eq!(ask("unknown", &a.id), ErrorCode::UnknownMemberId);
        assert_eq!(ask(GROUP, &a.id), ErrorCode::None);
        assert_eq!(ask("", &a.id), ErrorCode::InvalidGroupId);
    }
}

#[test]
fn an_unknown_group_has_no_members() {
    let mut world = world();
    let response = leave(&mut world, &Client::new("a").at(5), "unknown", vec![identity("m", Some("i"))]);
    assert_eq!(error(response.error_code), ErrorCode::None);
    assert_eq!(error(response.members[0].error_code), ErrorCode::UnknownMemberId);
    assert_eq!(response.members[0].group_instance_id, Some("i".into()));
    let response = leave(&mut world, &Client::new("a").at(5), "", vec![identity("m", None)]);
    assert_eq!(error(response.error_code), ErrorCode::InvalidGroupId);
}

#[test]
fn requests_of_who_is_removed_are_answered() {
    let mut world = world();
    let (mut a, mut s) = (Client::new("a"), Client::new("s").instance("s"));
    settle(&mut world, &mut [&mut a, &mut s]);
    // While it joins.
    let waiting = s.clone().reads(&["u"]).join(&mut world);
    let removed = leave(&mut world, &a.at(5), GROUP, vec![identity("", Some("s"))]);
    assert_eq!(error(removed.members[0].error_code), ErrorCode::None);
    assert_eq!(error(join_answer(&mut world, waiting).error_code), ErrorCode::UnknownMemberId);
    // While it waits for its assignment.
    let mut s = Client::new("s").instance("s");
    let of_s = s.join(&mut world);
    let of_a = a.join(&mut world);
    a.joined(&mut world, of_a);
    s.joined(&mut world, of_s);
    let waiting = s.sync(&mut world, &[]);
    leave(&mut world, &a.at(5), GROUP, vec![identity("", Some("s"))]);
    assert_eq!(error(sync_answer(&mut world, waiting).error_code), ErrorCode::UnknownMemberId);
    assert_eq!(state(&mut world), "PreparingRebalance");
}

#[test]
fn an_id_that_is_given_back_disturbs_nobody() {
    let mut world = world();
    let mut a = Client::new("a");
    settle(&mut world, &mut [&mut a]);
    let client = Client::new("pending");
    let ticket = world.ask(&client.caller, Request::JoinGroup(client.join_request()));
    let pending = join_answer(&mut world, ticket).member_id;
    let left = leave(&mut world, &client.at(5), GROUP, vec![identity(&pending, None)]);
    assert_eq!(error(left.members[0].error_code), ErrorCode::None);
    assert_eq!(a.heartbeat(&mut world), ErrorCode::None);
}
