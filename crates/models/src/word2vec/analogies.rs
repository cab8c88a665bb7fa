//! Analogies: a is to b as c is to which word? Files of them as `questions-words.txt`, and how many are answered as
//! expected, counted as gensim's `evaluate_word_analogies` counts.

use super::WordVectors;
use super::vectors::Best;
use crate::error::ModelError;
use loam_kernels::matrix::{MatrixRef, Precision, product};
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::Path;

/// Questions that are answered at once at most, and numbers of their products with the vocabulary.
const BATCH: (usize, usize) = (256, 1 << 24);
/// Candidates that an answer is chosen from.
const CANDIDATES: usize = 5;

/// Questions with their answers, in sections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Questions {
    sections: Vec<(String, Vec<[String; 4]>)>,
    skipped: u64,
}

impl Questions {
    /// Reads `: name` lines and lines of four words each. Other lines are passed over, and counted where they are not empty.
    ///
    /// # Errors
    /// When the file cannot be read, is not UTF-8, or has a question before the first section.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(|source| ModelError::Io {
            path: path.to_owned(),
            source,
            hint: "; give a file in the form of questions-words.txt".to_owned(),
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            ModelError::format(path, format!("byte {} is not UTF-8 text", error.utf8_error().valid_up_to()))
        })?;
        Self::parse(&text).map_err(|reason| ModelError::format(path, reason))
    }

    /// [`Questions::open`] on text, with the reason in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut questions = Self::default();
        for (number, line) in text.lines().enumerate() {
            if line.starts_with(": ") {
                let name = line.trim_start_matches([':', ' ']).trim().to_owned();
                questions.sections.push((name, Vec::new()));
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            match (&words[..], questions.sections.last_mut()) {
                ([], _) => {}
                (_, None) => {
                    return Err(format!(
                        "line {} stands before the first section; a section begins \": name\"",
                        number + 1
                    ));
                }
                ([a, b, c, d], Some((_, section))) => section.push([*a, *b, *c, *d].map(str::to_owned)),
                _ => questions.skipped += 1,
            }
        }
        Ok(questions)
    }

    /// Questions in all.
    pub fn count(&self) -> usize {
        self.sections.iter().map(|(_, questions)| questions.len()).sum()
    }

    /// Lines that were passed over, since they do not have four words.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// What became of a section's questions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Questions answered as expected.
    pub correct: u64,
    /// Questions answered, rightly or wrongly.
    pub asked: u64,
    /// Questions left out, since one of their words is unknown.
    pub unknown: u64,
}

impl Section {
    /// The share of right answers.
    pub fn accuracy(&self) -> f64 {
        if self.asked == 0 { 0.0 } else { self.correct as f64 / self.asked as f64 }
    }
}

/// How an evaluation went.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The sections of the file.
    pub sections: Vec<Section>,
    /// All of them together.
    pub total: Section,
}

/// A question by rows, with the answer as it is spelled.
struct Asked<'a> {
    rows: [usize; 3],
    spelled: [String; 3],
    expected: String,
    section: &'a str,
    index: usize,
}

impl WordVectors {
    /// Answers every question whose words are among the first `restrict`, by 3CosAdd. With `folded`, words are compared in
    /// upper case, and the first of several spellings counts.
    pub fn evaluate(&self, questions: &Questions, restrict: usize, folded: bool) -> Evaluation {
        let count = restrict.min(self.len());
        let spell = |word: &str| if folded { word.to_uppercase() } else { word.to_owned() };
        let mut rows: HashMap<String, usize> = HashMap::with_capacity(count);
        let spelled: Vec<String> = self.words()[..count].iter().map(|word| spell(word)).collect();
        for (row, word) in spelled.iter().enumerate() {
            rows.entry(word.clone()).or_insert(row);
        }
        let mut sections = Vec::new();
        let mut asked = Vec::new();
        for (index, (name, questions)) in questions.sections.iter().enumerate() {
            let mut section = Section { name: name.clone(), ..Section::default() };
            for question in questions {
                let [a, b, c, expected] = question.each_ref().map(|word| spell(word));
                let found = [&a, &b, &c, &expected].map(|word| rows.get(word).copied());
                let [Some(first), Some(second), Some(third), Some(_)] = found else {
                    section.unknown += 1;
                    continue;
                };
                section.asked += 1;
                asked.push(Asked { rows: [first, second, third], spelled: [a, b, c], expected, section: name, index });
            }
            sections.push(section);
        }
        let batch = (BATCH.1 / count.max(1)).clamp(1, BATCH.0);
        for questions in asked.chunks(batch) {
            for (question, right) in questions.iter().zip(self.answers(questions, &spelled)) {
                debug_assert_eq!(sections[question.index].name, question.section);
                sections[question.index].correct += u64::from(right);
            }
        }
        let mut total = Section { name: "total".to_owned(), ..Section::default() };
        for section in &sections {
            total.correct += section.correct;
            total.asked += section.asked;
            total.unknown += section.unknown;
        }
        Evaluation { sections, total }
    }

    /// Whether each question is answered as expected.
    fn answers(&self, questions: &[Asked], spelled: &[String]) -> Vec<bool> {
        let directions: Vec<f32> =
            questions.iter().flat_map(|asked| self.direction(&asked.rows[1..], &asked.rows[..1])).collect();
        let words = spelled.len();
        let mut products = vec![0.0; questions.len() * words];
        let directions = MatrixRef::new(&directions, questions.len(), self.size());
        let vectors = MatrixRef::new(self.first(words), words, self.size()).transposed();
        product(directions, vectors, &mut products, false, Precision::F32);
        let answer = |(asked, products): (&Asked, &[f32])| {
            let mut best = Best::new(CANDIDATES);
            for (row, product) in products.iter().enumerate() {
                if !asked.rows.contains(&row) {
                    best.offer(row, self.cosine(row, *product));
                }
            }
            // The first candidate that is no spelling of a given word; where all five are, the last of them.
            let given = |(row, _): &&(usize, f32)| asked.spelled.contains(&spelled[*row]);
            let found = best.rows.iter().find(|candidate| !given(candidate)).or(best.rows.last());
            found.is_some_and(|(row, _)| spelled[*row] == asked.expected)
        };
        questions.par_iter().zip(products.par_chunks(words.max(1))).map(answer).collect()
    }
}
