//! Which versions there are, for all who are asked.

use mixnn_serving::Version;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Which versions there are, for all who are asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Catalogue(Arc<Mutex<Listed>>);

#[derive(Debug, Default)]
struct Listed {
    /// Number to why it is not served.
    known: BTreeMap<u64, String>,
    served: Option<u64>,
    /// Why nothing is answered now, if so.
    pause: Option<String>,
}

impl Catalogue {
    fn with<T>(&self, f: impl FnOnce(&mut Listed) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All of them, oldest first.
    pub(super) fn list(&self) -> Vec<Version> {
        self.with(|listed| {
            let version = |(number, reason): (&u64, &String)| {
                let served = listed.served == Some(*number);
                let reason = if served { listed.pause.clone() } else { Some(reason.clone()) };
                let name = number.to_string();
                Version {
                    name,
                    served,
                    ready: reason.is_none(),
                    reason: reason.unwrap_or_default(),
                }
            };
            listed.known.iter().map(version).collect()
        })
    }

    /// This version answers from now on.
    pub(super) fn serve(&self, number: u64) {
        self.with(|listed| {
            listed.known.entry(number).or_insert_with(not_served);
            listed.served = Some(number);
            listed.pause = None;
        });
    }

    /// This version is going to be served; its requests wait.
    pub(super) fn await_version(&self, number: u64) {
        self.with(|listed| {
            listed.known.entry(number).or_insert_with(not_served);
            listed.served = Some(number);
            listed.pause = Some("its layers are being set up".to_owned());
        });
    }

    /// Nothing is answered for now; requests wait.
    pub(super) fn pause(&self, why: &str) {
        self.with(|listed| listed.pause = Some(why.to_owned()));
    }

    /// A version is there, and why it is not served.
    pub(super) fn note(&self, number: u64, reason: String) {
        self.with(|listed| listed.known.insert(number, reason));
    }

    /// These versions are there, and no others but the one that is served.
    pub(super) fn keep(&self, numbers: &[u64]) {
        self.with(|listed| {
            let served = listed.served;
            listed.known.retain(|n, _| numbers.contains(n) || Some(*n) == served);
            for number in numbers {
                listed.known.entry(*number).or_insert_with(not_served);
            }
        });
    }
}

fn not_served() -> String {
    "another version is served".to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_version_is_served_and_the_others_say_why_not() {
        let catalogue = Catalogue::default();
        catalogue.keep(&[1, 2]);
        catalogue.serve(1);
        catalogue.note(2, "it cannot be used".into());
        let list = catalogue.list();
        assert!(list[0].ready && list[0].served);
        assert!(!list[1].ready && !list[1].served && list[1].reason.contains("cannot"));
        catalogue.pause("it is being repaired");
        let list = catalogue.list();
        assert!(!list[0].ready && list[0].served, "its requests wait");
        catalogue.keep(&[3]);
        let names: Vec<String> = catalogue.list().into_iter().map(|v| v.name).collect();
        assert_eq!(names, ["1", "3"], "the served one stays");
    }
}
