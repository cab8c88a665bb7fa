//! How well answers are found.

use super::{Answer, AnswerOptions, Answerer, Question};
use crate::evaluation::{Compared, Evaluation, compared};
use crate::metrics::Bootstrap;
use crate::metrics::answers::{AnswerCounts, AnswerScore, cmrc, squad_v1, squad_v2};
use serde::Serialize;

/// By whose script answers are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerMeasure {
    /// SQuAD 1.1's: every question has an answer.
    Squad1,
    /// SQuAD 2.0's: some have none.
    Squad2,
    /// CMRC 2018's, for Chinese.
    Cmrc,
}

impl AnswerMeasure {
    /// The one that suits questions: CMRC's where most answers are Chinese, SQuAD's otherwise.
    pub fn of(questions: &[Question]) -> Self {
        let is_chinese = |text: &str| text.chars().any(|c| matches!(c as u32, 0x3400..=0x9fff | 0x2_0000..=0x3_ffff));
        let chinese = questions.iter().filter(|question| is_chinese(&question.context)).count();
        let unanswered = questions.iter().any(|question| question.answers.is_empty());
        match (unanswered, 2 * chinese > questions.len()) {
            (true, _) => Self::Squad2,
            (false, true) => Self::Cmrc,
            (false, false) => Self::Squad1,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Squad1 => "SQuAD 1.1",
            Self::Squad2 => "SQuAD 2.0",
            Self::Cmrc => "CMRC 2018",
        }
    }
}

/// What is told beside exact match and F1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AnswerDetails {
    /// By whose script answers are judged.
    pub measure: AnswerMeasure,
}

/// The score of every answer.
pub(super) fn scores(questions: &[Question], said: &[String], measure: AnswerMeasure) -> Vec<AnswerScore> {
    let score = |(question, said): (&Question, &String)| {
        let gold: Vec<&str> = question.answers.iter().map(|answer| answer.text.as_str()).collect();
        match measure {
            AnswerMeasure::Squad1 => squad_v1(said, &gold),
            AnswerMeasure::Squad2 => squad_v2(said, &gold),
            AnswerMeasure::Cmrc => cmrc(said, &gold),
        }
    };
    questions.iter().zip(said).map(score).collect()
}

/// Asks a model and counts.
pub fn evaluate(
    answerer: &Answerer,
    questions: &[Question],
    options: &AnswerOptions,
    bootstrap: &Bootstrap,
) -> (Evaluation<AnswerDetails>, Vec<AnswerScore>, Vec<Answer>) {
    let measure = AnswerMeasure::of(questions);
    let asked = questions.iter().map(|question| (question.question.as_str(), &*question.context));
    let best: Vec<Answer> = answerer
        .answers(asked, options)
        .into_iter()
        .map(|answers| answers.into_iter().next().unwrap_or_default())
        .collect();
    let said: Vec<String> = best.iter().map(|answer| answer.answer.clone()).collect();
    let scores = scores(questions, &said, measure);
    let f1_of = |of: fn(&AnswerCounts) -> Option<(f64, f64)>| {
        bootstrap.interval(&scores, move |sum: &AnswerCounts| of(sum).map(|(_, f1)| f1))
    };
    let mut metrics = vec![
        ("exact", bootstrap.interval(&scores, AnswerCounts::exact)),
        ("f1", bootstrap.interval(&scores, AnswerCounts::f1)),
    ];
    if measure == AnswerMeasure::Squad2 {
        metrics.push(("answerable_f1", f1_of(AnswerCounts::of_answerable)));
        metrics.push(("unanswerable_f1", f1_of(AnswerCounts::of_unanswerable)));
    }
    (Evaluation::new(metrics, questions.len(), AnswerDetails { measure }), scores, best)
}

/// The second model's F1 less the first's, on the same questions.
pub fn compare(first: &[AnswerScore], second: &[AnswerScore], bootstrap: &Bootstrap) -> Compared {
    compared([("f1", bootstrap.compare(first, second, AnswerCounts::f1))])
}
