//! The best label of every line of a file by a model of fastText, with its probability, on standard output; and how long it
//! took, on standard error.
//!
//! ```text
//! cargo run --release -p loam-corpus --example fasttext_labels lid.176.ftz lines.txt [LABEL]
//! ```
//!
//! With a label, its probability alone.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use loam_corpus::FastText;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (model, lines, label) = match &arguments[..] {
        [model, lines] => (model, lines, None),
        [model, lines, label] => (model, lines, Some(label)),
        _ => return Err("MODEL LINES [LABEL]".into()),
    };
    let begun = Instant::now();
    let model = FastText::open(Path::new(model))?;
    let label = label.map(|label| model.label(label).ok_or("no such label")).transpose()?;
    let opened = begun.elapsed();
    let text = std::fs::read_to_string(lines)?;
    let lines: Vec<&str> = text.lines().collect();
    let begun = Instant::now();
    let found: Vec<Option<(usize, f32)>> = lines
        .iter()
        .map(|line| match label {
            Some(label) => Some((label, model.probability(line, label)?)),
            None => model.best(line),
        })
        .collect();
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!(
        "opened in {opened:?}; {} lines in {seconds:.3} s: {:.0} lines/s, {:.1} MB/s",
        lines.len(),
        lines.len() as f64 / seconds,
        text.len() as f64 / 1e6 / seconds
    );
    let names: Vec<&str> = model.labels().collect();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for found in found {
        match found {
            Some((label, probability)) => writeln!(out, "{} {probability:.9}", names[label])?,
            None => writeln!(out, "-")?,
        }
    }
    Ok(())
}
