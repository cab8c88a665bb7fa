//! Gated recurrent units (Cho et al. 2014), in the form of PyTorch and cuDNN: the reset gate is applied after the
//! recurrent product.

use super::{Packing, Panels, RecurrentShape, RecurrentWeights, project, step_product};
use crate::buffer::{Output, SharedPointer, with_scratch};
use crate::elementary::{sigmoid, tanh};
use crate::linear::column_sums;
use crate::matrix::{Beginning, MatrixRef, Target, product, product_at, product_of};
use crate::simd::vectorized;
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Reset, update and new: r, z, n.
const GATES: usize = 3;
/// Gradients a unit: of r, of z, of the recurrent part of n, of n. The first three are those of the recurrent product.
const PARTS: usize = 4;

/// What [`forward`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct GruOutput {
    /// The state h after every step, `[batch, time, hidden]`; zero at padding.
    pub y: Vec<f32>,
    /// The state after each sequence's last step, `[batch, hidden]`.
    pub last_hidden: Vec<f32>,
    /// For [`backward`]: the gates r, z and n of every step that counts, `[steps, 3 * hidden]`, in packed order.
    pub gates: Vec<f32>,
    /// For [`backward`]: `W_hn h + b_hn` of every step that counts, `[steps, hidden]`, in packed order.
    pub recurrent: Vec<f32>,
}

/// What [`backward`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct GruGradients {
    /// Gradient of the input, `[batch, time, inputs]`; zero at padding.
    pub dx: Vec<f32>,
    /// Gradient of `weight_ih`, `[3 * hidden, inputs]`.
    pub dweight_ih: Vec<f32>,
    /// Gradient of `weight_hh`, `[3 * hidden, hidden]`.
    pub dweight_hh: Vec<f32>,
    /// Gradient of `bias_ih`, `[3 * hidden]`.
    pub dbias_ih: Vec<f32>,
    /// Gradient of `bias_hh`, `[3 * hidden]`.
    pub dbias_hh: Vec<f32>,
    /// Gradient of the initial state, `[batch, hidden]`.
    pub dinitial_hidden: Vec<f32>,
}

/// The GRU over `x`, `[batch, time, inputs]`, from an initial state, `[batch, hidden]`, zero without.
///
/// At each step `r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)`, `z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)`,
/// `n = tanh(W_in x + b_in + r · (W_hn h + b_hn))`, `h = (1 - z) · n + z · h`. Padding is not read.
pub fn forward(
    x: &[f32],
    weights: RecurrentWeights,
    initial_hidden: Option<&[f32]>,
    shape: RecurrentShape,
) -> GruOutput {
    let RecurrentShape { batch, time, inputs, hidden: width, .. } = shape;
    weights.check(GATES, shape);
    assert_eq!(x.len(), batch * time * inputs, "x [{batch}, {time}, {inputs}]");
    let packing = Packing::new(shape);
    let initial_hidden = packing.sort("initial_hidden", initial_hidden, width);
    let rows = packing.rows();
    // The recurrent bias of n belongs to the part that r multiplies.
    let (bias_hh, bias_hn) = weights.bias_hh.split_at(2 * width);
    let mut bias = weights.bias_ih.to_vec();
    bias.iter_mut().zip(bias_hh).for_each(|(ih, hh)| *ih += hh);
    let mut gates = project(&packing.pack(x, inputs), weights.weight_ih, &bias, rows, inputs, shape.precision);
    let (mut recurrent, mut hidden) = (Output::new(rows * width), Output::new(rows * width));
    let panels = Panels::forward(weights.weight_hh, GATES, width);
    let (gates_at, recurrent_at, hidden_at) = (SharedPointer::new(&mut gates), recurrent.pointer(), hidden.pointer());
    for step in 0..packing.steps() {
        let start = packing.starts[step];
        // The rows of the step before: its first ones are the sequences that still run.
        let before = step.checked_sub(1).map(|step| packing.starts[step]);
        panels.for_each_block(packing.running[step], &|units, places| {
            let columns = GATES * units.len();
            with_scratch(places.len() * columns, |products| {
                let state = match before {
                    Some(before) => hidden_at.at((before + places.start) * width).cast_const(),
                    None => initial_hidden[places.start * width..].as_ptr(),
                };
                let target = Target { pointer: products.as_mut_ptr(), row_stride: columns, accumulate: false };
                // SAFETY: the states are whole rows of the step before, written when it ended; the scratch is ours.
                unsafe { step_product([places.len(), columns, width], state, width, panels.of(units.start), target) };
                for (place, products) in places.clone().zip(products.chunks_exact(columns)) {
                    let row = start + place;
                    // SAFETY: the gates are initialized; these units of this row are this task's.
                    let gate =
                        |k: usize| unsafe { gates_at.slice((row * GATES + k) * width + units.start, units.len()) };
                    let part = |k: usize| &products[k * units.len()..][..units.len()];
                    let previous = match before {
                        // SAFETY: a row of the step before, which is written, and which nobody writes again.
                        Some(before) => unsafe { hidden_at.read((before + place) * width + units.start, units.len()) },
                        None => &initial_hidden[place * width + units.start..][..units.len()],
                    };
                    // SAFETY: these units of this row are this task's, and the kernel writes before it reads.
                    let (recurrent, state) = unsafe {
                        let at = row * width + units.start;
                        (recurrent_at.slots(at, units.len()), hidden_at.slots(at, units.len()))
                    };
                    let bias = &bias_hn[units.clone()];
                    activate(gate(0), gate(1), gate(2), part(0), part(1), part(2), bias, previous, recurrent, state);
                }
            });
        });
    }
    // SAFETY: the steps together wrote every row of both.
    let (recurrent, hidden) = unsafe { (recurrent.written(), hidden.written()) };
    GruOutput {
        y: packing.unpack(&hidden, width),
        last_hidden: packing.last(&hidden, &initial_hidden, width),
        gates,
        recurrent,
    }
}

/// The gradients of [`forward`], from its operands, the gates and recurrent parts that it returned, `dy`,
/// `[batch, time, hidden]`, and the gradient that arrives on the last state, `[batch, hidden]`, zero without.
///
/// `dy` is not read at padding. The state before each step is computed again from the gates.
pub fn backward(
    x: &[f32],
    weights: RecurrentWeights,
    initial_hidden: Option<&[f32]>,
    gates: &[f32],
    recurrent: &[f32],
    dy: &[f32],
    dlast_hidden: Option<&[f32]>,
    shape: RecurrentShape,
) -> GruGradients {
    let RecurrentShape { batch, time, inputs, hidden: width, .. } = shape;
    weights.check(GATES, shape);
    assert_eq!(x.len(), batch * time * inputs, "x [{batch}, {time}, {inputs}]");
    assert_eq!(dy.len(), batch * time * width, "dy [{batch}, {time}, {width}]");
    let packing = Packing::new(shape);
    let rows = packing.rows();
    assert_eq!(gates.len(), rows * GATES * width, "gates [{rows}, {GATES} * {width}]");
    assert_eq!(recurrent.len(), rows * width, "recurrent [{rows}, {width}]");
    let initial_hidden = packing.sort("initial_hidden", initial_hidden, width);
    // The gradient of the state after the step at hand; a sequence that has not begun keeps its last one.
    let mut dhidden = packing.sort("dlast_hidden", dlast_hidden, width);
    let dy = packing.pack(dy, width);
    let states = states_before(&packing, &initial_hidden, gates, width);
    let mut dparts = Output::new(rows * PARTS * width);
    let panels = Panels::backward(weights.weight_hh, GATES, width);
    let (dparts_at, dhidden_at) = (dparts.pointer(), SharedPointer::new(&mut dhidden));
    let running = |step: usize| packing.running.get(step).copied().unwrap_or(0);
    // Through `step` to the state before it, then to the gates of the step before: a task needs only its own units.
    for step in (0..=packing.steps()).rev() {
        let before = step.checked_sub(1);
        panels.for_each_block(before.map_or(running(step), &running), &|units, places| {
            let later = places.start..places.end.min(running(step)).max(places.start);
            // What z let through is there already.
            let target = Target {
                pointer: dhidden_at.at(places.start * width + units.start),
                row_stride: width,
                accumulate: true,
            };
            if !later.is_empty() {
                let dparts = dparts_at.at((packing.starts[step] + places.start) * PARTS * width).cast_const();
                let sizes = [later.len(), units.len(), GATES * width];
                // SAFETY: the gradients of `step` are written; these units of these places are this task's.
                unsafe { step_product(sizes, dparts, PARTS * width, panels.of(units.start), target) };
            }
            let Some(before) = before else { return };
            for place in places {
                let row = packing.starts[before] + place;
                let at = row * width + units.start;
                let gate = |k: usize| &gates[(row * GATES + k) * width + units.start..][..units.len()];
                // SAFETY: these units of this row and of this place are this task's; the kernel writes all four parts,
                // and the state's gradient was initialized.
                unsafe {
                    let dpart = |k: usize| dparts_at.slots((row * PARTS + k) * width + units.start, units.len());
                    gradients(
                        gate(0),
                        gate(1),
                        gate(2),
                        &recurrent[at..][..units.len()],
                        &states[at..][..units.len()],
                        &dy[at..][..units.len()],
                        dhidden_at.slice(place * width + units.start, units.len()),
                        dpart(0),
                        dpart(1),
                        dpart(2),
                        dpart(3),
                    );
                }
            }
        });
    }
    // SAFETY: the steps together wrote every row.
    let dparts = unsafe { dparts.written() };
    let x = packing.pack(x, inputs);
    let x = MatrixRef::new(&x, rows, inputs);
    // Columns of `dparts`: r and z together, the recurrent part of n with them, n alone.
    let columns = |first: usize, count: usize| MatrixRef {
        data: dparts.get(first * width..).unwrap_or_default(),
        rows,
        columns: count * width,
        row_stride: PARTS * width,
        column_stride: 1,
    };
    let (gate_weight, new_weight) = weights.weight_ih.split_at(2 * width * inputs);
    let mut dx = product_of(columns(0, 2), MatrixRef::new(gate_weight, 2 * width, inputs), shape.precision);
    product(columns(3, 1), MatrixRef::new(new_weight, width, inputs), &mut dx, true, shape.precision);
    let mut dweight_ih = Output::new(GATES * width * inputs);
    // SAFETY: the two products write all rows: those of r and z, then those of n.
    let dweight_ih = unsafe {
        let pointer = dweight_ih.pointer();
        product_at(columns(0, 2).transposed(), x, pointer.at(0), Beginning::Nothing, shape.precision);
        product_at(columns(3, 1).transposed(), x, pointer.at(2 * width * inputs), Beginning::Nothing, shape.precision);
        dweight_ih.written()
    };
    let mut dbias_hh = column_sums(&dparts, PARTS * width);
    let new = dbias_hh.split_off(GATES * width);
    GruGradients {
        dx: packing.unpack(&dx, inputs),
        dweight_ih,
        dweight_hh: product_of(columns(0, 3).transposed(), MatrixRef::new(&states, rows, width), shape.precision),
        dbias_ih: [&dbias_hh[..2 * width], &new].concat(),
        dbias_hh,
        dinitial_hidden: packing.unsort(&dhidden, width),
    }
}

/// The state before every step, `[rows, width]` in packed order, computed again from the gates.
fn states_before(packing: &Packing, initial_hidden: &[f32], gates: &[f32], width: usize) -> Vec<f32> {
    let mut states = Output::new(packing.rows() * width);
    let states_at = states.pointer();
    (0..packing.order.len()).into_par_iter().for_each(|place| {
        for step in 0..packing.lengths[place] {
            let at = (packing.starts[step] + place) * width;
            // SAFETY: this sequence's rows are this task's, and it writes them in the order of the steps.
            unsafe {
                let state = states_at.slots(at, width);
                match step.checked_sub(1).map(|step| packing.starts[step] + place) {
                    None => _ = state.write_copy_of_slice(&initial_hidden[place * width..][..width]),
                    Some(row) => {
                        let gate = |k: usize| &gates[(row * GATES + k) * width..][..width];
                        next_state(gate(1), gate(2), states_at.read(row * width, width), state);
                    }
                }
            }
        }
    });
    // SAFETY: the tasks wrote every step of every sequence.
    unsafe { states.written() }
}

vectorized! {
    /// Adds the recurrent products to the gates, activates them in place, and writes the recurrent part of n and the
    /// state.
    fn activate<A>(
        r: &mut [f32],
        z: &mut [f32],
        n: &mut [f32],
        product_r: &[f32],
        product_z: &[f32],
        product_n: &[f32],
        bias: &[f32],
        previous: &[f32],
        recurrent: &mut [MaybeUninit<f32>],
        state: &mut [MaybeUninit<f32>],
    ) {
        let gates = r.iter_mut().zip(z).zip(n);
        let products = product_r.iter().zip(product_z).zip(product_n.iter().zip(bias));
        let states = previous.iter().zip(recurrent).zip(state);
        for ((((r, z), n), ((pr, pz), (pn, bias))), ((previous, recurrent), state)) in gates.zip(products).zip(states) {
            *r = sigmoid::<A>(*r + pr);
            *z = sigmoid::<A>(*z + pz);
            let part = pn + bias;
            *n = tanh::<A>(A::mul_add(*r, part, *n));
            recurrent.write(part);
            state.write(A::mul_add(*z, previous - *n, *n));
        }
    }
}

vectorized! {
    /// The state after a step, exactly as in `activate`.
    fn next_state<A>(z: &[f32], n: &[f32], previous: &[f32], state: &mut [MaybeUninit<f32>]) {
        for (((z, n), previous), state) in z.iter().zip(n).zip(previous).zip(state) {
            state.write(A::mul_add(*z, previous - n, *n));
        }
    }
}

vectorized! {
    /// From the gradient of the state after a step to those of its gates, and to what z lets through of it.
    fn gradients<A>(
        r: &[f32],
        z: &[f32],
        n: &[f32],
        recurrent: &[f32],
        previous: &[f32],
        dy: &[f32],
        dhidden: &mut [f32],
        dr: &mut [MaybeUninit<f32>],
        dz: &mut [MaybeUninit<f32>],
        drecurrent: &mut [MaybeUninit<f32>],
        dn: &mut [MaybeUninit<f32>],
    ) {
        let gates = r.iter().zip(z).zip(n);
        let states = recurrent.iter().zip(previous).zip(dy.iter().zip(dhidden));
        let results = dr.iter_mut().zip(dz).zip(drecurrent.iter_mut().zip(dn));
        for ((((r, z), n), ((recurrent, previous), (dy, dhidden))), ((dr, dz), (drecurrent, dn))) in
            gates.zip(states).zip(results)
        {
            let dh = *dhidden + dy;
            let new = dh * (1.0 - z) * A::mul_add(-*n, *n, 1.0);
            dr.write(new * recurrent * (r * (1.0 - r)));
            dz.write(dh * (previous - n) * (z * (1.0 - z)));
            drecurrent.write(new * r);
            dn.write(new);
            *dhidden = dh * z;
        }
    }
}
