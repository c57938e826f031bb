//! Bad inputs made of good ones, the same in every run.

/// Numbers by xorshift from a fixed seed.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

/// Bytes that lengths and counts should not begin with, and those that lead deeper.
const TELLING: [u8; 10] = [0, 1, 2, 0x7e, 0x7f, 0x80, 0x81, 0xfe, 0xff, 40];

/// Numbers that lengths should not be, as they stand in the formats.
const EXTREMES: [i32; 8] = [-1, 0, 1, i32::MAX, i32::MIN, 0x0100_0000, 0xffff, -2];

impl Numbers {
    /// Begins at `seed`, which MUST NOT be 0.
    pub fn new(seed: u64) -> Numbers {
        assert_ne!(seed, 0, "all numbers would be 0");
        Numbers(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Less than `bound`, which MUST NOT be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.draw() % bound as u64) as usize
    }

    /// One of `items`, of which there MUST be one.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// One of the seeds with up to four changes: bits, bytes, extreme numbers, cuts, copies, pieces of other
/// seeds.
pub fn mutated(seeds: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = numbers.pick(seeds).clone();
    for _ in 0..=numbers.below(4) {
        if bytes.is_empty() {
            bytes.push(numbers.draw() as u8);
        }
        // Half of the changes hit the beginning, where headers are.
        let end = if numbers.below(2) == 0 { bytes.len().min(80) } else { bytes.len() };
        let at = numbers.below(end);
        match numbers.below(9) {
            0 | 1 => bytes[at] ^= 1 << numbers.below(8),
            2 => bytes[at] = *numbers.pick(&TELLING),
            3 => bytes[at] = numbers.draw() as u8,
            4 => write(&mut bytes, at, &numbers.pick(&EXTREMES).to_be_bytes()),
            5 => write(&mut bytes, at, &numbers.pick(&EXTREMES).to_le_bytes()),
            6 => bytes.truncate(at),
            7 => drop(bytes.drain(at..(at + 1 + numbers.below(8)).min(bytes.len()))),
            _ => {
                let other = numbers.pick(seeds);
                let from = numbers.below(other.len() + 1);
                let len = numbers.below(40).min(other.len() - from);
                bytes.splice(at..at, other[from..from + len].iter().copied());
            }
        }
    }
    bytes
}

fn write(bytes: &mut [u8], at: usize, with: &[u8]) {
    let len = with.len().min(bytes.len() - at);
    bytes[at..at + len].copy_from_slice(&with[..len]);
}
