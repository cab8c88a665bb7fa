//! `loam data inspect`.

mod marks;

use super::Misuse;
use crate::arguments::{Global, InspectArguments};
use crate::terminal::{Terminal, count, counted};
use loam_corpus::clean::Step;
use loam_corpus::{
    Dropped, ExamplePlan, Examples, FileFormat, FileKind, InspectOptions, Inspection, PreviewDocument, Tokenizer,
    inspect,
};
use loam_tasks::chat;
use marks::{BRACKETS, marked, printable};
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Languages that are named one by one.
const MOST_LANGUAGES: usize = 6;

pub fn run(arguments: &InspectArguments, _: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let tokenizer = arguments.tokenizer.as_deref();
    // A template stands beside tokenizer.json.
    let folder = tokenizer.map(|path| {
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        if is_json && path.is_file() { path.parent().unwrap_or(path) } else { path }
    });
    let (conversations, template) = chat::writer(folder, arguments.template.as_deref())?;
    let options = InspectOptions {
        text_field: arguments.text_field.clone(),
        preview: arguments.rows,
        clean: steps(&arguments.clean)?,
        tokenizer: tokenizer.map(Tokenizer::open).transpose()?,
        bytes: arguments.reading.bytes(),
        examples: examples(arguments),
        conversations: Some(conversations),
        ..InspectOptions::default()
    };
    let inspection = inspect(&arguments.paths, &options)?;
    if terminal.json() {
        terminal.result(serde_json::to_string(&inspection)?)?;
    } else {
        let template = match (&arguments.template, folder) {
            (Some(named), _) => named.clone(),
            (None, Some(folder)) if template != chat::CHATML => format!("that of {}", folder.display()),
            _ => "chatml".to_owned(),
        };
        tell(&inspection, &template, terminal)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The steps that were named, between commas or one a flag.
fn steps(names: &[String]) -> anyhow::Result<Vec<Step>> {
    let step =
        |name: &String| name.parse().map_err(|expected| Misuse(format!("--clean {name}: expected {expected}")).into());
    names.iter().map(step).collect()
}

/// What the records are, where flags say so.
fn examples(arguments: &InspectArguments) -> Option<ExamplePlan> {
    if arguments.conversations {
        return Some(ExamplePlan::Conversations);
    }
    if !arguments.targets.is_empty() {
        return Some(ExamplePlan::Files(arguments.targets.clone()));
    }
    let (input, target) = arguments.input_field.clone().zip(arguments.target_field.clone())?;
    Some(ExamplePlan::Fields { input, target })
}

fn tell(found: &Inspection, template: &str, terminal: Terminal) -> io::Result<()> {
    terminal.result(format_args!(
        "{} in {}, {}, {}{}",
        counted(found.documents, "document"),
        counted(found.files, "file"),
        counted(found.bytes, "byte"),
        counted(found.characters, "character"),
        found.tokens.map_or_else(String::new, |tokens| format!(", {}", counted(tokens, "token")))
    ))?;
    if let Some(examples) = &found.examples {
        tell_examples(examples, found, template, terminal)?;
    }
    for file in &found.skipped_files {
        terminal.warning(format_args!("{file}: left out, not a kind of file that Loam reads"));
    }
    for Dropped { reason, documents } in &found.dropped {
        terminal.result(format_args!("left out by training: {}: {reason}", counted(*documents, "document")))?;
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
    if found.documents > 0 {
        tell_languages(found, terminal)?;
    }
    terminal.result(format_args!(
        "exact duplicates: {} of {} ({:.1} %), {}",
        count(found.duplicate_documents),
        counted(found.documents, "document"),
        percent(found.duplicate_documents, found.documents),
        counted(found.duplicate_bytes, "byte")
    ))?;
    for repeated in found.most_repeated.iter().filter(|repeated| repeated.copies > 1) {
        terminal.result(format_args!(
            "  {:>6} × {:?} ({})",
            count(repeated.copies),
            repeated.preview,
            repeated.path
        ))?;
    }
    tell_fields(found, terminal)?;
    for oddity in &found.oddities {
        terminal.result(format_args!(
            "odd: {} with {}; the first: {}",
            counted(oddity.documents, "document"),
            oddity.kind.description(),
            place(&oddity.path, oddity.offset)
        ))?;
    }
    for (index, document) in found.preview.iter().enumerate() {
        tell_document(index, document, terminal)?;
    }
    Ok(())
}

/// Pairs and conversations, and what `loam train` has to be told of them.
fn tell_examples(examples: &Examples, found: &Inspection, template: &str, terminal: Terminal) -> io::Result<()> {
    let texts = found.documents - examples.pairs - examples.conversations;
    let mut kinds = Vec::new();
    if examples.conversations > 0 {
        let conversations = counted(examples.conversations, "conversation");
        kinds.push(format!(
            "{conversations} of {}, as the template writes them: {template}",
            counted(examples.messages, "message")
        ));
    }
    if examples.pairs > 0 {
        kinds.push(counted(examples.pairs, "pair"));
    }
    if texts > 0 {
        kinds.push(counted(texts, "text"));
    }
    terminal.result(format_args!("records: {}", kinds.join("; ")))?;
    let tokens = examples.learned_tokens.map_or_else(String::new, |tokens| format!(", {}", counted(tokens, "token")));
    terminal.result(format_args!(
        "learned: {:.1} % of the characters that a model reads of {}{tokens}",
        percent(examples.learned_characters, examples.characters),
        if examples.pairs == 0 { "conversations" } else { "examples" },
    ))?;
    if let Some(reason) = &examples.first_refusal {
        terminal.warning(format_args!(
            "{reason}\n  the template does not take this or {} like it; training would stop here",
            counted(examples.refused - 1, "more conversation")
        ));
    }
    if usize::from(examples.conversations > 0) + usize::from(examples.pairs > 0) + usize::from(texts > 0) > 1 {
        terminal
            .warning("records of several kinds: a source of a recipe holds one kind; put them into files of their own");
    }
    Ok(())
}

fn tell_languages(found: &Inspection, terminal: Terminal) -> io::Result<()> {
    let name = |code: &str| if code == "und" { "no language".to_owned() } else { code.to_owned() };
    let share = |characters: u64| percent(characters, found.characters);
    let named = found.languages.iter().take(MOST_LANGUAGES);
    let mut languages: Vec<String> =
        named.map(|language| format!("{:.1} % {}", share(language.characters), name(&language.code))).collect();
    let others: u64 = found.languages.iter().skip(MOST_LANGUAGES).map(|language| language.characters).sum();
    if others > 0 {
        languages.push(format!("{:.1} % in {} others", share(others), found.languages.len() - MOST_LANGUAGES));
    }
    terminal.result(format_args!("language: {}", languages.join(", ")))?;
    let scripts = &found.scripts;
    terminal.result(format_args!(
        "script: {:.1} % ASCII, {:.1} % Chinese, Japanese or Korean, {:.1} % other",
        100.0 * scripts.ascii,
        100.0 * scripts.cjk,
        100.0 * scripts.other
    ))
}

/// Names of fields in one column, whatever the width of their letters, and types in the next.
fn tell_fields(found: &Inspection, terminal: Terminal) -> io::Result<()> {
    if found.fields.is_empty() {
        return Ok(());
    }
    terminal.result("fields:")?;
    let widest = found.fields.keys().map(|field| console::measure_text_width(field)).max().unwrap_or(0).min(32);
    for (field, types) in &found.fields {
        let types: Vec<String> = types.iter().map(|(name, n)| format!("{name} × {}", count(*n))).collect();
        let field = printable(field);
        let space = " ".repeat(widest.saturating_sub(console::measure_text_width(&field)));
        terminal.result(format_args!("  {field}{space}  {}", types.join(", ")))?;
    }
    Ok(())
}

fn tell_document(index: usize, document: &PreviewDocument, terminal: Terminal) -> io::Result<()> {
    let tokens = document.tokens.map_or_else(String::new, |tokens| format!(", {}", counted(tokens, "token")));
    let learned = document.learned_tokens.map_or_else(String::new, |learned| format!(", {} learned", count(learned)));
    let color = terminal.colored_results();
    let legend = match &document.learned {
        None => String::new(),
        Some(_) if color => " · green is learned".to_owned(),
        Some(_) => format!(" · {} {} is learned", BRACKETS[0], BRACKETS[1]),
    };
    terminal.result(format_args!(
        "\n--- {} · {} · {}{tokens}{learned}{legend}",
        index + 1,
        place(&document.path, document.offset),
        counted(document.characters, "character")
    ))?;
    if let Some(before) = &document.before {
        terminal.result(printable(before))?;
        terminal.result("--- cleaned:")?;
    }
    match &document.learned {
        Some(learned) => terminal.result(marked(document.text.trim_end(), learned, color)),
        None => terminal.result(printable(&document.text)),
    }
}

/// Where a document stands: files of columns have rows.
fn place(path: &str, offset: u64) -> String {
    let format = FileKind::of(Path::new(path)).map(|kind| kind.format);
    let unit = if matches!(format, Some(FileFormat::Parquet | FileFormat::Arrow)) { "row" } else { "byte" };
    format!("{path} at {unit} {}", count(offset))
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole > 0 { 100.0 * part as f64 / whole as f64 } else { 0.0 }
}
