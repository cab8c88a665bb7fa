//! Documents as vectors of their windows, and which of them are nearest to a query.

use super::pooling::{Encoder, scale};
use crate::language_model::TaskError;
use burn::tensor::{Device, Tensor, TensorData};
use loam_corpus::{Tokenizer, Window};
use loam_models::bert::Bert;

/// Windows whose vectors are multiplied at a time, so that memory has a bound.
const WINDOWS: usize = 1 << 15;
/// Queries at a time.
const QUERIES: usize = 64;
/// Windows of a document share the eighth part of their tokens, so that what stands at the end of one stands in the other.
const OVERLAP: usize = 8;

/// The windows of documents, in their order, with a vector of length 1 each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Passages {
    /// Numbers of a vector.
    pub width: usize,
    /// Vectors, one after the other, `[windows, width]`.
    pub vectors: Vec<f32>,
    /// Of every window its document, never less than that of the window before.
    pub documents: Vec<u32>,
    /// Of every window the bytes of its document that it begins and ends at.
    pub spans: Vec<(u64, u64)>,
}

/// A document that is near to a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The document's number.
    pub document: usize,
    /// The cosine of the query and the document's best window.
    pub score: f32,
    /// That window's number.
    pub window: usize,
}

impl Passages {
    /// Reads documents in windows; see [`super::Embedder::passages`].
    pub(super) fn of<S: AsRef<str>>(
        model: &Bert,
        encoder: &Encoder,
        tokenizer: &Tokenizer,
        documents: &[S],
        device: &Device,
        done: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, TaskError> {
        let (mut ids, mut passages) = (Vec::new(), Self { width: model.config().hidden_size, ..Self::default() });
        for (number, document) in documents.iter().enumerate() {
            let text = document.as_ref();
            let (windows, _) = tokenizer.windows(text, None, encoder.longest, encoder.longest / OVERLAP);
            for window in windows {
                if window.ids.is_empty() {
                    let message = format!("document {} has no tokens, so it has no vector", number + 1);
                    return Err(TaskError::Request(message));
                }
                passages.documents.push(number as u32);
                passages.spans.push(span(&window, text));
                ids.push(window.ids);
            }
        }
        let rows: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        for mut vector in encoder.vectors(model, &rows, device, &mut |count| done(count, rows.len())) {
            scale(&mut vector);
            passages.vectors.append(&mut vector);
        }
        Ok(passages)
    }

    /// Documents that are longer than one window.
    pub fn long(&self) -> usize {
        self.documents.chunk_by(|one, other| one == other).filter(|windows| windows.len() > 1).count()
    }

    /// Of every query, whose vectors have length 1, the nearest documents, the nearest first, at most so many; of equal ones the one that
    /// stands first.
    pub fn nearest(&self, queries: &[Vec<f32>], most: usize, device: &Device) -> Vec<Vec<Hit>> {
        let mut best: Vec<Vec<Hit>> = vec![Vec::new(); queries.len()];
        // Below this score a document is none of the best.
        let mut floors = vec![f32::NEG_INFINITY; queries.len()];
        self.each_block(queries, device, |query, first, scores| {
            let (best, floor) = (&mut best[query], &mut floors[query]);
            // The document that the block before ended in.
            let begun = first.checked_sub(1).map(|last| self.documents[last] as usize);
            for hit in self.hits(first, scores).filter(|hit| hit.score >= *floor) {
                let earlier =
                    best.iter_mut().find(|other| begun == Some(hit.document) && other.document == hit.document);
                match earlier {
                    Some(other) if other.score >= hit.score => {}
                    Some(other) => *other = hit,
                    None => best.push(hit),
                }
            }
            keep(best, most);
            if let Some(worst) = best.last().filter(|_| best.len() == most) {
                *floor = worst.score;
            }
        });
        for hits in &mut best {
            keep(hits, most);
        }
        best
    }

    /// Of every query the scores of all documents, `tell(query, scores)`; `documents` of them.
    pub(super) fn scores(
        &self,
        queries: &[Vec<f32>],
        documents: usize,
        device: &Device,
        mut tell: impl FnMut(usize, &[f32]),
    ) {
        for (chunk, queries) in queries.chunks(QUERIES).enumerate() {
            let mut rows = vec![f32::NEG_INFINITY; queries.len() * documents];
            self.each_block(queries, device, |query, first, scores| {
                for hit in self.hits(first, scores) {
                    let place = &mut rows[query * documents + hit.document];
                    *place = place.max(hit.score);
                }
            });
            rows.chunks(documents.max(1)).enumerate().for_each(|(query, row)| tell(chunk * QUERIES + query, row));
        }
    }

    /// The best window of each document, of windows from `first` on.
    fn hits(&self, first: usize, scores: &[f32]) -> impl Iterator<Item = Hit> {
        let mut begin = first;
        self.documents[first..first + scores.len()].chunk_by(|one, other| one == other).map(move |windows| {
            let at = begin..begin + windows.len();
            begin = at.end;
            let better =
                |best: usize, other: usize| if scores[other - first] > scores[best - first] { other } else { best };
            let window = at.clone().fold(at.start, better);
            Hit { document: windows[0] as usize, score: scores[window - first], window }
        })
    }

    /// Cosines of queries with a block of windows, `tell(query, first window, cosines)`.
    fn each_block(&self, queries: &[Vec<f32>], device: &Device, mut tell: impl FnMut(usize, usize, &[f32])) {
        if self.documents.is_empty() {
            return;
        }
        for (block, vectors) in self.vectors.chunks(WINDOWS * self.width.max(1)).enumerate() {
            let count = vectors.len() / self.width.max(1);
            let data = TensorData::new(vectors.to_vec(), [count, self.width]);
            let windows = Tensor::<2>::from_data(data, device).transpose();
            for (chunk, asked) in queries.chunks(QUERIES).enumerate() {
                let data = TensorData::new(asked.concat(), [asked.len(), self.width]);
                let products = Tensor::<2>::from_data(data, device).matmul(windows.clone()).into_data();
                let products = products.convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion");
                for (query, scores) in products.chunks(count).enumerate() {
                    tell(chunk * QUERIES + query, block * WINDOWS, scores);
                }
            }
        }
    }
}

/// The best hits, in their order.
fn keep(hits: &mut Vec<Hit>, most: usize) {
    hits.sort_by(|one, other| other.score.total_cmp(&one.score).then(one.document.cmp(&other.document)));
    hits.truncate(most);
}

/// The bytes of a text that a window has.
fn span(window: &Window, text: &str) -> (u64, u64) {
    let places = || window.places.iter().flatten();
    let begin = places().map(|place| place.1).min().unwrap_or(0);
    let end = places().map(|place| place.2).max().unwrap_or(text.len());
    (begin as u64, end as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passages(documents: &[u32], vectors: Vec<[f32; 2]>) -> Passages {
        Passages {
            width: 2,
            vectors: vectors.concat(),
            documents: documents.to_vec(),
            spans: vec![(0, 1); documents.len()],
        }
    }

    #[test]
    fn the_best_window_speaks_for_its_document() {
        let device = Device::default();
        let found = passages(&[0, 1, 1, 2], vec![[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [-1.0, 0.0]]);
        let hits = &found.nearest(&[vec![0.6, 0.8]], 2, &device)[0];
        let told: Vec<(usize, usize)> = hits.iter().map(|hit| (hit.document, hit.window)).collect();
        assert_eq!(told, [(1, 2), (0, 0)]);
        assert_eq!(found.long(), 1);
        let mut rows = Vec::new();
        found.scores(&[vec![0.6, 0.8], vec![1.0, 0.0]], 3, &device, |_, row| rows.push(row.to_vec()));
        assert!((rows[0][1] - 0.96).abs() < 1e-6 && (rows[1][1] - 0.8).abs() < 1e-6, "{rows:?}");
        assert!(Passages::default().nearest(&[vec![]], 3, &device)[0].is_empty());
    }

    #[test]
    fn many_documents_are_found_as_by_sorting() {
        let device = Device::default();
        let angle = |number: usize| ((number * 7919 % 1009) as f32 / 1009.0 * std::f32::consts::TAU).sin_cos();
        let count = WINDOWS + 500;
        let vectors: Vec<[f32; 2]> = (0..count).map(angle).map(|(y, x)| [x, y]).collect();
        let documents: Vec<u32> = (0..count as u32).map(|window| window / 3).collect();
        let found = passages(&documents, vectors);
        let hits = &found.nearest(&[vec![0.6, 0.8]], 7, &device)[0];
        let mut sorted = Vec::new();
        found.scores(&[vec![0.6, 0.8]], count.div_ceil(3), &device, |_, row| {
            sorted = row.iter().copied().enumerate().collect::<Vec<_>>();
        });
        sorted.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
        let told: Vec<(usize, f32)> = hits.iter().map(|hit| (hit.document, hit.score)).collect();
        assert_eq!(told, sorted[..7]);
    }
}
