//! The first reading: copies are counted and what is held out is decided.
//!
//! Without held-out files, a document is held out when its content hash is small. The hash, not the place,
//! decides, so all copies of a document go to the same side and the choice does not change when files are
//! renamed or more are added. A source of few documents has nothing to choose from: its last 2 % of bytes
//! are held out instead, one document being cut for it where a paragraph ends.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::examples;
use super::plan::Progress;
use crate::batches::in_batches;
use crate::clean::{NoText, Step};
use crate::duplicates::{ContentHash, DuplicateCounter, RepeatedDocument, SealedCounts, content_hash};
use crate::error::CorpusError;
use crate::read::{
    Document, Documents, FileList, Notes, ReadOptions, Records, cut_near, find_files, find_paired_files,
};

/// A source with fewer documents holds out its end.
const FEWEST_DOCUMENTS: u64 = 200;
/// Documents held out, of a thousand.
const HELD_OUT_PER_MILLE: u64 = 20;
/// Most repeated documents told of a source.
const MOST_REPEATED: usize = 10;

/// A document, or a part of one, with its side when its place decides that.
pub(super) struct Piece {
    pub(super) document: Document,
    pub(super) held_out: Option<bool>,
}

impl Piece {
    pub(super) fn bytes(&self) -> usize {
        self.document.text.len()
    }
}

/// How a source is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Division {
    /// All of it is trained on.
    Whole,
    /// By content hash.
    ByHash,
    /// From this byte of its text on, it is held out.
    Tail { start: u64 },
}

/// Which content hashes are held out of sources divided by hash.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldHashes {
    /// The smallest of a source of which no hash was small enough.
    pub(super) more: BTreeSet<ContentHash>,
}

impl HeldHashes {
    pub(super) fn contains(&self, hash: &ContentHash) -> bool {
        is_small(hash) || self.more.contains(hash)
    }
}

fn is_small(hash: &ContentHash) -> bool {
    let mut head = [0; 8];
    head.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(head) < u64::MAX / 1000 * HELD_OUT_PER_MILLE
}

/// The files of a source or domain and how they are read.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) paths: Vec<String>,
    pub(super) files: FileList,
    pub(super) options: ReadOptions,
    /// How its text is cleaned.
    pub(super) clean: Vec<Step>,
}

impl Input {
    pub(super) fn find(
        name: &str,
        paths: &[String],
        options: ReadOptions,
        clean: &[Step],
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Self, CorpusError> {
        if options.split == crate::read::Split::Separator(String::new()) {
            return Err(CorpusError::invalid(
                format!("\"{name}\": the separator between documents is empty"),
                "give at least one character",
            ));
        }
        let files = find_sources(paths, &options)?;
        progress(&Progress::Found { source: name.to_owned(), files: files.files.len(), skipped: files.skipped.len() });
        Ok(Self { name: name.to_owned(), paths: paths.to_vec(), files, options, clean: clean.to_vec() })
    }

    /// The pieces of this input under a division.
    pub(super) fn pieces(&self, division: Division) -> Pieces {
        Pieces {
            documents: Documents::new(self.files.files.clone(), self.options.clone()),
            division,
            position: 0,
            rest: None,
            cut: false,
            whole: self.options.records.are_examples(),
        }
    }

    /// The text of a document, normalized and cleaned, or why there is none. Both sides of a pair are cleaned, and a pair
    /// of which one has no text left is none.
    pub(super) fn text<'d>(&self, document: &'d Document) -> Result<Cow<'d, str>, NoText> {
        examples::text(document, self.steps())
    }

    /// The two sides of a pair, cleaned.
    pub(super) fn sides(&self, text: &str, target: usize) -> (String, String) {
        examples::sides(text, target, &self.clean)
    }

    /// Conversations are read through their template, as they are.
    fn steps(&self) -> &[Step] {
        if self.options.records == Records::Conversations { &[] } else { &self.clean }
    }

    pub(super) fn no_text(&self, what: &'static str) -> CorpusError {
        CorpusError::NoText { what, name: self.name.clone(), paths: self.paths.clone() }
    }
}

/// The files behind these paths that hold what is read.
pub(crate) fn find_sources(paths: &[String], options: &ReadOptions) -> Result<FileList, CorpusError> {
    match options.records {
        Records::PairFiles { .. } => find_paired_files(paths),
        _ => find_files(paths),
    }
}

/// A stream of pieces; see [`Input::pieces`].
pub(super) struct Pieces {
    documents: Documents,
    division: Division,
    /// Bytes of text before the next document.
    position: u64,
    /// The held-out part of the document that was cut.
    rest: Option<Piece>,
    cut: bool,
    /// Whether documents are not to be cut.
    whole: bool,
}

impl Iterator for Pieces {
    type Item = Result<Piece, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(rest) = self.rest.take() {
            return Some(Ok(rest));
        }
        let mut document = match self.documents.next()? {
            Ok(document) => document,
            Err(error) => return Some(Err(error)),
        };
        let Division::Tail { start } = self.division else {
            let held_out = (self.division == Division::Whole).then_some(false);
            return Some(Ok(Piece { document, held_out }));
        };
        let begin = self.position;
        self.position += document.text.len() as u64;
        if self.cut || self.position <= start {
            return Some(Ok(Piece { document, held_out: Some(self.cut) }));
        }
        self.cut = true;
        if self.whole {
            // An example is not cut.
            return Some(Ok(Piece { document, held_out: Some(true) }));
        }
        let at = cut_point(&document.text, (start - begin) as usize, begin == 0);
        if at == 0 {
            return Some(Ok(Piece { document, held_out: Some(true) }));
        }
        let tail = document.text.split_off(at);
        if !tail.is_empty() {
            let rest = Document { offset: document.offset + at as u64, text: tail, ..document.clone() };
            self.rest = Some(Piece { document: rest, held_out: Some(true) });
        }
        Some(Ok(Piece { document, held_out: Some(false) }))
    }
}

/// Where to cut a document whose bytes from `wanted` on should be held out: at a paragraph, a line or a
/// word somewhat before, so that the held-out part grows to four times its planned size at most.
fn cut_point(text: &str, wanted: usize, first: bool) -> usize {
    let tail = text.len() - wanted;
    let low = wanted.saturating_sub(tail * 3);
    let mut exact = wanted;
    while !text.is_char_boundary(exact) {
        exact -= 1;
    }
    let exact = if exact == 0 && first { text.chars().next().map_or(0, char::len_utf8) } else { exact };
    let text_before = &text[..exact];
    let blank = |at: usize| text[..at].trim().is_empty() || text[at..].trim().is_empty();
    match cut_near(text_before, low, exact) {
        Some(at) if !blank(at) => at,
        _ => exact,
    }
}

/// What the first reading found about a source.
pub(super) struct Scanned {
    pub(super) division: Division,
    pub(super) documents: u64,
    pub(super) unique_documents: u64,
    pub(super) duplicate_documents: u64,
    pub(super) duplicate_bytes: u64,
    pub(super) most_repeated: Vec<RepeatedDocument>,
    pub(super) counts: SealedCounts,
}

/// Tells what readers passed over since the last time.
fn tell(notes: &Notes, progress: &mut dyn FnMut(&Progress)) {
    let (notes, more) = notes.take();
    for note in notes {
        progress(&Progress::PassedOver(note));
    }
    if more > 0 {
        progress(&Progress::PassedOverMore(more));
    }
}

struct Counted {
    counter: DuplicateCounter,
    /// Documents and bytes of both sides; bytes as read, before normalization and cleaning.
    documents: u64,
    raw_bytes: u64,
    /// The smallest hash of the training side, with the bytes of its text.
    smallest: Option<(ContentHash, u64)>,
    held_out: u64,
}

fn count(
    input: &Input,
    division: Division,
    held: &HeldHashes,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Counted, CorpusError> {
    let mut counted =
        Counted { counter: DuplicateCounter::default(), documents: 0, raw_bytes: 0, smallest: None, held_out: 0 };
    let mut bytes = 0;
    let work = |piece: Piece| {
        let raw = piece.document.text.len() as u64;
        let text = input.text(&piece.document).map(Cow::into_owned).unwrap_or_default();
        let hash = content_hash(&text);
        let held_out = piece.held_out.unwrap_or_else(|| held.contains(&hash));
        let path: Arc<std::path::Path> = piece.document.path;
        Some((raw, text, hash, held_out, path))
    };
    let pieces = input.pieces(division);
    let notes = pieces.documents.notes();
    in_batches(pieces, Piece::bytes, work, |batch| {
        tell(&notes, progress);
        for (raw, text, hash, held_out, path) in batch {
            counted.raw_bytes += raw;
            if text.is_empty() {
                continue;
            }
            counted.documents += 1;
            bytes += text.len() as u64;
            if held_out {
                counted.held_out += 1;
            } else {
                counted.counter.add(hash, &text, &path);
                if counted.smallest.is_none_or(|(smallest, _)| hash < smallest) {
                    counted.smallest = Some((hash, text.len() as u64));
                }
            }
        }
        progress(&Progress::Reading { source: input.name.clone(), documents: counted.documents, bytes });
        Ok(())
    })?;
    tell(&notes, progress);
    if counted.documents == 0 {
        return Err(input.no_text("source"));
    }
    Ok(counted)
}

/// Reads a source, decides its division and counts the copies on its training side.
pub(super) fn scan(
    input: &Input,
    hold_out: bool,
    held: &mut HeldHashes,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Scanned, CorpusError> {
    let first = if hold_out { Division::ByHash } else { Division::Whole };
    let mut counted = count(input, first, held, progress)?;
    let mut division = first;
    if hold_out {
        let few = counted.documents < FEWEST_DOCUMENTS;
        // One text that fills a tenth of a source must not leave it, nor be all that is held out.
        let too_many = |documents: u64| documents > counted.documents / 10;
        if !few
            && counted.held_out == 0
            && let Some((smallest, bytes)) = counted.smallest
            && !too_many(counted.counter.copies(&smallest))
        {
            held.more.insert(smallest);
            counted.counter.remove(&smallest, bytes);
        } else if few || counted.held_out == 0 || too_many(counted.held_out) {
            // A text may end in white space, which is no text: look further back then.
            for per_mille in [HELD_OUT_PER_MILLE, 4 * HELD_OUT_PER_MILLE, 16 * HELD_OUT_PER_MILLE] {
                let tail = (counted.raw_bytes * per_mille).div_ceil(1000).max(1);
                division = Division::Tail { start: counted.raw_bytes - tail };
                counted = count(input, division, held, progress)?;
                if counted.held_out > 0 {
                    break;
                }
            }
            if counted.held_out == 0 || counted.counter.documents() == 0 {
                return Err(CorpusError::invalid(
                    format!("source \"{}\" is too short to hold a part of it out", input.name),
                    "add text, or name held-out files",
                ));
            }
        }
    }
    Ok(Scanned::new(division, counted))
}

/// Counts a source again because another one has put more hashes on the held-out side.
pub(super) fn recount(
    input: &Input,
    scanned: &mut Scanned,
    held: &HeldHashes,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(), CorpusError> {
    if scanned.division == Division::ByHash {
        *scanned = Scanned::new(scanned.division, count(input, scanned.division, held, progress)?);
    }
    Ok(())
}

impl Scanned {
    fn new(division: Division, counted: Counted) -> Self {
        let counter = counted.counter;
        Self {
            division,
            documents: counter.documents(),
            unique_documents: counter.unique_documents(),
            duplicate_documents: counter.duplicate_documents(),
            duplicate_bytes: counter.duplicate_bytes(),
            most_repeated: counter.most_repeated(MOST_REPEATED),
            counts: counter.seal(),
        }
    }
}

/// The hashes of all documents of a held-out domain.
pub(super) fn content_hashes(
    domain: &Input,
    progress: &mut dyn FnMut(&Progress),
) -> Result<HashSet<ContentHash>, CorpusError> {
    let mut hashes = HashSet::new();
    let (mut documents, mut bytes) = (0, 0);
    let work = |piece: Piece| {
        let text = domain.text(&piece.document).ok()?;
        Some((content_hash(&text), text.len() as u64))
    };
    in_batches(domain.pieces(Division::Whole), Piece::bytes, work, |batch| {
        documents += batch.len() as u64;
        bytes += batch.iter().map(|(_, bytes)| bytes).sum::<u64>();
        hashes.extend(batch.iter().map(|(hash, _)| *hash));
        progress(&Progress::Reading { source: domain.name.clone(), documents, bytes });
        Ok(())
    })?;
    if hashes.is_empty() { Err(domain.no_text("held-out domain")) } else { Ok(hashes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_fall_on_paragraphs_and_never_outside() {
        let text = "one paragraph here\n\nanother one\n\nthe last paragraph";
        let at = cut_point(text, text.len() - 8, true);
        assert_eq!(&text[at..], "the last paragraph");
        assert_eq!(cut_point("水火", 5, true), 3);
        assert_eq!(cut_point("ab", 0, true), 1);
        assert_eq!(cut_point("ab", 0, false), 0);
    }
}
