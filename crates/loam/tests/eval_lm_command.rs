//! `loam eval lm`, as users meet it, on a model that `loam train` made.

mod support;

use serde_json::Value;
use std::fs;
use support::{done, objects, refused, run, text};

fn object(output: &std::process::Output) -> Value {
    objects(output).remove(0)
}

#[test]
fn what_a_model_knows_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = |number: usize| {
        let (one, many) = (["cat", "dog", "bird"][number % 3], ["cats", "dogs", "birds"][number * 5 % 3]);
        format!("the {one} runs and the {many} run .")
    };
    let lines: Vec<String> = (0..400).map(line).collect();
    fs::write(folder.join("train.txt"), lines.join("\n")).unwrap();
    let recipe = "[[data.source]]\nname = \"lines\"\npath = \"train.txt\"\nsplit = \"line\"\n[tokenizer]\nkind = \"bpe\"\nvocab = 300\n[model]\n\
                  family = \"gpt\"\nwidth = 32\nlayers = 1\nheads = 2\ncontext = 32\n[train]\nsteps = 150\nlr = 5e-3\n\
                  batch_tokens = 512\n[ledger]\nenabled = false\n";
    fs::write(folder.join("recipe.toml"), recipe).unwrap();
    let output = run(folder, &["train", "recipe.toml", "-o", "run", "--quiet"]);
    done(&output);

    let pair = |number: usize| {
        let one = ["cat", "dog", "bird"][number % 3];
        let uid = ["singular", "plural"][number % 2];
        format!("{{\"sentence_good\":\"the {one} runs\",\"sentence_bad\":\"the {one} run\",\"UID\":\"{uid}\"}}")
    };
    let pairs: Vec<String> = (0..30).map(pair).collect();
    fs::write(folder.join("pairs.jsonl"), pairs.join("\n")).unwrap();
    let told = object(&run(folder, &["eval", "lm", "--model", "run", "--data", "pairs.jsonl", "--json"]));
    assert!(told["metrics"]["accuracy"]["value"].as_f64().unwrap() > 0.9, "{}", told["metrics"]);
    assert_eq!((told["examples"].as_u64(), told["groups"].as_object().unwrap().len()), (Some(30), 2));
    let some =
        object(&run(folder, &["eval", "lm", "--model", "run", "--data", "pairs.jsonl", "--limit", "7", "--json"]));
    assert_eq!(some["examples"].as_u64(), Some(7));

    // The last word, and the same by what `loam score` says of it.
    fs::write(folder.join("last.jsonl"), "{\"text\":\"the cat runs\"}\n{\"text\":\"the birds run\"}\n").unwrap();
    let last =
        object(&run(folder, &["eval", "lm", "--model", "run", "--data", "last.jsonl", "--last-words", "--json"]));
    assert_eq!(last["metrics"]["accuracy"]["value"].as_f64(), Some(1.0), "{}", last["metrics"]);
    let nats = |text: &str, before: &str| -> f64 {
        let score = |text: &str| object(&run(folder, &["score", "--model", "run", "--text", text, "--json"]));
        let given = score(before)["tokens"].as_array().unwrap().len();
        let logprobs = score(text)["logprobs"].as_array().unwrap().clone();
        -logprobs[given..].iter().map(|one| one.as_f64().unwrap()).sum::<f64>()
    };
    let mean = f64::midpoint(nats("the cat runs", "the cat"), nats("the birds run", "the birds"));
    let said = last["metrics"]["word_perplexity"]["value"].as_f64().unwrap();
    assert!((said.ln() - mean).abs() < 1e-4, "{said} {mean}");

    let whole = run(folder, &["eval", "lm", "--model", "run", "--against", "run", "--data", "train.txt"]);
    assert!(
        text(&whole.stdout).contains("bits per byte") && text(&whole.stdout).contains("p = 1.0000"),
        "{}",
        text(&whole.stdout)
    );
    let question = "{\"question\":\"which runs?\",\"choices\":[\"cat\",\"sea\"]}\n";
    fs::write(folder.join("questions.jsonl"), question).unwrap();
    fs::write(folder.join("labels.lst"), "0\n").unwrap();
    let chosen = ["eval", "lm", "--model", "run", "--data", "questions.jsonl", "--labels", "labels.lst", "--json"];
    assert!(object(&run(folder, &chosen))["metrics"]["accuracy_norm"].is_object());
    fs::write(folder.join("labels.lst"), "0\n1\n").unwrap();
    refused(&run(folder, &chosen), 1, &["2 labels do not belong to 1 rows"]);
    refused(&run(folder, &["eval", "lm", "--model", "run", "--data", "questions.jsonl"]), 1, &["--labels"]);
    refused(&run(folder, &["eval", "lm", "--model", "nowhere", "--data", "train.txt"]), 1, &["nowhere"]);
}
