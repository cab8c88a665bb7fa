//! Initial weights from a counter: element *i* of parameter *p* is a function of the seed, *p* and *i* alone, so a seed
//! gives the same model on every device and with any number of threads.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use std::f64::consts::TAU;

/// Draws the parameters of a module, one after the other.
#[derive(Clone, Debug)]
pub struct Initializer {
    seed: u64,
    drawn: u64,
    device: Device,
}

impl Initializer {
    /// Parameters on `device`, all following from `seed`.
    pub fn new(seed: u64, device: &Device) -> Self {
        Self { seed, drawn: 0, device: device.clone() }
    }

    /// A parameter from N(0, `deviation`²).
    pub fn normal<const D: usize>(&mut self, shape: [usize; D], deviation: f64) -> Param<Tensor<D>> {
        let stream = mix(self.seed ^ mix(self.drawn));
        self.drawn += 1;
        let mut values = vec![0.0_f32; shape.iter().product()];
        values.par_chunks_mut(4096).enumerate().for_each(|(chunk, values)| {
            for (offset, value) in values.iter_mut().enumerate() {
                *value = (gaussian(stream, (chunk * 4096 + offset) as u64) * deviation) as f32;
            }
        });
        self.values(shape, values)
    }

    /// A parameter of these values, row after row.
    pub fn values<const D: usize>(&mut self, shape: [usize; D], values: Vec<f32>) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &self.device))
    }

    /// A parameter filled with `value`.
    pub fn constant<const D: usize>(&mut self, shape: [usize; D], value: f32) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::full(shape, value, &self.device))
    }
}

/// The finalizer of `SplitMix64` (Steele, Lea & Flood 2014): a bijection that scatters neighboring numbers.
pub fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Box & Muller 1958: two uniform numbers make a normal one.
fn gaussian(stream: u64, index: u64) -> f64 {
    let uniform = |word: u64| ((word >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    let first = uniform(mix(stream ^ mix(2 * index)));
    let second = uniform(mix(stream ^ mix(2 * index + 1)));
    (-2.0 * first.ln()).sqrt() * (TAU * second).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_normal_and_repeat() {
        let device = Device::flex();
        let draw = |seed| Initializer::new(seed, &device).normal([200, 500], 0.02).val().into_data();
        let values = draw(7).try_into_vec::<f32>().unwrap();
        let count = values.len() as f64;
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
        assert!(mean.abs() < 0.02 * 4.0 / count.sqrt(), "mean {mean}");
        assert!((variance.sqrt() / 0.02 - 1.0).abs() < 0.01, "deviation {}", variance.sqrt());
        assert_eq!(values, draw(7).try_into_vec::<f32>().unwrap());
        assert_ne!(values, draw(8).try_into_vec::<f32>().unwrap());
    }
}
