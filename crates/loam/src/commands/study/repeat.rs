//! `loam study repeat`.

use super::experiment::{self, Kind};
use super::scale::short;
use super::{figures, head, line, numbers, read};
use crate::arguments::{Global, RepeatArguments};
use crate::terminal::{Terminal, count};
use loam_influence::laws::{Estimate, RepetitionFit};
use loam_influence::studies::grids;
use loam_report::study::RepetitionPage;
use std::process::ExitCode;

const KIND: Kind = Kind {
    name: "repeat",
    title: "What repeated tokens are worth",
    treats_text: false,
    predicts: false,
    compares: false,
};

pub fn run(arguments: &RepeatArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let mut asked = Vec::new();
    for forecast in &arguments.forecast {
        let numbers = numbers("--forecast", forecast, &["N", "D", "U"])?;
        if numbers[2] > numbers[1] {
            let words = format!("--forecast {forecast}: of D tokens, no more than D are different");
            return Err(super::Misuse(words).into());
        }
        asked.push([numbers[0], numbers[1], numbers[2]]);
    }
    let (points, dropped, out) = if arguments.runs.recipe.is_some() {
        let made = experiment::make(KIND, &arguments.runs, &arguments.fit, global, terminal, |recipe, base, seeds| {
            grids::plan_repeat(recipe, base, seeds, &arguments.parts, &arguments.epochs)
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
    let fit = RepetitionFit::new(&points, arguments.fit.bootstrap())?;
    let forecasts: Vec<([f64; 3], Estimate)> =
        asked.into_iter().map(|at| (at, fit.forecast(at[0], at[1], at[2]))).collect();
    if terminal.json() {
        terminal.result(object(&fit, dropped.len(), &forecasts))?;
    } else {
        print(&fit, &forecasts, terminal)?;
    }
    if let Some(folder) = &out {
        let page = RepetitionPage { fit: &fit, points: &points, forecasts: &forecasts }.write(folder)?;
        terminal.say(format_args!("report: {}", page.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// What the law's numbers are called, and what they mean.
fn estimates(fit: &RepetitionFit) -> Vec<(&'static str, &'static str, &'static str, Estimate)> {
    let mut estimates = vec![
        ("E", "floor", "nats that no data goes below", fit.estimate(|law| law.floor)),
        ("B", "data_scale", "", fit.estimate(|law| law.data_scale)),
        ("beta", "data_exponent", "the loss above E falls with D'^-beta", fit.estimate(|law| law.data_exponent)),
        ("R", "data_decay", "repetitions are worth R times the text at most", fit.estimate(|law| law.data_decay)),
    ];
    if let Some(size) = fit.law.size {
        let of = |value: fn(loam_influence::laws::repetition::SizeTerm) -> f64| {
            fit.estimate(|law| law.size.map_or(f64::NAN, value))
        };
        estimates.push(("A", "size_scale", "", of(|size| size.scale)));
        estimates.push(("alpha", "size_exponent", "... and with N'^-alpha", of(|size| size.exponent)));
        if size.decay.is_some() {
            let meaning = "the same of parameters beyond what the text can fill";
            estimates.push(("R_N", "size_decay", meaning, of(|size| size.decay.unwrap_or(f64::NAN))));
        }
    }
    estimates
}

/// Shares of a new token that a repeated one is worth, to ask when.
const SHARES: [f64; 3] = [0.9, 0.5, 0.1];

fn object(fit: &RepetitionFit, dropped: usize, forecasts: &[([f64; 3], Estimate)]) -> serde_json::Value {
    let law: serde_json::Map<String, serde_json::Value> =
        estimates(fit).iter().map(|(_, name, _, estimate)| ((*name).to_owned(), serde_json::json!(estimate))).collect();
    let epochs: Vec<_> = SHARES
        .iter()
        .map(|share| serde_json::json!({"worth": share, "epochs": fit.estimate(|law| law.epochs_until(*share))}))
        .collect();
    let forecasts: Vec<_> = forecasts
        .iter()
        .map(|([parameters, tokens, unique], loss)| {
            serde_json::json!({"parameters": parameters, "tokens": tokens, "unique_tokens": unique, "loss": loss})
        })
        .collect();
    serde_json::json!({
        "study": "repeat",
        "record": "law",
        "points": fit.points,
        "repeated": fit.repeated,
        "dropped": dropped,
        "law": law,
        "epochs_until": epochs,
        "objective": fit.objective,
        "forecasts": forecasts,
        "bootstrap": {"resamples": fit.bootstrap.resamples, "confidence": fit.bootstrap.confidence, "seed": fit.bootstrap.seed},
    })
}

fn print(fit: &RepetitionFit, forecasts: &[([f64; 3], Estimate)], terminal: Terminal) -> anyhow::Result<()> {
    let law = fit.law;
    let size = law.size.map_or(String::new(), |size| {
        let mark = if size.decay.is_some() { "'" } else { "" };
        format!(" + {} / N{mark}^{}", figures(size.scale), figures(size.exponent))
    });
    terminal.result(format_args!(
        "L = {}{size} + {} / D'^{}    D' = U + U R (1 - exp(-(D/U - 1)/R)), R = {}",
        figures(law.floor),
        figures(law.data_scale),
        figures(law.data_exponent),
        figures(law.data_decay)
    ))?;
    terminal.result("")?;
    terminal.result(head())?;
    for (name, _, meaning, estimate) in estimates(fit) {
        terminal.result(line(name, &estimate, meaning).trim_end())?;
    }
    terminal.result("\none more token of the same text is worth")?;
    for share in SHARES {
        let epochs = fit.estimate(|law| law.epochs_until(share));
        terminal.result(format_args!(
            "{share} of a new one after {} epochs [{}, {}]",
            figures(epochs.value),
            figures(epochs.low),
            figures(epochs.high)
        ))?;
    }
    for (number, ([parameters, tokens, unique], loss)) in forecasts.iter().enumerate() {
        if number == 0 {
            terminal.result("\nforecast")?;
        }
        terminal.result(format_args!(
            "{} parameters, {} tokens, {} of them different: {:.4} nats a token [{:.4}, {:.4}]",
            short(*parameters),
            short(*tokens),
            short(*unique),
            loss.value,
            loss.low,
            loss.high
        ))?;
    }
    terminal.say(format_args!(
        "{} of the {} runs saw a token more than once",
        count(fit.repeated as u64),
        count(fit.points as u64)
    ));
    Ok(())
}
