//! Key figures, samples, the run's circumstances, and how to do it again.

use serde::Serialize;

use super::Figure;
use crate::facts::{Facts, Sample};
use crate::folder::RunFolder;
use crate::numbers::{self, grouped};

/// A prompt and what the model added.
#[derive(Serialize)]
pub(super) struct SampleView {
    prompt: String,
    text: String,
    temperature: String,
}

/// A command and what it is for.
#[derive(Serialize)]
pub(super) struct Command {
    purpose: &'static str,
    command: String,
}

/// One line under the title: when, on what, how it ended.
pub(super) fn subtitle(facts: &Facts) -> String {
    let mut parts = vec!["Loam training run".to_owned()];
    if let Some(session) = facts.sessions.first() {
        parts.push(clock(&session.time));
    }
    if let Some(session) = facts.sessions.last() {
        parts.push(session.machine.clone());
    }
    parts.push(
        match facts.finish.as_ref().map(|finish| finish.reason.as_str()) {
            Some("done") => "done",
            Some("interrupted") => "interrupted",
            Some("early_stop") => "stopped early",
            Some("non_finite") => "stopped on a non-finite loss",
            Some(_) => "ended",
            None => "not finished",
        }
        .to_owned(),
    );
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

/// `2026-01-05T10:11:12.345Z` as `2026-01-05 10:11 UTC`.
fn clock(time: &str) -> String {
    match (time.get(..10), time.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
        _ => time.to_owned(),
    }
}

pub(super) fn figures(facts: &Facts) -> Vec<Figure> {
    let figure = |label: &str, value: String, note: String| Figure { label: label.to_owned(), value, note };
    let mut figures = Vec::new();
    if let Some(model) = &facts.model {
        let note = if facts.task.is_some() {
            format!("{}, width {}", numbers::counted(model.layers as u64, "layer", "layers"), model.width)
        } else {
            format!("{} outside the embeddings", numbers::compact(model.non_embedding_parameters as f64))
        };
        figures.push(figure("parameters", numbers::compact(model.parameters as f64), note));
    }
    if facts.tokens > 0 {
        let note = format!("{} steps", grouped(facts.step));
        figures.push(figure("training tokens", numbers::compact(facts.tokens as f64), note));
    }
    if let Some(seconds) = facts.seconds {
        let sessions = facts.sessions.len();
        let note = if sessions > 1 { format!("in {sessions} sessions") } else { "one session".to_owned() };
        figures.push(figure("training time", numbers::duration(seconds), note));
    }
    let speed = facts.finish.as_ref().map(|finish| finish.tokens_per_second).filter(|speed| *speed > 0.0);
    if let Some(speed) = speed {
        let threads = facts.sessions.last().map(|session| session.threads);
        let note = threads.map(|threads| numbers::counted(threads as u64, "thread", "threads")).unwrap_or_default();
        figures.push(figure("tokens a second", numbers::compact(speed), note));
    }
    for (domain, evaluation) in facts.last_losses().take(4) {
        if let Some(bits) = evaluation.bits_per_byte.filter(|bits| bits.is_finite()) {
            let note = format!("{} nats a token, held out", numbers::fixed(evaluation.loss, 3));
            figures.push(figure(&format!("bits a byte, {domain}"), numbers::fixed(bits, 3), note));
        }
    }
    figures
}

pub(super) fn samples(facts: &Facts) -> Vec<SampleView> {
    let view = |sample: &Sample| SampleView {
        prompt: visible(&sample.prompt),
        text: visible(&sample.text),
        temperature: if sample.temperature == 0.0 {
            "greedy".to_owned()
        } else {
            format!("temperature {}", sample.temperature)
        },
    };
    facts.samples.iter().map(view).collect()
}

/// Text with control characters other than tabs and line ends made visible.
pub(super) fn visible(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\t' => character,
            control if (control as u32) < 0x20 => char::from_u32(0x2400 + control as u32).unwrap_or('\u{fffd}'),
            '\u{7f}' => '\u{2421}',
            other => other,
        })
        .collect()
}

pub(super) fn rows(folder: &RunFolder, facts: &Facts) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            rows.push((name.to_owned(), value));
        }
    };
    row("folder", folder.path.display().to_string());
    if let Some(model) = &facts.model {
        let outside = if facts.task.is_some() {
            String::new()
        } else {
            format!(" ({} outside the embeddings)", grouped(model.non_embedding_parameters))
        };
        let shape = format!(
            "{}: {} parameters{outside}, width {}, {} layers, {} heads, context {}",
            model.family,
            grouped(model.parameters),
            model.width,
            model.layers,
            model.heads,
            model.context
        );
        row("model", shape);
    }
    if let Some((kind, vocabulary, origin)) = &facts.tokenizer {
        row("tokenizer", format!("{kind}, {} tokens, {origin}", grouped(*vocabulary as u64)));
    }
    if let Some((steps, batch, micro)) = facts.plan {
        let (steps, batch, micro) = (grouped(steps), grouped(batch as u64), grouped(micro as u64));
        let plan = match &facts.task {
            Some(task) => format!("{steps} steps of {} examples, about {batch} tokens", task.batch),
            None => format!("{steps} steps of {batch} tokens, in micro-batches of {micro} tokens of one source"),
        };
        row("plan", plan);
    }
    if let Some(session) = facts.sessions.last() {
        row("machine", session.machine.clone());
        row("device", session.device.clone());
        row("threads", session.threads.to_string());
        row("precision of products", session.precision.clone());
        row("seed", session.seed.to_string());
        row("Loam", session.loam.clone());
    }
    row("started", facts.sessions.first().map(|session| session.time.clone()).unwrap_or_default());
    let resumed = facts.sessions.iter().filter_map(|session| Some((session.resumed_from?, &session.time)));
    let resumed: Vec<String> = resumed.map(|(step, time)| format!("from step {} at {time}", grouped(step))).collect();
    row("resumed", resumed.join("; "));
    if let Some(finish) = &facts.finish {
        row("ended", format!("{} ({}, step {})", finish.time, finish.reason.replace('_', " "), grouped(finish.step)));
        row("weights (BLAKE3)", finish.weights_hash.clone());
    }
    row("data (BLAKE3)", facts.data_hash.clone().unwrap_or_default());
    if let Some((step, path)) = &facts.best_checkpoint {
        row("best checkpoint", format!("{path} (step {})", grouped(*step)));
    }
    rows
}

pub(super) fn commands(folder: &RunFolder, facts: &Facts) -> Vec<Command> {
    let run = quoted(&folder.path.display().to_string());
    let again = quoted(&format!("runs/{}-again", folder.name));
    let within = |name: &str| quoted(&folder.path.join(name).display().to_string());
    let prompt = facts.samples.first().map_or("Once upon a time", |sample| sample.prompt.as_str());
    let mut commands = Vec::new();
    let mut command = |purpose, command: String| commands.push(Command { purpose, command });
    if let Some(task) = &facts.task {
        if folder.recipe.is_some() {
            command("Train it again", format!("loam finetune {} -o {again}", within("recipe.toml")));
            if facts.finish.as_ref().is_none_or(|finish| finish.reason == "interrupted") {
                command("Go on with this run", format!("loam finetune --resume -o {run}"));
            }
        }
        command("Measure it", format!("loam eval {} --model {run} --data FILE", quoted(&task.name)));
        command("Draw this page anew", format!("loam report {run}"));
        return commands;
    }
    if folder.recipe.is_some() {
        command("Train it again", format!("loam train {} -o {again}", within("recipe.toml")));
    }
    if facts.finish.as_ref().is_none_or(|finish| finish.reason == "interrupted") && folder.recipe.is_some() {
        command("Go on with this run", format!("loam train {} -o {run} --resume", within("recipe.toml")));
    }
    command("Let it write", format!("loam generate --model {} {}", within("model"), quoted_prompt(prompt)));
    command("Score a text", format!("loam score --model {} --file FILE --json", within("model")));
    if folder.ledger.is_some() {
        let sql = "SELECT domain, source, sum(value) AS nats FROM ledger WHERE line = 'source' \
                   GROUP BY domain, source ORDER BY nats DESC";
        command("Ask the ledger", format!("loam query \"{sql}\" {run}"));
    }
    command("Draw this page anew", format!("loam report {run}"));
    commands
}

fn quoted_prompt(prompt: &str) -> String {
    let line: String = prompt.lines().next().unwrap_or_default().chars().take(60).collect();
    quoted(if line.trim().is_empty() { "Once upon a time" } else { &line })
}

/// A word as a POSIX shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{clock, quoted, visible};

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("/runs/a-1"), "/runs/a-1");
        assert_eq!(quoted("it's $HOME"), "'it'\\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn odd_times_and_characters_show() {
        assert_eq!(clock("2026-01-05T10:11:12Z"), "2026-01-05 10:11 UTC");
        assert_eq!(clock("soon"), "soon");
        assert_eq!(visible("a\u{0}\tb"), "a␀\tb");
    }
}
