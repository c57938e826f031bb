//! The broker that takes requests which change the cluster, as an office to be asked.

use std::time::Duration;

use ottla_link::{Connection, Office};
use ottla_wire::protocol::ErrorCode;

use crate::cluster::Cluster;
use crate::error::Error;

/// The controller of a cluster, as the metadata names it.
pub(crate) struct Controller<'a>(pub(crate) &'a Cluster);

impl Office for Controller<'_> {
    type Holder = Connection;
    type Error = Error;

    async fn find(&self) -> Result<Connection, Error> {
        self.0.controller().await
    }

    fn has_moved(&self, error: &Error) -> bool {
        match error {
            Error::Api(error) => error.code == ErrorCode::NotController,
            error => error.is_retriable(),
        }
    }

    fn may_be_found(&self, error: &Error) -> bool {
        error.is_retriable()
    }

    fn forget(&self) {
        // Its name comes with the metadata.
        self.0.refresh_soon();
    }

    fn pause(&self, _: &Error, failures: u32) -> Duration {
        self.0.retry_delay(failures)
    }

    fn late(&self, after: Duration) -> Error {
        Error::Waited { what: "the controller", after }
    }
}
