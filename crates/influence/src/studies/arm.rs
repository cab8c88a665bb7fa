//! The arms of a study: what each changes of the base recipe and its data.

use loam_corpus::{Derivation, DocumentOrder};
use loam_train::recipe::{Length, ModelRecipe, Recipe};
use serde::{Deserialize, Serialize};

/// The arm that changes nothing.
pub const BASE: &str = "base";

/// One arm. All of a study train on data that is derived from one preparation, with its tokenizer and its held-out side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// What it is called in tables and folders: letters, digits, hyphens, dots.
    pub name: String,
    /// What it does, in words.
    pub words: String,
    /// What it changes.
    pub change: Change,
}

/// What an arm changes of the base.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Change {
    /// By how much each source's weight is multiplied, by its name; others stay.
    pub weights: Vec<(String, f64)>,
    /// The part of every source's documents that is kept; none: all.
    pub part: Option<f64>,
    /// Which draw of a part it is; none: the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draw: Option<u64>,
    /// Checkpoints that are kept, spread over the run; none: the last alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<usize>,
    /// The order of documents; none: shuffled windows.
    pub order: Option<Order>,
    /// What the texts of the sources went through; none: nothing.
    pub treatment: Option<super::quality::Treatment>,
    /// Width, layers and heads of the model; none: the base's.
    pub shape: Option<(usize, usize, usize)>,
    /// Optimizer steps; none: the base's.
    pub steps: Option<u64>,
    /// Whether the ledger is kept, so that its predictions can be graded.
    pub ledger: bool,
}

/// An order of documents, as [`DocumentOrder`] has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// At random, once.
    Random,
    /// The shortest first.
    ShortFirst,
    /// The longest first.
    LongFirst,
    /// The commonest tokens first.
    CommonFirst,
    /// The rarest first.
    RareFirst,
}

impl Order {
    /// Every order.
    pub const ALL: [Self; 5] = [Self::Random, Self::ShortFirst, Self::LongFirst, Self::CommonFirst, Self::RareFirst];

    /// What a user calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::ShortFirst => "short-first",
            Self::LongFirst => "long-first",
            Self::CommonFirst => "common-first",
            Self::RareFirst => "rare-first",
        }
    }

    fn documents(self) -> DocumentOrder {
        match self {
            Self::Random => DocumentOrder::Random,
            Self::ShortFirst => DocumentOrder::ShortFirst,
            Self::LongFirst => DocumentOrder::LongFirst,
            Self::CommonFirst => DocumentOrder::CommonFirst,
            Self::RareFirst => DocumentOrder::RareFirst,
        }
    }
}

impl Arm {
    /// The arm that changes nothing.
    pub fn base(ledger: bool) -> Self {
        Self { name: BASE.into(), words: "as the recipe says".into(), change: Change { ledger, ..Change::default() } }
    }

    /// The data of this arm, from sources with these names and weights.
    pub fn derivation(&self, sources: &[(String, f64)]) -> Derivation {
        let change = &self.change;
        let factor = |name: &str| change.weights.iter().find(|(own, _)| own == name).map_or(1.0, |(_, factor)| *factor);
        let weights = sources.iter().map(|(name, weight)| weight * factor(name)).collect();
        Derivation {
            weights: (!change.weights.is_empty()).then_some(weights),
            part: change.part.unwrap_or(1.0),
            draw: change.draw.unwrap_or(0),
            copies: 1,
            order: change.order.map(Order::documents),
        }
    }

    /// The recipe of this arm with a seed, on data in this folder.
    pub fn recipe(&self, base: &Recipe, data: &std::path::Path, seed: u64) -> Recipe {
        let mut recipe = base.clone();
        recipe.data = loam_train::recipe::DataRecipe { prepared: Some(data.to_owned()), ..Default::default() };
        recipe.train.seed = seed;
        if let Some(steps) = self.change.steps {
            recipe.train.length = Length::Steps(steps);
        }
        if let (Some((width, layers, heads)), ModelRecipe::New(shape)) = (self.change.shape, &mut recipe.model) {
            (shape.width, shape.layers, shape.heads) = (width, layers, heads);
        }
        recipe.ledger.enabled = self.change.ledger;
        recipe.baseline.enabled = false;
        recipe.train.keep_checkpoints = self.change.checkpoints.unwrap_or(1);
        if let (Some(checkpoints), Length::Steps(steps)) = (self.change.checkpoints, recipe.train.length) {
            recipe.train.checkpoint_every = (steps / checkpoints.max(1) as u64).max(1);
        }
        recipe
    }
}

/// A name for folders: what is no letter, digit, hyphen or dot becomes a hyphen.
pub fn folder_name(name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_alphanumeric() || matches!(c, '-' | '.' | '_') { c } else { '-' }).collect();
    name.trim_start_matches('.').to_owned()
}
