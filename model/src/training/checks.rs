//! Collects what is wrong with the numbers of a specification.

use crate::error::ModelError;

/// All that is wrong so far.
#[derive(Default)]
pub(crate) struct Checks(Vec<ModelError>);

impl Checks {
    pub(crate) fn require(
        &mut self,
        ok: bool,
        field: impl Into<String>,
        problem: impl FnOnce() -> String,
    ) {
        if !ok {
            self.0.push(ModelError::Field { field: field.into(), problem: problem() });
        }
    }

    /// From 1 to `most`.
    pub(crate) fn whole(&mut self, field: impl Into<String>, value: u32, most: u32) {
        self.require((1..=most).contains(&value), field, || {
            format!("is {value}; it must be from 1 to {most}")
        });
    }

    pub(crate) fn above_zero(&mut self, field: impl Into<String>, value: f64) {
        self.require(value.is_finite() && value > 0.0, field, || {
            format!("is {value}; it must be above 0")
        });
    }

    pub(crate) fn at_least_zero(&mut self, field: impl Into<String>, value: f64) {
        self.require(value.is_finite() && value >= 0.0, field, || {
            format!("is {value}; it must be at least 0")
        });
    }

    /// At least 0 and below 1.
    pub(crate) fn below_one(&mut self, field: impl Into<String>, value: f64) {
        self.require((0.0..1.0).contains(&value), field, || {
            format!("is {value}; it must be at least 0 and below 1")
        });
    }

    pub(crate) fn into_problems(self) -> Vec<ModelError> {
        self.0
    }
}
