//! Recurrent networks that label tokens, with or without a conditional random field over the labels (Huang et al. 2015). Files are
//! those of [`crate::lstm`] with `classifier` (a `Linear`) and `crf` in the place of the output over words.

use crate::bert::Inputs;
use crate::configuration::check_class;
use crate::crf::Crf;
use crate::error::ModelError;
use crate::labels::Labels;
use crate::lstm::{self, RecurrentConfig, RecurrentEncoder};
use crate::weights::{self, Layout};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use loam_nn::initialize::{Initializer, mix};
use loam_nn::layers::Dense;
use serde_json::{Value, json};
use std::path::Path;

/// What `architectures` says of such a network.
const CLASS: &str = "RecurrentForTokenClassification";

/// A recurrent network that labels tokens.
#[derive(Module, Debug)]
pub struct RecurrentTagger {
    body: RecurrentEncoder,
    classifier: Dense,
    crf: Option<Crf>,
    #[module(skip)]
    labels: Labels,
}

impl RecurrentTagger {
    /// A new network, from a seed.
    ///
    /// # Errors
    /// When the configuration is impossible.
    pub fn new(
        config: RecurrentConfig,
        crf: bool,
        labels: Labels,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ModelError> {
        Ok(Self::on(RecurrentEncoder::new(config, seed, device)?, crf, labels, seed, device))
    }

    /// A new output layer, from a seed, on an encoder as it is.
    pub fn on(body: RecurrentEncoder, crf: bool, labels: Labels, seed: u64, device: &Device) -> Self {
        let width = body.config().width();
        let deviation = 1.0 / (3.0 * width as f64).sqrt();
        let mut draw = Initializer::new(mix(!seed), device);
        let classifier = Dense::new(width, labels.len(), deviation, &mut draw);
        let crf = crf.then(|| Crf::new(labels.len(), &mut draw));
        Self { body, classifier, crf, labels }
    }

    /// Reads `config.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// When a file is missing or broken, or is not a recurrent network with an output layer over labels of tokens.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let (file, config) = lstm::read(folder)?;
        check_class(&file, CLASS)?;
        config.check()?;
        let crf = match file.value.get("crf") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(crf)) => *crf,
            Some(other) => {
                return Err(ModelError::format(&file.path, format!("crf = {other} is neither true nor false")));
            }
        };
        let labels = Labels::from_json(&file.value)?;
        let tags = labels.len() as u64;
        let head = (config.width() as u64).checked_mul(tags).zip(tags.checked_mul(tags));
        let head = head.and_then(|(dense, between)| dense.checked_add(if crf { between } else { 0 }));
        let path = file.weights(config.parameters().zip(head).and_then(|(body, head)| body.checked_add(head)))?;
        let layout =
            Layout { names: &|name| vec![lstm::stored(name)], passed_over: &|name| name.starts_with("decoder.") };
        weights::load_as(Self::new(config, crf, labels, 0, device)?, &path, &layout)
    }

    /// The encoder.
    pub fn encoder(&self) -> &RecurrentEncoder {
        &self.body
    }

    /// What its outputs are called.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The field over the labels, where there is one.
    pub fn crf(&self) -> Option<&Crf> {
        self.crf.as_ref()
    }

    /// The logits of every label at every token, `[batch, time, labels]`; those of padding mean nothing.
    pub fn logits(&self, inputs: &Inputs, dropout_seed: Option<u64>) -> Tensor<3> {
        let states = self.body.encode(inputs.ids.clone(), inputs.lengths.clone(), dropout_seed);
        self.classifier.forward(states)
    }

    /// Writes `config.json` and `model.safetensors`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        std::fs::create_dir_all(folder).map_err(|source| ModelError::io(folder, source))?;
        let Value::Object(mut fields) = serde_json::to_value(self.body.config()).expect("a configuration is JSON")
        else {
            unreachable!("a configuration is an object")
        };
        fields.insert("architectures".into(), json!([CLASS]));
        fields.insert("crf".into(), json!(self.crf.is_some()));
        fields.insert("torch_dtype".into(), json!("float32"));
        self.labels.write_names(&mut fields);
        weights::write_json(&folder.join("config.json"), &Value::Object(fields))?;
        weights::save_as(self, &folder.join("model.safetensors"), &lstm::stored)
    }
}
