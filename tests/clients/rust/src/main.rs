//! The conformance program of the Rust crate rdkafka: `clients-rust BOOTSTRAP [NAME...]`.

mod cluster;
mod groups;
mod records;
mod topics;

use std::process::ExitCode;

use cluster::Cluster;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;
type Scenario = (&'static str, fn(&Cluster) -> Outcome);

/// Leaves a scenario with an error when the condition does not hold.
macro_rules! check {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!("{} ({}:{})", format!($($why)+), file!(), line!()).into());
        }
    };
}

/// Leaves a scenario with an error when the two differ.
macro_rules! same {
    ($expected:expr, $found:expr, $($what:tt)+) => {
        match (&$expected, &$found) {
            (expected, found) => {
                check!(expected == found, "{}: expected {expected:?}, found {found:?}", format!($($what)+))
            }
        }
    };
}
pub(crate) use {check, same};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(bootstrap) = arguments.next() else {
        eprintln!("usage: clients-rust BOOTSTRAP [NAME...]");
        return ExitCode::FAILURE;
    };
    let only: Vec<String> = arguments.collect();
    let cluster = match Cluster::connect(bootstrap) {
        Ok(cluster) => cluster,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut code = ExitCode::SUCCESS;
    for (name, run) in topics::SCENARIOS.iter().chain(records::SCENARIOS).chain(groups::SCENARIOS) {
        if !only.is_empty() && !only.iter().any(|asked| asked == name) {
            continue;
        }
        match run(&cluster) {
            Ok(()) => println!("ok {name}"),
            Err(error) => {
                println!("FAILED {name}: {}", error.to_string().replace('\n', " "));
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
