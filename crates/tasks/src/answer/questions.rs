//! Questions about texts, with the spans that answer them: SQuAD's nested files, and rows of one question each.

use crate::language_model::TaskError;
use crate::rows::{Row, Rows};
use loam_corpus::Bytes;
use serde_json::{Map, Value};
use std::sync::Arc;

/// An answer as a part of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoldAnswer {
    /// It.
    pub text: String,
    /// Where it begins in the context, in bytes; none where it is not in it.
    pub begin: Option<usize>,
}

/// A question about a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its name in its file; a number where it has none.
    pub id: String,
    /// It.
    pub question: String,
    /// The text that it is about.
    pub context: Arc<str>,
    /// What answers it; none where nothing in the text does.
    pub answers: Vec<GoldAnswer>,
    /// Where it stands.
    pub place: String,
}

/// Reads questions.
///
/// # Errors
/// When files are missing or broken, or hold no questions.
pub fn read_questions(paths: &[String], bytes: Bytes) -> Result<Vec<Question>, TaskError> {
    let rows = Rows::read(paths, bytes, &[])?;
    let mut questions = Vec::new();
    for row in &rows.rows {
        match row.fields.get("data").or_else(|| row.fields.get("paragraphs").map(|_| &Value::Null)) {
            Some(Value::Array(articles)) => {
                for article in articles {
                    paragraphs(article, row, &mut questions)?;
                }
            }
            Some(_) => paragraphs(&Value::Object(row.fields.clone()), row, &mut questions)?,
            None => {
                let context: Arc<str> = text(&row.fields, "context", row)?.into();
                let number = questions.len();
                questions.push(question(&row.fields, &context, row, number)?);
            }
        }
    }
    if questions.is_empty() {
        return Err(TaskError::Request(format!("{}: there is no question in it", paths.join(", "))));
    }
    Ok(questions)
}

/// SQuAD's nested files as rows of one question each, with the text that it is about; other rows stay as they are.
///
/// # Errors
/// When a nested file is broken.
pub fn flattened(rows: Rows) -> Result<Rows, TaskError> {
    let nested =
        |row: &Row| row.fields.contains_key("paragraphs") || row.fields.get("data").is_some_and(Value::is_array);
    if !rows.rows.iter().any(nested) {
        return Ok(rows);
    }
    let mut flat = Vec::new();
    for row in rows.rows {
        if !nested(&row) {
            flat.push(row);
            continue;
        }
        let whole = [Value::Object(row.fields.clone())];
        let articles = row.fields.get("data").and_then(Value::as_array).map_or(&whole[..], |articles| articles);
        for article in articles {
            each_question(article, &row, &mut |fields, context| {
                let mut fields = fields.clone();
                fields.insert("context".to_owned(), context.into());
                if let Some(title) = article.get("title") {
                    fields.entry("title").or_insert_with(|| title.clone());
                }
                flat.push(Row { fields, ..row.clone() });
                Ok(())
            })?;
        }
    }
    let mut names: Vec<String> = Vec::new();
    for name in flat.iter().flat_map(|row| row.fields.keys()) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    Ok(Rows { rows: flat, names })
}

fn wrong(row: &Row, message: &str) -> TaskError {
    TaskError::Request(format!("{}: {message}", row.place()))
}

fn text(fields: &Map<String, Value>, name: &str, row: &Row) -> Result<String, TaskError> {
    match fields.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(wrong(row, &format!("\"{name}\" is {}, no text", kind(other)))),
        None => {
            let names: Vec<&str> = fields.keys().map(String::as_str).take(20).collect();
            Err(wrong(
                row,
                &format!(
                    "has no \"{name}\"; a question needs question, context and answers, and its fields are {}",
                    names.join(", ")
                ),
            ))
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The questions of an article.
fn paragraphs(article: &Value, row: &Row, questions: &mut Vec<Question>) -> Result<(), TaskError> {
    let mut last: Option<Arc<str>> = None;
    each_question(article, row, &mut |fields, context| {
        // Questions of a paragraph share its text.
        let context = last.take().filter(|known| **known == *context).unwrap_or_else(|| context.into());
        let number = questions.len();
        questions.push(question(fields, &context, row, number)?);
        last = Some(context);
        Ok(())
    })
}

/// Hands over the fields of every question of an article, with the text that it is about.
fn each_question(
    article: &Value,
    row: &Row,
    take: &mut dyn FnMut(&Map<String, Value>, &str) -> Result<(), TaskError>,
) -> Result<(), TaskError> {
    let list = article.get("paragraphs").and_then(Value::as_array);
    for paragraph in list.ok_or_else(|| wrong(row, "an article has no list of paragraphs"))? {
        let fields = paragraph.as_object().ok_or_else(|| wrong(row, "a paragraph is no object"))?;
        let context = text(fields, "context", row)?;
        let asked = fields.get("qas").and_then(Value::as_array);
        for one in asked.ok_or_else(|| wrong(row, "a paragraph has no list of questions (qas)"))? {
            take(one.as_object().ok_or_else(|| wrong(row, "a question is no object"))?, &context)?;
        }
    }
    Ok(())
}

fn question(fields: &Map<String, Value>, context: &Arc<str>, row: &Row, number: usize) -> Result<Question, TaskError> {
    let id = match fields.get("id") {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => (number + 1).to_string(),
    };
    let mut found: Vec<(String, Option<u64>)> = Vec::new();
    let one = |value: &Value| -> Result<(String, Option<u64>), TaskError> {
        match value {
            Value::String(text) => Ok((text.clone(), None)),
            Value::Object(fields) => {
                Ok((self::text(fields, "text", row)?, fields.get("answer_start").and_then(Value::as_u64)))
            }
            other => Err(wrong(row, &format!("an answer is {}", kind(other)))),
        }
    };
    match fields.get("answers").or_else(|| fields.get("answer")) {
        None | Some(Value::Null) => {}
        Some(Value::Array(answers)) => {
            for answer in answers {
                found.push(one(answer)?);
            }
        }
        // Columns of lists, as the Hub has them.
        Some(Value::Object(columns)) if columns.get("text").is_some_and(Value::is_array) => {
            let starts = columns.get("answer_start").and_then(Value::as_array);
            for (at, text) in columns["text"].as_array().into_iter().flatten().enumerate() {
                let start = starts.and_then(|starts| starts.get(at)).and_then(Value::as_u64);
                found.push((one(text)?.0, start));
            }
        }
        Some(value) => {
            let (text, start) = one(value)?;
            let beside =
                fields.get("answer_start").and_then(|start| start.as_u64().or_else(|| start.as_str()?.parse().ok()));
            found.push((text, start.or(beside)));
        }
    }
    let impossible = fields.get("is_impossible").and_then(Value::as_bool).unwrap_or(false);
    let answers = found
        .into_iter()
        .filter(|(text, _)| !impossible && !text.trim().is_empty())
        .map(|(text, start)| GoldAnswer { begin: place(context, &text, start), text });
    Ok(Question {
        id,
        question: self::text(fields, "question", row)?,
        context: context.clone(),
        answers: answers.collect(),
        place: row.place(),
    })
}

/// Where an answer begins, in bytes: where it is said to, in characters, if it is there, else where it stands first.
fn place(context: &str, answer: &str, start: Option<u64>) -> Option<usize> {
    let said = start.and_then(|start| context.char_indices().nth(usize::try_from(start).ok()?)).map(|(at, _)| at);
    said.filter(|at| context[*at..].starts_with(answer)).or_else(|| context.find(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &str) -> Result<Vec<Question>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        read_questions(&[path.to_string_lossy().into_owned()], Bytes::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn questions_of_every_shape_are_read() {
        let nested = r#"{"version":"1","data":[{"title":"t","paragraphs":[{"context":"我住在北京，北京很大。","qas":[
            {"id":"a","question":"哪里？","answers":[{"text":"北京","answer_start":6}]},
            {"id":"b","question":"谁？","answers":[],"is_impossible":true}]}]}]}"#;
        let found = read("a.json", nested).unwrap();
        assert_eq!((found.len(), found[0].id.as_str(), found[0].answers[0].begin), (2, "a", Some(18)));
        assert!(found[1].answers.is_empty());
        let rows = "{\"question\":\"who\",\"context\":\"Ann ran\",\"answers\":{\"text\":[\"Ann\"],\"answer_start\":[0]}}\n\
                    {\"question\":\"who\",\"context\":\"Ann ran\",\"answers\":[\"ran\",\"Bob\"]}\n\
                    {\"question\":\"who\",\"context\":\"Ann ran\",\"answers\":null}\n";
        let found = read("a.jsonl", rows).unwrap();
        assert_eq!(
            (found[0].answers[0].begin, found[1].answers[0].begin, found[1].answers[1].begin),
            (Some(0), Some(4), None)
        );
        let table = read("a.csv", "question,context,answer,answer_start\nwho,\"Ann, Ann\",Ann,5\n").unwrap();
        assert_eq!(table[0].answers[0].begin, Some(5));
    }

    #[test]
    fn nested_files_become_a_row_a_question() {
        let nested = r#"{"data":[{"title":"t","paragraphs":[{"context":"我住在北京","qas":[
            {"id":"a","question":"哪里？","answers":[{"text":"北京","answer_start":3}]},
            {"id":"b","question":"谁？","answers":[]}]}]}]}"#;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        std::fs::write(path("a.json"), nested).unwrap();
        let rows = Rows::read(&[path("a.json")], Bytes::default(), &[]).unwrap();
        let flat = flattened(rows).unwrap();
        assert_eq!((flat.rows.len(), flat.rows[1].fields["title"].as_str()), (2, Some("t")));
        let lines: String = flat.rows.iter().map(|row| serde_json::to_string(&row.fields).unwrap() + "\n").collect();
        std::fs::write(path("b.jsonl"), lines).unwrap();
        let read = |name: &str| read_questions(&[path(name)], Bytes::default()).unwrap();
        let without_place = |questions: Vec<Question>| -> Vec<Question> {
            questions.into_iter().map(|question| Question { place: String::new(), ..question }).collect()
        };
        assert_eq!(without_place(read("a.json")), without_place(read("b.jsonl")));
        let again = Rows::read(&[path("b.jsonl")], Bytes::default(), &[]).unwrap();
        assert_eq!(flattened(again.clone()).unwrap(), again);
    }

    #[test]
    fn what_is_no_question_is_told() {
        for (name, content, words) in [
            ("a.jsonl", "{\"question\":\"who\"}\n", "has no \"context\""),
            ("a.jsonl", "{\"context\":\"Ann\",\"question\":3}\n", "a number, no text"),
            ("a.json", "{\"data\":[{\"paragraphs\":[{\"context\":\"a\"}]}]}", "no list of questions"),
            ("a.json", "{\"data\":[{}]}", "no list of paragraphs"),
            ("a.json", "{\"data\":[]}", "no question in it"),
        ] {
            let error = read(name, content).unwrap_err();
            assert!(error.contains(words), "{content}: {error}");
        }
    }
}
