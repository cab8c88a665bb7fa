//! From hidden states of tokens to a vector of their text, in training as in use.

use super::layout::Modules;
use super::{EmbedOptions, Pooling};
use crate::collate::rows_of_ids;
use burn::tensor::{Device, Tensor, TensorData};
use loam_corpus::Tokenizer;
use loam_models::bert::Bert;

/// Texts that are encoded side by side.
const BATCH: usize = 32;
/// What a vector's length is at least, so that nothing is divided by 0.
pub(super) const LEAST: f32 = 1e-12;

/// How an encoder is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder {
    pub pooling: Pooling,
    pub normalize: bool,
    /// Tokens that are read of a text at most.
    pub longest: usize,
    /// The id that short texts are filled up with.
    pub padding: usize,
}

impl Encoder {
    /// As options have it, else as the model's folder says, else the mean and no scaling.
    pub fn of(model: &Bert, modules: Modules, options: EmbedOptions) -> Self {
        let config = model.config();
        Self {
            pooling: options.pooling.or(modules.pooling).unwrap_or(Pooling::Mean),
            normalize: options.normalize.or(modules.normalize).unwrap_or(false),
            longest: modules.longest.map_or(config.context(), |most| most.min(config.context())),
            padding: config.pad_token_id.unwrap_or(0),
        }
    }

    /// Vectors of texts side by side, pooled and not scaled, `[texts, width]`, differentiable where the model is. With a seed,
    /// dropout is on and follows from it alone.
    pub fn pooled(&self, model: &Bert, rows: &[&[u32]], dropout_seed: Option<u64>, device: &Device) -> Tensor<2> {
        let inputs = rows_of_ids(rows, self.padding, device);
        if self.pooling == Pooling::Cls {
            let first = model.encode_first(&inputs, dropout_seed);
            let [batch, _, width] = first.dims();
            return first.reshape([batch, width]);
        }
        let hidden = model.encode(&inputs, dropout_seed);
        let [batch, time, width] = hidden.dims();
        // What each token counts; those of padding nothing.
        let counts: Vec<f32> = rows
            .iter()
            .flat_map(|row| {
                let length = row.len();
                (0..time).map(move |token| match self.pooling {
                    Pooling::Last => f32::from(u8::from(token + 1 == length)),
                    _ => {
                        if token < length {
                            1.0 / length as f32
                        } else {
                            0.0
                        }
                    }
                })
            })
            .collect();
        let counts = Tensor::<3>::from_data(TensorData::new(counts, [batch, 1, time]), device);
        counts.matmul(hidden).reshape([batch, width])
    }

    /// A vector of each row of ids, in their order, scaled if the model scales. `done` is told how many there are.
    pub fn vectors(
        &self,
        model: &Bert,
        rows: &[&[u32]],
        device: &Device,
        done: &mut dyn FnMut(usize),
    ) -> Vec<Vec<f32>> {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&index| rows[index].len());
        let mut vectors = vec![Vec::new(); rows.len()];
        let mut count = 0;
        for batch in order.chunks(BATCH) {
            let beside: Vec<&[u32]> = batch.iter().map(|&index| rows[index]).collect();
            let pooled = self.pooled(model, &beside, None, device);
            let width = pooled.dims()[1];
            let values = pooled.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion");
            for (&index, vector) in batch.iter().zip(values.chunks_exact(width.max(1))) {
                vectors[index] = vector.to_vec();
                if self.normalize {
                    scale(&mut vectors[index]);
                }
            }
            count += batch.len();
            done(count);
        }
        vectors
    }
}

/// Scales a vector to length 1.
pub(super) fn scale(vector: &mut [f32]) {
    let norm = vector.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt().max(f64::from(LEAST));
    for value in vector {
        *value = (f64::from(*value) / norm) as f32;
    }
}

/// The token ids of the first `longest` tokens of a text, special ones counted, and whether that is all of it.
pub(super) fn beginning(tokenizer: &Tokenizer, text: &str, longest: usize) -> (Vec<u32>, bool) {
    // One token more tells whether there is more.
    let more = tokenizer.encode_framed(text, longest + 1);
    if more.len() <= longest { (more, true) } else { (tokenizer.encode_framed(text, longest), false) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loam_models::BertConfig;

    #[test]
    fn pooling_in_a_graph_is_that_of_the_states() {
        let device = Device::default();
        let model = Bert::new(BertConfig::new(20, 12, 8, 1, 2, 0.0), 3, &device).unwrap();
        let rows: [&[u32]; 3] = [&[1, 2, 3, 4, 5], &[6, 7], &[9]];
        let hidden = model.encode(&rows_of_ids(&rows, 0, &device), None).into_data().try_into_vec::<f32>().unwrap();
        for pooling in [Pooling::Mean, Pooling::Cls, Pooling::Last] {
            let encoder = Encoder { pooling, normalize: false, longest: 12, padding: 0 };
            for (number, vector) in encoder.vectors(&model, &rows, &device, &mut |_| {}).iter().enumerate() {
                let states = &hidden[number * 40..(number + 1) * 40];
                let length = rows[number].len();
                for (column, value) in vector.iter().enumerate() {
                    let at = |token: usize| f64::from(states[token * 8 + column]);
                    let told = match pooling {
                        Pooling::Mean => (0..length).map(at).sum::<f64>() / length as f64,
                        Pooling::Cls => at(0),
                        Pooling::Last => at(length - 1),
                    };
                    assert!((told - f64::from(*value)).abs() < 1e-5, "{pooling:?}: {told} {value}");
                }
            }
        }
    }
}
