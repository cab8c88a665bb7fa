//! How near summaries come to references, by ROUGE as rouge-score counts it, beside the first sentences of each text, which are hard
//! to beat where texts are news and easy where they are talk.

use crate::evaluation::{Compared, Evaluation, compared};
use crate::metrics::summaries::{Rouge, RougeScores, RougeSum, RougeTokens, lead, sentences};
use crate::metrics::{Bootstrap, Interval};
use crate::writing::{Pair, is_chinese};
use serde::Serialize;
use std::collections::BTreeMap;

/// What is told beside ROUGE.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SummaryDetails {
    /// What was counted: words, stems or characters.
    pub tokens: &'static str,
    /// The first sentences as the summary.
    pub lead: Lead,
    /// Tokens of a summary, as they are counted.
    pub mean_length: f64,
    /// Tokens of a reference.
    pub mean_reference_length: f64,
}

/// What the first sentences of the texts come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Lead {
    /// How many sentences.
    pub sentences: usize,
    /// Their metrics.
    pub metrics: BTreeMap<String, Interval>,
    /// The summaries' metrics less theirs.
    pub compared: Compared,
}

/// What is counted where nobody says: characters where most references are Chinese, else stems of words.
pub fn tokens_for(pairs: &[Pair]) -> RougeTokens {
    let chinese = |pair: &&Pair| pair.targets.first().is_some_and(|target| is_chinese(target));
    if 2 * pairs.iter().filter(chinese).count() > pairs.len() { RougeTokens::Characters } else { RougeTokens::Stems }
}

/// The measures by name.
type Measure = (&'static str, fn(&RougeScores) -> f64);

const MEASURES: [Measure; 4] = [
    ("rouge1", |scores| scores.rouge1.f1),
    ("rouge2", |scores| scores.rouge2.f1),
    ("rougeL", |scores| scores.rouge_l.f1),
    ("rougeLsum", |scores| scores.rouge_lsum.f1),
];

/// The scores of every summary.
pub struct SummaryScores(Vec<RougeScores>);

/// Sentences on lines of their own, which is how ROUGE-Lsum takes them; the other measures do not see lines.
fn on_lines(text: &str) -> String {
    sentences(text).join("\n")
}

fn scores<'s>(summaries: impl Iterator<Item = &'s str>, pairs: &[Pair], rouge: Rouge) -> SummaryScores {
    let one = |(summary, pair): (&str, &Pair)| {
        let references: Vec<String> = pair.targets.iter().map(|target| on_lines(target)).collect();
        rouge.best_scores(&on_lines(summary), &references)
    };
    SummaryScores(summaries.zip(pairs).map(one).collect())
}

fn metrics(scores: &SummaryScores, bootstrap: &Bootstrap) -> [(&'static str, Option<Interval>); 4] {
    MEASURES.map(|(name, of)| (name, bootstrap.interval(&scores.0, |sum: &RougeSum| sum.mean().map(|mean| of(&mean)))))
}

/// Scores summaries against the targets of their pairs: F1, of several references the best one's.
pub fn evaluate(
    summaries: &[String],
    pairs: &[Pair],
    tokens: RougeTokens,
    lead_sentences: usize,
    bootstrap: &Bootstrap,
) -> (Evaluation<SummaryDetails>, SummaryScores) {
    let rouge = Rouge { tokens };
    let own = scores(summaries.iter().map(String::as_str), pairs, rouge);
    let leads: Vec<String> = pairs.iter().map(|pair| lead(&pair.source, lead_sentences)).collect();
    let first = scores(leads.iter().map(String::as_str), pairs, rouge);
    let defined = metrics(&first, bootstrap).into_iter();
    let mean = |lengths: &mut dyn Iterator<Item = usize>| {
        let (sum, count) = lengths.fold((0, 0), |(sum, count), length| (sum + length, count + 1));
        if count > 0 { sum as f64 / f64::from(count) } else { 0.0 }
    };
    let length = |text: &String| tokens.tokens(text).len();
    let details = SummaryDetails {
        tokens: match tokens {
            RougeTokens::Words => "words",
            RougeTokens::Stems => "stems",
            RougeTokens::Characters => "characters",
        },
        lead: Lead {
            sentences: lead_sentences,
            metrics: defined.filter_map(|(name, interval)| Some((name.to_owned(), interval?))).collect(),
            compared: compare(&first, &own, bootstrap),
        },
        mean_length: mean(&mut summaries.iter().map(length)),
        mean_reference_length: mean(&mut pairs.iter().flat_map(|pair| &pair.targets).map(length)),
    };
    (Evaluation::new(metrics(&own, bootstrap), summaries.len(), details), own)
}

/// The second's ROUGE less the first's, on the same texts.
pub fn compare(first: &SummaryScores, second: &SummaryScores, bootstrap: &Bootstrap) -> Compared {
    compared(MEASURES.map(|(name, of)| {
        (name, bootstrap.compare(&first.0, &second.0, |sum: &RougeSum| sum.mean().map(|mean| of(&mean))))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_stand_beside_the_first_sentences() {
        let pair = |source: &str, targets: &[&str]| Pair {
            source: source.to_owned(),
            targets: targets.iter().map(|&target| target.to_owned()).collect(),
        };
        let pairs = [
            pair("It rains today. The cat sleeps. Then the dog barks.", &["A dog barks.", "The cat slept."]),
            pair("One thing happened. Two more did.", &["Two things happened."]),
        ];
        let said = ["The cat sleeps.".to_owned(), "Two things happened.".to_owned()];
        let tokens = tokens_for(&pairs);
        assert_eq!(tokens, RougeTokens::Stems);
        let (evaluation, scores) = evaluate(&said, &pairs, tokens, 1, &Bootstrap::default());
        let details = &evaluation.details;
        assert!(evaluation.metrics["rouge1"].value > details.lead.metrics["rouge1"].value);
        assert!(details.lead.compared["rougeL"].difference.value > 0.0);
        assert_eq!((details.lead.sentences, details.tokens, details.mean_length), (1, "stems", 3.0));
        assert_eq!(compare(&scores, &scores, &Bootstrap::default())["rougeLsum"].difference.value, 0.0);
        assert_eq!(tokens_for(&[pair("文", &["一种方法"])]), RougeTokens::Characters);
    }
}
