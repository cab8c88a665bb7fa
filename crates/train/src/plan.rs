//! From a recipe to the portions of a run: sequences a micro-batch, micro-batches a step, steps.

use crate::recipe::{self, Length, ModelRecipe, Recipe, TokenizerRecipe, TrainRecipe};
use loam_corpus::{HeldOutPlan, PreparePlan, Prepared, SourcePlan, Split, TokenizerKind, TokenizerPlan};

/// Tokens of an automatic micro-batch at most: enough to keep every product large, few enough for memory.
const MICRO_BATCH_TOKENS: usize = 2048;

/// Share of the training time that automatic ledger settings may spend on held-out gradients.
const LEDGER_BUDGET: f64 = 0.04;

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

/// Held-out tokens a domain that each ledger refresh reads, when the recipe leaves it open: what the budget of time
/// allows, in whole sequences, at least one.
pub fn ledger_tokens(recipe: &Recipe, portions: &Portions, domains: usize) -> usize {
    recipe.ledger.tokens.map_or_else(
        || {
            let allowed = LEDGER_BUDGET * recipe.ledger.refresh_every as f64 * portions.batch_tokens() as f64;
            // Two gradients an interval: in its middle and at its end.
            let sequences = (allowed / 2.0 / domains.max(1) as f64 / portions.context as f64) as usize;
            sequences.max(1) * portions.context
        },
        |tokens| tokens as usize,
    )
}

/// Steps of a run that is given in steps or epochs; none when it is given in minutes.
pub fn steps(length: Length, portions: &Portions, prepared: &Prepared) -> Option<u64> {
    match length {
        Length::Steps(steps) => Some(steps),
        Length::Epochs(epochs) => {
            let tokens: u64 = prepared.sources().iter().map(|source| source.tokens).sum();
            Some(((epochs * tokens as f64 / portions.batch_tokens() as f64).ceil() as u64).max(1))
        }
        Length::Minutes(_) => None,
    }
}

/// What the corpus is asked to prepare.
pub fn prepare_plan(recipe: &Recipe) -> PreparePlan {
    let split = |split: &recipe::Split| match split {
        recipe::Split::Auto => Split::Auto,
        recipe::Split::File => Split::File,
        recipe::Split::Line => Split::Line,
        recipe::Split::Paragraph => Split::Paragraph,
        recipe::Split::Separator(text) => Split::Separator(text.clone()),
    };
    let sources = recipe.data.sources.iter().map(|source| SourcePlan {
        name: source.name.clone(),
        paths: source.path.clone(),
        weight: source.weight,
        text_field: source.text_field.clone(),
        split: split(&source.split),
    });
    let held_out = recipe.data.held_out.iter().map(|(name, paths)| HeldOutPlan {
        name: name.clone(),
        paths: paths.clone(),
        text_field: None,
        split: Split::Auto,
    });
    let tokenizer = match (&recipe.model, &recipe.tokenizer) {
        (ModelRecipe::From { from }, _) => TokenizerPlan::File(from.clone()),
        (_, TokenizerRecipe::Load { path }) => TokenizerPlan::File(path.clone()),
        (_, TokenizerRecipe::Train { kind, vocab }) => TokenizerPlan::Train {
            kind: match kind {
                recipe::TokenizerKind::Bpe => TokenizerKind::Bpe,
                recipe::TokenizerKind::WordPiece => TokenizerKind::WordPiece,
                recipe::TokenizerKind::Unigram => TokenizerKind::Unigram,
                recipe::TokenizerKind::Word => TokenizerKind::Word,
            },
            vocabulary: *vocab,
        },
    };
    PreparePlan { sources: sources.collect(), held_out: held_out.collect(), tokenizer }
}
