//! One neuron: what it computes, how far it is off, which way its weights should go, and one step that way.
//!
//! `cargo run --release -p loam-nn --example neuron`

/// Weights and threshold of a neuron with two inputs.
#[derive(Clone, Copy, Debug)]
pub struct Neuron {
    /// What each input counts.
    pub weights: [f64; 2],
    /// What is added to the sum.
    pub bias: f64,
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

impl Neuron {
    /// a = σ(w · x + b).
    pub fn output(self, x: [f64; 2]) -> f64 {
        sigmoid(self.weights[0] * x[0] + self.weights[1] * x[1] + self.bias)
    }

    /// E = ½ (a − t)².
    pub fn error(self, x: [f64; 2], target: f64) -> f64 {
        0.5 * (self.output(x) - target).powi(2)
    }

    /// ∂E/∂w₁, ∂E/∂w₂, ∂E/∂b by the chain rule: (a − t) · a (1 − a) · (x₁, x₂, 1).
    pub fn gradient(self, x: [f64; 2], target: f64) -> [f64; 3] {
        let a = self.output(x);
        let delta = (a - target) * a * (1.0 - a);
        [delta * x[0], delta * x[1], delta]
    }

    /// The same by moving each parameter a little both ways.
    pub fn differences(self, x: [f64; 2], target: f64) -> [f64; 3] {
        const STEP: f64 = 1e-6;
        [0, 1, 2].map(|which| {
            let error =
                |step: f64| self.moved([0, 1, 2].map(|k| f64::from(u8::from(k == which)) * step)).error(x, target);
            (error(STEP) - error(-STEP)) / (2.0 * STEP)
        })
    }

    /// The neuron with these added to its parameters.
    #[must_use]
    pub fn moved(self, by: [f64; 3]) -> Self {
        Self { weights: [self.weights[0] + by[0], self.weights[1] + by[1]], bias: self.bias + by[2] }
    }
}

/// Prints the numbers that the page shows.
pub fn main() {
    let (x, target, rate) = ([1.0, 2.0], 1.0, 1.0);
    let neuron = Neuron { weights: [0.5, -0.3], bias: 0.1 };
    println!(
        "a = σ(w·x + b) = {:.4}, target {target:.0}, E = ½(a − t)² = {:.4}",
        neuron.output(x),
        neuron.error(x, target)
    );
    let gradient = neuron.gradient(x, target);
    let differences = neuron.differences(x, target);
    for ((name, slope), difference) in ["∂E/∂w₁", "∂E/∂w₂", "∂E/∂b "].iter().zip(gradient).zip(differences)
    {
        println!("{name}  by the chain rule {slope:+.6}   by finite differences {difference:+.6}");
    }
    let better = neuron.moved(gradient.map(|slope| -rate * slope));
    println!("after one step of rate {rate:.0}: a = {:.4}, E = {:.4}", better.output(x), better.error(x, target));
}
