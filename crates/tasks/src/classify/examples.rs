//! Texts with labels, out of rows whose fields are told by their names or by what stands in them.

use crate::language_model::TaskError;
use crate::rows::{Row, Rows};
use loam_corpus::Bytes;
use loam_models::{Labels, Problem};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Usual names of a field with a text.
const TEXTS: [&str; 16] = [
    "text",
    "sentence",
    "review",
    "content",
    "comment",
    "tweet",
    "document",
    "headline",
    "title",
    "question",
    "utterance",
    "query",
    "body",
    "message",
    "sms",
    "review_body",
];
/// Usual names of the fields of a pair of texts.
const PAIRS: [(&str, &str); 8] = [
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("question", "sentence"),
    ("query", "passage"),
    ("text", "text_pair"),
];
/// Usual names of a field with a label.
const LABELS: [&str; 15] = [
    "label",
    "labels",
    "class",
    "category",
    "sentiment",
    "intent",
    "topic",
    "target",
    "gold_label",
    "label_text",
    "stars",
    "rating",
    "score",
    "similarity",
    "y",
];

/// Which fields of rows hold what; what is left open is told by looking.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FieldNames {
    /// Fields of the text; several are joined by a space.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub text_field: Vec<String>,
    /// The field of a second text, where pairs are labeled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair_field: Option<String>,
    /// The field of the label; several hold 1 or 0 for a label each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label_field: Vec<String>,
    /// What stands between the labels of a text that may have several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_separator: Option<String>,
}

impl FieldNames {
    fn asked(&self) -> Vec<String> {
        self.text_field.iter().chain(&self.pair_field).chain(&self.label_field).cloned().collect()
    }
}

/// What a text is said to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// One label.
    One(String),
    /// Any number of labels.
    Many(Vec<String>),
    /// A number.
    Number(f64),
}

/// A text, or a pair of texts, with what it is said to be.
#[derive(Clone, Debug, PartialEq)]
pub struct LabeledText {
    /// The text.
    pub text: String,
    /// The second text of a pair.
    pub pair: Option<String>,
    /// Its label or labels.
    pub told: Told,
    /// Where it stands.
    pub place: String,
}

/// Reads labeled texts.
///
/// # Errors
/// When files are missing or broken, a field is missing, or fields cannot be told apart: then two rows are shown.
pub fn read_labeled(paths: &[String], bytes: Bytes, names: &FieldNames) -> Result<Vec<LabeledText>, TaskError> {
    let rows = Rows::read(paths, bytes, &names.asked())?;
    let fields = Fields::find(&rows, names)?;
    rows.rows.iter().map(|row| fields.of(row)).collect()
}

/// The fields that were found.
struct Fields {
    text: Vec<String>,
    pair: Option<String>,
    label: Label,
}

enum Label {
    /// A field whose texts are labels.
    One(String),
    /// A field whose numbers are told.
    Number(String),
    /// A field with lists of labels, or labels with something between them.
    Many(String, Option<String>),
    /// A field a label.
    Columns(Vec<String>),
}

impl Fields {
    fn find(rows: &Rows, asked: &FieldNames) -> Result<Self, TaskError> {
        for name in asked.asked() {
            if !rows.names.contains(&name) {
                let message = format!("no row has a field \"{name}\"; there are {}", rows.names.join(", "));
                return Err(TaskError::Request(message + &rows.shown()));
            }
        }
        let label = label_field(rows, asked)?;
        let is_label = |name: &String| match &label {
            Label::One(field) | Label::Number(field) | Label::Many(field, _) => field == name,
            Label::Columns(fields) => fields.contains(name),
        };
        let others: Vec<&String> = rows.names.iter().filter(|name| !is_label(name)).collect();
        let has = |wanted: &str| others.iter().any(|name| name.as_str() == wanted);
        let usual_pair = PAIRS.iter().find(|(first, second)| has(first) && has(second));
        let (text, pair) = match (&asked.text_field[..], &asked.pair_field) {
            ([], None) if usual_pair.is_some() => {
                let (first, second) = usual_pair.expect("it was just found");
                (vec![(*first).to_owned()], Some((*second).to_owned()))
            }
            ([], pair) => (vec![text_field(rows, &others, pair.as_ref())?], pair.clone()),
            (texts, pair) => (texts.to_vec(), pair.clone()),
        };
        Ok(Self { text, pair, label })
    }

    fn of(&self, row: &Row) -> Result<LabeledText, TaskError> {
        let lacks = |field: &str| TaskError::Request(format!("{}: has no \"{field}\"", row.place()));
        let text = |field: &String| row.text(field)?.ok_or_else(|| lacks(field));
        let texts = self.text.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        let pair = self.pair.as_ref().map(text).transpose()?;
        let told = match &self.label {
            Label::One(field) => {
                let label = row.text(field)?.map(|label| label.trim().to_owned()).filter(|label| !label.is_empty());
                Told::One(plain(&label.ok_or_else(|| lacks(field))?))
            }
            Label::Number(field) => {
                let label = row.text(field)?.unwrap_or_default();
                let number = label.trim().parse::<f64>().ok().filter(|number| number.is_finite());
                let wrong = || TaskError::Request(format!("{}: \"{field}\" is {label:?}, no number", row.place()));
                Told::Number(number.ok_or_else(wrong)?)
            }
            Label::Many(field, separator) => Told::Many(many(row, field, separator.as_deref())?),
            Label::Columns(fields) => {
                let mut labels = Vec::new();
                for field in fields {
                    match row.text(field)?.as_deref().map(str::trim) {
                        Some("1" | "1.0" | "true") => labels.push(field.clone()),
                        Some("0" | "0.0" | "false" | "") | None => {}
                        Some(other) => {
                            let place = row.place();
                            return Err(TaskError::Request(format!(
                                "{place}: \"{field}\" is {other:?}, neither 0 nor 1"
                            )));
                        }
                    }
                }
                Told::Many(labels)
            }
        };
        Ok(LabeledText { text: texts.join(" "), pair, told, place: row.place() })
    }
}

/// 1.0 is the label 1.
fn plain(label: &str) -> String {
    label.strip_suffix(".0").filter(|number| number.parse::<i64>().is_ok()).unwrap_or(label).to_owned()
}

/// The labels of a row that may have several.
fn many(row: &Row, field: &str, separator: Option<&str>) -> Result<Vec<String>, TaskError> {
    let listed: Vec<String> = match row.fields.get(field) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(labels)) => labels
            .iter()
            .map(|label| match label {
                Value::String(label) => Ok(label.trim().to_owned()),
                Value::Number(label) => Ok(label.to_string()),
                other => Err(TaskError::Request(format!("{}: {other} in \"{field}\" is no label", row.place()))),
            })
            .collect::<Result<_, _>>()?,
        Some(_) => {
            let text = row.text(field)?.unwrap_or_default();
            match separator {
                Some(separator) => text.split(separator).map(|label| label.trim().to_owned()).collect(),
                None => vec![text.trim().to_owned()],
            }
        }
    };
    let distinct: BTreeSet<String> = listed.into_iter().filter(|label| !label.is_empty()).collect();
    Ok(distinct.into_iter().collect())
}

fn label_field(rows: &Rows, asked: &FieldNames) -> Result<Label, TaskError> {
    let field = match &asked.label_field[..] {
        [] => found_label(rows, asked)?,
        [one] => one.clone(),
        several => return Ok(Label::Columns(several.to_vec())),
    };
    if asked.label_separator.is_some() {
        return Ok(Label::Many(field, asked.label_separator.clone()));
    }
    let values = || rows.rows.iter().filter_map(|row| row.fields.get(&field)).filter(|value| !value.is_null());
    if values().any(Value::is_array) {
        return Ok(Label::Many(field, None));
    }
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse::<f64>().ok());
    let all_numbers = values().all(|value| number(value).is_some());
    if all_numbers && values().filter_map(number).any(|number| number.fract() != 0.0) {
        return Ok(Label::Number(field));
    }
    Ok(Label::One(field))
}

fn found_label(rows: &Rows, asked: &FieldNames) -> Result<String, TaskError> {
    let free: Vec<&String> = rows
        .names
        .iter()
        .filter(|name| !asked.text_field.contains(name) && asked.pair_field.as_ref() != Some(name))
        .collect();
    let same = |name: &&&String, usual: &str| name.eq_ignore_ascii_case(usual);
    if let Some(name) = LABELS.iter().find_map(|usual| free.iter().find(|name| same(name, usual))) {
        return Ok((*name).clone());
    }
    // Labels are few and short, and texts are many and long.
    let count = rows.rows.len();
    let mut like_labels: Vec<(&String, usize)> = free
        .iter()
        .filter_map(|name| {
            let (different, characters) = rows.variety(name);
            let repeats = different * 2 <= count || (count < 20 && different < count);
            (repeats && characters <= 40.0).then_some((*name, different))
        })
        .collect();
    like_labels.sort_by_key(|(_, different)| *different);
    match like_labels[..] {
        [(name, _)] => Ok(name.clone()),
        [(name, labels), (_, texts), ..] if 4 * labels <= texts => Ok(name.clone()),
        _ if free.len() == 1 && !asked.text_field.is_empty() => Ok(free[0].clone()),
        // A text and a number beside it.
        _ if free.len() == 2 && free.iter().filter(|name| is_numeric(rows, name)).count() == 1 => {
            Ok((*free.iter().find(|name| is_numeric(rows, name)).expect("one is")).clone())
        }
        _ => Err(TaskError::Request(format!(
            "the field of the label cannot be told from the others; name it with --label-field, and the text with \
             --text-field:{}",
            rows.shown()
        ))),
    }
}

fn is_numeric(rows: &Rows, field: &str) -> bool {
    rows.rows
        .iter()
        .filter_map(|row| row.fields.get(field))
        .all(|value| value.is_number() || value.as_str().is_some_and(|text| text.trim().parse::<f64>().is_ok()))
}

fn text_field(rows: &Rows, others: &[&String], pair: Option<&String>) -> Result<String, TaskError> {
    let free: Vec<&String> = others.iter().copied().filter(|name| Some(*name) != pair).collect();
    let usual = TEXTS.iter().filter_map(|usual| free.iter().find(|name| name.eq_ignore_ascii_case(usual)));
    let found: Vec<&&String> = usual.collect();
    match (&found[..], &free[..]) {
        ([name, ..], _) if ***name == "text" || found.len() == 1 => Ok((**name).clone()),
        ([], [name]) => Ok((*name).clone()),
        ([], []) => Err(TaskError::Request(format!("there is no field left for the text:{}", rows.shown()))),
        ([], names) => {
            // Beside one column of text, numbers and short marks may stand.
            let long: Vec<&&String> = names.iter().filter(|name| rows.variety(name).1 > 12.0).collect();
            match long[..] {
                [name] => Ok((*name).clone()),
                _ => Err(ask_for_text(rows)),
            }
        }
        _ => Err(ask_for_text(rows)),
    }
}

fn ask_for_text(rows: &Rows) -> TaskError {
    TaskError::Request(format!(
        "several fields could be the text; name it with --text-field (two joined by a comma are read as one text), and the \
         second text of a pair with --pair-field:{}",
        rows.shown()
    ))
}

/// The labels that examples have, in the order of numbers where all are numbers and of letters otherwise. `names` are what
/// labels that are numbers are called, from 0 on.
///
/// # Errors
/// When there is one label only, or a number has no name.
pub fn labels_of(examples: &mut [LabeledText], names: &[String]) -> Result<Labels, TaskError> {
    if examples.iter().all(|example| matches!(example.told, Told::Number(_))) {
        return Ok(Labels::new(["score"], Problem::Regression)?);
    }
    let renamed = |label: &mut String, place: &str| -> Result<(), TaskError> {
        if names.is_empty() || names.contains(label) {
            return Ok(());
        }
        let name = label.parse::<usize>().ok().and_then(|number| names.get(number));
        *label = name.cloned().ok_or_else(|| {
            TaskError::Request(format!("{place}: the label {label} has no name; there are {} names", names.len()))
        })?;
        Ok(())
    };
    let mut found: BTreeMap<String, u64> = names.iter().map(|name| (name.clone(), 0)).collect();
    let mut several = false;
    for example in &mut *examples {
        match &mut example.told {
            Told::One(label) => {
                renamed(label, &example.place)?;
                *found.entry(label.clone()).or_default() += 1;
            }
            Told::Many(labels) => {
                several = true;
                for label in labels {
                    renamed(label, &example.place)?;
                    *found.entry(label.clone()).or_default() += 1;
                }
            }
            Told::Number(_) => {}
        }
    }
    let mut ordered: Vec<String> = if names.is_empty() { found.keys().cloned().collect() } else { names.to_vec() };
    if ordered.iter().all(|label| label.parse::<i64>().is_ok()) {
        ordered.sort_by_key(|label| label.parse::<i64>().unwrap_or_default());
    }
    let used = found.values().filter(|count| **count > 0).count();
    if used < 2 && !several {
        let only = found.iter().find(|(_, count)| **count > 0).map_or("none", |(label, _)| label.as_str());
        return Err(TaskError::Request(format!(
            "every example has the label {only:?}: there is nothing to learn to tell apart; give texts of two labels or more"
        )));
    }
    Ok(Labels::new(ordered, if several { Problem::MultiLabel } else { Problem::SingleLabel })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &str, names: &FieldNames) -> Result<Vec<LabeledText>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        read_labeled(&[path.to_string_lossy().into_owned()], Bytes::default(), names).map_err(|error| error.to_string())
    }

    fn names(text: &[&str], label: &[&str]) -> FieldNames {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        FieldNames { text_field: owned(text), label_field: owned(label), ..FieldNames::default() }
    }

    #[test]
    fn usual_shapes_need_no_telling() {
        let open = FieldNames::default();
        let sst = "a fine film indeed, moving\t1\nbad from end to end\t0\nnever dull\t1\ndull\t0\n";
        let mut found = read("a.tsv", sst, &open).unwrap();
        assert_eq!((found[1].text.as_str(), &found[1].told), ("bad from end to end", &Told::One("0".to_owned())));
        assert_eq!(labels_of(&mut found, &[]).unwrap().names(), ["0", "1"]);
        let named = ["bad".to_owned(), "good".to_owned()];
        assert_eq!(labels_of(&mut found, &named).unwrap().names(), named);
        assert_eq!(found[0].told, Told::One("good".to_owned()));
        assert!(labels_of(&mut read("a.tsv", &sst.replace('1', "7"), &open).unwrap(), &named).is_err());

        let csv = read("a.csv", "label,review\n1,很好\n0,不好\n", &open).unwrap();
        assert_eq!((csv.len(), csv[0].text.as_str()), (2, "很好"));
        let pairs = "{\"premise\":\"a\",\"hypothesis\":\"b\",\"label\":\"yes\",\"idx\":3}\n";
        assert_eq!(read("a.jsonl", pairs, &open).unwrap()[0].pair.as_deref(), Some("b"));
        let lists = "{\"text\":\"a\",\"labels\":[\"x\",\"y\"]}\n{\"text\":\"b\",\"labels\":[]}\n";
        let mut lists = read("a.jsonl", lists, &open).unwrap();
        assert_eq!(lists[1].told, Told::Many(Vec::new()));
        assert_eq!(labels_of(&mut lists, &[]).unwrap().problem(), Problem::MultiLabel);
        let numbers = "sentence1,sentence2,score\na,b,0.5\nc,d,1\n";
        let mut numbers = read("a.csv", numbers, &open).unwrap();
        assert_eq!(numbers[1].told, Told::Number(1.0));
        assert_eq!(labels_of(&mut numbers, &[]).unwrap().problem(), Problem::Regression);
        let columns = "text,toxic,rude\na,1,0\nb,0,0\n";
        let columns = read("a.csv", columns, &names(&[], &["toxic", "rude"])).unwrap();
        assert_eq!(columns[0].told, Told::Many(vec!["toxic".to_owned()]));
        let separated = FieldNames { label_separator: Some("|".to_owned()), ..FieldNames::default() };
        let separated = read("a.csv", "text,label\na,x| y\nb,y\n", &separated).unwrap();
        assert_eq!(separated[0].told, Told::Many(vec!["x".to_owned(), "y".to_owned()]));
    }

    #[test]
    fn what_cannot_be_told_is_asked() {
        let open = FieldNames::default();
        let news = "\"3\",\"Fears for pension after talks\",\"Unions say they are disappointed\"\n\
                    \"4\",\"The race is on for space\",\"A second team of rocketeers\"\n\"3\",\"Third title\",\"A third text\"\n";
        let error = read("a.csv", news, &open).unwrap_err();
        assert!(error.contains("--text-field") && error.contains("row 2"), "{error}");
        let joined = read("a.csv", news, &names(&["2", "3"], &[])).unwrap();
        assert!(joined[0].text.contains("talks Unions"));
        let error = read("a.csv", news, &names(&["5"], &[])).unwrap_err();
        assert!(error.contains("no row has a field \"5\"; there are 1, 2, 3"), "{error}");
        for (content, words) in [
            ("{\"text\":\"a\",\"label\":\"x\"}\n{\"text\":\"b\"}\n", "row 2: has no \"label\""),
            ("{\"text\":\"a\",\"label\":{\"x\":1}}\n", "an object"),
            ("{\"label\":\"x\",\"text\":null}\n", "has no \"text\""),
        ] {
            let error = read("a.jsonl", content, &open).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let mut one = read("a.csv", "text,label\na,x\nb,x\n", &open).unwrap();
        assert!(labels_of(&mut one, &[]).unwrap_err().to_string().contains("\"x\""));
    }
}
