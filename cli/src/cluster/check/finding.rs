//! What a check found.

use serde::Serialize;

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It may do, or not for long.
    Warn,
    /// Models cannot run.
    Fail,
    /// The API server does not show it to this person.
    Unseen,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was looked at.
    pub area: &'static str,
    /// How it stands.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

/// Findings of one area.
pub struct Area(&'static str, Vec<Finding>);

impl Area {
    /// Nothing found yet.
    pub const fn new(area: &'static str) -> Self {
        Self(area, Vec::new())
    }

    /// As it should be.
    pub fn ok(&mut self, found: impl Into<String>) {
        self.add(Level::Ok, found.into(), "");
    }

    /// It may do.
    pub fn warn(&mut self, found: impl Into<String>, fix: &str) {
        self.add(Level::Warn, found.into(), fix);
    }

    /// It will not do.
    pub fn fail(&mut self, found: impl Into<String>, fix: &str) {
        self.add(Level::Fail, found.into(), fix);
    }

    /// The API server does not tell.
    pub fn unseen(&mut self, what: &str, why: &Unseen, fix: &str) {
        match why {
            Unseen::Forbidden => self.add(Level::Unseen, format!("you may not read {what}"), fix),
            Unseen::Failed(error) => {
                self.add(Level::Fail, format!("{what}: {error}"), "try again");
            }
        }
    }

    /// All of it.
    pub fn findings(self) -> Vec<Finding> {
        self.1
    }

    fn add(&mut self, level: Level, found: String, fix: &str) {
        self.1.push(Finding { area: self.0, level, found, fix: fix.to_owned() });
    }
}

/// Why something is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// The API server forbids it.
    Forbidden,
    /// It did not answer well.
    Failed(String),
}

/// What was asked for, or why it is not known.
pub type Seen<T> = Result<T, Unseen>;

/// From what the API server said.
pub fn seen<T>(answer: kube::Result<T>) -> Seen<T> {
    answer.map_err(|error| match error {
        kube::Error::Api(status) if status.is_forbidden() => Unseen::Forbidden,
        kube::Error::Api(status) => Unseen::Failed(status.message),
        other => Unseen::Failed(other.to_string()),
    })
}
