//! Recurrent layers over whole sequences: the plain one, LSTM and GRU, each one operation forward and one backward through time.
//!
//! Composed of small operations, a step of a recurrent layer is a dozen passes over memory around one small product.
//! Here the input's part of every gate, for all steps, is one product, as are the weights' gradients; a step is the
//! product of the state with the recurrent weight and one pass that adds, activates and updates.
//!
//! Equations, gate order and weight layout are PyTorch's (`torch.nn.RNN`, `LSTM`, `GRU`), so its weights load as they
//! are. Batch first. Sequences of several lengths are packed as PyTorch packs them: sorted by falling length, the rows
//! of one step together, so that padding costs nothing, neither in products nor in memory.

pub mod gru;
pub mod lstm;
pub mod rnn;

use crate::buffer::Output;
use crate::matrix::{Beginning, MatrixRef, Operand, Precision, Target, product_at, strided_product};
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Hidden units that one task of a step handles: its part of the recurrent weight stays in the nearer caches, and it
/// is a multiple of the widest register.
const UNITS: usize = 64;
/// Sequences that one task of a step handles.
const ROWS: usize = 64;
/// Multiplications of a step below which handing it to other threads costs more than it gains.
const FEWEST_PRODUCTS: usize = 1 << 20;
/// Rows that one task copies.
const COPY_ROWS: usize = 64;

/// The sizes of a recurrent layer's input and state.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentShape<'a> {
    /// Number of sequences.
    pub batch: usize,
    /// Steps of each, padding included.
    pub time: usize,
    /// Width of the input.
    pub inputs: usize,
    /// Width of the state, H.
    pub hidden: usize,
    /// Steps that count, `[batch]`, each `0 ..= time`; all of them without. Later steps carry the state and give zeros.
    pub lengths: Option<&'a [usize]>,
    /// Whether each sequence is read from its last step that counts to its first. Outputs stay where their inputs are.
    pub reverse: bool,
    /// Of the products of all steps together. The state of a step is multiplied in `f32`: its roundings would be carried
    /// from step to step.
    pub precision: Precision,
}

/// The parameters of a recurrent layer with G gates: 4 of an LSTM, 3 of a GRU, 1 of a plain layer.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentWeights<'a> {
    /// `[G * hidden, inputs]`.
    pub weight_ih: &'a [f32],
    /// `[G * hidden, hidden]`.
    pub weight_hh: &'a [f32],
    /// `[G * hidden]`.
    pub bias_ih: &'a [f32],
    /// `[G * hidden]`.
    pub bias_hh: &'a [f32],
}

impl RecurrentWeights<'_> {
    fn check(&self, gates: usize, shape: RecurrentShape) {
        let (rows, inputs, hidden) = (gates * shape.hidden, shape.inputs, shape.hidden);
        assert_eq!(self.weight_ih.len(), rows * inputs, "weight_ih [{rows}, {inputs}]");
        assert_eq!(self.weight_hh.len(), rows * hidden, "weight_hh [{rows}, {hidden}]");
        assert_eq!(self.bias_ih.len(), rows, "bias_ih [{rows}]");
        assert_eq!(self.bias_hh.len(), rows, "bias_hh [{rows}]");
    }
}

/// Where the steps that count lie once packed: sequences by falling length, all rows of a step together.
struct Packing {
    /// The sequence at each place of a step.
    order: Vec<usize>,
    /// The length of the sequence at each place; falling.
    lengths: Vec<usize>,
    /// How many sequences are still running at each step; falling.
    running: Vec<usize>,
    /// The packed row at which each step starts, and the number of packed rows.
    starts: Vec<usize>,
    /// The packed row of each row of `[batch, time]`; `None` for padding.
    packed: Vec<Option<usize>>,
    /// The row of `[batch, time]` of each packed row.
    unpacked: Vec<usize>,
}

impl Packing {
    fn new(shape: RecurrentShape) -> Self {
        let RecurrentShape { batch, time, .. } = shape;
        let length = |sequence: usize| shape.lengths.map_or(time, |lengths| lengths[sequence]);
        if let Some(lengths) = shape.lengths {
            assert_eq!(lengths.len(), batch, "lengths [{batch}]");
            assert!(lengths.iter().all(|length| *length <= time), "a length beyond {time} steps");
        }
        let mut order: Vec<usize> = (0..batch).collect();
        order.sort_by_key(|sequence| std::cmp::Reverse(length(*sequence)));
        let lengths: Vec<usize> = order.iter().map(|sequence| length(*sequence)).collect();
        let steps = lengths.first().copied().unwrap_or(0);
        let running: Vec<usize> = (0..steps).map(|step| lengths.partition_point(|length| *length > step)).collect();
        let (mut starts, mut packed, mut unpacked) = (vec![0], vec![None; batch * time], Vec::new());
        for (step, running) in running.iter().enumerate() {
            for place in 0..*running {
                let at = if shape.reverse { lengths[place] - 1 - step } else { step };
                let row = order[place] * time + at;
                packed[row] = Some(unpacked.len());
                unpacked.push(row);
            }
            starts.push(unpacked.len());
        }
        Self { order, lengths, running, starts, packed, unpacked }
    }

    fn steps(&self) -> usize {
        self.running.len()
    }

    /// The number of packed rows.
    fn rows(&self) -> usize {
        self.unpacked.len()
    }

    /// The rows that count of `x`, `[batch, time, width]`, packed.
    fn pack(&self, x: &[f32], width: usize) -> Vec<f32> {
        copy_rows(self.rows(), width, &|row| Some(&x[self.unpacked[row] * width..][..width]))
    }

    /// `[batch, time, width]` of packed rows; zero at padding.
    fn unpack(&self, rows: &[f32], width: usize) -> Vec<f32> {
        copy_rows(self.packed.len(), width, &|row| self.packed[row].map(|row| &rows[row * width..][..width]))
    }

    /// A state `[batch, width]` by places; zeros without.
    fn sort(&self, what: &str, state: Option<&[f32]>, width: usize) -> Vec<f32> {
        let batch = self.order.len();
        assert!(state.is_none_or(|state| state.len() == batch * width), "{what} [{batch}, {width}]");
        copy_rows(batch, width, &|place| state.map(|state| &state[self.order[place] * width..][..width]))
    }

    /// `[batch, width]` of a state by places.
    fn unsort(&self, state: &[f32], width: usize) -> Vec<f32> {
        let mut result = vec![0.0; state.len()];
        for (place, sequence) in self.order.iter().enumerate() {
            result[sequence * width..][..width].copy_from_slice(&state[place * width..][..width]);
        }
        result
    }

    /// `[batch, width]`: the packed row of each sequence's last step, or its row of `initial`, sorted, when it has none.
    fn last(&self, rows: &[f32], initial: &[f32], width: usize) -> Vec<f32> {
        let mut result = vec![0.0; initial.len()];
        for (place, (sequence, length)) in self.order.iter().zip(&self.lengths).enumerate() {
            let row = match length {
                0 => &initial[place * width..],
                _ => &rows[(self.starts[length - 1] + place) * width..],
            };
            result[sequence * width..][..width].copy_from_slice(&row[..width]);
        }
        result
    }
}

/// `[rows, width]` whose rows are copies of `source(row)`, or zero.
fn copy_rows<'a>(rows: usize, width: usize, source: &(dyn Fn(usize) -> Option<&'a [f32]> + Sync)) -> Vec<f32> {
    if width == 0 {
        return Vec::new();
    }
    let mut copy = Output::new(rows * width);
    copy.slots().par_chunks_mut(COPY_ROWS * width).enumerate().for_each(|(task, copy)| {
        for (i, slots) in copy.chunks_exact_mut(width).enumerate() {
            match source(task * COPY_ROWS + i) {
                Some(row) => _ = slots.write_copy_of_slice(row),
                None => slots.fill(MaybeUninit::new(0.0)),
            }
        }
    });
    // SAFETY: the tasks cover every row and write each whole.
    unsafe { copy.written() }
}

/// The recurrent weight, `[gates * hidden, hidden]`, cut by hidden units for the tasks of a step.
///
/// A step reads the whole weight, once a task; laid out in the order of reading, it streams. Laying it out costs less
/// than one step of a usual batch.
struct Panels {
    values: Vec<f32>,
    gates: usize,
    hidden: usize,
}

impl Panels {
    /// A panel a block of units, transposed: `[hidden, gates * units]`, for the state times the transposed weight.
    fn forward(weight: &[f32], gates: usize, hidden: usize) -> Self {
        Self::new(gates, hidden, &|units, panel| {
            let columns = gates * units.len();
            let rows = (0..gates).flat_map(|gate| units.clone().map(move |unit| gate * hidden + unit));
            for (column, row) in rows.enumerate() {
                for (k, value) in weight[row * hidden..][..hidden].iter().enumerate() {
                    panel[k * columns + column] = *value;
                }
            }
        })
    }

    /// A panel a block of units: `[gates * hidden, units]`, for the gates' gradients times the weight.
    fn backward(weight: &[f32], gates: usize, hidden: usize) -> Self {
        Self::new(gates, hidden, &|units, panel| {
            for (panel, row) in panel.chunks_exact_mut(units.len()).zip(weight.chunks_exact(hidden)) {
                panel.copy_from_slice(&row[units.clone()]);
            }
        })
    }

    fn new(gates: usize, hidden: usize, fill: &(dyn Fn(Range<usize>, &mut [f32]) + Sync)) -> Self {
        let mut values = vec![0.0; gates * hidden * hidden];
        if hidden > 0 {
            let tasks = values.par_chunks_mut(UNITS * gates * hidden).enumerate();
            tasks.for_each(|(block, panel)| fill(units(block, hidden), panel));
        }
        Self { values, gates, hidden }
    }

    /// The panel of the block that starts with unit `first`.
    fn of(&self, first: usize) -> *const f32 {
        self.values[first * self.gates * self.hidden..].as_ptr()
    }

    /// Runs `task(units, places)` over the blocks of units and of places of one step, in parallel where it pays.
    fn for_each_block(&self, places: usize, task: &(dyn Fn(Range<usize>, Range<usize>) + Sync)) {
        let blocks = self.hidden.div_ceil(UNITS);
        let task = |index: usize| {
            let (block, first) = (index % blocks, index / blocks * ROWS);
            task(units(block, self.hidden), first..places.min(first + ROWS));
        };
        let tasks = 0..blocks * places.div_ceil(ROWS);
        if places * self.values.len() < FEWEST_PRODUCTS {
            tasks.for_each(task);
        } else {
            tasks.into_par_iter().for_each(task);
        }
    }
}

/// The input's part of the gates of packed rows `x`: `bias + x weight_ihᵀ`, `[rows, columns]` for a bias of `[columns]`.
fn project(x: &[f32], weight_ih: &[f32], bias: &[f32], rows: usize, inputs: usize, precision: Precision) -> Vec<f32> {
    let columns = bias.len();
    if columns == 0 {
        return Vec::new();
    }
    let mut gates = Output::new(rows * columns);
    let weight = MatrixRef::new(weight_ih, columns, inputs).transposed();
    // SAFETY: the product writes every element and reads none.
    unsafe {
        product_at(MatrixRef::new(x, rows, inputs), weight, gates.pointer().at(0), Beginning::Bias(bias), precision);
        gates.written()
    }
}

/// The hidden units of a block.
fn units(block: usize, hidden: usize) -> Range<usize> {
    block * UNITS..hidden.min((block + 1) * UNITS)
}

/// `target = left right` on this thread: `left` is `[rows, inner]` with rows `left_stride` apart, `right` is
/// `[inner, columns]`, row-major.
///
/// # Safety
///
/// As of [`strided_product`].
unsafe fn step_product(sizes: [usize; 3], left: *const f32, left_stride: usize, right: *const f32, target: Target) {
    let right = Operand::rows(right, sizes[1]);
    // SAFETY: promised by the caller.
    unsafe { strided_product(sizes, Operand::rows(left, left_stride), right, 1.0, target, Precision::F32) }
}
