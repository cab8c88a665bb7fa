//! How much of what a recurrent network read is left in its gradient, so many steps later.
//!
//! `cargo run --release -p loam-nn --example vanishing`

use burn::tensor::{Device, Tensor};
use loam_nn::initialize::Initializer;
use loam_nn::recurrent::{self, Steps, Weights};

const WIDTH: usize = 64;
/// Steps of the sequence.
pub const TIME: usize = 50;

/// A network whose gradient is measured.
#[derive(Clone, Copy, Debug)]
pub enum Network {
    /// h′ = tanh(W x + U h + b).
    Plain,
    /// An LSTM with this bias of its forget gates.
    Lstm(f32),
}

/// The length of the gradient of the last state's sum with respect to the input of every step, over that of the last
/// step's input.
pub fn gradient_by_step(network: Network) -> Vec<f64> {
    let device = Device::flex().autodiff();
    let mut draw = Initializer::new(7, &device);
    let gates = if matches!(network, Network::Plain) { 1 } else { 4 };
    // PyTorch's initialization: uniform in ±1/√width has this deviation.
    let deviation = 1.0 / (3.0 * WIDTH as f64).sqrt();
    let mut bias = vec![0.0; gates * WIDTH];
    if let Network::Lstm(forget) = network {
        // The order of the gates is input, forget, candidate, output.
        bias[WIDTH..2 * WIDTH].fill(forget);
    }
    let weights = Weights {
        weight_ih: draw.normal([gates * WIDTH, WIDTH], deviation).val(),
        weight_hh: draw.normal([gates * WIDTH, WIDTH], deviation).val(),
        bias_ih: Tensor::<1>::from_data(&bias[..], &device),
        bias_hh: draw.constant([gates * WIDTH], 0.0).val(),
    };
    let x = draw.normal([1, TIME, WIDTH], 1.0).val().detach().require_grad();
    let states = match network {
        Network::Plain => recurrent::rnn(x.clone(), weights, None, Steps::default()),
        Network::Lstm(_) => recurrent::lstm(x.clone(), weights, None, None, Steps::default()),
    };
    let gradients = states.narrow(1, TIME - 1, 1).sum().backward();
    let slopes = x.grad(&gradients).expect("the input has a part in the last state");
    let slopes = slopes.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion");
    let length = |step: &[f32]| step.iter().map(|&slope| f64::from(slope).powi(2)).sum::<f64>().sqrt();
    let lengths: Vec<f64> = slopes.chunks(WIDTH).map(length).collect();
    lengths.iter().map(|length| length / lengths[TIME - 1]).collect()
}

/// Prints the numbers that the page shows.
pub fn main() {
    println!("steps back   plain RNN   LSTM, forget bias 0   LSTM, forget bias 3");
    let columns = [Network::Plain, Network::Lstm(0.0), Network::Lstm(3.0)].map(gradient_by_step);
    for back in [0, 1, 5, 10, 20, 30, 40, 49] {
        let [plain, closed, open] = columns.each_ref().map(|column| column[TIME - 1 - back]);
        println!("{back:>10}   {plain:>9.2e}   {closed:>19.2e}   {open:>19.2e}");
    }
}
