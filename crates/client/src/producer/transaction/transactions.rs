//! What callers and the sender share of transactions.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::core::Core;
use crate::coordinator::Coordinator;

pub(in crate::producer) struct Transactions {
    pub(in crate::producer) coordinator: Coordinator,
    pub(super) timeout_ms: i32,
    core: Mutex<Core>,
}

impl Transactions {
    pub(super) fn new(coordinator: Coordinator, timeout_ms: i32) -> Transactions {
        Transactions { coordinator, timeout_ms, core: Mutex::new(Core::new()) }
    }

    pub(in crate::producer) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
