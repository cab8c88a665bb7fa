//! The training documents of a run, cut into passages that the model reads at once.

use std::collections::HashMap;
use std::ops::Range;

use loam_corpus::Prepared;
use loam_train::learner::Learner;
use loam_train::objective::Example;
use loam_train::reopen::Reopened;

use crate::{InfluenceError, columns};

/// A training document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its id in `documents.parquet`.
    pub id: String,
    /// The place of its source.
    pub source: usize,
    /// Where its tokens stand in the source's stream, without the end of text.
    pub tokens: Range<usize>,
    /// The passages that it was cut into.
    pub passages: Range<usize>,
    /// Its number among the pairs or conversations of its source, where that is what the source holds.
    pair: Option<usize>,
}

/// What the model reads of a document at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The place of its document.
    pub document: usize,
    /// Where its tokens stand in the source's stream.
    pub tokens: Range<usize>,
}

/// Every training document of a run with its passages, in the order of `documents.parquet`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passages {
    /// The documents.
    pub documents: Vec<Document>,
    /// Their passages.
    pub passages: Vec<Passage>,
}

impl Passages {
    /// Those of a run.
    ///
    /// # Errors
    /// When `documents.parquet` cannot be read or tells of tokens that are not there.
    pub fn of<M: Learner>(run: &Reopened<M>) -> Result<Self, InfluenceError> {
        let sources = run.prepared.sources();
        let places: HashMap<&str, usize> =
            sources.iter().enumerate().map(|(place, source)| (source.name.as_str(), place)).collect();
        // Pairs by where they begin.
        let pairs: Vec<Option<HashMap<usize, usize>>> = (0..sources.len())
            .map(|source| {
                let stream = run.prepared.train_examples(source)?;
                let mut begin = 0;
                let begins = (0..stream.len()).map(|pair| {
                    let (input, target) = stream.lengths(pair);
                    let here = begin;
                    begin += input + target;
                    (here, pair)
                });
                Some(begins.collect())
            })
            .collect();
        let window = run.window().max(1);
        let mut all = Self::default();
        columns::read(&run.documents, |rows| {
            let (ids, source, split) = (rows.texts("id")?, rows.texts("source")?, rows.texts("split")?);
            let (starts, tokens) = (rows.integers("token_start")?, rows.integers("tokens")?);
            for row in 0..rows.rows() {
                let Some(&source) = places.get(source[row].as_str()) else { continue };
                if split[row] != "train" || tokens[row] == 0 {
                    continue;
                }
                let range = starts[row] as usize..(starts[row] as usize).saturating_add(tokens[row] as usize);
                if range.end > run.prepared.train_stream(source).len() {
                    return Err(InfluenceError::Attribution {
                        what: format!("{} tells of tokens that are not there", run.documents.display()),
                        hint: "the table belongs to other data; train again".into(),
                    });
                }
                let pair = pairs[source].as_ref().map(|pairs| pairs.get(&range.start).copied());
                if pair == Some(None) {
                    continue;
                }
                all.push(ids[row].clone(), source, range, pair.flatten(), window);
            }
            Ok(())
        })?;
        Ok(all)
    }

    fn push(&mut self, id: String, source: usize, tokens: Range<usize>, pair: Option<usize>, window: usize) {
        let (document, first) = (self.documents.len(), self.passages.len());
        if pair.is_some() {
            self.passages.push(Passage { document, tokens: tokens.clone() });
        } else {
            // Of even length, since a short last one would be read without its context.
            let count = tokens.len().div_ceil(window);
            let cut = |part: usize| tokens.start + tokens.len() * part / count;
            self.passages.extend((0..count).map(|part| Passage { document, tokens: cut(part)..cut(part + 1) }));
        }
        self.documents.push(Document { id, source, tokens, passages: first..self.passages.len(), pair });
    }

    /// The example of a passage: its tokens, read after the one before it or, at a document's beginning, after the end of
    /// a text; at a document's end that end is told too, as in training.
    pub fn example<M: Learner>(&self, run: &Reopened<M>, passage: usize) -> Example {
        let Passage { document, tokens } = &self.passages[passage];
        let document = &self.documents[*document];
        if let Some(example) = document.pair.and_then(|pair| run.pair(document.source, pair)) {
            return example;
        }
        let stream = run.prepared.train_stream(document.source);
        let mut ids = Vec::with_capacity(tokens.len() + 2);
        stream.append(tokens.clone(), &mut ids);
        let before = if tokens.start == document.tokens.start {
            stream.end_of_text()
        } else {
            let mut one = Vec::new();
            stream.get(tokens.start - 1..tokens.start, &mut one);
            one.first().copied()
        };
        if tokens.end == document.tokens.end && ids.len() < run.window() {
            ids.extend(stream.end_of_text());
        }
        run.passage(before, &ids, document.source, tokens.start)
    }

    /// The text of a passage.
    pub fn text(&self, prepared: &Prepared, passage: usize) -> String {
        let Passage { document, tokens } = &self.passages[passage];
        let mut ids = Vec::new();
        prepared.train_stream(self.documents[*document].source).get(tokens.clone(), &mut ids);
        prepared.tokenizer().decode(&ids)
    }

    /// A hash of what is read of which document.
    pub fn hash(&self) -> String {
        let mut text = String::new();
        for document in &self.documents {
            let Document { id, source, tokens, passages, .. } = document;
            text.push_str(&format!("{id}\n{source} {tokens:?} {}\n", passages.len()));
        }
        format!("{:032x}", u128::from_be_bytes(loam_corpus::content_hash(&text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_cut_evenly_and_whole() {
        let mut passages = Passages::default();
        passages.push("a".into(), 0, 10..15, None, 8);
        passages.push("b".into(), 0, 16..33, None, 8);
        passages.push("c".into(), 1, 0..30, Some(0), 8);
        let ranges: Vec<_> = passages.passages.iter().map(|passage| passage.tokens.clone()).collect();
        assert_eq!(ranges, [10..15, 16..21, 21..27, 27..33, 0..30]);
        assert_eq!(passages.documents[1].passages, 1..4);
        assert_ne!(passages.hash(), Passages::default().hash());
    }
}
