//! The readings in order, and the writing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::examples;
use super::plan::{ConversationWriter, PreparePlan, Progress, TokenizerPlan, read_options};
use super::prepared::{BEGINS, FORMAT, INDEX, Index, OF_TARGET, Prepared};
use super::scan::{Division, HeldHashes, Input, Piece, Scanned, content_hashes, recount, scan};
use super::summary::{Dropped, HeldOutSummary, SourceSummary, set_shares};
use crate::batches::in_batches;
use crate::clean::{NoText, Step};
use crate::documents::{DocumentRow, DocumentWriter, document_id};
use crate::duplicates::{ContentHash, content_hash, hexadecimal};
use crate::error::CorpusError;
use crate::read::Records;
use crate::shard::{LARGEST_SHARD, StreamIndex, StreamWriter, TokenWidth, file_stem};
use crate::tokenizer::{Tokenizer, train_tokenizer};
use crate::write::{FolderInMaking, replace_file};

/// Carries out a plan and opens the result.
///
/// `directory` appears whole or not at all; an older result there is replaced, any other folder with
/// content is refused. The same plan over the same files gives the same bytes, whatever the thread count.
#[allow(clippy::too_many_lines, reason = "one stage after the other")]
pub fn prepare(
    plan: &PreparePlan,
    directory: &Path,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Prepared, CorpusError> {
    plan.check()?;
    let making = FolderInMaking::start(directory, INDEX)?;
    let mut sources = Vec::new();
    for source in &plan.sources {
        sources.push(Input::find(
            &source.name,
            &source.paths,
            read_options(source.text_field.as_ref(), &source.split, source.examples.as_ref(), plan.bytes)?,
            &source.clean,
            progress,
        )?);
    }
    let mut domains = Vec::new();
    for domain in &plan.held_out {
        domains.push(Input::find(
            &domain.name,
            &domain.paths,
            read_options(domain.text_field.as_ref(), &domain.split, domain.examples.as_ref(), plan.bytes)?,
            &domain.clean,
            progress,
        )?);
    }

    let hold_out = plan.held_out.is_empty();
    let mut held = HeldHashes::default();
    let mut scans = Vec::new();
    for source in &sources {
        scans.push(scan(source, hold_out, &mut held, progress)?);
    }

    if sources.len() > 1 && !held.more.is_empty() {
        for (source, scanned) in sources.iter().zip(&mut scans) {
            recount(source, scanned, &held, progress)?;
        }
    }
    let mut in_domains = HashSet::new();
    for domain in &domains {
        in_domains.extend(content_hashes(domain, progress)?);
    }

    let tokenizer = ready_tokenizer(plan, &sources, &scans, &held, progress)?;
    let width = TokenWidth::of(tokenizer.vocabulary());
    let documents = DocumentWriter::create(&making.path().join("documents.parquet"))?;
    let mut writing = Writing {
        folder: making.path(),
        tokenizer: &tokenizer,
        conversations: plan.conversations.as_ref(),
        width,
        scans: &scans,
        held: &held,
        documents,
        in_domains: &in_domains,
        firsts: HashMap::new(),
    };
    let mut index = Index::new(&tokenizer, width);
    let mut names = (Vec::new(), Vec::new());
    for (number, (source, scanned)) in sources.iter().zip(&scans).enumerate() {
        let stems = (file_stem(&source.name, &mut names.0), hold_out.then(|| file_stem(&source.name, &mut names.1)));
        let (train, aside) = writing.write(source, scanned.division, &stems.0, stems.1.as_deref(), progress)?;
        if train.stream.tokens == 0 {
            return Err(source.no_text("source"));
        }
        index.sources.push(SourceSummary {
            name: source.name.clone(),
            weight: plan.sources[number].weight,
            documents: train.documents,
            unique_documents: scanned.unique_documents,
            duplicate_documents: scanned.duplicate_documents,
            duplicate_bytes: scanned.duplicate_bytes,
            bytes: train.bytes,
            tokens: train.stream.tokens,
            unknown_tokens: train.unknown,
            dropped: dropped(&train.dropped),
            share: 0.0,
            most_repeated: scanned.most_repeated.clone(),
        });
        debug_assert_eq!(train.documents, scanned.documents);
        index.train_roles.push(train.roles);
        index.train_clean.push(source.clean.clone());
        index.train.push(train.stream);
        if let Some(aside) = aside {
            index.add_written(aside, &source.clean);
        }
    }
    for domain in &domains {
        let stem = file_stem(&domain.name, &mut names.1);
        let written = writing.write_domain(domain, &stem, progress)?;
        if written.stream.tokens == 0 {
            return Err(domain.no_text("held-out domain"));
        }
        index.add_written(written, &domain.clean);
    }
    writing.documents.finish()?;
    set_shares(&mut index.sources);
    if index.sources.iter().all(|source| source.share == 0.0) {
        return Err(CorpusError::invalid("no source with a positive weight has text", "check weights and files"));
    }

    progress(&Progress::Finishing);
    tokenizer.save(making.path().join("tokenizer"))?;
    index.seal();
    let json = serde_json::to_string_pretty(&index).unwrap_or_default();
    replace_file(&making.path().join(INDEX), json.as_bytes())?;
    making.finish()?;
    Prepared::open(directory)
}

fn ready_tokenizer(
    plan: &PreparePlan,
    sources: &[Input],
    scans: &[Scanned],
    held: &HeldHashes,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Tokenizer, CorpusError> {
    let (tokenizer, asked) = match &plan.tokenizer {
        TokenizerPlan::Ready(tokenizer) => (tokenizer.clone(), None),
        TokenizerPlan::File(path) => (Tokenizer::open(path)?, None),
        TokenizerPlan::Train { kind, vocabulary, framing } => {
            // Sources of weight 0 are never shown and should not shape the vocabulary.
            let shown = sources.iter().zip(scans).zip(&plan.sources).filter(|(_, source)| source.weight > 0.0);
            let pieces = shown.flat_map(|((source, scanned), _)| {
                source.pieces(scanned.division).map(move |piece| piece.map(|piece| (source, piece)))
            });
            let texts = pieces.filter_map(|piece| {
                let (source, piece) = match piece {
                    Ok(piece) => piece,
                    Err(error) => return Some(Err(error)),
                };
                let text = source.text(&piece.document).ok()?.into_owned();
                let held_out = piece.held_out.unwrap_or_else(|| held.contains(&content_hash(&text)));
                (!held_out).then_some(Ok(text))
            });
            let mut tell = |documents, bytes| progress(&Progress::TrainingTokenizer { documents, bytes });
            (train_tokenizer(*kind, *vocabulary, *framing, texts, &mut tell)?, Some(*vocabulary))
        }
    };
    progress(&Progress::TokenizerReady { asked, vocabulary: tokenizer.vocabulary() });
    Ok(tokenizer)
}

/// What became of a document.
struct Looked {
    path: Arc<Path>,
    offset: u64,
    content: Result<Tokenized, NoText>,
}

/// The text of one document, tokenized.
struct Tokenized {
    bytes: u64,
    characters: u64,
    hash: ContentHash,
    held_out: bool,
    /// Of a pair, those of the input and those of the target, each with the end of text.
    ids: Vec<u32>,
    /// Of a pair or a conversation, which of them are learned.
    learned: Option<Vec<bool>>,
}

/// One side of a source, or a domain, as it was written.
pub(super) struct Written {
    pub(super) stream: StreamIndex,
    pub(super) roles: Option<StreamIndex>,
    pub(super) documents: u64,
    pub(super) bytes: u64,
    pub(super) overlap: u64,
    pub(super) unknown: u64,
    pub(super) dropped: BTreeMap<NoText, u64>,
}

fn dropped(counts: &BTreeMap<NoText, u64>) -> Vec<Dropped> {
    counts.iter().map(|(why, &documents)| Dropped { reason: why.to_string(), documents }).collect()
}

struct Side {
    writer: StreamWriter,
    /// Of pairs, for each token whether it begins a pair and whether it is of the target: see [`ExampleStream`].
    roles: Option<StreamWriter>,
    documents: u64,
    bytes: u64,
    overlap: u64,
    /// Tokens of words that the tokenizer does not know.
    unknown: u64,
    dropped: BTreeMap<NoText, u64>,
    domain: Option<String>,
}

impl Side {
    fn finish(self) -> Result<Written, CorpusError> {
        let stream = self.writer.finish()?;
        let roles = self.roles.map(StreamWriter::finish).transpose()?;
        let Self { documents, bytes, overlap, unknown, dropped, .. } = self;
        Ok(Written { stream, roles, documents, bytes, overlap, unknown, dropped })
    }
}

struct Writing<'a> {
    folder: &'a Path,
    tokenizer: &'a Tokenizer,
    conversations: Option<&'a ConversationWriter>,
    width: TokenWidth,
    scans: &'a [Scanned],
    held: &'a HeldHashes,
    documents: DocumentWriter,
    /// Documents of held-out files.
    in_domains: &'a HashSet<ContentHash>,
    /// The first training copy of every document that has more, in training or in a domain.
    firsts: HashMap<ContentHash, ContentHash>,
}

impl Writing<'_> {
    fn side(&self, part: &'static str, name: &str, stem: &str, examples: bool) -> Side {
        let writer = StreamWriter::new(self.folder, part, name, stem, self.width, LARGEST_SHARD);
        let roles = examples.then(|| {
            let stem = format!("{stem}.roles");
            StreamWriter::new(self.folder, part, name, &stem, TokenWidth::U16, LARGEST_SHARD)
        });
        let domain = (part == "held_out").then(|| name.to_owned());
        let dropped = BTreeMap::new();
        Side { writer, roles, documents: 0, bytes: 0, overlap: 0, unknown: 0, dropped, domain }
    }

    /// Writes a source: its training side and, when `held_out` names its files, its held-out side.
    fn write(
        &mut self,
        source: &Input,
        division: Division,
        stem: &str,
        held_out: Option<&str>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(Written, Option<Written>), CorpusError> {
        let examples = source.options.records.are_examples();
        let mut train = self.side("train", &source.name, stem, examples);
        let mut aside = held_out.map(|stem| self.side("held_out", &source.name, stem, examples));
        self.write_sides(source, division, Some(&mut train), aside.as_mut(), progress)?;
        Ok((train.finish()?, aside.map(Side::finish).transpose()?))
    }

    fn write_domain(
        &mut self,
        domain: &Input,
        stem: &str,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Written, CorpusError> {
        let mut side = self.side("held_out", &domain.name, stem, domain.options.records.are_examples());
        self.write_sides(domain, Division::Whole, None, Some(&mut side), progress)?;
        side.finish()
    }

    fn write_sides(
        &mut self,
        input: &Input,
        division: Division,
        mut train: Option<&mut Side>,
        mut aside: Option<&mut Side>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(), CorpusError> {
        let (tokenizer, held, conversations) = (self.tokenizer, self.held, self.conversations);
        let work = |piece: Piece| {
            let (path, offset) = (piece.document.path.clone(), piece.document.offset);
            let nothing = |why| Some(Ok(Looked { path: path.clone(), offset, content: Err(why) }));
            let text = match input.text(&piece.document) {
                Ok(text) => text,
                Err(why) => return nothing(why),
            };
            let hash = content_hash(&text);
            let (ids, learned) = match (piece.document.target, &*piece.document.turns) {
                (Some(at), _) => {
                    let (given, told) = input.sides(&piece.document.text, at);
                    let (ids, learned) = examples::pair(&given, &told, tokenizer);
                    (ids, Some(learned))
                }
                (None, turns) if input.options.records == Records::Conversations => {
                    match examples::conversation(turns, tokenizer, conversations) {
                        Ok(Some((ids, answers))) => (ids, Some(answers)),
                        Ok(None) => return nothing(NoText::NoAnswer),
                        Err(message) => {
                            let (path, offset) = (&piece.document.path, piece.document.offset);
                            let what = format!("{}: the record at byte {offset}: {message}", path.display());
                            let hint = "the chat template decides what it takes: objective.chat_template names another";
                            return Some(Err(CorpusError::invalid(what, hint)));
                        }
                    }
                }
                _ => (tokenizer.encode(&text), None),
            };
            let content = Ok(Tokenized {
                bytes: text.len() as u64,
                characters: text.chars().count() as u64,
                hash,
                held_out: piece.held_out.unwrap_or_else(|| held.contains(&hash)),
                ids,
                learned,
            });
            Some(Ok(Looked { path, offset, content }))
        };
        let mut total = (0, 0, 0);
        in_batches(input.pieces(division), Piece::bytes, work, |batch| {
            for document in batch {
                let Looked { path, offset, content } = document?;
                let held_out = content.as_ref().is_ok_and(|text| text.held_out);
                // A domain of its own has no training side; all of it is held out.
                let side = match (train.as_deref_mut(), aside.as_deref_mut()) {
                    (Some(train), None) => train,
                    (None, Some(aside)) => aside,
                    (Some(train), Some(aside)) => {
                        if held_out {
                            aside
                        } else {
                            train
                        }
                    }
                    (None, None) => return Ok(()),
                };
                match content {
                    Ok(document) => {
                        total.0 += 1;
                        total.1 += document.bytes;
                        total.2 += document.ids.len() as u64;
                        self.write_document(&input.name, path, offset, document, side)?;
                    }
                    Err(why) => self.write_dropped(&input.name, path, offset, why, side)?,
                }
            }
            let (documents, bytes, tokens) = total;
            progress(&Progress::Tokenizing { source: input.name.clone(), documents, bytes, tokens });
            Ok(())
        })
    }

    /// A document that has nothing to learn from keeps its row, with the reason.
    fn write_dropped(
        &mut self,
        source: &str,
        path: Arc<Path>,
        offset: u64,
        why: NoText,
        side: &mut Side,
    ) -> Result<(), CorpusError> {
        *side.dropped.entry(why).or_default() += 1;
        self.documents.push(DocumentRow {
            id: hexadecimal(&document_id(source, &path, offset)),
            source: source.to_owned(),
            path,
            offset: offset as i64,
            bytes: 0,
            characters: 0,
            tokens: 0,
            content_hash: hexadecimal(&content_hash("")),
            copies: 0,
            duplicate_of: None,
            domain: side.domain.clone(),
            rule: Some(why.to_string()),
            token_start: side.writer.tokens() as i64,
        })
    }

    fn write_document(
        &mut self,
        source: &str,
        path: Arc<Path>,
        offset: u64,
        mut document: Tokenized,
        side: &mut Side,
    ) -> Result<(), CorpusError> {
        let id = document_id(source, &path, offset);
        let copies: u64 = self.scans.iter().map(|scanned| scanned.counts.copies(&document.hash)).sum();
        let in_training = side.domain.is_none();
        let duplicate_of = match self.firsts.get(&document.hash) {
            Some(first) => Some(hexadecimal(first)),
            None if in_training && (copies > 1 || self.in_domains.contains(&document.hash)) => {
                self.firsts.insert(document.hash, id);
                None
            }
            None => None,
        };
        side.documents += 1;
        side.bytes += document.bytes;
        side.overlap += u64::from(!in_training && copies > 0);
        let tokens = document.ids.len() as i64;
        if let Some(unknown) = self.tokenizer.unknown() {
            side.unknown += document.ids.iter().filter(|id| **id == unknown).count() as u64;
        }
        let token_start = side.writer.tokens() as i64;
        match (&document.learned, &mut side.roles) {
            (Some(learned), Some(roles)) => {
                let role =
                    |(at, learned): (usize, &bool)| u32::from(at == 0) * BEGINS + u32::from(*learned) * OF_TARGET;
                roles.push(&learned.iter().enumerate().map(role).collect::<Vec<u32>>())?;
            }
            _ => document.ids.extend(self.tokenizer.end_of_text()),
        }
        side.writer.push(&document.ids)?;
        self.documents.push(DocumentRow {
            id: hexadecimal(&id),
            source: source.to_owned(),
            path,
            offset: offset as i64,
            bytes: document.bytes as i64,
            characters: document.characters as i64,
            tokens,
            content_hash: hexadecimal(&document.hash),
            copies: copies as i64,
            duplicate_of,
            domain: side.domain.clone(),
            rule: None,
            token_start,
        })
    }
}

impl Index {
    pub(crate) fn new(tokenizer: &Tokenizer, width: TokenWidth) -> Self {
        Self {
            format: FORMAT,
            token_width: width,
            vocabulary: tokenizer.vocabulary(),
            end_of_text: tokenizer.end_of_text(),
            tokenizer_hash: tokenizer.hash().to_owned(),
            sources: Vec::new(),
            held_out: Vec::new(),
            train: Vec::new(),
            held_out_streams: Vec::new(),
            train_roles: Vec::new(),
            held_out_roles: Vec::new(),
            train_clean: Vec::new(),
            held_out_clean: Vec::new(),
            ordered: false,
            planned_tokens: None,
            content_hash: String::new(),
        }
    }

    fn add_written(&mut self, written: Written, clean: &[Step]) {
        self.held_out_clean.push(clean.to_vec());
        let summary = HeldOutSummary {
            name: written.stream.name.clone(),
            documents: written.documents,
            bytes: written.bytes,
            tokens: written.stream.tokens,
            unknown_tokens: written.unknown,
            dropped: dropped(&written.dropped),
            overlap_documents: written.overlap,
        };
        self.held_out_roles.push(written.roles);
        self.add_held_out(summary, written.stream);
    }
}
