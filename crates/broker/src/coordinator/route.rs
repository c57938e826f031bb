//! Which partition of an internal topic is in charge of an id.

use ottla_wire::PartitionIndex;

/// The partition of `partitions` (at least one) that keeps the state of a group or transactional id, as every Kafka broker
/// and tool computes it: Java's hash of the id's UTF-16 units, its absolute value, modulo.
pub fn partition_of(id: &str, partitions: i32) -> PartitionIndex {
    let hash =
        id.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // The absolute value of the smallest number is 0 here, not that number.
    let absolute = hash.checked_abs().unwrap_or(0);
    PartitionIndex(absolute % partitions.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `String.hashCode`.
    #[test]
    fn ids_are_hashed_as_java_does() {
        let cases = [
            ("", 0),
            ("a", 97),
            ("group", 98_629_247),
            // Its hash is the smallest int.
            ("polygenelubricants", 0),
            // One character, two UTF-16 units: 0xd83d * 31 + 0xde00.
            ("😀", 1_772_899),
            ("é", 233),
        ];
        for (id, hash) in cases {
            assert_eq!(partition_of(id, i32::MAX).0, hash, "{id}");
        }
        assert_eq!(partition_of("group", 50).0, 47);
        assert_eq!(partition_of("anything", 1).0, 0);
    }
}
