//! What stands where the cluster would be, in a Loam that was built without it.

use super::Misuse;
use crate::arguments::{Global, SchedulerArguments, WorkerArguments};
use crate::terminal::Terminal;
use loam_corpus::CorpusError;
use loam_corpus::pipeline::{FileReaders, FilesToRead, PipelineProgress};
use std::process::ExitCode;

/// None is ever connected to.
pub enum Cluster {}

impl FileReaders for Cluster {
    fn read(&mut self, _: &mut FilesToRead, _: &mut dyn FnMut(&PipelineProgress)) -> Result<(), CorpusError> {
        match *self {}
    }
}

pub fn scheduler(arguments: &SchedulerArguments, _: Terminal) -> anyhow::Result<ExitCode> {
    let SchedulerArguments { bind: _, port: _ } = arguments;
    Err(missing("loam scheduler"))
}

pub fn worker(arguments: &WorkerArguments, _: &Global, _: Terminal) -> anyhow::Result<ExitCode> {
    let WorkerArguments { scheduler: _, slots: _, bind: _, host: _, port: _, work_dir: _ } = arguments;
    Err(missing("loam worker"))
}

pub fn connect(_: &str) -> anyhow::Result<Cluster> {
    Err(missing("--scheduler"))
}

fn missing(what: &str) -> anyhow::Error {
    Misuse(format!("{what} needs a Loam built with its cluster: cargo build --release --features cluster")).into()
}
