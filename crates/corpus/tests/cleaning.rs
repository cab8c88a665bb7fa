//! What cleaning does to prepared data: its tokens, its hash, its records.

use std::fs::File;
use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use loam_corpus::clean::Step;
use loam_corpus::{
    Bytes, Dropped, ExamplePlan, Framing, HeldOutPlan, InspectOptions, PreparePlan, Prepared, SourcePlan,
    TokenizerKind, TokenizerPlan, inspect, prepare,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const ALL: [Step; 4] = [Step::StripTags, Step::Letters, Step::Lowercase, Step::StopWords(None)];

fn lines(path: &Path, texts: &[&str]) -> Vec<String> {
    let lines: Vec<String> = texts.iter().map(|text| format!("{}\n", serde_json::json!({ "text": text }))).collect();
    std::fs::write(path, lines.concat()).unwrap();
    vec![path.display().to_string()]
}

/// A source of one document each, a blank one, and two of which cleaning leaves nothing.
fn plan(folder: &Path, source: &[Step], held_out: &[Step]) -> PreparePlan {
    let texts =
        ["<p>The Cat &amp; the DOG</p>", "a cat, a dog", " ", "<script>x</script>", "to be or not", "bird BIRD"];
    let paths = lines(&folder.join("a.jsonl"), &texts);
    let held = lines(&folder.join("h.jsonl"), &["<b>Cat</b> 7 fish", "the and"]);
    PreparePlan {
        sources: vec![SourcePlan { clean: source.to_vec(), ..SourcePlan::new("a", paths) }],
        held_out: vec![HeldOutPlan { clean: held_out.to_vec(), ..HeldOutPlan::new("h", held) }],
        tokenizer: TokenizerPlan::Train { kind: TokenizerKind::Word, vocabulary: 6, framing: Framing::Plain },
        conversations: None,
        bytes: Bytes::default(),
    }
}

fn made(plan: &PreparePlan, folder: &Path) -> Prepared {
    prepare(plan, folder, &mut |_| {}).unwrap()
}

fn rows(folder: &Path) -> RecordBatch {
    let file = File::open(folder.join("documents.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn texts(rows: &RecordBatch, name: &str) -> Vec<Option<String>> {
    rows.column_by_name(name).unwrap().as_string::<i32>().iter().map(|value| value.map(str::to_owned)).collect()
}

fn dropped(reasons: &[(&str, u64)]) -> Vec<Dropped> {
    reasons.iter().map(|&(reason, documents)| Dropped { reason: reason.to_owned(), documents }).collect()
}

#[test]
fn tokens_records_and_counts_are_of_the_text_after_cleaning() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let prepared = made(&plan(folder.path(), &ALL, &ALL), &out);
    let tokenizer = prepared.tokenizer();
    // "cat dog", "cat dog", "bird bird": three words beside the special ones, six ids in all.
    assert_eq!(tokenizer.vocabulary(), 6);
    assert_eq!(["<PAD>", "<EOS>", "<UNK>"].map(|name| tokenizer.token_id(name)), [Some(0), Some(1), Some(2)]);
    let source = &prepared.sources()[0];
    assert_eq!((source.documents, source.unique_documents, source.duplicate_documents), (3, 2, 1));
    assert_eq!((source.bytes, source.tokens, source.unknown_tokens), (7 + 7 + 9, 9, 0));
    assert_eq!(
        source.dropped,
        dropped(&[("no text", 1), ("nothing left after strip_tags", 1), ("nothing left after stop_words", 1)])
    );
    let held = &prepared.held_out()[0];
    // Of "cat fish", the fish is unknown.
    assert_eq!((held.documents, held.tokens, held.unknown_tokens), (1, 3, 1));
    assert_eq!(held.dropped, dropped(&[("nothing left after stop_words", 1)]));

    let rows = rows(&out);
    let splits: Vec<String> = texts(&rows, "split").into_iter().flatten().collect();
    assert_eq!(splits.iter().filter(|split| *split == "train").count(), 3);
    assert_eq!(splits.iter().filter(|split| *split == "held_out").count(), 1);
    assert_eq!(splits.iter().filter(|split| *split == "dropped").count(), 4);
    for (split, reason) in splits.iter().zip(texts(&rows, "rule")) {
        assert_eq!(split == "dropped", reason.is_some(), "{split} {reason:?}");
    }
    let characters = rows.column_by_name("characters").unwrap().as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(characters, [7, 7, 0, 0, 0, 9, 8, 0]);
}

#[test]
fn other_cleaning_is_other_data() {
    let folder = tempfile::tempdir().unwrap();
    let hash = |source: &[Step], held_out: &[Step]| {
        let prepared = made(&plan(folder.path(), source, held_out), &folder.path().join("out"));
        Prepared::open(prepared.directory()).unwrap().hash().to_owned()
    };
    let hashes = [
        hash(&[], &[]),
        hash(&ALL, &ALL),
        hash(&ALL, &[]),
        hash(&[Step::Lowercase, Step::StripTags], &[]),
        // Another order that gives the same tokens is another recipe for later text all the same.
        hash(&[Step::StripTags, Step::Lowercase], &[]),
    ];
    for (at, one) in hashes.iter().enumerate() {
        assert!(!hashes[..at].contains(one), "{at}: {hashes:?}");
    }
    assert_eq!(hash(&ALL, &ALL), hashes[1]);
}

#[test]
fn both_sides_of_a_pair_are_cleaned_and_must_be_left() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pairs.txt");
    std::fs::write(&file, "The <b>Cat</b>\tDIE Katze\nof the\tder Hund\nBird 9\tVogel 9\n").unwrap();
    let paths = vec![file.display().to_string()];
    let examples = Some(ExamplePlan::Fields { input: "1".into(), target: "2".into() });
    let plan = PreparePlan {
        sources: vec![SourcePlan {
            examples: examples.clone(),
            clean: ALL.to_vec(),
            ..SourcePlan::new("p", paths.clone())
        }],
        held_out: vec![HeldOutPlan { examples, clean: ALL.to_vec(), ..HeldOutPlan::new("h", paths) }],
        tokenizer: TokenizerPlan::Train { kind: TokenizerKind::Word, vocabulary: 60, framing: Framing::Pairs },
        conversations: None,
        bytes: Bytes::default(),
    };
    let prepared = made(&plan, &folder.path().join("out"));
    let stream = prepared.train_examples(0).unwrap();
    let sides = |index: usize| {
        let (input, target) = stream.pair(index);
        (prepared.tokenizer().decode(&input), prepared.tokenizer().decode(&target))
    };
    assert_eq!(stream.len(), 2);
    assert_eq!(sides(0), ("cat".to_owned(), "die katze".to_owned()));
    assert_eq!(sides(1), ("bird".to_owned(), "vogel".to_owned()));
    assert_eq!(prepared.sources()[0].dropped, dropped(&[("nothing left after stop_words", 1)]));
}

#[test]
fn a_look_shows_text_before_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let paths = plan(folder.path(), &[], &[]).sources[0].paths.clone();
    let options = InspectOptions { clean: ALL.to_vec(), ..InspectOptions::default() };
    let found = inspect(&paths, &options).unwrap();
    assert_eq!((found.documents, found.empty_documents), (3, 3));
    assert_eq!(found.preview[0].before.as_deref(), Some("<p>The Cat &amp; the DOG</p>"));
    assert_eq!(found.preview[0].text, "cat dog");
    assert_eq!(found.dropped.len(), 3);
    let plain = inspect(&paths, &InspectOptions::default()).unwrap();
    assert_eq!((plain.documents, plain.preview[0].before.as_ref()), (5, None));
}
