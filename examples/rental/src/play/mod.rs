//! The whole story in one go: groups of four members share three partitions a topic, one member is killed and
//! another carries on, the recommendation model reads the last week again, and orders are billed exactly once
//! although a member is killed in the middle of a transaction. Fails if a count is wrong.
//!
//! - [`billing`]: the part with transactions.
//! - [`troupe`]: members of a group as processes.
//! - [`stage`]: what the broker says: orders, committed offsets, members.

mod billing;
mod stage;
mod troupe;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use ottla_client::TopicPartition;

use crate::order::{PARTITIONS, Place, Shop};
use crate::{email, recommend};
use stage::Stage;
use troupe::Troupe;

/// One more than there are partitions of a topic: it waits for another to fail.
const MEMBERS: usize = PARTITIONS as usize + 1;
/// What each shop rents out: six things a day.
const ORDERS: usize = 84;
/// Milliseconds that an e-mail takes, so that there is time to kill somebody who is at it.
const EMAIL_PACE_MS: u64 = 30;
/// Orders that a member handles before it is killed, here and in [`billing`]: some of them are committed,
/// some are not.
const ORDERS_BEFORE_THE_KILL: usize = 8;
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

pub async fn run(bootstrap: &str) -> anyhow::Result<()> {
    let stage = Stage::new(bootstrap).await?;
    stage.make_topics().await?;

    scene("Four members in each group, and three partitions in each topic: one member is idle, by design");
    let mut emails = Troupe::new(bootstrap, email::GROUP, EMAIL_PACE_MS);
    let mut models = Troupe::new(bootstrap, recommend::GROUP, 0);
    for _ in 0..MEMBERS {
        emails.start()?;
        models.start()?;
    }
    stage.await_shares(email::GROUP, MEMBERS).await?;
    stage.await_shares(recommend::GROUP, MEMBERS).await?;
    println!("both groups are stable: in each, three members have a share and one has none");

    scene("The shops rent things out");
    for shop in Shop::ALL {
        let name = shop.topic().trim_start_matches("orders.");
        let orders = ORDERS.to_string();
        let arguments = ["--bootstrap-server", bootstrap, "shop", name, "--orders", orders.as_str()];
        let status = Command::new(std::env::current_exe()?).args(arguments).status()?;
        ensure!(status.success(), "shop {name} failed: {status}");
    }

    scene("A member of the e-mail service is killed with kill -9, in the middle of its orders");
    let killed = one_is_killed(&stage, &mut emails).await?;

    scene("Another member carries on from what was committed");
    let orders = stage.orders().await?;
    let all: BTreeSet<Place> = orders.keys().cloned().collect();
    ensure!(all.len() == 2 * ORDERS, "{} orders are stored, not {}", all.len(), 2 * ORDERS);
    emails.await_handled(&all).await?;
    carried_on(&emails, &killed, &all)?;
    models.await_handled(&all).await?;
    ensure!(models.handled().len() == all.len(), "the model has learned an order twice");
    println!("every order has been handled by both groups: {} of them", all.len());

    scene("The recommendation model reads the last week again");
    models.stop()?;
    stage.await_shares(recommend::GROUP, 0).await?;
    let from = stage::ago(WEEK);
    stage.reset(recommend::GROUP, from).await?;
    let week: BTreeSet<Place> =
        orders.into_iter().filter(|(_, at)| *at >= from).map(|(place, _)| place).collect();
    ensure!(!week.is_empty() && week.len() < all.len(), "{} orders are of the last week", week.len());
    let mut models = Troupe::new(bootstrap, recommend::GROUP, 0);
    for _ in 0..MEMBERS {
        models.start()?;
    }
    models.await_handled(&week).await?;
    models.stop()?;
    emails.stop()?;
    let again = models.handled();
    ensure!(
        again.len() == week.len(),
        "{} orders were read again, and not the {} of the week",
        again.len(),
        week.len()
    );
    println!("it has learned the {} orders of the week again, and none that are older", week.len());

    billing::scenes(&stage, bootstrap, &all).await?;

    println!("\nall counts are right");
    Ok(())
}

fn scene(title: &str) {
    println!("\n== {title}");
}

/// What was known of a member when it was killed.
struct Killed {
    member: usize,
    /// What the group had committed for the partitions that it had read; 0 where nothing.
    committed: BTreeMap<TopicPartition, i64>,
}

async fn one_is_killed(stage: &Stage, emails: &mut Troupe) -> anyhow::Result<Killed> {
    let member = emails.await_busy(ORDERS_BEFORE_THE_KILL).await?;
    emails.kill(member)?;
    let handled: Vec<Place> = emails.handled_by(member);
    let had: BTreeSet<TopicPartition> = handled.iter().map(|place| place.partition.clone()).collect();
    let committed = stage.committed(email::GROUP, &had).await?;
    println!("{} had handled {} orders; it had committed:", emails.name(member), handled.len());
    for (partition, offset) in &committed {
        println!("  {partition} up to offset {offset}");
    }
    Ok(Killed { member, committed })
}

/// That what the dead member had was taken over where it had committed, and that nothing else was handled
/// twice.
fn carried_on(emails: &Troupe, killed: &Killed, orders: &BTreeSet<Place>) -> anyhow::Result<()> {
    let handled = emails.handled();
    for (partition, committed) in &killed.committed {
        if !orders.iter().any(|of| of.partition == *partition && of.offset >= *committed) {
            println!("all of {partition} was committed: there was nothing to carry on with");
            continue;
        }
        let first = handled.iter().find(|(by, place)| *by != killed.member && place.partition == *partition);
        let (by, first) = first.with_context(|| format!("nobody has carried on with {partition}"))?;
        ensure!(
            first.offset == *committed,
            "{} has carried on with {partition} at offset {}, and {committed} was committed",
            emails.name(*by),
            first.offset
        );
        println!("{} has carried on with {partition} at offset {committed}", emails.name(*by));
    }
    let mut seen = BTreeSet::new();
    let twice: Vec<&Place> =
        handled.iter().map(|(_, place)| place).filter(|place| !seen.insert(*place)).collect();
    let wrong = twice.iter().find(|place| {
        killed.committed.get(&place.partition).is_none_or(|committed| place.offset < *committed)
    });
    ensure!(
        wrong.is_none(),
        "{} was committed, and has been handled twice",
        wrong.map_or(String::new(), |of| of.to_string())
    );
    println!("{} e-mails were sent twice: handled, but not yet committed when the member died", twice.len());
    Ok(())
}
