//! `loam data prepare`.

use super::Misuse;
use crate::arguments::{Global, PrepareArguments};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use anyhow::Context;
use loam_corpus::TokenizerKind;
use loam_corpus::pipeline::{
    Duplicates, FileReaders, PipelinePlan, PipelineProgress, PipelineSource, PipelineSummary, ScorePlan, StepPlan,
    TokensPlan, run_pipeline_by,
};
use loam_corpus::quality::{Filters, Preset};
use loam_corpus::redact::{Redaction, Redactor};
use loam_train::Observer;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::ExitCode;

pub fn run(arguments: &PrepareArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let plan = match &arguments.paths[..] {
        [recipe] if Path::new(recipe).extension().is_some_and(|end| end.eq_ignore_ascii_case("toml")) => {
            from_recipe(recipe, arguments)?
        }
        _ => from_flags(arguments)?,
    };
    let mut cluster = arguments.scheduler.as_deref().map(super::cluster::connect).transpose()?;
    let mut watcher = Watcher::new(terminal);
    let begun = std::time::Instant::now();
    let device = machine::device(&global.device)?;
    let scorers = |plan: &ScorePlan| loam_tasks::open_scorer(plan, &device);
    let readers = cluster.as_mut().map(|cluster| cluster as &mut dyn FileReaders);
    let summary =
        run_pipeline_by(&plan, &arguments.out, &scorers, readers, &mut |progress| tell(progress, &mut watcher, begun))?;
    watcher.done();
    for (name, _) in summary.sources.iter().filter(|(_, source)| source.read == 0) {
        terminal.warning(format_args!("{name}: its files hold no document"));
    }
    if terminal.json() {
        terminal.result(serde_json::to_string(&summary)?)?;
    } else {
        print(&summary, terminal)?;
        terminal.say(format_args!(
            "what is left: {}; every document and its verdict: {}",
            arguments.out.join("text").display(),
            arguments.out.join("documents.parquet").display()
        ));
        if let Some(tokens) = summary.planned_tokens {
            let out = arguments.out.display();
            terminal.say(format_args!("{} tokens to be shown; train on them with: loam train {out}", count(tokens)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A recipe alone: flags for steps would have no place among its own.
fn from_recipe(path: &str, arguments: &PrepareArguments) -> anyhow::Result<PipelinePlan> {
    let others = arguments.tokenizer.is_some()
        || arguments.held_out.is_some()
        || arguments.language_model.is_some()
        || arguments.budget.is_some()
        || arguments.order_by.is_some();
    let flags = [&arguments.clean, &arguments.language, &arguments.filter, &arguments.redact, &arguments.deduplicate];
    if others || flags.iter().any(|flag| !flag.is_empty()) || !arguments.decontaminate.is_empty() {
        return Err(Misuse(format!(
            "{path} has steps of its own, and tokenizer, split and mix; leave the flags for these out"
        ))
        .into());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    toml::from_str(&text).map_err(|error| Misuse(format!("{path}: {error}")).into())
}

fn from_flags(arguments: &PrepareArguments) -> anyhow::Result<PipelinePlan> {
    let misuse = |flag: &str, name: &str, expected: String| Misuse(format!("--{flag} {name}: expected {expected}"));
    let mut steps = Vec::new();
    if !arguments.clean.is_empty() {
        let step = |name: &String| name.parse().map_err(|expected| misuse("clean", name, expected));
        steps.push(StepPlan::Clean { steps: arguments.clean.iter().map(step).collect::<Result<_, _>>()? });
    }
    let model = arguments.language_model.clone();
    if !arguments.language.is_empty() || !arguments.filter.is_empty() || model.is_some() {
        steps.push(StepPlan::Language { keep: arguments.language.clone(), confidence: 0.0, model });
    }
    if !arguments.filter.is_empty() {
        let named = |name: &String| name.parse::<Preset>().map_err(|expected| misuse("filter", name, expected));
        let all = arguments.filter.iter().any(|name| name == "all");
        let presets =
            if all { Preset::ALL.to_vec() } else { arguments.filter.iter().map(named).collect::<Result<_, _>>()? };
        steps.push(StepPlan::Filter(Filters::only(&presets)));
    }
    if !arguments.redact.is_empty() {
        let named = |name: &String| name.parse::<Redaction>().map_err(|expected| misuse("redact", name, expected));
        let all = arguments.redact.iter().any(|name| name == "all");
        let kinds =
            if all { Redaction::ALL.to_vec() } else { arguments.redact.iter().map(named).collect::<Result<_, _>>()? };
        steps.push(StepPlan::Redact(Redactor { kinds, ..Redactor::default() }));
    }
    if !arguments.decontaminate.is_empty() {
        let name = |path: &String| {
            Path::new(path).file_name().map_or_else(|| path.clone(), |name| name.to_string_lossy().into_owned())
        };
        let mut sets: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for path in &arguments.decontaminate {
            sets.entry(name(path)).or_default().push(path.clone());
        }
        steps.push(StepPlan::Decontaminate { sets, words: 13, text_field: None });
    }
    for name in &arguments.deduplicate {
        let by = match name.as_str() {
            "url" => Duplicates::Url,
            "exact" => Duplicates::Exact,
            "line" => Duplicates::Line,
            "paragraph" => Duplicates::Paragraph,
            "near" => Duplicates::Near,
            "passage" => Duplicates::Passage,
            _ => {
                let expected = "url, exact, line, paragraph, near or passage".to_owned();
                return Err(misuse("deduplicate", name, expected).into());
            }
        };
        steps.push(StepPlan::deduplicate(by));
    }
    let mut source = PipelineSource::new("data", arguments.paths.clone());
    source.text_field.clone_from(&arguments.text_field);
    source.split.clone_from(&arguments.split);
    let mut plan = PipelinePlan::new(vec![source], steps);
    plan.read = arguments.reading.bytes();
    plan.tokenizer = arguments.tokenizer.as_deref().map(tokenizer).transpose()?;
    plan.split.held_out = arguments.held_out.unwrap_or(if plan.tokenizer.is_some() { HELD_OUT } else { 0.0 });
    plan.mix.tokens = arguments.budget;
    plan.mix.order_by.clone_from(&arguments.order_by);
    Ok(plan)
}

/// The part held out where tokens are made and nobody says how much.
const HELD_OUT: f64 = 0.02;

/// A path, or KIND:VOCABULARY.
fn tokenizer(text: &str) -> anyhow::Result<TokensPlan> {
    if Path::new(text).exists() {
        return Ok(TokensPlan { path: Some(text.into()), ..TokensPlan::default() });
    }
    let (kind, vocab) = text.split_once(':').unwrap_or((text, ""));
    let wrong = || {
        Misuse(format!(
            "--tokenizer {text}: neither a tokenizer.json or its folder, nor a kind and a size to train, as in bpe:8192 \
             (bpe, wordpiece, unigram, word)"
        ))
    };
    let kind: TokenizerKind = kind.parse().map_err(|_| wrong())?;
    let vocab = if vocab.is_empty() { None } else { Some(vocab.parse().map_err(|_| wrong())?) };
    Ok(TokensPlan { kind: Some(kind), vocab, ..TokensPlan::default() })
}

fn tell(progress: &PipelineProgress, watcher: &mut Watcher, begun: std::time::Instant) {
    match progress {
        PipelineProgress::Found { files, skipped, finished } => {
            if *skipped > 0 {
                watcher.warning(&format!("{skipped} files left out, not of a kind that Loam reads"));
            }
            if *finished > 0 {
                watcher.warning(&format!("going on: {finished} of {files} files were read by an earlier run"));
            }
        }
        PipelineProgress::Reading { file, files, documents, bytes, kept } => {
            let rate = *bytes as f64 / 1e6 / begun.elapsed().as_secs_f64().max(1e-3);
            watcher.doing(&format!(
                "reading file {file} of {files}: {} documents, {} kept, {rate:.1} MB/s",
                count(*documents),
                count(*kept)
            ));
        }
        PipelineProgress::ReadingElsewhere { finished, files, documents } => {
            watcher.doing(&format!("workers have read {finished} of {files} files: {} documents", count(*documents)));
        }
        PipelineProgress::PassedOverElsewhere(told) => watcher.warning(told),
        PipelineProgress::Comparing { step, documents } => {
            watcher.doing(&format!("{step}: {} documents", count(*documents)));
        }
        PipelineProgress::TrainingTokenizer { documents, bytes } => {
            let megabytes = *bytes as f64 / 1e6;
            watcher.doing(&format!("training the tokenizer: {} documents, {megabytes:.1} MB", count(*documents)));
        }
        PipelineProgress::CountingTokens { documents, tokens } => {
            watcher.doing(&format!("counting tokens: {} documents, {} tokens", count(*documents), count(*tokens)));
        }
        PipelineProgress::Ordering { documents } => {
            watcher.doing(&format!("ordering: {} documents", count(*documents)));
        }
        PipelineProgress::Writing { documents, kept } => {
            watcher.doing(&format!("writing: {} documents, {} kept", count(*documents), count(*kept)));
        }
        PipelineProgress::PassedOver(note) => watcher.warning(&note.to_string()),
        PipelineProgress::PassedOverMore(more) => watcher.warning(&format!("{} more like these", count(*more))),
    }
}

fn print(summary: &PipelineSummary, terminal: Terminal) -> io::Result<()> {
    for (name, source) in &summary.sources {
        let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
        terminal.result(format_args!(
            "{name}: {} of {} documents kept ({:.1} %), {} of {} bytes",
            count(source.kept),
            count(source.read),
            share(source.kept, source.read),
            count(source.bytes),
            count(source.bytes_read)
        ))?;
        let mut dropped: Vec<_> = source.dropped.iter().collect();
        dropped.sort_by(|a, b| b.1.documents.cmp(&a.1.documents).then(a.0.cmp(b.0)));
        for (reason, counts) in dropped {
            let part = share(counts.documents, source.read);
            terminal.result(format_args!("  {reason:<34} {:>12}  {part:5.1} %", count(counts.documents)))?;
        }
        for (set, documents) in &source.contaminated {
            terminal.result(format_args!("    {:<32} {:>12}", format!("parts of {set}"), count(*documents)))?;
        }
        if source.held_out > 0 {
            let part = share(source.held_out, source.kept);
            terminal.result(format_args!(
                "  {:<34} {:>12}  {part:5.1} % of those kept",
                "held out",
                count(source.held_out)
            ))?;
        }
        if let Some(tokens) = &source.tokens {
            for (what, number) in [("tokens to train on", tokens.train), ("tokens held out", tokens.held_out)] {
                terminal.result(format_args!("  {what:<34} {:>12}", count(number)))?;
            }
            if tokens.train > 0 {
                terminal.result(format_args!(
                    "  {:<34} {:>12.1} %, {:.2} epochs",
                    "share of training",
                    100.0 * tokens.share,
                    tokens.epochs
                ))?;
            }
        }
        for (what, number) in [("redacted", source.redacted), ("repeated parts taken out", source.repeated)] {
            if number > 0 {
                terminal.result(format_args!("  {what:<34} {:>12}", count(number)))?;
            }
        }
    }
    Ok(())
}
