//! A look at data before anything is done with it.
//!
//! Most surprises in training data can be seen in its first rows, its lengths, its copies and a handful of
//! tell-tale strings. One streaming pass collects them; memory is that of the duplicate counter.

mod examples;
mod lengths;
mod oddities;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use examples::Examples;
pub use lengths::Lengths;
pub use oddities::OddityKind;

use crate::batches::in_batches;
use crate::clean::{NoText, Step};
use crate::duplicates::{ContentHash, DuplicateCounter, RepeatedDocument, content_hash};
use crate::error::CorpusError;
use crate::language::identify_language;
use crate::prepare::{ConversationWriter, Dropped, ExamplePlan, examples as written, find_sources, read_options};
use crate::read::{Bytes, Document, Documents, FileFormat, FileKind, Records, Split};
use crate::tokenizer::Tokenizer;
use lengths::Histogram;

/// What to look at, and how.
#[derive(Clone, Debug)]
pub struct InspectOptions {
    /// The JSON field that holds the text.
    pub text_field: Option<String>,
    /// Where documents of text files end.
    pub split: Split,
    /// Documents to show.
    pub preview: usize,
    /// Characters of each to show.
    pub preview_characters: usize,
    /// Counts tokens when given.
    pub tokenizer: Option<Tokenizer>,
    /// Steps of cleaning; what is told is of the text after them.
    pub clean: Vec<Step>,
    /// How bytes become text.
    pub bytes: Bytes,
    /// What the records are, where they are not texts; recognized without this and a text field.
    pub examples: Option<ExamplePlan>,
    /// Writes conversations as a model reads them; without it, what was said stands line by line.
    pub conversations: Option<ConversationWriter>,
}

impl Default for InspectOptions {
    fn default() -> Self {
        Self {
            text_field: None,
            split: Split::Auto,
            preview: 3,
            preview_characters: 400,
            tokenizer: None,
            clean: Vec::new(),
            bytes: Bytes::default(),
            examples: None,
            conversations: None,
        }
    }
}

/// A document as a model will see it, shortened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewDocument {
    /// Its file.
    pub path: String,
    /// Where it begins in the decompressed file, in bytes; in files of columns its row, from 0.
    pub offset: u64,
    /// The beginning of its text as it was read, where it is cleaned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The beginning of its normalized and cleaned text; of a pair or a conversation, what a model reads of it, with the
    /// middle left out of long parts.
    pub text: String,
    /// Of a pair or a conversation, what is learned of `text`, from and to, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Vec<[u64; 2]>>,
    /// Characters of all its text.
    pub characters: u64,
    /// Tokens of all its text.
    pub tokens: Option<u64>,
    /// Those of them that are learned, of a pair or a conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned_tokens: Option<u64>,
}

/// How much is in a language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanguageShare {
    /// Its code of ISO 639-1; `und` where there are no letters to tell by.
    pub code: String,
    /// Documents.
    pub documents: u64,
    /// Characters of those.
    pub characters: u64,
}

/// An oddity, with one place where it can be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oddity {
    /// What it is.
    pub kind: OddityKind,
    /// Documents that have it.
    pub documents: u64,
    /// The first file that has it.
    pub path: String,
    /// Where: in files of text the byte in the decompressed file; in others, where the document begins, which is a row in
    /// files of columns.
    pub offset: u64,
}

/// Shares of characters, adding up to 1 (or all 0 without text).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scripts {
    /// ASCII.
    pub ascii: f64,
    /// Chinese, Japanese and Korean.
    pub cjk: f64,
    /// Everything else.
    pub other: f64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// Files read.
    pub files: u64,
    /// Files of unsupported kinds that were left out.
    pub skipped_files: Vec<String>,
    /// Why files could not be read to their end, a message a file. Training stops at the first of them.
    pub problems: Vec<String>,
    /// What could not be read within files and was passed over, with its place, a message each.
    #[serde(default)]
    pub passed_over: Vec<String>,
    /// Documents with text.
    pub documents: u64,
    /// Documents without text, which training leaves out.
    pub empty_documents: u64,
    /// The same by reason: read without text, or left without it by a step of cleaning.
    #[serde(default)]
    pub dropped: Vec<Dropped>,
    /// Bytes of normalized text.
    pub bytes: u64,
    /// Characters of normalized text.
    pub characters: u64,
    /// Tokens, without ends of documents, when a tokenizer was given.
    pub tokens: Option<u64>,
    /// Lengths of documents in characters.
    pub document_characters: Lengths,
    /// Lengths of documents in tokens.
    pub document_tokens: Option<Lengths>,
    /// Distinct documents.
    pub unique_documents: u64,
    /// Documents beyond the first copy of each.
    pub duplicate_documents: u64,
    /// Bytes of those.
    pub duplicate_bytes: u64,
    /// The most repeated ones.
    pub most_repeated: Vec<RepeatedDocument>,
    /// Scripts by share of characters.
    pub scripts: Scripts,
    /// What the documents' languages are taken for, those of most characters first.
    #[serde(default)]
    pub languages: Vec<LanguageShare>,
    /// Pairs and conversations, where there are any.
    #[serde(default)]
    pub examples: Option<Examples>,
    /// The first documents.
    pub preview: Vec<PreviewDocument>,
    /// Top-level fields of JSON records: name → type → records.
    pub fields: BTreeMap<String, BTreeMap<String, u64>>,
    /// Probable mistakes, by kind.
    pub oddities: Vec<Oddity>,
}

struct Looked {
    path: Arc<Path>,
    offset: u64,
    /// As it was read, where it was cleaned.
    before: Option<String>,
    text: Result<String, NoText>,
    hash: ContentHash,
    characters: [u64; 3],
    language: Option<&'static str>,
    tokens: Option<u64>,
    oddities: Vec<(OddityKind, usize)>,
    example: Option<Example>,
}

/// A pair or a conversation.
struct Example {
    /// Messages; 0 of a pair.
    messages: u64,
    /// As a model reads it, or why its template does not take it. Nothing without a template.
    written: Option<Result<examples::Written, String>>,
}

/// What is looked at of a document, and as what.
fn taken(document: &Document, options: &InspectOptions) -> (Result<String, NoText>, Option<Example>) {
    let tokenizer = options.tokenizer.as_ref();
    let conversation = !document.turns.is_empty();
    // Conversations are read through their template, as they are.
    let steps = if conversation { &[] } else { &*options.clean };
    let text = written::text(document, steps).map(Cow::into_owned);
    if text.is_err() {
        return (text, None);
    }
    if let Some(at) = document.target {
        let (given, told) = written::sides(&document.text, at, steps);
        let pair = examples::pair(&given, &told, tokenizer);
        return (text, Some(Example { messages: 0, written: Some(Ok(pair)) }));
    }
    if !conversation {
        return (text, None);
    }
    let written = match &options.conversations {
        Some(writer) => match examples::conversation(&document.turns, writer, tokenizer).transpose() {
            None => return (Err(NoText::NoAnswer), None),
            found => found,
        },
        None => None,
    };
    (text, Some(Example { messages: document.turns.len() as u64, written }))
}

fn look(document: Document, options: &InspectOptions) -> Looked {
    let oddities = oddities::oddities(&document.text);
    let (cleaned, example) = taken(&document, options);
    let text = cleaned.as_deref().unwrap_or_default();
    let mut characters = [0; 3];
    for character in text.chars() {
        let class = if character.is_ascii() {
            0
        } else if is_cjk(character) {
            1
        } else {
            2
        };
        characters[class] += 1;
    }
    Looked {
        hash: content_hash(text),
        language: (!text.is_empty()).then(|| identify_language(text).map_or("und", |found| found.code)),
        tokens: options.tokenizer.as_ref().map(|tokenizer| match &example {
            Some(Example { written: Some(Ok(written)), .. }) => written.tokens.map_or(0, |(all, _)| all),
            _ => tokenizer.encode(text).len() as u64,
        }),
        before: (!options.clean.is_empty() && document.turns.is_empty())
            .then(|| document.text.chars().take(options.preview_characters).collect()),
        path: document.path,
        offset: document.offset,
        characters,
        oddities,
        text: cleaned,
        example,
    }
}

/// Whether the documents of a file stand in it as they are.
fn is_text(path: &Path) -> bool {
    FileKind::of(path).is_some_and(|kind| kind.format == FileFormat::Text)
}

/// Chinese, Japanese and Korean letters and punctuation, full-width forms included.
fn is_cjk(character: char) -> bool {
    matches!(u32::from(character), 0x1100..=0x11FF | 0x2E80..=0x9FFF | 0xAC00..=0xD7FF | 0xF900..=0xFAFF
        | 0xFE30..=0xFE4F | 0xFF00..=0xFFEF | 0x1_B000..=0x1_B16F | 0x2_0000..=0x3_FFFF)
}

/// Reads everything behind the patterns once and says what is there. A file that cannot be read does not keep the
/// others from being looked at: its error stands in [`Inspection::problems`].
///
/// # Errors
/// When the patterns lead to nothing, or no file could be read and one has an error.
pub fn inspect(patterns: &[String], options: &InspectOptions) -> Result<Inspection, CorpusError> {
    let mut read = read_options(options.text_field.as_ref(), &options.split, options.examples.as_ref(), options.bytes)?;
    if read.records == Records::Texts && options.text_field.is_none() {
        read.records = Records::Recognized;
    }
    let found = find_sources(patterns, &read)?;
    let files = found.files.len() as u64;
    let mut documents = Documents::new(found.files, read).with_fields().past_errors();
    let notes = documents.notes();
    let mut gathered = Gathered::default();
    let tokenizer = options.tokenizer.as_ref();
    in_batches(
        &mut documents,
        |document| document.text.len(),
        |document| Some(look(document, options)),
        |batch| {
            for looked in &batch {
                gathered.add(looked, options);
            }
            Ok(())
        },
    )?;
    let fields = documents.take_fields().unwrap_or_default().0;
    let mut problems = documents.take_problems();
    if gathered.counter.documents() + gathered.empty == 0 && !problems.is_empty() {
        return Err(problems.swap_remove(0));
    }
    let (passed_over, more) = notes.take();
    let more = (more > 0).then(|| format!("{more} more like these"));
    let total = gathered.characters.iter().sum::<u64>();
    let share = |count: u64| if total > 0 { count as f64 / total as f64 } else { 0.0 };
    let languages = gathered.languages();
    let counter = gathered.counter;
    Ok(Inspection {
        files,
        skipped_files: found.skipped.iter().map(|path| path.display().to_string()).collect(),
        problems: problems.iter().map(ToString::to_string).collect(),
        passed_over: passed_over.iter().map(ToString::to_string).chain(more).collect(),
        documents: counter.documents(),
        empty_documents: gathered.empty,
        dropped: gathered
            .dropped
            .iter()
            .map(|(why, &documents)| Dropped { reason: why.to_string(), documents })
            .collect(),
        bytes: gathered.bytes,
        characters: total,
        tokens: tokenizer.map(|_| gathered.tokens),
        document_characters: gathered.lengths.summary(),
        document_tokens: tokenizer.map(|_| gathered.token_lengths.summary()),
        unique_documents: counter.unique_documents(),
        duplicate_documents: counter.duplicate_documents(),
        duplicate_bytes: counter.duplicate_bytes(),
        most_repeated: counter.most_repeated(10),
        scripts: Scripts {
            ascii: share(gathered.characters[0]),
            cjk: share(gathered.characters[1]),
            other: share(gathered.characters[2]),
        },
        languages,
        examples: gathered.examples.map(|mut counts| {
            counts.learned_tokens = tokenizer.map(|_| counts.learned_tokens.unwrap_or_default());
            counts
        }),
        preview: gathered.preview,
        fields: fields
            .into_iter()
            .map(|(name, types)| (name, types.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect()))
            .collect(),
        oddities: gathered.oddities.into_values().collect(),
    })
}

#[derive(Default)]
struct Gathered {
    counter: DuplicateCounter,
    empty: u64,
    dropped: BTreeMap<NoText, u64>,
    bytes: u64,
    tokens: u64,
    characters: [u64; 3],
    lengths: Histogram,
    token_lengths: Histogram,
    preview: Vec<PreviewDocument>,
    oddities: BTreeMap<OddityKind, Oddity>,
    /// Documents and characters by code.
    languages: BTreeMap<&'static str, (u64, u64)>,
    examples: Option<Examples>,
}

impl Gathered {
    fn languages(&self) -> Vec<LanguageShare> {
        let shares = self.languages.iter();
        let mut shares: Vec<LanguageShare> = shares
            .map(|(code, &(documents, characters))| LanguageShare { code: (*code).to_owned(), documents, characters })
            .collect();
        shares.sort_by_key(|share| std::cmp::Reverse(share.characters));
        shares
    }

    fn add_example(&mut self, example: &Example, looked: &Looked) {
        let counts = self.examples.get_or_insert_default();
        if example.messages == 0 {
            counts.pairs += 1;
        } else {
            counts.conversations += 1;
            counts.messages += example.messages;
        }
        match &example.written {
            Some(Ok(written)) => {
                let (characters, learned) = written.characters();
                counts.characters += characters;
                counts.learned_characters += learned;
                if let Some((_, learned)) = written.tokens {
                    *counts.learned_tokens.get_or_insert_default() += learned;
                }
            }
            Some(Err(reason)) => {
                counts.refused += 1;
                counts.first_refusal.get_or_insert_with(|| {
                    format!("{}: the record at byte {}: {reason}", looked.path.display(), looked.offset)
                });
            }
            None => {}
        }
    }

    fn add(&mut self, looked: &Looked, options: &InspectOptions) {
        for (kind, position) in &looked.oddities {
            let entry = self.oddities.entry(*kind).or_insert_with(|| Oddity {
                kind: *kind,
                documents: 0,
                path: looked.path.display().to_string(),
                offset: looked.offset + if is_text(&looked.path) { *position as u64 } else { 0 },
            });
            entry.documents += 1;
        }
        let text = match &looked.text {
            Ok(text) => text,
            Err(why) => {
                self.empty += 1;
                *self.dropped.entry(*why).or_default() += 1;
                return;
            }
        };
        let characters = looked.characters.iter().sum();
        self.counter.add(looked.hash, text, &looked.path);
        self.bytes += text.len() as u64;
        self.lengths.add(characters);
        for (total, count) in self.characters.iter_mut().zip(looked.characters) {
            *total += count;
        }
        if let Some(tokens) = looked.tokens {
            self.tokens += tokens;
            self.token_lengths.add(tokens);
        }
        if let Some(code) = looked.language {
            let (documents, in_all) = self.languages.entry(code).or_default();
            *documents += 1;
            *in_all += characters;
        }
        if let Some(example) = &looked.example {
            self.add_example(example, looked);
        }
        if self.preview.len() < options.preview {
            let written = looked.example.as_ref().and_then(|example| example.written.as_ref()?.as_ref().ok());
            let (text, learned) = match written {
                Some(written) => {
                    let (text, learned) = written.shortened(options.preview_characters);
                    (text, Some(learned))
                }
                None => (text.chars().take(options.preview_characters).collect(), None),
            };
            self.preview.push(PreviewDocument {
                path: looked.path.display().to_string(),
                offset: looked.offset,
                before: looked.before.clone(),
                text,
                learned,
                characters,
                tokens: looked.tokens,
                learned_tokens: written.and_then(|written| written.tokens).map(|(_, learned)| learned),
            });
        }
    }
}

#[cfg(test)]
mod tests;
