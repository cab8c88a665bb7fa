//! From a recipe to the portions of a run: sequences a micro-batch, micro-batches a step, steps.

use crate::error::TrainError;
use crate::feed::Feed;
use crate::ledger;
use crate::objective::{self, Kind, Scheme};
use crate::recipe::{
    self, Length, ModelRecipe, ObjectiveKind, Recipe, RecordFormat, SourceRecipe, TokenizerRecipe, TrainRecipe,
};
use loam_corpus::{
    ConversationWriter, ExamplePlan, Framing, HeldOutPlan, PreparePlan, Prepared, SourcePlan, Split, TokenizerKind,
    TokenizerPlan,
};
use std::path::Path;

/// Tokens of an automatic micro-batch at most: enough to keep every product large, few enough for memory.
const MICRO_BATCH_TOKENS: usize = 2048;

/// Held-out tokens that automatic ledger settings may take gradients of, as a share of the training tokens. A token costs
/// more there than in training, since the batches are smaller.
const LEDGER_BUDGET: f64 = 0.025;

/// Held-out gradients that booking an interval takes for a domain, on average: one in the middle, and sometimes more.
const GRADIENTS_AN_INTERVAL: f64 = 1.5;

/// By how much of the steps so far an interval of the ledger may grow, the finest first.
const GROWTHS: [f64; 3] = [1.0 / 4.0, 1.0 / 3.0, 1.0 / 2.0];

/// What scoring a target for a domain costs by the ledger by document, in training steps' time a target: two forward passes of
/// the three or so that a step is worth, and something for weights that are made for it, as measured.
const SCORING: f64 = 0.8;

/// The portions of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portions {
    /// Tokens a sequence.
    pub context: usize,
    /// Sequences a micro-batch.
    pub sequences: usize,
    /// Micro-batches an optimizer step.
    pub micro_batches: usize,
}

impl Portions {
    /// Portions as the recipe asks. Where it leaves the micro-batch open and there are several sources, a step holds
    /// up to four micro-batches, because each is of one source.
    pub fn new(train: &TrainRecipe, context: usize, sources: usize) -> Self {
        let batch = (train.batch_tokens / context).max(1);
        let sequences = if let Some(tokens) = train.micro_batch_tokens {
            (tokens / context).clamp(1, batch)
        } else {
            let most = (MICRO_BATCH_TOKENS / context).max(1);
            let mixing = if sources > 1 { (batch / sources.min(4)).max(1) } else { batch };
            most.min(mixing)
        };
        Self { context, sequences, micro_batches: (batch / sequences).max(1) }
    }

    /// Tokens a micro-batch.
    pub fn micro_batch_tokens(&self) -> usize {
        self.sequences * self.context
    }

    /// Tokens an optimizer step.
    pub fn batch_tokens(&self) -> usize {
        self.micro_batches * self.micro_batch_tokens()
    }
}

/// Held-out tokens a domain that the ledger draws for each interval, when the recipe leaves it open: what the budget
/// allows once intervals are as fine as they may be, in whole sequences, at least one. Many intervals come first, since
/// each draws other text.
pub fn ledger_tokens(recipe: &Recipe, portions: &Portions, domains: usize, steps: u64) -> usize {
    recipe.ledger.tokens.map_or_else(
        || {
            let finest = ledger::intervals(steps, GROWTHS[0], recipe.ledger.refresh_every) as f64;
            let allowed = sequences_allowed(portions, domains, portions.context, steps);
            ((allowed / finest) as usize).max(1) * portions.context
        },
        |tokens| tokens as usize,
    )
}

/// How often the budget allows so many held-out tokens of every domain.
fn sequences_allowed(portions: &Portions, domains: usize, tokens: usize, steps: u64) -> f64 {
    let allowed = LEDGER_BUDGET * steps as f64 * portions.batch_tokens() as f64;
    allowed / GRADIENTS_AN_INTERVAL / domains.max(1) as f64 / tokens.max(1) as f64
}

/// By how much of the steps so far a ledger's interval may grow: a quarter, or a third or a half where so many intervals
/// would cost more than the budget.
pub fn ledger_growth(recipe: &Recipe, portions: &Portions, domains: usize, tokens: usize, steps: u64) -> f64 {
    let intervals = sequences_allowed(portions, domains, tokens, steps);
    let fits = |growth: &f64| ledger::intervals(steps, *growth, recipe.ledger.refresh_every) as f64 <= intervals;
    GROWTHS.into_iter().find(fits).unwrap_or(GROWTHS[2])
}

/// Share of the micro-batches that the ledger by document scores, when the recipe leaves it open: what its budget allows.
pub fn documents_rate(recipe: &Recipe, domains: usize) -> f64 {
    recipe.ledger.documents_rate.unwrap_or_else(|| {
        let rate = recipe.ledger.documents_budget / (SCORING * domains.max(1) as f64);
        // Written into the recipe: few digits say as much.
        ((rate * 1e5).round() / 1e5).clamp(1e-5, 1.0)
    })
}

/// Steps of a run that is given in steps or epochs; none when it is given in minutes.
pub fn steps(length: Length, portions: &Portions, prepared: &Prepared, feed: &Feed) -> Option<u64> {
    match length {
        Length::Steps(steps) => Some(steps),
        Length::Epochs(epochs) => {
            if let Some(batches) = feed.batches_per_epoch() {
                return Some(((epochs * batches as f64 / portions.micro_batches as f64).ceil() as u64).max(1));
            }
            let tokens: u64 = prepared.sources().iter().map(|source| source.tokens).sum();
            Some(((epochs * tokens as f64 / portions.batch_tokens() as f64).ceil() as u64).max(1))
        }
        Length::Minutes(_) => None,
    }
}

/// What the run learns: what the recipe says, or what the model that it goes on with is for.
///
/// # Errors
/// When that model's configuration cannot be read.
pub fn kind(recipe: &Recipe) -> Result<Kind, TrainError> {
    let named = match (recipe.objective_kind(), &recipe.model) {
        (Some(kind), _) => kind,
        (None, ModelRecipe::From { from, .. }) => {
            let from = &loam_hub::model(&from.to_string_lossy())?.unwrap_or_else(|| from.clone());
            match model_type(from).as_deref() {
                Some("bert" | "roberta" | "xlm-roberta" | "camembert" | "distilbert") => ObjectiveKind::Masked,
                Some("marian" | "t5" | "mt5") => ObjectiveKind::Pairs,
                _ => ObjectiveKind::Causal,
            }
        }
        (None, ModelRecipe::New(_)) => ObjectiveKind::Causal,
    };
    Ok(match named {
        ObjectiveKind::Causal => Kind::Causal,
        ObjectiveKind::Masked => Kind::Masked,
        ObjectiveKind::Pairs => Kind::Pairs,
        ObjectiveKind::Spans => Kind::Spans,
    })
}

/// The family that a folder's `config.json` names; whoever loads the model says what is wrong with it.
fn model_type(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join("config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_str(&text).ok()?;
    config.get("model_type")?.as_str().map(str::to_owned)
}

/// What the recipe says about the objective.
pub fn objective(recipe: &Recipe) -> objective::Settings {
    let said = &recipe.objective;
    objective::Settings {
        share: said.mask,
        scheme: match said.masking {
            recipe::Masking::Static => Scheme::Static,
            recipe::Masking::Dynamic => Scheme::Dynamic,
            recipe::Masking::Adaptive => Scheme::Adaptive,
        },
        whole_words: said.whole_words,
        span: said.span,
        next_sentence: said.next_sentence,
        seed: recipe.train.seed,
    }
}

/// Whether the run learns from conversations.
pub fn has_conversations(recipe: &Recipe) -> bool {
    recipe.data.sources.iter().any(|source| source.format == RecordFormat::Conversations)
}

/// What the corpus is asked to prepare.
pub fn prepare_plan(recipe: &Recipe, learned: Kind, conversations: Option<ConversationWriter>) -> PreparePlan {
    let split = |split: &recipe::Split| match split {
        recipe::Split::Auto => Split::Auto,
        recipe::Split::File => Split::File,
        recipe::Split::Line => Split::Line,
        recipe::Split::Paragraph => Split::Paragraph,
        recipe::Split::Separator(text) => Split::Separator(text.clone()),
    };
    let pairs = |source: &SourceRecipe| match (&source.input_field, &source.target_field) {
        _ if source.format == RecordFormat::Conversations => Some(ExamplePlan::Conversations),
        (Some(input), Some(target)) => Some(ExamplePlan::Fields { input: input.clone(), target: target.clone() }),
        _ => (!source.target_path.is_empty()).then(|| ExamplePlan::Files(source.target_path.clone())),
    };
    let sources = recipe.data.sources.iter().map(|source| SourcePlan {
        name: source.name.clone(),
        paths: source.path.clone(),
        weight: source.weight,
        text_field: source.text_field.clone(),
        split: split(&source.split),
        examples: pairs(source),
        clean: source.clean.as_ref().unwrap_or(&recipe.data.clean).clone(),
    });
    // A domain's records are like those of the first source.
    let first = recipe.data.sources.first().and_then(pairs);
    let held_out = recipe.data.held_out.iter().map(|(name, paths)| HeldOutPlan {
        examples: match recipe.data.held_out_target.get(name) {
            Some(targets) => Some(ExamplePlan::Files(targets.clone())),
            None => first.clone(),
        },
        clean: recipe.data.clean.clone(),
        ..HeldOutPlan::new(name, paths.clone())
    });
    let tokenizer = match (&recipe.model, &recipe.tokenizer) {
        (ModelRecipe::From { from, .. }, _) => TokenizerPlan::File(from.clone()),
        (_, TokenizerRecipe::Load { path }) => TokenizerPlan::File(path.clone()),
        (_, TokenizerRecipe::Train { kind, vocab }) => TokenizerPlan::Train {
            kind: match kind {
                recipe::TokenizerKind::Bpe => TokenizerKind::Bpe,
                recipe::TokenizerKind::WordPiece => TokenizerKind::WordPiece,
                recipe::TokenizerKind::Unigram => TokenizerKind::Unigram,
                recipe::TokenizerKind::Word => TokenizerKind::Word,
            },
            vocabulary: *vocab,
            framing: if has_conversations(recipe) { Framing::Chat } else { learned.framing() },
        },
    };
    PreparePlan {
        sources: sources.collect(),
        held_out: held_out.collect(),
        tokenizer,
        conversations,
        bytes: recipe.data.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run_has_coarser_intervals() {
        let mut recipe = Recipe::default();
        recipe.ledger.refresh_every = 20;
        let portions = Portions { context: 256, sequences: 2, micro_batches: 4 };
        let growth = |steps| ledger_growth(&recipe, &portions, 2, 256, steps);
        assert_eq!(ledger_tokens(&recipe, &portions, 2, 100), 256);
        assert_eq!(growth(100), 0.5);
        assert_eq!(growth(2000), 0.25);
        assert_eq!(ledger::intervals(8, 0.25, 20), 8);
        assert_eq!(ledger::intervals(20, 1.0, 4), 7);
    }
}
