//! Attention over three words, 狗 (dog), 猫 (cat), 鸟 (bird), worked to its numbers.
//!
//! `cargo run --release -p loam-nn --example attention`

use burn::tensor::{Device, Tensor, TensorData};
use loam_nn::attention::{Attention, attend};

/// A row a word.
pub type Matrix = [[f64; 3]; 3];

/// What each word asks.
pub const Q: Matrix = [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]];
/// What each word is asked by.
pub const K: Matrix = [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 1.0]];
/// What each word gives.
pub const V: Matrix = [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]];

const WORDS: [&str; 3] = ["狗", "猫", "鸟"];

/// The stations of one attention.
#[derive(Clone, Copy, Debug)]
pub struct Worked {
    /// Q Kᵀ.
    pub scores: Matrix,
    /// The scores times the scale.
    pub scaled: Matrix,
    /// The softmax of each row: how much each word looks at each.
    pub weights: Matrix,
    /// The weights times V.
    pub output: Matrix,
}

/// softmax(scale · Q Kᵀ) V.
pub fn work(scale: f64) -> Worked {
    let entries = |of: &dyn Fn(usize, usize) -> f64| -> Matrix {
        std::array::from_fn(|row| std::array::from_fn(|column| of(row, column)))
    };
    let scores = entries(&|query, key| (0..3).map(|c| Q[query][c] * K[key][c]).sum());
    let scaled = scores.map(|row| row.map(|score| scale * score));
    let weights = scaled.map(|row| {
        let sum: f64 = row.iter().map(|score| score.exp()).sum();
        row.map(|score| score.exp() / sum)
    });
    let output = entries(&|query, c| (0..3).map(|key| weights[query][key] * V[key][c]).sum());
    Worked { scores, scaled, weights, output }
}

/// The same output from Loam's attention: one row, one head of width 3, scaled by 1 / √3.
pub fn by_loam() -> Vec<f32> {
    let device = Device::flex();
    let tensor = |matrix: Matrix| {
        let values: Vec<f32> = matrix.as_flattened().iter().map(|&value| value as f32).collect();
        Tensor::<4>::from_data(TensorData::new(values, [1, 3, 1, 3]), &device)
    };
    let output = attend(tensor(Q), tensor(K), tensor(V), Attention::default());
    output.into_data().convert::<f32>().try_into_vec().expect("f32 after conversion")
}

fn print(what: &str, matrix: &Matrix) {
    println!("{what}");
    for (word, row) in WORDS.iter().zip(matrix) {
        println!("  {word}  {:.4}  {:.4}  {:.4}", row[0], row[1], row[2]);
    }
}

/// Prints the numbers that the page shows.
pub fn main() {
    let root = 3.0_f64.sqrt();
    let Worked { scores, scaled, weights, output } = work(1.0 / root);
    print("Q Kᵀ", &scores);
    print("Q Kᵀ / √3", &scaled);
    print("softmax(Q Kᵀ / √3)", &weights);
    print("softmax(Q Kᵀ / √3) V", &output);
    let unscaled = work(1.0);
    print("without the scale: softmax(Q Kᵀ)", &unscaled.weights);
    print("without the scale: softmax(Q Kᵀ) V", &unscaled.output);
    let apart = by_loam().iter().zip(output.as_flattened()).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    println!("Loam's kernel gives the scaled output too, within {apart:.0e}");
}
