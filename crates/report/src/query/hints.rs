//! What is wrong with a query, in words that help to put it right.

use datafusion::common::{DataFusionError, SchemaError};

use super::tables::Tables;
use crate::ReportError;

/// Names less alike than this (Jaro–Winkler, 0 to 1) are not suggested.
const ALIKE: f64 = 0.7;

/// `error` as a message and a hint with the tables and columns that there are.
pub(super) fn explain(error: &DataFusionError, tables: &Tables) -> ReportError {
    let root = error.find_root();
    let text = root.strip_backtrace();
    let listing = format!("the tables and their columns are\n{}", tables.listing());
    if let DataFusionError::SchemaError(schema, _) = root
        && let SchemaError::FieldNotFound { field, .. } = schema.as_ref()
    {
        return unknown_column(&field.name, tables, &listing);
    }
    if let Some(table) = missing_table(&text) {
        return unknown_table(&table, tables, &listing);
    }
    if is_refused(&text) {
        return ReportError::Query {
            message: format!("only reading is allowed: {}", sentence(&text)),
            hint: "ask with SELECT; to keep an answer, redirect what is printed into a file".into(),
        };
    }
    match root {
        DataFusionError::SQL(parser, _) => ReportError::Query {
            message: format!("the SQL cannot be understood: {}", sentence(&parser.to_string())),
            hint: format!("texts stand in 'single' quotes; {listing}"),
        },
        _ => ReportError::Query { message: sentence(&text), hint: listing },
    }
}

fn unknown_column(name: &str, tables: &Tables, listing: &str) -> ReportError {
    let columns = tables.columns.iter().flat_map(|(_, columns)| columns.iter().map(String::as_str));
    let hint = match nearest(name, columns) {
        Some(near) => format!("did you mean {near:?}? {listing}"),
        None => format!("texts stand in 'single' quotes, names in \"double\" ones; {listing}"),
    };
    ReportError::Query { message: format!("there is no column {name:?}"), hint }
}

fn unknown_table(name: &str, tables: &Tables, listing: &str) -> ReportError {
    if let Some((table, file)) = tables.absent.iter().find(|(table, _)| *table == name) {
        return ReportError::Query {
            message: format!("none of the runs has a readable {file}, so there is no table {table:?}"),
            hint: listing.to_owned(),
        };
    }
    let hint = match nearest(name, tables.columns.iter().map(|(table, _)| table.as_str())) {
        Some(near) => format!("did you mean {near:?}? {listing}"),
        None => listing.to_owned(),
    };
    ReportError::Query { message: format!("there is no table {name:?}"), hint }
}

/// The candidate most like `name`, where one is alike enough.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(&name.to_lowercase(), candidate), candidate))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

/// The table that a planning error misses: `table 'datafusion.public.NAME' not found`.
fn missing_table(text: &str) -> Option<String> {
    let (before, _) = text.split_once("' not found")?;
    let (_, name) = before.rsplit_once('\'')?;
    before.contains("table '").then(|| name.rsplit('.').next().unwrap_or(name).to_owned())
}

fn is_refused(text: &str) -> bool {
    ["DDL not supported", "DML not supported", "Statement not supported"].iter().any(|refusal| text.contains(refusal))
}

/// An error's text without the engine's own prefix and line ends.
fn sentence(text: &str) -> String {
    let text = text.split("\n\nbacktrace").next().unwrap_or_default();
    let text = ["Error during planning: ", "SQL error: ", "sql parser error: ", "Execution error: "]
        .iter()
        .fold(text, |text, prefix| text.trim_start_matches(prefix));
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{missing_table, nearest};

    #[test]
    fn near_names_are_found_and_far_ones_not() {
        assert_eq!(nearest("sourse", ["step", "source", "value"].into_iter()), Some("source"));
        assert_eq!(nearest("Ledgers", ["metrics", "ledger"].into_iter()), Some("ledger"));
        assert_eq!(nearest("zzz", ["metrics", "ledger"].into_iter()), None);
    }

    #[test]
    fn the_missing_table_is_read_from_the_message() {
        let text = "Error during planning: table 'datafusion.public.ledgr' not found";
        assert_eq!(missing_table(text).as_deref(), Some("ledgr"));
        assert_eq!(missing_table("column 'x' not found"), None);
    }
}
