//! The loops over lines of rows.

use super::rows::{Line, Part, Rows};
use super::{Batch, Kind};
use crate::elementary;
use crate::simd::{Arithmetic, LANES, sum_of_lanes, vectorized};

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
pub(super) fn change_outputs(kind: Kind, input: &Rows, batch: &Batch, group: &Group, part: &mut Part) {
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
                    add_products(row, input, &around, &own[place..], targets);
                }
                Kind::Cbow => add_multiple(row, &group.means[number * group.lines..][..group.lines], own[place]),
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

/// The dot products of `X` rows with `Y` others.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn dots<A: Arithmetic, const X: usize, const Y: usize>(
    x: [&[Line]; X],
    y: [&[Line]; Y],
    lines: usize,
) -> [[f32; Y]; X] {
    let (x, y) = (x.map(|x| &x[..lines]), y.map(|y| &y[..lines]));
    let mut sums = [[[0.0_f32; LANES]; Y]; X];
    for line in 0..lines {
        for a in 0..X {
            for b in 0..Y {
                for j in 0..LANES {
                    sums[a][b][j] = A::mul_add(x[a][line].0[j], y[b][line].0[j], sums[a][b][j]);
                }
            }
        }
    }
    sums.map(|sums| sums.map(sum_of_lanes))
}

/// The dot products of every row of `xs` in `input` with every one of `ys` in `output`: `[xs, ys]`.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn all_dots<A: Arithmetic, const X: usize>(
    x: [&[Line]; X],
    output: &Rows,
    ys: &[u32],
    scores: &mut [f32],
    lines: usize,
) {
    let (groups, rest) = ys.as_chunks::<3>();
    for (index, y) in groups.iter().enumerate() {
        let dots = dots::<A, X, 3>(x, y.map(|y| output.row(y)), lines);
        for a in 0..X {
            scores[a * ys.len() + index * 3..][..3].copy_from_slice(&dots[a]);
        }
    }
    for (index, y) in rest.iter().enumerate() {
        let dots = dots::<A, X, 1>(x, [output.row(*y)], lines);
        for a in 0..X {
            scores[a * ys.len() + groups.len() * 3 + index] = dots[a][0];
        }
    }
}

/// `sum += Σ factorᵢ rowᵢ` over `N` rows.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn add_rows_times<A: Arithmetic, const N: usize>(sum: &mut [Line], rows: [&[Line]; N], factors: [f32; N]) {
    let rows = rows.map(|row| &row[..sum.len()]);
    for (line, sum) in sum.iter_mut().enumerate() {
        let mut total = sum.0;
        for n in 0..N {
            for j in 0..LANES {
                total[j] = A::mul_add(factors[n], rows[n][line].0[j], total[j]);
            }
        }
        sum.0 = total;
    }
}

/// `sum += Σ factorᵢ rowᵢ` over rows of a matrix, the factors `stride` apart.
#[allow(clippy::inline_always, reason = "must be compiled with the instructions of its caller")]
#[inline(always)]
fn add_all<A: Arithmetic>(sum: &mut [Line], matrix: &Rows, rows: &[u32], factors: &[f32], stride: usize) {
    let (fours, rest) = rows.as_chunks::<4>();
    let mut place = 0;
    for rows in fours {
        let factors = std::array::from_fn(|n| factors[(place + n) * stride]);
        add_rows_times::<A, 4>(sum, rows.map(|row| matrix.row(row)), factors);
        place += 4;
    }
    let (twos, rest) = rest.as_chunks::<2>();
    for rows in twos {
        let factors = std::array::from_fn(|n| factors[(place + n) * stride]);
        add_rows_times::<A, 2>(sum, rows.map(|row| matrix.row(row)), factors);
        place += 2;
    }
    for row in rest {
        add_rows_times::<A, 1>(sum, [matrix.row(*row)], [factors[place * stride]]);
    }
}

vectorized! {
    /// Scores, slopes, and the changes of the words around, of one window. `places` are the changes of the window's
    /// places, of which number `before` is the center.
    fn skip_gram_window<A>(
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
            all_dots::<A, 2>(pair.map(|x| input.row(x)), output, targets, scores, lines);
        }
        for x in rest {
            let scores = &mut slopes[pairs.len() * 2 * targets.len()..];
            all_dots::<A, 1>([input.row(*x)], output, targets, scores, lines);
        }
        to_slopes::<A>(slopes, targets, rate);
        for (index, slopes) in slopes.chunks_exact(targets.len()).enumerate() {
            let place = index + usize::from(index >= before);
            add_all::<A>(&mut places[place * lines..][..lines], output, targets, slopes, 1);
        }
    }
}

vectorized! {
    /// As [`skip_gram_window`], from the mean of the words around, which is left in `mean`.
    fn cbow_window<A>(
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
        add_all::<A>(mean, input, around, &[1.0 / around.len() as f32], 0);
        let start = slopes.len();
        slopes.resize(start + targets.len(), 0.0);
        let slopes = &mut slopes[start..];
        all_dots::<A, 1>([&*mean], output, targets, slopes, lines);
        to_slopes::<A>(slopes, targets, rate);
        let mut change = [Line::ZERO; 8];
        for from in (0..lines).step_by(change.len()) {
            let change = &mut change[..(lines - from).min(8)];
            change.fill(Line::ZERO);
            for (target, slope) in targets.iter().zip(&*slopes) {
                add_rows_times::<A, 1>(change, [&output.row(*target)[from..]], [*slope]);
            }
            for index in 0..around.len() {
                let place = index + usize::from(index >= before);
                add_rows_times::<A, 1>(&mut places[place * lines + from..][..change.len()], [&*change], [1.0]);
            }
        }
    }
}

vectorized! {
    /// `row += Σ slopeᵢ rowᵢ` over the words around, of which the slopes stand `stride` apart.
    fn add_products<A>(row: &mut [Line], input: &Rows, around: &[u32], slopes: &[f32], stride: usize) {
        add_all::<A>(row, input, around, slopes, stride);
    }
}

vectorized! {
    fn add_multiple<A>(row: &mut [Line], other: &[Line], factor: f32) {
        add_rows_times::<A, 1>(row, [other], [factor]);
    }
}

vectorized! {
    /// `row += change`.
    pub(super) fn add_rows<A>(row: &mut [Line], change: &[Line]) {
        add_rows_times::<A, 1>(row, [change], [1.0]);
    }
}
