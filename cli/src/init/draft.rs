//! What `mixnn init` writes: a small model that fits the data.

use std::fmt::Write as _;

/// A model as it is going to be written.
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) subject: Subject,
    pub(super) epochs: u32,
    pub(super) batch: u32,
    pub(super) relays: u32,
    pub(super) hops: u32,
}

/// What the model learns from, and what it is to tell.
pub(super) enum Subject {
    /// Generated digits.
    Digits,
    /// The files of the MNIST family.
    Idx { classes: u32 },
    /// Square pictures, `size` pixels wide.
    Images { classes: u32, size: u32 },
    /// Columns.
    Table(Table),
    /// Bytes of text, of which the next one is to be told.
    Text { context: u32 },
}

pub(super) struct Table {
    /// `csv` or `parquet`.
    pub(super) format: &'static str,
    pub(super) features: Vec<String>,
    pub(super) target: Target,
}

pub(super) enum Target {
    Class { column: String, classes: u32 },
    Number { column: String },
}

/// Name and operations.
type Layer = (&'static str, Vec<String>);

impl Draft {
    pub(super) fn yaml(&self) -> String {
        let mut out = String::new();
        let flag = if self.subject.needs_place() { " --data DIR" } else { "" };
        let _ = write!(
            out,
            "# Written by `mixnn init`.\n#   mixnn run --compare -f THIS-FILE{flag}\napiVersion: mixnn.dev/v1alpha1\nkind: MixNNModel\nmetadata:\n  name: {}\nspec:\n  layers:\n",
            quoted(&self.name)
        );
        for (name, ops) in self.subject.layers() {
            let _ = writeln!(out, "    - name: {name}\n      ops:");
            for op in ops {
                let _ = writeln!(out, "        - {op}");
            }
        }
        let _ = write!(
            out,
            "  training:\n    dataset:\n{}    batchSize: {}\n    microBatches: {}\n    epochs: {}\n{}  relays:\n    replicas: {}\n    hops: {}\n",
            self.subject.dataset(),
            self.batch,
            self.batch.clamp(1, 4),
            self.epochs,
            self.subject.learning(),
            self.relays,
            self.hops
        );
        out
    }
}

impl Subject {
    pub(super) const fn needs_place(&self) -> bool {
        !matches!(self, Self::Digits)
    }

    /// Optimizer, and the loss where it is not the default.
    const fn learning(&self) -> &'static str {
        match self {
            Self::Table(Table { target: Target::Number { .. }, .. }) => {
                "    optimizer:\n      adam: {lr: 0.001}\n    loss:\n      function: MeanSquaredError\n"
            }
            Self::Table(_) => "    optimizer:\n      adam: {lr: 0.001}\n",
            Self::Text { .. } => {
                "    optimizer:\n      adamw: {lr: 0.003, weightDecay: 0.01}\n    schedule:\n      warmupSteps: 20\n    clipNorm: 1.0\n"
            }
            _ => "    optimizer:\n      sgd: {lr: 0.03, momentum: 0.9, weightDecay: 0.0005}\n",
        }
    }

    fn dataset(&self) -> String {
        match self {
            Self::Digits => "      digits: {train: 12000, test: 2000}\n".into(),
            Self::Idx { classes } => format!("      idx: {{classes: {classes}}}\n"),
            Self::Images { classes, size } => format!(
                "      images:\n        files: {{train: train, test: test}}\n        size: [{size}, {size}]\n        classes: {classes}\n        augment: {{horizontalFlip: true, cropPadding: 2}}\n"
            ),
            Self::Table(table) => table.dataset(),
            Self::Text { context } => format!(
                "      tokens:\n        files: {{train: train.txt, holdOut: 0.1}}\n        format: Bytes\n        context: {context}\n"
            ),
        }
    }

    fn layers(&self) -> Vec<Layer> {
        match self {
            Self::Digits => pictures(1, 28, 10),
            Self::Idx { classes } => pictures(1, 28, *classes),
            Self::Images { classes, size } => pictures(3, *size, *classes),
            Self::Table(table) => table.layers(),
            Self::Text { context } => text(*context),
        }
    }
}

impl Table {
    fn dataset(&self) -> String {
        let format = self.format;
        let features: Vec<String> = self.features.iter().map(|f| quoted(f)).collect();
        let target = match &self.target {
            Target::Class { column, classes } => {
                format!("class: {{column: {}, classes: {classes}}}", quoted(column))
            }
            Target::Number { column } => format!("real: {{columns: [{}]}}", quoted(column)),
        };
        format!(
            "      {format}:\n        files: {{train: train.{format}, holdOut: 0.2}}\n        columns:\n          features: [{}]\n          target:\n            {target}\n",
            features.join(", "),
        )
    }

    fn layers(&self) -> Vec<Layer> {
        let outputs = match self.target {
            Target::Class { classes, .. } => classes,
            Target::Number { .. } => 1,
        };
        vec![
            ("hidden1", vec![linear(self.features.len() as u32, 64), relu()]),
            ("hidden2", vec![linear(64, 32), relu()]),
            ("output", vec![linear(32, outputs)]),
        ]
    }
}

fn linear(inputs: u32, outputs: u32) -> String {
    format!("linear: {{in: {inputs}, out: {outputs}}}")
}

fn relu() -> String {
    "relu: {}".to_owned()
}

fn pictures(channels: u32, size: u32, classes: u32) -> Vec<Layer> {
    let pooled = size / 4;
    let conv = |inputs: u32, outputs: u32| {
        vec![
            format!("conv2d: {{in: {inputs}, out: {outputs}, kernel: 3, padding: 1}}"),
            relu(),
            "maxPool2d: {kernel: 2}".to_owned(),
        ]
    };
    vec![
        ("conv1", conv(channels, 8)),
        ("conv2", conv(8, 16)),
        ("fc1", vec!["flatten: {}".to_owned(), linear(16 * pooled * pooled, 64), relu()]),
        ("fc2", vec![linear(64, classes)]),
    ]
}

/// In the shape of GPT-2, over bytes.
fn text(context: u32) -> Vec<Layer> {
    let block = || {
        vec!["transformerDecoder: {size: 64, heads: 4, feedForward: 128, norm: Pre, activation: gelu}".to_owned()]
    };
    vec![
        (
            "embed",
            vec![
                "embedding: {count: 256, size: 64}".to_owned(),
                format!("positionalEmbedding: {{length: {context}, size: 64}}"),
            ],
        ),
        ("block1", block()),
        ("block2", block()),
        ("head", vec!["layerNorm: {shape: [64]}".to_owned(), linear(64, 256)]),
    ]
}

/// Text as a YAML scalar that is text whatever it holds.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let safe = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain);
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "y" | "n" | "yes" | "no" | "true" | "false" | "null" | "on" | "off"
    );
    if safe && !word { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
