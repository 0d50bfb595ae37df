//! From raw numbers to what a model takes: augmentation, then normalisation.

use crate::batch::Values;
use crate::block::Raw;
use mixnn_model::AugmentSpec;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// How pixels become numbers: `(p / 255 - mean) / std`, in f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// Mean of the pixels, as 0 to 1.
    pub mean: f32,
    /// Their standard deviation.
    pub std: f32,
}

impl Normalisation {
    fn pixel(self, pixel: u8) -> f32 {
        (f32::from(pixel) / 255.0 - self.mean) / self.std
    }

    fn value(self, value: f32) -> f32 {
        (value - self.mean) / self.std
    }
}

/// What happens to each sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    /// One for all, one a channel (pictures) or one a feature; none leaves numbers as they are.
    pub norms: Vec<Normalisation>,
    /// Random changes of pictures.
    pub augment: AugmentSpec,
    /// Shape of a sample.
    pub shape: Vec<usize>,
}

/// From what augmentation is drawn.
#[derive(Clone, Copy)]
pub struct Draw {
    /// The owner's key for this.
    pub key: [u8; 32],
    /// The epoch, from 1.
    pub epoch: u32,
}

impl Transform {
    /// No change but the type.
    pub const fn none(shape: Vec<usize>) -> Self {
        let augment = AugmentSpec { horizontal_flip: false, crop_padding: 0 };
        Self { norms: Vec::new(), augment, shape }
    }

    /// Means and standard deviations as a specification has them: lists of one or of equal length.
    pub fn norms(mean: &[f64], std: &[f64]) -> Vec<Normalisation> {
        let at = |list: &[f64], i: usize, other| {
            list.get(i).or_else(|| list.first()).map_or(other, |&v| v as f32)
        };
        let norm = |i| Normalisation { mean: at(mean, i, 0.0), std: at(std, i, 1.0) };
        (0..mean.len().max(std.len())).map(norm).collect()
    }

    /// Adds sample `row` of a block to a batch; `index` is its place in the whole data set.
    pub fn push(&self, raw: &Raw, row: usize, index: u64, draw: Option<Draw>, out: &mut Values) {
        let size: usize = self.shape.iter().product();
        let range = row * size..(row + 1) * size;
        match (raw, out) {
            (Raw::U8(pixels), Values::F32(out)) => {
                let pixels = &pixels[range];
                match draw.filter(|_| !self.augment.is_none()) {
                    Some(draw) => self.pixels(&self.changed(pixels, index, draw), out),
                    None => self.pixels(pixels, out),
                }
            }
            (Raw::F32(values), Values::F32(out)) => self.values(&values[range], out),
            (Raw::U32(ids), Values::I64(out)) => {
                out.extend(ids[range].iter().map(|&id| i64::from(id)));
            }
            // A source and its data set are made together: kinds agree.
            (raw, out) => unreachable!("{raw:?} as {out:?}"),
        }
    }

    fn pixels(&self, pixels: &[u8], out: &mut Vec<f32>) {
        match self.norms.as_slice() {
            [] => out.extend(pixels.iter().map(|&p| f32::from(p) / 255.0)),
            [one] => out.extend(pixels.iter().map(|&p| one.pixel(p))),
            each => {
                let plane = (pixels.len() / each.len()).max(1);
                for (channel, norm) in pixels.chunks(plane).zip(each) {
                    out.extend(channel.iter().map(|&p| norm.pixel(p)));
                }
            }
        }
    }

    fn values(&self, values: &[f32], out: &mut Vec<f32>) {
        match self.norms.as_slice() {
            [] => out.extend_from_slice(values),
            [one] => out.extend(values.iter().map(|&v| one.value(v))),
            each => out.extend(values.iter().zip(each).map(|(&v, norm)| norm.value(v))),
        }
    }

    /// Mirrored and cut as the owner's key, the epoch and the sample's index say.
    fn changed(&self, pixels: &[u8], index: u64, draw: Draw) -> Vec<u8> {
        let &[channels, height, width] = self.shape.as_slice() else { return pixels.to_vec() };
        let mut rng = ChaCha8Rng::from_seed(draw.key);
        // Indices stay below 2^40: a data set has at most 2^32 blocks of memory-sized parts.
        rng.set_stream((u64::from(draw.epoch) << 40) ^ index);
        let padding = self.augment.crop_padding;
        let mirrored = self.augment.horizontal_flip && rng.next_u32() & 1 == 1;
        let mut shift = || (crate::shuffle::below(&mut rng, 2 * u64::from(padding) + 1)) as usize;
        let (down, right) = (shift(), shift());
        let mut out = vec![0; pixels.len()];
        for channel in 0..channels {
            for y in 0..height {
                let Some(from_y) = inside(y + down, padding as usize, height) else { continue };
                for x in 0..width {
                    let wanted = if mirrored { width - 1 - x } else { x };
                    let Some(from_x) = inside(wanted + right, padding as usize, width) else {
                        continue;
                    };
                    out[(channel * height + y) * width + x] =
                        pixels[(channel * height + from_y) * width + from_x];
                }
            }
        }
        out
    }
}

/// A place of the padded side as one of the side itself, unless it lies in the padding.
fn inside(padded: usize, padding: usize, side: usize) -> Option<usize> {
    padded.checked_sub(padding).filter(|&at| at < side)
}

#[cfg(test)]
mod tests {
    use super::{Draw, Normalisation, Transform};
    use crate::batch::Values;
    use crate::block::Raw;
    use mixnn_model::AugmentSpec;

    fn apply(augment: AugmentSpec, epoch: u32, index: u64) -> Vec<f32> {
        let mut transform = Transform::none(vec![1, 2, 3]);
        transform.augment = augment;
        let mut out = Values::F32(Vec::new());
        let draw = Some(Draw { key: [1; 32], epoch });
        transform.push(&Raw::U8(vec![10, 20, 30, 40, 50, 60]), 0, index, draw, &mut out);
        let Values::F32(out) = out else { panic!("{out:?}") };
        out.into_iter().map(|v| (v * 255.0).round()).collect()
    }

    #[test]
    fn flips_mirror_half_of_all_and_are_the_same_again() {
        let flip = || AugmentSpec { horizontal_flip: true, crop_padding: 0 };
        let (plain, mirrored) = ([10., 20., 30., 40., 50., 60.], [30., 20., 10., 60., 50., 40.]);
        let all: Vec<_> = (0..200).map(|i| apply(flip(), 1, i)).collect();
        assert!(all.iter().all(|p| *p == plain || *p == mirrored));
        let count = all.iter().filter(|p| **p == mirrored).count();
        assert!((60..140).contains(&count), "{count}");
        assert_eq!(all, (0..200).map(|i| apply(flip(), 1, i)).collect::<Vec<_>>());
        assert_ne!(all, (0..200).map(|i| apply(flip(), 2, i)).collect::<Vec<_>>());
    }

    #[test]
    fn crops_shift_by_the_padding_at_most() {
        let crop = || AugmentSpec { horizontal_flip: false, crop_padding: 1 };
        let seen: std::collections::BTreeSet<Vec<u32>> =
            (0..300).map(|i| apply(crop(), 1, i).into_iter().map(|v| v as u32).collect()).collect();
        assert_eq!(seen.len(), 9);
        assert!(seen.contains(&vec![10, 20, 30, 40, 50, 60]));
        assert!(seen.contains(&vec![50, 60, 0, 0, 0, 0]));
        assert!(seen.contains(&vec![0, 0, 0, 0, 10, 20]));
    }

    #[test]
    fn each_channel_and_each_feature_has_its_own_scale() {
        let norms = Transform::norms(&[0.5, 0.0], &[2.0]);
        let half = |mean| Normalisation { mean, std: 2.0 };
        assert_eq!(norms, [half(0.5), half(0.0)]);
        let mut transform = Transform::none(vec![2, 1, 1]);
        transform.norms = norms;
        let mut out = Values::F32(Vec::new());
        transform.push(&Raw::U8(vec![255, 255]), 0, 0, None, &mut out);
        transform.push(&Raw::F32(vec![1.0, 1.0]), 0, 0, None, &mut out);
        assert_eq!(out, Values::F32(vec![0.25, 0.5, 0.25, 0.5]));
    }
}
