//! Pages of studies: one self-contained `report.html` each, readable in light and dark, on paper, and on a phone.
//!
//! - [`ScalingPage`]: the law of size and tokens, its bands, the runs, the frontier, forecasts.
//! - [`ExperimentPage`]: what each arm of a study did, and how well it was predicted.
//! - [`RepetitionPage`]: what repeated tokens are worth.

mod experiment;
mod repetition;
mod scaling;

use std::fs;
use std::path::{Path, PathBuf};

use loam_influence::laws::Estimate;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Value};
use serde::Serialize;

pub use experiment::ExperimentPage;
pub use repetition::RepetitionPage;
pub use scaling::ScalingPage;

use crate::{ReportError, numbers};

/// The page's file name.
const REPORT: &str = "report.html";

/// Everything that the template shows.
#[derive(Serialize)]
struct Page {
    title: String,
    subtitle: String,
    style: Value,
    /// What a reader should know first, as HTML.
    answer: Vec<Value>,
    problems: Vec<String>,
    figures: Vec<Figure>,
    sections: Vec<Section>,
    footer: &'static str,
    version: &'static str,
}

/// A number worth seeing at once.
#[derive(Serialize)]
struct Figure {
    label: String,
    value: String,
    note: String,
}

/// Pictures and tables under a heading.
#[derive(Serialize, Default)]
struct Section {
    title: String,
    words: Vec<String>,
    pictures: Vec<Picture>,
    tables: Vec<Table>,
}

/// A picture with its words.
#[derive(Serialize)]
struct Picture {
    caption: String,
    svg: Value,
}

impl Picture {
    /// None where there was nothing to draw.
    fn new(caption: impl Into<String>, svg: Option<String>) -> Option<Self> {
        svg.map(|svg| Self { caption: caption.into(), svg: Value::from_safe_string(svg) })
    }
}

/// A table; the first column names its rows, the others are numbers.
#[derive(Serialize, Default)]
struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    note: String,
}

impl Page {
    fn new(title: impl Into<String>, subtitle: impl Into<String>, footer: &'static str) -> Self {
        Self {
            title: title.into(),
            subtitle: subtitle.into(),
            style: Value::from_safe_string(include_str!("page/style.css").to_owned()),
            answer: Vec::new(),
            problems: Vec::new(),
            figures: Vec::new(),
            sections: Vec::new(),
            footer,
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    fn answer(&mut self, html: impl Into<String>) {
        self.answer.push(Value::from_safe_string(html.into()));
    }

    fn figure(&mut self, label: &str, value: String, note: impl Into<String>) {
        self.figures.push(Figure { label: label.to_owned(), value, note: note.into() });
    }

    /// Writes the page into `folder`, aside and renamed, and gives its path.
    fn write(&self, folder: &Path) -> Result<PathBuf, ReportError> {
        let path = folder.join(REPORT);
        let layout = |error: minijinja::Error| ReportError::Layout { path: path.clone(), detail: format!("{error:#}") };
        let mut environment = Environment::new();
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(layout)?);
        environment.add_template("study.html", include_str!("study/page.html")).map_err(layout)?;
        let html =
            environment.get_template("study.html").and_then(|template| template.render(Serde(self))).map_err(layout)?;
        let aside = folder.join(format!(".{REPORT}.{}", std::process::id()));
        let result =
            fs::create_dir_all(folder).and_then(|()| fs::write(&aside, html)).and_then(|()| fs::rename(&aside, &path));
        result.map_err(|source| {
            // Whatever was written aside is of no use; that it may not go away changes nothing.
            let _ = fs::remove_file(&aside);
            ReportError::Write {
                path: path.clone(),
                source,
                hint: "is the disk full, or the folder not yours to write?",
            }
        })?;
        Ok(path)
    }
}

/// `1.817 [1.75, 1.88]`.
fn with_interval(estimate: &Estimate, words: fn(f64) -> String) -> String {
    format!("{} [{}, {}]", words(estimate.value), words(estimate.low), words(estimate.high))
}

/// A row of a table of estimates: name, value, interval, standard error, meaning.
fn estimate_row(name: &str, estimate: &Estimate, meaning: &str) -> Vec<String> {
    vec![
        name.to_owned(),
        significant(estimate.value),
        format!("{} to {}", significant(estimate.low), significant(estimate.high)),
        significant(estimate.standard_error),
        meaning.to_owned(),
    ]
}

/// The head of that table.
fn estimate_head() -> Vec<String> {
    ["", "value", "95 % interval", "standard error", "meaning"].map(str::to_owned).to_vec()
}

/// A number to four figures, large ones with their magnitude.
fn significant(number: f64) -> String {
    match number.abs() {
        size if size >= 1e5 => numbers::compact(number),
        size if size >= 1000.0 => numbers::fixed(number, 0),
        size if size >= 100.0 => numbers::fixed(number, 1),
        size if size >= 10.0 => numbers::fixed(number, 2),
        size if size >= 0.01 || size == 0.0 => numbers::fixed(number, 4),
        _ => numbers::rough(number),
    }
}

/// 6·10²³ floating-point operations as `6.0e23`.
fn operations(number: f64) -> String {
    if !number.is_finite() || number <= 0.0 {
        return "–".to_owned();
    }
    let power = number.log10().floor();
    let factor = number / 10_f64.powf(power);
    if (factor - 1.0).abs() < 0.005 { format!("1e{power:.0}") } else { format!("{factor:.1}e{power:.0}") }
}

/// Numbers between two, equally far apart in their logarithms.
fn spaced(low: f64, high: f64, count: usize) -> Vec<f64> {
    let (low, high) = (low.ln(), high.ln());
    (0..count).map(|index| (low + (high - low) * index as f64 / (count - 1) as f64).exp()).collect()
}
