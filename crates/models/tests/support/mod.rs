//! What the families' tests have in common: tensors of fixed numbers, and a walk over every parameter's gradient.

#![allow(dead_code)] // Not every family's test needs all of it.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_nn::{ops, parameters};

/// Token ids below `vocabulary` that follow from `seed`.
pub fn ids<const D: usize>(shape: [usize; D], vocabulary: usize, seed: usize) -> Tensor<D, Int> {
    let id = |i: usize| (((i + 31 * seed) * 2_654_435_761) >> 7) as i64 % vocabulary as i64;
    integers((0..shape.iter().product()).map(id).collect(), shape)
}

/// A tensor of these integers.
pub fn integers<const D: usize>(values: Vec<i64>, shape: [usize; D]) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// A tensor's values.
pub fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion")
}

/// Checks every element of two lists against an absolute tolerance.
pub fn near(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance, "{what}: element {i} is {a} and should be {b}");
    }
}

/// The value of a loss, and the gradient of every parameter by name.
pub fn loss_and_gradients<M: Module>(model: &M, loss: Tensor<1>) -> (f32, Vec<(String, Vec<f32>)>) {
    let value = loss.clone().into_scalar::<f32>();
    let gradients = parameters::gradients(model, loss.backward());
    let named = parameters::list(model).into_iter().zip(gradients).map(|(parameter, gradient)| {
        let gradient = gradient.unwrap_or_else(|| panic!("{} has no gradient", parameter.name));
        (parameter.name, parameters::to_host(gradient))
    });
    (value, named.collect())
}

/// Fails on a parameter whose gradient is missing or zero, and on one whose fused gradient is not the composed one.
pub fn every_gradient_is_there_and_right<M: Module>(model: &M, loss: impl Fn(&M) -> Tensor<1>) {
    let (fused_loss, fused) = loss_and_gradients(model, loss(model));
    let (composed_loss, composed) = ops::with_composed(|| loss_and_gradients(model, loss(model)));
    assert!((fused_loss - composed_loss).abs() < 1e-5 * composed_loss.abs(), "{fused_loss} {composed_loss}");
    let norm = |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>().sqrt();
    // Of a key's bias nothing but roundings reaches the loss: it adds the same to all of a query's scores.
    let largest = composed.iter().map(|(_, gradient)| norm(gradient)).fold(0.0, f32::max);
    for ((name, fused), (_, composed)) in fused.iter().zip(&composed) {
        let invisible = name.ends_with("key.bias") || name.ends_with("k_proj.bias");
        let size = norm(composed);
        assert!(size.is_finite() && (invisible || size > 1e-6), "{name}: gradient norm {size}");
        let difference: Vec<f32> = fused.iter().zip(composed).map(|(a, b)| a - b).collect();
        let error = norm(&difference);
        assert!(error < 5e-5 * size + 1e-7 * largest, "{name}: {error} of {size} fused and composed apart");
    }
}

/// Moves a model's every parameter along its gradient and back, and compares the loss's slope with the gradient.
pub fn gradients_equal_finite_differences<M: Module>(model: &M, loss: impl Fn(&M) -> Tensor<1>) {
    let (_, gradients) = loss_and_gradients(model, loss(model));
    let loss_at = |parameter: usize, direction: &[f32], step: f32| -> f64 {
        let moved = parameters::update(model.clone(), |index, values| {
            if index != parameter {
                return values;
            }
            let device = values.device();
            values + parameters::from_host(direction.iter().map(|d| d * step).collect(), &device)
        });
        f64::from(loss(&moved).into_scalar::<f32>())
    };
    for (index, (name, gradient)) in gradients.iter().enumerate() {
        // Along the gradient itself the slope is its norm: the direction where rounding hides least.
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        if norm < 1e-5 {
            continue;
        }
        let direction: Vec<f32> = gradient.iter().map(|g| (f64::from(*g) / norm) as f32).collect();
        let step = 1e-2;
        let slope = (loss_at(index, &direction, step) - loss_at(index, &direction, -step)) / f64::from(2.0 * step);
        assert!((slope - norm).abs() < 0.02 * norm + 5e-5, "{name}: slope {slope}, gradient {norm}");
    }
}
