//! `loam embed`.

use super::Misuse;
use crate::arguments::{EmbedArguments, Global, Pooling};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use anyhow::Context;
use loam_tasks::{EmbedOptions, Embedder};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::process::ExitCode;

/// Texts that are read before they are embedded, so that memory has a bound.
const CHUNK: usize = 1024;
/// The longest line, in bytes.
const LONGEST_LINE: u64 = 64 << 20;

pub fn run(arguments: &EmbedArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let pooling = arguments.pooling.map(|pooling| match pooling {
        Pooling::Mean => loam_tasks::Pooling::Mean,
        Pooling::Cls => loam_tasks::Pooling::Cls,
        Pooling::Last => loam_tasks::Pooling::Last,
    });
    let mut texts = Texts::open(arguments)?;
    let options = EmbedOptions { pooling, normalize: arguments.normalize };
    let embedder = Embedder::open(&arguments.model, options, &device)?;
    let mut watcher = Watcher::new(terminal);
    let mut done = 0;
    loop {
        let chunk = texts.next_chunk()?;
        if chunk.is_empty() {
            break;
        }
        for vector in embedder.embed(&chunk)? {
            if terminal.json() {
                terminal.result(serde_json::json!({ "embedding": vector }))?;
            } else {
                let numbers: Vec<String> = vector.iter().map(ToString::to_string).collect();
                terminal.result(numbers.join(" "))?;
            }
        }
        done += chunk.len() as u64;
        if chunk.len() == CHUNK {
            watcher.doing(&format!("{} texts", count(done)));
        }
    }
    watcher.done();
    if done == 0 {
        return Err(Misuse("there is no text to embed".into()).into());
    }
    Ok(ExitCode::SUCCESS)
}

/// Texts as they are asked for.
enum Texts {
    Given(Vec<String>),
    Lines { reader: Box<dyn BufRead>, origin: String, line: u64, field: Option<String> },
}

impl Texts {
    fn open(arguments: &EmbedArguments) -> anyhow::Result<Self> {
        if !arguments.text.is_empty() {
            let mut texts = arguments.text.clone();
            texts.reverse();
            return Ok(Self::Given(texts));
        }
        let is_jsonl = |path: &std::path::Path| {
            path.extension().is_some_and(|end| end.eq_ignore_ascii_case("jsonl") || end.eq_ignore_ascii_case("ndjson"))
        };
        let (reader, origin, jsonl): (Box<dyn BufRead>, _, _) = if let Some(path) = &arguments.file {
            let file = File::open(path).with_context(|| path.display().to_string())?;
            (Box::new(BufReader::new(file)), path.display().to_string(), is_jsonl(path))
        } else {
            if std::io::stdin().is_terminal() {
                return Err(Misuse("the text is missing: give --text, --file, or standard input".into()).into());
            }
            (Box::new(BufReader::new(std::io::stdin())), "standard input".to_owned(), false)
        };
        let field = (jsonl || arguments.jsonl).then(|| arguments.text_field.clone());
        Ok(Self::Lines { reader, origin, line: 0, field })
    }

    /// The next texts; none at the end. Empty lines are passed over.
    fn next_chunk(&mut self) -> anyhow::Result<Vec<String>> {
        let mut chunk = Vec::new();
        match self {
            Self::Given(texts) => {
                while let Some(text) = texts.pop() {
                    chunk.push(text);
                }
            }
            Self::Lines { reader, origin, line, field } => {
                while chunk.len() < CHUNK {
                    let mut bytes = Vec::new();
                    let read = reader.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut bytes);
                    if read.with_context(|| origin.clone())? == 0 {
                        break;
                    }
                    *line += 1;
                    if bytes.len() as u64 > LONGEST_LINE {
                        anyhow::bail!("{origin}:{line}: a line of more than {LONGEST_LINE} bytes; break it up");
                    }
                    let text = String::from_utf8(bytes)
                        .map_err(|_| anyhow::anyhow!("{origin}:{line}: not UTF-8 text; convert it first"))?;
                    let text = text.trim_end_matches(['\n', '\r']);
                    if text.trim().is_empty() {
                        continue;
                    }
                    chunk.push(match field {
                        None => text.to_owned(),
                        Some(field) => {
                            let record: serde_json::Value = serde_json::from_str(text)
                                .map_err(|error| anyhow::anyhow!("{origin}:{line}: not a JSON object: {error}"))?;
                            let found = record.get(&*field).and_then(serde_json::Value::as_str);
                            found.map(str::to_owned).ok_or_else(|| {
                                anyhow::anyhow!(
                                    "{origin}:{line}: no text in the field {field:?}; name it with --text-field"
                                )
                            })?
                        }
                    });
                }
            }
        }
        Ok(chunk)
    }
}
