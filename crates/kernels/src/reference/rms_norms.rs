//! RMS norm.

/// [`crate::norm::rms_norm`]: `y` and statistics.
pub fn rms_norm(x: &[f64], gamma: &[f64], offset: f64, epsilon: f64) -> (Vec<f64>, Vec<f64>) {
    let width = gamma.len();
    let (mut y, mut statistics) = (Vec::new(), Vec::new());
    for row in x.chunks_exact(width) {
        let reciprocal = 1.0 / (row.iter().map(|x| x * x).sum::<f64>() / width as f64 + epsilon).sqrt();
        y.extend((0..width).map(|j| row[j] * reciprocal * (offset + gamma[j])));
        statistics.push(reciprocal);
    }
    (y, statistics)
}

/// [`crate::norm::rms_norm_backward`]: `dx`, `dgamma`.
pub fn rms_norm_backward(
    x: &[f64],
    gamma: &[f64],
    offset: f64,
    statistics: &[f64],
    dy: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let width = gamma.len();
    let (mut dx, mut dgamma) = (Vec::new(), vec![0.0; width]);
    for ((x, dy), reciprocal) in x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(statistics) {
        let h: Vec<f64> = (0..width).map(|j| dy[j] * (offset + gamma[j])).collect();
        let mean_product = (0..width).map(|j| h[j] * x[j] * reciprocal).sum::<f64>() / width as f64;
        for j in 0..width {
            dx.push((h[j] - x[j] * reciprocal * mean_product) * reciprocal);
            dgamma[j] += dy[j] * x[j] * reciprocal;
        }
    }
    (dx, dgamma)
}
