//! What a run of fine-tuning came to: the task's metrics on the validation examples, in words, as curves, and in a table.

use serde::Serialize;

use super::details::visible;
use super::{Clock, Picture, token_tick};
use crate::facts::{Facts, TaskRun};
use crate::numbers;
use crate::svg::{Line, LineChart, Style, escape};

/// A metric, of the weights that were kept and of the last ones.
#[derive(Serialize)]
pub(super) struct MetricRow {
    name: String,
    kept: String,
    last: String,
    deciding: bool,
}

fn words(metric: &str) -> String {
    visible(&metric.replace('_', " "))
}

/// What was trained for, and how well it is done.
pub(super) fn sentence(task: &TaskRun) -> String {
    let examples = numbers::counted(task.examples, "training example", "training examples");
    let epochs = if task.epochs == 1.0 {
        "one epoch".to_owned()
    } else {
        format!("{} epochs", numbers::fixed(task.epochs, usize::from(task.epochs.fract() != 0.0)))
    };
    let name = escape(&task.name);
    let plan = format!("Its task is {name}: {examples}, {epochs} planned, {} a step.", task.batch);
    let Some((step, kept)) = task.kept() else {
        return format!("{plan} Nothing was measured on validation examples.");
    };
    let (metric, value) = (escape(&words(&kept.deciding)), numbers::fixed(kept.score(), 3));
    let step = numbers::grouped(*step);
    let on = numbers::counted(kept.examples, "validation example", "validation examples");
    format!("{plan} On {on} its {metric} came to <strong>{value}</strong> at step {step}, whose weights were kept.")
}

/// The table; empty where nothing was measured.
pub(super) fn rows(task: &TaskRun) -> Vec<MetricRow> {
    let (Some((_, kept)), Some((_, last))) = (task.kept(), task.measurements.last()) else { return Vec::new() };
    let value = |value: Option<&f64>| value.map_or_else(|| "–".to_owned(), |value| numbers::fixed(*value, 4));
    let loss = MetricRow {
        name: "loss, nats".to_owned(),
        kept: value(Some(&kept.loss)),
        last: value(Some(&last.loss)),
        deciding: false,
    };
    let metric = |(name, own): (&String, &f64)| MetricRow {
        name: words(name),
        kept: value(Some(own)),
        last: value(last.metrics.get(name)),
        deciding: *name == kept.deciding,
    };
    kept.metrics.iter().map(metric).chain([loss]).collect()
}

/// The metrics over training tokens; none where they were measured only once.
pub(super) fn picture(facts: &Facts, clock: &Clock) -> Option<Picture> {
    let task = facts.task.as_ref().filter(|task| task.measurements.len() > 1)?;
    let names: Vec<&String> = task.measurements.last()?.1.metrics.keys().collect();
    let line = |(index, name): (usize, &&String)| {
        let point = |(step, measured): &(u64, loam_train::finetune::Measured)| {
            let value = measured.metrics.get(*name).copied().filter(|value| value.is_finite())?;
            Some((clock.tokens(*step), value))
        };
        let points: Vec<(f64, f64)> = task.measurements.iter().filter_map(point).collect();
        let style = Style::Color(index);
        Line { name: words(name), style, dots: points.len() <= 60, points, band: Vec::new(), value: true }
    };
    let chart = LineChart {
        id: "metrics".into(),
        label: "The task\u{2019}s metrics on the validation examples over training tokens".to_owned(),
        height: 290.0,
        lines: names.iter().enumerate().map(line).collect(),
        references: Vec::new(),
        ceiling: None,
        zero: false,
    };
    Some(Picture::new("Metrics on the validation examples, over training tokens", chart.draw(token_tick)?))
}
