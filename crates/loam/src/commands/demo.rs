//! The demonstration: a small GPT, trained on text that every Rust user has on disk, with the ledger running.

use super::Misuse;
use crate::arguments::{DemoArguments, Global};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count, duration};
use anyhow::Context;
use loam_corpus::{CargoCaps, CargoSources};
use loam_models::generate::GenerateOptions;
use loam_models::sampling::SamplingOptions;
use loam_tasks::LoadedModel;
use loam_train::recipe::{Length, ModelRecipe, ModelShape, Recipe, SourceRecipe, TokenizerKind, TokenizerRecipe};
use loam_train::record::Event;
use loam_train::{Observer, Run, session};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Names and versions of the crates that Loam is built from, a pair a line.
const CRATES: &str = include_str!(concat!(env!("OUT_DIR"), "/crates.txt"));

/// What the trained model is asked to go on from: code, prose, and what it has seen too often.
const PROMPTS: [&str; 3] = ["pub fn len(&self) -> ", "Returns the number of ", "Permission is hereby granted"];

const TEMPERATURE: f32 = 0.7;

fn crates() -> impl Iterator<Item = (&'static str, &'static str)> {
    CRATES.lines().filter_map(|line| line.split_once(' '))
}

/// How many of Loam's own dependencies Cargo has unpacked here.
pub fn crates_on_disk() -> Option<usize> {
    CargoSources::find(crates(), None).ok().map(|sources| sources.len())
}

pub fn run(arguments: &DemoArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    if !(arguments.minutes.is_finite() && arguments.minutes > 0.0) {
        return Err(Misuse(format!("--minutes {}: give a number above 0", arguments.minutes)).into());
    }
    let start = Instant::now();
    let session = machine::session(&global.device)?;
    let mut watcher = Watcher::new(terminal);
    let folder = arguments.out.clone().unwrap_or_else(|| super::free_run("demo"));
    if folder.join("recipe.toml").exists() {
        return Err(Misuse(format!(
            "{} already holds a run; choose another folder with --out, or go on with it: loam train --resume -o {}",
            folder.display(),
            folder.display()
        ))
        .into());
    }
    terminal.heading(
        "Loam trains a small GPT on the sources of the crates on this disk, and measures what each kind of text did.",
    );
    terminal.say(format_args!("run: {}", folder.display()));
    watcher.doing("collecting the sources of crates");
    let sources = CargoSources::find(crates(), None)?;
    let corpus = sources.write(&folder.join("text"), &CargoCaps::default())?;
    watcher.done();
    terminal.say(format_args!(
        "text: {} bytes from {} crates, {} of them held out",
        count(corpus.bytes.values().sum()),
        count((corpus.crates_used.len() + corpus.crates_held_out.len()) as u64),
        count(corpus.crates_held_out.len() as u64)
    ));
    let recipe = recipe(&corpus, arguments);
    machine::stop_on_interrupt();
    let outcome = session::start(&recipe, &folder, &session, &mut watcher)?;
    if outcome.reason == "interrupted" {
        return super::train::finish(&folder, &outcome, terminal);
    }
    samples(&folder, global, terminal, &mut watcher)?;
    let code = super::train::finish(&folder, &outcome, terminal)?;
    tell_values(&folder, terminal);
    suggest(&folder, terminal);
    terminal.say(format_args!("\nall of it took {}", duration(start.elapsed().as_secs_f64())));
    Ok(code)
}

fn recipe(corpus: &loam_corpus::CargoCorpus, arguments: &DemoArguments) -> Recipe {
    let mut recipe = Recipe::default();
    recipe.data.sources = corpus
        .sources
        .iter()
        .map(|source| SourceRecipe {
            weight: source.weight,
            text_field: source.text_field.clone(),
            ..SourceRecipe::new(source.name.clone(), source.paths.clone())
        })
        .collect();
    recipe.data.held_out = corpus.held_out.iter().map(|domain| (domain.name.clone(), domain.paths.clone())).collect();
    recipe.tokenizer = TokenizerRecipe::Train { kind: TokenizerKind::Bpe, vocab: 4096 };
    recipe.model = ModelRecipe::New(ModelShape {
        width: 192,
        layers: 5,
        heads: 6,
        context: 256,
        dropout: 0.0,
        ..ModelShape::default()
    });
    let train = &mut recipe.train;
    train.length = Length::Minutes(arguments.minutes);
    // Minutes, not hours: small batches and a high rate learn the most from few tokens.
    train.batch_tokens = 2048;
    train.micro_batch_tokens = Some(512);
    train.lr = 1e-3;
    train.eval_every = 100;
    train.eval_tokens = 8192;
    train.checkpoint_every = 500;
    train.seed = arguments.seed;
    recipe.ledger.refresh_every = 40;
    recipe
}

fn samples(folder: &Path, global: &Global, terminal: Terminal, watcher: &mut Watcher) -> anyhow::Result<()> {
    let model = LoadedModel::open(folder, &machine::device(&global.device)?)?;
    let run = Run::open(folder)?;
    terminal.heading("\nWhat it writes after these minutes:");
    for prompt in PROMPTS {
        let options = GenerateOptions {
            max_new_tokens: 80,
            sampling: SamplingOptions { temperature: TEMPERATURE, top_p: 0.95, ..SamplingOptions::default() },
            end_of_text: None,
        };
        let generation = model.generate(prompt, &options, &[], |_| {})?;
        terminal.say(format_args!("\n» {prompt}{}", without_gaps(&generation.text)));
        let event =
            Event::Sample { prompt: prompt.to_owned(), text: generation.text, temperature: f64::from(TEMPERATURE) };
        run.log(&event).context("the sample could not be recorded")?;
        watcher.event(&event);
    }
    terminal.say("");
    Ok(())
}

/// Text as it fits a terminal: what a young model writes is full of empty lines.
fn without_gaps(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let kept = lines.iter().enumerate().filter(|(index, line)| *index == 0 || !line.is_empty());
    kept.map(|(_, line)| *line).collect::<Vec<_>>().join("\n  ")
}

/// The ledger in a few lines; the report has it whole.
fn tell_values(folder: &Path, terminal: Terminal) {
    let Ok(ledger) = loam_influence::ledger::Ledger::read(&folder.join("ledger.parquet")) else { return };
    let summary = ledger.summary();
    terminal.heading("\nWhat each source brought the held-out loss down by, in nats a token:");
    super::influence::lines_of(&summary, &mut |line| terminal.say(line));
}

fn suggest(folder: &Path, terminal: Terminal) {
    let folder: PathBuf = folder.to_owned();
    let name = folder.display();
    terminal.heading("\nWhat to do next:");
    terminal.say(format_args!("  loam generate --model {name} 'impl Iterator for '"));
    terminal.say(format_args!(
        "  loam query \"select domain, source, sum(value) as nats from ledger where line = 'source' group by domain, \
         source order by nats desc\" {name}"
    ));
    terminal.say("  loam train my-text/*.txt               the same on text of your own; recipes/ has recipes");
}
