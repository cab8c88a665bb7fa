use super::*;
use crate::prepare::Marked;
use crate::read::Turn;

/// What was said by whom, of which the answers are learned; conversations that begin with an answer are not taken.
fn writer() -> ConversationWriter {
    ConversationWriter(Arc::new(|turns: &[Turn]| {
        let mut written = Marked::default();
        if turns[0].role == "assistant" {
            return Err("an answer comes first".to_owned());
        }
        for turn in turns {
            written.text.push_str(&format!("{}: ", turn.role));
            let start = written.text.len();
            written.text.push_str(&turn.content);
            if turn.role == "assistant" {
                written.answers.push(start..written.text.len());
            }
            written.text.push('\n');
        }
        Ok(written)
    }))
}

fn look_at(records: &str, options: InspectOptions) -> Inspection {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    std::fs::write(&path, records).unwrap();
    inspect(&[path.to_str().unwrap().to_owned()], &options).unwrap()
}

#[test]
fn conversations_are_shown_as_a_model_reads_them() {
    let records = concat!(
        r#"{"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "Hello."}]}"#,
        "\n",
        r#"{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}"#,
        "\n",
        r#"{"instruction": "i", "input": "", "output": "o"}"#,
        "\n",
        r#"{"instruction": "i", "input": "", "output": ""}"#,
        "\n",
        r#"{"messages": [{"role": "user", "content": "q"}]}"#,
        "\n",
        r#"{"messages": [{"role": "assistant", "content": "a"}]}"#,
    );
    let found = look_at(records, InspectOptions { conversations: Some(writer()), ..InspectOptions::default() });
    assert_eq!((found.documents, found.empty_documents), (4, 2));
    let reasons: Vec<(&str, u64)> = found.dropped.iter().map(|d| (d.reason.as_str(), d.documents)).collect();
    assert_eq!(reasons, [("no text", 1), ("no answer to learn", 1)]);
    let first = &found.preview[0];
    assert_eq!(first.text, "user: 你好\nassistant: Hello.\n");
    assert_eq!(first.learned, Some(vec![[20, 26]]));
    let examples = found.examples.as_ref().unwrap();
    assert_eq!((examples.conversations, examples.messages, examples.pairs), (4, 7, 0));
    assert_eq!((examples.characters, examples.learned_characters), (27 + 21 + 21, 6 + 1 + 1));
    assert_eq!((examples.learned_tokens, examples.refused), (None, 1));
    assert!(examples.first_refusal.as_ref().unwrap().ends_with(": an answer comes first"));
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["preview"][0]["learned"], serde_json::json!([[20, 26]]));
    assert_eq!(serde_json::from_value::<Inspection>(json).unwrap(), found);
}

#[test]
fn pairs_are_recognized_or_named_and_texts_stay_texts() {
    let pair = r#"{"source": "a house", "target": "ein Haus", "id": "x"}"#;
    let found = look_at(pair, InspectOptions::default());
    assert_eq!(found.preview[0].text, "a house<|endoftext|>ein Haus<|endoftext|>");
    assert_eq!(found.preview[0].learned, Some(vec![[20, 41]]));
    let fields = ExamplePlan::Fields { input: "id".to_owned(), target: "source".to_owned() };
    let found = look_at(pair, InspectOptions { examples: Some(fields), ..InspectOptions::default() });
    assert_eq!(found.preview[0].text, "x<|endoftext|>a house<|endoftext|>");
    // A field for the text, asked for or there, comes first, and so does the only one that could hold it.
    for record in [
        r#"{"text": "t", "instruction": "i", "output": "o"}"#,
        r#"{"text": "t", "source": "s", "target": "t"}"#,
        r#"{"question": "t"}"#,
        "\"t\"",
    ] {
        let found = look_at(record, InspectOptions::default());
        assert_eq!((found.preview[0].text.as_str(), &found.examples), ("t", &None), "{record}");
    }
    let asked = InspectOptions { text_field: Some("source".to_owned()), ..InspectOptions::default() };
    assert_eq!(look_at(pair, asked).examples, None);
}

#[test]
fn languages_are_told_by_their_characters() {
    let english = "The old house stood at the end of the lane, and nobody had lived in it for many years.";
    let chinese = "这是一个很短的中文句子，用来测试语言识别，没有别的意思。";
    let line = |text: &str| serde_json::json!({ "text": text }).to_string();
    let found = look_at(&[english, chinese, "12345"].map(line).join("\n"), InspectOptions::default());
    let codes: Vec<(&str, u64, u64)> =
        found.languages.iter().map(|share| (share.code.as_str(), share.documents, share.characters)).collect();
    assert_eq!(codes, [("en", 1, 86), ("zh", 1, 28), ("und", 1, 5)]);
}

#[test]
fn one_pass_tells_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let texts = ["plain text", "红楼梦", "plain text", "", "<p>left</p>", "donâ€™t"];
    let line = |text: &&str| format!("{}\n", serde_json::json!({ "text": text, "n": 1, "tags": [] }));
    let lines: Vec<String> = texts.iter().map(line).collect();
    std::fs::write(&path, lines.concat()).unwrap();
    std::fs::write(folder.path().join("b.pdf"), "x").unwrap();
    let options = InspectOptions { preview: 2, preview_characters: 5, ..InspectOptions::default() };
    let found = inspect(&[folder.path().to_str().unwrap().to_owned()], &options).unwrap();
    assert_eq!((found.files, found.skipped_files.len()), (1, 1));
    assert_eq!((found.documents, found.empty_documents), (5, 1));
    assert_eq!((found.unique_documents, found.duplicate_documents, found.duplicate_bytes), (4, 1, 10));
    assert_eq!(found.most_repeated[0].copies, 2);
    assert_eq!(found.preview.len(), 2);
    assert_eq!((found.preview[0].text.as_str(), found.preview[0].characters), ("plain", 10));
    assert_eq!((found.document_characters.min, found.document_characters.max), (3, 11));
    assert_eq!(found.fields["text"]["string"], 6);
    assert_eq!(found.fields["tags"]["array"], 6);
    let kinds: Vec<OddityKind> = found.oddities.iter().map(|oddity| oddity.kind).collect();
    assert_eq!(kinds, [OddityKind::EmptyDocument, OddityKind::HtmlLeft, OddityKind::Mojibake]);
    assert!((found.scripts.ascii + found.scripts.cjk + found.scripts.other - 1.0).abs() < 1e-12);
    assert!((found.scripts.cjk - 3.0 / found.characters as f64).abs() < 1e-12);
    assert_eq!(found.tokens, None);
    let json = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Inspection>(&json).unwrap(), found);
}

#[test]
fn an_empty_file_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    std::fs::write(&path, "").unwrap();
    let found = inspect(&[path.to_str().unwrap().to_owned()], &InspectOptions::default()).unwrap();
    assert_eq!((found.documents, found.characters, found.document_characters.mean), (0, 0, 0.0));
}
