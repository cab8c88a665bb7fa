use super::*;
use crate::ledger::CLOSES_WITHIN;
use loam_train::record::{DocumentValueRow, LedgerRow};
use loam_train::table;

/// A run of two sources and two domains: document n of `web` is worth n − 3 for prose and nothing for code.
fn run(folder: &Path) {
    std::fs::write(folder.join("recipe.toml"), "data.train = \"a\"\n").unwrap();
    let run = Run::open(folder).unwrap();
    let mut rows = Vec::new();
    for number in 0..10_u64 {
        let source = if number < 8 { "web" } else { "books" };
        for domain in ["prose", "code"] {
            let value = if domain == "prose" { number as f64 - 3.0 } else { 0.0 };
            rows.push(DocumentValueRow {
                id: if number == 9 { String::new() } else { format!("d{number}") },
                source: source.to_owned(),
                domain: domain.to_owned(),
                value,
                standard_error: 0.5,
                tokens_trained: 40,
                tokens_scored: 10,
                value_scored: value / 4.0,
            });
        }
    }
    table::write(&run.document_values(), &rows).unwrap();
    let sum = |source: &str, domain: &str| DocumentSumRow {
        source: source.to_owned(),
        domain: domain.to_owned(),
        value: rows.iter().filter(|row| row.source == source && row.domain == domain).map(|row| row.value).sum(),
        standard_error: 2.0,
        tokens_trained: 320,
        tokens_scored: 80,
        rate: 0.25,
    };
    let sums: Vec<DocumentSumRow> =
        ["web", "books"].into_iter().flat_map(|source| ["prose", "code"].map(|domain| sum(source, domain))).collect();
    table::write(&run.document_sums(), &sums).unwrap();
    let booked = |source: &str, line: &str, value: f64| LedgerRow {
        from_step: 0,
        step: 10,
        domain: "prose".to_owned(),
        line: line.to_owned(),
        source: source.to_owned(),
        value,
        tokens: 320,
    };
    let ledger = [booked("web", "source", 7.0), booked("books", "source", 11.5), booked("", "measured", 18.5)];
    table::write(&run.ledger(), &ledger).unwrap();
}

#[test]
fn the_best_come_first_and_the_worst() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!are_in(folder.path()));
    run(folder.path());
    assert!(are_in(folder.path()));
    let values = read(folder.path()).unwrap();
    assert_eq!(values.domains().collect::<Vec<_>>(), ["prose", "code"]);
    assert_eq!((values.count(), values.rate()), (9, Some(0.25)));
    let ids = |found: Vec<ValuedDocument>| found.into_iter().map(|document| document.id).collect::<Vec<_>>();
    // What belongs to no known document is no document.
    assert_eq!(ids(values.best("prose", 3)), ["d8", "d7", "d6"]);
    assert_eq!(ids(values.worst("prose", 2)), ["d0", "d1"]);
    assert_eq!(ids(values.best("code", 2)), ["d0", "d1"]);
    assert_eq!(values.best("prose", 100).len(), 9);
    assert!(values.best("nothing", 3).is_empty() && values.best("prose", 0).is_empty());
    let best = &values.best("prose", 1)[0];
    assert_eq!((best.value, best.value_per_token, best.source.as_str()), (5.0, Some(0.125), "books"));
}

#[test]
fn the_sums_stand_beside_what_is_booked() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path());
    let closing = read(folder.path()).unwrap().closing();
    assert_eq!(closing.len(), 4);
    let web = closing.iter().find(|one| one.source == "web" && one.domain == "prose").unwrap();
    assert_eq!((web.documents, web.booked, web.residual, web.deviations()), (4.0, Some(7.0), Some(3.0), Some(1.5)));
    let books = closing.iter().find(|one| one.source == "books" && one.domain == "prose").unwrap();
    assert!(books.residual.unwrap().abs() < CLOSES_WITHIN * 11.5);
    assert!(
        closing.iter().filter(|one| one.domain == "code").all(|one| one.booked.is_none() && one.deviations().is_none())
    );
}

#[test]
fn what_is_missing_or_damaged_is_said() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(read(folder.path()), Err(InfluenceError::Train(_))));
    run(folder.path());
    let values = read(folder.path()).unwrap();
    assert!(values.texts(&["d1"], 100).is_err(), "no table of documents");
    assert!(values.texts(&[], 100).unwrap().is_empty());
    let path = folder.path().join("document_values.parquet");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(read(folder.path()), Err(InfluenceError::Parquet { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(read(folder.path()), Err(InfluenceError::Open { .. })));
}

#[test]
fn texts_are_those_of_the_documents() {
    use loam_train::recipe::{Length, ModelRecipe, ModelShape, SourceRecipe, Split, TokenizerKind, TokenizerRecipe};
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<String> =
        (0..300).map(|number| format!("the {number} birds sing to {} of the cats", number * 7 % 41)).collect();
    let path = folder.path().join("lines.txt");
    std::fs::write(&path, lines.join("\n")).unwrap();
    let mut recipe = Recipe::default();
    let mut source = SourceRecipe::new("birds", vec![path.display().to_string()]);
    source.split = Split::Line;
    recipe.data.sources.push(source);
    recipe.tokenizer = TokenizerRecipe::Train { kind: TokenizerKind::Bpe, vocab: 300 };
    let shape = ModelShape { width: 16, layers: 1, heads: 2, context: 64, ..ModelShape::default() };
    recipe.model = ModelRecipe::New(shape);
    recipe.train.length = Length::Steps(3);
    recipe.train.batch_tokens = 256;
    recipe.baseline.enabled = false;
    recipe.ledger.documents_rate = Some(1.0);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let session = loam_train::Session {
        device: burn::tensor::Device::flex(),
        device_name: "cpu".into(),
        threads: 2,
        machine: "test".into(),
        memory_bytes: None,
        chat: None,
        stop: &stop,
    };
    let run = folder.path().join("run");
    loam_train::start(&recipe, &run, &session, &mut ()).unwrap();
    let values = read(&run).unwrap();
    let best = values.best("birds", 5);
    let ids: Vec<&str> = best.iter().map(|document| &*document.id).chain(["no such id"]).collect();
    let texts = values.texts(&ids, 20).unwrap();
    assert_eq!((best.len(), texts.len()), (5, 5));
    for document in &best {
        let text = &texts[&document.id];
        assert_eq!((text.text.chars().count(), text.path.as_str()), (20, path.to_str().unwrap()));
        assert!(lines.iter().any(|line| line.starts_with(&text.text)), "{text:?}");
        assert!(document.standard_error == 0.0 && document.value_per_token.is_some());
    }
    // Everything was scored, so what is left is not chance.
    let closing = values.closing();
    assert!(closing.iter().all(|one| one.booked.is_some() && one.deviations().is_none()), "{closing:?}");
}
