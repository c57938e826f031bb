//! Members that vanish, at every step, with and without a broker that goes as well.

use ottla_coordinator::Ticket;
use ottla_group::timers::GroupTimers;
use ottla_wire::ErrorCode;

use super::client::*;
use crate::world::World;

/// Where the member that vanishes stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    GivenAnId,
    JoinsANewGroup,
    Joined,
    WaitsForAssignment,
    Stable,
    JoinsAgain,
    JoinedAgain,
    WaitsAgain,
}

const STEPS: [Step; 8] = [
    Step::GivenAnId,
    Step::JoinsANewGroup,
    Step::Joined,
    Step::WaitsForAssignment,
    Step::Stable,
    Step::JoinsAgain,
    Step::JoinedAgain,
    Step::WaitsAgain,
];

/// Leads two members to `step` of the second, `gone`, and says nothing more of it. The first one, `stays`,
/// comes later if `gone` leads. Gives its JoinGroup that waits, if one does.
fn lead_to(
    world: &mut World,
    step: Step,
    stays: &mut Client,
    gone: &mut Client,
    gone_leads: bool,
) -> Option<Ticket> {
    if step == Step::GivenAnId {
        let of_stays = stays.join(world);
        world.ask(&gone.caller, ottla_group::Request::JoinGroup(gone.join_request()));
        return Some(of_stays);
    }
    let (of_stays, of_gone) = if gone_leads {
        let of_gone = gone.join(world);
        (stays.join(world), of_gone)
    } else {
        (stays.join(world), gone.join(world))
    };
    if step == Step::JoinsANewGroup {
        return Some(of_stays);
    }
    world.advance(INITIAL_DELAY * 2);
    if step == Step::Joined || step == Step::WaitsForAssignment {
        stays.joined(world, of_stays);
        gone.joined(world, of_gone);
        if step == Step::WaitsForAssignment && !gone_leads {
            gone.sync(world, &[]);
        }
        return None;
    }
    finish(world, &mut [stays, gone], &[of_stays, of_gone]);
    if step == Step::Stable {
        return None;
    }
    let changed = subscription(&["u"]);
    gone.protocols[0].1 = changed.clone();
    let of_gone = gone.join(world);
    if step == Step::JoinsAgain {
        return None;
    }
    stays.protocols[0].1 = changed;
    let of_stays = stays.join(world);
    stays.joined(world, of_stays);
    gone.joined(world, of_gone);
    if step == Step::WaitsAgain && !gone_leads {
        gone.sync(world, &[]);
    }
    None
}

/// The member that stays does what a client does, until the group is its own.
fn live_on(world: &mut World, client: &mut Client, mut waiting: Option<Ticket>) {
    for _ in 0..600 {
        world.advance(SESSION / 20);
        if let Some(ticket) = waiting {
            let Some(answer) = world.answer(ticket) else { continue };
            waiting = None;
            let ottla_group::Response::JoinGroup(answer) = answer else { panic!("{answer:?}") };
            match error(answer.error_code) {
                ErrorCode::None => {
                    client.id = answer.member_id.clone();
                    client.generation = answer.generation_id;
                    let all = client.clone();
                    let assignments = [(&all, all.name.as_str())];
                    let leads = answer.leader == client.id;
                    client.sync(world, if leads { &assignments } else { &[] });
                }
                ErrorCode::UnknownMemberId => client.id = "".into(),
                other => panic!("{other}"),
            }
            continue;
        }
        match client.heartbeat(world) {
            ErrorCode::None => {}
            ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => {
                waiting = Some(client.join(world))
            }
            ErrorCode::UnknownMemberId => {
                client.id = "".into();
                waiting = Some(client.join(world));
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(waiting, None);
}

#[test]
fn the_group_goes_on_without_who_vanishes() {
    for step in STEPS {
        for gone_leads in [false, true] {
            for broker_goes_too in [false, true] {
                let case = format!("{step:?}, gone leads: {gone_leads}, broker goes too: {broker_goes_too}");
                let mut world = world();
                let (mut stays, mut gone) = (Client::new("stays"), Client::new("gone"));
                let mut waiting = lead_to(&mut world, step, &mut stays, &mut gone, gone_leads);
                if broker_goes_too {
                    world.reload();
                    waiting = None;
                }
                live_on(&mut world, &mut stays, waiting);
                assert_eq!(state(&mut world), "Stable", "{case}");
                assert_eq!(members(&mut world).keys().collect::<Vec<_>>(), ["stays"], "{case}");
                assert_eq!(stays.heartbeat(&mut world), ErrorCode::None, "{case}");
                world.check_against_log();
            }
        }
    }
}

#[test]
fn nothing_is_left_of_a_group_that_vanishes_but_its_record() {
    for step in STEPS {
        let mut world = world();
        let (mut a, mut b) = (Client::new("a"), Client::new("b"));
        lead_to(&mut world, step, &mut a, &mut b, false);
        // Longer than the JoinGroup of a new member is kept, and than a rebalance.
        world.advance(REBALANCE * 20);
        match world.core().groups().get(GROUP) {
            Some(group) => assert!(group.is_empty() && !group.is_unrecorded(), "{step:?}"),
            None => assert!(world.log().is_empty(), "{step:?}"),
        }
        assert!(world.core().timers().of_group(GROUP).is_empty(), "{step:?}: no timer is left");
        world.check_against_log();
    }
}

#[test]
fn a_new_member_whose_client_is_gone_does_not_hold_the_group_for_ever() {
    let mut world = world();
    // A rebalance timeout so long that the first answer would not come for an hour.
    let hour = std::time::Duration::from_secs(3600);
    let mut a = Client::new("a").rebalance(hour).session(hour / 2);
    settle(&mut world, &mut [&mut a]);
    let mut new = Client::new("new");
    let waiting = new.join(&mut world);
    world.advance(std::time::Duration::from_secs(299));
    assert_eq!(world.answer(waiting), None);
    world.advance(std::time::Duration::from_secs(1));
    assert_eq!(error(join_answer(&mut world, waiting).error_code), ErrorCode::UnknownMemberId);
    assert_eq!(members(&mut world).len(), 1);
}
