//! The fused feed-forward against the layers that it is made of, and against finite differences.

mod support;

use loam_kernels::activation::{self, Activation};
use loam_kernels::feed_forward::FeedForward;
use loam_kernels::linear;
use loam_kernels::matrix::{MatrixRef, Precision};
use support::{Random, at_the_widest_level, bits};

/// Rows, width, inner width, outputs: one of everything, primes, a multiple of the vector width, nothing.
const SIZES: [[usize; 4]; 5] = [[1, 1, 1, 1], [5, 7, 11, 3], [33, 16, 64, 16], [201, 48, 130, 50], [0, 4, 8, 4]];

#[test]
fn equals_its_layers() {
    at_the_widest_level(|| {
        for [rows, width, inner, outputs] in SIZES {
            for precision in [Precision::F32, Precision::Bf16] {
                let mut random = Random(7);
                let mut values = |count| random.values(count);
                let (x, dy, residual) = (values(rows * width), values(rows * outputs), values(rows * outputs));
                let (up_weight, up_bias) = (values(width * inner), values(inner));
                let (down_weight, down_bias) = (values(inner * outputs), values(outputs));
                let activation = Activation::Gelu;
                let layers = FeedForward {
                    up_weight: MatrixRef::new(&up_weight, width, inner),
                    up_bias: &up_bias,
                    down_weight: MatrixRef::new(&down_weight, inner, outputs),
                    down_bias: &down_bias,
                    activation,
                    precision,
                };
                let h = linear::forward(&x, MatrixRef::new(&up_weight, width, inner), &up_bias, None, precision);
                let value = activation::forward(activation, &h);
                for residual in [None, Some(residual.as_slice())] {
                    let y = linear::forward(
                        &value,
                        MatrixRef::new(&down_weight, inner, outputs),
                        &down_bias,
                        residual,
                        precision,
                    );
                    let (fused, kept) = layers.forward(&x, residual);
                    assert_eq!((bits(&fused), bits(&kept)), (bits(&y), bits(&h)), "{rows} {width} {inner} {outputs}");
                }
                let down = linear::backward(&value, MatrixRef::new(&down_weight, inner, outputs), &dy, precision);
                let dh = activation::backward(activation, &h, &down.dx);
                let up = linear::backward(&x, MatrixRef::new(&up_weight, width, inner), &dh, precision);
                let fused = layers.backward(&x, &h, &dy);
                assert_eq!(bits(&fused.up.dx), bits(&up.dx));
                assert_eq!(bits(&fused.up.dweight), bits(&up.dweight));
                assert_eq!(bits(&fused.up.dbias), bits(&up.dbias));
                assert_eq!(bits(&fused.down_weight), bits(&down.dweight));
                assert_eq!(bits(&fused.down_bias), bits(&down.dbias));
            }
        }
    });
}
