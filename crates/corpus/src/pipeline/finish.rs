//! The last pass: what is left as text and as tokens, and a row for every document.

use std::path::Path;

use rayon::prelude::*;

use super::compare::Outcome;
use super::mix::{Portion, mix};
use super::parts::{RowReader, RowWriter};
use super::plan::{Duplicates, StepPlan, TokensPlan};
use super::row::{Columns, Row, Side};
use super::run::{PipelineProgress, Work};
use super::split::{Lookout, Sides, stays_in_part};
use super::summary::PipelineSummary;
use super::tokens::{Starts, TokenWriter};
use crate::error::CorpusError;
use crate::shard::file_stem;
use crate::tokenizer::{Tokenizer, TokenizerKind, train_tokenizer};

/// Tokens of a vocabulary where none are asked for.
const VOCABULARY: usize = 8192;
const DOCUMENTS: &str = "documents.parquet";
/// Documents whose tokens are not in their order yet.
const UNORDERED: &str = "work-documents.parquet";

/// The last pass over what a pass left.
pub(super) struct Finish<'a> {
    pub(super) work: &'a Work<'a>,
    pub(super) pass: usize,
    /// What the last comparison says, where nobody has heard it yet; it is about whole documents where anything but writing
    /// is to be done.
    pub(super) outcome: Option<Outcome>,
}

type Tell<'p> = &'p mut dyn FnMut(&PipelineProgress);

impl Finish<'_> {
    pub(super) fn run(mut self, progress: Tell<'_>) -> Result<PipelineSummary, CorpusError> {
        let plan = self.work.plan;
        let mut summary = PipelineSummary { passed_over: self.work.passed_over(), ..PipelineSummary::default() };
        for source in &plan.sources {
            summary.sources.entry(source.name.clone()).or_default();
        }
        let sides = self.sides()?;
        let tokenizer = plan.tokenizer.as_ref().map(|tokens| self.tokenizer(tokens, &sides, progress)).transpose()?;
        let keep = match &tokenizer {
            Some(tokenizer) if plan.mix.tokens.is_some() => {
                let counts = self.count_tokens(tokenizer, &sides, progress)?;
                Some(self.portions(&counts).0)
            }
            _ => None,
        };
        let mut taken = Vec::new();
        let stems: Vec<String> = plan.sources.iter().map(|source| file_stem(&source.name, &mut taken)).collect();
        let folder = self.work.folder.clone();
        let removes = |step: &StepPlan| {
            matches!(step, StepPlan::Deduplicate { by: Duplicates::Exact | Duplicates::Near, remove: true, .. })
        };
        let mut tokens = match &tokenizer {
            Some(tokenizer) => Some(TokenWriter::new(
                folder.join("tokens"),
                plan,
                &stems,
                tokenizer,
                plan.steps.iter().any(removes),
                self.work.scratch(),
            )?),
            None => None,
        };
        let ordered = tokens.is_some() && plan.mix.order_by.is_some();
        let documents_path = folder.join(if ordered { UNORDERED } else { DOCUMENTS });
        let mut documents = RowWriter::create(&documents_path, Columns::Documents)?;
        let mut texts = [TextFiles::new(&folder, "text")?, TextFiles::new(&folder, "held_out")?];
        let mut sides = sides;
        let (mut number, mut kept) = (0, 0);
        for rows in self.work.rows(self.pass, None) {
            let (file, mut rows) = rows?;
            let source = self.work.source_of(file);
            self.settle(&mut rows, number, &mut sides)?;
            if let Some(keep) = &keep {
                for row in &mut rows {
                    cut(row, &keep[source]);
                }
            }
            if let (Some(tokens), Some(tokenizer)) = (&mut tokens, &tokenizer) {
                let ids = encode(&rows, tokenizer);
                for (row, ids) in rows.iter_mut().zip(ids) {
                    if let Some(ids) = ids {
                        tokens.write(source, row, &ids)?;
                    }
                }
            }
            number += rows.len() as u64;
            for row in &rows {
                summary.add(row);
            }
            documents.write(&rows)?;
            rows.retain(|row| row.text.is_some());
            kept += rows.len() as u64;
            let (held_out, train): (Vec<Row>, Vec<Row>) =
                rows.into_iter().partition(|row| row.side == Some(Side::HeldOut));
            for (files, rows) in texts.iter_mut().zip([train, held_out]) {
                files.write(source, &stems[source], &rows, plan.output.file_bytes)?;
            }
            progress(&PipelineProgress::Writing { documents: number, kept });
        }
        for files in texts {
            files.finish()?;
        }
        documents.finish()?;
        if let Some(tokens) = tokens {
            let portions = |counts: &[u64]| match &keep {
                // What was planned before cutting holds; what was cut is about what was planned.
                Some(portions) => (portions.clone(), planned(portions, counts, plan.mix.tokens)),
                None => self.portions(counts),
            };
            let mut tell = |documents| progress(&PipelineProgress::Ordering { documents });
            if let Some(starts) = tokens.finish(&portions, &mut summary, &mut tell)? {
                write_starts(&documents_path, &folder.join(DOCUMENTS), starts)?;
            }
        }
        Ok(summary)
    }

    /// Rows as they are in the end, but for what a budget cuts.
    fn settle(&mut self, rows: &mut [Row], first: u64, sides: &mut Sides) -> Result<(), CorpusError> {
        if let Some(outcome) = &mut self.outcome {
            outcome.apply(rows, first)?;
        }
        if self.work.plan.holds_out() || self.work.plan.tokenizer.is_some() {
            for row in rows {
                sides.assign(row);
            }
        }
        Ok(())
    }

    /// What decides of sides, after a look at all rows without their texts.
    fn sides(&mut self) -> Result<Sides, CorpusError> {
        let mut sides = Sides::new(self.work.plan);
        if self.work.plan.split.held_out == 0.0 {
            return Ok(sides);
        }
        let mut lookout = Lookout::new(&sides);
        let mut number = 0;
        for rows in self.work.rows(self.pass, Some(&["source", "content_hash", "cluster", "cluster_size", "rule"])) {
            let (_, mut rows) = rows?;
            if let Some(outcome) = &mut self.outcome {
                outcome.apply(&mut rows, number)?;
            }
            number += rows.len() as u64;
            for row in &mut rows {
                lookout.see(row);
            }
        }
        lookout.choose(&mut sides);
        Ok(sides)
    }

    /// The tokenizer, read, or trained on what will be trained on.
    fn tokenizer(&mut self, plan: &TokensPlan, sides: &Sides, progress: Tell<'_>) -> Result<Tokenizer, CorpusError> {
        if let Some(path) = &plan.path {
            return Tokenizer::open(path);
        }
        let (kind, vocabulary) = (plan.kind.unwrap_or(TokenizerKind::Bpe), plan.vocab.unwrap_or(VOCABULARY));
        let work = self.work;
        let mut sides = sides.clone();
        let mut number = 0;
        let texts = work.rows(self.pass, None).flat_map(|rows| {
            let settled = rows.and_then(|(file, mut rows)| {
                self.settle(&mut rows, number, &mut sides)?;
                number += rows.len() as u64;
                let shown = work.plan.sources[work.source_of(file)].weight > 0.0;
                rows.retain(|row| shown && row.side == Some(Side::Train) && row.text.is_some());
                Ok(rows)
            });
            let (rows, error) = match settled {
                Ok(rows) => (rows, None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            rows.into_iter().filter_map(|row| row.text.map(Ok)).chain(error)
        });
        let mut tell = |documents, bytes| progress(&PipelineProgress::TrainingTokenizer { documents, bytes });
        train_tokenizer(kind, vocabulary, plan.framing, texts, &mut tell)
    }

    /// The tokens to train on of every source.
    fn count_tokens(
        &mut self,
        tokenizer: &Tokenizer,
        sides: &Sides,
        progress: Tell<'_>,
    ) -> Result<Vec<u64>, CorpusError> {
        let mut counts = vec![0; self.work.plan.sources.len()];
        let mut sides = sides.clone();
        let mut number = 0;
        let end = u64::from(tokenizer.end_of_text().is_some());
        for rows in self.work.rows(self.pass, None) {
            let (file, mut rows) = rows?;
            self.settle(&mut rows, number, &mut sides)?;
            number += rows.len() as u64;
            rows.retain(|row| row.side == Some(Side::Train));
            let of = |row: &Row| row.text.as_deref().map_or(0, |text| tokenizer.encode(text).len() as u64 + end);
            counts[self.work.source_of(file)] += rows.par_iter().map(of).sum::<u64>();
            progress(&PipelineProgress::CountingTokens { documents: number, tokens: counts.iter().sum() });
        }
        Ok(counts)
    }

    fn portions(&self, tokens: &[u64]) -> (Vec<Portion>, u64) {
        let weights: Vec<f64> = self.work.plan.sources.iter().map(|source| source.weight).collect();
        mix(tokens, &weights, &self.work.plan.mix)
    }
}

/// Lets a document go that is not in its source's part of the budget.
fn cut(row: &mut Row, portion: &Portion) {
    if row.side == Some(Side::Train) && !stays_in_part(row, portion.keep) {
        row.drop_for("over_budget", Some(format!("{:.4} of the source stays", portion.keep)));
    }
}

/// The tokens that are shown of sources of so many, a budget being the most.
fn planned(portions: &[Portion], tokens: &[u64], budget: Option<u64>) -> u64 {
    let shown: f64 = portions.iter().zip(tokens).map(|(portion, tokens)| portion.epochs * *tokens as f64).sum();
    budget.unwrap_or(u64::MAX).min(shown.round() as u64)
}

/// The tokens of every row that stays.
fn encode(rows: &[Row], tokenizer: &Tokenizer) -> Vec<Option<Vec<u32>>> {
    rows.par_iter().map(|row| row.text.as_deref().map(|text| tokenizer.encode(text))).collect()
}

/// The documents once more, with where their tokens begin.
fn write_starts(from: &Path, to: &Path, mut starts: Starts) -> Result<(), CorpusError> {
    let mut writer = RowWriter::create(to, Columns::Documents)?;
    for rows in RowReader::open(from)? {
        let mut rows = rows?;
        for row in rows.iter_mut().filter(|row| row.side == Some(Side::Train)) {
            row.token_start = starts.of(row.number)?;
        }
        writer.write(&rows)?;
    }
    writer.finish()
}

/// Files of text, one after the other: a new one for each source, and where one is full.
struct TextFiles {
    folder: std::path::PathBuf,
    open: Option<(usize, usize, RowWriter)>,
}

impl TextFiles {
    /// Into a folder that is made when something is written.
    fn new(folder: &Path, name: &str) -> Result<Self, CorpusError> {
        let folder = folder.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(CorpusError::io("remove", &folder))?;
        }
        if name == "text" {
            std::fs::create_dir_all(&folder).map_err(CorpusError::io("create", &folder))?;
        }
        Ok(Self { folder, open: None })
    }

    fn write(&mut self, source: usize, stem: &str, rows: &[Row], file_bytes: u64) -> Result<(), CorpusError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut number = 0;
        if let Some((of, part, writer)) = self.open.take() {
            if of == source && writer.bytes() < file_bytes {
                self.open = Some((of, part, writer));
            } else {
                writer.finish()?;
                number = if of == source { part + 1 } else { 0 };
            }
        }
        let (_, _, writer) = if let Some(open) = &mut self.open {
            open
        } else {
            std::fs::create_dir_all(&self.folder).map_err(CorpusError::io("create", &self.folder))?;
            let path = self.folder.join(format!("{stem}-{number:05}.parquet"));
            self.open.insert((source, number, RowWriter::create(&path, Columns::Text)?))
        };
        writer.write(rows)
    }

    fn finish(self) -> Result<(), CorpusError> {
        self.open.map_or(Ok(()), |(_, _, writer)| writer.finish())
    }
}
