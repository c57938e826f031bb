//! The feature `transaction.version`, and which of its levels a client speaks.

/// A level of `transaction.version`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransactionVersion {
    /// Transactions as of KIP-98.
    #[default]
    V0,
    /// Records in the flexible format, so that they can say what a client speaks.
    V1,
    /// KIP-890: the epoch is bumped at each end, and a Produce request adds its partitions by itself.
    V2,
}

impl TransactionVersion {
    /// `None` for a level that is not known here.
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

    /// Of a client: whether the end of its transaction bumps the epoch. Of the cluster: whether an end that
    /// the coordinator brings about does so by itself.
    pub fn bumps_epochs(self) -> bool {
        self >= TransactionVersion::V2
    }

    /// Whether clients of version 2 are served. It is the version of their requests that decides how they are
    /// (as in Kafka), so the records must keep it.
    pub fn serves_v2(self) -> bool {
        self >= TransactionVersion::V1
    }

    /// Version of the values in `__transaction_state`.
    pub fn value_version(self) -> i16 {
        i16::from(self >= TransactionVersion::V1)
    }

    /// What a client speaks that sends AddPartitionsToTxn at this version.
    pub fn of_add_partitions(api_version: i16) -> TransactionVersion {
        if api_version > 3 { TransactionVersion::V2 } else { TransactionVersion::V0 }
    }

    /// What a client speaks that sends EndTxn at this version.
    pub fn of_end_txn(api_version: i16) -> TransactionVersion {
        if api_version > 4 { TransactionVersion::V2 } else { TransactionVersion::V0 }
    }
}
