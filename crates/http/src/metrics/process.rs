//! What the operating system says of this process.

use std::fs;

/// What the operating system says of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessFacts {
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub cpu_s: f64,
    pub threads: u64,
    pub open_fds: u64,
    pub max_fds: u64,
}

/// Linux tells times of processes in units of 1/100 s on every architecture that Rust runs on.
const TICKS_PER_S: f64 = 100.0;

impl ProcessFacts {
    /// Reads `/proc/self`; `None` where there is no such thing.
    pub fn read() -> Option<ProcessFacts> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        Some(ProcessFacts {
            resident_bytes: status_number(&status, "VmRSS:")? * 1024,
            virtual_bytes: status_number(&status, "VmSize:")? * 1024,
            threads: status_number(&status, "Threads:")?,
            cpu_s: cpu_seconds(&stat)?,
            // The count includes the descriptor that reads the folder.
            open_fds: fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64,
            max_fds: rustix::process::getrlimit(rustix::process::Resource::Nofile)
                .current
                .unwrap_or(u64::MAX),
        })
    }
}

/// A number of `/proc/self/status` (proc_pid_status(5)): sizes are in KiB there.
fn status_number(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

/// User and system time from the line of `/proc/self/stat` (proc_pid_stat(5)); the name in parentheses may
/// hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let behind_name = stat.get(stat.rfind(')')? + 1..)?;
    // They are fields 14 and 15; the first behind the name is number 3.
    let mut times = behind_name.split_whitespace().skip(14 - 3);
    let ticks = times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?;
    Some(ticks as f64 / TICKS_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_whatever_the_process_is_called() {
        let cases = [
            ("42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 7 0", Some(3.0)),
            ("1 (x) S 1", None),
            ("", None),
        ];
        for (line, seconds) in cases {
            assert_eq!(cpu_seconds(line), seconds, "{line}");
        }
    }

    #[test]
    fn numbers_of_the_status_are_found_by_name() {
        let status = "Name:\tx\nVmSize:\t  104 kB\nVmRSS:\t    52 kB\nThreads:\t7\n";
        let cases = [("VmRSS:", Some(52)), ("Threads:", Some(7)), ("VmSwap:", None)];
        for (name, number) in cases {
            assert_eq!(status_number(status, name), number, "{name}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_facts() {
        let facts = ProcessFacts::read().unwrap();
        assert!(facts.resident_bytes > 0 && facts.open_fds > 0 && facts.threads > 0, "{facts:?}");
        assert!(facts.max_fds >= facts.open_fds, "{facts:?}");
    }
}
