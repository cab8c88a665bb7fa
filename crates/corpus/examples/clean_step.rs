//! What a step of cleaning makes of the texts of a JSON lines file, one JSON string a line, as
//! `benches/peers/ftfy_mojibake.py` and `benches/peers/opencc_scripts.py` compare it; or how fast it is, on one core:
//!
//! ```text
//! cargo run --release -p loam-corpus --example clean_step -- FILE STEP > ours.jsonl
//! cargo run --release -p loam-corpus --example clean_step -- FILE --speed
//! ```

use std::error::Error;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

use loam_corpus::clean::Step;
use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("a JSON lines file with the field \"text\"")?;
    let step = arguments.next().ok_or("the name of a step, or --speed")?;
    let mut texts = Vec::new();
    for line in std::fs::read_to_string(path)?.split('\n').filter(|line| !line.is_empty()) {
        let record: Value = serde_json::from_str(line)?;
        texts.push(record["text"].as_str().ok_or("no field \"text\"")?.to_owned());
    }
    let mut output = BufWriter::new(std::io::stdout().lock());
    if step == "--speed" {
        let size = texts.iter().map(String::len).sum::<usize>() as f64 / 1e6;
        for step in Step::ALL {
            step.apply("warm up: 读词典");
            let (mut rounds, start) = (0, Instant::now());
            while start.elapsed() < Duration::from_secs(1) {
                for text in &texts {
                    black_box(step.apply(black_box(text)));
                }
                rounds += 1;
            }
            let seconds = start.elapsed().as_secs_f64() / f64::from(rounds);
            writeln!(output, "{:20} {:8.1} MB/s", step.name(), size / seconds)?;
            output.flush()?;
        }
        return Ok(());
    }
    let step: Step = step.parse()?;
    for text in &texts {
        writeln!(output, "{}", serde_json::to_string(&step.apply(text))?)?;
    }
    Ok(output.flush()?)
}
