//! What a worker does with a task.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use loam_corpus::CorpusError;
use loam_corpus::pipeline::{FileReader, ScorePlan, TextScorer};

use crate::current_directory::CurrentDirectory;
use crate::task::Task;

/// The file beside the parts that names the run under way; whoever ends it removes the file.
const RUN: &str = "work-run";
/// Preparations whose models and sets are held ready.
const MOST: usize = 4;

/// Opens what a step that scores names, for as long as the worker lives.
pub type Scorers = dyn Fn(&ScorePlan) -> Result<Box<dyn TextScorer>, CorpusError> + Send + Sync;

/// A file that a worker has read.
#[derive(Clone, Debug)]
pub struct Read {
    /// Its path in the plan.
    pub path: PathBuf,
    /// Documents in it.
    pub documents: u64,
    /// How long it took.
    pub time: Duration,
}

/// Carries tasks out, and holds ready what their preparations need.
pub struct Reading {
    scorers: Box<Scorers>,
    told: Box<dyn Fn(&Read) + Send + Sync>,
    directory: CurrentDirectory,
    open: Mutex<Vec<(PathBuf, Arc<FileReader>)>>,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reading").finish_non_exhaustive()
    }
}

impl Reading {
    /// With what opens models, and what hears of every file that was read.
    pub fn new(scorers: Box<Scorers>, told: Box<dyn Fn(&Read) + Send + Sync>) -> Self {
        Self { scorers, told, directory: CurrentDirectory::default(), open: Mutex::new(Vec::new()) }
    }

    /// Reads the files of a task; the documents in them. Files that somebody has finished are not read again.
    ///
    /// # Errors
    /// Where the task is of another version or of a run that is over, and where a file cannot be read.
    pub fn carry_out(&self, task: &Task) -> Result<u64, CorpusError> {
        if task.version != env!("CARGO_PKG_VERSION") {
            return Err(CorpusError::invalid(
                format!("a worker of Loam {} was asked by Loam {}", env!("CARGO_PKG_VERSION"), task.version),
                "all machines of a cluster need the same version",
            ));
        }
        let _stay = match &task.directory {
            None => None,
            Some(directory) => Some(self.directory.enter(directory).map_err(|error| CorpusError::NotFound {
                pattern: directory.display().to_string(),
                message: format!("a worker cannot go where relative paths of this preparation begin: {error}"),
                hint: "share this folder with the workers, or name files by absolute paths".to_owned(),
            })?),
        };
        let reader = self.reader(&task.folder)?;
        let mut documents = 0;
        for file in &task.files {
            if !is_under_way(&task.folder, &task.run) {
                return Err(CorpusError::invalid(format!("{}: this run is over", task.folder.display()), ""));
            }
            let begun = Instant::now();
            let read = reader.read(*file)?;
            documents += read;
            let path = reader.path(*file).map(Path::to_path_buf).unwrap_or_default();
            (self.told)(&Read { path, documents: read, time: begun.elapsed() });
        }
        Ok(documents)
    }

    fn reader(&self, folder: &Path) -> Result<Arc<FileReader>, CorpusError> {
        // Others wait: what they need is what is being opened.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(known, reader)| known != folder || reader.is_current());
        if let Some((_, reader)) = open.iter().find(|(known, _)| known == folder) {
            return Ok(reader.clone());
        }
        if open.len() >= MOST {
            open.remove(0);
        }
        let reader = Arc::new(FileReader::open(folder, &*self.scorers)?);
        open.push((folder.to_path_buf(), reader.clone()));
        Ok(reader)
    }
}

/// Says in a preparation's folder that this run is under way, and no other; where it says so.
#[cfg(any(feature = "ballista", test))]
pub(crate) fn begin_run(folder: &Path, run: &str) -> Result<PathBuf, CorpusError> {
    let path = folder.join(RUN);
    let aside = folder.join(format!("{RUN}.{run}"));
    let wrong = |source| CorpusError::Io { action: "write", path: aside.clone(), source };
    std::fs::write(&aside, run).map_err(wrong)?;
    std::fs::rename(&aside, &path).map_err(wrong)?;
    Ok(path)
}

fn is_under_way(folder: &Path, run: &str) -> bool {
    std::fs::read(folder.join(RUN)).is_ok_and(|found| found == run.as_bytes())
}

#[cfg(test)]
mod tests {
    use loam_corpus::pipeline::{
        FileReaders, FilesToRead, PipelinePlan, PipelineProgress, PipelineSource, no_scorers, run_pipeline_by,
    };

    use super::*;

    /// What a test does with the files of a preparation.
    struct Here<F: FnMut(&mut FilesToRead) -> Result<(), CorpusError>>(F);

    impl<F: FnMut(&mut FilesToRead) -> Result<(), CorpusError>> FileReaders for Here<F> {
        fn read(&mut self, files: &mut FilesToRead, _: &mut dyn FnMut(&PipelineProgress)) -> Result<(), CorpusError> {
            (self.0)(files)
        }
    }

    fn task(files: &FilesToRead, run: &str) -> Task {
        Task {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run: run.to_owned(),
            folder: files.folder().to_path_buf(),
            directory: files.directory().map(Path::to_path_buf),
            files: files.left().map(|(file, _)| file).collect(),
        }
    }

    #[test]
    fn tasks_are_carried_out_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for name in ["a.txt", "b.txt"] {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("The text of {name}, which is short.")).unwrap();
            paths.push(path.display().to_string());
        }
        let plan = PipelinePlan::new(vec![PipelineSource::new("data", paths)], vec![]);
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        let hear = move |read: &Read| {
            heard.lock().unwrap().push((read.path.file_name().map(std::ffi::OsStr::to_os_string), read.documents))
        };
        let reading = Reading::new(Box::new(no_scorers), Box::new(hear));
        let mut here = Here(|files: &mut FilesToRead| {
            let run = begin_run(files.folder(), "first")?;
            let wrong = |task: Task, expected: &str| {
                let error = reading.carry_out(&task).unwrap_err().to_string();
                assert!(error.contains(expected), "{error}");
            };
            wrong(Task { version: "0.0.0".to_owned(), ..task(files, "first") }, "same version");
            wrong(Task { directory: Some("/no/such/place".into()), ..task(files, "first") }, "relative paths");
            wrong(Task { folder: "/no/such/place".into(), ..task(files, "first") }, "does not see the folder");
            wrong(task(files, "second"), "this run is over");
            assert_eq!(reading.carry_out(&task(files, "first"))?, 2);
            std::fs::remove_file(run).unwrap();
            wrong(task(files, "first"), "this run is over");
            Ok(())
        });
        let out = folder.path().join("out");
        let summary = run_pipeline_by(&plan, &out, &no_scorers, Some(&mut here), &mut |_| {}).unwrap();
        assert_eq!(summary.sources["data"].kept, 2);
        assert_eq!(*told.lock().unwrap(), [(Some("a.txt".into()), 1), (Some("b.txt".into()), 1)]);
        assert!(!out.join(RUN).exists());
    }
}
