//! Rows of numbers: as they are, or in parts of which each is one of 256 (product quantization; Jégou, Douze and Schmid 2011,
//! as in Joulin et al. 2016, "FastText.zip").
//!
//! Sums are made in the order of the original, number by number, so that they are the same to the bit.

use std::ops::Range;

use super::file::Reader;

/// Values of a part of a quantized row.
const VALUES: usize = 256;

/// A matrix in a file, of which `place` says where.
pub(super) enum Matrix {
    Dense { place: Range<usize>, rows: usize, columns: usize },
    Quantized(Box<Quantized>),
}

/// Rows as codes of their parts.
pub(super) struct Quantized {
    rows: usize,
    columns: usize,
    /// A byte a part, row after row.
    codes: Range<usize>,
    quantizer: Quantizer,
    /// Where rows were brought to length 1: a byte a row, and the lengths.
    norms: Option<(Range<usize>, Quantizer)>,
}

/// What the codes mean.
struct Quantizer {
    /// Columns of a part; the last can have fewer.
    width: usize,
    parts: usize,
    /// Part after part, the values of each.
    centroids: Vec<f32>,
}

impl Quantizer {
    fn read(reader: &mut Reader<'_>, columns: usize) -> Result<Self, String> {
        let dimension = reader.count("the dimension of a quantizer")?;
        let parts = reader.count("the number of a quantizer's parts")?;
        let width = reader.count("the width of a quantizer's parts")?;
        let last = reader.count("the width of a quantizer's last part")?;
        let whole = width.checked_mul(parts.saturating_sub(1)).and_then(|before| before.checked_add(last));
        if dimension != columns || parts == 0 || last == 0 || last > width || whole != Some(dimension) {
            return Err(format!(
                "a quantizer of {dimension} columns in {parts} parts of {width}, the last of {last}, for {columns} columns"
            ));
        }
        // No overflow: the dimension has 31 bits.
        Ok(Self { width, parts, centroids: reader.reals(dimension * VALUES, "the values of a quantizer")? })
    }

    /// Adds a row, times `scale`.
    fn add(&self, codes: &[u8], scale: f32, sum: &mut [f32]) {
        // What `dsub = 2`, the default, makes of an even dimension: no length is unknown.
        if let (2, (pairs, [])) = (self.width, sum.as_chunks_mut::<2>()) {
            let tables = self.centroids.as_chunks::<2>().0.as_chunks::<VALUES>().0;
            for ((table, code), sum) in tables.iter().zip(codes).zip(pairs) {
                let value = table[usize::from(*code)];
                sum[0] += scale * value[0];
                sum[1] += scale * value[1];
            }
            return;
        }
        for ((table, code), sum) in self.tables().zip(codes).zip(sum.chunks_mut(self.width)) {
            let from = usize::from(*code) * sum.len();
            for (sum, value) in sum.iter_mut().zip(&table[from..]) {
                *sum += scale * value;
            }
        }
    }

    fn dot(&self, codes: &[u8], vector: &[f32]) -> f32 {
        let mut sum = 0.0;
        for ((table, code), vector) in self.tables().zip(codes).zip(vector.chunks(self.width)) {
            let from = usize::from(*code) * vector.len();
            for (number, value) in vector.iter().zip(&table[from..]) {
                sum += number * value;
            }
        }
        sum
    }

    fn tables(&self) -> impl Iterator<Item = &[f32]> {
        self.centroids.chunks(VALUES * self.width)
    }
}

impl Quantized {
    fn read(reader: &mut Reader<'_>) -> Result<Self, String> {
        let normalized = reader.boolean("whether lengths of rows are kept")?;
        let (rows, columns) = shape(reader)?;
        let length = reader.count("the number of codes")?;
        let codes = reader.place(length, 1, "the codes of a matrix")?;
        let quantizer = Quantizer::read(reader, columns)?;
        if rows.checked_mul(quantizer.parts) != Some(length) {
            return Err(format!("{length} codes for {rows} rows of {} parts", quantizer.parts));
        }
        let norms = if normalized {
            let codes = reader.place(rows, 1, "the lengths of rows")?;
            Some((codes, Quantizer::read(reader, 1)?))
        } else {
            None
        };
        Ok(Self { rows, columns, codes, quantizer, norms })
    }

    /// The codes of a row, and its length.
    fn row<'a>(&self, content: &'a [u8], row: usize) -> (&'a [u8], f32) {
        let parts = self.quantizer.parts;
        let codes = &content[self.codes.clone()][row * parts..(row + 1) * parts];
        let norm = self
            .norms
            .as_ref()
            .map_or(1.0, |(codes, lengths)| lengths.centroids[usize::from(content[codes.clone()][row])]);
        (codes, norm)
    }
}

/// Rows and columns, of which there are some.
fn shape(reader: &mut Reader<'_>) -> Result<(usize, usize), String> {
    let rows = reader.long_count("the number of a matrix's rows")?;
    let columns = reader.long_count("the number of a matrix's columns")?;
    if columns == 0 {
        return Err("a matrix without columns".to_owned());
    }
    Ok((rows, columns))
}

impl Matrix {
    pub(super) fn read(reader: &mut Reader<'_>, quantized: bool) -> Result<Self, String> {
        if quantized {
            return Ok(Self::Quantized(Box::new(Quantized::read(reader)?)));
        }
        let (rows, columns) = shape(reader)?;
        let size = columns.checked_mul(4).ok_or("a row is longer than memory")?;
        Ok(Self::Dense { place: reader.place(rows, size, "a matrix")?, rows, columns })
    }

    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Dense { rows, .. } => *rows,
            Self::Quantized(matrix) => matrix.rows,
        }
    }

    pub(super) fn columns(&self) -> usize {
        match self {
            Self::Dense { columns, .. } => *columns,
            Self::Quantized(matrix) => matrix.columns,
        }
    }

    /// Adds a row to a sum of as many numbers. `content` is the file that the matrix was read from.
    pub(super) fn add_row(&self, content: &[u8], row: usize, sum: &mut [f32]) {
        match self {
            Self::Dense { .. } => {
                for (sum, value) in sum.iter_mut().zip(self.dense_row(content, row)) {
                    *sum += value;
                }
            }
            Self::Quantized(matrix) => {
                let (codes, norm) = matrix.row(content, row);
                matrix.quantizer.add(codes, norm, sum);
            }
        }
    }

    /// The product of a row and a vector of as many numbers.
    pub(super) fn dot_row(&self, content: &[u8], row: usize, vector: &[f32]) -> f32 {
        match self {
            Self::Dense { .. } => {
                let mut sum = 0.0;
                for (number, value) in vector.iter().zip(self.dense_row(content, row)) {
                    sum += number * value;
                }
                sum
            }
            Self::Quantized(matrix) => {
                let (codes, norm) = matrix.row(content, row);
                matrix.quantizer.dot(codes, vector) * norm
            }
        }
    }

    /// The numbers of a dense row; none of a quantized one.
    pub(super) fn dense_row<'a>(&self, content: &'a [u8], row: usize) -> impl ExactSizeIterator<Item = f32> + 'a {
        let bytes: &[u8] = match self {
            Self::Dense { place, columns, .. } => &content[place.clone()][row * columns * 4..(row + 1) * columns * 4],
            Self::Quantized(_) => &[],
        };
        bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
    }
}
