//! `loam data inspect` as its users meet it: whole outputs, word for word.

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn loam(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loam"));
    command.args(["data", "inspect"]).args(arguments).current_dir(folder).stdin(Stdio::null()).env("NO_COLOR", "1");
    command.output().expect("the program starts")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What was said, without the line of languages: what short texts are taken for is the business of other tests.
fn without_languages(said: &str) -> String {
    let lines: Vec<&str> = said.split_inclusive('\n').filter(|line| !line.starts_with("language: ")).collect();
    assert_eq!(lines.len() + 1, said.split_inclusive('\n').count(), "{said}");
    lines.concat()
}

fn warned(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn looked(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(&loam(folder, &[arguments, &["--json"]].concat()))).expect("JSON")
}

const CHAT: &str = r#"[
  {"instruction": "把这句话译成英文。", "input": "老房子在巷子的尽头。", "output": "The old house is at the end of the lane."},
  {"instruction": "Name a river in China.", "input": "", "output": "长江。"},
  {"instruction": "Name a river in China.", "input": "", "output": ""}
]"#;

#[test]
fn alpaca_is_shown_with_what_is_learned_in_brackets() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("chat.json"), CHAT).unwrap();
    let shown = said(&loam(at, &["chat.json", "-n", "1"]));
    let expected = format!(
        "\
2 documents in 1 file, 132 bytes, 88 characters
records: 2 conversations of 4 messages, as the template writes them: chatml
learned: 30.3 % of the characters that a model reads of conversations
left out by training: 1 document: no text
length in characters: least 26, median 26, mean 44, 95 % below 26, most 62
script: 75.0 % ASCII, 25.0 % Chinese, Japanese or Korean, 0.0 % other
exact duplicates: 0 of 2 documents (0.0 %), 0 bytes
fields:
  input        string × 3
  instruction  string × 3
  output       string × 3
odd: 1 document with no text (they are left out); the first: chat.json at byte {}

--- 1 · chat.json at byte 4 · 62 characters · ⟦ ⟧ is learned
<|im_start|>user
把这句话译成英文。

老房子在巷子的尽头。<|im_end|>
<|im_start|>assistant
⟦The old house is at the end of the lane.<|im_end|>⟧
",
        CHAT.rfind('{').unwrap()
    );
    assert_eq!(without_languages(&shown), expected);
    let json = looked(at, &["chat.json"]);
    let first = &json["preview"][0];
    let text: Vec<char> = first["text"].as_str().unwrap().chars().collect();
    let learned = first["learned"][0].as_array().unwrap();
    let [from, to] = [0, 1].map(|end| learned[end].as_u64().unwrap() as usize);
    assert_eq!(text[from..to].iter().collect::<String>(), "The old house is at the end of the lane.<|im_end|>");
    assert_eq!(json["examples"]["conversations"], 2);
    assert_eq!(json["examples"]["learned_tokens"], Value::Null);
}

#[test]
fn a_tokenizer_counts_and_its_template_writes() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let messages = json!({"messages": [
        {"role": "user", "content": "one two three"}, {"role": "assistant", "content": "four five"},
        {"role": "user", "content": "six"}, {"role": "assistant", "content": "seven"},
    ]});
    fs::write(at.join("chat.jsonl"), format!("{messages}\n")).unwrap();
    fs::write(at.join("words.txt"), "one two three four five six seven Q A ".repeat(40)).unwrap();
    let train = ["tokenizer", "train", "words.txt", "--kind", "bpe", "--vocab", "300", "-o", "tokenizer"];
    let made = Command::new(env!("CARGO_BIN_EXE_loam")).args(train).current_dir(at).output().unwrap();
    assert!(made.status.success(), "{}", warned(&made));
    let template = "{% for m in messages %}{{ 'Q\\n' if m.role == 'user' else 'A\\n' }}{{ m.content }}\n{% endfor %}\
                    {% if add_generation_prompt %}{{ 'A\\n' }}{% endif %}";
    fs::write(at.join("tokenizer/chat_template.jinja"), template).unwrap();
    let with_tokenizer = ["chat.jsonl", "--tokenizer", "tokenizer"];
    let shown = said(&loam(at, &with_tokenizer));
    assert!(shown.contains("as the template writes them: that of tokenizer\n"), "{shown}");
    assert!(shown.ends_with("\nQ\none two three\nA\n⟦four five⟧\nQ\nsix\nA\n⟦seven⟧\n"), "{shown}");
    let json = looked(at, &["chat.jsonl", "--tokenizer", "tokenizer/tokenizer.json"]);
    assert_eq!(json["examples"]["learned_tokens"], json["preview"][0]["learned_tokens"]);
    assert!(json["preview"][0]["learned_tokens"].as_u64() < json["preview"][0]["tokens"].as_u64());
    let chatml = said(&loam(at, &[&with_tokenizer[..], &["--template", "chatml"]].concat()));
    assert!(
        chatml.contains("as the template writes them: chatml\n") && chatml.contains("⟦seven<|im_end|>⟧"),
        "{chatml}"
    );

    // What the template refuses is told with its place, and the rest is shown.
    let refusing =
        format!("{{% if messages|length > 3 %}}{{{{ raise_exception('too long') }}}}{{% endif %}}{template}");
    fs::write(at.join("tokenizer/chat_template.jinja"), refusing).unwrap();
    let output = loam(at, &with_tokenizer);
    let warning = warned(&output);
    assert!(warning.contains("chat.jsonl: the record at byte 0") && warning.contains("too long"), "{warning}");
    assert!(warning.contains("training would stop here"), "{warning}");
    assert!(said(&output).ends_with("\none two three\nfour five\nsix\nseven\n"));
}

#[test]
fn pairs_of_fields_and_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("pairs.csv"), "id,source,target\n1,a house,房子\n2,a cat,猫\n").unwrap();
    let shown = said(&loam(at, &["pairs.csv", "-n", "1"]));
    assert!(shown.contains("records: 2 pairs\n"), "{shown}");
    assert!(shown.ends_with("\na house<|endoftext|>⟦房子<|endoftext|>⟧\n"), "{shown}");
    let named = looked(at, &["pairs.csv", "--input-field", "target", "--target-field", "source"]);
    assert_eq!(named["preview"][0]["text"], "房子<|endoftext|>a house<|endoftext|>");
    fs::write(at.join("a.en"), "a house\na cat\n").unwrap();
    fs::write(at.join("a.zh"), "房子\n猫\n").unwrap();
    let files = looked(at, &["a.en", "--targets", "a.zh"]);
    assert_eq!(files["examples"]["pairs"], 2);
    assert_eq!(files["preview"][1]["learned"], json!([[18, 32]]));
    let misused = loam(at, &["pairs.csv", "--input-field", "target"]);
    assert_eq!(misused.status.code(), Some(2));
    let both = loam(at, &["pairs.csv", "--conversations", "--text-field", "source"]);
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn a_folder_of_several_kinds_is_told_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let prose = "The old house stood at the end of the lane, and nobody had lived in it for many years.";
    fs::create_dir(at.join("data")).unwrap();
    fs::write(at.join("data/a.csv"), format!("名字,text\n一,\"{prose}\"\n二,\"<b>bold</b><br>\"\n")).unwrap();
    fs::write(at.join("data/b.txt"), prose).unwrap();
    fs::write(at.join("data/c.jsonl"), "{\"prompt\": \"q\", \"completion\": \"a\"}\n").unwrap();
    fs::write(at.join("data/d.html"), format!("<html><body><article><p>{prose}</p></article></body></html>")).unwrap();
    fs::write(at.join("data/e.pdf"), "x").unwrap();
    let output = loam(at, &["data", "-n", "0"]);
    let expected = "\
5 documents in 4 files, 276 bytes, 276 characters
records: 1 conversation of 2 messages, as the template writes them: chatml; 4 texts
learned: 17.5 % of the characters that a model reads of conversations
length in characters: least 3, median 86, mean 55, 95 % below 86, most 86
script: 100.0 % ASCII, 0.0 % Chinese, Japanese or Korean, 0.0 % other
exact duplicates: 2 of 5 documents (40.0 %), 172 bytes
";
    let shown = without_languages(&said(&output));
    assert!(shown.starts_with(expected), "{shown}");
    assert!(shown.contains("\nfields:\n  completion  string × 1\n  prompt      string × 1\n  text        string × 2\n  名字        string × 2\n"), "{shown}");
    assert!(
        shown.contains("odd: 1 document with HTML tags or entities left in; the first: data/a.csv at byte "),
        "{shown}"
    );
    let warning = warned(&output);
    assert!(warning.contains("data/e.pdf: left out") && warning.contains("records of several kinds"), "{warning}");
}
