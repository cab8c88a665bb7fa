//! Filling one JSON lines file up to its cap, evenly from all crates.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::files::{CrateFile, CrateFiles, Kind};
use crate::error::CorpusError;

/// Files read at once.
const ROUND: usize = 64;

pub(super) struct Collector {
    folder: PathBuf,
    /// Bytes of text written, by name.
    pub(super) bytes: BTreeMap<String, u64>,
}

impl Collector {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf(), bytes: BTreeMap::new() }
    }

    /// Writes `name.jsonl` with these kinds of text from the crates: the first file of each, then the
    /// second of each, and so on until `cap` bytes of text are reached or all is read.
    pub(super) fn write(
        &mut self,
        name: &str,
        crates: &[&CrateFiles],
        kinds: &[Kind],
        cap: u64,
    ) -> Result<(), CorpusError> {
        let path = self.folder.join(format!("{name}.jsonl"));
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(CorpusError::io("create", parent))?;
        }
        let mut queues: Vec<_> = crates
            .iter()
            .map(|files| {
                let all = kinds.iter().flat_map(|&kind| files.of(kind).map(move |file| (kind, file)));
                (files.label.as_str(), all)
            })
            .collect();
        let file = File::create(&path).map_err(CorpusError::io("write", &path))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let mut total = 0;
        'filling: while !queues.is_empty() {
            let mut order: Vec<(&str, Kind, &CrateFile)> = Vec::new();
            queues.retain_mut(|(label, queue)| match queue.next() {
                Some((kind, file)) => {
                    order.push((label, kind, file));
                    true
                }
                None => false,
            });
            for round in order.chunks(ROUND) {
                let texts: Vec<Option<String>> = round.par_iter().map(|(_, kind, file)| file.read(*kind)).collect();
                for ((label, _, file), text) in round.iter().zip(texts) {
                    let Some(text) = text else { continue };
                    if total + text.len() as u64 > cap {
                        break 'filling;
                    }
                    total += text.len() as u64;
                    let record = serde_json::json!({ "text": text, "crate": label, "path": file.path });
                    writeln!(out, "{record}").map_err(CorpusError::io("write", &path))?;
                }
            }
        }
        out.flush().map_err(CorpusError::io("write", &path))?;
        if total == 0 {
            std::fs::remove_file(&path).map_err(CorpusError::io("remove", &path))?;
        }
        self.bytes.insert(name.to_owned(), total);
        Ok(())
    }
}
