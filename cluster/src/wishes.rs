//! What its owner wants of a model now, as the API server has it: the file that is mounted lags behind.

use crate::{Cluster, ClusterError};
use mixnn_crds::{MixNNModel, ServingSpec};
use std::time::Duration;

/// Between two questions.
const LOOK: Duration = Duration::from_secs(5);

impl Cluster {
    /// How the model is to be served, if it is. Asks again while the API server is away.
    ///
    /// # Errors
    /// It refuses, or stays away.
    pub fn serving(&self) -> Result<Option<ServingSpec>, ClusterError> {
        let found = self.ask("reading the model", || self.models.get_opt(&self.name))?;
        let same = |m: &MixNNModel| m.metadata.uid == self.model.metadata.uid;
        Ok(found.filter(same).and_then(|m| m.serving().cloned()))
    }

    /// Returns once the model is not to be served like this any more.
    pub fn until_not_served(&self, like: &ServingSpec) {
        self.until(|wanted| wanted != Some(like));
    }

    /// Returns once the model is to be served.
    pub fn until_served(&self) {
        self.until(|wanted| wanted.is_some());
    }

    /// While the API server does not answer all stays as it is.
    fn until(&self, there: impl Fn(Option<&ServingSpec>) -> bool) {
        loop {
            match self.serving() {
                Ok(wanted) if there(wanted.as_ref()) => return,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "what is wanted is not known"),
            }
            std::thread::sleep(LOOK);
        }
    }
}
