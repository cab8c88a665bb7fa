//! What is searched, and which of it belongs to which query: a corpus of documents, and queries with theirs.

use super::pairs::{EmbedExamples, is_nested};
use crate::answer::read_questions;
use crate::language_model::TaskError;
use crate::rows::{Row, Rows};
use loam_corpus::{Bytes, Documents, FileFormat, FileKind, ReadOptions, find_files};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Names of a document's text, the likelier first.
const TEXTS: [&str; 11] = [
    "text", "context", "passage", "document", "content", "body", "contents", "positive", "sentence", "review", "answer",
];
/// Names of what a document, or a query, is called.
const NAMES: [&str; 7] = ["_id", "id", "doc_id", "docid", "pid", "query_id", "qid"];
/// Names of a query's text.
const QUERIES: [&str; 5] = ["text", "query", "question", "anchor", "title"];

/// A document of a corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it is called: as its record says, else by its file and place.
    pub id: String,
    /// Its text; a title stands before it.
    pub text: Arc<str>,
}

/// Queries and the documents that belong to them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retrieval {
    /// What is looked for.
    pub queries: Vec<Arc<str>>,
    /// What is searched.
    pub documents: Vec<Arc<str>>,
    /// Of every query, what each document is worth to it; those that are not named are worth nothing.
    pub relevance: Vec<HashMap<usize, f64>>,
}

/// Reads a corpus: records with a text (`text`, with `title` before it, as BEIR has it, or another usual name, or `field`), paragraphs of
/// SQuAD's files, and files of text, pages and archives, whose documents they are. Also how many documents were empty and are left
/// out.
///
/// # Errors
/// When a file is missing or broken, when it cannot be told which field is the text, and when no document is left.
pub fn read_documents(
    paths: &[String],
    bytes: Bytes,
    field: Option<&str>,
) -> Result<(Vec<Document>, usize), TaskError> {
    let mut documents = Vec::new();
    for file in find_files(paths)?.files {
        let path = [file.to_string_lossy().into_owned()];
        let is_text = FileKind::of(&file).is_none_or(|kind| {
            !matches!(
                kind.format,
                FileFormat::Json
                    | FileFormat::JsonLines
                    | FileFormat::Csv
                    | FileFormat::Tsv
                    | FileFormat::Parquet
                    | FileFormat::Arrow
            )
        });
        if is_text {
            let read: Vec<_> = Documents::new(vec![file], ReadOptions { bytes, ..ReadOptions::default() })
                .collect::<Result<_, _>>()?;
            let many = read.len() > 1;
            for (number, document) in (1..).zip(read) {
                let place = document.path.display();
                let id = if many { format!("{place}#{number}") } else { place.to_string() };
                documents.push(Document { id, text: document.text.into() });
            }
            continue;
        }
        let asked: Vec<String> =
            field.iter().copied().chain(TEXTS).chain(NAMES).chain(["title"]).map(str::to_owned).collect();
        let rows = Rows::read(&path, bytes, &asked)?;
        if rows.rows.iter().any(is_nested) {
            let mut seen = BTreeSet::new();
            for question in read_questions(&path, bytes)? {
                if seen.insert(question.context.clone()) {
                    let id = format!("{}#{}", path[0], seen.len());
                    documents.push(Document { id, text: question.context });
                }
            }
            continue;
        }
        let field = text_field(&rows, field, &TEXTS)?;
        for row in &rows.rows {
            let text = row.text(&field)?.unwrap_or_default();
            let title = if field == "title" { None } else { row.text("title")? };
            let text = match title.filter(|title| !title.trim().is_empty()) {
                Some(title) => format!("{title} {text}"),
                None => text,
            };
            let id = name(row)?.unwrap_or_else(|| format!("{}#{}", row.path.display(), row.number));
            documents.push(Document { id, text: text.into() });
        }
    }
    let count = documents.len();
    documents.retain(|document| !document.text.trim().is_empty());
    if documents.is_empty() {
        return Err(TaskError::Request(format!("{}: there is no document with a text in it", paths.join(", "))));
    }
    let empty = count - documents.len();
    Ok((documents, empty))
}

/// The field that holds a text: the one that was asked for, else one of a usual name, else the only one that is none of `id`'s.
fn text_field(rows: &Rows, asked: Option<&str>, usual: &[&str]) -> Result<String, TaskError> {
    let has = |name: &str| rows.names.iter().any(|own| own == name);
    if let Some(asked) = asked {
        return if has(asked) {
            Ok(asked.to_owned())
        } else {
            Err(TaskError::Request(format!("no row has a field {asked:?}; there are {}", rows.names.join(", "))))
        };
    }
    if let Some(found) = usual.iter().find(|name| has(name)) {
        return Ok((*found).to_owned());
    }
    let others: Vec<&String> = rows.names.iter().filter(|own| !NAMES.contains(&own.as_str())).collect();
    match others[..] {
        [one] => Ok(one.clone()),
        _ => Err(TaskError::Request(format!(
            "which field is the text? Name it with --text-field. Two rows:{}",
            rows.shown()
        ))),
    }
}

/// What a record is called, if it says.
fn name(row: &Row) -> Result<Option<String>, TaskError> {
    for name in NAMES {
        if let Some(found) = row.text(name)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

impl Retrieval {
    /// Of pairs that belong together: anchors are queries, their positives what belongs to them; negatives and a corpus are searched,
    /// too. Equal texts are one.
    pub fn of_pairs(examples: &EmbedExamples, corpus: &[Document]) -> Self {
        let EmbedExamples::Pairs(pairs) = examples else { return Self::default() };
        let mut retrieval = Self::default();
        let (mut queries, mut documents) = (HashMap::new(), HashMap::new());
        for pair in pairs {
            let query = numbered(&mut queries, &mut retrieval.queries, &pair.anchor);
            let document = numbered(&mut documents, &mut retrieval.documents, &pair.positive);
            retrieval.relevance.resize(retrieval.queries.len(), HashMap::new());
            retrieval.relevance[query].insert(document, 1.0);
            for negative in &pair.negatives {
                numbered(&mut documents, &mut retrieval.documents, negative);
            }
        }
        for document in corpus {
            numbered(&mut documents, &mut retrieval.documents, &document.text);
        }
        retrieval
    }
}

/// The number of a text among those seen, where it is put if it is new.
fn numbered(numbers: &mut HashMap<Arc<str>, usize>, texts: &mut Vec<Arc<str>>, text: &Arc<str>) -> usize {
    *numbers.entry(text.clone()).or_insert_with(|| {
        texts.push(text.clone());
        texts.len() - 1
    })
}

/// Reads queries, and what belongs to them by judgments (`qrels`) over a corpus, as BEIR and TREC have them: rows of a query's id, a
/// document's id and what it is worth (in four columns the second is nothing). Queries without a judgment are left out.
///
/// # Errors
/// When a file is missing or broken, or a judgment names a query or a document that there is not.
pub fn read_retrieval(
    queries: &[String],
    qrels: &[String],
    corpus: &[Document],
    bytes: Bytes,
) -> Result<Retrieval, TaskError> {
    let names: Vec<String> = NAMES.iter().chain(&QUERIES).map(|name| (*name).to_owned()).collect();
    let rows = Rows::read(queries, bytes, &names)?;
    let field = text_field(&rows, None, &QUERIES)?;
    let mut asked: HashMap<String, Arc<str>> = HashMap::new();
    for row in &rows.rows {
        let id = name(row)?.ok_or_else(|| TaskError::Request(format!("{}: a query has no id (_id)", row.place())))?;
        asked.insert(id, row.text(&field)?.unwrap_or_default().into());
    }
    let numbers: HashMap<&str, usize> = corpus.iter().map(|document| document.id.as_str()).zip(0..).collect();
    let mut retrieval =
        Retrieval { documents: corpus.iter().map(|document| document.text.clone()).collect(), ..Retrieval::default() };
    let usual = ["query-id", "corpus-id", "score", "query_id", "corpus_id", "doc_id"].map(str::to_owned);
    let rows = Rows::read(qrels, bytes, &usual)?;
    let mut places: HashMap<String, usize> = HashMap::new();
    for row in &rows.rows {
        let wrong = |message: String| TaskError::Request(format!("{}: {message}", row.place()));
        let (query, document, worth) = judgment(row, &rows.names).map_err(wrong)?;
        let Some(text) = asked.get(&query) else { return Err(wrong(format!("there is no query {query:?}"))) };
        let Some(&document) = numbers.get(document.as_str()) else {
            return Err(wrong(format!("there is no document {document:?} in the corpus that has a text")));
        };
        if text.trim().is_empty() {
            return Err(wrong(format!("the text of query {query:?} is empty")));
        }
        let place = *places.entry(query).or_insert_with(|| {
            retrieval.queries.push(text.clone());
            retrieval.relevance.push(HashMap::new());
            retrieval.queries.len() - 1
        });
        retrieval.relevance[place].insert(document, worth);
    }
    Ok(retrieval)
}

/// Query, document and worth of a row of judgments.
fn judgment(row: &Row, names: &[String]) -> Result<(String, String, f64), String> {
    let cell = |name: &str| match row.fields.get(name) {
        Some(Value::String(text)) => Some(text.trim().to_owned()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let first = |names: &[&str]| names.iter().find_map(|name| cell(name));
    let (query, document, worth) = match names.len() {
        4 => ("1", "3", "4"),
        _ => ("1", "2", "3"),
    };
    let query = first(&["query-id", "query_id", "qid", query]).ok_or("has no query-id")?;
    let document = first(&["corpus-id", "corpus_id", "doc_id", "docid", "pid", document]).ok_or("has no corpus-id")?;
    let worth = first(&["score", "relevance", "label", worth]).unwrap_or_else(|| "1".to_owned());
    let number = worth.parse::<f64>().ok().filter(|number| number.is_finite());
    Ok((query, document, number.ok_or_else(|| format!("the score {worth:?} is not a number"))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::{PairFields, read_examples};
    use std::fs;

    #[test]
    fn a_corpus_of_every_shape_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            fs::write(folder.path().join(name), content).unwrap();
            folder.path().join(name).to_string_lossy().into_owned()
        };
        let paths = [
            write(
                "a.jsonl",
                "{\"_id\":\"d1\",\"title\":\"Ada\",\"text\":\"was here\"}\n{\"_id\":\"d2\",\"text\":\" \"}\n",
            ),
            write("b.txt", "一个文件\n两行"),
            write(
                "c.json",
                r#"{"data":[{"paragraphs":[{"context":"Ann ran","qas":[{"question":"a","answers":["Ann"]},{"question":"b","answers":["ran"]}]}]}]}"#,
            ),
            write("d.csv", "id,body\nx,one\ny,two\n"),
        ];
        let (documents, empty) = read_documents(&paths, Bytes::default(), None).unwrap();
        let texts: Vec<&str> = documents.iter().map(|document| &*document.text).collect();
        assert_eq!((texts, empty), (vec!["Ada was here", "一个文件\n两行", "Ann ran", "one", "two"], 1));
        assert_eq!((documents[0].id.as_str(), documents[4].id.as_str()), ("d1", "y"));
        assert!(documents[1].id.ends_with("b.txt"));
        for (name, content, words) in [
            ("e.jsonl", "{\"text\":\"\"}\n", "no document"),
            ("f.jsonl", "{\"a\":\"x\",\"b\":\"y\"}\n", "--text-field"),
        ] {
            let error = read_documents(&[write(name, content)], Bytes::default(), None).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn judgments_join_queries_and_documents() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            fs::write(folder.path().join(name), content).unwrap();
            [folder.path().join(name).to_string_lossy().into_owned()]
        };
        let corpus = write("corpus.jsonl", "{\"_id\":\"d1\",\"text\":\"one\"}\n{\"_id\":\"d2\",\"text\":\"two\"}\n");
        let (corpus, _) = read_documents(&corpus, Bytes::default(), None).unwrap();
        let queries =
            write("queries.jsonl", "{\"_id\":\"q1\",\"text\":\"eins\"}\n{\"_id\":\"q2\",\"text\":\"zwei\"}\n");
        for (name, content) in [
            ("qrels.tsv", "query-id\tcorpus-id\tscore\nq1\td2\t2\nq1\td1\t0\n"),
            (
                "qrels.jsonl",
                "{\"query-id\":\"q1\",\"corpus-id\":\"d2\",\"score\":2}\n{\"query-id\":\"q1\",\"corpus-id\":\"d1\",\"score\":0}\n",
            ),
            ("bare.tsv", "q1\t0\td2\t2\nq1\t0\td1\t0\n"),
        ] {
            let found = read_retrieval(&queries, &write(name, content), &corpus, Bytes::default()).unwrap();
            assert_eq!((found.queries.len(), &*found.queries[0], found.documents.len()), (1, "eins", 2), "{name}");
            assert_eq!(found.relevance[0], HashMap::from([(1, 2.0), (0, 0.0)]), "{name}");
        }
        for (content, words) in [
            ("q9\td1\t1\n", "no query \"q9\""),
            ("q1\td9\t1\n", "no document \"d9\""),
            ("q1\td1\tgood\n", "row 1: the score \"good\""),
        ] {
            let error = read_retrieval(&queries, &write("bad.tsv", content), &corpus, Bytes::default()).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn pairs_are_queries_and_documents() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        fs::write(&path, "anchor,positive,negative\na,x,y\nb,x,y\na,z,y\n").unwrap();
        let examples =
            read_examples(&[path.to_string_lossy().into_owned()], Bytes::default(), &PairFields::default()).unwrap();
        let corpus = [Document { id: "1".into(), text: "x".into() }, Document { id: "2".into(), text: "w".into() }];
        let found = Retrieval::of_pairs(&examples, &corpus);
        assert_eq!(found.queries.len(), 2);
        assert_eq!(found.documents.iter().map(|text| &**text).collect::<Vec<_>>(), ["x", "y", "z", "w"]);
        assert_eq!(found.relevance[0], HashMap::from([(0, 1.0), (2, 1.0)]));
    }
}
