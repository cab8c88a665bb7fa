//! What a language model learns whose targets are its inputs, and what one learns whose targets are shifted by one.
//!
//! `cargo run --release -p loam-nn --example shift`

use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_nn::head::Grades;
use loam_nn::initialize::Initializer;
use loam_nn::ops;
use loam_nn::recurrent::{self, Steps, Weights};

const TEXT: &str = "the dog saw the cat and the cat saw the bird and the bird saw a worm in the grass \
                    so the worm hid in the ground and the bird flew off and the cat lay down in the sun";
const WIDTH: usize = 24;
const STEPS: i32 = 150;

/// What training left.
pub struct Learned {
    /// Loss of the last step, in nats a word.
    pub loss: f64,
    /// Share of the words that were right.
    pub accuracy: f64,
    /// What the model goes on with.
    pub text: String,
}

/// The words, and the text as their numbers.
fn words() -> (Vec<&'static str>, Vec<i64>) {
    let mut known: Vec<&str> = Vec::new();
    let mut ids = Vec::new();
    for word in TEXT.split_whitespace() {
        let id = known.iter().position(|other| *other == word).unwrap_or(known.len());
        if id == known.len() {
            known.push(word);
        }
        ids.push(id as i64);
    }
    (known, ids)
}

/// Embedding, LSTM and output layer.
#[derive(Clone)]
struct Model {
    parameters: Vec<Tensor<2>>,
}

impl Model {
    fn new(vocabulary: usize, device: &Device) -> Self {
        let mut draw = Initializer::new(3, device);
        let shapes = [[vocabulary, WIDTH], [4 * WIDTH, WIDTH], [4 * WIDTH, WIDTH], [1, 4 * WIDTH], [vocabulary, WIDTH]];
        Self { parameters: shapes.map(|shape| draw.normal(shape, 0.1).val()).to_vec() }
    }

    /// The state after every word, `[1, time, WIDTH]`.
    fn states(&self, ids: &[i64], device: &Device) -> Tensor<3> {
        let p = &self.parameters;
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids.to_vec(), [1, ids.len()]), device);
        let bias = p[3].clone().reshape([4 * WIDTH]);
        let weights =
            Weights { weight_ih: p[1].clone(), weight_hh: p[2].clone(), bias_hh: bias.clone() * 0.0, bias_ih: bias };
        recurrent::lstm(ops::embed_tokens(p[0].clone(), ids, 1.0), weights, None, None, Steps::default())
    }

    /// The most probable next word.
    fn next(&self, ids: &[i64], device: &Device) -> i64 {
        let logits = ops::logits(self.states(ids, device), self.parameters[4].clone());
        let last = logits.narrow(1, ids.len() - 1, 1).into_data().convert::<f32>().try_into_vec::<f32>();
        let last = last.expect("f32 after conversion");
        (0..last.len()).fold(0, |best, id| if last[id] > last[best] { id } else { best }) as i64
    }
}

fn number(tensor: Tensor<1>) -> f64 {
    f64::from(tensor.into_scalar::<f32>())
}

/// Trains on the text with targets that are `shift` words ahead, and lets the model go on from "the dog".
pub fn learn(shift: usize) -> Learned {
    let device = Device::flex().autodiff();
    let (known, ids) = words();
    let (inputs, targets) = (&ids[..ids.len() - 1], ids[shift..ids.len() - 1 + shift].to_vec());
    let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [inputs.len()]), &device);
    let mut model = Model::new(known.len(), &device);
    let (mut first, mut second) = (vec![None; 5], vec![None; 5]);
    for step in 1..=STEPS {
        let leaves: Vec<Tensor<2>> = model.parameters.iter().map(|p| p.clone().detach().require_grad()).collect();
        let learner = Model { parameters: leaves.clone() };
        let scale = 1.0 / inputs.len() as f32;
        let loss = ops::head_loss(learner.states(inputs, &device), leaves[4].clone(), targets.clone(), scale);
        let gradients = loss.backward();
        // Adam (Kingma & Ba 2015), as the paper has it.
        let update = |(index, leaf): (usize, &Tensor<2>)| {
            let g = Tensor::from_inner(leaf.grad(&gradients).expect("every parameter has a part in the loss"));
            let mean = |old: &Option<Tensor<2>>, new: Tensor<2>, beta: f32| match old {
                Some(old) => old.clone() * beta + new * (1.0 - beta),
                None => new * (1.0 - beta),
            };
            let m = mean(&first[index], g.clone(), 0.9);
            let v = mean(&second[index], g.clone() * g, 0.999);
            (first[index], second[index]) = (Some(m.clone()), Some(v.clone()));
            let (m, v) = (m / (1.0 - 0.9_f32.powi(step)), v / (1.0 - 0.999_f32.powi(step)));
            leaf.clone().detach() - m / (v.sqrt() + 1e-8) * 0.02
        };
        model.parameters = leaves.iter().enumerate().map(update).collect();
    }
    let Grades { losses, hits } =
        ops::token_grades(model.states(inputs, &device), model.parameters[4].clone(), targets);
    let (loss, accuracy) = (number(losses.mean()), number(hits.mean()));
    let mut written = ids[..2].to_vec();
    while written.len() < 12 {
        written.push(model.next(&written, &device));
    }
    let text: Vec<&str> = written.iter().map(|&id| known[id as usize]).collect();
    Learned { loss, accuracy, text: text.join(" ") }
}

/// Prints the numbers that the page shows.
pub fn main() {
    let (known, ids) = words();
    println!(
        "{} words, {} different ones; guessing costs ln {} = {:.3} nats",
        ids.len(),
        known.len(),
        known.len(),
        (known.len() as f64).ln()
    );
    for (shift, what) in [(0, "targets = inputs"), (1, "targets = inputs shifted by one")] {
        let Learned { loss, accuracy, text } = learn(shift);
        println!("{what}: loss {loss:.4}, {:.0} % right", 100.0 * accuracy);
        println!("  goes on: {text}");
    }
}
