//! `loam finetune classify`, `loam classify`, `loam eval classify` and `loam data split`, as users meet them, on small made-up
//! texts.

mod support;

use serde_json::Value;
use std::fs;
use std::path::Path;
use support::{done, given, lines, objects, refused, run, text};

/// Reviews whose praise and blame decide, in words around them.
fn reviews(folder: &Path, name: &str, count: usize, seed: usize) {
    let (good, bad) = (["fine", "moving", "bright", "warm"], ["dull", "cold", "weak", "noisy"]);
    let things = ["film", "story", "ending", "music", "cast"];
    let mut lines = String::new();
    for number in 0..count {
        let draw = |place: usize| (number * 31 + seed * 17 + place * 7 + number * number) % 1009;
        let label = draw(0) % 2;
        let said = if label == 1 { good[draw(1) % 4] } else { bad[draw(1) % 4] };
        let (one, other) = (things[draw(2) % 5], things[draw(3) % 5]);
        lines.push_str(&format!("the {one} is {said} and the {other} is long\t{label}\n"));
    }
    fs::write(folder.join(name), lines).unwrap();
}

fn train(folder: &Path, out: &str, more: &[&str]) -> std::process::Output {
    let mut arguments = vec!["finetune", "classify", "--train", "train.tsv", "--valid", "dev.tsv", "-o", out];
    arguments.extend(more);
    run(folder, &arguments)
}

#[test]
fn a_classifier_is_trained_used_and_measured() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    reviews(folder, "train.tsv", 240, 1);
    reviews(folder, "dev.tsv", 60, 2);
    reviews(folder, "test.tsv", 80, 3);
    let small = ["--family", "textcnn", "--set", "model.width=24", "--epochs", "3", "--lr", "3e-3"];
    let output = train(folder, "cnn", &small);
    done(&output);
    assert!(text(&output.stderr).contains("kept: step"), "{}", text(&output.stderr));
    for file in ["recipe.toml", "events.jsonl", "metrics.parquet", "report.html", "model/config.json"] {
        assert!(folder.join("cnn").join(file).is_file(), "{file}");
    }

    // In equals out, in order and number, whatever a line is.
    let asked =
        "the film is fine\n\nthe film is dull\n🎬🎬 שלום עולם\n".to_owned() + &"very long ".repeat(10_000) + "\n";
    let said = objects(&given(folder, &["classify", "--model", "cnn", "--json"], asked.as_bytes()));
    assert_eq!(said.len(), 5);
    assert_eq!((said[0]["label"].as_str(), said[2]["label"].as_str()), (Some("1"), Some("0")));
    let sum: f64 = said[3]["scores"].as_object().unwrap().values().map(|score| score.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    let one = run(folder, &["classify", "--model", "cnn", "the film is fine"]);
    assert!(text(&one.stdout).starts_with("1 "), "{}", text(&one.stdout));
    let top = objects(&run(folder, &["classify", "--model", "cnn", "--top-k", "1", "--json", "the film is fine"]));
    assert_eq!(top[0]["scores"].as_object().unwrap().len(), 1);

    let records = "{\"body\":\"the film is fine\"}\n{\"title\":3}\nnot json\n{\"body\":\"the film is dull\"}\n";
    let mixed =
        given(folder, &["classify", "--model", "cnn", "--jsonl", "--text-field", "body", "--json"], records.as_bytes());
    assert_eq!(mixed.status.code(), Some(1));
    let told = lines(&mixed);
    assert_eq!((told.len(), told[0]["label"].as_str(), told[3]["label"].as_str()), (4, Some("1"), Some("0")));
    assert!(told[1]["error"].as_str().unwrap().contains("--text-field"), "{}", told[1]);

    let measured = objects(&run(folder, &["eval", "classify", "--model", "cnn", "--data", "test.tsv", "--json"]));
    let accuracy = &measured[0]["metrics"]["accuracy"];
    assert!(accuracy["value"].as_f64().unwrap() > 0.95, "{accuracy}");
    assert!(accuracy["low"].as_f64().unwrap() <= accuracy["value"].as_f64().unwrap());
    assert_eq!((measured[0]["examples"].as_u64(), measured[0]["task"].as_str()), (Some(80), Some("classify")));
    let table =
        run(folder, &["eval", "classify", "--model", "cnn", "--data", "test.tsv", "--predictions", "said.jsonl"]);
    assert!(text(&table.stdout).contains("macro f1") && text(&table.stdout).contains("said to be of the column's"));
    assert_eq!(fs::read_to_string(folder.join("said.jsonl")).unwrap().lines().count(), 80);

    let output =
        train(folder, "lstm", &["--family", "lstm", "--set", "model.width=16", "--epochs", "2", "--lr", "5e-3"]);
    done(&output);
    let against = ["eval", "classify", "--model", "cnn", "--against", "lstm", "--data", "test.tsv", "--json"];
    let compared = objects(&run(folder, &against));
    let difference = &compared[0]["compared"]["accuracy"];
    assert!(difference["p_value"].as_f64().is_some_and(|p| p > 0.0 && p <= 1.0), "{difference}");
    assert!(compared[0]["mcnemar_p_value"].is_number());

    // Labels that training never saw are told, and counted as wrong.
    fs::write(folder.join("other.tsv"), "the film is fine\t1\nthe film is odd\t7\nthe film is dull\t0\n").unwrap();
    let other = run(folder, &["eval", "classify", "--model", "cnn", "--data", "other.tsv", "--json"]);
    assert!(text(&other.stderr).contains("\"7\""), "{}", text(&other.stderr));
    let value = objects(&other)[0]["metrics"]["accuracy"]["value"].as_f64().unwrap();
    assert!((value - 2.0 / 3.0).abs() < 1e-9, "{value}");
}

#[test]
fn a_run_that_was_stopped_goes_on_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    reviews(folder, "train.tsv", 120, 1);
    reviews(folder, "dev.tsv", 30, 2);
    let small = ["--family", "bert", "--set", "model.width=16", "--set", "model.layers=1", "--set", "model.heads=2"];
    let with = |more: &[&'static str]| -> Vec<&'static str> { small.iter().chain(more).copied().collect() };
    let whole = train(folder, "whole", &with(&["--epochs", "3"]));
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let hash = |name: &str| {
        let events = fs::read_to_string(folder.join(name).join("events.jsonl")).unwrap();
        let last: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
        last["weights_hash"].as_str().unwrap().to_owned()
    };
    // A copy of the run as it was after its first checkpoint.
    let cut = folder.join("cut");
    fs::create_dir_all(cut.join("checkpoints")).unwrap();
    fs::copy(folder.join("whole/recipe.toml"), cut.join("recipe.toml")).unwrap();
    let output = run(folder, &["finetune", "--resume", "-o", "cut", "--quiet"]);
    done(&output);
    assert_eq!(hash("whole"), hash("cut"));
    let steps: Vec<_> = fs::read_dir(folder.join("whole/checkpoints")).unwrap().flatten().collect();
    let number = |path: &std::path::PathBuf| -> u64 {
        path.file_name().unwrap().to_string_lossy().trim_start_matches("step-").parse().unwrap()
    };
    let first = steps.iter().map(fs::DirEntry::path).min_by_key(number).unwrap();
    let again = folder.join("again");
    fs::create_dir_all(again.join("checkpoints")).unwrap();
    fs::copy(folder.join("whole/recipe.toml"), again.join("recipe.toml")).unwrap();
    fs::copy(folder.join("whole/metrics.parquet"), again.join("metrics.parquet")).unwrap();
    let kept = again.join("checkpoints").join(first.file_name().unwrap());
    fs::create_dir_all(&kept).unwrap();
    for file in fs::read_dir(&first).unwrap().flatten() {
        fs::copy(file.path(), kept.join(file.file_name())).unwrap();
    }
    let output = run(folder, &["finetune", "--resume", "-o", "again"]);
    done(&output);
    assert_eq!(hash("whole"), hash("again"));

    let started: Vec<Value> = fs::read_to_string(again.join("events.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &Value| event["event"] == "start")
        .collect();
    assert_eq!(started[0]["resumed_from"], number(&first));
    refused(&run(folder, &["train", "--resume", "-o", "again"]), 2, &["loam finetune --resume"]);

    // Other examples than those that it began with are not gone on with.
    reviews(folder, "train.tsv", 121, 5);
    refused(&run(folder, &["finetune", "--resume", "-o", "again"]), 1, &["other examples"]);
    refused(&train(folder, "whole", &small), 1, &["already holds a run", "--resume"]);
    refused(&run(folder, &["finetune", "--resume"]), 2, &["--resume needs"]);
    refused(&run(folder, &["finetune", "--resume", "-o", "nothing"]), 1, &["nothing"]);
}

#[test]
fn a_head_of_other_labels_is_new_and_weights_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    reviews(folder, "train.tsv", 90, 1);
    reviews(folder, "dev.tsv", 30, 2);
    let small = ["--family", "gru", "--set", "model.width=8", "--epochs", "1"];
    let output = train(folder, "one", &small);
    done(&output);
    let named = ["--model", "one", "--label-names", "bad,good,other", "--epochs", "0.5", "--class-weights", "balanced"];
    let output = train(folder, "two", &named);
    done(&output);
    let config: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("two/model/config.json")).unwrap()).unwrap();
    assert_eq!(config["id2label"]["1"], "good");
    let said = objects(&run(folder, &["classify", "--model", "two", "--json", "the film is fine"]));
    assert_eq!(said[0]["scores"].as_object().unwrap().len(), 3);

    // Several labels a text, without a validation set, and a rate that is found.
    let lines: String = (0..80)
        .map(|number| {
            let (sea, fire) = (number % 2 == 0, number % 3 == 0);
            let words = format!("{} and {}", if sea { "sea" } else { "land" }, if fire { "fire" } else { "rain" });
            let labels: Vec<&str> = [sea.then_some("water"), fire.then_some("heat")].into_iter().flatten().collect();
            serde_json::json!({ "text": words, "labels": labels }).to_string() + "\n"
        })
        .collect();
    fs::write(folder.join("many.jsonl"), lines).unwrap();
    let many = ["finetune", "classify", "--family", "textcnn", "--train", "many.jsonl", "--lr", "find", "-o", "many"];
    let output = run(folder, &[&many[..], &["--set", "model.width=8", "--epochs", "2"]].concat());
    done(&output);
    assert!(text(&output.stderr).contains("learning rate:"), "{}", text(&output.stderr));
    let said = objects(&run(folder, &["classify", "--model", "many", "--json", "sea and rain"]));
    assert!(said[0]["labels"].is_array(), "{}", said[0]);
    let measured = objects(&run(folder, &["eval", "classify", "--model", "many", "--data", "many.jsonl", "--json"]));
    assert!(measured[0]["metrics"]["micro_f1"].is_object() && measured[0]["metrics"]["hamming_loss"].is_object());
}

#[test]
fn a_decoder_labels_texts_whole_and_by_adapters() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    reviews(folder, "train.tsv", 240, 1);
    reviews(folder, "dev.tsv", 60, 2);
    let texts = fs::read_to_string(folder.join("train.tsv")).unwrap().replace(['\t', '0', '1'], "");
    fs::write(folder.join("texts.txt"), texts).unwrap();
    let mut pretrain = vec!["train", "texts.txt", "-o", "gpt", "--quiet"];
    for set in [
        "model.width=32",
        "model.layers=1",
        "model.heads=2",
        "model.context=32",
        "tokenizer.kind=\"word\"",
        "tokenizer.vocab=60",
        "train.steps=20",
        "train.batch_tokens=512",
        "ledger.enabled=false",
    ] {
        pretrain.extend(["--set", set]);
    }
    done(&run(folder, &pretrain));
    let more = ["--model", "gpt", "--epochs", "3", "--quiet", "--lr"];
    done(&train(folder, "whole", &[&more[..], &["3e-3"]].concat()));
    done(&train(folder, "adapted", &[&more[..], &["3e-2", "--lora", "4"]].concat()));
    for run_folder in ["whole", "adapted"] {
        let config = fs::read_to_string(folder.join(run_folder).join("model/config.json")).unwrap();
        assert!(config.contains("GPT2ForSequenceClassification") && config.contains("pad_token_id"), "{config}");
        let asked = ["eval", "classify", "--model", run_folder, "--data", "dev.tsv", "--json"];
        let accuracy = objects(&run(folder, &asked))[0]["metrics"]["accuracy"]["value"].as_f64().unwrap();
        assert!(accuracy > 0.9, "{run_folder}: {accuracy}");
    }
    let refused_with = |out: &str, more: &[&str], words: &[&str]| refused(&train(folder, out, more), 2, words);
    refused_with("none", &["--family", "lstm", "--lora"], &["--model"]);
    refused_with("none", &["--model", "gpt", "--set", "lora.alpha=1"], &["lora.rank"]);
    let wide = train(folder, "none", &["--model", "gpt", "--lora", "500"]);
    refused(&wide, 1, &["lora.rank = 500"]);
}

#[test]
fn what_cannot_be_learned_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    reviews(folder, "train.tsv", 40, 1);
    reviews(folder, "dev.tsv", 20, 2);
    fs::write(folder.join("one.csv"), "text,label\na fine film,x\na dull film,x\n").unwrap();
    fs::write(folder.join("ragged.csv"), "text,label\na,x\nb\n").unwrap();
    fs::write(folder.join("empty.csv"), "").unwrap();
    let base = ["finetune", "classify", "--family", "textcnn", "-o", "never", "--train"];
    let with = |more: &[&'static str]| -> Vec<&'static str> { base.iter().chain(more).copied().collect() };
    for (arguments, code, words) in [
        (with(&["one.csv"]), 1, &["\"x\"", "tell apart"][..]),
        (with(&["ragged.csv"]), 1, &["columns", "ragged.csv"]),
        (with(&["empty.csv"]), 1, &["no row"]),
        (with(&["missing.csv"]), 1, &["missing.csv"]),
        (with(&["train.tsv", "--text-field", "9"]), 1, &["no row has a field \"9\""]),
        (with(&["train.tsv", "--lr", "fast"]), 2, &["--lr fast"]),
        (with(&["train.tsv", "--epochs", "0"]), 2, &["train.epochs"]),
        (with(&["train.tsv", "--set", "train.rate=1"]), 2, &["train.rate"]),
        (vec!["finetune", "classify", "--train", "train.tsv", "-o", "never"], 2, &["--model", "--family"]),
        (vec!["finetune", "sing", "--train", "train.tsv"], 2, &["\"sing\" is no task", "classify"]),
        (vec!["finetune"], 2, &["name the task"]),
        (vec!["finetune", "classify", "--model", "nowhere", "--train", "train.tsv", "-o", "never"], 1, &["nowhere"]),
        (vec!["classify", "--model", "nowhere", "a"], 1, &["nowhere"]),
        (vec!["data", "split", "train.tsv", "--part", "a=0.5", "--part", "b=0.4", "-o", "parts"], 2, &["0.9"]),
        (vec!["data", "split", "train.tsv", "--part", "../a=1", "-o", "parts"], 2, &["NAME=SHARE"]),
    ] {
        refused(&run(folder, &arguments), code, words);
        assert!(!folder.join("never").exists(), "{arguments:?} left a folder");
    }
    // A model of another task.
    let lines: Vec<String> = (0..200).map(|i| format!("Ann has {i} apples.")).collect();
    fs::write(folder.join("apples.txt"), lines.join("\n")).unwrap();
    let gpt = ["train", "apples.txt", "-o", "gpt", "--quiet", "--set", "train.steps=1", "--set", "model.width=16"];
    let output = run(
        folder,
        &[&gpt[..], &["--set", "model.layers=1", "--set", "model.heads=2", "--set", "ledger.enabled=false"]].concat(),
    );
    done(&output);
    refused(&run(folder, &["classify", "--model", "gpt", "a"]), 1, &["config.json"]);
    refused(&run(folder, &["finetune", "--resume", "-o", "gpt"]), 1, &["loam train --resume"]);
}

#[test]
fn rows_are_cut_into_parts_that_share_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let row = |number: usize| format!("{{\"text\":\"row {}\",\"label\":{}}}", number / 2, number % 3);
    let rows: Vec<String> = (0..400).map(row).collect();
    fs::write(folder.join("rows.jsonl"), rows.join("\n")).unwrap();
    let split = [
        "data",
        "split",
        "rows.jsonl",
        "--part",
        "train=0.8",
        "--part",
        "test=0.2",
        "--by",
        "text",
        "-o",
        "parts",
        "--json",
    ];
    let said = objects(&run(folder, &split));
    let counts: Vec<u64> = said.iter().map(|part| part["rows"].as_u64().unwrap()).collect();
    assert!(counts.iter().sum::<u64>() == 400 && (280..360).contains(&counts[0]), "{counts:?}");
    let texts = |name: &str| -> std::collections::BTreeSet<String> {
        let lines = fs::read_to_string(folder.join("parts").join(name)).unwrap();
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].to_string()).collect()
    };
    assert!(texts("train.jsonl").is_disjoint(&texts("test.jsonl")));
    let before = fs::read(folder.join("parts/train.jsonl")).unwrap();
    assert!(run(folder, &split).status.success());
    // SQuAD's nested files become a question a row.
    let nested = r#"{"data":[{"title":"t","paragraphs":[{"context":"Ann ran.","qas":[
        {"id":"a","question":"Who?","answers":[{"text":"Ann","answer_start":0}]},
        {"id":"b","question":"What did she?","answers":[{"text":"ran","answer_start":4}]}]}]}]}"#;
    fs::write(folder.join("squad.json"), nested).unwrap();
    let whole = ["data", "split", "squad.json", "--by", "context", "--part", "all=1", "-o", "questions"];
    done(&run(folder, &whole));
    assert_eq!(fs::read_to_string(folder.join("questions/all.jsonl")).unwrap().lines().count(), 2);
    assert_eq!(before, fs::read(folder.join("parts/train.jsonl")).unwrap());
}
