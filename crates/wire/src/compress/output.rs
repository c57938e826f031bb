//! The room for what is unpacked.

/// Makes `out` `len` bytes long (zeros at the end) and keeps its capacity within `max`, where doubling would
/// pass it.
pub fn grow(out: &mut Vec<u8>, len: usize, max: usize) {
    if len > out.capacity() {
        let room = out.capacity().saturating_mul(2).min(max).max(len);
        out.reserve_exact(room - out.len());
    }
    out.resize(len, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_stops_at_the_cap() {
        let mut out = vec![1; 600];
        grow(&mut out, 700, 1000);
        assert_eq!(out.len(), 700);
        assert!(out.capacity() <= 1024, "{}", out.capacity());
    }
}
