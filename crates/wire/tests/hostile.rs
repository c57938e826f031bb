//! Bytes that are no messages: cut off, bent, or made up. Nothing panics, and nothing takes memory that the
//! bytes do not justify.

// An allocator that counts cannot be written without `unsafe`; it only passes on to the one of the system.
#![allow(unsafe_code)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use common::{KINDS, golden_rows};
use ottla_wire::messages::{MetadataRecord, ProduceRequest};
use ottla_wire::primitives::decode_from;

struct Counting;

thread_local! {
    /// Bytes and times that this thread has asked for memory.
    static ASKED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.with(|asked| asked.set((asked.get().0 + layout.size(), asked.get().1 + 1)));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Bytes and times that `work` asks for memory; what it frees in between is not taken off.
fn asked_by<T>(work: impl FnOnce() -> T) -> (usize, usize) {
    let before = ASKED.get();
    let result = work();
    let after = ASKED.get();
    drop(result);
    (after.0 - before.0, after.1 - before.1)
}

const SMALL_FRAME_ALLOCATED_MAX: usize = 64 * 1024;

/// What a frame may cost beyond the room of an array that is reserved at once: an empty string is one byte in
/// the frame and 32 in memory, and an array that grows is moved from room to room.
const ALLOCATED_PER_BYTE_MAX: usize = 80;

/// The end of a message is never taken for granted, wherever it is missing.
#[test]
fn a_message_that_is_cut_off_is_refused() {
    for row in golden_rows().iter().filter(|row| row.bytes.len() < 1000) {
        for len in 0..row.bytes.len() {
            let cut = row.bytes.slice(..len);
            assert!(
                !(row.kind.reads)(cut, row.version),
                "{} v{}, {len} bytes of {}",
                row.kind.name,
                row.version,
                row.json
            );
        }
    }
}

/// What is still a message after a bit has flipped can be written and read again.
#[test]
fn a_bent_message_is_refused_or_another_message() {
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    let (mut refused, mut taken) = (0, 0);
    for row in golden_rows() {
        for _ in 0..24.min(8 * row.bytes.len()) {
            let mut bent = row.bytes.to_vec();
            let at = numbers.below(bent.len());
            bent[at] ^= 1 << numbers.below(8);
            match (row.kind.round_trip)(bent.into(), row.version) {
                Some(_) => taken += 1,
                None => refused += 1,
            }
        }
    }
    assert!(refused > 1000 && taken > 1000, "{refused} {taken}");
}

#[test]
fn a_small_frame_takes_little_memory_whatever_it_claims() {
    let mut numbers = Numbers(0xfeed_f00d_0000_0001);
    let fillings: [fn(&mut Numbers) -> u8; 8] = [
        |_| 0xff,
        |_| 0x7f,
        |_| 0x00,
        |_| 0x01,
        |_| 0x02,
        |numbers| if numbers.below(2) == 0 { 0xff } else { 0x7f },
        |numbers| [0, 0, 0, 1, 2, 5, 40][numbers.below(7)],
        |numbers| numbers.next() as u8,
    ];
    for kind in KINDS {
        for version in kind.min_version..=kind.max_version {
            for fill in fillings {
                let frame: Bytes = (0..40).map(|_| fill(&mut numbers)).collect::<Vec<_>>().into();
                let (bytes, _) = asked_by(|| (kind.reads)(frame.clone(), version));
                assert!(bytes < SMALL_FRAME_ALLOCATED_MAX, "{} v{version}: {bytes} for {frame:?}", kind.name);
            }
        }
    }
}

/// Random bytes for every version of every message.
#[test]
fn made_up_bytes_are_read_without_panic_and_at_a_bounded_price() {
    let mut numbers = Numbers(0x0dd5_eed5_0000_0001);
    for kind in KINDS {
        for version in kind.min_version..=kind.max_version {
            for round in 0..40 {
                // Small numbers are more often counts and lengths that fit, and lead deeper.
                let (len, bound) = (numbers.below(400), [256, 3, 12][round % 3]);
                let frame: Bytes = (0..len).map(|_| numbers.below(bound) as u8).collect::<Vec<_>>().into();
                check_price(kind, version, frame);
            }
        }
    }
}

/// Large frames full of the smallest elements are the worst that can be sent: a count that the frame can just
/// hold, in either encoding, at each place where the first array may begin.
#[test]
fn a_large_frame_of_small_elements_has_a_bounded_price() {
    const LEN: u32 = 16 * 1024;
    for kind in KINDS {
        for version in [kind.min_version, kind.max_version] {
            for element_len in [1, 2, 4, 8, 20] {
                let count = (LEN - 32) / element_len;
                let compact = [count as u8 | 0x80, (count >> 7) as u8 | 0x80, (count >> 14) as u8];
                for start in 0..16 {
                    check_price(kind, version, large_frame(LEN as usize, start, &compact, 1));
                    check_price(kind, version, large_frame(LEN as usize, start, &count.to_be_bytes(), 0));
                }
            }
        }
    }
}

/// `len` bytes: zeros, from `start` on `count`, then `filling`.
fn large_frame(len: usize, start: usize, count: &[u8], filling: u8) -> Bytes {
    let mut frame = vec![filling; len];
    frame[..start].fill(0);
    frame[start..start + count.len()].copy_from_slice(count);
    frame.into()
}

fn check_price(kind: &common::MessageType, version: i16, frame: Bytes) {
    let len = frame.len();
    let (bytes, _) = asked_by(|| (kind.reads)(frame, version));
    let allowed = SMALL_FRAME_ALLOCATED_MAX + ALLOCATED_PER_BYTE_MAX * len;
    assert!(bytes <= allowed, "{} v{version}: {bytes} bytes for a frame of {len}", kind.name);
}

#[test]
fn a_bent_metadata_record_does_not_panic() {
    let mut numbers = Numbers(7);
    for key in 0..40u8 {
        for _ in 0..200 {
            let mut frame = vec![1, key, numbers.below(4) as u8];
            frame.extend((0..numbers.below(80)).map(|_| numbers.below(64) as u8));
            if let Ok(record) = MetadataRecord::from_frame(frame.into()) {
                record.to_frame().unwrap();
            }
        }
    }
}

/// The hot path: one array of topics, one of partitions, and nothing copied.
#[test]
fn a_produce_request_costs_two_allocations() {
    let rows = golden_rows();
    let one_of_each = |text: &str| text.matches("PartitionProduceData {").count() == 1;
    let row = rows.iter().find(|row| {
        row.kind.name == "ProduceRequest"
            && one_of_each(&(row.kind.debug)(row.bytes.clone(), row.version).unwrap())
    });
    let row = row.unwrap();
    // The first share of a frame that is a plain vector costs one more; the network has shared its frames
    // already.
    let frame = row.bytes.clone();
    let (_, times) = asked_by(|| decode_from::<ProduceRequest>(frame, row.version).unwrap());
    assert_eq!(times, 2);
}

/// Numbers by xorshift from a fixed seed: the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
