//! Models of fastText that tell the label of a text: a language, a kind, how good it is. What `fasttext supervised` and
//! `fasttext quantize` write (`.bin` and `.ftz`) is read, and predictions are those of fastText 0.9.
//!
//! Own code, since the original needs a C++ compiler, and since what others wrote in Rust takes memory as a file says without
//! looking whether the file has it, and tells other probabilities than the original where words form n-grams and where a
//! hierarchical softmax is quantized.
//!
//! A file is mapped: what a text needs of it is read, and no more. A damaged one is an error.

mod dictionary;
mod file;
mod index;
mod matrix;
mod output;
mod settings;
mod tree;

use std::io::Read;
use std::path::{Path, PathBuf};

use dictionary::{Dictionary, LABEL};
use file::{Content, Reader};
use matrix::Matrix;
use output::Output;
use settings::Settings;

use crate::error::CorpusError;

/// What files begin with.
const MAGIC: i32 = 793_712_314;
/// Rows that are gathered before they are added up, so that many are under way from memory at once.
const TOGETHER: usize = 512;

/// A model that tells the labels of texts.
pub struct FastText {
    content: Content,
    dictionary: Dictionary,
    input: Matrix,
    output: Output,
    labels: Vec<String>,
    path: PathBuf,
}

impl FastText {
    /// Whether a path leads to a model of fastText, by its name (`.bin`, `.ftz`) or its first bytes. Folders and names on the
    /// Hub do not, whatever they end with.
    pub fn is_one(path: &Path) -> bool {
        let ends = |end: &str| path.extension().is_some_and(|known| known.eq_ignore_ascii_case(end));
        if path.is_dir() || path.to_string_lossy().starts_with("hf:") {
            return false;
        }
        let mut head = [0; 4];
        ends("bin")
            || ends("ftz")
            || std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok()
                && i32::from_le_bytes(head) == MAGIC
    }

    /// Opens a `.bin` or `.ftz`, whatever it is called.
    ///
    /// # Errors
    /// Where it cannot be read, is damaged, or knows no labels.
    pub fn open(path: &Path) -> Result<Self, CorpusError> {
        // A folder opens as a file does, and its mapping fails with words that help nobody.
        if path.is_dir() {
            return Err(CorpusError::damaged(path, "a folder, where a model of fastText is expected", HINT));
        }
        Self::of(Content::map(path).map_err(CorpusError::io("open", path))?, path)
    }

    /// The bytes of such a file; `path` is what errors call it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(bytes: Vec<u8>, path: &Path) -> Result<Self, CorpusError> {
        Self::of(Content::Held(bytes), path)
    }

    fn of(content: Content, path: &Path) -> Result<Self, CorpusError> {
        let parts = parse(&content).map_err(|reason| CorpusError::damaged(path, reason, HINT))?;
        let (dictionary, input, output) = parts;
        let labels = dictionary.labels(&content).map(|label| String::from_utf8_lossy(label).into_owned()).collect();
        Ok(Self { content, dictionary, input, output, labels, path: path.to_path_buf() })
    }

    /// What the labels are called: without `__label__`, where they begin with it.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = &str> {
        self.labels.iter().map(|label| name(label))
    }

    /// The number of a label, by its name with or without `__label__`.
    pub fn label(&self, called: &str) -> Option<usize> {
        self.labels().position(|label| label == name(called))
    }

    /// Says that a label is not there, and which are most like it. `what` is what the label stands for.
    pub(crate) fn no_label(&self, what: &str, called: &str) -> CorpusError {
        let mut near: Vec<(usize, &str)> =
            self.labels().map(|label| (strsim::damerau_levenshtein(label, name(called)), label)).collect();
        near.sort_unstable();
        let near: Vec<&str> = near.into_iter().take(3).map(|(_, label)| label).collect();
        CorpusError::invalid(
            format!("{} tells no {what} \"{called}\"", self.path.display()),
            format!("of its {} labels, nearest are {}", self.labels.len(), near.join(", ")),
        )
    }

    /// The most probable label of a text, read as one line to its end (or to the word `</s>`, which fastText takes for one),
    /// and its probability. None where the text holds nothing that the model knows.
    pub fn best(&self, text: &str) -> Option<(usize, f32)> {
        self.output.best(&self.content, &self.hidden(text)?)
    }

    /// The probability of a label: that which fastText says, 0.00001 above the true one and at most 1.
    ///
    /// # Panics
    /// Where there is no such label.
    pub fn probability(&self, text: &str, label: usize) -> Option<f32> {
        assert!(label < self.labels.len(), "label {label} of {}", self.labels.len());
        self.output.probability(&self.content, &self.hidden(text)?, label)
    }

    /// The mean of a text's rows.
    fn hidden(&self, text: &str) -> Option<Vec<f32>> {
        let mut sum = vec![0.0; self.input.columns()];
        let mut rows = Vec::with_capacity(TOGETHER);
        let mut count = 0u64;
        let mut add = |rows: &mut Vec<u32>| {
            count += rows.len() as u64;
            for row in rows.drain(..) {
                self.input.add_row(&self.content, row as usize, &mut sum);
            }
        };
        self.dictionary.rows_of(&self.content, text, &mut |row| {
            rows.push(row);
            if rows.len() == TOGETHER {
                add(&mut rows);
            }
        });
        add(&mut rows);
        if count == 0 {
            return None;
        }
        let part = (1.0 / count as f64) as f32;
        for sum in &mut sum {
            *sum *= part;
        }
        Some(sum)
    }
}

/// What to do about a file that is none.
const HINT: &str =
    "name a .bin or .ftz that fasttext supervised or fasttext quantize wrote, and fetch it again if it should be one";

fn name(label: &str) -> &str {
    label.strip_prefix(LABEL).unwrap_or(label)
}

fn parse(content: &[u8]) -> Result<(Dictionary, Matrix, Output), String> {
    let mut reader = Reader::new(content);
    let settings = Settings::read(&mut reader)?;
    let dictionary = Dictionary::read(&mut reader, content, settings)?;
    let quantized = reader.boolean("whether the input is quantized")?;
    if !quantized && dictionary.is_pruned() {
        return Err("a pruned dictionary beside a matrix that is not quantized".to_owned());
    }
    let input = Matrix::read(&mut reader, quantized)?;
    let quantized_output = reader.boolean("whether the output is quantized")?;
    let output = Matrix::read(&mut reader, quantized && quantized_output)?;
    let labels = dictionary.counts.len();
    if labels == 0 {
        return Err("a model without labels".to_owned());
    }
    if input.columns() != settings.dimension || output.columns() != settings.dimension {
        let (wide, high) = (input.columns(), output.columns());
        return Err(format!("matrices of {wide} and {high} columns for {} dimensions", settings.dimension));
    }
    if input.rows() < dictionary.rows() || output.rows() != labels {
        return Err(format!(
            "matrices of {} and {} rows, where words and n-grams need {} and labels {labels}",
            input.rows(),
            output.rows(),
            dictionary.rows()
        ));
    }
    let output = Output::new(output, content, settings.loss, &dictionary.counts)?;
    Ok((dictionary, input, output))
}

#[cfg(test)]
mod tests;
