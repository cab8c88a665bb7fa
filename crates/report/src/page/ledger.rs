//! The ledger's part of the page: the table of values, the pictures of a domain, and the closing of the books.

use loam_influence::ledger::{Books, CLOSES_WITHIN, DomainSummary, Ledger, LedgerSummary, Line, LineSummary, Series};
use serde::Serialize;

use super::{Clock, Picture, token_tick};
use crate::facts::Facts;
use crate::numbers::{self, counted};
use crate::svg::{self, Bar, BarRow, LineChart, Strip, StripRow, Style};

/// Bins of the strip picture.
const BINS: usize = 48;
/// Sources with a line and a strip of their own; the table has all.
const DRAWN: usize = 10;

/// The whole part.
#[derive(Serialize)]
pub(super) struct LedgerSection {
    momentum: String,
    domains: Vec<String>,
    rows: Vec<TableRow>,
    pictures: Vec<DomainPictures>,
    closing: Vec<Closing>,
    cost: Option<String>,
}

/// One line of the books across all domains.
#[derive(Serialize)]
struct TableRow {
    name: String,
    /// `source`, `line`, `total`.
    kind: &'static str,
    tokens: String,
    share_of_tokens: String,
    cells: Vec<TableCell>,
}

/// What one line did for one domain.
#[derive(Serialize, Default)]
struct TableCell {
    value: String,
    negative: bool,
    per_million: String,
    share: String,
}

#[derive(Serialize)]
struct DomainPictures {
    domain: String,
    /// Stacks of pictures.
    stacks: Vec<Vec<Picture>>,
    omitted: Option<String>,
}

/// Whether one domain's books close.
#[derive(Serialize)]
struct Closing {
    domain: String,
    closes: bool,
    words: String,
    picture: Option<Picture>,
}

pub(super) fn section(ledger: &Ledger, summary: &LedgerSummary, facts: &Facts, clock: &Clock) -> LedgerSection {
    let series: Vec<(usize, &DomainSummary, Series)> = summary
        .domains
        .iter()
        .enumerate()
        .filter_map(|(index, domain)| Some((index, domain, ledger.series(&domain.domain, BINS)?)))
        .collect();
    LedgerSection {
        momentum: momentum(summary, facts),
        domains: summary.domains.iter().map(|domain| domain.domain.clone()).collect(),
        rows: table(summary),
        pictures: series.iter().map(|(index, domain, series)| pictures(*index, domain, series, clock)).collect(),
        closing: series.iter().map(|(index, domain, series)| closing(*index, domain, series, clock)).collect(),
        cost: facts.ledger_cost.as_ref().map(|cost| {
            format!(
                "The ledger took {} of wall time, {} on top of training without it: {}, each over {} held-out tokens \
                 of a domain, and {} of memory.",
                numbers::duration(cost.seconds),
                numbers::percent(cost.overhead),
                counted(cost.refreshes, "fresh held-out gradient", "fresh held-out gradients"),
                numbers::grouped(cost.tokens_per_domain as u64),
                numbers::bytes(cost.memory_bytes),
            )
        }),
    }
}

fn momentum(summary: &LedgerSummary, facts: &Facts) -> String {
    let credited = facts.ledger_cost.as_ref().is_some_and(|cost| cost.momentum == "sources");
    let history = summary.domains.iter().any(|domain| domain.lines.iter().any(|line| line.line == Line::History));
    match (credited, history) {
        (true, false) => "Momentum is credited to the sources that built it.".to_owned(),
        (true, true) => {
            "Momentum is credited to the sources that built it; what remains of it is “history”.".to_owned()
        }
        (false, true) => {
            "“History” is momentum carried over from earlier steps, and “decay” is weight decay.".to_owned()
        }
        (false, false) => String::new(),
    }
}

fn table(summary: &LedgerSummary) -> Vec<TableRow> {
    let mut lines: Vec<&LineSummary> = Vec::new();
    for line in summary.domains.iter().flat_map(|domain| &domain.lines) {
        if !lines.iter().any(|other| other.line == line.line) {
            lines.push(line);
        }
    }
    lines.sort_by_key(|line| !line.line.is_source());
    let value_decimals = numbers::decimals(summary.domains.iter().flat_map(|d| d.lines.iter().map(|line| line.value)));
    let rate_decimals = numbers::decimals(
        summary.domains.iter().flat_map(|d| d.lines.iter().filter_map(|line| line.value_per_million_tokens)),
    );
    let value_cell = |value: Option<f64>| match value {
        Some(value) => {
            TableCell { value: numbers::fixed(value, value_decimals), negative: value < 0.0, ..TableCell::default() }
        }
        None => TableCell { value: "–".into(), ..TableCell::default() },
    };
    let line_row = |line: &LineSummary| TableRow {
        name: line.line.name().to_owned(),
        kind: if line.line.is_source() { "source" } else { "line" },
        tokens: if line.line.is_source() { numbers::grouped(line.tokens) } else { String::new() },
        share_of_tokens: line.share_of_tokens.map(numbers::percent_column).unwrap_or_default(),
        cells: summary
            .domains
            .iter()
            .map(|domain| match domain.lines.iter().find(|other| other.line == line.line) {
                Some(own) => TableCell {
                    per_million: own
                        .value_per_million_tokens
                        .map(|value| numbers::fixed(value, rate_decimals))
                        .unwrap_or_default(),
                    share: own.share_of_value.map(numbers::percent_column).unwrap_or_default(),
                    ..value_cell(Some(own.value))
                },
                None => value_cell(None),
            })
            .collect(),
    };
    let total_row = |name: &str, pick: fn(&DomainSummary) -> Option<f64>| TableRow {
        name: name.to_owned(),
        kind: "total",
        tokens: String::new(),
        share_of_tokens: String::new(),
        cells: summary.domains.iter().map(|domain| value_cell(pick(domain))).collect(),
    };
    let mut rows: Vec<TableRow> = lines.into_iter().map(line_row).collect();
    rows.push(total_row("sum", |domain| Some(domain.booked)));
    rows.push(total_row("measured", |domain| domain.measured));
    rows.push(total_row("residual", |domain| domain.residual));
    for (cell, domain) in rows.last_mut().into_iter().flat_map(|row| &mut row.cells).zip(&summary.domains) {
        cell.share = domain.residual_share.map(numbers::percent_column).unwrap_or_default();
    }
    rows
}

/// The lines that are drawn, the largest ones, in the order of the books.
fn drawn<'a>(domain: &DomainSummary, series: &'a Series) -> Vec<&'a loam_influence::ledger::LineSeries> {
    let mut sizes: Vec<(f64, &Line)> = domain.sources().map(|line| (line.value.abs(), &line.line)).collect();
    sizes.sort_by(|left, right| right.0.total_cmp(&left.0));
    let large: Vec<&Line> = sizes.iter().take(DRAWN).map(|pair| pair.1).collect();
    series.lines.iter().filter(|line| !line.line.is_source() || large.contains(&&line.line)).collect()
}

fn pictures(index: usize, domain: &DomainSummary, series: &Series, clock: &Clock) -> DomainPictures {
    let name = &domain.domain;
    let lines = drawn(domain, series);
    let (mut beside, mut over) = (Vec::new(), Vec::new());
    let shares: Vec<BarRow> = lines
        .iter()
        .filter_map(|line| domain.sources().find(|source| source.line == line.line))
        .map(|line| BarRow {
            name: line.line.name().to_owned(),
            shares: vec![line.share_of_tokens, line.share_of_value],
        })
        .collect();
    let kinds = [Bar { name: "of the tokens", class: "took" }, Bar { name: "of the value", class: "gave" }];
    let label = format!("Each source's share of the training tokens and of the value for {name}");
    if let Some(svg) = svg::bars(&label, &kinds, &shares) {
        beside.push(Picture::new(format!("What each source took, and gave to {name}"), svg));
    }
    let chart = LineChart {
        id: format!("value-{index}"),
        label: format!("Nats that each line of the books has brought down on {name} so far, over training tokens"),
        height: 360.0,
        lines: lines
            .iter()
            .map(|line| cumulative(line.line.name(), style(&line.line, series), &line.cumulative, series, clock))
            .collect(),
        references: Vec::new(),
        ceiling: None,
        zero: true,
    };
    if let Some(svg) = chart.draw(token_tick) {
        over.push(Picture::new(format!("Loss on {name} brought down so far, in nats, by source"), svg));
    }
    let edges: Vec<f64> = series
        .bins
        .first()
        .map(|bin| clock.tokens(bin.from_step))
        .into_iter()
        .chain(series.bins.iter().map(|bin| clock.tokens(bin.step)))
        .collect();
    let rate = |values: &[f64]| -> Vec<f64> {
        values.iter().zip(edges.windows(2)).map(|(value, edge)| value / ((edge[1] - edge[0]) / 1e6)).collect()
    };
    let strip = Strip {
        label: format!("When each line of the books helped or hurt {name}, over training tokens"),
        rows: lines
            .iter()
            .map(|line| StripRow { name: line.line.name().to_owned(), values: rate(&line.values) })
            .collect(),
        edges: edges.clone(),
        unit: "nats per million tokens trained".into(),
    };
    if let Some(svg) = strip.draw(token_tick) {
        let caption = format!("When each source helped or hurt {name}, in nats per M tokens");
        beside.push(Picture::new(caption, svg));
    }
    let all = domain.sources().count();
    let omitted =
        (all > DRAWN).then(|| format!("Drawn are the {DRAWN} sources of largest value; the table has all {all}."));
    let stacks = [over, beside].into_iter().filter(|stack| !stack.is_empty()).collect();
    DomainPictures { domain: name.clone(), stacks, omitted }
}

/// A source keeps its color on the whole page; what is no source is gray.
fn style(line: &Line, series: &Series) -> Style {
    match series.lines.iter().filter(|other| other.line.is_source()).position(|other| other.line == *line) {
        Some(place) => Style::Color(place),
        None => Style::Quiet,
    }
}

fn cumulative(name: &str, style: Style, values: &[f64], series: &Series, clock: &Clock) -> svg::Line {
    let start = series.bins.first().map(|bin| (clock.tokens(bin.from_step), 0.0));
    let points = series.bins.iter().zip(values).map(|(bin, value)| (clock.tokens(bin.step), *value));
    svg::Line {
        name: name.to_owned(),
        style,
        points: start.into_iter().chain(points).collect(),
        band: Vec::new(),
        dots: false,
        value: true,
    }
}

fn closing(index: usize, domain: &DomainSummary, series: &Series, clock: &Clock) -> Closing {
    let running = |values: Vec<f64>| -> Vec<f64> {
        values
            .into_iter()
            .scan(0.0, |sum, value| {
                *sum += value;
                Some(*sum)
            })
            .collect()
    };
    let booked = running(series.bins.iter().map(|bin| bin.booked).collect());
    let measured = series.bins.iter().map(|bin| bin.measured).collect::<Option<Vec<f64>>>().map(running);
    let mut lines = Vec::new();
    if let Some(measured) = &measured {
        lines.push(cumulative("measured", Style::Broad, measured, series, clock));
    }
    lines.push(cumulative("booked", Style::Color(0), &booked, series, clock));
    let chart = LineChart {
        id: format!("books-{index}"),
        label: format!("Nats brought down on {} so far, as booked and as measured", domain.domain),
        height: 210.0,
        lines,
        references: Vec::new(),
        ceiling: None,
        zero: true,
    };
    let caption = format!("Loss on {} brought down so far, in nats: booked beside measured", domain.domain);
    Closing {
        domain: domain.domain.clone(),
        closes: domain.books == Books::Closed,
        words: closing_words(domain),
        picture: chart.draw(token_tick).map(|svg| Picture::new(caption, svg)),
    }
}

fn closing_words(domain: &DomainSummary) -> String {
    let name = &domain.domain;
    let intervals = counted(domain.intervals as u64, "interval", "intervals");
    let verdict = match (domain.measured, domain.residual, domain.residual_share) {
        (Some(measured), Some(residual), Some(share)) => format!(
            "On {name} the lines add up to {} of the {} nats that were measured over {intervals}. The residual of {} \
             nats is {} of the change, so the books {} (the threshold is {}).",
            numbers::nats(measured - residual),
            numbers::nats(measured),
            numbers::nats(residual),
            numbers::percent(share),
            if domain.books == Books::Closed { "close" } else { "do not close: read the values as rough" },
            numbers::percent(CLOSES_WITHIN),
        ),
        (Some(_), Some(residual), None) => format!(
            "On {name} the measured loss did not change over {intervals} while the lines add up to {} nats, so there is \
             nothing to close the books with.",
            numbers::nats(-residual)
        ),
        _ => format!("The change in loss on {name} was not measured, so whether the books close is not known."),
    };
    let mut words = vec![verdict];
    if let Some(correlation) = domain.correlation {
        let correlation = numbers::fixed(correlation, 3);
        words.push(format!("From interval to interval, booked and measured correlate at {correlation}."));
    }
    if domain.left_out > 0 {
        let count = counted(domain.left_out as u64, "interval is", "intervals are");
        words.push(format!("{count} left out for numbers that are not finite."));
    }
    if domain.unmeasured > 0 {
        let count = counted(domain.unmeasured as u64, "interval", "intervals");
        words.push(format!("{count} went unmeasured and stay out of the residual."));
    }
    words.join(" ")
}
