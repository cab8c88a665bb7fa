//! `report.html`: one self-contained page about one run, readable in light and dark, on paper, and on a phone.

mod answer;
mod curves;
mod data;
mod details;
mod documents;
mod ledger;
mod scores;
mod task;

use std::fs;
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Value};
use serde::Serialize;

use crate::facts::Facts;
use crate::folder::RunFolder;
use crate::{ReportError, numbers};
use loam_influence::ledger::LedgerSummary;
use loam_train::record::MetricRow;

/// The page's file name in a run's folder.
const REPORT: &str = "report.html";

/// Draws `report.html` in the run's folder and returns its path.
///
/// The page is written aside and renamed, so that a reader never sees half of it. Records that are missing or broken
/// are named on the page and the rest is shown.
///
/// # Errors
///
/// [`ReportError::NotARun`] for a folder with nothing of a run in it, [`ReportError::Write`] where the page cannot be
/// written, [`ReportError::Layout`] for a mistake in the page's template.
pub fn write(run: &Path) -> Result<PathBuf, ReportError> {
    let folder = RunFolder::read(run)?;
    let html = render(&folder)?;
    let path = run.join(REPORT);
    let aside = run.join(format!(".{REPORT}.{}", std::process::id()));
    let result = fs::write(&aside, html).and_then(|()| fs::rename(&aside, &path));
    result.map_err(|source| {
        // Whatever was written aside is of no use; that it may not go away changes nothing.
        let _ = fs::remove_file(&aside);
        ReportError::Write { path: path.clone(), source, hint: "is the disk full, or the folder not yours to write?" }
    })?;
    Ok(path)
}

/// A picture with its words.
#[derive(Serialize)]
struct Picture {
    caption: String,
    svg: Value,
}

impl Picture {
    fn new(caption: impl Into<String>, svg: String) -> Self {
        Self { caption: caption.into(), svg: Value::from_safe_string(svg) }
    }
}

/// A number worth seeing at once.
#[derive(Serialize)]
struct Figure {
    label: String,
    value: String,
    note: String,
}

/// Everything that the template shows.
#[derive(Serialize)]
struct Page {
    name: String,
    subtitle: String,
    style: Value,
    answer: Vec<Value>,
    problems: Vec<String>,
    figures: Vec<Figure>,
    /// Stacks of pictures.
    curves: Vec<Vec<Picture>>,
    scores: Vec<scores::ScoreRow>,
    /// Whether it is a run of fine-tuning, which has no ledger, no sources, and no samples.
    is_task: bool,
    metrics: Vec<task::MetricRow>,
    ledger: Option<ledger::LedgerSection>,
    no_ledger: &'static str,
    documents: Option<documents::DocumentSection>,
    data: data::DataSection,
    samples: Vec<details::SampleView>,
    details: Vec<(String, String)>,
    recipe: Option<String>,
    commands: Vec<details::Command>,
    version: &'static str,
}

fn render(folder: &RunFolder) -> Result<String, ReportError> {
    let facts = Facts::gather(&folder.events, &folder.metrics);
    let clock = Clock::new(&folder.metrics, &facts);
    let summary = folder.ledger.as_ref().filter(|ledger| !ledger.is_empty()).map(|ledger| (ledger, ledger.summary()));
    let books: Option<&LedgerSummary> = summary.as_ref().map(|(_, summary)| summary);
    let page = Page {
        name: folder.name.clone(),
        subtitle: details::subtitle(&facts),
        style: Value::from_safe_string(include_str!("page/style.css").to_owned()),
        answer: answer::paragraphs(&facts, books).into_iter().map(Value::from_safe_string).collect(),
        problems: folder.problems.clone(),
        figures: details::figures(&facts),
        curves: curves::pictures(&facts, &folder.metrics, &clock),
        scores: if facts.task.is_none() { scores::rows(&facts) } else { Vec::new() },
        is_task: facts.task.is_some(),
        metrics: facts.task.as_ref().map(task::rows).unwrap_or_default(),
        ledger: summary.as_ref().map(|(ledger, summary)| ledger::section(ledger, summary, &facts, &clock)),
        no_ledger: match &folder.ledger {
            Some(_) => "The ledger of this run is empty: no interval was booked before it stopped.",
            None => "This run has no readable ledger (ledger.parquet), so what each source did is not known.",
        },
        documents: folder.documents.as_ref().and_then(|values| documents::section(values, &facts)),
        data: data::section(&facts),
        samples: details::samples(&facts),
        details: details::rows(folder, &facts),
        recipe: folder.recipe.clone(),
        commands: details::commands(folder, &facts),
        version: env!("CARGO_PKG_VERSION"),
    };
    let layout =
        |error: minijinja::Error| ReportError::Layout { path: folder.path.clone(), detail: format!("{error:#}") };
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(layout)?);
    environment.add_template("page.html", include_str!("page/page.html")).map_err(layout)?;
    environment.get_template("page.html").and_then(|template| template.render(Serde(&page))).map_err(layout)
}

/// Training tokens seen at a step: what the horizontal axes count.
struct Clock {
    /// Steps and tokens, rising.
    points: Vec<(u64, u64)>,
    tokens_per_step: f64,
}

impl Clock {
    fn new(metrics: &[MetricRow], facts: &Facts) -> Self {
        let mut points: Vec<(u64, u64)> = metrics.iter().map(|row| (row.step, row.tokens)).collect();
        points.push((0, 0));
        points.sort_unstable();
        points.dedup_by_key(|point| point.0);
        let last = points.last().copied().unwrap_or_default();
        let tokens_per_step = match facts.plan {
            Some((_, batch_tokens, _)) => batch_tokens as f64,
            None if last.0 > 0 && last.1 > 0 => last.1 as f64 / last.0 as f64,
            None => 1.0,
        };
        Self { points, tokens_per_step }
    }

    /// Tokens at `step`, interpolated between what was recorded.
    fn tokens(&self, step: u64) -> f64 {
        let after = self.points.partition_point(|point| point.0 < step);
        let before = self.points[..after].last().copied().unwrap_or((0, 0));
        match self.points.get(after) {
            Some(next) if next.0 > before.0 => {
                let share = (step - before.0) as f64 / (next.0 - before.0) as f64;
                before.1 as f64 + share * (next.1 as f64 - before.1 as f64)
            }
            Some(next) => next.1 as f64,
            None => before.1 as f64 + (step - before.0) as f64 * self.tokens_per_step,
        }
    }
}

/// How ticks of a token axis read.
fn token_tick(tokens: f64) -> String {
    numbers::compact(tokens)
}
