//! `loam study mix`.

use super::Misuse;
use super::experiment::{self, Kind, Made, record};
use crate::arguments::{Global, MixArguments, methods};
use crate::commands::influence::progress_in_words;
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::Terminal;
use loam_influence::attribution::{Attribution, Method, Question, Settings};
use loam_influence::laws::mixing::leave_one_out;
use loam_influence::laws::{MixtureForm, mixing};
use loam_influence::studies::grades;
use loam_influence::studies::mix::{self, MixSettings};
use std::path::Path;
use std::process::ExitCode;

const KIND: Kind =
    Kind { name: "mix", title: "What each source does", treats_text: false, predicts: true, compares: true };

pub fn run(arguments: &MixArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let only = arguments.only.as_deref();
    if only == Some("weights") && arguments.weights.is_empty() && arguments.draw == 0 {
        return Err(Misuse("--only weights: give --weights SOURCE=FACTOR,… or --draw N".into()).into());
    }
    let settings = MixSettings {
        drop: only.is_none_or(|only| only == "drop"),
        double: only.is_none_or(|only| only == "double"),
        designs: arguments.weights.iter().map(|text| design(text)).collect::<Result<_, _>>()?,
        drawn: arguments.draw.min(1000),
        seed: arguments.fit.seed,
    };
    let made = experiment::make(KIND, &arguments.runs, &arguments.fit, global, terminal, |recipe, base, seeds| {
        mix::plan(recipe, base, seeds, &settings)
    })?;
    let mut made = match made {
        Ok(made) => made,
        Err(code) => return Ok(code),
    };
    let methods = methods(&arguments.method);
    if !methods.is_empty() {
        predict_by(&methods, &mut made, global, terminal)?;
        made.grades = grades(&made.effects, &arguments.fit.bootstrap());
    }
    experiment::tell(KIND, &made, &arguments.runs, terminal)?;
    tell_laws(&made, terminal)?;
    Ok(ExitCode::SUCCESS)
}

/// What methods of attribution predict, asked of the base's runs.
fn predict_by(methods: &[Method], made: &mut Made, global: &Global, terminal: Terminal) -> anyhow::Result<()> {
    let device = machine::device(&global.device)?;
    let mut watcher = Watcher::new(terminal);
    let settings = Settings::default();
    let ask = |run: &Path, questions: &[Question]| {
        let attribution = Attribution {
            questions,
            methods,
            settings: &settings,
            stop: &machine::STOP,
            progress: &mut |progress| watcher.doing(&progress_in_words(progress)),
        };
        loam_train::reopen::reopen(run, &device, attribution)
    };
    let notes = mix::predict_by(&made.study, &made.base, &made.folder, &made.results, &mut made.effects, ask)?;
    watcher.done();
    for note in notes {
        terminal.warning(note);
    }
    Ok(())
}

/// `wiki=2,web=0.5`.
fn design(text: &str) -> Result<Vec<(String, f64)>, Misuse> {
    text.split(',')
        .map(|part| {
            let pair =
                part.split_once('=').and_then(|(name, factor)| Some((name.trim(), factor.trim().parse::<f64>().ok()?)));
            match pair {
                Some((name, factor)) if factor.is_finite() && factor >= 0.0 => Ok((name.to_owned(), factor)),
                _ => Err(Misuse(format!("--weights {text}: give SOURCE=FACTOR,… with factors from 0 on"))),
            }
        })
        .collect()
}

/// How well laws of mixtures predict a mixture that they have not seen, beside the mean of the others.
fn tell_laws(made: &Made, terminal: Terminal) -> anyhow::Result<()> {
    let mut told = false;
    for domain in loam_influence::studies::domains(&made.results) {
        let mixtures = mix::mixtures(&made.study, &made.base, &made.results, &domain);
        let judged: Vec<mixing::LeftOut> = leave_one_out(&mixtures)?;
        if !judged.iter().any(|own| own.form == MixtureForm::Linear && own.mean_absolute_error.is_some()) {
            continue;
        }
        if terminal.json() {
            let object = serde_json::json!({"domain": domain, "mixtures": mixtures.len(), "left_out": judged});
            terminal.result(record("mixture_law", &object))?;
            continue;
        }
        if !told {
            terminal.result(
                "\nlaws of mixtures: error on a mixture that was left out, in nats (mean, linear, exponential)",
            )?;
            told = true;
        }
        let errors: Vec<String> = judged
            .iter()
            .map(|own| own.mean_absolute_error.map_or_else(|| "–".into(), |error| format!("{error:.4}")))
            .collect();
        terminal.result(format_args!("{domain}: {}", errors.join("  ")))?;
    }
    Ok(())
}
