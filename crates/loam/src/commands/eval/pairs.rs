//! What the evaluations of models that write have in common: pairs, and what is written of their sources.

use super::write_whole;
use crate::arguments::PairsArguments;
use crate::commands::translate::{in_a_line, options};
use crate::commands::{Misuse, text_file};
use crate::progress::Watcher;
use crate::terminal::{Terminal, count};
use loam_nn::burn::tensor::Device;
use loam_tasks::writing::{Pair, Writer, WritingTask, read_pairs};

use std::path::Path;

/// Pairs, with what was written of their sources.
pub struct Answered {
    pub pairs: Vec<Pair>,
    pub written: Vec<String>,
    /// By the other model.
    pub other: Option<Vec<String>>,
}

/// Reads the pairs and has their sources written anew.
pub fn answered(
    task: WritingTask,
    arguments: &PairsArguments,
    device: &Device,
    terminal: Terminal,
) -> anyhow::Result<Answered> {
    let measure = &arguments.measure;
    let mut pairs = read_pairs(task, &measure.data, &arguments.targets, &arguments.fields, measure.reading.bytes())?;
    let given = match &arguments.texts {
        Some(_) if measure.against.is_some() => {
            return Err(Misuse("--against compares with a model; name the first one with --model".into()).into());
        }
        Some(path) => {
            let lines: Vec<String> = text_file(path)?.lines().map(str::to_owned).collect();
            if lines.len() != pairs.len() {
                let (own, others) = (lines.len(), pairs.len());
                let message = format!("{} has {own} lines, and there are {others} references", path.display());
                return Err(Misuse(message).into());
            }
            Some(lines)
        }
        None => None,
    };
    let asked = spread(pairs.len(), arguments.limit);
    let given = given.map(|lines| asked.iter().map(|&index| lines[index].clone()).collect::<Vec<_>>());
    pairs = asked.iter().map(|&index| pairs[index].clone()).collect();
    let options = options(&arguments.writing);
    let mut watcher = Watcher::new(terminal);
    let mut ask = |path: &Path| -> anyhow::Result<Vec<String>> {
        let writer = Writer::open(path, task, arguments.writing.prompt.as_deref(), device)?;
        let sources: Vec<String> = pairs.iter().map(|pair| pair.source.clone()).collect();
        let written = writer.write(&sources, &options, &mut |done| {
            watcher.doing(&format!("{} of {} texts", count(done as u64), count(sources.len() as u64)));
        })?;
        watcher.done();
        let told = written.into_iter().enumerate().map(|(number, one)| match one {
            Ok(written) => written.text,
            Err(message) => {
                terminal.warning(format_args!("text {}: {message}; it counts as empty", number + 1));
                String::new()
            }
        });
        Ok(told.collect())
    };
    let written = match (given, &arguments.model) {
        (Some(lines), _) => lines,
        (None, Some(model)) => ask(model)?,
        (None, None) => return Err(Misuse("give --model, or --texts".into()).into()),
    };
    let other = measure.against.as_ref().map(|other| ask(other)).transpose()?;
    if let Some(path) = &arguments.predictions {
        let lines: String = written.iter().flat_map(|text| [in_a_line(text), "\n".to_owned()]).collect();
        write_whole(path, lines.as_bytes())?;
    }
    Ok(Answered { pairs, written, other })
}

/// The numbers of those that are asked: all, or so many spread over them.
fn spread(all: usize, limit: Option<u32>) -> Vec<usize> {
    match limit.map(|limit| limit as usize).filter(|&limit| limit < all) {
        None => (0..all).collect(),
        Some(limit) => (0..limit).map(|number| number * all / limit).collect(),
    }
}
