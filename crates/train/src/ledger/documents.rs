//! The ledger by document: what single documents did to each held-out domain.
//!
//! A target's share of an `AdamW` step is −η c P ⊙ ∂ℓ / n, with η the learning rate, c the factor of clipping, n the
//! step's targets and P = 1 / (√v̂ + ε) the optimizer's denominators. To first order it changes the loss of domain *d* by its
//! product with the domain's gradient, so its value is
//!
//! ```text
//! value(target, d) = η c / n ⟨V_d, ∂ℓ⟩        V_d = P ⊙ ḡ_d
//! ```
//!
//! in nats a held-out token, positive where it brought the loss down: In-Run Data Shapley (Wang et al. 2024, eq. 4) with the
//! denominators of Adam. ⟨V_d, ∂ℓ⟩ comes of two forward passes ([`super::slope`]), target by target, so a
//! document that shares its window with others gets what its own targets did.
//!
//! - Losses are taken at the weights of the step, which for intervals of several steps are those between the interval's ends.
//! - Where momentum is credited to the sources, a gradient moves the weights also in later steps. η is then the whole of it,
//!   Σ_k (1 − β₁) β₁^k η_{t+k} / (1 − β₁^{t+k}); else the part of it that falls into its own step ([`Reached`]).
//! - ḡ_d is the mean held-out gradient, and P the denominators at the end, of the interval in which the gradient moves the
//!   weights: k steps after its own, k drawn in proportion to the terms of the sum, so that the mean over draws is the sum over
//!   all of them. At checkpoints, which nothing outlives, it is the last interval.
//! - Without dropout, label smoothing, and the loss of next sentences.
//!
//! Two passes a domain for every micro-batch would cost more than training, so only some are scored, drawn by
//! counters: each with the same probability, the rate. Sums are divided by the rate and so unbiased (Horvitz & Thompson 1952); their
//! standard error is √(1 − rate) / rate times the root of the sum over scored micro-batches of the squared values.

use super::slope::Direction;
use crate::learner::Learner;
use crate::objective::Example;
use crate::record::{DocumentSumRow, DocumentTally};
use burn::tensor::{Device, Tensor};
use loam_corpus::TrainingDocuments;
use loam_nn::initialize::mix;
use loam_nn::update;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Places on the way of an interval at which losses are taken, at most: the weights of each must be made, for each domain
/// and both sides.
const PLACES: u64 = 2;

/// A micro-batch that is scored when its interval is booked.
struct Kept {
    /// Steps done before its own.
    step: u64,
    source: usize,
    examples: Vec<Example>,
    /// The slot of every target that counts.
    slots: Vec<usize>,
    /// η c / n of its step.
    factor: f64,
    /// The first step at whose end it is scored.
    due: u64,
    /// The interval of its step, once that has ended.
    way: Option<Arc<Way>>,
}

/// How the weights went over an interval.
struct Way {
    from: Vec<Tensor<1>>,
    change: Vec<Tensor<1>>,
    from_step: u64,
    step: u64,
}

impl Way {
    /// The place on the way of the steps in the part of the interval that the step after `step` steps is in, and that part.
    fn place(&self, step: u64) -> (u64, f64) {
        let steps = (self.step - self.from_step).max(1);
        let part = |step: u64| (step - self.from_step) * PLACES.min(steps) / steps;
        let same = (self.from_step..self.step).filter(|other| part(*other) == part(step));
        // In the middle of the steps of this part.
        let (sum, count) = same.fold((0, 0), |(sum, count), step| (sum + step - self.from_step, count + 1));
        (part(step), sum as f64 / f64::from(count.max(1)) / steps as f64)
    }
}

/// How far, and when, a gradient moves the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reached {
    /// η: the learning rate with which it does so in all.
    pub rate: f64,
    /// Steps after its own, of all in which it does so the one that was drawn.
    pub lag: u64,
}

/// What was found of a document, or of a source.
#[derive(Clone, Debug, Default, PartialEq)]
struct Score {
    /// Targets scored.
    tokens: u64,
    /// Of each domain, the sum of their values, and the sum over micro-batches of the squared values.
    sums: Vec<(f64, f64)>,
}

impl Score {
    fn new(domains: usize) -> Self {
        Self { tokens: 0, sums: vec![(0.0, 0.0); domains] }
    }

    fn add(&mut self, domain: usize, value: f64) {
        let (sum, squares) = &mut self.sums[domain];
        *sum += value;
        *squares += value * value;
    }
}

/// Micro-batches that are to be scored.
pub(super) struct Due(Vec<Kept>);

impl Due {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How a ledger by document is kept.
#[derive(Clone, Debug)]
pub struct DocumentSettings {
    /// Names of the sources, in the order of the data.
    pub sources: Vec<String>,
    /// Names of the held-out domains, in the order of the ledger.
    pub domains: Vec<String>,
    /// Share of the micro-batches that are scored, above 0 and at most 1.
    pub rate: f64,
    /// Seed of the draws.
    pub seed: u64,
}

/// The open books by document.
///
/// Documents are counted by *slots*: the known documents by their number, then a slot for each source that takes the tokens of
/// which no document is known.
pub struct DocumentBooks {
    settings: DocumentSettings,
    known: TrainingDocuments,
    /// Targets trained on, by slot.
    trained: Vec<u64>,
    scored: BTreeMap<usize, Score>,
    by_source: Vec<Score>,
    kept: Vec<Kept>,
    /// Of each domain, how many times the ε that its held-out loss asks for the targets last did; a resumed run goes on with
    /// what it was.
    pub steps: Vec<f64>,
    /// Micro-batches scored in this session.
    pub micro_batches: u64,
    /// Time spent on scoring.
    pub spent: Duration,
}

/// What a document did to a domain.
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentValue {
    /// Its number among the training documents; none for the tokens of a source that belong to no known document.
    pub document: Option<usize>,
    /// Its source.
    pub source: usize,
    /// The domain.
    pub domain: usize,
    /// Nats a held-out token by which it brought the loss down, as estimated.
    pub value: f64,
    /// Standard error of the estimate, in nats.
    pub standard_error: f64,
    /// Targets trained on.
    pub tokens_trained: u64,
    /// Targets scored.
    pub tokens_scored: u64,
    /// Nats that the scored targets alone brought down.
    pub value_scored: f64,
}

impl DocumentBooks {
    /// Empty books.
    pub fn new(settings: DocumentSettings, known: TrainingDocuments) -> Self {
        let (sources, domains) = (settings.sources.len(), settings.domains.len());
        Self {
            trained: vec![0; known.count() + sources],
            scored: BTreeMap::new(),
            by_source: vec![Score::new(domains); sources],
            kept: Vec::new(),
            steps: vec![1.0; domains],
            micro_batches: 0,
            spent: Duration::ZERO,
            settings,
            known,
        }
    }

    /// The documents of the data.
    pub fn known(&self) -> &TrainingDocuments {
        &self.known
    }

    /// The rate.
    pub fn rate(&self) -> f64 {
        self.settings.rate
    }

    /// Targets scored so far, and documents that have some.
    pub fn scored(&self) -> (u64, u64) {
        (self.by_source.iter().map(|score| score.tokens).sum(), self.scored.len() as u64)
    }

    /// Whether the `number`-th micro-batch of the run is scored: a function of the seed and the number alone.
    pub fn is_drawn(&self, number: u64) -> bool {
        let bits = mix(mix(self.settings.seed ^ 0x646f_6375) ^ mix(number));
        ((bits >> 11) as f64 / (1_u64 << 53) as f64) < self.settings.rate
    }

    /// Takes note of a micro-batch that was trained on, in the step after `step` steps. `places` are those of its targets in its
    /// source's tokens ([`crate::feed::Feed::target_places`]), `reached` says how its gradient moves the weights where it is to be
    /// scored, and `scale` is c / n.
    pub fn trained_on(
        &mut self,
        step: u64,
        source: usize,
        examples: &[Example],
        places: &[usize],
        reached: Option<Reached>,
        scale: f64,
    ) {
        let unknown = self.known.count() + source;
        // Neighbors are mostly of one document, so it is looked up where it ends.
        let mut run = (0..0, unknown);
        let mut slot = |place: usize| {
            if !run.0.contains(&place) {
                run = match self.known.at(source, place) {
                    Some((document, end)) => (place..end, document),
                    None => (place..place + 1, unknown),
                };
            }
            run.1
        };
        let slots: Vec<usize> = places.iter().map(|place| slot(*place)).collect();
        for slot in &slots {
            self.trained[*slot] += 1;
        }
        if let Some(reached) = reached {
            let (factor, due) = (reached.rate * scale, step + 1 + reached.lag);
            self.kept.push(Kept { step, source, examples: examples.to_vec(), slots, factor, due, way: None });
        }
    }

    /// Takes note that an interval has ended, in which the weights went from `from` by `change`.
    pub(super) fn close_interval(&mut self, from: &[Tensor<1>], change: &[Tensor<1>], from_step: u64, step: u64) {
        if self.kept.iter().any(|kept| kept.way.is_none()) {
            let way = Arc::new(Way { from: from.to_vec(), change: change.to_vec(), from_step, step });
            for kept in self.kept.iter_mut().filter(|kept| kept.way.is_none()) {
                kept.way = Some(way.clone());
            }
        }
    }

    /// Takes out what is to be scored after `step` steps; all that waits, where `all` is asked for.
    pub(super) fn due(&mut self, step: u64, all: bool) -> Due {
        let (due, wait) = std::mem::take(&mut self.kept)
            .into_iter()
            .partition(|kept| kept.way.is_some() && (all || kept.due <= step));
        self.kept = wait;
        Due(due)
    }

    /// Whether something waits.
    pub(super) fn waits(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Scores what is due for a domain, whose mean gradient ḡ and whose V = P ⊙ ḡ are given.
    pub(super) fn score<M: Learner>(
        &mut self,
        model: &M,
        due: &Due,
        domain: usize,
        gradient: &[Tensor<1>],
        along: &[Tensor<1>],
        device: &Device,
    ) {
        let start = Instant::now();
        let slope: f64 = gradient.iter().zip(along).map(|(g, v)| update::dot(g.clone(), v.clone())).sum();
        let Some(first) = Direction::first_step(slope) else { return };
        let mut epsilon = first * self.steps[domain];
        let (model, device) = (model.clone().valid(), device.clone().inner());
        let placed = due.0.iter().filter_map(|kept| kept.way.as_ref().map(|way| (kept, way, way.place(kept.step))));
        let placed: Vec<_> = placed.collect();
        for group in placed.chunk_by(|a, b| Arc::ptr_eq(a.1, b.1) && a.2.0 == b.2.0) {
            let (_, way, (_, place)) = &group[0];
            let direction = Direction { from: &way.from, change: &way.change, along };
            let examples: Vec<&[Example]> = group.iter().map(|(kept, ..)| &*kept.examples).collect();
            let slopes = direction.slopes(&model, &examples, *place, &mut epsilon, &device);
            for ((kept, ..), slopes) in group.iter().zip(slopes) {
                let mut by_slot: BTreeMap<usize, f64> = BTreeMap::new();
                for (slot, slope) in kept.slots.iter().zip(slopes) {
                    // What is no number would spoil all sums; such a run is stopped by its own loss.
                    *by_slot.entry(*slot).or_default() += if slope.is_finite() { kept.factor * slope } else { 0.0 };
                }
                self.by_source[kept.source].add(domain, by_slot.values().sum());
                let domains = self.settings.domains.len();
                for (slot, value) in by_slot {
                    self.scored.entry(slot).or_insert_with(|| Score::new(domains)).add(domain, value);
                }
            }
        }
        let times = epsilon / first;
        if times.is_finite() && times > 0.0 {
            self.steps[domain] = times;
        }
        self.spent += start.elapsed();
    }

    /// Counts what was scored for every domain.
    pub(super) fn count(&mut self, due: Due) {
        let domains = self.settings.domains.len();
        for kept in due.0 {
            self.micro_batches += 1;
            self.by_source[kept.source].tokens += kept.slots.len() as u64;
            for slot in kept.slots {
                self.scored.entry(slot).or_insert_with(|| Score::new(domains)).tokens += 1;
            }
        }
    }

    /// An estimate out of a sum over scored micro-batches and the sum of its squares, with its standard error.
    fn estimate(&self, (sum, squares): (f64, f64)) -> (f64, f64) {
        let rate = self.settings.rate;
        (sum / rate, (squares * (1.0 - rate).max(0.0)).sqrt() / rate)
    }

    /// The values of every document that was scored, by document and domain.
    pub fn values(&self) -> Vec<DocumentValue> {
        let mut values = Vec::with_capacity(self.scored.len() * self.settings.domains.len());
        for (slot, score) in &self.scored {
            let document = (*slot < self.known.count()).then_some(*slot);
            let source = document.map_or_else(|| slot - self.known.count(), |document| self.known.source(document));
            for (domain, sums) in score.sums.iter().enumerate() {
                let (value, standard_error) = self.estimate(*sums);
                values.push(DocumentValue {
                    document,
                    source,
                    domain,
                    value,
                    standard_error,
                    tokens_trained: self.trained[*slot],
                    tokens_scored: score.tokens,
                    value_scored: sums.0,
                });
            }
        }
        values
    }

    /// The sums over the documents of each source, for each domain.
    pub fn sums(&self) -> Vec<DocumentSumRow> {
        let mut trained = vec![0; self.settings.sources.len()];
        for (slot, tokens) in self.trained.iter().enumerate().filter(|(_, tokens)| **tokens > 0) {
            let known = slot < self.known.count();
            trained[if known { self.known.source(slot) } else { slot - self.known.count() }] += tokens;
        }
        let mut rows = Vec::new();
        for (source, score) in self.by_source.iter().enumerate() {
            for (domain, sums) in score.sums.iter().enumerate() {
                let (value, standard_error) = self.estimate(*sums);
                rows.push(DocumentSumRow {
                    source: self.settings.sources[source].clone(),
                    domain: self.settings.domains[domain].clone(),
                    value,
                    standard_error,
                    tokens_trained: trained[source],
                    tokens_scored: score.tokens,
                    rate: self.settings.rate,
                });
            }
        }
        rows
    }

    /// Names of sources and domains.
    pub fn names(&self) -> (&[String], &[String]) {
        (&self.settings.sources, &self.settings.domains)
    }

    /// Everything that was counted, for a checkpoint: only when nothing waits. Sources stand behind
    /// the slots.
    pub fn tallies(&self) -> Vec<DocumentTally> {
        assert!(self.kept.is_empty(), "tallies while something waits");
        let mut tallies = Vec::new();
        let mut push = |slot: usize, trained: u64, score: Option<&Score>| {
            let tokens_scored = score.map_or(0, |score| score.tokens);
            let sums = score.map_or(&[][..], |score| &score.sums);
            let row = |domain: usize, (sum, squares): (f64, f64)| DocumentTally {
                slot: slot as u64,
                domain: domain as u64,
                tokens_trained: trained,
                tokens_scored,
                sum,
                squares,
            };
            if sums.is_empty() {
                tallies.push(row(0, (0.0, 0.0)));
            }
            tallies.extend(sums.iter().enumerate().map(|(domain, sums)| row(domain, *sums)));
        };
        for (slot, trained) in self.trained.iter().enumerate() {
            let score = self.scored.get(&slot);
            if *trained > 0 || score.is_some() {
                push(slot, *trained, score);
            }
        }
        for (source, score) in self.by_source.iter().enumerate() {
            push(self.trained.len() + source, 0, Some(score));
        }
        tallies
    }

    /// Takes back what [`DocumentBooks::tallies`] gave; what belongs to other data is passed over.
    pub fn restore(&mut self, tallies: &[DocumentTally]) {
        let (slots, domains) = (self.trained.len(), self.settings.domains.len());
        for tally in tallies {
            let (slot, domain) = (tally.slot as usize, tally.domain as usize);
            if domain >= domains || slot >= slots + self.by_source.len() {
                continue;
            }
            let score = if let Some(source) = slot.checked_sub(slots) {
                &mut self.by_source[source]
            } else {
                self.trained[slot] = tally.tokens_trained;
                if tally.tokens_scored == 0 {
                    continue;
                }
                self.scored.entry(slot).or_insert_with(|| Score::new(domains))
            };
            score.tokens = tally.tokens_scored;
            score.sums[domain] = (tally.sum, tally.squares);
        }
    }
}
