//! `mixnn topology`: what runs where, and what it costs.

mod balance;
mod draw;
mod facts;
mod svg;

use crate::args::{Format, TopologyArgs};
use crate::{output, table};
use anyhow::Context;
use comfy_table::CellAlignment;
use facts::Topology;
use mixnn_data::Data;
use mixnn_model::Model;

/// Shows a model as a pipeline of pods.
pub fn topology(args: &TopologyArgs) -> anyhow::Result<()> {
    let spec = mixnn_crds::parse_file(&args.file)?.spec;
    let (relays, dataset) = (spec.relays, spec.training.dataset.clone());
    let place = mixnn_data::place_of(&spec.training, args.data.as_ref());
    let (shape, labels) = match (mixnn_data::declared(&dataset), place) {
        (Some(declared), _) => declared,
        (None, place) => {
            let data = Data::open(&dataset, place?.as_ref(), &mut |_| {})?;
            (data.sample_shape()?, data.labels())
        }
    };
    let model = Model::new(spec.layers, spec.training, &shape, &labels)
        .map_err(|problems| anyhow::anyhow!("{}: {problems}", args.file.display()))?;
    let topology = Topology::new(&model, &relays);
    if let Some(path) = &args.svg {
        std::fs::write(path, svg::draw(&topology))
            .with_context(|| format!("writing {}", path.display()))?;
        output::note(format!("the picture is in {}", path.display()));
    }
    match args.output {
        Format::Text if args.picture => output::line(draw::draw(&topology)),
        Format::Text => text(&topology),
        other => output::value(other, &topology)?,
    }
    Ok(())
}

fn text(topology: &Topology) {
    let header =
        ["layer", "ops", "output", "parameters", "FLOPs", "share", "message", "cells", "memory"];
    let mut rows = table::new_table(&header);
    for layer in &topology.layers {
        rows.add_row([
            layer.name.clone(),
            layer.ops.join(", "),
            layer.output.clone(),
            layer.parameters.to_string(),
            facts::flops(layer.flops),
            format!("{:.0} %", 100.0 * layer.share),
            facts::bytes(layer.message_bytes),
            layer.message_cells.to_string(),
            facts::bytes(layer.memory_bytes),
        ]);
    }
    for column in 3..header.len() {
        if let Some(column) = rows.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    output::line(rows.to_string());
    output::line(format!(
        "input {} in messages of {} ({} cells); {} parameters; {} FLOPs a sample; {} cells a step over all lanes, forward and back",
        topology.input,
        facts::bytes(topology.input_bytes),
        topology.input_cells,
        topology.parameters,
        facts::flops(topology.flops),
        topology.step_cells,
    ));
    output::line(format!(
        "FLOPs: of one sample's forward pass. message: the output of a micro-batch of {} samples. memory: of tensors in training, {} micro-batches at once, without the process itself.",
        topology.micro_batch_size, topology.micro_batches
    ));
    topology.advice.iter().for_each(|advice| output::line(format!("* {advice}")));
}
