//! The first pass in other hands.

use std::path::Path;

use super::tests::{everything, run};
use super::token_tests::{same, two_sources};
use super::*;
use crate::error::CorpusError;

/// Two readers who each read every file, the last one first.
struct Backward;

impl FileReaders for Backward {
    fn read(
        &mut self,
        files: &mut FilesToRead,
        progress: &mut dyn FnMut(&PipelineProgress),
    ) -> Result<(), CorpusError> {
        let mut left: Vec<usize> = files.left().map(|(file, _)| file).collect();
        left.reverse();
        let folder = files.folder();
        let one = || {
            let reader = FileReader::open(folder, &no_scorers)?;
            left.iter().try_for_each(|file| reader.read(*file).map(|_| ()))
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(one);
            one().and(other.join().unwrap())
        })?;
        files.look(progress)
    }
}

/// Reads one file a run, and then stops.
struct OneOnly;

impl FileReaders for OneOnly {
    fn read(&mut self, files: &mut FilesToRead, _: &mut dyn FnMut(&PipelineProgress)) -> Result<(), CorpusError> {
        let (file, _) = files.left().next_back().unwrap();
        FileReader::open(files.folder(), &no_scorers)?.read(file).map(|_| ())
    }
}

/// Breaks something between two files.
struct Breaker(fn(&Path));
impl FileReaders for Breaker {
    fn read(&mut self, files: &mut FilesToRead, _: &mut dyn FnMut(&PipelineProgress)) -> Result<(), CorpusError> {
        let reader = FileReader::open(files.folder(), &no_scorers)?;
        assert!(reader.is_current() && reader.read(1000).is_err());
        (self.0)(files.folder());
        reader.read(0).map(|_| ())
    }
}

/// Looks whether there are relative paths.
struct Look(Option<bool>);
impl FileReaders for Look {
    fn read(&mut self, files: &mut FilesToRead, _: &mut dyn FnMut(&PipelineProgress)) -> Result<(), CorpusError> {
        self.0 = Some(files.directory().is_some());
        Err(CorpusError::invalid("looked", ""))
    }
}

fn run_by(
    readers: &mut dyn FileReaders,
    plan: &PipelinePlan,
    out: &Path,
) -> Result<Vec<PipelineProgress>, CorpusError> {
    let mut told = Vec::new();
    run_pipeline_by(plan, out, &no_scorers, Some(readers), &mut |progress| told.push(progress.clone()))?;
    Ok(told)
}

#[test]
fn who_reads_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    for plan in [everything(folder.path()), two_sources(folder.path())] {
        let (alone, others) = (folder.path().join("alone"), folder.path().join("others"));
        let summary = run(&plan, &alone);
        let told = run_by(&mut Backward, &plan, &others).unwrap();
        same(&alone, &others);
        let documents = summary.sources.values().map(|source| source.read).sum();
        assert!(told.contains(&PipelineProgress::ReadingElsewhere { finished: 2, files: 2, documents }), "{told:?}");
        std::fs::remove_dir_all(alone).unwrap();
        std::fs::remove_dir_all(others).unwrap();
    }
}

#[test]
fn what_is_read_elsewhere_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let plan = two_sources(folder.path());
    let (alone, others) = (folder.path().join("alone"), folder.path().join("others"));
    run(&plan, &alone);
    let error = run_by(&mut OneOnly, &plan, &others).unwrap_err().to_string();
    assert!(error.contains("big.jsonl") && error.contains("nobody has read"), "{error}");
    // The rest here: the first file comes before the one that was read without knowing of it.
    run(&plan, &others);
    same(&alone, &others);
}

#[test]
fn a_reader_says_what_it_does_not_see() {
    let folder = tempfile::tempdir().unwrap();
    let error = FileReader::open(&folder.path().join("elsewhere"), &no_scorers).err().unwrap().to_string();
    assert!(error.contains("does not see the folder"), "{error}");

    let plan = two_sources(folder.path());
    let file = folder.path().join("big.jsonl");
    let out = folder.path().join("out");
    let mut other = Breaker(|folder| {
        let file = folder.parent().unwrap().join("big.jsonl");
        std::fs::write(&file, "{\"text\": \"another\"}\n").unwrap();
    });
    let error = run_by(&mut other, &plan, &out).unwrap_err().to_string();
    assert!(error.contains("big.jsonl") && error.contains("20 bytes"), "{error}");

    std::fs::write(&file, "{\"text\": \"one\"}\n").unwrap();
    let mut ended = Breaker(|folder| std::fs::write(folder.join("plan.json"), "of another").unwrap());
    let error = run_by(&mut ended, &plan, &out).unwrap_err().to_string();
    assert!(error.contains("has ended"), "{error}");
    assert!(!folder.path().join(".out.partial/work-0-000000.parquet").exists());

    let mut removed = Breaker(|folder| std::fs::remove_file(folder.parent().unwrap().join("big.jsonl")).unwrap());
    let error = run_by(&mut removed, &plan, &out).unwrap_err().to_string();
    assert!(error.contains("does not see this file"), "{error}");
}

#[test]
fn relative_paths_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = two_sources(folder.path());
    let looked = |plan: &PipelinePlan| {
        let mut look = Look(None);
        run_by(&mut look, plan, &folder.path().join("out")).unwrap_err();
        look.0.unwrap()
    };
    assert!(!looked(&plan));
    let sets = std::collections::BTreeMap::from([("exam".to_owned(), vec!["exam.jsonl".to_owned()])]);
    plan.steps.push(StepPlan::Decontaminate { sets, words: 13, text_field: None });
    assert!(looked(&plan));
}
