//! A document on its way, and as a row of a table.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, UInt32Type, UInt64Type};

use serde_json::{Value, json};

use crate::duplicates::ContentHash;
use crate::quality::Measure;

/// A document with what is known of it so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    /// Its place among all documents, by which clusters are named.
    pub(super) number: u64,
    pub(super) id: String,
    pub(super) source: Arc<str>,
    pub(super) path: Arc<str>,
    /// Where it begins in its file.
    pub(super) offset: u64,
    pub(super) url: Option<String>,
    /// The other fields of its record, as JSON.
    pub(super) metadata: Option<String>,
    /// Its text, until it goes.
    pub(super) text: Option<String>,
    /// Bytes of its text as it was read.
    pub(super) bytes_read: u64,
    /// Bytes and characters of its text as it stands, or stood when it went.
    pub(super) bytes: u64,
    pub(super) characters: u64,
    pub(super) content_hash: Option<String>,
    pub(super) language: Option<String>,
    pub(super) confidence: Option<f64>,
    /// What filters measured.
    pub(super) values: Vec<(Measure, f64)>,
    /// The evaluation sets of which it holds parts.
    pub(super) evaluation_sets: Vec<String>,
    /// What models said of it, by the names of the scores.
    pub(super) scores: Vec<(String, f64)>,
    /// Things taken out of it, and lines or paragraphs that stood elsewhere before.
    pub(super) redacted: u32,
    pub(super) repeated: u32,
    /// The lowest number of the documents that it is like, and how many they are.
    pub(super) cluster: Option<u64>,
    pub(super) cluster_size: Option<u64>,
    /// The rule that it went by, and its reason in words.
    pub(super) rule: Option<String>,
    pub(super) detail: Option<String>,
    /// Which side of the split it is on, where there is one.
    pub(super) side: Option<Side>,
    /// Tokens of its text, and the place of the first among those of its source's side.
    pub(super) tokens: Option<u64>,
    pub(super) token_start: Option<u64>,
    /// On the way only: what the next comparison knows it by, and its tokens.
    pub(super) key: Option<Vec<u8>>,
    pub(super) ids: Option<Vec<u32>>,
}

/// The sides of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Train,
    HeldOut,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::HeldOut => "held_out",
        }
    }
}

/// Which columns a file of rows has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Columns {
    /// On the way: all.
    Work,
    /// Of what is left.
    Text,
    /// Of every document.
    Documents,
}

impl Row {
    /// Lets it go.
    pub(super) fn drop_for(&mut self, rule: impl Into<String>, detail: Option<String>) {
        self.measure();
        self.text = None;
        self.key = None;
        self.ids = None;
        self.side = None;
        self.rule = Some(rule.into());
        self.detail = detail;
    }

    /// Whether it is still there; also of rows that were read without their texts.
    pub(super) fn stays(&self) -> bool {
        self.rule.is_none()
    }

    /// Counts its text as it stands.
    pub(super) fn measure(&mut self) {
        if let Some(text) = &self.text {
            self.bytes = text.len() as u64;
            self.characters = text.chars().count() as u64;
        }
    }

    /// Marks it by its text.
    pub(super) fn mark(&mut self, hash: &ContentHash) {
        self.content_hash = Some(crate::duplicates::hexadecimal(hash));
    }
}

/// The column of a measure. The characters that filters saw are not those that are left.
pub(super) fn column_of(measure: Measure) -> &'static str {
    if measure == Measure::Characters { "filtered_characters" } else { measure.name() }
}

/// Their names and types.
pub(super) fn schema(columns: Columns) -> Arc<Schema> {
    let column = |name: &str, kind: &DataType, nullable| Field::new(name, kind.clone(), nullable);
    let (string, count, small, real) = (DataType::Utf8, DataType::UInt64, DataType::UInt32, DataType::Float64);
    let mut fields = vec![
        column("number", &count, false),
        column("id", &string, false),
        column("source", &string, false),
        column("path", &string, false),
        column("offset", &count, false),
        column("url", &string, true),
        column("metadata", &string, true),
    ];
    if columns != Columns::Documents {
        fields.push(column("text", &string, true));
    }
    fields.extend([
        column("bytes_read", &count, false),
        column("bytes", &count, false),
        column("characters", &count, false),
        column("content_hash", &string, true),
        column("language", &string, true),
        column("confidence", &real, true),
        column("evaluation_sets", &string, true),
        column("scores", &string, true),
        column("redacted", &small, false),
        column("repeated", &small, false),
        column("cluster", &count, true),
        column("cluster_size", &count, true),
        column("rule", &string, true),
        column("detail", &string, true),
        column("split", &string, true),
        column("tokens", &count, true),
        column("token_start", &count, true),
    ]);
    if columns == Columns::Work {
        fields.extend([column("key", &DataType::Binary, true), column("ids", &DataType::Binary, true)]);
    }
    fields.extend(Measure::ALL.iter().map(|measure| column(column_of(*measure), &real, true)));
    Arc::new(Schema::new(fields))
}

/// Rows as a batch of [`schema`].
pub(super) fn to_batch(rows: &[Row], schema: &Arc<Schema>) -> RecordBatch {
    let borrowed =
        |of: fn(&Row) -> Option<&str>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<StringArray>()) };
    let counts = |of: fn(&Row) -> Option<u64>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<UInt64Array>()) };
    let small = |of: fn(&Row) -> u32| -> ArrayRef { Arc::new(UInt32Array::from_iter_values(rows.iter().map(of))) };
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "number" => counts(|row| Some(row.number)),
        "id" => borrowed(|row| Some(&row.id)),
        "source" => borrowed(|row| Some(&row.source)),
        "path" => borrowed(|row| Some(&row.path)),
        "offset" => counts(|row| Some(row.offset)),
        "url" => borrowed(|row| row.url.as_deref()),
        "metadata" => borrowed(|row| row.metadata.as_deref()),
        "text" => borrowed(|row| row.text.as_deref()),
        "bytes_read" => counts(|row| Some(row.bytes_read)),
        "bytes" => counts(|row| Some(row.bytes)),
        "characters" => counts(|row| Some(row.characters)),
        "content_hash" => borrowed(|row| row.content_hash.as_deref()),
        "language" => borrowed(|row| row.language.as_deref()),
        "confidence" => Arc::new(rows.iter().map(|row| row.confidence).collect::<Float64Array>()),
        "evaluation_sets" => {
            let sets = |row: &Row| (!row.evaluation_sets.is_empty()).then(|| json!(row.evaluation_sets).to_string());
            Arc::new(rows.iter().map(sets).collect::<StringArray>())
        }
        "scores" => {
            let json = |row: &Row| {
                let scores = row.scores.iter().map(|(name, score)| (name.clone(), Value::from(*score)));
                let scores: serde_json::Map<String, Value> = scores.collect();
                (!scores.is_empty()).then(|| Value::Object(scores).to_string())
            };
            Arc::new(rows.iter().map(json).collect::<StringArray>())
        }
        "redacted" => small(|row| row.redacted),
        "repeated" => small(|row| row.repeated),
        "cluster" => counts(|row| row.cluster),
        "cluster_size" => counts(|row| row.cluster_size),
        "rule" => borrowed(|row| row.rule.as_deref()),
        "detail" => borrowed(|row| row.detail.as_deref()),
        "split" => borrowed(|row| if row.stays() { row.side.map(Side::name) } else { Some("dropped") }),
        "tokens" => counts(|row| row.tokens),
        "token_start" => counts(|row| row.token_start),
        "key" => Arc::new(rows.iter().map(|row| row.key.as_deref()).collect::<BinaryArray>()),
        "ids" => {
            let bytes = |row: &Row| Some(row.ids.as_ref()?.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>());
            Arc::new(rows.iter().map(bytes).collect::<BinaryArray>())
        }
        name => {
            let value =
                |row: &Row| row.values.iter().find(|(measure, _)| column_of(*measure) == name).map(|(_, value)| *value);
            Arc::new(rows.iter().map(value).collect::<Float64Array>())
        }
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).expect("the columns are those of the schema")
}

/// The rows of a batch that [`to_batch`] made; columns that it lacks are nothing.
pub(super) fn from_batch(batch: &RecordBatch) -> Vec<Row> {
    let column = |name: &str| batch.column_by_name(name);
    let text = |name: &str, row: usize| {
        let column = column(name)?.as_string_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row))
    };
    let count = |name: &str, row: usize| {
        let column = column(name)?.as_primitive_opt::<UInt64Type>()?;
        column.is_valid(row).then(|| column.value(row))
    };
    let bytes = |name: &str, row: usize| {
        let column = column(name)?.as_binary_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row))
    };
    let small = |name: &str, row: usize| {
        column(name).and_then(|column| column.as_primitive_opt::<UInt32Type>()).map_or(0, |column| column.value(row))
    };
    let real = |name: &str, row: usize| {
        let column = column(name)?.as_primitive_opt::<Float64Type>()?;
        column.is_valid(row).then(|| column.value(row))
    };
    let measures: Vec<_> = Measure::ALL
        .iter()
        .filter_map(|measure| Some((*measure, column(column_of(*measure))?.as_primitive_opt::<Float64Type>()?)))
        .collect();
    let owned = |name: &str, row: usize| text(name, row).map(str::to_owned);
    let mut known: [Option<Arc<str>>; 2] = [None, None];
    let mut shared = |slot: usize, text: &str| match &known[slot] {
        Some(same) if **same == *text => same.clone(),
        _ => known[slot].insert(text.into()).clone(),
    };
    (0..batch.num_rows())
        .map(|row| Row {
            number: count("number", row).unwrap_or_default(),
            id: owned("id", row).unwrap_or_default(),
            source: shared(0, text("source", row).unwrap_or_default()),
            path: shared(1, text("path", row).unwrap_or_default()),
            offset: count("offset", row).unwrap_or_default(),
            url: owned("url", row),
            metadata: owned("metadata", row),
            text: owned("text", row),
            bytes_read: count("bytes_read", row).unwrap_or_default(),
            bytes: count("bytes", row).unwrap_or_default(),
            characters: count("characters", row).unwrap_or_default(),
            content_hash: owned("content_hash", row),
            language: owned("language", row),
            confidence: real("confidence", row),
            values: measures
                .iter()
                .filter(|(_, column)| column.is_valid(row))
                .map(|(measure, column)| (*measure, column.value(row)))
                .collect(),
            evaluation_sets: text("evaluation_sets", row)
                .and_then(|json| serde_json::from_str(json).ok())
                .unwrap_or_default(),
            scores: text("scores", row).and_then(|json| serde_json::from_str(json).ok()).map_or_else(
                Vec::new,
                |scores| {
                    let scores: serde_json::Map<String, Value> = scores;
                    scores.into_iter().filter_map(|(name, score)| Some((name, score.as_f64()?))).collect()
                },
            ),
            redacted: small("redacted", row),
            repeated: small("repeated", row),
            cluster: count("cluster", row),
            cluster_size: count("cluster_size", row),
            rule: owned("rule", row),
            detail: owned("detail", row),
            side: match text("split", row) {
                Some("train") => Some(Side::Train),
                Some("held_out") => Some(Side::HeldOut),
                _ => None,
            },
            tokens: count("tokens", row),
            token_start: count("token_start", row),
            key: bytes("key", row).map(<[u8]>::to_vec),
            ids: bytes("ids", row).map(|bytes| {
                let (ids, _) = bytes.as_chunks::<4>();
                ids.iter().map(|id| u32::from_le_bytes(*id)).collect()
            }),
        })
        .collect()
}
