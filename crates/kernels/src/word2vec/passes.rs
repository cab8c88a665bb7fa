//! The loops over lines of rows.

use super::lanes::{Lanes, dispatched};
use super::rows::{Line, Part, Rows};
use super::{Batch, Kind};
use crate::elementary;
use crate::simd::Arithmetic;

/// What the first pass leaves of some windows.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// -rate · dloss/d(x·y) of every word around and every target: `[words around or 1, targets]`, window by window.
    slopes: Vec<f32>,
    /// The first place in the text that a window of this group has, and the changes of it and those after.
    first: usize,
    changes: Vec<Line>,
    lines: usize,
    /// Under CBOW, the mean of each window.
    means: Vec<Line>,
    /// Rows of one window: the words around, and the targets.
    around: Vec<u32>,
    targets: Vec<u32>,
}

impl Group {
    /// Each place's row and change.
    pub(super) fn changes<'a>(&'a self, words: &'a [u32]) -> impl Iterator<Item = (u32, &'a [Line])> {
        words[self.first..].iter().copied().zip(self.changes.chunks_exact(self.lines.max(1)))
    }
}

/// The rows of the words around a center.
fn rows_around(words: &[u32], window: &super::Window, around: &mut Vec<u32>) {
    around.clear();
    around.extend_from_slice(&words[window.first as usize..window.center as usize]);
    around.extend_from_slice(&words[window.center as usize + 1..window.end as usize]);
}

/// The first pass over some windows.
pub(super) fn read_group(kind: Kind, input: &Rows, output: &Rows, batch: &Batch, rate: f32, group: &mut Group) {
    let lines = input.lines;
    let first = batch.windows.iter().map(|window| window.first).min().unwrap_or(0) as usize;
    let end = batch.windows.iter().map(|window| window.end).max().unwrap_or(0) as usize;
    group.first = first;
    group.lines = lines;
    group.slopes.clear();
    group.changes.clear();
    group.changes.resize((end - first) * lines, Line::ZERO);
    group.means.clear();
    let negatives = batch.negatives_each();
    for (number, window) in batch.windows.iter().enumerate() {
        rows_around(batch.words, window, &mut group.around);
        group.targets.clear();
        group.targets.push(batch.words[window.center as usize]);
        group.targets.extend_from_slice(&batch.negatives[number * negatives..][..negatives]);
        let (before, after) = (window.center as usize - window.first as usize, window.end as usize - first);
        let places = &mut group.changes[(window.first as usize - first) * lines..after * lines];
        match kind {
            Kind::SkipGram => {
                skip_gram_window(input, output, &group.around, &group.targets, rate, before, places, &mut group.slopes);
            }
            Kind::Cbow => {
                let start = group.means.len();
                group.means.resize(start + lines, Line::ZERO);
                let mean = &mut group.means[start..];
                cbow_window(
                    input,
                    output,
                    &group.around,
                    &group.targets,
                    rate,
                    before,
                    places,
                    mean,
                    &mut group.slopes,
                );
            }
        }
    }
}

/// The second pass: the output rows that are of `part`.
pub(super) fn change_outputs(
    kind: Kind,
    input: &Rows,
    batch: &Batch,
    group: &Group,
    part: &mut Part,
    reach: impl Fn(u32) -> f32,
) {
    let negatives = batch.negatives_each();
    let targets = negatives + 1;
    let mut around = Vec::new();
    let mut slopes = group.slopes.as_slice();
    for (number, window) in batch.windows.iter().enumerate() {
        let center = batch.words[window.center as usize];
        let others = &batch.negatives[number * negatives..][..negatives];
        let sources = match kind {
            Kind::SkipGram => (window.end - window.first) as usize - 1,
            Kind::Cbow => 1,
        };
        let (own, rest) = slopes.split_at(sources * targets);
        slopes = rest;
        let mut known = false;
        for (place, target) in std::iter::once(center).chain(others.iter().copied()).enumerate() {
            let Some(row) = part.row(target) else { continue };
            match kind {
                Kind::SkipGram => {
                    if !known {
                        rows_around(batch.words, window, &mut around);
                        known = true;
                    }
                    add_products(row, input, &around, &own[place..], targets, reach(target));
                }
                Kind::Cbow => {
                    let mean = &group.means[number * group.lines..][..group.lines];
                    add_multiple(row, mean, reach(target) * own[place]);
                }
            }
        }
    }
}

/// -rate · dloss/d(x·y) in place of x·y, for rows of `targets` scores of which the first is to be high.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn to_slopes<A: Arithmetic>(scores: &mut [f32], targets: &[u32], rate: f32) {
    for score in &mut *scores {
        *score = -rate * elementary::sigmoid::<A>(*score);
    }
    for scores in scores.chunks_exact_mut(targets.len()) {
        scores[0] += rate;
        for (score, target) in scores[1..].iter_mut().zip(&targets[1..]) {
            if *target == targets[0] {
                *score = 0.0;
            }
        }
    }
}

/// The dot products of two rows with three others. Rows that share loads, since loads are what these loops wait for.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn two_by_three<V: Lanes>(x: [&[Line]; 2], y: [&[Line]; 3]) -> [[f32; 3]; 2] {
    let zero = V::splat(0.0);
    let (mut s00, mut s01, mut s02, mut s10, mut s11, mut s12) = (zero, zero, zero, zero, zero, zero);
    for ((((x0, x1), y0), y1), y2) in x[0].iter().zip(x[1]).zip(y[0]).zip(y[1]).zip(y[2]) {
        let (x0, x1) = (V::load(x0), V::load(x1));
        let (y0, y1, y2) = (V::load(y0), V::load(y1), V::load(y2));
        s00 = s00.add_product(x0, y0);
        s01 = s01.add_product(x0, y1);
        s02 = s02.add_product(x0, y2);
        s10 = s10.add_product(x1, y0);
        s11 = s11.add_product(x1, y1);
        s12 = s12.add_product(x1, y2);
    }
    [[s00.sum(), s01.sum(), s02.sum()], [s10.sum(), s11.sum(), s12.sum()]]
}

/// The dot products of a row with three others.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn one_by_three<V: Lanes>(x: &[Line], y: [&[Line]; 3]) -> [f32; 3] {
    let zero = V::splat(0.0);
    let (mut s0, mut s1, mut s2) = (zero, zero, zero);
    for (((x, y0), y1), y2) in x.iter().zip(y[0]).zip(y[1]).zip(y[2]) {
        let (x, y0, y1, y2) = (V::load(x), V::load(y0), V::load(y1), V::load(y2));
        s0 = s0.add_product(x, y0);
        s1 = s1.add_product(x, y1);
        s2 = s2.add_product(x, y2);
    }
    [s0.sum(), s1.sum(), s2.sum()]
}

/// The dot product of two rows.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn one_by_one<V: Lanes>(x: &[Line], y: &[Line]) -> f32 {
    let mut sums = V::splat(0.0);
    for (x, y) in x.iter().zip(y) {
        sums = sums.add_product(V::load(x), V::load(y));
    }
    sums.sum()
}

/// The dot products of two rows with every one of `ys` in `output`: `[2, ys]`.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn dots_of_two<V: Lanes>(x: [&[Line]; 2], output: &Rows, ys: &[u32], scores: &mut [f32]) {
    let (first, second) = scores.split_at_mut(ys.len());
    let (threes, rest) = ys.as_chunks::<3>();
    let (first_threes, first_rest) = first.as_chunks_mut::<3>();
    let (second_threes, second_rest) = second.as_chunks_mut::<3>();
    for ((y, first), second) in threes.iter().zip(first_threes).zip(second_threes) {
        let [a, b] = two_by_three::<V>(x, [output.row(y[0]), output.row(y[1]), output.row(y[2])]);
        *first = a;
        *second = b;
    }
    for ((y, first), second) in rest.iter().zip(first_rest).zip(second_rest) {
        *first = one_by_one::<V>(x[0], output.row(*y));
        *second = one_by_one::<V>(x[1], output.row(*y));
    }
}

/// The dot products of a row with every one of `ys` in `output`.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn dots_of_one<V: Lanes>(x: &[Line], output: &Rows, ys: &[u32], scores: &mut [f32]) {
    let (threes, rest) = ys.as_chunks::<3>();
    let (score_threes, score_rest) = scores.as_chunks_mut::<3>();
    for (y, scores) in threes.iter().zip(score_threes) {
        *scores = one_by_three::<V>(x, [output.row(y[0]), output.row(y[1]), output.row(y[2])]);
    }
    for (y, score) in rest.iter().zip(score_rest) {
        *score = one_by_one::<V>(x, output.row(*y));
    }
}

/// `sum += factor row`.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn add_one<V: Lanes>(sum: &mut [Line], row: &[Line], factor: f32) {
    let factor = V::splat(factor);
    for (sum, row) in sum.iter_mut().zip(row) {
        V::load(sum).add_product(factor, V::load(row)).store(sum);
    }
}

/// `sum += Σ factorᵢ rowᵢ` over two rows.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn add_two<V: Lanes>(sum: &mut [Line], rows: [&[Line]; 2], factors: [f32; 2]) {
    let (first, second) = (V::splat(factors[0]), V::splat(factors[1]));
    for ((sum, a), b) in sum.iter_mut().zip(rows[0]).zip(rows[1]) {
        V::load(sum).add_product(first, V::load(a)).add_product(second, V::load(b)).store(sum);
    }
}

/// `sum += Σ factorᵢ rowᵢ` over four rows.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn add_four<V: Lanes>(sum: &mut [Line], rows: [&[Line]; 4], factors: [f32; 4]) {
    let (first, second) = (V::splat(factors[0]), V::splat(factors[1]));
    let (third, fourth) = (V::splat(factors[2]), V::splat(factors[3]));
    for ((((sum, a), b), c), d) in sum.iter_mut().zip(rows[0]).zip(rows[1]).zip(rows[2]).zip(rows[3]) {
        let total = V::load(sum).add_product(first, V::load(a)).add_product(second, V::load(b));
        total.add_product(third, V::load(c)).add_product(fourth, V::load(d)).store(sum);
    }
}

/// `sum += Σ factorᵢ rowᵢ` over rows of a matrix, the factors `stride` apart and times `scale`.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn add_all<V: Lanes>(sum: &mut [Line], matrix: &Rows, rows: &[u32], factors: &[f32], stride: usize, scale: f32) {
    let (fours, rest) = rows.as_chunks::<4>();
    let mut place = 0;
    for [a, b, c, d] in fours {
        let factor = |n: usize| scale * factors[(place + n) * stride];
        let four = [matrix.row(*a), matrix.row(*b), matrix.row(*c), matrix.row(*d)];
        add_four::<V>(sum, four, [factor(0), factor(1), factor(2), factor(3)]);
        place += 4;
    }
    let (twos, rest) = rest.as_chunks::<2>();
    for [a, b] in twos {
        add_two::<V>(
            sum,
            [matrix.row(*a), matrix.row(*b)],
            [scale * factors[place * stride], scale * factors[(place + 1) * stride]],
        );
        place += 2;
    }
    for row in rest {
        add_one::<V>(sum, matrix.row(*row), scale * factors[place * stride]);
    }
}

dispatched! {
    /// Scores, slopes, and the changes of the words around, of one window. `places` are the changes of the window's
    /// places, of which number `before` is the center.
    fn skip_gram_window<V>(
        input: &Rows,
        output: &Rows,
        around: &[u32],
        targets: &[u32],
        rate: f32,
        before: usize,
        places: &mut [Line],
        slopes: &mut Vec<f32>,
    ) {
        let lines = input.lines;
        let start = slopes.len();
        slopes.resize(start + around.len() * targets.len(), 0.0);
        let slopes = &mut slopes[start..];
        let (pairs, rest) = around.as_chunks::<2>();
        for (index, pair) in pairs.iter().enumerate() {
            let scores = &mut slopes[index * 2 * targets.len()..][..2 * targets.len()];
            dots_of_two::<V>([input.row(pair[0]), input.row(pair[1])], output, targets, scores);
        }
        for x in rest {
            let scores = &mut slopes[pairs.len() * 2 * targets.len()..];
            dots_of_one::<V>(input.row(*x), output, targets, scores);
        }
        to_slopes::<V::Arithmetic>(slopes, targets, rate);
        for (index, slopes) in slopes.chunks_exact(targets.len()).enumerate() {
            let place = index + usize::from(index >= before);
            add_all::<V>(&mut places[place * lines..][..lines], output, targets, slopes, 1, 1.0);
        }
    }
}

dispatched! {
    /// As [`skip_gram_window`], from the mean of the words around, which is left in `mean`.
    fn cbow_window<V>(
        input: &Rows,
        output: &Rows,
        around: &[u32],
        targets: &[u32],
        rate: f32,
        before: usize,
        places: &mut [Line],
        mean: &mut [Line],
        slopes: &mut Vec<f32>,
    ) {
        let lines = input.lines;
        add_all::<V>(mean, input, around, &[1.0], 0, 1.0 / around.len() as f32);
        let start = slopes.len();
        slopes.resize(start + targets.len(), 0.0);
        let slopes = &mut slopes[start..];
        dots_of_one::<V>(mean, output, targets, slopes);
        to_slopes::<V::Arithmetic>(slopes, targets, rate);
        let mut change = [Line::ZERO; 8];
        for from in (0..lines).step_by(change.len()) {
            let change = &mut change[..(lines - from).min(8)];
            change.fill(Line::ZERO);
            for (target, slope) in targets.iter().zip(&*slopes) {
                add_one::<V>(change, &output.row(*target)[from..], *slope);
            }
            for index in 0..around.len() {
                let place = index + usize::from(index >= before);
                add_one::<V>(&mut places[place * lines + from..], change, 1.0);
            }
        }
    }
}

dispatched! {
    /// `row += scale Σ slopeᵢ rowᵢ` over the words around, of which the slopes stand `stride` apart.
    fn add_products<V>(row: &mut [Line], input: &Rows, around: &[u32], slopes: &[f32], stride: usize, scale: f32) {
        add_all::<V>(row, input, around, slopes, stride, scale);
    }
}

dispatched! {
    /// `row += factor other`.
    pub(super) fn add_multiple<V>(row: &mut [Line], other: &[Line], factor: f32) {
        add_one::<V>(row, other, factor);
    }
}
