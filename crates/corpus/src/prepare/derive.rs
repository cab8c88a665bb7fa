//! Other data out of prepared data, without reading a text again: other weights, a part of the documents, another order.
//!
//! An experiment compares runs that differ in one thing. Were each prepared from text, they would differ in their tokenizer and
//! in what is held out, too; so they are derived from one preparation, whose tokenizer and held-out side they keep. Shards
//! that stay as they are get a second name (a hard link) where the disk can do that.

use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::prepared::{INDEX, Prepared};
use super::summary::set_shares;
use crate::error::CorpusError;
use crate::read::plain_types;
use crate::shard::{LARGEST_SHARD, StreamIndex, StreamWriter, TokenStream, file_stem};
use crate::write::{FolderInMaking, replace_file};

/// The rule of documents that a part leaves out, in `documents.parquet`.
const LEFT_OUT: &str = "not in this part";

/// What is to be different.
#[derive(Clone, Debug, PartialEq)]
pub struct Derivation {
    /// A weight a source, in the order of the preparation; none: as they are.
    pub weights: Option<Vec<f64>>,
    /// The part of every source's documents to keep, above 0 and at most 1. Which ones is drawn once for all parts of one draw, so
    /// that a larger part holds a smaller one.
    pub part: f64,
    /// Which draw it is: documents of another number are drawn independently.
    pub draw: u64,
    /// How often each kept document stands in its source; 1 is once. Further copies follow the whole source.
    pub copies: u32,
    /// The order to show documents in; none: shuffled windows, as usual.
    pub order: Option<DocumentOrder>,
}

impl Default for Derivation {
    fn default() -> Self {
        Self { weights: None, part: 1.0, draw: 0, copies: 1, order: None }
    }
}

/// An order of documents within their source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentOrder {
    /// Drawn at random, and then shown in this order: what a curriculum has to be compared with.
    Random,
    /// By their number of tokens, the shortest first.
    ShortFirst,
    /// The longest first.
    LongFirst,
    /// By the mean of −ln p of their tokens under the frequencies of all sources, the commonest first.
    CommonFirst,
    /// The rarest first.
    RareFirst,
}

/// Makes derived data in `folder`, as `loam data prepare` lays it out: `tokens/` and `documents.parquet`, the latter from
/// `documents` with what is left out, and where the rest now begins.
///
/// # Errors
/// [`CorpusError::Invalid`] for weights that are none and a part that is none, and for pairs and conversations, of which only
/// the weights can be changed; [`CorpusError::Damaged`] where the documents do not belong to the tokens.
pub fn derive(
    prepared: &Prepared,
    documents: &Path,
    change: &Derivation,
    folder: &Path,
) -> Result<Prepared, CorpusError> {
    check(prepared, change)?;
    let making = FolderInMaking::start(folder, "tokens/index.json")?;
    let tokens = making.path().join("tokens");
    for part in ["train", "held_out", "tokenizer"] {
        let path = tokens.join(part);
        fs::create_dir_all(&path).map_err(CorpusError::io("create", &path))?;
    }
    let mut index = prepared.index.clone();
    link(prepared.directory(), &tokens, &index.held_out_streams)?;
    link(prepared.directory(), &tokens, index.held_out_roles.iter().flatten())?;
    let table = making.path().join("documents.parquet");
    if change.part < 1.0 || change.order.is_some() || change.copies > 1 {
        let rows = Rows::read(documents)?;
        let chosen = choose(prepared, &rows, change, documents)?;
        let mut taken = Vec::new();
        let mut starts = vec![None; rows.ranges.len()];
        for (number, chosen) in chosen.iter().enumerate() {
            let stem = file_stem(&index.sources[number].name, &mut taken);
            index.train[number] = write(prepared, number, chosen, &rows, &tokens, &stem, &mut starts)?;
            let source = &mut index.sources[number];
            source.tokens = index.train[number].tokens;
            source.documents = chosen.len() as u64;
            source.unique_documents = source.unique_documents.min(source.documents);
            source.bytes = chosen.iter().map(|row| rows.bytes[*row]).sum();
        }
        rows.write(&starts, &table)?;
    } else {
        link(prepared.directory(), &tokens, &index.train)?;
        link(prepared.directory(), &tokens, index.train_roles.iter().flatten())?;
        fs::copy(documents, &table).map_err(CorpusError::io("copy", documents))?;
    }
    index.ordered = change.order.is_some();
    if let Some(weights) = &change.weights {
        for (source, weight) in index.sources.iter_mut().zip(weights) {
            // Shares that somebody planned are not those of weights alone.
            source.share *= if source.weight > 0.0 { weight / source.weight } else { 0.0 };
            source.weight = *weight;
        }
    }
    if index.planned_tokens.is_none() {
        set_shares(&mut index.sources);
    }
    let sum: f64 = index.sources.iter().map(|source| source.share).sum();
    if sum.is_nan() || sum <= 0.0 {
        return Err(CorpusError::invalid("no source with a positive share is left", "leave one source its weight"));
    }
    if (sum - 1.0).abs() > 1e-12 {
        for source in &mut index.sources {
            source.share /= sum;
        }
    }
    prepared.tokenizer().save(tokens.join("tokenizer"))?;
    index.seal();
    let json = serde_json::to_string_pretty(&index).unwrap_or_default();
    replace_file(&tokens.join(INDEX), json.as_bytes())?;
    making.finish()?;
    Prepared::open(folder.join("tokens"))
}

fn check(prepared: &Prepared, change: &Derivation) -> Result<(), CorpusError> {
    if !(change.part > 0.0 && change.part <= 1.0) || change.copies == 0 {
        return Err(CorpusError::invalid(
            format!("{} copies of a part of {} of the documents", change.copies, change.part),
            "a part is above 0 and at most 1, and stands there at least once",
        ));
    }
    if let Some(weights) = &change.weights {
        let sources = prepared.sources().len();
        let good = weights.len() == sources
            && weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
            && weights.iter().any(|weight| *weight > 0.0);
        if !good {
            return Err(CorpusError::invalid(
                format!("the weights {weights:?} for {sources} sources"),
                "give each source a weight from 0 on, and one of them more than 0",
            ));
        }
    }
    let examples = (0..prepared.sources().len()).any(|number| prepared.train_examples(number).is_some());
    if examples && (change.part < 1.0 || change.order.is_some() || change.copies > 1) {
        return Err(CorpusError::invalid(
            "pairs and conversations cannot be cut into parts or put into another order",
            "only the weights of their sources can be changed",
        ));
    }
    Ok(())
}

/// Gives shards their place in another folder.
fn link<'a>(from: &Path, to: &Path, streams: impl IntoIterator<Item = &'a StreamIndex>) -> Result<(), CorpusError> {
    for shard in streams.into_iter().flat_map(|stream| &stream.shards) {
        let (old, new) = (from.join(&shard.file), to.join(&shard.file));
        if fs::hard_link(&old, &new).is_err() {
            // Another disk, or one without hard links.
            fs::copy(&old, &new).map_err(CorpusError::io("copy", &old))?;
        }
    }
    Ok(())
}

/// The training documents of a `documents.parquet`, by row.
struct Rows {
    batches: Vec<RecordBatch>,
    schema: Arc<Schema>,
    /// The source of each row; none of those that are not trained on.
    sources: Vec<Option<String>>,
    /// Where its tokens stand in its source's stream, without the end of text.
    ranges: Vec<Range<usize>>,
    bytes: Vec<u64>,
}

impl Rows {
    fn read(path: &Path) -> Result<Self, CorpusError> {
        let damaged = |error: &dyn std::fmt::Display| {
            CorpusError::damaged(path, format!("not a whole table of documents: {error}"), "prepare the data again")
        };
        let open = File::open(path).map_err(CorpusError::io("open", path))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(open, plain_types())
            .map_err(|error| damaged(&error))?;
        let schema = builder.schema().clone();
        let mut rows = Self { batches: Vec::new(), schema, sources: Vec::new(), ranges: Vec::new(), bytes: Vec::new() };
        for batch in builder.build().map_err(|error| damaged(&error))? {
            let batch = batch.map_err(|error| damaged(&error))?;
            let column = |name: &str, kind: &DataType| {
                let column = batch.column_by_name(name).ok_or_else(|| damaged(&format!("it has no column {name}")))?;
                cast(column, kind).map_err(|error| damaged(&error))
            };
            let (source, split) = (column("source", &DataType::Utf8)?, column("split", &DataType::Utf8)?);
            let (start, tokens) = (column("token_start", &DataType::Int64)?, column("tokens", &DataType::Int64)?);
            let bytes = column("bytes", &DataType::Int64)?;
            let (source, split) = (source.as_string::<i32>(), split.as_string::<i32>());
            let number = |column: &ArrayRef, row: usize| {
                let column = column.as_primitive::<Int64Type>();
                if column.is_null(row) { 0 } else { column.value(row).max(0) as usize }
            };
            for row in 0..batch.num_rows() {
                let begin = number(&start, row);
                rows.sources.push((split.value(row) == "train").then(|| source.value(row).to_owned()));
                rows.ranges.push(begin..begin + number(&tokens, row));
                rows.bytes.push(number(&bytes, row) as u64);
            }
            rows.batches.push(batch);
        }
        Ok(rows)
    }

    /// The same table, with where the documents that were kept now begin.
    fn write(&self, starts: &[Option<u64>], path: &Path) -> Result<(), CorpusError> {
        let fail =
            |error: &dyn std::fmt::Display| CorpusError::io("write", path)(std::io::Error::other(error.to_string()));
        let file = File::create(path).map_err(CorpusError::io("write", path))?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let mut writer =
            ArrowWriter::try_new(file, self.schema.clone(), Some(properties)).map_err(|error| fail(&error))?;
        let mut first = 0;
        for batch in &self.batches {
            let columns: Vec<ArrayRef> = self
                .schema
                .fields()
                .iter()
                .zip(batch.columns())
                .map(|(field, column)| {
                    let left = |row: usize| self.sources[first + row].is_some() && starts[first + row].is_none();
                    let text = |of: fn() -> Option<&'static str>| -> ArrayRef {
                        let old = column.as_string_opt::<i32>();
                        let cell = |row| {
                            if left(row) { of() } else { old.filter(|old| old.is_valid(row)).map(|old| old.value(row)) }
                        };
                        Arc::new((0..column.len()).map(cell).collect::<StringArray>())
                    };
                    match (field.name().as_str(), field.data_type()) {
                        ("split", DataType::Utf8) => text(|| Some("dropped")),
                        ("rule", DataType::Utf8) => text(|| Some(LEFT_OUT)),
                        ("token_start", DataType::Int64) => {
                            let old = column.as_primitive::<Int64Type>();
                            let cell = |row: usize| starts[first + row].map_or(old.value(row), |start| start as i64);
                            Arc::new(Int64Array::from_iter_values((0..column.len()).map(cell)))
                        }
                        _ => column.clone(),
                    }
                })
                .collect();
            first += batch.num_rows();
            let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(|error| fail(&error))?;
            writer.write(&batch).map_err(|error| fail(&error))?;
        }
        writer.close().map_err(|error| fail(&error))?;
        Ok(())
    }
}

/// The rows of each source that are kept, in the order in which they will stand, copies included.
fn choose(prepared: &Prepared, rows: &Rows, change: &Derivation, path: &Path) -> Result<Vec<Vec<usize>>, CorpusError> {
    let frequencies = match change.order {
        Some(DocumentOrder::CommonFirst | DocumentOrder::RareFirst) => surprises(prepared),
        _ => Vec::new(),
    };
    let mut all = Vec::new();
    for (number, source) in prepared.sources().iter().enumerate() {
        let stream = prepared.train_stream(number);
        let mut own: Vec<usize> =
            (0..rows.sources.len()).filter(|row| rows.sources[*row].as_ref() == Some(&source.name)).collect();
        if own.is_empty() || own.iter().any(|row| rows.ranges[*row].end > stream.len()) {
            let what = format!("its documents of the source \"{}\" do not belong to the tokens", source.name);
            return Err(CorpusError::damaged(path, what, "prepare the data again"));
        }
        let mix = crate::permutation::mix;
        let draw = |row: usize| mix(mix(number as u64 ^ (change.draw << 32)) ^ row as u64);
        if change.part < 1.0 {
            // So many tokens as the part says, of documents in the order of their draws; at least one document.
            let goal = change.part * own.iter().map(|row| rows.ranges[*row].len() as f64).sum::<f64>();
            let mut drawn = own.clone();
            drawn.sort_by_key(|row| draw(*row));
            let mut tokens = 0.0;
            drawn.retain(|row| {
                let keep = tokens < goal;
                tokens += rows.ranges[*row].len() as f64;
                keep
            });
            drawn.sort_unstable();
            own = drawn;
        }
        let surprise = |row: &usize| mean_surprise(stream, rows.ranges[*row].clone(), &frequencies);
        match change.order {
            None => {}
            Some(DocumentOrder::Random) => own.sort_by_key(|row| draw(*row)),
            Some(DocumentOrder::ShortFirst) => own.sort_by_key(|row| rows.ranges[*row].len()),
            Some(DocumentOrder::LongFirst) => own.sort_by_key(|row| std::cmp::Reverse(rows.ranges[*row].len())),
            Some(DocumentOrder::CommonFirst) => own.sort_by(|a, b| surprise(a).total_cmp(&surprise(b))),
            Some(DocumentOrder::RareFirst) => own.sort_by(|a, b| surprise(b).total_cmp(&surprise(a))),
        }
        let once = own.len();
        for _ in 1..change.copies {
            own.extend_from_within(..once);
        }
        all.push(own);
    }
    Ok(all)
}

/// −ln p of every token id over all sources.
fn surprises(prepared: &Prepared) -> Vec<f64> {
    let mut counts = vec![1_u64; prepared.tokenizer().vocabulary()];
    for number in 0..prepared.sources().len() {
        for id in prepared.train_stream(number).iter() {
            if let Some(count) = counts.get_mut(id as usize) {
                *count += 1;
            }
        }
    }
    let total: u64 = counts.iter().sum();
    counts.into_iter().map(|count| -(count as f64 / total as f64).ln()).collect()
}

fn mean_surprise(stream: &TokenStream, range: Range<usize>, surprises: &[f64]) -> f64 {
    let mut ids = Vec::new();
    stream.get(range, &mut ids);
    let sum: f64 = ids.iter().filter_map(|id| surprises.get(*id as usize)).sum();
    sum / ids.len().max(1) as f64
}

/// Writes the chosen documents of a source, each with its end of text, and notes where they begin.
fn write(
    prepared: &Prepared,
    number: usize,
    chosen: &[usize],
    rows: &Rows,
    folder: &Path,
    stem: &str,
    starts: &mut [Option<u64>],
) -> Result<StreamIndex, CorpusError> {
    let stream = prepared.train_stream(number);
    let name = &prepared.sources()[number].name;
    let width = prepared.index.token_width;
    let mut writer = StreamWriter::new(folder, "train", name, stem, width, LARGEST_SHARD);
    let mut ids = Vec::new();
    for row in chosen {
        ids.clear();
        stream.get(rows.ranges[*row].clone(), &mut ids);
        ids.extend(stream.end_of_text());
        starts[*row].get_or_insert(writer.tokens());
        writer.push(&ids)?;
    }
    writer.finish()
}
