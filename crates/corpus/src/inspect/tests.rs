use super::*;

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
