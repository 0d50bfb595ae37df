//! `mixnn validate`.

use crate::args::{Format, ValidateArgs};
use crate::output;
use mixnn_crds::{Document, Problem};
use mixnn_data::{Data, Place};
use mixnn_model::{Labels, Model, Shape};
use serde::Serialize;
use std::path::Path;

/// What is told of one file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    file: String,
    valid: bool,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

/// Checks files; gives whether all are valid.
pub fn validate(args: &ValidateArgs) -> anyhow::Result<bool> {
    let mut reports = Vec::new();
    for file in &args.files {
        let mut document = Document::read(file)?;
        let warnings = check(&mut document, args.data.as_ref())?;
        if args.output == Format::Text {
            show(file, &document, &warnings);
        }
        reports.push(Report {
            file: file.display().to_string(),
            valid: document.problems.is_empty(),
            problems: document.problems,
            warnings,
        });
    }
    if args.output != Format::Text {
        output::value(args.output, &reports)?;
    }
    Ok(reports.iter().all(|r| r.valid))
}

/// Checks whether layers fit each other and the data; gives what is not wrong but worth knowing.
fn check(document: &mut Document, place: Option<&Place>) -> anyhow::Result<Vec<String>> {
    let Some(spec) = document.model.as_ref().map(|m| m.spec.clone()) else { return Ok(Vec::new()) };
    let mut warnings = spec.relays.warnings();
    let place = mixnn_data::place_of(&spec.training, place).ok().flatten();
    let known = facts(&spec.training.dataset, place.as_ref(), &mut warnings)?;
    let problems = match known {
        Some((shape, labels)) => {
            Model::new(spec.layers, spec.training, &shape, &labels).err().map(|errors| errors.0)
        }
        None => Some(spec.training.dataset.problems()),
    };
    document.add_all(&problems.unwrap_or_default());
    Ok(warnings)
}

/// The shape of a sample and what it is labelled with: from the data, if their place is known, else
/// as the specification declares it.
fn facts(
    dataset: &mixnn_model::DatasetSpec,
    place: Option<&Place>,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Option<(Shape, Labels)>> {
    if !dataset.problems().is_empty() {
        return Ok(None);
    }
    if place.is_some() {
        let data = Data::open(dataset, place, &mut |_| {})?;
        return Ok(Some((data.sample_shape()?, data.labels())));
    }
    let declared = mixnn_data::declared(dataset);
    if declared.is_none() {
        warnings.push(
            "whether the layers fit the data was not checked: say where they are with --data"
                .into(),
        );
    }
    Ok(declared)
}

fn show(file: &Path, document: &Document, warnings: &[String]) {
    let name = file.display();
    for problem in &document.problems {
        let place = problem.position.map_or(String::new(), |p| format!(":{}:{}", p.line, p.column));
        let field =
            if problem.field.is_empty() { String::new() } else { format!("{}: ", problem.field) };
        output::line(format!(
            "{name}{place}: {} {field}{}",
            output::bad("error:"),
            problem.problem
        ));
        if let Some(position) = problem.position
            && let Some(line) = document.text.lines().nth(position.line - 1)
        {
            let number = position.line.to_string();
            let indent = " ".repeat(number.len());
            output::line(format!("{indent} |\n{number} | {line}"));
            let caret = " ".repeat(position.column - 1);
            output::line(format!("{indent} | {caret}{}", output::bad("^")));
        }
    }
    for warning in warnings {
        output::line(format!("{name}: warning: {warning}"));
    }
    match document.problems.len() {
        0 => output::line(format!("{name}: {}", output::good("valid"))),
        1 => output::line(format!("{name}: 1 problem")),
        n => output::line(format!("{name}: {n} problems")),
    }
}
