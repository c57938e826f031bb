//! Where a broker listens, and what it tells clients of it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use ottla_wire::messages::MetadataRequest;

use crate::harness::{Setup, Wire};

/// The host that clients are told.
fn told(address: SocketAddr) -> String {
    let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    Wire::to(address).call(&request, 12).brokers[0].host.to_string()
}

/// As Kafka, whose stock settings say so.
#[test]
fn every_address_of_both_families() {
    let mut setup = Setup::new().without_listen().set("listeners", "PLAINTEXT://:0");
    let broker = setup.start();
    let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let port = broker.addr.port();
    assert_eq!(told((Ipv4Addr::LOCALHOST, port).into()), host_name);
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        assert_eq!(told((Ipv6Addr::LOCALHOST, port).into()), host_name);
    } else {
        println!("skipped: this host has no IPv6");
        assert!(broker.log().contains("no IPv6 on this host"), "{}", broker.log());
    }
}

#[test]
fn addresses_of_ipv6() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("skipped: this host has no IPv6");
        return;
    }
    let one = Setup::new().listen("[::1]:0").start();
    assert_eq!(told((Ipv6Addr::LOCALHOST, one.addr.port()).into()), "::1");
    assert!(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, one.addr.port())).is_err());
    let every = Setup::new().listen("[::]:0").start();
    told((Ipv4Addr::LOCALHOST, every.addr.port()).into());
    told((Ipv6Addr::LOCALHOST, every.addr.port()).into());
}
