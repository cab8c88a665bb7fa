//! What is left, as tokens that a trainer reads: the layout of [`crate::prepare`], made of rows.

use std::iter::Peekable;
use std::path::{Path, PathBuf};

use super::mix::Portion;
use super::order::order_key;
use super::plan::{MixPlan, PipelinePlan, PipelineSource};
use super::row::{Row, Side};
use super::summary::{PipelineSummary, TokenCounts};
use crate::deduplicate::{ExternalSorter, Scratch, Sorted};
use crate::duplicates::DuplicateCounter;
use crate::error::CorpusError;
use crate::prepare::{HeldOutSummary, INDEX, Index, SourceSummary};
use crate::shard::{LARGEST_SHARD, StreamIndex, StreamWriter, TokenStream, TokenWidth};
use crate::tokenizer::Tokenizer;
use crate::write::replace_file;

/// Bytes of records of an order that are held for each source.
const ORDER_MEMORY: usize = 64 << 20;
/// Where tokens stand before they are in order.
const UNORDERED: &str = "unordered";

/// One side of a source.
struct Stream {
    writer: StreamWriter,
    documents: u64,
    bytes: u64,
    unknown: u64,
}

impl Stream {
    fn new(writer: StreamWriter) -> Self {
        Self { writer, documents: 0, bytes: 0, unknown: 0 }
    }

    /// Appends a document's tokens and says where they begin.
    fn push(&mut self, ids: &[u32], tokenizer: &Tokenizer) -> Result<u64, CorpusError> {
        let start = self.writer.tokens();
        self.writer.push(ids)?;
        if let Some(end) = tokenizer.end_of_text() {
            self.writer.push(&[end])?;
        }
        Ok(start)
    }

    fn count(&mut self, row: &Row, ids: &[u32], tokenizer: &Tokenizer) {
        self.documents += 1;
        self.bytes += row.bytes;
        if let Some(unknown) = tokenizer.unknown() {
            self.unknown += ids.iter().filter(|id| **id == unknown).count() as u64;
        }
    }
}

/// Writes the streams of all sources.
pub(super) struct TokenWriter<'a> {
    folder: PathBuf,
    sources: &'a [PipelineSource],
    mix: &'a MixPlan,
    tokenizer: &'a Tokenizer,
    width: TokenWidth,
    train: Vec<Stream>,
    held_out: Vec<Stream>,
    /// Of a curriculum: for each source, key, number, first token and tokens of every document to train on.
    order: Vec<ExternalSorter<5>>,
    stems: Vec<String>,
    /// Where nothing has looked for copies, they are counted here.
    copies: Option<Vec<DuplicateCounter>>,
    scratch: Scratch,
}

impl<'a> TokenWriter<'a> {
    pub(super) fn new(
        folder: PathBuf,
        plan: &'a PipelinePlan,
        stems: &[String],
        tokenizer: &'a Tokenizer,
        without_copies: bool,
        scratch: Scratch,
    ) -> Result<Self, CorpusError> {
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(CorpusError::io("remove", &folder))?;
        }
        std::fs::create_dir_all(&folder).map_err(CorpusError::io("create", &folder))?;
        let width = TokenWidth::of(tokenizer.vocabulary());
        let sources = &plan.sources[..];
        let streams = |part: &'static str| -> Vec<Stream> {
            let of = |(source, stem): (&PipelineSource, &String)| {
                Stream::new(StreamWriter::new(&folder, part, &source.name, stem, width, LARGEST_SHARD))
            };
            sources.iter().zip(stems).map(of).collect()
        };
        let ordered = plan.mix.order_by.is_some();
        let (train, held_out) = (streams(if ordered { UNORDERED } else { "train" }), streams("held_out"));
        let small = Scratch { memory: scratch.memory.min(ORDER_MEMORY), ..scratch.clone() };
        let order = if ordered { sources.iter().map(|_| ExternalSorter::new(&small)).collect() } else { Vec::new() };
        let copies = (!without_copies).then(|| vec![DuplicateCounter::default(); sources.len()]);
        let stems = stems.to_vec();
        Ok(Self { folder, sources, mix: &plan.mix, tokenizer, width, train, held_out, order, stems, copies, scratch })
    }

    /// Writes the tokens of a document that stays, and tells its row where they are.
    pub(super) fn write(&mut self, source: usize, row: &mut Row, ids: &[u32]) -> Result<(), CorpusError> {
        row.tokens = Some(ids.len() as u64);
        if row.side == Some(Side::HeldOut) {
            let stream = &mut self.held_out[source];
            stream.count(row, ids, self.tokenizer);
            row.token_start = Some(stream.push(ids, self.tokenizer)?);
            return Ok(());
        }
        if let Some(copies) = &mut self.copies
            && let Some(text) = &row.text
        {
            copies[source].add(crate::duplicates::content_hash(text), text, Path::new(&*row.path));
        }
        let stream = &mut self.train[source];
        stream.count(row, ids, self.tokenizer);
        let start = stream.push(ids, self.tokenizer)?;
        match &self.mix.order_by {
            None => row.token_start = Some(start),
            Some(column) => {
                let [first, second] = order_key(row, column, self.mix.descending);
                let length = stream.writer.tokens() - start;
                self.order[source].push([first, second, row.number, start, length])?;
            }
        }
        Ok(())
    }

    /// Ends the streams, brings them into order where there is one, and writes what a trainer opens. Gives, of an order, where
    /// the tokens of documents begin.
    pub(super) fn finish(
        self,
        portions: &dyn Fn(&[u64]) -> (Vec<Portion>, u64),
        summary: &mut PipelineSummary,
        tell: &mut dyn FnMut(u64),
    ) -> Result<Option<Starts>, CorpusError> {
        let Self { folder, sources, mix, tokenizer, width, train, held_out, order, stems, copies, scratch } = self;
        let mut index = Index::new(tokenizer, width);
        index.ordered = mix.order_by.is_some();
        let mut starts = (!order.is_empty()).then(|| ExternalSorter::<2>::new(&scratch));
        let mut order = order.into_iter();
        let mut ordered = 0;
        for (number, stream) in train.into_iter().enumerate() {
            let source = &sources[number];
            let Stream { writer, documents, bytes, unknown } = stream;
            let mut written = writer.finish()?;
            if let (Some(order), Some(starts)) = (order.next(), &mut starts) {
                let unordered = TokenStream::open(&folder, &written, width, None)?;
                let mut writer =
                    StreamWriter::new(&folder, "train", &source.name, &stems[number], width, LARGEST_SHARD);
                let mut ids = Vec::new();
                for record in order.sort()? {
                    let [_, _, document, start, length] = record?;
                    starts.push([document, writer.tokens()])?;
                    ids.clear();
                    unordered.append(start as usize..(start + length) as usize, &mut ids);
                    writer.push(&ids)?;
                    ordered += 1;
                    if ordered % 1024 == 0 {
                        tell(ordered);
                    }
                }
                written = writer.finish()?;
            }
            let counter = copies.as_ref().map(|copies| &copies[number]);
            index.sources.push(SourceSummary {
                name: source.name.clone(),
                weight: source.weight,
                documents,
                unique_documents: counter.map_or(documents, DuplicateCounter::unique_documents),
                duplicate_documents: counter.map_or(0, DuplicateCounter::duplicate_documents),
                duplicate_bytes: counter.map_or(0, DuplicateCounter::duplicate_bytes),
                bytes,
                tokens: written.tokens,
                unknown_tokens: unknown,
                dropped: Vec::new(),
                share: 0.0,
                most_repeated: counter.map_or_else(Vec::new, |counter| counter.most_repeated(10)),
            });
            index.train.push(written);
        }
        let unordered = folder.join(UNORDERED);
        if unordered.exists() {
            std::fs::remove_dir_all(&unordered).map_err(CorpusError::io("remove", &unordered))?;
        }
        let tokens: Vec<u64> = index.sources.iter().map(|source| source.tokens).collect();
        let (portions, planned) = portions(&tokens);
        for (source, portion) in index.sources.iter_mut().zip(&portions) {
            source.share = portion.share;
            let counts = summary.sources.entry(source.name.clone()).or_default();
            counts.tokens =
                Some(TokenCounts { train: source.tokens, held_out: 0, share: portion.share, epochs: portion.epochs });
        }
        for stream in held_out {
            let Stream { writer, documents, bytes, unknown } = stream;
            let written = writer.finish()?;
            if let Some(counts) = summary.sources.get_mut(&written.name).and_then(|counts| counts.tokens.as_mut()) {
                counts.held_out = written.tokens;
            }
            if written.tokens > 0 {
                index.add_held_out(held_out_summary(&written, documents, bytes, unknown), written);
            }
        }
        // A source that is held out as a whole has nothing to train on.
        index.leave_out_empty();
        if index.sources.is_empty() || index.sources.iter().all(|source| source.share == 0.0) {
            return Err(CorpusError::invalid(
                "no text is left to train on",
                "see which rules took it: leave [tokenizer] out and read documents.parquet",
            ));
        }
        index.planned_tokens = Some(planned);
        summary.planned_tokens = Some(planned);
        tokenizer.save(folder.join("tokenizer"))?;
        index.seal();
        replace_file(&folder.join(INDEX), serde_json::to_string_pretty(&index).unwrap_or_default().as_bytes())?;
        starts.map(|starts| Ok(Starts(starts.sort()?.peekable()))).transpose()
    }
}

fn held_out_summary(stream: &StreamIndex, documents: u64, bytes: u64, unknown: u64) -> HeldOutSummary {
    HeldOutSummary {
        name: stream.name.clone(),
        documents,
        bytes,
        tokens: stream.tokens,
        unknown_tokens: unknown,
        dropped: Vec::new(),
        overlap_documents: 0,
    }
}

/// Where the tokens of documents begin, in the order of their numbers.
pub(super) struct Starts(Peekable<Sorted<2>>);

impl Starts {
    /// Of the document of this number; asked in ascending order.
    pub(super) fn of(&mut self, document: u64) -> Result<Option<u64>, CorpusError> {
        let due =
            |record: &Result<[u64; 2], CorpusError>| record.as_ref().map_or(true, |[number, _]| *number <= document);
        while let Some(record) = self.0.next_if(due) {
            let [number, start] = record?;
            if number == document {
                return Ok(Some(start));
            }
        }
        Ok(None)
    }
}
