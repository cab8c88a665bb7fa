//! The ledger by document as a run keeps it: opened from `documents.parquet`, written beside the other tables.

use crate::error::TrainError;
use crate::ledger::{DocumentBooks, DocumentSettings, Reached};
use crate::recipe::{Momentum, Recipe};
use crate::record::{DocumentValueRow, Event};
use crate::run::Run;
use crate::table;
use loam_corpus::{Prepared, TrainingDocuments};
use loam_nn::initialize::mix;

/// Training documents of a run at most: each takes some thirty bytes of memory, and with what was scored of it a hundred.
const MOST_DOCUMENTS: usize = 20_000_000;

/// Steps after which momentum has let go of a gradient: 0.9⁹⁰ is less than 10⁻⁴.
const FORGOTTEN: f64 = 1e-4;

/// The books by document of a run, where its recipe asks for them and its table of documents allows it; `warn` hears why not.
pub(crate) fn open(
    run: &Run,
    recipe: &Recipe,
    prepared: &Prepared,
    rate: f64,
    warn: &mut dyn FnMut(&str),
) -> Option<DocumentBooks> {
    if !recipe.ledger.enabled || !recipe.ledger.documents {
        return None;
    }
    match TrainingDocuments::read(&run.documents(), prepared) {
        Ok(known) if known.count() <= MOST_DOCUMENTS => {
            let sources = prepared.sources().iter().map(|source| source.name.clone()).collect();
            let domains = prepared.held_out().iter().map(|domain| domain.name.clone()).collect();
            let settings = DocumentSettings { sources, domains, rate, seed: recipe.train.seed };
            Some(DocumentBooks::new(settings, known))
        }
        Ok(known) => {
            let count = known.count();
            warn(&format!("the ledger is not kept by document: {count} are too many for memory (ledger.documents)"));
            None
        }
        Err(error) => {
            warn(&format!("the ledger is not kept by document (ledger.documents): {error}"));
            None
        }
    }
}

/// How far the gradient of the `number`-th micro-batch, of the step after `step` steps, moves the weights, and when: where
/// momentum is credited to who built it, in that step and all later ones, η = Σ_k (1 − β₁) β₁^k η_{t+k} / (1 − β₁^{t+k}) up to
/// the end of the run, of which k is drawn; else in that step alone.
pub(crate) fn reached(recipe: &Recipe, steps: u64, step: u64, number: u64) -> Reached {
    let train = &recipe.train;
    let (beta, warmup) = (train.beta1, train.warmup_steps(steps));
    let share = |after: u64| {
        let at = step + after;
        let rate = train.lr * train.schedule.factor(at, steps, warmup, train.min_lr);
        (1.0 - beta) * beta.powf(after as f64) * rate / (1.0 - beta.powf((at + 1) as f64))
    };
    if recipe.ledger.momentum == Momentum::History {
        return Reached { rate: share(0), lag: 0 };
    }
    let afters = (0..steps.saturating_sub(step).max(1)).take_while(|after| beta.powf(*after as f64) > FORGOTTEN);
    let shares: Vec<f64> = afters.map(share).collect();
    let rate: f64 = shares.iter().sum();
    let bits = mix(mix(train.seed ^ 0x6c61_6773) ^ mix(number));
    let drawn = rate * ((bits >> 11) as f64 / (1_u64 << 53) as f64);
    let mut sum = 0.0;
    let passed = shares.iter().take_while(|share| {
        sum += **share;
        sum <= drawn
    });
    let lag = passed.count().min(shares.len().saturating_sub(1)) as u64;
    Reached { rate, lag }
}

/// Writes `document_values.parquet` and `document_sums.parquet`.
pub(crate) fn write(run: &Run, books: &DocumentBooks) -> Result<(), TrainError> {
    let values = books.values();
    let mut wanted: Vec<usize> = values.iter().filter_map(|value| value.document).collect();
    wanted.dedup();
    let ids = books.known().ids(&run.documents(), &wanted)?;
    let (sources, domains) = books.names();
    let rows: Vec<DocumentValueRow> = values
        .into_iter()
        .map(|value| DocumentValueRow {
            id: value.document.and_then(|document| ids.get(&document).cloned()).unwrap_or_default(),
            source: sources[value.source].clone(),
            domain: domains[value.domain].clone(),
            value: value.value,
            standard_error: value.standard_error,
            tokens_trained: value.tokens_trained,
            tokens_scored: value.tokens_scored,
            value_scored: value.value_scored,
        })
        .collect();
    table::write(&run.document_values(), &rows)?;
    table::write(&run.document_sums(), &books.sums())
}

/// What the books cost, of a session of so many seconds of which the source ledger took `ledger`.
pub(crate) fn cost(books: &DocumentBooks, seconds: f64, ledger: f64) -> Event {
    let spent = books.spent.as_secs_f64();
    let training = seconds - spent - ledger;
    let (tokens_scored, documents) = books.scored();
    Event::DocumentCost {
        seconds: spent,
        overhead: if training > 0.0 { spent / training } else { 0.0 },
        rate: books.rate(),
        micro_batches: books.micro_batches,
        tokens_scored,
        documents,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_momentum_carries_on_is_counted_once() {
        let mut recipe = Recipe::default();
        recipe.train.schedule = crate::schedule::Schedule::Constant;
        recipe.train.warmup = 0.0;
        let (steps, lr) = (400, recipe.train.lr);
        // Every step moves by η m̂, and m̂ is a mean of gradients: what all gradients are given is what all steps give.
        let sum: f64 = (0..steps).map(|step| reached(&recipe, steps, step, step).rate).sum();
        assert!((sum / (steps as f64 * lr) - 1.0).abs() < 1e-3, "{sum}");
        let middle: Vec<_> = (0..4000).map(|number| reached(&recipe, steps, 200, number)).collect();
        let lag = middle.iter().map(|reached| reached.lag as f64).sum::<f64>() / 4000.0;
        assert!((middle[0].rate / lr - 1.0).abs() < 1e-3 && (lag - 9.0).abs() < 0.6, "{lag}");
        // The last gradient has its own step only.
        let last = reached(&recipe, steps, steps - 1, 7);
        assert!((last.rate / lr - 0.1).abs() < 1e-3 && last.lag == 0, "{last:?}");
        recipe.ledger.momentum = Momentum::History;
        assert!((reached(&recipe, steps, 0, 7).rate / lr - 1.0).abs() < 1e-9);
        assert!((reached(&recipe, steps, 200, 7).rate / lr - 0.1).abs() < 1e-9);
    }
}
