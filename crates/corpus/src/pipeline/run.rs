//! The passes over the documents.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::compare::{Comparison, Keys, Outcome};
use super::finish::Finish;
use super::parts::{RowReader, RowWriter};
use super::plan::{PipelinePlan, PipelineSource, StepPlan};
use super::readers::{FileReaders, FilesToRead, Shared};
use super::row::{Columns, Row};
use super::score::{OpenScorer, no_scorers};
use super::step::{ReadyStep, take_steps};
use super::summary::PipelineSummary;
use crate::batches::in_batches;
use crate::clean::clean;
use crate::deduplicate::Scratch;
use crate::documents::document_id;
use crate::duplicates::hexadecimal;
use crate::error::CorpusError;
use crate::read::{Document, Documents, Note, ReadOptions, find_files};
use crate::write::{FolderInMaking, replace_file};

/// By which a folder is known to be a pipeline's.
const SUMMARY: &str = "summary.json";
/// What an unfinished folder is of.
pub(super) const STAMP: &str = "plan.json";

/// What a pipeline is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum PipelineProgress {
    /// Files were found; so many of them were finished by an earlier run.
    Found {
        /// Files to read.
        files: usize,
        /// Files of kinds that are not read, left out.
        skipped: usize,
        /// Files that an earlier run finished.
        finished: usize,
    },
    /// Documents are read and taken through the first steps.
    Reading {
        /// File under way, from 1.
        file: usize,
        /// Of so many.
        files: usize,
        /// Documents of all files so far.
        documents: u64,
        /// Bytes of their texts.
        bytes: u64,
        /// Documents that are still there.
        kept: u64,
    },
    /// Files are read elsewhere, by [`FileReaders`].
    ReadingElsewhere {
        /// Files that are finished.
        finished: usize,
        /// Of so many.
        files: usize,
        /// Documents of those that are finished.
        documents: u64,
    },
    /// Something in a file that is read elsewhere was passed over, as the reader says it.
    PassedOverElsewhere(String),
    /// Documents are compared.
    Comparing {
        /// The step.
        step: &'static str,
        /// Documents so far.
        documents: u64,
    },
    /// A tokenizer is trained on what is left.
    TrainingTokenizer {
        /// Documents so far.
        documents: u64,
        /// Bytes of their texts.
        bytes: u64,
    },
    /// Tokens are counted, which a budget of them needs.
    CountingTokens {
        /// Documents so far.
        documents: u64,
        /// Tokens so far.
        tokens: u64,
    },
    /// Documents are brought into the order of a curriculum.
    Ordering {
        /// Documents so far.
        documents: u64,
    },
    /// What came of it is written, with further steps taken.
    Writing {
        /// Documents so far.
        documents: u64,
        /// Documents that are still there.
        kept: u64,
    },
    /// Something in a file could not be read and was passed over.
    PassedOver(Note),
    /// So many more things were passed over.
    PassedOverMore(u64),
}

/// One file to read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct InputFile {
    source: usize,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// Of the last change, in seconds since 1970.
    changed: u64,
}

/// What is written down when a file was read to its end.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Finished {
    pub(super) documents: u64,
    pub(super) passed_over: Vec<String>,
}

/// Carries out a plan. `directory` appears whole or not at all; a run that was stopped is gone on with by the same plan over
/// the same files.
///
/// # Errors
/// Where the plan is impossible, a file cannot be read, or the disk is full; what was finished stays for the next run.
pub fn run_pipeline(
    plan: &PipelinePlan,
    directory: &Path,
    progress: &mut dyn FnMut(&PipelineProgress),
) -> Result<PipelineSummary, CorpusError> {
    run_pipeline_with(plan, directory, &no_scorers, progress)
}

/// [`run_pipeline`] with what opens the models of steps that score.
///
/// # Errors
/// As there, and where a model cannot be opened.
pub fn run_pipeline_with(
    plan: &PipelinePlan,
    directory: &Path,
    scorers: &OpenScorer<'_>,
    progress: &mut dyn FnMut(&PipelineProgress),
) -> Result<PipelineSummary, CorpusError> {
    run_pipeline_by(plan, directory, scorers, None, progress)
}

/// [`run_pipeline_with`] with somebody else to carry out the first pass. The result is the same, byte for byte.
///
/// # Errors
/// As there, and where the readers cannot do it.
pub fn run_pipeline_by(
    plan: &PipelinePlan,
    directory: &Path,
    scorers: &OpenScorer<'_>,
    readers: Option<&mut dyn FileReaders>,
    progress: &mut dyn FnMut(&PipelineProgress),
) -> Result<PipelineSummary, CorpusError> {
    plan.check()?;
    let (files, skipped) = input_files(plan)?;
    let stamp = serde_json::to_vec_pretty(&(plan, &files)).unwrap_or_default();
    let (making, _) = FolderInMaking::resume(directory, SUMMARY, STAMP, &stamp)?;
    let work = Work { plan, files: &files, folder: making.path().to_path_buf(), shared: None };
    let finished = (0..files.len()).filter(|file| work.note(0, *file).is_file()).count();
    progress(&PipelineProgress::Found { files: files.len(), skipped, finished });
    let steps = plan.all_steps();
    let groups = groups(&steps);
    let next = |number: usize| groups.get(number + 1).and_then(|(comparison, _)| *comparison);
    if let Some(readers) = readers {
        FilesToRead::new(&work, &files)?.read_by(readers, progress)?;
    } else {
        let (first, keys) = first_steps(plan, scorers)?;
        work.read(0..files.len(), &first, &keys, progress)?;
    }
    let mut pass = 0;
    let mut outcome = None;
    for (number, (comparison, steps)) in groups.iter().enumerate().skip(1) {
        let Some(comparison) = comparison else { continue };
        // What the last comparison says is heard while the result is written, where it can be heard more than once.
        let last = number + 1 == groups.len() && steps.is_empty();
        let once = !comparison.is_of_documents() && (plan.holds_out() || plan.tokenizer.is_some());
        let heard_at_the_end = last && !once;
        if !heard_at_the_end && (0..files.len()).all(|file| work.note(pass + 1, file).is_file()) {
            pass += 1;
            continue;
        }
        let mut compared = work.compare(pass, comparison, progress)?;
        if heard_at_the_end {
            outcome = Some(compared);
        } else {
            let (steps, keys) = (ready(steps, plan, scorers)?, Keys::of(next(number))?);
            pass = work.rewrite(
                pass,
                &mut |rows, first| {
                    compared.apply(rows, first)?;
                    rows.par_iter_mut().filter(|row| row.text.is_some()).for_each(|row| take_steps(row, &steps, &keys));
                    Ok(())
                },
                progress,
            )?;
        }
    }
    let summary = Finish { work: &work, pass, outcome }.run(progress)?;
    replace_file(&work.folder.join(SUMMARY), &serde_json::to_vec_pretty(&summary).unwrap_or_default())?;
    work.clear()?;
    making.finish()?;
    Ok(summary)
}

/// Steps in groups: one that compares, and those after it that do not. The first group has none that compares.
fn groups(steps: &[StepPlan]) -> Vec<(Option<&StepPlan>, &[StepPlan])> {
    let mut groups = Vec::new();
    let mut comparison = None;
    let mut from = 0;
    for (at, step) in steps.iter().enumerate() {
        if step.compares() {
            groups.push((comparison, &steps[from..at]));
            comparison = Some(step);
            from = at + 1;
        }
    }
    groups.push((comparison, &steps[from..]));
    groups
}

/// What the first pass does to a document, and the keys that it makes for the comparison after it.
pub(super) fn first_steps(
    plan: &PipelinePlan,
    scorers: &OpenScorer<'_>,
) -> Result<(Vec<ReadyStep>, Keys), CorpusError> {
    let steps = plan.all_steps();
    let groups = groups(&steps);
    let next = groups.get(1).and_then(|(comparison, _)| *comparison);
    Ok((ready(groups[0].1, plan, scorers)?, Keys::of(next)?))
}

fn ready(steps: &[StepPlan], plan: &PipelinePlan, scorers: &OpenScorer<'_>) -> Result<Vec<ReadyStep>, CorpusError> {
    steps.iter().map(|step| ReadyStep::new(step, plan.read, scorers)).collect()
}

fn input_files(plan: &PipelinePlan) -> Result<(Vec<InputFile>, usize), CorpusError> {
    let mut files = Vec::new();
    let mut skipped = 0;
    // What is held out as a whole comes first: of equals the first stays, and what is like it must know of it.
    let (held_out, others): (Vec<_>, Vec<_>) = plan.sources.iter().enumerate().partition(|(_, source)| source.held_out);
    for (number, source) in held_out.into_iter().chain(others) {
        let found = find_files(&source.path)?;
        skipped += found.skipped.len();
        for path in found.files {
            let metadata = std::fs::metadata(&path).map_err(CorpusError::io("open", &path))?;
            let changed = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
            let changed = changed.map_or(0, |time| time.as_secs());
            files.push(InputFile { source: number, path, bytes: metadata.len(), changed });
        }
    }
    Ok((files, skipped))
}

/// The plan, the files, and the folder where passes are laid down.
pub(super) struct Work<'a> {
    pub(super) plan: &'a PipelinePlan,
    pub(super) files: &'a [InputFile],
    pub(super) folder: PathBuf,
    /// Of one that reads for another process.
    pub(super) shared: Option<&'a Shared>,
}

impl Work<'_> {
    /// The number of a file's source.
    pub(super) fn source_of(&self, file: usize) -> usize {
        self.files[file].source
    }

    /// What readers passed over, a message each.
    pub(super) fn passed_over(&self) -> Vec<String> {
        (0..self.files.len()).flat_map(|file| self.finished(0, file).unwrap_or_default().passed_over).collect()
    }

    fn part(&self, pass: usize, file: usize) -> PathBuf {
        self.folder.join(format!("work-{pass}-{file:06}.parquet"))
    }

    fn note(&self, pass: usize, file: usize) -> PathBuf {
        self.folder.join(format!("work-{pass}-{file:06}.json"))
    }

    fn source(&self, file: usize) -> &PipelineSource {
        &self.plan.sources[self.files[file].source]
    }

    /// What was written down of a file, where it was finished.
    pub(super) fn finished(&self, pass: usize, file: usize) -> Option<Finished> {
        serde_json::from_slice(&std::fs::read(self.note(pass, file)).ok()?).ok()
    }

    /// The first pass over these files: files in, rows out. Numbers of documents begin with the first that is read.
    pub(super) fn read(
        &self,
        which: Range<usize>,
        steps: &[ReadyStep],
        keys: &Keys,
        progress: &mut dyn FnMut(&PipelineProgress),
    ) -> Result<(), CorpusError> {
        let mut total = (0, 0, 0);
        for (file, input) in self.files.iter().enumerate().take(which.end).skip(which.start) {
            if let Some(finished) = self.finished(0, file) {
                total.0 += finished.documents;
                continue;
            }
            let source = self.source(file);
            let options = ReadOptions {
                text_field: source.text_field.clone(),
                split: source.split()?,
                bytes: self.plan.read,
                metadata: true,
                marked_up: true,
                ..ReadOptions::default()
            };
            let documents = Documents::new(vec![input.path.clone()], options);
            let notes = documents.notes();
            let name: Arc<str> = source.name.as_str().into();
            let path: Arc<str> = input.path.to_string_lossy().into();
            let keep_metadata = self.plan.output.metadata;
            let work = |document: Document| Some(row_of(document, &name, &path, keep_metadata, steps, keys));
            let hand = self.shared.map_or("", Shared::hand);
            let mut writer = RowWriter::create_by(hand, &self.part(0, file), Columns::Work)?;
            let mut finished = Finished::default();
            in_batches(
                documents,
                |document| document.text.len(),
                work,
                |mut rows| {
                    for row in &mut rows {
                        row.number = total.0;
                        total.0 += 1;
                        total.1 += row.bytes_read;
                        total.2 += u64::from(row.text.is_some());
                    }
                    finished.documents += rows.len() as u64;
                    progress(&PipelineProgress::Reading {
                        file: file + 1,
                        files: self.files.len(),
                        documents: total.0,
                        bytes: total.1,
                        kept: total.2,
                    });
                    writer.write(&rows)
                },
            )?;
            self.shared.map_or(Ok(()), |shared| shared.check(&self.folder))?;
            writer.finish()?;
            let (told, more) = notes.take();
            for note in told {
                finished.passed_over.push(note.to_string());
                progress(&PipelineProgress::PassedOver(note));
            }
            if more > 0 {
                finished.passed_over.push(format!("{}: {more} more like these", input.path.display()));
                progress(&PipelineProgress::PassedOverMore(more));
            }
            self.write_note(0, file, &finished)?;
        }
        Ok(())
    }

    fn write_note(&self, pass: usize, file: usize, finished: &Finished) -> Result<(), CorpusError> {
        replace_file(&self.note(pass, file), &serde_json::to_vec(finished).unwrap_or_default())
    }

    pub(super) fn scratch(&self) -> Scratch {
        Scratch { folder: self.folder.clone(), memory: self.plan.output.memory }
    }

    /// Every row of a pass, in order, with the file that it is of; of all columns or of some.
    pub(super) fn rows(
        &self,
        pass: usize,
        columns: Option<&'static [&'static str]>,
    ) -> impl Iterator<Item = Result<(usize, Vec<Row>), CorpusError>> {
        // A part that was read elsewhere does not know how many documents come before it.
        let mut number = 0;
        let mut numbered = move |(file, mut rows): (usize, Vec<Row>)| {
            for row in &mut rows {
                row.number = number;
                number += 1;
            }
            (file, rows)
        };
        let parts = (0..self.files.len()).flat_map(move |file| {
            let (reader, error) = match RowReader::open_columns(&self.part(pass, file), columns) {
                Ok(reader) => (Some(reader), None),
                Err(error) => (None, Some(Err(error))),
            };
            error.into_iter().chain(reader.into_iter().flatten().map(move |rows| rows.map(|rows| (file, rows))))
        });
        parts.map(move |rows| rows.map(&mut numbered))
    }

    fn compare(
        &self,
        pass: usize,
        step: &StepPlan,
        progress: &mut dyn FnMut(&PipelineProgress),
    ) -> Result<Outcome, CorpusError> {
        let mut comparison = Comparison::new(step, &self.scratch())?;
        let mut documents = 0;
        for rows in self.rows(pass, Some(comparison.columns())) {
            let (_, rows) = rows?;
            comparison.add(&rows, documents)?;
            documents += rows.len() as u64;
            progress(&PipelineProgress::Comparing { step: step.name(), documents });
        }
        comparison.finish(step)
    }

    /// Another pass, in which something is done to every row; the first of those given has this number.
    fn rewrite(
        &self,
        pass: usize,
        change: &mut dyn FnMut(&mut [Row], u64) -> Result<(), CorpusError>,
        progress: &mut dyn FnMut(&PipelineProgress),
    ) -> Result<usize, CorpusError> {
        let (mut documents, mut kept) = (0, 0);
        for file in 0..self.files.len() {
            if let Some(finished) = self.finished(pass + 1, file) {
                documents += finished.documents;
                continue;
            }
            let mut writer = RowWriter::create(&self.part(pass + 1, file), Columns::Work)?;
            let mut finished = Finished::default();
            for rows in RowReader::open(&self.part(pass, file))? {
                let mut rows = rows?;
                change(&mut rows, documents)?;
                documents += rows.len() as u64;
                finished.documents += rows.len() as u64;
                kept += rows.iter().filter(|row| row.text.is_some()).count() as u64;
                writer.write(&rows)?;
                progress(&PipelineProgress::Writing { documents, kept });
            }
            writer.finish()?;
            self.write_note(pass + 1, file, &finished)?;
        }
        // What this pass was made of is needed no more.
        for file in 0..self.files.len() {
            let part = self.part(pass, file);
            std::fs::remove_file(&part).map_err(CorpusError::io("remove", &part))?;
        }
        Ok(pass + 1)
    }

    /// Removes what was only on the way.
    fn clear(&self) -> Result<(), CorpusError> {
        let entries = std::fs::read_dir(&self.folder).map_err(CorpusError::io("list", &self.folder))?;
        for entry in entries {
            let entry = entry.map_err(CorpusError::io("list", &self.folder))?;
            let name = entry.file_name();
            // A reader that was stopped may leave what had no name yet.
            if [&b"work-"[..], b".tmp"].iter().any(|start| name.as_encoded_bytes().starts_with(start)) {
                std::fs::remove_file(entry.path()).map_err(CorpusError::io("remove", entry.path()))?;
            }
        }
        Ok(())
    }
}

/// A document after the first steps.
fn row_of(
    document: Document,
    source: &Arc<str>,
    path: &Arc<str>,
    keep_metadata: bool,
    steps: &[ReadyStep],
    keys: &Keys,
) -> Row {
    let id = hexadecimal(&document_id(source, &document.path, document.offset));
    let url = document.metadata.get("url").and_then(|url| url.as_str()).map(str::to_owned);
    let metadata = (keep_metadata && !document.metadata.is_empty())
        .then(|| serde_json::to_string(&document.metadata).unwrap_or_default());
    let bytes_read = document.text.len() as u64;
    let mut row = Row {
        id,
        source: source.clone(),
        path: path.clone(),
        offset: document.offset,
        url,
        metadata,
        bytes_read,
        ..Row::default()
    };
    let marked_up = document.markup;
    let text = document.extracted().text;
    let Ok(clean) = clean(&text, &[]) else {
        let why = (bytes_read > 0 && text.is_empty()).then(|| format!("no main text in {marked_up:?}").to_lowercase());
        row.text = Some(String::new());
        row.drop_for("empty", why);
        return row;
    };
    row.text = Some(clean.into_owned());
    take_steps(&mut row, steps, keys);
    row
}
