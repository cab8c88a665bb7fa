//! `loam search`, as users meet it, on small made-up texts.

mod support;

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use support::{done, given, lines, objects, refused, run, text};

/// A small untrained encoder: near texts are those that share words.
fn encoder(folder: &Path) {
    let rows: String = (0..40)
        .map(|number| {
            let thing = ["river", "tower", "candle", "violin"][number % 4];
            json!({ "anchor": format!("the {thing} {number}"), "positive": format!("a {thing} of Rome 北京 {}", number % 7) }).to_string() + "\n"
        })
        .collect();
    fs::write(folder.join("pairs.jsonl"), rows).unwrap();
    let small = ["--set", "model.width=32", "--set", "model.layers=1", "--set", "model.heads=2", "--context", "16"];
    let base = ["finetune", "embed", "--family", "bert", "--train", "pairs.jsonl", "--epochs", "1", "-o", "run"];
    done(&run(folder, &[&base[..], &small[..]].concat()));
}

fn indexes(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder.join("indexes")).unwrap().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

#[test]
fn a_corpus_is_embedded_once_and_searched() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    encoder(folder);
    let write = |name: &str, content: &str| fs::write(folder.join(name), content).unwrap();
    fs::create_dir(folder.join("notes")).unwrap();
    let long = "the tower stands . ".repeat(30) + "🎬 the violin of שלום plays .";
    write("notes/long.txt", &long);
    write("notes/short.txt", "a candle");
    write(
        "rows.jsonl",
        "{\"id\":7,\"title\":\"Rome\",\"text\":\"a river of Rome\"}\n{\"id\":8,\"text\":\"\"}\n{\"id\":9,\"text\":\"北京 5\"}\n",
    );
    let search = |more: &[&str]| {
        let base = ["search", "a river of Rome", "--model", "run", "--corpus", "notes", "rows.jsonl"];
        run(folder, &[&base[..], more].concat())
    };
    let output = search(&["--json", "--top-k", "3"]);
    let found = objects(&output);
    let said = text(&output.stderr);
    assert!(said.contains("4 documents embedded") && said.contains("1 documents have no text"), "{said}");
    assert_eq!((found.len(), found[0]["query"].as_str()), (1, Some("a river of Rome")));
    let hits = found[0]["hits"].as_array().unwrap();
    assert_eq!(
        (hits.len(), hits[0]["id"].as_str(), hits[0]["text"].as_str()),
        (3, Some("7"), Some("Rome a river of Rome"))
    );
    assert!(hits.windows(2).all(|two| two[0]["score"].as_f64() >= two[1]["score"].as_f64()));

    // The index is read and not made again; its answers are the same.
    let made = indexes(folder);
    let before = fs::read(&made[0]).unwrap();
    let again = search(&["--json", "--top-k", "3"]);
    assert!(text(&again.stderr).contains("read from"), "{}", text(&again.stderr));
    assert_eq!((objects(&again), indexes(folder).len()), (found, 1));

    // A long document is known by its best window, whose place slices it.
    let hit = &objects(&run(
        folder,
        &["search", "🎬 the violin of שלום plays", "--model", "run", "--corpus", "notes", "rows.jsonl", "--json"],
    ))[0]["hits"];
    let of_long = hit.as_array().unwrap().iter().find(|hit| hit["id"].as_str().unwrap().ends_with("long.txt")).unwrap();
    let characters: Vec<char> = long.chars().collect();
    let (start, end) = (of_long["start"].as_u64().unwrap() as usize, of_long["end"].as_u64().unwrap() as usize);
    assert_eq!(characters[start..end].iter().collect::<String>(), of_long["text"].as_str().unwrap());
    assert!(of_long["text"].as_str().unwrap().contains("violin"), "{of_long}");

    // A corpus that has grown takes what it can from the index before.
    write("more.jsonl", "{\"text\":\"a kettle\"}\n");
    let grown =
        ["search", "a river of Rome", "--model", "run", "--corpus", "notes", "more.jsonl", "rows.jsonl", "--json"];
    let output = run(folder, &grown);
    let joined = objects(&output);
    assert!(text(&output.stderr).contains("1 documents embedded, 4 more taken"), "{}", text(&output.stderr));
    let other = objects(&run(folder, &[&grown[..], &["--index", "fresh"]].concat()));
    assert_eq!(joined, other);
    let whole = fs::read(indexes(folder).into_iter().find(|path| !made.contains(path)).unwrap()).unwrap();
    let fresh = fs::read_dir(folder.join("fresh")).unwrap().flatten().next().unwrap().path();
    assert_eq!(whole.len(), fs::read(fresh).unwrap().len());

    // What is not whole is told and made again.
    for broken in [&before[..before.len() / 2], b"", b"not an index"] {
        fs::write(&made[0], broken).unwrap();
        let output = search(&["--json", "--top-k", "3", "--index", "indexes"]);
        done(&output);
        assert!(text(&output.stderr).contains("made anew"), "{}", text(&output.stderr));
    }
    assert!(fs::read(&made[0]).unwrap() == before, "the same corpus made another file");
}

#[test]
fn queries_come_as_arguments_files_and_lines() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    encoder(folder);
    let write = |name: &str, content: &str| fs::write(folder.join(name), content).unwrap();
    write("corpus.csv", "id,text\na,a river of Rome\nb,the tower 3\n");
    let base = ["search", "--model", "run", "--corpus", "corpus.csv", "--top-k", "1"];
    let with = |more: &[&'static str]| -> Vec<&'static str> { base.iter().chain(more).copied().collect() };
    let asked = "a river of Rome\n\nthe tower 3\n".to_owned() + &"the tower ".repeat(20_000) + "\n";
    let output = given(folder, &with(&["--json"]), asked.as_bytes());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("longer than the 16 tokens"), "{}", text(&output.stderr));
    let told = lines(&output);
    let first = |line: &Value| line["hits"][0]["id"].as_str().map(str::to_owned);
    assert_eq!((told.len(), first(&told[0]), first(&told[2])), (4, Some("a".into()), Some("b".into())));
    assert!(told[1]["error"].as_str().unwrap().contains("empty"), "{}", told[1]);

    write("queries.jsonl", "{\"q\":\"the tower 3\"}\n{\"x\":1}\n");
    let output = run(folder, &with(&["--file", "queries.jsonl", "--text-field", "q", "--json"]));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!((first(&lines(&output)[0]), lines(&output).len()), (Some("b".into()), 2));
    let output = run(folder, &["search", "a river of Rome", "the tower 3", "--model", "run", "--corpus", "corpus.csv"]);
    assert!(text(&output.stdout).contains("a river of Rome\n") && text(&output.stdout).contains("  b\tthe tower 3"));

    let words = ["search", "Tower!", "--method", "bm25", "--corpus", "corpus.csv", "--json"];
    let found = objects(&run(folder, &words));
    assert_eq!((first(&found[0]), found[0]["hits"].as_array().unwrap().len()), (Some("b".into()), 1));
    let nothing = run(folder, &["search", "snow", "--method", "bm25", "--corpus", "corpus.csv"]);
    assert!(text(&nothing.stdout).contains("nothing found"));

    write("empty.jsonl", "{\"text\":\" \"}\n");
    write("fields.jsonl", "{\"left\":\"a\",\"right\":\"b\"}\n");
    for (arguments, code, says) in [
        (vec!["search", "a", "--model", "run", "--corpus", "empty.jsonl"], 1, &["no document"][..]),
        (vec!["search", "a", "--model", "run", "--corpus", "fields.jsonl"], 1, &["--text-field"]),
        (vec!["search", "a", "--model", "run", "--corpus", "missing"], 1, &["missing"]),
        (vec!["search", "a", "--model", "nowhere", "--corpus", "corpus.csv"], 1, &["nowhere"]),
        (vec!["search", "a", "--corpus", "corpus.csv"], 2, &["--model"]),
        (vec!["search", "a", "--method", "bm25", "--model", "run", "--corpus", "corpus.csv"], 2, &["needs no model"]),
        (vec!["search", "a", "--model", "run"], 2, &["--corpus"]),
        (vec!["search", "--model", "run", "--corpus", "corpus.csv"], 2, &["queries"]),
        (vec!["search", "a", "--model", "run", "--corpus", "corpus.csv", "--corpus-field", "body"], 1, &["\"body\""]),
    ] {
        refused(&run(folder, &arguments), code, says);
    }
}
