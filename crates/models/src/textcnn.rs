//! Convolutions over words (Kim 2014): filters of several widths pass over a text's embeddings, of each the largest
//! answer stays, and a dense layer labels the text by them.
//!
//! Transformers has no such family; parameters are stored under the names of a PyTorch module: `embedding` (an
//! `Embedding`), `convolutions` (a list of `Conv1d`) and `classifier` (a `Linear`).

use crate::bert::Inputs;
use crate::classifier::SequenceClassifier;
use crate::configuration::{File, check_class, check_positive, check_probabilities, check_sizes, check_token};
use crate::dropouts::Dropouts;
use crate::error::ModelError;
use crate::labels::Labels;
use crate::weights::{self, Layout};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_nn::initialize::{Initializer, mix};
use loam_nn::layers::{Dense, Embedding};
use loam_nn::{Activation, ops};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// The family's `model_type`.
pub const MODEL_TYPE: &str = "textcnn";

/// What `architectures` says of it.
const CLASS: &str = "TextCnnForSequenceClassification";

/// `config.json` of a convolutional network over words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextCnnConfig {
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the embeddings.
    pub embedding_size: usize,
    /// Words that the filters of each kind see at once.
    pub kernel_sizes: Vec<usize>,
    /// Filters of each kind.
    pub num_filters: usize,
    /// Tokens of a text that are read at most.
    pub context_length: usize,
    /// Dropout of the filters' answers.
    #[serde(default = "half")]
    pub dropout: f64,
    /// The id that fills short sequences.
    #[serde(default)]
    pub pad_token_id: Option<usize>,
    /// Standard deviation of initial embeddings; a filter's is 1 / √(3 · width · `embedding_size`), which is that of
    /// PyTorch's uniform numbers.
    #[serde(default = "initializer_range")]
    pub initializer_range: f64,
}

fn half() -> f64 {
    0.5
}

fn initializer_range() -> f64 {
    0.1
}

impl TextCnnConfig {
    /// Kim's network: 100 filters each of 3, 4 and 5 words, and half of their answers dropped.
    pub fn new(vocabulary: usize, context: usize, width: usize) -> Self {
        Self {
            vocab_size: vocabulary,
            embedding_size: width,
            kernel_sizes: vec![3, 4, 5],
            num_filters: 100,
            context_length: context,
            dropout: half(),
            pad_token_id: None,
            initializer_range: initializer_range(),
        }
    }

    /// Number of parameters but for the output layer's; none where it would not fit 64 bits.
    pub fn parameters(&self) -> Option<u64> {
        let [vocabulary, width, filters] =
            [self.vocab_size, self.embedding_size, self.num_filters].map(|size| size as u64);
        let convolution = |size: &usize| width.checked_mul(*size as u64)?.checked_add(1)?.checked_mul(filters);
        self.kernel_sizes
            .iter()
            .try_fold(vocabulary.checked_mul(width)?, |sum, size| sum.checked_add(convolution(size)?))
    }

    /// Width of a text's vector.
    fn width(&self) -> usize {
        self.num_filters * self.kernel_sizes.len()
    }

    /// Words that the widest filters see.
    fn widest(&self) -> usize {
        self.kernel_sizes.iter().copied().max().unwrap_or(1)
    }

    fn check(&self) -> Result<(), ModelError> {
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("embedding_size", self.embedding_size),
            ("num_filters", self.num_filters),
            ("context_length", self.context_length),
            ("the number of kernel_sizes", self.kernel_sizes.len()),
        ])?;
        for size in &self.kernel_sizes {
            check_sizes(&[("a size of kernel_sizes", *size)])?;
        }
        check_probabilities(&[("dropout", self.dropout)])?;
        check_token("pad_token_id", self.pad_token_id, self.vocab_size)?;
        check_positive(&[("initializer_range", self.initializer_range)])
    }
}

/// The filters of one width: PyTorch's layout.
#[derive(Module, Debug)]
struct Convolution {
    /// `[filters, width, window]`.
    weight: Param<Tensor<3>>,
    /// `[filters]`.
    bias: Param<Tensor<1>>,
}

impl Convolution {
    fn window(&self) -> usize {
        self.weight.lazy_shape()[2]
    }
}

/// The network with its output layer.
#[derive(Module, Debug)]
pub struct TextCnn {
    embedding: Embedding,
    convolutions: Vec<Convolution>,
    classifier: Dense,
    #[module(skip)]
    config: TextCnnConfig,
    #[module(skip)]
    labels: Labels,
}

impl TextCnn {
    /// A new network, from a seed.
    ///
    /// # Errors
    /// When the configuration is impossible.
    pub fn new(config: TextCnnConfig, labels: Labels, seed: u64, device: &Device) -> Result<Self, ModelError> {
        config.check()?;
        let mut draw = Initializer::new(mix(seed), device);
        let (width, filters) = (config.embedding_size, config.num_filters);
        let embedding = Embedding::new(config.vocab_size, width, config.initializer_range, &mut draw);
        let mut convolution = |window: &usize| {
            let deviation = 1.0 / (3.0 * (window * width) as f64).sqrt();
            Convolution {
                weight: draw.normal([filters, width, *window], deviation),
                bias: draw.normal([filters], deviation),
            }
        };
        let convolutions = config.kernel_sizes.iter().map(&mut convolution).collect();
        let deviation = 1.0 / (3.0 * config.width() as f64).sqrt();
        let classifier = Dense::new(config.width(), labels.len(), deviation, &mut draw);
        Ok(Self { embedding, convolutions, classifier, config, labels })
    }

    /// Reads `config.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// When a file is missing or broken, or is not such a network.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let file = File::read(folder, &[MODEL_TYPE])?;
        check_class(&file, CLASS)?;
        let config: TextCnnConfig = serde_json::from_value(file.value.clone()).map_err(|error| {
            ModelError::format(&file.path, format!("is not a configuration of convolutions over words: {error}"))
        })?;
        config.check()?;
        let labels = Labels::from_json(&file.value)?;
        let head = (config.width() as u64).checked_mul(labels.len() as u64);
        let path = file.weights(config.parameters().zip(head).and_then(|(body, head)| body.checked_add(head)))?;
        let layout = Layout { names: &|name| vec![name.to_owned()], passed_over: &|_| false };
        weights::load_as(Self::new(config, labels, 0, device)?, &path, &layout)
    }

    /// The configuration.
    pub fn config(&self) -> &TextCnnConfig {
        &self.config
    }

    /// The largest answer of every filter over each text's windows, `[batch, filters of all widths]`. A text that is
    /// shorter than the widest filters goes on with zeros until it fills them.
    fn features(&self, inputs: &Inputs) -> Tensor<2> {
        let [batch, time] = inputs.ids.dims();
        let (width, widest, device) = (self.config.embedding_size, self.config.widest(), inputs.ids.device());
        let of_row = |row: usize| inputs.lengths.as_ref().map_or(time, |lengths| lengths[row].min(time));
        let lengths: Vec<usize> = (0..batch).map(of_row).collect();
        let mut x = ops::embed_tokens(self.embedding.weight.val(), inputs.ids.clone(), 1.0);
        if lengths.iter().any(|&length| length < widest.min(time)) {
            x = x * mask(&lengths, time, &device);
        }
        let long = time.max(widest);
        if long > time {
            x = Tensor::cat(vec![x, Tensor::zeros([batch, long - time, width], &device)], 1);
        }
        let rows = x.reshape([batch * long, width]);
        let answers = self.convolutions.iter().map(|convolution| {
            let (window, filters) = (convolution.window(), self.config.num_filters);
            let steps = long - window + 1;
            let places: Vec<i64> = (0..batch)
                .flat_map(|row| (0..steps).map(move |step| row * long + step))
                .flat_map(|first| (first..first + window).map(|place| place as i64))
                .collect();
            let places = Tensor::<2, Int>::from_data(TensorData::new(places, [batch, steps * window]), &device);
            // Rows of a table by their number: an embedding of the embeddings, a window a row.
            let windows = ops::embed_tokens(rows.clone(), places, 1.0).reshape([batch, steps, window * width]);
            let weight = convolution.weight.val().permute([2, 1, 0]).reshape([window * width, filters]);
            let mut answers = ops::activate(ops::linear(windows, weight, convolution.bias.val()), Activation::Relu);
            let whole: Vec<usize> = lengths.iter().map(|&length| length.max(widest) - window + 1).collect();
            if whole.iter().any(|&count| count < steps) {
                // Answers are 0 or more, so that a 0 in the place of one that reaches into padding is never the largest.
                answers = answers * mask(&whole, steps, &device);
            }
            answers.max_dim(1).reshape([batch, filters])
        });
        Tensor::cat(answers.collect(), 1)
    }
}

/// 1 at the first so many steps of each row and 0 behind them, `[rows, steps, 1]`.
fn mask(counts: &[usize], steps: usize, device: &Device) -> Tensor<3> {
    let values: Vec<f32> =
        counts.iter().flat_map(|&count| (0..steps).map(move |step| f32::from(u8::from(step < count)))).collect();
    Tensor::from_data(TensorData::new(values, [counts.len(), steps, 1]), device)
}

impl SequenceClassifier for TextCnn {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn context(&self) -> usize {
        self.config.context_length
    }

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }

    fn padding(&self) -> usize {
        self.config.pad_token_id.unwrap_or(0)
    }

    fn logits(&self, inputs: &Inputs, dropout_seed: Option<u64>) -> Tensor<2> {
        let features = Dropouts::new(dropout_seed).apply(self.features(inputs).unsqueeze(), self.config.dropout, 0);
        let batch = features.dims()[1];
        self.classifier.forward(features).reshape([batch, self.labels.len()])
    }

    fn save(&self, folder: &Path) -> Result<(), ModelError> {
        std::fs::create_dir_all(folder).map_err(|source| ModelError::io(folder, source))?;
        let Value::Object(mut fields) = serde_json::to_value(&self.config).expect("a configuration is JSON") else {
            unreachable!("a configuration is an object")
        };
        fields.insert("model_type".into(), json!(MODEL_TYPE));
        fields.insert("architectures".into(), json!([CLASS]));
        fields.insert("torch_dtype".into(), json!("float32"));
        self.labels.write(&mut fields);
        weights::write_json(&folder.join("config.json"), &Value::Object(fields))?;
        weights::save(self, &folder.join("model.safetensors"))
    }
}
