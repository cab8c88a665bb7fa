//! Steps that look at one document at a time.

use crate::clean::{NoText, Step, clean};
use crate::deduplicate::{ContaminationIndex, ContaminationOptions};
use crate::duplicates::content_hash;
use crate::error::CorpusError;
use crate::language::{Identifier, identify_language};
use crate::quality::{Filters, Segmentation};
use crate::read::{Bytes, ReadOptions, read_documents};
use crate::redact::Redactor;

use super::compare::Keys;
use super::label::open_scorer;
use super::plan::StepPlan;
use super::row::Row;
use super::score::{OpenScorer, ScorePlan, TextScorer};

/// A step, ready to be taken.
pub(super) enum ReadyStep {
    Clean(Vec<Step>),
    Language { keep: Vec<String>, confidence: f64, identifier: Identifier },
    Filter(Filters),
    Redact(Redactor),
    Score(ScorePlan, Box<dyn TextScorer>),
    Decontaminate(Box<ContaminationIndex>),
}

impl ReadyStep {
    /// Reads what the step needs: evaluation sets, models.
    pub(super) fn new(plan: &StepPlan, bytes: Bytes, scorers: &OpenScorer<'_>) -> Result<Self, CorpusError> {
        Ok(match plan {
            StepPlan::Clean { steps } => Self::Clean(steps.clone()),
            StepPlan::Language { keep, confidence, model } => Self::Language {
                keep: keep.clone(),
                confidence: *confidence,
                identifier: Identifier::open(model.as_deref(), keep)?,
            },
            StepPlan::Filter(filters) => Self::Filter(filters.clone()),
            StepPlan::Redact(redactor) => Self::Redact(redactor.clone()),
            StepPlan::Score(plan) => Self::Score(plan.clone(), open_scorer(plan, scorers)?),
            StepPlan::Decontaminate { sets, words, text_field } => {
                let options = ContaminationOptions { words: *words, ..ContaminationOptions::default() };
                let mut index = ContaminationIndex::new(options)?;
                let reading = ReadOptions { text_field: text_field.clone(), bytes, ..ReadOptions::default() };
                for (name, paths) in sets {
                    let set = index.set(name)?;
                    for document in read_documents(paths, &reading)? {
                        index.add(set, &document?.text);
                    }
                }
                Self::Decontaminate(Box::new(index))
            }
            StepPlan::Deduplicate { .. } => unreachable!("steps that compare are not taken document by document"),
        })
    }

    /// Takes the step on a row that is still there.
    fn take(&self, row: &mut Row) {
        let Some(text) = &row.text else { return };
        match self {
            Self::Clean(steps) => match clean(text, steps) {
                Ok(clean) => row.text = Some(clean.into_owned()),
                Err(why @ NoText::After(_)) => row.drop_for("clean", Some(why.to_string())),
                Err(_) => row.drop_for("empty", None),
            },
            Self::Language { keep, confidence, identifier } => {
                let found = identifier.identify(text);
                row.language = found.map(|(code, _)| code.to_owned());
                row.confidence = found.map(|(_, sure)| sure);
                if keep.is_empty() && *confidence == 0.0 {
                    return;
                }
                match found {
                    None => row.drop_for("language", Some("no letters to tell it by".to_owned())),
                    Some((code, _)) if !keep.is_empty() && !keep.iter().any(|kept| kept == code) => {
                        row.drop_for("language", Some(code.to_owned()));
                    }
                    Some((code, sure)) if sure < *confidence => {
                        row.drop_for("language", Some(format!("{code} with a confidence of {sure:.2}")));
                    }
                    Some(_) => {}
                }
            }
            Self::Filter(filters) => {
                let language = row.language.as_deref().or_else(|| Some(identify_language(text)?.code)).unwrap_or("en");
                let segmentation = Segmentation::of(language);
                let judged = filters.apply(text, segmentation);
                let (values, verdict) = (judged.values, judged.verdict);
                let kept = judged.text.into_owned();
                for (measure, value) in values {
                    match row.values.iter_mut().find(|(known, _)| *known == measure) {
                        Some((_, old)) => *old = value,
                        None => row.values.push((measure, value)),
                    }
                }
                match verdict {
                    Some(rule) => {
                        let value =
                            row.values.iter().find(|(measure, _)| *measure == rule.measure()).map(|(_, value)| *value);
                        let limit = filters.limit(rule, segmentation);
                        let detail =
                            value.zip(limit).map(|(value, limit)| format!("{value} where the limit is {limit}"));
                        row.drop_for(rule.name(), detail);
                    }
                    None => row.text = Some(kept),
                }
            }
            Self::Redact(redactor) => {
                let redacted = redactor.redact(text);
                let count: u32 = redacted.counts.iter().sum();
                if count > 0 {
                    row.redacted += count;
                    row.text = Some(redacted.text.into_owned());
                }
            }
            Self::Score(plan, scorer) => {
                let Some(score) = scorer.score(text) else { return };
                let name = plan.called();
                let verdict = plan.verdict(score);
                row.scores.retain(|(known, _)| *known != name);
                row.scores.push((name.clone(), score));
                if verdict.is_some() {
                    row.drop_for(name, verdict);
                }
            }
            Self::Decontaminate(index) => {
                let found = index.check(text);
                if !found.is_clean() {
                    let sets: Vec<String> = found.sets().map(|set| index.names()[set].clone()).collect();
                    let said = found.matches.first().map_or("", |first| first.text);
                    let said: String = said.chars().take(120).collect();
                    let detail = format!("{}: {said:?}", sets.join(", "));
                    row.evaluation_sets = sets;
                    row.drop_for("contaminated", Some(detail));
                }
            }
        }
    }
}

/// Takes steps in order, until the document goes or is through, and makes the key of the comparison that follows.
pub(super) fn take_steps(row: &mut Row, steps: &[ReadyStep], keys: &Keys) {
    for step in steps {
        step.take(row);
    }
    if row.text.as_deref().is_some_and(|text| text.trim().is_empty()) {
        row.drop_for("empty", None);
    }
    row.measure();
    if let Some(text) = &row.text {
        let hash = content_hash(text);
        row.key = keys.make(text);
        row.mark(&hash);
    }
}
