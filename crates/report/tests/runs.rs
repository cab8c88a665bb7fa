//! Lists of runs, whole and broken.

mod fixture;

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use loam_report::runs::{Status, list};

#[test]
fn runs_are_listed_by_start_whatever_their_state() {
    let root = tempfile::tempdir().unwrap();
    fixture::write(&root.path().join("b-done"));

    let killed = root.path().join("a-killed");
    fs::create_dir(&killed).unwrap();
    let mut events = fixture::events();
    events.truncate(30);
    events[0].time = "2026-02-01T00:00:00Z".into();
    fixture::write_events(&killed, &events);
    let hour_ago = SystemTime::now() - Duration::from_hours(1);
    File::options().write(true).open(killed.join("events.jsonl")).unwrap().set_modified(hour_ago).unwrap();

    let going = root.path().join("c-going");
    fs::create_dir(&going).unwrap();
    events[0].time = "2026-03-01T00:00:00Z".into();
    fixture::write_events(&going, &events);

    let broken = root.path().join("d-broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("events.jsonl"), b"\xff{{{\n\n{\"time\":").unwrap();
    fs::write(broken.join("metrics.parquet"), b"PAR1").unwrap();
    for name in ["events.jsonl", "metrics.parquet"] {
        File::options().write(true).open(broken.join(name)).unwrap().set_modified(hour_ago).unwrap();
    }
    fs::create_dir(root.path().join("not-a-run")).unwrap();
    fs::write(root.path().join("a-file"), "x").unwrap();

    let runs = list(root.path()).unwrap();
    let states: Vec<(&str, Status)> = runs.iter().map(|run| (run.name.as_str(), run.status)).collect();
    assert_eq!(
        states,
        [
            ("d-broken", Status::Unknown),
            ("b-done", Status::Done),
            ("a-killed", Status::Stopped),
            ("c-going", Status::Running)
        ]
    );
    let done = &runs[1];
    assert_eq!((done.steps, done.planned_steps, done.parameters), (300, Some(300), Some(3_212_544)));
    assert_eq!(done.tokens, fixture::STEPS * fixture::BATCH);
    assert_eq!(done.held_out.len(), 2);
    assert!((done.held_out[0].loss - fixture::loss("prose", 300)).abs() < 1e-12);
    assert!(!runs[0].problems.is_empty());
    let json = serde_json::to_value(done).unwrap();
    assert_eq!(json["status"], "done");

    assert_eq!(list(&root.path().join("b-done")).unwrap().len(), 1, "a run lists itself");
    assert!(list(&root.path().join("missing")).unwrap_err().to_string().contains("hint: "));
}
