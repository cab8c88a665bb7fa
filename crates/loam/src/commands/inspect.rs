//! `loam data inspect`.

use super::Misuse;
use crate::arguments::{Global, InspectArguments};
use crate::terminal::{Terminal, count};
use loam_corpus::clean::Step;
use loam_corpus::{Dropped, InspectOptions, Inspection, Tokenizer, inspect};
use std::io;
use std::process::ExitCode;

pub fn run(arguments: &InspectArguments, _: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let options = InspectOptions {
        text_field: arguments.text_field.clone(),
        preview: arguments.rows,
        clean: steps(&arguments.clean)?,
        tokenizer: arguments.tokenizer.as_deref().map(Tokenizer::open).transpose()?,
        bytes: arguments.reading.bytes(),
        ..InspectOptions::default()
    };
    let inspection = inspect(&arguments.paths, &options)?;
    if terminal.json() {
        terminal.result(serde_json::to_string(&inspection)?)?;
    } else {
        tell(&inspection, terminal)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The steps that were named, between commas or one a flag.
fn steps(names: &[String]) -> anyhow::Result<Vec<Step>> {
    let step =
        |name: &String| name.parse().map_err(|expected| Misuse(format!("--clean {name}: expected {expected}")).into());
    names.iter().map(step).collect()
}

fn tell(found: &Inspection, terminal: Terminal) -> io::Result<()> {
    terminal.result(format_args!(
        "{} documents in {} files, {} bytes, {} characters{}",
        count(found.documents),
        count(found.files),
        count(found.bytes),
        count(found.characters),
        found.tokens.map_or_else(String::new, |tokens| format!(", {} tokens", count(tokens)))
    ))?;
    for file in &found.skipped_files {
        terminal.warning(format_args!("{file}: left out, not a kind of file that Loam reads"));
    }
    for Dropped { reason, documents } in &found.dropped {
        terminal.result(format_args!("left out by training: {} documents: {reason}", count(*documents)))?;
    }
    for note in &found.passed_over {
        terminal.warning(note);
    }
    for problem in &found.problems {
        terminal.warning(format_args!(
            "{problem}\n  the rest of this file is not in the figures; training would stop here"
        ));
    }
    let lengths = [("characters", Some(&found.document_characters)), ("tokens", found.document_tokens.as_ref())];
    for (unit, lengths) in lengths {
        if let Some(l) = lengths.filter(|_| found.documents > 0) {
            terminal.result(format_args!(
                "length in {unit}: least {}, median {}, mean {:.0}, 95 % below {}, most {}",
                count(l.min),
                count(l.median),
                l.mean,
                count(l.p95),
                count(l.max)
            ))?;
        }
    }
    let percent = |share: f64| 100.0 * share;
    let s = &found.scripts;
    terminal.result(format_args!(
        "script: {:.1} % ASCII, {:.1} % Chinese, Japanese or Korean, {:.1} % other",
        percent(s.ascii),
        percent(s.cjk),
        percent(s.other)
    ))?;
    terminal.result(format_args!(
        "exact duplicates: {} of {} documents, {} bytes",
        count(found.duplicate_documents),
        count(found.documents),
        count(found.duplicate_bytes)
    ))?;
    for repeated in found.most_repeated.iter().filter(|repeated| repeated.copies > 1) {
        terminal.result(format_args!(
            "  {:>6} × {:?} ({})",
            count(repeated.copies),
            repeated.preview,
            repeated.path
        ))?;
    }
    if !found.fields.is_empty() {
        terminal.result("fields:")?;
        for (field, types) in &found.fields {
            let types: Vec<String> = types.iter().map(|(name, n)| format!("{name} × {}", count(*n))).collect();
            terminal.result(format_args!("  {field}: {}", types.join(", ")))?;
        }
    }
    for oddity in &found.oddities {
        terminal.result(format_args!(
            "odd: {} documents {}; the first: {} at byte {}",
            count(oddity.documents),
            oddity.kind.description(),
            oddity.path,
            count(oddity.offset)
        ))?;
    }
    for (index, document) in found.preview.iter().enumerate() {
        let tokens = document.tokens.map_or_else(String::new, |tokens| format!(", {} tokens", count(tokens)));
        terminal.result(format_args!(
            "\n--- {} · {} at byte {} · {} characters{tokens}",
            index + 1,
            document.path,
            count(document.offset),
            count(document.characters)
        ))?;
        if let Some(before) = &document.before {
            terminal.result(before)?;
            terminal.result("--- cleaned:")?;
        }
        terminal.result(&document.text)?;
    }
    Ok(())
}
