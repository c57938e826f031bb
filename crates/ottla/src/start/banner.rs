//! What a broker that is ready says of itself: where it listens, where its data is, how to try it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::time::millis;

/// What commands connect to when nothing is said.
const DEFAULT_BOOTSTRAP_PORT: u16 = 9092;

pub struct Facts {
    /// How this program was called.
    pub program: String,
    pub version: &'static str,
    pub ready_after: Duration,
    /// Name, address, and what clients are told.
    pub listening: Vec<(String, SocketAddr, String)>,
    pub metrics: Option<SocketAddr>,
    pub data: PathBuf,
    pub cluster_id: String,
    pub node_id: i32,
}

impl Facts {
    /// For people.
    pub fn to_text(&self, colour: bool) -> String {
        let (bold, dim, plain) = if colour { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        let mut text = format!(
            "\n  {bold}Ottla {}{plain} is ready {dim}(after {} ms){plain}\n\n",
            self.version,
            millis(self.ready_after)
        );
        let mut line = |name: &str, what: &str| text.push_str(&format!("  {dim}{name:<10}{plain} {what}\n"));
        for (name, address, advertised) in &self.listening {
            let told = if *advertised == address.to_string() {
                String::new()
            } else {
                format!(", clients are told {advertised}")
            };
            line("listening", &format!("{address} ({name}{told})"));
        }
        line("data", &self.data.display().to_string());
        line("cluster", &format!("{}, node {}", self.cluster_id, self.node_id));
        if let Some(metrics) = self.metrics {
            line("metrics", &format!("http://{metrics}/metrics, /livez, /readyz"));
        }
        let bootstrap = self.bootstrap();
        let program = &self.program;
        line("try", &format!("echo hello | {program} produce greetings{bootstrap}"));
        line("", &format!("{program} consume greetings --from-beginning{bootstrap}"));
        line("stop", "Ctrl-C");
        text.push('\n');
        text
    }

    /// For machines: one event.
    pub fn log(&self) {
        let listening: Vec<String> =
            self.listening.iter().map(|(name, address, _)| format!("{name}://{address}")).collect();
        let advertised: Vec<&str> =
            self.listening.iter().map(|(_, _, advertised)| advertised.as_str()).collect();
        tracing::info!(
            version = self.version,
            listening = listening.join(","),
            advertised = advertised.join(","),
            metrics = self.metrics.map(|address| address.to_string()),
            data = %self.data.display(),
            cluster_id = self.cluster_id,
            node_id = self.node_id,
            after_ms = millis(self.ready_after),
            "ready"
        );
    }

    /// What commands must be told to find this broker.
    fn bootstrap(&self) -> String {
        let reached = |address: &SocketAddr| {
            let ip = address.ip();
            address.port() == DEFAULT_BOOTSTRAP_PORT
                && (ip.is_unspecified() || ip == std::net::Ipv4Addr::LOCALHOST)
        };
        match self.listening.first() {
            Some((_, address, advertised)) if !reached(address) => {
                format!(" --bootstrap-server {advertised}")
            }
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(address: &str, advertised: &str) -> Facts {
        Facts {
            program: "ottla".to_owned(),
            version: "0.1.0",
            ready_after: Duration::from_micros(43_900),
            listening: vec![("PLAINTEXT".to_owned(), address.parse().unwrap(), advertised.to_owned())],
            metrics: Some("127.0.0.1:9644".parse().unwrap()),
            data: "/home/me/ottla-data".into(),
            cluster_id: "p0XxMz0jTbuHn3nqvRuB6w".to_owned(),
            node_id: 1,
        }
    }

    #[test]
    fn the_banner_is_as_it_was() {
        let text = facts("127.0.0.1:9092", "127.0.0.1:9092").to_text(false);
        let expected = "
  Ottla 0.1.0 is ready (after 43 ms)

  listening  127.0.0.1:9092 (PLAINTEXT)
  data       /home/me/ottla-data
  cluster    p0XxMz0jTbuHn3nqvRuB6w, node 1
  metrics    http://127.0.0.1:9644/metrics, /livez, /readyz
  try        echo hello | ottla produce greetings
             ottla consume greetings --from-beginning
  stop       Ctrl-C

";
        assert_eq!(text, expected);
    }

    #[test]
    fn commands_name_a_broker_that_they_would_not_find() {
        let cases = [
            ("127.0.0.1:9092", "127.0.0.1:9092", ""),
            ("0.0.0.0:9092", "me.example.com:9092", ""),
            ("127.0.0.1:9093", "127.0.0.1:9093", " --bootstrap-server 127.0.0.1:9093"),
            ("192.0.2.1:9092", "me.example.com:9092", " --bootstrap-server me.example.com:9092"),
        ];
        for (address, advertised, bootstrap) in cases {
            assert_eq!(facts(address, advertised).bootstrap(), bootstrap, "{address}");
        }
        let told = facts("0.0.0.0:9092", "me.example.com:9092").to_text(false);
        assert!(told.contains("0.0.0.0:9092 (PLAINTEXT, clients are told me.example.com:9092)"), "{told}");
    }
}
