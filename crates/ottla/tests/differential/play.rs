//! One run of a script: connections to the broker, and the answers so far as text.

use std::fmt::Debug;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use ottla_wire::messages::{DescribeGroupsRequest, FindCoordinatorRequest, OffsetFetchRequest};
use ottla_wire::primitives::Request;

use crate::golden;
use crate::harness::{Broker, Closed, Setup, Wire, create_topic, eventually, now};
use crate::requests::fetch_all;
use crate::tidy::{Names, Tidy, text};

/// How many connections a script has.
const CONNECTIONS: usize = 3;

/// Coordinators that are not there yet: loading, not available, elsewhere.
const PASSING: [i16; 3] = [14, 15, 16];

/// What has not come by then will not come.
const ANSWER_AT_MOST: Duration = Duration::from_secs(20);

/// Answers as text, with what was asked, in order.
pub type Transcript = Vec<(String, String)>;

pub struct Play {
    addr: SocketAddr,
    wires: Vec<Wire>,
    names: Names,
    transcript: Transcript,
    /// None if it is Kafka.
    ottla: Option<Broker>,
    /// Requests that Ottla had read before the last one whose answer waits for others.
    read_before: f64,
}

/// Plays a script to Ottla, or to the Kafka that the environment names, and holds the answers against the
/// file.
pub fn play(script: &str, run: impl FnOnce(&mut Play)) {
    let kafka = std::env::var("OTTLA_KAFKA").ok();
    // By default a second: a script may take longer, or not.
    let mut setup = Setup::new()
        .set("group.initial.rebalance.delay.ms", 0)
        .set("group.consumer.max.assignment.interval.ms", 600_000)
        .set("group.consumer.assignment.interval.ms", 600_000);
    let ottla: Option<Broker> = kafka.is_none().then(|| setup.start());
    let addr = match (&kafka, &ottla) {
        (Some(kafka), _) => kafka.to_socket_addrs().unwrap().next().unwrap(),
        (None, ottla) => ottla.as_ref().unwrap().addr,
    };
    let wires = (0..CONNECTIONS).map(|_| Wire::to(addr)).collect();
    let names = Names::new(format!("{script}-{}-", now().0));
    let mut play = Play { addr, wires, names, transcript: Vec::new(), ottla, read_before: 0.0 };
    play.warm_up();
    run(&mut play);
    golden::check(script, &play.transcript, kafka.is_some());
}

impl Play {
    /// A name for a group or topic that no other run has. Transcripts show it as it is given here.
    pub fn name(&self, name: impl std::fmt::Display) -> String {
        format!("{}{name}", self.names.prefix)
    }

    pub fn topic(&mut self, name: &str, partitions: i32) -> ottla_wire::TopicId {
        let topic = self.name(name);
        let id = create_topic(&mut self.wires[0], &topic, partitions, &[]);
        self.names.learn(&id.to_string(), &format!("id of {name}"));
        // Kafka's coordinator hears of the topic after who has created it.
        std::thread::sleep(Duration::from_secs(1));
        id
    }

    /// Asks with the highest version.
    #[track_caller]
    pub fn call<R: Request>(&mut self, what: &str, request: &R) -> R::Response
    where
        R::Response: Tidy + Debug,
    {
        self.call_version(what, request, *R::KEY.versions().end())
    }

    #[track_caller]
    pub fn call_version<R: Request>(&mut self, what: &str, request: &R, version: i16) -> R::Response
    where
        R::Response: Tidy + Debug,
    {
        let answer = self.wires[0].call(request, version);
        self.note(what, answer)
    }

    /// Asks what may be answered by closing the connection, or, by Kafka, not at all.
    pub fn ask<R: Request>(&mut self, what: &str, request: &R, version: i16)
    where
        R::Response: Tidy + Debug,
    {
        let wire = &mut self.wires[0];
        let correlation = wire.send(request, version).unwrap();
        let ended = match wire.stirs(ANSWER_AT_MOST) {
            false => "is not answered",
            true => match wire.answer::<R>(correlation, version) {
                Ok(answer) => {
                    self.note(what, answer);
                    return;
                }
                Err(Closed) => "closes the connection",
            },
        };
        self.wires[0] = Wire::to(self.addr);
        self.transcript.push((what.to_owned(), ended.to_owned()));
    }

    /// Asks something that the transcript does not show.
    pub fn aside<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.wires[0].call(request, version)
    }

    /// Asks with every version from `first` on. Versions that are answered alike share a line.
    #[track_caller]
    pub fn each<R: Request>(&mut self, what: &str, first: i16, mut request: impl FnMut(i16) -> R)
    where
        R::Response: Tidy + Debug,
    {
        let versions = R::KEY.versions();
        let mut lines: Vec<(i16, i16, String)> = Vec::new();
        for version in first.max(*versions.start())..=*versions.end() {
            let mut answer = self.wires[0].call(&request(version), version);
            answer.tidy(&mut self.names);
            let answer = text(&answer, &self.names);
            match lines.last_mut() {
                Some((_, last, same)) if *same == answer => *last = version,
                _ => lines.push((version, version, answer)),
            }
        }
        for (first, last, answer) in lines {
            self.transcript.push((format!("{what}, v{first} to v{last}"), answer));
        }
    }

    /// Sends a request whose answer waits for others. Give what it gives to [`Play::answer`].
    pub fn send<R: Request>(&mut self, connection: usize, request: &R) -> (usize, i32) {
        self.read_before = self.ottla.as_ref().map_or(0.0, requests_read);
        (connection, self.wires[connection].send(request, *R::KEY.versions().end()).unwrap())
    }

    #[track_caller]
    pub fn answer<R: Request>(&mut self, what: &str, (connection, correlation): (usize, i32)) -> R::Response
    where
        R::Response: Tidy + Debug,
    {
        let answer = self.wires[connection].answer::<R>(correlation, *R::KEY.versions().end()).unwrap();
        self.note(what, answer)
    }

    /// Waits until a classic group is in a state, which shows that the broker has taken what was sent.
    #[track_caller]
    pub fn until(&mut self, group: &str, state: &str) {
        let request = DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
        eventually(state, || self.wires[0].call(&request, 5).groups[0].group_state.as_str() == state);
    }

    /// Gives the broker time to take what was sent, where no answer shows that it has.
    pub fn pause(&self) {
        if let Some(ottla) = &self.ottla {
            eventually("it is read", || requests_read(ottla) > self.read_before);
        }
        std::thread::sleep(Duration::from_millis(300));
    }

    fn note<A: Tidy + Debug>(&mut self, what: &str, mut answer: A) -> A {
        answer.tidy(&mut self.names);
        self.transcript.push((what.to_owned(), text(&answer, &self.names)));
        answer
    }

    /// The topic of the coordinators is created on first need, and every coordinator begins once.
    fn warm_up(&mut self) {
        let first = FindCoordinatorRequest { coordinator_keys: vec!["warm-up".into()], ..Default::default() };
        eventually("the topic", || self.wires[0].call(&first, 4).coordinators[0].error_code == 0);
        for partition in 0..200 {
            let request: OffsetFetchRequest = fetch_all(&format!("warm-up-{partition}"));
            eventually("the coordinators", || {
                !PASSING.contains(&self.wires[0].call(&request, 9).groups[0].error_code)
            });
        }
    }
}

fn requests_read(ottla: &Broker) -> f64 {
    ottla.metric("ottla_net_requests_total")
}
