//! The data ledger: what each source did to each held-out domain, measured while training.
//!
//! To first order a weight change Δw changes the loss of domain *d* by ⟨`g_d`, Δw⟩. One `AdamW` step is a sum: under the
//! denominators that it used, every source's gradient has its share, momentum from earlier steps has one, weight decay
//! has one. Over an interval of steps the ledger adds up each line's share of the weight change, a vector a line, and
//! at the interval's end takes its product with the domain's mean gradient ḡ_d on the straight way from the interval's
//! first weights to its last. ⟨ḡ_d, Δw⟩ is the change in loss exactly; the mean is taken by Simpson's rule, which needs
//! one gradient in the middle beside those at the ends and is exact for changes of up to fourth order. The mean of the
//! two ends alone (the trapezoid rule) was measured to leave ten times as much unexplained, because a training path
//! zigzags across steep walls. Where more than a small part still stays unexplained (a spike of the gradient at an
//! end), four inner points are taken instead (Gauss & Legendre) for the domains that they explain better.
//!
//! The value of a line is −⟨ḡ_d, Δw_line⟩: nats a held-out token by which it brought the loss down. The lines of an
//! interval sum to −⟨ḡ_d, Δw⟩, and the change measured on the same held-out sequences stands beside them, so the books
//! can be seen to close. The ancestor is In-Run Data Shapley (Wang et al. 2024), published for SGD.
//!
//! Momentum: nine tenths of an `AdamW` step (β₁ = 0.9) is gradient from earlier steps. By default it is credited to the
//! sources that built it: each source keeps its own momentum, and their sum is Adam's. With `momentum = "history"` it
//! stands as a line of its own.

use crate::batch;
use crate::record::LedgerRow;
use burn::tensor::{Device, Tensor};
use loam_corpus::Sequence;
use loam_models::LanguageModel;
use loam_nn::parameters::{self, Parameter};
use loam_nn::update::{self, Lines, Part};
use std::time::{Duration, Instant};

/// Four-point Gauss–Legendre quadrature on [0, 1]: places and weights.
const GAUSS: [(f64, f64); 4] = [
    (0.069_431_844_202_973_7, 0.173_927_422_568_726_9),
    (0.330_009_478_207_571_9, 0.326_072_577_431_273_1),
    (0.669_990_521_792_428_1, 0.326_072_577_431_273_1),
    (0.930_568_155_797_026_3, 0.173_927_422_568_726_9),
];

/// Part of an interval's change (or of the usual one, where it is larger) that may stay unexplained before the ledger
/// looks closer.
const TOLERANCE: f64 = 0.03;

/// A held-out domain as the ledger sees it.
pub struct Domain {
    /// Its name.
    pub name: String,
    /// The sequences on which gradient and loss are taken, the same throughout.
    pub sequences: Vec<Sequence>,
}

struct Measured {
    loss: f64,
    gradient: Vec<Tensor<1>>,
}

/// The beginning of an interval.
struct Opened {
    weights: Vec<Tensor<1>>,
    domains: Vec<Measured>,
}

/// The open books of a run.
pub struct Ledger {
    sources: Vec<String>,
    domains: Vec<Domain>,
    micro_batch: usize,
    lines: Vec<Lines>,
    opened: Option<Opened>,
    from_step: u64,
    tokens: Vec<u64>,
    refresh_every: u64,
    /// Usual size of an interval's change, by domain; a resumed run goes on with what it was.
    pub scales: Vec<f64>,
    /// Booked rows, oldest first.
    pub rows: Vec<LedgerRow>,
    /// Held-out gradients taken.
    pub refreshes: u64,
    /// Time spent on held-out gradients and books.
    pub spent: Duration,
}

impl Ledger {
    /// Empty books; `credit` gives each source its own momentum.
    pub fn new(
        sources: Vec<String>,
        domains: Vec<Domain>,
        parameters: &[Parameter],
        credit: bool,
        refresh_every: u64,
        micro_batch: usize,
        device: &Device,
    ) -> Self {
        let zeros = |parameter: &Parameter| Tensor::zeros([parameter.count()], device);
        let lines = parameters
            .iter()
            .map(|parameter| Lines {
                parts: sources
                    .iter()
                    .map(|_| Part { momentum: credit.then(|| zeros(parameter)), drift: zeros(parameter) })
                    .collect(),
                history: (!credit).then(|| zeros(parameter)),
                decay: zeros(parameter),
            })
            .collect();
        Self {
            tokens: vec![0; sources.len()],
            scales: vec![0.0; domains.len()],
            sources,
            domains,
            micro_batch,
            lines,
            opened: None,
            from_step: 0,
            refresh_every: refresh_every.max(1),
            rows: Vec::new(),
            refreshes: 0,
            spent: Duration::ZERO,
        }
    }

    /// The books of one parameter, for the optimizer to write into.
    pub fn lines(&mut self, parameter: usize) -> &mut Lines {
        &mut self.lines[parameter]
    }

    /// Counts training tokens of a source.
    pub fn count(&mut self, source: usize, tokens: usize) {
        self.tokens[source] += tokens as u64;
    }

    /// Share of an optimizer step's time that goes to the books: the step is bound by memory, and this is the share of
    /// vectors that it reads and writes for them.
    pub fn share_of_step(&self) -> f64 {
        let credited = self.lines.first().is_some_and(|lines| lines.history.is_none());
        // Weights and two moments are read and written, the gradient is read.
        let plain = 7.0;
        let books = if credited { 5 * self.sources.len() + 2 } else { 3 * self.sources.len() + 4 } as f64;
        books / (plain + books)
    }

    /// Bytes of the vectors that the ledger holds at most; see [`vectors`].
    pub fn memory_bytes(&self) -> u64 {
        let parameters: u64 = self.lines.iter().map(|lines| lines.decay.dims()[0] as u64).sum();
        let credited = self.lines.first().is_some_and(|lines| lines.history.is_none());
        4 * parameters * vectors(self.sources.len(), self.domains.len(), credited) as u64
    }

    /// Held-out tokens a domain that a refresh reads.
    pub fn tokens_per_domain(&self) -> usize {
        self.domains.iter().map(|domain| batch::join(&domain.sequences).2).max().unwrap_or(0)
    }

    /// Each source's momentum, a list for every parameter; empty lists where momentum is a line of its own.
    pub fn momenta(&self) -> Vec<Vec<Tensor<1>>> {
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

    /// Opens the books at `step` with fresh held-out gradients.
    pub fn open<M: LanguageModel>(&mut self, model: &M, step: u64, device: &Device) {
        let start = Instant::now();
        let all: Vec<usize> = (0..self.domains.len()).collect();
        self.opened = Some(Opened { weights: parameters::values(model), domains: self.measure(model, &all, device) });
        self.from_step = step;
        self.spent += start.elapsed();
    }

    /// Whether the interval that is open should be booked at `step`. Intervals begin at one step and grow with the
    /// run, because the loss falls fastest, and is most curved, at its beginning.
    pub fn due(&self, step: u64) -> bool {
        step - self.from_step >= (self.from_step / 4).clamp(1, self.refresh_every)
    }

    /// Books the interval that ends at `step` and opens the next one.
    pub fn book<M: LanguageModel>(&mut self, model: &M, step: u64, device: &Device) {
        if step == self.from_step {
            return;
        }
        let Some(opened) = self.opened.take() else { return };
        let start = Instant::now();
        let weights = parameters::values(model);
        let all: Vec<usize> = (0..self.domains.len()).collect();
        let middle = self.measure_between(model, &opened.weights, &weights, 0.5, &all, device);
        let closed = self.measure(model, &all, device);
        let measured: Vec<f64> = opened.domains.iter().zip(&closed).map(|(a, b)| a.loss - b.loss).collect();
        let simpson = |((a, b), c): ((&Measured, &Measured), &Measured)| {
            weighted(&[(a, 1.0 / 6.0), (b, 4.0 / 6.0), (c, 1.0 / 6.0)])
        };
        let mut gradients: Vec<_> = opened.domains.iter().zip(&middle).zip(&closed).map(simpson).collect();
        drop(middle);
        for (scale, measured) in self.scales.iter_mut().zip(&measured) {
            *scale = if *scale == 0.0 { measured.abs() } else { 0.9 * *scale + 0.1 * measured.abs() };
        }
        let residual =
            |ledger: &Self, gradient: &[Tensor<1>], measured: f64| (ledger.value_of_all(gradient) - measured).abs();
        let is_off = |domain: &usize| {
            let (measured, scale) = (measured[*domain], self.scales[*domain]);
            residual(self, &gradients[*domain], measured) > TOLERANCE * measured.abs().max(scale)
        };
        let off: Vec<usize> = (0..gradients.len()).filter(is_off).collect();
        if !off.is_empty() {
            let mut means: Vec<Vec<Tensor<1>>> = Vec::new();
            for (place, weight) in GAUSS {
                let point = self.measure_between(model, &opened.weights, &weights, place, &off, device);
                let terms = point.iter().map(|measured| weighted(&[(measured, weight)]));
                means = if means.is_empty() {
                    terms.collect()
                } else {
                    means.into_iter().zip(terms).map(|(mean, term)| add(mean, term)).collect()
                };
            }
            for (domain, finer) in off.into_iter().zip(means) {
                let miss = |gradient: &[Tensor<1>]| residual(self, gradient, measured[domain]);
                if miss(&finer) < miss(&gradients[domain]) {
                    gradients[domain] = finer;
                }
            }
        }
        for (domain, gradient) in gradients.iter().enumerate() {
            self.book_domain(domain, gradient, measured[domain], step);
        }
        for lines in &mut self.lines {
            let cleared = |tensor: &Tensor<1>| tensor.zeros_like();
            for part in &mut lines.parts {
                part.drift = cleared(&part.drift);
            }
            lines.history = lines.history.as_ref().map(cleared);
            lines.decay = cleared(&lines.decay);
        }
        self.tokens.fill(0);
        self.opened = Some(Opened { weights, domains: closed });
        self.from_step = step;
        self.spent += start.elapsed();
    }

    /// The rows of one domain for the interval that ends at `step`.
    fn book_domain(&mut self, domain: usize, gradient: &[Tensor<1>], measured: f64, step: u64) {
        let mut rows = Vec::new();
        for (source, name) in self.sources.iter().enumerate() {
            let value = self.value(gradient, |lines| Some(&lines.parts[source].drift));
            rows.push(("source", name.as_str(), value, self.tokens[source]));
        }
        rows.push(("history", "", self.value(gradient, |lines| lines.history.as_ref()), 0));
        rows.push(("decay", "", self.value(gradient, |lines| Some(&lines.decay)), 0));
        rows.push(("measured", "", Some(measured), 0));
        let domain = &self.domains[domain].name;
        self.rows.extend(rows.into_iter().filter_map(|(line, source, value, tokens)| {
            Some(LedgerRow {
                from_step: self.from_step,
                step,
                domain: domain.clone(),
                line: line.to_owned(),
                source: source.to_owned(),
                value: value?,
                tokens,
            })
        }));
    }

    /// −⟨gradient, line⟩ over all parameters; none where the books have no such line.
    fn value<'a>(&'a self, gradient: &[Tensor<1>], line: impl Fn(&'a Lines) -> Option<&'a Tensor<1>>) -> Option<f64> {
        let products =
            gradient.iter().zip(&self.lines).map(|(g, lines)| Some(update::dot(g.clone(), line(lines)?.clone())));
        products.sum::<Option<f64>>().map(|product| -product)
    }

    /// The sum of all lines' values.
    fn value_of_all(&self, gradient: &[Tensor<1>]) -> f64 {
        let sources =
            (0..self.sources.len()).map(|source| self.value(gradient, |lines| Some(&lines.parts[source].drift)));
        let rest =
            [self.value(gradient, |lines| lines.history.as_ref()), self.value(gradient, |lines| Some(&lines.decay))];
        sources.chain(rest).flatten().sum()
    }

    /// Loss and gradient of these domains at the point `place` of the way between two sets of weights.
    fn measure_between<M: LanguageModel>(
        &mut self,
        model: &M,
        from: &[Tensor<1>],
        to: &[Tensor<1>],
        place: f64,
        domains: &[usize],
        device: &Device,
    ) -> Vec<Measured> {
        let point = |index: usize| from[index].clone() * (1.0 - place) + to[index].clone() * place;
        let between = parameters::update(model.clone(), |index, _| point(index));
        self.measure(&between, domains, device)
    }

    /// Loss and gradient of these domains, without dropout.
    fn measure<M: LanguageModel>(&mut self, model: &M, domains: &[usize], device: &Device) -> Vec<Measured> {
        let mut measured = Vec::with_capacity(domains.len());
        for domain in domains {
            let domain = &self.domains[*domain];
            let scale = 1.0 / batch::join(&domain.sequences).2.max(1) as f32;
            let mut sum: Option<Vec<Tensor<1>>> = None;
            let mut loss = 0.0;
            for group in domain.sequences.chunks(self.micro_batch.max(1)) {
                let (inputs, targets, _) = batch::join(group);
                let (inputs, targets) = batch::tensors(&inputs, &targets, group.len(), device);
                let part = model.loss(inputs, targets, scale, None);
                loss += f64::from(part.clone().into_scalar::<f32>());
                let gradients = present(model, parameters::gradients(model, part.backward()), device);
                sum = Some(match sum {
                    None => gradients,
                    Some(sum) => add(sum, gradients),
                });
            }
            measured.push(Measured { loss, gradient: sum.unwrap_or_default() });
            self.refreshes += 1;
        }
        measured
    }
}

/// Vectors of the model's size that a ledger holds at most: its lines, each source's gradient of the step at hand, the
/// interval's first weights and a point between them and the last, and for each domain the gradients at both ends, at a
/// point between, and up to two means of them.
pub fn vectors(sources: usize, domains: usize, credited: bool) -> usize {
    let lines = if credited { 2 * sources + 1 } else { sources + 2 };
    // Gradients by source are gone when the books are done, and the points between are not there before.
    lines + 1 + domains + sources.max(1 + 4 * domains)
}

/// The weighted sum of gradients.
fn weighted(parts: &[(&Measured, f64)]) -> Vec<Tensor<1>> {
    let parameters = parts.first().map_or(0, |(measured, _)| measured.gradient.len());
    (0..parameters)
        .map(|index| {
            let terms = parts.iter().map(|(measured, weight)| measured.gradient[index].clone() * *weight);
            terms.reduce(|a, b| a + b).expect("at least one term")
        })
        .collect()
}

/// The sum of two gradients.
pub(crate) fn add(sum: Vec<Tensor<1>>, more: Vec<Tensor<1>>) -> Vec<Tensor<1>> {
    sum.into_iter().zip(more).map(|(a, b)| a + b).collect()
}

/// Gradients with zeros where a parameter had none.
pub(crate) fn present<M: LanguageModel>(
    model: &M,
    gradients: Vec<Option<Tensor<1>>>,
    device: &Device,
) -> Vec<Tensor<1>> {
    let device = device.clone().inner();
    parameters::list(model)
        .iter()
        .zip(gradients)
        .map(|(parameter, gradient)| gradient.unwrap_or_else(|| Tensor::zeros([parameter.count()], &device)))
        .collect()
}
