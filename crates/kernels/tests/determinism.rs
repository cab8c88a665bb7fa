//! The same input gives the same bits, twice and on any number of threads.

mod support;

use loam_kernels::activation::Activation;
use loam_kernels::attention::{self, AttentionShape};
use loam_kernels::dropout::Dropout;
use loam_kernels::feed_forward::FeedForward;
use loam_kernels::matrix::{MatrixRef, Precision};
use loam_kernels::simd::{SimdLevel, with_simd_level};
use loam_kernels::{activation, cross_entropy, embedding, linear, norm, vector};
use support::{Random, bits};

/// One call of everything that sums in parallel, as bits, in both precisions.
fn everything() -> Vec<Vec<u32>> {
    [everything_in(Precision::F32), everything_in(Precision::Bf16)].concat()
}

fn everything_in(precision: Precision) -> Vec<Vec<u32>> {
    let mut random = Random(51);
    let (rows, width, vocabulary) = (301, 48, 97);
    let shape = AttentionShape { batch: 7, time: 43, heads: 3, head_width: 16 };
    let x = random.values(rows * width);
    let weight = random.values(width * 3 * width);
    let bias = random.values(3 * width);
    let mut results = Vec::new();
    let qkv = linear::forward(&x, MatrixRef::new(&weight, width, 3 * width), &bias, None, precision);
    let (out, log_sum_exp) = attention::forward(&qkv, shape, Some(Dropout { probability: 0.1, seed: 4 }), precision);
    let dqkv = attention::backward(&qkv, &out, &log_sum_exp, &x, shape, None, precision);
    let gradients = linear::backward(&x, MatrixRef::new(&weight, width, 3 * width), &dqkv, precision);
    results.extend([bits(&qkv), bits(&out), bits(&log_sum_exp), bits(&dqkv)]);
    results.extend([bits(&gradients.dx), bits(&gradients.dweight), bits(&gradients.dbias)]);
    let (y, statistics) = norm::layer_norm(&x, &bias[..width], &bias[width..2 * width], 1e-5);
    let gradients = norm::layer_norm_backward(&x, &bias[..width], &statistics, &y);
    results.extend([bits(&y), bits(&gradients.dx), bits(&gradients.dgamma), bits(&gradients.dbeta)]);
    results.push(bits(&activation::gelu_tanh_backward(&x, &y)));
    let inner = random.values(3 * width * width);
    let layers = FeedForward {
        up_weight: MatrixRef::new(&weight, width, 3 * width),
        up_bias: &bias,
        down_weight: MatrixRef::new(&inner, width, 3 * width).transposed(),
        down_bias: &bias[..width],
        activation: Activation::Silu,
        precision,
    };
    let (y, h) = layers.forward(&x, None);
    let gradients = layers.backward(&x, &h, &y);
    results.extend([bits(&y), bits(&gradients.up.dx), bits(&gradients.up.dweight), bits(&gradients.down_weight)]);
    let table = random.values(vocabulary * width);
    let ids = random.ids(rows, vocabulary);
    let loss = cross_entropy::forward(&x, &table, &ids, width, 0.5, true, precision);
    let (dx, dweight) = loss.gradients.expect("gradients were asked for");
    results.extend([bits(&[loss.loss_sum]), bits(&dx), bits(&dweight)]);
    let (dtokens, dpositions) = embedding::scatter(&x, &ids, vocabulary, 43, 43, width);
    results.extend([bits(&dtokens), bits(&dpositions)]);
    let long = random.values(500_001);
    let sum = vector::sum_of_squares(&long).to_bits();
    results.push(vec![sum as u32, (sum >> 32) as u32]);
    results
}

#[test]
fn twice_and_on_any_number_of_threads() {
    // The level is held, since a test that forces another may run at the same time.
    let widest = *SimdLevel::available().last().expect("portable is always available");
    with_simd_level(widest, || {
        let first = everything();
        assert_eq!(first, everything(), "twice");
        for threads in [1, 2, 3, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
            assert_eq!(first, pool.install(everything), "{threads} threads");
        }
    });
}

#[test]
fn levels_are_named_and_forced() {
    for level in SimdLevel::available() {
        assert_eq!(with_simd_level(level, loam_kernels::simd_level), level.name());
    }
}
