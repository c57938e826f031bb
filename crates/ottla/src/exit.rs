//! Exit codes, and errors that say what was wrong, where, and what to do.

use std::fmt::Display;
use std::process::ExitCode;

use ottla_client::{ApiError, Error, LinkError};
use ottla_wire::protocol::ErrorCode;

use crate::output::{colour_on_stderr, complain};

/// How a command ends. The numbers are documented in `ottla --help` and do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Clean = 0,
    /// It failed on the way: what was asked for was not, or not fully, done.
    Failed = 1,
    /// The command line or a setting is wrong; nothing was done.
    Usage = 2,
    /// The data directory cannot be used by this process.
    DataDirectory = 3,
    /// An address to listen on cannot be used.
    Address = 4,
    /// No broker could be reached; nothing was done.
    Unreachable = 5,
}

impl Exit {
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// An error for the one who typed the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    pub fn new(exit: Exit, what: impl Display) -> Failure {
        Failure { exit, what: what.to_string(), hint: None }
    }

    pub fn failed(what: impl Display) -> Failure {
        Failure::new(Exit::Failed, what)
    }

    pub fn usage(what: impl Display) -> Failure {
        Failure::new(Exit::Usage, what)
    }

    pub fn hint(self, hint: impl Display) -> Failure {
        Failure { hint: Some(hint.to_string()), ..self }
    }

    /// Says what the error is about.
    pub fn about(self, what: impl Display) -> Failure {
        Failure { what: format!("{what}: {}", self.what), ..self }
    }

    /// To stderr. One that cannot be written to changes nothing.
    pub fn print(&self) {
        complain(&self.to_text(colour_on_stderr()));
    }

    fn to_text(&self, colour: bool) -> String {
        let (red, cyan, plain) = if colour { ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") } else { ("", "", "") };
        let mut text = format!("{red}error:{plain} {}\n", self.what);
        if let Some(hint) = &self.hint {
            text.push_str(&format!("{cyan}hint:{plain}  {hint}\n"));
        }
        text
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let failure = Failure::failed(&error);
        match &error {
            Error::Unreachable { address, reason }
            | Error::Link(LinkError::Connect { address, reason, .. }) => {
                Failure::new(Exit::Unreachable, format!("no broker answers at {address} ({reason})")).hint(
                    "is it running? `ottla start` runs one here; --bootstrap-server HOST:PORT names another",
                )
            }
            Error::Config { name: "bootstrap.servers", value, reason } => {
                Failure::usage(format!("--bootstrap-server cannot be \"{value}\": {reason}"))
            }
            Error::Config { .. } => Failure::usage(&error),
            Error::Link(LinkError::UnsupportedVersion { .. }) => {
                failure.hint("the broker is too old for this command, or not a Kafka broker")
            }
            Error::Link(LinkError::Malformed { .. }) => {
                failure.hint("does a Kafka broker listen at this address?")
            }
            Error::Api(api) => match hint_for(api.code) {
                Some(hint) => failure.hint(hint),
                None => failure,
            },
            Error::OffsetOutOfRange { topic, partition, offset } => {
                Failure::failed(format!("partition {partition} of {topic} has no offset {offset}"))
                    .hint("`ottla topic describe` shows where each begins and ends")
            }
            Error::Link(LinkError::Timeout { .. }) | Error::Waited { .. } => {
                failure.hint("is the cluster under load or without a leader? --timeout SECONDS waits longer")
            }
            _ => failure,
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        Error::from(error).into()
    }
}

/// What to do about an error code, where its name does not say it.
fn hint_for(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::UnknownTopicOrPartition => {
            Some("`ottla topic list` shows the topics; `ottla topic create NAME` makes one")
        }
        ErrorCode::TopicAlreadyExists => Some("--if-not-exists makes that no error"),
        ErrorCode::InvalidReplicationFactor => Some("there cannot be more replicas than brokers"),
        ErrorCode::MessageTooLarge => Some("the topic's max.message.bytes is the limit for a batch"),
        ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            Some("fewer replicas are in sync than the topic's min.insync.replicas asks for")
        }
        ErrorCode::GroupIdNotFound => {
            Some("`ottla group list` shows the groups; one without members and without offsets is gone")
        }
        ErrorCode::NonEmptyGroup => Some("stop its members first; `ottla group describe` shows who they are"),
        ErrorCode::GroupSubscribedToTopic => Some(
            "members still read this topic; `ottla group reset-offsets` moves an offset, once they are stopped",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_do_not_change() {
        let codes =
            [Exit::Clean, Exit::Failed, Exit::Usage, Exit::DataDirectory, Exit::Address, Exit::Unreachable];
        assert_eq!(codes.map(Exit::code), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn errors_of_the_client_become_exit_codes_and_hints() {
        let refused = || ("127.0.0.1:9092".to_owned(), "Connection refused (os error 111)".to_owned());
        let (address, reason) = refused();
        let api = |code| Error::Api(ApiError { code, message: None });
        let config = |name| Error::Config { name, value: "x".to_owned(), reason: "each must be host:port" };
        let cases = [
            (
                Error::Unreachable { address, reason },
                Exit::Unreachable,
                "no broker answers at 127.0.0.1:9092 (Connection refused (os error 111))",
                "ottla start",
            ),
            (
                config("bootstrap.servers"),
                Exit::Usage,
                "--bootstrap-server cannot be \"x\": each must be host:port",
                "",
            ),
            (config("acks"), Exit::Usage, "setting acks cannot be x", ""),
            (
                api(ErrorCode::UnknownTopicOrPartition),
                Exit::Failed,
                "UNKNOWN_TOPIC_OR_PARTITION",
                "ottla topic create",
            ),
            (
                Error::OffsetOutOfRange { topic: "t".to_owned(), partition: 2, offset: 9 },
                Exit::Failed,
                "partition 2 of t has no offset 9",
                "ottla topic describe",
            ),
            (api(ErrorCode::InvalidConfig), Exit::Failed, "INVALID_CONFIG", ""),
        ];
        for (error, exit, what, hint) in cases {
            let failure = Failure::from(error);
            assert_eq!(failure.exit, exit, "{failure:?}");
            assert!(failure.what.starts_with(what), "{failure:?}");
            assert_eq!(failure.hint.is_some(), !hint.is_empty(), "{failure:?}");
            assert!(failure.hint.clone().unwrap_or_default().contains(hint), "{failure:?}");
        }
    }

    #[test]
    fn the_text_has_the_hint_on_its_own_line() {
        let failure = Failure::failed("it broke").hint("mend it");
        assert_eq!(failure.to_text(false), "error: it broke\nhint:  mend it\n");
        assert_eq!(
            failure.to_text(true),
            "\x1b[1;31merror:\x1b[0m it broke\n\x1b[36mhint:\x1b[0m  mend it\n"
        );
    }
}
