//! How fast the filters are, on one core: megabytes of text a second. Each document counts with the fastest of several
//! rounds, so that other work on the machine does not.
//!
//! ```text
//! cargo run --release -p loam-corpus --example filters_speed -- FILE [LANGUAGE]
//! ```

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use loam_corpus::quality::{Filters, Preset, Segmentation, Workspace};
use loam_corpus::redact::Redactor;
use serde_json::Value;

const ROUNDS: usize = 15;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("a JSON lines file with the field \"text\"")?;
    let segmentation = Segmentation::of(&arguments.next().unwrap_or_else(|| "en".to_owned()));
    let mut texts = Vec::new();
    for line in std::fs::read_to_string(path)?.split('\n').filter(|line| !line.is_empty()) {
        let record: Value = serde_json::from_str(line)?;
        texts.push(record["text"].as_str().ok_or("no field \"text\"")?.to_owned());
    }
    let bytes: usize = texts.iter().map(String::len).sum();
    println!("{} documents, {:.2} MB", texts.len(), bytes as f64 / 1e6);
    let mut workspace = Workspace::default();
    let each = Preset::ALL.iter().map(|preset| (preset.name(), Filters::only(&[*preset])));
    for (name, filters) in each.chain([("all four", Filters::default())]) {
        let speed = best(&texts, |text| {
            black_box(filters.apply_with(text, segmentation, &mut workspace));
        });
        println!("{name:18} {speed:8.1} MB/s");
    }
    let redactor = Redactor::default();
    let speed = best(&texts, |text| {
        black_box(redactor.redact(text));
    });
    println!("{:18} {speed:8.1} MB/s", "redaction");
    Ok(())
}

/// Megabytes a second.
fn best<'t>(texts: &'t [String], mut work: impl FnMut(&'t str)) -> f64 {
    let mut fastest = vec![f64::INFINITY; texts.len()];
    for _ in 0..ROUNDS {
        for (text, fastest) in texts.iter().zip(&mut fastest) {
            let start = Instant::now();
            work(text);
            *fastest = fastest.min(start.elapsed().as_secs_f64());
        }
    }
    let bytes: usize = texts.iter().map(String::len).sum();
    bytes as f64 / 1e6 / fastest.iter().sum::<f64>()
}
