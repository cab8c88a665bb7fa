//! Vectors of words, and the words near them.

use crate::error::ModelError;
use rayon::prelude::*;
use std::collections::HashMap;

/// Words that one task of a search goes over.
const CHUNK: usize = 4096;

/// Words and their vectors, in the order of their file: in those that were trained, the most frequent first.
#[derive(Clone, Debug)]
pub struct WordVectors {
    words: Vec<String>,
    rows: HashMap<String, u32>,
    size: usize,
    /// `[words, size]`.
    vectors: Vec<f32>,
    /// The length of every vector.
    lengths: Vec<f32>,
}

/// A word near what was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbor {
    /// The word.
    pub word: String,
    /// The cosine between its vector and the one that was asked.
    pub cosine: f32,
}

impl WordVectors {
    /// Words with their vectors, `[words, size]`.
    ///
    /// # Errors
    /// When sizes disagree, or a word stands twice.
    pub fn new(words: Vec<String>, size: usize, vectors: Vec<f32>) -> Result<Self, ModelError> {
        if size == 0 || vectors.len() != words.len() * size {
            return Err(ModelError::Request(format!("{} numbers for {} words of {size}", vectors.len(), words.len())));
        }
        let rows: HashMap<String, u32> =
            words.iter().enumerate().map(|(row, word)| (word.clone(), row as u32)).collect();
        if rows.len() < words.len() {
            let twice = words.iter().enumerate().find(|(row, word)| rows[*word] as usize != *row);
            return Err(ModelError::Request(format!("{:?} stands twice", twice.map_or("a word", |(_, word)| word))));
        }
        let length = |vector: &[f32]| loam_kernels::vector::sum_of_squares(vector).sqrt() as f32;
        let lengths = vectors.par_chunks(size).map(length).collect();
        Ok(Self { words, rows, size, vectors, lengths })
    }

    /// How many words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Numbers in a vector.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The words, in their order.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The row of a word, if it is known.
    pub fn row(&self, word: &str) -> Option<usize> {
        self.rows.get(word).map(|row| *row as usize)
    }

    /// The vector of a row.
    pub fn vector(&self, row: usize) -> &[f32] {
        &self.vectors[row * self.size..][..self.size]
    }

    /// The vectors of the first `count` words, `[count, size]`.
    pub(super) fn first(&self, count: usize) -> &[f32] {
        &self.vectors[..count * self.size]
    }

    /// The first `count` words alone.
    #[must_use]
    pub fn into_first(mut self, count: usize) -> Self {
        if count < self.len() {
            self.words.truncate(count);
            self.vectors.truncate(count * self.size);
            self.lengths.truncate(count);
            self.rows.retain(|_, row| (*row as usize) < count);
        }
        self
    }

    /// The row of a word that somebody asks for.
    ///
    /// # Errors
    /// When it is unknown, naming another spelling where there is one.
    pub fn find(&self, word: &str) -> Result<usize, ModelError> {
        if let Some(row) = self.row(word) {
            return Ok(row);
        }
        let mut first = word.chars();
        let capital = first.next().map(|c| c.to_uppercase().chain(first).collect::<String>()).unwrap_or_default();
        let others = [word.to_lowercase(), capital, word.to_uppercase()];
        let hint = match others.iter().find(|other| self.rows.contains_key(*other)) {
            Some(other) => format!("; {other:?} is"),
            None => "; rare words have no vector".to_owned(),
        };
        Err(ModelError::Request(format!("{word:?} is not among the {} words{hint}", self.len())))
    }

    /// The direction that is near all of `towards` and far from all of `away`: the sum of their vectors at length 1, the
    /// latter with their signs turned, again at length 1 (3CosAdd; Levy & Goldberg 2014, equation 2).
    pub(super) fn direction(&self, towards: &[usize], away: &[usize]) -> Vec<f32> {
        let mut sum = vec![0.0_f32; self.size];
        for (row, sign) in towards.iter().map(|row| (*row, 1.0)).chain(away.iter().map(|row| (*row, -1.0))) {
            // A vector of zeros has no direction.
            let scale = if self.lengths[row] > 0.0 { sign / self.lengths[row] } else { 0.0 };
            for (sum, value) in sum.iter_mut().zip(self.vector(row)) {
                *sum += scale * value;
            }
        }
        let length = loam_kernels::vector::sum_of_squares(&sum).sqrt() as f32;
        if length > 0.0 {
            for value in &mut sum {
                *value /= length;
            }
        }
        sum
    }

    /// The `count` words nearest to the direction of `towards` without `away` by cosine, the nearest first, without the
    /// words that were given. Only the first `restrict` words are looked at, if that is given.
    pub fn nearest(&self, towards: &[usize], away: &[usize], count: usize, restrict: Option<usize>) -> Vec<Neighbor> {
        let direction = self.direction(towards, away);
        let most = restrict.unwrap_or(usize::MAX).min(self.len());
        let within = |(chunk, vectors): (usize, &[f32])| {
            let mut best = Best::new(count);
            for (offset, vector) in vectors.chunks_exact(self.size).enumerate() {
                let row = chunk * CHUNK + offset;
                if !towards.contains(&row) && !away.contains(&row) {
                    best.offer(row, self.cosine(row, loam_kernels::vector::dot(vector, &direction) as f32));
                }
            }
            best
        };
        let chunks: Vec<Best> = self.first(most).par_chunks(CHUNK * self.size).enumerate().map(within).collect();
        let mut best = Best::new(count);
        chunks.iter().flat_map(|chunk| &chunk.rows).for_each(|(row, cosine)| best.offer(*row, *cosine));
        let neighbor = |(row, cosine): &(usize, f32)| Neighbor { word: self.words[*row].clone(), cosine: *cosine };
        best.rows.iter().map(neighbor).collect()
    }

    /// The cosine of a row, given its product with a vector of length 1.
    pub(super) fn cosine(&self, row: usize, product: f32) -> f32 {
        if self.lengths[row] > 0.0 { product / self.lengths[row] } else { 0.0 }
    }
}

/// The rows of the largest cosines, in order; of equal ones the first.
pub(super) struct Best {
    most: usize,
    pub(super) rows: Vec<(usize, f32)>,
}

impl Best {
    pub(super) fn new(most: usize) -> Self {
        Self { most, rows: Vec::new() }
    }

    pub(super) fn offer(&mut self, row: usize, cosine: f32) {
        if self.rows.len() >= self.most && self.rows.last().is_none_or(|(_, worst)| cosine <= *worst) {
            return;
        }
        let place = self.rows.partition_point(|(_, other)| *other >= cosine);
        if self.rows.len() >= self.most {
            self.rows.pop();
        }
        self.rows.insert(place, (row, cosine));
    }
}
