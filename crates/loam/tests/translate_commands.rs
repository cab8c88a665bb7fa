//! `loam translate` and `loam eval translate`, as users meet them, on a model that `loam train` made.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loam"));
    command.args(arguments).current_dir(folder).env("NO_COLOR", "1").env("HF_HOME", folder.join("hf"));
    command.stdin(Stdio::null()).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn objects(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

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
    let recipe = "[[data.source]]\nname = \"pairs\"\npath = \"train.en\"\ntarget_path = \"train.de\"\n[tokenizer]\nkind = \"word\"\nvocab = 40\n\
                  [model]\nfamily = \"seq2seq\"\nwidth = 32\nlayers = 1\nheads = 2\ncontext = 16\n[train]\nsteps = 250\nlr = 5e-3\n\
                  batch_tokens = 256\n[ledger]\nenabled = false\n";
    fs::write(folder.join("recipe.toml"), recipe).unwrap();
    let output = run(folder, &["train", "recipe.toml", "-o", "run", "--quiet"]);
    assert!(output.status.success(), "{}", text(&output.stderr));

    let long = "cat ".repeat(60);
    let (known, its) = (sources.lines().next().unwrap(), targets.lines().next().unwrap());
    fs::write(folder.join("texts.txt"), format!("red cat runs\n\n{long}\n{known}\n")).unwrap();
    let output = run(folder, &["translate", "--model", "run", "--file", "texts.txt", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let lines: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
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

    for (arguments, words) in [
        (
            vec!["eval", "translate", "--translations", "texts.txt", "--data", "test.en", "--targets", "test.de"],
            "4 lines",
        ),
        (vec!["eval", "translate", "--translations", "said.txt", "--data", "test.en"], "not supported"),
        (vec!["eval", "translate", "--data", "test.en"], "--model"),
        (vec!["translate", "--model", "nowhere", "a"], "nowhere"),
    ] {
        let output = run(folder, &arguments);
        let said = text(&output.stderr);
        assert!(matches!(output.status.code(), Some(1 | 2)) && said.contains(words), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}
