use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::documents::find_documents;
use crate::quality::{Filters, Preset};
use crate::redact::Redactor;

const PROSE: &str = "The old house stood at the end of the lane, and nobody had lived in it for many years. \
                     People said that the last owner had gone away to sea, but that his books were still on the shelves. \
                     When the wind blew from the west, you could hear the shutters knock against the walls of the kitchen. \
                     We used to walk there in the summer, with the dog, and to sit on the steps until it was dark. ";

pub(super) fn words(seed: u64, count: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::new();
    for _ in 0..count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text += &format!("w{} ", (state >> 40) % 5000);
    }
    text
}

fn json(text: &str, url: &str) -> String {
    format!("{}\n", serde_json::json!({"text": text, "url": url, "year": 2020}))
}

pub(super) fn source(folder: &Path, name: &str, content: &str) -> PipelineSource {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    PipelineSource::new(name.split('.').next().unwrap(), vec![path.to_str().unwrap().to_owned()])
}

pub(super) fn plan(sources: Vec<PipelineSource>, steps: Vec<StepPlan>) -> PipelinePlan {
    PipelinePlan::new(sources, steps)
}

pub(super) fn run(plan: &PipelinePlan, out: &Path) -> PipelineSummary {
    run_pipeline(plan, out, &mut |_| {}).unwrap()
}

pub(super) fn texts(out: &Path) -> Vec<String> {
    let pattern = out.join("text/*.parquet").to_str().unwrap().to_owned();
    let options = crate::ReadOptions { text_field: Some("text".to_owned()), ..Default::default() };
    crate::read_documents(&[pattern], &options).unwrap().map(|document| document.unwrap().text).collect()
}

pub(super) fn everything(folder: &Path) -> PipelinePlan {
    let long = words(1, 300);
    let near = long.replacen("w1", "other", 2);
    let web = [
        json(PROSE, "https://a.example/1"),
        json(&format!("{PROSE} Write to john.smith@corp.example.com now."), "https://a.example/2"),
        json("short", "https://a.example/3"),
        json(&PROSE.replace("house", "home"), "https://a.example/1#top"),
        json(
            "Dies ist ein deutscher Text, der von niemandem gelesen wird, weil er nur der Probe dient.",
            "https://a.example/5",
        ),
        json("   ", "https://a.example/6"),
    ];
    let more =
        [json(&long, "b1"), json(&near, "b2"), json(&long, "b3"), json(&format!("{PROSE}held out words {long}"), "b4")];
    let evaluation = folder.join("evaluation.txt");
    std::fs::write(&evaluation, &long[long.len() - 150..]).unwrap();
    let sets = BTreeMap::from([("exam".to_owned(), vec![evaluation.to_str().unwrap().to_owned()])]);
    let steps = vec![
        StepPlan::Language { keep: vec![], confidence: 0.0, model: None },
        StepPlan::deduplicate(Duplicates::Url),
        StepPlan::Filter(Filters::only(&[Preset::GopherQuality])),
        StepPlan::Redact(Redactor::default()),
        StepPlan::deduplicate(Duplicates::Exact),
        StepPlan::deduplicate(Duplicates::Near),
        StepPlan::Decontaminate { sets, words: 13, text_field: None },
    ];
    let mut plan =
        plan(vec![source(folder, "web.jsonl", &web.concat()), source(folder, "more.jsonl", &more.concat())], steps);
    // Made-up words have none of English.
    let StepPlan::Filter(filters) = &mut plan.steps[2] else { unreachable!() };
    filters.limits.insert("gopher_stop_words".parse().unwrap(), crate::quality::Limit::Off);
    filters.limits.insert("gopher_alphabetic_words".parse().unwrap(), crate::quality::Limit::Off);
    plan
}

#[test]
fn every_document_has_a_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let summary = run(&everything(folder.path()), &out);
    let why = |id: &str| find_documents(&out.join("documents.parquet"), id, 100).unwrap();
    let rows = why("");
    assert_eq!(rows.len(), 10);
    let reasons: Vec<&str> =
        rows.iter().map(|row| row.get("rule").and_then(|why| why.as_str()).unwrap_or("-")).collect();
    let expected = [
        "-",
        "near_duplicate",
        "gopher_min_words",
        "duplicate_url",
        "gopher_min_words",
        "empty",
        "contaminated",
        "near_duplicate",
        "exact_duplicate",
        "near_duplicate",
    ];
    assert_eq!(reasons, expected, "{rows:#?}");
    assert_eq!(texts(&out), [PROSE]);
    let web = &summary.sources["web"];
    assert_eq!((web.read, web.kept, web.dropped["gopher_min_words"].documents), (6, 1, 2));
    assert_eq!(summary.sources["more"].kept, 0);
    assert_eq!(summary.sources["more"].contaminated, BTreeMap::from([("exam".to_owned(), 1)]));
    assert_eq!(rows[6]["evaluation_sets"], r#"["exam"]"#);
    assert_eq!((rows[1]["redacted"].as_u64(), rows[1]["cluster"].as_u64()), (Some(1), Some(0)));
    assert_eq!(rows[4]["language"], "de");
    assert_eq!(rows[0]["metadata"], r#"{"url":"https://a.example/1","year":2020}"#);
    assert!(rows[2]["detail"].as_str().unwrap().contains("limit is 50"), "{}", rows[2]["detail"]);
    assert!(rows[6]["detail"].as_str().unwrap().starts_with("exam: "));
    let id = rows[3]["id"].as_str().unwrap();
    assert_eq!(why(&id[..12]).len(), 1);
    // Nothing of the way is left, and the same again gives the same bytes.
    let names: Vec<String> =
        std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.contains("work") || name.contains("partial")), "{names:?}");
    let again = folder.path().join("again");
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&everything(folder.path()), &again));
        for file in ["documents.parquet", "text/web-00000.parquet", "summary.json"] {
            assert_eq!(std::fs::read(out.join(file)).unwrap(), std::fs::read(again.join(file)).unwrap(), "{file}");
        }
    }
}

#[test]
fn lines_that_stood_before_go_and_files_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> =
        (0..40).map(|n| format!("Line number {n} of this text.\nThe same line in each of them.\n\n")).collect();
    let text = lines.concat();
    let mut source = source(folder.path(), "a.txt", &text);
    source.split = "paragraph".to_owned();
    let mut plan = plan(vec![source], vec![StepPlan::deduplicate(Duplicates::Line)]);
    plan.output.file_bytes = 1;
    let out = folder.path().join("out");
    let summary = run(&plan, &out);
    let found = texts(&out);
    assert_eq!(
        (found.len(), found[0].trim(), found[1].trim()),
        (40, "Line number 0 of this text.\nThe same line in each of them.", "Line number 1 of this text.")
    );
    assert_eq!(summary.sources["a"].repeated, 39);
}

/// Stops a run by a panic in what watches it, as a kill would.
pub(super) fn stopped(plan: &PipelinePlan, out: &Path, after: usize) -> bool {
    let mut seen = 0;
    let mut watch = |_: &PipelineProgress| {
        seen += 1;
        assert!(seen <= after, "stop");
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run_pipeline(plan, out, &mut watch))).is_err()
}

#[test]
fn a_stopped_run_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let plan = everything(folder.path());
    run(&plan, &whole);
    let mut after = 0;
    loop {
        let out = folder.path().join(format!("stopped-{after}"));
        if !stopped(&plan, &out, after) {
            break;
        }
        assert!(!out.exists(), "nothing is there before it is whole");
        run(&plan, &out);
        for file in ["documents.parquet", "text/web-00000.parquet", "summary.json"] {
            assert_eq!(
                std::fs::read(whole.join(file)).unwrap(),
                std::fs::read(out.join(file)).unwrap(),
                "{file} after {after}"
            );
        }
        after += 1;
    }
    assert!(after > 8, "{after}");
    // Another plan begins anew.
    let out = folder.path().join("other");
    assert!(stopped(&plan, &out, 6));
    let mut other = plan.clone();
    other.steps.truncate(1);
    assert_eq!(run(&other, &out).sources["web"].kept, 5);
}

#[test]
fn nonsense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let one = source(folder.path(), "a.txt", "some text");
    let refused = |plan: PipelinePlan, word: &str| {
        let message = run_pipeline(&plan, &folder.path().join("out"), &mut |_| {}).unwrap_err().to_string();
        assert!(message.contains(word) && message.contains("hint"), "{message}");
    };
    refused(plan(vec![], vec![]), "no source");
    refused(plan(vec![one.clone(), one.clone()], vec![]), "two sources");
    let language = |code: &str, confidence| StepPlan::Language { keep: vec![code.to_owned()], confidence, model: None };
    refused(plan(vec![one.clone()], vec![language("english", 0.5)]), "no language \"english\"");
    refused(plan(vec![one.clone()], vec![language("en", 2.0)]), "confidence");
    refused(plan(vec![PipelineSource::new("b", vec!["nowhere.txt".to_owned()])], vec![]), "nowhere.txt");
    let foreign = folder.path().join("out");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("mine.txt"), "x").unwrap();
    refused(plan(vec![one], vec![]), "holds other files");
    assert!(foreign.join("mine.txt").exists());
}
