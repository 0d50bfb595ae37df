//! IDX files and generated digits.

#![allow(clippy::unwrap_used)]

use mixnn_data::idx::{self, Images};
use mixnn_data::{Batch, Batches, Data, DataError, Epoch, Pass, Place, Split, Values};
use mixnn_data::{digits, micro_batches};
use mixnn_model::DatasetSpec;
use proptest::prelude::*;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

fn open(spec: &DatasetSpec, folder: &Path) -> Result<Data, DataError> {
    Data::open(spec, Some(&Place::from(folder)), &mut |_| {})
}

fn spec(json: &str) -> DatasetSpec {
    serde_json::from_str(json).unwrap()
}

proptest! {
    #[test]
    fn what_is_written_is_read(height in 1..20_u32, width in 1..20_u32, count in 0..8_usize, gzip: bool, fill: u8) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images");
        let size = height as usize * width as usize;
        let pixels = (0..count * size).map(|i| fill.wrapping_add(i as u8)).collect();
        let images = Images { height, width, pixels };
        idx::write_images(&path, &images, gzip).unwrap();
        prop_assert_eq!(idx::read_images(&path).unwrap(), images);
        let labels = vec![fill; count];
        idx::write_labels(&path, &labels, gzip).unwrap();
        prop_assert_eq!(idx::read_labels(&path).unwrap(), labels);
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = idx::parse_images(&mut bytes.as_slice());
        let _ = idx::parse_labels(&mut bytes.as_slice());
        let headed = [&[0, 0, 8, 3][..], &bytes].concat();
        let _ = idx::parse_images(&mut headed.as_slice());
    }

    #[test]
    fn parts_cover_a_batch_and_differ_by_one_at_the_most(samples in 1..500_usize, parts in 1..40_usize) {
        let ranges = micro_batches(samples, parts);
        prop_assert_eq!(ranges.len(), parts.min(samples));
        prop_assert_eq!(ranges[0].start, 0);
        prop_assert!(ranges.windows(2).all(|w| w[0].end == w[1].start && w[0].len() >= w[1].len()));
        prop_assert_eq!(ranges.last().unwrap().end, samples);
        prop_assert!(ranges[0].len() - ranges.last().unwrap().len() <= 1);
    }
}

fn problem(bytes: &[u8]) -> String {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let error = idx::read_images(file.path()).unwrap_err();
    assert!(error.to_string().starts_with(&file.path().display().to_string()), "{error}");
    error.to_string()
}

#[test]
fn each_fault_of_a_file_has_its_own_words() {
    let good = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4];
    assert!(problem(&good[..3]).contains("ends within the header"));
    assert!(problem(&good[..19]).contains("3 of 4 bytes"));
    assert!(problem(&[&good[..], &[5]].concat()).contains("goes on after"));
    assert!(problem(&[0, 0, 8, 1, 0, 0, 0, 0]).contains("begins with 00000801"));
    assert!(problem(b"<html>not found</html>").contains("begins with"));
    let huge = [0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 16, 0, 0, 0, 16, 0];
    assert!(problem(&huge).contains("the most is"));
    let wide = [0, 0, 8, 3, 0, 0, 0, 1, 255, 255, 255, 255, 0, 0, 0, 1];
    assert!(problem(&wide).contains("sides are"));
}

/// A few kilobytes that would inflate to gigabytes are read no further than the header says.
#[test]
fn a_gzip_bomb_is_stopped() {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gz.write_all(&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2]).unwrap();
    gz.write_all(&vec![0; 64 << 20]).unwrap();
    assert!(problem(&gz.finish().unwrap()).contains("goes on after the 4 bytes"));
    let mut cut = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    cut.write_all(&[0, 0, 8, 3]).unwrap();
    let mut cut = cut.finish().unwrap();
    cut.truncate(cut.len() - 6);
    assert!(problem(&cut).contains("cut short"));
}

#[test]
fn labels_must_go_with_images_and_classes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let images = Images { height: 2, width: 2, pixels: vec![0; 12] };
    idx::write_images(&at(idx::TRAIN_IMAGES), &images, false).unwrap();
    idx::write_images(&at(idx::TEST_IMAGES), &images, true).unwrap();
    idx::write_labels(&at(idx::TEST_LABELS), &[0, 1, 2], false).unwrap();
    let spec = spec(r#"{"idx": {"classes": 3}}"#);
    let samples = || open(&spec, folder.path()).map(|d| d.train.len());
    assert!(matches!(samples(), Err(DataError::Missing { name: idx::TRAIN_LABELS, .. })));
    idx::write_labels(&at(idx::TRAIN_LABELS), &[0, 1], false).unwrap();
    assert!(samples().unwrap_err().to_string().contains("2 labels for the 3 images"));
    idx::write_labels(&at(idx::TRAIN_LABELS), &[0, 3, 1], false).unwrap();
    assert!(samples().unwrap_err().to_string().contains("label 1 is 3"));
    idx::write_labels(&at(idx::TRAIN_LABELS), &[0, 2, 1], false).unwrap();
    assert_eq!(samples().unwrap(), 3);
    let bytes = std::fs::read(at(idx::TRAIN_IMAGES)).unwrap();
    std::fs::write(at(idx::TRAIN_IMAGES), &bytes[..27]).unwrap();
    assert!(samples().unwrap_err().to_string().contains("ends after 11 of 12 bytes"));
    assert!(matches!(Data::open(&spec, None, &mut |_| {}), Err(DataError::NoPlace("idx"))));
}

fn pass(batch: usize, epoch: Option<u32>, skip: u64) -> Pass {
    let epoch = epoch.map(|number| Epoch { number, shuffle_key: [1; 32], augment_key: [2; 32] });
    Pass { epoch, batch, least: 1, skip }
}

fn all(data: &Data, pass: Pass) -> Vec<Batch> {
    Batches::new(Arc::clone(&data.train), pass).map(Result::unwrap).collect()
}

/// Packed files are read whole, others in pieces: the batches are the same, and so is each epoch when
/// it is taken up in its middle.
#[test]
fn gzip_and_pieces_give_the_same_batches_and_a_cursor_takes_an_epoch_up() {
    let made = digits::generate(0, Split::Train, 1500);
    let of = |gzip: bool| {
        let folder = tempfile::tempdir().unwrap();
        let images = Images { height: 28, width: 28, pixels: made.pixels.clone() };
        for (images_name, labels_name) in
            [(idx::TRAIN_IMAGES, idx::TRAIN_LABELS), (idx::TEST_IMAGES, idx::TEST_LABELS)]
        {
            idx::write_images(&folder.path().join(images_name), &images, gzip).unwrap();
            idx::write_labels(&folder.path().join(labels_name), &made.labels, gzip).unwrap();
        }
        let spec = spec(r#"{"idx": {"augment": {"horizontalFlip": true, "cropPadding": 2}}}"#);
        let data = open(&spec, folder.path()).unwrap();
        (all(&data, pass(64, Some(1), 0)), all(&data, pass(64, Some(1), 11)), folder)
    };
    let (whole, rest, _) = of(false);
    assert_eq!(whole.len(), 24);
    assert!(whole[11..] == rest[..]);
    assert!(whole == of(true).0);
}

#[test]
fn digits_are_the_same_everywhere_and_splits_differ() {
    let hash = |bytes: &[u8]| {
        // FNV-1a: only to pin the bytes.
        bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    let train = digits::generate(0, Split::Train, 100);
    assert_eq!(hash(&train.pixels), GOLDEN, "{:#x}", hash(&train.pixels));
    let fewer = digits::generate(0, Split::Train, 10);
    assert_eq!(fewer.pixels, train.pixels[..fewer.pixels.len()]);
    assert_ne!(digits::generate(0, Split::Test, 100).pixels, train.pixels);
    assert_ne!(digits::generate(1, Split::Train, 100).pixels, train.pixels);
    assert!((0..10).all(|class| train.labels.contains(&class)));
}

const GOLDEN: u64 = 0xa97e_f6e0_0e66_2641;

#[test]
fn the_normalisation_is_that_of_the_pixels() {
    let data = digits::generate(0, Split::Train, 10_000);
    let n = data.pixels.len() as f64;
    let mean = data.pixels.iter().map(|&p| f64::from(p) / 255.0).sum::<f64>() / n;
    let square =
        data.pixels.iter().map(|&p| (f64::from(p) / 255.0 - mean).powi(2)).sum::<f64>() / n;
    let (found, pinned) = ((mean, square.sqrt()), digits::NORMALISATION);
    assert!((found.0 - f64::from(pinned.mean)).abs() < 0.02, "{found:?}");
    assert!((found.1 - f64::from(pinned.std)).abs() < 0.02, "{found:?}");
}

/// A linear model by gradient descent, to show how far below LeNet-5's accuracy (96 %) it stays.
#[test]
fn digits_are_hard_for_a_linear_model() {
    let (train, test) =
        (digits::generate(0, Split::Train, 3000), digits::generate(0, Split::Test, 1000));
    let size = digits::SIDE * digits::SIDE;
    let mut weights = vec![0.0_f32; 10 * size];
    let scores = |weights: &[f32], pixels: &[u8]| -> Vec<f32> {
        let dot =
            |row: &[f32]| row.iter().zip(pixels).map(|(w, &p)| w * f32::from(p) / 255.0).sum();
        weights.chunks(size).map(dot).collect()
    };
    for _ in 0..8 {
        for i in 0..train.labels.len() {
            let pixels = &train.pixels[i * size..(i + 1) * size];
            let s = scores(&weights, pixels);
            let most = s.iter().copied().fold(f32::MIN, f32::max);
            let sum: f32 = s.iter().map(|v| (v - most).exp()).sum();
            for (class, row) in weights.chunks_mut(size).enumerate() {
                let error = (s[class] - most).exp() / sum
                    - f32::from(u8::from(train.labels[i] as usize == class));
                row.iter_mut()
                    .zip(pixels)
                    .for_each(|(w, &p)| *w -= 0.02 * error * f32::from(p) / 255.0);
            }
        }
    }
    let right = (0..test.labels.len()).filter(|&i| {
        let s = scores(&weights, &test.pixels[i * size..(i + 1) * size]);
        let best = (0..10).max_by(|&a, &b| s[a].total_cmp(&s[b])).unwrap();
        best == test.labels[i] as usize
    });
    let accuracy = right.count() as f64 / test.labels.len() as f64;
    assert!((0.3..0.85).contains(&accuracy), "{accuracy}");
}

#[test]
fn batches_come_in_order_and_normalised() {
    let spec = spec(r#"{"digits": {"train": 7, "test": 1}}"#);
    let data = Data::open(&spec, None, &mut |_| {}).unwrap();
    let made = digits::generate(0, Split::Train, 7);
    let batches = all(&data, pass(3, None, 0));
    assert_eq!(batches.iter().map(|b| b.len).collect::<Vec<_>>(), [3, 3, 1]);
    let labels: Vec<i64> = made.labels.iter().map(|&l| i64::from(l)).collect();
    assert_eq!(batches[0].targets, Values::I64(labels[..3].to_vec()));
    let norm = digits::NORMALISATION;
    let pixel = (f32::from(made.pixels[0]) / 255.0 - norm.mean) / norm.std;
    let Values::F32(samples) = &batches[0].samples else { panic!("{:?}", batches[0].samples) };
    assert_eq!(samples[0].to_bits(), pixel.to_bits());
    // Dropping one early ends its threads.
    drop(Batches::new(data.train, pass(1, Some(1), 0)));
}

#[test]
fn the_real_mnist_is_read() {
    let Some(folder) = std::env::var_os("MIXNN_MNIST") else {
        let _ = std::io::stderr()
            .write_all(b"\nSKIPPED: REAL MNIST: set MIXNN_MNIST to the folder of its files\n");
        return;
    };
    let data = open(&spec(r#"{"idx": {}}"#), folder.as_ref()).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (60_000, 10_000));
    assert_eq!(data.train.shape(), [1, 28, 28]);
}
