//! Orders are billed in transactions: one member is killed in the middle of one, and still there is exactly
//! one invoice for every order.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::ensure;
use ottla_client::IsolationLevel;
use rustix::process::Signal;

use super::stage::Stage;
use super::troupe::{LOOK_AGAIN, PATIENCE, Troupe};
use super::{ORDERS_BEFORE_THE_KILL, scene};
use crate::bill;
use crate::order::Place;

const MEMBERS: usize = 3;
/// Milliseconds that an invoice takes, so that there is time to kill somebody within a transaction.
const PACE_MS: u64 = 100;

/// `orders` are all that there are.
pub async fn scenes(stage: &Stage, bootstrap: &str, orders: &BTreeSet<Place>) -> anyhow::Result<()> {
    scene(
        "A billing service writes invoices in transactions; one member is killed with kill -9 in the middle of one",
    );
    let mut bills = Troupe::numbered(bootstrap, bill::GROUP, PACE_MS);
    for _ in 0..MEMBERS {
        bills.start()?;
    }
    let killed = one_is_killed(stage, &mut bills).await?;
    let (name, wrote) = (bills.name(killed), bills.handled_by(killed).len());
    println!("{name} had written {wrote} invoices, the last of them in a transaction that it has left open");

    scene("Another member carries on, and every order is billed exactly once");
    bills.await_handled(orders).await?;
    stage.await_committed(bill::GROUP).await?;
    bills.stop()?;
    // The coordinator aborts what the dead member has left open.
    stage.await_settled().await?;
    let invoiced = stage.invoiced(IsolationLevel::ReadCommitted).await?;
    let once: BTreeSet<Place> = invoiced.iter().cloned().collect();
    ensure!(once.len() == invoiced.len(), "{} invoices are too many", invoiced.len() - once.len());
    ensure!(once == *orders, "{} orders were billed, of {}", once.len(), orders.len());
    println!(
        "read_committed: {} invoices, exactly one for each of the {} orders",
        invoiced.len(),
        orders.len()
    );
    let written = stage.invoiced(IsolationLevel::ReadUncommitted).await?.len();
    ensure!(written > invoiced.len(), "nothing is to be seen of the transaction that was aborted");
    println!("read_uncommitted: {written}, {} of them were aborted", written - invoiced.len());
    Ok(())
}

/// Kills a member within a transaction.
async fn one_is_killed(stage: &Stage, bills: &mut Troupe) -> anyhow::Result<usize> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let member = bills.await_busy(ORDERS_BEFORE_THE_KILL).await?;
        // Held still while it is looked at, or its transaction might end meanwhile.
        bills.signal(member, Signal::STOP)?;
        // Members are named by their transactional ids.
        if stage.has_open_transaction(&bills.name(member)).await? {
            bills.kill(member)?;
            return Ok(member);
        }
        bills.signal(member, Signal::CONT)?;
        ensure!(Instant::now() < deadline, "{} is never within a transaction", bills.name(member));
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
