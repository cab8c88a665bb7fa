//! The plain recurrent layer (Elman 1990) with tanh: what LSTM and GRU add gates to.

use super::{Packing, Panels, RecurrentShape, RecurrentWeights, project, step_product};
use crate::buffer::{Output, SharedPointer, with_scratch};
use crate::elementary::tanh;
use crate::linear::column_sums;
use crate::matrix::{MatrixRef, Target, product_of};
use crate::simd::vectorized;
use std::mem::MaybeUninit;

/// The new state is all that a step computes.
const GATES: usize = 1;

/// What [`forward`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct RnnOutput {
    /// The state h after every step, `[batch, time, hidden]`; zero at padding.
    pub y: Vec<f32>,
    /// The state after each sequence's last step, `[batch, hidden]`.
    pub last_hidden: Vec<f32>,
    /// For [`backward`]: the state after every step that counts, `[steps, hidden]`, in packed order.
    pub states: Vec<f32>,
}

/// What [`backward`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct RnnGradients {
    /// Gradient of the input, `[batch, time, inputs]`; zero at padding.
    pub dx: Vec<f32>,
    /// Gradient of `weight_ih`, `[hidden, inputs]`.
    pub dweight_ih: Vec<f32>,
    /// Gradient of `weight_hh`, `[hidden, hidden]`.
    pub dweight_hh: Vec<f32>,
    /// Gradient of `bias_ih`, and of `bias_hh` too: `[hidden]`.
    pub dbias: Vec<f32>,
    /// Gradient of the initial state, `[batch, hidden]`.
    pub dinitial_hidden: Vec<f32>,
}

/// The layer over `x`, `[batch, time, inputs]`, from an initial state, `[batch, hidden]`, zero without.
///
/// At each step `h = tanh(W_ih x + b_ih + W_hh h + b_hh)`. Padding is not read.
pub fn forward(
    x: &[f32],
    weights: RecurrentWeights,
    initial_hidden: Option<&[f32]>,
    shape: RecurrentShape,
) -> RnnOutput {
    let RecurrentShape { batch, time, inputs, hidden: width, .. } = shape;
    weights.check(GATES, shape);
    assert_eq!(x.len(), batch * time * inputs, "x [{batch}, {time}, {inputs}]");
    let packing = Packing::new(shape);
    let initial_hidden = packing.sort("initial_hidden", initial_hidden, width);
    let rows = packing.rows();
    let bias: Vec<f32> = weights.bias_ih.iter().zip(weights.bias_hh).map(|(ih, hh)| ih + hh).collect();
    // The input's part of every step, which becomes the state after it in place.
    let mut states = project(&packing.pack(x, inputs), weights.weight_ih, &bias, rows, inputs, shape.precision);
    let panels = Panels::forward(weights.weight_hh, GATES, width);
    let states_at = SharedPointer::new(&mut states);
    for step in 0..packing.steps() {
        let start = packing.starts[step];
        // The rows of the step before: its first ones are the sequences that still run.
        let before = step.checked_sub(1).map(|step| packing.starts[step]);
        panels.for_each_block(packing.running[step], &|units, places| {
            let columns = units.len();
            with_scratch(places.len() * columns, |recurrent| {
                let state = match before {
                    Some(before) => states_at.at((before + places.start) * width).cast_const(),
                    None => initial_hidden[places.start * width..].as_ptr(),
                };
                let target = Target { pointer: recurrent.as_mut_ptr(), row_stride: columns, accumulate: false };
                // SAFETY: the states are whole rows of the step before, written when it ended; the scratch is ours.
                unsafe { step_product([places.len(), columns, width], state, width, panels.of(units.start), target) };
                for (place, recurrent) in places.clone().zip(recurrent.chunks_exact(columns)) {
                    // SAFETY: these units of this row, which are initialized, are this task's.
                    let state = unsafe { states_at.slice((start + place) * width + units.start, columns) };
                    activate(state, recurrent);
                }
            });
        });
    }
    RnnOutput { y: packing.unpack(&states, width), last_hidden: packing.last(&states, &initial_hidden, width), states }
}

/// The gradients of [`forward`], from its operands, the states that it returned, `dy`, `[batch, time, hidden]`, and the
/// gradient that arrives on the last state, `[batch, hidden]`, zero without. `dy` is not read at padding.
pub fn backward(
    x: &[f32],
    weights: RecurrentWeights,
    initial_hidden: Option<&[f32]>,
    states: &[f32],
    dy: &[f32],
    dlast_hidden: Option<&[f32]>,
    shape: RecurrentShape,
) -> RnnGradients {
    let RecurrentShape { batch, time, inputs, hidden: width, .. } = shape;
    weights.check(GATES, shape);
    assert_eq!(x.len(), batch * time * inputs, "x [{batch}, {time}, {inputs}]");
    assert_eq!(dy.len(), batch * time * width, "dy [{batch}, {time}, {width}]");
    let packing = Packing::new(shape);
    let rows = packing.rows();
    assert_eq!(states.len(), rows * width, "states [{rows}, {width}]");
    let initial_hidden = packing.sort("initial_hidden", initial_hidden, width);
    // The gradient of the state after the step at hand; a sequence that has not begun keeps its last one.
    let mut dhidden = packing.sort("dlast_hidden", dlast_hidden, width);
    let dy = packing.pack(dy, width);
    // The gradient of what tanh is applied to.
    let mut dsums = Output::new(rows * width);
    let panels = Panels::backward(weights.weight_hh, GATES, width);
    let (dsums_at, dhidden_at) = (dsums.pointer(), SharedPointer::new(&mut dhidden));
    let running = |step: usize| packing.running.get(step).copied().unwrap_or(0);
    // Through `step` to the state before it, then through the tanh of the step before: a task needs only its own units.
    for step in (0..=packing.steps()).rev() {
        let before = step.checked_sub(1);
        panels.for_each_block(before.map_or(running(step), &running), &|units, places| {
            let later = places.start..places.end.min(running(step)).max(places.start);
            if !later.is_empty() {
                let target = Target {
                    pointer: dhidden_at.at(places.start * width + units.start),
                    row_stride: width,
                    accumulate: false,
                };
                let dsums = dsums_at.at((packing.starts[step] + places.start) * width).cast_const();
                // SAFETY: the gradients of `step` are written; these units of these places are this task's.
                unsafe {
                    step_product([later.len(), units.len(), width], dsums, width, panels.of(units.start), target);
                }
            }
            let Some(before) = before else { return };
            for place in places {
                let at = (packing.starts[before] + place) * width + units.start;
                let part = at..at + units.len();
                // SAFETY: these units of this row and of this place are this task's; the kernel writes the gradients
                // whole, and the state's gradient was initialized.
                unsafe {
                    let dhidden = dhidden_at.read(place * width + units.start, units.len());
                    gradients(&states[part.clone()], &dy[part], dhidden, dsums_at.slots(at, units.len()));
                }
            }
        });
    }
    // SAFETY: the steps together wrote every row.
    let dsums = unsafe { dsums.written() };
    let before = states_before(&packing, &initial_hidden, states, width);
    let x = packing.pack(x, inputs);
    let dsums_matrix = MatrixRef::new(&dsums, rows, width);
    let dx = product_of(dsums_matrix, MatrixRef::new(weights.weight_ih, width, inputs), shape.precision);
    RnnGradients {
        dx: packing.unpack(&dx, inputs),
        dweight_ih: product_of(dsums_matrix.transposed(), MatrixRef::new(&x, rows, inputs), shape.precision),
        dweight_hh: product_of(dsums_matrix.transposed(), MatrixRef::new(&before, rows, width), shape.precision),
        dbias: column_sums(&dsums, width),
        dinitial_hidden: packing.unsort(&dhidden, width),
    }
}

/// The state before every step that counts, `[steps, hidden]`, in packed order.
fn states_before(packing: &Packing, initial: &[f32], states: &[f32], width: usize) -> Vec<f32> {
    let mut before = Vec::with_capacity(states.len());
    for (step, &running) in packing.running.iter().enumerate() {
        let rows = match step.checked_sub(1) {
            Some(step) => &states[packing.starts[step] * width..],
            None => initial,
        };
        before.extend_from_slice(&rows[..running * width]);
    }
    before
}

vectorized! {
    /// Adds the recurrent part to the input's, and activates in place.
    fn activate<A>(state: &mut [f32], recurrent: &[f32]) {
        for (state, recurrent) in state.iter_mut().zip(recurrent) {
            *state = tanh::<A>(*state + recurrent);
        }
    }
}

vectorized! {
    /// From the gradient of the state after a step to that of what tanh was applied to.
    fn gradients<A>(state: &[f32], dy: &[f32], dhidden: &[f32], dsum: &mut [MaybeUninit<f32>]) {
        for (((state, dy), dhidden), dsum) in state.iter().zip(dy).zip(dhidden).zip(dsum) {
            dsum.write((dhidden + dy) * A::mul_add(-*state, *state, 1.0));
        }
    }
}
