//! Dropout of one pass through a model: a seed for every place where it happens.

use burn::tensor::Tensor;
use loam_nn::initialize::mix;
use loam_nn::layers::{Dense, Projection};
use loam_nn::{Dropout, ops};

/// What one pass drops.
pub(crate) struct Dropouts {
    seed: Option<u64>,
}

impl Dropouts {
    /// Dropout that follows from `seed` alone, or none.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self { seed }
    }

    /// What the `place`-th dropout of the pass does, where it does anything.
    pub(crate) fn at(&self, probability: f64, place: u64) -> Option<Dropout> {
        let seed = self.seed.filter(|_| probability > 0.0)?;
        Some(Dropout { probability: probability as f32, seed: mix(seed ^ mix(place)) })
    }

    /// `x`, dropped out where anything is dropped.
    pub(crate) fn apply(&self, x: Tensor<3>, probability: f64, place: u64) -> Tensor<3> {
        match self.at(probability, place) {
            Some(dropout) => ops::dropout(x, dropout),
            None => x,
        }
    }

    /// `layer.forward(x)`, dropped out, plus `residual`: one operation where nothing is dropped.
    pub(crate) fn project(
        &self,
        layer: &Dense,
        x: Tensor<3>,
        residual: Tensor<3>,
        probability: f64,
        place: u64,
    ) -> Tensor<3> {
        match self.at(probability, place) {
            None => layer.forward_residual(x, residual),
            Some(dropout) => ops::dropout(layer.forward(x), dropout) + residual,
        }
    }

    /// [`Dropouts::project`] of a layer that may have no bias.
    pub(crate) fn project_unbiased(
        &self,
        layer: &Projection,
        x: Tensor<3>,
        residual: Tensor<3>,
        probability: f64,
        place: u64,
    ) -> Tensor<3> {
        match self.at(probability, place) {
            None => layer.forward_residual(x, residual),
            Some(dropout) => ops::dropout(layer.forward(x), dropout) + residual,
        }
    }
}
