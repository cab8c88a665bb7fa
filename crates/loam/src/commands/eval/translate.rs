//! `loam eval translate`.

use super::{Report, write_whole};
use crate::arguments::{EvalTranslateArguments, Global};
use crate::commands::translate::{in_a_line, options};
use crate::commands::{Misuse, text_file};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use loam_tasks::Translator;
use loam_tasks::metrics::translation::BleuTokenizer;
use loam_tasks::translate::{compare, evaluate, read_pairs, tokenizer_for};
use std::path::Path;
use std::process::ExitCode;

pub fn run(arguments: &EvalTranslateArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let measure = &arguments.measure;
    let fields = match &arguments.fields[..] {
        [] => None,
        [source, target] => Some((source.as_str(), target.as_str())),
        _ => return Err(Misuse("--fields names two fields: the source's and the target's".into()).into()),
    };
    let pairs = read_pairs(&measure.data, &arguments.targets, fields, measure.reading.bytes())?;
    let references: Vec<&str> = pairs.iter().map(|pair| pair.target.as_str()).collect();
    let tokenizer = match arguments.tokenize.as_deref() {
        Some("13a") => BleuTokenizer::V13a,
        Some("zh") => BleuTokenizer::Chinese,
        Some("char") => BleuTokenizer::Character,
        Some("intl") => BleuTokenizer::International,
        Some(_) => BleuTokenizer::None,
        None => tokenizer_for(&references),
    };
    let bootstrap = measure.bootstrap();
    let options = options(&arguments.search);
    let mut watcher = Watcher::new(terminal);
    let mut ask = |path: &Path| -> anyhow::Result<Vec<String>> {
        let translator = Translator::open(path, &device)?;
        let sources: Vec<String> = pairs.iter().map(|pair| pair.source.clone()).collect();
        let said = translator.translate(&sources, &options, &mut |done| {
            watcher.doing(&format!("{} of {} sentences", count(done as u64), count(sources.len() as u64)));
        })?;
        watcher.done();
        let told = |(number, one): (usize, Result<String, String>)| {
            one.unwrap_or_else(|message| {
                terminal.warning(format_args!("sentence {}: {message}; it counts as not translated", number + 1));
                String::new()
            })
        };
        Ok(said.into_iter().enumerate().map(told).collect())
    };
    let said = match (&arguments.translations, &arguments.model) {
        (Some(_), _) if measure.against.is_some() => {
            return Err(Misuse("--against compares with a model; name the first one with --model".into()).into());
        }
        (Some(path), _) => {
            let lines: Vec<String> = text_file(path)?.lines().map(str::to_owned).collect();
            if lines.len() != pairs.len() {
                let (own, others) = (lines.len(), pairs.len());
                let message = format!("{} has {own} lines, and there are {others} references", path.display());
                return Err(Misuse(message).into());
            }
            lines
        }
        (None, Some(model)) => ask(model)?,
        (None, None) => return Err(Misuse("give --model, or --translations".into()).into()),
    };
    let other = measure.against.as_ref().map(|other| ask(other)).transpose()?;
    let lowercase = arguments.lowercase;
    let evaluated = |said: &[String]| evaluate(said, &references, tokenizer, lowercase, &bootstrap);
    let (evaluation, counts) = evaluated(&said);
    let against = other.map(|other| {
        let (against, others) = evaluated(&other);
        (against, compare(&others, &counts, tokenizer, lowercase, &bootstrap))
    });
    if let Some(path) = &arguments.predictions {
        let lines: String = said.iter().flat_map(|text| [in_a_line(text), "\n".to_owned()]).collect();
        write_whole(path, lines.as_bytes())?;
    }
    let report =
        Report { task: "translate", examples: "sentences", evaluation, against, mcnemar: None, how: String::new() };
    report.print(measure, terminal, |details| {
        for (name, signature) in &details.signatures {
            terminal.say(format_args!("{name}: {signature}"));
        }
        Ok(())
    })
}
