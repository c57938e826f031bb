//! ConsumerGroupHeartbeat.
