//! `loam eval tag`.

use super::{Report, tell_scores, write_whole};
use crate::arguments::{EvalTagArguments, Global};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use loam_tasks::TextTagger;
use loam_tasks::tag::{compare, evaluate, read_tagged};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

pub fn run(arguments: &EvalTagArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let measure = &arguments.measure;
    let sentences = read_tagged(&measure.data, &arguments.label_names, measure.reading.bytes())?;
    let bootstrap = measure.bootstrap();
    let mut watcher = Watcher::new(terminal);
    let mut ask = |path: &Path| -> anyhow::Result<_> {
        let tagger = TextTagger::open(path, &device)?;
        let unknown: BTreeSet<&String> =
            sentences.iter().flat_map(|one| &one.tags).filter(|tag| !tagger.labels().contains(tag)).collect();
        for tag in unknown {
            terminal.warning(format_args!("words have the tag {tag:?}, which {} does not", path.display()));
        }
        watcher.doing(&format!("{} sentences", count(sentences.len() as u64)));
        let found = evaluate(&tagger, &sentences, &bootstrap);
        watcher.done();
        Ok(found)
    };
    let (evaluation, counts, said) = ask(&arguments.model)?;
    let other = measure.against.as_ref().map(|other| ask(other)).transpose()?;
    let against = other.map(|(against, others, _)| (against, compare(&others, &counts, &bootstrap)));
    if let Some(path) = &arguments.predictions {
        let mut lines = String::new();
        for (sentence, said) in sentences.iter().zip(&said) {
            for ((word, tag), said) in sentence.words.iter().zip(&sentence.tags).zip(said) {
                let _ = writeln!(lines, "{word}\t{tag}\t{said}");
            }
            lines.push('\n');
        }
        write_whole(path, lines.as_bytes())?;
    }
    let scheme = evaluation.details.scheme.as_ref();
    let how = scheme.map_or(", counted leniently".to_owned(), |scheme| format!(", counted strictly as {scheme}"));
    let report = Report { task: "tag", examples: "sentences", evaluation, against, mcnemar: None, how };
    report.print(measure, terminal, |details| {
        tell_scores(details.types.iter().map(|one| (one.label.as_str(), &one.scores)), "entities", terminal)
    })
}
