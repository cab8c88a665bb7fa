use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use loam_train::record::LedgerRow;
use parquet::arrow::ArrowWriter;

use super::{Books, Ledger, Line};
use crate::InfluenceError;

fn row(interval: (u64, u64), line: &str, source: &str, value: f64, tokens: u64) -> LedgerRow {
    LedgerRow {
        from_step: interval.0,
        step: interval.1,
        domain: "prose".into(),
        line: line.into(),
        source: source.into(),
        value,
        tokens,
    }
}

/// `count` intervals of ten steps in which two sources, history and decay book, and the measurement is their sum times
/// `measured`.
fn rows(count: u64, measured: f64) -> Vec<LedgerRow> {
    (0..count)
        .flat_map(|index| {
            let interval = (index * 10, index * 10 + 10);
            let scale = 1.0 / (index + 1) as f64;
            [
                row(interval, "source", "books", 0.3 * scale, 4_000),
                row(interval, "source", "spam", -0.1 * scale, 1_000),
                row(interval, "history", "", 0.05 * scale, 0),
                row(interval, "decay", "", -0.01 * scale, 0),
                row(interval, "measured", "", 0.24 * scale * measured, 0),
            ]
        })
        .collect()
}

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-12
}

#[test]
fn an_empty_ledger_says_nothing() {
    let ledger = Ledger::from_rows(&[]);
    assert!(ledger.is_empty());
    assert!(ledger.summary().domains.is_empty());
    assert!(ledger.series("prose", 10).is_none());
}

#[test]
fn one_interval_adds_up() {
    let ledger = Ledger::from_rows(&rows(1, 1.0));
    let summary = ledger.summary();
    let prose = summary.domain("prose").unwrap();
    assert_eq!(prose.intervals, 1);
    assert_eq!((prose.from_step, prose.step), (0, 10));
    assert!(close(prose.booked, 0.24));
    assert!(close(prose.residual.unwrap(), 0.0));
    assert_eq!(prose.books, Books::Closed);
    assert_eq!(prose.correlation, None, "one point has no correlation");
    let names: Vec<&str> = prose.lines.iter().map(|line| line.line.name()).collect();
    assert_eq!(names, ["books", "spam", "history", "decay"]);
    assert!(close(prose.lines[0].value_per_million_tokens.unwrap(), 75.0));
    assert!(close(prose.lines[0].share_of_tokens.unwrap(), 0.8));
    assert!(close(prose.lines[0].share_of_value.unwrap(), 1.5));
    assert!(close(prose.lines[1].share_of_value.unwrap(), -0.5));
    assert_eq!(prose.lines[2].share_of_value, None);
    assert_eq!(prose.most_helpful_per_token().unwrap().line, Line::Source("books".into()));
    assert_eq!(prose.least_helpful_per_token().unwrap().line, Line::Source("spam".into()));
}

#[test]
fn books_close_within_five_percent_and_not_beyond() {
    let verdict = |measured: f64| Ledger::from_rows(&rows(20, measured)).summary().domains[0].clone();
    assert_eq!(verdict(1.04).books, Books::Closed);
    assert_eq!(verdict(0.96).books, Books::Closed);
    let open = verdict(1.2);
    assert_eq!(open.books, Books::Open);
    assert!((open.residual_share.unwrap() - 0.2 / 1.2).abs() < 1e-9);
    assert!(open.correlation.unwrap() > 0.999, "proportional series correlate fully");
}

#[test]
fn a_measured_change_of_zero_decides_nothing() {
    let summary = Ledger::from_rows(&rows(5, 0.0)).summary();
    let prose = &summary.domains[0];
    assert_eq!(prose.measured, Some(0.0));
    assert_eq!(prose.residual_share, None);
    assert_eq!(prose.books, Books::Undecided);
    assert_eq!(prose.correlation, None);
}

#[test]
fn an_interval_with_nan_is_left_out_whole_and_counted() {
    let mut bad = rows(4, 1.0);
    bad[6].value = f64::NAN;
    let summary = Ledger::from_rows(&bad).summary();
    let prose = &summary.domains[0];
    assert_eq!((prose.intervals, prose.left_out), (3, 1));
    assert!(prose.booked.is_finite());
    assert_eq!(prose.books, Books::Closed);
}

#[test]
fn unmeasured_intervals_stay_out_of_the_residual() {
    let mut partial = rows(4, 1.0);
    partial.remove(4);
    let summary = Ledger::from_rows(&partial).summary();
    let prose = &summary.domains[0];
    assert_eq!((prose.intervals, prose.unmeasured), (4, 1));
    assert!(close(prose.residual.unwrap(), 0.0));
    let measured: Vec<bool> =
        Ledger::from_rows(&partial).series("prose", 4).unwrap().bins.iter().map(|bin| bin.measured.is_some()).collect();
    assert_eq!(measured, [false, true, true, true]);
}

#[test]
fn rows_that_a_resumed_run_wrote_twice_count_once() {
    let mut twice = rows(6, 1.0);
    twice.extend(rows(6, 1.0).split_off(15));
    assert_eq!(Ledger::from_rows(&twice).summary(), Ledger::from_rows(&rows(6, 1.0)).summary());
}

#[test]
fn bins_keep_every_nat_and_token() {
    for count in [1, 7, 60, 61, 119] {
        let ledger = Ledger::from_rows(&rows(count, 1.0));
        let series = ledger.series("prose", 60).unwrap();
        assert!(series.bins.len() <= 60);
        let summary = ledger.summary();
        for (line, total) in series.lines.iter().zip(&summary.domains[0].lines) {
            assert!(close(*line.cumulative.last().unwrap(), total.value));
            assert_eq!(line.tokens.iter().sum::<u64>(), total.tokens);
        }
        assert!(series.lines[2].value_per_million_tokens(0).is_none(), "history has no tokens");
    }
    assert_eq!(Ledger::from_rows(&rows(7, 1.0)).series("prose", 0).unwrap().bins.len(), 1);
}

#[test]
fn the_later_half_stands_apart() {
    let summary = Ledger::from_rows(&rows(2, 1.0)).summary();
    assert!(close(summary.domains[0].lines[0].late_value, 0.15));
    assert_eq!(summary.domains[0].lines[0].late_tokens, 4_000);
}

fn write(path: &Path, rows: &[LedgerRow]) {
    let integers =
        |get: fn(&LedgerRow) -> u64| Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| get(r) as i64)));
    let texts = |get: fn(&LedgerRow) -> &str| Arc::new(StringArray::from_iter_values(rows.iter().map(get))) as ArrayRef;
    let batch = RecordBatch::try_from_iter([
        ("from_step", integers(|row| row.from_step) as ArrayRef),
        ("step", integers(|row| row.step)),
        ("domain", texts(|row| &row.domain)),
        ("line", texts(|row| &row.line)),
        ("source", texts(|row| &row.source)),
        ("value", Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.value)))),
        ("tokens", integers(|row| row.tokens)),
    ])
    .unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn the_file_reads_back_and_a_broken_one_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.parquet");
    write(&path, &rows(9, 1.0));
    assert_eq!(Ledger::read(&path).unwrap().summary(), Ledger::from_rows(&rows(9, 1.0)).summary());

    let bytes = fs::read(&path).unwrap();
    for length in [0, 3, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        assert!(matches!(Ledger::read(&path), Err(InfluenceError::Parquet { .. })), "{length} bytes");
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(Ledger::read(&path), Err(InfluenceError::Open { .. })));

    let column: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let batch = RecordBatch::try_from_iter([("step", column)]).unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let message = Ledger::read(&path).unwrap_err().to_string();
    assert!(message.contains("from_step") && message.contains("hint"), "{message}");
}
