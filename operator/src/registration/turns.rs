//! Turns for questions that designers ask on behalf of strangers: bounded, and the same for every model, whoever
//! else is flooded.

use mixnn_directory::Refused;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Questions at the same time, of all models.
const AT_ONCE: usize = 16;
/// Of one model: asked at the same time, and these together with those that wait for it. A designer asks eight
/// questions at once, and has its clients wait itself.
const AT_ONCE_OF_ONE: usize = 4;
const PLACES_OF_ONE: usize = 8;

/// Whose turn it is.
///
/// A question first waits for its model's own turns, and only then, first come first served, for those of all. So
/// no model has more than its few in the common line, and what another one waits for is at most those few of each.
pub(super) struct Turns {
    asking: Arc<Semaphore>,
    models: Mutex<HashMap<String, Arc<Own>>>,
}

struct Own {
    asking: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// A turn. Others wait until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permits: [OwnedSemaphorePermit; 3],
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { asking: Arc::new(Semaphore::new(AT_ONCE)), models: Mutex::default() }
    }

    /// Waits for a turn of this model's.
    ///
    /// # Errors
    /// Too many of the model's wait already.
    pub(super) async fn take(&self, model: &str) -> Result<Turn, Refused> {
        let own = self.own(model);
        let place = own.places.clone().try_acquire_owned().map_err(|_| Refused::Busy)?;
        let turn = |turns: Arc<Semaphore>| async {
            turns.acquire_owned().await.map_err(|_| Refused::Busy)
        };
        let own_turn = turn(own.asking.clone()).await?;
        Ok(Turn { _permits: [turn(self.asking.clone()).await?, own_turn, place] })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Own>>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model's own turns. Those of models that ask nothing are forgotten.
    fn own(&self, model: &str) -> Arc<Own> {
        let mut models = self.lock();
        if !models.contains_key(model) {
            let asks = |own: &Arc<Own>| own.places.available_permits() < PLACES_OF_ONE;
            models.retain(|_, own| asks(own) || Arc::strong_count(own) > 1);
        }
        let fresh = || {
            let semaphore = |permits| Arc::new(Semaphore::new(permits));
            Arc::new(Own { asking: semaphore(AT_ONCE_OF_ONE), places: semaphore(PLACES_OF_ONE) })
        };
        models.entry(model.to_owned()).or_insert_with(fresh).clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures::FutureExt;

    #[test]
    fn a_model_that_is_flooded_takes_no_turns_from_others() {
        let turns = Turns::new();
        let asked: Vec<_> = (0..AT_ONCE_OF_ONE)
            .map(|_| turns.take("flooded").now_or_never().unwrap().unwrap())
            .collect();
        let mut waiting: Vec<_> =
            (AT_ONCE_OF_ONE..PLACES_OF_ONE).map(|_| Box::pin(turns.take("flooded"))).collect();
        for question in &mut waiting {
            assert!(question.now_or_never().is_none(), "its turns are taken");
        }
        let one_more = turns.take("flooded").now_or_never().unwrap();
        assert!(matches!(one_more, Err(Refused::Busy)));
        assert!(turns.take("other").now_or_never().unwrap().is_ok());
        drop(asked);
        assert!(waiting[0].as_mut().now_or_never().unwrap().is_ok());
    }

    #[test]
    fn all_turns_are_bounded_and_given_in_order() {
        let turns = Turns::new();
        let take = |i: usize| turns.take(["a", "b", "c", "d", "e", "f"][i / AT_ONCE_OF_ONE]);
        let mut held: Vec<_> =
            (0..AT_ONCE).map(|i| take(i).now_or_never().unwrap().unwrap()).collect();
        let mut e = Box::pin(turns.take("e"));
        let mut f = Box::pin(turns.take("f"));
        assert!(e.as_mut().now_or_never().is_none() && f.as_mut().now_or_never().is_none());
        // Another of a model that has its turns already waits for those, and not in the common line.
        let mut a = Box::pin(turns.take("a"));
        assert!(a.as_mut().now_or_never().is_none());
        held.remove(0);
        assert!(a.as_mut().now_or_never().is_none() && f.as_mut().now_or_never().is_none());
        assert!(e.as_mut().now_or_never().unwrap().is_ok());
        assert!(f.as_mut().now_or_never().unwrap().is_ok());
        assert!(a.as_mut().now_or_never().unwrap().is_ok());
    }

    #[test]
    fn nothing_is_kept_of_models_that_ask_no_more() {
        let turns = Turns::new();
        for i in 0..100 {
            drop(turns.take(&i.to_string()).now_or_never().unwrap().unwrap());
        }
        assert_eq!(turns.lock().len(), 1);
    }
}
