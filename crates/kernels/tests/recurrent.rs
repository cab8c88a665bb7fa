//! LSTM, GRU and the plain layer: against the plain steps, their differences, and sequences run one by one.

mod support;

use loam_kernels::matrix::Precision;
use loam_kernels::recurrent::{RecurrentShape, RecurrentWeights, gru, lstm, rnn};
use loam_kernels::reference::{recurrent as reference, widen};
use support::calculus::{check, differences, inner};
use support::{Random, assert_close, assert_deterministic, at_every_level, at_the_widest_level, bits};

/// A layer with its operands and the gradients that arrive on it; only an LSTM reads the cells.
struct Case {
    batch: usize,
    time: usize,
    inputs: usize,
    hidden: usize,
    lengths: Option<Vec<usize>>,
    reverse: bool,
    x: Vec<f32>,
    /// `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`.
    weights: [Vec<f32>; 4],
    /// Initial state and cell.
    initial: [Vec<f32>; 2],
    dy: Vec<f32>,
    /// Gradients of the last state and cell.
    dlast: [Vec<f32>; 2],
}

impl Case {
    fn new(
        random: &mut Random,
        gates: usize,
        [batch, time, inputs, hidden]: [usize; 4],
        lengths: Option<Vec<usize>>,
        reverse: bool,
    ) -> Self {
        let mut small = |count: usize| random.values(count).iter().map(|value| value * 0.5).collect::<Vec<_>>();
        let weights =
            [gates * hidden * inputs, gates * hidden * hidden, gates * hidden, gates * hidden].map(&mut small);
        let mut state = || random.values(batch * hidden);
        let (initial, dlast) = ([state(), state()], [state(), state()]);
        let (x, dy) = (random.values(batch * time * inputs), random.values(batch * time * hidden));
        Self { batch, time, inputs, hidden, lengths, reverse, x, weights, initial, dy, dlast }
    }

    fn shape(&self) -> RecurrentShape<'_> {
        let Self { batch, time, inputs, hidden, reverse, .. } = *self;
        RecurrentShape {
            batch,
            time,
            inputs,
            hidden,
            lengths: self.lengths.as_deref(),
            reverse,
            precision: Precision::F32,
        }
    }

    fn weights(&self) -> RecurrentWeights<'_> {
        let [weight_ih, weight_hh, bias_ih, bias_hh] = &self.weights;
        RecurrentWeights { weight_ih, weight_hh, bias_ih, bias_hh }
    }

    fn lstm(&self) -> lstm::LstmOutput {
        let [hidden, cell] = &self.initial;
        lstm::forward(&self.x, self.weights(), Some(hidden), Some(cell), self.shape())
    }

    fn lstm_backward(&self, output: &lstm::LstmOutput) -> lstm::LstmGradients {
        let ([hidden, cell], [dhidden, dcell]) = (&self.initial, &self.dlast);
        lstm::backward(
            &self.x,
            self.weights(),
            Some(hidden),
            Some(cell),
            &output.gates,
            &output.cells,
            &self.dy,
            Some(dhidden),
            Some(dcell),
            self.shape(),
        )
    }

    fn gru(&self) -> gru::GruOutput {
        gru::forward(&self.x, self.weights(), Some(&self.initial[0]), self.shape())
    }

    fn gru_backward(&self, output: &gru::GruOutput) -> gru::GruGradients {
        gru::backward(
            &self.x,
            self.weights(),
            Some(&self.initial[0]),
            &output.gates,
            &output.recurrent,
            &self.dy,
            Some(&self.dlast[0]),
            self.shape(),
        )
    }

    fn rnn(&self) -> rnn::RnnOutput {
        rnn::forward(&self.x, self.weights(), Some(&self.initial[0]), self.shape())
    }

    fn rnn_backward(&self, output: &rnn::RnnOutput) -> rnn::RnnGradients {
        let (initial, dlast) = (Some(&self.initial[0][..]), Some(&self.dlast[0][..]));
        rnn::backward(&self.x, self.weights(), initial, &output.states, &self.dy, dlast, self.shape())
    }

    fn plain_rnn(&self) -> ((Vec<f64>, Vec<f64>), reference::Gradients) {
        let (x, [weight_ih, weight_hh, bias_ih, bias_hh]) = (widen(&self.x), self.weights.each_ref().map(|w| widen(w)));
        let weights = [&weight_ih[..], &weight_hh, &bias_ih, &bias_hh];
        let (hidden, dhidden) = (widen(&self.initial[0]), widen(&self.dlast[0]));
        let output = reference::rnn(&x, weights, &hidden, self.shape());
        (output, reference::rnn_backward(&x, weights, &hidden, &widen(&self.dy), &dhidden, self.shape()))
    }

    /// The reference layer's output, then its gradients.
    fn plain_lstm(&self) -> ((Vec<f64>, Vec<f64>, Vec<f64>), reference::Gradients) {
        let (x, [weight_ih, weight_hh, bias_ih, bias_hh]) = (widen(&self.x), self.weights.each_ref().map(|w| widen(w)));
        let weights = [&weight_ih[..], &weight_hh, &bias_ih, &bias_hh];
        let ([hidden, cell], [dhidden, dcell]) =
            (self.initial.each_ref().map(|v| widen(v)), self.dlast.each_ref().map(|v| widen(v)));
        let output = reference::lstm(&x, weights, &hidden, &cell, self.shape());
        let dy = widen(&self.dy);
        (output, reference::lstm_backward(&x, weights, &hidden, &cell, &dy, &dhidden, &dcell, self.shape()))
    }

    fn plain_gru(&self) -> ((Vec<f64>, Vec<f64>), reference::Gradients) {
        let (x, [weight_ih, weight_hh, bias_ih, bias_hh]) = (widen(&self.x), self.weights.each_ref().map(|w| widen(w)));
        let weights = [&weight_ih[..], &weight_hh, &bias_ih, &bias_hh];
        let (hidden, dhidden) = (widen(&self.initial[0]), widen(&self.dlast[0]));
        let output = reference::gru(&x, weights, &hidden, self.shape());
        (output, reference::gru_backward(&x, weights, &hidden, &widen(&self.dy), &dhidden, self.shape()))
    }
}

/// Awkward sizes, `[batch, time, inputs, hidden]`, with and without lengths.
fn shapes() -> Vec<([usize; 4], Option<Vec<usize>>)> {
    vec![
        ([1, 1, 1, 1], None),
        ([2, 3, 5, 7], None),
        ([3, 5, 17, 64], Some(vec![2, 5, 3])),
        ([5, 4, 16, 65], Some(vec![0, 4, 1, 4, 2])),
        ([2, 6, 3, 101], Some(vec![6, 6])),
        // More sequences than one task takes, and enough work for several threads.
        ([67, 3, 4, 97], Some((0..67).map(|i| i % 4).collect())),
        ([0, 3, 4, 5], None),
        ([3, 0, 4, 5], None),
        ([3, 2, 0, 5], None),
        ([3, 2, 4, 0], None),
        ([2, 4, 3, 5], Some(vec![0, 0])),
    ]
}

#[test]
fn lstm_against_the_reference() {
    at_every_level(|| {
        let mut random = Random(101);
        for (sizes, lengths) in shapes() {
            for reverse in [false, true] {
                let case = Case::new(&mut random, 4, sizes, lengths.clone(), reverse);
                let output = case.lstm();
                let ((y, last_hidden, last_cell), plain) = case.plain_lstm();
                assert_close("y", &output.y, &y, 1e-5);
                assert_close("last_hidden", &output.last_hidden, &last_hidden, 1e-5);
                assert_close("last_cell", &output.last_cell, &last_cell, 1e-5);
                let gradients = case.lstm_backward(&output);
                assert_close("dx", &gradients.dx, &plain.dx, 1e-5);
                assert_close("dweight_ih", &gradients.dweight_ih, &plain.dweight_ih, 1e-5);
                assert_close("dweight_hh", &gradients.dweight_hh, &plain.dweight_hh, 1e-5);
                assert_close("dbias", &gradients.dbias, &plain.dbias_ih, 1e-5);
                assert_close("dinitial_hidden", &gradients.dinitial_hidden, &plain.dinitial_hidden, 1e-5);
                assert_close("dinitial_cell", &gradients.dinitial_cell, &plain.dinitial_cell, 1e-5);
            }
        }
    });
}

#[test]
fn gru_against_the_reference() {
    at_every_level(|| {
        let mut random = Random(102);
        for (sizes, lengths) in shapes() {
            for reverse in [false, true] {
                let case = Case::new(&mut random, 3, sizes, lengths.clone(), reverse);
                let output = case.gru();
                let ((y, last_hidden), plain) = case.plain_gru();
                assert_close("y", &output.y, &y, 1e-5);
                assert_close("last_hidden", &output.last_hidden, &last_hidden, 1e-5);
                let gradients = case.gru_backward(&output);
                assert_close("dx", &gradients.dx, &plain.dx, 1e-5);
                assert_close("dweight_ih", &gradients.dweight_ih, &plain.dweight_ih, 1e-5);
                assert_close("dweight_hh", &gradients.dweight_hh, &plain.dweight_hh, 1e-5);
                assert_close("dbias_ih", &gradients.dbias_ih, &plain.dbias_ih, 1e-5);
                assert_close("dbias_hh", &gradients.dbias_hh, &plain.dbias_hh, 1e-5);
                assert_close("dinitial_hidden", &gradients.dinitial_hidden, &plain.dinitial_hidden, 1e-5);
            }
        }
    });
}

#[test]
fn rnn_against_the_reference() {
    at_every_level(|| {
        let mut random = Random(111);
        for (sizes, lengths) in shapes() {
            for reverse in [false, true] {
                let mut case = Case::new(&mut random, 1, sizes, lengths.clone(), reverse);
                // Without gates, large recurrent weights make a roundoff grow from step to step.
                case.weights[1].iter_mut().for_each(|weight| *weight *= 0.25);
                let output = case.rnn();
                let ((y, last_hidden), plain) = case.plain_rnn();
                assert_close("y", &output.y, &y, 1e-5);
                assert_close("last_hidden", &output.last_hidden, &last_hidden, 1e-5);
                let gradients = case.rnn_backward(&output);
                assert_close("dx", &gradients.dx, &plain.dx, 1e-5);
                assert_close("dweight_ih", &gradients.dweight_ih, &plain.dweight_ih, 1e-5);
                assert_close("dweight_hh", &gradients.dweight_hh, &plain.dweight_hh, 1e-5);
                assert_close("dbias", &gradients.dbias, &plain.dbias_ih, 1e-5);
                assert_close("dinitial_hidden", &gradients.dinitial_hidden, &plain.dinitial_hidden, 1e-5);
            }
        }
    });
}

#[test]
fn rnn_gradients_are_differences() {
    let mut random = Random(112);
    for reverse in [false, true] {
        let case = Case::new(&mut random, 1, [3, 4, 2, 3], Some(vec![2, 0, 4]), reverse);
        let wide = case.weights.each_ref().map(|w| widen(w));
        let (x, hidden) = (widen(&case.x), widen(&case.initial[0]));
        let loss = |x: &[f64], weights: [&[f64]; 4], hidden: &[f64]| {
            let (y, last_hidden) = reference::rnn(x, weights, hidden, case.shape());
            inner(&y, &case.dy) + inner(&last_hidden, &case.dlast[0])
        };
        let weights = wide.each_ref().map(|w| &w[..]);
        let with = |k: usize, values: &[f64]| {
            let mut weights = weights;
            weights[k] = values;
            loss(&x, weights, &hidden)
        };
        let (_, plain) = case.plain_rnn();
        let fast = case.rnn_backward(&case.rnn());
        check("dx", &differences(&case.x, |x| loss(x, weights, &hidden)), &plain.dx, &fast.dx);
        let expected = differences(&case.initial[0], |hidden| loss(&x, weights, hidden));
        check("dinitial_hidden", &expected, &plain.dinitial_hidden, &fast.dinitial_hidden);
        let expected = differences(&case.weights[0], |weight| with(0, weight));
        check("dweight_ih", &expected, &plain.dweight_ih, &fast.dweight_ih);
        let expected = differences(&case.weights[1], |weight| with(1, weight));
        check("dweight_hh", &expected, &plain.dweight_hh, &fast.dweight_hh);
        check("dbias_ih", &differences(&case.weights[2], |bias| with(2, bias)), &plain.dbias_ih, &fast.dbias);
        check("dbias_hh", &differences(&case.weights[3], |bias| with(3, bias)), &plain.dbias_hh, &fast.dbias);
    }
}

#[test]
fn lstm_gradients_are_differences() {
    let mut random = Random(103);
    for reverse in [false, true] {
        let case = Case::new(&mut random, 4, [3, 4, 2, 3], Some(vec![2, 0, 4]), reverse);
        let wide = case.weights.each_ref().map(|w| widen(w));
        let (x, hidden, cell) = (widen(&case.x), widen(&case.initial[0]), widen(&case.initial[1]));
        let loss = |x: &[f64], weights: [&[f64]; 4], hidden: &[f64], cell: &[f64]| {
            let (y, last_hidden, last_cell) = reference::lstm(x, weights, hidden, cell, case.shape());
            inner(&y, &case.dy) + inner(&last_hidden, &case.dlast[0]) + inner(&last_cell, &case.dlast[1])
        };
        let weights = wide.each_ref().map(|w| &w[..]);
        let with = |k: usize, values: &[f64]| {
            let mut weights = weights;
            weights[k] = values;
            loss(&x, weights, &hidden, &cell)
        };
        let (_, plain) = case.plain_lstm();
        let fast = case.lstm_backward(&case.lstm());
        check("dx", &differences(&case.x, |x| loss(x, weights, &hidden, &cell)), &plain.dx, &fast.dx);
        let expected = differences(&case.initial[0], |hidden| loss(&x, weights, hidden, &cell));
        check("dinitial_hidden", &expected, &plain.dinitial_hidden, &fast.dinitial_hidden);
        let expected = differences(&case.initial[1], |cell| loss(&x, weights, &hidden, cell));
        check("dinitial_cell", &expected, &plain.dinitial_cell, &fast.dinitial_cell);
        let expected = differences(&case.weights[0], |weight| with(0, weight));
        check("dweight_ih", &expected, &plain.dweight_ih, &fast.dweight_ih);
        let expected = differences(&case.weights[1], |weight| with(1, weight));
        check("dweight_hh", &expected, &plain.dweight_hh, &fast.dweight_hh);
        check("dbias_ih", &differences(&case.weights[2], |bias| with(2, bias)), &plain.dbias_ih, &fast.dbias);
        check("dbias_hh", &differences(&case.weights[3], |bias| with(3, bias)), &plain.dbias_hh, &fast.dbias);
    }
}

#[test]
fn gru_gradients_are_differences() {
    let mut random = Random(104);
    for reverse in [false, true] {
        let case = Case::new(&mut random, 3, [3, 4, 2, 3], Some(vec![2, 0, 4]), reverse);
        let wide = case.weights.each_ref().map(|w| widen(w));
        let (x, hidden) = (widen(&case.x), widen(&case.initial[0]));
        let loss = |x: &[f64], weights: [&[f64]; 4], hidden: &[f64]| {
            let (y, last_hidden) = reference::gru(x, weights, hidden, case.shape());
            inner(&y, &case.dy) + inner(&last_hidden, &case.dlast[0])
        };
        let weights = wide.each_ref().map(|w| &w[..]);
        let with = |k: usize, values: &[f64]| {
            let mut weights = weights;
            weights[k] = values;
            loss(&x, weights, &hidden)
        };
        let (_, plain) = case.plain_gru();
        let fast = case.gru_backward(&case.gru());
        check("dx", &differences(&case.x, |x| loss(x, weights, &hidden)), &plain.dx, &fast.dx);
        let expected = differences(&case.initial[0], |hidden| loss(&x, weights, hidden));
        check("dinitial_hidden", &expected, &plain.dinitial_hidden, &fast.dinitial_hidden);
        let expected = differences(&case.weights[0], |weight| with(0, weight));
        check("dweight_ih", &expected, &plain.dweight_ih, &fast.dweight_ih);
        let expected = differences(&case.weights[1], |weight| with(1, weight));
        check("dweight_hh", &expected, &plain.dweight_hh, &fast.dweight_hh);
        check("dbias_ih", &differences(&case.weights[2], |bias| with(2, bias)), &plain.dbias_ih, &fast.dbias_ih);
        check("dbias_hh", &differences(&case.weights[3], |bias| with(3, bias)), &plain.dbias_hh, &fast.dbias_hh);
    }
}

/// One sequence of a case as a case of its own, without its padding.
fn alone(case: &Case, sequence: usize) -> Case {
    let Case { time, inputs, hidden, reverse, .. } = *case;
    let length = case.shape().lengths.map_or(time, |lengths| lengths[sequence]);
    let rows = |values: &[f32], width: usize| values[sequence * time * width..][..length * width].to_vec();
    let state = |values: &[f32]| values[sequence * hidden..][..hidden].to_vec();
    Case {
        batch: 1,
        time: length,
        inputs,
        hidden,
        lengths: None,
        reverse,
        x: rows(&case.x, inputs),
        weights: case.weights.clone(),
        initial: case.initial.each_ref().map(|values| state(values)),
        dy: rows(&case.dy, hidden),
        dlast: case.dlast.each_ref().map(|values| state(values)),
    }
}

/// Asserts that the rows of `all` that count are those of `one`, and that padding is zero.
#[track_caller]
fn assert_sequence(what: &str, all: &[f32], one: &[f32], sequence: usize, rows: usize) {
    let all = &all[sequence * rows..][..rows];
    assert_close(what, &all[..one.len()], &widen(one), 1e-5);
    assert!(all[one.len()..].iter().all(|value| value.to_bits() == 0), "{what}: padding of sequence {sequence}");
}

#[test]
fn lengths_are_separate_sequences_and_padding_is_not_read() {
    at_every_level(|| {
        let mut random = Random(105);
        for reverse in [false, true] {
            let lengths = vec![3, 0, 7, 5, 7, 1];
            let mut case = Case::new(&mut random, 4, [6, 7, 9, 53], Some(lengths.clone()), reverse);
            for (sequence, length) in lengths.iter().enumerate() {
                case.x[(sequence * 7 + length) * 9..(sequence + 1) * 7 * 9].fill(f32::NAN);
                case.dy[(sequence * 7 + length) * 53..(sequence + 1) * 7 * 53].fill(f32::NAN);
            }
            let output = case.lstm();
            let gradients = case.lstm_backward(&output);
            let mut dweight_hh = vec![0.0; gradients.dweight_hh.len()];
            for sequence in 0..6 {
                let one = alone(&case, sequence);
                let alone = one.lstm();
                assert_sequence("y", &output.y, &alone.y, sequence, 7 * 53);
                assert_sequence("last_hidden", &output.last_hidden, &alone.last_hidden, sequence, 53);
                assert_sequence("last_cell", &output.last_cell, &alone.last_cell, sequence, 53);
                let alone = one.lstm_backward(&alone);
                assert_sequence("dx", &gradients.dx, &alone.dx, sequence, 7 * 9);
                assert_sequence("dinitial_hidden", &gradients.dinitial_hidden, &alone.dinitial_hidden, sequence, 53);
                assert_sequence("dinitial_cell", &gradients.dinitial_cell, &alone.dinitial_cell, sequence, 53);
                dweight_hh.iter_mut().zip(&alone.dweight_hh).for_each(|(sum, one)| *sum += f64::from(*one));
            }
            assert_close("dweight_hh", &gradients.dweight_hh, &dweight_hh, 1e-5);

            // The same operands serve the plain layer, whose weights are the first quarter.
            let quarter = |values: &Vec<f32>| values[..values.len() / 4].to_vec();
            let plain = Case {
                weights: case.weights.each_ref().map(quarter),
                lengths: case.lengths.clone(),
                x: case.x.clone(),
                initial: case.initial.clone(),
                dy: case.dy.clone(),
                dlast: case.dlast.clone(),
                ..case
            };
            let output = plain.rnn();
            let gradients = plain.rnn_backward(&output);
            for sequence in 0..6 {
                let one = alone(&plain, sequence);
                let alone = one.rnn();
                assert_sequence("y", &output.y, &alone.y, sequence, 7 * 53);
                assert_sequence("last_hidden", &output.last_hidden, &alone.last_hidden, sequence, 53);
                let alone = one.rnn_backward(&alone);
                assert_sequence("dx", &gradients.dx, &alone.dx, sequence, 7 * 9);
                assert_sequence("dinitial_hidden", &gradients.dinitial_hidden, &alone.dinitial_hidden, sequence, 53);
            }

            // They also serve a GRU, whose weights are the first three quarters.
            let three_quarters = |values: &Vec<f32>| values[..values.len() / 4 * 3].to_vec();
            let case = Case { weights: case.weights.each_ref().map(three_quarters), ..case };
            let output = case.gru();
            let gradients = case.gru_backward(&output);
            for sequence in 0..6 {
                let one = alone(&case, sequence);
                let alone = one.gru();
                assert_sequence("y", &output.y, &alone.y, sequence, 7 * 53);
                assert_sequence("last_hidden", &output.last_hidden, &alone.last_hidden, sequence, 53);
                let alone = one.gru_backward(&alone);
                assert_sequence("dx", &gradients.dx, &alone.dx, sequence, 7 * 9);
                assert_sequence("dinitial_hidden", &gradients.dinitial_hidden, &alone.dinitial_hidden, sequence, 53);
            }
        }
    });
}

#[test]
fn a_sequence_in_two_parts_is_the_whole() {
    let mut random = Random(106);
    let whole = Case::new(&mut random, 4, [2, 9, 3, 20], None, false);
    let output = whole.lstm();
    let part = |steps: std::ops::Range<usize>, initial: [Vec<f32>; 2]| {
        let rows = |sequence: usize| whole.x[(sequence * 9 + steps.start) * 3..(sequence * 9 + steps.end) * 3].to_vec();
        let x = [rows(0), rows(1)].concat();
        let shape = RecurrentShape { time: steps.len(), ..whole.shape() };
        lstm::forward(&x, whole.weights(), Some(&initial[0]), Some(&initial[1]), shape)
    };
    let first = part(0..4, whole.initial.clone());
    let second = part(4..9, [first.last_hidden, first.last_cell]);
    assert_close("last_hidden", &second.last_hidden, &widen(&output.last_hidden), 1e-6);
    assert_close("last_cell", &second.last_cell, &widen(&output.last_cell), 1e-6);
}

#[test]
fn states_and_gradients_left_out_are_zero() {
    at_the_widest_level(|| {
        let mut random = Random(107);
        let mut case = Case::new(&mut random, 4, [3, 4, 5, 6], None, false);
        for values in case.initial.iter_mut().chain(&mut case.dlast) {
            values.fill(0.0);
        }
        let (x, weights, shape) = (&case.x, case.weights(), case.shape());
        let (output, given) = (lstm::forward(x, weights, None, None, shape), case.lstm());
        assert_eq!(output, given);
        let gradients =
            lstm::backward(x, weights, None, None, &output.gates, &output.cells, &case.dy, None, None, shape);
        assert_eq!(gradients, case.lstm_backward(&given));
        let case = Case { weights: case.weights.each_ref().map(|w| w[..w.len() / 4 * 3].to_vec()), ..case };
        let (x, weights, shape) = (&case.x, case.weights(), case.shape());
        let (output, given) = (gru::forward(x, weights, None, shape), case.gru());
        assert_eq!(output, given);
        let gradients = gru::backward(x, weights, None, &output.gates, &output.recurrent, &case.dy, None, shape);
        assert_eq!(gradients, case.gru_backward(&given));
    });
}

#[test]
fn same_bits() {
    let mut random = Random(108);
    let lengths = (0..70).map(|i| i % 8).collect();
    let long = Case::new(&mut random, 4, [70, 7, 31, 130], Some(lengths), true);
    let short = Case::new(&mut random, 3, [70, 7, 31, 130], None, false);
    let plain = Case::new(&mut random, 1, [70, 7, 31, 130], None, true);
    assert_deterministic(|| {
        let (output, other) = (long.lstm(), short.gru());
        let (gradients, others) = (long.lstm_backward(&output), short.gru_backward(&other));
        let mut results = vec![output.y, output.last_hidden, output.last_cell, other.y, other.last_hidden];
        results.extend([gradients.dx, gradients.dweight_ih, gradients.dweight_hh, gradients.dbias]);
        results.extend([gradients.dinitial_hidden, gradients.dinitial_cell]);
        results.extend([others.dx, others.dweight_ih, others.dweight_hh, others.dbias_ih, others.dbias_hh]);
        results.push(others.dinitial_hidden);
        let output = plain.rnn();
        let gradients = plain.rnn_backward(&output);
        results.extend([output.y, gradients.dx, gradients.dweight_ih, gradients.dweight_hh, gradients.dbias]);
        results
    });
}

#[test]
fn outputs_do_not_depend_on_the_rest_of_the_batch_order() {
    // Sequences of equal length keep their order; bits of a permuted batch are the permuted bits.
    let mut random = Random(109);
    let case = Case::new(&mut random, 4, [4, 5, 6, 50], Some(vec![5, 3, 5, 2]), false);
    let order = [3, 0, 2, 1];
    let permuted = |values: &[f32]| -> Vec<f32> {
        let width = values.len() / 4;
        order.iter().flat_map(|sequence| values[sequence * width..][..width].to_vec()).collect()
    };
    let shuffled = Case {
        lengths: Some(vec![2, 5, 5, 3]),
        x: permuted(&case.x),
        initial: case.initial.each_ref().map(|values| permuted(values)),
        dy: permuted(&case.dy),
        dlast: case.dlast.each_ref().map(|values| permuted(values)),
        weights: case.weights.clone(),
        ..case
    };
    at_the_widest_level(|| {
        let (output, other) = (case.lstm(), shuffled.lstm());
        assert_eq!(bits(&permuted(&output.y)), bits(&other.y));
        assert_eq!(bits(&permuted(&case.lstm_backward(&output).dx)), bits(&shuffled.lstm_backward(&other).dx));
    });
}

#[test]
#[should_panic(expected = "a length beyond 2 steps")]
fn a_length_beyond_the_steps_is_refused() {
    let case = Case::new(&mut Random(110), 4, [1, 2, 1, 1], Some(vec![3]), false);
    let _ = case.lstm();
}
