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
        while self.answer().is_none_or(|now| now.as_ref() == Some(like)) {
            std::thread::sleep(LOOK);
        }
    }

    /// Returns once the model is to be served.
    pub fn until_served(&self) {
        while self.answer().flatten().is_none() {
            std::thread::sleep(LOOK);
        }
    }

    /// Nothing while the API server does not answer: then all stays as it is.
    fn answer(&self) -> Option<Option<ServingSpec>> {
        let answer = self.serving();
        answer.inspect_err(|error| tracing::warn!(%error, "what is wanted is not known")).ok()
    }
}
