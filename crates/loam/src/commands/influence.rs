//! `loam influence`.

use super::Misuse;
use crate::arguments::{Global, InfluenceArguments, methods};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count, counted};
use loam_influence::attribution::{Answers, Attribution, Hit, Method, Progress, Question, Settings};
use loam_influence::documents::{self, DocumentValues};
use loam_influence::ledger::{Ledger, LedgerSummary};
use loam_tasks::rows::Rows;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

/// Characters of a text that are shown on a line.
const SHOWN: usize = 110;

pub fn run(arguments: &InfluenceArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let questions = questions(arguments)?;
    if questions.is_empty() {
        return values(&arguments.run, arguments.top_k as usize, terminal);
    }
    if !(arguments.damping > 0.0 && arguments.damping.is_finite()) {
        return Err(Misuse(format!("--damping {}: give a number above 0", arguments.damping)).into());
    }
    let methods = methods(&arguments.method);
    let settings = Settings {
        dimensions: arguments.dimensions as usize,
        rank: arguments.rank as usize,
        damping: arguments.damping,
        factor_passages: arguments.factor_passages as usize,
        checkpoints: arguments.checkpoints as usize,
        shortest_span: arguments.shortest_span as usize,
        folder: arguments.index.clone(),
        ..Settings::default()
    };
    let device = machine::device(&global.device)?;
    machine::stop_on_interrupt();
    let mut watcher = Watcher::new(terminal);
    let attribution = Attribution {
        questions: &questions,
        methods: &methods,
        settings: &settings,
        stop: &machine::STOP,
        progress: &mut |progress| watcher.doing(&progress_in_words(progress)),
    };
    let answers = loam_train::reopen::reopen(&arguments.run, &device, attribution)?;
    watcher.done();
    for note in &answers.notes {
        terminal.warning(note);
    }
    terminal.say(format_args!(
        "{} in {} at step {}",
        counted(answers.passages.documents.len() as u64, "training document"),
        counted(answers.passages.passages.len() as u64, "passage"),
        count(answers.step)
    ));
    for (number, question) in questions.iter().enumerate() {
        for method in &methods {
            tell(&answers, question, number, *method, arguments.top_k as usize, terminal)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How far an attribution is.
pub fn progress_in_words(progress: Progress) -> String {
    match progress {
        Progress::Gradients { done, of, step } => {
            format!("gradients of {} of {} passages at step {step}", count(done as u64), count(of as u64))
        }
        Progress::Factors { done, of } => format!("factors: {} of {} gradients", count(done as u64), count(of as u64)),
    }
}

fn questions(arguments: &InfluenceArguments) -> anyhow::Result<Vec<Question>> {
    let mut questions = Vec::new();
    if let Some(text) = &arguments.text {
        let prompt = arguments.prompt.clone().unwrap_or_default();
        questions.push(Question::Text { prompt, text: text.clone() });
    }
    questions.extend(arguments.domain.iter().cloned().map(Question::Domain));
    if let Some(file) = &arguments.file {
        let path = file.to_string_lossy().into_owned();
        for row in Rows::read(&[path], loam_corpus::Bytes::default(), &["text".to_owned()])?.rows {
            let Some(text) = row.text("text")? else {
                return Err(Misuse(format!("{}: there is no field \"text\"", row.place())).into());
            };
            questions.push(Question::Text { prompt: row.text("prompt")?.unwrap_or_default(), text });
        }
    }
    Ok(questions)
}

fn words(question: &Question) -> String {
    match question {
        Question::Text { prompt, text } if prompt.is_empty() => text.clone(),
        Question::Text { prompt, text } => format!("{prompt} ⟶ {text}"),
        Question::Domain(name) => format!("held-out {name}"),
        Question::Sequence { domain, number, .. } => format!("sequence {number} of domain {domain}"),
    }
}

fn tell(
    answers: &Answers,
    question: &Question,
    number: usize,
    method: Method,
    most: usize,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let (best, worst) = answers.best_and_worst(method, number, most, most);
    let source = |hit: &Hit| {
        let document = &answers.passages.documents[hit.document];
        answers.prepared.sources().get(document.source).map_or("", |source| source.name.as_str())
    };
    if terminal.json() {
        let object = |hit: &Hit| {
            json!({
                "id": answers.passages.documents[hit.document].id,
                "source": source(hit),
                "score": hit.score,
                "text": answers.passages.text(&answers.prepared, hit.passage),
            })
        };
        let said = match question {
            Question::Text { prompt, text } => json!({ "prompt": prompt, "text": text }),
            Question::Domain(name) => json!({ "domain": name }),
            Question::Sequence { .. } => Value::Null,
        };
        let found: Vec<Value> = best.iter().map(object).collect();
        let against: Vec<Value> = worst.iter().map(object).collect();
        terminal.result(json!({
            "question": said, "method": method.name(), "loss": answers.losses[number],
            "documents": found, "against": against,
        }))?;
        return Ok(());
    }
    terminal.result(format_args!(
        "{}   ({}; loss {:.3} nats a token)",
        short(&words(question)),
        method.name(),
        answers.losses[number]
    ))?;
    for (against, hits) in [(false, &best), (true, &worst)] {
        if against && !hits.is_empty() {
            terminal.result("  against it:")?;
        }
        for hit in hits {
            let id = &answers.passages.documents[hit.document].id;
            let text = short(&answers.passages.text(&answers.prepared, hit.passage));
            terminal.result(format_args!(
                "  {:>11}  {:<14} {}  {text}",
                number_of(hit.score),
                source(hit),
                &id[..id.len().min(10)]
            ))?;
        }
    }
    if best.is_empty() && worst.is_empty() {
        terminal.result("  (no document)")?;
    }
    Ok(())
}

/// To four figures.
fn number_of(score: f64) -> String {
    match score.abs() {
        size if size != 0.0 && !(1e-3..1e5).contains(&size) => format!("{score:.3e}"),
        size if size >= 100.0 => format!("{score:.1}"),
        _ => format!("{score:.4}"),
    }
}

fn short(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= SHOWN { line } else { line.chars().take(SHOWN - 1).chain(['…']).collect() }
}

/// What each source did, from the ledger.
fn values(run: &Path, most: usize, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let path = run.join("ledger.parquet");
    loam_train::Run::open(run)?;
    if !path.is_file() {
        return Err(Misuse(format!(
            "{} has no ledger: it was trained with ledger.enabled = false, or has not come to a checkpoint; a question \
             (--text, --domain) can be asked all the same",
            run.display()
        ))
        .into());
    }
    let summary = Ledger::read(&path)?.summary();
    let valued = if documents::are_in(run) { Some(documents::read(run)?) } else { None };
    if terminal.json() {
        for domain in &summary.domains {
            terminal.result(record("sources", json!(domain)))?;
        }
        if let Some(valued) = &valued {
            for closing in valued.closing() {
                terminal.result(record("closing", json!(closing)))?;
            }
            for extreme in extremes(valued, most)? {
                terminal.result(record("document", extreme))?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = Vec::new();
    lines_of(&summary, &mut |line| lines.push(line));
    for line in lines {
        terminal.result(line)?;
    }
    if let Some(valued) = &valued {
        tell_documents(valued, most, terminal)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn record(kind: &str, mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("record".into(), kind.into());
    }
    object
}

/// The best and the worst documents of every domain, with where they are from and how they begin.
fn extremes(valued: &DocumentValues, most: usize) -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    for domain in valued.domains() {
        for (end, found) in [("best", valued.best(domain, most)), ("worst", valued.worst(domain, most))] {
            let ids: Vec<&str> = found.iter().map(|document| document.id.as_str()).collect();
            let texts = valued.texts(&ids, SHOWN)?;
            for document in &found {
                let mut object = json!(document);
                if let Some(fields) = object.as_object_mut() {
                    let known = texts.get(&document.id);
                    fields.insert("domain".into(), domain.into());
                    fields.insert("end".into(), end.into());
                    fields.insert("path".into(), json!(known.map(|known| &known.path)));
                    fields.insert("text".into(), json!(known.map(|known| &known.text)));
                }
                all.push(object);
            }
        }
    }
    Ok(all)
}

fn tell_documents(valued: &DocumentValues, most: usize, terminal: Terminal) -> anyhow::Result<()> {
    let rate = valued.rate().map_or_else(String::new, |rate| format!(", from {:.0} % of the text", 100.0 * rate));
    terminal.result(format_args!(
        "\n{} with a value{rate}; nats a held-out token, with the standard error of the sample",
        counted(valued.count() as u64, "document")
    ))?;
    let mut last = (String::new(), String::new());
    for object in extremes(valued, most)? {
        let word = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        let here = (word("domain"), word("end"));
        if here != last {
            terminal.result(format_args!("  {} for {}", if here.1 == "best" { "best" } else { "worst" }, here.0))?;
            last = here;
        }
        let number = |key: &str| object[key].as_f64().unwrap_or(f64::NAN);
        let id = word("id");
        terminal.result(format_args!(
            "    {:>+10.5} ± {:<8.5} {:<14} {}  {}",
            number("value"),
            number("standard_error"),
            word("source"),
            id.chars().take(10).collect::<String>(),
            short(&word("text"))
        ))?;
    }
    // Sorted by values, the ends are the luckiest draws of the sample as well.
    let told = valued.domains().flat_map(|domain| [valued.best(domain, most), valued.worst(domain, most)].concat());
    let (clear, all) = told.fold((0_u64, 0_u64), |(clear, all), document| {
        (clear + u64::from(document.value.abs() > 3.0 * document.standard_error), all + 1)
    });
    if 2 * clear < all {
        terminal.warning(format_args!(
            "{clear} of these {all} are further from 0 than three standard errors; a larger ledger.documents_budget, or \
             ledger.documents_rate = 1.0, scores more of the text"
        ));
    }
    let far: Vec<_> =
        valued.closing().into_iter().filter(|sum| sum.deviations().is_some_and(|size| size.abs() > 3.0)).collect();
    for sum in far {
        terminal.warning(format_args!(
            "documents of {} sum to {:.4} nats for {}, and {:.4} were booked to it: further apart than chance explains",
            sum.source,
            sum.documents,
            sum.domain,
            sum.booked.unwrap_or(f64::NAN)
        ));
    }
    Ok(())
}

/// The ledger in a few lines; the report has it whole.
pub fn lines_of(summary: &LedgerSummary, line_of: &mut dyn FnMut(String)) {
    for domain in &summary.domains {
        line_of(format!("  {}", domain.domain));
        for line in &domain.lines {
            let per_token = line
                .value_per_million_tokens
                .map_or_else(String::new, |value| format!("   {value:>8.3} a million tokens"));
            line_of(format!("    {:<16} {:>8.3}{per_token}", line.line.name(), line.value));
        }
        if let (Some(measured), Some(residual)) = (domain.measured, domain.residual) {
            line_of(format!(
                "    {:<16} {:>8.3}   measured {measured:.3}, residual {residual:+.4}",
                "sum", domain.booked
            ));
        }
    }
}
