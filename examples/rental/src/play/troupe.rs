//! Members of one group, each a process of this program, and what they say that they have handled.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::order::Place;

/// How long something may take that should happen soon. That a member has died is noticed after seconds.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// How often it is looked for.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Orders with the number of the member that handled them, in the order that they were heard of.
type Handled = Arc<Mutex<Vec<(usize, Place)>>>;

pub struct Troupe {
    bootstrap: String,
    group: &'static str,
    pace_ms: u64,
    /// Whether members are told their number, from 1.
    numbered: bool,
    members: Vec<Member>,
    handled: Handled,
}

struct Member {
    child: Child,
    /// Ends with what the member says.
    listeners: Vec<JoinHandle<()>>,
    alive: bool,
}

impl Troupe {
    /// Nobody, yet.
    pub fn new(bootstrap: &str, group: &'static str, pace_ms: u64) -> Troupe {
        let bootstrap = bootstrap.to_owned();
        let numbered = false;
        Troupe { bootstrap, group, pace_ms, numbered, members: Vec::new(), handled: Handled::default() }
    }

    /// Nobody, yet. Members are told which of them they are.
    pub fn numbered(bootstrap: &str, group: &'static str, pace_ms: u64) -> Troupe {
        Troupe { numbered: true, ..Troupe::new(bootstrap, group, pace_ms) }
    }

    pub fn name(&self, member: usize) -> String {
        format!("{}-{}", self.group, member + 1)
    }

    /// Starts one more member.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let number = self.members.len();
        let pace = self.pace_ms.to_string();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--bootstrap-server", &self.bootstrap, self.group, "--pace", &pace]);
        if self.numbered {
            command.args(["--member", &(number + 1).to_string()]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("a member cannot be started")?;
        let (out, errors) =
            (child.stdout.take().context("no stdout")?, child.stderr.take().context("no stderr")?);
        let handled = self.handled.clone();
        let listen = move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Some(place) = place(&line) {
                    handled.lock().unwrap_or_else(PoisonError::into_inner).push((number, place));
                }
            }
        };
        let name = self.name(number);
        let pass_on = move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                println!("  {name} {line}");
            }
        };
        let listeners = vec![std::thread::spawn(listen), std::thread::spawn(pass_on)];
        self.members.push(Member { child, listeners, alive: true });
        Ok(())
    }

    /// kill -9. Everything that it has said is heard.
    pub fn kill(&mut self, member: usize) -> anyhow::Result<()> {
        let member = self.members.get_mut(member).context("no such member")?;
        member.child.kill()?;
        member.alive = false;
        member.child.wait()?;
        member.listeners.drain(..).for_each(|listener| drop(listener.join()));
        Ok(())
    }

    pub fn signal(&self, member: usize, signal: Signal) -> anyhow::Result<()> {
        let member = self.members.get(member).context("no such member")?;
        Ok(kill_process(Pid::from_child(&member.child), signal)?)
    }

    /// Asks all that are left to leave the group and end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let names: Vec<String> = (0..self.members.len()).map(|member| self.name(member)).collect();
        for member in self.members.iter().filter(|member| member.alive) {
            kill_process(Pid::from_child(&member.child), Signal::TERM)?;
        }
        for (member, name) in self.members.iter_mut().zip(names) {
            if !std::mem::replace(&mut member.alive, false) {
                continue;
            }
            let status = member.child.wait()?;
            member.listeners.drain(..).for_each(|listener| drop(listener.join()));
            ensure!(status.success(), "{name} ended with {status}");
        }
        Ok(())
    }

    pub fn handled(&self) -> Vec<(usize, Place)> {
        self.handled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn handled_by(&self, member: usize) -> Vec<Place> {
        self.handled().into_iter().filter(|(by, _)| *by == member).map(|(_, place)| place).collect()
    }

    /// The first member that has handled so many orders.
    pub async fn await_busy(&self, orders: usize) -> anyhow::Result<usize> {
        let busy = || (0..self.members.len()).find(|member| self.handled_by(*member).len() >= orders);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(member) = busy() {
                return Ok(member);
            }
            ensure!(Instant::now() < deadline, "no member of {} has handled {orders} orders", self.group);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until each of these orders has been handled.
    pub async fn await_handled(&mut self, orders: &BTreeSet<Place>) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let handled: BTreeSet<Place> = self.handled().into_iter().map(|(_, place)| place).collect();
            let left = orders.difference(&handled).count();
            if left == 0 {
                return Ok(());
            }
            for number in 0..self.members.len() {
                let name = self.name(number);
                let member = &mut self.members[number];
                if let Some(status) = member.child.try_wait()?.filter(|_| member.alive) {
                    bail!("{name} ended with {status}");
                }
            }
            ensure!(Instant::now() < deadline, "{left} orders have not been handled by {}", self.group);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.alive {
            // The play has failed: nobody is left behind.
            let _dead_already = self.child.kill();
            let _status = self.child.wait();
        }
    }
}

/// The place at the end of a line.
fn place(line: &str) -> Option<Place> {
    line.strip_suffix(']')?.rsplit_once('[')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use ottla_client::TopicPartition;

    use super::*;

    #[test]
    fn what_was_handled_stands_at_the_end() {
        let of = Place { partition: TopicPartition::new("orders.films", 1), offset: 5 };
        assert_eq!(place("e-mail to x: enjoy [y]  [orders.films/1@5]"), Some(of));
        assert_eq!(place("hello"), None);
    }
}
