//! Texts that a command reads: given, or a line each; and results of them, one a text.

use super::Misuse;
use crate::arguments::GivenArguments;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use anyhow::Context;
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;

/// Texts that are read before they are worked on, so that memory has a bound.
pub const CHUNK: usize = 1024;
/// The longest line, in bytes.
const LONGEST_LINE: u64 = 64 << 20;

/// Texts as they are asked for.
pub enum Texts {
    /// Given already, the last one first.
    Given(Vec<String>),
    /// A text a line, or one in a field of each line's record.
    Lines { reader: Box<dyn BufRead>, origin: String, line: u64, field: Option<String>, pair: Option<String> },
}

/// A text with the second one of its pair, if it has one.
pub struct Given {
    pub text: String,
    pub pair: Option<String>,
}

impl Texts {
    /// Those that were given, else those of a file, else those of standard input: a text a line, or, in JSON lines, in the
    /// field of this name. `missing` says what to give where there is none of them.
    pub fn open(
        given: &[String],
        file: Option<&Path>,
        jsonl: bool,
        field: &str,
        missing: &str,
    ) -> anyhow::Result<Self> {
        if !given.is_empty() {
            let mut texts = given.to_vec();
            texts.reverse();
            return Ok(Self::Given(texts));
        }
        let is_jsonl = |path: &Path| {
            path.extension().is_some_and(|end| end.eq_ignore_ascii_case("jsonl") || end.eq_ignore_ascii_case("ndjson"))
        };
        let (reader, origin, lines): (Box<dyn BufRead>, _, _) = if let Some(path) = file {
            let file = File::open(path).with_context(|| path.display().to_string())?;
            (Box::new(BufReader::new(file)), path.display().to_string(), is_jsonl(path))
        } else {
            if std::io::stdin().is_terminal() {
                return Err(Misuse(missing.to_owned()).into());
            }
            (Box::new(BufReader::new(std::io::stdin())), "standard input".to_owned(), false)
        };
        let field = (lines || jsonl).then(|| field.to_owned());
        Ok(Self::Lines { reader, origin, line: 0, field, pair: None })
    }

    /// The texts that flags give.
    pub fn given(arguments: &GivenArguments) -> anyhow::Result<Self> {
        let asked = "the text is missing: give it as an argument, with --file, or on standard input";
        let GivenArguments { text, file, jsonl, text_field } = arguments;
        Self::open(text, file.as_deref(), *jsonl, text_field, asked)
    }

    /// One text: all of a file, or of standard input.
    pub fn whole(file: Option<&Path>) -> anyhow::Result<Self> {
        let text = if let Some(path) = file {
            super::text_file(path)?
        } else {
            if std::io::stdin().is_terminal() {
                return Err(Misuse("the text is missing: give it with --file, or on standard input".into()).into());
            }
            let mut text = String::new();
            let read = std::io::stdin().lock().take(LONGEST_LINE + 1).read_to_string(&mut text);
            read.context("standard input")?;
            if text.len() as u64 > LONGEST_LINE {
                anyhow::bail!("standard input: more than {LONGEST_LINE} bytes");
            }
            text
        };
        Ok(Self::Given(vec![text]))
    }

    /// With the field of JSON lines that holds second texts.
    #[must_use]
    pub fn with_pairs(mut self, name: Option<String>) -> Self {
        if let Self::Lines { pair, .. } = &mut self {
            *pair = name;
        }
        self
    }

    /// The next records, [`CHUNK`] at most of lines; none at the end. Every line is one, empty ones too; what is wrong with
    /// one is said in its place.
    pub fn next_records(&mut self) -> anyhow::Result<Vec<Result<Given, String>>> {
        let mut chunk = Vec::new();
        match self {
            Self::Given(texts) => {
                while let Some(text) = texts.pop() {
                    chunk.push(Ok(Given { text, pair: None }));
                }
            }
            Self::Lines { reader, origin, line, field, pair } => {
                while chunk.len() < CHUNK {
                    let Some(text) = next_line(reader, origin, line)? else { break };
                    chunk.push(
                        text.and_then(|text| match field {
                            None => Ok(Given { text, pair: None }),
                            Some(field) => record(&text, field, pair.as_deref()),
                        })
                        .map_err(|reason| format!("{origin}:{line}: {reason}")),
                    );
                }
            }
        }
        Ok(chunk)
    }

    /// The next texts, [`CHUNK`] at most of lines; none at the end. Empty lines are passed over.
    pub fn next_chunk(&mut self) -> anyhow::Result<Vec<String>> {
        let mut chunk = Vec::new();
        match self {
            Self::Given(texts) => {
                while let Some(text) = texts.pop() {
                    chunk.push(text);
                }
            }
            Self::Lines { reader, origin, line, field, .. } => {
                while chunk.len() < CHUNK {
                    let Some(text) = next_line(reader, origin, line)? else { break };
                    let text = text.map_err(|reason| anyhow::anyhow!("{origin}:{line}: {reason}"))?;
                    if text.trim().is_empty() {
                        continue;
                    }
                    chunk.push(match field {
                        None => text,
                        Some(field) => {
                            record(&text, field, None)
                                .map_err(|reason| anyhow::anyhow!("{origin}:{line}: {reason}"))?
                                .text
                        }
                    });
                }
            }
        }
        Ok(chunk)
    }
}

/// Has `ask` say something of every text, a chunk at a time, and `tell` tell it; out comes what goes in, in order and number. What is
/// wrong with a line, or with what is said of it, is told in its place, and the others go on. `noun` is what texts are called.
pub fn each<R>(
    mut texts: Texts,
    noun: &str,
    terminal: Terminal,
    mut ask: impl FnMut(&[&Given], &mut dyn FnMut(usize)) -> anyhow::Result<Vec<Result<R, String>>>,
    mut tell: impl FnMut(&Given, &R, bool) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let mut watcher = Watcher::new(terminal);
    let (mut done, mut failed) = (0_u64, 0_u64);
    loop {
        let chunk = texts.next_records()?;
        if chunk.is_empty() {
            break;
        }
        let read: Vec<&Given> = chunk.iter().filter_map(|record| record.as_ref().ok()).collect();
        let told = ask(&read, &mut |more| watcher.doing(&format!("{} {noun}", count(done + more as u64))))?;
        watcher.done();
        let mut told = told.into_iter();
        let many = done > 0 || chunk.len() > 1;
        for record in &chunk {
            let one = record.as_ref().map_err(Clone::clone);
            let one = one.and_then(|given| Ok((given, told.next().expect("something of every text")?)));
            match one {
                Ok((given, said)) => tell(given, &said, many)?,
                Err(message) => {
                    failed += 1;
                    terminal.error(&message);
                    let line = if terminal.json() { json!({ "error": message }).to_string() } else { String::new() };
                    terminal.result(line)?;
                }
            }
        }
        done += chunk.len() as u64;
    }
    if done == 0 {
        return Err(Misuse(format!("there are no {noun}")).into());
    }
    if failed > 0 {
        terminal.error(format_args!("{} of {} {noun} have no result", count(failed), count(done)));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The next line without its end, or why it is none; nothing at the end of the file.
fn next_line(
    reader: &mut Box<dyn BufRead>,
    origin: &str,
    line: &mut u64,
) -> anyhow::Result<Option<Result<String, String>>> {
    let mut bytes = Vec::new();
    let read = reader.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut bytes);
    if read.with_context(|| origin.to_owned())? == 0 {
        return Ok(None);
    }
    *line += 1;
    if bytes.len() as u64 > LONGEST_LINE {
        anyhow::bail!("{origin}:{line}: a line of more than {LONGEST_LINE} bytes; break it up");
    }
    let text = String::from_utf8(bytes).map_err(|_| "not UTF-8 text; convert it first".to_owned());
    Ok(Some(text.map(|text| text.trim_end_matches(['\n', '\r']).to_owned())))
}

/// The text of a JSON line, and the second one of its pair.
fn record(line: &str, field: &str, pair: Option<&str>) -> Result<Given, String> {
    let record: serde_json::Value =
        serde_json::from_str(line).map_err(|error| format!("not a JSON object: {error}"))?;
    let text = |name: &str, flag: &str| {
        let found = record.get(name).and_then(serde_json::Value::as_str);
        found.map(str::to_owned).ok_or_else(|| format!("no text in the field {name:?}; name it with {flag}"))
    };
    Ok(Given { text: text(field, "--text-field")?, pair: pair.map(|name| text(name, "--pair-field")).transpose()? })
}
