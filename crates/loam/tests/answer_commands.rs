//! `loam finetune answer`, `loam answer` and `loam eval answer`, as users meet them, on small made-up texts.

mod support;

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use support::{done, lines, objects, refused, run, text};

/// Where somebody lives, in SQuAD's shape; every third question has no answer.
fn questions(folder: &Path, name: &str, count: usize) {
    let (people, places) = (["Ada", "Alan", "Grace"], ["London", "Paris", "Berlin", "Rome"]);
    let paragraphs: Vec<Value> = (0..count)
        .map(|number| {
            let (person, place) = (people[number * 7 % 3], places[(number * 5 + number / 3) % 4]);
            let context = format!("{person} lives in {place} .");
            let start = context.find(place).unwrap();
            let impossible = number % 3 == 2;
            let question = if impossible { "how old ?" } else { "where ?" };
            let answers = if impossible { json!([]) } else { json!([{ "text": place, "answer_start": start }]) };
            json!({ "context": context, "qas": [{ "id": number.to_string(), "question": question, "answers": answers, "is_impossible": impossible }] })
        })
        .collect();
    fs::write(folder.join(name), json!({ "data": [{ "title": "t", "paragraphs": paragraphs }] }).to_string()).unwrap();
}

#[test]
fn answers_are_learned_found_and_measured() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    questions(folder, "train.json", 120);
    questions(folder, "dev.json", 30);
    let small = ["--set", "model.width=32", "--set", "model.layers=2", "--set", "model.heads=2", "--context", "24"];
    let train = ["finetune", "answer", "--family", "bert", "--train", "train.json", "--valid", "dev.json", "-o", "run"];
    let output = run(folder, &[&train[..], &small[..], &["--epochs", "14", "--lr", "3e-3", "--batch", "16"]].concat());
    done(&output);
    let measured = objects(&run(
        folder,
        &["eval", "answer", "--model", "run", "--data", "dev.json", "--json", "--predictions", "said.json"],
    ));
    assert_eq!((measured[0]["measure"].as_str(), measured[0]["examples"].as_u64()), (Some("squad2"), Some(30)));
    assert!(measured[0]["metrics"]["f1"]["value"].as_f64().unwrap() > 0.8, "{}", measured[0]["metrics"]);
    let said: Value = serde_json::from_str(&fs::read_to_string(folder.join("said.json")).unwrap()).unwrap();
    assert_eq!(said.as_object().unwrap().len(), 30);
    let against = run(folder, &["eval", "answer", "--model", "run", "--against", "run", "--data", "dev.json"]);
    assert!(text(&against.stdout).contains("p = 1.0000"), "{}", text(&against.stdout));

    let context = "🎬 Grace lives in Paris .";
    let told =
        objects(&run(folder, &["answer", "--model", "run", "--context", context, "--json", "--top-k", "3", "where ?"]));
    let characters: Vec<char> = context.chars().collect();
    let (start, end) = (told[0]["start"].as_u64().unwrap() as usize, told[0]["end"].as_u64().unwrap() as usize);
    assert_eq!(characters[start..end].iter().collect::<String>(), told[0]["answer"].as_str().unwrap());
    assert!(told[0]["others"].as_array().unwrap().len() <= 2);
    // Many windows, an empty text, and a row that is none.
    let long = "nobody knows . ".repeat(300) + "Ada lives in Rome .";
    let rows = [
        json!({ "question": "where ?", "context": long }).to_string(),
        json!({ "question": "where ?", "context": "" }).to_string(),
        json!({ "question": "where ?" }).to_string(),
        json!({ "question": "", "context": "Ada lives in Rome ." }).to_string(),
    ];
    fs::write(folder.join("rows.jsonl"), rows.join("\n") + "\n").unwrap();
    let output = run(folder, &["answer", "--model", "run", "--file", "rows.jsonl", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let lines = lines(&output);
    assert_eq!((lines.len(), lines[1]["answer"].as_str()), (4, Some("")));
    assert!(lines[2]["error"].as_str().unwrap().contains("context"), "{}", lines[2]);

    // An answer that is not in its text is left out and told.
    let odd =
        json!({ "question": "where ?", "context": "Ada lives in Rome .", "answers": ["Oslo"] }).to_string() + "\n";
    let good =
        json!({ "question": "where ?", "context": "Ada lives in Rome .", "answers": ["Rome"] }).to_string() + "\n";
    fs::write(folder.join("odd.jsonl"), format!("{odd}{good}")).unwrap();
    let base =
        ["finetune", "answer", "--family", "bert", "--valid", "dev.json", "--epochs", "1", "-o", "odd", "--train"];
    let output = run(folder, &[&base[..], &["odd.jsonl"], &small[..]].concat());
    done(&output);
    assert!(text(&output.stderr).contains("not in their text") && text(&output.stderr).contains("row 1"));
    fs::write(folder.join("odd.jsonl"), odd).unwrap();
    let never = ["finetune", "answer", "--family", "bert", "--train", "odd.jsonl", "-o", "never"];
    refused(&run(folder, &[&never[..], &["--set", "data.held_out=0"]].concat()), 1, &["no training question"]);
    refused(&run(folder, &["answer", "--model", "run", "where ?"]), 2, &["--context"]);
    refused(&run(folder, &["tag", "--model", "run", "a"]), 1, &["config.json"]);
    refused(
        &run(folder, &["finetune", "answer", "--family", "lstm", "--train", "train.json", "-o", "never"]),
        1,
        &["encoder"],
    );
    assert!(!folder.join("never").exists());
}
