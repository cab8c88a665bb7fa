//! `loam study subsets`.

use super::Misuse;
use super::experiment::{self, Kind, print_runs, record, tell_failed};
use crate::arguments::{Global, SubsetsArguments, methods};
use crate::commands::influence::progress_in_words;
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::Terminal;
use loam_influence::attribution::Settings;
use loam_influence::studies::subsets::{self, Graded, Judge, SubsetSettings, Told};
use std::process::ExitCode;

const KIND: Kind =
    Kind { name: "subsets", title: "Which documents matter", treats_text: false, predicts: false, compares: false };

pub fn run(arguments: &SubsetsArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    if arguments.sequences == 0 || arguments.subsets > 10_000 {
        return Err(Misuse("--sequences is 1 or more, and --subsets 10000 at most".into()).into());
    }
    let methods = methods(&arguments.method);
    let settings = SubsetSettings { subsets: arguments.subsets, part: arguments.part, seed: arguments.fit.seed };
    let made = experiment::make(KIND, &arguments.runs, &arguments.fit, global, terminal, |recipe, base, seeds| {
        subsets::plan(recipe, base, seeds, &settings)
    })?;
    let made = match made {
        Ok(made) => made,
        Err(code) => return Ok(code),
    };
    let device = machine::device(&global.device)?;
    let mut watcher = Watcher::new(terminal);
    let attribution = Settings { dimensions: arguments.dimensions as usize, ..Settings::default() };
    let judge = Judge {
        methods: &methods,
        settings: &attribution,
        sequences: arguments.sequences,
        bootstrap: &arguments.fit.bootstrap(),
        stop: &machine::STOP,
        progress: &mut |told| match told {
            Told::Measured { done, of } => watcher.doing(&format!("losses of {done} of {of} models")),
            Told::Attribution(told) => watcher.doing(&progress_in_words(told)),
        },
    };
    let graded = judge.judge(&made.study, &made.base, &made.folder, &made.results, &device)?;
    watcher.done();
    let path = graded.write(made.folder.path())?;
    if terminal.json() {
        print_runs(&made.results, terminal)?;
        terminal.result(record("subsets", &serde_json::json!(graded)))?;
    } else {
        tell(&graded, terminal)?;
    }
    tell_failed(&made.results, terminal);
    for note in &graded.notes {
        terminal.warning(note);
    }
    terminal.say(format_args!("written: {}", path.display()));
    Ok(ExitCode::SUCCESS)
}

fn tell(graded: &Graded, terminal: Terminal) -> anyhow::Result<()> {
    let Graded { subsets, questions, seeds, .. } = graded;
    terminal.result(format_args!(
        "which of {subsets} parts of the documents makes the better model, for {questions} held-out sequences (LDS)"
    ))?;
    match (graded.halves, graded.ceiling) {
        (Some(halves), Some(ceiling)) => terminal.result(format_args!(
            "two halves of {seeds} seeds agree by {halves:.3}, so that the best a method can reach is {ceiling:.3}"
        ))?,
        (Some(halves), None) => terminal.result(format_args!(
            "two halves of {seeds} seeds do not agree ({halves:.3}): parts make no difference that {seeds} seeds can see"
        ))?,
        _ => terminal.result("one seed: how much of it is noise cannot be told; give --seeds 2 or more")?,
    }
    let domains: Vec<&str> = graded
        .scores
        .first()
        .map_or_else(Vec::new, |score| score.by_domain.iter().map(|(name, _)| name.as_str()).collect());
    let cells = |cells: Vec<String>| cells.iter().map(|cell| format!("  {cell:>12}")).collect::<Vec<_>>().concat();
    let head = cells(domains.iter().map(|name| name.chars().take(12).collect()).collect());
    terminal
        .result(format_args!("{:<16}  {:>6}  {:<16}  {:>10}{head}", "method", "LDS", "95 % interval", "of ceiling"))?;
    for score in &graded.scores {
        let (value, interval) = score.lds.map_or_else(
            || ("–".to_owned(), "–".to_owned()),
            |lds| (format!("{:.3}", lds.value), format!("[{:.3}, {:.3}]", lds.low, lds.high)),
        );
        let part = score.of_ceiling.map_or_else(|| "–".into(), |part| format!("{part:.2}"));
        let own =
            score.by_domain.iter().map(|(_, value)| value.map_or_else(|| "–".into(), |value| format!("{value:.3}")));
        let own = cells(own.collect());
        terminal.result(format_args!("{:<16}  {value:>6}  {interval:<16}  {part:>10}{own}", score.method))?;
    }
    Ok(())
}
