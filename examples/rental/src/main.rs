//! Two shops rent things out; an e-mail service, a recommendation model and a billing service read their
//! orders, each a group of its own.
//!
//! - [`order`]: what a shop writes, and what is said of an order that was handled.
//! - [`shop`]: produces orders, with timestamps spread over two weeks.
//! - [`service`]: a member of a group: what the services have in common. [`email`], [`recommend`] and
//!   [`bill`] are what they do.
//! - [`play`]: the whole story in one go, which checks itself.

mod bill;
mod email;
mod order;
mod play;
mod recommend;
mod service;
mod shop;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use ottla_client::ClientConfig;

use bill::BillArgs;
use order::Shop;
use service::ServiceArgs;

/// Orders of a book shop and a film shop, read by an e-mail service, a recommendation model and a billing
/// service.
#[derive(Debug, Parser)]
#[command(name = "rental")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Where the broker is.
#[derive(Clone, Debug, Args)]
struct ClusterArgs {
    /// Brokers to begin with, as HOST:PORT[,HOST:PORT]
    #[arg(
        long,
        short = 'b',
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092",
        env = "OTTLA_BOOTSTRAP",
        global = true
    )]
    bootstrap_server: String,
}

impl ClusterArgs {
    /// `name` is what the broker knows the program by.
    fn client(&self, name: &str) -> ClientConfig {
        ClientConfig { client_id: name.to_owned(), ..ClientConfig::new(&self.bootstrap_server) }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Rent things out for two weeks: write orders to the topic of the shop
    Shop {
        #[arg(value_enum)]
        shop: Shop,
        /// How many orders
        #[arg(long, default_value_t = 84, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        orders: u32,
    },
    /// Send an e-mail for each order: a member of the group "email"
    Email(ServiceArgs),
    /// Learn what customers like: a member of the group "recommend"
    Recommend(ServiceArgs),
    /// Write one invoice for each order, exactly once: a member of the group "bill"
    Bill(BillArgs),
    /// The whole story in one go, on a broker where the topics do not exist yet; fails if a count is wrong
    Play,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(cli: Cli) -> anyhow::Result<()> {
    let cluster = &cli.cluster;
    match cli.command {
        Command::Shop { shop, orders } => shop::run(cluster.client(shop.topic()), shop, orders).await,
        Command::Email(args) => email::run(cluster.client("email"), &args).await,
        Command::Recommend(args) => recommend::run(cluster.client("recommend"), &args).await,
        Command::Bill(args) => bill::run(cluster.client("bill"), &args).await,
        Command::Play => play::run(&cluster.bootstrap_server).await,
    }
}
