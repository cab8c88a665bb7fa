//! What is left as tokens: split, mixture, order.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::tests::{plan, run, source, stopped, texts, words};
use super::*;
use crate::documents::find_documents;
use crate::loader::Loader;
use crate::prepare::Prepared;
use crate::tokenizer::TokenizerKind;

fn bpe() -> Option<TokensPlan> {
    Some(TokensPlan { kind: Some(TokenizerKind::Bpe), vocab: Some(400), ..TokensPlan::default() })
}

/// Records of made-up words; every fifth is like the one before it.
fn records(seed: u64, count: u64) -> String {
    let mut last = String::new();
    let mut all = String::new();
    for number in 0..count {
        let text = if number % 5 == 4 { last.replacen("w1", "u1", 1) } else { words(seed * 1000 + number, 120) };
        let level = (number * 7919) % 101;
        all += &format!("{}\n", serde_json::json!({"text": text.trim(), "level": level}));
        last = text;
    }
    all
}

pub(super) fn two_sources(folder: &Path) -> PipelinePlan {
    let sources = vec![source(folder, "big.jsonl", &records(1, 300)), source(folder, "small.jsonl", &records(2, 60))];
    let mut plan = plan(sources, vec![]);
    plan.tokenizer = bpe();
    plan.split.held_out = 0.1;
    plan
}

fn rows(out: &Path) -> Vec<Map<String, Value>> {
    find_documents(&out.join("documents.parquet"), "", 10_000).unwrap()
}

fn text<'r>(row: &'r Map<String, Value>, name: &str) -> &'r str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.path().strip_prefix(folder).unwrap().to_path_buf())
        .filter(|path| !path.ends_with("plan.json"))
        .collect();
    files.sort();
    files
}

pub(super) fn same(one: &Path, other: &Path) {
    assert_eq!(files(one), files(other));
    for file in files(one) {
        assert!(
            std::fs::read(one.join(&file)).unwrap() == std::fs::read(other.join(&file)).unwrap(),
            "{} differs",
            file.display()
        );
    }
}

/// Every document's tokens are where its row says, and say its text.
fn check_tokens(out: &Path) -> Prepared {
    let prepared = Prepared::open(out.join("tokens")).unwrap();
    prepared.verify().unwrap();
    let mut texts: HashMap<String, String> = HashMap::new();
    for part in ["text", "held_out"] {
        for entry in std::fs::read_dir(out.join(part)).into_iter().flatten() {
            for row in find_documents(&entry.unwrap().path(), "", 10_000).unwrap() {
                assert_eq!(text(&row, "split"), if part == "text" { "train" } else { "held_out" });
                texts.insert(text(&row, "id").to_owned(), text(&row, "text").to_owned());
            }
        }
    }
    let names = |stream: &str| prepared.sources().iter().position(|source| source.name == stream);
    let domains = |stream: &str| prepared.held_out().iter().position(|domain| domain.name == stream);
    let mut ids = Vec::new();
    for row in rows(out) {
        let Some(start) = row.get("token_start").and_then(Value::as_u64) else {
            assert_ne!(row.get("rule"), None);
            continue;
        };
        let range = start as usize..(start + row["tokens"].as_u64().unwrap()) as usize;
        let name = text(&row, "source");
        let stream = match text(&row, "split") {
            "train" => prepared.train_stream(names(name).unwrap()),
            "held_out" => prepared.held_out_stream(domains(name).unwrap()),
            other => panic!("{other}"),
        };
        stream.get(range, &mut ids);
        assert_eq!(prepared.tokenizer().decode(&ids), texts[text(&row, "id")]);
    }
    prepared
}

#[test]
fn tokens_stand_where_rows_say_and_copies_do_not_cross() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let plan = two_sources(folder.path());
    let summary = run(&plan, &out);
    let prepared = check_tokens(&out);
    assert_eq!((prepared.sources().len(), prepared.held_out().len()), (2, 2));
    let mut sides: HashMap<u64, String> = HashMap::new();
    for row in rows(&out) {
        if let Some(cluster) = row.get("cluster").and_then(Value::as_u64) {
            let side = sides.entry(cluster).or_insert_with(|| text(&row, "split").to_owned());
            assert_eq!(side, text(&row, "split"), "a cluster is on one side");
        }
    }
    assert!(sides.len() > 60 && sides.values().any(|side| side == "held_out"), "{sides:?}");
    let big = &summary.sources["big"];
    assert_eq!((big.kept, big.held_out > 10), (300, true));
    let tokens = big.tokens.unwrap();
    assert_eq!(tokens.train, prepared.sources()[0].tokens);
    assert!((tokens.share - prepared.sources()[0].share).abs() < 1e-12 && tokens.share > 0.7);
    assert_eq!(summary.planned_tokens, Some(prepared.sources().iter().map(|source| source.tokens).sum()));
    // The same bytes from any number of threads, and after being stopped anywhere.
    for threads in [1, 3] {
        let again = folder.path().join(format!("threads-{threads}"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&plan, &again));
        same(&out, &again);
    }
    for after in [0, 2, 3, 5] {
        let again = folder.path().join(format!("stopped-{after}"));
        assert!(stopped(&plan, &again, after));
        run(&plan, &again);
        same(&out, &again);
    }
}

#[test]
fn lines_go_before_anything_is_split() {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..300).map(|n| format!("{}\nThe same line in each.\n\n", words(n, 20).trim())).collect();
    let mut one = source(folder.path(), "a.txt", &lines.concat());
    one.split = "paragraph".to_owned();
    let mut plan = plan(vec![one], vec![StepPlan::mark_near(), StepPlan::deduplicate(Duplicates::Line)]);
    plan.tokenizer = bpe();
    plan.split.held_out = 0.05;
    let out = folder.path().join("out");
    let summary = run(&plan, &out);
    assert_eq!(summary.sources["a"].repeated, 299);
    check_tokens(&out);
    let again = folder.path().join("again");
    assert!(stopped(&plan, &again, 6));
    run(&plan, &again);
    same(&out, &again);
}

#[test]
fn a_held_out_source_is_never_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let exam = records(1, 300).split_inclusive('\n').take(20).collect::<String>();
    let mut plan = two_sources(folder.path());
    plan.split.held_out = 0.0;
    plan.sources.push(PipelineSource { held_out: true, ..source(folder.path(), "exam.jsonl", &exam) });
    let out = folder.path().join("out");
    let summary = run(&plan, &out);
    let prepared = check_tokens(&out);
    assert_eq!(prepared.held_out().len(), 1);
    assert_eq!((summary.sources["exam"].held_out, summary.sources["big"].kept), (20, 280));
    assert_eq!(summary.sources["big"].dropped["like_held_out"].documents, 20);
    assert_eq!(prepared.sources().iter().map(|source| source.name.as_str()).collect::<Vec<_>>(), ["big", "small"]);
}

#[test]
fn a_budget_cuts_and_repeats() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = two_sources(folder.path());
    let all = run(&plan, &folder.path().join("all"));
    let (big, small) = (all.sources["big"].tokens.unwrap().train, all.sources["small"].tokens.unwrap().train);
    plan.mix = MixPlan { tokens: Some(big), temperature: 1e6, most_epochs: 2.0, ..MixPlan::default() };
    let out = folder.path().join("out");
    let cut = run(&plan, &out);
    let prepared = check_tokens(&out);
    let (first, second) = (cut.sources["big"].tokens.unwrap(), cut.sources["small"].tokens.unwrap());
    assert_eq!((second.train, second.epochs), (small, 2.0));
    let wanted = (big - 2 * small) as f64;
    assert!((first.train as f64 / wanted - 1.0).abs() < 0.2, "{first:?} of {wanted}");
    assert!(cut.sources["big"].dropped["over_budget"].documents > 50);
    assert!((prepared.sources()[1].share - 2.0 * small as f64 / big as f64).abs() < 1e-9);
    assert!(prepared.planned_tokens().unwrap() <= big);
    let mut twice = plan.clone();
    twice.sources[1].weight = -1.0;
    assert!(run_pipeline(&twice, &out, &mut |_| {}).unwrap_err().to_string().contains("weight -1"));
}

#[test]
fn a_curriculum_is_read_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = two_sources(folder.path());
    for (column, descending) in [("metadata.level", false), ("characters", true)] {
        plan.mix = MixPlan { order_by: Some(column.to_owned()), descending, ..MixPlan::default() };
        let out = folder.path().join(column);
        run(&plan, &out);
        let prepared = check_tokens(&out);
        assert!(prepared.is_ordered() && !out.join("tokens/unordered").exists());
        let mut big: Vec<_> = rows(&out)
            .into_iter()
            .filter(|row| text(row, "split") == "train" && text(row, "source") == "big")
            .map(|row| {
                let level = |row: &Map<String, Value>| {
                    let record: Value = serde_json::from_str(text(row, "metadata")).unwrap();
                    record["level"].as_u64().unwrap()
                };
                let value = if descending { row["characters"].as_u64().unwrap() } else { level(&row) };
                (row["token_start"].as_u64().unwrap(), value)
            })
            .collect();
        big.sort_unstable();
        let sorted = |pair: &[(u64, u64)]| if descending { pair[0].1 >= pair[1].1 } else { pair[0].1 <= pair[1].1 };
        assert!(big.windows(2).all(sorted), "{column}");
        // A loader reads it from the beginning.
        let mut loader = Loader::new(&prepared, 32, 2, 1).unwrap();
        let mut begun = [0; 2];
        for _ in 0..200 {
            let batch = loader.next();
            for place in &batch.places {
                assert_eq!(place.start, begun[batch.source] % prepared.train_stream(batch.source).len());
                let left = prepared.train_stream(batch.source).len() - place.start;
                begun[batch.source] += left.min(32);
            }
        }
    }
}

#[test]
fn passages_that_stood_before_go() {
    let folder = tempfile::tempdir().unwrap();
    let passage = words(77, 60);
    let record = |text: &str| format!("{}\n", serde_json::json!({ "text": text }));
    let content = [
        record(&format!("Before it. {passage}. After it.")),
        record(&format!("Another start, {passage}; and another end.")),
        record(&passage),
        record("Nothing of it."),
    ];
    let one = source(folder.path(), "a.jsonl", &content.concat());
    let out = folder.path().join("out");
    let summary = run(&plan(vec![one], vec![StepPlan::deduplicate(Duplicates::Passage)]), &out);
    let left = texts(&out);
    assert_eq!(left[1..], ["Another start, and another end.", "Nothing of it."]);
    assert!(left[0].contains(passage.trim()));
    assert_eq!(summary.sources["a"].dropped["repeated_passages"].documents, 1);
}

#[test]
fn impossible_tokens_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |change: &dyn Fn(&mut PipelinePlan), word: &str| {
        let mut plan = two_sources(folder.path());
        change(&mut plan);
        let message = run_pipeline(&plan, &folder.path().join("out"), &mut |_| {}).unwrap_err().to_string();
        assert!(message.contains(word) && message.contains("hint"), "{message}");
    };
    refused(&|plan| plan.split.held_out = 0.9, "held_out");
    refused(&|plan| plan.mix.temperature = 0.0, "temperature");
    refused(&|plan| plan.mix.most_epochs = 0.5, "most_epochs");
    refused(&|plan| plan.mix.tokens = Some(0), "mix.tokens");
    refused(&|plan| plan.mix.descending = true, "order_by");
    refused(&|plan| plan.mix.order_by = Some("charactres".to_owned()), "characters");
    refused(&|plan| plan.sources.iter_mut().for_each(|source| source.held_out = true), "held out");
    refused(
        &|plan| {
            plan.tokenizer = None;
            plan.mix.tokens = Some(5);
        },
        "[tokenizer]",
    );
    refused(&|plan| plan.tokenizer.as_mut().unwrap().path = Some("x.json".into()), "x.json");
    let mark = StepPlan::Deduplicate {
        by: Duplicates::Line,
        keep: crate::deduplicate::Keep::First,
        minhash: crate::deduplicate::MinHashOptions::default(),
        similarity: None,
        least_characters: 1,
        least_words: 50,
        remove: false,
    };
    refused(&|plan| plan.steps.push(mark.clone()), "remove = false");
}
