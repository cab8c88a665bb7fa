//! Decoders that label whole texts: what the last token's hidden state says of all that it has seen, as
//! `GPT2ForSequenceClassification`, `LlamaForSequenceClassification` and their relations have it.

use crate::bert::Inputs;
use crate::causal::CausalModel;
use crate::classifier::SequenceClassifier;
use crate::configuration::{File, check_class};
use crate::error::ModelError;
use crate::gpt::Gpt;
use crate::labels::Labels;
use crate::language_model::LanguageModel;
use crate::llama::{self, Llama};
use crate::weights::{self, Layout};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_nn::initialize::{Initializer, mix};
use loam_nn::layers::Projection;
use serde_json::{Map, Value, json};
use std::path::Path;

/// What the head's class in transformers ends with.
const CLASS: &str = "ForSequenceClassification";

/// A decoder without its output layer, and a head of one matrix upon it.
#[derive(Module, Debug)]
pub struct SequenceCausal {
    body: CausalModel,
    score: Projection,
    #[module(skip)]
    labels: Labels,
    #[module(skip)]
    padding: usize,
}

impl SequenceCausal {
    /// A new head, from a seed, on a decoder as it is. `padding` is the id that fills short rows; transformers tells a text's last
    /// token by it.
    ///
    /// # Errors
    /// When the model is a recurrent one, whose classifiers read from both ends.
    pub fn new(
        body: CausalModel,
        labels: Labels,
        padding: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let body = body.without_output()?;
        let mut draw = Initializer::new(mix(mix(seed) ^ 0x0073_636f_7265), device);
        let score = Projection::new(body.shape().width, labels.len(), false, 0.02, &mut draw);
        Ok(Self { body, score, labels, padding })
    }

    /// Every `model_type` that [`SequenceCausal::load`] knows.
    pub fn model_types() -> Vec<&'static str> {
        ["gpt2"].into_iter().chain(llama::Family::ALL.map(llama::Family::name)).collect()
    }

    /// Reads `config.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// When a file is missing or broken, is of another family, or has another head or none: that is never made up.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let file = File::read(folder, &Self::model_types())?;
        check_class(&file, CLASS)?;
        let class = file.value["architectures"][0].as_str().unwrap_or_default();
        if !class.ends_with(CLASS) {
            let reason = format!(
                "architectures has {class:?}, a model without a head over texts; one that has it is read, and a new head is made \
                 only where one is asked for"
            );
            return Err(ModelError::format(&file.path, reason));
        }
        let labels = Labels::from_json(&file.value)?;
        let id = |key: &str| file.value.get(key).and_then(Value::as_u64).map(|id| id as usize);
        let padding = id("pad_token_id").or(id("eos_token_id")).unwrap_or(0);
        let (body, parameters) = if file.family == "gpt2" {
            let config = Gpt::configuration(&file)?;
            let parameters = config.parameters();
            (CausalModel::Gpt(Gpt::new(config, 0, device)?), parameters)
        } else {
            let config = Llama::configuration(&file)?;
            let parameters = config.parameters();
            (CausalModel::Llama(Llama::new(config, 0, device)?), parameters)
        };
        let path = file.weights(parameters)?;
        let model = Self::new(body, labels, padding, 0, device)?;
        let layout = Layout {
            names: &|name| vec![Self::stored(name)],
            passed_over: &|name| {
                let constant = [".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias"];
                name == "lm_head.weight" || constant.iter().any(|end| name.ends_with(end))
            },
        };
        weights::load_as(model, &path, &layout)
    }

    /// The decoder.
    pub fn body(&self) -> &CausalModel {
        &self.body
    }

    /// What files call a parameter.
    pub(crate) fn stored(parameter: &str) -> String {
        parameter.strip_prefix("body.").unwrap_or(parameter).to_owned()
    }
}

impl SequenceClassifier for SequenceCausal {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn context(&self) -> usize {
        self.body.context()
    }

    fn vocabulary(&self) -> usize {
        self.body.vocabulary()
    }

    fn padding(&self) -> usize {
        self.padding
    }

    fn logits(&self, inputs: &Inputs, dropout_seed: Option<u64>) -> Tensor<2> {
        let hidden = self.body.hidden(inputs.ids.clone(), dropout_seed);
        let [batch, time, width] = hidden.dims();
        // No token sees those behind it, and so none sees padding.
        let last = |row: usize| {
            let length = inputs.lengths.as_ref().map_or(time, |lengths| lengths[row]);
            (row * time + length.max(1) - 1) as i64
        };
        let last: Vec<i64> = (0..batch).map(last).collect();
        let last = Tensor::<1, Int>::from_data(TensorData::new(last, [batch]), &hidden.device());
        let states = hidden.reshape([batch * time, width]).select(0, last).reshape([1, batch, width]);
        self.score.forward(states).reshape([batch, self.labels.len()])
    }

    fn save(&self, folder: &Path) -> Result<(), ModelError> {
        std::fs::create_dir_all(folder).map_err(|source| ModelError::io(folder, source))?;
        let mut fields: Map<String, Value> = self.body.configuration()?;
        let class = fields["architectures"][0].as_str().unwrap_or_default().to_owned();
        let family = class.split("LMHeadModel").next().unwrap_or_default();
        let family = family.split("ForCausalLM").next().unwrap_or_default();
        // The one of the family whose class for texts alone has a name of its own.
        let family = if family == "Gemma3" { "Gemma3Text" } else { family };
        fields.insert("architectures".into(), json!([format!("{family}{CLASS}")]));
        fields.insert("pad_token_id".into(), json!(self.padding));
        self.labels.write(&mut fields);
        weights::write_json(&folder.join("config.json"), &Value::Object(fields))?;
        weights::save_as(self, &folder.join("model.safetensors"), &Self::stored)
    }
}
