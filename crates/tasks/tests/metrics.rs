//! Measures equal those of their reference programs; `fixtures/metrics.py` writes what these say.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use loam_tasks::metrics::answers::{AnswerScore, cmrc, squad_v1, squad_v2};
use loam_tasks::metrics::classification::{Confusion, Prediction, SetPrediction};
use loam_tasks::metrics::interval::{mcnemar_exact, sum};
use loam_tasks::metrics::ranking::{Confidence, auc};
use loam_tasks::metrics::regression::{mean_absolute_error, mean_squared_error, pearson, spearman};
use loam_tasks::metrics::retrieval::{ndcg_at, recall_at, reciprocal_rank};
use loam_tasks::metrics::summaries::{Rouge, RougeScores, RougeTokens};
use loam_tasks::metrics::tags::{TagCounts, TagReading, TagScheme};
use loam_tasks::metrics::translation::{Bleu, BleuCounts, BleuTokenizer, Chrf, Smoothing};
use loam_tasks::metrics::{Average, Bootstrap, PrecisionRecall, Randomization};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const TOLERANCE: f64 = 1e-9;

fn fixture<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new("tests/fixtures/metrics").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Compares numbers and keeps the largest difference, which a test prints.
#[derive(Default)]
struct Near {
    compared: usize,
    largest: f64,
}

impl Near {
    fn check(&mut self, ours: f64, theirs: f64, what: impl Fn() -> String) {
        let difference = (ours - theirs).abs();
        assert!(difference <= TOLERANCE, "{}: {ours}, theirs {theirs}", what());
        self.compared += 1;
        self.largest = self.largest.max(difference);
    }

    fn triple(&mut self, ours: PrecisionRecall, theirs: &[f64], what: impl Fn() -> String) {
        for (ours, theirs) in [ours.precision, ours.recall, ours.f1].into_iter().zip(theirs) {
            self.check(ours, *theirs, &what);
        }
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        println!("{} numbers, largest difference {:e}", self.compared, self.largest);
    }
}

fn average(name: &str) -> Average {
    match name {
        "micro" => Average::Micro,
        "macro" => Average::Macro,
        "weighted" => Average::Weighted,
        other => panic!("{other}"),
    }
}

#[derive(Deserialize)]
struct Classification {
    singles: Vec<Single>,
    multiple: Vec<Multiple>,
    rankings: Vec<Ranking>,
    calibrations: Vec<Calibrated>,
    numbers: Vec<Numbers>,
}

#[derive(Deserialize)]
struct Single {
    gold: Vec<u32>,
    predicted: Vec<u32>,
    labels: Vec<u32>,
    averages: BTreeMap<String, Vec<f64>>,
    by_label: Vec<[f64; 4]>,
    accuracy: f64,
    matthews: f64,
    confusion: Vec<Vec<u64>>,
}

#[derive(Deserialize)]
struct Multiple {
    gold: Vec<Vec<u32>>,
    predicted: Vec<Vec<u32>>,
    labels: usize,
    averages: BTreeMap<String, Vec<f64>>,
    subset_accuracy: f64,
    hamming_loss: f64,
}

#[derive(Deserialize)]
struct Ranking {
    scores: Vec<f64>,
    positive: Vec<bool>,
    auc: f64,
}

#[derive(Deserialize)]
struct Calibrated {
    probabilities: Vec<f64>,
    correct: Vec<bool>,
    error: f64,
    torchmetrics: f64,
}

#[derive(Deserialize)]
struct Numbers {
    gold: Vec<f64>,
    predicted: Vec<f64>,
    pearson: f64,
    spearman: f64,
    squared: f64,
    absolute: f64,
}

#[test]
fn labels_are_scored_as_by_scikit_learn() {
    let mut near = Near::default();
    for (place, case) in fixture::<Classification>("classification.json").singles.into_iter().enumerate() {
        let what = |of: &str| format!("case {place}, {of}");
        let predictions: Vec<Prediction> =
            case.gold.iter().zip(&case.predicted).map(|(&gold, &predicted)| Prediction { gold, predicted }).collect();
        let counts = sum(&predictions);
        near.check(counts.accuracy().unwrap(), case.accuracy, || what("accuracy"));
        near.check(counts.matthews(), case.matthews, || what("matthews"));
        for (name, theirs) in &case.averages {
            near.triple(counts.scores(average(name)), theirs, || what(name));
        }
        let own: Vec<(u32, PrecisionRecall)> = counts.by_label().collect();
        assert_eq!(own.iter().map(|own| own.0).collect::<Vec<_>>(), case.labels);
        for ((label, own), theirs) in own.into_iter().zip(case.by_label) {
            near.triple(own, &theirs, || what(&format!("label {label}")));
            assert_eq!(own.support as f64, theirs[3]);
            assert_eq!(counts.of_label(label), own);
        }
        assert_eq!(Confusion::of(&predictions).matrix(&case.labels), case.confusion);
    }
}

#[test]
fn sets_of_labels_are_scored_as_by_scikit_learn() {
    let mut near = Near::default();
    for (place, case) in fixture::<Classification>("classification.json").multiple.into_iter().enumerate() {
        let what = |of: &str| format!("case {place}, {of}");
        let predictions: Vec<SetPrediction> = case
            .gold
            .into_iter()
            .zip(case.predicted)
            .map(|(gold, predicted)| SetPrediction {
                gold: gold.into_iter().collect(),
                predicted: predicted.into_iter().collect(),
            })
            .collect();
        let counts = sum(&predictions);
        near.check(counts.subset_accuracy().unwrap(), case.subset_accuracy, || what("subset accuracy"));
        near.check(counts.hamming_loss(case.labels).unwrap(), case.hamming_loss, || what("hamming loss"));
        for (name, theirs) in &case.averages {
            let ours = match name.as_str() {
                "samples" => counts.scores_of_texts(),
                name => counts.scores(average(name), case.labels),
            };
            near.triple(ours, theirs, || what(name));
        }
    }
}

#[test]
fn probabilities_and_numbers_are_judged_as_by_scikit_learn_and_scipy() {
    let mut near = Near::default();
    let Classification { rankings, calibrations, numbers, .. } = fixture("classification.json");
    for case in rankings {
        let examples: Vec<(f64, bool)> = case.scores.into_iter().zip(case.positive).collect();
        near.check(auc(&examples).unwrap(), case.auc, || "area under the curve".to_owned());
    }
    for case in calibrations {
        let predictions: Vec<Confidence> = case
            .probabilities
            .into_iter()
            .zip(case.correct)
            .map(|(probability, correct)| Confidence { probability, correct })
            .collect();
        let error = sum(&predictions).error().unwrap();
        near.check(error, case.error, || "calibration error".to_owned());
        // torchmetrics reckons its bins in single precision.
        assert!((error - case.torchmetrics).abs() < 1e-6, "{error}, theirs {}", case.torchmetrics);
    }
    for case in numbers {
        let pairs: Vec<(f64, f64)> = case.gold.into_iter().zip(case.predicted).collect();
        near.check(pearson(&pairs).unwrap(), case.pearson, || "pearson".to_owned());
        near.check(spearman(&pairs).unwrap(), case.spearman, || "spearman".to_owned());
        near.check(mean_squared_error(&pairs).unwrap(), case.squared, || "squared error".to_owned());
        near.check(mean_absolute_error(&pairs).unwrap(), case.absolute, || "absolute error".to_owned());
    }
}

#[derive(Deserialize)]
struct Tags {
    cases: Vec<Tagged>,
    strange: Vec<Strange>,
}

#[derive(Deserialize)]
struct Tagged {
    scheme: String,
    gold: Vec<Vec<String>>,
    predicted: Vec<Vec<String>>,
    accuracy: f64,
    lenient: BTreeMap<String, [f64; 4]>,
    strict: BTreeMap<String, [f64; 4]>,
}

#[derive(Deserialize)]
struct Strange {
    tags: Vec<String>,
    /// Type, first and last token.
    entities: Vec<(String, usize, usize)>,
}

#[test]
fn entities_are_scored_as_by_seqeval() {
    let mut near = Near::default();
    for (place, case) in fixture::<Tags>("tags.json").cases.into_iter().enumerate() {
        let scheme = match case.scheme.as_str() {
            "IOB1" => TagScheme::Iob1,
            "IOB2" => TagScheme::Iob2,
            "IOBES" => TagScheme::Iobes,
            "BILOU" => TagScheme::Bilou,
            other => panic!("{other}"),
        };
        assert_eq!(TagScheme::detect_in(&case.gold), Some(scheme), "case {place}");
        for (reading, report) in [(TagReading::Lenient, case.lenient), (TagReading::Strict(scheme), case.strict)] {
            let sentences: Vec<TagCounts> = case
                .gold
                .iter()
                .zip(&case.predicted)
                .map(|(gold, predicted)| TagCounts::of(gold, predicted, reading))
                .collect();
            let counts = sum(&sentences);
            near.check(counts.accuracy().unwrap(), case.accuracy, || format!("case {place}, accuracy"));
            let mut rows: BTreeMap<String, PrecisionRecall> =
                counts.by_type().map(|(kind, scores)| (kind.to_owned(), scores)).collect();
            for name in ["micro", "macro", "weighted"] {
                rows.insert(format!("{name} avg"), counts.scores(average(name)));
            }
            assert!(rows.keys().eq(report.keys()), "case {place}: {rows:?}");
            for ((name, own), theirs) in rows.iter().zip(report.values()) {
                near.triple(*own, theirs, || format!("case {place}, {reading:?}, {name}"));
                assert_eq!(own.support as f64, theirs[3]);
            }
        }
    }
}

#[test]
fn tags_of_any_make_are_read_as_by_seqeval() {
    for case in fixture::<Tags>("tags.json").strange {
        let ours: Vec<(String, usize, usize)> = TagReading::Lenient
            .entities(&case.tags)
            .into_iter()
            .map(|entity| (entity.kind, entity.start, entity.end - 1))
            .collect();
        assert_eq!(ours, case.entities, "{:?}", case.tags);
    }
}

#[derive(Deserialize)]
struct Answers {
    english: Vec<Answered>,
    chinese: Vec<AnsweredChinese>,
}

#[derive(Deserialize)]
struct Answered {
    prediction: String,
    gold: Vec<String>,
    v1: [f64; 2],
    v2: [f64; 2],
}

#[derive(Deserialize)]
struct AnsweredChinese {
    prediction: String,
    gold: Vec<String>,
    score: [f64; 2],
}

#[test]
fn answers_are_scored_as_by_the_scripts_of_squad_and_cmrc() {
    let mut near = Near::default();
    let Answers { english, chinese } = fixture("answers.json");
    let mut check = |ours: AnswerScore, theirs: [f64; 2], what: String| {
        near.check(ours.exact, theirs[0], || format!("exact, {what}"));
        near.check(ours.f1, theirs[1], || format!("f1, {what}"));
    };
    for Answered { prediction, gold, v1, v2 } in english {
        check(squad_v1(&prediction, &gold), v1, format!("1.1, {prediction:?} {gold:?}"));
        check(squad_v2(&prediction, &gold), v2, format!("2.0, {prediction:?} {gold:?}"));
    }
    for AnsweredChinese { prediction, gold, score } in chinese {
        check(cmrc(&prediction, &gold), score, format!("{prediction:?} {gold:?}"));
    }
}

#[derive(Deserialize)]
struct Translation {
    corpora: BTreeMap<String, Vec<(String, Vec<String>)>>,
    scores: Vec<TranslationScore>,
    tokens: Vec<BTreeMap<String, serde_json::Value>>,
}

#[derive(Deserialize)]
struct TranslationScore {
    corpus: String,
    references: usize,
    kind: String,
    options: Options,
    score: f64,
    signature: String,
    #[serde(default)]
    precisions: Vec<f64>,
    brevity_penalty: Option<f64>,
    lengths: Option<[u64; 2]>,
    #[serde(default)]
    sentences: Vec<f64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    tokenize: Option<String>,
    #[serde(default)]
    lowercase: bool,
    #[serde(default)]
    effective_order: bool,
    smooth_method: Option<String>,
    smooth_value: Option<f64>,
    char_order: Option<usize>,
    #[serde(default)]
    word_order: usize,
    beta: Option<u32>,
    #[serde(default)]
    whitespace: bool,
    #[serde(default)]
    eps_smoothing: bool,
}

const TOKENIZERS: [BleuTokenizer; 5] = [
    BleuTokenizer::V13a,
    BleuTokenizer::Chinese,
    BleuTokenizer::Character,
    BleuTokenizer::International,
    BleuTokenizer::None,
];

fn bleu(options: &Options) -> Bleu {
    let name = options.tokenize.as_deref().unwrap();
    Bleu {
        tokenizer: TOKENIZERS.into_iter().find(|tokenizer| tokenizer.name() == name).unwrap(),
        smoothing: match options.smooth_method.as_deref() {
            None => Smoothing::Exponential,
            Some("floor") => Smoothing::Floor(options.smooth_value.unwrap_or(0.1)),
            Some("add-k") => Smoothing::AddK(options.smooth_value.unwrap_or(1.0)),
            Some("none") => Smoothing::None,
            Some(other) => panic!("{other}"),
        },
        lowercase: options.lowercase,
        effective_order: options.effective_order,
    }
}

fn chrf(options: &Options) -> Chrf {
    Chrf {
        character_order: options.char_order.unwrap_or(6),
        word_order: options.word_order,
        beta: options.beta.unwrap_or(2),
        lowercase: options.lowercase,
        whitespace: options.whitespace,
        epsilon_smoothing: options.eps_smoothing,
    }
}

#[test]
fn translations_are_scored_as_by_sacrebleu() {
    let mut near = Near::default();
    let Translation { corpora, scores, .. } = fixture("translation.json");
    for row in scores {
        let corpus: Vec<(&str, Vec<&str>)> = corpora[&row.corpus]
            .iter()
            .map(|(own, references)| (own.as_str(), references[..row.references].iter().map(String::as_str).collect()))
            .collect();
        let counts = corpus.iter().map(|(_, references)| references.len());
        let what = |of: &str| format!("{} with {} references, {:?}: {of}", row.corpus, row.references, row.options);
        if row.kind == "bleu" {
            let bleu = bleu(&row.options);
            assert_eq!(bleu.signature(counts), row.signature);
            let score = bleu.corpus(&corpus);
            near.check(score.score, row.score, || what("score"));
            near.check(score.brevity_penalty, row.brevity_penalty.unwrap(), || what("brevity penalty"));
            for (ours, theirs) in score.precisions.into_iter().zip(&row.precisions) {
                near.check(ours, *theirs, || what("precision"));
            }
            let counts: Vec<BleuCounts> = corpus.iter().map(|(own, references)| bleu.counts(own, references)).collect();
            let sum = sum(&counts);
            assert_eq!(Some([sum.length, sum.reference_length]), row.lengths, "{}", what("lengths"));
            for ((own, counts), theirs) in corpus.iter().zip(&counts).zip(&row.sentences) {
                near.check(bleu.score(counts).score, *theirs, || what(own.0));
            }
        } else {
            let chrf = chrf(&row.options);
            assert_eq!(chrf.signature(counts), row.signature);
            near.check(chrf.corpus(&corpus), row.score, || what("score"));
            for ((own, references), theirs) in corpus.iter().zip(&row.sentences) {
                near.check(chrf.score(&chrf.counts(own, references)), *theirs, || what(own));
            }
        }
    }
}

#[test]
fn sentences_are_cut_as_by_sacrebleu() {
    for row in fixture::<Translation>("translation.json").tokens {
        let text = row["text"].as_str().unwrap();
        for tokenizer in TOKENIZERS {
            let words = serde_json::to_value(tokenizer.words(text)).unwrap();
            assert_eq!(words, row[tokenizer.name()], "{}: {text:?}", tokenizer.name());
        }
    }
}

#[test]
fn differing_numbers_of_references_are_told() {
    let corpus = [("a b", vec!["a b"]), ("c", vec!["c", "d"])];
    let signature = Bleu::default().signature(corpus.iter().map(|(_, references)| references.len()));
    assert!(signature.starts_with("nrefs:var|"), "{signature}");
}

#[derive(Deserialize)]
struct Summaries {
    stems: BTreeMap<String, String>,
    scored: Vec<Summarized>,
    several: Vec<Several>,
}

#[derive(Deserialize)]
struct Summarized {
    summary: String,
    reference: String,
    words: [[f64; 3]; 4],
    stems: [[f64; 3]; 4],
    characters: [[f64; 3]; 4],
}

#[derive(Deserialize)]
struct Several {
    summary: String,
    references: Vec<String>,
    scores: [[f64; 3]; 4],
}

fn check_rouge(near: &mut Near, ours: RougeScores, theirs: [[f64; 3]; 4], what: &str) {
    let ours = [("1", ours.rouge1), ("2", ours.rouge2), ("L", ours.rouge_l), ("Lsum", ours.rouge_lsum)];
    for ((name, ours), theirs) in ours.into_iter().zip(theirs) {
        near.triple(ours, &theirs, || format!("ROUGE-{name}, {what}"));
    }
}

#[test]
fn summaries_are_scored_as_by_rouge_score() {
    let mut near = Near::default();
    let Summaries { scored, several, .. } = fixture("summaries.json");
    for row in scored {
        for (tokens, theirs) in [
            (RougeTokens::Words, row.words),
            (RougeTokens::Stems, row.stems),
            (RougeTokens::Characters, row.characters),
        ] {
            let ours = Rouge { tokens }.scores(&row.summary, &row.reference);
            check_rouge(&mut near, ours, theirs, &format!("{tokens:?}: {:?} {:?}", row.summary, row.reference));
        }
    }
    for row in several {
        let ours = Rouge::default().best_scores(&row.summary, &row.references);
        check_rouge(&mut near, ours, row.scores, &row.summary);
    }
}

#[test]
fn words_have_the_stems_that_nltk_gives_them() {
    for (word, stem) in fixture::<Summaries>("summaries.json").stems {
        // rouge-score leaves words of up to three letters alone.
        if word.len() > 3 {
            assert_eq!(RougeTokens::Stems.tokens(&word), [stem], "{word}");
        }
    }
}

#[derive(Deserialize)]
struct Retrieved {
    ranked: Vec<usize>,
    gains: Vec<f64>,
    reciprocal_rank: f64,
    recall: BTreeMap<usize, f64>,
    ndcg: BTreeMap<usize, f64>,
}

#[test]
fn rankings_are_scored_as_by_scikit_learn() {
    let mut near = Near::default();
    for (place, case) in fixture::<Vec<Retrieved>>("retrieval.json").into_iter().enumerate() {
        let relevance: HashMap<usize, f64> = case.gains.into_iter().enumerate().collect();
        let what = || format!("case {place}");
        near.check(reciprocal_rank(&case.ranked, &relevance).unwrap(), case.reciprocal_rank, what);
        for (k, theirs) in case.recall {
            near.check(recall_at(&case.ranked, &relevance, k).unwrap(), theirs, what);
        }
        for (k, theirs) in case.ndcg {
            near.check(ndcg_at(&case.ranked, &relevance, k).unwrap(), theirs, what);
        }
    }
}

#[derive(Deserialize)]
struct Significance {
    mcnemar: Vec<(u64, u64, f64)>,
    references: Vec<String>,
    systems: Vec<Vec<String>>,
    randomization: Vec<Randomized>,
    bootstrap: Resampled,
}

#[derive(Deserialize)]
struct Randomized {
    first: usize,
    second: usize,
    p_value: f64,
}

#[derive(Deserialize)]
struct Resampled {
    mean: f64,
    half: f64,
}

#[test]
fn differences_are_as_probable_as_with_scipy_and_sacrebleu() {
    let mut near = Near::default();
    let Significance { mcnemar, references, systems, randomization, bootstrap } = fixture("significance.json");
    for (first, second, theirs) in mcnemar {
        near.check(mcnemar_exact(first, second), theirs, || format!("{first} against {second}"));
    }
    let bleu = Bleu::default();
    let value = |sum: &BleuCounts| bleu.score(sum).score;
    let counts: Vec<Vec<BleuCounts>> = systems
        .iter()
        .map(|system| system.iter().zip(&references).map(|(own, reference)| bleu.counts(own, &[reference])).collect())
        .collect();
    // Other draws than theirs: what follows is as near as 4000 of them allow.
    for test in randomization {
        let ours = Randomization { trials: 4000, seed: 1 };
        let ours = ours.p_value(&counts[test.first], &counts[test.second], value).unwrap();
        let deviation = (test.p_value * (1.0 - test.p_value) / 4000.0).sqrt();
        let what = format!("{} against {}: {ours}, theirs {}", test.first, test.second, test.p_value);
        assert!((ours - test.p_value).abs() < 6.0 * deviation + 1e-3, "{what}");
        let comparison = Bootstrap::default().compare(&counts[test.first], &counts[test.second], value).unwrap();
        assert!((comparison.p_value < 0.01) == (ours < 0.01), "{what}, by resampling {}", comparison.p_value);
    }
    let interval = Bootstrap { resamples: 4000, ..Bootstrap::default() }.interval(&counts[0], value).unwrap();
    let half = (interval.high - interval.low) / 2.0;
    assert!((half - bootstrap.half).abs() < 0.06 * bootstrap.half, "{half}, theirs {}", bootstrap.half);
    let middle = f64::midpoint(interval.high, interval.low);
    assert!((middle - bootstrap.mean).abs() < 0.15 * half, "{middle}, theirs {}", bootstrap.mean);
}
