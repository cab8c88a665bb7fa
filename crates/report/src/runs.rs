//! The runs under a folder, and how each stands.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::ReportError;
use crate::facts::Facts;
use crate::folder::{self, RunFolder};

/// A run that has not finished counts as running while something in its folder is younger than this.
const STALE: Duration = Duration::from_mins(10);

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It did all its steps.
    Done,
    /// It was asked to stop, and saved.
    Interrupted,
    /// The held-out loss fell no further.
    EarlyStop,
    /// The loss was no longer a number.
    NonFinite,
    /// It has not finished, and something in its folder was written in the last ten minutes.
    Running,
    /// It has not finished and nothing has been written since: it was killed, or the machine went down.
    Stopped,
    /// Its events cannot be read or end in a way that this version of Loam does not know.
    Unknown,
}

impl Status {
    /// The status in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Interrupted => "interrupted",
            Self::EarlyStop => "stopped early",
            Self::NonFinite => "non-finite loss",
            Self::Running => "running",
            Self::Stopped => "stopped without a word",
            Self::Unknown => "unknown",
        }
    }
}

/// The last held-out loss of a domain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldOutLoss {
    /// Held-out domain.
    pub domain: String,
    /// Nats a token.
    pub loss: f64,
    /// Bits a byte of text; none where it was not recorded.
    pub bits_per_byte: Option<f64>,
    /// Share of the tokens that were the most probable ones; none where it was not recorded.
    pub accuracy: Option<f64>,
}

/// One run in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunSummary {
    /// Name of its folder.
    pub name: String,
    /// How it stands.
    pub status: Status,
    /// When its first session began (RFC 3339, UTC); none where the events do not say.
    pub started: Option<String>,
    /// Trainable parameters.
    pub parameters: Option<u64>,
    /// Optimizer steps done.
    pub steps: u64,
    /// Optimizer steps planned.
    pub planned_steps: Option<u64>,
    /// Training tokens seen.
    pub tokens: u64,
    /// Seconds of training over all sessions.
    pub seconds: Option<f64>,
    /// Last held-out loss of each domain.
    pub held_out: Vec<HeldOutLoss>,
    /// Its folder.
    pub path: PathBuf,
    /// What of it is missing or broken, one sentence each.
    pub problems: Vec<String>,
}

/// The runs in `root`, by start: every folder directly in it that holds something of a run, and `root` itself where it
/// is a run. A run whose start is not known comes first.
///
/// # Errors
///
/// [`ReportError::Read`] where `root` cannot be listed. A run that is broken is listed with its problems.
pub fn list(root: &Path) -> Result<Vec<RunSummary>, ReportError> {
    let entries = fs::read_dir(root).map_err(|source| ReportError::Read {
        path: root.to_owned(),
        source,
        hint: "runs stand in `runs` unless `-o` said otherwise; `loam train` makes the first",
    })?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    // A recipe alone is as likely to be the one that its author keeps beside the runs.
    if root.join(folder::EVENTS).exists() {
        folders.insert(0, root.to_owned());
    }
    let mut runs: Vec<RunSummary> =
        folders.iter().filter(|path| folder::is_run(path)).filter_map(|path| summarize(path).ok()).collect();
    runs.sort_by(|left, right| left.started.cmp(&right.started));
    Ok(runs)
}

/// One run in numbers.
///
/// # Errors
///
/// [`ReportError::NotARun`] for a folder with nothing of a run in it.
pub fn summarize(path: &Path) -> Result<RunSummary, ReportError> {
    let folder = RunFolder::read(path)?;
    let facts = Facts::gather(&folder.events, &folder.metrics);
    let held_out = facts
        .last_losses()
        .map(|(domain, evaluation)| HeldOutLoss {
            domain: domain.to_owned(),
            loss: evaluation.loss,
            bits_per_byte: evaluation.bits_per_byte,
            accuracy: evaluation.accuracy,
        })
        .collect();
    Ok(RunSummary {
        name: folder.name.clone(),
        status: status(&facts, path),
        started: facts.sessions.first().map(|session| session.time.clone()),
        parameters: facts.model.as_ref().map(|model| model.parameters),
        steps: facts.step,
        planned_steps: facts.plan.map(|plan| plan.0),
        tokens: facts.tokens,
        seconds: facts.seconds,
        held_out,
        path: path.to_owned(),
        problems: folder.problems,
    })
}

fn status(facts: &Facts, path: &Path) -> Status {
    match facts.finish.as_ref().map(|finish| finish.reason.as_str()) {
        Some("done") => Status::Done,
        Some("interrupted") => Status::Interrupted,
        Some("early_stop") => Status::EarlyStop,
        Some("non_finite") => Status::NonFinite,
        Some(_) => Status::Unknown,
        None if is_fresh(path) => Status::Running,
        None if facts.sessions.is_empty() => Status::Unknown,
        None => Status::Stopped,
    }
}

/// Whether training wrote something into the run's folder lately.
fn is_fresh(path: &Path) -> bool {
    let now = SystemTime::now();
    [folder::EVENTS, folder::METRICS, folder::LEDGER, "checkpoints", "tensorboard"].iter().any(|name| {
        let modified = fs::metadata(path.join(name)).and_then(|metadata| metadata.modified());
        modified.is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age < STALE) || modified > now)
    })
}
