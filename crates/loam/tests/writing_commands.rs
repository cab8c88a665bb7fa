//! `loam finetune summarize | chat`, `loam summarize` and `loam eval summarize | chat`, as users meet them, on small models and
//! small made-up data.

mod support;

use std::fs;
use std::path::Path;
use support::{done, lines, objects, refused, run, text};

const WORDS: [&str; 6] = ["apple", "river", "stone", "cloud", "tiger", "lemon"];

const TOPICS: [&str; 3] = ["rain", "money", "music"];

/// Dialogs whose summary is what came in their second sentence.
fn dialogs(folder: &Path, name: &str, count: usize) {
    let row = |number: usize| {
        let word = |place: u32| WORDS[number * 31 % 216 / 6_usize.pow(place) % 6];
        let topic = TOPICS[number % 3];
        let said = format!("{} and {} with {}. Then {topic} came.", word(0), word(1), word(2));
        serde_json::json!({ "dialogue": said, "summary": format!("About {topic}.") }).to_string() + "\n"
    };
    fs::write(folder.join(name), (0..count).map(row).collect::<String>()).unwrap();
}

const SMALL: [&str; 8] =
    ["--set", "model.width=32", "--set", "model.layers=1", "--set", "model.heads=2", "--set", "train.batch_tokens=512"];

#[test]
fn summaries_are_learned_and_measured() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dialogs(folder, "train.jsonl", 400);
    dialogs(folder, "test.jsonl", 24);
    let mut train =
        vec!["finetune", "summarize", "--family", "seq2seq", "--train", "train.jsonl", "--tokenizer", "word:60"];
    train.extend(SMALL);
    train.extend([
        "--context",
        "24",
        "--lr",
        "5e-3",
        "--set",
        "train.steps=600",
        "--set",
        "model.dropout=0.1",
        "--patience",
        "99",
        "-o",
        "run",
        "--quiet",
    ]);
    done(&run(folder, &train));

    let known = r#"{"text":"stone and river with apple. Then music came."}"#;
    let long = format!("{{\"text\":\"{}\"}}", "apple and tiger with lemon. Then rain came. ".repeat(12));
    let other = r#"{"body":1}"#;
    fs::write(folder.join("texts.jsonl"), format!("{known}\n{{\"text\":\"\"}}\n{other}\n{long}\n")).unwrap();
    let output = run(folder, &["summarize", "--model", "run", "--file", "texts.jsonl", "--max-tokens", "6", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let said = lines(&output);
    assert_eq!(said[0]["summary"].as_str(), Some("About music ."), "{said:?}");
    assert_eq!((said[1]["summary"].as_str(), said.len()), (Some(""), 4));
    assert!(said[2]["error"].as_str().unwrap().contains("\"text\""), "{}", said[2]);
    assert!(said[3]["parts"].as_u64() > Some(1), "{}", said[3]);
    fs::write(folder.join("whole.txt"), "tiger and apple with stone.\nThen rain came.\n").unwrap();
    let whole = run(folder, &["summarize", "--model", "run", "--file", "whole.txt", "--whole", "--max-tokens", "6"]);
    assert_eq!(text(&whole.stdout).lines().count(), 1, "{}", text(&whole.stdout));

    let eval = ["eval", "summarize", "--data", "test.jsonl", "--max-tokens", "6", "--lead", "1"];
    let with = |more: &[&'static str]| run(folder, &[&eval[..], more].concat());
    let measured = objects(&with(&["--model", "run", "--predictions", "said.txt", "--json"]));
    let rouge = &measured[0]["metrics"]["rouge1"]["value"];
    assert!(rouge.as_f64() > measured[0]["lead"]["metrics"]["rouge1"]["value"].as_f64(), "{}", measured[0]);
    assert_eq!((measured[0]["examples"].as_u64(), measured[0]["tokens"].as_str()), (Some(24), Some("stems")));
    assert_eq!(&objects(&with(&["--texts", "said.txt", "--json"]))[0]["metrics"]["rouge1"]["value"], rouge);
    let told = text(&with(&["--model", "run", "--against", "run"]).stdout);
    assert!(told.contains("first 1 sentence") && told.contains("p = 1.0000"), "{told}");
    assert_eq!(objects(&with(&["--model", "run", "--limit", "5", "--json"]))[0]["examples"].as_u64(), Some(5));

    let bad = |more: &[&'static str], code, words: &[&str]| refused(&run(folder, more), code, words);
    bad(&["finetune", "summarize", "--family", "seq2seq"], 2, &["--train"]);
    bad(&["finetune", "summarize", "--train", "train.jsonl"], 2, &["--model", "--family"]);
    bad(
        &["finetune", "summarize", "--family", "seq2seq", "--train", "train.jsonl", "--batch", "3"],
        2,
        &["batch_tokens"],
    );
    let prompt = ["finetune", "summarize", "--family", "seq2seq", "--train", "train.jsonl", "--prompt", "x", "-o", "p"];
    bad(&prompt, 1, &["{text}"]);
    bad(
        &["finetune", "summarize", "--family", "seq2seq", "--train", "train.jsonl", "--lora", "-o", "p"],
        1,
        &["--model"],
    );
    bad(&["finetune", "classify", "--family", "lstm", "--train", "train.jsonl", "--lora"], 2, &["--model"]);
    bad(
        &["finetune", "classify", "--family", "lstm", "--train", "train.jsonl", "--prompt", "{text}"],
        2,
        &["--prompt"],
    );
    bad(&["finetune", "sing", "--train", "train.jsonl"], 2, &["summarize", "classify"]);
    bad(&["eval", "summarize", "--data", "test.jsonl"], 2, &["--model"]);
    fs::write(folder.join("one.jsonl"), "{\"dialogue\":\"a\",\"summary\":\"b\"}\n").unwrap();
    bad(&["finetune", "summarize", "--family", "seq2seq", "--train", "one.jsonl", "-o", "p"], 1, &["too few"]);
}

#[test]
fn answers_are_learned_with_adapters_and_win_over_their_base() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let rows = |answer: fn(usize) -> &'static str, count: usize| -> String {
        let row = |number: usize| {
            let word = WORDS[number % 6];
            let asked = format!("What comes after {word} {}?", number / 6);
            serde_json::json!({ "instruction": asked, "output": answer(number) }).to_string() + "\n"
        };
        (0..count).map(row).collect()
    };
    fs::write(folder.join("base.jsonl"), rows(|number| WORDS[number * 5 % 6], 300)).unwrap();
    fs::write(folder.join("train.jsonl"), rows(|number| WORDS[(number + 1) % 6], 300)).unwrap();
    fs::write(folder.join("test.jsonl"), rows(|number| WORDS[(number + 1) % 6], 36)).unwrap();
    let mut base = vec!["finetune", "chat", "--family", "gpt", "--train", "base.jsonl", "--tokenizer", "bpe:400"];
    base.extend(SMALL);
    base.extend(["--context", "64", "--lr", "3e-3", "--set", "train.steps=30", "-o", "base", "--quiet"]);
    done(&run(folder, &base));
    let adapt =
        ["finetune", "chat", "--model", "base", "--train", "train.jsonl", "--valid", "test.jsonl", "--lora", "4"];
    let more =
        ["--lr", "1e-2", "--set", "train.steps=30", "--set", "train.batch_tokens=512", "-o", "adapted", "--quiet"];
    done(&run(folder, &[&adapt[..], &more[..]].concat()));
    assert!(folder.join("adapted/model/adapter_model.safetensors").exists());

    let eval = ["eval", "chat", "--model", "adapted", "--against", "base", "--data", "test.jsonl"];
    let measured = objects(&run(folder, &[&eval[..], &["--json"]].concat()));
    let value = |pointer: &str| measured[0].pointer(pointer).and_then(serde_json::Value::as_f64).unwrap();
    assert!(value("/metrics/loss/value") < value("/against/metrics/loss/value"), "{}", measured[0]);
    assert!(value("/win_rate/value") > 0.5 && value("/compared/loss/difference/value") < 0.0, "{}", measured[0]);
    assert!(text(&run(folder, &eval).stdout).contains("win rate"));
    // What is asked of a language model that nobody trained for it is said in a prompt.
    done(&run(folder, &["translate", "--model", "base", "--prompt", "Say: {text}", "--max-tokens", "3", "apple"]));
    refused(&run(folder, &["translate", "--model", "base", "--prompt", "Say", "apple"]), 1, &["{text}"]);
    refused(&run(folder, &["eval", "chat", "--model", "base", "--data", "none.jsonl"]), 1, &["none.jsonl"]);
    let flags = ["finetune", "chat", "--model", "base", "--train", "train.jsonl", "--prompt", "{text}"];
    refused(&run(folder, &flags), 2, &["conversations"]);
}
