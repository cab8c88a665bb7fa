//! The order of a curriculum: documents by a column.

use super::row::{Columns, Row, column_of, schema};

/// What stands before the name of a score.
pub(super) const SCORE: &str = "scores.";
/// What stands before the name of a field of a record.
pub(super) const FIELD: &str = "metadata.";

/// The columns that documents can be ordered by, beside `metadata.FIELD` and `scores.NAME`.
pub(super) fn order_columns() -> impl Iterator<Item = String> {
    let fields = schema(Columns::Documents);
    let names: Vec<String> = fields.fields().iter().map(|field| field.name().clone()).collect();
    names.into_iter().filter(|name| {
        !matches!(
            name.as_str(),
            "rule" | "detail" | "split" | "token_start" | "metadata" | "scores" | "evaluation_sets"
        )
    })
}

/// Whether documents can be ordered by a column.
pub(super) fn can_order_by(column: &str) -> bool {
    column.starts_with(SCORE) || column.starts_with(FIELD) || order_columns().any(|known| known == column)
}

/// Two words that sort as a row's value does; of rows without one, the last of all.
pub(super) fn order_key(row: &Row, column: &str, descending: bool) -> [u64; 2] {
    let Some(key) = ascending(row, column) else { return [u64::MAX; 2] };
    // The highest is left to those without a value.
    let [first, second] = if descending { key.map(|word| !word) } else { key };
    [first, second.min(u64::MAX - 1)]
}

fn ascending(row: &Row, column: &str) -> Option<[u64; 2]> {
    let number = |number: f64| Some([of_number(number), 0]);
    let count = |count: u64| Some([count, 0]);
    let text = |text: &str| Some(of_text(text));
    match column {
        "number" => count(row.number),
        "offset" => count(row.offset),
        "bytes_read" => count(row.bytes_read),
        "bytes" => count(row.bytes),
        "characters" => count(row.characters),
        "tokens" => count(row.tokens?),
        "redacted" => count(row.redacted.into()),
        "repeated" => count(row.repeated.into()),
        "cluster" => count(row.cluster?),
        "cluster_size" => count(row.cluster_size?),
        "confidence" => number(row.confidence?),
        "id" => text(&row.id),
        "source" => text(&row.source),
        "path" => text(&row.path),
        "url" => text(row.url.as_deref()?),
        "content_hash" => text(row.content_hash.as_deref()?),
        "language" => text(row.language.as_deref()?),
        _ => match column.strip_prefix(FIELD) {
            Some(field) => {
                let record: serde_json::Value = serde_json::from_str(row.metadata.as_deref()?).ok()?;
                match record.get(field)? {
                    serde_json::Value::Number(value) => number(value.as_f64()?),
                    serde_json::Value::String(value) => text(value),
                    _ => None,
                }
            }
            None if column.starts_with(SCORE) => {
                let name = column.strip_prefix(SCORE)?;
                number(row.scores.iter().find(|(known, _)| known == name)?.1)
            }
            None => number(row.values.iter().find(|(measure, _)| column_of(*measure) == column)?.1),
        },
    }
}

/// The order of numbers as that of words.
fn of_number(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The first 16 bytes.
fn of_text(text: &str) -> [u64; 2] {
    let mut bytes = [0; 16];
    let length = text.len().min(16);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    let word = u128::from_be_bytes(bytes);
    [(word >> 64) as u64, word as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_values_do() {
        let numbers = [f64::NEG_INFINITY, -2.5, -1e-9, 0.0, 1e-9, 3.0, 1e300];
        assert!(numbers.windows(2).all(|pair| of_number(pair[0]) < of_number(pair[1])));
        let texts = ["", "2019-05-01", "2019-05-02", "2020", "b", "中", "文"];
        assert!(texts.windows(2).all(|pair| of_text(pair[0]) < of_text(pair[1])));
    }

    #[test]
    fn rows_without_a_value_come_last_both_ways() {
        let row = |metadata: &str| Row { metadata: Some(metadata.to_owned()), ..Row::default() };
        let rows = [row(r#"{"level": 2}"#), row("{}"), row(r#"{"level": -1.5}"#), Row::default()];
        for (descending, expected) in [(false, [2, 0, 1, 3]), (true, [0, 2, 1, 3])] {
            let mut order = [0, 1, 2, 3];
            order.sort_by_key(|row| order_key(&rows[*row], "metadata.level", descending));
            assert_eq!(order, expected);
        }
        assert!(
            can_order_by("characters")
                && can_order_by("gopher_stop_words") == order_columns().any(|name| name == "gopher_stop_words")
        );
        assert!(!can_order_by("character") && !can_order_by("split"));
    }
}
