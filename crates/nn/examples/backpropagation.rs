//! Back-propagation three ways: by hand, by finite differences, and as Loam's tensors do it; then training by it.
//!
//! `cargo run --release -p loam-nn --example backpropagation`

use burn::tensor::{Device, Tensor, activation};

/// Hidden neurons.
const HIDDEN: usize = 3;
/// w₁ `[2, HIDDEN]`, b₁ `[HIDDEN]`, w₂ `[HIDDEN]`, b₂.
pub const PARAMETERS: usize = 2 * HIDDEN + HIDDEN + HIDDEN + 1;
const POINTS: [([f64; 2], f64); 4] = [([0.0, 0.0], 0.0), ([0.0, 1.0], 1.0), ([1.0, 0.0], 1.0), ([1.0, 1.0], 0.0)];

/// Numbers that look random and are the same everywhere.
pub fn start() -> [f64; PARAMETERS] {
    std::array::from_fn(|k| ((k as f64 + 1.0) * 12.9898).sin())
}

fn hidden(p: &[f64; PARAMETERS], x: [f64; 2]) -> [f64; HIDDEN] {
    std::array::from_fn(|j| (x[0] * p[j] + x[1] * p[HIDDEN + j] + p[2 * HIDDEN + j]).tanh())
}

/// The probability of "either, but not both".
pub fn output(p: &[f64; PARAMETERS], x: [f64; 2]) -> f64 {
    let h = hidden(p, x);
    let z: f64 = (0..HIDDEN).map(|j| h[j] * p[3 * HIDDEN + j]).sum::<f64>() + p[4 * HIDDEN];
    1.0 / (1.0 + (-z).exp())
}

/// Mean cross-entropy of the four points, in nats.
pub fn loss(p: &[f64; PARAMETERS]) -> f64 {
    let of = |(x, t): &([f64; 2], f64)| {
        let y = output(p, *x);
        -(t * y.ln() + (1.0 - t) * (1.0 - y).ln())
    };
    POINTS.iter().map(of).sum::<f64>() / 4.0
}

/// The chain rule from the loss backwards: δ at the output is y − t, at a hidden neuron w₂ δ (1 − h²).
pub fn by_hand(p: &[f64; PARAMETERS]) -> [f64; PARAMETERS] {
    let mut gradient = [0.0; PARAMETERS];
    for (x, target) in POINTS {
        let h = hidden(p, x);
        let delta = (output(p, x) - target) / 4.0;
        for j in 0..HIDDEN {
            let below = delta * p[3 * HIDDEN + j] * (1.0 - h[j] * h[j]);
            gradient[j] += below * x[0];
            gradient[HIDDEN + j] += below * x[1];
            gradient[2 * HIDDEN + j] += below;
            gradient[3 * HIDDEN + j] += delta * h[j];
        }
        gradient[4 * HIDDEN] += delta;
    }
    gradient
}

/// (E(p + ε) − E(p − ε)) / 2ε of every parameter: two whole passes each, where the chain rule needs one for all.
pub fn by_differences(p: &[f64; PARAMETERS]) -> [f64; PARAMETERS] {
    const STEP: f64 = 1e-5;
    std::array::from_fn(|k| {
        let at = |step: f64| {
            let mut moved = *p;
            moved[k] += step;
            loss(&moved)
        };
        (at(STEP) - at(-STEP)) / (2.0 * STEP)
    })
}

/// The same gradient from tensors that remember what was done to them.
pub fn by_tensors(p: &[f64; PARAMETERS]) -> [f64; PARAMETERS] {
    let device = Device::flex().autodiff();
    let leaf = |from: usize, to: usize, shape: [usize; 2]| {
        let values: Vec<f32> = p[from..to].iter().map(|&value| value as f32).collect();
        Tensor::<2>::from_data(burn::tensor::TensorData::new(values, shape), &device).require_grad()
    };
    let leaves = [
        leaf(0, 2 * HIDDEN, [2, HIDDEN]),
        leaf(2 * HIDDEN, 3 * HIDDEN, [1, HIDDEN]),
        leaf(3 * HIDDEN, 4 * HIDDEN, [HIDDEN, 1]),
        leaf(4 * HIDDEN, PARAMETERS, [1, 1]),
    ];
    let [w1, b1, w2, b2] = leaves.clone();
    let x = Tensor::<2>::from_data(POINTS.map(|(x, _)| x.map(|value| value as f32)), &device);
    let t = Tensor::<2>::from_data(POINTS.map(|(_, t)| [t as f32]), &device);
    let y = activation::sigmoid((x.matmul(w1) + b1).tanh().matmul(w2) + b2);
    let right = t.clone() * y.clone().log() + (t * -1.0 + 1.0) * (y * -1.0 + 1.0).log();
    let gradients = (right.mean() * -1.0).backward();
    let found = leaves.iter().flat_map(|leaf| {
        let gradient = leaf.grad(&gradients).expect("every parameter has a part in the loss");
        gradient.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion")
    });
    let found: Vec<f64> = found.map(f64::from).collect();
    found.try_into().expect("as many as parameters")
}

/// Prints the numbers that the page shows.
pub fn main() {
    let mut p = start();
    let (hand, differences, tensors) = (by_hand(&p), by_differences(&p), by_tensors(&p));
    println!("parameter  by hand    differences  tensors");
    for k in [0, HIDDEN, 2 * HIDDEN, 3 * HIDDEN, 4 * HIDDEN] {
        let name = ["w₁[0,0]", "w₁[1,0]", "b₁[0]  ", "w₂[0]  ", "b₂     "][k / HIDDEN];
        println!("{name}    {:+.6}  {:+.6}    {:+.6}", hand[k], differences[k], tensors[k]);
    }
    println!();
    for step in 0..=2000 {
        if step % 500 == 0 {
            println!("step {step:>4}: loss {:.4}", loss(&p));
        }
        let gradient = by_hand(&p);
        p = std::array::from_fn(|k| p[k] - gradient[k]);
    }
    for (x, target) in POINTS {
        println!("{x:?} → {:.3} (wanted {target})", output(&p, x));
    }
}
