//! The record of a run as it grows: a file, or what a designer's page gives of it.

use super::desk::Desk;
use anyhow::Context;
use mixnn_events::Line;
use mixnn_page::{Part, read_record};
use std::path::PathBuf;
use std::time::Duration;

/// How soon what is new is asked for.
const EVERY: Duration = Duration::from_secs(1);

/// Where a record is.
pub enum Told {
    /// On this machine.
    File(PathBuf),
    /// At a designer.
    Desk(Box<Desk>),
}

impl Told {
    /// Hands every line over, from the beginning; goes on as they come, if `follow`.
    pub async fn each(&self, follow: bool, mut take: impl FnMut(Line)) -> anyhow::Result<()> {
        let mut part = Part::default();
        loop {
            let next = self.read(part.of, part.next).await?;
            let news = (next.of, next.next) != (part.of, part.next);
            let lines = next.lines.split(|byte| *byte == b'\n');
            lines.filter_map(|line| serde_json::from_slice(line).ok()).for_each(&mut take);
            part = next;
            match (news, follow) {
                (true, _) => {}
                (false, true) => tokio::time::sleep(EVERY).await,
                (false, false) => return Ok(()),
            }
        }
    }

    async fn read(&self, of: u64, from: u64) -> anyhow::Result<Part> {
        match self {
            Self::File(path) => {
                read_record(path, of, from).with_context(|| path.display().to_string())
            }
            Self::Desk(desk) => {
                let answer = desk.get(&format!("/record?of={of}&from={from}")).await?;
                let number = |name: &str| answer.headers().get(name)?.to_str().ok()?.parse().ok();
                let ends = number("x-of").zip(number("x-next"));
                let (of, next) =
                    ends.context("the designer's page tells no place in its record")?;
                Ok(Part { of, next, lines: answer.bytes().await?.to_vec() })
            }
        }
    }
}
