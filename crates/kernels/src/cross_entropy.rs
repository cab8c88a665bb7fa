//! The output projection fused with softmax cross-entropy.
//!
//! Logits are the largest tensor of a language model. Here they exist for a few hundred rows at a time, and their
//! gradients, which cost little once they are there, are computed in the forward pass (as in Liger Kernel, Hsu et al.
//! 2024). Rows to ignore are left out before the product, so they cost nothing.
//!
//! [`forward`] and [`losses`] are the plain loss; [`with_options`] adds label smoothing, a bias, weights of rows and an
//! ignored target of the caller's choice. Since the largest logit of a row is there anyway, so is whether it is the
//! target's: [`grades`].

use crate::buffer::Output;
use crate::matrix::{Beginning, MatrixRef, Precision, product, product_at};
use crate::sequence_products::{row_count, row_dot, sum_by_sequence};
use crate::simd::{LANES, sum_of_lanes, vectorized};
use crate::softmax::{exponentials, maximum};
use crate::vector::{add_chunk, add_multiple_chunk, scale_chunk};
use rayon::prelude::*;

/// A target that is not counted.
pub const IGNORE: u32 = u32::MAX;

/// Logits that exist at once: 16 Mi, 64 MiB. Every chunk reads and writes all of `dweight`, so smaller ones are slower.
const LOGITS: usize = 16 << 20;
/// The fewest rows of a chunk, however large the vocabulary: each chunk walks over the weight twice and over its gradient
/// once. Where the width is less, so many: then the logits take no more than the weight.
const FEWEST_ROWS: usize = 512;
/// Rows of logits that one task handles.
const TASK_ROWS: usize = 16;
/// Columns of the bias gradient that one task sums.
const TASK_COLUMNS: usize = 1024;

/// What [`forward`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropy {
    /// `scale` times the sum of the losses of the counted rows, in nats, summed in `f64`.
    pub loss_sum: f32,
    /// The gradients of `loss_sum` when asked for: `dx`, `[rows, width]`, zero at ignored rows, and `dweight`,
    /// `[vocabulary, width]`.
    pub gradients: Option<(Vec<f32>, Vec<f32>)>,
}

/// How [`with_options`] computes the loss. The default is the plain sum of the losses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options<'a> {
    /// Added to the logits, `[vocabulary]`.
    pub bias: Option<&'a [f32]>,
    /// What each row's loss and gradient count for in the sum, `[rows]`; 1 without.
    pub row_weights: Option<&'a [f32]>,
    /// Label smoothing ε of Szegedy et al. (2016), section 7, in `0 ..= 1`: the target distribution is
    /// `(1 - ε) δ + ε / vocabulary`.
    pub smoothing: f32,
    /// Multiplies the sum of the losses, and its gradients.
    pub scale: f32,
    /// The target whose rows are not counted: [`IGNORE`], or the id of a padding token.
    pub ignore: u32,
    /// Of the products. The softmax is in `f32`.
    pub precision: Precision,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { bias: None, row_weights: None, smoothing: 0.0, scale: 1.0, ignore: IGNORE, precision: Precision::F32 }
    }
}

/// A direction V for the weight, `[vocabulary, width]`, and v for the bias, `[vocabulary]`; zero without.
#[derive(Clone, Copy, Debug)]
pub struct HeadDirection<'a> {
    /// V.
    pub weight: &'a [f32],
    /// v.
    pub bias: Option<&'a [f32]>,
}

/// What [`grades`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Grades {
    /// The loss of each row in nats, `[rows]`; 0 at ignored rows.
    pub losses: Vec<f32>,
    /// Whether the target is the most probable token of the row, `[rows]`: the first of the largest logits, where several
    /// are equal. False at ignored rows.
    pub hits: Vec<bool>,
}

/// What [`with_options`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct RowLosses {
    /// The loss of each row in nats, `[rows]`, before its weight and the scale; 0 at ignored rows.
    pub losses: Vec<f32>,
    /// As in [`Grades::hits`].
    pub hits: Vec<bool>,
    /// `scale · Σ weight · loss` over the rows, summed in `f64`.
    pub loss_sum: f32,
    /// The gradients of `loss_sum`, when asked for.
    pub gradients: Option<HeadGradients>,
}

/// The gradients of [`RowLosses::loss_sum`].
#[derive(Clone, Debug, PartialEq)]
pub struct HeadGradients {
    /// Gradient of the input, `[rows, width]`; zero at ignored rows.
    pub dx: Vec<f32>,
    /// Gradient of the weight, `[vocabulary, width]`.
    pub dweight: Vec<f32>,
    /// Gradient of the bias, `[vocabulary]`, where there is one.
    pub dbias: Option<Vec<f32>>,
}

/// `scale · Σ -log softmax(x weightᵀ)[target]` over the rows whose target is not [`IGNORE`].
///
/// `x` is `[rows, width]`, `weight` is `[vocabulary, width]`, `targets` is `[rows]`. For the mean loss, `scale` is one
/// over the number of counted rows. Panics on a target outside the vocabulary.
pub fn forward(
    x: &[f32],
    weight: &[f32],
    targets: &[u32],
    width: usize,
    scale: f32,
    want_gradients: bool,
    precision: Precision,
) -> CrossEntropy {
    let problem = Problem::new(x, weight, targets, width, Options { scale, precision, ..Options::default() });
    let (rows, gradients) = problem.run(want_gradients, &mut |_| {});
    CrossEntropy {
        loss_sum: problem.weighted_sum(&rows),
        gradients: gradients.map(|gradients| (gradients.dx, gradients.dweight)),
    }
}

/// The loss of each row in nats, `[rows]`; 0 at ignored rows. Operands as in [`forward`].
pub fn losses(x: &[f32], weight: &[f32], targets: &[u32], width: usize, precision: Precision) -> Vec<f32> {
    grades(x, weight, targets, width, precision).losses
}

/// The loss of each row, and whether its target is the most probable token. Operands as in [`forward`].
pub fn grades(x: &[f32], weight: &[f32], targets: &[u32], width: usize, precision: Precision) -> Grades {
    let problem = Problem::new(x, weight, targets, width, Options { precision, ..Options::default() });
    let rows = problem.run(false, &mut |_| {}).0;
    Grades { losses: problem.losses(&rows), hits: problem.hits(&rows) }
}

/// The losses of the rows and their weighted sum: with z = `x weightᵀ + bias` and q the smoothed target distribution,
/// a row's loss is `-Σ q log softmax(z)`. Operands as in [`forward`].
///
/// Panics on a smoothing outside `0 ..= 1`.
pub fn with_options(
    x: &[f32],
    weight: &[f32],
    targets: &[u32],
    width: usize,
    options: Options,
    want_gradients: bool,
) -> RowLosses {
    let problem = Problem::new(x, weight, targets, width, options);
    let (rows, gradients) = problem.run(want_gradients, &mut |_| {});
    problem.row_losses(&rows, gradients)
}

/// [`with_options`], and ⟨dWᵢ, V⟩ + ⟨dbᵢ, v⟩ for every sequence i and every direction: `[sequences, directions]`, as in
/// [`crate::sequence_products`], whose `ends` these are.
///
/// dWᵢ and dbᵢ are what the rows of the sequence add to the gradients of weight and bias. They are here because the
/// gradients of the logits are only ever here.
pub fn with_sequence_products(
    x: &[f32],
    weight: &[f32],
    targets: &[u32],
    width: usize,
    options: Options,
    want_gradients: bool,
    ends: &[usize],
    directions: &[HeadDirection],
) -> (RowLosses, Vec<f64>) {
    let problem = Problem::new(x, weight, targets, width, options);
    assert_eq!(row_count(ends), targets.len(), "the last end and the number of rows");
    for HeadDirection { weight, bias } in directions {
        assert_eq!(weight.len(), problem.weight.len(), "a direction [{}, {width}]", problem.vocabulary);
        assert!(bias.is_none_or(|bias| bias.len() == problem.vocabulary), "a direction [{}]", problem.vocabulary);
    }
    let mut row_products = vec![0.0; targets.len() * directions.len()];
    let (rows, gradients) = problem.run(want_gradients, &mut |chunk| {
        let rows = chunk.rows.len();
        let mut projected = vec![0.0; rows * width];
        for (d, direction) in directions.iter().enumerate() {
            let matrix = MatrixRef::new(direction.weight, problem.vocabulary, width);
            product(
                MatrixRef::new(chunk.logits, rows, problem.vocabulary),
                matrix,
                &mut projected,
                false,
                Precision::F32,
            );
            let row_product = |i: usize| {
                let along = row_dot(&projected[i * width..][..width], &chunk.x[i * width..][..width]);
                let logits = &chunk.logits[i * problem.vocabulary..][..problem.vocabulary];
                (along + direction.bias.map_or(0.0, |bias| row_dot(logits, bias))) * f64::from(chunk.factors[i])
            };
            let products: Vec<f64> = (0..rows).into_par_iter().map(row_product).collect();
            for (row, product) in chunk.rows.iter().zip(products) {
                row_products[row * directions.len() + d] = product;
            }
        }
    });
    (problem.row_losses(&rows, gradients), sum_by_sequence(&row_products, ends, directions.len()))
}

/// What became of a counted row.
#[derive(Clone, Copy, Default)]
struct Row {
    loss: f64,
    hit: bool,
}

struct Problem<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    targets: &'a [u32],
    width: usize,
    vocabulary: usize,
    options: Options<'a>,
    /// The rows whose targets count, in order.
    counted: Vec<usize>,
}

impl<'a> Problem<'a> {
    fn new(x: &'a [f32], weight: &'a [f32], targets: &'a [u32], width: usize, options: Options<'a>) -> Self {
        let vocabulary = weight.len().checked_div(width).unwrap_or(0);
        assert_eq!(weight.len(), vocabulary * width, "weight [{vocabulary}, {width}]");
        assert_eq!(x.len(), targets.len() * width, "x [{}, {width}]", targets.len());
        let Options { bias, row_weights, smoothing, ignore, .. } = options;
        assert!((0.0..=1.0).contains(&smoothing), "a label smoothing of {smoothing}");
        assert!(bias.is_none_or(|bias| bias.len() == vocabulary), "bias [{vocabulary}]");
        assert!(row_weights.is_none_or(|weights| weights.len() == targets.len()), "row weights [{}]", targets.len());
        let counted: Vec<usize> = (0..targets.len()).filter(|row| targets[*row] != ignore).collect();
        for row in &counted {
            let target = targets[*row];
            assert!(
                (target as usize) < vocabulary,
                "target {target} of row {row} is outside a vocabulary of {vocabulary}"
            );
        }
        Self { x, weight, targets, width, vocabulary, options, counted }
    }

    fn counts_every_row(&self) -> bool {
        self.counted.len() == self.targets.len()
    }

    /// `scale · Σ weight · loss` of the losses of the counted rows.
    fn weighted_sum(&self, counted: &[Row]) -> f32 {
        let losses = counted.iter().map(|row| row.loss);
        let sum: f64 = match self.options.row_weights {
            None => losses.sum(),
            Some(weights) => self.counted.iter().zip(losses).map(|(row, loss)| f64::from(weights[*row]) * loss).sum(),
        };
        (sum * f64::from(self.options.scale)) as f32
    }

    /// The losses of the counted rows among zeros for the others.
    fn losses(&self, counted: &[Row]) -> Vec<f32> {
        let mut losses = vec![0.0; self.targets.len()];
        for (row, outcome) in self.counted.iter().zip(counted) {
            losses[*row] = outcome.loss as f32;
        }
        losses
    }

    /// Where the target of a counted row is its most probable token.
    fn hits(&self, counted: &[Row]) -> Vec<bool> {
        let mut hits = vec![false; self.targets.len()];
        for (row, outcome) in self.counted.iter().zip(counted) {
            hits[*row] = outcome.hit;
        }
        hits
    }

    fn row_losses(&self, rows: &[Row], gradients: Option<HeadGradients>) -> RowLosses {
        RowLosses { losses: self.losses(rows), hits: self.hits(rows), loss_sum: self.weighted_sum(rows), gradients }
    }

    /// Turns a row of logits into its exponentials e less q times their sum s, with q the target distribution, which
    /// are s times the gradients of the logits; returns what became of the row, and s.
    fn finish_row(&self, row: &mut [f32], target: usize) -> (Row, f32) {
        let smoothing = self.options.smoothing;
        if let Some(bias) = self.options.bias {
            add_chunk(row, bias);
        }
        let target_logit = f64::from(row[target]);
        let largest = maximum(row);
        // Of equal ones the first, or a model that has learned nothing would seem to be always right.
        let hit = row[target] == largest && row[..target].iter().all(|logit| *logit < largest);
        // Logits less the largest, so that their sum stays small beside the logarithm that it is added to.
        let mean = if smoothing > 0.0 { f64::from(sum_of_differences(row, largest)) / row.len() as f64 } else { 0.0 };
        let sum = exponentials(row, largest);
        let log_sum = f64::from(sum).ln();
        let mut loss = f64::from(largest) + log_sum - target_logit;
        if smoothing > 0.0 {
            let share = f64::from(smoothing);
            loss = (1.0 - share) * loss + share * (log_sum - mean);
            subtract(row, sum * smoothing / row.len() as f32);
        }
        row[target] -= sum * (1.0 - smoothing);
        (Row { loss, hit }, sum)
    }

    /// What became of the counted rows, and the gradients when asked for; `look` sees every chunk.
    fn run(&self, want_gradients: bool, look: &mut dyn FnMut(&Chunk)) -> (Vec<Row>, Option<HeadGradients>) {
        let mut gradients = want_gradients.then(|| Gradients::new(self));
        let (width, vocabulary, precision) = (self.width, self.vocabulary, self.options.precision);
        let most_rows = LOGITS.checked_div(vocabulary).unwrap_or(0).max(FEWEST_ROWS.min(width)).min(self.counted.len());
        // Equal chunks: a short last one would use the threads badly.
        let chunks = self.counted.len().div_ceil(most_rows.max(1)).max(1);
        let chunk_rows = self.counted.len().div_ceil(chunks).max(1);
        let mut logits = Output::new(chunk_rows * vocabulary);
        let weight = MatrixRef::new(self.weight, vocabulary, width);
        let mut outcomes = vec![Row::default(); self.counted.len()];
        for (chunk, rows) in self.counted.chunks(chunk_rows).enumerate() {
            let first = chunk * chunk_rows;
            let gathered = (!self.counts_every_row()).then(|| self.gather(rows));
            let x = gathered.as_deref().unwrap_or_else(|| &self.x[first * width..][..rows.len() * width]);
            let pointer = logits.pointer();
            // SAFETY: the product writes the first `rows.len() * vocabulary` logits, which the slice then covers.
            let logits = unsafe {
                product_at(
                    MatrixRef::new(x, rows.len(), width),
                    weight.transposed(),
                    pointer.at(0),
                    Beginning::Nothing,
                    precision,
                );
                pointer.slice(0, rows.len() * vocabulary)
            };
            let outcomes = &mut outcomes[first..][..rows.len()];
            let mut sums = vec![0.0; rows.len()];
            let tasks = logits.par_chunks_mut(TASK_ROWS * vocabulary).zip(rows.par_chunks(TASK_ROWS));
            let tasks = tasks.zip(outcomes.par_chunks_mut(TASK_ROWS)).zip(sums.par_chunks_mut(TASK_ROWS));
            tasks.for_each(|(((logits, rows), outcomes), sums)| {
                for (i, row) in logits.chunks_exact_mut(vocabulary).enumerate() {
                    (outcomes[i], sums[i]) = self.finish_row(row, self.targets[rows[i]] as usize);
                }
            });
            let Options { scale, row_weights, .. } = self.options;
            let factor = |(row, sum): (&usize, &f32)| scale / sum * row_weights.map_or(1.0, |weights| weights[*row]);
            let factors = rows.iter().zip(&sums).map(factor).collect();
            let chunk = Chunk { rows, first, x, logits, factors };
            if let Some(gradients) = &mut gradients {
                gradients.add(self, &chunk);
            }
            look(&chunk);
        }
        (outcomes, gradients.map(|gradients| gradients.finish(self)))
    }

    /// The given rows of `x`, together.
    fn gather(&self, rows: &[usize]) -> Vec<f32> {
        let mut gathered = Vec::with_capacity(rows.len() * self.width);
        for row in rows {
            gathered.extend_from_slice(&self.x[row * self.width..][..self.width]);
        }
        gathered
    }
}

/// Some of the counted rows, with what became of their logits.
///
/// With e the exponentials of a row, s their sum and q the target distribution, the gradient of the row's logits is
/// (e - s q) · scale · weight / s. The factor is applied to the rows of `dx` and of `x`, which are much shorter than
/// rows of logits.
struct Chunk<'a> {
    rows: &'a [usize],
    /// The place of the first among the counted rows.
    first: usize,
    /// `[rows, width]`.
    x: &'a [f32],
    /// e - s q, `[rows, vocabulary]`.
    logits: &'a [f32],
    /// scale · weight / s, `[rows]`.
    factors: Vec<f32>,
}

/// The gradients as they grow, chunk by chunk.
struct Gradients {
    dx: Output,
    dweight: Output,
    dbias: Option<Vec<f32>>,
}

impl Gradients {
    fn new(problem: &Problem) -> Self {
        let mut dx = Output::new(problem.x.len());
        if !problem.counts_every_row() {
            dx.slots().par_iter_mut().for_each(|slot| _ = slot.write(0.0));
        }
        let dbias = problem.options.bias.map(|bias| vec![0.0; bias.len()]);
        Self { dx, dweight: Output::new(problem.weight.len()), dbias }
    }

    fn add(&mut self, problem: &Problem, chunk: &Chunk) {
        let Chunk { rows, first, x, logits, factors } = chunk;
        let (width, vocabulary, precision) = (problem.width, problem.vocabulary, problem.options.precision);
        let dlogits = MatrixRef::new(logits, rows.len(), vocabulary);
        let weight = MatrixRef::new(problem.weight, vocabulary, width);
        if let Some(dbias) = &mut self.dbias {
            let tasks = dbias.par_chunks_mut(TASK_COLUMNS).enumerate();
            tasks.for_each(|(task, dbias)| {
                for (logits, factor) in logits.chunks_exact(vocabulary).zip(factors) {
                    add_multiple_chunk(dbias, &logits[task * TASK_COLUMNS..][..dbias.len()], *factor);
                }
            });
        }
        if problem.counts_every_row() {
            let pointer = self.dx.pointer();
            // SAFETY: the product writes the chunk's rows of `dx`, which the slice then covers.
            let dx = unsafe {
                product_at(dlogits, weight, pointer.at(first * width), Beginning::Nothing, precision);
                pointer.slice(first * width, rows.len() * width)
            };
            dx.par_chunks_mut(width).zip(factors).for_each(|(dx, factor)| scale_chunk(dx, *factor));
        } else {
            let mut dx = vec![0.0; rows.len() * width];
            product(dlogits, weight, &mut dx, false, precision);
            for ((dx, factor), row) in dx.chunks_exact_mut(width).zip(factors).zip(*rows) {
                scale_chunk(dx, *factor);
                // SAFETY: row `row` of `dx`, initialized in `new`.
                unsafe { self.dx.pointer().slice(row * width, width) }.copy_from_slice(dx);
            }
        }
        let mut scaled = x.to_vec();
        scaled.par_chunks_mut(width).zip(factors).for_each(|(x, factor)| scale_chunk(x, *factor));
        let scaled = MatrixRef::new(&scaled, rows.len(), width);
        // SAFETY: `dweight` has room for the product; the first chunk stores it, the others accumulate.
        let beginning = if *first > 0 { Beginning::Itself } else { Beginning::Nothing };
        unsafe { product_at(dlogits.transposed(), scaled, self.dweight.pointer().at(0), beginning, precision) };
    }

    fn finish(mut self, problem: &Problem) -> HeadGradients {
        if problem.counted.is_empty() {
            self.dweight.slots().fill(std::mem::MaybeUninit::new(0.0));
        }
        // SAFETY: `dx` was written by `new` or, where every row counts, by the chunks; `dweight` by the first chunk or
        // above.
        unsafe { HeadGradients { dx: self.dx.written(), dweight: self.dweight.written(), dbias: self.dbias } }
    }
}

vectorized! {
    /// Σ (row - shift).
    fn sum_of_differences<A>(row: &[f32], shift: f32) -> f32 {
        let (chunks, rest) = row.as_chunks::<LANES>();
        let mut lanes = [0.0; LANES];
        for chunk in chunks {
            for j in 0..LANES {
                lanes[j] += chunk[j] - shift;
            }
        }
        for (lane, value) in lanes.iter_mut().zip(rest) {
            *lane += value - shift;
        }
        sum_of_lanes(lanes)
    }
}

vectorized! {
    fn subtract<A>(row: &mut [f32], value: f32) {
        for element in row {
            *element -= value;
        }
    }
}
