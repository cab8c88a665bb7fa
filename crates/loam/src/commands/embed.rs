//! `loam embed`.

use super::Misuse;
use super::texts::{CHUNK, Texts};
use crate::arguments::{EmbedArguments, Global, Pooling};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use loam_tasks::{EmbedOptions, Embedder};
use std::process::ExitCode;

/// As the library has it.
pub fn pooling(pooling: Pooling) -> loam_tasks::Pooling {
    match pooling {
        Pooling::Mean => loam_tasks::Pooling::Mean,
        Pooling::Cls => loam_tasks::Pooling::Cls,
        Pooling::Last => loam_tasks::Pooling::Last,
    }
}

/// As a recipe has it.
pub fn pooling_name(pooling: Pooling) -> &'static str {
    match pooling {
        Pooling::Mean => "mean",
        Pooling::Cls => "cls",
        Pooling::Last => "last",
    }
}

/// Says that texts were cut.
pub fn tell_cut(cut: usize, longest: usize, terminal: Terminal) {
    if cut > 0 {
        terminal.warning(format_args!(
            "{} texts are longer than the {} tokens that the model sees; their vectors are of their beginnings",
            count(cut as u64),
            count(longest as u64)
        ));
    }
}

pub fn run(arguments: &EmbedArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let asked = "the text is missing: give --text, --file, or standard input";
    let field = &arguments.text_field;
    let mut texts = Texts::open(&arguments.text, arguments.file.as_deref(), arguments.jsonl, field, asked)?;
    let options = EmbedOptions { pooling: arguments.pooling.map(pooling), normalize: arguments.normalize };
    let embedder = Embedder::open(&arguments.model, options, &device)?;
    let mut watcher = Watcher::new(terminal);
    let (mut done, mut cut) = (0, 0);
    loop {
        let chunk = texts.next_chunk()?;
        if chunk.is_empty() {
            break;
        }
        let (vectors, more) = embedder.embed(&chunk)?;
        cut += more;
        for vector in vectors {
            if terminal.json() {
                terminal.result(serde_json::json!({ "embedding": vector }))?;
            } else {
                let numbers: Vec<String> = vector.iter().map(ToString::to_string).collect();
                terminal.result(numbers.join(" "))?;
            }
        }
        done += chunk.len() as u64;
        if chunk.len() == CHUNK {
            watcher.doing(&format!("{} texts", count(done)));
        }
    }
    watcher.done();
    tell_cut(cut, embedder.longest(), terminal);
    if done == 0 {
        return Err(Misuse("there is no text to embed".into()).into());
    }
    Ok(ExitCode::SUCCESS)
}
