//! `loam eval embed`.

use super::{Report, json_lines, write_whole};
use crate::arguments::{EvalEmbedArguments, Global, SearchMethod};
use crate::commands::{Misuse, embed};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use loam_tasks::embed::{
    EmbedExamples, Judged, Retrieval, ScoredPair, compare, evaluate, judge_bm25, judge_retrieval, judge_similarity,
    read_documents, read_examples, read_retrieval,
};
use loam_tasks::{EmbedOptions, Embedder};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

/// What is measured.
enum Measured {
    Similarity(Vec<ScoredPair>),
    Retrieval(Retrieval),
}

pub fn run(arguments: &EvalEmbedArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let measure = &arguments.measure;
    let by_words = arguments.method == SearchMethod::Bm25;
    let model = model(arguments.model.as_deref(), by_words)?;
    let measured = read(arguments, terminal)?;
    if by_words && matches!(measured, Measured::Similarity(_)) {
        return Err(Misuse("--method bm25 searches; pairs with scores are measured by vectors".into()).into());
    }
    let bootstrap = measure.bootstrap();
    let mut watcher = Watcher::new(terminal);
    let mut ask = |path: &Path| -> anyhow::Result<Judged> {
        let options = EmbedOptions { pooling: arguments.pooling.map(embed::pooling), normalize: None };
        let embedder = Embedder::open(path, options, &device)?;
        let (judged, cut) = match &measured {
            Measured::Similarity(pairs) => {
                watcher.doing(&format!("{} pairs", count(pairs.len() as u64)));
                judge_similarity(&embedder, pairs)?
            }
            Measured::Retrieval(retrieval) => judge_retrieval(&embedder, retrieval, &mut |done, all| {
                watcher.doing(&format!("{} of {} windows", count(done as u64), count(all as u64)));
            })?,
        };
        watcher.done();
        embed::tell_cut(cut, embedder.longest(), terminal);
        Ok(judged)
    };
    let judged = match (&model, &measured) {
        (Some(model), _) => ask(model)?,
        (None, Measured::Retrieval(retrieval)) => judge_bm25(retrieval),
        (None, Measured::Similarity(_)) => unreachable!("refused above"),
    };
    let other = measure.against.as_ref().map(|other| ask(other)).transpose()?;
    let against = other.map(|other| (evaluate(&other, &bootstrap), compare(&other, &judged, &bootstrap)));
    if let Some(path) = &arguments.predictions {
        write_whole(path, &predictions(&measured, &judged))?;
    }
    let evaluation = evaluate(&judged, &bootstrap);
    let how = evaluation.details.documents.map_or_else(String::new, |documents| {
        format!(" over {} documents{}", count(documents as u64), if by_words { ", by BM25" } else { "" })
    });
    let examples = if matches!(measured, Measured::Similarity(_)) { "pairs" } else { "queries" };
    let report = Report { task: "embed", examples, evaluation, against, mcnemar: None, how };
    report.print(measure, terminal, |_| Ok(()))
}

/// The model that is asked; none where words are.
pub fn model(model: Option<&Path>, by_words: bool) -> anyhow::Result<Option<&Path>> {
    match (model, by_words) {
        (None, false) => Err(Misuse("--method embed needs a model: name it with --model".into()).into()),
        (Some(_), true) => Err(Misuse("--method bm25 needs no model; leave --model or --method out".into()).into()),
        (model, _) => Ok(model),
    }
}

fn read(arguments: &EvalEmbedArguments, terminal: Terminal) -> anyhow::Result<Measured> {
    let measure = &arguments.measure;
    let bytes = measure.reading.bytes();
    let corpus = if arguments.corpus.is_empty() {
        Vec::new()
    } else {
        let (corpus, empty) = read_documents(&arguments.corpus, bytes, arguments.corpus_field.as_deref())?;
        tell_empty(empty, terminal);
        corpus
    };
    if !arguments.qrels.is_empty() {
        return Ok(Measured::Retrieval(read_retrieval(&measure.data, &arguments.qrels, &corpus, bytes)?));
    }
    Ok(match read_examples(&measure.data, bytes, &arguments.fields.names())? {
        EmbedExamples::Scored(pairs) if corpus.is_empty() => Measured::Similarity(pairs),
        EmbedExamples::Scored(_) => {
            return Err(Misuse("--corpus is searched; pairs with scores are compared, not searched".into()).into());
        }
        pairs @ EmbedExamples::Pairs(_) => Measured::Retrieval(Retrieval::of_pairs(&pairs, &corpus)),
    })
}

/// Says that documents were left out.
pub fn tell_empty(empty: usize, terminal: Terminal) {
    if empty > 0 {
        terminal.warning(format_args!("{} documents have no text and are left out", count(empty as u64)));
    }
}

fn predictions(measured: &Measured, judged: &Judged) -> Vec<u8> {
    match (measured, judged) {
        (Measured::Similarity(pairs), Judged::Similarity(judged)) => {
            json_lines(pairs.iter().zip(judged).map(|(pair, (score, cosine))| {
                json!({ "first": &*pair.first, "second": &*pair.second, "score": score, "cosine": cosine })
            }))
        }
        (Measured::Retrieval(retrieval), Judged::Retrieval { queries, .. }) => {
            json_lines(retrieval.queries.iter().zip(queries).zip(&retrieval.relevance).map(|((query, ranked), relevance)| {
                let found: Vec<Value> = ranked
                    .found
                    .iter()
                    .map(|(document, score)| {
                        let worth = relevance.get(document).copied().unwrap_or(0.0);
                        json!({ "text": &*retrieval.documents[*document], "score": score, "worth": worth })
                    })
                    .collect();
                json!({ "query": &**query, "found": found })
            }))
        }
        _ => Vec::new(),
    }
}
