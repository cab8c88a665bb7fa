//! What the filters say of the documents of a JSON lines file, one JSON object a line, as
//! `benches/peers/datatrove_filters.py` prints it:
//!
//! ```text
//! cargo run --release -p loam-corpus --example filters_verdicts -- FILE [LANGUAGE] > ours.jsonl
//! python benches/peers/datatrove_filters.py FILE --ours ours.jsonl
//! ```

use std::error::Error;
use std::io::{BufWriter, Write};

use loam_corpus::quality::{Filters, Measure, Preset, Segmentation};
use serde_json::{Map, Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("a JSON lines file with the field \"text\"")?;
    let segmentation = Segmentation::of(&arguments.next().unwrap_or_else(|| "en".to_owned()));
    let mut output = BufWriter::new(std::io::stdout().lock());
    for line in std::fs::read_to_string(path)?.split('\n').filter(|line| !line.is_empty()) {
        let record: Value = serde_json::from_str(line)?;
        let text = record["text"].as_str().ok_or("no field \"text\"")?;
        let mut verdicts = Map::new();
        let mut values = Map::new();
        for preset in Preset::ALL {
            // As they were published, for Chinese too.
            let filters = Filters { adapt_chinese: false, ..Filters::only(&[*preset]) };
            let judged = filters.apply(text, segmentation);
            verdicts.insert(preset.to_string(), json!(judged.verdict));
            let named = |&(measure, value): &(Measure, f64)| (measure.to_string(), json!(value));
            values.extend(judged.values.iter().map(named));
            if *preset == Preset::C4 {
                verdicts.insert("text".to_owned(), json!(judged.text));
            }
        }
        verdicts.insert("values".to_owned(), Value::Object(values));
        writeln!(output, "{}", Value::Object(verdicts))?;
    }
    Ok(output.flush()?)
}
