//! Examples of tasks as rows: records with named fields, out of whatever file they stand in.
//!
//! Tables seldom say whether their first row holds names. It does where a cell of it is a name that was asked for or is usual, and
//! comes in no other row of its column (a label may be called `question` too); or where it is the only row whose cell in some
//! column is no number.

use crate::language_model::TaskError;
use loam_corpus::{Bytes, Documents, FileFormat, FileKind, ReadOptions, Records, find_files};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// Names that fields of examples usually have, whatever the task.
const USUAL: [&str; 44] = [
    "id",
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
    "sentence1",
    "sentence2",
    "premise",
    "hypothesis",
    "question1",
    "question2",
    "text_a",
    "text_b",
    "text1",
    "text2",
    "passage",
    "text_pair",
    "label",
    "labels",
    "class",
    "category",
    "sentiment",
    "intent",
    "topic",
    "stars",
    "rating",
    "source",
    "target",
    "context",
    "answer",
    "answers",
    "summary",
];

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its file.
    pub path: Arc<Path>,
    /// Its number in the file, from 1; a row of names counts.
    pub number: u64,
    /// Its fields.
    pub fields: Map<String, Value>,
}

impl Row {
    /// Where it stands, in words.
    pub fn place(&self) -> String {
        format!("{}, row {}", self.path.display(), self.number)
    }

    /// A field as text: strings as they are, numbers and truths as they are written, lists of texts as lines; none where it is
    /// missing or null.
    ///
    /// # Errors
    /// When it is an object or a list of something else.
    pub fn text(&self, field: &str) -> Result<Option<String>, TaskError> {
        Ok(Some(match self.fields.get(field) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(truth)) => truth.to_string(),
            Some(Value::Array(lines)) if lines.iter().all(Value::is_string) => {
                lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
            }
            Some(other) => {
                let kind = if other.is_array() { "a list" } else { "an object" };
                return Err(TaskError::Request(format!(
                    "{}: field \"{field}\" is {kind} and not a text",
                    self.place()
                )));
            }
        }))
    }
}

/// The rows of some files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// They, in the order of files and rows.
    pub rows: Vec<Row>,
    /// Every name of a field, in the order of the first row that has it.
    pub names: Vec<String>,
}

impl Rows {
    /// Reads files, folders and globs; `asked` are the names of fields that were asked for.
    ///
    /// # Errors
    /// When a file is missing, broken, or of a kind that has no rows, and when there is no row at all.
    pub fn read(paths: &[String], bytes: Bytes, asked: &[String]) -> Result<Self, TaskError> {
        let files = find_files(paths)?.files;
        let mut all = Self::default();
        for file in files {
            let options = ReadOptions { records: Records::Rows, metadata: true, bytes, ..ReadOptions::default() };
            let mut rows = Vec::new();
            for (number, document) in (1..).zip(Documents::new(vec![file.clone()], options)) {
                let document = document?;
                rows.push(Row { path: document.path, number, fields: document.metadata });
            }
            let is_table = FileKind::of(&file)
                .is_some_and(|kind| matches!(kind.format, FileFormat::Csv | FileFormat::Tsv | FileFormat::Text));
            if is_table {
                name_columns(&mut rows, asked);
            }
            all.rows.append(&mut rows);
        }
        for row in &all.rows {
            for name in row.fields.keys() {
                if !all.names.contains(name) {
                    all.names.push(name.clone());
                }
            }
        }
        all.names.sort_by_key(|name| name.parse::<u64>().unwrap_or(0));
        if all.rows.is_empty() {
            return Err(TaskError::Request(format!("{}: there is no row in it", paths.join(", "))));
        }
        Ok(all)
    }

    /// Two rows, shown to someone who is asked which field is which.
    pub fn shown(&self) -> String {
        let mut shown = String::new();
        for row in self.rows.iter().take(2) {
            let _ = write!(shown, "\n  {}:", row.place());
            for name in &self.names {
                let value = row.fields.get(name).unwrap_or(&Value::Null).to_string();
                let short: String = value.chars().take(60).collect();
                let more = if short.len() < value.len() { "…" } else { "" };
                let _ = write!(shown, "\n    {name} = {short}{more}");
            }
        }
        shown
    }

    /// How many different values a field has, and the mean of their lengths in characters.
    pub fn variety(&self, field: &str) -> (usize, f64) {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let mut characters = 0;
        for value in self.rows.iter().filter_map(|row| row.fields.get(field)) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            characters += text.chars().count();
            *counts.entry(text).or_default() += 1;
        }
        (counts.len(), characters as f64 / self.rows.len().max(1) as f64)
    }
}

/// Gives the columns the names that the first row has, if it has any.
fn name_columns(rows: &mut Vec<Row>, asked: &[String]) {
    let Some(first) = rows.first() else { return };
    let columns: Vec<String> = (1..=first.fields.len()).map(|number| number.to_string()).collect();
    let cell =
        |row: &Row, column: &String| row.fields.get(column).and_then(Value::as_str).unwrap_or_default().to_owned();
    let names: Vec<String> = columns.iter().map(|column| cell(first, column).trim().to_owned()).collect();
    let distinct =
        names.iter().all(|name| !name.is_empty() && names.iter().filter(|other| *other == name).count() == 1);
    // A number that was asked for is that of a column, though a first row of cells may hold it.
    let named = |asked: &&String| asked.parse::<usize>().is_err();
    let known = |(column, name): (&String, &String)| {
        let usual = USUAL.iter().any(|usual| usual.eq_ignore_ascii_case(name));
        (usual || asked.iter().filter(named).any(|asked| asked == name))
            && rows[1..].iter().all(|row| cell(row, column).trim() != name)
    };
    let is_number = |text: &str| text.trim().parse::<f64>().is_ok();
    let alone = |column: &String| {
        rows.len() > 3 && !is_number(&cell(first, column)) && rows[1..].iter().all(|row| is_number(&cell(row, column)))
    };
    if !distinct || !(columns.iter().zip(&names).any(known) || columns.iter().any(alone)) {
        return;
    }
    rows.remove(0);
    for row in rows {
        let fields = std::mem::take(&mut row.fields);
        row.fields = columns
            .iter()
            .zip(&names)
            .filter_map(|(column, name)| Some((name.clone(), fields.get(column)?.clone())))
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(name: &str, content: &str, asked: &[&str]) -> Result<Rows, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let asked: Vec<String> = asked.iter().map(|&name| name.to_owned()).collect();
        let paths = [path.to_string_lossy().into_owned()];
        Rows::read(&paths, Bytes::default(), &asked).map_err(|error| error.to_string())
    }

    #[test]
    fn a_first_row_of_names_is_told() {
        let named = read("a.csv", "label,review\n1,\"good, really\"\n0,bad\n", &[]).unwrap();
        assert_eq!((named.rows.len(), named.names.join(" ")), (2, "label review".to_owned()));
        assert_eq!(named.rows[0].text("review").unwrap().unwrap(), "good, really");
        assert_eq!(named.rows[0].number, 2);
        let bare = read("a.tsv", "fine film\t1\nbad \"film\t0\n", &[]).unwrap();
        assert_eq!((bare.rows.len(), bare.names.join(" ")), (2, "1 2".to_owned()));
        assert_eq!(bare.rows[1].text("1").unwrap().unwrap(), "bad \"film");
        let texts = read("a.txt", "体验巅峰\t8\n铁树开花\t5\n", &[]).unwrap();
        assert_eq!(texts.rows[0].text("2").unwrap().unwrap(), "8");
        let guessed = read("a.csv", "satz,stimmung\na,1\nb,0\nc,1\n", &[]).unwrap();
        assert_eq!(guessed.names.join(" "), "satz stimmung");
        // A label may be called as fields are.
        let label = read("a.tsv", "who is it\tquestion\nit is he\tanswer\nand why\tquestion\n", &[]).unwrap();
        assert_eq!((label.rows.len(), label.names.join(" ")), (3, "1 2".to_owned()));
        let words = read("a.csv", "text,label\nfine,good\nweak,bad\n", &[]).unwrap();
        assert_eq!((words.rows.len(), words.names.join(" ")), (2, "label text".to_owned()));
        let asked = read("a.csv", "satz,art\na,gut\nb,schlecht\n", &["art"]).unwrap();
        assert_eq!(asked.rows.len(), 2);
    }

    #[test]
    fn records_are_rows_too() {
        let rows =
            read("a.jsonl", "{\"text\":\"a\",\"label\":1}\n{\"text\":[\"b\",\"c\"],\"label\":true}\n", &[]).unwrap();
        assert_eq!(rows.rows[1].text("text").unwrap().unwrap(), "b\nc");
        assert_eq!(rows.rows[1].text("label").unwrap().unwrap(), "true");
        assert_eq!(rows.variety("label"), (2, 2.5));
        assert!(rows.shown().contains("label = 1"));
        let odd = read("a.jsonl", "{\"text\":{\"a\":1}}\n", &[]).unwrap();
        let error = odd.rows[0].text("text").unwrap_err().to_string();
        assert!(error.contains("row 1") && error.contains("an object"), "{error}");
        assert!(read("a.csv", "", &[]).unwrap_err().contains("no row"));
        assert!(read("a.csv", "text,label\na\n", &[]).unwrap_err().contains("columns"));
    }
}
