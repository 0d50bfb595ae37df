//! What the figures were measured on.

use serde::{Deserialize, Serialize};

/// The machine, as Linux describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Name of the processor.
    pub processor: String,
    /// Threads of it that this process may use.
    pub cores: usize,
    /// MiB.
    pub memory: u64,
    /// Its version.
    pub kernel: String,
    /// Processes that wanted to run before the measurement began, over a minute.
    pub load_before: f64,
}

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, key: &str| {
            let line = text.lines().find(|l| l.starts_with(key)).unwrap_or_default();
            line.split_once(':').map(|(_, v)| v.trim().to_owned()).unwrap_or_default()
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal");
        let kibibytes = memory.split(' ').next().and_then(|k| k.parse::<u64>().ok());
        let load = read("/proc/loadavg");
        Self {
            processor: value(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: kibibytes.unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: load.split(' ').next().and_then(|l| l.parse().ok()).unwrap_or(0.0),
        }
    }
}
