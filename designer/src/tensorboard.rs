//! Curves for TensorBoard: event files as its own writers make them (TFRecord around `tensorflow.Event`).
//!
//! Each designer of a run begins a file of its own. Before the first step in it, and where steps are made
//! again after a fault, it says `START`, upon which TensorBoard forgets what it read of that step and later ones.

use crate::curves::{of_step, of_test};
use crc_fast::{CrcAlgorithm::Crc32Iscsi, checksum};
use mixnn_events::{Event, Step};
use prost::Message;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Result, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What TensorBoard asks a file to begin with.
const VERSION: &str = "brain.Event:2";

/// Writes curves as events come.
pub struct TensorBoard {
    /// None once it could not be written.
    file: Option<File>,
    /// The last step.
    step: i64,
    /// The next step does not follow upon what is in the files.
    restarts: bool,
}

impl TensorBoard {
    /// Begins a file in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn create(folder: &Path) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let (seconds, process) = (now() as u64, std::process::id());
        // TensorBoard reads files in the order of their names.
        let path = folder.join(format!("events.out.tfevents.{seconds:010}.mixnn.{process}"));
        let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        let version = proto::Event {
            wall_time: now(),
            what: Some(proto::What::FileVersion(VERSION.into())),
            ..Default::default()
        };
        file.write_all(&framed(&version))?;
        Ok(Self { file: Some(file), step: 0, restarts: true })
    }

    /// Takes an event in.
    pub fn tell(&mut self, event: &Event) {
        let written = match event {
            Event::Step(step) => self.step(step),
            Event::Tested(tested) => self.put(of_test(tested)),
            Event::Recovered(_) => {
                self.restarts = true;
                Ok(())
            }
            _ => Ok(()),
        };
        // A full disk costs the curves, not the training.
        if let Err(error) = written {
            tracing::warn!(%error, "the curves for TensorBoard end here: they cannot be written");
            self.file = None;
        }
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        self.step = step.step as i64;
        if std::mem::take(&mut self.restarts) {
            let status = proto::SessionLog { status: proto::START };
            self.write(proto::What::SessionLog(status))?;
        }
        self.put(of_step(step))
    }

    fn put(&mut self, values: Vec<(&'static str, f64)>) -> Result<()> {
        let value = |(tag, value): (&str, f64)| proto::Value {
            tag: tag.to_owned(),
            simple_value: Some(value as f32),
        };
        let values = values.into_iter().map(value).collect();
        self.write(proto::What::Summary(proto::Summary { values }))
    }

    fn write(&mut self, what: proto::What) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let event = proto::Event { wall_time: now(), step: self.step, what: Some(what) };
        // At once, so that a reader finds whole records.
        file.write_all(&framed(&event))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A TFRecord: length, masked CRC-32C of it, the message, masked CRC-32C of that, all little-endian.
fn framed(event: &proto::Event) -> Vec<u8> {
    let message = event.encode_to_vec();
    let length = (message.len() as u64).to_le_bytes();
    let mut out = Vec::with_capacity(message.len() + 16);
    out.extend_from_slice(&length);
    out.extend_from_slice(&masked(&length).to_le_bytes());
    out.extend_from_slice(&message);
    out.extend_from_slice(&masked(&message).to_le_bytes());
    out
}

/// As TFRecord has it, so that the checksum of data with checksums in them is no constant.
fn masked(data: &[u8]) -> u32 {
    (checksum(Crc32Iscsi, data) as u32).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The part of `tensorflow/core/util/event.proto` and `framework/summary.proto` that is written.
mod proto {
    /// `SessionLog.SessionStatus.START`.
    pub(super) const START: i32 = 1;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Event {
        /// Seconds since 1970.
        #[prost(double, tag = "1")]
        pub(super) wall_time: f64,
        #[prost(int64, tag = "2")]
        pub(super) step: i64,
        #[prost(oneof = "What", tags = "3, 5, 7")]
        pub(super) what: Option<What>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum What {
        #[prost(string, tag = "3")]
        FileVersion(String),
        #[prost(message, tag = "5")]
        Summary(Summary),
        #[prost(message, tag = "7")]
        SessionLog(SessionLog),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Summary {
        #[prost(message, repeated, tag = "1")]
        pub(super) values: Vec<Value>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Value {
        #[prost(string, tag = "1")]
        pub(super) tag: String,
        /// Optional, because it is one of a oneof there: zero is to be written.
        #[prost(float, optional, tag = "2")]
        pub(super) simple_value: Option<f32>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct SessionLog {
        #[prost(int32, tag = "1")]
        pub(super) status: i32,
    }
}
