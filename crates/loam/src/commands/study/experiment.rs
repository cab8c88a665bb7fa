//! What all studies that make runs have in common: planning aloud, training, comparing, and telling.

use super::Misuse;
use crate::arguments::{FitArguments, Global, RunsToMake};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count, duration};
use anyhow::Context;
use loam_influence::InfluenceError;
use loam_influence::studies::{
    BaseData, Cost, Effect, Grade, MEAN, RunResult, Study, StudyFolder, Told, effects, grades, mix, power_in_words,
    prepare_base, quality, significance, table, usual_spread,
};
use loam_report::study::ExperimentPage;
use loam_train::recipe::Recipe;
use loam_train::record::Event;
use loam_train::{Observer, StepProgress};
use std::path::Path;
use std::process::ExitCode;

/// Which study, and how it treats its text.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// What it is called.
    pub name: &'static str,
    /// What its page is headed with.
    pub title: &'static str,
    /// Whether texts are treated, so that what is held out has to be cut off first.
    pub treats_text: bool,
    /// Whether the ledger's predictions are graded.
    pub predicts: bool,
    /// Whether arms are compared with a base; a law is fitted to others.
    pub compares: bool,
}

/// A study whose runs are made, as far as they could be.
pub struct Made {
    pub study: Study,
    pub base: BaseData,
    pub folder: StudyFolder,
    pub results: Vec<RunResult>,
    pub effects: Vec<Effect>,
    pub grades: Vec<Grade>,
}

/// Plans a study, and makes its runs unless that was not asked for. None where there is nothing more to tell: after a dry run, and
/// where it was interrupted.
pub fn make(
    kind: Kind,
    runs: &RunsToMake,
    fit: &FitArguments,
    global: &Global,
    terminal: Terminal,
    plan: impl FnOnce(&Recipe, &BaseData, &[u64]) -> Result<Study, InfluenceError>,
) -> anyhow::Result<Result<Made, ExitCode>> {
    let Some(path) = &runs.recipe else {
        let words =
            format!("loam study {} needs a recipe, as in: loam study {0} recipe.toml -o studies/{0}", kind.name);
        return Err(Misuse(words).into());
    };
    if runs.seeds == 0 || runs.seeds > 1000 {
        return Err(Misuse(format!("--seeds {}: give a number from 1 to 1000", runs.seeds)).into());
    }
    if !(runs.spread.is_finite() && runs.spread > 0.0) {
        return Err(Misuse(format!("--spread {}: give nats above 0", runs.spread)).into());
    }
    let mut sets = runs.sets.clone();
    sets.extend(global.dtype.as_ref().map(|dtype| format!("train.dtype=\"{dtype}\"")));
    let mut recipe = Recipe::load(path, &sets)?;
    recipe.resolve_paths(path.parent().unwrap_or(Path::new("")))?;
    let session = machine::session(&global.device)?;
    let mut watcher = StudyWatcher { watcher: Watcher::new(terminal), terminal };
    // A dry run leaves nothing where nothing was.
    let scratch = tempfile::tempdir().context("a folder for scratch files")?;
    let folder = match &fit.out {
        Some(out) if !runs.dry_run || out.is_dir() => out.clone(),
        _ if runs.dry_run => scratch.path().to_owned(),
        _ => {
            let words = format!("a study leaves its runs in a folder: loam study {} … -o studies/{0}", kind.name);
            return Err(Misuse(words).into());
        }
    };
    let folder = StudyFolder::open(&folder)?;
    if kind.treats_text {
        recipe.data = quality::split(&recipe.data, &folder.data("texts"))?;
    }
    let data = folder.data(loam_influence::studies::BASE);
    let base = prepare_base(&recipe, &data, &session, &mut watcher)?;
    watcher.watcher.done();
    let seeds: Vec<u64> = (0..runs.seeds).map(|number| recipe.train.seed.saturating_add(number)).collect();
    let study = plan(&recipe, &base, &seeds)?;
    let known = study.known(&base, &folder)?;
    let cost = Cost::of(&study, &base, &known, rate());
    let measured = kind.compares.then(|| usual_spread(&effects(&study, &known))).flatten();
    if runs.dry_run {
        tell_plan(kind, &study, &base, &cost, measured, runs, terminal)?;
        return Ok(Err(ExitCode::SUCCESS));
    }
    terminal.say(format_args!(
        "{} arms, {}: {} runs, {} finished; {}",
        study.arms.len(),
        crate::terminal::counted(runs.seeds, "seed"),
        cost.runs,
        cost.finished,
        time_left(&cost)
    ));
    if kind.compares && study.seeds.len() < 2 {
        terminal.warning(power_in_words(runs.spread, 1));
    }
    machine::stop_on_interrupt();
    let mut told = |told: Told<'_>| tell_run(told, terminal);
    let conducted = study.conduct(&base, &folder, &session, runs.retry_failed, &mut watcher, &mut told)?;
    if conducted.interrupted {
        terminal.say("go on with the study by the same command");
        return Ok(Err(ExitCode::from(machine::INTERRUPTED)));
    }
    let results = conducted.results;
    let mut effects = if kind.compares { effects(&study, &results) } else { Vec::new() };
    if kind.predicts {
        mix::predict(&study, &base, &folder, &results, &mut effects)?;
    }
    table::write(folder.path(), &effects, &results)?;
    let grades = grades(&effects, &fit.bootstrap());
    if results.iter().all(|run| run.failed.is_some()) {
        anyhow::bail!("every run failed, the first one so: {}", results[0].failed.as_deref().unwrap_or_default());
    }
    Ok(Ok(Made { study, base, folder, results, effects, grades }))
}

/// Prints effects and grades, and draws the page of a study that compares arms.
pub fn tell(kind: Kind, made: &Made, runs: &RunsToMake, terminal: Terminal) -> anyhow::Result<()> {
    let spread = usual_spread(&made.effects);
    let power = power_in_words(spread.unwrap_or(runs.spread), made.study.seeds.len());
    if terminal.json() {
        print_runs(&made.results, terminal)?;
        for effect in &made.effects {
            terminal.result(record("effect", &serde_json::json!(effect)))?;
        }
        for grade in &made.grades {
            terminal.result(record("grade", &serde_json::json!(grade)))?;
        }
        let visible = spread.and_then(|spread| significance::smallest_visible(spread, made.study.seeds.len()));
        terminal.result(record(
            "power",
            &serde_json::json!({"seeds": made.study.seeds.len(), "spread": spread, "smallest_visible": visible, "words": power}),
        ))?;
    } else {
        print_effects(made, terminal)?;
        print_grades(&made.grades, terminal)?;
        terminal.result(format_args!("\n{power}"))?;
    }
    tell_failed(&made.results, terminal);
    let page = ExperimentPage {
        title: kind.title,
        arms: &made.study.arms,
        effects: &made.effects,
        results: &made.results,
        grades: &made.grades,
        power: &power,
    };
    let page = page.write(made.folder.path())?;
    terminal.say(format_args!("report: {}", page.display()));
    Ok(())
}

/// An object with what kind of record it is.
pub fn record(kind: &str, object: &serde_json::Value) -> serde_json::Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.insert("record".into(), kind.into());
    }
    object
}

/// An object a run.
pub fn print_runs(results: &[RunResult], terminal: Terminal) -> anyhow::Result<()> {
    for run in results {
        terminal.result(record("run", &serde_json::json!(run)))?;
    }
    Ok(())
}

/// Names every run that failed.
pub fn tell_failed(results: &[RunResult], terminal: Terminal) {
    for run in results {
        if let Some(why) = &run.failed {
            terminal.warning(format_args!("{}, seed {}, failed: {why}", run.arm, run.seed));
        }
    }
    if results.iter().any(|run| run.failed.is_some()) {
        terminal.say("failed runs are left out of the differences; --retry-failed trains them again");
    }
}

/// 0.0123 as +0.0123.
fn signed(number: Option<f64>) -> String {
    number.map_or_else(|| "–".into(), |number| format!("{number:+.4}"))
}

fn print_effects(made: &Made, terminal: Terminal) -> anyhow::Result<()> {
    let width = made.effects.iter().map(|effect| effect.arm.chars().count()).max().unwrap_or(0).max(4);
    let domain_width = made.effects.iter().map(|effect| effect.domain.chars().count()).max().unwrap_or(0).max(6);
    let predicted = made.effects.iter().any(|effect| effect.predicted.is_some());
    terminal.result(format_args!(
        "{:<width$}  {:<domain_width$}  {:>10}  {:<20}  {:>7}  {:>7}  {:>5}{}  in nats a token, arm less base",
        "arm",
        "domain",
        "difference",
        "95 % interval",
        "p",
        "p signs",
        "pairs",
        if predicted { "   ledger    later   tokens" } else { "" }
    ))?;
    for effect in &made.effects {
        let interval = match (effect.difference.low, effect.difference.high) {
            (Some(low), Some(high)) => format!("[{low:+.4}, {high:+.4}]"),
            _ => "–".into(),
        };
        let p = |value: Option<f64>| value.map_or_else(|| "–".into(), |p| format!("{p:.4}"));
        let predictions = if predicted {
            format!(
                "  {:>7}  {:>7}  {:>7}",
                signed(effect.predicted),
                signed(effect.predicted_late),
                signed(effect.predicted_by_tokens)
            )
        } else {
            String::new()
        };
        let failed = if effect.failed > 0 { format!(", {} failed", effect.failed) } else { String::new() };
        terminal.result(format_args!(
            "{:<width$}  {:<domain_width$}  {:>10}  {interval:<20}  {:>7}  {:>7}  {:>5}{predictions}  {}{failed}",
            effect.arm,
            effect.domain,
            signed(Some(effect.difference.mean)),
            p(effect.difference.p_value),
            p(effect.difference.p_value_of_signs),
            effect.difference.pairs,
            effect.verdict()
        ))?;
    }
    Ok(())
}

fn print_grades(grades: &[Grade], terminal: Terminal) -> anyhow::Result<()> {
    if grades.is_empty() {
        return Ok(());
    }
    terminal.result("\nprediction, graded by retraining (pairs of arm and domain)")?;
    terminal.result(format_args!(
        "{:<18}  {:>5}  {:<19}  {:<17}  {:<19}  {:<17}  of clear ones",
        "by", "pairs", "slope", "R2", "Spearman", "sign accuracy"
    ))?;
    for grade in grades {
        let words = |interval: &Option<loam_tasks::metrics::Interval>| {
            interval.map_or_else(
                || "–".to_owned(),
                |interval| format!("{:.2} [{:.2}, {:.2}]", interval.value, interval.low, interval.high),
            )
        };
        let line = format!(
            "{:<18}  {:>5}  {:<19}  {:<17}  {:<19}  {:<17}  {}, {} pairs",
            grade.method,
            grade.pairs,
            words(&grade.slope),
            words(&grade.explained),
            words(&grade.spearman),
            words(&grade.sign_accuracy),
            words(&grade.clear_sign_accuracy),
            grade.clear_pairs
        );
        terminal.result(line.trim_end())?;
    }
    Ok(())
}

/// Floating-point operations a second of this machine's matrix products, roughly.
fn rate() -> f64 {
    crate::commands::doctor::product_gflops() * 1e9
}

fn time_left(cost: &Cost) -> String {
    match cost.hours {
        Some(hours) if cost.finished < cost.runs => {
            let basis = if cost.speed == "measured" { "by the runs that are finished" } else { "estimated" };
            format!("about {} left, {basis}", duration(hours * 3600.0))
        }
        Some(_) => "nothing is left to train".into(),
        None => "how long the rest takes is not known before one is finished".into(),
    }
}

fn tell_plan(
    kind: Kind,
    study: &Study,
    base: &BaseData,
    cost: &Cost,
    measured: Option<f64>,
    runs: &RunsToMake,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let (spread, seeds) = (measured.unwrap_or(runs.spread), study.seeds.len());
    let visible = significance::smallest_visible(spread, seeds);
    if terminal.json() {
        let arms: Vec<_> = study
            .arms
            .iter()
            .map(|arm| serde_json::json!({"name": arm.name, "words": arm.words, "tokens": study.tokens(arm, base)}))
            .collect();
        terminal.result(serde_json::json!({
            "study": kind.name, "dry_run": true, "arms": arms, "seeds": study.seeds, "cost": cost,
            "spread": spread, "spread_measured": measured.is_some(), "smallest_visible": visible,
        }))?;
        return Ok(());
    }
    let width = study.arms.iter().map(|arm| arm.name.chars().count()).max().unwrap_or(0);
    for arm in &study.arms {
        let tokens = count(study.tokens(arm, base));
        terminal.result(format_args!("{:<width$}  {tokens:>14} tokens  {}", arm.name, arm.words))?;
    }
    terminal.result(format_args!(
        "\n{} arms x {seeds} seeds = {} runs, {} tokens; {} finished; {}",
        study.arms.len(),
        cost.runs,
        count(cost.tokens),
        cost.finished,
        time_left(cost)
    ))?;
    if kind.compares {
        terminal.result(power_in_words(spread, seeds))?;
        if measured.is_none() {
            terminal.result("the spread is assumed until two pairs are finished; --spread says another")?;
        }
    }
    Ok(())
}

fn tell_run(told: Told<'_>, terminal: Terminal) {
    match told {
        Told::Begins { number, of, arm, seed, resumed } => {
            let what = if resumed { "going on with" } else { "training" };
            terminal.heading(format_args!("run {number} of {of}: {what} {}, seed {seed} ({})", arm.name, arm.words));
        }
        Told::Ended(run) => match (&run.failed, run.loss(MEAN)) {
            (Some(why), _) => terminal.warning(format_args!("{}, seed {}, failed: {why}", run.arm, run.seed)),
            (None, Some(loss)) => {
                terminal.say(format_args!("  {loss:.4} nats a token, mean over the held-out domains"))
            }
            (None, None) => {}
        },
    }
}

/// Shows how far each run is, and none of what it tells otherwise.
struct StudyWatcher {
    watcher: Watcher,
    terminal: Terminal,
}

impl Observer for StudyWatcher {
    fn preparing(&mut self, progress: &loam_corpus::Progress) {
        self.watcher.preparing(progress);
    }

    fn event(&mut self, event: &Event) {
        if matches!(event, Event::Finish { .. }) {
            self.watcher.done();
        }
    }

    fn step(&mut self, progress: &StepProgress) {
        let StepProgress { step, steps, loss, tokens_per_second, seconds_left, .. } = *progress;
        self.watcher.doing(&format!(
            "  step {} of {}: loss {loss:.3}, {} tokens/s, {} left",
            count(step),
            count(steps),
            count(tokens_per_second as u64),
            duration(seconds_left)
        ));
    }

    fn warning(&mut self, message: &str) {
        self.terminal.warning(message);
    }
}
