//! What a layer writes for its owner: lines of its log, in a report of one cell.

use serde::{Deserialize, Serialize};

/// The most lines of one report, and the most bytes of a line: together one cell.
pub const MAX_LINES: usize = 32;
/// The most bytes of a line.
pub const MAX_LINE: usize = 200;

/// Lines, oldest first, and how many are not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Journal {
    /// At most [`MAX_LINES`].
    pub lines: Vec<Entry>,
    /// Lines before these that had no place.
    pub left_out: u32,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// How grave it is.
    pub level: Level,
    /// How long ago it was written, in milliseconds.
    pub before: u32,
    /// At most [`MAX_LINE`] bytes, without control characters.
    pub text: String,
}

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// As it should be.
    Info,
    /// To be looked at.
    Warn,
    /// The layer could not go on.
    Error,
}

impl Journal {
    /// Whether it is within its bounds: what comes from a pod need not be.
    pub fn is_bounded(&self) -> bool {
        self.lines.len() <= MAX_LINES
            && self
                .lines
                .iter()
                .all(|line| line.text.len() <= MAX_LINE && line.text == plain(&line.text))
    }
}

/// A text as a line may hold it: control characters become spaces, and what is too long is cut.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_LINE));
    for c in text.chars() {
        if out.len() + c.len_utf8() > MAX_LINE {
            break;
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{self, Report};
    use crate::sizes::FRAME_DATA;

    #[test]
    fn the_longest_report_fits_into_one_cell() {
        // The character that JSON makes longest, of those that are left.
        let text = plain(&"\\".repeat(2 * MAX_LINE));
        let line = Entry { level: Level::Error, before: u32::MAX, text };
        let journal = Journal { lines: vec![line; MAX_LINES], left_out: u32::MAX };
        assert!(journal.is_bounded());
        let bytes = control::to_bytes(&Report::Log(journal.clone())).expect("short enough");
        assert!(bytes.len() <= FRAME_DATA, "{} bytes", bytes.len());
        assert_eq!(control::parse::<Report>(&bytes).expect("parses"), Report::Log(journal));
    }

    #[test]
    fn what_is_too_long_or_not_plain_is_out_of_bounds() {
        let with = |text: &str| {
            let line = Entry { level: Level::Info, before: 0, text: text.to_owned() };
            Journal { lines: vec![line], left_out: 0 }
        };
        assert!(with("an ü, and \"quotes\"").is_bounded());
        assert!(!with("a\nb").is_bounded() && !with(&"a".repeat(201)).is_bounded());
        assert_eq!(plain("a\u{1b}[31mb\n"), "a [31mb ");
        assert_eq!(plain(&"ü".repeat(200)).len(), 200, "cut between characters");
    }
}
