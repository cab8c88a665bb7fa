//! `loam word2vec` as its users meet it.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn loam(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loam"));
    command.arg("word2vec").args(arguments).current_dir(folder).stdin(Stdio::null()).env("NO_COLOR", "1");
    command.output().expect("the program starts")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn objects(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", errors(output));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

fn refused(folder: &Path, arguments: &[&str], code: i32, words: &[&str]) {
    let output = loam(folder, arguments);
    let text = errors(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(words.iter().all(|word| text.contains(word)), "{arguments:?}: {text} ({words:?})");
    assert!(!text.contains("panicked"), "{text}");
}

/// Lines about three things, each with its own words.
fn write_text(folder: &Path) {
    let things = [["river", "boat", "water", "Fish"], ["stone", "Tower", "wall", "gate"], ["红", "楼", "梦", "玉"]];
    let mut lines = String::new();
    for i in 0..3000_usize {
        let words = things[i * 7 % 3];
        let word = |n: usize| words[(i / 3 + n * (1 + i % 2 * 2)) % 4];
        lines += &format!("{}, {} {}; {}!\n", word(0), word(1), word(2), word(3));
    }
    fs::write(folder.join("text.txt"), lines).unwrap();
}

#[test]
fn vectors_are_trained_asked_and_converted() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_text(at);
    let train = ["train", "text.txt", "--size", "16", "--sample", "0", "--epochs", "8", "--json"];
    let with = |more: &[&str]| objects(&loam(at, &[&train[..], more].concat())).remove(0);
    let trained = with(&["-o", "one.bin", "--threads", "1"]);
    for (key, value) in [("path", "one.bin"), ("format", "binary"), ("kind", "skip-gram"), ("finish", "done")] {
        assert_eq!(trained[key], value, "{key}");
    }
    assert_eq!(
        (&trained["words"], &trained["size"], &trained["trained_words"]),
        (&12.into(), &16.into(), &96_000.into())
    );
    assert!(trained["words_per_second"].as_f64().unwrap() > 0.0);
    with(&["-o", "two.bin", "--threads", "2"]);
    assert_eq!(fs::read(at.join("one.bin")).unwrap(), fs::read(at.join("two.bin")).unwrap(), "threads change nothing");
    with(&["-o", "other.bin", "--seed", "2"]);
    assert_ne!(fs::read(at.join("one.bin")).unwrap(), fs::read(at.join("other.bin")).unwrap());

    // A folder has the counts, too; Chinese is split into characters.
    let cbow = with(&["-o", "folder/", "--kind", "cbow", "--lowercase"]);
    assert_eq!((&cbow["path"], &cbow["kind"]), (&"folder/vectors.txt".into(), &"cbow".into()));
    let counts = fs::read_to_string(at.join("folder/vocabulary.txt")).unwrap();
    assert_eq!(counts.lines().count(), 12);
    assert!(counts.contains("fish 1000") && counts.contains("红 1000"), "{counts}");
    let marked = with(&["-o", "marked.txt", "--whitespace", "--max-vocab", "5"]);
    assert_eq!(marked["words"], 5);
    assert!(fs::read_to_string(at.join("marked.txt")).unwrap().starts_with("5 16\n"));

    for (file, words) in [("one.bin", ["river", "红"]), ("folder", ["wall", "fish"])] {
        let found = objects(&loam(at, &["nearest", file, words[0], words[1], "--top-k", "3", "--json"]));
        assert_eq!((&found[0]["word"], &found[1]["word"]), (&words[0].into(), &words[1].into()));
        let text = fs::read_to_string(at.join("text.txt")).unwrap().to_lowercase();
        for found in found {
            let near = found["nearest"].as_array().unwrap();
            assert_eq!(near.len(), 3);
            let word = found["word"].as_str().unwrap();
            let line = text.lines().find(|line| line.contains(word)).unwrap();
            for near in near {
                // CBOW tells a line's missing word by the other three, which puts it away from them; gensim's does, too.
                let alike = line.contains(&near["word"].as_str().unwrap().to_lowercase());
                assert!(alike || file == "folder", "{word}: {near}");
                assert!(near["cosine"].as_f64().unwrap().abs() <= 1.0 + 1e-6);
            }
        }
    }
    let plain = loam(at, &["nearest", "one.bin", "river"]);
    assert_eq!(String::from_utf8_lossy(&plain.stdout).lines().count(), 10);

    let one = objects(&loam(at, &["analogies", "one.bin", "river", "boat", "wall", "--json"])).remove(0);
    assert_eq!((&one["a"], &one["b"], &one["c"]), (&"river".into(), &"boat".into(), &"wall".into()));
    assert_eq!(one["answers"].as_array().unwrap().len(), 5);
    fs::write(at.join("questions.txt"), ": things\nRIVER boat wall gate\nriver boat no gate\n: none\n").unwrap();
    let graded = objects(&loam(at, &["analogies", "one.bin", "questions.txt", "--json"]));
    assert_eq!(
        graded.iter().map(|line| line["section"].as_str().unwrap()).collect::<Vec<_>>(),
        ["things", "none", "total"]
    );
    assert_eq!((&graded[2]["asked"], &graded[2]["unknown"]), (&1.into(), &1.into()));
    assert!(graded[1]["accuracy"].is_null());
    let strict = objects(&loam(at, &["analogies", "one.bin", "questions.txt", "--case-sensitive", "--json"]));
    assert_eq!((&strict[2]["asked"], &strict[2]["unknown"]), (&0.into(), &2.into()));

    let converted = objects(&loam(at, &["convert", "one.bin", "again.txt.gz", "--json"])).remove(0);
    assert_eq!((&converted["format"], &converted["words"]), (&"text".into(), &12.into()));
    objects(&loam(at, &["convert", "again.txt.gz", "again.bin", "--json"]));
    assert_eq!(fs::read(at.join("one.bin")).unwrap(), fs::read(at.join("again.bin")).unwrap(), "nothing is lost");
    assert_eq!(objects(&loam(at, &["convert", "one.bin", "few.txt", "--top", "4", "--json"])).remove(0)["words"], 4);
    let partial = |name: std::ffi::OsString| name.to_string_lossy().contains("partial");
    assert!(!fs::read_dir(at).unwrap().any(|entry| partial(entry.unwrap().file_name())));
}

#[test]
fn what_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_text(at);
    refused(at, &["train", "none.txt", "-o", "x.bin"], 1, &["none.txt"]);
    refused(at, &["train", "text.txt", "-o", "x.bin", "--size", "0"], 2, &["size"]);
    refused(at, &["train", "text.txt", "-o", "x.bin", "--lr", "-1"], 2, &["learning rate"]);
    refused(at, &["train", "text.txt", "-o", "x.bin", "--sample", "2"], 2, &["sample"]);
    refused(at, &["train", "text.txt", "-o", "x.bin", "--min-count", "5000"], 1, &["5000"]);
    refused(at, &["train", "-o", "x.bin"], 2, &["PATH"]);
    assert!(!at.join("x.bin").exists());
    fs::write(at.join("lies.bin"), "100000000000 300\na ").unwrap();
    fs::write(at.join("few.txt"), "2 1\na 1\nb 2\n").unwrap();
    refused(at, &["nearest", "lies.bin", "a"], 1, &["lies.bin", "promises"]);
    refused(at, &["nearest", "none.bin", "a"], 1, &["none.bin"]);
    refused(at, &["nearest", "few.txt", "A"], 1, &["\"A\"", "\"a\""]);
    refused(at, &["convert", "lies.bin", "x.txt"], 1, &["lies.bin"]);
    refused(at, &["analogies", "few.txt", "a", "b"], 2, &["three words"]);
    refused(at, &["analogies", "few.txt", "none.txt"], 1, &["none.txt"]);
    fs::write(at.join("headless.txt"), "a b c d\n").unwrap();
    refused(at, &["analogies", "few.txt", "headless.txt"], 1, &["headless.txt", "line 1"]);
    for command in ["train", "nearest", "analogies", "convert"] {
        let help = String::from_utf8_lossy(&loam(at, &[command, "--help"]).stdout).into_owned();
        assert!(help.contains("Example") && help.contains("loam word2vec"), "{command}: {help}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_writes_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_text(at);
    let arguments = ["word2vec", "train", "text.txt", "-o", "cut.bin", "--epochs", "1000000", "--json"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_loam"))
        .args(arguments)
        .current_dir(at)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It says so when training has begun.
    let mut said = String::new();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    while !said.contains("epoch") {
        said = lines.next().expect("a line of progress").unwrap();
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    let output = child.wait_with_output().unwrap();
    rest.join().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["finish"], "interrupted");
    assert_eq!(objects(&loam(at, &["convert", "cut.bin", "cut.txt", "--json"])).remove(0)["words"], 12);
}
