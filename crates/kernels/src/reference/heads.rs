//! The output projection with every option of its loss.

/// [`crate::cross_entropy::with_options`]: losses and hits of the rows, `loss_sum`, `dx`, `dweight`, `dbias`.
pub struct Head {
    /// `[rows]`.
    pub losses: Vec<f64>,
    /// Whether the target is the first of the largest logits, `[rows]`; false at ignored rows.
    pub hits: Vec<bool>,
    /// The weighted sum.
    pub loss_sum: f64,
    /// `[rows, width]`.
    pub dx: Vec<f64>,
    /// `[vocabulary, width]`.
    pub dweight: Vec<f64>,
    /// `[vocabulary]`.
    pub dbias: Vec<f64>,
}

/// [`crate::cross_entropy::with_options`], with a bias and weights of rows always given.
pub fn head(
    x: &[f64],
    weight: &[f64],
    bias: &[f64],
    targets: &[u32],
    row_weights: &[f64],
    smoothing: f64,
    scale: f64,
    ignore: u32,
) -> Head {
    let (vocabulary, width) = (bias.len(), weight.len() / bias.len());
    let mut head = Head {
        losses: vec![0.0; targets.len()],
        hits: vec![false; targets.len()],
        loss_sum: 0.0,
        dx: vec![0.0; x.len()],
        dweight: vec![0.0; weight.len()],
        dbias: vec![0.0; vocabulary],
    };
    for (row, target) in targets.iter().enumerate().filter(|(_, target)| **target != ignore) {
        let x = &x[row * width..][..width];
        let logit = |token: usize| bias[token] + (0..width).map(|c| weight[token * width + c] * x[c]).sum::<f64>();
        let logits: Vec<f64> = (0..vocabulary).map(logit).collect();
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        head.hits[row] = logits.iter().position(|logit| *logit == largest) == Some(*target as usize);
        let log_sum_exp = largest + logits.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln();
        for token in 0..vocabulary {
            let indicator = f64::from(u8::from(token == *target as usize));
            let wanted = (1.0 - smoothing) * indicator + smoothing / vocabulary as f64;
            head.losses[row] -= wanted * (logits[token] - log_sum_exp);
            let dlogit = scale * row_weights[row] * ((logits[token] - log_sum_exp).exp() - wanted);
            head.dbias[token] += dlogit;
            for c in 0..width {
                head.dx[row * width + c] += dlogit * weight[token * width + c];
                head.dweight[token * width + c] += dlogit * x[c];
            }
        }
        head.loss_sum += scale * row_weights[row] * head.losses[row];
    }
    head
}
