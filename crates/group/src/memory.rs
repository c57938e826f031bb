//! Memory that the state of groups takes: what it is reckoned to be, and how much it may be.
//!
//! Each part of the state counts its own bytes where it changes, so that the sum of all is known at every
//! step. They are an estimate: lengths are exact, what a map or the allocator adds is a share that holds on
//! the average.

use bytes::Bytes;
use ottla_wire::primitives::Str;

/// The cost of bytes beside their length: the allocator's header and rounding, and the counter that clones
/// share.
const SHARED_BYTES: usize = 40;

/// The memory that groups take on this broker, and its limit. At the limit no new group, member or offset is
/// admitted. Existing ones continue, may rebalance, and may grow by a quarter. Beyond that, nothing that
/// would be kept is accepted.
///
/// The error is COORDINATOR_NOT_AVAILABLE. It is the one that clients of any age try again after, at their
/// own pace and with no harm done, so that they go on by themselves once there is room. Others end a consumer
/// (GROUP_MAX_SIZE_REACHED) or mean nothing to it (POLICY_VIOLATION).
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub taken: usize,
    pub max: usize,
}

impl Memory {
    /// Nothing new may come.
    pub fn is_full(self) -> bool {
        self.taken >= self.max
    }

    /// Not even what is there may grow.
    pub fn is_overfull(self) -> bool {
        self.taken >= self.max.saturating_add(self.max / 4)
    }
}

/// What a text takes, beside the place where it is held.
pub fn of_text(text: &Str) -> usize {
    of_len(text.len())
}

/// The same for a text that may be missing.
pub fn of_optional(text: Option<&Str>) -> usize {
    text.map_or(0, of_text)
}

/// What bytes take, beside the place where they are held.
pub fn of_bytes(bytes: &Bytes) -> usize {
    of_len(bytes.len())
}

/// What an ordered map takes beside what its keys and values refer to. A set has no values: `()`.
pub const fn of_map<K, V>(len: usize) -> usize {
    /// Entries of a node. The first entry makes room for a whole node.
    const NODE_LEN: usize = 11;
    let places = match len {
        0 => 0,
        1..=NODE_LEN => NODE_LEN,
        // Where keys come in order, nodes stay half empty.
        _ => 2 * len,
    };
    places * (size_of::<K>() + size_of::<V>())
}

/// What a list that grows takes beside what its items refer to.
pub const fn of_list<T>(len: usize) -> usize {
    /// Items that the first one makes room for.
    const FIRST_LEN: usize = 4;
    let places = match len {
        0 => 0,
        1..=FIRST_LEN => FIRST_LEN,
        _ => len.next_power_of_two(),
    };
    places * size_of::<T>()
}

fn of_len(len: usize) -> usize {
    if len == 0 { 0 } else { len + SHARED_BYTES }
}
