//! Labels that models of fastText give to documents: the step `score` without what opens networks.

use std::path::Path;

use super::score::{OpenScorer, ScoreMeasure, ScorePlan, TextScorer};
use crate::error::CorpusError;
use crate::fasttext::FastText;

/// Tells the probability of a label.
struct LabelScorer {
    model: FastText,
    label: usize,
}

impl TextScorer for LabelScorer {
    fn score(&self, text: &str) -> Option<f64> {
        self.model.probability(text, self.label).map(f64::from)
    }
}

/// A model of fastText as a scorer, where the plan names one.
fn open_fasttext(plan: &ScorePlan) -> Result<Option<LabelScorer>, CorpusError> {
    let path: &Path = &plan.model;
    if !FastText::is_one(path) {
        return Ok(None);
    }
    let wrong = |message: String, hint: &str| Err(CorpusError::invalid(message, hint));
    let ScoreMeasure::Label(called) = &plan.measure else {
        return wrong(
            format!("{} tells no {}: it is a model of fastText", path.display(), plan.measure),
            "it tells labels: measure = \"label:NAME\"",
        );
    };
    if let Some(tokens) = plan.tokens {
        return wrong(
            format!("tokens = {tokens} for {}, a model of fastText", path.display()),
            "it reads documents to their ends: leave tokens out",
        );
    }
    let model = FastText::open(path)?;
    match model.label(called) {
        Some(label) => Ok(Some(LabelScorer { model, label })),
        None => Err(model.no_label("label", called)),
    }
}

/// Refuses what a model of fastText cannot measure, before any document is read.
pub(super) fn check_fasttext(plan: &ScorePlan) -> Result<(), CorpusError> {
    open_fasttext(plan).map(drop)
}

/// What scores texts by a plan: a model of fastText, or what `others` opens.
pub(super) fn open_scorer(plan: &ScorePlan, others: &OpenScorer<'_>) -> Result<Box<dyn TextScorer>, CorpusError> {
    match open_fasttext(plan)? {
        Some(scorer) => Ok(Box::new(scorer)),
        None => others(plan),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{plan, run, source, texts};
    use super::super::{PipelinePlan, StepPlan, run_pipeline};
    use super::*;
    use crate::documents::find_documents;

    const TEXTS: [&str; 3] =
        ["the wind blew from the west", "niemand hatte darin gewohnt wenn wind wehte", "ветер дул с запада"];

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new("tests/fixtures/fasttext").join(name)
    }

    fn language(keep: &[&str], confidence: f64) -> StepPlan {
        let keep = keep.iter().map(|code| (*code).to_owned()).collect();
        StepPlan::Language { keep, confidence, model: Some(fixture("softmax.ftz")) }
    }

    fn score(name: &str, measure: &str) -> ScorePlan {
        let (model, measure) = (fixture(name), measure.parse().unwrap());
        ScorePlan { model, measure, name: None, least: None, most: None, tokens: None }
    }

    fn of(folder: &Path, step: StepPlan) -> PipelinePlan {
        let mut source = source(folder, "a.txt", &TEXTS.join("\n"));
        source.split = "line".to_owned();
        plan(vec![source], vec![step])
    }

    #[test]
    fn a_model_tells_languages() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        run(&of(folder.path(), language(&["en", "ru"], 0.9)), &out);
        assert_eq!(texts(&out), [TEXTS[0], TEXTS[2]]);
        let rows = find_documents(&out.join("documents.parquet"), "", 10).unwrap();
        let codes: Vec<&str> = rows.iter().map(|row| row["language"].as_str().unwrap()).collect();
        assert_eq!(codes, ["en", "de", "ru"]);
        let model = FastText::open(&fixture("softmax.ftz")).unwrap();
        for (text, row) in TEXTS.iter().zip(&rows) {
            let sure = f64::from(model.best(text).unwrap().1);
            assert!((row["confidence"].as_f64().unwrap() - sure).abs() < 1e-6, "{row:?}");
        }
        // Of the same model a higher confidence keeps less.
        let most = rows.iter().map(|row| row["confidence"].as_f64().unwrap()).fold(0.0, f64::max);
        let strict = folder.path().join("strict");
        run(&of(folder.path(), language(&[], most - 1e-4)), &strict);
        assert_eq!(texts(&strict).len(), 1);
    }

    #[test]
    fn a_model_of_fasttext_scores_documents() {
        let folder = tempfile::tempdir().unwrap();
        for (name, label) in [("alone.bin", "label:en"), ("tree.bin", "label:__label__en")] {
            let mut score = score(name, label);
            score.name = Some("english".to_owned());
            score.least = Some(0.5);
            let out = folder.path().join(name);
            run(&of(folder.path(), StepPlan::Score(score)), &out);
            assert_eq!(texts(&out), [TEXTS[0]], "{name}");
            let model = FastText::open(&fixture(name)).unwrap();
            let rows = find_documents(&out.join("documents.parquet"), "", 10).unwrap();
            for (text, row) in TEXTS.iter().zip(&rows) {
                let scores: serde_json::Value = serde_json::from_str(row["scores"].as_str().unwrap()).unwrap();
                let own = f64::from(model.probability(text, model.label("en").unwrap()).unwrap());
                assert!((scores["english"].as_f64().unwrap() - own).abs() < 1e-6, "{scores}");
            }
        }
    }

    #[test]
    fn what_a_model_cannot_tell_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |step: StepPlan, words: &[&str]| {
            let out = folder.path().join("out");
            let message = run_pipeline(&of(folder.path(), step), &out, &mut |_| {}).unwrap_err().to_string();
            assert!(words.iter().chain(&["hint"]).all(|word| message.contains(word)), "{message}");
        };
        refused(language(&["eng"], 0.0), &["softmax.ftz tells no language \"eng\"", "nearest are en"]);
        refused(StepPlan::Score(score("tree.bin", "label:e")), &["no label \"e\"", "nearest are"]);
        refused(StepPlan::Score(score("tree.bin", "perplexity")), &["tells no perplexity", "label:NAME"]);
        refused(StepPlan::Score(score("tree.ftz", "bits_per_byte")), &["tells no bits_per_byte", "label:NAME"]);
        refused(StepPlan::Score(score("nowhere.bin", "label:en")), &["cannot open", "nowhere.bin"]);
        refused(StepPlan::Score(score("make.ftz", "label:en")), &["cannot open", "make.ftz"]);
        let mut short = score("tree.bin", "label:en");
        short.tokens = Some(100);
        refused(StepPlan::Score(short), &["tokens = 100", "leave tokens out"]);
        let damaged = folder.path().join("damaged.bin");
        std::fs::write(&damaged, b"no model").unwrap();
        let step = StepPlan::Language { keep: vec![], confidence: 0.0, model: Some(damaged) };
        refused(step, &["damaged.bin", "not a model of fastText"]);
    }
}
