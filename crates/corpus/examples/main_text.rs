//! The main text of pages, in files of their own or in web archives, one JSON object a line with `path`, `offset`, and
//! `text`; with `--markup` also `page`, the page itself as it was decoded, which is how `benches/peers/main_text.py` gets
//! the pages of an archive:
//!
//! ```text
//! cargo run --release -p loam-corpus --example main_text -- [--markup] PATH... > ours.jsonl
//! ```

use std::error::Error;
use std::io::{BufWriter, Write};

use loam_corpus::extract::Markup;
use loam_corpus::{ReadOptions, read_documents};
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let (flags, paths): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let markup = match flags.as_slice() {
        [] => false,
        [flag] if flag == "--markup" => true,
        _ => return Err("only --markup is known, and paths of pages or archives".into()),
    };
    let options = ReadOptions { marked_up: true, ..ReadOptions::default() };
    let mut output = BufWriter::new(std::io::stdout().lock());
    for document in read_documents(&paths, &options)? {
        let document = document?;
        if document.markup != Markup::Page {
            continue;
        }
        let mut line = json!({ "path": document.path, "offset": document.offset });
        if markup {
            line["page"] = json!(document.text);
        }
        line["text"] = json!(document.extracted().text);
        writeln!(output, "{line}")?;
    }
    Ok(output.flush()?)
}
