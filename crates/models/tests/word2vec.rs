//! Word vectors: files of gensim and word2vec.c, answers equal to gensim's (`fixtures/word2vec.py`), damage, and what is
//! learned from text whose structure is known.

use loam_models::word2vec::{
    EncodedText, Format, Kind, Questions, Trained, Vocabulary, Word2VecConfig, WordVectors, train,
};
use serde_json::Value;
use std::io::Write;
use std::path::Path;

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/word2vec.json")).unwrap()
}

fn bytes(fixture: &Value, name: &str) -> Vec<u8> {
    let hex = fixture[name].as_str().unwrap().as_bytes();
    hex.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn opened(bytes: &[u8]) -> WordVectors {
    let (vectors, remarks) = WordVectors::from_bytes(bytes, Path::new("a file")).unwrap();
    assert_eq!((remarks.repeated, remarks.not_utf8, remarks.more), (0, 0, false));
    vectors
}

fn refused(bytes: &[u8]) -> String {
    let error = WordVectors::from_bytes(bytes, Path::new("a file")).expect_err("a damaged file is refused");
    let text = error.to_string();
    assert!(text.starts_with("a file: "), "{text}");
    text
}

fn same(a: &WordVectors, b: &WordVectors) {
    assert_eq!(a.words(), b.words());
    for row in 0..a.len() {
        assert_eq!(a.vector(row), b.vector(row), "{}", a.words()[row]);
    }
}

#[test]
fn files_of_gensim_and_word2vec_are_read() {
    let fixture = fixture();
    let words: Vec<String> = serde_json::from_value(fixture["words"].clone()).unwrap();
    let values: Vec<Vec<f32>> = serde_json::from_value(fixture["vectors"].clone()).unwrap();
    for name in ["text", "binary", "lined", "compressed"] {
        let vectors = opened(&bytes(&fixture, name));
        assert_eq!(vectors.words(), words, "{name}");
        for (row, values) in values.iter().enumerate() {
            assert_eq!(vectors.vector(row), values, "{name}, {}", words[row]);
        }
    }
    let read = |name: &str| WordVectors::from_bytes(&bytes(&fixture, name), Path::new("a file")).unwrap().1.format;
    assert_eq!((read("text"), read("binary"), read("lined")), (Format::Text, Format::Binary, Format::Binary));
}

#[test]
fn written_files_are_read_again() {
    let vectors = opened(&bytes(&fixture(), "binary"));
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.txt", "a.bin", "a.txt.gz", "a.bin.gz", "a.vec"] {
        let path = folder.path().join(name);
        vectors.save(&path, Format::of(&path)).unwrap();
        let (again, remarks) = WordVectors::open(&path).unwrap();
        same(&vectors, &again);
        assert_eq!(remarks.format, if name.contains(".bin") { Format::Binary } else { Format::Text });
        assert_eq!(
            std::fs::read(&path).unwrap().starts_with(&[0x1f, 0x8b]),
            path.extension().is_some_and(|end| end == "gz")
        );
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5, "nothing else is left");
    let first = vectors.clone().into_first(3);
    assert_eq!((first.len(), first.row("köln"), first.row("Oslo")), (3, None, Some(0)));

    let spaced = WordVectors::new(vec!["new york".into(), "b".into()], 1, vec![1.0, 2.0]).unwrap();
    let path = folder.path().join("spaced.txt");
    let error = spaced.save(&path, Format::Text).unwrap_err().to_string();
    assert!(error.contains("new york") && !path.exists(), "{error}");
    assert!(WordVectors::new(vec!["a".into(), "a".into()], 1, vec![1.0, 2.0]).is_err());
    assert!(WordVectors::open(&folder.path().join("none.bin")).unwrap_err().to_string().contains("none.bin"));
    assert!(WordVectors::open(folder.path()).unwrap_err().to_string().contains("vectors.txt"));
}

#[test]
fn oddities_are_counted_and_extremes_survive() {
    let odd = b"4 2\na 1 2\nb\xff 3 4\na 5 6\nc 7e-1 -8.5E1\n\nd 1 2\n";
    let (vectors, remarks) = WordVectors::from_bytes(odd, Path::new("odd")).unwrap();
    assert_eq!(vectors.words(), ["a", "b\u{fffd}", "c"]);
    assert_eq!(vectors.vector(2), [0.7, -85.0]);
    assert_eq!((remarks.repeated, remarks.not_utf8, remarks.more), (1, 1, true));
    let (spaced, _) = WordVectors::from_bytes(b"2 2\na 1 2\nnew york 3 4", Path::new("odd")).unwrap();
    assert_eq!(spaced.words(), ["a", "new york"]);

    let extremes = vec![f32::MAX, f32::MIN_POSITIVE, -0.0, 1e-45, 0.1, -1.0 / 3.0];
    let vectors = WordVectors::new(vec!["x".into(), "é".into()], 3, extremes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for format in [Format::Text, Format::Binary] {
        let path = folder.path().join("extremes");
        vectors.save(&path, format).unwrap();
        same(&WordVectors::open(&path).unwrap().0, &vectors);
    }
    // Numbers of one byte, whose bytes could be decimals, and none at all.
    let one = WordVectors::new(vec!["x".into()], 1, vec![2.0]).unwrap();
    for format in [Format::Text, Format::Binary] {
        let path = folder.path().join("one");
        one.save(&path, format).unwrap();
        same(&WordVectors::open(&path).unwrap().0, &one);
    }
    assert!(opened(b"0 5\n").is_empty());
}

#[test]
fn damage_is_refused_in_words() {
    let fixture = fixture();
    for name in ["text", "binary", "lined", "compressed"] {
        let whole = bytes(&fixture, name);
        for cut in 0..whole.len() - 2 {
            // The last number of a text may be cut shorter, and still be one.
            if WordVectors::from_bytes(&whole[..cut], Path::new("a file")).is_ok() {
                assert!(name == "text" && cut > whole.len() - 12, "{name}, cut at {cut}");
            }
        }
    }
    for (file, word) in [
        (&b""[..], "first line"),
        (b"hello world\n", "first line"),
        (b"the 0.1 0.2\n", "first line"),
        (b"2 -1\n", "first line"),
        (b"3 0\n", "no numbers"),
        (b"1000000000000 300\na 1\n", "promises"),
        (b"18446744073709551615 18446744073709551615\na 1\n", "promises"),
        (b"1 1000000000000\na 1\n", "promises"),
        (b"2 2\na 1 2\nb 1 x\n", "\"x\""),
        (b"2 2\na 1 2\nb 1\n\n\n\n", "numbers"),
        (b"2 2\na 1 2\nb 1 NaN\n", "NaN"),
        (b"2 2\na 1 2\nb 1 1e999\n", "inf"),
        (b"2 2\na 1 2\n 1 1 1\n", "empty"),
    ] {
        let text = refused(file);
        assert!(text.contains(word), "{:?}: {text}", String::from_utf8_lossy(file));
    }
    // A header that promises more than the compressed bytes can hold, and one that promises what they do not.
    let compressed = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    assert!(refused(&compressed(b"100000000 300\na 1 2\n")).contains("promises"));
    assert!(refused(&compressed(b"100 30\na 1 2\n")).contains("promises"));
    // A word without an end.
    assert!(refused(&[b"9000 20\n".to_vec(), vec![b'a'; 900_000]].concat()).contains("no end"));
}

#[test]
fn neighbors_and_analogies_are_those_of_gensim() {
    let fixture = fixture();
    let vectors = opened(&bytes(&fixture, "text"));
    let check = |found: Vec<loam_models::word2vec::Neighbor>, expected: &Value| {
        let expected: Vec<(String, f64)> = serde_json::from_value(expected.clone()).unwrap();
        assert_eq!(found.len(), expected.len());
        for (found, (word, cosine)) in found.iter().zip(expected) {
            assert_eq!(found.word, word);
            assert!((f64::from(found.cosine) - cosine).abs() < 1e-5, "{word}: {} and {cosine}", found.cosine);
        }
    };
    for (word, expected) in fixture["nearest"].as_object().unwrap() {
        check(vectors.nearest(&[vectors.find(word).unwrap()], &[], 4, None), expected);
    }
    let [a, b, c] = ["paris", "paris-land", "Rome"].map(|word| vectors.find(word).unwrap());
    check(vectors.nearest(&[b, c], &[a], 3, None), &fixture["analogy"]);

    let questions = Questions::parse(fixture["questions"].as_str().unwrap()).unwrap();
    assert_eq!(questions.skipped(), 1);
    for graded in fixture["graded"].as_array().unwrap() {
        let (restrict, folded) = (graded["restrict"].as_u64().unwrap() as usize, graded["folded"].as_bool().unwrap());
        let evaluation = vectors.evaluate(&questions, restrict, folded);
        let expected: Vec<(String, u64, u64)> = serde_json::from_value(graded["sections"].clone()).unwrap();
        let found = evaluation.sections.iter().chain([&evaluation.total]);
        for (section, (name, correct, wrong)) in found.zip(&expected) {
            assert!(section.name == *name || name == "Total accuracy", "{name}");
            let counts = (section.correct, section.asked - section.correct);
            assert_eq!(counts, (*correct, *wrong), "{name}, restrict {restrict}, folded {folded}");
        }
        assert_eq!(evaluation.sections.len() + 1, expected.len());
        assert_eq!((evaluation.total.asked + evaluation.total.unknown) as usize, questions.count());
    }
    assert!(Questions::parse("a b c d\n").unwrap_err().contains("line 1"));
    let unknown = vectors.find("DELHI").unwrap_err().to_string();
    assert!(unknown.contains("DELHI") && unknown.contains("\"delhi\""), "{unknown}");
}

/// Sentences of three topics, in which words of one topic stand together, and in each of which every word has a twin that
/// takes its place half of the time: twins have like company, and never each other's.
struct Synthetic {
    vocabulary: Vocabulary,
    sentences: Vec<Vec<u32>>,
}

const TOPICS: u64 = 3;
const PAIRS: u64 = 12;

impl Synthetic {
    fn new() -> Self {
        let mut state = 5_u64;
        let mut below = |bound: u64| {
            state = loam_nn::initialize::mix(state);
            state % bound
        };
        let mut sentences = Vec::new();
        for _ in 0..6000 {
            let topic = below(TOPICS);
            // A pair is followed by the next two of its ring, so that company differs within a topic, too.
            let start = below(PAIRS);
            let words = (0..6).map(|step| {
                let pair = (start + step + below(2)) % PAIRS;
                format!("{topic}.{pair:02}.{}", below(2))
            });
            sentences.push(words.collect::<Vec<String>>());
        }
        let mut counts = std::collections::HashMap::new();
        sentences.iter().flatten().for_each(|word| *counts.entry(word.clone()).or_insert(0) += 1);
        let vocabulary = Vocabulary::new(counts, 1, None).unwrap();
        let rows = |sentence: &Vec<String>| sentence.iter().map(|word| vocabulary.row(word).unwrap()).collect();
        let sentences = sentences.iter().map(rows).collect();
        Self { vocabulary, sentences }
    }

    fn train(&self, config: &Word2VecConfig, go_on: impl Fn(u64) -> bool + Send + Sync) -> Trained {
        let folder = tempfile::tempdir().unwrap();
        let mut text = EncodedText::new(folder.path()).unwrap();
        self.sentences.iter().for_each(|sentence| text.push(sentence).unwrap());
        let words = self.sentences.iter().map(|sentence| sentence.len() as u64).sum::<u64>();
        assert_eq!(text.words(), words);
        train(&self.vocabulary, &mut text, config, &mut |progress| go_on(progress.words)).unwrap()
    }
}

fn config(kind: Kind) -> Word2VecConfig {
    let rate = Word2VecConfig::default_rate(kind);
    Word2VecConfig { kind, size: 24, window: 2, sample: 0.0, epochs: 10, rate, ..Word2VecConfig::default() }
}

#[test]
fn words_of_like_company_are_near() {
    let synthetic = Synthetic::new();
    for kind in [Kind::SkipGram, Kind::Cbow] {
        let vectors = synthetic.train(&config(kind), |_| true).vectors;
        let (mut twins, mut topics) = (0, 0);
        for (row, word) in vectors.words().iter().enumerate() {
            let nearest = vectors.nearest(&[row], &[], 5, None);
            twins += usize::from(
                nearest.iter().take(3).any(|near| near.word[..5] == word[..5] || near.word[..4] == word[..4]),
            );
            topics += usize::from(nearest.iter().all(|near| near.word[..1] == word[..1]));
        }
        // By chance, five neighbors are of one's own topic once in 300 times.
        let words = vectors.len();
        assert_eq!(words, (TOPICS * PAIRS * 2) as usize);
        assert!(topics == words, "{kind:?}: {topics} of {words} among their topic");
        assert!(twins * 10 >= words * 8, "{kind:?}: {twins} of {words} near their twin");
        assert!((0..words).all(|row| vectors.vector(row).iter().all(|value| value.abs() < 20.0)), "{kind:?} grows");
    }
}

#[test]
fn a_seed_decides_the_vectors_and_few_numbers_are_one_threads_work() {
    let synthetic = Synthetic::new();
    for kind in [Kind::SkipGram, Kind::Cbow] {
        let config = Word2VecConfig { epochs: 2, sample: 0.01, ..config(kind) };
        let with = |threads: usize, config: &Word2VecConfig| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| synthetic.train(config, |_| true)).vectors
        };
        let one = with(1, &config);
        same(&one, &with(2, &config));
        same(&one, &with(5, &config));
        let other = with(1, &Word2VecConfig { seed: 2, ..config.clone() });
        assert_ne!(one.vector(0), other.vector(0));
    }
}

#[test]
fn training_can_be_stopped_and_nonsense_is_refused() {
    let synthetic = Synthetic::new();
    let stopped = synthetic.train(&config(Kind::SkipGram), |_| false);
    assert!(stopped.stopped && stopped.progress.words < stopped.progress.total);
    assert_eq!(stopped.vectors.len(), synthetic.vocabulary.len());
    let whole = synthetic.train(&Word2VecConfig { epochs: 1, ..config(Kind::Cbow) }, |_| true);
    assert!(!whole.stopped);
    assert_eq!(whole.progress.words, whole.progress.total);
    for (wrong, word) in [
        (Word2VecConfig { size: 0, ..Word2VecConfig::default() }, "size"),
        (Word2VecConfig { window: 0, ..Word2VecConfig::default() }, "window"),
        (Word2VecConfig { negative: 0, ..Word2VecConfig::default() }, "negative"),
        (Word2VecConfig { epochs: 0, ..Word2VecConfig::default() }, "epochs"),
        (Word2VecConfig { rate: f64::NAN, ..Word2VecConfig::default() }, "rate"),
        (Word2VecConfig { rate: 0.0, ..Word2VecConfig::default() }, "rate"),
        (Word2VecConfig { sample: -1.0, ..Word2VecConfig::default() }, "sample"),
    ] {
        assert!(wrong.check().unwrap_err().to_string().contains(word));
    }
    let few = Vocabulary::new([("a".to_owned(), 9), ("b".to_owned(), 4)], 5, None).unwrap_err();
    assert!(few.to_string().contains("at least 5 times"), "{few}");
    let words = ["c", "a", "b", "d"].map(|word| (word.to_owned(), if word == "d" { 9 } else { 5 }));
    assert_eq!(Vocabulary::new(words, 1, Some(3)).unwrap().words(), ["d", "a", "b"]);
}
