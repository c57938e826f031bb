//! Administration of transactions.
