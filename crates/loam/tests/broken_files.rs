//! Files that are cut, mixed up or lie: every reader says what is wrong, and none panics.
//!
//! Each valid file is damaged a few hundred times, from seeds, and read. What a reader accepts is its own business;
//! what it must never do is panic, hang, or take memory that the file does not have.

use loam_corpus::{Prepared, ReadOptions, Tokenizer, read_documents};
use loam_models::Gpt;
use loam_nn::burn::tensor::Device;
use loam_train::{Recipe, Run, checkpoint};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DAMAGES: u64 = 250;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = loam_nn::initialize::mix(self.0);
        self.0
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }
}

/// What tends to hurt: ends of ranges, depth, other types.
const NASTY: [&[u8]; 12] = [
    b"18446744073709551615",
    b"-1",
    b"1e308",
    b"null",
    b"[[[[[[[[",
    b"{}",
    b"\"\"",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x00\x00\x00\x00",
    b"\xe4\xb8",
    b"NaN",
    b"9999999999",
];

fn damaged(good: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            2 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            3 => {
                let end = (at + random.below(40)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let piece = NASTY[random.below(NASTY.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            _ => {
                // A number becomes another one: sizes and offsets that lie.
                let digits = |byte: &u8| byte.is_ascii_digit();
                if let Some(start) = bytes[at..].iter().position(digits).map(|offset| at + offset) {
                    let end = start + bytes[start..].iter().take_while(|byte| digits(byte)).count();
                    let piece = NASTY[random.below(NASTY.len())];
                    bytes.splice(start..end, piece.iter().copied());
                }
            }
        }
    }
    bytes
}

/// Damages `file` again and again and reads it each time; puts it back at the end.
fn survives(file: &Path, read: impl Fn()) {
    let good = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    for seed in 0..DAMAGES {
        let bytes = damaged(&good, &mut Random(seed));
        fs::write(file, &bytes).unwrap();
        let result = catch_unwind(AssertUnwindSafe(&read));
        assert!(result.is_ok(), "{} damaged from seed {seed} made its reader panic", file.display());
    }
    fs::write(file, good).unwrap();
}

/// A small run, with everything that a run leaves.
fn run(folder: &Path) -> PathBuf {
    let lines: Vec<String> =
        (0..300).map(|i| format!("{{\"text\": \"Number {i} comes after {}, 数字。\"}}", i - 1)).collect();
    fs::write(folder.join("numbers.jsonl"), lines.join("\n")).unwrap();
    let recipe = "data.train = [\"numbers.jsonl\"]\n[tokenizer]\nvocab = 300\n[model]\nwidth = 16\nlayers = 1\nheads = 2\n\
                  context = 16\n[train]\nsteps = 6\nbatch_tokens = 64\neval_every = 3\ncheckpoint_every = 3\n";
    fs::write(folder.join("recipe.toml"), recipe).unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_loam"))
        .args(["train", "recipe.toml", "-o", "run", "--quiet"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    folder.join("run")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

#[test]
fn no_reader_panics_on_a_damaged_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let run_folder = run(at);
    let device = Device::flex();
    let model = run_folder.join("model");
    for file in ["config.json", "model.safetensors"] {
        survives(&model.join(file), || drop(Gpt::load(&model, &device)));
    }
    survives(&model.join("tokenizer.json"), || {
        if let Ok(tokenizer) = Tokenizer::open(&model) {
            let ids = tokenizer.encode("Number 7, 数字 and more.");
            tokenizer.decode(&ids);
        }
    });
    survives(&at.join("recipe.toml"), || drop(Recipe::load(&at.join("recipe.toml"), &[])));
    survives(&run_folder.join("recipe.toml"), || drop(Recipe::load(&run_folder.join("recipe.toml"), &[])));
    let read_all = |path: &Path| {
        let patterns = [path.display().to_string()];
        if let Ok(documents) = read_documents(&patterns, &ReadOptions::default()) {
            documents.for_each(drop);
        }
    };
    let texts = at.join("texts");
    fs::create_dir(&texts).unwrap();
    let good = fs::read(at.join("numbers.jsonl")).unwrap();
    for name in ["a.jsonl", "a.txt", "a.md"] {
        fs::write(texts.join(name), &good).unwrap();
        survives(&texts.join(name), || read_all(&texts.join(name)));
    }
    fs::write(texts.join("a.json"), "[{\"text\": \"one\"}, {\"text\": \"two\", \"n\": 3}]").unwrap();
    survives(&texts.join("a.json"), || read_all(&texts.join("a.json")));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut packed, &good).unwrap();
    fs::write(texts.join("a.jsonl.gz"), packed.finish().unwrap()).unwrap();
    survives(&texts.join("a.jsonl.gz"), || read_all(&texts.join("a.jsonl.gz")));
    let checkpoints = run_folder.join("checkpoints");
    let step = checkpoint::folder(&checkpoints, 6);
    for file in files_below(&step) {
        survives(&file, || {
            let _ = checkpoint::verify(&step);
            let _ = checkpoint::read::<checkpoint::State>(&step, &[], &[], &device);
        });
    }
    let data = run_folder.join("data");
    for file in files_below(&data) {
        survives(&file, || {
            if let Ok(prepared) = Prepared::open(&data) {
                for source in 0..prepared.sources().len() {
                    prepared.train_stream(source).iter().for_each(drop);
                }
            }
        });
    }
    survives(&run_folder.join("events.jsonl"), || {
        let _ = Run::open(&run_folder).and_then(|run| run.read_events());
        let _ = loam_report::write(&run_folder);
    });
    for table in ["metrics.parquet", "ledger.parquet", "documents.parquet"] {
        survives(&run_folder.join(table), || {
            let _ = loam_influence::ledger::Ledger::read(&run_folder.join("ledger.parquet"));
            let _ = loam_report::write(&run_folder);
        });
    }
}
