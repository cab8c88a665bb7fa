//! Positions as sines and cosines.

use burn::tensor::{Device, Tensor, TensorData};

/// The table of Vaswani et al. 2017, section 3.5, in Marian's order: the sines first, then the cosines. Positions
/// `first .. first + time`, `[time, width]`.
///
/// It is computed where it is asked for: no configuration can make it larger than the sequence at hand.
pub(crate) fn sinusoids(first: usize, time: usize, width: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values(first, time, width), [time, width]), device)
}

/// What [`sinusoids`] holds, row after row.
pub(crate) fn values(first: usize, time: usize, width: usize) -> Vec<f32> {
    let sines = width.div_ceil(2);
    let rate = |pair: usize| 10_000_f64.powf(-2.0 * pair as f64 / width as f64);
    let rates: Vec<f64> = (0..sines).map(rate).collect();
    let mut values = Vec::with_capacity(time * width);
    for position in first..first + time {
        let angle = |rate: &f64| position as f64 * rate;
        values.extend(rates.iter().map(|rate| angle(rate).sin() as f32));
        values.extend(rates[..width - sines].iter().map(|rate| angle(rate).cos() as f32));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_stand_before_cosines() {
        for width in [1, 2, 5, 6] {
            let table = sinusoids(3, 2, width, &Device::flex()).into_data().try_into_vec::<f32>().unwrap();
            assert_eq!(table.len(), 2 * width);
            assert!((table[0] - 3_f32.sin()).abs() < 1e-6);
            if width > 1 {
                assert!((table[width + width.div_ceil(2)] - 4_f32.cos()).abs() < 1e-6, "{table:?}");
            }
        }
    }
}
