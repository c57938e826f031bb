//! Every setting that is read, declared once, with the type that it is read as. There is no other way to read
//! one.
//!
//! A constant is called as its setting, in capitals and with `_` for `.`, and is always named with its module
//! (`key::NUM_PARTITIONS`, `key::topic::RETENTION_MS`). So one finds who reads a setting, and a test finds
//! what nobody reads.

mod broker;
pub mod group;
pub mod topic;

pub use broker::*;

use crate::tables::Table;
pub use crate::typed::Declared;

/// All constants for settings of `table`.
pub fn declared(table: Table) -> &'static [Declared] {
    match table {
        Table::Broker => broker::DECLARED,
        Table::Topic => topic::DECLARED,
        Table::Group => group::DECLARED,
        // Subscriptions are kept for clients, and none of their settings is read yet.
        Table::ClientMetrics => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_called_as_their_settings() {
        for table in [Table::Broker, Table::Topic, Table::Group, Table::ClientMetrics] {
            let all = declared(table);
            assert!(all.is_sorted_by(|a, b| a.definition.name < b.definition.name), "{table:?}");
            for one in all {
                assert_eq!(one.constant, one.definition.name.replace('.', "_").to_uppercase());
            }
        }
    }
}
