//! The files of a data directory, damaged: a log that still opens serves only whole batches, and goes on from
//! there.

mod fixture;
#[path = "../../../log/tests/support/transactions.rs"]
mod transactions;

use bytes::Bytes;
use ottla_log::{Cold, DataDir, FoundPartition, Log, LogError, OpenError, Opened, ReadError};
use ottla_wire::batch::{BatchHeader, BatchView, batches};
use ottla_wire::{Offset, Timestamp};

use crate::damage::damage;
use fixture::{Stop, append, batch, files, flush, on_disk, open_dir, open_log};
use transactions::Transactions;

/// One byte that says how the last process stopped, then a script of damage ([`crate::damage`]) to what it
/// left.
pub fn log(data: &[u8]) {
    let Some((&stop, script)) = data.split_first() else { return };
    let mut files = files(Stop::ALL[usize::from(stop) % Stop::ALL.len()]).clone();
    damage(&mut files, script);
    let disk = on_disk(&files);
    let dir = match open_dir(&disk) {
        Ok(dir) => dir,
        // A directory that nothing speaks for is not guessed at.
        Err(OpenError::Damaged { .. } | OpenError::OtherNode { .. } | OpenError::OtherCluster { .. }) => {
            return;
        }
        Err(OpenError::NoMeta { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    for found in dir.partitions().expect("a folder that can be read") {
        check_partition(&dir, &found);
    }
    drop(dir);
    open_dir(&disk).expect("what was opened once opens again");
}

fn check_partition(dir: &DataDir, found: &FoundPartition) {
    // Nothing vouches for any of it, so everything was looked at.
    let scanned = !found.recovery.clean && found.recovery.recovery_point == Offset::ZERO;
    let mut transactions = Transactions::default();
    let opened = open_log(dir, found, &mut transactions);
    assert!(
        dir.health().is_online(),
        "damage to a file is no failure of the disk: {:?}",
        dir.health().failure()
    );
    let opened = match opened {
        Ok(opened) => opened,
        Err(LogError::Corrupt { .. }) if !scanned => return,
        Err(LogError::UnfinishedCompaction { .. }) => return,
        Err(error) => panic!("{} {}: {error}", found.topic, found.partition),
    };
    check_bounds(&opened);
    let Opened { log, .. } = opened;
    let before = read_all(&log, scanned);
    check_other_reads(&log, scanned, &before);
    check_goes_on(dir, found, log, scanned, before, transactions);
}

fn check_bounds(opened: &Opened) {
    let log = &opened.log;
    assert!(log.log_start() <= log.log_end() && log.durable_end() <= log.log_end());
    assert_eq!(log.written_end(), log.log_end());
    let segments = log.reader().segments();
    assert!(segments.windows(2).all(|pair| pair[0].base < pair[1].base && pair[0].end <= pair[1].base));
    assert!(segments.iter().all(|segment| segment.base <= segment.end));
    assert_eq!(segments.last().map(|segment| segment.end), Some(log.log_end()));
    assert!(
        opened.epochs.windows(2).all(|pair| pair[0].epoch < pair[1].epoch && pair[0].start < pair[1].start)
    );
    assert!(opened.epochs.iter().all(|epoch| epoch.start <= log.log_end()));
}

/// Reads a log as consumers do, from its start to its end.
fn read_all(log: &Log, scanned: bool) -> Vec<Bytes> {
    let (reader, upper) = (log.reader(), log.bound(log.log_end()));
    let mut found = Vec::new();
    let mut offset = log.log_start();
    while offset < log.log_end() {
        let plan = match reader.read(offset, 1500, upper, true, Cold::Wait) {
            Ok(plan) => plan,
            Err(ReadError::Corrupt { .. }) if !scanned => return found,
            Err(error) => panic!("at {offset}: {error}"),
        };
        let bytes = plan.read(Cold::Wait).expect("a disk that works");
        let whole: Vec<BatchView> = batches(bytes).map_while(Result::ok).collect();
        let Some(last) = whole.last() else {
            assert!(!scanned, "nothing at {offset} below {}", log.log_end());
            return found;
        };
        let next = last.header().next_offset();
        assert!(next > offset, "reading at {offset} leads to {next}");
        assert!(in_order(whole.iter().map(BatchView::header)), "reading at {offset} leads back");
        assert!(whole[0].header().last_offset() >= offset);
        for view in whole {
            if scanned {
                assert_eq!(view.check_crc(), Ok(()), "at {}", view.header().base_offset);
            }
            found.push(view.into_bytes());
        }
        offset = next;
    }
    assert!(!scanned || offset == log.log_end());
    found
}

fn in_order<'a>(mut headers: impl Iterator<Item = &'a BatchHeader>) -> bool {
    let mut next = None;
    headers.all(|header| {
        let follows = next.is_none_or(|next| next <= header.base_offset);
        next = Some(header.next_offset());
        follows && header.base_offset <= header.last_offset()
    })
}

/// Headers, times and aborted transactions.
fn check_other_reads(log: &Log, scanned: bool, whole: &[Bytes]) {
    let (reader, upper) = (log.reader(), log.bound(log.log_end()));
    let headers: Vec<_> = reader.batches(log.log_start(), upper).collect();
    assert!(in_order(headers.iter().flatten()), "the headers lead back");
    let newest = reader.max_timestamp(upper);
    let aborted = reader.aborted_transactions(log.log_start(), log.log_end(), Cold::Wait);
    let by_time = reader.find_timestamp(Timestamp(fixture::FIRST_TIME + 300), upper);
    for time in [i64::MIN, 0, i64::MAX] {
        let _ = reader.find_timestamp(Timestamp(time), upper);
    }
    if !scanned {
        return; // what a recovery point vouched for may be found damaged by any of them
    }
    let headers: Vec<_> =
        headers.into_iter().map(|header| header.expect("every batch was scanned")).collect();
    let of = |bytes: &Bytes| *BatchView::parse(bytes.clone()).expect("whole").header();
    assert!(headers.iter().copied().eq(whole.iter().map(of)));
    let largest = headers.iter().map(|header| header.max_timestamp).max();
    assert_eq!(newest.expect("every batch was scanned").map(|found| found.timestamp), largest);
    aborted.expect("the index was made anew");
    if let Some(found) = by_time.expect("the index was made anew") {
        assert!(found.timestamp >= Timestamp(fixture::FIRST_TIME + 300) && found.offset >= log.log_start());
    }
}

/// A batch more, and another start: the log is what it was, with that batch.
fn check_goes_on(
    dir: &DataDir,
    found: &FoundPartition,
    mut log: Log,
    scanned: bool,
    mut before: Vec<Bytes>,
    mut transactions: Transactions,
) {
    if log.log_end() > Offset(i64::MAX / 2) {
        return;
    }
    let (start, next) = (log.log_start(), batch(log.log_end(), 1000, 3));
    append(&mut log, &mut transactions, &next, None).expect("the end of a log can be written to");
    flush(&mut log, &transactions);
    assert_eq!(log.durable_end(), log.log_end());
    let end = log.log_end();
    drop(log);
    dir.checkpoint().expect("a disk that works");
    let partitions = dir.partitions().expect("a folder that can be read");
    let again = partitions.iter().find(|p| (&p.topic, p.partition) == (&found.topic, found.partition));
    let again = FoundPartition {
        recovery: ottla_log::Recovery { clean: false, ..again.expect("it was there").recovery },
        ..found.clone()
    };
    let opened = match open_log(dir, &again, &mut Transactions::default()) {
        Ok(opened) => opened,
        Err(LogError::Corrupt { .. }) if !scanned => return,
        Err(error) => panic!("{error}"),
    };
    if !scanned {
        return; // damage below the recovery point may be met now
    }
    assert_eq!((opened.log.log_start(), opened.log.log_end()), (start, end));
    before.push(next);
    assert!(read_all(&opened.log, true) == before, "another start changes nothing");
}
