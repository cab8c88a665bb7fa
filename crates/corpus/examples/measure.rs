//! Measures preparing a corpus: `measure OUT VOCABULARY PATH…`, or `measure OUT VOCABULARY --cargo` for the
//! crates that are unpacked on this machine.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use loam_corpus::{
    Bytes, CargoCaps, CargoSources, Framing, Loader, PreparePlan, Progress, SourcePlan, TokenizerKind, TokenizerPlan,
    prepare,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [out, vocabulary, paths @ ..] = arguments.as_slice() else {
        return Err("usage: measure OUT VOCABULARY PATH…|--cargo".into());
    };
    let out = Path::new(out);
    let mut sources = vec![SourcePlan::new("text", paths.to_vec())];
    let mut held_out = Vec::new();
    if paths == ["--cargo"] {
        let begin = Instant::now();
        let corpus = CargoSources::find(unpacked()?, None)?.write(&out.join("corpus"), &CargoCaps::default())?;
        println!(
            "collected from {} crates, {} held out, in {:.1} s: {:?}",
            corpus.crates_used.len(),
            corpus.crates_held_out.len(),
            begin.elapsed().as_secs_f64(),
            corpus.bytes
        );
        (sources, held_out) = (corpus.sources, corpus.held_out);
    }
    let tokenizer =
        TokenizerPlan::Train { kind: TokenizerKind::Bpe, vocabulary: vocabulary.parse()?, framing: Framing::Plain };
    let plan = PreparePlan { sources, held_out, tokenizer, conversations: None, bytes: Bytes::default() };
    let begin = Instant::now();
    let mut stages: BTreeMap<&str, f64> = BTreeMap::new();
    let prepared = prepare(&plan, &out.join("prepared"), &mut |progress| {
        let stage = match progress {
            Progress::Found { .. } => "1 find",
            Progress::Reading { .. } => "2 read and count copies",
            Progress::TrainingTokenizer { .. } => "3 count words",
            Progress::TokenizerReady { .. } => "4 tokenizer ready",
            Progress::Tokenizing { .. } => "5 tokenize",
            Progress::PassedOver(_) | Progress::PassedOverMore(_) => return,
            Progress::Finishing => "6 begin to finish",
        };
        stages.insert(stage, begin.elapsed().as_secs_f64());
    })?;
    println!("prepared in {:.1} s; each stage done at {stages:.2?}", begin.elapsed().as_secs_f64());
    println!("vocabulary {}, hash {}", prepared.tokenizer().vocabulary(), prepared.hash());
    for source in prepared.sources() {
        println!(
            "{}: {} documents, {} duplicates of {} bytes, {} bytes, {} tokens, share {:.3}",
            source.name,
            source.documents,
            source.duplicate_documents,
            source.duplicate_bytes,
            source.bytes,
            source.tokens,
            source.share
        );
        for repeated in source.most_repeated.iter().take(3) {
            println!("    {} × {} bytes: {} ({})", repeated.copies, repeated.bytes, repeated.preview, repeated.path);
        }
    }
    for domain in prepared.held_out() {
        println!(
            "held out {}: {} documents, {} bytes, {} tokens, {} also in training",
            domain.name, domain.documents, domain.bytes, domain.tokens, domain.overlap_documents
        );
    }
    let begin = Instant::now();
    let mut loader = Loader::new(&prepared, 256, 8, 1)?;
    let tokens: usize = (0..2000).map(|_| loader.next().tokens).sum();
    println!("loader: {:.0} million tokens/s", tokens as f64 / begin.elapsed().as_secs_f64() / 1e6);
    Ok(())
}

/// Every crate that is unpacked in the Cargo home.
fn unpacked() -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => home.into(),
        None => std::env::home_dir().ok_or("no home folder")?.join(".cargo"),
    };
    let mut crates = Vec::new();
    for index in std::fs::read_dir(home.join("registry").join("src"))? {
        for folder in std::fs::read_dir(index?.path())? {
            let label = folder?.file_name().to_string_lossy().into_owned();
            let cut =
                label.match_indices('-').find(|(at, _)| label[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
            crates.extend(cut.map(|(at, _)| (label[..at].to_owned(), label[at + 1..].to_owned())));
        }
    }
    crates.sort();
    Ok(crates)
}
