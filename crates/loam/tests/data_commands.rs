//! `loam data prepare` and `loam data why` as their users meet them.

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn loam(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loam"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).env("NO_COLOR", "1");
    command.output().expect("the program starts")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(folder: &Path, arguments: &[&str], code: i32, words: &[&str]) {
    let output = loam(folder, arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(words.iter().all(|word| text.contains(word)), "{arguments:?}: {text} ({words:?})");
    assert!(!text.contains("panicked"), "{text}");
}

const PROSE: &str = "The old house stood at the end of the lane, and nobody had lived in it for many years. \
                     People said that the last owner had gone away to sea, but that his books were still on the shelves. \
                     When the wind blew from the west, you could hear the shutters knock against the walls of the kitchen. \
                     We used to walk there in the summer, with the dog, and to sit on the steps until it was dark.";

fn write_corpus(folder: &Path) {
    let records = [
        PROSE.to_owned(),
        format!("{PROSE} Write to john.smith@corp.example.com."),
        "Too short.".to_owned(),
        "这是一个很短的中文句子，用来测试语言识别，没有别的意思。".to_owned(),
        PROSE.to_owned(),
    ];
    let lines: Vec<String> = records.iter().map(|text| serde_json::json!({ "text": text }).to_string()).collect();
    fs::write(folder.join("a.jsonl"), lines.join("\n")).unwrap();
}

#[cfg(not(feature = "cluster"))]
#[test]
fn without_its_cluster_loam_says_how_to_have_one() {
    let folder = tempfile::tempdir().unwrap();
    write_corpus(folder.path());
    let prepare = ["data", "prepare", "a.jsonl", "--scheduler", "127.0.0.1:50050", "-o", "clean"];
    for arguments in [&prepare[..], &["worker", "--scheduler", "node1:50050"], &["scheduler"]] {
        refused(folder.path(), arguments, 2, &["cargo build --release --features cluster"]);
    }
    assert!(!folder.path().join("clean").exists() && !folder.path().join(".clean.partial").exists());
}

#[cfg(feature = "cluster")]
#[test]
fn a_cluster_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    write_corpus(folder.path());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let scheduler = format!("127.0.0.1:{port}");
    let prepare = ["data", "prepare", "a.jsonl", "--scheduler", &scheduler, "-o", "clean"];
    refused(folder.path(), &prepare, 1, &["no scheduler answers", &scheduler]);
    refused(folder.path(), &["worker", "--scheduler", "node:x"], 2, &["node:x", "host:port"]);
    assert!(!folder.path().join("clean").exists() && !folder.path().join(".clean.partial").exists());
}

#[test]
fn a_corpus_is_prepared_asked_and_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_corpus(at);
    let flags = ["--language", "en", "--filter", "gopher_quality", "--redact", "all", "--deduplicate", "exact,near"];
    let prepare = [&["data", "prepare", "a.jsonl", "-o", "clean"], &flags[..]].concat();
    let table = said(&loam(at, &prepare));
    assert!(table.starts_with("data: 1 of 5 documents kept (20.0 %)"), "{table}");
    for reason in ["language", "gopher_min_words", "exact_duplicate", "near_duplicate"] {
        assert!(table.contains(reason), "{reason}: {table}");
    }
    let summary: Value = serde_json::from_str(&said(&loam(at, &[&prepare[..], &["--json"]].concat()))).unwrap();
    let written: Value = serde_json::from_slice(&fs::read(at.join("clean/summary.json")).unwrap()).unwrap();
    assert_eq!(summary, written);
    assert_eq!(summary["sources"]["data"]["dropped"]["language"]["documents"], 1);

    let query = ["query", "select rule, count(*) n from documents group by 1 order by 1", "clean", "--json"];
    assert_eq!(said(&loam(at, &query)).lines().count(), 5);
    let rows = said(&loam(at, &["data", "why", "clean", "a.jsonl", "--json"]));
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), &rows[2]["rule"]), (5, &"gopher_min_words".into()));
    let id = rows[3]["id"].as_str().unwrap();
    let why = said(&loam(at, &["data", "why", "clean", id]));
    assert!(why.starts_with(&format!("{id} went: language (zh)")), "{why}");
    let shown =
        said(&loam(at, &["data", "inspect", "clean/text/data-00000.parquet", "--text-field", "text", "--json"]));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["documents"], &shown["preview"][0]["text"]), (&1.into(), &PROSE.into()));
}

#[test]
fn a_recipe_has_its_own_order_and_limits() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_corpus(at);
    let recipe = "[[source]]\nname = \"tales\"\npath = [\"a.jsonl\"]\n\
                  [[step]]\nkind = \"redact\"\nkinds = [\"email\"]\n\
                  [[step]]\nkind = \"filter\"\npresets = [\"gopher_quality\"]\nlimits = { gopher_min_words = 1, gopher_stop_words = false, gopher_alphabetic_words = false }\n\
                  [[step]]\nkind = \"deduplicate\"\nby = \"near\"\nkeep = \"longest\"\n";
    fs::write(at.join("recipe.toml"), recipe).unwrap();
    let summary = said(&loam(at, &["data", "prepare", "recipe.toml", "-o", "out", "--json"]));
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let tales = &summary["sources"]["tales"];
    assert_eq!((&tales["kept"], &tales["redacted"]), (&3.into(), &1.into()), "{tales}");
    let wrong = |from: &str, to: &str, words: &[&str]| {
        fs::write(at.join("wrong.toml"), recipe.replacen(from, to, 1)).unwrap();
        refused(at, &["data", "prepare", "wrong.toml", "-o", "out2"], 2, words);
    };
    wrong("kinds = ", "kind_of = ", &["wrong.toml", "kind_of"]);
    wrong("\"near\"", "\"nearly\"", &["wrong.toml", "nearly"]);
    wrong("gopher_min_words", "gopher_least_words", &["wrong.toml", "gopher_least_words"]);
    wrong("name = \"tales\"\n", "", &["wrong.toml", "name"]);
    refused(at, &["data", "prepare", "recipe.toml", "--filter", "c4", "-o", "out2"], 2, &["steps of its own"]);
    refused(at, &["data", "prepare", "missing.toml", "-o", "out2"], 1, &["missing.toml"]);
}

#[test]
fn a_model_of_fasttext_tells_languages_and_labels() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let fixtures = std::env::current_dir().unwrap().join("../corpus/tests/fixtures/fasttext");
    for name in ["softmax.ftz", "alone.bin"] {
        fs::copy(fixtures.join(name), at.join(name)).unwrap();
    }
    let texts = "the wind blew from the west\nветер дул с запада\nniemand wohnte in der straße\n";
    fs::write(at.join("a.txt"), texts).unwrap();
    let prepare = |more: &[&'static str]| {
        let flags = ["data", "prepare", "a.txt", "--split", "line", "--language-model", "softmax.ftz"];
        [&flags[..], more].concat()
    };
    let summary = said(&loam(at, &prepare(&["--language", "en,ru", "-o", "clean", "--json"])));
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["sources"]["data"]["kept"], 2, "{summary}");
    let query = ["query", "select language from documents order by 1", "clean"];
    let rows = said(&loam(at, &query));
    assert!(["de", "en", "ru"].iter().all(|code| rows.contains(code)), "{rows}");
    refused(at, &prepare(&["--language", "eng", "-o", "x"]), 1, &["softmax.ftz", "\"eng\"", "nearest are en"]);
    refused(at, &["data", "prepare", "a.txt", "--language-model", "no.ftz", "-o", "x"], 1, &["no.ftz"]);

    let step = "kind = \"score\"\nmodel = \"alone.bin\"\nmeasure = \"label:en\"\nleast = 0.5\n";
    let recipe = format!("[[source]]\nname = \"lines\"\npath = [\"a.txt\"]\nsplit = \"line\"\n[[step]]\n{step}");
    fs::write(at.join("recipe.toml"), &recipe).unwrap();
    let summary = said(&loam(at, &["data", "prepare", "recipe.toml", "-o", "english", "--json"]));
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["sources"]["lines"]["kept"], 1, "{summary}");
    fs::write(at.join("wrong.toml"), recipe.replace("label:en", "perplexity")).unwrap();
    refused(at, &["data", "prepare", "wrong.toml", "-o", "x"], 1, &["alone.bin tells no perplexity", "label:NAME"]);
    let both = ["data", "prepare", "recipe.toml", "--language-model", "softmax.ftz", "-o", "x"];
    refused(at, &both, 2, &["steps of its own"]);
}

#[test]
fn bad_requests_are_refused_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_corpus(at);
    let prepare = |more: &[&'static str]| [&["data", "prepare", "a.jsonl", "-o", "out"], more].concat();
    refused(at, &prepare(&["--language", "english"]), 1, &["no language \"english\""]);
    refused(at, &prepare(&["--filter", "gofer"]), 2, &["--filter gofer", "gopher_quality"]);
    refused(at, &prepare(&["--redact", "mail"]), 2, &["--redact mail", "email"]);
    refused(at, &prepare(&["--deduplicate", "fuzzy"]), 2, &["near"]);
    refused(at, &prepare(&["--encoding", "klingon"]), 2, &["klingon"]);
    refused(at, &["data", "why", "nowhere", "x"], 1, &["nowhere"]);
    fs::create_dir(at.join("out")).unwrap();
    fs::write(at.join("out/mine.txt"), "keep").unwrap();
    refused(at, &prepare(&[]), 1, &["holds other files"]);
    assert_eq!(fs::read_to_string(at.join("out/mine.txt")).unwrap(), "keep");
    fs::write(at.join("bad.jsonl"), "{\"text\": \"a\"}\n{\"text\": }\n").unwrap();
    refused(at, &["data", "prepare", "bad.jsonl", "-o", "other"], 1, &["bad.jsonl:2", "not valid JSON"]);
    assert!(!at.join("other").exists());
    fs::write(at.join("empty.jsonl"), "").unwrap();
    let empty = loam(at, &["data", "prepare", "empty.jsonl", "-o", "nothing"]);
    assert!(String::from_utf8_lossy(&empty.stderr).contains("hold no document"), "{empty:?}");
    said(&loam(at, &["data", "prepare", "a.jsonl", "-o", "other"]));
    refused(at, &["data", "why", "other", "zzzz"], 1, &["no document \"zzzz\""]);
}

#[test]
fn tokens_are_made_asked_and_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lines: Vec<String> = (0..120)
        .map(|number| {
            // The same words in orders of their own, so that no two are alike.
            let words: Vec<&str> = PROSE.split(' ').collect();
            let drawn = (0..60).map(|place| words[(place * (2 * number + 1) + number) % words.len()]);
            let text = format!("Document says: {}", drawn.collect::<Vec<_>>().join(" "));
            serde_json::json!({ "text": text, "level": number % 7 }).to_string()
        })
        .collect();
    fs::write(at.join("a.jsonl"), lines.join("\n")).unwrap();
    let prepare = ["data", "prepare", "a.jsonl", "--tokenizer", "bpe:400", "--held-out", "0.1", "-o", "clean"];
    let table = said(&loam(at, &[&prepare[..], &["--order-by", "metadata.level"]].concat()));
    for words in ["data: 120 of 120 documents kept", "held out", "tokens to train on", "share of training"] {
        assert!(table.contains(words), "{table}");
    }
    let query = |sql: &str| said(&loam(at, &["query", sql, "clean", "--json"]));
    let counted: Value =
        serde_json::from_str(&query("select sum(tokens) tokens, count(token_start) n from documents")).unwrap();
    assert_eq!(counted["n"], 120);
    let summary: Value = serde_json::from_slice(&fs::read(at.join("clean/summary.json")).unwrap()).unwrap();
    let tokens = &summary["sources"]["data"]["tokens"];
    // An end stands behind every document.
    let all = tokens["train"].as_u64().unwrap() + tokens["held_out"].as_u64().unwrap();
    assert_eq!(all, counted["tokens"].as_u64().unwrap() + 120);
    let asked = query(
        "select language(text) l, quality_rule(text) q, similarity(text, text) s, content_hash(text) = content_hash h, \
         clean(text, 'letters,lowercase') c, redact('mail a.b@corp.example.com') r from texts where split = 'held_out' limit 1",
    );
    let asked: Value = serde_json::from_str(&asked).unwrap();
    assert_eq!((&asked["l"], &asked["s"], &asked["h"]), (&"en".into(), &1.0.into(), &true.into()), "{asked}");
    assert!(asked["c"].as_str().unwrap().starts_with("document says") && !asked["r"].as_str().unwrap().contains('@'));
    refused(at, &["query", "select clean(text, 'washed') from texts", "clean"], 1, &["washed"]);

    let small = ["--set", "model.width=16", "--set", "model.layers=1", "--set", "model.heads=1"];
    let short = ["--set", "train.steps=2", "--set", "train.batch_tokens=256", "--set", "model.context=32"];
    let train = [&["train", "clean", "-o", "run"], &small[..], &short[..]].concat();
    said(&loam(at, &train));
    assert!(fs::read_to_string(at.join("run/recipe.toml")).unwrap().contains("prepared = "));
    assert!(at.join("run/report.html").is_file() && !at.join("run/data").exists());
    let documents = ["query", "select count(*) n from documents", "run", "--json"];
    assert_eq!(said(&loam(at, &documents)).trim(), "{\"n\":120}");
    refused(at, &["train", "clean", "a.jsonl"], 2, &["train on it alone"]);
    refused(at, &["train", "clean", "--set", "tokenizer.vocab=500"], 2, &["data.prepared", "tokenizer.vocab"]);
    refused(at, &[&prepare[..], &["--budget", "0"]].concat(), 1, &["mix.tokens = 0"]);
    refused(at, &["data", "prepare", "a.jsonl", "-o", "x", "--tokenizer", "bqe:10"], 2, &["bqe:10", "bpe:8192"]);
    refused(at, &["data", "prepare", "a.jsonl", "-o", "x", "--budget", "10"], 2, &["--tokenizer"]);
    said(&loam(at, &["data", "prepare", "a.jsonl", "-o", "bare"]));
    refused(at, &["train", "--set", "data.prepared=bare"], 2, &["recipe"]);
    fs::write(at.join("r.toml"), "[data]\nprepared = \"bare\"\n").unwrap();
    refused(at, &["train", "r.toml"], 2, &["has no tokens", "--tokenizer"]);
}

#[test]
fn help_names_every_function_of_texts() {
    let folder = tempfile::tempdir().unwrap();
    let help = said(&loam(folder.path(), &["query", "--help"])).split_whitespace().collect::<Vec<_>>().join(" ");
    for (call, _) in loam_report::query::FUNCTIONS {
        assert!(help.contains(call), "{call}");
    }
}

/// A store that shows one bucket to anyone, on this machine.
fn bucket(objects: Vec<(&'static str, Vec<u8>)>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let target = request.split(' ').nth(1).unwrap_or_default();
            let (status, body) = match target.strip_prefix("/corpus/") {
                Some(query) if query.starts_with('?') => {
                    let entry = |(key, bytes): &(&str, Vec<u8>)| {
                        format!("<Contents><Key>{key}</Key><ETag>\"t-1\"</ETag><Size>{}</Size></Contents>", bytes.len())
                    };
                    let entries: String = objects.iter().map(entry).collect();
                    ("200 OK", format!("<ListBucketResult>{entries}</ListBucketResult>").into_bytes())
                }
                Some(key) => match objects.iter().find(|(other, _)| *other == key) {
                    Some((_, bytes)) => ("200 OK", bytes.clone()),
                    None => ("404 Not Found", Vec::new()),
                },
                None => ("403 Forbidden", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\netag: \"t-1\"\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes());
            if !request.starts_with("HEAD") {
                let _ = stream.write_all(&body);
            }
        }
    });
    endpoint
}

#[test]
fn data_is_named_in_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_corpus(at);
    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    zipped.write_all(&fs::read(at.join("a.jsonl")).unwrap()).unwrap();
    let endpoint = bucket(vec![
        ("web/a.jsonl.gz", zipped.finish().unwrap()),
        ("web/b.txt", PROSE.repeat(40).into_bytes()),
        ("web/c.pdf", Vec::new()),
    ]);
    let run = |endpoint: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loam"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        command.args(arguments).current_dir(at).stdin(Stdio::null());
        command.env("HOME", at).env("LOAM_CACHE", "cache").env("AWS_ENDPOINT_URL_S3", endpoint).output().unwrap()
    };
    let nowhere = "http://127.0.0.1:9";
    let summary: Value =
        serde_json::from_str(&said(&run(&endpoint, &["data", "inspect", "s3://corpus/web/*.jsonl.gz", "--json"])))
            .unwrap();
    assert_eq!((&summary["files"], &summary["documents"]), (&1.into(), &5.into()), "{summary}");
    let summary: Value =
        serde_json::from_str(&said(&run(&endpoint, &["data", "inspect", "s3://corpus/web", "--json"]))).unwrap();
    assert_eq!(summary["skipped_files"], serde_json::json!(["s3://corpus/web/c.pdf"]));
    said(&run(&endpoint, &["data", "prepare", "s3://corpus/web/a.jsonl.gz", "-o", "clean", "--deduplicate", "exact"]));
    assert!(at.join("clean/documents.parquet").is_file());
    said(&run(&endpoint, &["tokenizer", "train", "s3://corpus/web/", "--vocab", "300", "-o", "tokenizer"]));
    let sets = [
        "train.steps=2",
        "model.layers=1",
        "model.width=32",
        "model.heads=2",
        "tokenizer.vocab=300",
        "model.context=32",
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    fs::write(at.join("r.toml"), "data.train = [\"s3://corpus/web/b.txt\"]\n").unwrap();
    said(&run(&endpoint, &[&["train", "r.toml", "-o", "run"], &sets[..]].concat()));

    // What the refusals say; the cache alone; and what does not go to a store.
    let refused = |output: Output, code: i32, words: &[&str]| {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    said(&run(nowhere, &["data", "inspect", "clean/text", "--offline"]));
    let offline = run(&endpoint, &["data", "inspect", "s3://corpus/web/a.jsonl.gz", "--offline", "--json"]);
    assert!(said(&offline).contains("\"documents\":5"));
    refused(run(&endpoint, &["data", "inspect", "s3://corpus/other.txt", "--offline"]), 1, &["is not in the cache"]);
    refused(run(&endpoint, &["data", "inspect", "s3://corpus/web/c.pdf"]), 1, &["s3://corpus/web/c.pdf", "supported"]);
    refused(run(&endpoint, &["data", "inspect", "s3://secret/a.txt"]), 1, &["AWS_ACCESS_KEY_ID"]);
    refused(run(&endpoint, &["data", "inspect", "s3:///a.txt"]), 1, &["write s3://bucket/key"]);
    for command in [&["data", "prepare", "a.jsonl"][..], &["tokenizer", "train", "a.jsonl"], &["train", "a.jsonl"]] {
        refused(run(&endpoint, &[command, &["-o", "s3://corpus/out"]].concat()), 2, &["written on this machine"]);
    }
    for command in
        [&["data", "prepare"][..], &["data", "inspect"], &["tokenizer", "train"], &["train"], &["word2vec", "train"]]
    {
        assert!(said(&run(&endpoint, &[command, &["--help"]].concat())).contains("s3://"), "{command:?} --help");
    }
}
