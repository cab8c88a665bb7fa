//! Which document a token of the training text belongs to, by its place in its source's stream.
//!
//! Documents stand one after the other, each with its end of text where the tokenizer has one; a row of
//! `documents.parquet` says where its document begins and how long it is. A place is found among the beginnings. Ids stay in
//! the file until somebody asks for some of them, so that memory is three numbers a document.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::CorpusError;
use crate::prepare::Prepared;
use crate::read::plain_types;

/// A document's tokens in its source's stream, its end of text included.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
    /// Its row in `documents.parquet`.
    row: usize,
}

/// The training documents of prepared data. A document's number counts over all sources, in the order of their tokens.
#[derive(Debug)]
pub struct TrainingDocuments {
    /// Of each source, by where they begin.
    sources: Vec<Vec<Span>>,
}

impl TrainingDocuments {
    /// The documents of `prepared`, as the table at `path` lists them.
    ///
    /// # Errors
    /// [`CorpusError::Io`] where the table cannot be read, [`CorpusError::Damaged`] where it is none or not of this data.
    pub fn read(path: &Path, prepared: &Prepared) -> Result<Self, CorpusError> {
        let mut sources: Vec<Vec<Span>> = vec![Vec::new(); prepared.sources().len()];
        let names: BTreeMap<&str, usize> =
            prepared.sources().iter().enumerate().map(|(number, source)| (&*source.name, number)).collect();
        let mut first = 0;
        read(path, &["source", "split", "token_start", "tokens"], |batch| {
            let (source, split) = (column(batch, "source", &DataType::Utf8)?, column(batch, "split", &DataType::Utf8)?);
            let start = column(batch, "token_start", &DataType::Int64)?;
            let tokens = column(batch, "tokens", &DataType::Int64)?;
            let (source, split) = (source.as_string::<i32>(), split.as_string::<i32>());
            for row in 0..batch.num_rows() {
                let (start, tokens) = (number(&start, row), number(&tokens, row));
                let Some(&source) = names.get(source.value(row)).filter(|_| split.value(row) == "train") else {
                    continue;
                };
                if tokens > 0 {
                    sources[source].push(Span { start, end: start + tokens, row: first + row });
                }
            }
            first += batch.num_rows();
            Ok(())
        })?;
        for (spans, source) in sources.iter_mut().zip(0..) {
            spans.sort_by_key(|span| span.start);
            let length = prepared.train_stream(source).len();
            if spans.last().is_some_and(|span| span.end > length) {
                let what =
                    format!("its documents of \"{}\" do not belong to the tokens", prepared.sources()[source].name);
                return Err(CorpusError::damaged(path, what, "prepare the data again"));
            }
            // The end of text behind a document is its own; of pairs and conversations it is counted already.
            let nexts: Vec<usize> = spans.iter().skip(1).map(|span| span.start).chain([length]).collect();
            for (span, next) in spans.iter_mut().zip(nexts) {
                span.end = (span.end + 1).min(next);
            }
        }
        Ok(Self { sources })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.sources.iter().map(Vec::len).sum()
    }

    /// The number of the document that the token at `place` of a source belongs to, and the place at which the next one may
    /// begin; none where the table knows of no document there.
    pub fn at(&self, source: usize, place: usize) -> Option<(usize, usize)> {
        let spans = &self.sources[source];
        let index = spans.partition_point(|span| span.start <= place).checked_sub(1)?;
        let span = spans[index];
        (place < span.end).then(|| (self.first(source) + index, span.end))
    }

    /// The source of a document.
    ///
    /// # Panics
    /// When there is no document of that number.
    pub fn source(&self, document: usize) -> usize {
        self.find(document).0
    }

    /// The ids of some documents, by their number, out of the table that they were read from.
    ///
    /// # Errors
    /// When it cannot be read any more.
    pub fn ids(&self, path: &Path, documents: &[usize]) -> Result<BTreeMap<usize, String>, CorpusError> {
        let mut wanted: Vec<(usize, usize)> = documents.iter().map(|&number| (self.span(number).row, number)).collect();
        wanted.sort_unstable();
        let mut wanted = wanted.into_iter().peekable();
        let mut ids = BTreeMap::new();
        let mut first = 0;
        read(path, &["id"], |batch| {
            let id = column(batch, "id", &DataType::Utf8)?;
            let id = id.as_string::<i32>();
            while let Some((row, number)) = wanted.next_if(|(row, _)| *row < first + batch.num_rows()) {
                ids.insert(number, id.value(row - first).to_owned());
            }
            first += batch.num_rows();
            Ok(())
        })?;
        Ok(ids)
    }

    fn first(&self, source: usize) -> usize {
        self.sources[..source].iter().map(Vec::len).sum()
    }

    fn find(&self, document: usize) -> (usize, usize) {
        let mut left = document;
        for (source, spans) in self.sources.iter().enumerate() {
            if left < spans.len() {
                return (source, left);
            }
            left -= spans.len();
        }
        panic!("document {document} of {}", self.count());
    }

    fn span(&self, document: usize) -> Span {
        let (source, index) = self.find(document);
        self.sources[source][index]
    }
}

/// Reads some columns of a table of documents, batch by batch.
fn read(
    path: &Path,
    columns: &[&str],
    mut visit: impl FnMut(&RecordBatch) -> Result<(), String>,
) -> Result<(), CorpusError> {
    let damaged = |error: &dyn std::fmt::Display| {
        CorpusError::damaged(path, format!("not a whole table of documents: {error}"), "prepare the data again")
    };
    let open = File::open(path).map_err(CorpusError::io("open", path))?;
    let mut builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(open, plain_types()).map_err(|error| damaged(&error))?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    builder = builder.with_projection(mask);
    for batch in builder.build().map_err(|error| damaged(&error))? {
        let batch = batch.map_err(|error| damaged(&error))?;
        visit(&batch).map_err(|message| damaged(&message))?;
    }
    Ok(())
}

/// A column as a type, whatever it was written as.
fn column(batch: &RecordBatch, name: &str, kind: &DataType) -> Result<ArrayRef, String> {
    let column = batch.column_by_name(name).ok_or_else(|| format!("it has no column {name}"))?;
    cast(column, kind).map_err(|error| error.to_string())
}

/// A count; 0 where there is none.
fn number(column: &ArrayRef, row: usize) -> usize {
    let column = column.as_primitive::<Int64Type>();
    if column.is_null(row) { 0 } else { column.value(row).max(0) as usize }
}

/// Where a document is from, and where its tokens stand in its source's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentPlace {
    /// Its id.
    pub id: String,
    /// Its source.
    pub source: String,
    /// The file that it is from.
    pub path: String,
    /// Position of its first token.
    pub token_start: usize,
    /// Its tokens, without an end of text behind them.
    pub tokens: usize,
}

/// The documents of these ids in a `documents.parquet`, in the order of the table, which is read once.
///
/// # Errors
/// [`CorpusError::Io`] where the file cannot be read, [`CorpusError::Damaged`] where it is none.
pub fn locate_documents(table: &Path, ids: &[&str]) -> Result<Vec<DocumentPlace>, CorpusError> {
    let ids: HashSet<&str> = ids.iter().copied().collect();
    let mut found = Vec::new();
    read(table, &["id", "source", "path", "token_start", "tokens"], |batch| {
        let text = |name| column(batch, name, &DataType::Utf8);
        let (id, source, path) = (text("id")?, text("source")?, text("path")?);
        let (id, source, path) = (id.as_string::<i32>(), source.as_string::<i32>(), path.as_string::<i32>());
        let start = column(batch, "token_start", &DataType::Int64)?;
        let tokens = column(batch, "tokens", &DataType::Int64)?;
        for row in (0..batch.num_rows()).filter(|row| ids.contains(id.value(*row))) {
            found.push(DocumentPlace {
                id: id.value(row).to_owned(),
                source: source.value(row).to_owned(),
                path: path.value(row).to_owned(),
                token_start: number(&start, row),
                tokens: number(&tokens, row),
            });
        }
        Ok(())
    })?;
    Ok(found)
}
