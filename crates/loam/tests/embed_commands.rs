//! `loam finetune embed`, `loam embed` and `loam eval embed`, as users meet them, on small made-up texts.

mod support;

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use support::{done, given, objects, refused, run, text};

const THINGS: [&str; 12] = [
    "river", "tower", "candle", "violin", "harbor", "meadow", "lantern", "saddle", "orchard", "pigeon", "bridge",
    "kettle",
];
/// What is said of each thing in documents, in other words than in questions.
const OTHERS: [&str; 12] =
    ["stream", "spire", "wick", "fiddle", "quay", "pasture", "lamp", "reins", "grove", "dove", "span", "pot"];

fn question(thing: usize, number: usize) -> String {
    let asked = ["where is the", "who made the", "what of the", "tell of the"][number % 4];
    format!("{asked} {} ?", THINGS[thing])
}

fn document(thing: usize, number: usize) -> String {
    let said = ["stands by the road", "was made long ago", "is old and grey"][number % 3];
    format!("the {} {said} .", OTHERS[thing])
}

/// Questions and the documents that answer them.
fn pairs(folder: &Path, name: &str, from: usize, count: usize) {
    let row = |number: usize| json!({ "query": question(number % 12, number / 3), "positive": document(number % 12, number / 12) });
    let lines: String = (from..from + count).map(|number| row(number).to_string() + "\n").collect();
    fs::write(folder.join(name), lines).unwrap();
}

const SMALL: [&str; 8] =
    ["--set", "model.width=32", "--set", "model.layers=1", "--set", "model.heads=2", "--context", "24"];

fn train(folder: &Path, out: &str, more: &[&str]) -> std::process::Output {
    let base = ["finetune", "embed", "--family", "bert", "--train", "train.jsonl", "--valid", "dev.jsonl", "-o", out];
    run(folder, &[&base[..], &SMALL[..], more].concat())
}

fn weights_hash(folder: &Path, name: &str) -> String {
    let events = fs::read_to_string(folder.join(name).join("events.jsonl")).unwrap();
    let last: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    last["weights_hash"].as_str().unwrap().to_owned()
}

#[test]
fn vectors_are_learned_from_pairs_and_measured() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pairs(folder, "train.jsonl", 0, 144);
    pairs(folder, "dev.jsonl", 7, 36);
    let output = train(folder, "run", &["--epochs", "12", "--lr", "3e-3", "--batch", "24"]);
    done(&output);
    assert!(text(&output.stderr).contains("ndcg at 10"), "{}", text(&output.stderr));
    for file in ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "config.json", "tokenizer.json"]
    {
        assert!(folder.join("run/model").join(file).is_file(), "{file}");
    }
    let measured = objects(&run(
        folder,
        &["eval", "embed", "--model", "run", "--data", "dev.jsonl", "--json", "--predictions", "found.jsonl"],
    ));
    assert_eq!((measured[0]["task"].as_str(), measured[0]["kind"].as_str()), (Some("embed"), Some("retrieval")));
    let metrics = &measured[0]["metrics"];
    for name in ["recall_at_1", "recall_at_5", "recall_at_10", "mrr_at_10", "ndcg_at_10"] {
        assert!(metrics[name]["low"].as_f64() <= metrics[name]["value"].as_f64(), "{name}");
    }
    let queries = measured[0]["examples"].as_u64().unwrap();
    assert_eq!(fs::read_to_string(folder.join("found.jsonl")).unwrap().lines().count() as u64, queries);
    let recall = metrics["recall_at_10"]["value"].as_f64().unwrap();
    let words = objects(&run(folder, &["eval", "embed", "--method", "bm25", "--data", "dev.jsonl", "--json"]));
    let by_words = words[0]["metrics"]["recall_at_10"]["value"].as_f64().unwrap();
    assert!(recall > by_words + 0.2, "{recall} and {by_words}");
    let against = run(
        folder,
        &["eval", "embed", "--method", "bm25", "--against", "run", "--data", "dev.jsonl", "--corpus", "train.jsonl"],
    );
    assert!(text(&against.stdout).contains("mrr at 10: -"), "{}", text(&against.stdout));

    // What it learned is what is used: vectors have length 1, and a question is near its document.
    let asked = [question(3, 1), document(3, 2), document(8, 2)].join("\n");
    let vectors = objects(&given(folder, &["embed", "--model", "run", "--json"], asked.as_bytes()));
    let numbers: Vec<Vec<f64>> = vectors
        .iter()
        .map(|one| one["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect())
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    assert!((dot(&numbers[0], &numbers[0]) - 1.0).abs() < 1e-5);
    assert!(dot(&numbers[0], &numbers[1]) > dot(&numbers[0], &numbers[2]) + 0.1);

    // From that model, with negatives and another pooling, in parts of a batch; a text that is too long is told.
    let long = "stone ".repeat(20_000);
    let rows = [
        json!({ "query": question(0, 0), "positive": document(0, 0), "negatives": [document(1, 0), "🎬 שלום עולם"] }),
        json!({ "query": question(1, 0), "positive": long, "negatives": [] }),
        json!({ "query": question(2, 0), "positive": document(2, 0) }),
    ];
    let lines: String = rows.iter().map(|row| row.to_string() + "\n").collect();
    fs::write(folder.join("hard.jsonl"), lines).unwrap();
    let more = ["finetune", "embed", "--model", "run", "--train", "hard.jsonl", "--valid", "dev.jsonl", "-o", "more"];
    let output = run(
        folder,
        &[&more[..], &["--pooling", "cls", "--set", "train.micro_batch_tokens=30", "--epochs", "2"]].concat(),
    );
    done(&output);
    assert!(text(&output.stderr).contains("1 of 8 texts are longer than 24 tokens"), "{}", text(&output.stderr));
    let pooling: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("more/model/1_Pooling/config.json")).unwrap()).unwrap();
    assert_eq!(
        (&pooling["pooling_mode_cls_token"], &pooling["pooling_mode_mean_tokens"]),
        (&json!(true), &json!(false))
    );
    let told = given(folder, &["embed", "--model", "more"], long.as_bytes());
    assert!(text(&told.stderr).contains("longer than the 24 tokens"), "{}", text(&told.stderr));
}

#[test]
fn a_run_that_was_stopped_goes_on_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pairs(folder, "train.jsonl", 0, 72);
    pairs(folder, "dev.jsonl", 7, 24);
    // A batch is more than passes through the model at once. The rate is so low that no metric moves: the first measurement stays the
    // best, so that its checkpoint is kept beside the last.
    let small = [
        "--epochs",
        "3",
        "--batch",
        "24",
        "--set",
        "train.micro_batch_tokens=100",
        "--set",
        "train.eval_every=2",
        "--lr",
        "1e-7",
    ];
    done(&train(folder, "whole", &small));
    // As a kill leaves it after a measurement: the recipe, the tables and the first of the checkpoints that are kept.
    let first = fs::read_dir(folder.join("whole/checkpoints")).unwrap().flatten().map(|entry| entry.path());
    let number = |path: &PathBuf| -> u64 {
        path.file_name().unwrap().to_string_lossy().trim_start_matches("step-").parse().unwrap()
    };
    let first = first.min_by_key(number).unwrap();
    for (name, with_checkpoint) in [("begun", false), ("half", true)] {
        let cut = folder.join(name);
        let kept = cut.join("checkpoints").join(first.file_name().unwrap());
        fs::create_dir_all(cut.join("checkpoints")).unwrap();
        fs::copy(folder.join("whole/recipe.toml"), cut.join("recipe.toml")).unwrap();
        if with_checkpoint {
            assert!(number(&first) < 9, "{}", first.display());
            fs::copy(folder.join("whole/metrics.parquet"), cut.join("metrics.parquet")).unwrap();
            fs::create_dir_all(&kept).unwrap();
            for file in fs::read_dir(&first).unwrap().flatten() {
                fs::copy(file.path(), kept.join(file.file_name())).unwrap();
            }
        }
        refused(&run(folder, &["embed", "--model", name, "--text", "a"]), 1, &["has not finished"]);
        done(&run(folder, &["finetune", "--resume", "-o", name, "--quiet"]));
        assert_eq!(weights_hash(folder, "whole"), weights_hash(folder, name));
        for file in ["model.safetensors", "optimizer.safetensors"] {
            let last = |name: &str| fs::read(folder.join(name).join("checkpoints/step-9").join(file)).unwrap();
            assert_eq!(last("whole"), last(name), "{file} of {name}");
        }
    }
    // No measurement is better than the first, so patience ends it at the second.
    done(&train(folder, "early", &[&small[..], &["--patience", "1"]].concat()));
    let events = fs::read_to_string(folder.join("early/events.jsonl")).unwrap();
    let last: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!((last["reason"].as_str(), last["step"].as_u64()), (Some("early_stop"), Some(4)));
    // Other examples are not gone on with.
    pairs(folder, "dev.jsonl", 8, 24);
    refused(&run(folder, &["finetune", "--resume", "-o", "whole"]), 1, &["other examples"]);
    pairs(folder, "dev.jsonl", 7, 24);
    refused(&train(folder, "whole", &small), 1, &["already holds a run"]);
}

#[test]
fn similarity_is_learned_and_measured() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // The more things two sentences share, the more alike they are.
    let table = |name: &str, from: usize, count: usize| {
        let mut lines = String::from("sentence1\tsentence2\tscore\n");
        for number in from..from + count {
            let (one, shared) = (number % 12, number % 3);
            let pick = |place: usize| THINGS[(one + place * 5) % 12];
            let other = |place: usize| OTHERS[(one + 1 + place * 5) % 12];
            let second: Vec<&str> =
                (0..3).map(|place| if place < shared { pick(place) } else { other(place) }).collect();
            lines += &format!("{} {} {}\t{}\t{}\n", pick(0), pick(1), pick(2), second.join(" "), shared * 2);
        }
        fs::write(folder.join(name), lines).unwrap();
    };
    table("train.tsv", 0, 96);
    table("dev.tsv", 5, 30);
    let base = [
        "finetune",
        "embed",
        "--family",
        "bert",
        "--train",
        "train.tsv",
        "--valid",
        "dev.tsv",
        "--epochs",
        "8",
        "--lr",
        "2e-3",
    ];
    let output = run(folder, &[&base[..], &["-o", "order"], &SMALL[..]].concat());
    done(&output);
    assert!(text(&output.stderr).contains("spearman"), "{}", text(&output.stderr));
    let measured = objects(&run(folder, &["eval", "embed", "--model", "order", "--data", "dev.tsv", "--json"]));
    let metrics = &measured[0]["metrics"];
    assert!(metrics["spearman"]["value"].as_f64().unwrap() > 0.7, "{metrics}");
    assert!(metrics["pearson"].is_object() && measured[0]["kind"] == "similarity" && measured[0]["examples"] == 30);
    let against = ["eval", "embed", "--model", "order", "--against", "order", "--data", "dev.tsv", "--json"];
    let compared = objects(&run(folder, &against));
    assert_eq!(compared[0]["compared"]["spearman"]["difference"]["value"], 0.0);
    // Scores of 0 to 4 are no cosines.
    let cosine = ["--similarity-loss", "cosine", "-o", "never"];
    refused(&run(folder, &[&base[..], &cosine[..], &SMALL[..]].concat()), 1, &["train.tsv, row 3", "no cosine"]);
    refused(&run(folder, &["eval", "embed", "--method", "bm25", "--data", "dev.tsv"]), 2, &["pairs with scores"]);
    assert!(!folder.join("never").exists());
}

#[test]
fn what_cannot_be_learned_or_measured_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pairs(folder, "train.jsonl", 0, 48);
    pairs(folder, "dev.jsonl", 7, 12);
    let write = |name: &str, content: &str| fs::write(folder.join(name), content).unwrap();
    write("one.jsonl", "{\"anchor\":\"a\",\"positive\":\"b\"}\n");
    write("empty.jsonl", "{\"anchor\":\"a\",\"positive\":\"b\"}\n{\"anchor\":\"c\",\"positive\":\"  \"}\n");
    write("words.csv", "sentence1,sentence2,score\na,b,1\nc,d,high\n");
    write("ragged.csv", "sentence1,sentence2,score\na,b,1\nc,d\n");
    write("fields.jsonl", "{\"left\":\"a\",\"right\":\"b\"}\n");
    write("nothing.json", "{\"data\":[{\"title\":\"t\",\"paragraphs\":[]}]}");
    let base = ["finetune", "embed", "--family", "bert", "-o", "never", "--set", "data.held_out=0", "--train"];
    let with = |more: &[&'static str]| -> Vec<&'static str> { base.iter().chain(more).copied().collect() };
    for (arguments, code, words) in [
        (with(&["one.jsonl"]), 1, &["nothing to tell apart"][..]),
        (with(&["empty.jsonl"]), 1, &["empty.jsonl, row 2", "\"positive\" is empty"]),
        (with(&["words.csv"]), 1, &["words.csv, row 3", "not a number"]),
        (with(&["ragged.csv"]), 1, &["ragged.csv", "columns"]),
        (with(&["fields.jsonl"]), 1, &["--text-field", "left = \"a\""]),
        (with(&["nothing.json"]), 1, &["nothing.json"]),
        (with(&["missing.jsonl"]), 1, &["missing.jsonl"]),
        (with(&["train.jsonl", "--batch", "1"]), 1, &["train.batch = 1"]),
        (with(&["train.jsonl", "--scale", "0"]), 1, &["embed.scale"]),
        (with(&["train.jsonl", "--set", "embed.temperature=1"]), 2, &["temperature"]),
        (with(&["train.jsonl", "--text-field", "who"]), 1, &["no row has a field \"who\""]),
        (with(&["train.jsonl", "--context", "0"]), 1, &["0 is not a size"]),
        (vec!["finetune", "embed", "--family", "lstm", "--train", "train.jsonl", "-o", "never"], 1, &["encoder"]),
        (vec!["eval", "embed", "--model", "nowhere", "--data", "dev.jsonl"], 1, &["nowhere"]),
        (vec!["eval", "embed", "--data", "dev.jsonl"], 2, &["--model"]),
        (vec!["eval", "embed", "--method", "bm25", "--model", "x", "--data", "dev.jsonl"], 2, &["needs no model"]),
        (vec!["eval", "embed", "--method", "bm25", "--data", "dev.jsonl", "--qrels", "q.tsv"], 2, &["--corpus"]),
        (vec!["eval", "embed", "--method", "bm25", "--data", "empty.jsonl"], 1, &["row 2"]),
    ] {
        refused(&run(folder, &arguments), code, words);
        assert!(!folder.join("never").exists(), "{arguments:?} left a folder");
    }
    // A model of another task.
    let lines: Vec<String> = (0..200).map(|i| format!("Ann has {i} apples.")).collect();
    write("apples.txt", &lines.join("\n"));
    let gpt = ["train", "apples.txt", "-o", "gpt", "--quiet", "--set", "train.steps=1", "--set", "model.width=16"];
    done(&run(
        folder,
        &[&gpt[..], &["--set", "model.layers=1", "--set", "model.heads=2", "--set", "ledger.enabled=false"]].concat(),
    ));
    refused(
        &run(folder, &["finetune", "embed", "--model", "gpt", "--train", "train.jsonl", "-o", "never"]),
        1,
        &["config.json"],
    );
    refused(&run(folder, &["eval", "embed", "--model", "gpt", "--data", "dev.jsonl"]), 1, &["config.json"]);
    assert!(!folder.join("never").exists());
}

#[test]
fn judgments_over_a_corpus_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let write = |name: &str, content: &str| fs::write(folder.join(name), content).unwrap();
    write(
        "corpus.jsonl",
        "{\"_id\":\"d1\",\"title\":\"Ada\",\"text\":\"wrote notes\"}\n{\"_id\":\"d2\",\"title\":\"\",\"text\":\"rain in Rome\"}\n{\"_id\":\"d3\",\"text\":\" \"}\n",
    );
    write(
        "queries.jsonl",
        "{\"_id\":\"q1\",\"text\":\"Ada\"}\n{\"_id\":\"q2\",\"text\":\"Rome\"}\n{\"_id\":\"q3\",\"text\":\"snow\"}\n",
    );
    write("qrels.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td1\t1\nq2\td2\t2\n");
    let base = [
        "eval",
        "embed",
        "--method",
        "bm25",
        "--data",
        "queries.jsonl",
        "--corpus",
        "corpus.jsonl",
        "--json",
        "--qrels",
    ];
    let output = run(folder, &[&base[..], &["qrels.tsv"]].concat());
    let measured = objects(&output);
    assert!(text(&output.stderr).contains("1 documents have no text"), "{}", text(&output.stderr));
    assert_eq!((measured[0]["examples"].as_u64(), measured[0]["documents"].as_u64()), (Some(2), Some(2)));
    assert_eq!(measured[0]["metrics"]["recall_at_1"]["value"], 0.75);
    assert_eq!(measured[0]["metrics"]["mrr_at_10"]["value"], 1.0);
    write("odd.tsv", "query-id\tcorpus-id\tscore\nq1\td9\t1\n");
    refused(&run(folder, &[&base[..], &["odd.tsv"]].concat()), 1, &["odd.tsv, row 2", "\"d9\""]);
}
