//! The projected gradients of every passage, on disk.
//!
//! A folder holds `index.json`, which says of what run, data and projection they are, and a file a checkpoint: rows of one `f32`,
//! by which a row is multiplied, and of `f16` numbers. A file is written row by row under another name and takes its own
//! when it is whole, so that what a kill leaves is gone on with. Reading maps the file.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use memmap2::Mmap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::projection::Projection;
use crate::InfluenceError;

/// The file that says what an index is of.
const DESCRIPTION: &str = "index.json";
/// Rows that a kill may cost: after so many, what was written is handed to the system.
const ROWS_BETWEEN_FLUSHES: usize = 512;
/// Rows that one task compares.
const ROWS: usize = 64;

/// What an index is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Version of the layout.
    pub format: u32,
    /// Hash of the run's data.
    pub data: String,
    /// Hash of what is read of which document.
    pub passages: String,
    /// Passages.
    pub count: usize,
    /// How gradients were projected.
    pub projection: Projection,
    /// From which the projection's signs follow.
    pub seed: u64,
    /// Numbers of a projected gradient.
    pub dimensions: usize,
    /// Hash of the weights at every step that has a file.
    pub weights: Vec<(u64, String)>,
}

/// The layout that is written.
pub const FORMAT: u32 = 1;

/// An index in a folder.
#[derive(Debug)]
pub struct Index {
    folder: PathBuf,
    description: Description,
}

impl Index {
    /// The index in `folder`, which is made where it is not there.
    ///
    /// # Errors
    /// [`InfluenceError::Attribution`] where it is of other data.
    pub fn open(folder: &Path, wanted: Description) -> Result<Self, InfluenceError> {
        let path = folder.join(DESCRIPTION);
        if path.is_file() {
            let text = fs::read_to_string(&path).map_err(|source| open_error(&path, source))?;
            let found: Option<Description> = serde_json::from_str(&text).ok();
            let same = |found: &Description| {
                Description { weights: Vec::new(), ..found.clone() }
                    == Description { weights: Vec::new(), ..wanted.clone() }
            };
            let Some(found) = found.filter(same) else {
                return Err(InfluenceError::Attribution {
                    what: format!(
                        "{} is an index of other data, another way of cutting it, or another Loam",
                        folder.display()
                    ),
                    hint: format!("remove {}, and it is made anew", folder.display()),
                });
            };
            return Ok(Self { folder: folder.to_owned(), description: found });
        }
        fs::create_dir_all(folder).map_err(|source| write_error(folder, source))?;
        let index = Self { folder: folder.to_owned(), description: Description { weights: Vec::new(), ..wanted } };
        index.describe()?;
        Ok(index)
    }

    fn describe(&self) -> Result<(), InfluenceError> {
        let path = self.folder.join(DESCRIPTION);
        let aside = self.folder.join(".index.partial");
        let text = serde_json::to_string_pretty(&self.description).unwrap_or_default();
        fs::write(&aside, text).and_then(|()| fs::rename(&aside, &path)).map_err(|source| write_error(&path, source))
    }

    fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step}.vectors"))
    }

    /// Bytes of a row.
    fn stride(&self) -> usize {
        4 + 2 * self.description.dimensions
    }

    /// Whether the passages' gradients at a step, with these weights, are there.
    pub fn has(&self, step: u64, weights: &str) -> bool {
        let known = self.description.weights.iter().any(|(known, hash)| *known == step && hash == weights);
        let length = fs::metadata(self.path(step)).map_or(0, |file| file.len());
        known && length == (self.stride() * self.description.count) as u64
    }

    /// Writes the rows of a step, from where an earlier session came to. `row` gives the passages' vectors.
    ///
    /// # Errors
    /// When a file cannot be written, and what `row` says.
    pub fn write(
        &mut self,
        step: u64,
        weights: &str,
        row: &mut dyn FnMut(usize) -> Result<Vec<f32>, InfluenceError>,
    ) -> Result<(), InfluenceError> {
        let stride = self.stride();
        // Named after the weights, so that rows of others are never gone on with.
        let aside = self.folder.join(format!(".step-{step}-{}.partial", &weights[..weights.len().min(16)]));
        let file = OpenOptions::new().create(true).append(true).open(&aside);
        let file = file.map_err(|source| write_error(&aside, source))?;
        let length = file.metadata().map_err(|source| write_error(&aside, source))?.len() as usize;
        let done = (length / stride).min(self.description.count);
        file.set_len((done * stride) as u64).map_err(|source| write_error(&aside, source))?;
        let mut writer = BufWriter::new(file);
        for number in done..self.description.count {
            let vector = row(number)?;
            writer.write_all(&encode(&vector)).map_err(|source| write_error(&aside, source))?;
            if (number + 1).is_multiple_of(ROWS_BETWEEN_FLUSHES) {
                writer.flush().map_err(|source| write_error(&aside, source))?;
            }
        }
        let file = writer.into_inner().map_err(|error| write_error(&aside, error.into_error()))?;
        file.sync_all().map_err(|source| write_error(&aside, source))?;
        let path = self.path(step);
        fs::rename(&aside, &path).map_err(|source| write_error(&path, source))?;
        self.description.weights.retain(|(known, _)| *known != step);
        self.description.weights.push((step, weights.to_owned()));
        self.describe()
    }

    /// Numbers that cost time to find and are kept beside the rows, for weights of this hash: from the disk where they are there,
    /// else found and written.
    ///
    /// # Errors
    /// When the file cannot be written, and what `find` says.
    pub fn kept(
        &self,
        what: &str,
        weights: &str,
        count: usize,
        find: &mut dyn FnMut() -> Result<Vec<f32>, InfluenceError>,
    ) -> Result<Vec<f32>, InfluenceError> {
        let path = self.folder.join(format!("{what}-{}.f32", &weights[..weights.len().min(16)]));
        if let Ok(bytes) = fs::read(&path)
            && bytes.len() == 4 * count
        {
            return Ok(bytes
                .chunks_exact(4)
                .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
                .collect());
        }
        let values = find()?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let aside = path.with_extension("partial");
        let written = fs::write(&aside, bytes).and_then(|()| fs::rename(&aside, &path));
        written.map_err(|source| write_error(&path, source))?;
        Ok(values)
    }

    /// The rows of a step.
    ///
    /// # Errors
    /// When the file cannot be mapped.
    pub fn rows(&self, step: u64) -> Result<Rows, InfluenceError> {
        let path = self.path(step);
        let file = File::open(&path).map_err(|source| open_error(&path, source))?;
        let map = map(&file).map_err(|source| open_error(&path, source))?;
        let stride = self.stride();
        if map.len() != stride * self.description.count {
            return Err(InfluenceError::Attribution {
                what: format!("{} is not whole", path.display()),
                hint: format!("remove {}, and it is made anew", path.display()),
            });
        }
        Ok(Rows { map, dimensions: self.description.dimensions })
    }
}

/// Rows of an index, mapped.
#[derive(Debug)]
pub struct Rows {
    map: Mmap,
    dimensions: usize,
}

impl Rows {
    /// Number of rows.
    pub fn count(&self) -> usize {
        self.map.len() / (4 + 2 * self.dimensions)
    }

    /// A row.
    pub fn row(&self, number: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.dimensions];
        let mut bits = vec![0; self.dimensions];
        self.read(number, &mut bits, &mut out);
        out
    }

    fn read(&self, number: usize, bits: &mut [u16], out: &mut [f32]) {
        let stride = 4 + 2 * self.dimensions;
        let bytes = &self.map[number * stride..][..stride];
        let (factor, numbers) = bytes.split_at(4);
        let factor = f32::from_le_bytes(factor.try_into().unwrap_or_default());
        for (bits, bytes) in bits.iter_mut().zip(numbers.chunks_exact(2)) {
            *bits = u16::from_le_bytes([bytes[0], bytes[1]]);
        }
        let halves: &[f16] = (*bits).reinterpret_cast();
        halves.convert_to_f32_slice(out);
        for value in out.iter_mut() {
            *value *= factor;
        }
    }

    /// ⟨row, query⟩ for every query and row: a list a query.
    pub fn products(&self, queries: &[Vec<f32>]) -> Vec<Vec<f64>> {
        self.each(queries.len(), |row, out| {
            for (out, query) in out.iter_mut().zip(queries) {
                *out = loam_kernels::vector::dot(row, query);
            }
        })
    }

    /// ‖row‖ of every row.
    pub fn norms(&self) -> Vec<f64> {
        let norms = self.each(1, |row, out| out[0] = loam_kernels::vector::sum_of_squares(row).sqrt());
        norms.into_iter().next().unwrap_or_default()
    }

    /// `columns` numbers of every row, a list a column.
    fn each(&self, columns: usize, of: impl Fn(&[f32], &mut [f64]) + Sync) -> Vec<Vec<f64>> {
        let mut found = vec![0.0; self.count() * columns];
        if columns == 0 {
            return Vec::new();
        }
        found.par_chunks_mut(ROWS * columns).enumerate().for_each(|(task, found)| {
            let (mut bits, mut row) = (vec![0; self.dimensions], vec![0.0; self.dimensions]);
            for (at, found) in found.chunks_exact_mut(columns).enumerate() {
                self.read(task * ROWS + at, &mut bits, &mut row);
                of(&row, found);
            }
        });
        (0..columns).map(|column| found.iter().skip(column).step_by(columns).copied().collect()).collect()
    }
}

/// A row as it is written: scaled so that its largest number is 1.
fn encode(vector: &[f32]) -> Vec<u8> {
    let largest = vector.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let factor = if largest > 0.0 && largest.is_finite() { largest } else { 1.0 };
    let mut bytes = Vec::with_capacity(4 + 2 * vector.len());
    bytes.extend(factor.to_le_bytes());
    bytes.extend(vector.iter().flat_map(|value| f16::from_f32(value / factor).to_le_bytes()));
    bytes
}

#[allow(unsafe_code)]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is only read, as bytes, any value of which is a number. Files of an index are replaced by renaming and
    // never changed in place; who truncates one while it is mapped ends this process, as with every memory map.
    unsafe { Mmap::map(file) }
}

fn open_error(path: &Path, source: std::io::Error) -> InfluenceError {
    InfluenceError::Open { path: path.to_owned(), source, hint: "remove the folder it is in, and it is made anew" }
}

fn write_error(path: &Path, source: std::io::Error) -> InfluenceError {
    InfluenceError::Write { path: path.to_owned(), source, hint: "give another folder with --index" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        Description {
            format: FORMAT,
            data: "d".into(),
            passages: "p".into(),
            count: 150,
            projection: Projection::Hashed { dimensions: 33 },
            seed: 1,
            dimensions: 33,
            weights: Vec::new(),
        }
    }

    fn vector(number: usize) -> Vec<f32> {
        (0..33).map(|at| ((number * 37 + at * 11) % 101) as f32 * 1e-6 - 5e-5).collect()
    }

    #[test]
    fn rows_come_back_and_a_kill_is_gone_on_from() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("index");
        let mut index = Index::open(&folder, description()).unwrap();
        // Killed in the middle of row 100.
        let mut failing = |number: usize| {
            if number == 100 {
                return Err(InfluenceError::Attribution { what: "killed".into(), hint: String::new() });
            }
            Ok(vector(number))
        };
        assert!(index.write(7, "aabb", &mut failing).is_err());
        assert!(!index.has(7, "aabb"));
        let partial = folder.join(".step-7-aabb.partial");
        let mut bytes = fs::read(&partial).unwrap();
        bytes.extend([1, 2, 3]);
        fs::write(&partial, bytes).unwrap();
        let mut index = Index::open(&folder, description()).unwrap();
        let mut asked = Vec::new();
        index
            .write(7, "aabb", &mut |number| {
                asked.push(number);
                Ok(vector(number))
            })
            .unwrap();
        assert_eq!(asked, (100..150).collect::<Vec<_>>());
        assert!(index.has(7, "aabb") && !index.has(7, "other") && !index.has(8, "aabb"));
        let rows = index.rows(7).unwrap();
        assert_eq!(rows.count(), 150);
        for number in [0, 99, 100, 149] {
            for (got, expected) in rows.row(number).iter().zip(vector(number)) {
                assert!((got - expected).abs() < 1e-3 * 5e-5, "{got} {expected}");
            }
        }
        let query: Vec<f32> = (0..33).map(|at| at as f32).collect();
        let products = rows.products(&[query.clone(), vec![0.0; 33]]);
        let expected: f64 = vector(120).iter().zip(&query).map(|(a, b)| f64::from(a * b)).sum();
        assert!(
            (products[0][120] - expected).abs() < 1e-3 * expected.abs().max(1e-3),
            "{} {expected}",
            products[0][120]
        );
        assert!(products[1].iter().all(|product| *product == 0.0));
    }

    #[test]
    fn other_data_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        Index::open(folder.path(), description()).unwrap();
        let other = Description { data: "changed".into(), ..description() };
        let error = Index::open(folder.path(), other).unwrap_err().to_string();
        assert!(error.contains("other data") && error.contains("remove"), "{error}");
        fs::write(folder.path().join(DESCRIPTION), "{").unwrap();
        assert!(Index::open(folder.path(), description()).is_err());
    }
}
