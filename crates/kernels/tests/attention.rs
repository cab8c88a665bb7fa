//! Attention under every mask, layout and grouping of heads: against the reference, and what must be equal to what.

mod support;

use loam_kernels::attention::{
    self, Attention, AttentionGradients, AttentionShape, Mask, Sequences, attend, attend_backward,
    attend_backward_packed, probability_mask,
};
use loam_kernels::dropout::Dropout;
use loam_kernels::heads::{HeadLayout, HeadView};
use loam_kernels::matrix::Precision;
use loam_kernels::reference::{PlainAttention, widen};
use std::ops::Range;
use support::calculus::{differences, inner};
use support::{Random, assert_close, at_every_level, at_the_widest_level, bits};

/// One setting, with values of its own.
#[derive(Clone, Debug, Default)]
struct Case {
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    key_value_heads: usize,
    head_width: usize,
    before: Option<usize>,
    after: Option<usize>,
    key_ranges: Option<Vec<Range<usize>>>,
    /// Starts of packed queries and of packed keys.
    starts: Option<(Vec<usize>, Vec<usize>)>,
    scale: Option<f32>,
    soft_cap: Option<f32>,
    /// `[heads, queries + keys - 1]`.
    bias: Option<Vec<f32>>,
    dropout: Option<Dropout>,
}

impl Case {
    /// Self-attention without a mask.
    fn new(batch: usize, time: usize, heads: usize, key_value_heads: usize, head_width: usize) -> Self {
        Self { batch, queries: time, keys: time, heads, key_value_heads, head_width, ..Self::default() }
    }

    fn attention(&self) -> Attention<'_> {
        let sequences = self.starts.as_ref();
        let sequences = sequences.map(|(queries, keys)| Sequences { query_starts: queries, key_starts: keys });
        let key_ranges = self.key_ranges.as_deref();
        let mask = Mask { before: self.before, after: self.after, key_ranges, sequences };
        let (scale, soft_cap, bias, dropout) = (self.scale, self.soft_cap, self.bias.as_deref(), self.dropout);
        Attention { mask, scale, soft_cap, bias, dropout, precision: Precision::F32 }
    }

    /// With a bias for its sizes.
    fn biased(self, random: &mut Random) -> Self {
        let distances = (self.queries + self.keys).saturating_sub(1);
        Self { bias: Some(random.values(self.heads * distances)), ..self }
    }

    fn layouts(&self) -> [HeadLayout; 3] {
        let keys = HeadLayout::tokens_first(self.batch, self.keys, self.key_value_heads, self.head_width);
        [HeadLayout::tokens_first(self.batch, self.queries, self.heads, self.head_width), keys, keys]
    }

    /// Queries, keys and values, tokens first.
    fn inputs(&self, random: &mut Random) -> [Vec<f32>; 3] {
        self.layouts().map(|layout| random.values(layout.count()))
    }

    /// The mask's definition, pair by pair.
    fn visible(&self, row: usize, query: usize, key: usize) -> bool {
        let is_padding = self.key_ranges.as_ref().is_some_and(|ranges| !ranges[row].contains(&key));
        let (mut query_end, mut key_end) = ((row + 1) * self.queries, (row + 1) * self.keys);
        let (query, key) = (row * self.queries + query, row * self.keys + key);
        if let Some((queries, keys)) = &self.starts {
            let sequence = |starts: &[usize], token| starts.iter().rposition(|start| *start <= token).expect("a start");
            let i = sequence(queries, query);
            if i != sequence(keys, key) {
                return false;
            }
            (query_end, key_end) = (queries[i + 1], keys[i + 1]);
        }
        let distance = (key as i128 - key_end as i128) - (query as i128 - query_end as i128);
        let seen = self.before.is_none_or(|before| -distance <= before as i128)
            && self.after.is_none_or(|after| distance <= after as i128);
        seen && !is_padding
    }

    /// Runs `action` with the reference of this case.
    fn with_plain<T>(&self, action: impl FnOnce(&PlainAttention) -> T) -> T {
        let Self { batch, queries, keys, heads, key_value_heads, head_width, .. } = *self;
        let bias = self.bias.as_deref().map(widen);
        let dropped = self.dropout.map(|dropout| widen(&probability_mask(batch, heads, queries, keys, dropout)));
        action(&PlainAttention {
            batch,
            queries,
            keys,
            heads,
            key_value_heads,
            head_width,
            scale: self.scale.map_or(1.0 / (head_width as f64).sqrt(), f64::from),
            soft_cap: self.soft_cap.map(f64::from),
            bias: bias.as_deref(),
            visible: &|row, query, key| self.visible(row, query, key),
            dropped: dropped.as_deref(),
        })
    }

    /// Output, log-sum-exp and gradients for inputs that lie tokens first.
    fn run(&self, inputs: &[Vec<f32>; 3], dout: &[f32]) -> (Vec<f32>, Vec<f32>, AttentionGradients) {
        let layouts = self.layouts();
        let [q, k, v] = std::array::from_fn(|i| HeadView::new(&inputs[i], layouts[i]));
        let (out, log_sum_exp) = attend(q, k, v, &self.attention());
        let gradients = attend_backward(q, k, v, &out, &log_sum_exp, dout, &self.attention());
        (out, log_sum_exp, gradients)
    }

    /// Forward and backward against the reference, with the inputs in four layouts.
    fn check(&self, random: &mut Random) {
        println!("{self:?}");
        let inputs = self.inputs(random);
        let dout = random.values(inputs[0].len());
        let [q, k, v] = inputs.each_ref().map(|input| widen(input));
        let (plain_out, plain_sums) = self.with_plain(|plain| plain.forward(&q, &k, &v));
        let plain_gradients = self.with_plain(|plain| plain.backward(&q, &k, &v, &widen(&dout)));
        at_every_level(|| {
            let (out, log_sum_exp, gradients) = self.run(&inputs, &dout);
            assert_close("out", &out, &plain_out, 1e-5);
            assert_sums(&log_sum_exp, &plain_sums);
            let gradients = all(gradients);
            for (name, (fast, plain)) in ["dq", "dk", "dv", "dbias"].iter().zip(gradients.iter().zip(&plain_gradients))
            {
                assert_close(name, fast, plain, 2e-5);
            }
        });
        // Elsewhere in memory: heads first, and in a cache with room before, between and after.
        let heads_first =
            |HeadLayout { batch, time, heads, head_width, .. }| HeadLayout::heads_first(batch, time, heads, head_width);
        let roomy = |HeadLayout { batch, time, heads, head_width, .. }| {
            let roomy = HeadLayout::tokens_first(batch, time + 3, heads + 1, head_width + 2);
            HeadLayout { time, heads, head_width, start: 5, ..roomy }
        };
        for layouts in [self.layouts().map(heads_first), self.layouts().map(roomy)] {
            let data: [Vec<f32>; 3] = std::array::from_fn(|i| place(&inputs[i], layouts[i]));
            let [q, k, v] = std::array::from_fn(|i| HeadView::new(&data[i], layouts[i]));
            let (out, log_sum_exp) = attend(q, k, v, &self.attention());
            assert_close("moved out", &out, &plain_out, 1e-5);
            let gradients = attend_backward(q, k, v, &out, &log_sum_exp, &dout, &self.attention());
            let gradients = all(gradients);
            for (fast, plain) in gradients.iter().zip(&plain_gradients) {
                assert_close("moved gradients", fast, plain, 2e-5);
            }
        }
        if self.queries == self.keys && self.bias.is_none() {
            self.check_packed(&inputs, &dout, &plain_out, &plain_gradients);
        }
    }

    fn check_packed(&self, inputs: &[Vec<f32>; 3], dout: &[f32], plain_out: &[f64], plain: &[Vec<f64>]) {
        let Self { batch, queries: time, heads, key_value_heads, head_width, .. } = *self;
        let layouts = HeadLayout::packed(batch, time, heads, key_value_heads, head_width);
        let mut qkv = vec![f32::NAN; layouts.map(HeadLayout::count).iter().sum()];
        for (input, layout) in inputs.iter().zip(layouts) {
            place_in(&mut qkv, input, layout);
        }
        let [q, k, v] = layouts.map(|layout| HeadView::new(&qkv, layout));
        let (out, log_sum_exp) = attend(q, k, v, &self.attention());
        assert_close("packed out", &out, plain_out, 1e-5);
        let dqkv = attend_backward_packed(q, k, v, &out, &log_sum_exp, dout, &self.attention());
        for (layout, plain) in layouts.into_iter().zip(plain) {
            assert_close("packed gradients", &taken(&dqkv, layout), plain, 2e-5);
        }
    }
}

/// Those of queries, keys, values and bias.
fn all(gradients: AttentionGradients) -> [Vec<f32>; 4] {
    [gradients.dq, gradients.dk, gradients.dv, gradients.dbias.unwrap_or_default()]
}

/// Every element of a layout, in the order of tokens-first.
fn elements(layout: HeadLayout) -> impl Iterator<Item = usize> {
    let HeadLayout { batch, time, heads, head_width, .. } = layout;
    (0..batch * time * heads * head_width).map(move |i| {
        let (c, head) = (i % head_width, i / head_width);
        layout.offset(head / heads / time, head / heads % time, head % heads) + c
    })
}

/// Values that lie tokens first, laid out as `layout` says in `data`.
fn place_in(data: &mut [f32], values: &[f32], layout: HeadLayout) {
    elements(layout).zip(values).for_each(|(at, value)| data[at] = *value);
}

/// [`place_in`] among numbers that nobody may touch.
fn place(values: &[f32], layout: HeadLayout) -> Vec<f32> {
    let mut data = vec![f32::NAN; elements(layout).max().map_or(0, |last| last + 1)];
    place_in(&mut data, values, layout);
    data
}

fn taken(data: &[f32], layout: HeadLayout) -> Vec<f32> {
    elements(layout).map(|at| data[at]).collect()
}

/// [`assert_close`] for logarithms that may be -∞, in the same places.
#[track_caller]
fn assert_sums(fast: &[f32], plain: &[f64]) {
    let finite = |value: f64| if value == f64::NEG_INFINITY { 1e4 } else { value };
    let fast: Vec<f32> = fast.iter().map(|value| finite(f64::from(*value)) as f32).collect();
    let plain: Vec<f64> = plain.iter().copied().map(finite).collect();
    for (fast, plain) in fast.chunks(1).zip(plain.chunks(1)) {
        assert_close("log_sum_exp", fast, plain, 1e-4);
    }
}

/// A setting of awkward sizes; of the masks each is there in about half of the cases.
fn random_case(random: &mut Random) -> Case {
    let pick = |random: &mut Random, from: &[usize]| from[random.below(from.len())];
    let maybe = |random: &mut Random, from: &[usize]| {
        let value = pick(random, from);
        (random.below(2) == 0).then_some(value)
    };
    let (key_value_heads, group) = (pick(random, &[1, 1, 2, 3]), pick(random, &[1, 2, 3, 5]));
    let queries = pick(random, &[0, 1, 2, 7, 63, 64, 65, 100]);
    let mut case = Case {
        batch: pick(random, &[1, 2, 3]),
        queries,
        keys: if random.below(2) == 0 { queries } else { pick(random, &[0, 1, 5, 64, 97, 131]) },
        heads: key_value_heads * group,
        key_value_heads,
        head_width: pick(random, &[1, 2, 7, 8, 13, 16, 17]),
        before: maybe(random, &[0, 1, 9, 50, usize::MAX]),
        after: maybe(random, &[0, 0, 0, 3, usize::MAX]),
        scale: (random.below(3) == 0).then_some(0.3),
        soft_cap: (random.below(3) == 0).then_some(1.5),
        dropout: (random.below(3) == 0).then_some(Dropout { probability: 0.3, seed: random.bits() }),
        ..Case::default()
    };
    if random.below(2) == 0 {
        let range = |random: &mut Random| {
            let (a, b) = (random.below(case.keys + 1), random.below(case.keys + 1));
            a.min(b)..a.max(b)
        };
        case.key_ranges = Some((0..case.batch).map(|_| range(random)).collect());
    }
    if random.below(2) == 0 {
        let count = 1 + random.below(4);
        let cuts = |random: &mut Random, time: usize| {
            let mut starts = vec![0];
            for row in 0..case.batch {
                let mut inner: Vec<usize> = (1..count).map(|_| row * time + random.below(time + 1)).collect();
                inner.sort_unstable();
                starts.extend(inner);
                starts.push((row + 1) * time);
            }
            starts
        };
        let queries = cuts(random, case.queries);
        let keys = if case.keys == case.queries { queries.clone() } else { cuts(random, case.keys) };
        case.starts = Some((queries, keys));
    }
    if random.below(3) == 0 { case.biased(random) } else { case }
}

#[test]
fn random_settings_against_the_reference() {
    let mut random = Random(71);
    for _ in 0..150 {
        random_case(&mut random).check(&mut random);
    }
}

#[test]
fn beyond_one_tile_of_keys() {
    let mut random = Random(72);
    let long = Case { after: Some(0), ..Case::new(1, 1100, 2, 1, 3) };
    let cases = [
        Case { before: Some(99), ..long.clone() },
        Case { before: Some(700), ..long.clone() },
        Case { after: Some(40), before: Some(40), ..long.clone() },
        Case { after: None, ..long.clone() },
        // The keys of the first tile are padding, for some queries all of them.
        Case { batch: 2, key_ranges: Some(vec![700..1050, 0..9]), ..long.clone() },
        // Sequences that end inside of tiles of queries and of keys.
        Case { starts: Some((vec![0, 90, 700, 730, 1100], vec![0, 90, 700, 730, 1100])), ..long.clone() },
        Case { after: None, starts: Some((vec![0, 20, 1100], vec![0, 600, 1100])), ..long.clone() },
        Case { queries: 70, ..long.clone() },
        Case { queries: 1, soft_cap: Some(2.0), ..long.clone() },
        Case { keys: 600, dropout: Some(Dropout { probability: 0.2, seed: 3 }), ..long.clone() },
        // As many heads of keys and values as make each a task of its own.
        Case { after: Some(0), ..Case::new(17, 70, 4, 2, 5) },
        Case { after: None, ..long.clone() }.biased(&mut random),
        Case { queries: 70, soft_cap: Some(2.0), ..long.clone() }.biased(&mut random),
        Case { queries: 1, ..long.clone() }.biased(&mut random),
        Case { after: Some(0), ..Case::new(17, 70, 4, 2, 5) }.biased(&mut random),
    ];
    for case in cases {
        case.check(&mut random);
    }
}

#[test]
fn gradients_are_central_differences() {
    let mut random = Random(73);
    let case = Case {
        queries: 5,
        before: Some(3),
        after: Some(1),
        key_ranges: Some(vec![0..7, 2..5]),
        starts: Some((vec![0, 3, 5, 10], vec![0, 4, 7, 14])),
        soft_cap: Some(1.2),
        dropout: Some(Dropout { probability: 0.2, seed: 8 }),
        ..Case::new(2, 7, 4, 2, 3)
    }
    .biased(&mut random);
    let inputs = case.inputs(&mut random);
    let dout = random.values(inputs[0].len());
    let [q, k, v] = inputs.each_ref().map(|input| widen(input));
    let gradients = all(case.run(&inputs, &dout).2);
    case.with_plain(|plain| {
        let dq = differences(&inputs[0], |q| inner(&plain.forward(q, &k, &v).0, &dout));
        let dk = differences(&inputs[1], |k| inner(&plain.forward(&q, k, &v).0, &dout));
        let dv = differences(&inputs[2], |v| inner(&plain.forward(&q, &k, v).0, &dout));
        let dbias = differences(case.bias.as_ref().expect("a bias"), |bias| {
            inner(&PlainAttention { bias: Some(bias), ..*plain }.forward(&q, &k, &v).0, &dout)
        });
        let plain = plain.backward(&q, &k, &v, &widen(&dout));
        let expected = [dq, dk, dv, dbias];
        for ((expected, plain), fast) in expected.iter().zip(plain).zip(&gradients) {
            let narrow: Vec<f32> = plain.iter().map(|value| *value as f32).collect();
            assert_close("reference", &narrow, expected, 1e-7);
            assert_close("kernel", fast, expected, 1e-5);
        }
    });
}

#[test]
fn the_same_bits_twice_and_on_any_number_of_threads() {
    let everything = || {
        let mut random = Random(74);
        let causal = Case { after: Some(0), ..Case::new(2, 150, 6, 2, 16) };
        let cases = [
            causal.clone(),
            Case { before: Some(30), soft_cap: Some(5.0), ..causal.clone() },
            Case { dropout: Some(Dropout { probability: 0.1, seed: 1 }), key_value_heads: 1, ..causal.clone() },
            Case { batch: 17, ..causal.clone() },
            Case { queries: 1, keys: 700, ..causal.clone() },
            causal.clone().biased(&mut random),
            Case { batch: 17, after: None, ..causal.clone() }.biased(&mut random),
            Case { queries: 1, keys: 700, ..causal }.biased(&mut random),
        ];
        let run = |case: &Case| {
            let inputs = case.inputs(&mut random);
            let dout = random.values(inputs[0].len());
            let (out, log_sum_exp, gradients) = case.run(&inputs, &dout);
            let [dq, dk, dv, dbias] = all(gradients);
            [out, log_sum_exp, dq, dk, dv, dbias].map(|values| bits(&values))
        };
        cases.iter().map(run).collect::<Vec<_>>()
    };
    at_the_widest_level(|| {
        let first = everything();
        assert!(first == everything(), "twice");
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
            assert!(first == pool.install(everything), "{threads} threads");
        }
    });
}

#[test]
fn queries_without_keys_give_and_get_exact_zeros() {
    let mut random = Random(75);
    // More queries than keys: the first ones stand before every key. The second row is all padding.
    let case = Case { keys: 40, after: Some(0), key_ranges: Some(vec![0..40, 7..7]), ..Case::new(2, 100, 2, 1, 5) };
    let inputs = case.inputs(&mut random);
    let dout = random.values(inputs[0].len());
    let (out, log_sum_exp, gradients) = case.run(&inputs, &dout);
    let width = 2 * 5;
    for values in [&out, &gradients.dq] {
        assert!(values[..60 * width].iter().all(|value| *value == 0.0), "before the first key");
        assert!(values[60 * width..100 * width].iter().all(|value| value.is_finite()));
        assert!(values[100 * width..].iter().all(|value| *value == 0.0), "nothing but padding");
    }
    assert!(out[60 * width..100 * width].iter().all(|value| *value != 0.0));
    assert!(log_sum_exp[..60].iter().all(|value| *value == f32::NEG_INFINITY));
    for values in [&gradients.dk, &gradients.dv] {
        assert!(values[..40 * 5].iter().all(|value| value.is_finite()));
        assert!(values[40 * 5..].iter().all(|value| *value == 0.0));
    }
}

#[test]
fn padding_is_never_read() {
    at_the_widest_level(|| {
        let mut random = Random(76);
        let case = Case { key_ranges: Some(vec![0..70, 30..100]), ..Case::new(2, 100, 2, 2, 8) };
        let [q, mut k, mut v] = case.inputs(&mut random);
        let dout = random.values(q.len());
        let clean = case.run(&[q.clone(), k.clone(), v.clone()], &dout);
        for values in [&mut k, &mut v] {
            values[70 * 16..130 * 16].fill(f32::NAN);
        }
        let dirty = case.run(&[q, k, v], &dout);
        assert_eq!(bits(&dirty.0), bits(&clean.0));
        assert!(dirty.2 == clean.2);
    });
}

#[test]
fn packed_sequences_equal_the_sequences_run_separately() {
    let mut random = Random(77);
    let starts = vec![0, 1, 40, 173, 300, 600];
    for after in [Some(0), None] {
        let case = Case { after, starts: Some((starts.clone(), starts.clone())), ..Case::new(2, 300, 4, 2, 8) };
        let inputs = case.inputs(&mut random);
        let dout = random.values(inputs[0].len());
        let (out, _, gradients) = case.run(&inputs, &dout);
        for ends in starts.windows(2) {
            let alone = Case { after, ..Case::new(1, ends[1] - ends[0], 4, 2, 8) };
            let (wide, narrow) = (ends[0] * 32..ends[1] * 32, ends[0] * 16..ends[1] * 16);
            let cut = |values: &[f32], range: &Range<usize>| values[range.clone()].to_vec();
            let inputs = [cut(&inputs[0], &wide), cut(&inputs[1], &narrow), cut(&inputs[2], &narrow)];
            let (expected, _, expected_gradients) = alone.run(&inputs, &dout[wide.clone()]);
            assert_close("out", &out[wide.clone()], &widen(&expected), 1e-6);
            assert_close("dq", &gradients.dq[wide], &widen(&expected_gradients.dq), 1e-5);
            assert_close("dk", &gradients.dk[narrow.clone()], &widen(&expected_gradients.dk), 1e-5);
            assert_close("dv", &gradients.dv[narrow], &widen(&expected_gradients.dv), 1e-5);
        }
    }
}

#[test]
fn grouped_heads_equal_repeated_keys_and_values() {
    let mut random = Random(78);
    let width = 16;
    // Both ways of summing a group: side by side, and one head after the other.
    for batch in [2, 17] {
        let grouped = Case { after: Some(0), ..Case::new(batch, 90, 6, 2, width) };
        let repeated = Case { key_value_heads: 6, ..grouped.clone() };
        let [q, k, v] = grouped.inputs(&mut random);
        let dout = random.values(q.len());
        let repeat =
            |values: &[f32]| -> Vec<f32> { values.chunks_exact(width).flat_map(|head| head.repeat(3)).collect() };
        let expected = repeated.run(&[q.clone(), repeat(&k), repeat(&v)], &dout);
        let fast = grouped.run(&[q, k, v], &dout);
        assert_close("out", &fast.0, &widen(&expected.0), 1e-6);
        assert_close("dq", &fast.2.dq, &widen(&expected.2.dq), 1e-6);
        let summed = |values: &[f32]| -> Vec<f64> {
            let sum = |group: &[f32]| -> Vec<f64> {
                (0..width).map(|c| (0..3).map(|head| f64::from(group[head * width + c])).sum()).collect()
            };
            values.chunks_exact(3 * width).flat_map(sum).collect()
        };
        assert_close("dk", &fast.2.dk, &summed(&expected.2.dk), 1e-5);
        assert_close("dv", &fast.2.dv, &summed(&expected.2.dv), 1e-5);
    }
}

#[test]
fn a_window_as_long_as_time_is_causal() {
    at_the_widest_level(|| {
        let mut random = Random(79);
        let causal = Case { after: Some(0), ..Case::new(2, 130, 2, 2, 8) };
        let window = Case { before: Some(129), ..causal.clone() };
        let inputs = causal.inputs(&mut random);
        let dout = random.values(inputs[0].len());
        let (expected, sums, gradients) = causal.run(&inputs, &dout);
        let result = window.run(&inputs, &dout);
        assert_eq!(bits(&result.0), bits(&expected));
        assert_eq!(bits(&result.1), bits(&sums));
        assert!(result.2 == gradients);
        assert_eq!(Mask::sliding(130), Mask { before: Some(129), after: Some(0), ..Mask::default() });
        assert_eq!(Mask::around(3), Mask { before: Some(3), after: Some(3), ..Mask::default() });
    });
}

#[test]
fn decoding_with_a_cache_gives_the_rows_of_a_full_pass() {
    let mut random = Random(80);
    let (batch, time, heads, key_value_heads, width) = (2, 90, 6, 2, 16);
    for (before, biased) in [(None, false), (Some(20), false), (None, true)] {
        let full = Case { before, after: Some(0), ..Case::new(batch, time, heads, key_value_heads, width) };
        let full = if biased { full.biased(&mut random) } else { full };
        let [q, k, v] = full.inputs(&mut random);
        let (expected, ..) = full.run(&[q.clone(), k.clone(), v.clone()], &vec![0.0; q.len()]);
        let room = HeadLayout::tokens_first(batch, time, key_value_heads, width);
        // A prompt, a few tokens at once, one by one.
        for (first, end) in [(0, 70), (70, 73), (73, 74), (74, 75), (89, 90)] {
            let part = HeadLayout {
                time: end - first,
                start: first * heads * width,
                ..HeadLayout::tokens_first(batch, time, heads, width)
            };
            let cache = HeadLayout { time: end, ..room };
            let [k, v] = [HeadView::new(&k, cache), HeadView::new(&v, cache)];
            // Of the distances, those from the last query on to the last key, and from the first to the first.
            let bias: Option<Vec<f32>> = full.bias.as_ref().map(|bias| {
                let part = |head: &[f32]| head[time - end..][..2 * end - first - 1].to_vec();
                bias.chunks_exact(2 * time - 1).flat_map(part).collect()
            });
            let attention = Attention { bias: bias.as_deref(), ..full.attention() };
            let (out, _) = attend(HeadView::new(&q, part), k, v, &attention);
            assert_close("out", &out, &widen(&taken(&expected, part)), 1e-6);
        }
    }
}

#[test]
fn the_packed_causal_form_is_the_general_one() {
    at_the_widest_level(|| {
        let mut random = Random(81);
        let shape = AttentionShape { batch: 2, time: 70, heads: 3, head_width: 8 };
        let qkv = random.values(2 * 70 * 3 * 24);
        let (out, log_sum_exp) = attention::forward(&qkv, shape, None, Precision::F32);
        let views = HeadLayout::packed(2, 70, 3, 3, 8).map(|layout| HeadView::new(&qkv, layout));
        let [q, k, v] = views;
        let causal = Attention { mask: Mask::causal(), ..Attention::default() };
        assert_eq!((out.clone(), log_sum_exp.clone()), attend(q, k, v, &causal));
        let dqkv = attention::backward(&qkv, &out, &log_sum_exp, &out, shape, None, Precision::F32);
        let gradients = attend_backward(q, k, v, &out, &log_sum_exp, &out, &causal);
        let [dq, dk, dv] = views.map(|view| taken(&dqkv, view.layout()));
        assert_close("dq", &dq, &widen(&gradients.dq), 1e-6);
        assert_close("dk", &dk, &widen(&gradients.dk), 1e-6);
        assert_close("dv", &dv, &widen(&gradients.dv), 1e-6);
    });
}

#[test]
#[should_panic(expected = "5 heads of queries over 2 of keys")]
fn heads_that_form_no_groups_are_refused() {
    let case = Case::new(1, 2, 5, 2, 3);
    case.run(&case.inputs(&mut Random(0)), &[0.0; 30]);
}

#[test]
#[should_panic(expected = "crosses from a row of 4 into the next")]
fn a_sequence_across_rows_is_refused() {
    let starts = vec![0, 3, 8];
    let case = Case { starts: Some((starts.clone(), starts)), ..Case::new(2, 4, 1, 1, 1) };
    case.run(&case.inputs(&mut Random(0)), &[0.0; 8]);
}

#[test]
#[should_panic(expected = "reaches beyond its 23 elements")]
fn a_view_beyond_its_memory_is_refused() {
    let _ = HeadView::new(&[0.0; 23], HeadLayout::heads_first(1, 2, 3, 4));
}
