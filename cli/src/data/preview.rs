//! Samples in the terminal: pictures as half blocks, rows as numbers, tokens as text.

use super::open;
use crate::args::{PreviewArgs, WhichSplit};
use crate::output;
use mixnn_data::{Batch, Batches, Data, Dataset, Pass, Values};
use mixnn_model::Labels;
use std::sync::Arc;

/// Numbers of a row that are shown.
const NUMBERS: usize = 16;
/// Columns of a picture; a wider one is made smaller.
const COLUMNS: usize = 96;

/// Shows samples as the model sees them, before augmentation.
pub fn preview(args: &PreviewArgs) -> anyhow::Result<()> {
    let (_, _, data) = open(&args.data)?;
    let set = match args.split {
        WhichSplit::Train => &data.train,
        WhichSplit::Test => &data.test,
    };
    let pass = Pass { epoch: None, batch: 1, least: 1, skip: args.skip };
    let mut batches = Batches::new(Arc::clone(set), pass);
    for i in 0..args.n {
        let Some(batch) = batches.next().transpose()? else { break };
        output::line(format!("sample {}: {}", args.skip + i, label(&data, &batch)));
        output::line(sample(&data, set, &batch));
    }
    Ok(())
}

fn label(data: &Data, batch: &Batch) -> String {
    match (&batch.targets, data.labels()) {
        (Values::I64(ids), Labels::Class { .. }) => {
            let id = ids.first().copied().unwrap_or_default();
            data.class_names
                .get(id as usize)
                .map_or_else(|| id.to_string(), |name| format!("{id} ({name})"))
        }
        (Values::I64(ids), _) => format!("{} tokens", ids.len()),
        (Values::F32(values), _) => numbers(values),
    }
}

fn sample(data: &Data, set: &Dataset, batch: &Batch) -> String {
    match (&batch.samples, set.shape()) {
        (Values::F32(values), &[channels @ (1 | 3), height, width]) => {
            picture(values, [channels, height, width])
        }
        (Values::F32(values), _) => numbers(values),
        (Values::I64(ids), _) if data.vocabulary == Some(256) => {
            let bytes: Vec<u8> = ids.iter().map(|&id| id as u8).collect();
            String::from_utf8_lossy(&bytes).trim_end_matches('\0').escape_debug().to_string()
        }
        (Values::I64(ids), _) => {
            let more = if ids.len() > NUMBERS { " .." } else { "" };
            let shown: Vec<String> = ids.iter().take(NUMBERS).map(i64::to_string).collect();
            format!("{}{more}", shown.join(" "))
        }
    }
}

fn numbers(values: &[f32]) -> String {
    let more = if values.len() > NUMBERS { " .." } else { "" };
    let shown: Vec<String> = values.iter().take(NUMBERS).map(|v| format!("{v:.4}")).collect();
    format!("{}{more}", shown.join(" "))
}

/// Two pixels a character. In colour, the upper one is the foreground and the lower one the background
/// of a half block; without, the mean of both is one of five greys.
fn picture(values: &[f32], [channels, height, width]: [usize; 3]) -> String {
    const GREYS: [char; 5] = [' ', '░', '▒', '▓', '█'];
    let (low, high) = values.iter().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
    let scale = 255.0 / (high - low).max(1e-6);
    let step = width.div_ceil(COLUMNS).max(1);
    let at = |y: usize, x: usize| -> [u8; 3] {
        let of = |channel: usize| {
            let channel = channel.min(channels - 1);
            let value = values.get((channel * height + y.min(height)) * width + x);
            if y < height { value.map_or(0, |v| ((v - low) * scale) as u8) } else { 0 }
        };
        [of(0), of(1), of(2)]
    };
    let mut out = String::new();
    for y in (0..height).step_by(2 * step) {
        for x in (0..width).step_by(step) {
            let (upper, lower) = (at(y, x), at(y + step, x));
            if output::has_colour() {
                out.push_str(&output::half_block(upper, lower));
            } else {
                let grey = |p: [u8; 3]| p.iter().map(|&v| usize::from(v)).sum::<usize>() / 3;
                let mean = grey(upper).midpoint(grey(lower));
                out.push(GREYS[mean * GREYS.len() / 256]);
            }
        }
        out.push('\n');
    }
    out
}
