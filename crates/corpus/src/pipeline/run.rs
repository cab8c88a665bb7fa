//! The passes over the documents.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::compare::{Comparison, Outcome};
use super::parts::{RowReader, RowWriter};
use super::plan::{PipelinePlan, PipelineSource, StepPlan};
use super::row::Row;
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
const STAMP: &str = "plan.json";

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
    /// Documents are compared.
    Comparing {
        /// The step.
        step: &'static str,
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
#[derive(Clone, Debug, Serialize)]
struct InputFile {
    source: usize,
    path: PathBuf,
    bytes: u64,
    /// Of the last change, in seconds since 1970.
    changed: u64,
}

/// What is written down when a file was read to its end.
#[derive(Default, Serialize, Deserialize)]
struct Finished {
    documents: u64,
    passed_over: Vec<String>,
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
    plan.check()?;
    let (files, skipped) = input_files(plan)?;
    let stamp = serde_json::to_vec_pretty(&(plan, &files)).unwrap_or_default();
    let (making, _) = FolderInMaking::resume(directory, SUMMARY, STAMP, &stamp)?;
    let work = Work { plan, files: &files, folder: making.path().to_path_buf() };
    let finished = (0..files.len()).filter(|file| work.note(0, *file).is_file()).count();
    progress(&PipelineProgress::Found { files: files.len(), skipped, finished });
    let groups = groups(&plan.steps);
    work.read(&ready(groups[0].1, plan)?, progress)?;
    let mut pass = 0;
    let mut outcome = None;
    for (number, (comparison, steps)) in groups.iter().enumerate().skip(1) {
        let Some(comparison) = comparison else { continue };
        // What the last comparison says is heard while the result is written.
        if number + 1 == groups.len() && steps.is_empty() {
            outcome = Some(work.compare(pass, comparison, progress)?);
        } else if (0..files.len()).all(|file| work.note(pass + 1, file).is_file()) {
            pass += 1;
        } else {
            let compared = work.compare(pass, comparison, progress)?;
            pass = work.rewrite(pass, compared, &ready(steps, plan)?, progress)?;
        }
    }
    let summary = work.finish(pass, outcome, progress)?;
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

fn ready(steps: &[StepPlan], plan: &PipelinePlan) -> Result<Vec<ReadyStep>, CorpusError> {
    steps.iter().map(|step| ReadyStep::new(step, plan.read)).collect()
}

fn input_files(plan: &PipelinePlan) -> Result<(Vec<InputFile>, usize), CorpusError> {
    let mut files = Vec::new();
    let mut skipped = 0;
    for (number, source) in plan.sources.iter().enumerate() {
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

struct Work<'a> {
    plan: &'a PipelinePlan,
    files: &'a [InputFile],
    folder: PathBuf,
}

impl Work<'_> {
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
    fn finished(&self, pass: usize, file: usize) -> Option<Finished> {
        serde_json::from_slice(&std::fs::read(self.note(pass, file)).ok()?).ok()
    }

    /// The first pass: files in, rows out.
    fn read(&self, steps: &[ReadyStep], progress: &mut dyn FnMut(&PipelineProgress)) -> Result<(), CorpusError> {
        let mut total = (0, 0, 0);
        for (file, input) in self.files.iter().enumerate() {
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
            let work = |document: Document| Some(row_of(document, &name, &path, keep_metadata, steps));
            let mut writer = RowWriter::create(&self.part(0, file), true)?;
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

    fn scratch(&self) -> Scratch {
        Scratch { folder: self.folder.clone(), memory: self.plan.output.memory }
    }

    /// Every row of a pass, in order, with the file that it is of.
    fn rows(&self, pass: usize) -> impl Iterator<Item = Result<(usize, Vec<Row>), CorpusError>> {
        (0..self.files.len()).flat_map(move |file| {
            let (reader, error) = match RowReader::open(&self.part(pass, file)) {
                Ok(reader) => (Some(reader), None),
                Err(error) => (None, Some(Err(error))),
            };
            error.into_iter().chain(reader.into_iter().flatten().map(move |rows| rows.map(|rows| (file, rows))))
        })
    }

    fn compare(
        &self,
        pass: usize,
        step: &StepPlan,
        progress: &mut dyn FnMut(&PipelineProgress),
    ) -> Result<Outcome, CorpusError> {
        let mut comparison = Comparison::new(step, &self.scratch())?;
        let mut documents = 0;
        for rows in self.rows(pass) {
            let (_, rows) = rows?;
            comparison.add(&rows, documents)?;
            documents += rows.len() as u64;
            progress(&PipelineProgress::Comparing { step: step.name(), documents });
        }
        comparison.finish(step)
    }

    /// Another pass: what a comparison says, and further steps.
    fn rewrite(
        &self,
        pass: usize,
        mut outcome: Outcome,
        steps: &[ReadyStep],
        progress: &mut dyn FnMut(&PipelineProgress),
    ) -> Result<usize, CorpusError> {
        use rayon::prelude::*;
        let (mut documents, mut kept) = (0, 0);
        for file in 0..self.files.len() {
            if let Some(finished) = self.finished(pass + 1, file) {
                documents += finished.documents;
                continue;
            }
            let mut writer = RowWriter::create(&self.part(pass + 1, file), true)?;
            let mut finished = Finished::default();
            for rows in RowReader::open(&self.part(pass, file))? {
                let mut rows = rows?;
                outcome.apply(&mut rows, documents)?;
                rows.par_iter_mut().filter(|row| row.text.is_some()).for_each(|row| take_steps(row, steps));
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

    /// The last pass: what is left as text, and a row for every document.
    fn finish(
        &self,
        pass: usize,
        mut outcome: Option<Outcome>,
        progress: &mut dyn FnMut(&PipelineProgress),
    ) -> Result<PipelineSummary, CorpusError> {
        let text = self.folder.join("text");
        if text.exists() {
            std::fs::remove_dir_all(&text).map_err(CorpusError::io("remove", &text))?;
        }
        std::fs::create_dir_all(&text).map_err(CorpusError::io("create", &text))?;
        let mut summary = PipelineSummary::default();
        for source in &self.plan.sources {
            summary.sources.entry(source.name.clone()).or_default();
        }
        for file in 0..self.files.len() {
            summary.passed_over.extend(self.finished(0, file).unwrap_or_default().passed_over);
        }
        let mut documents = RowWriter::create(&self.folder.join("documents.parquet"), false)?;
        let mut output: Option<(usize, usize, RowWriter)> = None;
        let (mut number, mut kept, mut stems) = (0, 0, Vec::new());
        let stems: Vec<String> =
            self.plan.sources.iter().map(|source| crate::shard::file_stem(&source.name, &mut stems)).collect();
        for rows in self.rows(pass) {
            let (file, mut rows) = rows?;
            if let Some(outcome) = &mut outcome {
                outcome.apply(&mut rows, number)?;
                rows.iter_mut().for_each(Row::measure);
            }
            number += rows.len() as u64;
            for row in &rows {
                summary.add(row);
            }
            documents.write(&rows)?;
            rows.retain(|row| row.text.is_some());
            kept += rows.len() as u64;
            progress(&PipelineProgress::Writing { documents: number, kept });
            if rows.is_empty() {
                continue;
            }
            let source = self.files[file].source;
            let full = |(of, _, writer): &(usize, usize, RowWriter)| {
                *of != source || writer.bytes() >= self.plan.output.file_bytes
            };
            if output.as_ref().is_some_and(full)
                && let Some((of, part, writer)) = output.take()
            {
                writer.finish()?;
                let next = if of == source { part + 1 } else { 0 };
                output = Some((source, next, self.text_file(&stems[source], next)?));
            }
            let (_, _, writer) = match &mut output {
                Some(output) => output,
                None => output.insert((source, 0, self.text_file(&stems[source], 0)?)),
            };
            writer.write(&rows)?;
        }
        if let Some((_, _, writer)) = output {
            writer.finish()?;
        }
        documents.finish()?;
        let json = serde_json::to_vec_pretty(&summary).unwrap_or_default();
        replace_file(&self.folder.join(SUMMARY), &json)?;
        Ok(summary)
    }

    fn text_file(&self, stem: &str, part: usize) -> Result<RowWriter, CorpusError> {
        RowWriter::create(&self.folder.join("text").join(format!("{stem}-{part:05}.parquet")), true)
    }

    /// Removes what was only on the way.
    fn clear(&self) -> Result<(), CorpusError> {
        let entries = std::fs::read_dir(&self.folder).map_err(CorpusError::io("list", &self.folder))?;
        for entry in entries {
            let entry = entry.map_err(CorpusError::io("list", &self.folder))?;
            if entry.file_name().to_string_lossy().starts_with("work-") {
                std::fs::remove_file(entry.path()).map_err(CorpusError::io("remove", entry.path()))?;
            }
        }
        Ok(())
    }
}

/// A document after the first steps.
fn row_of(document: Document, source: &Arc<str>, path: &Arc<str>, keep_metadata: bool, steps: &[ReadyStep]) -> Row {
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
    take_steps(&mut row, steps);
    row
}
