//! Low-rank adapters (Hu et al. 2022): a trained weight W stays as it is, and what training adds to it is a product of two
//! thin matrices, W + (α / r) · B A, with A `[r, inputs]` and B `[outputs, r]`. B begins at zero, so that training begins
//! at W.
//!
//! A model does not know of its adapters. [`Adapted`] hands it weights that are the sum, made anew for every batch, and
//! only the adapters are parameters: the base takes no gradient, no moments and no place in a checkpoint. Forming the
//! sum costs a pass over the adapted matrices, little beside a batch; their gradient passes to A and B through it.
//!
//! Files are PEFT's: `adapter_config.json` and `adapter_model.safetensors`.

use crate::bert::{Bert, NextSentenceBert, PretrainingBert, SequenceBert, SpanBert, TokenBert};
use crate::causal::CausalModel;
use crate::classifier::Classifier;
use crate::error::ModelError;
use crate::sequence_causal::SequenceCausal;
use crate::tagger::Tagger;
use crate::weights::{self, Tensors};
use crate::{MaskedBert, Seq2Seq, SourceToTarget, T5};
use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use loam_nn::initialize::mix;
use loam_nn::parameters::{self, Parameter};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What stands for every dense layer in a list of targets, but for embeddings and the output.
pub const ALL_LINEAR: &str = "all-linear";

/// The name of an adapter's configuration.
pub const CONFIGURATION: &str = "adapter_config.json";

/// The names of an adapter's weights, the one that is written first.
const WEIGHTS: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

/// What adapters are to be.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// Rank r of the product.
    pub rank: usize,
    /// α: the product counts α / r times.
    pub alpha: f64,
    /// Names of layers, or ends of such names, as `q_proj`; empty for the family's usual ones.
    pub targets: Vec<String>,
}

/// A model that can carry adapters.
pub trait Adaptable: Module {
    /// The name under which a parameter is stored.
    fn stored_name(&self, parameter: &str) -> String;

    /// Layers that are adapted where nothing else is said: those of PEFT.
    fn usual_targets(&self) -> &'static [&'static str];

    /// Whether dense weights lie as `[inputs, outputs]`, as GPT-2's do.
    fn inputs_first(&self) -> bool {
        false
    }

    /// What PEFT calls the task.
    fn task(&self) -> Option<&'static str>;

    /// Whether a parameter is one of a head, which is new where a model is trained for a task and so is trained whole beside the
    /// adapters: PEFT's `modules_to_save`.
    fn is_head(&self, parameter: &str) -> bool {
        let _ = parameter;
        false
    }
}

impl Adaptable for CausalModel {
    fn stored_name(&self, parameter: &str) -> String {
        parameter.to_owned()
    }

    fn usual_targets(&self) -> &'static [&'static str] {
        match self {
            Self::Gpt(_) => &["c_attn"],
            Self::Llama(_) => &["q_proj", "v_proj"],
            Self::Recurrent(_) => &[],
        }
    }

    fn inputs_first(&self) -> bool {
        matches!(self, Self::Gpt(_))
    }

    fn task(&self) -> Option<&'static str> {
        Some("CAUSAL_LM")
    }
}

macro_rules! adapts_berts {
    ($($model:ty: $task:expr),+) => {
        $(impl Adaptable for $model {
            fn stored_name(&self, parameter: &str) -> String {
                self.config().family.stored(parameter)
            }

            fn usual_targets(&self) -> &'static [&'static str] {
                &["query", "value", "q_lin", "v_lin"]
            }

            fn task(&self) -> Option<&'static str> {
                $task
            }

            fn is_head(&self, parameter: &str) -> bool {
                parameter.contains("pooler") || !parameter.starts_with("bert.")
            }
        })+
    };
}

adapts_berts!(
    MaskedBert: None,
    PretrainingBert: None,
    NextSentenceBert: None,
    SequenceBert: Some("SEQ_CLS"),
    TokenBert: Some("TOKEN_CLS"),
    SpanBert: Some("QUESTION_ANS")
);

impl Adaptable for Bert {
    fn stored_name(&self, parameter: &str) -> String {
        self.config().family.stored(&format!("bert.{parameter}"))
    }

    fn usual_targets(&self) -> &'static [&'static str] {
        &["query", "value", "q_lin", "v_lin"]
    }

    fn task(&self) -> Option<&'static str> {
        Some("FEATURE_EXTRACTION")
    }
}

impl Adaptable for SequenceCausal {
    fn stored_name(&self, parameter: &str) -> String {
        Self::stored(parameter)
    }

    fn usual_targets(&self) -> &'static [&'static str] {
        self.body().usual_targets()
    }

    fn inputs_first(&self) -> bool {
        self.body().inputs_first()
    }

    fn task(&self) -> Option<&'static str> {
        Some("SEQ_CLS")
    }

    fn is_head(&self, parameter: &str) -> bool {
        parameter.starts_with("score.")
    }
}

impl Adaptable for Classifier {
    fn stored_name(&self, parameter: &str) -> String {
        match self {
            Self::Bert(model) => model.stored_name(parameter),
            Self::Causal(model) => model.stored_name(parameter),
            Self::TextCnn(_) | Self::Recurrent(_) => parameter.to_owned(),
        }
    }

    fn usual_targets(&self) -> &'static [&'static str] {
        match self {
            Self::Bert(model) => model.usual_targets(),
            Self::Causal(model) => model.usual_targets(),
            Self::TextCnn(_) | Self::Recurrent(_) => &[],
        }
    }

    fn inputs_first(&self) -> bool {
        matches!(self, Self::Causal(model) if model.inputs_first())
    }

    fn task(&self) -> Option<&'static str> {
        Some("SEQ_CLS")
    }

    fn is_head(&self, parameter: &str) -> bool {
        match self {
            Self::Bert(model) => model.is_head(parameter),
            Self::Causal(model) => model.is_head(parameter),
            Self::TextCnn(_) | Self::Recurrent(_) => false,
        }
    }
}

impl Adaptable for Tagger {
    fn stored_name(&self, parameter: &str) -> String {
        match self {
            Self::Bert(model) => model.stored_name(parameter),
            Self::Recurrent(_) => parameter.to_owned(),
        }
    }

    fn usual_targets(&self) -> &'static [&'static str] {
        match self {
            Self::Bert(model) => model.usual_targets(),
            Self::Recurrent(_) => &[],
        }
    }

    fn task(&self) -> Option<&'static str> {
        Some("TOKEN_CLS")
    }

    fn is_head(&self, parameter: &str) -> bool {
        matches!(self, Self::Bert(model) if model.is_head(parameter))
    }
}

impl Adaptable for Seq2Seq {
    fn stored_name(&self, parameter: &str) -> String {
        parameter.to_owned()
    }

    fn usual_targets(&self) -> &'static [&'static str] {
        &["q_proj", "v_proj"]
    }

    fn task(&self) -> Option<&'static str> {
        Some("SEQ_2_SEQ_LM")
    }
}

impl Adaptable for T5 {
    fn stored_name(&self, parameter: &str) -> String {
        parameter.to_owned()
    }

    fn usual_targets(&self) -> &'static [&'static str] {
        &["q", "v"]
    }

    fn task(&self) -> Option<&'static str> {
        Some("SEQ_2_SEQ_LM")
    }
}

impl Adaptable for SourceToTarget {
    fn stored_name(&self, parameter: &str) -> String {
        parameter.to_owned()
    }

    fn usual_targets(&self) -> &'static [&'static str] {
        match self {
            Self::Seq2Seq(model) => model.usual_targets(),
            Self::T5(model) => model.usual_targets(),
        }
    }

    fn task(&self) -> Option<&'static str> {
        Some("SEQ_2_SEQ_LM")
    }
}

/// One adapter.
#[derive(Clone, Debug)]
struct Adapter {
    /// The layer that it adapts, as it is stored.
    layer: String,
    /// The place of the layer's weight among the base's parameters.
    place: usize,
    /// A, `[rank, inputs]`.
    a: Param<Tensor<2>>,
    /// B, `[outputs, rank]`.
    b: Param<Tensor<2>>,
}

/// What training adds to a parameter of a head: all of its values.
#[derive(Clone, Debug)]
struct Whole {
    /// The parameter, as the model calls it.
    name: String,
    /// Its place among the base's parameters.
    place: usize,
    /// Its size: the first dimension, and the product of the others.
    added: Param<Tensor<2>>,
}

/// A model with adapters, which alone are its parameters, or they and its head.
#[derive(Clone, Debug)]
pub struct Adapted<M> {
    /// Without differentiation.
    base: M,
    adapters: Vec<Adapter>,
    heads: Vec<Whole>,
    config: LoraConfig,
    inputs_first: bool,
    /// What the base is called: a folder, a file, or a name on the Hub.
    origin: String,
}

/// A layer that can be adapted.
struct Layer {
    name: String,
    place: usize,
    inputs: usize,
    outputs: usize,
}

/// Matrices that are tables, not layers.
fn is_table(name: &str) -> bool {
    let parts = ["embed", "wte", "wpe", "lm_head", "shared", "decoder.weight", "final_logits", "predictions"];
    let positions = name.ends_with("relative_attention_bias.weight");
    positions || parts.iter().any(|part| name.contains(part))
}

fn layers<M: Adaptable>(model: &M) -> Vec<Layer> {
    let of = |(place, parameter): (usize, Parameter)| {
        if model.is_head(&parameter.name) {
            return None;
        }
        let stored = model.stored_name(&parameter.name);
        let name = stored.strip_suffix(".weight")?.to_owned();
        let [one, two] = parameter.shape[..] else { return None };
        let (inputs, outputs) = if model.inputs_first() { (one, two) } else { (two, one) };
        (!is_table(&stored)).then_some(Layer { name, place, inputs, outputs })
    };
    parameters::list(model).into_iter().enumerate().filter_map(of).collect()
}

/// Whether a layer is meant by a target, as PEFT has it: its name, or the end of it from a dot on.
fn is_meant(layer: &str, target: &str) -> bool {
    layer == target || layer.strip_suffix(target).is_some_and(|rest| rest.ends_with('.'))
}

/// The last parts of layers' names, each once, for messages.
fn kinds(layers: &[Layer]) -> String {
    let mut kinds: Vec<&str> = layers.iter().filter_map(|layer| layer.name.rsplit('.').next()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.join(", ")
}

impl<M: Adaptable> Adapted<M> {
    /// New adapters on a base that is not differentiated; they themselves are where `device` is. A is drawn uniformly as
    /// Kaiming's with a = √5 has it (He et al. 2015), between ∓1/√inputs, from a seed.
    ///
    /// # Errors
    /// When a target names no layer, or the rank is larger than a layer.
    pub fn new(base: M, origin: &str, config: LoraConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        let layers = layers(&base);
        let usual: Vec<String> = base.usual_targets().iter().map(|&name| name.to_owned()).collect();
        let targets = if config.targets.is_empty() { &usual } else { &config.targets };
        if targets.is_empty() || layers.is_empty() {
            return Err(ModelError::Request("adapters are for Transformers, which this model is not".to_owned()));
        }
        let all = targets.iter().any(|target| target == ALL_LINEAR);
        for target in targets.iter().filter(|target| *target != ALL_LINEAR && !config.targets.is_empty()) {
            if !layers.iter().any(|layer| is_meant(&layer.name, target)) {
                return Err(ModelError::Request(format!(
                    "lora.targets: no layer is called \"{target}\"; this model has {}, and {ALL_LINEAR} means all of them",
                    kinds(&layers)
                )));
            }
        }
        let meant = |layer: &&Layer| all || targets.iter().any(|target| is_meant(&layer.name, target));
        let chosen: Vec<&Layer> = layers.iter().filter(meant).collect();
        if let Some(layer) = chosen.iter().find(|layer| config.rank > layer.inputs.min(layer.outputs)) {
            return Err(ModelError::Request(format!(
                "lora.rank = {} is more than {} of {} by {} can hold",
                config.rank, layer.name, layer.outputs, layer.inputs
            )));
        }
        let adapter = |(number, layer): (usize, &&Layer)| {
            let bound = 1.0 / (layer.inputs as f64).sqrt();
            let key = mix(seed ^ mix(number as u64));
            let uniform = |at: usize| (mix(key ^ mix(at as u64)) >> 11) as f64 / (1_u64 << 53) as f64;
            let a: Vec<f32> =
                (0..config.rank * layer.inputs).map(|at| ((2.0 * uniform(at) - 1.0) * bound) as f32).collect();
            let b = vec![0.0; layer.outputs * config.rank];
            let a = parameters::from_host(a, device).reshape([config.rank, layer.inputs]);
            let b = parameters::from_host(b, device).reshape([layer.outputs, config.rank]);
            let (a, b) = (Param::from_tensor(a), Param::from_tensor(b));
            Adapter { layer: layer.name.clone(), place: layer.place, a, b }
        };
        let adapters = chosen.iter().enumerate().map(adapter).collect();
        let inputs_first = base.inputs_first();
        Ok(Self { base, adapters, heads: Vec::new(), config, inputs_first, origin: origin.to_owned() })
    }

    /// The same with a head that is trained whole: see [`Adaptable::is_head`].
    #[must_use]
    pub fn with_head(mut self, device: &Device) -> Self {
        let of = |(place, parameter): (usize, Parameter)| {
            let rows = parameter.shape.first().copied().unwrap_or(1);
            let columns = parameter.count() / rows.max(1);
            let none = parameters::from_host(vec![0.0; rows * columns], device).reshape([rows, columns]);
            let added = Param::from_tensor(none);
            self.base.is_head(&parameter.name).then(|| Whole { name: parameter.name.clone(), place, added })
        };
        self.heads = parameters::list(&self.base).into_iter().enumerate().filter_map(of).collect();
        self
    }

    /// The base.
    pub fn base(&self) -> &M {
        &self.base
    }

    /// What the adapters are.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// The base with the adapters' products added to its weights, through which gradients pass to the adapters; the
    /// other weights take none.
    pub fn effective(&self) -> M {
        let scale = self.config.alpha / self.config.rank as f64;
        let mut at = vec![None; parameters::list(&self.base).len()];
        for (number, adapter) in self.adapters.iter().enumerate() {
            at[adapter.place] = Some(number);
        }
        let differentiated = self.adapters.first().is_some_and(|adapter| adapter.a.val().is_autodiff());
        parameters::adapt(self.base.clone(), differentiated, |place| {
            if let Some(head) = self.heads.iter().find(|head| head.place == place) {
                return Some(head.added.val());
            }
            let adapter = &self.adapters[at[place]?];
            let product = adapter.b.val().matmul(adapter.a.val()) * scale;
            Some(if self.inputs_first { product.transpose() } else { product })
        })
    }

    /// The base with the adapters in its weights: a model like any other.
    pub fn merge(&self) -> M {
        self.valid().effective()
    }

    /// Writes PEFT's files.
    ///
    /// # Errors
    /// When a file cannot be written, and when a head was trained, which these files have no place for: [`Adapted::merge`] and save
    /// that.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        if !self.heads.is_empty() {
            let message = "adapters with a head are merged into their base before they are written";
            return Err(ModelError::Request(message.to_owned()));
        }
        std::fs::create_dir_all(folder).map_err(|source| ModelError::io(folder, source))?;
        let mut kinds: Vec<&str> =
            self.adapters.iter().filter_map(|adapter| adapter.layer.rsplit('.').next()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        // Exactly the layers that are adapted, where ends of names would mean more of them.
        let all = layers(&self.base);
        let meant = all.iter().filter(|layer| kinds.iter().any(|kind| is_meant(&layer.name, kind))).count();
        let full: Vec<&str> = self.adapters.iter().map(|adapter| adapter.layer.as_str()).collect();
        let config = json!({
            "peft_type": "LORA",
            "task_type": self.base.task(),
            "base_model_name_or_path": self.origin,
            "r": self.config.rank,
            "lora_alpha": self.config.alpha,
            "lora_dropout": 0.0,
            "target_modules": if meant == full.len() { kinds } else { full },
            "fan_in_fan_out": self.inputs_first,
            "bias": "none",
            "use_rslora": false,
            "use_dora": false,
            "modules_to_save": null,
            "inference_mode": true,
        });
        weights::write_json(&folder.join(CONFIGURATION), &config)?;
        let host = |tensor: Tensor<2>| {
            let shape = tensor.dims().to_vec();
            let [rows, columns] = tensor.dims();
            (shape, parameters::to_host(tensor.reshape([rows * columns])))
        };
        let mut tensors = Vec::new();
        for adapter in &self.valid().adapters {
            for (kind, tensor) in [("lora_A", adapter.a.val()), ("lora_B", adapter.b.val())] {
                let (shape, values) = host(tensor);
                tensors.push((format!("base_model.model.{}.{kind}.weight", adapter.layer), shape, values));
            }
        }
        weights::write_tensors(&folder.join(WEIGHTS[0]), &tensors)
    }

    /// Reads PEFT's files for a base.
    ///
    /// # Errors
    /// When a file is missing or broken, is of another kind of adapter, or belongs to another base.
    pub fn load(base: M, folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let (config, path) = read_config(folder)?;
        let wrong = |reason: String| ModelError::format(&path, reason);
        for (key, harmless) in [
            ("use_dora", json!(false)),
            ("bias", json!("none")),
            ("modules_to_save", Value::Null),
            ("rank_pattern", json!({})),
            ("alpha_pattern", json!({})),
            ("lora_bias", json!(false)),
            ("trainable_token_indices", Value::Null),
        ] {
            let said = &config[key];
            if !said.is_null() && *said != harmless {
                return Err(wrong(format!("{key} = {said} is not supported; Loam reads plain LoRA")));
            }
        }
        let number = |key: &str| config[key].as_f64().filter(|number| number.is_finite() && *number > 0.0);
        let (Some(rank), Some(mut alpha)) = (config["r"].as_u64().filter(|rank| *rank > 0), number("lora_alpha"))
        else {
            return Err(wrong("has no rank (r) or no lora_alpha".to_owned()));
        };
        if config["use_rslora"] == json!(true) {
            // Kalajdzievski 2023: α / √r.
            alpha *= (rank as f64).sqrt();
        }
        let file = WEIGHTS.iter().map(|name| folder.join(name)).find(|file| file.exists());
        let file = file.ok_or_else(|| ModelError::format(folder, format!("lacks {}", WEIGHTS.join(" and "))))?;
        let tensors = Tensors::open(&file)?;
        let layers = layers(&base);
        let mut adapters = Vec::new();
        let mut used = 0;
        for layer in &layers {
            let name = |kind: &str| format!("base_model.model.{}.{kind}.weight", layer.name);
            let part = |kind: &str, expected: [usize; 2]| match tensors.get(&name(kind))? {
                None => Ok(None),
                Some((values, shape)) if shape == expected => {
                    let values = parameters::from_host(values, device).reshape(expected);
                    Ok(Some(Param::from_tensor(values)))
                }
                Some((_, shape)) => Err(ModelError::format(
                    &file,
                    format!("{} is {shape:?}, and this base takes {expected:?}; it belongs to another", name(kind)),
                )),
            };
            let rank = rank as usize;
            let (a, b) = (part("lora_A", [rank, layer.inputs])?, part("lora_B", [layer.outputs, rank])?);
            match (a, b) {
                (Some(a), Some(b)) => {
                    used += 2;
                    adapters.push(Adapter { layer: layer.name.clone(), place: layer.place, a, b });
                }
                (None, None) => {}
                _ => return Err(ModelError::format(&file, format!("has one half of the adapter of {}", layer.name))),
            }
        }
        let names = tensors.names()?;
        if used != names.len() || adapters.is_empty() {
            let known = |name: &String| {
                layers.iter().any(|layer| name.starts_with(&format!("base_model.model.{}.lora_", layer.name)))
            };
            let other = names.iter().find(|name| !known(name)).map_or("nothing", String::as_str);
            return Err(ModelError::format(&file, format!("holds {other}, for which this base has no layer")));
        }
        let targets = adapters.iter().map(|adapter: &Adapter| adapter.layer.clone()).collect();
        let inputs_first = base.inputs_first();
        let origin = config["base_model_name_or_path"].as_str().unwrap_or_default().to_owned();
        let config = LoraConfig { rank: rank as usize, alpha, targets };
        Ok(Self { base, adapters, heads: Vec::new(), config, inputs_first, origin })
    }
}

fn read_config(folder: &Path) -> Result<(Value, PathBuf), ModelError> {
    let path = folder.join(CONFIGURATION);
    let text = std::fs::read_to_string(&path).map_err(|source| ModelError::io(&path, source))?;
    let config: Value =
        serde_json::from_str(&text).map_err(|error| ModelError::format(&path, format!("is not JSON: {error}")))?;
    if config["peft_type"] != json!("LORA") {
        let kind = &config["peft_type"];
        return Err(ModelError::format(&path, format!("is an adapter of kind {kind}; Loam reads LORA")));
    }
    Ok((config, path))
}

/// What a folder of adapters says that they belong to, or none where it holds no adapters.
///
/// # Errors
/// When its configuration is broken.
pub fn base_of(folder: &Path) -> Result<Option<String>, ModelError> {
    if !folder.join(CONFIGURATION).exists() {
        return Ok(None);
    }
    let (config, path) = read_config(folder)?;
    let base = config["base_model_name_or_path"].as_str().filter(|base| !base.is_empty());
    base.map(|base| Some(base.to_owned()))
        .ok_or_else(|| ModelError::format(&path, "does not say what base it belongs to (base_model_name_or_path)"))
}

// Only the adapters are parameters, and a head that is trained with them; the base is a constant.
impl<M: Adaptable> Module for Adapted<M> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        let devices = self.base.collect_devices(devices);
        self.matrices().fold(devices, |devices, (.., matrix)| matrix.collect_devices(devices))
    }

    fn fork(self, device: &Device) -> Self {
        let base = self.base.clone().fork(device);
        Self { base, ..self.each(|part| part.fork(device)) }
    }

    fn to_device(self, device: &Device) -> Self {
        let base = self.base.clone().to_device(device);
        Self { base, ..self.each(|part| part.to_device(device)) }
    }

    fn train(self) -> Self {
        self.each(Param::train)
    }

    fn valid(&self) -> Self {
        self.clone().each(|part| part.valid())
    }

    fn materialize(self) -> Self {
        self.each(Param::materialize)
    }

    fn num_params(&self) -> usize {
        self.matrices().map(|(.., matrix)| matrix.num_params()).sum()
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for (place, name, matrix) in self.matrices() {
            visitor.enter_module(place, "Adapter");
            visitor.enter_module(name, "Matrix");
            visitor.visit_float(matrix);
            visitor.exit_module(name, "Matrix");
            visitor.exit_module(place, "Adapter");
        }
    }

    fn map<T: ModuleMapper>(self, mapper: &mut T) -> Self {
        self.each(|part| mapper.map_float(part))
    }
}

impl<M> Adapted<M> {
    /// Every matrix that is trained, with what it belongs to and its name there, in the order of [`Adapted::each`].
    fn matrices(&self) -> impl Iterator<Item = (&str, &'static str, &Param<Tensor<2>>)> {
        let adapters = self.adapters.iter().flat_map(|adapter| {
            [(adapter.layer.as_str(), "lora_A", &adapter.a), (adapter.layer.as_str(), "lora_B", &adapter.b)]
        });
        adapters.chain(self.heads.iter().map(|head| (head.name.as_str(), "added", &head.added)))
    }

    /// The same with every matrix changed.
    fn each(self, mut change: impl FnMut(Param<Tensor<2>>) -> Param<Tensor<2>>) -> Self {
        let adapters = self.adapters.into_iter().map(|Adapter { layer, place, a, b }| {
            let (a, b) = (change(a), change(b));
            Adapter { layer, place, a, b }
        });
        let adapters = adapters.collect();
        let heads = self.heads.into_iter().map(|head| Whole { added: change(head.added), ..head });
        Self { adapters, heads: heads.collect(), ..self }
    }
}
