//! `loam fill-mask`.

use super::Misuse;
use super::texts::Texts;
use crate::arguments::{FillMaskArguments, Global};
use crate::machine;
use crate::terminal::Terminal;
use loam_tasks::{Filled, MaskFiller};
use std::io;
use std::process::ExitCode;

pub fn run(arguments: &FillMaskArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let mut texts = Texts::given(&arguments.given)?;
    let filler = MaskFiller::open(&arguments.model, &device)?;
    let mut done = 0;
    loop {
        let chunk = texts.next_chunk()?;
        if chunk.is_empty() {
            break;
        }
        for text in chunk {
            let filled = filler.fill(&text, arguments.top_k as usize)?;
            if terminal.json() {
                terminal.result(serde_json::to_string(&filled)?)?;
            } else {
                tell(&filled, done, terminal)?;
            }
            done += 1;
        }
    }
    if done == 0 {
        return Err(Misuse("there is no text whose masks could be told".into()).into());
    }
    Ok(ExitCode::SUCCESS)
}

/// A line a candidate; the text before them where there are several texts, and the place of the mask where it has several.
fn tell(filled: &Filled, before: u64, terminal: Terminal) -> io::Result<()> {
    if before > 0 {
        terminal.result("")?;
    }
    terminal.result(&filled.text)?;
    for mask in &filled.masks {
        if filled.masks.len() > 1 {
            terminal.result(format_args!("  token {}", mask.position))?;
        }
        let width = |token: &str| console::measure_text_width(token.trim());
        let widest = mask.candidates.iter().map(|one| width(&one.token)).max().unwrap_or(0);
        for one in &mask.candidates {
            let (token, gap) = (one.token.trim(), " ".repeat(widest - width(&one.token)));
            terminal.result(format_args!("  {:>6.2} %  {token}{gap}  {}", 100.0 * one.probability, one.text))?;
        }
    }
    Ok(())
}
