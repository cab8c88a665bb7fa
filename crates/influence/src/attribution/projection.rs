//! Gradients made short: two ways to project a gradient of millions of numbers to a few thousand, so that products stay
//! about what they were.

use loam_kernels::matrix::{MatrixRef, Precision, product};
use loam_nn::initialize::mix;
use loam_nn::parameters::Parameter;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Coordinates that one task hashes.
const CHUNK: usize = 1 << 18;

/// How a gradient is projected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Projection {
    /// Every number is added to one of `dimensions` sums, with a sign; place and sign follow from a hash of its place
    /// (count sketch, Charikar et al. 2002; the sparse Johnson–Lindenstrauss transform of TRAK's projections, Park et al. 2023,
    /// with one entry a column). Nothing is stored, and zeros cost nothing. E⟨Sa, Sb⟩ = ⟨a, b⟩, with a standard deviation of
    /// about ‖a‖ ‖b‖ / √dimensions.
    Hashed {
        /// Numbers that are left.
        dimensions: usize,
    },
    /// Of every weight matrix's gradient G, L G R with random signs in L and R, `rank` by `rank` numbers a matrix (LoGra, Choe et
    /// al. 2024, section 3.2). Vectors (biases, gains) are left out, as there.
    TwoSided {
        /// Rows and columns that are left of a matrix, at most.
        rank: usize,
    },
}

/// A projection for the parameters of a model.
#[derive(Clone, Debug)]
pub struct Projector {
    projection: Projection,
    seed: u64,
    /// Where each parameter begins among all coordinates.
    offsets: Vec<u64>,
    sides: Vec<Option<Sides>>,
    blocks: Vec<usize>,
}

/// The two sides of a matrix.
#[derive(Clone, Debug)]
struct Sides {
    rows: usize,
    columns: usize,
    left_rank: usize,
    right_rank: usize,
    /// `[left_rank, rows]`
    left: Vec<f32>,
    /// `[columns, right_rank]`
    right: Vec<f32>,
}

impl Projector {
    /// For these parameters.
    pub fn new(projection: Projection, parameters: &[Parameter], seed: u64) -> Self {
        let mut offset = 0;
        let mut offsets = Vec::new();
        for parameter in parameters {
            offsets.push(offset);
            offset += parameter.count() as u64;
        }
        let (sides, blocks) = match projection {
            Projection::Hashed { dimensions } => (Vec::new(), vec![dimensions.max(1)]),
            Projection::TwoSided { rank } => {
                let sides: Vec<Option<Sides>> = parameters
                    .iter()
                    .enumerate()
                    .map(|(place, parameter)| Sides::of(parameter, rank.max(1), mix(seed ^ mix(place as u64))))
                    .collect();
                let blocks = sides.iter().flatten().map(|sides| sides.left_rank * sides.right_rank).collect();
                (sides, blocks)
            }
        };
        Self { projection, seed: mix(seed ^ 0x5ce7), offsets, sides, blocks }
    }

    /// Numbers of a projected gradient.
    pub fn dimensions(&self) -> usize {
        self.blocks.iter().sum()
    }

    /// Numbers that belong together: all, or those of each matrix.
    pub fn blocks(&self) -> &[usize] {
        &self.blocks
    }

    /// A gradient, flat, a slice a parameter, projected.
    pub fn project(&self, gradient: &[&[f32]]) -> Vec<f32> {
        match self.projection {
            Projection::Hashed { dimensions } => self.hashed(gradient, dimensions.max(1)),
            Projection::TwoSided { .. } => {
                let parts = self.sides.par_iter().zip(gradient);
                let parts: Vec<Vec<f32>> =
                    parts.filter_map(|(sides, values)| Some(sides.as_ref()?.project(values))).collect();
                parts.concat()
            }
        }
    }

    fn hashed(&self, gradient: &[&[f32]], dimensions: usize) -> Vec<f32> {
        let chunks: Vec<(u64, &[f32])> = gradient
            .iter()
            .zip(&self.offsets)
            .flat_map(|(values, offset)| {
                values.chunks(CHUNK).enumerate().map(move |(part, chunk)| (offset + (part * CHUNK) as u64, chunk))
            })
            .collect();
        // Summed in the order of the chunks, whoever made them.
        let sums: Vec<Vec<f32>> = chunks
            .par_iter()
            .map(|(offset, values)| {
                let mut sums = vec![0.0; dimensions];
                for (place, value) in values.iter().enumerate() {
                    if *value != 0.0 {
                        let hash = mix(self.seed ^ (offset + place as u64));
                        // The upper bits choose the sum without a division, the lowest the sign.
                        let at = ((u128::from(hash) * dimensions as u128) >> 64) as usize;
                        sums[at] += if hash & 1 == 0 { *value } else { -value };
                    }
                }
                sums
            })
            .collect();
        let mut sums = sums.into_iter();
        let mut total = sums.next().unwrap_or_else(|| vec![0.0; dimensions]);
        for part in sums {
            for (total, part) in total.iter_mut().zip(part) {
                *total += part;
            }
        }
        total
    }
}

impl Sides {
    fn of(parameter: &Parameter, rank: usize, seed: u64) -> Option<Self> {
        let [rows, columns] = parameter.shape[..] else { return None };
        let (left_rank, right_rank) = (rank.min(rows), rank.min(columns));
        let signs = |count: usize, rank: usize, stream: u64| {
            let size = 1.0 / (rank as f32).sqrt();
            let sign = |at: usize| if mix(stream ^ at as u64) & 1 == 0 { size } else { -size };
            (0..count * rank).map(sign).collect()
        };
        let left = signs(rows, left_rank, mix(seed ^ 1));
        let right = signs(columns, right_rank, mix(seed ^ 2));
        Some(Self { rows, columns, left_rank, right_rank, left, right })
    }

    fn project(&self, gradient: &[f32]) -> Vec<f32> {
        let Self { rows, columns, left_rank, right_rank, .. } = *self;
        let mut half = vec![0.0; rows * right_rank];
        let gradient = MatrixRef::new(gradient, rows, columns);
        product(gradient, MatrixRef::new(&self.right, columns, right_rank), &mut half, false, Precision::F32);
        let mut whole = vec![0.0; left_rank * right_rank];
        let left = MatrixRef::new(&self.left, left_rank, rows);
        product(left, MatrixRef::new(&half, rows, right_rank), &mut whole, false, Precision::F32);
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Vec<Parameter> {
        let of = |name: &str, shape: &[usize]| Parameter { name: name.into(), shape: shape.to_vec() };
        vec![of("a", &[40, 30]), of("b", &[30]), of("c", &[20, 50])]
    }

    fn gradient(seed: u64) -> Vec<Vec<f32>> {
        let value = |place: usize, at: usize| {
            (mix(mix(seed) ^ mix(((place << 32) | at) as u64)) as f64 / u64::MAX as f64 - 0.5) as f32
        };
        parameters().iter().enumerate().map(|(place, p)| (0..p.count()).map(|at| value(place, at)).collect()).collect()
    }

    fn slices(gradient: &[Vec<f32>]) -> Vec<&[f32]> {
        gradient.iter().map(Vec::as_slice).collect()
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    /// Over many seeds the mean of projected products is the product, and its deviation what theory says.
    #[test]
    fn products_are_kept_on_average() {
        let (a, b) = (gradient(1), gradient(2));
        // Half of b is a, so that the product is far from 0.
        let b: Vec<Vec<f32>> = a.iter().zip(&b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect()).collect();
        for (projection, matrices) in
            [(Projection::Hashed { dimensions: 64 }, false), (Projection::TwoSided { rank: 8 }, true)]
        {
            let of = |places: &[usize], x: &[Vec<f32>], y: &[Vec<f32>]| -> f64 {
                places.iter().map(|place| dot(&x[*place], &y[*place])).sum()
            };
            let places: &[usize] = if matrices { &[0, 2] } else { &[0, 1, 2] };
            let exact = of(places, &a, &b);
            let size = (of(places, &a, &a) * of(places, &b, &b)).sqrt();
            let seeds = 400;
            let products: Vec<f64> = (0..seeds)
                .map(|seed| {
                    let projector = Projector::new(projection, &parameters(), seed);
                    dot(&projector.project(&slices(&a)), &projector.project(&slices(&b)))
                })
                .collect();
            let mean = products.iter().sum::<f64>() / seeds as f64;
            let deviation = (products.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / seeds as f64).sqrt();
            assert!((mean - exact).abs() < 4.0 * deviation / (seeds as f64).sqrt(), "{projection:?}: {mean} {exact}");
            assert!(deviation < 2.5 * size / 8.0, "{projection:?}: {deviation} of {size}");
        }
    }

    #[test]
    fn sizes_and_seeds() {
        let projector = Projector::new(Projection::TwoSided { rank: 32 }, &parameters(), 1);
        assert_eq!(projector.blocks(), [32 * 30, 20 * 32]);
        let a = gradient(3);
        let same = Projector::new(Projection::TwoSided { rank: 32 }, &parameters(), 1);
        assert_eq!(projector.project(&slices(&a)), same.project(&slices(&a)));
        let other = Projector::new(Projection::TwoSided { rank: 32 }, &parameters(), 2);
        assert_ne!(projector.project(&slices(&a)), other.project(&slices(&a)));
        let hashed = Projector::new(Projection::Hashed { dimensions: 100 }, &parameters(), 1);
        assert_eq!((hashed.dimensions(), hashed.project(&slices(&a)).len()), (100, 100));
    }
}
