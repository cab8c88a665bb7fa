//! What goes in and out, as users meet it: generate's searches and batches, conversations through a pipe, import, export,
//! inspect, and models that are named on a Hub. The Hub is one on this machine.

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loam"));
    command.args(arguments).current_dir(folder).env("NO_COLOR", "1").env("HF_HOME", folder.join("hf"));
    for name in ["HF_ENDPOINT", "HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"] {
        command.env_remove(name);
    }
    command
}

fn with_input(mut command: Command, input: &str) -> Output {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("the program starts");
    // A program that refuses its arguments has closed its input already.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("an end")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The objects that a command prints, one a line.
fn objects(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", errors(output));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

fn refused(output: &Output, code: i32, words: &[&str]) {
    let text = errors(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{text} ({words:?})");
    assert!(!text.contains("panicked"), "{text}");
}

/// A model of a few steps, in `run/`.
fn trained(folder: &Path) {
    let lines: Vec<String> =
        (0..400).map(|i| format!("{{\"text\": \"Ann has {i} apples and Ben {}.\"}}", i / 2)).collect();
    fs::write(folder.join("apples.jsonl"), lines.join("\n")).unwrap();
    let recipe = "data.train = [\"apples.jsonl\"]\n[tokenizer]\nvocab = 280\n[model]\nfamily = \"llama\"\nwidth = 32\n\
                  layers = 1\nheads = 2\ncontext = 64\n[train]\nsteps = 8\nbatch_tokens = 128\n[ledger]\nenabled = false\n";
    fs::write(folder.join("recipe.toml"), recipe).unwrap();
    let output = command(folder, &["train", "recipe.toml", "-o", "run", "--quiet"]).output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
}

#[test]
fn texts_are_searched_batched_and_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    trained(at);
    let run = |arguments: &[&str]| with_input(command(at, arguments), "");

    // Searches.
    let search = ["generate", "-m", "run", "Ann has", "-n", "6", "--beams", "4", "--n-best", "3", "--json"];
    let found = objects(&run(&search)).remove(0);
    let best = found["n_best"].as_array().unwrap();
    assert_eq!(best.len(), 3);
    let scores: Vec<f64> = best.iter().map(|text| text["score"].as_f64().unwrap()).collect();
    assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]), "{scores:?}");
    assert_eq!((&found["text"], &found["score"]), (&best[0]["text"], &best[0]["score"]));
    assert_eq!(objects(&run(&search)).remove(0), found, "a search is the same every time");
    let with_penalty = |penalty: &str| {
        let arguments = [&search[..], &["--length-penalty", penalty]].concat();
        objects(&run(&arguments)).remove(0)["score"].as_f64().unwrap()
    };
    assert!(with_penalty("0") < with_penalty("2"), "a sum is below its share by length");
    let greedy = ["generate", "-m", "run", "Ann has", "-n", "40", "-t", "0", "--no-repeat-ngram", "2", "--json"];
    let tokens = objects(&run(&greedy)).remove(0)["tokens"].clone();
    let tokens: Vec<u64> = serde_json::from_value(tokens).unwrap();
    let pairs: std::collections::HashSet<&[u64]> = tokens.windows(2).collect();
    assert_eq!(pairs.len(), tokens.len() - 1, "a pair came twice: {tokens:?}");
    refused(&run(&["generate", "-m", "run", "x", "--beams", "2", "--n-best", "3"]), 2, &["n-best"]);
    refused(&run(&["generate", "-m", "run", "x", "--beams", "0"]), 2, &["beams"]);

    // Many prompts, in batches of any size.
    let prompts: String =
        (0..5).map(|i| json!({ "prompt": format!("Ann has {i}{}", "1".repeat(i)) }).to_string() + "\n").collect();
    fs::write(at.join("prompts.jsonl"), &prompts).unwrap();
    let batch = |size: &str| {
        let arguments = ["generate", "-m", "run", "--prompts", "prompts.jsonl", "--batch", size, "-n", "5", "-t", "0"];
        objects(&run(&arguments))
    };
    let one_by_one = batch("1");
    assert_eq!(one_by_one.len(), 5);
    assert_eq!(one_by_one[2]["prompt"], "Ann has 211");
    assert_eq!(one_by_one, batch("8"), "a batch changes nothing");
    assert_eq!(one_by_one, batch("2"));
    let piped =
        with_input(command(at, &["generate", "-m", "run", "--prompts", "-", "-n", "5", "-t", "0", "--json"]), &prompts);
    assert_eq!(objects(&piped), one_by_one);
    fs::write(at.join("bad.jsonl"), "{\"prompt\":\"a\"}\n{\"text\":\"b\"}\n").unwrap();
    refused(&run(&["generate", "-m", "run", "--prompts", "bad.jsonl"]), 1, &["bad.jsonl", "2"]);
    refused(&run(&["generate", "-m", "run", "--prompts", "none.jsonl"]), 1, &["none.jsonl"]);
    refused(&run(&["generate", "-m", "run", "--batch", "0", "--prompts", "prompts.jsonl"]), 2, &["batch"]);

    // Conversations.
    refused(&with_input(command(at, &["chat", "-m", "run"]), "hi\n"), 1, &["no chat template", "--template chatml"]);
    refused(&run(&["chat", "-m", "run", "--template", "none.jinja"]), 1, &["none.jinja"]);
    let chat = ["chat", "-m", "run", "--template", "chatml", "-n", "4", "-t", "0", "--json"];
    let turns = objects(&with_input(command(at, &chat), "Ann\n\n{\"prompt\":\"Ben\"}\n"));
    assert_eq!(turns.len(), 2);
    assert_eq!((&turns[0]["prompt"], &turns[1]["prompt"]), (&json!("Ann"), &json!("Ben")));
    assert!(
        turns[1]["read"].as_u64() > turns[0]["read"].as_u64() || turns[1]["dropped"].as_u64() > Some(0),
        "{turns:?}"
    );
    let alone = objects(&with_input(command(at, &chat), "Ann\n"));
    assert_eq!(alone[0], turns[0]);
    let plain = with_input(command(at, &chat[..chat.len() - 1]), "Ann\nBen\n");
    let told: String = turns.iter().map(|turn| turn["text"].as_str().unwrap().to_owned() + "\n").collect();
    assert_eq!(String::from_utf8_lossy(&plain.stdout), told);
    for (template, word) in [
        ("{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}", "without end"),
        ("{{ raise_exception('never') }}", "never"),
        ("{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}", "bound"),
        ("{% if %}", "not a valid template"),
    ] {
        fs::write(at.join("bad.jinja"), template).unwrap();
        let output = with_input(command(at, &["chat", "-m", "run", "--template", "bad.jinja"]), "hi\n");
        refused(&output, 1, &["bad.jinja", word]);
    }
}

#[test]
fn an_encoder_with_a_decoder_writes_targets() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let words = ["red", "blue", "old", "new", "small", "big"];
    let line = |i: usize| format!("{} {}", words[i % 6], words[i / 6 % 6]);
    fs::write(at.join("source.txt"), (0..360).map(|i| line(i) + "\n").collect::<String>()).unwrap();
    fs::write(at.join("target.txt"), (0..360).map(|i| line(i).to_uppercase() + "\n").collect::<String>()).unwrap();
    let recipe = "[[data.source]]\nname = \"pairs\"\npath = [\"source.txt\"]\ntarget_path = [\"target.txt\"]\n\
                  [tokenizer]\nvocab = 300\n[model]\nfamily = \"seq2seq\"\nwidth = 32\nlayers = 1\nheads = 2\ncontext = 32\n\
                  dropout = 0.0\n[train]\nsteps = 250\nbatch_tokens = 512\nlr = 1e-2\n[ledger]\nenabled = false\n";
    fs::write(at.join("recipe.toml"), recipe).unwrap();
    let output = command(at, &["train", "recipe.toml", "-o", "run", "--quiet"]).output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    let run = |arguments: &[&str]| with_input(command(at, arguments), "");
    let greedy = run(&["generate", "-m", "run", "old blue", "-t", "0"]);
    assert_eq!(String::from_utf8_lossy(&greedy.stdout), "OLD BLUE\n", "{}", errors(&greedy));

    let search = ["generate", "-m", "run", "old blue", "-n", "12", "--beams", "4", "--n-best", "3", "--json"];
    let found = objects(&run(&search)).remove(0);
    assert_eq!(
        (&found["prompt"], &found["text"], &found["finish"]),
        (&json!("old blue"), &json!("OLD BLUE"), &json!("stop"))
    );
    let scores: Vec<f64> =
        found["n_best"].as_array().unwrap().iter().map(|one| one["score"].as_f64().unwrap()).collect();
    assert!(scores.len() == 3 && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");

    // Sources of different lengths side by side are what they are alone.
    let prompts = ["red", "small big", "new new new old", "blue red"];
    fs::write(at.join("prompts.jsonl"), prompts.map(|p| json!({ "prompt": p }).to_string() + "\n").concat()).unwrap();
    let batch =
        |size| objects(&run(&["generate", "-m", "run", "--prompts", "prompts.jsonl", "--batch", size, "-t", "0"]));
    let one_by_one = batch("1");
    assert_eq!(one_by_one.len(), 4);
    assert_eq!(one_by_one[1]["text"], "SMALL BIG");
    assert_eq!(one_by_one, batch("8"));
    let long = "old ".repeat(60);
    refused(&run(&["generate", "-m", "run", &long]), 1, &["32"]);
    refused(&run(&["chat", "-m", "run", "--template", "chatml"]), 1, &["marian"]);
    refused(&run(&["embed", "-m", "run", "--text", "x"]), 1, &["marian"]);
}

#[test]
fn models_go_out_and_come_in() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    trained(at);
    let run = |arguments: &[&str]| with_input(command(at, arguments), "");
    let score = |model: &str| {
        let text = "Ann has 7 apples and Ben 3.";
        objects(&run(&["score", "-m", model, "--text", text, "--json"])).remove(0)
    };
    let near = |model: &str, tolerance: f64| {
        let (found, expected) = (score(model), score("run"));
        assert_eq!(found["tokens"], expected["tokens"], "{model}");
        let difference = found["loss"].as_f64().unwrap() - expected["loss"].as_f64().unwrap();
        assert!(difference.abs() <= tolerance, "{model}: {difference}");
    };

    let exported = objects(&run(&["export", "run", "-o", "sharded", "--max-shard-size", "20kB", "--json"])).remove(0);
    assert!(exported["files"].as_array().unwrap().iter().any(|f| f == "model.safetensors.index.json"), "{exported}");
    for key in ["path", "files", "tensors", "parameters", "dtype", "bytes"] {
        assert!(!exported[key].is_null(), "{key}");
    }
    near("sharded", 0.0);
    let half = objects(&run(&["export", "run", "-o", "half", "--dtype", "bf16", "--json"])).remove(0);
    assert_eq!(half["dtype"], "bfloat16");
    near("half", 0.05);
    let imported = objects(&run(&["import", "sharded", "-o", "imported", "--json"])).remove(0);
    assert_eq!(imported["parameters"], exported["parameters"]);
    near("imported", 0.0);
    for (file, more, kind, tolerance) in [
        ("full.gguf", &[][..], "F32", 0.0),
        ("half.gguf", &["--dtype", "f16"], "F16", 0.01),
        ("eight.gguf", &["--quantize", "q8_0"], "Q8_0", 0.05),
        ("four.gguf", &["--quantize", "q4_0"], "Q4_0", 0.5),
    ] {
        let written = objects(&run(&[&["export", "run", "-o", file, "--json"][..], more].concat())).remove(0);
        let bytes = fs::metadata(at.join(file)).unwrap().len();
        assert_eq!(written, json!({ "path": file, "kind": kind, "bytes": bytes }));
        near(file, tolerance);
    }
    objects(&run(&["import", "full.gguf", "-o", "back", "--json"]));
    near("back", 1e-6);
    refused(&run(&["export", "run", "-o", "sharded"]), 1, &["sharded", "there already"]);
    refused(&run(&["export", "run", "-o", "x.bin"]), 2, &[".bin"]);
    refused(&run(&["export", "run", "-o", "x", "--quantize", "q8_0"]), 2, &["--quantize"]);
    refused(&run(&["export", "run", "-o", "x.gguf", "--quantize", "q8_0", "--dtype", "f16"]), 2, &["--dtype"]);
    refused(&run(&["export", "run", "-o", "x", "--max-shard-size", "many"]), 2, &["--max-shard-size"]);
    refused(&run(&["import", "none", "-o", "x"]), 1, &["none"]);

    let seen = objects(&run(&["inspect", "run", "--json"])).remove(0);
    assert_eq!((&seen["family"], &seen["vocabulary"], &seen["context"]), (&json!("llama"), &json!(280), &json!(64)));
    assert_eq!(seen["parameters"], exported["parameters"]);
    for key in ["architectures", "tensors", "dtypes", "memory", "modules", "special_tokens", "files"] {
        assert!(!seen[key].is_null(), "{key}");
    }
    assert!(String::from_utf8_lossy(&run(&["inspect", "run"]).stdout).contains("llama"));
    refused(&run(&["inspect", "none"]), 1, &["none"]);
    refused(&run(&["embed", "-m", "run", "--text", "x"]), 1, &["config.json", "llama"]);

    fs::write(at.join("sharded/config.json"), "{").unwrap();
    refused(&run(&["inspect", "sharded"]), 1, &["config.json"]);
    refused(&run(&["import", "sharded", "-o", "x"]), 1, &["config.json"]);
    assert!(!at.join("x").exists());
    fs::write(at.join("bad.gguf"), &fs::read(at.join("full.gguf")).unwrap()[..900]).unwrap();
    refused(&run(&["score", "-m", "bad.gguf", "--text", "x"]), 1, &["bad.gguf"]);
    refused(&run(&["import", "bad.gguf", "-o", "x"]), 1, &["bad.gguf"]);
}

#[test]
fn encoders_with_decoders_are_adapted_written_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lines: Vec<String> = (0..300).map(|i| format!("Ann has {i} apples and Ben {}.", i / 2)).collect();
    fs::write(at.join("apples.txt"), lines.join("\n")).unwrap();
    let rest =
        "[objective]\nkind = \"spans\"\n[train]\nsteps = 6\nbatch_tokens = 128\nlr = 0.02\n[ledger]\nenabled = false\n";
    let shape = "[tokenizer]\nvocab = 400\n[model]\nfamily = \"t5\"\nwidth = 32\nlayers = 1\nheads = 2\ncontext = 32\n";
    fs::write(at.join("base.toml"), format!("data.train = [\"apples.txt\"]\n{shape}{rest}")).unwrap();
    // T5's context is what it is trained on, and no limit.
    let from = "[model]\nfrom = \"base/model\"\ncontext = 48\n[lora]\nrank = 2\n";
    fs::write(at.join("lora.toml"), format!("data.train = [\"apples.txt\"]\n{from}{rest}")).unwrap();
    let run = |arguments: &[&str]| with_input(command(at, arguments), "");
    for (recipe, out) in [("base.toml", "base"), ("lora.toml", "adapted")] {
        let output = run(&["train", recipe, "-o", out, "--quiet"]);
        assert!(output.status.success(), "{}", errors(&output));
    }
    let told = fs::read_to_string(at.join("adapted/events.jsonl")).unwrap();
    assert!(told.contains("\"context\":48"), "{told}");

    let long = "Ann has 7 apples and Ben 3. ".repeat(20);
    let write = |model: &[&str]| {
        let flags = ["-n", "8", "--beams", "3", "--n-best", "3", "--json", &long];
        objects(&run(&[&["generate", "-m"], model, &flags].concat())).remove(0)
    };
    let (base, adapted) = (write(&["base"]), write(&["adapted"]));
    assert_ne!(base["n_best"], adapted["n_best"]);
    assert_eq!(adapted, write(&["base", "--adapter", "adapted"]));
    for (model, out, expected) in
        [("base", "out", &base), ("adapted", "merged", &adapted), ("merged", "again", &adapted)]
    {
        let exported = objects(&run(&["export", model, "-o", out, "--json"])).remove(0);
        assert!(exported["tensors"].as_u64().unwrap() > 20, "{exported}");
        assert_eq!(&write(&[out]), expected, "{model}");
    }
    let imported = run(&["import", "out", "-o", "in", "--json"]);
    assert!(!errors(&imported).contains("no family"), "{}", errors(&imported));
    objects(&imported);
    assert_eq!(write(&["in"]), base);
    let inspected = objects(&run(&["inspect", "in", "--json"])).remove(0);
    assert_eq!((&inspected["family"], &inspected["context"]), (&json!("t5"), &json!(32)));
    refused(&run(&["score", "-m", "base", "--text", "x"]), 1, &["config.json", "t5"]);
    refused(&run(&["export", "base", "-o", "x.gguf"]), 1, &["config.json", "t5"]);
    refused(&run(&["generate", "-m", "adapted", "--adapter", "adapted", "x"]), 1, &["holds adapters itself"]);
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Serves the files of `folder` as `org/name`; the address comes back.
fn hub(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let file = path.strip_prefix(&format!("/org/name/resolve/{COMMIT}/")).map(|name| folder.join(name));
            let (head, body) = if path.starts_with("/api/models/org/name/revision/main") {
                let names = fs::read_dir(&folder).unwrap().flatten();
                let files: Vec<Value> =
                    names.map(|entry| json!({ "rfilename": entry.file_name().to_string_lossy() })).collect();
                ("200 OK".to_owned(), json!({ "sha": COMMIT, "siblings": files }).to_string().into_bytes())
            } else if let Some(bytes) = file.and_then(|file| fs::read(file).ok()) {
                // A tag that is no hash says nothing; crates/hub has the tests of hashes.
                (format!("200 OK\r\netag: \"tag-{}\"", blake3::hash(&bytes).to_hex()), bytes)
            } else {
                ("404 Not Found".to_owned(), Vec::new())
            };
            let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes());
            if !request.starts_with("HEAD") {
                let _ = stream.write_all(&body);
            }
        }
    });
    endpoint
}

#[test]
fn models_are_named_on_a_hub() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    trained(at);
    let endpoint = hub(at.join("run/model"));
    let run = |endpoint: &str, arguments: &[&str]| {
        let mut command = command(at, arguments);
        command.env("HF_ENDPOINT", endpoint);
        with_input(command, "")
    };
    let score = ["score", "-m", "hf:org/name", "--text", "Ann has 3", "--json"];
    let nowhere = "http://127.0.0.1:9";
    refused(&run(nowhere, &[&score[..], &["--offline"]].concat()), 1, &["hf:org/name", "cache"]);
    let local = objects(&run(nowhere, &["score", "-m", "run", "--text", "Ann has 3", "--json"]));
    assert_eq!(objects(&run(&endpoint, &score)), local);
    assert_eq!(objects(&run(nowhere, &[&score[..], &["--offline"]].concat())), local, "the cache is enough");
    let generated = ["generate", "-m", "hf:org/name", "Ann", "-n", "2", "--offline", "--json"];
    assert_eq!(objects(&run(nowhere, &generated)).len(), 1);
    let imported = objects(&run(nowhere, &["import", "hf:org/name", "-o", "mine", "--offline", "--json"])).remove(0);
    assert_eq!(imported["path"], "mine");
    assert!(fs::read_to_string(at.join("mine/README.md")).is_ok());
    objects(&run(nowhere, &["inspect", "hf:org/name@main", "--offline", "--json"]));
    refused(&run(&endpoint, &["score", "-m", "hf:org/none", "--text", "x"]), 1, &["hf:org/none"]);
    refused(&run(&endpoint, &["score", "-m", "hf:one", "--text", "x"]), 1, &["hf:one"]);
    for command in ["generate", "score", "train", "chat", "embed", "export", "inspect", "import"] {
        let help = with_input(self::command(at, &[command, "--help"]), "");
        assert!(String::from_utf8_lossy(&help.stdout).contains("hf:"), "{command} --help does not tell of hf:");
    }
}
