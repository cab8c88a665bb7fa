//! Vectors of texts, out of an encoder: what sentences mean, so that near ones can be found.

use crate::collate::rows_of_ids;
use crate::language_model::TaskError;
use crate::model_folder::{belongs_to, json_beside, model_folder};
use burn::tensor::Device;
use loam_corpus::Tokenizer;
use loam_models::bert::Bert;
use serde_json::Value;
use std::path::Path;

/// Texts that are encoded side by side.
const BATCH: usize = 32;

/// How the hidden states of a text's tokens become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first token's, which is `[CLS]`.
    Cls,
    /// The last token's.
    Last,
}

/// How texts are embedded; what is left open is as the model's folder says.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbedOptions {
    /// How tokens are pooled; the mean where the model does not say.
    pub pooling: Option<Pooling>,
    /// Whether vectors are scaled to length 1.
    pub normalize: Option<bool>,
}

/// An encoder with its tokenizer.
pub struct Embedder {
    model: Bert,
    tokenizer: Tokenizer,
    pooling: Pooling,
    normalize: bool,
    longest: usize,
    device: Device,
}

impl Embedder {
    /// Opens a BERT, RoBERTa, or DistilBERT: a folder, a run's folder, or `hf:org/name`. Where it is a model of
    /// sentence-transformers, `modules.json` and the files that it names say how it pools and whether it normalizes.
    ///
    /// # Errors
    /// When files are missing or broken, the family is another, or the model asks for what Loam does not do.
    pub fn open(path: &Path, options: EmbedOptions, device: &Device) -> Result<Self, TaskError> {
        let folder = model_folder(path)?;
        let model = Bert::load(&folder, device)?;
        let tokenizer = Tokenizer::open(&folder)?;
        let config = model.config();
        belongs_to(&tokenizer, &folder, config.vocab_size)?;
        let modules = Modules::read(&folder, options)?;
        let pooling = options.pooling.or(modules.pooling).unwrap_or(Pooling::Mean);
        let normalize = options.normalize.unwrap_or(modules.normalize);
        let longest = modules.longest.map_or(config.context(), |most| most.min(config.context()));
        if longest == 0 {
            return Err(TaskError::Request(format!("{}: max_seq_length = 0 leaves no token", folder.display())));
        }
        Ok(Self { model, tokenizer, pooling, normalize, longest, device: device.clone() })
    }

    /// Tokens that are read of a text at most; what is longer is cut.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// A vector for each text, in their order. Texts of like length go through the model together.
    ///
    /// # Errors
    /// When a text has no tokens at all.
    pub fn embed<S: AsRef<str>>(&self, texts: &[S]) -> Result<Vec<Vec<f32>>, TaskError> {
        let ids: Vec<Vec<u32>> =
            texts.iter().map(|text| self.tokenizer.encode_framed(text.as_ref(), self.longest)).collect();
        if let Some(empty) = ids.iter().position(Vec::is_empty) {
            return Err(TaskError::Request(format!("text {} has no tokens, so it has no vector", empty + 1)));
        }
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&index| ids[index].len());
        let mut vectors = vec![Vec::new(); ids.len()];
        for batch in order.chunks(BATCH) {
            let rows: Vec<&[u32]> = batch.iter().map(|&index| &ids[index][..]).collect();
            for (&index, vector) in batch.iter().zip(self.encode(&rows)) {
                vectors[index] = vector;
            }
        }
        Ok(vectors)
    }

    fn encode(&self, rows: &[&[u32]]) -> Vec<Vec<f32>> {
        let time = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let inputs = rows_of_ids(rows, self.model.config().pad_token_id.unwrap_or(0), &self.device);
        let hidden = self.model.encode(&inputs, None);
        let width = hidden.dims()[2];
        let hidden = hidden.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion");
        rows.iter()
            .zip(hidden.chunks_exact(time * width))
            .map(|(row, states)| self.pool(states, row.len(), width))
            .collect()
    }

    /// The vector of one text's hidden states `[time, width]`, of which `length` rows are not padding.
    fn pool(&self, states: &[f32], length: usize, width: usize) -> Vec<f32> {
        let row = |index: usize| &states[index * width..(index + 1) * width];
        let mut vector = match self.pooling {
            Pooling::Cls => row(0).to_vec(),
            Pooling::Last => row(length - 1).to_vec(),
            Pooling::Mean => {
                let mut sum = vec![0f64; width];
                for state in states.chunks_exact(width).take(length) {
                    sum.iter_mut().zip(state).for_each(|(sum, &value)| *sum += f64::from(value));
                }
                sum.iter().map(|sum| (sum / length as f64) as f32).collect()
            }
        };
        if self.normalize {
            let norm = vector.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt().max(1e-12);
            for value in &mut vector {
                *value = (f64::from(*value) / norm) as f32;
            }
        }
        vector
    }
}

/// What a folder of sentence-transformers says beside the encoder.
#[derive(Default)]
struct Modules {
    pooling: Option<Pooling>,
    normalize: bool,
    longest: Option<usize>,
}

impl Modules {
    fn read(folder: &Path, options: EmbedOptions) -> Result<Self, TaskError> {
        let Some(list) = json_beside(&folder.join("modules.json"))? else { return Ok(Self::default()) };
        let mut modules = Self::default();
        for module in list.as_array().into_iter().flatten() {
            let text = |key: &str| module.get(key).and_then(Value::as_str).unwrap_or_default();
            let kind = text("type").rsplit('.').next().unwrap_or_default();
            match kind {
                "Transformer" => {}
                "Normalize" => modules.normalize = true,
                "Pooling" => {
                    let path = text("path");
                    if path.split(['/', '\\']).any(|part| part == "..") || Path::new(path).is_absolute() {
                        return Err(TaskError::Request(format!("modules.json: {path:?} leads out of the folder")));
                    }
                    let config = json_beside(&folder.join(path).join("config.json"))?.unwrap_or_default();
                    modules.pooling = pooling(&config);
                    if modules.pooling.is_none() && options.pooling.is_none() {
                        return Err(TaskError::Request(format!(
                            "{}: pools in a way that Loam does not (mean, cls, and last are done); choose with --pooling",
                            folder.join(path).join("config.json").display()
                        )));
                    }
                }
                other => {
                    return Err(TaskError::Request(format!(
                        "{}: the module {other:?} is not one that Loam has; Transformer, Pooling, and Normalize are",
                        folder.join("modules.json").display()
                    )));
                }
            }
        }
        let limits = json_beside(&folder.join("sentence_bert_config.json"))?.unwrap_or_default();
        modules.longest = limits.get("max_seq_length").and_then(Value::as_u64).map(|longest| longest as usize);
        Ok(modules)
    }
}

/// The one way of pooling that is on.
fn pooling(config: &Value) -> Option<Pooling> {
    let on = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
    let known = [
        ("pooling_mode_mean_tokens", Pooling::Mean),
        ("pooling_mode_cls_token", Pooling::Cls),
        ("pooling_mode_lasttoken", Pooling::Last),
    ];
    let others = ["pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens"];
    let mut found = known.into_iter().filter(|(key, _)| on(key)).map(|(_, pooling)| pooling);
    match (found.next(), found.next(), others.into_iter().any(on)) {
        (Some(pooling), None, false) => Some(pooling),
        _ => None,
    }
}
