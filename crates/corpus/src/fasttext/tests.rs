use super::*;

const MODELS: [(&str, &[u8]); 7] = [
    ("softmax.bin", include_bytes!("../../tests/fixtures/fasttext/softmax.bin")),
    ("softmax.ftz", include_bytes!("../../tests/fixtures/fasttext/softmax.ftz")),
    ("pruned.ftz", include_bytes!("../../tests/fixtures/fasttext/pruned.ftz")),
    ("tree.bin", include_bytes!("../../tests/fixtures/fasttext/tree.bin")),
    ("tree.ftz", include_bytes!("../../tests/fixtures/fasttext/tree.ftz")),
    ("alone.bin", include_bytes!("../../tests/fixtures/fasttext/alone.bin")),
    ("negative.ftz", include_bytes!("../../tests/fixtures/fasttext/negative.ftz")),
];

fn bytes(name: &str) -> Vec<u8> {
    MODELS.iter().find(|(known, _)| *known == name).unwrap().1.to_vec()
}

fn model(bytes: Vec<u8>) -> Result<FastText, CorpusError> {
    FastText::from_bytes(bytes, Path::new("model.bin"))
}

#[derive(serde::Deserialize)]
struct Expected {
    texts: Vec<String>,
    models: std::collections::BTreeMap<String, Found>,
}

#[derive(serde::Deserialize)]
struct Found {
    labels: usize,
    /// Of each text the likeliest labels, the likeliest first.
    found: Vec<Vec<(String, f32)>>,
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("../../tests/fixtures/fasttext/expected.json")).unwrap()
}

#[test]
fn labels_are_those_of_the_original() {
    let expected = expected();
    assert_eq!(expected.models.len(), MODELS.len());
    for (name, bytes) in MODELS {
        let (model, known) = (model(bytes.to_vec()).unwrap(), &expected.models[name]);
        assert_eq!(model.labels().len(), known.labels);
        for (text, found) in expected.texts.iter().zip(&known.found) {
            for (label, probability) in found {
                let own = model.probability(text, model.label(label).unwrap()).unwrap();
                let near = (own - probability.min(1.0)).abs() < 1e-6;
                assert!(near, "{name}: {label} of {text:?}: {own}, where the original has {probability}");
            }
            // Labels can be as likely as each other.
            let (best, probability) = model.best(text).unwrap();
            assert!((probability - found[0].1.min(1.0)).abs() < 1e-6, "{name}: {text:?}");
            assert!((model.probability(text, best).unwrap() - probability).abs() < 1e-6, "{name}: {text:?}");
        }
    }
}

#[test]
fn labels_go_by_their_names() {
    let model = model(bytes("softmax.bin")).unwrap();
    let mut labels: Vec<&str> = model.labels().collect();
    labels.sort_unstable();
    assert_eq!(labels, ["de", "en", "ru", "zh"]);
    assert_eq!(model.label("__label__ru"), model.label("ru"));
    assert!(model.label("ru").is_some() && model.label("rus").is_none());
    let error = model.no_label("language", "ger").to_string();
    assert!(error.contains("model.bin tells no language \"ger\"") && error.contains("of its 4 labels"), "{error}");
}

#[test]
fn nothing_known_is_no_label() {
    // Without the line's end among its words, a model of words alone finds nothing in others.
    let mut bytes = bytes("alone.bin");
    let end = bytes.windows(5).position(|window| window == b"</s>\0").unwrap();
    bytes[end] = b'{';
    let model = model(bytes).unwrap();
    assert_eq!(model.best("unknown"), None);
    assert_eq!(model.probability("unknown", 0), None);
    assert!(model.best("house").is_some());
}

#[test]
fn lines_are_words_like_others() {
    // A document of more rows than are gathered at once, over many lines.
    let model = model(bytes("softmax.ftz")).unwrap();
    let line = "the wind blew from the west and nobody lived in the house ";
    let (long, lined) = (line.repeat(200), line.replace(' ', "\n").repeat(200));
    assert_eq!(model.best(&long), model.best(&lined));
    let (label, probability) = model.best(&long).unwrap();
    assert!(Some(label) == model.label("en") && probability > 0.9);
}

#[test]
fn the_first_version_has_no_n_grams_of_characters() {
    let mut old = bytes("tree.bin");
    let new = model(old.clone()).unwrap();
    old[4] = 11;
    // The most characters of an n-gram, which that version wrote down and did not use.
    old[48..52].copy_from_slice(&5i32.to_le_bytes());
    let old = model(old).unwrap();
    for text in expected().texts {
        assert_eq!(old.best(&text), new.best(&text));
    }
}

#[test]
fn what_is_no_such_model_is_told() {
    let refused = |bytes: Vec<u8>, words: &str| {
        let error = model(bytes).err().unwrap().to_string();
        assert!(error.contains(words) && error.contains("model.bin") && error.contains("hint"), "{error}");
    };
    let with = |name: &str, at: usize, new: &[u8]| {
        let mut bytes = bytes(name);
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    refused(vec![], "the head");
    refused(b"PK\x03\x04 and more".to_vec(), "not a model of fastText");
    refused(with("softmax.bin", 4, &[13]), "version 13");
    refused(with("softmax.bin", 8, &[6]), "columns for 6 dimensions");
    refused(with("softmax.bin", 32, &[9]), "unknown loss");
    refused(with("softmax.bin", 36, &[2]), "word vectors");
    refused(with("softmax.bin", 40, &0i32.to_le_bytes()), "no buckets");
    refused(with("softmax.bin", 40, &i32::MAX.to_le_bytes()), "rows");
    refused(with("softmax.bin", 48, &i32::MAX.to_le_bytes()), "is the most");
    // Sizes of the dictionary: of gigabytes, and such as do not sum up.
    refused(with("softmax.bin", 64, &[i32::MAX.to_le_bytes(), i32::MAX.to_le_bytes(), [0; 4]].concat()), "entries");
    refused(with("softmax.bin", 64, &[1]), "entries");
    refused(with("pruned.ftz", 84, &i64::MAX.to_le_bytes()), "n-grams are left");
    let error = FastText::open(Path::new("nowhere.ftz")).err().unwrap().to_string();
    assert!(error.contains("cannot open nowhere.ftz"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    assert!(FastText::open(folder.path()).err().unwrap().to_string().contains("a folder"));
}

#[test]
fn a_file_that_is_cut_short_is_damaged() {
    for (name, bytes) in MODELS {
        for length in (0..bytes.len()).step_by(7).chain(bytes.len() - 40..bytes.len()) {
            assert!(model(bytes[..length].to_vec()).is_err(), "{name} of {length} bytes");
        }
    }
}

#[test]
fn names_and_first_bytes_tell_models() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let whole = bytes("softmax.bin");
    assert!(FastText::is_one(Path::new("nowhere.ftz")) && FastText::is_one(Path::new("nowhere.BIN")));
    assert!(FastText::is_one(&put("model", &whole)) && !FastText::is_one(&put("config.json", b"{}")));
    let inner = folder.path().join("run.bin");
    std::fs::create_dir(&inner).unwrap();
    assert!(!FastText::is_one(&inner) && !FastText::is_one(Path::new("hf:org/name.bin")));
    let mapped = FastText::open(&put("mapped.bin", &whole)).unwrap();
    assert_eq!(mapped.best("the wind"), model(whole).unwrap().best("the wind"));
}
