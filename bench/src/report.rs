//! What was measured, for people and for machines.

use std::fmt::Write as _;

use serde::Serialize;

use crate::compare::{Contender, Sample};
use crate::process;
use crate::server::ServerKind;
use crate::shape::{Against, Metric, Shape, Target};

/// A run.
#[derive(Serialize)]
pub struct Report {
    pub machine: String,
    pub load_average_before: String,
    pub load_average_after: String,
    pub seconds: f64,
    pub rounds: usize,
    pub shapes: Vec<Summary>,
}

impl Report {
    pub fn new(seconds: f64, rounds: usize) -> Report {
        Report {
            machine: process::machine(),
            load_average_before: process::load_average(),
            load_average_after: String::new(),
            seconds,
            rounds,
            shapes: Vec::new(),
        }
    }

    pub fn end(&mut self) {
        self.load_average_after = process::load_average();
    }

    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{}\nload average {} before, {} after; medians of {} rounds of {} s\n\n",
            self.machine, self.load_average_before, self.load_average_after, self.rounds, self.seconds
        );
        let _infallible = writeln!(
            text,
            "{:14} {:13} {:>8} {:>9} {:>8} {:>9} {:>9} {:>9} {:>9} {:>6}  vs raw: {:>5} {:>5} {:>5}",
            "shape",
            "server",
            "MiB/s",
            "req/s",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "CPU s/GiB",
            "us/req",
            "cores",
            "CPU",
            "rate",
            "p50"
        );
        for shape in &self.shapes {
            shape.write_to(&mut text);
        }
        text
    }
}

/// A shape.
#[derive(Serialize)]
pub struct Summary {
    pub shape: &'static str,
    pub servers: Vec<Measurements>,
    pub targets: Vec<Outcome>,
}

/// One server in one shape.
#[derive(Serialize)]
pub struct Measurements {
    pub server: &'static str,
    pub kind: ServerKind,
    pub rounds: Vec<Sample>,
    /// Of each value for itself.
    pub median: Sample,
    /// Medians of the ratios to the raw server in the same round.
    pub cpu_to_raw: Option<f64>,
    pub rate_to_raw: Option<f64>,
    pub p50_to_raw: Option<f64>,
}

/// A target, and whether it is met.
#[derive(Serialize)]
pub struct Outcome {
    pub target: String,
    pub ratio: f64,
    pub met: bool,
}

impl Summary {
    pub fn new(shape: &Shape, measured: Vec<(Contender, Vec<Sample>)>) -> Summary {
        let find = |against: Against| measured.iter().find(|(contender, _)| contender.is(against));
        let raw = find(Against::Raw).map(|(_, samples)| samples.as_slice());
        let ottla = measured.iter().find(|(contender, _)| contender.kind == ServerKind::Ottla);
        let outcome = |target: &Target| {
            let ((_, own), (_, other)) = (ottla?, find(target.against)?);
            Some(outcome(target, ratio(own, other, target.metric)))
        };
        Summary {
            shape: shape.name,
            targets: shape.targets.iter().filter_map(outcome).collect(),
            servers: measured
                .iter()
                .map(|(contender, samples)| measurements(*contender, samples, raw))
                .collect(),
        }
    }

    fn write_to(&self, text: &mut String) {
        for Measurements { server, median, cpu_to_raw, rate_to_raw, p50_to_raw, .. } in &self.servers {
            let shown =
                |ratio: &Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
            let _infallible = writeln!(
                text,
                "{:14} {:13} {:>8.1} {:>9.0} {:>8.0} {:>9.0} {:>9.0} {:>9.3} {:>9.2} {:>6.2}          {:>5} {:>5} {:>5}",
                self.shape,
                server,
                median.mib_per_second,
                median.requests_per_second,
                median.p50_us,
                median.p99_us,
                median.p999_us,
                median.cpu_seconds_per_gib,
                median.cpu_us_per_request,
                median.cpu_cores,
                shown(cpu_to_raw),
                shown(rate_to_raw),
                shown(p50_to_raw)
            );
        }
        for Outcome { target, ratio, met } in &self.targets {
            let word = if *met { "met" } else { "MISSED" };
            let _infallible = writeln!(text, "{:14} target {target}: {ratio:.2} {word}", self.shape);
        }
        text.push('\n');
    }
}

fn measurements(contender: Contender, samples: &[Sample], raw: Option<&[Sample]>) -> Measurements {
    let to_raw = |metric| raw.map(|raw| ratio(samples, raw, metric));
    let of = |value: fn(&Sample) -> f64| median(samples.iter().map(value).collect());
    Measurements {
        server: contender.label(),
        kind: contender.kind,
        median: Sample {
            mib_per_second: of(|sample| sample.mib_per_second),
            requests_per_second: of(|sample| sample.requests_per_second),
            p50_us: of(|sample| sample.p50_us),
            p99_us: of(|sample| sample.p99_us),
            p999_us: of(|sample| sample.p999_us),
            cpu_seconds_per_gib: of(|sample| sample.cpu_seconds_per_gib),
            cpu_us_per_request: of(|sample| sample.cpu_us_per_request),
            cpu_cores: of(|sample| sample.cpu_cores),
        },
        cpu_to_raw: to_raw(Metric::Cpu),
        rate_to_raw: to_raw(Metric::Rate),
        p50_to_raw: to_raw(Metric::P50),
        rounds: samples.to_vec(),
    }
}

/// The median of the ratios of the rounds: what slows one round slows both.
fn ratio(own: &[Sample], other: &[Sample], metric: Metric) -> f64 {
    let value = |sample: &Sample| match metric {
        Metric::Cpu => sample.cpu_us_per_request / sample.mib_per_second * sample.requests_per_second,
        Metric::Rate => sample.mib_per_second,
        Metric::P50 => sample.p50_us,
    };
    median(own.iter().zip(other).map(|(own, other)| value(own) / value(other)).collect())
}

fn outcome(target: &Target, ratio: f64) -> Outcome {
    let (what, met, sign) = match target.metric {
        Metric::Cpu => ("CPU", ratio <= target.limit, "at most"),
        Metric::Rate => ("rate", ratio >= target.limit, "at least"),
        Metric::P50 => ("p50", ratio <= target.limit, "at most"),
    };
    let other = match target.against {
        Against::Raw => "raw",
        Against::Coalesced => "raw coalesced",
        Against::Kafka => "Kafka",
    };
    Outcome { target: format!("{what} {sign} {} x {other}", target.limit), ratio, met }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => (values[len / 2 - 1] + values[len / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu: f64, rate: f64) -> Sample {
        Sample {
            cpu_us_per_request: cpu,
            mib_per_second: rate,
            requests_per_second: rate,
            p50_us: 1.0,
            ..Sample::default()
        }
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    /// A round in which the machine was slow for both does not move the ratio.
    #[test]
    fn ratios_are_taken_within_a_round() {
        let raw = [sample(1.0, 10.0), sample(5.0, 2.0), sample(1.0, 10.0)];
        let own = [sample(2.0, 5.0), sample(10.0, 1.0), sample(2.0, 5.0)];
        assert_eq!(ratio(&own, &raw, Metric::Cpu), 2.0);
        assert_eq!(ratio(&own, &raw, Metric::Rate), 0.5);
    }

    #[test]
    fn less_cpu_and_more_rate_are_better() {
        let target = |metric, limit| Target { metric, against: Against::Raw, limit };
        assert!(outcome(&target(Metric::Cpu, 1.5), 1.4).met);
        assert!(!outcome(&target(Metric::Cpu, 1.5), 1.6).met);
        assert!(outcome(&target(Metric::Rate, 0.6), 0.7).met);
        assert!(!outcome(&target(Metric::Rate, 0.6), 0.5).met);
    }
}
