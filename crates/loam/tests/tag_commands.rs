//! `loam finetune tag`, `loam tag` and `loam eval tag`, as users meet them, on small made-up sentences.

mod support;

use serde_json::Value;
use std::fs;
use std::path::Path;
use support::{done, given, objects, refused, run, text};

/// Sentences with people and places.
fn sentences(folder: &Path, name: &str, count: usize, seed: usize) {
    let people = [["Ada", "Lovelace"], ["Alan", "Turing"], ["Grace", "Hopper"]];
    let places = ["London", "Paris", "Berlin"];
    let mut lines = String::new();
    for number in 0..count {
        let draw = |place: usize| (number * 31 + seed * 17 + place * 7 + number * number) % 1009;
        let person = people[draw(1) % 3];
        let verb = ["lived", "worked"][draw(2) % 2];
        lines.push_str(&format!(
            "{}\tB-PER\n{}\tI-PER\n{verb}\tO\nin\tO\n{}\tB-LOC\n.\tO\n\n",
            person[0],
            person[1],
            places[draw(3) % 3]
        ));
    }
    fs::write(folder.join(name), lines).unwrap();
}

fn train(folder: &Path, out: &str, more: &[&str]) {
    let mut arguments = vec!["finetune", "tag", "--train", "train.conll", "--valid", "dev.conll", "-o", out];
    arguments.extend(more);
    let output = run(folder, &arguments);
    done(&output);
}

#[test]
fn taggers_are_trained_used_and_measured() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    sentences(folder, "train.conll", 160, 1);
    sentences(folder, "dev.conll", 30, 2);
    sentences(folder, "test.conll", 40, 3);
    train(
        folder,
        "lstm",
        &["--family", "lstm", "--set", "model.width=16", "--epochs", "6", "--batch", "8", "--lr", "1e-2"],
    );
    let plain = [
        "--family",
        "gru",
        "--set",
        "model.width=16",
        "--set",
        "model.crf=false",
        "--epochs",
        "6",
        "--batch",
        "8",
        "--lr",
        "1e-2",
    ];
    train(folder, "gru", &plain);
    let bert = ["--family", "bert", "--set", "model.width=16", "--set", "model.layers=1", "--set", "model.heads=2"];
    train(
        folder,
        "bert",
        &[&bert[..], &["--epochs", "10", "--batch", "8", "--lr", "5e-3", "--context", "16"]].concat(),
    );
    let config: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("bert/model/config.json")).unwrap()).unwrap();
    assert_eq!(
        (&config["architectures"][0], &config["id2label"]["0"]),
        (&"BertForTokenClassification".into(), &"O".into())
    );

    // Offsets slice the text, in characters.
    let asked = "Ada Lovelace lived in Paris .\n\n🎬 Alan Turing worked in London .\n";
    let said = objects(&given(folder, &["tag", "--model", "lstm", "--json"], asked.as_bytes()));
    assert_eq!(said.len(), 3);
    for (line, said) in asked.lines().zip(&said) {
        let characters: Vec<char> = line.chars().collect();
        for span in said["spans"].as_array().unwrap() {
            let (start, end) = (span["start"].as_u64().unwrap() as usize, span["end"].as_u64().unwrap() as usize);
            assert_eq!(characters[start..end].iter().collect::<String>(), span["text"].as_str().unwrap());
        }
    }
    let spans = |said: &Value| -> Vec<String> {
        let spans = said["spans"].as_array().unwrap().iter();
        spans.map(|span| format!("{} {}", span["label"].as_str().unwrap(), span["text"].as_str().unwrap())).collect()
    };
    assert_eq!(spans(&said[0]), ["PER Ada Lovelace", "LOC Paris"]);
    assert!(spans(&said[1]).is_empty());
    // A text of many windows.
    let long = "Ada Lovelace lived in Paris . ".repeat(500);
    let said = objects(&given(folder, &["tag", "--model", "bert", "--json"], long.as_bytes()));
    assert!(said[0]["spans"].as_array().unwrap().len() > 900, "{}", said[0]["spans"].as_array().unwrap().len());
    assert!(text(&run(folder, &["tag", "--model", "gru", "Grace Hopper worked in Berlin ."]).stdout).contains("PER"));

    let eval = ["eval", "tag", "--model", "lstm", "--against", "gru", "--data", "test.conll"];
    let measured = objects(&run(folder, &[&eval[..], &["--json"]].concat()));
    assert!(measured[0]["metrics"]["f1"]["value"].as_f64().unwrap() > 0.95, "{}", measured[0]["metrics"]);
    assert_eq!((measured[0]["examples"].as_u64(), measured[0]["scheme"].as_str()), (Some(40), Some("IOB2")));
    assert!(measured[0]["compared"]["f1"]["p_value"].is_number());
    let table = run(folder, &[&eval[..], &["--predictions", "said.conll"]].concat());
    assert!(
        text(&table.stdout).contains("LOC") && text(&table.stdout).contains("lenient f1"),
        "{}",
        text(&table.stdout)
    );
    assert!(fs::read_to_string(folder.join("said.conll")).unwrap().starts_with(|first: char| first.is_alphabetic()));

    // Characters as words are remembered.
    let chinese: String = (0..60).map(|_| "我\tO\n住\tO\n在\tO\n北\tB-LOC\n京\tI-LOC\n\n").collect();
    fs::write(folder.join("zh.train"), chinese).unwrap();
    let small = ["--family", "lstm", "--set", "model.width=8", "--epochs", "8", "--batch", "8", "--lr", "2e-2"];
    let zh = [&["finetune", "tag", "--train", "zh.train", "--valid", "zh.train", "-o", "zh"][..], &small[..]].concat();
    let output = run(folder, &zh);
    done(&output);
    let said = objects(&run(folder, &["tag", "--model", "zh", "--json", "我住在北京"]));
    assert_eq!(spans(&said[0]), ["LOC 北京"]);

    // Models of other tasks and files that are none.
    refused(&run(folder, &["classify", "--model", "lstm", "a"]), 1, &["config.json"]);
    fs::write(folder.join("ragged.conll"), "Ada B-PER\nLovelace\n").unwrap();
    fs::write(folder.join("one.conll"), "Ada O\nLovelace O\n").unwrap();
    let base = ["finetune", "tag", "--family", "lstm", "-o", "never", "--train"];
    refused(&run(folder, &[&base[..], &["ragged.conll"]].concat()), 1, &["ragged.conll:2"]);
    refused(&run(folder, &[&base[..], &["one.conll"]].concat()), 1, &["\"O\""]);
    refused(
        &run(folder, &["finetune", "tag", "--family", "textcnn", "--train", "train.conll", "-o", "never"]),
        1,
        &["textcnn"],
    );
    assert!(!folder.join("never").exists());
}
