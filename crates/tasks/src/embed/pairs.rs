//! Pairs of texts that belong together, with others that do not, or with how alike they are: examples for training and measuring.

use crate::answer::read_questions;
use crate::language_model::TaskError;
use crate::rows::{Row, Rows};
use loam_corpus::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names of the two texts of a pair, the likelier first.
const PAIRS: [[&str; 2]; 25] = [
    ["anchor", "positive"],
    ["anchor", "pos"],
    ["query", "positive"],
    ["query", "pos"],
    ["query", "document"],
    ["query", "passage"],
    ["query", "answer"],
    ["query", "response"],
    ["query", "text"],
    ["question", "positive"],
    ["question", "context"],
    ["question", "passage"],
    ["question", "answer"],
    ["sentence1", "sentence2"],
    ["sentence_A", "sentence_B"],
    ["text1", "text2"],
    ["text_a", "text_b"],
    ["question1", "question2"],
    ["premise", "hypothesis"],
    ["source", "target"],
    ["title", "abstract"],
    ["title", "body"],
    ["title", "text"],
    ["text", "pair"],
    ["text", "text_pair"],
];
/// Names of texts that do not belong to the first; with a number behind them, too.
const NEGATIVES: [&str; 5] = ["negative", "negatives", "neg", "hard_negative", "hard_negatives"];
/// Names of how alike two texts are.
const SCORES: [&str; 7] =
    ["score", "similarity", "similarity_score", "relatedness_score", "label", "labels", "is_duplicate"];

/// Which fields of rows hold what, where it is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairFields {
    /// The first text: a question, a sentence.
    pub anchor: Option<String>,
    /// The text that belongs to it; a list holds several.
    pub positive: Option<String>,
    /// Texts that do not belong to it.
    pub negatives: Vec<String>,
    /// How alike the two texts are.
    pub score: Option<String>,
}

impl PairFields {
    fn asked(&self) -> Vec<String> {
        let one = [&self.anchor, &self.positive, &self.score];
        one.into_iter().flatten().chain(&self.negatives).cloned().collect()
    }
}

/// Two texts that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPair {
    /// What is asked or looked for.
    pub anchor: Arc<str>,
    /// What belongs to it.
    pub positive: Arc<str>,
    /// What does not.
    pub negatives: Vec<Arc<str>>,
}

/// Two texts and how alike they are.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredPair {
    /// The one.
    pub first: Arc<str>,
    /// The other.
    pub second: Arc<str>,
    /// The larger, the more alike.
    pub score: f64,
    /// Where the pair stands.
    pub place: String,
}

/// Examples of one kind.
#[derive(Clone, Debug, PartialEq)]
pub enum EmbedExamples {
    /// Texts that belong together.
    Pairs(Vec<TextPair>),
    /// Texts with scores.
    Scored(Vec<ScoredPair>),
}

impl EmbedExamples {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Pairs(pairs) => pairs.len(),
            Self::Scored(pairs) => pairs.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their texts, each once.
    pub(crate) fn texts(&self) -> Vec<Arc<str>> {
        let all: BTreeSet<&Arc<str>> = match self {
            Self::Pairs(pairs) => {
                pairs.iter().flat_map(|pair| pair.negatives.iter().chain([&pair.anchor, &pair.positive])).collect()
            }
            Self::Scored(pairs) => pairs.iter().flat_map(|pair| [&pair.first, &pair.second]).collect(),
        };
        all.into_iter().cloned().collect()
    }
}

/// Reads examples: rows with the fields of [`PairFields`], told by their usual names where they are not given, tables without names
/// (two texts; two texts and a number; three texts and more), and SQuAD's files, whose questions belong to their paragraphs.
///
/// # Errors
/// When a file is missing or broken, when it cannot be told which field is what, and when a text is empty or a score no number.
pub fn read_examples(paths: &[String], bytes: Bytes, fields: &PairFields) -> Result<EmbedExamples, TaskError> {
    // By usual names, too, a first row of names is told.
    let usual = PAIRS.concat().into_iter().chain(NEGATIVES).chain(SCORES).map(str::to_owned);
    let rows = Rows::read(paths, bytes, &fields.asked().into_iter().chain(usual).collect::<Vec<_>>())?;
    if rows.rows.iter().any(is_nested) {
        return of_questions(paths, bytes);
    }
    let fields = told(&rows, fields)?;
    if let Some(score) = &fields.score {
        let pairs = rows.rows.iter().map(|row| scored(row, &fields, score)).collect::<Result<_, _>>()?;
        return Ok(EmbedExamples::Scored(pairs));
    }
    let mut pairs = Vec::new();
    for row in &rows.rows {
        let anchor: Arc<str> = one(row, &fields.anchor)?.into();
        let mut negatives = Vec::new();
        for field in &fields.negatives {
            negatives.extend(texts(row, field)?.into_iter().map(Arc::from));
        }
        let positives = texts(row, &fields.positive)?;
        if positives.is_empty() {
            return Err(lacks(row, &fields.positive));
        }
        for positive in positives {
            let (anchor, negatives) = (anchor.clone(), negatives.clone());
            pairs.push(TextPair { anchor, positive: positive.into(), negatives });
        }
    }
    Ok(EmbedExamples::Pairs(pairs))
}

/// Whether a row is a file of SQuAD's, or an article of one.
pub(super) fn is_nested(row: &Row) -> bool {
    ["data", "paragraphs"].iter().any(|field| row.fields.get(*field).is_some_and(Value::is_array))
}

fn of_questions(paths: &[String], bytes: Bytes) -> Result<EmbedExamples, TaskError> {
    let mut pairs = Vec::new();
    // What has no answer in its text is no question that leads to it.
    for question in read_questions(paths, bytes)?.into_iter().filter(|question| !question.answers.is_empty()) {
        for (name, text) in [("question", &*question.question), ("context", &*question.context)] {
            if text.trim().is_empty() {
                return Err(TaskError::Request(format!("{} ({}): the {name} is empty", question.place, question.id)));
            }
        }
        pairs.push(TextPair { anchor: question.question.into(), positive: question.context, negatives: Vec::new() });
    }
    if pairs.is_empty() {
        return Err(TaskError::Request(format!("{}: no question has an answer", paths.join(", "))));
    }
    Ok(EmbedExamples::Pairs(pairs))
}

/// The fields of rows, all known.
struct Fields {
    anchor: String,
    positive: String,
    negatives: Vec<String>,
    score: Option<String>,
}

fn told(rows: &Rows, asked: &PairFields) -> Result<Fields, TaskError> {
    for field in asked.asked() {
        if !rows.names.contains(&field) {
            let message = format!("no row has a field {field:?}; there are {}", rows.names.join(", "));
            return Err(TaskError::Request(message));
        }
    }
    let name = |name: &str| rows.names.iter().find(|own| own.eq_ignore_ascii_case(name)).cloned();
    let unnamed = rows.names.iter().all(|name| name.parse::<usize>().is_ok());
    let is_number = |field: &String| {
        let number =
            |value: &Value| value.is_number() || value.as_str().is_some_and(|text| text.trim().parse::<f64>().is_ok());
        rows.rows.iter().all(|row| row.fields.get(field).is_some_and(number))
    };
    let (anchor, positive) = match (&asked.anchor, &asked.positive) {
        (Some(anchor), Some(positive)) => (anchor.clone(), positive.clone()),
        (anchor, positive) => {
            let fits = |given: &Option<String>, name: &str| {
                given.as_ref().is_none_or(|given| given.eq_ignore_ascii_case(name))
            };
            let usual = PAIRS
                .iter()
                .filter(|[one, other]| fits(anchor, one) && fits(positive, other))
                .find_map(|[one, other]| Some((name(one)?, name(other)?)));
            let columns = || {
                let [one, other, ..] = &rows.names[..] else { return None };
                (unnamed && anchor.is_none() && positive.is_none()).then(|| (one.clone(), other.clone()))
            };
            usual.or_else(columns).ok_or_else(|| {
                TaskError::Request(format!(
                    "which fields are the two texts that belong together? Name them with --text-field and --pair-field. \
                     Two rows:{}",
                    rows.shown()
                ))
            })?
        }
    };
    let others: Vec<String> =
        rows.names.iter().filter(|name| **name != anchor && **name != positive).cloned().collect();
    let is_negative = |field: &&String| {
        let stem = field.trim_end_matches(|character: char| character.is_ascii_digit()).trim_end_matches('_');
        NEGATIVES.iter().any(|usual| usual.eq_ignore_ascii_case(stem))
    };
    let score = asked.score.clone().or_else(|| {
        let usual = SCORES.iter().find_map(|score| name(score)).filter(|field| others.contains(field));
        usual.or_else(|| others.first().filter(|field| unnamed && others.len() == 1 && is_number(field)).cloned())
    });
    let negatives = match (&asked.negatives[..], &score) {
        ([], Some(_)) => Vec::new(),
        // Columns without names are negatives only where none of them was named.
        ([], None) if unnamed && asked.anchor.is_none() && asked.positive.is_none() => others,
        ([], None) => others.iter().filter(is_negative).cloned().collect(),
        (given, None) => given.to_vec(),
        (_, Some(score)) => {
            let message = format!("rows have a score ({score}) and negatives; leave one of them out");
            return Err(TaskError::Request(message));
        }
    };
    Ok(Fields { anchor, positive, negatives, score })
}

fn scored(row: &Row, fields: &Fields, score: &str) -> Result<ScoredPair, TaskError> {
    let number = match row.fields.get(score) {
        None | Some(Value::Null) => return Err(lacks(row, score)),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::Bool(truth)) => Some(f64::from(u8::from(*truth))),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    let wrong = || {
        let value = row.fields.get(score).unwrap_or(&Value::Null);
        TaskError::Request(format!(
            "{}: the score in \"{score}\" is {value} and not a number; name another field with --label-field, or take this one out of \
             the rows if every pair belongs together",
            row.place()
        ))
    };
    Ok(ScoredPair {
        first: one(row, &fields.anchor)?.into(),
        second: one(row, &fields.positive)?.into(),
        score: number.filter(|score: &f64| score.is_finite()).ok_or_else(wrong)?,
        place: row.place(),
    })
}

fn lacks(row: &Row, field: &str) -> TaskError {
    TaskError::Request(format!("{}: has no \"{field}\"", row.place()))
}

/// The text of a field that must have one.
fn one(row: &Row, field: &str) -> Result<String, TaskError> {
    let text = row.text(field)?.ok_or_else(|| lacks(row, field))?;
    filled(row, field, text)
}

fn filled(row: &Row, field: &str, text: String) -> Result<String, TaskError> {
    if text.trim().is_empty() {
        return Err(TaskError::Request(format!(
            "{}: \"{field}\" is empty; a text without words has no meaning",
            row.place()
        )));
    }
    Ok(text)
}

/// The texts of a field that may have several, or none.
fn texts(row: &Row, field: &str) -> Result<Vec<String>, TaskError> {
    match row.fields.get(field) {
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            let texts = list.iter().filter_map(Value::as_str);
            texts.map(|text| filled(row, field, text.to_owned())).collect()
        }
        _ => row.text(field)?.map(|text| filled(row, field, text)).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &str, fields: &PairFields) -> Result<EmbedExamples, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let paths = [path.to_string_lossy().into_owned()];
        read_examples(&paths, Bytes::default(), fields).map_err(|error| error.to_string())
    }

    fn pairs(name: &str, content: &str) -> Vec<TextPair> {
        match read(name, content, &PairFields::default()).unwrap() {
            EmbedExamples::Pairs(pairs) => pairs,
            EmbedExamples::Scored(_) => panic!("scored"),
        }
    }

    #[test]
    fn examples_of_every_shape_are_read() {
        let lists = "{\"query\":\"who\",\"pos\":[\"Ann\",\"Bob\"],\"neg\":[\"a cat\"]}\n{\"query\":\"where\",\"pos\":[\"here\"],\"neg\":[]}\n";
        let found = pairs("a.jsonl", lists);
        assert_eq!(
            (found.len(), &*found[1].positive, found[1].negatives.len(), found[2].negatives.len()),
            (3, "Bob", 1, 0)
        );
        let table = pairs("a.csv", "anchor,positive,negative_1,negative_2\na,b,c,d\n谁,🎬,שלום,x\n");
        assert_eq!((table[0].negatives.len(), &*table[1].anchor), (2, "谁"));
        let bare = pairs("a.tsv", "who is it\tit is he\tno\nwhere is it\tit is there\tno\n");
        assert_eq!((&*bare[1].positive, &*bare[1].negatives[0]), ("it is there", "no"));
        let nested = r#"{"data":[{"paragraphs":[{"context":"Ann ran","qas":[
            {"id":"a","question":"who?","answers":[{"text":"Ann","answer_start":0}]},
            {"id":"b","question":"why?","answers":[],"is_impossible":true}]}]}]}"#;
        assert_eq!(pairs("a.json", nested).len(), 1);
        for (name, content) in [
            ("a.tsv", "one\ttwo\t0.5\nthree\tfour\t4\n"),
            ("a.csv", "sentence1,sentence2,score\none,two,0.5\nthree,four,4\n"),
            (
                "a.jsonl",
                "{\"text1\":\"one\",\"text2\":\"two\",\"label\":0.5}\n{\"text1\":\"three\",\"text2\":\"four\",\"label\":\"4\"}\n",
            ),
        ] {
            let EmbedExamples::Scored(found) = read(name, content, &PairFields::default()).unwrap() else {
                panic!("{name}")
            };
            assert_eq!(
                (found.len(), &*found[1].second, found[0].score, found[1].score),
                (2, "four", 0.5, 4.0),
                "{name}"
            );
        }
        let fields = PairFields { anchor: Some("3".into()), positive: Some("2".into()), ..PairFields::default() };
        let EmbedExamples::Pairs(found) = read("a.tsv", "to title\tlong text\tshort\n", &fields).unwrap() else {
            panic!("scored")
        };
        assert_eq!((&*found[0].anchor, &*found[0].positive, found[0].negatives.len()), ("short", "long text", 0));
        let fields = PairFields { anchor: Some("a".into()), positive: Some("b".into()), ..PairFields::default() };
        assert_eq!(read("a.jsonl", "{\"a\":\"x\",\"b\":\"y\",\"c\":\"z\"}\n", &fields).unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_example_is_told_with_its_row() {
        for (name, content, words) in [
            (
                "a.jsonl",
                "{\"anchor\":\"a\",\"positive\":\"b\"}\n{\"anchor\":\"\",\"positive\":\"b\"}\n",
                &["row 2", "\"anchor\" is empty"][..],
            ),
            (
                "a.jsonl",
                "{\"anchor\":\"a\",\"positive\":\"b\"}\n{\"anchor\":\"a\"}\n",
                &["row 2", "has no \"positive\""],
            ),
            ("a.jsonl", "{\"anchor\":\"a\",\"positive\":{}}\n", &["row 1", "an object"]),
            ("a.jsonl", "{\"query\":\"a\",\"pos\":[]}\n", &["row 1", "has no \"pos\""]),
            ("a.jsonl", "{\"query\":\"a\",\"pos\":[\" \"]}\n", &["row 1", "is empty"]),
            ("a.csv", "sentence1,sentence2,score\na,b,1\na,b,high\n", &["row 3", "\"high\" and not a number"]),
            ("a.csv", "sentence1,sentence2,score\na,b,1\na,b,NaN\n", &["row 3", "not a number"]),
            ("a.csv", "sentence1,sentence2,score\na,b,1\na,b\n", &["columns"]),
            ("a.jsonl", "{\"a\":\"x\",\"b\":\"y\"}\n", &["--text-field", "a = \"x\""]),
            ("a.txt", "only one\nanother\n", &["--text-field"]),
            ("a.json", "{\"data\":[]}", &["no question"]),
        ] {
            let error = read(name, content, &PairFields::default()).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{content}: {error}");
        }
        let fields = PairFields { score: Some("grade".into()), ..PairFields::default() };
        assert!(read("a.tsv", "a\tb\n", &fields).unwrap_err().contains("no row has a field \"grade\""));
    }
}
