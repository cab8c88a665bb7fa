//! The recipe: everything that decides what a run trains, on what, and how, on one screen.
//!
//! A recipe is a TOML file in which every key has a default. [`Recipe::load`] turns it into types that hold no
//! nonsense: unknown keys, wrong types and values out of range are refused there, with the line and the nearest known
//! key. [`Recipe::to_toml`] writes the resolved recipe, every value with its reason, which is what a run leaves as
//! `recipe.toml`.

mod check;
mod error;
mod file;
mod keys;
mod parse;
mod paths;
mod settings;
mod write;

pub use error::{Place, RecipeError};

use crate::schedule::Schedule;
use loam_corpus::Bytes;
use loam_corpus::clean::Step;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// All that a run needs to know.
///
/// `Deserialize` is for reading back what `Serialize` wrote, in JSON for instance; text that people write goes through
/// [`Recipe::load`] or `from_str`, which check it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recipe {
    /// What to train and to evaluate on.
    pub data: DataRecipe,
    /// How text becomes tokens.
    pub tokenizer: TokenizerRecipe,
    /// What is trained.
    pub model: ModelRecipe,
    /// How it is trained.
    pub train: TrainRecipe,
    /// Adapters that are trained in the place of a model that is gone on with.
    pub lora: LoraRecipe,
    /// What it learns from the text.
    pub objective: ObjectiveRecipe,
    /// What is booked while it is trained.
    pub ledger: LedgerRecipe,
    /// The n-gram models to compare with.
    pub baseline: BaselineRecipe,
}

/// `[[data.source]]` and `[data.held_out]`. The short form `data.train = ["path", …]` is one source called `train`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataRecipe {
    /// Training sources, in the order of the file; at least one, their names distinct.
    #[serde(rename = "source")]
    pub sources: Vec<SourceRecipe>,
    /// Held-out domain to its files, folders and globs; empty: 2 % of each source are held out.
    pub held_out: BTreeMap<String, Vec<String>>,
    /// Of held-out domains of pairs, the files, folders and globs of their targets.
    pub held_out_target: BTreeMap<String, Vec<String>>,
    /// Steps of cleaning, in order, of every held-out domain, and of every source that names none of its own.
    pub clean: Vec<Step>,
    /// A folder that `loam data prepare` made with tokens, in the place of sources and tokenizer.
    pub prepared: Option<PathBuf>,
    /// How the bytes of all files become text: `data.encoding`, `data.damage`, `data.max_expansion`.
    #[serde(flatten)]
    pub bytes: Bytes,
}

/// One training source: the unit that the ledger books to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceRecipe {
    /// What the ledger calls it.
    pub name: String,
    /// Files, folders and globs; at least one.
    pub path: Vec<String>,
    /// How often its tokens are drawn, relative to their number: 1 takes the source as large as it is, 2 twice as
    /// often, 0 leaves it out.
    #[serde(default = "one")]
    pub weight: f64,
    /// Field of structured records that holds the text; none: recognized.
    #[serde(default)]
    pub text_field: Option<String>,
    /// Where plain text is cut into documents.
    #[serde(default)]
    pub split: Split,
    /// What its records are.
    #[serde(default)]
    pub format: RecordFormat,
    /// Of pairs in two files: files, folders and globs whose lines are the targets of those in `path`.
    #[serde(default)]
    pub target_path: Vec<String>,
    /// Of pairs in records: the field of the input, or the column of a text file by its number from 1.
    #[serde(default)]
    pub input_field: Option<String>,
    /// Of pairs in records: the field or column of the target.
    #[serde(default)]
    pub target_field: Option<String>,
    /// Steps of cleaning, in order, in the place of those for all sources.
    #[serde(default)]
    pub clean: Option<Vec<Step>>,
}

impl SourceRecipe {
    /// A source of text with everything found by looking.
    pub fn new(name: impl Into<String>, path: Vec<String>) -> Self {
        SourceRecipe {
            name: name.into(),
            path,
            weight: 1.0,
            text_field: None,
            split: Split::Auto,
            format: RecordFormat::Text,
            target_path: Vec::new(),
            input_field: None,
            target_field: None,
            clean: None,
        }
    }

    /// Whether it is one of pairs.
    pub fn is_pairs(&self) -> bool {
        !self.target_path.is_empty() || self.input_field.is_some() || self.target_field.is_some()
    }
}

/// Where plain text is cut into documents; as a string `auto`, `file`, `line`, `paragraph` or `separator:…`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Split {
    /// Whatever the file's looks suggest.
    #[default]
    Auto,
    /// A file is a document.
    File,
    /// A line is a document.
    Line,
    /// Empty lines stand between documents.
    Paragraph,
    /// This text, never empty, stands between documents.
    Separator(String),
}

impl TryFrom<String> for Split {
    type Error = String;

    fn try_from(text: String) -> Result<Split, String> {
        match &*text {
            "auto" => Ok(Split::Auto),
            "file" => Ok(Split::File),
            "line" => Ok(Split::Line),
            "paragraph" => Ok(Split::Paragraph),
            other => match other.strip_prefix("separator:") {
                Some(separator) if !separator.is_empty() => Ok(Split::Separator(separator.to_owned())),
                _ => Err(Split::EXPECTED.to_owned()),
            },
        }
    }
}

impl Split {
    const EXPECTED: &str = r#""auto", "file", "line", "paragraph", or "separator:…" with the text between documents"#;
}

impl From<Split> for String {
    fn from(split: Split) -> String {
        match split {
            Split::Auto => "auto".to_owned(),
            Split::File => "file".to_owned(),
            Split::Line => "line".to_owned(),
            Split::Paragraph => "paragraph".to_owned(),
            Split::Separator(separator) => format!("separator:{separator}"),
        }
    }
}

/// `[tokenizer]`: a trained one by its path, or what to train.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenizerRecipe {
    /// `path`: a `tokenizer.json`, or a folder with one.
    Load {
        /// Where it is.
        path: PathBuf,
    },
    /// `kind` and `vocab`: trained on the mix of sources.
    Train {
        /// The algorithm.
        kind: TokenizerKind,
        /// Number of token ids, special tokens included.
        vocab: usize,
    },
}

impl Default for TokenizerRecipe {
    fn default() -> Self {
        TokenizerRecipe::Train { kind: TokenizerKind::Bpe, vocab: 8192 }
    }
}

/// `[model]`: one to continue by its folder, or the shape of a new one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ModelRecipe {
    /// `from`: go on from the model in this folder, whose shape and tokenizer hold.
    From {
        /// A folder with `config.json` and weights, as a run leaves in `model/`.
        from: PathBuf,
        /// Longest sequence to train on, in tokens, where that is to be shorter than the model's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        context: Option<usize>,
    },
    /// A new model.
    New(ModelShape),
}

impl Default for ModelRecipe {
    fn default() -> Self {
        ModelRecipe::New(ModelShape::default())
    }
}

/// The shape of a new model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelShape {
    /// The architecture.
    pub family: ModelFamily,
    /// Width of the residual stream, in channels; divisible by `heads`.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads a block.
    pub heads: usize,
    /// Longest sequence, in tokens; at least 2.
    pub context: usize,
    /// Probability with which training drops an activation, 0 to below 1.
    pub dropout: f64,
    /// Whether the output layer's weights are the embeddings (Press & Wolf 2017); recurrent networks and llama may have
    /// their own.
    pub tied: bool,
}

impl Default for ModelShape {
    fn default() -> Self {
        ModelShape { family: ModelFamily::Gpt, width: 384, layers: 6, heads: 6, context: 256, dropout: 0.1, tied: true }
    }
}

/// `[train]`: how the model is trained. Sizes are tokens, lengths optimizer steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainRecipe {
    /// When training ends; in the file one of `steps`, `epochs`, `minutes`.
    #[serde(flatten)]
    pub length: Length,
    /// Tokens an optimizer step.
    pub batch_tokens: usize,
    /// Tokens a micro-batch, all of one source; none: as memory allows.
    pub micro_batch_tokens: Option<usize>,
    /// Peak learning rate.
    pub lr: f64,
    /// Learning rate at the end of the run, as a fraction of the peak.
    pub min_lr: f64,
    /// The learning rate's way from the peak to the end.
    pub schedule: Schedule,
    /// Length of the warm-up: a fraction of the run below 1, steps from 1 on. See
    /// [`warmup_steps`](TrainRecipe::warmup_steps).
    pub warmup: f64,
    /// Decoupled weight decay (Loshchilov & Hutter 2019), on matrices only.
    pub weight_decay: f64,
    /// Adam's decay of the gradient's average.
    pub beta1: f64,
    /// Adam's decay of the squared gradient's average.
    pub beta2: f64,
    /// Added to Adam's denominator.
    pub epsilon: f64,
    /// Longest global gradient norm; 0 does not clip.
    pub clip: f64,
    /// Precision of the computation.
    pub dtype: Precision,
    /// Steps between evaluations.
    pub eval_every: u64,
    /// Held-out tokens a domain at each evaluation; the last one of a run takes them all.
    pub eval_tokens: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Latest checkpoints that stay on disk, beside the best.
    pub keep_checkpoints: usize,
    /// Evaluations without improvement after which training ends; none: never.
    pub patience: Option<u64>,
    /// Seed of initialization, data order and dropout; at most 2⁶³ − 1, for TOML holds no more.
    pub seed: u64,
}

impl Default for TrainRecipe {
    fn default() -> Self {
        TrainRecipe {
            length: Length::Steps(2000),
            batch_tokens: 8192,
            micro_batch_tokens: None,
            lr: 6e-4,
            min_lr: 0.1,
            schedule: Schedule::Cosine,
            warmup: 0.05,
            weight_decay: 0.1,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            clip: 1.0,
            dtype: Precision::F32,
            eval_every: 100,
            eval_tokens: 65_536,
            checkpoint_every: 200,
            keep_checkpoints: 2,
            patience: None,
            seed: 1,
        }
    }
}

impl TrainRecipe {
    /// Warm-up of a run of `steps` steps, in steps: never longer than the run.
    pub fn warmup_steps(&self, steps: u64) -> u64 {
        let warmup = if self.warmup < 1.0 { self.warmup * steps as f64 } else { self.warmup };
        (warmup.round() as u64).min(steps)
    }
}

/// `[lora]`: low-rank adapters (Hu et al. 2022).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoraRecipe {
    /// Rank of the adapters; none: all weights are trained.
    pub rank: Option<usize>,
    /// α: adapters count α / rank times; none: twice the rank.
    pub alpha: Option<f64>,
    /// Layers, by the ends of their names, or `all-linear`; empty: the family's usual ones.
    pub targets: Vec<String>,
}

/// `[objective]`: what the model learns from the text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectiveRecipe {
    /// What is told; none: what the model's family is for.
    pub kind: Option<ObjectiveKind>,
    /// Share of the tokens that are masked, or cut out.
    pub mask: f64,
    /// Which tokens are masked.
    pub masking: Masking,
    /// Whether the pieces of a word are masked together.
    pub whole_words: bool,
    /// Whether the model also tells if the second of two sentences follows the first (Devlin et al. 2019).
    pub next_sentence: bool,
    /// Mean length of the spans that are cut out, in tokens.
    pub span: f64,
    /// Label smoothing of encoders with decoders (Szegedy et al. 2016).
    pub label_smoothing: f64,
    /// How conversations are written: `chatml`, or a file; none: by the model's own template, or `chatml` where it has
    /// none.
    pub chat_template: Option<String>,
}

impl Default for ObjectiveRecipe {
    fn default() -> Self {
        ObjectiveRecipe {
            kind: None,
            mask: 0.15,
            masking: Masking::Dynamic,
            whole_words: false,
            next_sentence: false,
            span: 3.0,
            label_smoothing: 0.0,
            chat_template: None,
        }
    }
}

impl Recipe {
    /// What is learned: as the recipe says, or else what a new model's family is for; none where that depends on the
    /// model that is gone on with.
    pub fn objective_kind(&self) -> Option<ObjectiveKind> {
        self.objective.kind.or(match &self.model {
            ModelRecipe::From { .. } => None,
            ModelRecipe::New(shape) => Some(match shape.family {
                ModelFamily::Bert => ObjectiveKind::Masked,
                ModelFamily::Seq2Seq | ModelFamily::T5 => ObjectiveKind::Pairs,
                ModelFamily::Gpt | ModelFamily::Llama | ModelFamily::Rnn | ModelFamily::Lstm | ModelFamily::Gru => {
                    ObjectiveKind::Causal
                }
            }),
        })
    }
}

/// When training ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Length {
    /// After this many optimizer steps.
    Steps(u64),
    /// After this many passes over the mix of sources.
    Epochs(f64),
    /// After this many minutes of training.
    Minutes(f64),
}

/// `[ledger]`: what each source did, measured while training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LedgerRecipe {
    /// Whether to keep the books.
    pub enabled: bool,
    /// Steps between fresh held-out gradients.
    pub refresh_every: u64,
    /// Who is credited with momentum.
    pub momentum: Momentum,
    /// Held-out tokens a domain for each refresh; none: as many as keep the overhead small.
    pub tokens: Option<u64>,
    /// Whether to book by document too.
    pub documents: bool,
    /// Share of the time of training that this may take.
    pub documents_budget: f64,
    /// Share of the micro-batches that are scored for it, above 0 and at most 1; none: what the budget allows.
    pub documents_rate: Option<f64>,
}

impl Default for LedgerRecipe {
    fn default() -> Self {
        LedgerRecipe {
            enabled: true,
            refresh_every: 10,
            momentum: Momentum::Sources,
            tokens: None,
            documents: true,
            documents_budget: 0.03,
            documents_rate: None,
        }
    }
}

/// `[baseline]`: unigram, bigram and trigram models, printed beside the trained one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BaselineRecipe {
    /// Whether to train them.
    pub enabled: bool,
    /// Training tokens that they see at most.
    pub tokens: u64,
}

impl Default for BaselineRecipe {
    fn default() -> Self {
        BaselineRecipe { enabled: true, tokens: 20_000_000 }
    }
}

/// Defines an enum of named choices: its serde names, `ALL`, `name`, and what the parser needs.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every choice.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// What a recipe calls it.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl parse::Choice for $name {
            const ALL: &'static [$name] = $name::ALL;

            fn name(self) -> &'static str {
                self.name()
            }
        }
    };
}

choice! {
    /// Algorithm that a tokenizer is trained with.
    TokenizerKind {
        /// Byte-level byte-pair encoding (Sennrich et al. 2016; bytes as in GPT-2).
        Bpe = "bpe",
        /// Pieces by likelihood gain (Schuster & Nakajima 2012; BERT).
        WordPiece = "wordpiece",
        /// Pieces of a unigram language model (Kudo 2018).
        Unigram = "unigram",
        /// Whole words.
        Word = "word",
    }
}

choice! {
    /// Architecture of a language model.
    ModelFamily {
        /// GPT-2.
        Gpt = "gpt",
        /// Llama: rotary positions, RMS norm, gated feed-forward.
        Llama = "llama",
        /// Plain recurrent network; has no heads.
        Rnn = "rnn",
        /// Long short-term memory; has no heads.
        Lstm = "lstm",
        /// Gated recurrent unit; has no heads.
        Gru = "gru",
        /// BERT: an encoder that sees both sides of a masked token.
        Bert = "bert",
        /// The Transformer of 2017: an encoder, and a decoder of as many layers.
        Seq2Seq = "seq2seq",
        /// T5: an encoder and a decoder with relative positions.
        T5 = "t5",
    }
}

impl ModelFamily {
    /// Whether its models have attention heads.
    pub fn has_heads(self) -> bool {
        !matches!(self, Self::Rnn | Self::Lstm | Self::Gru)
    }
}

choice! {
    /// What a model learns.
    ObjectiveKind {
        /// The token after each.
        Causal = "causal",
        /// The masked tokens.
        Masked = "masked",
        /// The target of each input.
        Pairs = "pairs",
        /// Spans that were cut out.
        Spans = "spans",
    }
}

choice! {
    /// What the records of a source are.
    #[derive(Default)]
    RecordFormat {
        /// Text, or pairs where their fields or files are named.
        #[default]
        Text = "text",
        /// Conversations, of which the answers are learned.
        Conversations = "conversations",
    }
}

choice! {
    /// Which tokens are masked.
    Masking {
        /// Always the same ones of a text.
        Static = "static",
        /// Others each time.
        Dynamic = "dynamic",
        /// Others each time, hard ones more often.
        Adaptive = "adaptive",
    }
}

choice! {
    /// Precision of the computation.
    Precision {
        /// 32-bit floating point.
        F32 = "f32",
        /// bfloat16, with 32-bit master weights.
        Bf16 = "bf16",
    }
}

impl Precision {
    /// The precision of products.
    pub fn of_products(self) -> loam_nn::precision::Precision {
        match self {
            Self::F32 => loam_nn::precision::Precision::F32,
            Self::Bf16 => loam_nn::precision::Precision::Bf16,
        }
    }
}

choice! {
    /// Who the ledger credits with momentum.
    Momentum {
        /// The sources whose gradients built it, with their decay.
        Sources = "sources",
        /// A line of its own.
        History = "history",
    }
}

impl parse::Choice for Schedule {
    const ALL: &'static [Schedule] = Schedule::ALL;

    fn name(self) -> &'static str {
        self.name()
    }
}

fn one() -> f64 {
    1.0
}

impl Recipe {
    /// Reads a recipe file and applies overrides, each `KEY=VALUE` with the full key, as in `train.lr=3e-4`.
    ///
    /// A value is read as TOML, and as a string where it is none, so that `model.from=runs/a/model` needs no quotes. An
    /// override takes the place of the alternatives in the file too: `train.minutes=5` of its `train.steps`,
    /// `model.from=…` of a shape, `tokenizer.path=…` of kind and vocabulary, `data.train=…` of all sources. Keys of one
    /// source go by its name or its number from 0: `data.source.wikitext.weight=2`.
    ///
    /// Paths stay as they are written, and nobody looks whether they exist: that is
    /// [`resolve_paths`](Recipe::resolve_paths).
    pub fn load(path: &Path, sets: &[String]) -> Result<Recipe, RecipeError> {
        parse::parse(&file::read(path)?, Some(path), sets)
    }

    /// Makes every path absolute and checks that it exists. A relative path is looked for from the current directory
    /// first and from the folder of the recipe file second. A data path may be a glob, which must match something; a
    /// file whose name happens to look like a glob goes first.
    pub fn resolve_paths(&mut self, recipe_folder: &Path) -> Result<(), RecipeError> {
        paths::resolve(self, recipe_folder)
    }

    /// The recipe with every value and a reason beside each, in the order of the documentation. Reading it again gives
    /// an equal recipe.
    pub fn to_toml(&self) -> String {
        write::to_toml(self)
    }

    /// This recipe with overrides, as [`load`](Recipe::load) takes them.
    pub fn with(&self, sets: &[String]) -> Result<Recipe, RecipeError> {
        parse::parse(&self.to_toml(), None, sets)
    }

    /// Checks every value of a recipe that was made in code. What [`load`](Recipe::load) returns has passed.
    pub fn check(&self) -> Result<(), RecipeError> {
        check::check(self).map_err(|problem| problem.at(Place::Recipe))
    }
}

impl FromStr for Recipe {
    type Err = RecipeError;

    fn from_str(text: &str) -> Result<Recipe, RecipeError> {
        parse::parse(text, None, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_in_steps_and_in_parts() {
        let train = |warmup| TrainRecipe { warmup, ..TrainRecipe::default() };
        assert_eq!(train(0.05).warmup_steps(2000), 100);
        assert_eq!(train(0.0).warmup_steps(2000), 0);
        assert_eq!(train(30.0).warmup_steps(2000), 30);
        assert_eq!(train(30.0).warmup_steps(10), 10);
    }

    #[test]
    fn json_gives_it_back() {
        let mut recipe: Recipe = r#"data.train = ["a.txt"]"#.parse().unwrap();
        recipe.data.sources[0].split = Split::Separator("---".to_owned());
        for length in [Length::Steps(7), Length::Epochs(1.5), Length::Minutes(0.2)] {
            recipe.train.length = length;
            let json = serde_json::to_string(&recipe).unwrap();
            assert_eq!(serde_json::from_str::<Recipe>(&json).unwrap(), recipe, "{json}");
        }
        recipe.model = ModelRecipe::From { from: "runs/a/model".into(), context: None };
        recipe.tokenizer = TokenizerRecipe::Load { path: "tokenizer.json".into() };
        let json = serde_json::to_string(&recipe).unwrap();
        assert_eq!(serde_json::from_str::<Recipe>(&json).unwrap(), recipe, "{json}");
    }

    #[test]
    fn a_recipe_made_in_code_is_checked() {
        let mut recipe: Recipe = r#"data.train = ["a.txt"]"#.parse().unwrap();
        assert!(recipe.check().is_ok());
        recipe.train.lr = f64::NAN;
        assert_eq!(recipe.check().unwrap_err().to_string(), "recipe: train.lr = NaN: must be above 0");
        assert!(Recipe::default().check().unwrap_err().to_string().contains("no training data"));
    }
}
