use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::permutation::mix;
use crate::tokenizer::{END_OF_TEXT, Framing, TokenizerKind};
use crate::{Bytes, CorpusError, normalize};

fn train(vocabulary: usize) -> TokenizerPlan {
    TokenizerPlan::Train { kind: TokenizerKind::Bpe, vocabulary, framing: Framing::Plain }
}

fn json_lines(path: &Path, texts: impl IntoIterator<Item = String>) -> Vec<String> {
    let line = |text: String| format!("{}\n", serde_json::json!({ "text": text }));
    let lines: Vec<String> = texts.into_iter().map(line).collect();
    std::fs::write(path, lines.concat()).unwrap();
    vec![path.to_str().unwrap().to_owned()]
}

fn sentence(seed: u64) -> String {
    (0..12).map(|k| format!("word{} ", mix(seed * 31 + k) % 500)).collect::<Vec<_>>().concat()
}

fn quiet(plan: &PreparePlan, directory: &Path) -> Result<Prepared, CorpusError> {
    prepare(plan, directory, &mut |_| {})
}

fn rows(directory: &Path) -> RecordBatch {
    let file = File::open(directory.join("documents.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(1 << 20).build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn strings(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let column = batch.column_by_name(name).unwrap().as_string::<i32>();
    column.iter().map(|value| value.map(str::to_owned)).collect()
}

fn numbers(batch: &RecordBatch, name: &str) -> Vec<i64> {
    batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec()
}

/// 1000 documents of which every tenth stands five times, and 30 in another source.
fn two_sources(folder: &Path) -> PreparePlan {
    let many = (0..1000u64).flat_map(|k| vec![sentence(k); if k % 10 == 0 { 5 } else { 1 }]);
    let few = (0..30u64).map(|k| sentence(1000 + k)).chain([sentence(0), String::new(), " \n".to_owned()]);
    PreparePlan {
        conversations: None,
        bytes: Bytes::default(),
        sources: vec![
            SourcePlan::new("many", json_lines(&folder.join("many.jsonl"), many)),
            SourcePlan { weight: 2.0, ..SourcePlan::new("few / odd", json_lines(&folder.join("few.jsonl"), few)) },
        ],
        held_out: Vec::new(),
        tokenizer: train(600),
    }
}

#[test]
fn everything_is_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let plan = two_sources(folder.path());
    let out = folder.path().join("out");
    let prepared = quiet(&plan, &out).unwrap();
    prepared.verify().unwrap();
    assert_eq!(prepared.tokenizer().vocabulary(), 600);

    let [many, few] = prepared.sources() else { panic!("two sources") };
    assert_eq!(prepared.held_out().len(), 2);
    assert_eq!(many.documents + prepared.held_out()[0].documents, 1400);
    assert_eq!(many.documents, many.unique_documents + many.duplicate_documents);
    assert!(many.most_repeated.iter().all(|repeated| repeated.copies == 5) && many.most_repeated.len() == 10);
    let held = prepared.held_out()[0].documents as f64 / 1400.0;
    assert!((0.005..0.05).contains(&held), "held out {held}");
    assert_eq!(prepared.held_out()[0].overlap_documents, 0);
    let weighted = many.tokens as f64 + 2.0 * few.tokens as f64;
    assert!((many.share - many.tokens as f64 / weighted).abs() < 1e-12);

    // Every row's token range decodes to its text, and copies never cross.
    let batch = rows(&out);
    let (sources, splits, domains) = (strings(&batch, "source"), strings(&batch, "split"), strings(&batch, "domain"));
    let (hashes, ids, firsts) =
        (strings(&batch, "content_hash"), strings(&batch, "id"), strings(&batch, "duplicate_of"));
    let (starts, tokens, bytes) = (numbers(&batch, "token_start"), numbers(&batch, "tokens"), numbers(&batch, "bytes"));
    let (copies, offsets) = (numbers(&batch, "copies"), numbers(&batch, "offset"));
    assert_eq!(
        batch.num_rows() as u64,
        many.documents + few.documents + prepared.held_out().iter().map(|h| h.documents).sum::<u64>() + 2
    );
    assert_eq!(few.dropped, [Dropped { reason: "no text".to_owned(), documents: 2 }]);
    assert_eq!(splits.iter().filter(|split| split.as_deref() == Some("dropped")).count(), 2);
    let mut trained: HashMap<&str, i64> = HashMap::new();
    for row in 0..batch.num_rows() {
        if splits[row].as_deref() == Some("train") {
            *trained.entry(hashes[row].as_deref().unwrap()).or_default() += 1;
        }
    }
    let mut distinct = std::collections::HashSet::new();
    for row in (0..batch.num_rows()).filter(|&row| splits[row].as_deref() != Some("dropped")) {
        let number = usize::from(sources[row].as_deref() == Some("few / odd"));
        let held_out = domains[row].is_some();
        assert_eq!(held_out, splits[row].as_deref() == Some("held_out"));
        let stream = if held_out { prepared.held_out_stream(number) } else { prepared.train_stream(number) };
        let mut range = Vec::new();
        stream.get(starts[row] as usize..(starts[row] + tokens[row]) as usize + 1, &mut range);
        assert_eq!(range.pop(), prepared.tokenizer().end_of_text());
        let text = prepared.tokenizer().decode(&range);
        assert_eq!(text.len() as i64, bytes[row]);
        let hash = hashes[row].as_deref().unwrap();
        assert_eq!(trained.get(hash).copied().unwrap_or(0), copies[row]);
        if !held_out {
            let first = firsts[row].as_deref();
            assert_eq!(first.is_some(), !distinct.insert(hash.to_owned()), "row {row}");
            if let Some(first) = first {
                let original = ids.iter().position(|id| id.as_deref() == Some(first)).unwrap();
                assert_eq!(hashes[original].as_deref(), Some(hash));
                assert!(original < row && firsts[original].is_none());
            }
        }
    }
    assert!(offsets.iter().any(|&offset| offset > 0));
    assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), batch.num_rows());
    let stream_tokens: usize = prepared.train_stream(0).len();
    assert_eq!(stream_tokens as u64, many.tokens);
}

#[test]
fn the_same_plan_gives_the_same_bytes_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    let plan = two_sources(folder.path());
    let out = folder.path().join("out");
    let bytes = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| quiet(&plan, &out)).unwrap();
        let mut files: Vec<PathBuf> = walkdir::WalkDir::new(&out)
            .into_iter()
            .map(|entry| entry.unwrap().into_path())
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect::<Vec<_>>()
    };
    let once = bytes(1);
    assert!(once.len() >= 8);
    assert!(once == bytes(3) && once == bytes(2));
}

#[test]
fn a_short_text_holds_out_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let text = (0..300).map(|k| format!("{}\n\n", sentence(k))).collect::<Vec<_>>().concat();
    let path = folder.path().join("book.txt");
    std::fs::write(&path, &text).unwrap();
    let plan = PreparePlan {
        conversations: None,
        bytes: Bytes::default(),
        sources: vec![SourcePlan::new("book", vec![path.to_str().unwrap().to_owned()])],
        held_out: Vec::new(),
        tokenizer: train(400),
    };
    let prepared = quiet(&plan, &folder.path().join("out")).unwrap();
    let decode = |stream: &crate::TokenStream| prepared.tokenizer().decode(&stream.iter().collect::<Vec<_>>());
    let (train, held) = (decode(prepared.train_stream(0)), decode(prepared.held_out_stream(0)));
    assert_eq!(format!("{train}{held}"), normalize(&text));
    assert!(held.starts_with("word") && train.ends_with("\n\n"));
    let share = held.len() as f64 / text.len() as f64;
    assert!((0.01..0.09).contains(&share), "{share}");
}

#[test]
fn one_text_again_and_again_still_leaves_something_to_train_on() {
    let folder = tempfile::tempdir().unwrap();
    // Among fifty texts there is one whose hash is small enough to be held out.
    for (seed, other) in (0..50).map(|seed| (seed, seed % 2)) {
        let texts = (0..400).map(|_| sentence(seed)).chain((0..other).map(|k| sentence(1000 + k)));
        let plan = PreparePlan {
            conversations: None,
            bytes: Bytes::default(),
            sources: vec![SourcePlan::new("same", json_lines(&folder.path().join("a.jsonl"), texts))],
            held_out: Vec::new(),
            tokenizer: train(300),
        };
        let prepared = quiet(&plan, &folder.path().join("out")).unwrap();
        let held = prepared.held_out()[0].documents;
        assert!(prepared.sources()[0].documents > 360 && (1..40).contains(&held), "{held} held out");
        // Copies that do cross are told.
        assert!(prepared.held_out()[0].overlap_documents + 2 >= held, "but for a cut one and the other");
    }
}

#[test]
fn held_out_files_are_compared_with_the_training_text() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = two_sources(folder.path());
    let held = json_lines(&folder.path().join("held.jsonl"), [sentence(0), sentence(1), sentence(9999)]);
    plan.held_out = vec![HeldOutPlan::new("many", held)];
    let out = folder.path().join("out");
    let prepared = quiet(&plan, &out).unwrap();
    assert_eq!(prepared.held_out()[0].overlap_documents, 2);
    assert_eq!(prepared.sources()[0].documents, 1400);
    let batch = rows(&out);
    let firsts = strings(&batch, "duplicate_of");
    let last = batch.num_rows() - 3;
    assert_eq!([last, last + 1, last + 2].map(|row| firsts[row].is_some()), [true, true, false]);
    assert_eq!(numbers(&batch, "copies")[last..], [6, 1, 0]);
}

#[test]
fn text_that_spells_the_end_of_a_document_ends_none() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [format!("a {END_OF_TEXT} b"), "c".to_owned()];
    let plan = PreparePlan {
        conversations: None,
        bytes: Bytes::default(),
        sources: vec![SourcePlan::new("s", json_lines(&folder.path().join("a.jsonl"), texts))],
        held_out: vec![HeldOutPlan::new("h", json_lines(&folder.path().join("h.jsonl"), ["d".to_owned()]))],
        tokenizer: train(260),
    };
    let prepared = quiet(&plan, &folder.path().join("out")).unwrap();
    assert_eq!(prepared.train_stream(0).iter().filter(|&id| id == 0).count(), 2);
}

#[test]
fn what_cannot_be_prepared_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let good = || SourcePlan::new("s", json_lines(&folder.path().join("a.jsonl"), (0..9).map(sentence)));
    let empty = folder.path().join("empty.txt");
    std::fs::write(&empty, "\n").unwrap();
    let empty = vec![empty.to_str().unwrap().to_owned()];
    let plan = |sources: Vec<SourcePlan>| PreparePlan {
        sources,
        held_out: Vec::new(),
        tokenizer: train(300),
        conversations: None,
        bytes: Bytes::default(),
    };
    let cases = [
        (plan(Vec::new()), "no source"),
        (plan(vec![SourcePlan { weight: -1.0, ..good() }]), "weight"),
        (plan(vec![SourcePlan { weight: f64::NAN, ..good() }]), "weight"),
        (plan(vec![SourcePlan { weight: 0.0, ..good() }]), "weight 0"),
        (plan(vec![good(), good()]), "two sources"),
        (plan(vec![SourcePlan::new("void", empty.clone())]), "source \"void\" has no text"),
        (plan(vec![SourcePlan::new("s", vec!["no/such.txt".to_owned()])]), "no/such.txt"),
        (PreparePlan { held_out: vec![HeldOutPlan::new("void", empty)], ..plan(vec![good()]) }, "domain \"void\""),
        (PreparePlan { tokenizer: train(5), ..plan(vec![good()]) }, "vocabulary of 5"),
        (PreparePlan { tokenizer: TokenizerPlan::File("no.json".into()), ..plan(vec![good()]) }, "no.json"),
    ];
    for (plan, expected) in cases {
        let out = folder.path().join("out");
        let message = quiet(&plan, &out).unwrap_err().to_string();
        assert!(message.contains(expected), "{expected}: {message}");
        assert!(!out.exists() && !folder.path().join(".out.partial").exists());
    }
    let foreign = folder.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("precious"), "x").unwrap();
    assert!(quiet(&plan(vec![good()]), &foreign).is_err());
    assert!(foreign.join("precious").exists());
}

#[test]
fn an_older_result_is_replaced_and_a_killed_one_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = two_sources(folder.path());
    let out = folder.path().join("out");
    let before = quiet(&plan, &out).unwrap().hash().to_owned();
    std::fs::create_dir_all(folder.path().join(".out.partial/train")).unwrap();
    std::fs::write(folder.path().join(".out.partial/train/left.tokens"), "x").unwrap();
    plan.sources[0].weight = 3.0;
    let prepared = quiet(&plan, &out).unwrap();
    assert_ne!(prepared.hash(), before);
    assert!(!out.join("train/left.tokens").exists() && !folder.path().join(".out.partial").exists());
    assert!(!out.join(".lock").exists());
}

#[test]
fn a_damaged_folder_is_refused_with_the_file_that_is() {
    let folder = tempfile::tempdir().unwrap();
    let plan = two_sources(folder.path());
    let out = folder.path().join("out");
    let missing = Prepared::open(&out).unwrap_err().to_string();
    assert!(missing.contains("not a prepared folder"), "{missing}");
    let shard = quiet(&plan, &out).unwrap().directory().join("train/many-00000.tokens");
    let whole = std::fs::read(&shard).unwrap();
    let mut changed = whole.clone();
    changed[4] ^= 1;
    std::fs::write(&shard, &changed).unwrap();
    assert!(Prepared::open(&out).unwrap().verify().unwrap_err().to_string().contains("many-00000.tokens"));
    std::fs::write(&shard, &whole[1..]).unwrap();
    assert!(Prepared::open(&out).unwrap_err().to_string().contains("many-00000.tokens"));
    std::fs::write(&shard, &whole).unwrap();
    let index = out.join("index.json");
    let text = std::fs::read_to_string(&index).unwrap();
    for broken in [
        &text[..text.len() / 2],
        "{}",
        &text.replace("\"format\": 1", "\"format\": 2"),
        &text.replace("many-0", "../m-0"),
    ] {
        std::fs::write(&index, broken).unwrap();
        let message = Prepared::open(&out).unwrap_err().to_string();
        assert!(message.contains("index.json"), "{message}");
    }
}

/// Pairs of sentences of different lengths; every hundredth input is long.
fn pairs(folder: &Path, count: u64) -> PreparePlan {
    let (mut inputs, mut targets) = (String::new(), String::new());
    for number in 0..count {
        let words = if number % 100 == 99 { 60 } else { 1 + number % 9 };
        let word = |k: u64| format!("w{} ", mix(number * 77 + k) % 40);
        inputs.push_str(&(0..words).map(word).collect::<String>());
        targets.push_str(&(0..=number % 5).map(|k| word(k + 30)).collect::<String>());
        inputs.push('\n');
        targets.push('\n');
    }
    let (from, to) = (folder.join("x.from"), folder.join("x.to"));
    std::fs::write(&from, inputs).unwrap();
    std::fs::write(&to, targets).unwrap();
    let text = |path: PathBuf| vec![path.to_str().unwrap().to_owned()];
    let source = SourcePlan { examples: Some(ExamplePlan::Files(text(to))), ..SourcePlan::new("pairs", text(from)) };
    let tokenizer = TokenizerPlan::Train { kind: TokenizerKind::Bpe, vocabulary: 320, framing: Framing::Pairs };
    PreparePlan { sources: vec![source], held_out: Vec::new(), tokenizer, conversations: None, bytes: Bytes::default() }
}

#[test]
fn pairs_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let prepared = quiet(&pairs(folder.path(), 1000), &folder.path().join("data")).unwrap();
    let tokenizer = prepared.tokenizer();
    assert_eq!(tokenizer.token_id("<pad>").map(|id| tokenizer.token_bytes(id)), Some(0));
    assert_eq!(tokenizer.encode_framed("w1", 100).last().copied(), tokenizer.end_of_text());
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let (inputs, targets) = (read("x.from"), read("x.to"));
    let all: HashMap<String, usize> =
        inputs.lines().zip(targets.lines()).fold(HashMap::new(), |mut all, (input, target)| {
            *all.entry(format!("{}|{}", input.trim(), target.trim())).or_default() += 1;
            all
        });
    let mut found: HashMap<String, usize> = HashMap::new();
    let (train, held_out) = (prepared.train_examples(0).unwrap(), prepared.held_out_examples(0).unwrap());
    for stream in [train, held_out] {
        for index in 0..stream.len() {
            let (input, target) = stream.pair(index);
            assert_eq!((input.len(), target.len()), stream.lengths(index));
            assert_eq!(
                (input.last().copied(), target.last().copied()),
                (tokenizer.end_of_text(), tokenizer.end_of_text())
            );
            *found.entry(format!("{}|{}", tokenizer.decode(&input), tokenizer.decode(&target))).or_default() += 1;
        }
    }
    assert_eq!(found, all);
    assert!(!held_out.is_empty());
    prepared.verify().unwrap();
}

#[test]
fn a_loader_shows_every_pair_once_an_epoch_and_goes_on_from_anywhere() {
    use crate::loader::{Fit, PairLoader};
    let folder = tempfile::tempdir().unwrap();
    let prepared = quiet(&pairs(folder.path(), 700), &folder.path().join("data")).unwrap();
    let loader = || PairLoader::new(&prepared, Fit::Sides(40), 160, 5).unwrap();
    let stream = prepared.train_examples(0).unwrap();
    let fitting = crate::loader::fitting(stream, Fit::Sides(40));
    let mut one = loader();
    assert_eq!(one.left_out(), stream.len() - fitting.len());
    assert!(one.left_out() > 0);
    let batches = one.batches_per_epoch() as usize;
    let mut epochs = Vec::new();
    let mut positions = Vec::new();
    for _ in 0..2 {
        let mut seen = Vec::new();
        for _ in 0..batches {
            positions.push(one.position());
            let batch = one.next();
            let longest = |pair: &usize| stream.lengths(*pair).0.max(stream.lengths(*pair).1);
            assert!(batch.pairs.len() * batch.pairs.iter().map(longest).max().unwrap() <= 160);
            seen.extend(batch.pairs);
        }
        let mut sorted = seen.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, fitting);
        epochs.push(seen);
    }
    assert_ne!(epochs[0], epochs[1]);
    let mut again = loader();
    let all: Vec<_> = (0..2 * batches).map(|_| again.next()).collect();
    for at in [0, 1, batches - 1, batches, batches + 3] {
        let mut later = loader();
        later.seek(&positions[at]);
        assert_eq!(later.next(), all[at], "from micro-batch {at}");
    }
    let error = PairLoader::new(&prepared, Fit::Sides(1), 160, 5).err().unwrap().to_string();
    assert!(error.contains("no source has pairs of at most 1 tokens"), "{error}");
}

#[test]
fn other_data_is_derived_without_reading_texts_again() {
    let folder = tempfile::tempdir().unwrap();
    let base = quiet(&two_sources(folder.path()), &folder.path().join("base/tokens")).unwrap();
    let documents = folder.path().join("base/tokens/documents.parquet");
    let derived = |name: &str, change: Derivation| derive(&base, &documents, &change, &folder.path().join(name));

    let reweighted = derived("w", Derivation { weights: Some(vec![0.0, 1.0]), ..Derivation::default() }).unwrap();
    reweighted.verify().unwrap();
    assert_eq!(reweighted.sources()[0].share, 0.0);
    assert_eq!(reweighted.sources()[0].tokens, base.sources()[0].tokens);
    assert_eq!(reweighted.held_out(), base.held_out());
    assert_ne!(reweighted.hash(), base.hash());
    let same = derived("same", Derivation::default()).unwrap();
    assert_eq!(same.hash(), base.hash());

    let part = |name, part| derived(name, Derivation { part, ..Derivation::default() }).unwrap();
    let (half, quarter) = (part("half", 0.5), part("quarter", 0.25));
    let share = half.sources()[0].tokens as f64 / base.sources()[0].tokens as f64;
    assert!((share - 0.5).abs() < 0.02, "{share}");
    let kept = |name: &str| -> Vec<String> {
        let rows = rows(&folder.path().join(name));
        let splits = strings(&rows, "split").into_iter().zip(strings(&rows, "id"));
        splits.filter(|(split, _)| split.as_deref() == Some("train")).filter_map(|(_, id)| id).collect()
    };
    let (of_half, of_quarter) = (kept("half"), kept("quarter"));
    assert!(of_quarter.iter().all(|id| of_half.contains(id)) && of_quarter.len() < of_half.len());
    assert_eq!(of_half.len() as u64, half.sources().iter().map(|source| source.documents).sum::<u64>());
    assert!(strings(&rows(&folder.path().join("half")), "rule").contains(&Some("not in this part".to_owned())));

    let twice = derived("twice", Derivation { part: 0.25, copies: 2, ..Derivation::default() }).unwrap();
    assert_eq!(twice.sources()[0].tokens, 2 * quarter.sources()[0].tokens);

    let short =
        derived("short", Derivation { order: Some(DocumentOrder::ShortFirst), ..Derivation::default() }).unwrap();
    assert!(short.is_ordered() && short.sources()[0].tokens == base.sources()[0].tokens);
    let end = short.train_stream(0).end_of_text().unwrap();
    let ids: Vec<u32> = short.train_stream(0).iter().collect();
    let lengths: Vec<usize> = ids.split(|id| *id == end).map(<[u32]>::len).collect();
    // The last end closes the stream and opens nothing.
    assert!(lengths[..lengths.len() - 1].is_sorted(), "{lengths:?}");
    for bad in [
        Derivation { part: 0.0, ..Derivation::default() },
        Derivation { part: f64::NAN, ..Derivation::default() },
        Derivation { weights: Some(vec![1.0]), ..Derivation::default() },
        Derivation { weights: Some(vec![0.0, 0.0]), ..Derivation::default() },
    ] {
        assert!(derived("bad", bad).is_err());
    }
}
