//! `mixnn check`.

use crate::args::CheckArgs;
use crate::{output, table};
use mixnn_data::Data;
use mixnn_model::{Model, Operation};

/// Checks a model against its data and shows its layers.
pub fn check(args: &CheckArgs) -> anyhow::Result<()> {
    let spec = mixnn_crds::parse_file(&args.file)?.spec;
    spec.relays.warnings().iter().for_each(output::warning);
    let data = Data::open(&spec.training.dataset, args.data.as_deref())?;
    let model = Model::new(spec.layers, spec.training, &data.sample_shape()?, &data.labels())
        .map_err(|problems| anyhow::anyhow!("{}: {problems}", args.file.display()))?;
    let mut layers = table::new_table(&["layer", "ops", "input", "output", "parameters"]);
    for layer in model.layers() {
        let ops: Vec<&str> = layer.spec.ops.iter().map(mixnn_model::Op::name).collect();
        let parameters: i64 =
            layer.spec.ops.iter().flat_map(Operation::parameters).map(|p| p.elements()).sum();
        layers.add_row([
            layer.spec.name.clone(),
            ops.join(", "),
            layer.input.to_string(),
            layer.output.to_string(),
            parameters.to_string(),
        ]);
    }
    output::line(layers.to_string());
    output::line(format!(
        "{} layers, {} parameters, {} training and {} test samples",
        model.layers().len(),
        model.parameter_count(),
        data.train.len(),
        data.test.len()
    ));
    Ok(())
}
