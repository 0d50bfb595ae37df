//! `mixnn init`: a model's file from a few answers.

use crate::args::{InitArgs, InitData};
use crate::output;
use anyhow::{Context, bail};
use mixnn_crds::Document;
use std::fmt::{Display, Write as _};
use std::io::{BufRead, IsTerminal, Write as _};
use std::str::FromStr;

/// Asks for what no flag gave, and writes the file.
pub fn init(args: &InitArgs) -> anyhow::Result<()> {
    if args.out.exists() && !args.force {
        bail!("{} is there already: give another --out, or --force", args.out.display());
    }
    // Without a terminal there is nobody to ask, but answers may come through a pipe: --ask says so.
    let asks = args.ask || (!args.yes && std::io::stdin().is_terminal());
    let mut ask = Ask { asks };
    let answers = Answers::collect(args, &mut ask)?;
    let yaml = answers.yaml();
    let document = Document::parse(yaml.clone());
    if let Some(problem) = document.problems.first() {
        bail!("{}: {}", problem.field, problem.problem);
    }
    std::fs::write(&args.out, yaml).with_context(|| format!("writing {}", args.out.display()))?;
    let (out, data) = (args.out.display(), answers.needs_place());
    output::line(format!("wrote {out}"));
    let flag = if data { " --data DIR" } else { "" };
    output::note(format!(
        "next: mixnn validate -f {out}{flag}\n      mixnn run --compare -f {out}{flag}"
    ));
    Ok(())
}

struct Ask {
    asks: bool,
}

impl Ask {
    /// The flag's value, else an answer, else the default. A wrong answer is asked for again.
    fn ask<T>(&mut self, question: &str, flag: Option<T>, default: T) -> anyhow::Result<T>
    where
        T: FromStr + Display,
        T::Err: Display,
    {
        if let Some(given) = flag {
            return Ok(given);
        }
        while self.asks {
            output::prompt(&format!("{question} [{default}]: "));
            std::io::stderr().flush()?;
            let mut line = String::new();
            if std::io::stdin().lock().read_line(&mut line)? == 0 {
                self.asks = false;
                break;
            }
            match line.trim() {
                "" => break,
                answer => match answer.parse() {
                    Ok(answer) => return Ok(answer),
                    Err(error) => output::note(format!("'{answer}': {error}")),
                },
            }
        }
        Ok(default)
    }
}

struct Answers {
    name: String,
    data: InitData,
    classes: u32,
    size: u32,
    features: Vec<String>,
    target: String,
    epochs: u32,
    batch: u32,
    relays: u32,
    hops: u32,
}

impl Answers {
    fn collect(args: &InitArgs, ask: &mut Ask) -> anyhow::Result<Self> {
        let name = ask.ask("Name of the model", args.name.clone(), "my-model".to_owned())?;
        let data = ask.ask(
            "Data (digits: generated; idx: as MNIST; images: folders of PNG or JPEG; csv)",
            args.dataset,
            InitData::Digits,
        )?;
        let classes = match data {
            InitData::Digits => 10,
            _ => ask.ask(
                "Number of classes",
                args.classes,
                if data == InitData::Csv { 2 } else { 10 },
            )?,
        };
        let size = match data {
            InitData::Images => {
                ask.ask("Side of the pictures, in pixels, a multiple of 4", args.size, 32)?
            }
            _ => 28,
        };
        let (mut features, mut target) = (Vec::new(), String::new());
        if data == InitData::Csv {
            let given = args.features.as_ref().map(|f| f.join(","));
            let list = ask.ask("Columns of numbers, divided by commas", given, "x,y".to_owned())?;
            features = list.split(',').map(|f| f.trim().to_owned()).collect();
            target = ask.ask("Column of the class", args.target.clone(), "class".to_owned())?;
        }
        let relays = ask.ask("Mix relays", args.relays, 6)?;
        Ok(Self {
            name,
            data,
            classes,
            size,
            features,
            target,
            epochs: ask.ask("Passes over the data", args.epochs, 3)?,
            batch: ask.ask("Samples of a step", args.batch_size, 64)?,
            relays,
            hops: ask.ask("Relays on each lane", args.hops, relays.clamp(1, 3))?,
        })
    }

    fn needs_place(&self) -> bool {
        self.data != InitData::Digits
    }

    fn yaml(&self) -> String {
        let mut out = String::new();
        let flag = if self.needs_place() { " --data DIR" } else { "" };
        let _ = write!(
            out,
            "# Written by `mixnn init`.\n#   mixnn run --compare -f THIS-FILE{flag}\napiVersion: mixnn.dev/v1alpha1\nkind: MixNNModel\nmetadata:\n  name: {}\nspec:\n  layers:\n",
            quoted(&self.name)
        );
        for (name, ops) in self.layers() {
            let _ = writeln!(out, "    - name: {name}\n      ops:");
            for op in ops {
                let _ = writeln!(out, "        - {op}");
            }
        }
        let _ = write!(
            out,
            "  training:\n    dataset:\n{}    batchSize: {}\n    microBatches: {}\n    epochs: {}\n    optimizer:\n      {}\n  relays:\n    replicas: {}\n    hops: {}\n",
            self.dataset(),
            self.batch,
            self.batch.clamp(1, 4),
            self.epochs,
            self.optimizer(),
            self.relays,
            self.hops
        );
        out
    }

    const fn optimizer(&self) -> &'static str {
        match self.data {
            InitData::Csv => "adam: {lr: 0.001}",
            _ => "sgd: {lr: 0.03, momentum: 0.9, weightDecay: 0.0005}",
        }
    }

    fn dataset(&self) -> String {
        let classes = self.classes;
        match self.data {
            InitData::Digits => "      digits: {train: 12000, test: 2000}\n".into(),
            InitData::Idx => format!("      idx: {{classes: {classes}}}\n"),
            InitData::Images => format!(
                "      images:\n        files: {{train: train, test: test}}\n        size: [{0}, {0}]\n        classes: {classes}\n        augment: {{horizontalFlip: true, cropPadding: 2}}\n",
                self.size
            ),
            InitData::Csv => {
                let features: Vec<String> = self.features.iter().map(|f| quoted(f)).collect();
                format!(
                    "      csv:\n        files: {{train: train.csv, holdOut: 0.2}}\n        columns:\n          features: [{}]\n          target:\n            class: {{column: {}, classes: {classes}}}\n",
                    features.join(", "),
                    quoted(&self.target)
                )
            }
        }
    }

    fn layers(&self) -> Vec<(&'static str, Vec<String>)> {
        let op = |text: &str| text.to_owned();
        let linear =
            |inputs: u32, outputs: u32| format!("linear: {{in: {inputs}, out: {outputs}}}");
        if self.data == InitData::Csv {
            return vec![
                ("hidden1", vec![linear(self.features.len() as u32, 64), op("relu: {}")]),
                ("hidden2", vec![linear(64, 32), op("relu: {}")]),
                ("output", vec![linear(32, self.classes)]),
            ];
        }
        let channels = if self.data == InitData::Images { 3 } else { 1 };
        let pooled = self.size / 4;
        let conv = |inputs: u32, outputs: u32| {
            vec![
                format!("conv2d: {{in: {inputs}, out: {outputs}, kernel: 3, padding: 1}}"),
                op("relu: {}"),
                op("maxPool2d: {kernel: 2}"),
            ]
        };
        vec![
            ("conv1", conv(channels, 8)),
            ("conv2", conv(8, 16)),
            ("fc1", vec![op("flatten: {}"), linear(16 * pooled * pooled, 64), op("relu: {}")]),
            ("fc2", vec![linear(64, self.classes)]),
        ]
    }
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
