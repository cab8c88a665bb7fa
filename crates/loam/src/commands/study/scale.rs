//! `loam study scale`.

use super::experiment::{self, Kind};
use super::{figures, head, line, numbers, read};
use crate::arguments::{Global, ScaleArguments};
use crate::terminal::{Terminal, count, counted};
use loam_influence::laws::{Estimate, FrontierPoint, Graded, Point, ScalingFit, ScalingLaw};
use loam_influence::studies::grids;
use loam_report::study::ScalingPage;
use std::process::ExitCode;

const KIND: Kind = Kind {
    name: "scale",
    title: "How the loss falls with size and tokens",
    treats_text: false,
    predicts: false,
    compares: false,
};

pub fn run(arguments: &ScaleArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let mut asked = Vec::new();
    for forecast in &arguments.forecast {
        let numbers = numbers("--forecast", forecast, &["N", "D"])?;
        asked.push((numbers[0], numbers[1]));
    }
    let mut computes = Vec::new();
    for compute in &arguments.compute {
        computes.extend(numbers("--compute", compute, &["C"])?);
    }
    let mut lengths = Vec::new();
    for tokens in &arguments.tokens {
        lengths.extend(numbers("--tokens", tokens, &["D"])?);
    }
    let (points, dropped, out) = if arguments.runs.recipe.is_some() {
        let made = experiment::make(KIND, &arguments.runs, &arguments.fit, global, terminal, |recipe, base, seeds| {
            grids::plan_scale(recipe, base, seeds, &arguments.widths, &lengths)
        })?;
        let made = match made {
            Ok(made) => made,
            Err(code) => return Ok(code),
        };
        if terminal.json() {
            experiment::print_runs(&made.results, terminal)?;
        }
        experiment::tell_failed(&made.results, terminal);
        (grids::points(&made.results), Vec::new(), Some(made.folder.path().to_owned()))
    } else {
        let (points, dropped) = read(&arguments.points, terminal)?;
        (points, dropped, arguments.fit.out.clone())
    };
    let fit = ScalingFit::new(&points, arguments.fit.bootstrap())?;
    let graded = Graded::of(&points, arguments.fit.bootstrap());
    if computes.is_empty() {
        computes = powers(&points);
    }
    let frontier: Vec<FrontierPoint> = if fit.law.is_usable() {
        computes.into_iter().map(|compute| fit.frontier(compute)).collect()
    } else {
        Vec::new()
    };
    let forecasts: Vec<(f64, f64, Estimate)> =
        asked.into_iter().map(|(parameters, tokens)| (parameters, tokens, fit.forecast(parameters, tokens))).collect();
    if terminal.json() {
        terminal.result(object(&fit, dropped.len(), &frontier, &forecasts, graded.as_ref()))?;
    } else {
        print(&fit, &frontier, &forecasts, terminal)?;
        print_graded(graded.as_ref(), terminal)?;
    }
    if let Some(folder) = &out {
        let page =
            ScalingPage { fit: &fit, points: &points, dropped: &dropped, frontier: &frontier, forecasts: &forecasts };
        let page = page.write(folder)?;
        terminal.say(format_args!("report: {}", page.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Powers of ten from the compute of the smallest run to a hundred times that of the largest.
fn powers(points: &[Point]) -> Vec<f64> {
    let compute = |point: &Point| (6.0 * point.parameters * point.tokens).log10();
    let low = points.iter().map(compute).fold(f64::INFINITY, f64::min).ceil();
    let high = points.iter().map(compute).fold(f64::NEG_INFINITY, f64::max).floor() + 2.0;
    (low.max(high - 12.0) as i32..=high as i32).map(|power| 10_f64.powi(power)).collect()
}

/// What the law's numbers are called, and what they mean.
fn estimates(fit: &ScalingFit) -> [(&'static str, &'static str, &'static str, Estimate); 7] {
    [
        ("E", "floor", "nats that no size and no data go below", fit.estimate(|law| law.floor)),
        ("A", "size_scale", "", fit.estimate(|law| law.size_scale)),
        ("B", "data_scale", "", fit.estimate(|law| law.data_scale)),
        ("alpha", "size_exponent", "the loss above E falls with N^-alpha", fit.estimate(|law| law.size_exponent)),
        ("beta", "data_exponent", "... and with D^-beta", fit.estimate(|law| law.data_exponent)),
        ("a", "size_power", "the best size grows with C^a", fit.estimate(ScalingLaw::size_power)),
        ("b", "data_power", "the best number of tokens with C^b", fit.estimate(|law| 1.0 - law.size_power())),
    ]
}

fn object(
    fit: &ScalingFit,
    dropped: usize,
    frontier: &[FrontierPoint],
    forecasts: &[(f64, f64, Estimate)],
    graded: Option<&Graded>,
) -> serde_json::Value {
    let estimates: serde_json::Map<String, serde_json::Value> =
        estimates(fit).iter().map(|(_, name, _, estimate)| ((*name).to_owned(), serde_json::json!(estimate))).collect();
    let forecasts: Vec<_> = forecasts
        .iter()
        .map(|(parameters, tokens, loss)| serde_json::json!({"parameters": parameters, "tokens": tokens, "loss": loss}))
        .collect();
    serde_json::json!({
        "study": "scale",
        "record": "law",
        "points": fit.points,
        "dropped": dropped,
        "law": estimates,
        "objective": fit.objective,
        "median_miss": fit.median_miss,
        "starts": fit.starts,
        "agreeing_starts": fit.agreeing_starts,
        "frontier": frontier,
        "forecasts": forecasts,
        "graded": graded,
        "bootstrap": {"resamples": fit.bootstrap.resamples, "confidence": fit.bootstrap.confidence, "seed": fit.bootstrap.seed},
    })
}

fn print(
    fit: &ScalingFit,
    frontier: &[FrontierPoint],
    forecasts: &[(f64, f64, Estimate)],
    terminal: Terminal,
) -> anyhow::Result<()> {
    let law = fit.law;
    terminal.result(format_args!(
        "L(N, D) = {} + {} / N^{} + {} / D^{}    nats a token after D tokens at N parameters",
        figures(law.floor),
        figures(law.size_scale),
        figures(law.size_exponent),
        figures(law.data_scale),
        figures(law.data_exponent)
    ))?;
    terminal.result("")?;
    terminal.result(head())?;
    for (name, _, meaning, estimate) in estimates(fit) {
        terminal.result(line(name, &estimate, meaning).trim_end())?;
    }
    if frontier.is_empty() {
        terminal.warning("by this law more size or more data would not help; it says nothing of how to spend compute");
    } else {
        terminal.result("\nbest use of compute (C = 6 N D)")?;
        terminal.result(format_args!(
            "{:>10}  {:>10}  {:>10}  {:>20}  loss, nats a token",
            "C", "N", "D", "tokens a parameter"
        ))?;
        for point in frontier {
            let ratio = &point.tokens_per_parameter;
            terminal.result(format_args!(
                "{:>10}  {:>10}  {:>10}  {:>20}  {:.4} [{:.4}, {:.4}]",
                format!("{:.2e}", point.compute),
                short(point.parameters.value),
                short(point.tokens.value),
                format!("{:.1} [{:.1}, {:.1}]", ratio.value, ratio.low, ratio.high),
                point.loss.value,
                point.loss.low,
                point.loss.high
            ))?;
        }
    }
    for (number, (parameters, tokens, loss)) in forecasts.iter().enumerate() {
        if number == 0 {
            terminal.result("\nforecast")?;
        }
        terminal.result(format_args!(
            "{} parameters, {} tokens: {:.4} nats a token [{:.4}, {:.4}]",
            short(*parameters),
            short(*tokens),
            loss.value,
            loss.low,
            loss.high
        ))?;
    }
    terminal.say(format_args!(
        "half the {} runs are missed by less than {:.2} % of their loss; {} of {} starts ended at this law",
        count(fit.points as u64),
        100.0 * fit.median_miss,
        count(fit.agreeing_starts as u64),
        count(fit.starts as u64)
    ));
    Ok(())
}

/// Runs that are shown beside their forecasts; JSON has all.
const SHOWN: usize = 8;

/// What the smaller sizes foretold of the largest one.
fn print_graded(graded: Option<&Graded>, terminal: Terminal) -> anyhow::Result<()> {
    let Some(graded) = graded else {
        terminal.say("the forecast is not graded: without the largest size, fewer than three would be left");
        return Ok(());
    };
    terminal.result(format_args!(
        "\ngraded: a law of the smaller sizes misses the {} of {} parameters by {:.4} nats on average",
        counted(graded.runs.len() as u64, "run"),
        short(graded.parameters),
        graded.mean_absolute_error
    ))?;
    for run in graded.runs.iter().take(SHOWN) {
        terminal.result(format_args!(
            "{:>10} tokens: forecast {:.4} [{:.4}, {:.4}], came to {:.4}",
            short(run.tokens),
            run.forecast.value,
            run.forecast.low,
            run.forecast.high,
            run.loss
        ))?;
    }
    if graded.runs.len() > SHOWN {
        terminal.say(format_args!("{} more with --json", count((graded.runs.len() - SHOWN) as u64)));
    }
    Ok(())
}

/// 1.4e12 as 1.40 T.
pub(super) fn short(number: f64) -> String {
    match number {
        n if !n.is_finite() => "–".to_owned(),
        n if n >= 1e15 => format!("{n:.2e}"),
        n if n >= 1e12 => format!("{:.2} T", n / 1e12),
        n if n >= 1e9 => format!("{:.2} G", n / 1e9),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e3 => format!("{:.2} k", n / 1e3),
        n => format!("{n:.0}"),
    }
}
