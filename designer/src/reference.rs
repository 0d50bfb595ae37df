//! The same training in one process: what the distributed run is held against.

use crate::judge::Judge;
use crate::serve::read_states;
use crate::watch::{StepWatch, TestSum};
use crate::{DesignerError, Emitter, Prepared, weights};
use mixnn_events::{Event, Mode, Outcome, Phase, Step, Tested};
use mixnn_nn::{Reference, evaluate};
use mixnn_place::Place;
use mixnn_weights::Rename;
use std::io::Write;
use std::path::Path;

/// Trains and tests in one process, from the weights of the file `initial`, if there is one.
///
/// # Errors
/// What ended it.
pub fn run<W: Write>(
    prepared: &Prepared,
    initial: Option<&Path>,
    place: Option<&Place>,
    emit: &mut Emitter<W>,
) -> Result<Outcome, DesignerError> {
    emit.emit(&Event::Plan(prepared.plan(Mode::Reference)));
    let mut model = Reference::new(&prepared.model, &prepared.owner, prepared.total_steps())?;
    if let Some(path) = initial {
        let states = read_states(&prepared.model, path, &Rename::default(), 0)?;
        model.import(states.iter().map(|s| s.bytes.as_slice()))?;
    }
    let mut watch = StepWatch::new();
    let mut judge = Judge::new(prepared.model.training(), prepared.steps_per_epoch());
    let mut number = 0;
    let mut tested = TestSum::new(0).finish(prepared.model.labels());
    'epochs: for epoch in 1..=prepared.model.training().epochs {
        emit.emit(&Event::Phase(Phase::Training));
        watch.resume();
        for batch in prepared.training_batches(epoch, 0) {
            let batch = batch?;
            let report = model.train(&prepared.cut(&batch)?)?;
            number += 1;
            emit.emit(&Event::Step(Step {
                epoch,
                step: number,
                loss: report.loss,
                answers: report.tally.answers,
                correct: report.tally.correct,
                samples: batch.len as u32,
                milliseconds: watch.lap(),
                learning_rate: prepared.learning_rate(number),
                gradient_norm: None,
                spent: None,
            }));
            if judge.is_due(number) {
                emit.emit(&Event::Phase(Phase::Testing));
                tested = test(prepared, &model, epoch)?;
                emit.emit(&Event::Tested(tested.clone()));
                if judge.is_enough(&tested) {
                    break 'epochs;
                }
                emit.emit(&Event::Phase(Phase::Training));
                watch.resume();
            }
        }
    }
    if let Some(place) = place {
        weights::write(place, model.export()?)?;
    }
    Ok(watch.outcome(number, tested, &model.digest()?))
}

fn test(prepared: &Prepared, model: &Reference, epoch: u32) -> Result<Tested, DesignerError> {
    let mut sum = TestSum::new(epoch);
    for batch in prepared.test_batches() {
        let batch = prepared.whole(&batch?)?;
        let samples = batch.labels.size()[0] as usize;
        let outputs = model.evaluate(&batch.inputs)?;
        sum.add(evaluate(&prepared.model.training().loss, &outputs, &batch.labels)?, samples);
    }
    Ok(sum.finish(prepared.model.labels()))
}
