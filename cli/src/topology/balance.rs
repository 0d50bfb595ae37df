//! How evenly work lies on the pods of a pipeline, and what would be better.
//!
//! In a pipeline every pod waits for the slowest: with the work `w` of each of `n` pods, they compute
//! `sum(w) / (n max(w))` of the time.

use mixnn_model::{Layer, Model, Op, Operation, Shape};

/// Above this, the pipeline is called balanced.
const GOOD: f64 = 0.8;

/// Share of the time in which pods compute.
pub(super) fn balance(work: &[u64]) -> f64 {
    let (sum, most) = (work.iter().sum::<u64>(), work.iter().copied().max().unwrap_or(0));
    if most == 0 { 1.0 } else { sum as f64 / (work.len() as f64 * most as f64) }
}

/// Layers to cut, and layers to put together, in words.
pub(super) fn advice(model: &Model) -> Vec<String> {
    let layers = model.layers();
    let work: Vec<u64> = layers.iter().map(Layer::flops).collect();
    let now = balance(&work);
    let mut out = vec![format!(
        "pods would compute {:.0} % of the time, if all are equally fast and messages cost nothing",
        100.0 * now
    )];
    if now >= GOOD || layers.len() < 2 {
        return out;
    }
    let heaviest = (0..work.len()).max_by_key(|&i| work[i]).unwrap_or(0);
    out.extend(cut(&layers[heaviest], &work, heaviest));
    out.extend(joined(layers, &work, work[heaviest]));
    out
}

/// Where to cut the layer that does most.
fn cut(layer: &Layer, work: &[u64], at: usize) -> Option<String> {
    let ops = &layer.spec.ops;
    let (mut shape, mut before) = (layer.input.clone(), 0);
    let mut best: Option<(usize, u64, Shape)> = None;
    for (i, op) in ops.iter().enumerate().take(ops.len().saturating_sub(1)) {
        before += op.flops(&shape);
        shape = op.output(&shape).ok()?;
        let larger = before.max(work[at].saturating_sub(before));
        // At the same cost the later place: an activation stays with the weights before it.
        if best.as_ref().is_none_or(|(_, most, _)| larger <= *most) {
            best = Some((i, larger, shape.clone()));
        }
    }
    let (i, larger, shape) = best?;
    if larger as f64 > 0.9 * work[at] as f64 {
        return None;
    }
    let mut cut = work.to_vec();
    cut.splice(at..=at, [larger, work[at] - larger]);
    Some(format!(
        "\"{}\" does most: cut it after op {i} ({}), where {shape} goes over; then {:.0} %",
        layer.spec.name,
        Op::name(&ops[i]),
        100.0 * balance(&cut)
    ))
}

/// Neighbours that together do no more than the heaviest layer: fewer pods, fewer messages, the same pace.
fn joined(layers: &[Layer], work: &[u64], most: u64) -> Option<String> {
    let mut groups: Vec<(Vec<&str>, u64)> = Vec::new();
    for (layer, &work) in layers.iter().zip(work) {
        match groups.last_mut() {
            Some((names, sum)) if *sum + work <= most => {
                names.push(&layer.spec.name);
                *sum += work;
            }
            _ => groups.push((vec![&layer.spec.name], work)),
        }
    }
    if groups.len() == layers.len() {
        return None;
    }
    let named: Vec<String> =
        groups.iter().filter(|g| g.0.len() > 1).map(|g| g.0.join(" + ")).collect();
    let after: Vec<u64> = groups.iter().map(|g| g.1).collect();
    Some(format!(
        "{} pods instead of {} keep the same pace: {}; then {:.0} %, and {} fewer messages a micro-batch. But fewer layers on fewer hosts hide less",
        groups.len(),
        layers.len(),
        named.join(", "),
        100.0 * balance(&after),
        2 * (layers.len() - groups.len())
    ))
}

#[cfg(test)]
mod tests {
    use super::balance;

    #[test]
    fn a_pipeline_is_as_slow_as_its_slowest_pod() {
        assert!((balance(&[5, 5]) - 1.0).abs() < 1e-9);
        assert!((balance(&[9, 1]) - 10.0 / 18.0).abs() < 1e-9);
        assert!((balance(&[0, 0]) - 1.0).abs() < 1e-9);
    }
}
