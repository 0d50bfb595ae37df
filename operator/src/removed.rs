//! Which objects are gone that a watch has told of: those whose end it tells, and those that a list lacks when the
//! watch begins again, as after an outage that it slept through.

use kube::ResourceExt;
use kube::runtime::watcher::Event;
use std::collections::HashMap;
use std::hash::Hash;

/// What is known to be there, by a key of the caller's.
#[derive(Debug)]
pub struct Present<T> {
    known: HashMap<String, T>,
    /// Of a list that is under way.
    listed: Option<HashMap<String, T>>,
}

impl<T> Default for Present<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), listed: None }
    }
}

impl<T: Eq + Hash> Present<T> {
    /// Takes an event of a watch, with what is to be remembered of each object. Gives what was remembered of those
    /// that are gone now.
    pub fn see<K: ResourceExt>(
        &mut self,
        event: &Event<K>,
        remember: impl Fn(&K) -> Option<T>,
    ) -> Vec<T> {
        match event {
            Event::Init => self.listed = Some(HashMap::new()),
            Event::InitApply(object) => {
                if let (Some(listed), Some(what)) = (&mut self.listed, remember(object)) {
                    listed.insert(key(object), what);
                }
            }
            Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                let old = std::mem::replace(&mut self.known, listed);
                let gone = old.into_iter().filter(|(key, _)| !self.known.contains_key(key));
                return gone.map(|(_, what)| what).collect();
            }
            Event::Apply(object) => {
                if let Some(what) = remember(object) {
                    self.known.insert(key(object), what);
                }
            }
            // Also of what was never told of: it is gone all the same.
            Event::Delete(object) => {
                let known = self.known.remove(&key(object));
                return known.or_else(|| remember(object)).into_iter().collect();
            }
        }
        Vec::new()
    }
}

/// One that was made anew under its name is another.
fn key(object: &impl ResourceExt) -> String {
    object.uid().unwrap_or_else(|| object.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Service;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn service(uid: &str) -> Service {
        let metadata = ObjectMeta {
            name: Some(format!("name-of-{uid}")),
            uid: Some(uid.into()),
            ..ObjectMeta::default()
        };
        Service { metadata, ..Service::default() }
    }

    #[test]
    fn what_is_removed_is_told_of_once_also_if_nobody_watched() {
        let mut present = Present::default();
        let mut see = |event| present.see(&event, |s: &Service| Some(s.name_any()));
        for event in [
            Event::Init,
            Event::InitApply(service("a")),
            Event::InitApply(service("b")),
            Event::InitDone,
            Event::Apply(service("c")),
        ] {
            assert_eq!(see(event), Vec::<String>::new());
        }
        assert_eq!(see(Event::Delete(service("b"))), ["name-of-b"]);
        assert_eq!(see(Event::Init), Vec::<String>::new());
        assert_eq!(see(Event::InitApply(service("a"))), Vec::<String>::new());
        // A list that breaks off says nothing.
        assert_eq!(see(Event::Init), Vec::<String>::new());
        assert_eq!(see(Event::InitApply(service("c"))), Vec::<String>::new());
        assert_eq!(see(Event::InitDone), ["name-of-a"]);
        assert_eq!(see(Event::Init), Vec::<String>::new());
        assert_eq!(see(Event::InitDone), ["name-of-c"]);
        assert_eq!(see(Event::InitDone), Vec::<String>::new());
    }
}
