//! Embedding tables without positions.

/// [`crate::embedding::gather_tokens`].
pub fn gather_tokens(table: &[f64], ids: &[u32], width: usize, scale: f64) -> Vec<f64> {
    ids.iter().flat_map(|id| (0..width).map(move |c| scale * table[*id as usize * width + c])).collect()
}

/// [`crate::embedding::scatter_tokens`].
pub fn scatter_tokens(
    dy: &[f64],
    ids: &[u32],
    vocabulary: usize,
    width: usize,
    scale: f64,
    padding: Option<u32>,
) -> Vec<f64> {
    let mut dtable = vec![0.0; vocabulary * width];
    for (i, id) in ids.iter().enumerate().filter(|(_, id)| padding != Some(**id)) {
        for c in 0..width {
            dtable[*id as usize * width + c] += scale * dy[i * width + c];
        }
    }
    dtable
}
