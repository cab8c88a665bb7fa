//! `loam word2vec`.

use super::Misuse;
use crate::arguments::{
    AnalogiesArguments, ConvertArguments, NearestArguments, VectorKind, Word2VecCommand, Word2VecTrainArguments,
};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count, duration};
use anyhow::Context;
use loam_corpus::WordSplit;
use loam_models::word2vec::{Format, Kind, Neighbor, Questions, Section, Trained, Word2VecConfig, WordVectors};
use loam_train::word_vectors::{self, Plan, Stage};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

pub fn run(command: &Word2VecCommand, terminal: Terminal) -> anyhow::Result<ExitCode> {
    match command {
        Word2VecCommand::Train(arguments) => train(arguments, terminal),
        Word2VecCommand::Nearest(arguments) => nearest(arguments, terminal),
        Word2VecCommand::Analogies(arguments) => analogies(arguments, terminal),
        Word2VecCommand::Convert(arguments) => convert(arguments, terminal),
    }
}

/// Where vectors go: the file, and the file of counts beside it where a folder was named.
fn places(out: &Path, binary: bool) -> (PathBuf, Format, Option<PathBuf>) {
    let ends_open = out.to_string_lossy().ends_with(['/', std::path::MAIN_SEPARATOR]);
    if out.is_dir() || ends_open {
        let (name, format) = if binary { ("vectors.bin", Format::Binary) } else { ("vectors.txt", Format::Text) };
        return (out.join(name), format, Some(out.join("vocabulary.txt")));
    }
    (out.to_owned(), if binary { Format::Binary } else { Format::of(out) }, None)
}

fn train(arguments: &Word2VecTrainArguments, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let kind = match arguments.kind {
        VectorKind::SkipGram => Kind::SkipGram,
        VectorKind::Cbow => Kind::Cbow,
    };
    let config = Word2VecConfig {
        kind,
        size: arguments.size,
        window: arguments.window,
        negative: arguments.negative,
        sample: arguments.sample,
        rate: arguments.lr.unwrap_or_else(|| Word2VecConfig::default_rate(kind)),
        epochs: arguments.epochs,
        seed: arguments.seed,
    };
    config.check().map_err(|error| Misuse(error.to_string()))?;
    let (file, format, counts) = places(&arguments.out, arguments.binary);
    let folder = word_vectors::beside(&file).to_owned();
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let plan = Plan {
        paths: arguments.paths.clone(),
        text_field: arguments.text_field.clone(),
        bytes: arguments.reading.bytes(),
        split: WordSplit { lowercase: arguments.lowercase, spaces: arguments.whitespace },
        min_count: arguments.min_count,
        most_words: arguments.max_vocab,
        config,
        scratch: folder,
        memory: Some(machine::memory().0),
    };
    machine::stop_on_interrupt_saying("stopping; vectors that were trained so far are written");
    let mut watcher = Watcher::new(terminal);
    let run = word_vectors::train(&plan, &mut |stage| {
        tell(stage, &mut watcher, terminal);
        !machine::STOP.load(Ordering::Relaxed)
    })?;
    watcher.done();
    let Some(run) = run else {
        terminal.say("interrupted before training; nothing was written");
        return Ok(ExitCode::from(machine::INTERRUPTED));
    };
    run.trained.vectors.save(&file, format)?;
    if let Some(counts) = counts {
        run.vocabulary.save(&counts)?;
    }
    tell_trained(&run.trained, &plan.config, &file, format, terminal)?;
    Ok(if run.trained.stopped { ExitCode::from(machine::INTERRUPTED) } else { ExitCode::SUCCESS })
}

fn tell(stage: Stage, watcher: &mut Watcher, terminal: Terminal) {
    match stage {
        Stage::Counting { documents, bytes } => {
            watcher.doing(&format!("counting words: {} documents, {} bytes", count(documents), count(bytes)));
        }
        Stage::Counted { vocabulary, different, words } => {
            watcher.done();
            terminal.say(format_args!(
                "{} words, {} different; {} get a vector, which cover {:.1} % of the text",
                count(words),
                count(different as u64),
                count(vocabulary.len() as u64),
                100.0 * vocabulary.total() as f64 / words.max(1) as f64
            ));
        }
        Stage::Encoding { words } => watcher.doing(&format!("laying down the text: {} words", count(words))),
        Stage::Training(progress) => {
            let speed = progress.words as f64 / progress.seconds.max(1e-9);
            watcher.doing(&format!(
                "epoch {}: {:.1} % · {} words/s · lr {:.4} · {} left",
                progress.epoch,
                100.0 * progress.words as f64 / progress.total.max(1) as f64,
                count(speed as u64),
                progress.rate,
                duration((progress.total - progress.words) as f64 / speed.max(1.0))
            ));
        }
    }
}

fn tell_trained(
    trained: &Trained,
    config: &Word2VecConfig,
    file: &Path,
    format: Format,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let progress = &trained.progress;
    let speed = progress.words as f64 / progress.seconds.max(1e-9);
    let kind = if config.kind == Kind::SkipGram { "skip-gram" } else { "cbow" };
    if terminal.json() {
        terminal.result(json!({
            "path": file.display().to_string(),
            "format": format.name(),
            "kind": kind,
            "words": trained.vectors.len(),
            "size": trained.vectors.size(),
            "epochs": config.epochs,
            "trained_words": progress.words,
            "seconds": progress.seconds,
            "words_per_second": speed,
            "finish": if trained.stopped { "interrupted" } else { "done" },
        }))?;
        return Ok(());
    }
    terminal.say(format_args!(
        "{}: {kind}, {} vectors of {} numbers, {} words in {} at {} words/s",
        if trained.stopped { "interrupted, saved" } else { "trained" },
        count(trained.vectors.len() as u64),
        trained.vectors.size(),
        count(progress.words),
        duration(progress.seconds),
        count(speed as u64)
    ));
    terminal.result(file.display())?;
    Ok(())
}

/// Reads vectors, and warns of what is odd about them.
fn open(path: &Path, terminal: Terminal) -> anyhow::Result<WordVectors> {
    let (vectors, remarks) = WordVectors::open(path)?;
    let warn = |what: &str| terminal.warning(format_args!("{}: {what}", path.display()));
    if remarks.repeated > 0 {
        warn(&format!("{} words stand there more than once; the first vector of each counts", count(remarks.repeated)));
    }
    if remarks.not_utf8 > 0 {
        warn(&format!("{} words are not UTF-8; \u{fffd} stands for what cannot be read", count(remarks.not_utf8)));
    }
    if remarks.more {
        warn("there is more after the words that the header counts, which was left alone");
    }
    Ok(vectors)
}

fn neighbors(found: &[Neighbor]) -> Value {
    found.iter().map(|near| json!({ "word": near.word, "cosine": near.cosine })).collect()
}

fn nearest(arguments: &NearestArguments, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let vectors = open(&arguments.vectors, terminal)?;
    let rows = arguments.words.iter().map(|word| vectors.find(word)).collect::<Result<Vec<_>, _>>()?;
    for (word, row) in arguments.words.iter().zip(rows) {
        let found = vectors.nearest(&[row], &[], arguments.top_k, None);
        if terminal.json() {
            terminal.result(json!({ "word": word, "nearest": neighbors(&found) }))?;
            continue;
        }
        if arguments.words.len() > 1 {
            terminal.result(format_args!("{word}:"))?;
        }
        for near in found {
            terminal.result(format_args!("  {:.4}  {}", near.cosine, near.word))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn analogies(arguments: &AnalogiesArguments, terminal: Terminal) -> anyhow::Result<ExitCode> {
    if arguments.restrict == 0 {
        return Err(Misuse("--restrict 0 leaves no words".into()).into());
    }
    match &arguments.questions[..] {
        [file] => {
            let questions = Questions::open(Path::new(file))?;
            let vectors = open(&arguments.vectors, terminal)?;
            evaluate(&vectors, &questions, arguments, terminal)
        }
        [a, b, c] => {
            let vectors = open(&arguments.vectors, terminal)?;
            let (first, second, third) = (vectors.find(a)?, vectors.find(b)?, vectors.find(c)?);
            let found = vectors.nearest(&[second, third], &[first], arguments.top_k, Some(arguments.restrict));
            if terminal.json() {
                terminal.result(json!({ "a": a, "b": b, "c": c, "answers": neighbors(&found) }))?;
            } else {
                for near in found {
                    terminal.result(format_args!("  {:.4}  {}", near.cosine, near.word))?;
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(Misuse("give a file of questions, or three words: a is to b as c is to ...".into()).into()),
    }
}

fn evaluate(
    vectors: &WordVectors,
    questions: &Questions,
    arguments: &AnalogiesArguments,
    terminal: Terminal,
) -> anyhow::Result<ExitCode> {
    if questions.skipped() > 0 {
        terminal
            .warning(format_args!("{} lines do not have four words and were passed over", count(questions.skipped())));
    }
    let evaluation = vectors.evaluate(questions, arguments.restrict, !arguments.case_sensitive);
    let line = |section: &Section| {
        if terminal.json() {
            return json!({
                "section": section.name,
                "correct": section.correct,
                "asked": section.asked,
                "unknown": section.unknown,
                "accuracy": if section.asked == 0 { Value::Null } else { json!(section.accuracy()) },
            })
            .to_string();
        }
        let share = if section.asked == 0 { "-".to_owned() } else { format!("{:.1} %", 100.0 * section.accuracy()) };
        format!("{:<32} {:>7} {:>7} {:>8}  {share:>7}", section.name, section.correct, section.asked, section.unknown)
    };
    if !terminal.json() {
        terminal.say(format_args!("{:<32} {:>7} {:>7} {:>8}", "section", "right", "asked", "unknown"));
    }
    for section in evaluation.sections.iter().chain([&evaluation.total]) {
        terminal.result(line(section))?;
    }
    if evaluation.total.asked == 0 {
        terminal.warning("no question has all its words among those of the vectors");
    }
    Ok(ExitCode::SUCCESS)
}

fn convert(arguments: &ConvertArguments, terminal: Terminal) -> anyhow::Result<ExitCode> {
    if arguments.top == Some(0) {
        return Err(Misuse("--top 0 leaves no words".into()).into());
    }
    let (file, format, _) = places(&arguments.out, arguments.binary);
    let mut vectors = open(&arguments.input, terminal)?;
    if let Some(top) = arguments.top {
        vectors = vectors.into_first(top);
    }
    vectors.save(&file, format)?;
    let bytes = std::fs::metadata(&file).with_context(|| file.display().to_string())?.len();
    if terminal.json() {
        terminal.result(json!({
            "path": file.display().to_string(),
            "format": format.name(),
            "words": vectors.len(),
            "size": vectors.size(),
            "bytes": bytes,
        }))?;
    } else {
        terminal.say(format_args!(
            "{} vectors of {} numbers, {}, {} bytes",
            count(vectors.len() as u64),
            vectors.size(),
            format.name(),
            count(bytes)
        ));
        terminal.result(file.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
