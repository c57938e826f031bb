//! Variable-length integers inside records: zig-zag, seven bits a byte, the lowest first.
//!
//! On `&[u8]` rather than on a frame reader, because every record of every batch passes here.

/// Reads an `i32` of at most five bytes; `None` if the bytes end too early or the number is longer.
#[inline(always)]
pub fn read_i32(bytes: &mut &[u8]) -> Option<i32> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(zigzag_32(u32::from(first)));
    }
    read_long_i32(bytes)
}

/// Reads an `i64` of at most ten bytes; `None` if the bytes end too early or the number is longer.
#[inline(always)]
pub fn read_i64(bytes: &mut &[u8]) -> Option<i64> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(zigzag_64(u64::from(first)));
    }
    read_long_i64(bytes)
}

/// Appends an `i32`.
pub fn write_i32(value: i32, out: &mut Vec<u8>) {
    write_u64(u64::from(((value << 1) ^ (value >> 31)) as u32), out);
}

/// Appends an `i64`.
pub fn write_i64(value: i64, out: &mut Vec<u8>) {
    write_u64(((value << 1) ^ (value >> 63)) as u64, out);
}

/// How many bytes [`write_i32`] appends.
pub fn len_i32(value: i32) -> usize {
    len_u64(u64::from(((value << 1) ^ (value >> 31)) as u32))
}

/// How many bytes [`write_i64`] appends.
pub fn len_i64(value: i64) -> usize {
    len_u64(((value << 1) ^ (value >> 63)) as u64)
}

#[inline]
fn read_long_i32(bytes: &mut &[u8]) -> Option<i32> {
    let mut value = 0u32;
    for i in 0..5 {
        let byte = *bytes.get(i)?;
        value |= u32::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *bytes = &bytes[i + 1..];
            return Some(zigzag_32(value));
        }
    }
    None
}

#[inline]
fn read_long_i64(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for i in 0..10 {
        let byte = *bytes.get(i)?;
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *bytes = &bytes[i + 1..];
            return Some(zigzag_64(value));
        }
    }
    None
}

fn zigzag_32(value: u32) -> i32 {
    ((value >> 1) as i32) ^ -((value & 1) as i32)
}

fn zigzag_64(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

fn write_u64(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn len_u64(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_come_back() {
        let edges = (0..64).flat_map(|bit| {
            let power = 1i64 << bit;
            [power, power.wrapping_sub(1), power.wrapping_neg(), power.wrapping_neg().wrapping_sub(1)]
        });
        for value in edges {
            let mut out = Vec::new();
            write_i64(value, &mut out);
            assert_eq!(out.len(), len_i64(value), "{value}");
            let mut bytes = &out[..];
            assert_eq!((read_i64(&mut bytes), bytes.len()), (Some(value), 0));
            let short = value as i32;
            out.clear();
            write_i32(short, &mut out);
            assert_eq!(out.len(), len_i32(short), "{short}");
            let mut bytes = &out[..];
            assert_eq!((read_i32(&mut bytes), bytes.len()), (Some(short), 0));
        }
    }

    #[test]
    fn known_bytes() {
        for (value, bytes) in [(0, &[0u8][..]), (-1, &[1]), (1, &[2]), (-64, &[0x7f]), (64, &[0x80, 0x01])] {
            let mut out = Vec::new();
            write_i32(value, &mut out);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn too_long_and_cut_off_are_refused() {
        assert_eq!(read_i32(&mut &[0xff; 6][..]), None);
        assert_eq!(read_i64(&mut &[0xff; 11][..]), None);
        assert_eq!(read_i32(&mut &[0x80, 0x80][..]), None);
        assert_eq!(read_i64(&mut &[][..]), None);
    }
}
