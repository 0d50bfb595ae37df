//! `mixnn data`.

use crate::args::{DigitsArgs, ShowArgs};
use crate::output;
use mixnn_data::{Data, Dataset, Split, digits, idx};
use mixnn_model::DatasetSpec;

/// Writes generated digits as IDX files.
pub fn digits(args: &DigitsArgs) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.out)?;
    let splits = [
        (Split::Train, args.train, idx::TRAIN_IMAGES, idx::TRAIN_LABELS),
        (Split::Test, args.test, idx::TEST_IMAGES, idx::TEST_LABELS),
    ];
    for (split, n, images, labels) in splits {
        let data = digits::generate(args.seed, split, n as usize);
        let [height, width] = data.size.map(|s| s as u32);
        let at =
            |name: &str| args.out.join(if args.gzip { format!("{name}.gz") } else { name.into() });
        let pictures = idx::Images { height, width, pixels: data.pixels };
        idx::write_images(&at(images), &pictures, args.gzip)?;
        idx::write_labels(&at(labels), &data.labels, args.gzip)?;
        output::line(format!(
            "{} samples in {} and {}",
            n,
            at(images).display(),
            at(labels).display()
        ));
    }
    Ok(())
}

/// Draws samples, two pixels a character.
pub fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let data = if let Some(folder) = &args.data {
        let any: DatasetSpec =
            serde_json::from_value(serde_json::json!({"idx": {"classes": 256}}))?;
        Data::open(&any, Some(folder))?.train
    } else {
        std::sync::Arc::new(digits::generate(0, Split::Train, args.n.max(1)))
    };
    for i in 0..args.n.min(data.len()) {
        output::line(format!("sample {i}: {}", data.labels[i]));
        output::line(picture(&data, i));
    }
    Ok(())
}

/// Half blocks: the upper pixel as foreground, the lower as background, in five greys of ASCII where
/// blocks cannot show grey.
fn picture(data: &Dataset, i: usize) -> String {
    const GREYS: [char; 5] = [' ', '░', '▒', '▓', '█'];
    let [height, width] = data.size;
    let pixels = &data.pixels[i * height * width..(i + 1) * height * width];
    let at = |y: usize, x: usize| pixels.get(y * width + x).map_or(0, |&p| usize::from(p));
    let mut out = String::new();
    for y in (0..height).step_by(2) {
        out.extend((0..width).map(|x| GREYS[at(y, x).midpoint(at(y + 1, x)) * GREYS.len() / 256]));
        out.push('\n');
    }
    out
}
