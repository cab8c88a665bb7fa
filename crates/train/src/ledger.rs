//! The data ledger: what each source did to each held-out domain, measured while training.
//!
//! To first order a weight change Δw changes the loss of domain *d* by ⟨`g_d`, Δw⟩. One `AdamW` step is a sum: under the
//! denominators that it used, every source's gradient has its share, momentum from earlier steps has one, weight decay
//! has one. Over an interval of steps the ledger adds up each line's share of the weight change, a vector a line, and
//! at the interval's end takes its product with the domain's mean gradient ḡ_d on the straight way from the interval's
//! first weights to its last. ⟨ḡ_d, Δw⟩ is the change in loss exactly. The mean is taken by the nested rules of Gauss,
//! Kronrod and Patterson (Patterson 1968): the gradient in the middle; where that leaves more than a small part of the
//! change unexplained, three points; then seven. Each rule uses the points of the one before. None looks at the ends,
//! where single gradients were measured to be hundreds of times longer than a little way inside, because a training path
//! zigzags between steep walls.
//!
//! What is booked is the loss that is trained: where a model tells next sentences beside masked words, the sum of both
//! means, though held-out losses elsewhere in a run's records are those of words alone.
//!
//! Each interval takes losses and gradients on other sequences of the domain. On the same few throughout, the values of a
//! small run were those of these few: they moved by more than their size when more were taken.
//!
//! The value of a line is −⟨ḡ_d, Δw_line⟩: nats a held-out token by which it brought the loss down. The lines of an
//! interval sum to −⟨ḡ_d, Δw⟩, and the change measured on the same sequences stands beside them, so the books
//! can be seen to close. The ancestor is In-Run Data Shapley (Wang et al. 2024), published for SGD.
//!
//! Momentum: nine tenths of an `AdamW` step (β₁ = 0.9) is gradient from earlier steps. By default it is credited to the
//! sources that built it: each source keeps its own momentum, and their sum is Adam's. With `momentum = "history"` it
//! stands as a line of its own.
//!
//! Since the lines sum to Δw, one of them need not be kept: it is what the others leave of Δw (with the weights'
//! roundings, some 10⁻⁷ of them). Momentum's line is, where it has one; else that of the heaviest source.

mod documents;
pub mod slope;

use documents::Due;
pub use documents::{DocumentBooks, DocumentSettings, DocumentValue, Reached};

use crate::learner::Learner;
use crate::objective::{self, Example};
use crate::optimizer::Optimizer;
use crate::record::LedgerRow;
use crate::rotation;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use loam_kernels::adamw::Reach;
use loam_nn::parameters::{self, Parameter};
use loam_nn::update::{self, Lines, Part};
use std::time::{Duration, Instant};

/// The nested quadrature rules on [0, 1] (Patterson 1968): the pairs of points that each adds to the one before,
/// as distances from the middle, and then the weights of the middle and of each pair so far.
const RULES: [(&[f64], &[f64]); 3] = [
    (&[], &[1.0]),
    (&[0.387_298_334_620_741_7], &[0.444_444_444_444_444_4, 0.277_777_777_777_777_8]),
    (
        &[0.480_245_634_354_010_2, 0.217_121_874_673_401_28],
        &[0.225_458_269_329_237_1, 0.134_244_044_934_166_6, 0.052_328_113_013_233_6, 0.200_698_707_387_981_1],
    ),
];

/// Part of an interval's change (or of the usual one, where it is larger) that may stay unexplained before the ledger
/// looks closer.
const TOLERANCE: f64 = 0.05;

/// A held-out domain as the ledger sees it.
pub struct Domain {
    /// Its name.
    pub name: String,
    /// The sequences from which each interval draws those on which its gradients and losses are taken.
    pub sequences: Vec<Example>,
}

/// The beginning of an interval.
struct Opened {
    weights: Vec<Tensor<1>>,
    /// Of each domain.
    losses: Vec<f64>,
}

/// What a ledger is kept of, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names of the sources.
    pub sources: Vec<String>,
    /// The source whose line is what the others leave, where momentum is credited: best the one that is most often in a
    /// batch.
    pub heaviest: usize,
    /// β₁ where each source is credited with its own momentum; none where momentum has a line of its own.
    pub credit: Option<f32>,
    /// Longest interval in steps.
    pub refresh_every: u64,
    /// Longest interval as a share of the steps before it, at least one step: the loss falls fastest, and is most curved,
    /// at a run's beginning.
    pub growth: f64,
    /// Sequences of a domain that an interval draws: other ones each time, so that a run's values rest on many.
    pub sequences: usize,
    /// Tokens a micro-batch of held-out text, at most.
    pub micro_batch_tokens: usize,
}

impl Settings {
    /// The sources that have a line, by their place among the lines.
    fn lined(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.sources.len()).filter(|source| self.credit.is_none() || *source != self.heaviest)
    }
}

/// The open books of a run.
pub struct Ledger {
    settings: Settings,
    domains: Vec<Domain>,
    lines: Vec<Lines>,
    /// Steps since the lines were settled.
    age: u32,
    /// Intervals booked, which decides what the next one draws.
    booked: u64,
    opened: Option<Opened>,
    from_step: u64,
    tokens: Vec<u64>,
    /// Usual size of an interval's change, by domain; a resumed run goes on with what it was.
    pub scales: Vec<f64>,
    /// The books by document, where they are kept.
    pub documents: Option<DocumentBooks>,
    /// Booked rows, oldest first.
    pub rows: Vec<LedgerRow>,
    /// Held-out gradients taken.
    pub refreshes: u64,
    /// Time spent on held-out gradients and books, those by document not counted.
    pub spent: Duration,
}

impl Ledger {
    /// Empty books.
    pub fn new(settings: Settings, domains: Vec<Domain>, parameters: &[Parameter], device: &Device) -> Self {
        let zeros = |parameter: &Parameter| Tensor::zeros([parameter.count()], device);
        let credit = settings.credit.is_some();
        let lines = parameters
            .iter()
            .map(|parameter| Lines {
                parts: settings
                    .lined()
                    .map(|_| Part { momentum: credit.then(|| zeros(parameter)), drift: zeros(parameter) })
                    .collect(),
                reach: credit.then(|| zeros(parameter)),
                decay: zeros(parameter),
            })
            .collect();
        Self {
            tokens: vec![0; settings.sources.len()],
            scales: vec![0.0; domains.len()],
            settings,
            domains,
            lines,
            age: 0,
            booked: 0,
            opened: None,
            from_step: 0,
            documents: None,
            rows: Vec::new(),
            refreshes: 0,
            spent: Duration::ZERO,
        }
    }

    /// The books of one parameter, for the optimizer to write into.
    pub fn lines(&mut self, parameter: usize) -> &mut Lines {
        &mut self.lines[parameter]
    }

    /// Steps since the lines were settled.
    pub fn age(&self) -> u32 {
        self.age
    }

    /// Whether a source has a line of its own, so that its gradients are asked for.
    pub fn has_line(&self, source: usize) -> bool {
        self.settings.lined().any(|lined| lined == source)
    }

    /// The sources that have a line, by their place among the lines.
    pub fn lined_sources(&self) -> Vec<usize> {
        self.settings.lined().collect()
    }

    /// Of what there is for every source, what belongs to each line.
    pub fn by_line<T>(&self, mut by_source: Vec<Option<T>>) -> Vec<Option<T>> {
        self.settings.lined().map(|source| by_source.get_mut(source).and_then(Option::take)).collect()
    }

    /// Ends an optimizer step whose parts were written into the lines.
    pub fn end_step(&mut self) {
        self.age += 1;
        if self.settings.credit.is_some_and(|beta1| self.age >= Reach::longest(beta1)) {
            let start = Instant::now();
            self.settle();
            self.spent += start.elapsed();
        }
    }

    /// Makes the drifts what their sources have done so far.
    fn settle(&mut self) {
        if let Some(beta1) = self.settings.credit {
            for lines in &mut self.lines {
                lines.settle(beta1, self.age);
            }
        }
        self.age = 0;
    }

    /// Counts training tokens of a source.
    pub fn count(&mut self, source: usize, tokens: usize) {
        self.tokens[source] += tokens as u64;
    }

    /// Share of an optimizer step's time that goes to the books, where so many sources with a line had text in it: the
    /// step is bound by memory, and this is the share of vectors that it reads and writes for them.
    pub fn share_of_step(&self, present: usize) -> f64 {
        // Weights and two moments are read and written, the gradient is read.
        let plain = 7.0;
        let books = if self.settings.credit.is_some() { 4 + 5 * present } else { 2 + 3 * present } as f64;
        books / (plain + books)
    }

    /// Bytes of the vectors that the ledger holds at most; see [`vectors`].
    pub fn memory_bytes(&self) -> u64 {
        let parameters: u64 = self.lines.iter().map(|lines| lines.decay.dims()[0] as u64).sum();
        let (sources, credited) = (self.settings.sources.len(), self.settings.credit.is_some());
        4 * parameters * vectors(sources, credited) as u64
    }

    /// Held-out tokens a domain that each gradient is taken on.
    pub fn tokens_per_domain(&self) -> usize {
        (0..self.domains.len()).map(|domain| counted(&self.drawn(domain))).max().unwrap_or(0)
    }

    /// Takes back what an earlier session booked.
    pub fn restore_rows(&mut self, rows: Vec<LedgerRow>) {
        let measured = rows.iter().filter(|row| row.line == "measured").count() as u64;
        self.booked = measured / self.domains.len().max(1) as u64;
        self.rows = rows;
    }

    /// The sequences of a domain that the interval at hand is measured on.
    fn drawn(&self, domain: usize) -> Vec<Example> {
        let all = &self.domains[domain].sequences;
        let count = self.settings.sequences.max(1);
        if count >= all.len() {
            return all.clone();
        }
        rotation::places(self.booked, count, all.len()).map(|place| all[place].clone()).collect()
    }

    /// The momentum of each source that has a line, a list for every parameter; empty lists where momentum is a line of
    /// its own. Right after booking only, when nothing is left to settle.
    pub fn momenta(&self) -> Vec<Vec<Tensor<1>>> {
        assert_eq!(self.age, 0, "momenta in the middle of an interval");
        self.lines.iter().map(|lines| lines.parts.iter().filter_map(|part| part.momentum.clone()).collect()).collect()
    }

    /// Puts momenta back as [`Ledger::momenta`] gave them.
    pub fn restore_momenta(&mut self, momenta: Vec<Vec<Tensor<1>>>) {
        for (lines, momenta) in self.lines.iter_mut().zip(momenta) {
            for (part, momentum) in lines.parts.iter_mut().zip(momenta) {
                part.momentum = Some(momentum);
            }
        }
    }

    /// Opens the books at `step`.
    pub fn open<M: Learner>(&mut self, model: &M, step: u64, device: &Device) {
        let start = Instant::now();
        self.opened = Some(Opened { weights: parameters::values(model), losses: self.losses(model, device) });
        self.from_step = step;
        self.spent += start.elapsed();
    }

    /// Whether the interval that is open should be booked at `step`.
    pub fn due(&self, step: u64) -> bool {
        step - self.from_step >= interval(self.from_step, self.settings.growth, self.settings.refresh_every)
    }

    /// Books the interval that ends at `step`, whose denominators `optimizer` has, and opens the next one. With `settled`,
    /// nothing of the books by document is left waiting, as checkpoints need it.
    pub fn book<M: Learner>(&mut self, model: &M, optimizer: &Optimizer, step: u64, settled: bool, device: &Device) {
        if step == self.from_step {
            if settled {
                self.settle_documents(model, optimizer, step, device);
            }
            return;
        }
        let Some(opened) = self.opened.take() else { return };
        let start = Instant::now();
        let elsewhere = self.documents_spent();
        self.settle();
        let weights = parameters::values(model);
        let moved = |(to, from)| update::combination(&[(to, 1.0), (from, -1.0)]);
        let change: Vec<_> = weights.iter().zip(&opened.weights).map(moved).collect();
        let losses = self.losses(model, device);
        let due = self.documents.as_mut().map(|documents| {
            documents.close_interval(&opened.weights, &change, self.from_step, step);
            documents.due(step, settled)
        });
        for (domain, (before, after)) in opened.losses.iter().zip(&losses).enumerate() {
            let measured = before - after;
            let scale = &mut self.scales[domain];
            *scale = if *scale == 0.0 { measured.abs() } else { 0.9 * *scale + 0.1 * measured.abs() };
            let tolerance = TOLERANCE * measured.abs().max(*scale);
            let gradient =
                self.mean_gradient(model, domain, &opened.weights, &weights, &change, measured, tolerance, device);
            self.book_domain(domain, &gradient, &change, measured, step);
            self.score_documents(model, optimizer, due.as_ref(), domain, &gradient, step, device);
        }
        if let (Some(documents), Some(due)) = (&mut self.documents, due) {
            documents.count(due);
        }
        for lines in &mut self.lines {
            let cleared = |tensor: &Tensor<1>| tensor.zeros_like();
            for part in &mut lines.parts {
                part.drift = cleared(&part.drift);
            }
            lines.decay = cleared(&lines.decay);
        }
        self.tokens.fill(0);
        self.booked += 1;
        // The next interval is measured on other sequences, unless this one had them all.
        let all = self.domains.iter().all(|domain| domain.sequences.len() <= self.settings.sequences.max(1));
        let losses = if all { losses } else { self.losses(model, device) };
        self.opened = Some(Opened { weights, losses });
        self.from_step = step;
        let elsewhere = self.documents_spent().saturating_sub(elsewhere);
        self.spent += start.elapsed().saturating_sub(elsewhere);
    }

    fn documents_spent(&self) -> Duration {
        self.documents.as_ref().map_or(Duration::ZERO, |documents| documents.spent)
    }

    /// Scores what is due of the books by document for a domain with this mean gradient.
    fn score_documents<M: Learner>(
        &mut self,
        model: &M,
        optimizer: &Optimizer,
        due: Option<&Due>,
        domain: usize,
        gradient: &[Tensor<1>],
        step: u64,
        device: &Device,
    ) {
        let (Some(documents), Some(due)) = (&mut self.documents, due) else { return };
        if due.is_empty() {
            return;
        }
        let start = Instant::now();
        let along = optimizer.precondition(gradient, step);
        documents.spent += start.elapsed();
        documents.score(model, due, domain, gradient, &along, device);
    }

    /// Scores all that waits, where no interval is left to be booked with it: with the gradients of these weights.
    fn settle_documents<M: Learner>(&mut self, model: &M, optimizer: &Optimizer, step: u64, device: &Device) {
        let Some(documents) = self.documents.as_mut().filter(|documents| documents.waits()) else { return };
        let due = Some(documents.due(step, true));
        for domain in 0..self.domains.len() {
            let gradient = self.gradient(model, domain, device);
            self.score_documents(model, optimizer, due.as_ref(), domain, &gradient, step, device);
        }
        if let (Some(documents), Some(due)) = (&mut self.documents, due) {
            documents.count(due);
        }
    }

    /// The rows of one domain for the interval that ends at `step`, in which the weights moved by `change`.
    fn book_domain(&mut self, domain: usize, gradient: &[Tensor<1>], change: &[Tensor<1>], measured: f64, step: u64) {
        // Decay, the whole change, and the lines of the sources that have one.
        let mut values = vec![0.0; 2 + self.settings.lined().count()];
        for ((gradient, lines), change) in gradient.iter().zip(&self.lines).zip(change) {
            let vectors: Vec<_> =
                [&lines.decay, change].into_iter().chain(lines.parts.iter().map(|part| &part.drift)).collect();
            for (value, product) in values.iter_mut().zip(update::dots(gradient, &vectors)) {
                *value -= product;
            }
        }
        let (decay, all) = (values[0], values[1]);
        let mut by_source = vec![None; self.settings.sources.len()];
        for (source, value) in self.settings.lined().zip(&values[2..]) {
            by_source[source] = Some(*value);
        }
        let left = all - decay - values[2..].iter().sum::<f64>();
        let names = self.settings.sources.iter().map(String::as_str);
        let mut rows: Vec<_> = names
            .zip(by_source)
            .zip(&self.tokens)
            .map(|((name, value), tokens)| ("source", name, value.unwrap_or(left), *tokens))
            .collect();
        if self.settings.credit.is_none() {
            rows.push(("history", "", left, 0));
        }
        rows.extend([("decay", "", decay, 0), ("measured", "", measured, 0)]);
        let domain = &self.domains[domain].name;
        self.rows.extend(rows.into_iter().map(|(line, source, value, tokens)| LedgerRow {
            from_step: self.from_step,
            step,
            domain: domain.clone(),
            line: line.to_owned(),
            source: source.to_owned(),
            value,
            tokens,
        }));
    }

    /// The mean gradient of a domain's loss on the way between two sets of weights, `change` apart, over which the loss
    /// fell by `measured`: by the first of the rules that explains this within `tolerance`, else by the one that comes
    /// nearest.
    fn mean_gradient<M: Learner>(
        &mut self,
        model: &M,
        domain: usize,
        from: &[Tensor<1>],
        to: &[Tensor<1>],
        change: &[Tensor<1>],
        measured: f64,
        tolerance: f64,
        device: &Device,
    ) -> Vec<Tensor<1>> {
        let mut at = |place: f64| {
            let point = |index: usize| update::combination(&[(&from[index], 1.0 - place), (&to[index], place)]);
            let between = parameters::update(model.clone(), |index, _| point(index));
            self.gradient(&between, domain, device)
        };
        // The middle's gradient, then the sum of each pair's.
        let mut found = vec![at(0.5)];
        let mut best: Option<(f64, Vec<Tensor<1>>)> = None;
        for (pairs, weights) in RULES {
            found.extend(pairs.iter().map(|distance| add(at(0.5 - distance), at(0.5 + distance))));
            let terms = |index: usize| found.iter().zip(weights).map(move |(sum, weight)| (&sum[index], *weight));
            let mean: Vec<_> = if pairs.is_empty() {
                found[0].clone()
            } else {
                (0..change.len()).map(|index| update::combination(&terms(index).collect::<Vec<_>>())).collect()
            };
            let miss = (value(&mean, change) - measured).abs();
            if best.as_ref().is_none_or(|(least, _)| miss < *least) {
                best = Some((miss, mean));
            }
            if miss <= tolerance {
                break;
            }
        }
        best.map(|(_, mean)| mean).unwrap_or_default()
    }

    /// The loss of every domain, without dropout and gradients.
    fn losses<M: Learner>(&self, model: &M, device: &Device) -> Vec<f64> {
        let model = model.clone().valid();
        (0..self.domains.len())
            .map(|domain| {
                let loss =
                    |group: &[Example], scale| f64::from(model.loss(group, scale, None, device).into_scalar::<f32>());
                self.parts(domain, loss).into_iter().sum()
            })
            .collect()
    }

    /// The gradient of a domain's loss, without dropout.
    fn gradient<M: Learner>(&mut self, model: &M, domain: usize, device: &Device) -> Vec<Tensor<1>> {
        self.refreshes += 1;
        let gradients = self.parts(domain, |group, scale| {
            let loss = model.loss(group, scale, None, device);
            present(model, parameters::gradients(model, loss.backward()), device)
        });
        gradients.into_iter().reduce(add).unwrap_or_default()
    }

    /// What `measure` finds in each micro-batch of a domain: examples, and the scale that makes the sum a mean.
    fn parts<T>(&self, domain: usize, measure: impl Fn(&[Example], f32) -> T) -> Vec<T> {
        let mut sequences = self.drawn(domain);
        objective::balance(&mut sequences);
        let scale = 1.0 / counted(&sequences).max(1) as f32;
        let groups = objective::groups(&sequences, self.settings.micro_batch_tokens);
        groups.into_iter().map(|group| measure(group, scale)).collect()
    }
}

/// Targets that count.
fn counted(examples: &[Example]) -> usize {
    examples.iter().map(Example::counted).sum()
}

/// Steps of the interval that begins at a step.
fn interval(from_step: u64, growth: f64, refresh_every: u64) -> u64 {
    ((from_step as f64 * growth) as u64).clamp(1, refresh_every.max(1))
}

/// Intervals of a run of so many steps, but for those that checkpoints end.
pub fn intervals(steps: u64, growth: f64, refresh_every: u64) -> u64 {
    let next = |from: &u64| Some(from + interval(*from, growth, refresh_every));
    std::iter::successors(Some(0), next).take_while(|from| *from < steps).count() as u64
}

/// Vectors of the model's size that a ledger holds at most: its lines, the interval's first weights, and either each
/// source's gradient of the step at hand or what booking takes: the change, a point on the way, the gradients of the
/// largest quadrature rule (the middle's, three pairs', one more) and two means.
pub fn vectors(sources: usize, credited: bool) -> usize {
    // With momentum credited, momentum and drift of all sources but one, reach and decay.
    let lines = if credited { 2 * sources.max(1) } else { sources + 1 };
    lines + 1 + sources.max(9)
}

/// −⟨gradient, change⟩ over all parameters: what the change brought the loss down by.
fn value(gradient: &[Tensor<1>], change: &[Tensor<1>]) -> f64 {
    -gradient.iter().zip(change).map(|(g, change)| update::dot(g.clone(), change.clone())).sum::<f64>()
}

/// The sum of two gradients.
pub(crate) fn add(sum: Vec<Tensor<1>>, more: Vec<Tensor<1>>) -> Vec<Tensor<1>> {
    sum.into_iter().zip(more).map(|(a, b)| update::add(a, b)).collect()
}

/// Gradients with zeros where a parameter had none.
pub(crate) fn present<M: Module>(model: &M, gradients: Vec<Option<Tensor<1>>>, device: &Device) -> Vec<Tensor<1>> {
    let device = device.clone().inner();
    parameters::list(model)
        .iter()
        .zip(gradients)
        .map(|(parameter, gradient)| gradient.unwrap_or_else(|| Tensor::zeros([parameter.count()], &device)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::RULES;

    #[test]
    fn each_rule_integrates_polynomials_of_its_degree() {
        let mut distances: Vec<f64> = Vec::new();
        for ((pairs, weights), degree) in RULES.iter().zip([1, 5, 11]) {
            distances.extend(*pairs);
            for power in 0..=degree {
                let at = |x: f64| x.powi(power);
                let pairs = distances.iter().zip(&weights[1..]);
                let sum: f64 = pairs.map(|(distance, weight)| weight * (at(0.5 - distance) + at(0.5 + distance))).sum();
                let whole = sum + weights[0] * at(0.5);
                assert!(
                    (whole - 1.0 / f64::from(power + 1)).abs() < 1e-14,
                    "x^{power} by {} points",
                    2 * distances.len() + 1
                );
            }
        }
    }
}
