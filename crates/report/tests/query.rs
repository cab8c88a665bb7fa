//! SQL over runs.

mod fixture;

use std::fs;
use std::path::PathBuf;

use loam_report::query::{Cell, query};

fn runs() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let runs = vec![folder.path().join("one"), folder.path().join("two")];
    for run in &runs {
        fixture::write(run);
    }
    (folder, runs)
}

fn failure(sql: &str, runs: &[PathBuf]) -> String {
    query(sql, runs).unwrap_err().to_string()
}

#[test]
fn values_by_source_over_runs() {
    let (_folder, runs) = runs();
    let sql = "SELECT run, source, sum(value) AS nats, sum(tokens) AS tokens FROM ledger \
               WHERE line = 'source' AND domain = 'prose' GROUP BY run, source ORDER BY run, nats DESC";
    let result = query(sql, &runs).unwrap();
    assert_eq!(result.rows.len(), 10);
    assert_eq!(result.rows[0][..2], [Cell::Text("one".into()), Cell::Text("docs".into())]);
    let names: Vec<&str> = result.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["run", "source", "nats", "tokens"]);
    let table = result.to_table(Some(80));
    assert!(table.lines().next().unwrap().starts_with("run  source"), "{table}");
    assert_eq!(result.to_json_lines().lines().count(), 10);
    assert!(result.to_csv().starts_with("run,source,nats,tokens\r\none,docs,"));
}

#[test]
fn metrics_and_events_join() {
    let (_folder, runs) = runs();
    let sql = "SELECT e.run, e.event, count(*) FROM events e JOIN metrics m ON e.run = m.run \
               WHERE e.event = 'finish' AND m.step = 300 GROUP BY e.run, e.event ORDER BY 1";
    let result = query(sql, &runs).unwrap();
    assert_eq!(result.rows[1], [Cell::Text("two".into()), Cell::Text("finish".into()), Cell::Integer(4)]);
}

#[test]
fn a_run_without_a_table_is_fine_and_a_table_of_no_run_is_told() {
    let (_folder, runs) = runs();
    fs::remove_file(runs[0].join("ledger.parquet")).unwrap();
    // The demonstration keeps its corpus in a folder that is called as those of prepared texts.
    fs::create_dir(runs[0].join("text")).unwrap();
    fs::write(runs[0].join("text/a.txt"), "words").unwrap();
    let result = query("SELECT DISTINCT run FROM ledger", &runs).unwrap();
    assert_eq!(result.rows, [[Cell::Text("two".into())]]);
    assert!(result.warnings.is_empty());

    let bytes = fs::read(runs[1].join("metrics.parquet")).unwrap();
    fs::write(runs[1].join("metrics.parquet"), &bytes[..100]).unwrap();
    let result = query("SELECT DISTINCT run FROM metrics", &runs).unwrap();
    assert_eq!(result.rows, [[Cell::Text("one".into())]]);
    assert!(result.warnings[0].contains("metrics.parquet cannot be read"), "{:?}", result.warnings);

    let message = failure("SELECT * FROM documents", &runs);
    assert!(message.contains("none of the runs has a readable documents.parquet"), "{message}");
    assert!(failure("SELECT 1", &[]).contains("no run"));
    assert!(failure("SELECT 1", &[PathBuf::from("/nowhere")]).contains("not a run's folder"));
}

#[test]
fn mistakes_are_met_with_what_there_is() {
    let (_folder, runs) = runs();
    let column = failure("SELECT sourse FROM ledger", &runs);
    assert!(column.contains("no column \"sourse\"") && column.contains("did you mean \"source\"?"), "{column}");
    assert!(column.contains("ledger(run, from_step, step, domain, line, source, value, tokens)"), "{column}");
    let table = failure("SELECT * FROM metric", &runs);
    assert!(table.contains("no table \"metric\"") && table.contains("did you mean \"metrics\"?"), "{table}");
    let syntax = failure("SELEC 1", &runs);
    assert!(syntax.contains("cannot be understood") && syntax.contains("hint: "), "{syntax}");
    let text = failure("SELECT * FROM ledger WHERE line = \"source", &runs);
    assert!(text.contains("cannot be understood"), "{text}");
    assert!(failure("SELECT nonsense(1)", &runs).contains("nonsense"));
    assert!(failure("SELECT 1; SELECT 2", &runs).contains("hint: "));
    assert!(failure("", &runs).contains("hint: "));
}

#[test]
fn nothing_can_be_written() {
    let (folder, runs) = runs();
    let target = folder.path().join("out.parquet");
    for sql in [
        format!("COPY (SELECT 1) TO '{}'", target.display()),
        format!("CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '{}'", runs[0].join("ledger.parquet").display()),
        "CREATE TABLE x AS SELECT 1".into(),
        "DROP TABLE ledger".into(),
        "INSERT INTO metrics SELECT * FROM metrics".into(),
        "DELETE FROM ledger".into(),
        "SET datafusion.execution.batch_size = 1".into(),
    ] {
        let message = failure(&sql, &runs);
        assert!(message.contains("only reading is allowed"), "{sql}: {message}");
    }
    assert!(!target.exists());
    let file = format!("SELECT * FROM '{}'", runs[0].join("ledger.parquet").display());
    assert!(query(&file, &runs).is_err(), "only the runs' tables are read");
}

#[test]
fn it_works_from_within_another_runtime() {
    let (_folder, runs) = runs();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let result = runtime.block_on(async { query("SELECT count(*) FROM metrics", &runs) }).unwrap();
    assert_eq!(result.rows, [[Cell::Integer(2 * 4 * 300)]]);
}
