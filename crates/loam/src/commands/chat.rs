//! `loam chat`.

use super::Misuse;
use crate::arguments::{ChatArguments, Global};
use crate::machine;
use crate::terminal::Terminal;
use anyhow::Context;
use loam_models::sampling::SamplingOptions;
use loam_tasks::chat::{Chat, ChatTemplate, Message, Turn};
use loam_tasks::{LoadedModel, TextOptions};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use serde_json::json;
use std::io::{BufRead, IsTerminal, Read};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Set by Ctrl-C while the model answers.
static ENOUGH: AtomicBool = AtomicBool::new(false);
/// Whether the model is answering.
static ANSWERING: AtomicBool = AtomicBool::new(false);

/// Longest line that is read where nobody types, in bytes.
const LONGEST: u64 = 16 << 20;

const HELP: &str = "  /system TEXT   give the model an instruction; without a text, take it away
  /undo          take back the last question and its answer
  /reset         begin again; the instruction stays
  /save FILE     write the conversation as {\"messages\":[...]}
  /exit          leave; Ctrl-D does too
  Several lines: end a line with \\, or write them between lines of \"\"\". Ctrl-C ends an answer.";

pub fn run(arguments: &ChatArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let sampling = SamplingOptions {
        temperature: arguments.temperature,
        top_p: arguments.top_p,
        seed: arguments.seed,
        repetition_penalty: arguments.repetition_penalty,
        ..SamplingOptions::default()
    };
    sampling.validate().map_err(|error| Misuse(error.to_string()))?;
    let model =
        LoadedModel::open_adapted(&arguments.model, arguments.adapter.as_deref(), &machine::device(&global.device)?)?;
    let folder = model.folder().unwrap_or(&arguments.model).to_owned();
    let template = match &arguments.template {
        Some(name) => ChatTemplate::named(name, &folder)?,
        None => ChatTemplate::of_folder(&folder)?.with_context(|| {
            format!(
                "{} has no chat template, so nothing tells how it was trained to converse, if it was; `loam generate` \
                 lets it write, and --template chatml or --template FILE gives it a layout",
                folder.display()
            )
        })?,
    };
    let mut chat = Chat::new(&model, template);
    if let Some(system) = &arguments.system {
        chat.set_system(system);
    }
    let mut options = TextOptions {
        max_new_tokens: arguments.max_tokens,
        sampling,
        stop: arguments.stop.clone(),
        no_repeat_ngram: 0,
    };
    let _ = ctrlc::set_handler(|| {
        if !ANSWERING.load(Ordering::Relaxed) || ENOUGH.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(machine::INTERRUPTED));
        }
    });
    let typed = std::io::stdin().is_terminal() && !terminal.json();
    let mut input = if typed { Input::typed()? } else { Input::Piped };
    if typed {
        terminal.say(format_args!("{}: /help tells what else there is", folder.display()));
    }
    while let Some(text) = input.next(terminal)? {
        if text.trim().is_empty() {
            continue;
        }
        if typed && text.starts_with('/') {
            match command(&text, &mut chat, terminal) {
                ControlFlow::Continue(()) => continue,
                ControlFlow::Break(()) => break,
            }
        }
        match turn(&mut chat, &text, &options, terminal) {
            Ok(()) => {}
            // A refused turn ends a conversation only where nobody is there to go on.
            Err(error) if typed && !crate::terminal::is_broken_pipe(&error) => {
                terminal.error(crate::terminal::in_words(&error));
            }
            Err(error) => return Err(error),
        }
        // Each turn draws anew, and the conversation still follows from the seed.
        options.sampling.seed = options.sampling.seed.wrapping_add(1);
    }
    Ok(ExitCode::SUCCESS)
}

/// One question and its answer.
fn turn(chat: &mut Chat, text: &str, options: &TextOptions, terminal: Terminal) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut first = None;
    let mut written = Ok(());
    ENOUGH.store(false, Ordering::Relaxed);
    ANSWERING.store(true, Ordering::Relaxed);
    let turn = chat.say(text, options, |piece| {
        first.get_or_insert_with(Instant::now);
        if !terminal.json() && written.is_ok() {
            written = terminal.part(piece);
        }
        let enough = ENOUGH.load(Ordering::Relaxed) || written.is_err();
        if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    ANSWERING.store(false, Ordering::Relaxed);
    let Turn { answer, read, known, dropped } = turn?;
    written?;
    if terminal.json() {
        let line = json!({
            "prompt": text,
            "text": answer.text,
            "tokens": answer.tokens,
            "finish": answer.finish,
            "read": read,
            "known": known,
            "dropped": dropped,
        });
        terminal.result(line)?;
    } else {
        terminal.part("\n")?;
    }
    if dropped > 0 {
        terminal.say(format_args!("the context is full: the {dropped} oldest messages were left out"));
    }
    let seconds = first.map_or(0.0, |first| first.elapsed().as_secs_f64());
    let count = answer.tokens.len();
    if terminal.live() && count > 1 && seconds > 0.0 {
        let waited = first.map_or(0.0, |first| first.duration_since(begun).as_secs_f64());
        terminal.dim(format_args!(
            "{count} tokens, {:.1} a second; {} read in {waited:.1} s",
            (count - 1) as f64 / seconds,
            read - known
        ));
    }
    Ok(())
}

/// What begins with a slash; breaks to leave.
fn command(text: &str, chat: &mut Chat, terminal: Terminal) -> ControlFlow<()> {
    let (name, rest) = text.trim_end().split_once(char::is_whitespace).unwrap_or((text.trim_end(), ""));
    let rest = rest.trim();
    match name {
        "/exit" | "/quit" => return ControlFlow::Break(()),
        "/help" => terminal.say(HELP),
        "/reset" => {
            chat.reset();
            terminal.say("begun again");
        }
        "/undo" if chat.undo() => terminal.say("taken back"),
        "/undo" => terminal.say("there is nothing to take back"),
        "/system" => {
            chat.set_system(rest);
            terminal.say(if rest.is_empty() { "no instruction" } else { "instructed" });
        }
        "/save" if rest.is_empty() => terminal.error("/save FILE: which file?"),
        "/save" => match save(chat.messages(), rest) {
            Ok(()) => terminal.say(format_args!("saved {rest}")),
            Err(error) => terminal.error(crate::terminal::in_words(&error)),
        },
        other => terminal.error(format_args!("there is no {other}; /help lists what there is")),
    }
    ControlFlow::Continue(())
}

fn save(messages: &[Message], file: &str) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(&json!({ "messages": messages }))?;
    std::fs::write(file, text + "\n").with_context(|| file.to_owned())
}

/// Where questions come from.
enum Input {
    Typed(Box<DefaultEditor>),
    Piped,
}

impl Input {
    fn typed() -> anyhow::Result<Self> {
        Ok(Self::Typed(Box::new(DefaultEditor::new()?)))
    }

    /// The next question; none at the end.
    fn next(&mut self, terminal: Terminal) -> anyhow::Result<Option<String>> {
        let Self::Typed(editor) = self else {
            return piped_line(terminal);
        };
        let (mut text, mut block) = (String::new(), false);
        loop {
            let prompt = if text.is_empty() && !block { "» " } else { "… " };
            let line = match editor.readline(prompt) {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => {
                    // What was begun is dropped; nothing else happens.
                    (text, block) = (String::new(), false);
                    terminal.say("Ctrl-D or /exit leaves");
                    continue;
                }
                Err(ReadlineError::Eof) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            if line.trim() == "\"\"\"" {
                if block {
                    break;
                }
                block = true;
            } else if block {
                text.push_str(&line);
                text.push('\n');
            } else if let Some(line) = line.strip_suffix('\\') {
                text.push_str(line);
                text.push('\n');
            } else {
                text.push_str(&line);
                break;
            }
        }
        let text = text.trim_end_matches('\n').to_owned();
        let _ = editor.add_history_entry(&text);
        Ok(Some(text))
    }
}

/// A question a line; with `--json`, `{"prompt":…}` or plain text.
fn piped_line(terminal: Terminal) -> anyhow::Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(LONGEST).read_until(b'\n', &mut bytes)?;
    if read == 0 {
        return Ok(None);
    }
    if read as u64 == LONGEST {
        anyhow::bail!("standard input: a line of more than {LONGEST} bytes");
    }
    let line = String::from_utf8(bytes).context("standard input is not UTF-8 text")?;
    let line = line.trim_end_matches(['\n', '\r']).to_owned();
    if terminal.json() && line.trim_start().starts_with('{') {
        return super::generate::prompt_of(&line, "standard input").map(Some);
    }
    Ok(Some(line))
}
