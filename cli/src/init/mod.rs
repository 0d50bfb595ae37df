//! `mixnn init`: a model's file from a few answers.

mod draft;

use crate::args::{InitArgs, InitData, InitTask};
use crate::output;
use anyhow::{Context, bail};
use draft::{Draft, Subject, Table, Target};
use mixnn_crds::Document;
use std::fmt::Display;
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
    let draft = collect(args, &mut ask)?;
    let yaml = draft.yaml();
    let document = Document::parse(yaml.clone());
    if let Some(problem) = document.problems.first() {
        bail!("{}: {}", problem.field, problem.problem);
    }
    std::fs::write(&args.out, yaml).with_context(|| format!("writing {}", args.out.display()))?;
    let (out, data) = (args.out.display(), draft.subject.needs_place());
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

fn collect(args: &InitArgs, ask: &mut Ask) -> anyhow::Result<Draft> {
    let name = ask.ask("Name of the model", args.name.clone(), "my-model".to_owned())?;
    let data = ask.ask(
        "Data (digits: generated; idx: as MNIST; images: folders of PNG or JPEG; csv; parquet; text)",
        args.dataset,
        InitData::Digits,
    )?;
    let subject = subject(data, args, ask)?;
    let relays = ask.ask("Mix relays", args.relays, 6)?;
    Ok(Draft {
        name,
        subject,
        relays,
        epochs: ask.ask("Passes over the data", args.epochs, 3)?,
        batch: ask.ask("Samples of a step", args.batch_size, 64)?,
        hops: ask.ask("Relays on each lane", args.hops, relays.clamp(1, 3))?,
    })
}

fn subject(data: InitData, args: &InitArgs, ask: &mut Ask) -> anyhow::Result<Subject> {
    let classes = |ask: &mut Ask, default| ask.ask("Number of classes", args.classes, default);
    Ok(match data {
        InitData::Digits => Subject::Digits,
        InitData::Idx => Subject::Idx { classes: classes(ask, 10)? },
        InitData::Images => Subject::Images {
            classes: classes(ask, 10)?,
            size: ask.ask("Side of the pictures, in pixels, a multiple of 4", args.size, 32)?,
        },
        InitData::Text => Subject::Text {
            context: ask.ask("Bytes of text that the model sees at once", args.size, 64)?,
        },
        InitData::Csv | InitData::Parquet => {
            let given = args.features.as_ref().map(|f| f.join(","));
            let list = ask.ask("Columns of numbers, divided by commas", given, "x,y".to_owned())?;
            let task = ask.ask("What to tell (class; number)", args.task, InitTask::Class)?;
            let column = ask.ask("Its column", args.target.clone(), task.to_string())?;
            let target = match task {
                InitTask::Class => Target::Class { column, classes: classes(ask, 2)? },
                InitTask::Number => Target::Number { column },
            };
            let features = list.split(',').map(|f| f.trim().to_owned()).collect();
            let format = if data == InitData::Csv { "csv" } else { "parquet" };
            Subject::Table(Table { format, features, target })
        }
    })
}
