//! Lines and paragraphs that a corpus has had before.
//!
//! Menus, notices and signatures stand in thousands of documents, none of which is a copy of another. As in CCNet (Wenzek et
//! al. 2020), a part of a text is known by its words alone, in lower case and without punctuation; the first document that has
//! it keeps it. The corpus is read twice: once to gather hashes, which are sorted outside memory, and once to drop what was
//! found, in the order of the documents' numbers.

use std::borrow::Cow;

use super::exact::words_of;
use super::external_sort::{ExternalSorter, Scratch};
use super::in_order::InOrder;
use super::words::{Cut, each_word, plain};
use crate::duplicates::content_hash;
use crate::error::CorpusError;

/// What is dropped as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// A line.
    #[default]
    Line,
    /// The lines between two blank ones.
    Paragraph,
}

/// How long a part must be to be dropped: short ones repeat without being copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Least {
    /// Characters, without white space at both ends.
    Characters(usize),
    /// Words: runs of letters and digits; in scripts without spaces, letters.
    Words(usize),
}

impl Default for Least {
    /// Five words.
    fn default() -> Self {
        Self::Words(5)
    }
}

impl Least {
    fn is_met(self, part: &str) -> bool {
        match self {
            Self::Characters(least) => part.trim().chars().take(least).count() >= least,
            Self::Words(least) => {
                let mut words = 0;
                each_word(part, Cut::Mixed, 0, |_, _| words += 1);
                words >= least
            }
        }
    }
}

/// Finds repeated parts: the first reading.
#[derive(Debug)]
pub struct RepeatedParts {
    part: Part,
    least: Least,
    scratch: Scratch,
    /// Two words of hash, document, part.
    hashes: ExternalSorter<4>,
}

impl RepeatedParts {
    /// Nothing added yet.
    pub fn new(part: Part, least: Least, scratch: &Scratch) -> Self {
        Self { part, least, scratch: scratch.clone(), hashes: ExternalSorter::new(scratch) }
    }

    /// Adds a document; in any order.
    ///
    /// # Errors
    /// [`CorpusError::Io`] where hashes cannot be written.
    pub fn add(&mut self, document: u64, text: &str) -> Result<(), CorpusError> {
        for (number, part) in split(self.part, text).enumerate() {
            if part.trim().is_empty() || !self.least.is_met(part) {
                continue;
            }
            let words = plain(part);
            // A line of dashes has no words, and is known as it stands.
            let [high, low] = words_of(content_hash(if words.is_empty() { part } else { &words }));
            self.hashes.push([high, low, document, number as u64])?;
        }
        Ok(())
    }

    /// What to drop, for the second reading.
    ///
    /// # Errors
    /// [`CorpusError::Io`] where hashes cannot be written or read.
    pub fn finish(self) -> Result<PartRemover, CorpusError> {
        let mut repeats = ExternalSorter::new(&self.scratch);
        let mut last = None;
        for record in self.hashes.sort()? {
            let [high, low, document, number] = record?;
            if last == Some([high, low]) {
                repeats.push([document, number])?;
            }
            last = Some([high, low]);
        }
        Ok(PartRemover { part: self.part, repeats: InOrder::new(repeats.sort()?) })
    }
}

/// A text without what was said before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trimmed<'t> {
    /// What is left; borrowed where nothing was dropped. White space at the end goes with what stood behind it.
    pub text: Cow<'t, str>,
    /// Parts dropped.
    pub dropped: u64,
    /// Bytes dropped.
    pub dropped_bytes: u64,
}

/// Drops repeated parts: the second reading.
#[derive(Debug)]
pub struct PartRemover {
    part: Part,
    repeats: InOrder<2>,
}

impl PartRemover {
    /// Drops from a text the parts that stand in an earlier document, or earlier in this one.
    ///
    /// Documents come in ascending order, with the texts that were added; some may be left out.
    ///
    /// # Errors
    /// [`CorpusError::Invalid`] where a document comes too late, [`CorpusError::Io`] where hashes cannot be read.
    pub fn remove<'t>(&mut self, document: u64, text: &'t str) -> Result<Trimmed<'t>, CorpusError> {
        let repeats = self.repeats.of(document)?;
        if repeats.is_empty() {
            return Ok(Trimmed { text: Cow::Borrowed(text), dropped: 0, dropped_bytes: 0 });
        }
        let mut left = String::with_capacity(text.len());
        let mut dropped = 0;
        let mut next = repeats.iter().map(|[_, number]| *number).peekable();
        for (number, part) in split(self.part, text).enumerate() {
            if next.next_if_eq(&(number as u64)).is_some() {
                dropped += 1;
            } else {
                left.push_str(part);
            }
        }
        left.truncate(left.trim_end().len());
        let dropped_bytes = (text.len() - left.len()) as u64;
        Ok(Trimmed { text: Cow::Owned(left), dropped, dropped_bytes })
    }
}

/// The parts of a text, together the whole of it: lines with their ends, paragraphs with the blank lines behind them.
fn split(part: Part, text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut end = 0;
        let mut blank = false;
        for line in rest.split_inclusive('\n') {
            let is_blank = line.trim().is_empty();
            if part == Part::Paragraph && blank && !is_blank {
                break;
            }
            end += line.len();
            // Blank lines before the first paragraph belong to it.
            blank = is_blank && (blank || !rest[..end - line.len()].trim().is_empty());
            if part == Part::Line {
                break;
            }
        }
        let (part, behind) = rest.split_at(end);
        rest = behind;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::arithmetic::Draws;
    use super::*;

    fn removed(part: Part, least: Least, texts: &[&str]) -> Vec<String> {
        let mut repeated = RepeatedParts::new(part, least, &Scratch::default());
        for (number, text) in texts.iter().enumerate() {
            repeated.add(number as u64, text).unwrap();
        }
        let mut remover = repeated.finish().unwrap();
        texts
            .iter()
            .enumerate()
            .map(|(number, text)| remover.remove(number as u64, text).unwrap().text.into())
            .collect()
    }

    #[test]
    fn lines_go_where_they_were_read_before() {
        let texts =
            ["Accept all of our cookies now!\nNews\n", "Other\n  accept all of OUR cookies, now\nNews\n", "News"];
        assert_eq!(removed(Part::Line, Least::default(), &texts), [texts[0], "Other\nNews", "News"]);
        assert_eq!(removed(Part::Line, Least::Characters(4), &texts), [texts[0], "Other", ""]);
    }

    #[test]
    fn paragraphs_go_with_the_blank_lines_behind_them() {
        let texts = ["\n\none two\nthree\n\n\nfour\n", "five\n \none two\nthree\n\nsix\n\nfive"];
        assert_eq!(split(Part::Paragraph, texts[0]).collect::<Vec<_>>(), ["\n\none two\nthree\n\n\n", "four\n"]);
        assert_eq!(removed(Part::Paragraph, Least::Words(1), &texts), [texts[0], "five\n \nsix"]);
    }

    #[test]
    fn chinese_letters_are_words() {
        let texts = ["版权所有,不得转载。\n正文", "正文\n版权所有 不得转载\n又"];
        assert_eq!(removed(Part::Line, Least::Words(5), &texts), [texts[0], "正文\n又"]);
    }

    #[test]
    fn equal_to_a_set_in_memory_spilling_or_not() {
        let mut draws = Draws::new(8);
        let texts: Vec<String> = (0..400)
            .map(|_| {
                (0..draws.draw() % 12).map(|_| format!("line {}\n", draws.draw() % 900)).collect::<Vec<_>>().concat()
            })
            .collect();
        for memory in [300, 1 << 20] {
            let mut repeated =
                RepeatedParts::new(Part::Line, Least::Words(2), &Scratch { memory, ..Scratch::default() });
            for (number, text) in texts.iter().enumerate().rev() {
                repeated.add(number as u64, text).unwrap();
            }
            let mut remover = repeated.finish().unwrap();
            let mut seen = HashSet::new();
            for (number, text) in texts.iter().enumerate() {
                let lines = text.lines().count();
                let expected: Vec<&str> = text.lines().filter(|line| seen.insert(line.to_owned())).collect();
                let found = remover.remove(number as u64, text).unwrap();
                assert_eq!(found.text.lines().collect::<Vec<_>>(), expected);
                assert_eq!(found.dropped as usize, lines - expected.len());
                assert_eq!(found.dropped_bytes as usize, text.len() - found.text.len());
            }
        }
    }

    #[test]
    fn a_document_that_comes_too_late_is_refused() {
        let mut remover = RepeatedParts::new(Part::Line, Least::default(), &Scratch::default()).finish().unwrap();
        assert_eq!(remover.remove(5, "").unwrap().text, "");
        assert!(remover.remove(4, "").unwrap_err().to_string().contains("ascending"));
    }
}
