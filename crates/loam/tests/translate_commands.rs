//! `loam translate` and `loam eval translate`, as users meet them, on a model that `loam train` made.

mod support;

use std::fs;
use support::{done, lines, objects, refused, run, text};

#[test]
fn texts_are_translated_and_translations_measured() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (words, others) = (["red", "green", "cat", "dog", "runs"], ["rot", "grün", "Katze", "Hund", "läuft"]);
    let (mut sources, mut targets) = (String::new(), String::new());
    for number in 0..300 {
        let draw = |place: usize| (number * 31 + place * 7 + number * number) % 5;
        let of = |words: &[&str; 5]| (0..3).map(|place| words[draw(place)]).collect::<Vec<_>>().join(" ") + "\n";
        sources.push_str(&of(&words));
        targets.push_str(&of(&others));
    }
    fs::write(folder.join("train.en"), &sources).unwrap();
    fs::write(folder.join("train.de"), &targets).unwrap();
    let part = |text: &str| text.lines().take(20).collect::<Vec<_>>().join("\n");
    fs::write(folder.join("test.en"), part(&sources)).unwrap();
    fs::write(folder.join("test.de"), part(&targets)).unwrap();
    // The same by the verb: a run that says what it is for.
    let shape = ["model.width=32", "model.layers=1", "model.heads=2", "train.steps=4", "train.batch_tokens=256"];
    let mut finetune =
        vec!["finetune", "translate", "--family", "seq2seq", "--train", "train.en", "--targets", "train.de"];
    finetune.extend(["--valid", "test.en", "--valid-targets", "test.de", "--context", "16", "--tokenizer", "word:40"]);
    finetune.extend(shape.iter().flat_map(|set| ["--set", set]));
    finetune.extend(["-o", "verb", "--quiet"]);
    done(&run(folder, &finetune));
    assert!(fs::read_to_string(folder.join("verb/model/task.json")).unwrap().contains("translate"));
    assert_eq!(fs::read_to_string(folder.join("verb/examples/valid.jsonl")).unwrap().lines().count(), 20);
    refused(&run(folder, &finetune), 1, &["already holds a run", "--resume"]);
    done(&run(folder, &["translate", "--model", "verb", "red cat"]));

    let recipe = "[[data.source]]\nname = \"pairs\"\npath = \"train.en\"\ntarget_path = \"train.de\"\n[tokenizer]\nkind = \"word\"\nvocab = 40\n\
                  [model]\nfamily = \"seq2seq\"\nwidth = 32\nlayers = 1\nheads = 2\ncontext = 16\n[train]\nsteps = 250\nlr = 5e-3\n\
                  batch_tokens = 256\n[ledger]\nenabled = false\n";
    fs::write(folder.join("recipe.toml"), recipe).unwrap();
    let output = run(folder, &["train", "recipe.toml", "-o", "run", "--quiet"]);
    done(&output);

    let long = "cat ".repeat(60);
    let (known, its) = (sources.lines().next().unwrap(), targets.lines().next().unwrap());
    fs::write(folder.join("texts.txt"), format!("red cat runs\n\n{long}\n{known}\n")).unwrap();
    let output = run(folder, &["translate", "--model", "run", "--file", "texts.txt", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let lines = lines(&output);
    assert_eq!((lines.len(), lines[1]["translation"].as_str()), (4, Some("")));
    assert!(lines[2]["error"].as_str().unwrap().contains("longer than"), "{}", lines[2]);
    assert_eq!(lines[3]["translation"].as_str(), Some(its));

    let data = ["--data", "test.en", "--targets", "test.de"];
    let eval =
        [&["eval", "translate", "--model", "run", "--predictions", "said.txt", "--json"][..], &data[..]].concat();
    let measured = objects(&run(folder, &eval));
    assert_eq!((measured[0]["examples"].as_u64(), measured[0]["task"].as_str()), (Some(20), Some("translate")));
    let bleu = measured[0]["metrics"]["bleu"]["value"].as_f64().unwrap();
    assert!(measured[0]["signatures"]["bleu"].as_str().unwrap().contains("tok:13a"));
    // Translations that there are already are judged alike.
    let again = [&["eval", "translate", "--translations", "said.txt", "--json"][..], &data[..]].concat();
    assert_eq!(objects(&run(folder, &again))[0]["metrics"]["bleu"]["value"].as_f64(), Some(bleu));
    let perfect = [&["eval", "translate", "--translations", "test.de", "--json"][..], &data[..]].concat();
    assert_eq!(objects(&run(folder, &perfect))[0]["metrics"]["chrf"]["value"].as_f64(), Some(100.0));
    let against =
        [&["eval", "translate", "--model", "run", "--against", "run", "--beams", "1"][..], &data[..]].concat();
    assert!(text(&run(folder, &against).stdout).contains("p = 1.0000"));

    let judged = ["eval", "translate", "--translations"];
    let with = |more: &[&'static str]| run(folder, &[&judged[..], more].concat());
    refused(&with(&["texts.txt", "--data", "test.en", "--targets", "test.de"]), 2, &["4 lines"]);
    refused(&with(&["said.txt", "--data", "test.en"]), 1, &["not supported"]);
    refused(&with(&["said.txt", "--data", "test.en", "--targets", "test.de", "--against", "run"]), 2, &["--model"]);
    refused(&run(folder, &["eval", "translate", "--data", "test.en"]), 2, &["--model"]);
    refused(&run(folder, &["translate", "--model", "nowhere", "a"]), 1, &["nowhere"]);
    // Which field is which, said.
    fs::write(folder.join("rows.tsv"), "1\trot Hund\tred dog\n2\tgrün Katze\tgreen cat\n").unwrap();
    fs::write(folder.join("two.txt"), "rot Hund\ngrün Katze\n").unwrap();
    refused(&with(&["two.txt", "--data", "rows.tsv"]), 1, &["--fields", "row 1"]);
    refused(&with(&["two.txt", "--data", "rows.tsv", "--fields", "3"]), 1, &["alone"]);
    let named = objects(&with(&["two.txt", "--data", "rows.tsv", "--fields", "3,2", "--json"]));
    assert_eq!(named[0]["metrics"]["chrf"]["value"].as_f64(), Some(100.0));
}
