//! How fast batches are validated: `cargo run --release -p ottla-wire --example validate_speed`.
//!
//! One line for each size of batch and record: GB/s (10^9 bytes of batch, packed) and ns for each record.

// This is a measurement, so it has a clock; the room itself has none.
#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_wire::Timestamp;
use ottla_wire::batch::{BatchBuilder, BatchLimits, Scratch, validate};
use ottla_wire::compress::Codec;

const KIB: usize = 1024;
/// Each line is the best of this many rounds.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error>> {
    println!("codec   batch KiB  record B   GB/s  ns/record  (CRC alone GB/s)");
    for (batch_bytes, record_bytes) in [
        (KIB, 100),
        (16 * KIB, 100),
        (16 * KIB, KIB),
        (64 * KIB, KIB),
        (KIB * KIB, KIB),
        (KIB * KIB - 4 * KIB, 10 * KIB),
    ] {
        measure(Codec::None, batch_bytes, record_bytes)?;
    }
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        measure(codec, 16 * KIB, KIB)?;
        measure(codec, 256 * KIB, KIB)?;
    }
    Ok(())
}

fn measure(codec: Codec, batch_bytes: usize, record_bytes: usize) -> Result<(), Box<dyn Error>> {
    let (batch, records) = batch(codec, batch_bytes, record_bytes)?;
    let mut scratch = Scratch::default();
    let limits = BatchLimits { max_bytes: 2 * KIB * KIB, ..BatchLimits::default() };
    let time = best(|| validate(batch.clone(), &limits, &mut scratch).is_ok());
    let crc_time = best(|| crc32c::crc32c(&batch[21..]) != 0);
    let gigabytes = |time: f64| batch.len() as f64 / time / 1e9;
    println!(
        "{:<7} {batch_bytes:>9} {record_bytes:>9} {:>6.2} {:>10.1}  ({:.2})",
        codec.name(),
        gigabytes(time),
        time * 1e9 / records as f64,
        gigabytes(crc_time),
        batch_bytes = batch_bytes / KIB,
    );
    Ok(())
}

/// A batch of about `batch_bytes` unpacked, of records that pack about as well as JSON does, and how many
/// there are.
fn batch(codec: Codec, batch_bytes: usize, record_bytes: usize) -> Result<(Bytes, usize), Box<dyn Error>> {
    let records = (batch_bytes / record_bytes).max(1);
    let mut builder = BatchBuilder::new().codec(codec);
    let mut noise = 1u32;
    for record in 0..records {
        let value: Vec<u8> = (0..record_bytes - 30)
            .map(|i| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if i % 8 < 3 { b'a' + (noise >> 24) as u8 % 26 } else { b"{\"name\":"[i % 8] }
            })
            .collect();
        let key = format!("key-{record:08}");
        builder.push(Timestamp(record as i64), Some(key.as_bytes()), Some(&value));
    }
    Ok((builder.build()?, records))
}

/// Seconds for one call, in the best of the rounds.
fn best(mut call: impl FnMut() -> bool) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut calls = 0u32;
        while start.elapsed() < ROUND {
            for _ in 0..64 {
                assert!(black_box(call()), "the batch is valid");
            }
            calls += 64;
        }
        best = best.min(start.elapsed().as_secs_f64() / f64::from(calls));
    }
    best
}
