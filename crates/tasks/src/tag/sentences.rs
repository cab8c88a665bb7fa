//! Sentences whose words have tags, out of columns as CoNLL has them, or out of records with lists of words and of tags, or with
//! spans of a text.

use crate::language_model::TaskError;
use crate::rows::{Row, Rows};
use loam_corpus::{Bytes, FileFormat, FileKind, find_files, read_lines};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Usual names of the fields of words, and of tags.
const WORDS: [&str; 3] = ["tokens", "words", "text"];
const TAGS: [&str; 5] = ["ner_tags", "tags", "labels", "ner", "pos_tags"];
const SPANS: [&str; 4] = ["spans", "entities", "label", "labels"];

/// A sentence with a tag for each of its words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaggedSentence {
    /// Its words.
    pub words: Vec<String>,
    /// Their tags.
    pub tags: Vec<String>,
    /// Where it stands.
    pub place: String,
}

/// Reads tagged sentences. Records of .jsonl, .json, .parquet and .arrow have lists of words and tags, or a text with spans; all
/// other files are columns: a word a line, its tag in the last column, a blank line between sentences. `names` are what tags that
/// are numbers are called.
///
/// # Errors
/// When files are missing or broken, columns are ragged, words and tags are not as many, or a span is not in its text.
pub fn read_tagged(paths: &[String], names: &[String], bytes: Bytes) -> Result<Vec<TaggedSentence>, TaskError> {
    let mut sentences = Vec::new();
    for path in files(paths)? {
        // Tables are columns of words and tags too.
        let is_records = FileKind::of(&path).is_some_and(|kind| {
            kind.format.holds_records() && !matches!(kind.format, FileFormat::Csv | FileFormat::Tsv)
        });
        if is_records {
            let rows = Rows::read(&[path.to_string_lossy().into_owned()], bytes, &[])?;
            for row in &rows.rows {
                sentences.push(of_record(row, names)?);
            }
        } else {
            columns(&path, bytes, &mut sentences)?;
        }
    }
    if sentences.is_empty() {
        return Err(TaskError::Request(format!("{}: there is no sentence in it", paths.join(", "))));
    }
    without_places(&mut sentences);
    Ok(sentences)
}

/// Files that are named, whatever their names end with, and those behind other patterns.
fn files(paths: &[String]) -> Result<Vec<PathBuf>, TaskError> {
    let mut files = Vec::new();
    for path in paths {
        if Path::new(path).is_file() {
            files.push(PathBuf::from(path));
        } else {
            files.extend(find_files(std::slice::from_ref(path))?.files);
        }
    }
    Ok(files)
}

fn wrong(path: &Path, line: usize, message: &str, hint: &str) -> TaskError {
    TaskError::Request(format!("{}:{line}: {message}; {hint}", path.display()))
}

/// Sentences of a file of columns.
fn columns(path: &Path, bytes: Bytes, sentences: &mut Vec<TaggedSentence>) -> Result<(), TaskError> {
    let lines = read_lines(path, &bytes)?;
    let mut sentence = TaggedSentence::default();
    let mut width = None;
    let mut finish = |sentence: &mut TaggedSentence| {
        if !sentence.words.is_empty() {
            sentences.push(std::mem::take(sentence));
        }
    };
    for (number, line) in (1..).zip(&lines) {
        if line.trim().is_empty() {
            finish(&mut sentence);
            continue;
        }
        let cells: Vec<&str> =
            if line.contains('\t') { line.split('\t').collect() } else { line.split_whitespace().collect() };
        if cells[0] == "-DOCSTART-" || (cells.len() == 1 && line.starts_with('#')) || line.starts_with("# ") {
            continue;
        }
        let expected = *width.get_or_insert(cells.len());
        if cells.len() != expected || cells.len() < 2 {
            let message = format!("{} columns where there are {}", cells.len(), expected.max(2));
            return Err(wrong(path, number, &message, "a line has a word and, in the last column, its tag"));
        }
        let (word, tag) = (cells[0].trim(), cells[cells.len() - 1].trim());
        if word.is_empty() || tag.is_empty() {
            return Err(wrong(
                path,
                number,
                "a word or a tag is empty",
                "a line has a word and, in the last column, its tag",
            ));
        }
        if sentence.words.is_empty() {
            sentence.place = format!("{}:{number}", path.display());
        }
        sentence.words.push(word.to_owned());
        sentence.tags.push(tag.to_owned());
    }
    finish(&mut sentence);
    Ok(())
}

/// The sentence of a record.
fn of_record(row: &Row, names: &[String]) -> Result<TaggedSentence, TaskError> {
    let told = |message: String| TaskError::Request(format!("{}: {message}", row.place()));
    let list = |usual: &[&'static str]| usual.iter().find_map(|name| Some((*name, row.fields.get(*name)?.as_array()?)));
    let spans = SPANS.iter().find_map(|name| {
        let spans = row.fields.get(*name)?.as_array()?;
        spans
            .iter()
            .all(|span| span.is_object() || span.as_array().is_some_and(|parts| parts.len() == 3))
            .then_some(spans)
    });
    if let (Some(Value::String(text)), Some(spans)) = (row.fields.get("text"), spans) {
        return of_spans(text, spans, row);
    }
    let ((_, words), (field, tags)) = list(&WORDS).zip(list(&TAGS)).ok_or_else(|| {
        let fields: Vec<&str> = row.fields.keys().map(String::as_str).collect();
        told(format!(
            "has no lists of words and tags (tokens and ner_tags), and no text with spans; its fields are {}",
            fields.join(", ")
        ))
    })?;
    if words.len() != tags.len() {
        return Err(told(format!("{} words have {} tags", words.len(), tags.len())));
    }
    let word = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| told(format!("{value} is no word")));
    let tag = |value: &Value| match value {
        Value::String(tag) => Ok(tag.clone()),
        Value::Number(number) => {
            let name = number.as_u64().and_then(|number| names.get(number as usize));
            name.cloned().ok_or_else(|| {
                told(format!(
                    "the tag {number} in \"{field}\" has no name; give the names of tags with --label-names O,B-PER,..."
                ))
            })
        }
        other => Err(told(format!("{other} in \"{field}\" is no tag"))),
    };
    Ok(TaggedSentence {
        words: words.iter().map(word).collect::<Result<_, _>>()?,
        tags: tags.iter().map(tag).collect::<Result<_, _>>()?,
        place: row.place(),
    })
}

/// The words of a text with tags of its spans, `B-` and `I-`.
fn of_spans(text: &str, spans: &[Value], row: &Row) -> Result<TaggedSentence, TaskError> {
    let told = |message: String| TaskError::Request(format!("{}: {message}", row.place()));
    let bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let words = split_words(text, false);
    let mut tags = vec!["O".to_owned(); words.len()];
    for span in spans {
        let parts = span.as_array();
        let number = |name: &str, at: usize| {
            parts
                .map_or_else(|| span.get(name), |parts| parts.get(at))
                .and_then(Value::as_u64)
                .map(|number| number as usize)
        };
        let kind = parts.map_or_else(|| span.get("label"), |parts| parts.get(2)).and_then(Value::as_str);
        let (Some(start), Some(end), Some(kind)) = (number("start", 0), number("end", 1), kind) else {
            return Err(told(format!("the span {span} lacks start, end or label")));
        };
        let (Some(begin), Some(stop)) = (bytes.get(start), bytes.get(end)) else {
            return Err(told(format!("the span {span} is not in its text of {} characters", bytes.len() - 1)));
        };
        if begin >= stop {
            return Err(told(format!("the span {span} ends where it begins, or before")));
        }
        let mut first = true;
        for (word, tag) in words.iter().zip(&mut tags) {
            if word.0 < *stop && word.1 > *begin {
                *tag = format!("{}-{kind}", if first { 'B' } else { 'I' });
                first = false;
            }
        }
    }
    let words = words.into_iter().map(|(begin, end)| text[begin..end].to_owned()).collect();
    Ok(TaggedSentence { words, tags, place: row.place() })
}

/// Weibo's corpus writes each character with its place in its word behind it (`科0`, `技1`): where every word is so, the places are
/// left out.
fn without_places(sentences: &mut [TaggedSentence]) {
    let is_so = |word: &String| {
        let mut characters = word.chars();
        characters.next().is_some() && matches!((characters.next(), characters.next()), (Some('0'..='9'), None))
    };
    if sentences.iter().flat_map(|sentence| &sentence.words).all(is_so) {
        for word in sentences.iter_mut().flat_map(|sentence| &mut sentence.words) {
            word.pop();
        }
    }
}

/// Whether the words of sentences are single characters.
pub(super) fn are_characters(sentences: &[TaggedSentence]) -> bool {
    let mut words = sentences.iter().flat_map(|sentence| &sentence.words);
    words.clone().count() > 0 && words.all(|word| word.chars().nth(1).is_none())
}

/// The words of a text, as bytes: between spaces, without the punctuation around them, each mark of which is a word of its own, and
/// so is each character of scripts without spaces; or all characters but spaces.
pub fn split_words(text: &str, characters: bool) -> Vec<(usize, usize)> {
    let unspaced = |character: char| {
        matches!(character as u32, 0x2e80..=0x2fdf | 0x3005..=0x3007 | 0x3040..=0x30ff | 0x3400..=0x4dbf
            | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff)
    };
    let mut words = Vec::new();
    let mut run: Option<usize> = None;
    let mut finish = |run: &mut Option<usize>, end: usize| {
        if let Some(begin) = run.take() {
            trimmed(text, begin, end, &mut words);
        }
    };
    for (at, character) in text.char_indices() {
        let end = at + character.len_utf8();
        if character.is_whitespace() {
            finish(&mut run, at);
        } else if characters || unspaced(character) {
            finish(&mut run, at);
            run = Some(at);
            finish(&mut run, end);
        } else if run.is_none() {
            run = Some(at);
        }
    }
    finish(&mut run, text.len());
    words
}

/// A run without the marks at its ends, which are words of their own; `@` and `#` begin names.
fn trimmed(text: &str, mut begin: usize, mut end: usize, words: &mut Vec<(usize, usize)>) {
    let is_mark = |character: char| !character.is_alphanumeric() && !matches!(character, '_' | '@' | '#' | '$' | '%');
    let mut behind = Vec::new();
    while let Some(mark) = text[begin..end].chars().next().filter(|first| is_mark(*first)) {
        words.push((begin, begin + mark.len_utf8()));
        begin += mark.len_utf8();
    }
    while let Some(mark) = text[begin..end].chars().next_back().filter(|last| is_mark(*last)) {
        behind.push((end - mark.len_utf8(), end));
        end -= mark.len_utf8();
    }
    if begin < end {
        words.push((begin, end));
    }
    words.extend(behind.into_iter().rev());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &str, names: &[&str]) -> Result<Vec<TaggedSentence>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        read_tagged(&[path.to_string_lossy().into_owned()], &names, Bytes::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn columns_and_records_are_read() {
        let columns = "-DOCSTART- -X- O\n\nPeter NNP B-PER\nruns VBZ O\n\n\nBerlin NNP B-LOC\n";
        let found = read("a.conll", columns, &[]).unwrap();
        assert_eq!(
            (found.len(), found[0].words.join(" "), found[1].tags.join(" ")),
            (2, "Peter runs".into(), "B-LOC".into())
        );
        let weibo = read("a.train", "科0\tO\n技1\tB-ORG\n", &[]).unwrap();
        assert_eq!(weibo[0].words.join(""), "科技");
        let lists = "{\"tokens\":[\"a\",\"b\"],\"ner_tags\":[0,1]}\n";
        assert_eq!(read("a.jsonl", lists, &["O", "B-X"]).unwrap()[0].tags.join(" "), "O B-X");
        assert!(read("a.jsonl", lists, &[]).unwrap_err().contains("--label-names"));
        let spans = "{\"text\":\"我住在北京。\",\"entities\":[{\"start\":3,\"end\":5,\"label\":\"LOC\"}]}\n";
        assert_eq!(read("a.jsonl", spans, &[]).unwrap()[0].tags.join(" "), "O O O B-LOC I-LOC O");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (name, content, words) in [
            ("a.conll", "Peter B-PER\nruns\n", "a.conll:2: 1 columns"),
            ("a.conll", "Peter NNP B-PER\nruns O\n", "a.conll:2: 2 columns where there are 3"),
            ("a.conll", "\n\n", "no sentence"),
            ("a.jsonl", "{\"tokens\":[\"a\"],\"ner_tags\":[]}\n", "1 words have 0 tags"),
            ("a.jsonl", "{\"tokens\":[\"a\"]}\n", "its fields are tokens"),
            (
                "a.jsonl",
                "{\"text\":\"ab\",\"spans\":[{\"start\":1,\"end\":9,\"label\":\"X\"}]}\n",
                "not in its text of 2",
            ),
            (
                "a.jsonl",
                "{\"text\":\"ab\",\"spans\":[{\"start\":1,\"end\":1,\"label\":\"X\"}]}\n",
                "ends where it begins",
            ),
            ("a.jsonl", "{\"text\":\"ab\",\"spans\":[{\"start\":1}]}\n", "lacks start, end or label"),
        ] {
            let error = read(name, content, &[]).unwrap_err();
            assert!(error.contains(words), "{content}: {error}");
        }
    }

    #[test]
    fn words_slice_their_text() {
        let words = |text: &str, characters: bool| -> Vec<String> {
            split_words(text, characters).into_iter().map(|(begin, end)| text[begin..end].to_owned()).collect()
        };
        assert_eq!(
            words("\"Don't,\" said @ann (U.S.).", false),
            ["\"", "Don't", ",", "\"", "said", "@ann", "(", "U.S", ".", ")", "."]
        );
        assert_eq!(words("我爱Rust语言!", false), ["我", "爱", "Rust", "语", "言", "!"]);
        assert_eq!(words("ab c", true), ["a", "b", "c"]);
        for text in ["", "   ", "🎬🎬", "...", "שלום, עולם"] {
            let found = words(text, false);
            assert_eq!(found.concat(), text.split_whitespace().collect::<String>());
        }
    }
}
