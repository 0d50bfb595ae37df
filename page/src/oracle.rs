//! Who says what a picture shows: a backend that is served or trained, or somebody else's page.

use crate::verdict::Verdict;
use axum::body::Bytes;
use futures_util::future::BoxFuture;
use mixnn_data::PictureSample;
use mixnn_model::{DatasetSpec, Labels};
use mixnn_serving::{Backend, Datatype, InferError, Tensor};
use std::sync::Arc;

/// Says what a picture shows.
pub trait Oracle: Send + Sync + 'static {
    /// What the model takes this PNG or JPEG file for.
    ///
    /// # Errors
    /// It is no picture, or the model does not answer now.
    fn ask(&self, picture: Bytes) -> BoxFuture<'_, Result<Verdict, InferError>>;
}

/// Makes pictures samples, as training does, and asks a backend.
pub struct Booth {
    backend: Arc<dyn Backend>,
    how: Arc<PictureSample>,
    shape: Vec<usize>,
    classes: Vec<String>,
}

impl Booth {
    /// In front of a model that tells classes of pictures; `None` for any other. `classes`: their names, as far as
    /// they are known.
    pub fn of(
        dataset: &DatasetSpec,
        labels: &Labels,
        classes: Vec<String>,
        backend: Arc<dyn Backend>,
    ) -> Option<Self> {
        let sample = &backend.model().inputs.first()?.sample;
        let how = PictureSample::of(dataset, sample).ok()?;
        let shape = std::iter::once(1).chain(sample.iter().copied()).collect();
        let tells_classes = matches!(labels, Labels::Class { .. });
        tells_classes.then(|| Self { backend, how: Arc::new(how), shape, classes })
    }

    async fn answer(&self, picture: Bytes) -> Result<Verdict, InferError> {
        let how = self.how.clone();
        let decoded = tokio::task::spawn_blocking(move || how.decode(&picture)).await;
        let sample = decoded
            .map_err(|_| InferError::Failed("the picture could not be read".into()))?
            .map_err(|problem| InferError::Invalid(format!("the picture {problem}")))?;
        let data: Vec<u8> = sample.iter().flat_map(|value| value.to_le_bytes()).collect();
        let input =
            Tensor { datatype: Datatype::Fp32, shape: self.shape.clone(), data: data.into() };
        let answer = self.backend.infer(vec![input]).await?;
        let output = answer.outputs.first().map(|o| o.data.clone()).unwrap_or_default();
        let (numbers, _) = output.as_chunks::<4>();
        let outputs: Vec<f64> = numbers.iter().map(|n| f64::from(f32::from_le_bytes(*n))).collect();
        let model = &self.backend.model().name;
        Ok(Verdict::ranked(model, answer.version.to_string(), &outputs, &self.classes))
    }
}

impl Oracle for Booth {
    fn ask(&self, picture: Bytes) -> BoxFuture<'_, Result<Verdict, InferError>> {
        Box::pin(self.answer(picture))
    }
}
