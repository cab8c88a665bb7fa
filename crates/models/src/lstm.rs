//! Recurrent networks over tokens: the plain one (Elman 1990), the LSTM (Hochreiter & Schmidhuber 1997) and the GRU (Cho et
//! al. 2014), as a language model (Mikolov et al. 2010) and, read in both directions (Graves & Schmidhuber 2005), as an encoder of texts that are
//! to be classified. Dropout falls between layers and never on what a layer tells itself (Zaremba et al. 2014).
//!
//! Transformers has no such family; parameters are stored under the names of PyTorch's word-level example: `encoder` (an
//! `Embedding`), `rnn` (an `RNN`, an `LSTM` or a `GRU`) and `decoder` (a `Linear`).

use crate::causal::Shape;
use crate::configuration::{File, check_positive, check_probabilities, check_sizes};
use crate::dropouts::Dropouts;
use crate::error::ModelError;
use crate::language_model::{Cache, LanguageModel};
use crate::weights::{self, Layout};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_nn::head::{self, Grades};
use loam_nn::initialize::{Initializer, mix};
use loam_nn::layers::Embedding;
use loam_nn::ops;
use loam_nn::recurrent::{self, Steps, Weights};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// What a layer does at every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cell {
    /// Elman 1990: a state, its tanh, and nothing that guards it.
    Rnn,
    /// Hochreiter & Schmidhuber 1997, with forget gates (Gers et al. 2000): four gates, a state and a cell.
    Lstm,
    /// Cho et al. 2014: three gates and a state.
    Gru,
}

impl Cell {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Rnn, Self::Lstm, Self::Gru];

    /// Its `model_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rnn => "rnn",
            Self::Lstm => "lstm",
            Self::Gru => "gru",
        }
    }

    fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }
}

/// `config.json` of a recurrent network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecurrentConfig {
    /// `rnn`, `lstm` or `gru`.
    #[serde(rename = "model_type")]
    pub cell: Cell,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the embeddings.
    pub embedding_size: usize,
    /// Width of a layer's state, in one direction.
    pub hidden_size: usize,
    /// Number of layers, each over the states of the one before.
    pub num_hidden_layers: usize,
    /// Tokens of a sequence in training. A state carries further, where nothing was learned.
    pub context_length: usize,
    /// Whether each layer also reads from the end: encoders only.
    #[serde(default)]
    pub bidirectional: bool,
    /// Whether the output layer's weights are the embeddings, which then are as wide as a state (Press & Wolf 2017).
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Dropout of the embeddings, between layers, and of the last layer's states.
    #[serde(default)]
    pub dropout: f64,
    /// Standard deviation of initial embeddings and output weights; a layer's is 1 / √(3 · hidden_size), which is that of
    /// PyTorch's uniform numbers.
    #[serde(default = "initializer_range")]
    pub initializer_range: f64,
}

fn initializer_range() -> f64 {
    0.1
}

impl RecurrentConfig {
    /// A network whose embeddings are as wide as its states and tied to the output, read forwards.
    pub fn new(cell: Cell, vocabulary: usize, context: usize, width: usize, layers: usize, dropout: f64) -> Self {
        Self {
            cell,
            vocab_size: vocabulary,
            embedding_size: width,
            hidden_size: width,
            num_hidden_layers: layers,
            context_length: context,
            bidirectional: false,
            tie_word_embeddings: true,
            dropout,
            initializer_range: initializer_range(),
        }
    }

    /// What it is, for records.
    pub fn shape(&self) -> Shape {
        let (width, layers) = (self.hidden_size, self.num_hidden_layers);
        Shape { family: self.cell.name(), width, layers, heads: 0, context: self.context_length }
    }

    fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    /// Width of what [`RecurrentEncoder::encode`] gives for every token.
    pub fn width(&self) -> usize {
        self.directions() * self.hidden_size
    }

    /// Width of what a layer reads.
    fn inputs(&self, layer: usize) -> usize {
        if layer == 0 { self.embedding_size } else { self.width() }
    }

    /// Number of parameters of embeddings and layers; none where it would not fit 64 bits.
    pub fn parameters(&self) -> Option<u64> {
        let [vocabulary, embedding, hidden, layers] =
            [self.vocab_size, self.embedding_size, self.hidden_size, self.num_hidden_layers].map(|size| size as u64);
        let directions = self.directions() as u64;
        let rows = hidden.checked_mul(self.cell.gates() as u64)?.checked_mul(directions)?;
        let layer = |inputs: u64| rows.checked_mul(inputs.checked_add(hidden)?.checked_add(2)?);
        let deeper = layer(directions.checked_mul(hidden)?)?.checked_mul(layers.checked_sub(1)?)?;
        vocabulary.checked_mul(embedding)?.checked_add(layer(embedding)?)?.checked_add(deeper)
    }

    /// Number of parameters of the output layer.
    fn head_parameters(&self) -> Option<u64> {
        let width = if self.tie_word_embeddings { 0 } else { self.hidden_size as u64 };
        (self.vocab_size as u64).checked_mul(width.checked_add(1)?)
    }

    pub(crate) fn check(&self) -> Result<(), ModelError> {
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("embedding_size", self.embedding_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("context_length", self.context_length),
        ])?;
        check_probabilities(&[("dropout", self.dropout)])?;
        check_positive(&[("initializer_range", self.initializer_range)])
    }

    fn check_language_model(&self) -> Result<(), ModelError> {
        self.check()?;
        if self.bidirectional {
            let reason = "bidirectional = true: a language model must not read what it is to predict";
            return Err(ModelError::Configuration(reason.into()));
        }
        if self.tie_word_embeddings && self.embedding_size != self.hidden_size {
            return Err(ModelError::Configuration(format!(
                "tie_word_embeddings = true needs embedding_size = {} and hidden_size = {} to be equal",
                self.embedding_size, self.hidden_size
            )));
        }
        Ok(())
    }
}

/// The parameters of one layer in one direction: PyTorch's layout and order of gates.
#[derive(Module, Debug)]
struct Direction {
    weight_ih: Param<Tensor<2>>,
    weight_hh: Param<Tensor<2>>,
    bias_ih: Param<Tensor<1>>,
    bias_hh: Param<Tensor<1>>,
}

/// One layer, in one direction or in both.
#[derive(Module, Debug)]
struct Layer {
    forward: Direction,
    backward: Option<Direction>,
}

impl Direction {
    fn new(config: &RecurrentConfig, inputs: usize, draw: &mut Initializer) -> Self {
        let (rows, hidden) = (config.cell.gates() * config.hidden_size, config.hidden_size);
        let deviation = 1.0 / (3.0 * hidden as f64).sqrt();
        Self {
            weight_ih: draw.normal([rows, inputs], deviation),
            weight_hh: draw.normal([rows, hidden], deviation),
            bias_ih: draw.normal([rows], deviation),
            bias_hh: draw.normal([rows], deviation),
        }
    }

    fn weights(&self) -> Weights {
        Weights {
            weight_ih: self.weight_ih.val(),
            weight_hh: self.weight_hh.val(),
            bias_ih: self.bias_ih.val(),
            bias_hh: self.bias_hh.val(),
        }
    }

    fn run(&self, x: Tensor<3>, cell: Cell, steps: Steps) -> Tensor<3> {
        match cell {
            Cell::Rnn => recurrent::rnn(x, self.weights(), None, steps),
            Cell::Lstm => recurrent::lstm(x, self.weights(), None, None, steps),
            Cell::Gru => recurrent::gru(x, self.weights(), None, steps),
        }
    }
}

/// Embeddings and recurrent layers, in one direction or in both: the states after every token.
#[derive(Module, Debug)]
pub struct RecurrentEncoder {
    encoder: Embedding,
    layers: Vec<Layer>,
    #[module(skip)]
    config: RecurrentConfig,
}

impl RecurrentEncoder {
    /// A new encoder, from a seed.
    ///
    /// # Errors
    /// When the configuration is impossible.
    pub fn new(config: RecurrentConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        config.check()?;
        let mut draw = Initializer::new(seed, device);
        let encoder = Embedding::new(config.vocab_size, config.embedding_size, config.initializer_range, &mut draw);
        let layer = |layer| Layer {
            forward: Direction::new(&config, config.inputs(layer), &mut draw),
            backward: config.bidirectional.then(|| Direction::new(&config, config.inputs(layer), &mut draw)),
        };
        let layers = (0..config.num_hidden_layers).map(layer).collect();
        Ok(Self { encoder, layers, config })
    }

    /// Reads `config.json` and `model.safetensors` of a folder. An output layer over words or labels is passed over.
    ///
    /// # Errors
    /// When a file is missing or broken, or is not a recurrent network.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let (file, config) = read(folder)?;
        config.check()?;
        let path = file.weights(config.parameters())?;
        let layout = Layout {
            names: &|name| vec![stored(name)],
            passed_over: &|name| name.starts_with("decoder.") || name.starts_with("classifier."),
        };
        weights::load_as(Self::new(config, 0, device)?, &path, &layout)
    }

    /// The configuration.
    pub fn config(&self) -> &RecurrentConfig {
        &self.config
    }

    /// The last layer's states after every token of `ids` `[batch, time]`: `[batch, time, width]`, of two directions the
    /// forward one first; zeros at padding, which stands behind each row's `lengths` where those are given. With a seed,
    /// dropout is on and follows from it alone.
    pub fn encode(&self, ids: Tensor<2, Int>, lengths: Option<Vec<usize>>, dropout_seed: Option<u64>) -> Tensor<3> {
        let dropouts = Dropouts::new(dropout_seed);
        let mut x = ops::embed_tokens(self.encoder.weight.val(), ids, 1.0);
        for (number, layer) in self.layers.iter().enumerate() {
            x = dropouts.apply(x, self.config.dropout, number as u64);
            let steps = |reverse| Steps { lengths: lengths.clone(), reverse };
            let forward = layer.forward.run(x.clone(), self.config.cell, steps(false));
            x = match &layer.backward {
                Some(backward) => Tensor::cat(vec![forward, backward.run(x, self.config.cell, steps(true))], 2),
                None => forward,
            };
        }
        dropouts.apply(x, self.config.dropout, self.layers.len() as u64)
    }

    /// A vector of every sequence, `[batch, width]`, out of what [`RecurrentEncoder::encode`] gave: each direction's state
    /// where it ends, the forward one after the last token that counts and the backward one at the first.
    pub fn pool(&self, states: Tensor<3>, lengths: Option<&[usize]>) -> Tensor<2> {
        let ([batch, time, width], hidden) = (states.dims(), self.config.hidden_size);
        let last = |row: usize| lengths.map_or(time, |lengths| lengths[row]).saturating_sub(1);
        let rows: Vec<i64> = (0..batch).map(|row| (row * time + last(row)) as i64).collect();
        let rows = Tensor::from_data(TensorData::new(rows, [1, batch]), &states.device());
        let forward = states.clone().narrow(2, 0, hidden).reshape([batch * time, hidden]);
        let forward = ops::embed_tokens(forward, rows, 1.0).reshape([batch, hidden]);
        if width == hidden {
            return forward;
        }
        let backward = states.narrow(2, hidden, hidden).narrow(1, 0, 1).reshape([batch, hidden]);
        Tensor::cat(vec![forward, backward], 1)
    }

    /// Writes `config.json` and `model.safetensors`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        write(self, &self.config, folder)
    }
}

/// The output layer; without a weight, the embeddings are.
#[derive(Module, Debug)]
struct Decoder {
    weight: Option<Param<Tensor<2>>>,
    bias: Param<Tensor<1>>,
}

/// A recurrent language model. Every sequence begins with a state of zeros.
#[derive(Module, Debug)]
pub struct Recurrent {
    body: RecurrentEncoder,
    decoder: Decoder,
}

impl Recurrent {
    /// A new model, from a seed.
    ///
    /// # Errors
    /// When the configuration is impossible, or reads both ways.
    pub fn new(config: RecurrentConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        config.check_language_model()?;
        let mut draw = Initializer::new(mix(seed), device);
        let shape = [config.vocab_size, config.hidden_size];
        let decoder = Decoder {
            weight: (!config.tie_word_embeddings).then(|| draw.normal(shape, config.initializer_range)),
            bias: draw.constant([config.vocab_size], 0.0),
        };
        Ok(Self { body: RecurrentEncoder::new(config, seed, device)?, decoder })
    }

    /// Reads `config.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// When a file is missing or broken, or is not a recurrent language model.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let (file, config) = read(folder)?;
        config.check_language_model()?;
        let tied = config.tie_word_embeddings;
        let parameters = config.parameters().zip(config.head_parameters());
        let path = file.weights(parameters.and_then(|(body, head)| body.checked_add(head)))?;
        let layout = Layout {
            names: &|name| vec![stored(name)],
            // PyTorch stores a tied weight twice.
            passed_over: &|name| tied && name == "decoder.weight",
        };
        weights::load_as(Self::new(config, 0, device)?, &path, &layout)
    }

    /// The configuration.
    pub fn config(&self) -> &RecurrentConfig {
        &self.body.config
    }

    /// The output layer's weight, `[vocabulary, hidden]`.
    fn output(&self) -> Tensor<2> {
        self.decoder.weight.as_ref().unwrap_or(&self.body.encoder.weight).val()
    }
}

impl LanguageModel for Recurrent {
    fn loss(
        &self,
        inputs: Tensor<2, Int>,
        targets: Tensor<1, Int>,
        scale: f32,
        dropout_seed: Option<u64>,
    ) -> Tensor<1> {
        let states = self.body.encode(inputs, None, dropout_seed);
        head::loss(states, self.output(), self.decoder.bias.val(), targets, head::Loss::scaled(scale))
    }

    fn token_grades(&self, inputs: Tensor<2, Int>, targets: Tensor<1, Int>) -> Grades {
        head::token_grades(self.body.encode(inputs, None, None), self.output(), self.decoder.bias.val(), targets)
    }

    fn logits(&self, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<3> {
        let time = inputs.dims()[1];
        let mut x = ops::embed_tokens(self.body.encoder.weight.val().inner(), inputs, 1.0);
        let mut states = Vec::with_capacity(self.body.layers.len());
        for (number, layer) in self.body.layers.iter().enumerate() {
            let (hidden, cell) = cache.states.get(number).cloned().map_or((None, None), |(h, c)| (Some(h), c));
            let weights = layer.forward.weights();
            let steps = Steps::default();
            let state;
            (x, state) = match self.config().cell {
                Cell::Rnn => {
                    let (y, hidden) = recurrent::rnn_with_state(x, weights, hidden, steps);
                    (y, (hidden, None))
                }
                Cell::Lstm => {
                    let (y, hidden, cell) = recurrent::lstm_with_state(x, weights, hidden, cell, steps);
                    (y, (hidden, Some(cell)))
                }
                Cell::Gru => {
                    let (y, hidden) = recurrent::gru_with_state(x, weights, hidden, steps);
                    (y, (hidden, None))
                }
            };
            states.push(state);
        }
        cache.states = states;
        cache.read += time;
        head::logits(x, self.output().inner(), self.decoder.bias.val().inner())
    }

    fn context(&self) -> usize {
        self.config().context_length
    }

    fn vocabulary(&self) -> usize {
        self.config().vocab_size
    }

    fn non_embedding_parameters(&self) -> u64 {
        let embeddings = self.config().vocab_size * self.config().embedding_size;
        (self.num_params() - embeddings) as u64
    }

    fn save(&self, folder: &Path, end_of_text: Option<u32>) -> Result<(), ModelError> {
        write(self, self.config(), folder)?;
        let generation = json!({ "bos_token_id": end_of_text, "eos_token_id": end_of_text });
        weights::write_json(&folder.join("generation_config.json"), &generation)
    }
}

/// A folder's configuration, unchecked.
pub(crate) fn read(folder: &Path) -> Result<(File, RecurrentConfig), ModelError> {
    let file = File::read(folder, &Cell::ALL.map(Cell::name))?;
    let config = serde_json::from_value(file.value.clone()).map_err(|error| {
        ModelError::format(&file.path, format!("is not a recurrent network's configuration: {error}"))
    })?;
    Ok((file, config))
}

fn write<M: Module>(module: &M, config: &RecurrentConfig, folder: &Path) -> Result<(), ModelError> {
    std::fs::create_dir_all(folder).map_err(|source| ModelError::io(folder, source))?;
    let mut fields = serde_json::to_value(config).expect("a configuration is JSON");
    fields["torch_dtype"] = Value::from("float32");
    weights::write_json(&folder.join("config.json"), &fields)?;
    weights::save_as(module, &folder.join("model.safetensors"), &stored)
}

/// PyTorch's name of one of our parameters: `rnn.weight_ih_l0_reverse` for `body.layers.0.backward.weight_ih`.
pub(crate) fn stored(parameter: &str) -> String {
    let ours = parameter.strip_prefix("body.").unwrap_or(parameter);
    let parts: Vec<&str> = ours.split('.').collect();
    match parts[..] {
        ["layers", layer, "forward", weight] => format!("rnn.{weight}_l{layer}"),
        ["layers", layer, "backward", weight] => format!("rnn.{weight}_l{layer}_reverse"),
        _ => ours.to_owned(),
    }
}
