//! Long short-term memory (Hochreiter & Schmidhuber 1997; with forget gates, Gers, Schmidhuber & Cummins 2000).

use super::{Packing, Panels, RecurrentShape, RecurrentWeights, project, step_product};
use crate::buffer::{Output, SharedPointer, with_scratch};
use crate::elementary::{sigmoid, tanh};
use crate::linear::column_sums;
use crate::matrix::{MatrixRef, Target, product_of};
use crate::simd::vectorized;
use std::mem::MaybeUninit;

/// Input, forget, cell and output: i, f, g, o.
const GATES: usize = 4;

/// What [`forward`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct LstmOutput {
    /// The state h after every step, `[batch, time, hidden]`; zero at padding.
    pub y: Vec<f32>,
    /// The state after each sequence's last step, `[batch, hidden]`.
    pub last_hidden: Vec<f32>,
    /// The cell after each sequence's last step, `[batch, hidden]`.
    pub last_cell: Vec<f32>,
    /// For [`backward`]: the gates i, f, g and o of every step that counts, `[steps, 4 * hidden]`, in packed order.
    pub gates: Vec<f32>,
    /// For [`backward`]: the cells of every step that counts, `[steps, hidden]`, in packed order.
    pub cells: Vec<f32>,
}

/// What [`backward`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct LstmGradients {
    /// Gradient of the input, `[batch, time, inputs]`; zero at padding.
    pub dx: Vec<f32>,
    /// Gradient of `weight_ih`, `[4 * hidden, inputs]`.
    pub dweight_ih: Vec<f32>,
    /// Gradient of `weight_hh`, `[4 * hidden, hidden]`.
    pub dweight_hh: Vec<f32>,
    /// Gradient of `bias_ih`, and of `bias_hh` too: `[4 * hidden]`.
    pub dbias: Vec<f32>,
    /// Gradient of the initial state, `[batch, hidden]`.
    pub dinitial_hidden: Vec<f32>,
    /// Gradient of the initial cell, `[batch, hidden]`.
    pub dinitial_cell: Vec<f32>,
}

/// The LSTM over `x`, `[batch, time, inputs]`, from an initial state and cell, `[batch, hidden]` each, zero without.
///
/// At each step, with `[i, f, g, o]` the rows of `W_ih x + b_ih + W_hh h + b_hh`:
/// `c = sigmoid(f) · c + sigmoid(i) · tanh(g)`, `h = sigmoid(o) · tanh(c)`. Padding is not read.
pub fn forward(
    x: &[f32],
    weights: RecurrentWeights,
    initial_hidden: Option<&[f32]>,
    initial_cell: Option<&[f32]>,
    shape: RecurrentShape,
) -> LstmOutput {
    let RecurrentShape { batch, time, inputs, hidden: width, .. } = shape;
    weights.check(GATES, shape);
    assert_eq!(x.len(), batch * time * inputs, "x [{batch}, {time}, {inputs}]");
    let packing = Packing::new(shape);
    let initial_hidden = packing.sort("initial_hidden", initial_hidden, width);
    let initial_cell = packing.sort("initial_cell", initial_cell, width);
    let rows = packing.rows();
    let bias: Vec<f32> = weights.bias_ih.iter().zip(weights.bias_hh).map(|(ih, hh)| ih + hh).collect();
    let mut gates = project(&packing.pack(x, inputs), weights.weight_ih, &bias, rows, inputs, shape.precision);
    let (mut cells, mut hidden) = (Output::new(rows * width), Output::new(rows * width));
    let panels = Panels::forward(weights.weight_hh, GATES, width);
    let (gates_at, cells_at, hidden_at) = (SharedPointer::new(&mut gates), cells.pointer(), hidden.pointer());
    for step in 0..packing.steps() {
        let start = packing.starts[step];
        // The rows of the step before: its first ones are the sequences that still run.
        let before = step.checked_sub(1).map(|step| packing.starts[step]);
        panels.for_each_block(packing.running[step], &|units, places| {
            let columns = GATES * units.len();
            with_scratch(places.len() * columns, |recurrent| {
                let state = match before {
                    Some(before) => hidden_at.at((before + places.start) * width).cast_const(),
                    None => initial_hidden[places.start * width..].as_ptr(),
                };
                let target = Target { pointer: recurrent.as_mut_ptr(), row_stride: columns, accumulate: false };
                // SAFETY: the states are whole rows of the step before, written when it ended; the scratch is ours.
                unsafe { step_product([places.len(), columns, width], state, width, panels.of(units.start), target) };
                for (place, recurrent) in places.clone().zip(recurrent.chunks_exact(columns)) {
                    let row = start + place;
                    // SAFETY: the gates are initialized; these units of this row are this task's.
                    let gate =
                        |k: usize| unsafe { gates_at.slice((row * GATES + k) * width + units.start, units.len()) };
                    let part = |k: usize| &recurrent[k * units.len()..][..units.len()];
                    let previous = match before {
                        // SAFETY: a row of the step before, which is written, and which nobody writes again.
                        Some(before) => unsafe { cells_at.read((before + place) * width + units.start, units.len()) },
                        None => &initial_cell[place * width + units.start..][..units.len()],
                    };
                    // SAFETY: these units of this row are this task's, and the kernel writes before it reads.
                    let (cell, state) = unsafe {
                        let at = row * width + units.start;
                        (cells_at.slots(at, units.len()), hidden_at.slots(at, units.len()))
                    };
                    activate(
                        gate(0),
                        gate(1),
                        gate(2),
                        gate(3),
                        part(0),
                        part(1),
                        part(2),
                        part(3),
                        previous,
                        cell,
                        state,
                    );
                }
            });
        });
    }
    // SAFETY: the steps together wrote every row of both.
    let (cells, hidden) = unsafe { (cells.written(), hidden.written()) };
    LstmOutput {
        y: packing.unpack(&hidden, width),
        last_hidden: packing.last(&hidden, &initial_hidden, width),
        last_cell: packing.last(&cells, &initial_cell, width),
        gates,
        cells,
    }
}

/// The gradients of [`forward`], from its operands, the gates and cells that it returned, `dy`,
/// `[batch, time, hidden]`, and the gradients that arrive on the last state and cell, `[batch, hidden]`, zero without.
///
/// `dy` is not read at padding. The state before each step is computed again from the gates and cells.
pub fn backward(
    x: &[f32],
    weights: RecurrentWeights,
    initial_hidden: Option<&[f32]>,
    initial_cell: Option<&[f32]>,
    gates: &[f32],
    cells: &[f32],
    dy: &[f32],
    dlast_hidden: Option<&[f32]>,
    dlast_cell: Option<&[f32]>,
    shape: RecurrentShape,
) -> LstmGradients {
    let RecurrentShape { batch, time, inputs, hidden: width, .. } = shape;
    weights.check(GATES, shape);
    assert_eq!(x.len(), batch * time * inputs, "x [{batch}, {time}, {inputs}]");
    assert_eq!(dy.len(), batch * time * width, "dy [{batch}, {time}, {width}]");
    let packing = Packing::new(shape);
    let rows = packing.rows();
    assert_eq!(gates.len(), rows * GATES * width, "gates [{rows}, {GATES} * {width}]");
    assert_eq!(cells.len(), rows * width, "cells [{rows}, {width}]");
    let initial_hidden = packing.sort("initial_hidden", initial_hidden, width);
    let initial_cell = packing.sort("initial_cell", initial_cell, width);
    // The gradients of the state and cell after the step at hand; a sequence that has not begun keeps its last ones.
    let mut dhidden = packing.sort("dlast_hidden", dlast_hidden, width);
    let mut dcell = packing.sort("dlast_cell", dlast_cell, width);
    let dy = packing.pack(dy, width);
    let mut dgates = Output::new(rows * GATES * width);
    // The state before each step, for the gradient of the recurrent weight.
    let mut states = Output::new(rows * width);
    let first = packing.running.first().copied().unwrap_or(0) * width;
    states.slots()[..first].write_copy_of_slice(&initial_hidden[..first]);
    let panels = Panels::backward(weights.weight_hh, GATES, width);
    let (dgates_at, states_at) = (dgates.pointer(), states.pointer());
    let (dhidden_at, dcell_at) = (SharedPointer::new(&mut dhidden), SharedPointer::new(&mut dcell));
    let running = |step: usize| packing.running.get(step).copied().unwrap_or(0);
    // Through `step` to the state before it, then to the gates of the step before: a task needs only its own units.
    for step in (0..=packing.steps()).rev() {
        let before = step.checked_sub(1);
        panels.for_each_block(before.map_or(running(step), &running), &|units, places| {
            let later = places.start..places.end.min(running(step)).max(places.start);
            let target = Target {
                pointer: dhidden_at.at(places.start * width + units.start),
                row_stride: width,
                accumulate: false,
            };
            if !later.is_empty() {
                let dgates = dgates_at.at((packing.starts[step] + places.start) * GATES * width).cast_const();
                let sizes = [later.len(), units.len(), GATES * width];
                // SAFETY: the gates' gradients of `step` are written; these units of these places are this task's.
                unsafe { step_product(sizes, dgates, GATES * width, panels.of(units.start), target) };
            }
            let Some(before) = before else { return };
            with_scratch(units.len(), |state| {
                for place in places {
                    let row = packing.starts[before] + place;
                    let at = row * width + units.start;
                    let gate = |k: usize| &gates[(row * GATES + k) * width + units.start..][..units.len()];
                    let previous = match before.checked_sub(1) {
                        Some(step) => &cells[(packing.starts[step] + place) * width + units.start..],
                        None => &initial_cell[place * width + units.start..],
                    };
                    // SAFETY: these units of this row and of this place are this task's; the kernel writes the gates'
                    // gradients whole, and the states' gradients were initialized.
                    unsafe {
                        let dgate = |k: usize| dgates_at.slots((row * GATES + k) * width + units.start, units.len());
                        gradients(
                            gate(0),
                            gate(1),
                            gate(2),
                            gate(3),
                            &cells[at..][..units.len()],
                            &previous[..units.len()],
                            &dy[at..][..units.len()],
                            dhidden_at.slice(place * width + units.start, units.len()),
                            dcell_at.slice(place * width + units.start, units.len()),
                            state,
                            dgate(0),
                            dgate(1),
                            dgate(2),
                            dgate(3),
                        );
                        if place < running(step) {
                            let at = (packing.starts[step] + place) * width + units.start;
                            states_at.slots(at, units.len()).write_copy_of_slice(state);
                        }
                    }
                }
            });
        });
    }
    // SAFETY: the steps together wrote every row of both: the states of the first step above, those of the others with
    // the step before them.
    let (dgates, states) = unsafe { (dgates.written(), states.written()) };
    let x = packing.pack(x, inputs);
    let dgates_matrix = MatrixRef::new(&dgates, rows, GATES * width);
    let dx = product_of(dgates_matrix, MatrixRef::new(weights.weight_ih, GATES * width, inputs), shape.precision);
    LstmGradients {
        dx: packing.unpack(&dx, inputs),
        dweight_ih: product_of(dgates_matrix.transposed(), MatrixRef::new(&x, rows, inputs), shape.precision),
        dweight_hh: product_of(dgates_matrix.transposed(), MatrixRef::new(&states, rows, width), shape.precision),
        dbias: column_sums(&dgates, GATES * width),
        dinitial_hidden: packing.unsort(&dhidden, width),
        dinitial_cell: packing.unsort(&dcell, width),
    }
}

vectorized! {
    /// Adds the recurrent part to the gates, activates them in place, and writes the cell and the state.
    fn activate<A>(
        i: &mut [f32],
        f: &mut [f32],
        g: &mut [f32],
        o: &mut [f32],
        recurrent_i: &[f32],
        recurrent_f: &[f32],
        recurrent_g: &[f32],
        recurrent_o: &[f32],
        previous: &[f32],
        cell: &mut [MaybeUninit<f32>],
        state: &mut [MaybeUninit<f32>],
    ) {
        let gates = i.iter_mut().zip(f).zip(g).zip(o);
        let recurrent = recurrent_i.iter().zip(recurrent_f).zip(recurrent_g).zip(recurrent_o);
        let states = previous.iter().zip(cell).zip(state);
        for (((((i, f), g), o), (((ri, rf), rg), ro)), ((previous, cell), state)) in gates.zip(recurrent).zip(states) {
            *i = sigmoid::<A>(*i + ri);
            *f = sigmoid::<A>(*f + rf);
            *g = tanh::<A>(*g + rg);
            *o = sigmoid::<A>(*o + ro);
            let c = A::mul_add(*f, *previous, *i * *g);
            cell.write(c);
            state.write(*o * tanh::<A>(c));
        }
    }
}

vectorized! {
    /// From the gradients of state and cell after a step to those of its gates and of the cell before it; `state`
    /// becomes the state after the step.
    fn gradients<A>(
        i: &[f32],
        f: &[f32],
        g: &[f32],
        o: &[f32],
        cell: &[f32],
        previous: &[f32],
        dy: &[f32],
        dhidden: &[f32],
        dcell: &mut [f32],
        state: &mut [f32],
        di: &mut [MaybeUninit<f32>],
        df: &mut [MaybeUninit<f32>],
        dg: &mut [MaybeUninit<f32>],
        do_: &mut [MaybeUninit<f32>],
    ) {
        let gates = i.iter().zip(f).zip(g).zip(o);
        let cells = cell.iter().zip(previous).zip(dy).zip(dhidden);
        let results = di.iter_mut().zip(df).zip(dg).zip(do_);
        let states = dcell.iter_mut().zip(state);
        for ((((((i, f), g), o), (((cell, previous), dy), dhidden)), (((di, df), dg), do_)), (dcell, state)) in
            gates.zip(cells).zip(results).zip(states)
        {
            let t = tanh::<A>(*cell);
            let dh = dhidden + dy;
            let dc = A::mul_add(dh * o, A::mul_add(-t, t, 1.0), *dcell);
            do_.write(dh * t * (o * (1.0 - o)));
            di.write(dc * g * (i * (1.0 - i)));
            df.write(dc * previous * (f * (1.0 - f)));
            dg.write(dc * i * A::mul_add(-*g, *g, 1.0));
            *dcell = dc * f;
            *state = o * t;
        }
    }
}
