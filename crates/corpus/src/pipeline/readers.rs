//! The first pass in other hands: what is left to read, and a reader of single files for processes that share the folder.
//!
//! A file's part and its note follow from the plan and the file alone, so that it does not matter who reads which file, nor
//! whether two read the same: parts get their names when they are whole, and the second replaces the first by the same bytes.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};

use super::compare::Keys;
use super::plan::{PipelinePlan, StepPlan};
use super::run::{Finished, InputFile, PipelineProgress, STAMP, Work, first_steps};
use super::score::OpenScorer;
use super::step::ReadyStep;
use crate::error::CorpusError;

/// Carries out the first pass of a pipeline, wherever it likes.
pub trait FileReaders {
    /// Has every file read that is left, with [`FileReader`], by anybody who sees the folder and the files.
    ///
    /// # Errors
    /// Where a file cannot be read; those that are finished stay for the next run.
    fn read(&mut self, files: &mut FilesToRead, progress: &mut dyn FnMut(&PipelineProgress))
    -> Result<(), CorpusError>;
}

/// The files of a first pass that is under way.
#[derive(Debug)]
pub struct FilesToRead {
    folder: PathBuf,
    directory: Option<PathBuf>,
    files: Vec<(PathBuf, u64)>,
    left: BTreeSet<usize>,
    documents: u64,
}

impl FilesToRead {
    pub(super) fn new(work: &Work<'_>, files: &[InputFile]) -> Result<Self, CorpusError> {
        let folder = std::path::absolute(&work.folder).map_err(CorpusError::io("find", &work.folder))?;
        let relative = files.iter().any(|file| is_relative(&file.path)) || has_relative_paths(work.plan);
        let here = || std::env::current_dir().map_err(CorpusError::io("find", "."));
        let directory = relative.then(here).transpose()?;
        let mut left: BTreeSet<usize> = (0..files.len()).collect();
        let mut documents = 0;
        left.retain(|file| match work.finished(0, *file) {
            Some(finished) => {
                documents += finished.documents;
                false
            }
            None => true,
        });
        let files = files.iter().map(|file| (file.path.clone(), file.bytes)).collect();
        Ok(Self { folder, directory, files, left, documents })
    }

    pub(super) fn read_by(
        mut self,
        readers: &mut dyn FileReaders,
        progress: &mut dyn FnMut(&PipelineProgress),
    ) -> Result<(), CorpusError> {
        if self.left.is_empty() {
            return Ok(());
        }
        readers.read(&mut self, progress)?;
        self.look(progress)?;
        match self.left.first() {
            None => Ok(()),
            Some(file) => Err(CorpusError::damaged(
                &self.files[*file].0,
                "nobody has read this file",
                "try again: what is finished stays",
            )),
        }
    }

    /// The folder of parts and notes, from the root.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where relative paths of the plan and its files begin, if it has any.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The numbers of the files that nobody has finished, with their bytes.
    pub fn left(&self) -> impl DoubleEndedIterator<Item = (usize, u64)> {
        self.left.iter().map(|file| (*file, self.files[*file].1))
    }

    /// Looks for notes that were written meanwhile, and tells of them.
    ///
    /// # Errors
    /// Where the folder cannot be listed.
    pub fn look(&mut self, progress: &mut dyn FnMut(&PipelineProgress)) -> Result<(), CorpusError> {
        let entries = std::fs::read_dir(&self.folder).map_err(CorpusError::io("list", &self.folder))?;
        for entry in entries {
            let entry = entry.map_err(CorpusError::io("list", &self.folder))?;
            let name = entry.file_name();
            let file = name.to_str().and_then(|name| name.strip_prefix("work-0-")?.strip_suffix(".json")?.parse().ok());
            let Some(file) = file.filter(|file| self.left.contains(file)) else { continue };
            let note = std::fs::read(entry.path()).ok().and_then(|note| serde_json::from_slice(&note).ok());
            // One that is listed and cannot be read yet, as shared folders have them, is seen the next time.
            let Some(Finished { documents, passed_over }) = note else { continue };
            self.left.remove(&file);
            self.documents += documents;
            for told in passed_over {
                progress(&PipelineProgress::PassedOverElsewhere(told));
            }
        }
        progress(&PipelineProgress::ReadingElsewhere {
            finished: self.files.len() - self.left.len(),
            files: self.files.len(),
            documents: self.documents,
        });
        Ok(())
    }
}

/// Whether a path means something else in another folder; addresses do not.
fn is_relative(path: &Path) -> bool {
    let text = path.to_string_lossy();
    path.is_relative() && !text.contains("://") && !text.starts_with("hf:")
}

/// Whether steps of the plan read files of such paths.
fn has_relative_paths(plan: &PipelinePlan) -> bool {
    plan.steps.iter().any(|step| match step {
        StepPlan::Decontaminate { sets, .. } => sets.values().flatten().any(|path| is_relative(Path::new(path))),
        StepPlan::Score(score) => is_relative(&score.model),
        StepPlan::Language { model: Some(model), .. } => is_relative(model),
        _ => false,
    })
}

/// What a reader knows who shares its folder with others.
#[derive(Debug)]
pub(super) struct Shared {
    hand: String,
    stamp: Vec<u8>,
}

impl Shared {
    /// What the names of its unfinished files hold, and no other's do.
    pub(super) fn hand(&self) -> &str {
        &self.hand
    }

    /// Refuses to go on where the folder has another plan by now.
    pub(super) fn check(&self, folder: &Path) -> Result<(), CorpusError> {
        if std::fs::read(folder.join(STAMP)).is_ok_and(|stamp| stamp == self.stamp) {
            return Ok(());
        }
        Err(CorpusError::damaged(folder, "the preparation that this was read for has ended", ""))
    }
}

/// Reads single files of a first pass that another process is carrying out, with everything that its steps need held ready.
pub struct FileReader {
    plan: PipelinePlan,
    files: Vec<InputFile>,
    folder: PathBuf,
    steps: Vec<ReadyStep>,
    keys: Keys,
    shared: Shared,
}

impl FileReader {
    /// Opens the folder that [`FilesToRead::folder`] names.
    ///
    /// # Errors
    /// Where there is no such folder here, or a step's models or files are not here.
    pub fn open(folder: &Path, scorers: &OpenScorer<'_>) -> Result<Self, CorpusError> {
        let path = folder.join(STAMP);
        let stamp = std::fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => CorpusError::NotFound {
                pattern: folder.display().to_string(),
                message: "a worker does not see the folder of this preparation".to_owned(),
                hint: "the result must lie in a folder that all workers share, under the same path".to_owned(),
            },
            _ => CorpusError::io("read", &path)(error),
        })?;
        let (plan, files) = serde_json::from_slice::<(PipelinePlan, Vec<InputFile>)>(&stamp)
            .ok()
            .filter(|read| serde_json::to_vec_pretty(read).is_ok_and(|bytes| bytes == stamp))
            .ok_or_else(|| {
                CorpusError::damaged(
                    &path,
                    "this plan is not understood",
                    "workers must be of the same version of Loam, and names of files UTF-8",
                )
            })?;
        let (steps, keys) = first_steps(&plan, scorers)?;
        // Keys of hash tables are drawn at random, by process and by table.
        let hand = format!("{:016x}.", RandomState::new().build_hasher().finish());
        Ok(Self { plan, files, folder: folder.to_path_buf(), steps, keys, shared: Shared { hand, stamp } })
    }

    /// Whether the folder still has the plan that this was opened with.
    pub fn is_current(&self) -> bool {
        self.shared.check(&self.folder).is_ok()
    }

    /// The path of a file.
    pub fn path(&self, file: usize) -> Option<&Path> {
        self.files.get(file).map(|file| file.path.as_path())
    }

    /// Reads a file and writes its part and its note, unless it has them; the documents in it.
    ///
    /// # Errors
    /// Where the file is not here, is another than where the preparation was begun, or cannot be read.
    pub fn read(&self, file: usize) -> Result<u64, CorpusError> {
        let input = self.files.get(file).ok_or_else(|| {
            CorpusError::damaged(self.folder.join(STAMP), format!("there is no file {file} in this plan"), "")
        })?;
        let hint = "workers read the files of a corpus under the paths of the plan: share their folder";
        let told = |message: String| CorpusError::NotFound {
            pattern: input.path.display().to_string(),
            message,
            hint: hint.to_owned(),
        };
        let metadata = std::fs::metadata(&input.path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => told("a worker does not see this file".to_owned()),
            _ => CorpusError::io("open", &input.path)(error),
        })?;
        if metadata.len() != input.bytes {
            let (here, there) = (metadata.len(), input.bytes);
            return Err(told(format!("a worker sees {here} bytes of this file where {there} were found")));
        }
        let shared = Some(&self.shared);
        let work = Work { plan: &self.plan, files: &self.files, folder: self.folder.clone(), shared };
        work.read(file..file + 1, &self.steps, &self.keys, &mut |_| {})?;
        Ok(work.finished(0, file).unwrap_or_default().documents)
    }
}
