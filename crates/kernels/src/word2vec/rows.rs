//! Matrices whose rows begin at cache lines and end at whole vectors.

use crate::simd::LANES;
use std::marker::PhantomData;

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
}

/// The same lines of every row, which one thread alone reads and changes.
pub(super) struct Columns<'a> {
    rows: usize,
    /// Cache lines of a whole row, the first of them that is of these columns, and how many are.
    all: usize,
    first: usize,
    pub(super) lines: usize,
    data: *mut Line,
    of: PhantomData<&'a mut Rows>,
}

// SAFETY: as `&mut [Line]`, which it is a part of.
unsafe impl Send for Columns<'_> {}

impl Columns<'_> {
    /// All columns, shared among `parts` as evenly as lines go; there may be fewer lines than parts.
    pub(super) fn divide(rows: &mut Rows, parts: usize) -> Vec<Columns<'_>> {
        let (all, count, data) = (rows.lines, rows.rows(), rows.data.as_mut_ptr());
        let cut = |part: usize| part * all / parts;
        let columns = |part| {
            let (first, lines) = (cut(part), cut(part + 1) - cut(part));
            Columns { rows: count, all, first, lines, data, of: PhantomData }
        };
        (0..parts).map(columns).collect()
    }

    fn place(&self, row: u32) -> usize {
        assert!((row as usize) < self.rows, "row {row} of {}", self.rows);
        row as usize * self.all + self.first
    }

    pub(super) fn row(&self, row: u32) -> &[Line] {
        // SAFETY: the row is one of the matrix, which is borrowed for as long as this lives, and no other columns have these
        // lines of it.
        unsafe { std::slice::from_raw_parts(self.data.add(self.place(row)), self.lines) }
    }

    pub(super) fn row_mut(&mut self, row: u32) -> &mut [Line] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(self.place(row)), self.lines) }
    }
}
