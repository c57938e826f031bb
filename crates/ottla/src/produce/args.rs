//! What may be said behind `ottla produce`.

use clap::Args;
use ottla_client::Acks;
use ottla_wire::compress::Codec;

use crate::args::{ClusterArgs, OutputArgs, Pair};

#[derive(Debug, Args)]
pub struct ProduceArgs {
    pub topic: String,
    /// What parts key and value of a line; a line without it is an error
    #[arg(long, short = 'K', value_name = "TEXT")]
    pub key_separator: Option<String>,
    /// When a record counts as stored: 0 (sent), 1 (the leader has it) or all (every in-sync replica has it)
    #[arg(long, value_name = "0|1|all", default_value = "all", value_parser = acks)]
    pub acks: Acks,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, short = 'z', value_name = "CODEC", default_value = "none", value_parser = codec)]
    pub compression: Codec,
    /// Send everything to this partition
    #[arg(long, short = 'p', value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
    /// A header for every record; may be repeated
    #[arg(long = "header", short = 'H', visible_alias = "headers", value_name = "NAME=VALUE")]
    pub headers: Vec<Pair>,
    /// Do not report what was stored (errors are reported all the same)
    #[arg(long, short)]
    pub quiet: bool,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

fn acks(text: &str) -> Result<Acks, &'static str> {
    match text {
        "0" => Ok(Acks::None),
        "1" => Ok(Acks::Leader),
        "all" | "-1" => Ok(Acks::All),
        _ => Err("it must be 0, 1 or all"),
    }
}

fn codec(text: &str) -> Result<Codec, &'static str> {
    let named = Codec::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(text));
    named.ok_or("it must be none, gzip, snappy, lz4 or zstd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked() {
        assert_eq!(acks("all"), Ok(Acks::All));
        assert_eq!(acks("-1"), Ok(Acks::All));
        assert!(acks("2").is_err());
        assert_eq!(codec("ZSTD"), Ok(Codec::Zstd));
        assert!(codec("").is_err());
    }
}
