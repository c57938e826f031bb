//! `ottla group history`: asks a broker, at the address of its metrics, why a group has rebalanced.

use std::time::Duration;

use ottla_client::Error;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::args::HistoryArgs;
use super::story;
use crate::exit::{Exit, Failure};
use crate::output::{Style, print};

/// The longest answer that is read. A broker remembers a few rebalances a group, with a few members each.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

pub async fn run(style: Style, args: &HistoryArgs, timeout: Duration) -> Result<Exit, Failure> {
    let answer = match tokio::time::timeout(timeout, get(&args.metrics, &path(&args.group))).await {
        Ok(answer) => answer?,
        Err(_late) => {
            return Err(Failure::failed(format!("{} does not answer", args.metrics))
                .hint("--timeout SECONDS waits longer"));
        }
    };
    let (status, body) = parse(&answer).ok_or_else(|| stranger(&args.metrics))?;
    let told: Value = serde_json::from_str(body).map_err(|_| stranger(&args.metrics))?;
    if status != 200 {
        let why = told["error"].as_str().unwrap_or("no reason given");
        return Err(Failure::failed(format!("{} does not tell the history ({status}): {why}", args.metrics)));
    }
    let rebalances = told["rebalances"].as_array().ok_or_else(|| stranger(&args.metrics))?;
    print(story::told(style, &args.group, rebalances, body))?;
    Ok(Exit::Clean)
}

fn path(group: &str) -> String {
    let mut path = "/groups/".to_owned();
    for byte in group.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                path.push(char::from(byte))
            }
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
    path + "/history"
}

/// The whole answer, with its head. HTTP/1.0, so that it comes in one piece and the connection ends with it.
async fn get(address: &str, path: &str) -> Result<String, Failure> {
    let unreachable = |error: std::io::Error| {
        let error = Error::Unreachable { address: address.to_owned(), reason: error.to_string() };
        Failure::from(error)
            .hint("--metrics HOST:PORT is where a broker tells its metrics (metrics.listener)")
    };
    let mut stream = TcpStream::connect(address).await.map_err(unreachable)?;
    let ended = |error| Failure::failed(format!("the connection to {address} ended: {error}"));
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(ended)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await.map_err(ended)?;
    String::from_utf8(answer).map_err(|_| stranger(address))
}

/// The status and the body of an answer.
fn parse(answer: &str) -> Option<(u16, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    Some((status.parse().ok()?, body))
}

fn stranger(address: &str) -> Failure {
    Failure::failed(format!("what {address} answers is no history of a group"))
        .hint("is it the address of a broker's metrics (metrics.listener)? Only Ottla tells histories")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_of_a_group_is_one_part_of_the_path() {
        assert_eq!(path("billing-2.x_~"), "/groups/billing-2.x_~/history");
        assert_eq!(path("a/b ü?"), "/groups/a%2Fb%20%C3%BC%3F/history");
    }

    #[test]
    fn answers_are_parted() {
        assert_eq!(parse("HTTP/1.0 200 OK\r\na: b\r\n\r\n{}\n"), Some((200, "{}\n")));
        assert_eq!(parse("HTTP/1.1 503 Service Unavailable\r\n\r\nx"), Some((503, "x")));
        for wrong in ["", "\0\0\0\x07", "HTTP/1.0 200 OK\r\n", "HTTP/1.0\r\n\r\n"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
