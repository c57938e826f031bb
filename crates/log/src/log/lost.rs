//! Segments that are gone although they were on stable storage.

use ottla_wire::Offset;

use super::listing::Listing;
use crate::names::{FileKind, file_name};
use crate::segment::cursor::CursorError;

/// Tells what must be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct LostSegments {
    /// Everything below was synced.
    pub trusted: Offset,
    /// The log is compacted, which leaves gaps.
    pub compact: bool,
}

impl LostSegments {
    /// An index without its log is what a deletion leaves, at either end of a log. In the middle the log is
    /// what is missing.
    pub fn check_orphans(&self, listing: &Listing) -> Result<(), CursorError> {
        let Some((first, _)) = listing.segments.first_key_value() else { return Ok(()) };
        for base in listing.orphans.range(*first..) {
            if let Some((next, _)) = listing.segments.range(*base..).next() {
                self.check(*base, *next, "missing")?;
            }
        }
        Ok(())
    }

    /// The segment at `base` is empty or missing, and another follows. To go on would leave out its records
    /// in silence.
    pub fn check(&self, base: Offset, next: Offset, what: &str) -> Result<(), CursorError> {
        if next > self.trusted || self.compact {
            return Ok(());
        }
        let (name, last) = (file_name(base, FileKind::Log), next.plus(-1));
        let what = format!(
            "{name} is {what}, and the records {base} to {last} with it: restore it from a backup, or delete all \
             files whose names begin with {base:020} to go on without them"
        );
        Err(CursorError::Corrupt { position: 0, what })
    }
}
