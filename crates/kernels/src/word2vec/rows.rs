//! Matrices whose rows begin at cache lines and end at whole vectors.

use crate::simd::LANES;

/// One cache line of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [f32; LANES]);

impl Line {
    pub(super) const ZERO: Self = Self([0.0; LANES]);
}

/// A matrix `[rows, width]`, each row filled up with zeros to whole cache lines, so that no loop over it has a rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    width: usize,
    pub(super) lines: usize,
    pub(super) data: Vec<Line>,
}

impl Rows {
    /// Zeros, `[rows, width]`.
    pub fn zeros(rows: usize, width: usize) -> Self {
        let lines = width.div_ceil(LANES);
        Self { width, lines, data: vec![Line::ZERO; rows * lines] }
    }

    /// Numbers in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.data.len().checked_div(self.lines).unwrap_or(0)
    }

    /// Copies `values`, `[width]`, into a row.
    pub fn set(&mut self, row: usize, values: &[f32]) {
        assert_eq!(values.len(), self.width, "a row of {} numbers", self.width);
        for (line, values) in self.data[row * self.lines..].iter_mut().zip(values.chunks(LANES)) {
            line.0[..values.len()].copy_from_slice(values);
        }
    }

    /// Appends the numbers of a row, `[width]`, to `values`.
    pub fn copy(&self, row: usize, values: &mut Vec<f32>) {
        let mut rest = self.width;
        for line in &self.data[row * self.lines..][..self.lines] {
            let taken = rest.min(LANES);
            values.extend_from_slice(&line.0[..taken]);
            rest -= taken;
        }
    }

    pub(super) fn row(&self, row: u32) -> &[Line] {
        &self.data[row as usize * self.lines..][..self.lines]
    }

    /// Ranges of rows that end at `cuts`, each with its first row.
    pub(super) fn parts(&mut self, cuts: &[usize]) -> Vec<Part<'_>> {
        let mut parts = Vec::with_capacity(cuts.len());
        let (mut rest, mut start) = (self.data.as_mut_slice(), 0);
        for cut in cuts {
            let (data, after) = rest.split_at_mut((cut - start) * self.lines);
            parts.push(Part { start: start as u32, end: *cut as u32, lines: self.lines, data });
            (rest, start) = (after, *cut);
        }
        parts
    }
}

/// Rows that one task alone changes.
pub(super) struct Part<'a> {
    start: u32,
    end: u32,
    lines: usize,
    data: &'a mut [Line],
}

impl Part<'_> {
    /// The row, where it is of this part.
    pub(super) fn row(&mut self, row: u32) -> Option<&mut [Line]> {
        if row < self.start || row >= self.end {
            return None;
        }
        Some(&mut self.data[(row - self.start) as usize * self.lines..][..self.lines])
    }
}

/// Ends of `parts` ranges of rows with about equal sums of `loads`, the last of them `loads.len()`.
pub fn balanced_cuts(loads: &[f64], parts: usize) -> Vec<usize> {
    let total: f64 = loads.iter().sum();
    let parts = parts.max(1);
    let mut cuts = Vec::with_capacity(parts);
    let mut sum = 0.0;
    for (row, load) in loads.iter().enumerate() {
        sum += load;
        if cuts.len() + 1 < parts && sum >= total * (cuts.len() + 1) as f64 / parts as f64 {
            cuts.push(row + 1);
        }
    }
    cuts.push(loads.len());
    cuts
}
