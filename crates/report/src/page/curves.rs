//! The curves: losses, learning rate and gradient norm over training tokens.

use loam_train::record::MetricRow;

use super::{Clock, Picture, task, token_tick};
use crate::facts::{DomainLoss, Facts};
use crate::svg::{Line, LineChart, Reference, Style};

/// Most points of a line; more are averaged, with a band from lowest to highest.
const POINTS: usize = 220;
/// Most held-out domains with a chart of their own.
const DOMAINS: usize = 6;

/// The pictures, in order, a stack a cell; none where nothing was recorded.
pub(super) fn pictures(facts: &Facts, metrics: &[MetricRow], clock: &Clock) -> Vec<Vec<Picture>> {
    let mut pictures = Vec::new();
    let captions: Vec<&str> = facts.losses.iter().map(|loss| loss.domain.as_str()).collect();
    let overview = LineChart {
        id: "loss".into(),
        label: format!("Training loss and held-out loss on {} over training tokens", captions.join(", ")),
        height: 290.0,
        lines: training_line(metrics)
            .into_iter()
            .chain(facts.losses.iter().enumerate().map(|(index, loss)| held_out_line(loss, clock, index)))
            .collect(),
        references: Vec::new(),
        ceiling: None,
        zero: false,
    };
    if let Some(svg) = overview.draw(token_tick) {
        // A task's loss is of what its examples tell: a label, a span.
        let unit = if facts.task.is_some() { "nats" } else { "nats a token" };
        pictures.push(vec![Picture::new(format!("Loss in {unit}, over training tokens"), svg)]);
    }
    pictures.extend(task::picture(facts, clock).map(|picture| vec![picture]));
    for (index, loss) in facts.losses.iter().enumerate().take(DOMAINS) {
        pictures.extend(domain_picture(index, loss, facts, clock).map(|picture| vec![picture]));
    }
    let mut stacked = Vec::new();
    let small = [("learning_rate", "Learning rate"), ("gradient_norm", "Gradient norm before clipping")];
    for (metric, caption) in small {
        let chart = LineChart {
            id: metric.replace('_', "-"),
            label: format!("{caption} over training tokens"),
            height: 118.0,
            lines: thinned(metrics, metric, "", Style::Quiet).into_iter().collect(),
            references: Vec::new(),
            ceiling: None,
            zero: true,
        };
        if let Some(svg) = chart.draw(token_tick) {
            stacked.push(Picture::new(format!("{caption}, over training tokens"), svg));
        }
    }
    pictures.extend((!stacked.is_empty()).then_some(stacked));
    pictures
}

/// One domain's held-out loss among its baselines, cut off above the worst of them.
fn domain_picture(index: usize, loss: &DomainLoss, facts: &Facts, clock: &Clock) -> Option<Picture> {
    let baselines = facts.baselines_of(&loss.domain);
    let worst = baselines.iter().map(|baseline| baseline.loss).filter(|loss| loss.is_finite()).reduce(f64::max)?;
    let lowest = loss.evaluations.iter().map(|evaluation| evaluation.loss).fold(worst, f64::min);
    let chart = LineChart {
        id: format!("domain-{index}"),
        label: format!("Held-out loss on {} with simple models to compare", loss.domain),
        height: 290.0,
        lines: vec![held_out_line(loss, clock, index)],
        references: baselines
            .iter()
            .filter(|baseline| baseline.loss.is_finite())
            .map(|baseline| Reference { name: baseline.name.clone(), value: baseline.loss })
            .collect(),
        ceiling: Some(worst + (worst - lowest).max(0.2) * 0.25),
        zero: false,
    };
    let caption = format!("Held-out loss on {}, with n-gram models to compare", loss.domain);
    Some(Picture::new(caption, chart.draw(token_tick)?))
}

fn held_out_line(loss: &DomainLoss, clock: &Clock, index: usize) -> Line {
    let points: Vec<(f64, f64)> =
        loss.evaluations.iter().map(|evaluation| (clock.tokens(evaluation.step), evaluation.loss)).collect();
    Line {
        name: loss.domain.clone(),
        style: Style::Color(index),
        dots: points.len() <= 60,
        points,
        band: Vec::new(),
        value: true,
    }
}

fn training_line(metrics: &[MetricRow]) -> Option<Line> {
    let mut line = thinned(metrics, "train_loss", "", Style::Quiet)?;
    "training".clone_into(&mut line.name);
    line.value = true;
    Some(line)
}

/// One metric over tokens, averaged to at most [`POINTS`] points.
fn thinned(metrics: &[MetricRow], metric: &str, domain: &str, style: Style) -> Option<Line> {
    let mut rows: Vec<&MetricRow> =
        metrics.iter().filter(|row| row.metric == metric && row.domain == domain && row.value.is_finite()).collect();
    rows.sort_by_key(|row| row.step);
    if rows.is_empty() {
        return None;
    }
    let width = rows.len().div_ceil(POINTS);
    let (mut points, mut band) = (Vec::new(), Vec::new());
    for portion in rows.chunks(width) {
        let count = portion.len() as f64;
        let tokens = portion.iter().map(|row| row.tokens as f64).sum::<f64>() / count;
        points.push((tokens, portion.iter().map(|row| row.value).sum::<f64>() / count));
        let low = portion.iter().map(|row| row.value).fold(f64::INFINITY, f64::min);
        band.push((low, portion.iter().map(|row| row.value).fold(f64::NEG_INFINITY, f64::max)));
    }
    if width == 1 {
        band.clear();
    }
    Some(Line { name: String::new(), style, points, band, dots: false, value: false })
}
