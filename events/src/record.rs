//! The record of a run: its events with their times, one JSON object a line, appended as they come.
//!
//! Every designer of a run appends to the same file, so that curves go on where one was replaced. A line
//! that was cut short by the end of its process is passed over by readers. The file stays below
//! [`LIMIT`]: when it is full, every second step is left out of it if steps take half of it, and of other events the oldest. What says where
//! the time of a step went takes a quarter of it at the most then, and what layers said an eighth.

use crate::{Event, Phase};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Result, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of the file, at most, but for the last line.
const LIMIT: u64 = 8 << 20;
/// Events that are no steps, after the file was thinned.
const OTHERS: usize = 1024;
/// The longest line that is read.
const MAX_LINE: u64 = 1 << 20;

/// An event and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Milliseconds since 1970.
    pub at: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// The record, open for its writer.
pub struct Record {
    path: PathBuf,
    file: File,
    length: u64,
    limit: u64,
    /// Bytes of what says where times went, after the file was thinned.
    times: u64,
}

impl Record {
    /// Opens a record to go on with it, or makes it; only its user can read it.
    ///
    /// # Errors
    /// The file cannot be opened or written.
    pub fn open(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).mode(0o600).open(path)?;
        let mut length = file.metadata()?.len();
        if length > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                length += 1;
            }
        }
        Ok(Self { path: path.to_owned(), file, length, limit: LIMIT, times: LIMIT / 4 })
    }

    /// Appends an event. How far data have been read is not kept.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&mut self, event: &Event) -> Result<()> {
        if matches!(event, Event::Reading(_)) {
            return Ok(());
        }
        if self.length > self.limit {
            self.thin()?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let bytes = encode(&Line { at: now.as_millis() as u64, event: event.clone() })?;
        // At once, so that a reader finds whole lines.
        self.file.write_all(&bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Makes the file anew with less in it, beside the old one, then in its place.
    fn thin(&mut self) -> Result<()> {
        let mut kept: Vec<Line> = Vec::new();
        each(&self.path, |line| kept.push(line))?;
        let is_step = |line: &Line| matches!(line.event, Event::Step(_));
        let is_times = |line: &Line| matches!(line.event, Event::Times(_));
        let is_said = |line: &Line| matches!(line.event, Event::Said(_));
        let is_other = |line: &Line| !is_step(line) && !is_times(line) && !is_said(line);
        let mut others: VecDeque<usize> =
            (0..kept.len()).filter(|&i| is_other(&kept[i]) && !is_old_news(&kept, i)).collect();
        while others.len() > OTHERS {
            others.pop_front();
        }
        let mut steps: Vec<usize> = (0..kept.len()).filter(|&i| is_step(&kept[i])).collect();
        // It may be full of times alone.
        if newest(&kept, 2 * self.times, is_step)?.len() < steps.len() {
            // The first and the last one stay.
            let last = steps.pop();
            steps = steps.into_iter().step_by(2).chain(last).collect();
        }
        let times = newest(&kept, self.times, is_times)?;
        let said = newest(&kept, self.times / 2, is_said)?;
        let parts = others.into_iter().chain(steps).chain(times).chain(said);
        let mut wanted: Vec<usize> = parts.collect();
        wanted.sort_unstable();
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        for i in wanted {
            file.write_all(&encode(&kept[i])?)?;
        }
        file.persist(&self.path)?;
        let (limit, times) = (self.limit, self.times);
        *self = Self { times, ..Self::open(&self.path)? };
        // Whatever is in it, it is not thinned again at every event.
        self.limit = limit.max(2 * self.length);
        Ok(())
    }
}

/// The newest lines of a kind that take `bytes` bytes at the most.
fn newest(lines: &[Line], bytes: u64, is_one: impl Fn(&Line) -> bool) -> Result<Vec<usize>> {
    let (mut found, mut length) = (Vec::new(), 0);
    for i in (0..lines.len()).rev().filter(|&i| is_one(&lines[i])) {
        length += encode(&lines[i])?.len() as u64;
        if length > bytes {
            break;
        }
        found.push(i);
    }
    Ok(found)
}

/// Whether a later line says all that this one says.
fn is_old_news(lines: &[Line], at: usize) -> bool {
    let later = |is: fn(&Event) -> bool| lines[at + 1..].iter().any(|line| is(&line.event));
    match &lines[at].event {
        Event::Ring(_) => later(|e| matches!(e, Event::Ring(_))),
        Event::Plan(_) => later(|e| matches!(e, Event::Plan(_))),
        Event::Phase(Phase::Testing | Phase::Training) => true,
        _ => false,
    }
}

fn encode(line: &Line) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Every line of a record that is one, in order.
pub(crate) fn each(path: &Path, mut take: impl FnMut(Line)) -> Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if let Ok(line) = serde_json::from_slice(&line) {
            take(line);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{Doing, Failed, Fault, Row, Span, Step, Times, read};

    fn step(number: u64) -> Event {
        Event::Step(Step {
            epoch: 1,
            step: number,
            loss: 1.0 / number as f64,
            answers: 4,
            correct: 2,
            samples: 4,
            milliseconds: 1.5,
            learning_rate: 0.1,
            gradient_norm: None,
            spent: None,
        })
    }

    fn times(step: u64) -> Event {
        let span = Span { doing: Doing::Forward, micro_batch: 0, at: 0.5, took: 0.25 };
        let row = Row { spans: vec![span; 4], ..Row::default() };
        Event::Times(Times { step, begun: 1.0, rows: vec![row] })
    }

    #[test]
    fn who_comes_after_a_cut_line_goes_on_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let mut record = Record::open(&path).unwrap();
        record.keep(&step(1)).unwrap();
        record.keep(&step(2)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 20]).unwrap();
        let mut record = Record::open(&path).unwrap();
        record.keep(&step(2)).unwrap();
        record.keep(&step(3)).unwrap();
        let history = read(&path).unwrap();
        let numbers: Vec<u64> = history.steps.keys().copied().collect();
        assert_eq!(numbers, [1, 2, 3]);
    }

    #[test]
    fn a_full_record_is_thinned_and_keeps_its_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let mut record = Record::open(&path).unwrap();
        (record.limit, record.times) = (64 << 10, 16 << 10);
        for number in 1..=3000 {
            record.keep(&step(number)).unwrap();
            record.keep(&times(number)).unwrap();
            record.keep(&Event::Fault(Fault { message: format!("fault {number}") })).unwrap();
        }
        let failed = Failed { reason: "Test".into(), message: "over".into() };
        record.keep(&Event::Failed(failed)).unwrap();
        let history = read(&path).unwrap();
        let mut timed = Vec::new();
        each(&path, |line| {
            if let Event::Times(times) = line.event {
                timed.push(times.step);
            }
        })
        .unwrap();
        assert_eq!(timed.last(), Some(&3000));
        assert!(timed.len() > 10 && timed.len() < 1000, "{}", timed.len());
        assert!(std::fs::metadata(&path).unwrap().len() < 256 << 10);
        assert!(history.steps.len() > 100 && history.steps.len() < 2000);
        assert!(history.steps.contains_key(&3000));
        assert!(history.steps.keys().next().is_some_and(|&first| first < 200));
        assert_eq!(history.failed.as_deref(), Some("over"));
    }
}
