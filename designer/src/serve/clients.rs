//! Clients by Kubernetes' word: their tokens are reviewed by the operator, for this model's audience, and RBAC says
//! whether they may ask it. What was said holds for a moment.

use aws_lc_rs::hmac;
use futures_util::future::BoxFuture;
use mixnn_node::RegistryClient;
use mixnn_protocol::registration::MAX_REVIEWED;
use mixnn_serving::{Authenticator, Identity, InferError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// For so long a client is not asked about again: rights that are taken away hold for so long.
const GOOD: Duration = Duration::from_secs(30);
/// The same of who was refused: rights that are given come so late.
const BAD: Duration = Duration::from_secs(5);
/// The most that are remembered, of either.
const MOST: usize = 4096;
/// Questions at the same time, and those that wait for their turn. All others are told to come again.
const AT_ONCE: usize = 8;
const WAITING: usize = 64;

const UNKNOWN: InferError = InferError::Unauthenticated(
    "this token is not good for this model: get one for the audience in status.serving.audience",
);

/// Who may ask.
pub(super) struct Clients {
    registry: RegistryClient,
    remembered: Mutex<Remembered>,
    asking: Semaphore,
    waiting: Semaphore,
}

impl Clients {
    pub(super) fn new(registry: RegistryClient) -> Result<Self, String> {
        let (asking, waiting) = (Semaphore::new(AT_ONCE), Semaphore::new(AT_ONCE + WAITING));
        Ok(Self { registry, remembered: Mutex::new(Remembered::new()?), asking, waiting })
    }

    async fn find(&self, token: &str) -> Said {
        if !(1..=MAX_REVIEWED).contains(&token.len()) {
            return Err(UNKNOWN);
        }
        let lock = || self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = lock().get(token, Instant::now()) {
            return said;
        }
        let busy = |message: &str| InferError::Unavailable {
            message: message.to_owned(),
            retry_after: Duration::from_secs(1),
        };
        let full = |_| busy("too many clients are being asked about");
        let _place = self.waiting.try_acquire().map_err(full)?;
        let _turn = self.asking.acquire().await;
        // Requests of one client often come together: the first has asked for all of them.
        if let Some(said) = lock().get(token, Instant::now()) {
            return said;
        }
        let reviewed = self.registry.review(token).await.map_err(|error| {
            tracing::warn!(%error, "a client cannot be asked about");
            busy("who asks cannot be told now")
        })?;
        let said = match (reviewed.client, reviewed.allowed) {
            (Some(client), true) => Ok(Identity(client.into())),
            (Some(client), false) => Err(InferError::Forbidden(format!(
                "{client} may not ask this model: it needs a RoleBinding to ClusterRole mixnn-client in the model's namespace"
            ))),
            (None, _) => Err(UNKNOWN),
        };
        lock().put(token, said.clone(), Instant::now());
        said
    }
}

impl Authenticator for Clients {
    fn identify<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Identity, InferError>> {
        Box::pin(self.find(token))
    }
}

type Said = Result<Identity, InferError>;
/// Under a key of this process: what is compared tells nothing of a token, however long it takes.
type Tag = [u8; 32];

/// What was said. Strangers do not displace clients: they are remembered apart.
struct Remembered {
    key: hmac::Key,
    good: HashMap<Tag, (Instant, Arc<str>)>,
    bad: HashMap<Tag, (Instant, InferError)>,
}

impl Remembered {
    fn new() -> Result<Self, String> {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(&mut key[..]).map_err(|e| e.to_string())?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key[..]);
        Ok(Self { key, good: HashMap::new(), bad: HashMap::new() })
    }

    fn tag(&self, token: &str) -> Tag {
        let mut tag = [0; 32];
        tag.copy_from_slice(hmac::sign(&self.key, token.as_bytes()).as_ref());
        tag
    }

    fn get(&self, token: &str, now: Instant) -> Option<Said> {
        let tag = self.tag(token);
        let good = self.good.get(&tag).filter(|(until, _)| now < *until);
        let bad = self.bad.get(&tag).filter(|(until, _)| now < *until);
        let good = good.map(|(_, client)| Ok(Identity(client.clone())));
        good.or_else(|| bad.map(|(_, error)| Err(error.clone())))
    }

    fn put(&mut self, token: &str, said: Said, now: Instant) {
        let tag = self.tag(token);
        match said {
            Ok(Identity(client)) => keep(&mut self.good, tag, client, now, GOOD),
            Err(error) => keep(&mut self.bad, tag, error, now, BAD),
        }
    }
}

fn keep<T>(all: &mut HashMap<Tag, (Instant, T)>, tag: Tag, what: T, now: Instant, time: Duration) {
    if all.len() >= MOST {
        all.retain(|_, (until, _)| now < *until);
    }
    if all.len() >= MOST {
        all.clear();
    }
    all.insert(tag, (now + time, what));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_was_said_holds_for_a_moment_and_strangers_displace_nobody() {
        let (mut all, now) = (Remembered::new().unwrap(), Instant::now());
        let client = || Ok(Identity("system:serviceaccount:vision:app".into()));
        all.put("good", client(), now);
        for i in 0..3 * MOST {
            all.put(&i.to_string(), Err(UNKNOWN), now);
        }
        assert!(all.bad.len() <= MOST);
        all.put("bad", Err(UNKNOWN), now);
        assert_eq!(all.get("good", now), Some(client()));
        assert_eq!(all.get("bad", now), Some(Err(UNKNOWN)));
        assert_eq!(all.get("bad", now + BAD), None, "what was refused is asked again soon");
        assert_eq!(all.get("good", now + BAD), Some(client()));
        assert_eq!(all.get("good", now + GOOD), None);
        assert_eq!(all.get("other", now), None);
    }
}
