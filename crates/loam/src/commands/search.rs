//! `loam search`.

use super::embed::{pooling, tell_cut};
use super::eval::embed::{model, tell_empty};
use super::texts::{Given, Texts, each};
use crate::arguments::{Global, SearchArguments, SearchMethod};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use loam_tasks::embed::{Bm25, Document, Index, IndexOrigin, read_documents};
use loam_tasks::{EmbedOptions, Embedder};
use serde_json::json;
use std::process::ExitCode;
use std::sync::Arc;

/// Characters of a text that are shown on a line.
const SHOWN: usize = 160;

/// A document that was found, and which of its bytes.
struct Found {
    document: usize,
    score: f64,
    begin: usize,
    end: usize,
}

pub fn run(arguments: &SearchArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let model = model(arguments.model.as_deref(), arguments.method == SearchMethod::Bm25)?;
    let asked = "the query is missing: give it as an argument before --corpus, with --file, or on standard input";
    let queries =
        Texts::open(&arguments.query, arguments.file.as_deref(), arguments.jsonl, &arguments.text_field, asked)?;
    let field = arguments.corpus_field.as_deref();
    let (documents, empty) = read_documents(&arguments.corpus, arguments.reading.bytes(), field)?;
    tell_empty(empty, terminal);
    let texts: Vec<Arc<str>> = documents.iter().map(|document| document.text.clone()).collect();
    let most = arguments.top_k as usize;

    let Some(model) = model else {
        let index = Bm25::new(&texts);
        let ask = |given: &[&Given], _: &mut dyn FnMut(usize)| {
            let found = |(document, score)| Found { document, score, begin: 0, end: texts[document].len() };
            Ok(given
                .iter()
                .map(|query| Ok(index.nearest(&query.text, most).into_iter().map(found).collect()))
                .collect())
        };
        return each(queries, "queries", terminal, ask, |query, found: &Vec<Found>, many| {
            tell(query, found, &documents, many, terminal)
        });
    };

    let options = EmbedOptions { pooling: arguments.pooling.map(pooling), normalize: None };
    let embedder = Embedder::open(model, options, &device)?;
    let mut watcher = Watcher::new(terminal);
    let index = Index::open(&arguments.index, &embedder, &texts, &mut |done, all| {
        watcher.doing(&format!("{} of {} windows", count(done as u64), count(all as u64)));
    })?;
    watcher.done();
    tell_origin(&index, documents.len(), terminal);
    let ask = |given: &[&Given], done: &mut dyn FnMut(usize)| {
        // A query without words has no meaning, and a message in place of documents.
        let said: Vec<&str> =
            given.iter().map(|query| query.text.as_str()).filter(|text| !text.trim().is_empty()).collect();
        let (vectors, cut) = embedder.queries(&said)?;
        tell_cut(cut, embedder.longest(), terminal);
        let mut hits = index.passages.nearest(&vectors, most, &device).into_iter();
        done(given.len());
        let found = |query: &&Given| {
            if query.text.trim().is_empty() {
                return Err("the query is empty".to_owned());
            }
            let hits = hits.next().unwrap_or_default().into_iter();
            Ok(hits
                .map(|hit| {
                    let (begin, end) = index.passages.spans[hit.window];
                    Found {
                        document: hit.document,
                        score: f64::from(hit.score),
                        begin: begin as usize,
                        end: end as usize,
                    }
                })
                .collect::<Vec<_>>())
        };
        Ok(given.iter().map(found).collect())
    };
    each(queries, "queries", terminal, ask, |query, found: &Vec<Found>, many| {
        tell(query, found, &documents, many, terminal)
    })
}

fn tell_origin(index: &Index, documents: usize, terminal: Terminal) {
    let path = index.path.display();
    let windows = count(index.passages.documents.len() as u64);
    match &index.origin {
        IndexOrigin::Found => {
            terminal.say(format_args!("{} documents in {windows} windows, read from {path}", count(documents as u64)));
        }
        IndexOrigin::Made { anew, lent, broken } => {
            if let Some(reason) = broken {
                terminal.warning(format_args!("{path}: {reason}; it is made anew"));
            }
            let taken = match lent {
                0 => String::new(),
                lent => format!(", {} more taken from another index", count(*lent as u64)),
            };
            terminal
                .say(format_args!("{} documents embedded{taken}; {windows} windows in {path}", count(*anew as u64)));
        }
    }
}

fn tell(query: &Given, found: &[Found], documents: &[Document], many: bool, terminal: Terminal) -> anyhow::Result<()> {
    if terminal.json() {
        let hits: Vec<serde_json::Value> = found
            .iter()
            .map(|hit| {
                let document = &documents[hit.document];
                let (begin, end) = (boundary(&document.text, hit.begin), boundary(&document.text, hit.end));
                let start = document.text[..begin].chars().count();
                let text = &document.text[begin..end];
                let end = start + text.chars().count();
                json!({ "id": document.id, "score": hit.score, "start": start, "end": end, "text": text })
            })
            .collect();
        return Ok(terminal.result(json!({ "query": query.text, "hits": hits }))?);
    }
    if many {
        terminal.result(format_args!("{}", short(&query.text)))?;
    }
    for hit in found {
        let document = &documents[hit.document];
        let text = &document.text[boundary(&document.text, hit.begin)..boundary(&document.text, hit.end)];
        terminal.result(format_args!("{:>7.4}  {}\t{}", hit.score, document.id, short(text)))?;
    }
    if found.is_empty() {
        terminal.result("(nothing found)")?;
    }
    if many {
        terminal.result("")?;
    }
    Ok(())
}

/// The end of the character that a byte stands in: tokens of bytes may end within one.
fn boundary(text: &str, byte: usize) -> usize {
    (byte.min(text.len())..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// A text on a line.
fn short(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: String = words.chars().take(SHOWN).collect();
    if shown.len() < words.len() { shown + "…" } else { shown }
}
