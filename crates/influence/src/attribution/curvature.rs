//! How curved the loss is, for methods that ask what would become of a model that had not read a passage.
//!
//! Influence functions (Koh & Liang 2017) multiply a gradient by (H + λI)⁻¹. H is taken as the mean of g gᵀ over passages,
//! the empirical Fisher matrix, in one of two forms: exact in the space of projected gradients ([`Damped`], as TRAK and LoGra
//! have it), or factored for the whole model ([`Factored`], EK-FAC).

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use loam_kernels::matrix::{MatrixRef, Precision, product};
use loam_nn::parameters::Parameter;

use super::index::Rows;

/// Sides of matrices up to this length are turned into the eigenvectors of their factor; longer ones (vocabularies) are left as
/// they are.
const LONGEST_SIDE: usize = 1024;
/// Rows that are summed at once.
const ROWS: usize = 256;

/// (C + λI)⁻¹ of projected gradients, block by block; C = 1/n Σ φ φᵀ, λ a part of C's mean eigenvalue.
#[derive(Clone, Debug, PartialEq)]
pub struct Damped {
    lengths: Vec<usize>,
    /// Of each block `[length, length]`, one behind the other.
    inverse: Vec<f32>,
}

impl Damped {
    /// Of all rows of an index, whose blocks have these lengths. `damping` is λ as a part of the mean eigenvalue.
    pub fn of(rows: &Rows, blocks: &[usize], damping: f64) -> Self {
        let count = rows.count();
        let mut start = 0;
        let mut inverse = Vec::with_capacity(Self::numbers(blocks));
        for &length in blocks {
            let mut sum = vec![0.0_f64; length * length];
            let mut part = vec![0.0_f32; length * length];
            for first in (0..count).step_by(ROWS) {
                let mut block = Vec::with_capacity(ROWS * length);
                let taken = first..(first + ROWS).min(count);
                for row in taken.clone() {
                    block.extend_from_slice(&rows.row(row)[start..start + length]);
                }
                let block = MatrixRef::new(&block, taken.len(), length);
                product(block.transposed(), block, &mut part, false, Precision::F32);
                for (sum, part) in sum.iter_mut().zip(&part) {
                    *sum += f64::from(*part);
                }
            }
            start += length;
            let mean = (0..length).map(|at| sum[at * length + at]).sum::<f64>() / (count * length).max(1) as f64;
            let solved = damped(&sum, length, count, damping * mean).solve(Mat::<f64>::identity(length, length));
            inverse.extend((0..length * length).map(|at| solved[(at / length, at % length)] as f32));
        }
        Self { lengths: blocks.to_vec(), inverse }
    }

    /// Numbers that it consists of, for blocks of these lengths.
    pub fn numbers(blocks: &[usize]) -> usize {
        blocks.iter().map(|length| length * length).sum()
    }

    /// These numbers.
    pub fn values(&self) -> &[f32] {
        &self.inverse
    }

    /// Of such numbers.
    pub fn from_values(blocks: &[usize], values: Vec<f32>) -> Self {
        Self { lengths: blocks.to_vec(), inverse: values }
    }

    /// What it makes of a projected gradient.
    pub fn solve(&self, vector: &[f32]) -> Vec<f32> {
        let mut solved = Vec::with_capacity(vector.len());
        let (mut start, mut at) = (0, 0);
        for &length in &self.lengths {
            let own = &vector[start..start + length];
            let rows = self.inverse[at..at + length * length].chunks_exact(length.max(1));
            solved.extend(rows.map(|row| loam_kernels::vector::dot(row, own) as f32));
            (start, at) = (start + length, at + length * length);
        }
        solved
    }
}

/// The Cholesky factor of sum / count + λI. Rounding can leave a matrix short of definite; λ grows until it is not.
fn damped(sum: &[f64], length: usize, count: usize, lambda: f64) -> faer::linalg::solvers::Llt<f64> {
    let mut lambda = lambda.max(f64::MIN_POSITIVE);
    loop {
        let of = |row: usize, column: usize| {
            sum[row * length + column] / count.max(1) as f64 + if row == column { lambda } else { 0.0 }
        };
        if let Ok(solver) = Mat::<f64>::from_fn(length, length, of).llt(Side::Lower) {
            return solver;
        }
        lambda = (10.0 * lambda).max(1e-30);
    }
}

/// The Fisher matrix of every weight matrix as a Kronecker product, with its eigenvalues measured (EK-FAC, George et al. 2018;
/// for influence Grosse et al. 2023).
///
/// The factors are E[G Gᵀ] and E[Gᵀ G] of the passages' gradients G, as Shampoo has them (Gupta et al. 2018), where EK-FAC's are those of
/// a layer's inputs and outputs: they need nothing of a layer but its gradient, so that every family is served, and their
/// eigenvectors are those of a Kronecker product near the Fisher matrix as well (Morwani et al. 2024). Eigenvalues are the mean squares
/// of gradients in that basis, as in EK-FAC. Vectors have a diagonal.
#[derive(Clone, Debug)]
pub struct Factored {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    rows: usize,
    columns: usize,
    /// `[rows, rows]`, eigenvectors in columns; first the sum of G Gᵀ.
    left: Option<Vec<f32>>,
    /// `[columns, columns]`.
    right: Option<Vec<f32>>,
    /// Mean squares in that basis, `[rows, columns]`.
    squares: Vec<f32>,
    samples: usize,
}

impl Factored {
    /// Nothing summed yet, for these parameters.
    pub fn new(parameters: &[Parameter]) -> Self {
        let parts = parameters.iter().map(|parameter| {
            let (rows, columns) = match parameter.shape[..] {
                [rows, columns] => (rows, columns),
                _ => (parameter.count(), 1),
            };
            let side =
                |length: usize| (columns > 1 && rows > 1 && length <= LONGEST_SIDE).then(|| vec![0.0; length * length]);
            Part {
                rows,
                columns,
                left: side(rows),
                right: side(columns),
                squares: vec![0.0; rows * columns],
                samples: 0,
            }
        });
        Self { parts: parts.collect() }
    }

    /// Adds a gradient to the factors.
    pub fn add_to_factors(&mut self, gradient: &[&[f32]]) {
        for (part, values) in self.parts.iter_mut().zip(gradient) {
            let gradient = MatrixRef::new(values, part.rows, part.columns);
            if let Some(left) = &mut part.left {
                product(gradient, gradient.transposed(), left, true, Precision::F32);
            }
            if let Some(right) = &mut part.right {
                product(gradient.transposed(), gradient, right, true, Precision::F32);
            }
        }
    }

    /// Turns the factors into their eigenvectors.
    pub fn turn(&mut self) {
        for part in &mut self.parts {
            for (side, length) in [(&mut part.left, part.rows), (&mut part.right, part.columns)] {
                let Some(factor) = side else { continue };
                let size = factor.iter().fold(0.0_f32, |size, value| size.max(value.abs())).max(f32::MIN_POSITIVE);
                let matrix = Mat::<f64>::from_fn(length, length, |row, column| {
                    f64::from(factor[row.max(column) * length + row.min(column)] / size)
                });
                // Without eigenvectors (numbers that are none) the side stays as it is.
                let found = matrix.self_adjoint_eigen(Side::Lower).ok();
                let vector = |row: usize, column: usize| match &found {
                    Some(found) => found.U()[(row, column)] as f32,
                    None => f32::from(u8::from(row == column)),
                };
                *factor = (0..length * length).map(|at| vector(at / length, at % length)).collect();
            }
        }
    }

    /// Adds the squares of a gradient in the eigenvectors' basis.
    pub fn add_to_squares(&mut self, gradient: &[&[f32]]) {
        for (part, values) in self.parts.iter_mut().zip(gradient) {
            let turned = part.to_basis(values);
            part.samples += 1;
            for (square, value) in part.squares.iter_mut().zip(turned) {
                *square += value * value;
            }
        }
    }

    /// Numbers that it consists of.
    pub fn numbers(&self) -> usize {
        let side = |side: &Option<Vec<f32>>| side.as_ref().map_or(0, Vec::len);
        self.parts.iter().map(|part| side(&part.left) + side(&part.right) + part.squares.len()).sum()
    }

    /// These numbers, when all gradients have been added.
    pub fn values(&self) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.numbers());
        for part in &self.parts {
            values.extend(part.left.iter().flatten());
            values.extend(part.right.iter().flatten());
            let samples = part.samples.max(1) as f32;
            values.extend(part.squares.iter().map(|square| square / samples));
        }
        values
    }

    /// Takes the numbers that [`Factored::values`] gave for the same parameters.
    pub fn restore(&mut self, values: &[f32]) {
        let mut rest = values;
        for part in &mut self.parts {
            for side in [part.left.as_mut(), part.right.as_mut(), Some(&mut part.squares)].into_iter().flatten() {
                let (own, others) = rest.split_at(side.len());
                side.copy_from_slice(own);
                rest = others;
            }
            part.samples = 1;
        }
    }

    /// (F + λI)⁻¹ of a gradient; λ is `damping` times the mean eigenvalue of each parameter.
    pub fn solve(&self, gradient: &[&[f32]], damping: f64) -> Vec<Vec<f32>> {
        let of = |(part, values): (&Part, &&[f32])| {
            let samples = part.samples.max(1) as f64;
            let mean = part.squares.iter().map(|square| f64::from(*square)).sum::<f64>()
                / (samples * part.squares.len().max(1) as f64);
            let lambda = (damping * mean).max(f64::from(f32::MIN_POSITIVE));
            let mut turned = part.to_basis(values);
            for (value, square) in turned.iter_mut().zip(&part.squares) {
                *value = (f64::from(*value) / (f64::from(*square) / samples + lambda)) as f32;
            }
            part.out_of_basis(&turned)
        };
        self.parts.iter().zip(gradient).map(of).collect()
    }
}

impl Part {
    /// Q_Lᵀ G Q_R.
    fn to_basis(&self, values: &[f32]) -> Vec<f32> {
        self.between(
            values,
            |side, length| MatrixRef::new(side, length, length).transposed(),
            |side, length| MatrixRef::new(side, length, length),
        )
    }

    /// Q_L G Q_Rᵀ.
    fn out_of_basis(&self, values: &[f32]) -> Vec<f32> {
        self.between(
            values,
            |side, length| MatrixRef::new(side, length, length),
            |side, length| MatrixRef::new(side, length, length).transposed(),
        )
    }

    fn between(
        &self,
        values: &[f32],
        left: impl Fn(&[f32], usize) -> MatrixRef<'_>,
        right: impl Fn(&[f32], usize) -> MatrixRef<'_>,
    ) -> Vec<f32> {
        let Self { rows, columns, .. } = *self;
        let mut now = values.to_vec();
        if let Some(side) = &self.left {
            let mut next = vec![0.0; now.len()];
            product(left(side, rows), MatrixRef::new(&now, rows, columns), &mut next, false, Precision::F32);
            now = next;
        }
        if let Some(side) = &self.right {
            let mut next = vec![0.0; now.len()];
            product(MatrixRef::new(&now, rows, columns), right(side, columns), &mut next, false, Precision::F32);
            now = next;
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gradients whose Fisher matrix is a Kronecker product are solved exactly.
    #[test]
    fn a_kronecker_product_is_found() {
        let parameters =
            [Parameter { name: "w".into(), shape: vec![2, 3] }, Parameter { name: "b".into(), shape: vec![2] }];
        // G = s_i t_j a_i b_jᵀ with signs that cancel between: F is diag over (i, j) of (s_i t_j)².
        let (angle, other) = (0.6_f32, 1.1_f32);
        let a = [[angle.cos(), angle.sin()], [-angle.sin(), angle.cos()]];
        let b = [[other.cos(), 0.0, other.sin()], [0.0, 1.0, 0.0], [-other.sin(), 0.0, other.cos()]];
        let (s, t) = ([2.0_f32, 0.5], [1.0_f32, 3.0, 0.25]);
        let mut samples = Vec::new();
        for i in 0..2 {
            for j in 0..3 {
                let matrix: Vec<f32> = (0..6).map(|at| s[i] * t[j] * a[i][at / 3] * b[j][at % 3]).collect();
                samples.push((matrix, vec![1.0_f32, 0.0]));
            }
        }
        let mut factored = Factored::new(&parameters);
        for (w, bias) in &samples {
            factored.add_to_factors(&[w, bias]);
        }
        factored.turn();
        for (w, bias) in &samples {
            factored.add_to_squares(&[w, bias]);
        }
        let damping = 1e-6;
        let mut again = Factored::new(&parameters);
        assert_eq!(again.numbers(), 4 + 9 + 6 + 2);
        again.restore(&factored.values());
        for i in 0..2 {
            for j in 0..3 {
                let unit: Vec<f32> = (0..6).map(|at| a[i][at / 3] * b[j][at % 3]).collect();
                let solved = again.solve(&[&unit, &[0.5, 0.0]], damping);
                let expected = 6.0 / (s[i] * t[j]).powi(2);
                for (got, unit) in solved[0].iter().zip(&unit) {
                    assert!((got - expected * unit).abs() < 2e-3 * expected, "{got} {}", expected * unit);
                }
                assert!((solved[1][0] - 0.5).abs() < 1e-5 && solved[1][1] == 0.0);
            }
        }
    }
}
