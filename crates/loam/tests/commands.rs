//! The program as its users meet it: whole commands, their output, their exit codes, and what a kill leaves.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

fn loam(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loam"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .env("NO_COLOR", "1")
        .output()
        .expect("the program starts")
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a command that must fail with this code and a message that holds every one of these words, on one line.
fn refused(folder: &Path, arguments: &[&str], code: i32, expected: &[&str]) {
    let output = loam(folder, arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    for word in expected {
        assert!(text.contains(word), "{arguments:?} should say {word:?}: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("error")).count(), 1, "{text}");
}

fn corpus(folder: &Path) {
    let mut text = String::new();
    let names = ["Ann", "Ben", "Cem", "Dua"];
    for i in 0..900 {
        let (a, b) = (names[i * 7 % 4], names[i * 5 % 4]);
        text.push_str(&format!("{{\"text\": \"{a} has {i} apples and gives {b} {} of them.\"}}\n", i / 2));
    }
    fs::write(folder.join("apples.jsonl"), text).unwrap();
    fs::write(
        folder.join("recipe.toml"),
        r#"
[[data.source]]
name = "apples"
path = ["apples.jsonl"]
[tokenizer]
vocab = 300
[model]
width = 32
layers = 2
heads = 2
context = 32
[train]
steps = 120
batch_tokens = 256
eval_every = 40
checkpoint_every = 10
"#,
    )
    .unwrap();
}

#[test]
fn a_run_is_killed_ten_times_and_ends_as_if_it_had_not_been() {
    // Long enough for checkpoints between the kills.
    const STEPS: [&str; 2] = ["--set", "train.steps=600"];
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path());
    let begun = Instant::now();
    let whole = loam(folder.path(), &["train", "recipe.toml", STEPS[0], STEPS[1], "-o", "whole", "--quiet"]);
    let whole_run = begun.elapsed();
    assert!(whole.status.success(), "{}", words(&whole));
    // Moments that fall into preparing, training and checkpoints, other ones on every machine; together less than the
    // whole run, so that none comes too late.
    let mut kills = 0;
    for round in 0..10_u64 {
        let start: &[&str] = &["train", "recipe.toml", STEPS[0], STEPS[1], "-o", "cut", "--quiet"];
        let go_on: &[&str] = &["train", "--resume", "-o", "cut", "--quiet"];
        let arguments = if folder.path().join("cut/recipe.toml").exists() { go_on } else { start };
        let mut child = Command::new(env!("CARGO_BIN_EXE_loam"))
            .args(arguments)
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole_run.mul_f64(0.01 + 0.001 * ((round * 37) % 100) as f64));
        kills += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(kills, 10, "a run ended before its kill");
    let started = folder.path().join("cut/recipe.toml").exists();
    let last: &[&str] = if started {
        &["train", "--resume", "-o", "cut"]
    } else {
        &["train", "recipe.toml", STEPS[0], STEPS[1], "-o", "cut"]
    };
    let output = loam(folder.path(), last);
    assert!(output.status.success(), "{}", words(&output));
    let hash = |run: &str| {
        let events = fs::read_to_string(folder.path().join(run).join("events.jsonl")).unwrap();
        let last = events.lines().rev().find(|line| line.contains("\"finish\"")).unwrap().to_owned();
        let start = last.find("weights_hash").unwrap();
        last[start..].to_owned()
    };
    assert_eq!(hash("whole"), hash("cut"));
    let model = |run: &str| fs::read(folder.path().join(run).join("model/model.safetensors")).unwrap();
    assert_eq!(model("whole"), model("cut"));
}

#[test]
fn a_trained_model_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    corpus(at);
    let trained = loam(at, &["train", "recipe.toml", "--set", "train.steps=30", "-o", "run", "--json"]);
    assert!(trained.status.success(), "{}", words(&trained));
    for line in String::from_utf8_lossy(&trained.stdout).lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    for file in
        ["recipe.toml", "metrics.parquet", "ledger.parquet", "documents.parquet", "report.html", "model/README.md"]
    {
        assert!(at.join("run").join(file).metadata().is_ok_and(|m| m.len() > 0), "{file}");
    }
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = loam(at, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", words(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", words(&output)))
    };
    let score = json(&["score", "--model", "run", "--text", "Ann has 3 apples and gives Ben 1 of them.", "--json"]);
    let (tokens, logprobs) = (score["tokens"].as_array().unwrap(), score["logprobs"].as_array().unwrap());
    assert_eq!(tokens.len(), logprobs.len());
    assert!(logprobs[0].is_null() && logprobs[1..].iter().all(|p| p.as_f64().unwrap() <= 0.0));
    let mean = -logprobs[1..].iter().map(|p| p.as_f64().unwrap()).sum::<f64>() / (tokens.len() - 1) as f64;
    assert!((score["loss"].as_f64().unwrap() - mean).abs() < 1e-9);
    assert_eq!(score["scored"].as_u64().unwrap() as usize, tokens.len() - 1);
    let text = "Ben has 5 apples and gives Ann 2 of them. ".repeat(20);
    let long = json(&["score", "--model", "run", "--text", &text, "--json"]);
    assert!(long["logprobs"].as_array().unwrap()[1..].iter().all(serde_json::Value::is_number));
    let generate = ["generate", "--model", "run", "Ann has", "-n", "12", "--json"];
    let written = json(&generate);
    assert_eq!(written["prompt"], "Ann has");
    assert_eq!(written, json(&generate), "a seed gives the same text");
    assert!(written["finish"] == "length" || written["finish"] == "stop");
    let stopped = json(&["generate", "--model", "run", "Ann has", "-n", "60", "--stop", "apple", "--json"]);
    assert!(!stopped["text"].as_str().unwrap().contains("apple"));
    let output = loam(at, &["query", "select count(*) n from documents", "run", "--json"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "{\"n\":900}", "{}", words(&output));
    let runs = json(&["runs", ".", "--json"]);
    assert_eq!(runs["name"], "run");
    refused(at, &["generate", "--model", "run", &text], 1, &["context", "32"]);
    refused(at, &["train", "recipe.toml", "-o", "run"], 2, &["run", "--resume"]);
    refused(at, &["query", "select nothing from metrics", "run"], 1, &["nothing"]);
    refused(at, &["query", "drop table metrics", "run"], 1, &[]);
}

#[test]
fn what_cannot_be_served_is_said_once_and_clearly() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    corpus(at);
    fs::write(at.join("empty.txt"), "").unwrap();
    fs::write(at.join("binary.txt"), b"\x7fELF\x02\x01\x01\x00\x00\x00\x00").unwrap();
    fs::write(at.join("half.txt"), b"a good beginning and then half of \xe4\xb8").unwrap();
    fs::write(at.join("broken.jsonl"), "{\"text\": \"fine\"}\n{\"text\": \n").unwrap();
    fs::write(at.join("typo.toml"), "data.train = [\"apples.jsonl\"]\n[train]\nlearning_rate = 1\n").unwrap();
    fs::create_dir(at.join("nothing")).unwrap();
    let train = |input: &'static str| ["train", input, "-o", "out"];
    refused(at, &train("none.txt"), 2, &["none.txt"]);
    refused(at, &train("empty.txt"), 1, &["empty.txt"]);
    refused(at, &train("binary.txt"), 1, &["binary.txt", "binary"]);
    refused(at, &["train", "half.txt", "-o", "out2"], 1, &["half.txt", "UTF-8", "34"]);
    refused(at, &["train", "broken.jsonl", "-o", "out3"], 1, &["broken.jsonl", "2"]);
    refused(at, &["train", "typo.toml"], 2, &["typo.toml", "3", "train.lr"]);
    refused(at, &["train", "none.toml"], 2, &["none.toml"]);
    refused(at, &["train", "recipe.toml", "--set", "train.stesp=3"], 2, &["train.stesp", "train.steps"]);
    refused(at, &["train", "recipe.toml", "--set", "model.heads=5"], 2, &["heads"]);
    for size in ["model.width=8388608", "model.layers=16777216"] {
        refused(at, &["train", "recipe.toml", "--set", size, "-o", "huge"], 2, &["does not fit", "GiB"]);
    }
    refused(at, &["train", "--resume", "-o", "nothing"], 2, &["nothing", "recipe.toml"]);
    refused(at, &["train"], 2, &["recipe"]);
    refused(at, &["generate", "--model", "nothing", "x"], 1, &["config.json"]);
    refused(at, &["generate", "--model", "absent", "x"], 1, &["absent"]);
    refused(at, &["score", "--model", "absent", "--text", "x"], 1, &["absent"]);
    refused(at, &["generate", "--model", "x", "--temperature", "-1", "y"], 2, &["temperature"]);
    refused(at, &["data", "inspect", "none.jsonl"], 1, &["none.jsonl"]);
    refused(at, &["tokenizer", "train", "empty.txt", "-o", "t"], 1, &["text"]);
    refused(at, &["tokenizer", "train", "apples.jsonl", "--vocab", "3", "-o", "t"], 1, &["3"]);
    refused(at, &["report", "nothing"], 1, &["nothing"]);
    refused(at, &["query", "select 1", "nothing"], 1, &["nothing"]);
    refused(at, &["doctor", "--device", "cuda:7", "--threads", "0"], 2, &["--threads"]);
    refused(at, &["train", "recipe.toml", "--device", "cuda:7"], 2, &["cuda:7"]);
    refused(at, &["doctor", "--device", "cuda:7"], 2, &["cuda:7"]);
    refused(at, &["train", "recipe.toml", "--dtype", "f16", "-o", "b"], 2, &["f16", "bf16"]);
}

#[test]
fn help_teaches_and_tools_work() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    corpus(at);
    for command in [
        &["--help"][..],
        &["train", "--help"],
        &["generate", "--help"],
        &["score", "--help"],
        &["query", "--help"],
        &["tokenizer", "train", "--help"],
        &["data", "inspect", "--help"],
        &["bench", "train", "--help"],
        &["bench", "kernels", "--help"],
        &["demo", "--help"],
    ] {
        let output = loam(at, command);
        assert!(output.status.success());
        assert!(words(&output).contains("Example"), "{command:?} shows no example");
    }
    let doctor = loam(at, &["doctor"]);
    assert!(doctor.status.success(), "{}", words(&doctor));
    assert!(words(&doctor).contains("GFLOP/s"));
    let bench = loam(at, &["bench", "train", "--config", "gpt-3m", "--steps", "2", "--warmup", "1", "--json"]);
    let speed: serde_json::Value =
        serde_json::from_slice(&bench.stdout).unwrap_or_else(|_| panic!("{}", words(&bench)));
    for field in ["tokens_per_s", "ms_per_step", "gflops", "peak_gflops", "share_of_peak", "peak_rss_mb"] {
        assert!(speed[field].as_f64().is_some_and(|value| value > 0.0), "{field}: {speed}");
    }
    assert!(speed["operations"].as_array().is_some_and(|operations| operations.len() > 5), "{speed}");
    refused(at, &["bench", "train", "--config", "gpt-999"], 2, &["gpt-14m"]);
    refused(at, &["bench", "train", "--steps", "0"], 2, &["--steps"]);
    refused(at, &["bench", "train", "--context", "0"], 2, &["--context"]);
    let script = loam(at, &["completions", "bash"]);
    assert!(String::from_utf8_lossy(&script.stdout).contains("loam"));
    for kind in ["bpe", "wordpiece", "unigram", "word"] {
        let out = format!("tokenizer-{kind}");
        let output = loam(at, &["tokenizer", "train", "apples.jsonl", "--kind", kind, "--vocab", "280", "-o", &out]);
        assert!(output.status.success(), "{kind}: {}", words(&output));
        assert!(at.join(&out).join("tokenizer.json").exists());
    }
    let inspected = loam(at, &["data", "inspect", "apples.jsonl", "--tokenizer", "tokenizer-bpe", "-n", "1"]);
    assert!(words(&inspected).contains("900 documents"), "{}", words(&inspected));
    let cleaned = loam(at, &["data", "inspect", "apples.jsonl", "-n", "1", "--clean", "letters,lowercase,stop_words"]);
    let cleaned = words(&cleaned);
    assert!(cleaned.contains("Ann has 0 apples") && cleaned.contains("--- cleaned:\nann apples gives"), "{cleaned}");
    refused(at, &["data", "inspect", "apples.jsonl", "--clean", "leters"], 2, &["did you mean \"letters\"?"]);
    let none = loam(at, &["runs"]);
    assert!(words(&none).contains("runs"), "{}", words(&none));
}

#[test]
fn a_file_that_cannot_be_read_does_not_hide_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("texts")).unwrap();
    fs::write(at.join("texts/a.json"), "{\"version\": 3, \"private\": true}").unwrap();
    fs::write(at.join("texts/b.jsonl"), "{\"text\": \"one\"}\n{\"text\": \"two\"}\n").unwrap();
    let inspected = loam(at, &["data", "inspect", "texts", "--json"]);
    assert!(inspected.status.success(), "{}", words(&inspected));
    let found: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!(found["documents"], 2);
    assert!(found["problems"][0].as_str().unwrap().contains("a.json"), "{found}");
    assert!(words(&loam(at, &["data", "inspect", "texts"])).contains("a.json"));
    refused(at, &["data", "inspect", "texts/a.json"], 1, &["a.json"]);
}

/// Root may read and write everything, so under root the program is run as nobody, from a place that nobody can read.
#[cfg(unix)]
struct Stranger {
    program: tempfile::TempDir,
    is_root: bool,
}

#[cfg(unix)]
impl Stranger {
    fn new() -> Self {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let program = tempfile::tempdir().unwrap();
        fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let is_root = program.path().metadata().unwrap().uid() == 0;
        let (from, to) = (env!("CARGO_BIN_EXE_loam"), program.path().join("loam"));
        fs::hard_link(from, &to).or_else(|_| fs::copy(from, &to).map(drop)).unwrap();
        Self { program, is_root }
    }

    fn run(&self, folder: &Path, arguments: &[&str]) -> Output {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(self.program.path().join("loam"));
        command.args(arguments).current_dir(folder).stdin(Stdio::null()).env("NO_COLOR", "1").env("HOME", "/");
        if self.is_root {
            command.uid(65534).gid(65534);
        }
        command.output().expect("the program starts")
    }
}

#[cfg(unix)]
#[test]
fn what_may_not_be_read_or_written_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mode = |path: &str, mode| fs::set_permissions(at.join(path), fs::Permissions::from_mode(mode)).unwrap();
    corpus(at);
    let trained = loam(at, &["train", "recipe.toml", "--set", "train.steps=10", "-o", "run", "--quiet"]);
    assert!(trained.status.success(), "{}", words(&trained));
    fs::create_dir_all(at.join("locked/inside")).unwrap();
    fs::write(at.join("secret.txt"), "Nobody may read this.").unwrap();
    fs::create_dir(at.join("open")).unwrap();
    mode("", 0o755);
    mode("open", 0o777);
    mode("secret.txt", 0o000);
    mode("locked", 0o000);
    mode("run/model", 0o000);
    mode("run/report.html", 0o444);
    mode("run", 0o555);
    let stranger = Stranger::new();
    for (arguments, expected) in [
        (&["train", "recipe.toml", "-o", "locked/run"][..], "locked"),
        (&["train", "secret.txt", "-o", "open/run"], "secret.txt"),
        (&["train", "recipe.toml", "-o", "/nobody-may-write-here/run"], "nobody-may-write-here"),
        (&["train", "locked", "-o", "open/run"], "locked"),
        (&["data", "inspect", "secret.txt"], "secret.txt"),
        (&["tokenizer", "train", "apples.jsonl", "--vocab", "280", "-o", "locked/tokenizer"], "locked"),
        (&["generate", "--model", "run/model", "x"], "run/model"),
        (&["report", "run"], "run"),
        (&["runs", "locked"], "locked"),
    ] {
        let output = stranger.run(at, arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {:?} {text}", output.status);
        assert!(text.contains(expected) && text.contains("ermission"), "{arguments:?}: {text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("error")).count(), 1, "{arguments:?}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
    mode("run", 0o755);
    mode("run/model", 0o755);
    mode("locked", 0o755);
    mode("secret.txt", 0o644);
    assert!(loam(at, &["generate", "--model", "run", "Ann", "-n", "2"]).status.success(), "what was there was lost");
}
