//! Real corpora, when they are at hand: the folder in `LOAM_TEST_DATA`, or `../shared` beside the workspace.

use std::path::{Path, PathBuf};

use loam_corpus::{
    Bytes, Framing, HeldOutPlan, InspectOptions, PreparePlan, ReadOptions, SourcePlan, TokenizerKind, TokenizerPlan,
    inspect, prepare, read_documents,
};

/// The folder of language-model data, or a line that says why the test is left out.
fn data() -> Option<PathBuf> {
    let beside = PathBuf::from("../../../shared");
    let root = std::env::var_os("LOAM_TEST_DATA").map_or(beside, PathBuf::from);
    let folder = root.join("data").join("lm");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("left out: no data/lm below LOAM_TEST_DATA or ../shared");
    None
}

fn path(folder: &Path, name: &str) -> Vec<String> {
    vec![folder.join(name).to_string_lossy().into_owned()]
}

#[test]
fn wikitext_has_the_articles_it_is_known_to_have() {
    let Some(folder) = data() else { return };
    for (name, articles) in [("train", 600), ("valid", 60), ("test", 60)] {
        let paths = path(&folder, &format!("wikitext2.{name}.raw.gz"));
        let documents = read_documents(&paths, &ReadOptions::default()).unwrap();
        assert_eq!(documents.map(Result::unwrap).count(), articles, "{name}");
    }
}

#[test]
fn wikitext_is_prepared_with_its_own_held_out_file() {
    let Some(folder) = data() else { return };
    let out = tempfile::tempdir().unwrap();
    let plan = PreparePlan {
        sources: vec![SourcePlan::new("wikitext", path(&folder, "wikitext2.train.raw.gz"))],
        held_out: vec![HeldOutPlan::new("wikitext", path(&folder, "wikitext2.valid.raw.gz"))],
        tokenizer: TokenizerPlan::Train { kind: TokenizerKind::Bpe, vocabulary: 2048, framing: Framing::Plain },
        conversations: None,
        bytes: Bytes::default(),
    };
    let prepared = prepare(&plan, &out.path().join("prepared"), &mut |_| {}).unwrap();
    let again = prepare(&plan, &out.path().join("again"), &mut |_| {}).unwrap();
    assert_eq!(prepared.hash(), again.hash());
    assert_eq!((prepared.sources()[0].documents, prepared.held_out()[0].documents), (600, 60));
    assert_eq!(prepared.held_out()[0].overlap_documents, 0);
    let stream = prepared.held_out_stream(0);
    let bytes: usize = stream.iter().map(|id| prepared.tokenizer().token_bytes(id)).sum();
    assert_eq!(bytes as u64, prepared.held_out()[0].bytes, "every byte of text is in exactly one token");
}

#[test]
fn chinese_novels_and_poems_are_read() {
    let Some(folder) = data() else { return };
    let found = inspect(&path(&folder, "红楼梦.txt"), &InspectOptions::default()).unwrap();
    assert!(found.documents > 30 && found.scripts.cjk > 0.9, "{found:?}");
    let poems = InspectOptions { text_field: Some("paragraphs".to_owned()), ..InspectOptions::default() };
    let found = inspect(&path(&folder, "poet.tang.0.json"), &poems).unwrap();
    assert_eq!(found.documents, 1000);
    let message = inspect(&path(&folder, "poet.tang.0.json"), &InspectOptions::default()).unwrap_err().to_string();
    assert!(message.contains("paragraphs (array)"), "{message}");
    let pages = inspect(&path(&folder, "c4_demo.jsonl"), &InspectOptions::default()).unwrap();
    assert!(pages.documents > 100 && pages.fields.contains_key("text"));
}
