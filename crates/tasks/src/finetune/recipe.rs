//! What is trained on what, and how: the file `recipe.toml` of a run of fine-tuning, which is also what may be given to one.

use crate::classify::{ClassWeights, FieldNames};
use crate::embed::EmbedRecipe;
use crate::language_model::TaskError;
use loam_corpus::{Bytes, TokenizerKind};
use loam_nn::precision::Precision;
use loam_train::finetune::Settings;
use loam_train::recipe::LoraRecipe;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use toml::{Table, Value};

/// What a model is trained for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// Labels of texts.
    Classify,
    /// Tags of words.
    Tag,
    /// Answers out of texts.
    Answer,
    /// Vectors of texts.
    Embed,
}

impl TaskKind {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Classify, Self::Tag, Self::Answer, Self::Embed];

    /// What the command line calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Tag => "tag",
            Self::Answer => "answer",
            Self::Embed => "embed",
        }
    }
}

/// The family of a new model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// An encoder of Transformer layers.
    Bert,
    /// Convolutions over words.
    TextCnn,
    /// A plain recurrent network, read from both ends.
    Rnn,
    /// Long short-term memory, read from both ends.
    Lstm,
    /// Gated recurrent units, read from both ends.
    Gru,
}

/// What is learned from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataRecipe {
    /// Files, folders and globs of training examples.
    pub train: Vec<String>,
    /// The same of examples that tell which weights are best; without them a part of the others is kept for it.
    pub valid: Vec<String>,
    /// That part.
    pub held_out: f64,
    /// The fields of the rows.
    pub fields: FieldNames,
    /// What labels that are numbers are called, from 0 on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label_names: Vec<String>,
    /// How much the examples of each label count.
    pub class_weights: ClassWeights,
    /// How the bytes of the files become text.
    pub reading: Bytes,
}

/// What is trained: a model that there is, or a new one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelRecipe {
    /// A model to go on from: a folder, a run, or `hf:org/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The family of a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Width of its embeddings and states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// Its layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// Its attention heads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// Tokens of a window; longer texts are read in several. Of a model that there is, at most its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<usize>,
    /// Its dropout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Of a recurrent tagger, whether a conditional random field stands upon it; it does where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crf: Option<bool>,
}

/// The tokenizer of a new model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizerRecipe {
    /// One that there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The kind of one that is trained on the training texts; words where they are spaced, pieces of words where not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<TokenizerKind>,
    /// Its tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocab: Option<usize>,
}

/// See the head of this module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FineTuneRecipe {
    /// What for.
    pub task: TaskKind,
    /// From what.
    #[serde(default)]
    pub data: DataRecipe,
    /// What is trained.
    #[serde(default)]
    pub model: ModelRecipe,
    /// Its tokenizer, where it is new.
    #[serde(default)]
    pub tokenizer: TokenizerRecipe,
    /// Adapters that are trained, with the head, in the place of the model.
    #[serde(default, skip_serializing_if = "none")]
    pub lora: LoraRecipe,
    /// What is particular to `embed`.
    #[serde(default, skip_serializing_if = "EmbedRecipe::is_default")]
    pub embed: EmbedRecipe,
    /// How.
    #[serde(default)]
    pub train: TrainRecipe,
}

fn none(lora: &LoraRecipe) -> bool {
    lora.rank.is_none()
}

/// The table `[train]`: what is left open follows from the model, since a new one learns at other rates than one that has
/// learned much already.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainRecipe {
    /// Precision of matrix products.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<Dtype>,
    /// Values that are given; see [`Settings`].
    #[serde(flatten)]
    pub given: Table,
}

/// A precision, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32 bits.
    F32,
    /// Products of 16 bits whose sums have 32.
    Bf16,
}

impl Dtype {
    /// As kernels have it.
    pub fn of_products(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

impl FineTuneRecipe {
    /// Reads a recipe. `sets` are values by their dotted keys, as `train.lr=1e-3`, which win over those of the text.
    ///
    /// # Errors
    /// When the text is no recipe, and when a key or a value is not one.
    pub fn parse(text: &str, sets: &[String]) -> Result<Self, TaskError> {
        let mut table: Table = text.parse().map_err(|error| wrong(&error))?;
        for set in sets {
            apply(&mut table, set)?;
        }
        let recipe: Self = table.try_into().map_err(|error| wrong(&error))?;
        recipe.settings()?;
        recipe.check_adapters()?;
        Ok(recipe)
    }

    /// As a file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe is TOML")
    }

    /// What is given of the settings over what the model asks for.
    ///
    /// # Errors
    /// When a key or a value is not one.
    pub fn settings(&self) -> Result<Settings, TaskError> {
        let mut table = Table::try_from(self.usual()).expect("settings are a table");
        table.extend(self.train.given.clone());
        let settings: Settings = table.try_into().map_err(|error: toml::de::Error| {
            let reason = error.message().replace("unknown field `", "unknown field `train.");
            TaskError::Request(format!("the recipe: {reason}"))
        })?;
        settings.check()?;
        Ok(settings)
    }

    fn check_adapters(&self) -> Result<(), TaskError> {
        let refused = |message: &str| Err(TaskError::Request(message.to_owned()));
        let LoraRecipe { rank, alpha, targets } = &self.lora;
        match rank {
            Some(0) => refused("lora.rank = 0: give a rank of 1 or more"),
            Some(_) if self.model.from.is_none() => {
                refused("adapters are trained on a model that there is: name it with --model")
            }
            None if alpha.is_some() || !targets.is_empty() => refused("lora.alpha and lora.targets need a lora.rank"),
            _ if alpha.is_some_and(|alpha| !(alpha.is_finite() && alpha > 0.0)) => {
                refused("lora.alpha: give a number above 0")
            }
            _ => Ok(()),
        }
    }

    /// What is usual for the model.
    fn usual(&self) -> Settings {
        let pretrained = Settings::default();
        match (&self.model.from, self.model.family) {
            (None, Some(Family::TextCnn)) => Settings { epochs: 10.0, lr: 1e-3, warmup: 0.0, ..pretrained },
            (None, Some(Family::Rnn | Family::Lstm | Family::Gru)) => {
                Settings { epochs: 10.0, lr: 1e-3, warmup: 0.05, ..pretrained }
            }
            (None, _) => Settings { epochs: 10.0, lr: 5e-4, ..pretrained },
            (Some(_), _) if self.lora.rank.is_some() => Settings { lr: 3e-4, weight_decay: 0.0, ..pretrained },
            (Some(_), _) => pretrained,
        }
    }
}

fn wrong(error: &toml::de::Error) -> TaskError {
    TaskError::Request(format!("the recipe: {}", error.to_string().trim_end()))
}

/// Puts `key.of.it=value` into a table. A value is TOML, or else a text.
fn apply(table: &mut Table, set: &str) -> Result<(), TaskError> {
    let bad = |why: &str| TaskError::Request(format!("--set {set}: {why}"));
    let (key, value) = set.split_once('=').ok_or_else(|| bad("give KEY=VALUE, as train.lr=1e-4"))?;
    let value = format!("value = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    let parts: Vec<&str> = key.trim().split('.').collect();
    let (last, above) = parts.split_last().expect("a split has a part");
    let mut at = table;
    for part in above {
        let below = at.entry((*part).to_owned()).or_insert_with(|| Value::Table(Table::new()));
        at = below.as_table_mut().ok_or_else(|| bad(&format!("{part} is no table")))?;
    }
    at.insert((*last).to_owned(), value);
    Ok(())
}

/// A tokenizer as the command line names it: `word:10000`, or the path of one.
impl FromStr for TokenizerRecipe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((kind, vocab)) = text.split_once(':').filter(|(kind, _)| kind.parse::<TokenizerKind>().is_ok()) else {
            return Ok(Self { path: Some(text.into()), kind: None, vocab: None });
        };
        let vocab = vocab.parse().map_err(|_| format!("{text}: give a number of tokens, as word:10000"))?;
        Ok(Self { path: None, kind: kind.parse().ok(), vocab: Some(vocab) })
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "task = \"classify\"\n[data]\ntrain = [\"a.tsv\"]\n[model]\nfamily = \"lstm\"\n";

    #[test]
    fn a_recipe_goes_into_a_file_and_out() {
        let recipe = FineTuneRecipe::parse(SMALL, &["train.lr=0.002".to_owned(), "model.width=64".to_owned()]).unwrap();
        assert_eq!(recipe.model.width, Some(64));
        let settings = recipe.settings().unwrap();
        assert_eq!((settings.lr, settings.epochs), (0.002, 10.0));
        assert_eq!(FineTuneRecipe::parse(&recipe.to_toml(), &[]).unwrap(), recipe);
        let pretrained = FineTuneRecipe::parse("task = \"classify\"\nmodel.from = \"hf:a/b\"", &[]).unwrap();
        assert_eq!(pretrained.settings().unwrap().lr, 5e-5);
    }

    #[test]
    fn wrong_keys_and_values_are_told() {
        for (set, words) in [
            ("train.rate=1", "train.rate"),
            ("data.trian=[]", "trian"),
            ("train.lr=-1", "train.lr"),
            ("train.epochs=0", "train.epochs"),
            ("train.lr=fast", "invalid type"),
            ("task=sing", "sing"),
            ("lr", "KEY=VALUE"),
            ("task.x=1", "no table"),
            ("train.warmup=1.5", "train.warmup"),
        ] {
            let error = FineTuneRecipe::parse(SMALL, &[set.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(words), "{set}: {error}");
        }
        assert!(FineTuneRecipe::parse("task =", &[]).is_err());
        assert!("word:many".parse::<TokenizerRecipe>().is_err());
        assert_eq!("word:7".parse::<TokenizerRecipe>().unwrap().vocab, Some(7));
        assert_eq!("a/tokenizer.json".parse::<TokenizerRecipe>().unwrap().path, Some("a/tokenizer.json".into()));
    }
}
