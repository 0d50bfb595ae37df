//! How far each model has come, and which designer drives it.

use crate::core::Refused;
use crate::{Identity, ModelKey};
use mixnn_protocol::registration::{Advance, Head};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The heads of all models.
#[derive(Default)]
pub(crate) struct Heads(HashMap<ModelKey, Seat>);

/// How far a model has come, and who drives it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// How far.
    pub head: Head,
    /// The uid of the designer that raised the term last.
    pub driver: Option<String>,
}

impl Heads {
    pub(crate) fn get(&self, model: &ModelKey) -> Head {
        self.0.get(model).map(|seat| seat.head).unwrap_or_default()
    }

    /// Takes up what was known before this service started.
    pub(crate) fn restore(&mut self, model: ModelKey, head: Head) {
        self.0.entry(model).or_default().head = head;
    }

    pub(crate) fn advance(
        &mut self,
        model: &ModelKey,
        who: &Identity,
        advance: &Advance,
    ) -> Result<Head, Refused> {
        self.0.entry(model.clone()).or_default().advance(who, advance)
    }

    /// Whether this designer may still speak for its model.
    pub(crate) fn allows(&self, model: &ModelKey, who: &Identity) -> Result<(), Refused> {
        self.0.get(model).map_or(Ok(()), |seat| seat.allows(who))
    }
}

impl Seat {
    /// Compare-and-swap. Within a term only its designer may advance; any designer of the model may
    /// begin the next term, and shuts out the one before.
    ///
    /// # Errors
    /// The head is not as expected, or another designer has taken over.
    pub fn advance(&mut self, who: &Identity, advance: &Advance) -> Result<Head, Refused> {
        let Advance { expected, head } = *advance;
        let takes_over = head.term > expected.term;
        if !takes_over {
            self.allows(who)?;
        }
        let is_driver = self.driver.as_ref() == Some(&who.uid);
        if is_driver && self.head == head {
            // Asked again: the reply was lost.
            return Ok(head);
        }
        if self.head != expected {
            return Err(Refused::HeadMoved);
        }
        if head.term < self.head.term || head.checkpoint < self.head.checkpoint {
            return Err(Refused::Bad("a head only rises".into()));
        }
        if takes_over {
            self.driver = Some(who.uid.clone());
        }
        self.head = head;
        Ok(head)
    }

    /// Whether this designer may still speak for the model.
    ///
    /// # Errors
    /// Another one has taken over.
    pub fn allows(&self, who: &Identity) -> Result<(), Refused> {
        match &self.driver {
            Some(driver) if *driver != who.uid => Err(Refused::Superseded),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use mixnn_protocol::registration::NodeClass;

    fn designer(uid: &str) -> Identity {
        Identity {
            uid: uid.into(),
            class: NodeClass::Designer,
            model: Some(model()),
            host_domain: "owner".into(),
            node_domain: "machine".into(),
        }
    }

    fn model() -> ModelKey {
        ModelKey("model".into())
    }

    fn head(term: u32, checkpoint: u64) -> Head {
        Head { term, checkpoint, step: checkpoint * 10 }
    }

    #[test]
    fn who_takes_over_shuts_out_the_one_before() {
        let mut heads = Heads::default();
        let (first, second) = (designer("first"), designer("second"));
        let mut swap = |who: &Identity, expected, head| {
            heads.advance(&model(), who, &Advance { expected, head })
        };
        swap(&first, head(0, 0), head(1, 0)).unwrap();
        swap(&first, head(1, 0), head(1, 1)).unwrap();
        assert_eq!(swap(&second, head(1, 1), head(1, 2)), Err(Refused::Superseded));
        swap(&second, head(1, 1), head(2, 1)).unwrap();
        assert_eq!(swap(&first, head(2, 1), head(2, 2)), Err(Refused::Superseded));
        assert_eq!(heads.allows(&model(), &first), Err(Refused::Superseded));
        assert_eq!(heads.allows(&model(), &second), Ok(()));
    }

    #[test]
    fn of_two_that_start_at_once_one_wins() {
        let mut heads = Heads::default();
        let next = Advance { expected: head(0, 0), head: head(1, 0) };
        assert!(heads.advance(&model(), &designer("a"), &next).is_ok());
        assert_eq!(heads.advance(&model(), &designer("b"), &next), Err(Refused::HeadMoved));
        assert_eq!(heads.advance(&model(), &designer("a"), &next), Ok(head(1, 0)), "asked again");
    }

    #[test]
    fn a_head_only_rises() {
        let mut heads = Heads::default();
        heads.restore(model(), head(3, 7));
        let back = Advance { expected: head(3, 7), head: head(4, 6) };
        assert!(matches!(heads.advance(&model(), &designer("a"), &back), Err(Refused::Bad(_))));
        assert_eq!(heads.get(&model()), head(3, 7));
    }
}
