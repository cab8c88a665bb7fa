//! The page of a run: whole, broken, hostile, unfinished.

mod fixture;

use std::fs;
use std::path::Path;

use loam_report::ReportError;
use loam_train::finetune::Measured;
use loam_train::record::{Event, EventLine};

fn page(run: &Path) -> String {
    let path = loam_report::write(run).unwrap();
    assert_eq!(path, run.join("report.html"));
    fs::read_to_string(path).unwrap()
}

fn run() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("demo");
    fixture::write(&run);
    (folder, run)
}

/// The text of the page: tags taken out, white space evened.
fn words(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for character in html.chars() {
        match character {
            '<' => inside = true,
            '>' => inside = false,
            _ if !inside => text.push(if character == '\u{202f}' { ' ' } else { character }),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_whole_run_is_told_in_words_and_pictures() {
    let (_folder, run) = run();
    let html = page(&run);
    let text = words(&html);
    for expected in [
        "A GPT model of 3.21 M parameters was trained on 2.46 M tokens from 5 sources (code, docs, readmes, changelogs \
         and licenses) for 2 min 2 s on the processor.",
        "Held-out loss on prose fell from 8.34 to 4.12 nats a token, 1.65 bits a byte, 41 % of its tokens right (better than the trigram model’s 4.71)",
        "Token for token, held-out prose was helped most by readmes (3.02 nats for every million tokens)",
        "Over the later half of the run licenses raised the loss on prose by 0.0099 and on code by 0.012 nats.",
        "85 % of the bytes of licenses; that source took 14 % of the training tokens",
        "The books close on prose (residual",
        "went to exact copies.",
        "Most repeated documents",
        "418",
        "3 (1.6 %)",
        "今天天气",
        "The ledger took 6.4 s of wall time, 5.7 % on top of training without it",
        "loam train",
        "width = 192 # &lt;- small",
    ] {
        assert!(text.contains(expected), "missing: {expected}\n{text}");
    }
    assert_eq!(html.matches("<svg").count(), 3 + 2 + 2 * 3 + 2, "curves, small ones, three a domain, books");
    assert!(html.len() < 500_000, "{} bytes", html.len());
    assert!(!html.contains("NaN") && !html.contains("inf"));
    let leftovers = fs::read_dir(&run)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(leftovers.count(), 0, "nothing is left beside the page");
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let (_folder, run) = run();
    let html = page(&run);
    for outside in ["http://", "https://", "<script", "<link", "@import", "src=", "url(http"] {
        assert!(!html.contains(outside), "the page reaches out: {outside}");
    }
    let mut ids: Vec<&str> = html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "ids are unique");
}

#[test]
fn text_from_data_is_text() {
    let (_folder, run) = run();
    let hostile = "<script>alert(\"x\")</script>&amp;'";
    let mut events = fixture::events();
    for line in &mut events {
        match &mut line.event {
            Event::Data { sources, held_out, .. } => {
                sources[0].name = hostile.into();
                sources[0].most_repeated[0].preview = hostile.into();
                sources[0].most_repeated[0].path = hostile.into();
                held_out[0].name = hostile.into();
            }
            Event::Sample { prompt, text, .. } => {
                *prompt = hostile.into();
                *text = format!("\u{0}{hostile}");
            }
            Event::Start { machine, loam, .. } => {
                *machine = hostile.into();
                *loam = hostile.into();
            }
            Event::Baseline { name, domain, .. } => {
                *name = hostile.into();
                *domain = hostile.into();
            }
            Event::Evaluation { domain, .. } => *domain = hostile.into(),
            Event::Finish { reason, .. } => *reason = hostile.into(),
            Event::Model { family, .. } => *family = hostile.into(),
            _ => {}
        }
    }
    fixture::write_events(&run, &events);
    let mut ledger = fixture::ledger();
    for row in &mut ledger {
        row.domain = hostile.into();
        if row.source == "code" {
            row.source = hostile.into();
        }
    }
    fixture::write_ledger(&run, &ledger);
    fs::write(run.join("recipe.toml"), hostile).unwrap();
    let html = page(&run);
    assert!(!html.to_lowercase().contains("<script"), "a script got through");
    assert!(html.contains("&lt;script&gt;") && html.contains("&lt;SCRIPT&gt;"));
}

#[test]
fn broken_records_are_named_and_the_rest_is_shown() {
    let (_folder, run) = run();
    for file in ["metrics.parquet", "ledger.parquet"] {
        let bytes = fs::read(run.join(file)).unwrap();
        fs::write(run.join(file), &bytes[..bytes.len() / 2]).unwrap();
    }
    let mut events = fs::read(run.join("events.jsonl")).unwrap();
    events.truncate(events.len() - 40);
    let cut = events.iter().position(|byte| *byte == b'\n').unwrap();
    events.splice(cut..cut, *b"\n{\"time\":\"x\",\"event\":\"from the future\"}\n\xff\xfe");
    fs::write(run.join("events.jsonl"), events).unwrap();
    fs::remove_file(run.join("recipe.toml")).unwrap();
    let text = words(&page(&run));
    for expected in [
        "The curves cannot be drawn in full",
        "The ledger cannot be shown",
        "The last line of events.jsonl is cut short",
        "2 lines of events.jsonl cannot be read (the first is line 2)",
        "recipe.toml cannot be read",
        "It has not finished: its records end at step 300 of 300.",
        "There is no ledger to say what each source did.",
        "Held-out loss on prose fell from 8.34",
    ] {
        assert!(text.contains(expected), "missing: {expected}\n{text}");
    }
}

#[test]
fn any_prefix_of_the_files_makes_a_page() {
    let (_folder, run) = run();
    let whole: Vec<(&str, Vec<u8>)> = ["events.jsonl", "metrics.parquet", "ledger.parquet"]
        .into_iter()
        .map(|file| (file, fs::read(run.join(file)).unwrap()))
        .collect();
    for tenth in 0..10 {
        for (file, bytes) in &whole {
            fs::write(run.join(file), &bytes[..bytes.len() * tenth / 10]).unwrap();
        }
        assert!(page(&run).contains("</html>"));
    }
    for (file, _) in &whole[1..] {
        fs::remove_file(run.join(file)).unwrap();
    }
    assert!(page(&run).contains("</html>"), "events alone make a page");
}

#[test]
fn books_that_do_not_close_are_said_so() {
    let (_folder, run) = run();
    let mut ledger = fixture::ledger();
    for row in ledger.iter_mut().filter(|row| row.line == "measured" && row.domain == "code") {
        row.value *= 1.4;
    }
    for row in ledger.iter_mut().filter(|row| row.line == "measured" && row.domain == "prose") {
        row.value = f64::NAN;
    }
    fixture::write_ledger(&run, &ledger);
    let text = words(&page(&run));
    assert!(text.contains("The books do not close on code (residual"), "{text}");
    assert!(text.contains("Whether the books close on prose is not known"), "{text}");
    assert!(text.contains("30 intervals are left out for numbers that are not finite"), "{text}");
}

#[test]
fn a_resumed_run_forgets_what_it_redid() {
    let (_folder, run) = run();
    let mut events = fixture::events();
    let mut start = events[0].clone();
    if let Event::Start { resumed_from, .. } = &mut start.event {
        *resumed_from = Some(100);
    }
    events.truncate(60);
    events.push(start);
    events.extend(fixture::events().into_iter().filter(|line| {
        matches!(&line.event, Event::Evaluation { step, .. } if *step > 100)
            || matches!(&line.event, Event::Finish { .. })
    }));
    fixture::write_events(&run, &events);
    let html = page(&run);
    let text = words(&html);
    assert!(text.contains("from step 100 at 2026-01-05T10:12:00.204Z"), "{text}");
    assert!(text.contains("in 2 sessions"), "{text}");
    assert_eq!(html.matches("<circle").count(), 2 * 2 * 16, "each evaluation once, in two charts");
}

#[test]
fn a_run_of_fine_tuning_tells_its_task_and_not_what_it_has_not() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("reviews");
    fixture::write(&run);
    std::fs::remove_file(run.join("ledger.parquet")).unwrap();
    let mut events = fixture::events();
    events.retain(|line| matches!(&line.event, Event::Start { .. } | Event::Model { .. } | Event::Finish { .. }));
    let event = |event: Event| EventLine { time: events[0].time.clone(), event };
    let tuning = Event::FineTuning {
        task: "classify".to_owned(),
        steps: 200,
        epochs: 2.0,
        examples: 3200,
        tokens: 64_000,
        batch: 32,
    };
    let measured = |step, accuracy: f64| Event::Measurement {
        step,
        epoch: step as f64 / 100.0,
        measured: Measured {
            loss: 0.4,
            metrics: [("accuracy".to_owned(), accuracy), ("macro_f1".to_owned(), accuracy - 0.01)].into(),
            deciding: "accuracy".to_owned(),
            examples: 400,
        },
    };
    let more = [event(tuning), event(measured(100, 0.91)), event(measured(200, 0.88))];
    let finish = events.pop().unwrap();
    events.extend(more);
    events.push(finish);
    fixture::write_events(&run, &events);
    let text = words(&page(&run));
    assert!(text.contains("accuracy came to 0.910 at step 100, whose weights were kept"), "{text}");
    assert!(text.contains("accuracy, which decides0.91000.8800"), "{text}");
    for absent in
        ["What the data did", "There is no ledger", "outside the embeddings", "recorded no samples", "loam train"]
    {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
    assert!(text.contains("loam finetune") && text.contains("loam eval classify"), "{text}");
}

#[test]
fn what_is_no_run_is_an_error_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("missing")] {
        let error = loam_report::write(&path).unwrap_err();
        assert!(matches!(error, ReportError::NotARun { .. }));
        assert!(error.to_string().contains("hint: "));
    }
}

/// Writes the synthetic run and its page where `LOAM_FIXTURE` says, to look at.
#[test]
#[ignore = "for looking at the page: LOAM_FIXTURE=DIR cargo test --release --workspace --test page -- --ignored"]
fn a_page_to_look_at() {
    let run = std::path::PathBuf::from(std::env::var("LOAM_FIXTURE").unwrap());
    fixture::write(&run);
    page(&run);
}

#[test]
fn the_best_and_the_worst_documents_are_shown() {
    use loam_train::record::{DocumentSumRow, DocumentValueRow};
    let (_folder, run) = run();
    assert!(!words(&page(&run)).contains("What single documents did"));
    let rows: Vec<DocumentValueRow> = (0..20)
        .flat_map(|number| {
            fixture::DOMAINS.map(|domain| DocumentValueRow {
                id: format!("{number:032x}"),
                source: "code".to_owned(),
                domain: domain.to_owned(),
                value: f64::from(number) / 1e3 - 4e-3,
                standard_error: 2e-3,
                tokens_trained: 512,
                tokens_scored: 256,
                value_scored: f64::from(number) / 1e5,
            })
        })
        .collect();
    let sums = fixture::DOMAINS.map(|domain| DocumentSumRow {
        source: "code".to_owned(),
        domain: domain.to_owned(),
        value: 0.11,
        standard_error: 0.01,
        tokens_trained: 10_240,
        tokens_scored: 5_120,
        rate: 0.02,
    });
    loam_train::table::write(&run.join("document_values.parquet"), &rows).unwrap();
    loam_train::table::write(&run.join("document_sums.parquet"), &sums).unwrap();
    let text = words(&page(&run));
    for expected in [
        "What single documents did",
        "20 documents had text in the micro-batches that were scored, 2 % of all",
        "Documents and the loss on prose",
        "0.015000.002000.742256 of 512code",
        "−0.0040000.0020000.000256 of 512code",
        "Do documents sum to their sources?",
        "codeprose0.11000.0100",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    std::fs::write(run.join("document_values.parquet"), b"PAR1").unwrap();
    assert!(words(&page(&run)).contains("What single documents did cannot be shown"));
}
