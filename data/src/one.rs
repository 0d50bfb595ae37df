//! One picture, made a sample as those that a model was trained on.

use crate::block::Raw;
use crate::formats::images::decode;
use crate::transform::{Normalisation, Transform};
use crate::{DataError, Values, digits, shapes};
use mixnn_model::{Channels, DatasetSpec, Fit};

/// How one picture becomes a sample of a model.
#[derive(Clone, Debug)]
pub struct PictureSample {
    channels: Channels,
    size: [u32; 2],
    fit: Fit,
    transform: Transform,
}

impl PictureSample {
    /// By what a model's data are, for samples of `shape`: `[channels, height, width]`.
    ///
    /// # Errors
    /// Such a model takes no pictures.
    pub fn of(spec: &DatasetSpec, shape: &[usize]) -> Result<Self, DataError> {
        let no_picture = || {
            let what = format!("{}: samples of shape {shape:?} are no pictures", spec.name());
            DataError::Mismatch(what)
        };
        let (norms, fit) = match spec {
            DatasetSpec::Digits(_) => (vec![digits::NORMALISATION], Fit::Resize),
            DatasetSpec::Shapes(_) => (vec![shapes::NORMALISATION], Fit::Resize),
            DatasetSpec::Idx(idx) => {
                let norm = Normalisation { mean: idx.mean as f32, std: idx.std as f32 };
                (vec![norm], Fit::Resize)
            }
            DatasetSpec::Images(images) => {
                (Transform::norms(&images.mean, &images.std), images.fit)
            }
            _ => return Err(no_picture()),
        };
        let (channels, height, width) = match *shape {
            [1, height, width] => (Channels::Grey, height, width),
            [3, height, width] => (Channels::Rgb, height, width),
            _ => return Err(no_picture()),
        };
        let side = |side: usize| u32::try_from(side).map_err(|_| no_picture());
        let transform = Transform { norms, ..Transform::none(shape.to_vec()) };
        Ok(Self { channels, size: [side(height)?, side(width)?], fit, transform })
    }

    /// The sample of a PNG or JPEG file.
    ///
    /// # Errors
    /// It is none, or not as large as it must be.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<f32>, String> {
        Ok(self.normalised(decode(bytes, self.channels, self.size, self.fit)?))
    }

    /// The sample of grey pixels, row by row.
    ///
    /// # Errors
    /// They are not as many as they must be.
    pub fn grey(&self, [height, width]: [u32; 2], pixels: &[u8]) -> Result<Vec<f32>, String> {
        let wanted = self.transform.shape.as_slice();
        if ([height, width], 1) != (self.size, wanted[0])
            || pixels.len() != wanted.iter().product::<usize>()
        {
            return Err(format!(
                "is a picture of 1 x {height} x {width}; the model takes {wanted:?}"
            ));
        }
        Ok(self.normalised(pixels.to_vec()))
    }

    fn normalised(&self, pixels: Vec<u8>) -> Vec<f32> {
        let mut out = Values::F32(Vec::with_capacity(pixels.len()));
        self.transform.push(&Raw::U8(pixels), 0, 0, None, &mut out);
        match out {
            Values::F32(values) => values,
            Values::I64(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{Batches, Data, Pass};
    use std::sync::Arc;

    #[test]
    fn a_picture_is_the_sample_that_training_makes_of_it() {
        let spec: DatasetSpec =
            serde_json::from_str(r#"{"digits": {"train": 4, "test": 4}}"#).unwrap();
        let data = Data::open(&spec, None, &mut |_| {}).unwrap();
        let pass = Pass { epoch: None, batch: 1, least: 1, skip: 2 };
        let batch = Batches::new(Arc::clone(&data.test), pass).next().unwrap().unwrap();
        let made = digits::generate(0, crate::Split::Test, 4);
        let pixels = &made.pixels[2 * 784..3 * 784];
        let sample = PictureSample::of(&spec, &[1, 28, 28]).unwrap();
        assert_eq!(Values::F32(sample.grey([28, 28], pixels).unwrap()), batch.samples);
        let grey = image::GrayImage::from_raw(28, 28, pixels.to_vec()).unwrap();
        let mut png = std::io::Cursor::new(Vec::new());
        grey.write_to(&mut png, image::ImageFormat::Png).unwrap();
        assert_eq!(Values::F32(sample.decode(png.get_ref()).unwrap()), batch.samples);
        assert!(sample.grey([14, 56], pixels).unwrap_err().contains("takes [1, 28, 28]"));
        assert!(sample.decode(b"no picture").is_err());
        assert!(PictureSample::of(&spec, &[784]).is_err());
    }
}
