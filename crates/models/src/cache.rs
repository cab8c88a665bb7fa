//! What a model keeps of the tokens that it has read, so that each new token costs one step.

use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_nn::attention::{Attention, Positions};
use std::sync::Arc;

/// Tokens that a buffer grows by at least.
const BLOCK: usize = 64;

/// Keys and values of each token of a Transformer, or the states of a recurrent network.
///
/// Rows of a batch may differ in length: they end together, and what stands before a shorter row is padding, which no
/// query sees ([`Cache::mask`]) and which does not count as a position ([`Cache::positions`]).
#[derive(Clone, Debug, Default)]
pub struct Cache {
    /// From the first layer to the last.
    layers: Vec<Layer>,
    /// A recurrent network's state and, of an LSTM, cell, `[batch, hidden]`, from the first layer to the last.
    pub states: Vec<(Tensor<2>, Option<Tensor<2>>)>,
    /// Tokens that `states` have read.
    pub read: usize,
    /// How much padding stands before each row; none where it is empty.
    padding: Vec<usize>,
}

/// Keys and values in buffers with room to grow, `[batch, room, width]` each, of which `length` tokens are written.
#[derive(Clone, Debug)]
struct Layer {
    keys: Tensor<3>,
    values: Tensor<3>,
    length: usize,
}

impl Layer {
    fn room(&self) -> usize {
        self.keys.dims()[1]
    }

    /// Makes room for `more` tokens.
    fn grow(self, more: usize) -> Self {
        let (needed, room) = (self.length + more, self.room());
        if needed <= room {
            return self;
        }
        // By a quarter, so that what is copied over a whole text stays in proportion to it.
        let larger = needed + (needed / 4).max(BLOCK);
        let [batch, _, width] = self.keys.dims();
        let moved = |old: Tensor<3>| {
            let written = old.narrow(1, 0, self.length);
            Tensor::zeros([batch, larger, width], &written.device())
                .slice_assign([0..batch, 0..self.length, 0..width], written)
        };
        Self { keys: moved(self.keys), values: moved(self.values), length: self.length }
    }
}

/// `x` `[batch, time, ..]` as `[batch, time, width]`.
fn flat<const D: usize>(x: Tensor<D>) -> Tensor<3> {
    let dims = x.dims();
    x.reshape([dims[0], dims[1], dims[2..].iter().product()])
}

/// The first `length` tokens of a buffer, shaped as `like` beyond its time; shares the buffer's memory.
fn written<const D: usize>(buffer: &Tensor<3>, length: usize, like: [usize; D]) -> Tensor<D> {
    let mut shape = like;
    shape[1] = buffer.dims()[1];
    buffer.clone().reshape(shape).narrow(1, 0, length)
}

impl Cache {
    /// Tokens held, padding included.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(self.read, |layer| layer.length)
    }

    /// Whether no token has been seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens that `layer` holds: during a pass, the layers that are done hold the new ones already.
    pub fn held(&self, layer: usize) -> usize {
        self.layers.get(layer).map_or(0, |layer| layer.length)
    }

    /// Tokens of a row, without its padding.
    pub fn row_len(&self, row: usize) -> usize {
        self.len() - self.padding.get(row).copied().unwrap_or(0)
    }

    /// Adds the keys and values of new tokens at `layer`, `[batch, time, width]` or `[batch, time, heads, head_width]`;
    /// all of them so far come back, as views of the buffers that hold them.
    pub fn extend<const D: usize>(
        &mut self,
        layer: usize,
        keys: Tensor<D>,
        values: Tensor<D>,
    ) -> (Tensor<D>, Tensor<D>) {
        let (shape, value_shape) = (keys.dims(), values.dims());
        let time = shape[1];
        if layer >= self.layers.len() {
            // A pass over a whole prompt needs no room: the buffer is what came.
            self.layers.push(Layer { keys: flat(keys.clone()), values: flat(values.clone()), length: time });
            return (keys, values);
        }
        let Layer { keys: old_keys, values: old_values, length } = self.layers.remove(layer).grow(time);
        let append = |buffer: Tensor<3>, new: Tensor<3>| {
            let [batch, _, width] = new.dims();
            buffer.slice_assign([0..batch, length..length + time, 0..width], new)
        };
        let grown = Layer {
            keys: append(old_keys, flat(keys)),
            values: append(old_values, flat(values)),
            length: length + time,
        };
        let all = (written(&grown.keys, grown.length, shape), written(&grown.values, grown.length, value_shape));
        self.layers.insert(layer, grown);
        all
    }

    /// What new tokens may see: those before them and themselves, without padding.
    pub fn mask(&self, time: usize) -> Attention {
        self.mask_of(self.len() + time)
    }

    /// [`Cache::mask`] where the keys of new tokens are already counted: `keys` of them in all.
    fn mask_of(&self, keys: usize) -> Attention {
        let key_ranges = (!self.padding.is_empty()).then(|| self.padding.iter().map(|&first| first..keys).collect());
        Attention { key_ranges, ..Attention::causal() }
    }

    /// Where `time` new tokens of each row stand.
    pub fn positions(&self, time: usize) -> Positions {
        let first = self.len();
        if self.padding.is_empty() {
            return Positions::From(first);
        }
        let row = |&padding: &usize| (first - padding..first - padding + time).map(|position| position as u32);
        Positions::Each(self.padding.iter().flat_map(row).collect::<Arc<[u32]>>())
    }

    /// Forgets all but the first `length` tokens, where that can be done: a recurrent state cannot go back.
    #[must_use]
    pub fn truncate(&mut self, length: usize) -> bool {
        if length > self.len() || !self.padding.is_empty() || (!self.states.is_empty() && length < self.len()) {
            return false;
        }
        for layer in &mut self.layers {
            layer.length = length;
        }
        true
    }

    /// Keeps these rows, in this order; a row may be kept several times.
    pub fn select(&mut self, rows: &[usize]) {
        if !self.padding.is_empty() {
            self.padding = rows.iter().map(|&row| self.padding[row]).collect();
        }
        for layer in &mut self.layers {
            let length = layer.length;
            let kept = |buffer: &Tensor<3>| pick(buffer.clone().narrow(1, 0, length), rows);
            (layer.keys, layer.values) = (kept(&layer.keys), kept(&layer.values));
        }
        for (state, cell) in &mut self.states {
            *state = pick(state.clone(), rows);
            *cell = cell.take().map(|cell| pick(cell, rows));
        }
    }

    /// The rows of all of these, one after the other, shorter ones behind padding.
    pub fn join(caches: Vec<Self>) -> Self {
        let Some(longest) = caches.iter().map(Self::len).max() else { return Self::default() };
        if caches.len() == 1 {
            return caches.into_iter().next().unwrap_or_default();
        }
        let mut padding = Vec::new();
        for cache in &caches {
            let missing = longest - cache.len();
            let before = |row: usize| missing + cache.padding.get(row).copied().unwrap_or(0);
            padding.extend((0..cache.rows()).map(before));
        }
        if padding.iter().all(|&padding| padding == 0) {
            padding.clear();
        }
        let layers = (0..caches[0].layers.len()).map(|number| {
            let gather = |buffer: fn(&Layer) -> &Tensor<3>| {
                let part = |cache: &Self| {
                    let layer = &cache.layers[number];
                    let [batch, _, width] = buffer(layer).dims();
                    let written = buffer(layer).clone().narrow(1, 0, layer.length);
                    if layer.length == longest {
                        return written;
                    }
                    Tensor::cat(
                        vec![Tensor::zeros([batch, longest - layer.length, width], &written.device()), written],
                        1,
                    )
                };
                Tensor::cat(caches.iter().map(part).collect(), 0)
            };
            Layer { keys: gather(|layer| &layer.keys), values: gather(|layer| &layer.values), length: longest }
        });
        let layers: Vec<Layer> = layers.collect();
        let states = (0..caches[0].states.len()).map(|number| {
            let state = Tensor::cat(caches.iter().map(|cache| cache.states[number].0.clone()).collect(), 0);
            let cells: Option<Vec<_>> = caches.iter().map(|cache| cache.states[number].1.clone()).collect();
            (state, cells.map(|cells| Tensor::cat(cells, 0)))
        });
        let states: Vec<_> = states.collect();
        // A state has no padding: it is as long as what it has read, which nothing asks of single rows.
        if layers.is_empty() {
            padding.clear();
        }
        Self { layers, states, read: longest, padding }
    }

    /// Rows of the batch; 0 before the first pass.
    pub fn rows(&self) -> usize {
        let of_states = || self.states.first().map_or(0, |(state, _)| state.dims()[0]);
        self.layers.first().map_or_else(of_states, |layer| layer.keys.dims()[0])
    }
}

/// Some rows of `x`, in this order.
pub(crate) fn pick<const D: usize>(x: Tensor<D>, rows: &[usize]) -> Tensor<D> {
    let device = x.device();
    x.select(0, row_numbers(rows, &device))
}

fn row_numbers(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let numbers: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
    Tensor::from_data(TensorData::new(numbers, [rows.len()]), &device.clone().inner())
}
