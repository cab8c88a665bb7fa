//! From text files to word vectors: count the words, lay the text down as rows of the vocabulary, train.
//!
//! A sentence is a line of text; windows do not reach over its ends.

use crate::error::TrainError;
use loam_corpus::{Bytes, CorpusError, ReadOptions, WordSplit, count_words, read_documents};
use loam_models::word2vec::{self, EncodedText, Trained, Vocabulary, Word2VecConfig};
use rayon::prelude::*;
use std::cell::Cell;
use std::path::{Path, PathBuf};

/// Text that is turned into rows at once, in bytes.
const ROUND: usize = 4 << 20;
/// Between two rows: a line of text ended.
const END: u32 = u32::MAX;

/// What to train on, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Files, folders, and globs, or what `hf:` names.
    pub paths: Vec<String>,
    /// The field of JSON records that holds the text.
    pub text_field: Option<String>,
    /// How bytes become text.
    pub bytes: Bytes,
    /// How text is cut into words.
    pub split: WordSplit,
    /// Rarer words get no vector.
    pub min_count: u64,
    /// Words that get a vector at most, the most frequent.
    pub most_words: Option<usize>,
    /// How vectors are trained.
    pub config: Word2VecConfig,
    /// A folder with room for four bytes a word of text, while training lasts.
    pub scratch: PathBuf,
    /// Memory of the machine in bytes, which the vectors must fit into.
    pub memory: Option<u64>,
}

/// What is being done.
#[derive(Clone, Copy, Debug)]
pub enum Stage<'a> {
    /// Words are counted.
    Counting {
        /// Documents read.
        documents: u64,
        /// Bytes of text read.
        bytes: u64,
    },
    /// The words that get vectors are known.
    Counted {
        /// Them.
        vocabulary: &'a Vocabulary,
        /// Different words in the text.
        different: usize,
        /// Words of the text.
        words: u64,
    },
    /// The text is laid down.
    Encoding {
        /// Words laid down.
        words: u64,
    },
    /// Vectors are trained.
    Training(word2vec::Progress),
}

/// Word vectors with the words that they were trained for.
#[derive(Debug)]
pub struct WordVectorsRun {
    /// The words and their counts.
    pub vocabulary: Vocabulary,
    /// The vectors, and whether training came to its end.
    pub trained: Trained,
}

/// Trains word vectors. `watch` sees every stage often and stops the work by returning false: before training, nothing
/// comes of it; within, the vectors are as far as they came.
///
/// # Errors
/// When the text cannot be read, has too few words, or the configuration is impossible.
pub fn train(plan: &Plan, watch: &mut (dyn FnMut(Stage) -> bool + Send)) -> Result<Option<WordVectorsRun>, TrainError> {
    plan.config.check()?;
    let stopped = Cell::new(false);
    let texts = texts(plan)?.take_while(|_| !stopped.get());
    let mut counting = |documents, bytes| stopped.set(stopped.get() || !watch(Stage::Counting { documents, bytes }));
    let counts = count_words(plan.split, texts, &mut counting)?;
    if stopped.get() {
        return Ok(None);
    }
    let different = counts.len();
    let words = counts.iter().map(|(_, count)| count).sum();
    let vocabulary = Vocabulary::new(counts, plan.min_count, plan.most_words)?;
    let needed = plan.config.bytes(vocabulary.len());
    if let Some(memory) = plan.memory.filter(|memory| needed > *memory) {
        return Err(TrainError::Request(format!(
            "vectors of {} numbers for {} words take {needed} bytes, and this machine has {memory}; ask for a smaller size \
             or vocabulary",
            plan.config.size,
            vocabulary.len()
        )));
    }
    if !watch(Stage::Counted { vocabulary: &vocabulary, different, words }) {
        return Ok(None);
    }
    let Some(mut text) = encode(plan, &vocabulary, watch)? else { return Ok(None) };
    let trained =
        word2vec::train(&vocabulary, &mut text, &plan.config, &mut |progress| watch(Stage::Training(*progress)))?;
    Ok(Some(WordVectorsRun { vocabulary, trained }))
}

fn texts(plan: &Plan) -> Result<impl Iterator<Item = Result<String, CorpusError>>, TrainError> {
    let options = ReadOptions { text_field: plan.text_field.clone(), bytes: plan.bytes, ..ReadOptions::default() };
    let documents = read_documents(&plan.paths, &options)?;
    Ok(documents.map(|document| document.map(|document| document.text)))
}

/// The text as rows; nothing where it was stopped.
fn encode(
    plan: &Plan,
    vocabulary: &Vocabulary,
    watch: &mut (dyn FnMut(Stage) -> bool + Send),
) -> Result<Option<EncodedText>, TrainError> {
    let io = |source| TrainError::io(&plan.scratch, source);
    let mut encoded = EncodedText::new(&plan.scratch).map_err(io)?;
    let mut texts = texts(plan)?.peekable();
    while texts.peek().is_some() {
        let (mut round, mut length) = (Vec::new(), 0);
        while length < ROUND
            && let Some(text) = texts.next()
        {
            let text = text?;
            length += text.len();
            round.push(text);
        }
        let rows: Vec<Vec<u32>> = round.par_iter().map(|text| rows_of(plan.split, vocabulary, text)).collect();
        for sentence in rows.iter().flat_map(|rows| rows.split(|row| *row == END)) {
            if !sentence.is_empty() {
                encoded.push(sentence).map_err(io)?;
            }
        }
        if !watch(Stage::Encoding { words: encoded.words() }) {
            return Ok(None);
        }
    }
    Ok(Some(encoded))
}

/// The rows of a text's words, each line followed by [`END`].
fn rows_of(split: WordSplit, vocabulary: &Vocabulary, text: &str) -> Vec<u32> {
    let prepared = split.prepare(text);
    let mut rows = Vec::new();
    for line in prepared.lines() {
        rows.extend(split.words(line).filter_map(|word| vocabulary.row(word)));
        rows.push(END);
    }
    rows
}

/// The folder in which a file's scratch belongs.
pub fn beside(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
