//! Texts with what should become of them.

use super::WritingTask;
use crate::language_model::TaskError;
use crate::rows::Rows;
use loam_corpus::{Bytes, read_lines};
use std::path::Path;

/// Usual names of the fields of translations.
const TRANSLATIONS: [(&str, &str); 5] =
    [("source", "target"), ("src", "tgt"), ("input", "target"), ("input", "output"), ("text", "translation")];

/// Usual names of a text's field, where it has a summary.
const DOCUMENTS: [&str; 8] = ["document", "dialogue", "article", "report", "text", "content", "body", "abstract"];

/// Usual names of a summary's field. A number may stand behind them where there are several.
const SUMMARIES: [&str; 5] = ["summary", "highlights", "headline", "title", "abstract"];

/// A text with what it should become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The text.
    pub source: String,
    /// What it should become; where there are several, each is right, and the first is learned.
    pub targets: Vec<String>,
}

/// Reads pairs: rows with a source and targets, or the lines of two files. `fields` names the source's field and then the
/// targets'; where it is empty they are told by their names, or by there being two columns.
///
/// # Errors
/// When files are missing or broken, have not as many lines, or fields cannot be told.
pub fn read_pairs(
    task: WritingTask,
    paths: &[String],
    targets: &[String],
    fields: &[String],
    bytes: Bytes,
) -> Result<Vec<Pair>, TaskError> {
    if !targets.is_empty() {
        return read_paired_lines(paths, targets, bytes);
    }
    if fields.len() == 1 {
        let message = format!("the field {} alone makes no pair: name the source's and the target's", fields[0]);
        return Err(TaskError::Request(message));
    }
    let rows = Rows::read(paths, bytes, fields)?;
    let names = match (fields, &rows.names[..]) {
        ([], _) => known_fields(task, &rows.names),
        (named, _) => Some(named.to_vec()),
    };
    let names = match (names, &rows.names[..]) {
        (Some(names), _) => names,
        (None, [source, target]) => vec![source.clone(), target.clone()],
        (None, _) => {
            let message = format!(
                "which field is the source and which the target? Name them with --fields SOURCE,TARGET:{}",
                rows.shown()
            );
            return Err(TaskError::Request(message));
        }
    };
    let (source, targets) = names.split_first().expect("two names at least");
    rows.rows
        .iter()
        .map(|row| {
            let missing = |name: &String| TaskError::Request(format!("{}: has no \"{name}\"", row.place()));
            let text = |name: &String| row.text(name)?.ok_or_else(|| missing(name));
            // Not every text has as many targets as another.
            let mut found = Vec::new();
            for name in targets {
                found.extend(row.text(name)?);
            }
            if found.is_empty() {
                return Err(missing(&targets[0]));
            }
            Ok(Pair { source: text(source)?, targets: found })
        })
        .collect()
}

fn read_paired_lines(paths: &[String], targets: &[String], bytes: Bytes) -> Result<Vec<Pair>, TaskError> {
    let lines = |paths: &[String]| -> Result<Vec<String>, TaskError> {
        let mut lines = Vec::new();
        for path in paths {
            lines.extend(read_lines(Path::new(path), &bytes)?);
        }
        Ok(lines)
    };
    let (sources, targets) = (lines(paths)?, lines(targets)?);
    if sources.len() != targets.len() {
        let message =
            format!("{} lines of sources and {} of targets do not belong together", sources.len(), targets.len());
        return Err(TaskError::Request(message));
    }
    Ok(sources.into_iter().zip(targets).map(|(source, target)| Pair { source, targets: vec![target] }).collect())
}

/// The fields that are told by their names: the source's, then the targets'.
fn known_fields(task: WritingTask, names: &[String]) -> Option<Vec<String>> {
    let has = |name: &str| names.iter().any(|known| known == name);
    let pair = |(source, target): (&str, &str)| vec![source.to_owned(), target.to_owned()];
    if task == WritingTask::Summarize {
        let source = DOCUMENTS.into_iter().find(|name| has(name));
        let found = source.and_then(|source| {
            let summaries = SUMMARIES.into_iter().filter(|name| *name != source);
            let targets = summaries.map(|summary| numbered(summary, names)).find(|found| !found.is_empty())?;
            Some([source.to_owned()].into_iter().chain(targets).collect())
        });
        if found.is_some() {
            return found;
        }
    }
    TRANSLATIONS.into_iter().find(|(source, target)| has(source) && has(target)).map(pair)
}

/// The fields of a name, and of it with a number behind, in the order of the numbers.
fn numbered(name: &str, names: &[String]) -> Vec<String> {
    let number = |known: &String| {
        let rest = known.strip_prefix(name)?;
        if rest.is_empty() { Some(0) } else { rest.trim_start_matches('_').parse::<u32>().ok() }
    };
    let mut found: Vec<(u32, String)> =
        names.iter().filter_map(|known| Some((number(known)?, known.clone()))).collect();
    found.sort();
    found.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_from_rows_and_from_lines() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.to_string_lossy().into_owned()
        };
        let read = |task, paths: &[String], targets: &[String], fields: &[&str]| {
            let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
            read_pairs(task, paths, targets, &fields, Bytes::default()).map_err(|error| error.to_string())
        };
        let translate = WritingTask::Translate;
        let pair = |source: &str, targets: &[&str]| Pair {
            source: source.to_owned(),
            targets: targets.iter().map(|&target| target.to_owned()).collect(),
        };
        let rows = write("a.jsonl", "{\"source\":\"a\",\"target\":\"b\",\"id\":1}\n");
        assert_eq!(read(translate, std::slice::from_ref(&rows), &[], &[]).unwrap(), [pair("a", &["b"])]);
        assert!(read(translate, &[rows], &[], &["source"]).unwrap_err().contains("alone"));
        let columns = write("a.tsv", "Hi.\t嗨。\nRun.\t跑。\n");
        assert_eq!(read(translate, &[columns], &[], &[]).unwrap()[1].targets, ["跑。"]);
        let three = write("b.tsv", "Hi.\t嗨。\tx\n");
        assert!(read(translate, std::slice::from_ref(&three), &[], &[]).unwrap_err().contains("--fields"));
        assert_eq!(read(translate, &[three], &[], &["3", "1"]).unwrap(), [pair("x", &["Hi."])]);
        let (sources, targets) = (write("a.en", "Hi.\nRun.\n"), write("a.de", "Hallo.\nLauf.\n"));
        assert_eq!(read(translate, std::slice::from_ref(&sources), &[targets], &[]).unwrap()[0].targets, ["Hallo."]);
        let short = write("b.de", "Hallo.\n");
        assert!(read(translate, &[sources], &[short], &[]).unwrap_err().contains("2 lines of sources and 1"));
        let several = write(
            "c.jsonl",
            "{\"dialogue\":\"a\",\"summary2\":\"y\",\"summary1\":\"x\",\"topic1\":\"t\"}\n{\"dialogue\":\"b\",\"summary1\":\"z\"}\n",
        );
        let read = read(WritingTask::Summarize, &[several], &[], &[]).unwrap();
        assert_eq!(read, [pair("a", &["x", "y"]), pair("b", &["z"])]);
    }
}
