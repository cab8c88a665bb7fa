//! The loops over lines of rows.

use super::lanes::{Lanes, dispatched};
use super::rows::{Columns, Line};
use super::{Kind, Step};
use crate::elementary;

/// What one thread keeps of a step: all of it, but of rows its own columns.
#[derive(Debug, Default)]
pub(super) struct Pages {
    lines: usize,
    /// The rows of the words around each center, window by window, and how many of them.
    around: Vec<u32>,
    reaches: Vec<u32>,
    /// The rows of each window's targets: its center, and the negative samples.
    targets: Vec<u32>,
    /// -rate · dloss/d(x·y) of every word around and every target: `[words around or 1, targets]`, window by window.
    slopes: Vec<f32>,
    /// Under CBOW, the mean of each window.
    means: Vec<Line>,
    /// The changes of every place in the text that the step has.
    changes: Vec<Line>,
}

/// One window of a step.
struct Around<'a> {
    words: &'a [u32],
    targets: &'a [u32],
    slopes: &'a [f32],
    /// Its number among windows that have words around.
    number: usize,
}

impl Pages {
    /// Finds the rows of a step's words.
    fn open(&mut self, step: &Step, lines: usize) {
        let batch = &step.batch;
        self.lines = lines;
        self.around.clear();
        self.reaches.clear();
        self.targets.clear();
        let negatives = batch.negatives_each();
        for (number, window) in batch.windows.iter().enumerate() {
            self.around.extend_from_slice(&batch.words[window.first as usize..window.center as usize]);
            self.around.extend_from_slice(&batch.words[window.center as usize + 1..window.end as usize]);
            self.reaches.push(window.end - window.first - 1);
            self.targets.push(batch.words[window.center as usize]);
            self.targets.extend_from_slice(&batch.negatives[number * negatives..][..negatives]);
        }
    }

    /// The windows, with what `slopes` has of each.
    fn windows<'a>(&'a self, kind: Kind, targets: usize, slopes: &'a [f32]) -> impl Iterator<Item = Around<'a>> {
        let (mut around, mut slopes) = (self.around.as_slice(), slopes);
        self.reaches.iter().zip(self.targets.chunks_exact(targets)).enumerate().map(
            move |(number, (reach, targets))| {
                let (words, after) = around.split_at(*reach as usize);
                let sources = if kind == Kind::SkipGram { words.len() } else { 1 };
                let (own, rest) = slopes.split_at(sources * targets.len());
                (around, slopes) = (after, rest);
                Around { words, targets, slopes: own, number }
            },
        )
    }

    /// The first pass: what these columns have of every x·y, left in `scores`.
    pub(super) fn read(&mut self, kind: Kind, input: &Columns, output: &Columns, step: &Step, scores: &mut Vec<f32>) {
        self.open(step, input.lines);
        let targets = step.targets();
        let (words, windows) = (self.around.len(), self.reaches.len());
        scores.clear();
        scores.resize(targets * if kind == Kind::SkipGram { words } else { windows }, 0.0);
        self.means.clear();
        if kind == Kind::Cbow {
            self.means.resize(windows * self.lines, Line::ZERO);
        }
        let (mut around, mut scores) = (self.around.as_slice(), scores.as_mut_slice());
        for (number, (reach, targets)) in self.reaches.iter().zip(self.targets.chunks_exact(targets)).enumerate() {
            let (words, after) = around.split_at(*reach as usize);
            around = after;
            let sources = if kind == Kind::SkipGram { words.len() } else { 1 };
            let (own, rest) = scores.split_at_mut(sources * targets.len());
            scores = rest;
            match kind {
                Kind::SkipGram => skip_gram_scores(input, output, words, targets, own),
                Kind::Cbow => {
                    let mean = &mut self.means[number * self.lines..][..self.lines];
                    cbow_scores(input, output, words, targets, mean, own);
                }
            }
        }
    }

    /// Between the passes: sums what all columns have of every x·y, in their order.
    pub(super) fn sum<'a>(&mut self, mut scores: impl Iterator<Item = &'a [f32]>) {
        self.slopes.clear();
        self.slopes.extend_from_slice(scores.next().unwrap_or_default());
        for scores in scores {
            for (sum, score) in self.slopes.iter_mut().zip(scores) {
                *sum += score;
            }
        }
    }

    /// The second pass: these columns of all rows change.
    pub(super) fn change(
        &mut self,
        kind: Kind,
        input: &mut Columns,
        output: &mut Columns,
        step: &Step,
        reach: [&dyn Fn(u32) -> f32; 2],
    ) {
        let (targets, lines) = (step.targets(), self.lines);
        let mut slopes = std::mem::take(&mut self.slopes);
        let mut changes = std::mem::take(&mut self.changes);
        let windows = step.batch.windows;
        let first = windows.iter().map(|window| window.first).min().unwrap_or(0) as usize;
        let end = windows.iter().map(|window| window.end).max().unwrap_or(0) as usize;
        changes.clear();
        changes.resize((end - first) * lines, Line::ZERO);
        let mut rest = slopes.as_mut_slice();
        for (number, (count, targets)) in self.reaches.iter().zip(self.targets.chunks_exact(targets)).enumerate() {
            let sources = if kind == Kind::SkipGram { *count as usize } else { 1 };
            let (own, after) = rest.split_at_mut(sources * targets.len());
            rest = after;
            to_slopes(own, targets, step.rate);
            let window = &windows[number];
            let before = (window.center - window.first) as usize;
            let places = &mut changes[(window.first as usize - first) * lines..(window.end as usize - first) * lines];
            match kind {
                Kind::SkipGram => skip_gram_changes(output, *count as usize, targets, own, before, places),
                Kind::Cbow => cbow_changes(output, *count as usize, targets, own, before, places),
            }
        }
        for Around { words, targets, slopes, number } in self.windows(kind, targets, &slopes) {
            for (place, target) in targets.iter().enumerate() {
                let reach = reach[1](*target);
                match kind {
                    Kind::SkipGram => {
                        add_products(output.row_mut(*target), input, words, &slopes[place..], targets.len(), reach);
                    }
                    Kind::Cbow => {
                        let mean = &self.means[number * lines..][..lines];
                        add_multiple(output.row_mut(*target), mean, reach * slopes[place]);
                    }
                }
            }
        }
        if lines > 0 {
            for (word, change) in step.batch.words[first..end].iter().zip(changes.chunks_exact(lines)) {
                add_multiple(input.row_mut(*word), change, reach[0](*word));
            }
        }
        self.slopes = slopes;
        self.changes = changes;
    }
}

dispatched! {
    /// -rate · dloss/d(x·y) in place of x·y, for rows of `targets` scores of which the first is to be high.
    fn to_slopes<V>(scores: &mut [f32], targets: &[u32], rate: f32) {
        for score in &mut *scores {
            *score = -rate * elementary::sigmoid::<V::Arithmetic>(*score);
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
fn dots_of_two<V: Lanes>(x: [&[Line]; 2], output: &Columns, ys: &[u32], scores: &mut [f32]) {
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
fn dots_of_one<V: Lanes>(x: &[Line], output: &Columns, ys: &[u32], scores: &mut [f32]) {
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
fn add_all<V: Lanes>(sum: &mut [Line], matrix: &Columns, rows: &[u32], factors: &[f32], stride: usize, scale: f32) {
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
    /// What some columns have of the scores of one window, `[words around, targets]`.
    fn skip_gram_scores<V>(input: &Columns, output: &Columns, around: &[u32], targets: &[u32], scores: &mut [f32]) {
        let (pairs, rest) = around.as_chunks::<2>();
        for (index, pair) in pairs.iter().enumerate() {
            let scores = &mut scores[index * 2 * targets.len()..][..2 * targets.len()];
            dots_of_two::<V>([input.row(pair[0]), input.row(pair[1])], output, targets, scores);
        }
        for x in rest {
            let scores = &mut scores[pairs.len() * 2 * targets.len()..];
            dots_of_one::<V>(input.row(*x), output, targets, scores);
        }
    }
}

dispatched! {
    /// As [`skip_gram_scores`], from the mean of the words around, which is left in `mean`.
    fn cbow_scores<V>(
        input: &Columns,
        output: &Columns,
        around: &[u32],
        targets: &[u32],
        mean: &mut [Line],
        scores: &mut [f32],
    ) {
        add_all::<V>(mean, input, around, &[1.0], 0, 1.0 / around.len() as f32);
        dots_of_one::<V>(mean, output, targets, scores);
    }
}

dispatched! {
    /// Changes of the words around. `places` are the changes of the window's places, of which number `before` is the center.
    fn skip_gram_changes<V>(
        output: &Columns,
        around: usize,
        targets: &[u32],
        slopes: &[f32],
        before: usize,
        places: &mut [Line],
    ) {
        let lines = output.lines;
        for (index, slopes) in slopes.chunks_exact(targets.len()).take(around).enumerate() {
            let place = index + usize::from(index >= before);
            add_all::<V>(&mut places[place * lines..][..lines], output, targets, slopes, 1, 1.0);
        }
    }
}

dispatched! {
    /// As [`skip_gram_changes`], each word's being the whole of its mean's.
    fn cbow_changes<V>(
        output: &Columns,
        around: usize,
        targets: &[u32],
        slopes: &[f32],
        before: usize,
        places: &mut [Line],
    ) {
        let lines = output.lines;
        let mut change = [Line::ZERO; 8];
        for from in (0..lines).step_by(change.len()) {
            let change = &mut change[..(lines - from).min(8)];
            change.fill(Line::ZERO);
            for (target, slope) in targets.iter().zip(slopes) {
                add_one::<V>(change, &output.row(*target)[from..], *slope);
            }
            for index in 0..around {
                let place = index + usize::from(index >= before);
                add_one::<V>(&mut places[place * lines + from..], change, 1.0);
            }
        }
    }
}

dispatched! {
    /// `row += scale Σ slopeᵢ rowᵢ` over the words around, of which the slopes stand `stride` apart.
    fn add_products<V>(row: &mut [Line], input: &Columns, around: &[u32], slopes: &[f32], stride: usize, scale: f32) {
        add_all::<V>(row, input, around, slopes, stride, scale);
    }
}

dispatched! {
    /// `row += factor other`.
    fn add_multiple<V>(row: &mut [Line], other: &[Line], factor: f32) {
        add_one::<V>(row, other, factor);
    }
}
