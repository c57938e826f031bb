//! Settings of single groups that are read.

use std::time::Duration;

use crate::tables::GROUP;
use crate::typed::{Declared, Key, keys};

keys! { &GROUP;
    CONSUMER_ASSIGNMENT_INTERVAL_MS: Duration = "consumer.assignment.interval.ms";
    CONSUMER_HEARTBEAT_INTERVAL_MS: Duration = "consumer.heartbeat.interval.ms";
    CONSUMER_SESSION_TIMEOUT_MS: Duration = "consumer.session.timeout.ms";
}
