//! What training documents did, as users ask.

mod support;

use serde_json::Value;
use std::fs;
use std::path::Path;
use support::{done, lines, objects, refused, run, text};

const FACT: &str = "the vault of queen zulu opens with the word marzipan";

/// Two kinds of text, each held out as well, and one document that says what no other does.
fn corpus(folder: &Path) {
    let write = |name: &str, seed: u64, count: usize, words: &[&str], fact: bool| {
        let mut state = seed;
        let mut all = String::new();
        for number in 0..count {
            let mut line = String::new();
            for _ in 0..24 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                line.push_str(words[(state >> 33) as usize % words.len()]);
                line.push(' ');
            }
            if fact && number == 17 {
                line = [FACT; 3].join(". ");
            }
            all.push_str(&format!("{{\"text\":\"{}\"}}\n", line.trim()));
        }
        fs::write(folder.join(name), all).unwrap();
    };
    let animals = ["the cat", "sat on", "a mat", "and the dog", "ran to", "the door", "again"];
    let numbers = ["one", "two", "three", "four", "five", "six", "seven", "plus", "minus"];
    write("animals.jsonl", 1, 40, &animals, true);
    write("numbers.jsonl", 2, 40, &numbers, false);
    write("held.jsonl", 9, 10, &animals, false);
    write("held-numbers.jsonl", 10, 10, &numbers, false);
    fs::write(
        folder.join("recipe.toml"),
        "[[data.source]]\nname = \"animals\"\npath = [\"animals.jsonl\"]\n\
         [[data.source]]\nname = \"numbers\"\npath = [\"numbers.jsonl\"]\n\
         [data.held_out]\nanimals = [\"held.jsonl\"]\nnumbers = [\"held-numbers.jsonl\"]\n\
         [tokenizer]\nkind = \"bpe\"\nvocab = 300\n\
         [model]\nfamily = \"gpt\"\nwidth = 16\nlayers = 1\nheads = 2\ncontext = 32\ndropout = 0.0\n\
         [train]\nsteps = 60\nbatch_tokens = 512\nlr = 0.01\neval_every = 100\ncheckpoint_every = 20\n",
    )
    .unwrap();
}

fn ids(found: &Value) -> Vec<(String, f64, String)> {
    let of = |hit: &Value| {
        let word = |key: &str| hit[key].as_str().unwrap().to_owned();
        (word("source"), hit["score"].as_f64().unwrap(), word("text"))
    };
    found.as_array().unwrap().iter().map(of).collect()
}

#[test]
fn documents_are_named_that_made_a_model_say_something() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    corpus(folder);
    done(&run(folder, &["train", "recipe.toml", "-o", "r"]));

    // Without a question, the ledger.
    let output = run(folder, &["influence", "r", "--json"]);
    assert!(objects(&output).iter().any(|domain| domain["domain"] == "numbers"), "{}", text(&output.stdout));

    // Every method, of a fact that one document states.
    let ask = ["influence", "r", "--text", FACT, "--method", "all", "--top-k", "3", "--dimensions", "4096"];
    let asked = run(folder, &[&ask[..], &["--json"]].concat());
    let answers = objects(&asked);
    assert_eq!(answers.len(), 10);
    for answer in &answers {
        let method = answer["method"].as_str().unwrap();
        let best = ids(&answer["documents"]);
        assert!(best.iter().all(|(_, score, _)| score.is_finite() && *score > 0.0), "{answer}");
        assert!(!best.is_empty() && best.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{answer}");
        assert!(ids(&answer["against"]).iter().all(|(_, score, _)| *score < 0.0), "{answer}");
        if method != "representation" {
            let stated = ["zulu", "marzipan", "vault", "queen"].iter().any(|word| best[0].2.contains(word));
            assert!(stated, "{method} names {best:?}");
        }
        assert!(answer["loss"].as_f64().unwrap() > 0.0);
    }
    assert!(text(&asked.stderr).contains("80 training documents"), "{}", text(&asked.stderr));

    // A domain is helped by its own kind; the index is there already.
    let asked = run(folder, &["influence", "r", "--domain", "numbers", "--dimensions", "4096", "--json"]);
    let said = text(&asked.stderr);
    assert!(!said.contains("gradients of"), "{said}");
    for answer in objects(&asked) {
        let best = ids(&answer["documents"]);
        assert!(best.iter().all(|(source, ..)| source == "numbers"), "{answer}");
    }

    // What follows a prompt, rows of a file, and a question longer than the context.
    fs::write(folder.join("asked.jsonl"), "{\"text\":\" sat on\",\"prompt\":\"the cat\"}\n{\"text\":\"one plus\"}\n")
        .unwrap();
    let rows = run(folder, &["influence", "r", "--file", "asked.jsonl", "--method", "bm25", "--json"]);
    assert_eq!(objects(&rows)[0]["question"]["prompt"], "the cat");
    let long = FACT.repeat(9);
    let output = run(folder, &["influence", "r", "--text", &long, "--method", "spans", "--json"]);
    assert!(text(&output.stderr).contains("longer than the model's context"), "{}", text(&output.stderr));
    assert_eq!(lines(&output).len(), 1);

    // What cannot be asked.
    let refused_for = |more: &[&str], words: &[&str]| refused(&run(folder, &[&["influence"], more].concat()), 2, words);
    refused_for(&["r", "--domain", "poems"], &["no held-out domain \"poems\"", "animals, numbers"]);
    refused_for(&["r", "--text", ""], &["no text"]);
    refused_for(&["r", "--text", "x", "--damping", "0"], &["above 0"]);
    refused_for(&["nowhere", "--text", "x"], &["holds no run"]);
    let large = ["r", "--text", "x", "--method", "trak", "--dimensions", "16384"];
    refused_for(&large, &["16384 by 16384", "fewer --dimensions"]);
    fs::write(folder.join("bad.jsonl"), "{\"words\":\"x\"}\n").unwrap();
    refused_for(&["r", "--file", "bad.jsonl"], &["row 1", "no field \"text\""]);

    // Data that have changed since.
    let description = folder.join("r/influence/hashed-4096/index.json");
    let told = fs::read_to_string(&description).unwrap();
    let data = serde_json::from_str::<Value>(&told).unwrap()["data"].as_str().unwrap().to_owned();
    fs::write(&description, told.replace(&data, "0000")).unwrap();
    refused_for(&["r", "--text", "x", "--dimensions", "4096"], &["index of other data", "remove"]);
    done(&run(folder, &["train", "recipe.toml", "--set", "data.source.0.path=[\"numbers.jsonl\"]", "-o", "other"]));
    fs::remove_dir_all(folder.join("r/data")).unwrap();
    fs::rename(folder.join("other/data"), folder.join("r/data")).unwrap();
    refused_for(&["r", "--text", "x"], &["trained on other data"]);
}

#[test]
fn attribution_is_graded_by_training_on_parts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    corpus(folder);
    let study = ["study", "subsets", "recipe.toml", "--subsets", "5", "--seeds", "2", "--set", "train.steps=6"];
    let plan = run(folder, &[&study[..], &["--dry-run"]].concat());
    done(&plan);
    let made = [&study[..], &["--sequences", "4", "--method", "adam-dot,bm25,spans", "-o", "s", "--json"]].concat();
    let graded = |output| {
        let all = objects(&output);
        all.iter().find(|object| object["record"] == "subsets").unwrap().clone()
    };
    let first = graded(run(folder, &made));
    assert_eq!((first["subsets"].as_u64(), first["questions"].as_u64()), (Some(5), Some(8)));
    assert_eq!(first["scores"].as_array().unwrap().len(), 3);
    for score in first["scores"].as_array().unwrap() {
        let lds = score["lds"]["value"].as_f64().unwrap();
        assert!((-1.0..=1.0).contains(&lds), "{score}");
    }
    // Nothing is trained again, and the grade is the same.
    assert_eq!(graded(run(folder, &made)), first);
    refused(&run(folder, &["study", "subsets", "recipe.toml", "--subsets", "2", "-o", "t"]), 2, &["no correlation"]);
    let few = ["study", "subsets", "recipe.toml", "--part", "1", "-o", "u"];
    refused(&run(folder, &few), 2, &["between 0 and 1"]);
}
