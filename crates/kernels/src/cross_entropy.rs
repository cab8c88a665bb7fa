//! The output projection fused with softmax cross-entropy.
//!
//! Logits are the largest tensor of a language model. Here they exist for a few hundred rows at a time, and their
//! gradients, which cost little once they are there, are computed in the forward pass (as in Liger Kernel, Hsu et al.
//! 2024). Rows to ignore are left out before the product, so they cost nothing.

use crate::buffer::Output;
use crate::matrix::{MatrixRef, product, product_at};
use crate::softmax::{exponentials, maximum};
use crate::vector::scale_chunk;
use rayon::prelude::*;

/// A target that is not counted.
pub const IGNORE: u32 = u32::MAX;

/// Logits that exist at once: 16 Mi, 64 MiB. Every chunk reads and writes all of `dweight`, so smaller ones are slower.
const LOGITS: usize = 16 << 20;
/// The fewest rows of a chunk, however large the vocabulary.
const FEWEST_ROWS: usize = 64;
/// Rows of logits that one task handles.
const TASK_ROWS: usize = 16;

/// What [`forward`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropy {
    /// `scale` times the sum of the losses of the counted rows, in nats, summed in `f64`.
    pub loss_sum: f32,
    /// The gradients of `loss_sum` when asked for: `dx`, `[rows, width]`, zero at ignored rows, and `dweight`,
    /// `[vocabulary, width]`.
    pub gradients: Option<(Vec<f32>, Vec<f32>)>,
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
) -> CrossEntropy {
    let problem = Problem::new(x, weight, targets, width);
    let mut gradients = want_gradients.then(|| Gradients::new(&problem, scale));
    let losses = problem.run(gradients.as_mut());
    CrossEntropy {
        loss_sum: (losses.iter().sum::<f64>() * f64::from(scale)) as f32,
        gradients: gradients.map(|gradients| gradients.finish(&problem)),
    }
}

/// The loss of each row in nats, `[rows]`; 0 at ignored rows. Operands as in [`forward`].
pub fn losses(x: &[f32], weight: &[f32], targets: &[u32], width: usize) -> Vec<f32> {
    let problem = Problem::new(x, weight, targets, width);
    let mut losses = vec![0.0; targets.len()];
    for (row, loss) in problem.counted.iter().zip(problem.run(None)) {
        losses[*row] = loss as f32;
    }
    losses
}

struct Problem<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    targets: &'a [u32],
    width: usize,
    vocabulary: usize,
    /// The rows whose targets count, in order.
    counted: Vec<usize>,
}

impl<'a> Problem<'a> {
    fn new(x: &'a [f32], weight: &'a [f32], targets: &'a [u32], width: usize) -> Self {
        let vocabulary = weight.len().checked_div(width).unwrap_or(0);
        assert_eq!(weight.len(), vocabulary * width, "weight [{vocabulary}, {width}]");
        assert_eq!(x.len(), targets.len() * width, "x [{}, {width}]", targets.len());
        let counted: Vec<usize> = (0..targets.len()).filter(|row| targets[*row] != IGNORE).collect();
        for row in &counted {
            let target = targets[*row];
            assert!(
                (target as usize) < vocabulary,
                "target {target} of row {row} is outside a vocabulary of {vocabulary}"
            );
        }
        Self { x, weight, targets, width, vocabulary, counted }
    }

    fn counts_every_row(&self) -> bool {
        self.counted.len() == self.targets.len()
    }

    /// The losses of the counted rows; gradients too where there is room for them.
    fn run(&self, mut gradients: Option<&mut Gradients>) -> Vec<f64> {
        let (width, vocabulary) = (self.width, self.vocabulary);
        let most_rows = LOGITS.checked_div(vocabulary).unwrap_or(0).max(FEWEST_ROWS).min(self.counted.len());
        // Equal chunks: a short last one would use the threads badly.
        let chunks = self.counted.len().div_ceil(most_rows.max(1)).max(1);
        let chunk_rows = self.counted.len().div_ceil(chunks).max(1);
        let mut logits = Output::new(chunk_rows * vocabulary);
        let weight = MatrixRef::new(self.weight, vocabulary, width);
        let mut losses = vec![0.0; self.counted.len()];
        for (chunk, rows) in self.counted.chunks(chunk_rows).enumerate() {
            let first = chunk * chunk_rows;
            let gathered = (!self.counts_every_row()).then(|| self.gather(rows));
            let x = gathered.as_deref().unwrap_or_else(|| &self.x[first * width..][..rows.len() * width]);
            let pointer = logits.pointer();
            // SAFETY: the product writes the first `rows.len() * vocabulary` logits, which the slice then covers.
            let logits = unsafe {
                product_at(MatrixRef::new(x, rows.len(), width), weight.transposed(), pointer.at(0), false);
                pointer.slice(0, rows.len() * vocabulary)
            };
            let losses = &mut losses[first..][..rows.len()];
            let mut sums = vec![0.0; rows.len()];
            let tasks = logits.par_chunks_mut(TASK_ROWS * vocabulary).zip(rows.par_chunks(TASK_ROWS));
            let tasks = tasks.zip(losses.par_chunks_mut(TASK_ROWS)).zip(sums.par_chunks_mut(TASK_ROWS));
            tasks.for_each(|(((logits, rows), losses), sums)| {
                for (i, row) in logits.chunks_exact_mut(vocabulary).enumerate() {
                    let target = self.targets[rows[i]] as usize;
                    let target_logit = f64::from(row[target]);
                    let largest = maximum(row);
                    sums[i] = exponentials(row, largest);
                    losses[i] = f64::from(largest) + f64::from(sums[i]).ln() - target_logit;
                    row[target] -= sums[i];
                }
            });
            if let Some(gradients) = &mut gradients {
                gradients.add(self, rows, first, x, logits, &sums);
            }
        }
        losses
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

/// The gradients as they grow, chunk by chunk.
///
/// With e the exponentials of a row, s their sum and δ the target's indicator, the gradient of the row's logits is
/// (e - s δ) · scale / s. [`Problem::run`] leaves e - s δ; the factor is applied to the rows of `dx` and of `x`, which
/// are much shorter than rows of logits.
struct Gradients {
    dx: Output,
    dweight: Output,
    scale: f32,
}

impl Gradients {
    fn new(problem: &Problem, scale: f32) -> Self {
        let mut dx = Output::new(problem.x.len());
        if !problem.counts_every_row() {
            dx.slots().par_iter_mut().for_each(|slot| _ = slot.write(0.0));
        }
        Self { dx, dweight: Output::new(problem.weight.len()), scale }
    }

    fn add(&mut self, problem: &Problem, rows: &[usize], first: usize, x: &[f32], logits: &[f32], sums: &[f32]) {
        let (width, vocabulary) = (problem.width, problem.vocabulary);
        let dlogits = MatrixRef::new(logits, rows.len(), vocabulary);
        let weight = MatrixRef::new(problem.weight, vocabulary, width);
        let factors: Vec<f32> = sums.iter().map(|sum| self.scale / sum).collect();
        if problem.counts_every_row() {
            let pointer = self.dx.pointer();
            // SAFETY: the product writes the chunk's rows of `dx`, which the slice then covers.
            let dx = unsafe {
                product_at(dlogits, weight, pointer.at(first * width), false);
                pointer.slice(first * width, rows.len() * width)
            };
            dx.par_chunks_mut(width).zip(&factors).for_each(|(dx, factor)| scale_chunk(dx, *factor));
        } else {
            let mut dx = vec![0.0; rows.len() * width];
            product(dlogits, weight, &mut dx, false);
            for ((dx, factor), row) in dx.chunks_exact_mut(width).zip(&factors).zip(rows) {
                scale_chunk(dx, *factor);
                // SAFETY: row `row` of `dx`, initialized in `new`.
                unsafe { self.dx.pointer().slice(row * width, width) }.copy_from_slice(dx);
            }
        }
        let mut scaled = x.to_vec();
        scaled.par_chunks_mut(width).zip(&factors).for_each(|(x, factor)| scale_chunk(x, *factor));
        let scaled = MatrixRef::new(&scaled, rows.len(), width);
        // SAFETY: `dweight` has room for the product; the first chunk stores it, the others accumulate.
        unsafe { product_at(dlogits.transposed(), scaled, self.dweight.pointer().at(0), first > 0) };
    }

    fn finish(mut self, problem: &Problem) -> (Vec<f32>, Vec<f32>) {
        if problem.counted.is_empty() {
            self.dweight.slots().fill(std::mem::MaybeUninit::new(0.0));
        }
        // SAFETY: `dx` was written by `new` or, where every row counts, by the chunks; `dweight` by the first chunk or
        // above.
        unsafe { (self.dx.written(), self.dweight.written()) }
    }
}
