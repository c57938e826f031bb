//! The feature `transaction.version`, and the level of a client.

/// A level of `transaction.version`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransactionVersion {
    /// Transactions as of KIP-98.
    #[default]
    V0,
    /// Records in the flexible format, so that they can hold the client's level.
    V1,
    /// KIP-890: each end bumps the epoch, and a Produce request adds its partitions itself.
    V2,
}

impl TransactionVersion {
    /// `None` for an unknown level.
    pub fn from_level(level: i16) -> Option<TransactionVersion> {
        match level {
            0 => Some(TransactionVersion::V0),
            1 => Some(TransactionVersion::V1),
            2 => Some(TransactionVersion::V2),
            _ => None,
        }
    }

    pub fn level(self) -> i16 {
        self as i16
    }

    /// For a client: whether the end of its transaction bumps the epoch. For the cluster: whether the
    /// coordinator's own ends do.
    pub fn bumps_epochs(self) -> bool {
        self >= TransactionVersion::V2
    }

    /// Whether clients of version 2 are served. As in Kafka the version of their requests decides how, so the
    /// records must keep it.
    pub fn serves_v2(self) -> bool {
        self >= TransactionVersion::V1
    }

    /// Version of the values in `__transaction_state`.
    pub fn value_version(self) -> i16 {
        i16::from(self >= TransactionVersion::V1)
    }

    /// The level of a client that sends AddPartitionsToTxn at this version.
    pub fn of_add_partitions(api_version: i16) -> TransactionVersion {
        if api_version > 3 { TransactionVersion::V2 } else { TransactionVersion::V0 }
    }

    /// The level of a client that sends EndTxn at this version.
    pub fn of_end_txn(api_version: i16) -> TransactionVersion {
        if api_version > 4 { TransactionVersion::V2 } else { TransactionVersion::V0 }
    }
}
