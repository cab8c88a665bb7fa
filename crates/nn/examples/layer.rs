//! A layer is many neurons at once, a matrix product; what a second one adds is the bend between the two.
//!
//! `cargo run --release -p loam-nn --example layer`

use burn::tensor::{Device, Tensor};
use loam_nn::{Activation, ops};

/// The four points of "either, but not both".
pub const POINTS: [[f32; 2]; 4] = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().expect("f32 after conversion")
}

/// Two layers, with a bend between them or without: h = f(x W₁ + b₁), y = h W₂ + b₂.
pub fn two_layers(bend: bool) -> Vec<f32> {
    let device = Device::flex();
    let x = Tensor::<2>::from_data(POINTS, &device);
    // Loam keeps weights as GPT-2 does, [inputs, outputs]: both hidden neurons add the inputs, the second less 1.
    let (w1, b1) = (Tensor::from_data([[1.0, 1.0], [1.0, 1.0]], &device), Tensor::from_data([0.0, -1.0], &device));
    let (w2, b2) = (Tensor::from_data([[1.0], [-2.0]], &device), Tensor::from_data([0.0], &device));
    let h = ops::linear(x, w1, b1);
    let h = if bend { ops::activate(h, Activation::Relu) } else { h };
    values(ops::linear(h, w2, b2))
}

/// The best that one layer can do, in the least-squares sense: weights 0 and bias ½.
pub fn one_layer() -> Vec<f32> {
    let device = Device::flex();
    let (w, b) = (Tensor::from_data([[0.0], [0.0]], &device), Tensor::from_data([0.5], &device));
    values(ops::linear(Tensor::<2>::from_data(POINTS, &device), w, b))
}

/// Prints the numbers that the page shows.
pub fn main() {
    println!("x₁ x₂  wanted  one layer  two without a bend  two with ReLU");
    let columns = (one_layer(), two_layers(false), two_layers(true));
    for (row, [a, b]) in POINTS.iter().enumerate() {
        let wanted = f32::from(u8::from(a != b));
        let (one, flat, bent) = (columns.0[row], columns.1[row], columns.2[row]);
        println!("{a:>2} {b:>2}  {wanted:>6}  {one:>9.1}  {flat:>18.1}  {bent:>13.1}");
    }
}
