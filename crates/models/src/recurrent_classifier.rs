//! Recurrent networks that label texts: the states of [`RecurrentEncoder`], made one vector, under a dense layer. Files
//! are those of [`crate::lstm`] with `classifier` (a `Linear`) in the place of the output over words.

use crate::bert::Inputs;
use crate::classifier::SequenceClassifier;
use crate::configuration::check_class;
use crate::error::ModelError;
use crate::labels::Labels;
use crate::lstm::{self, RecurrentConfig, RecurrentEncoder};
use crate::weights::{self, Layout};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use loam_nn::initialize::{Initializer, mix};
use loam_nn::layers::Dense;
use serde_json::{Value, json};
use std::path::Path;

/// What `architectures` says of such a network.
const CLASS: &str = "RecurrentForSequenceClassification";

/// How the states of a text become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Each direction's state where it ends: after the last token, and at the first.
    Last,
    /// Of every channel the largest value.
    Max,
    /// Their mean.
    Mean,
}

impl Pooling {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Last, Self::Max, Self::Mean];

    /// What `config.json` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Max => "max",
            Self::Mean => "mean",
        }
    }
}

/// A recurrent network that labels texts.
#[derive(Module, Debug)]
pub struct RecurrentClassifier {
    body: RecurrentEncoder,
    classifier: Dense,
    #[module(skip)]
    pooling: Pooling,
    #[module(skip)]
    labels: Labels,
}

impl RecurrentClassifier {
    /// A new network, from a seed.
    ///
    /// # Errors
    /// When the configuration is impossible.
    pub fn new(
        config: RecurrentConfig,
        pooling: Pooling,
        labels: Labels,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ModelError> {
        Ok(Self::on(RecurrentEncoder::new(config, seed, device)?, pooling, labels, seed, device))
    }

    /// A new output layer, from a seed, on an encoder as it is.
    pub fn on(body: RecurrentEncoder, pooling: Pooling, labels: Labels, seed: u64, device: &Device) -> Self {
        let width = body.config().width();
        let deviation = 1.0 / (3.0 * width as f64).sqrt();
        let classifier = Dense::new(width, labels.len(), deviation, &mut Initializer::new(mix(!seed), device));
        Self { body, classifier, pooling, labels }
    }

    /// Reads `config.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// When a file is missing or broken, or is not a recurrent network with an output layer over labels.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let (file, config) = lstm::read(folder)?;
        check_class(&file, CLASS)?;
        config.check()?;
        let pooling = match file.value.get("pooling") {
            None | Some(Value::Null) => Pooling::Last,
            Some(name) => Pooling::ALL.into_iter().find(|pooling| *name == json!(pooling.name())).ok_or_else(|| {
                let known = Pooling::ALL.map(Pooling::name).join(", ");
                ModelError::format(&file.path, format!("pooling = {name} is none of {known}"))
            })?,
        };
        let labels = Labels::from_json(&file.value)?;
        let head = (config.width() as u64).checked_mul(labels.len() as u64);
        let path = file.weights(config.parameters().zip(head).and_then(|(body, head)| body.checked_add(head)))?;
        let layout =
            Layout { names: &|name| vec![lstm::stored(name)], passed_over: &|name| name.starts_with("decoder.") };
        weights::load_as(Self::new(config, pooling, labels, 0, device)?, &path, &layout)
    }

    /// The encoder.
    pub fn encoder(&self) -> &RecurrentEncoder {
        &self.body
    }

    /// How states become one vector.
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// A vector of every text, `[batch, width]`, out of its states `[batch, time, width]`, which are zeros at padding.
    fn pool(&self, states: Tensor<3>, lengths: Option<&[usize]>) -> Tensor<2> {
        let [batch, time, width] = states.dims();
        let device = states.device();
        let by_step = |value: fn(usize, usize) -> f32| {
            let of = |&length: &usize| (0..time).map(move |step| value(step, length));
            let values: Vec<f32> = lengths.unwrap_or_default().iter().flat_map(of).collect();
            Tensor::<3>::from_data(TensorData::new(values, [batch, time, 1]), &device)
        };
        match self.pooling {
            Pooling::Last => self.body.pool(states, lengths),
            Pooling::Max => {
                let states = match lengths {
                    // No state's value is beyond ∓1.
                    Some(_) => states + by_step(|step, length| if step < length { 0.0 } else { -1e9 }),
                    None => states,
                };
                states.max_dim(1).reshape([batch, width])
            }
            Pooling::Mean => match lengths {
                Some(_) => {
                    let share = |step, length| if step < length { 1.0 / length as f32 } else { 0.0 };
                    (states * by_step(share)).sum_dim(1).reshape([batch, width])
                }
                None => states.mean_dim(1).reshape([batch, width]),
            },
        }
    }
}

impl SequenceClassifier for RecurrentClassifier {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn context(&self) -> usize {
        self.body.config().context_length
    }

    fn vocabulary(&self) -> usize {
        self.body.config().vocab_size
    }

    fn padding(&self) -> usize {
        0
    }

    fn logits(&self, inputs: &Inputs, dropout_seed: Option<u64>) -> Tensor<2> {
        let states = self.body.encode(inputs.ids.clone(), inputs.lengths.clone(), dropout_seed);
        let vector = self.pool(states, inputs.lengths.as_deref());
        let batch = vector.dims()[0];
        self.classifier.forward(vector.unsqueeze()).reshape([batch, self.labels.len()])
    }

    fn save(&self, folder: &Path) -> Result<(), ModelError> {
        std::fs::create_dir_all(folder).map_err(|source| ModelError::io(folder, source))?;
        let Value::Object(mut fields) = serde_json::to_value(self.body.config()).expect("a configuration is JSON")
        else {
            unreachable!("a configuration is an object")
        };
        fields.insert("architectures".into(), json!([CLASS]));
        fields.insert("pooling".into(), json!(self.pooling.name()));
        fields.insert("torch_dtype".into(), json!("float32"));
        self.labels.write(&mut fields);
        weights::write_json(&folder.join("config.json"), &Value::Object(fields))?;
        weights::save_as(self, &folder.join("model.safetensors"), &lstm::stored)
    }
}
