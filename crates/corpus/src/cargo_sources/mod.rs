//! The demonstration's corpus: text that every Rust user already has on disk.
//!
//! A demonstration that downloads fails on a train, and one on toy text shows nothing. The crates that this
//! program itself was built from are real text of five very different kinds, they are already unpacked where
//! Cargo keeps them, and their licenses repeat almost word for word, which makes duplicates worth measuring.
//! Whole crates are held out, because the files of one crate quote each other.

mod collect;
mod files;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::CorpusError;
use crate::prepare::{HeldOutPlan, SourcePlan};
use crate::write::{FolderInMaking, replace_file};
use collect::Collector;
use files::CrateFiles;

/// The file that makes a folder one of ours.
const MARKER: &str = "cargo-sources.json";

/// How much text each source may have, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CargoCaps {
    /// Rust without comments.
    pub code: u64,
    /// Doc comments as prose.
    pub docs: u64,
    /// README files.
    pub readmes: u64,
    /// Change logs.
    pub changelogs: u64,
    /// License texts.
    pub licenses: u64,
    /// Each of the two held-out domains.
    pub held_out: u64,
}

impl Default for CargoCaps {
    /// About 20 MB in all, of a mix like that of the crates themselves.
    fn default() -> Self {
        Self {
            code: 8_000_000,
            docs: 5_000_000,
            readmes: 3_000_000,
            changelogs: 2_500_000,
            licenses: 1_500_000,
            held_out: 250_000,
        }
    }
}

/// The unpacked sources of crates.
#[derive(Clone, Debug)]
pub struct CargoSources {
    crates: Vec<Unpacked>,
    missing: usize,
}

#[derive(Clone, Debug)]
struct Unpacked {
    name: String,
    version: String,
    folder: PathBuf,
}

/// What [`CargoSources::write`] made.
#[derive(Clone, Debug, PartialEq)]
pub struct CargoCorpus {
    /// `code`, `docs`, `readmes`, `changelogs` and `licenses`, as far as there is text for them.
    pub sources: Vec<SourcePlan>,
    /// `prose` (docs and READMEs) and `code` of the held-out crates. Empty when there are too few crates,
    /// so that a part of each source will be held out instead.
    pub held_out: Vec<HeldOutPlan>,
    /// Crates trained on, as `name-version`, sorted.
    pub crates_used: Vec<String>,
    /// Crates held out, as `name-version`, sorted.
    pub crates_held_out: Vec<String>,
    /// Crates that were asked for and are not unpacked here.
    pub crates_missing: usize,
    /// Bytes of text by source and domain (`held_out/…`).
    pub bytes: BTreeMap<String, u64>,
}

impl CargoSources {
    /// Finds where crates (name, version) are unpacked below a Cargo home (`registry/src/*/NAME-VERSION`).
    ///
    /// Without `cargo_home`, it is `CARGO_HOME` or `.cargo` in the user's home. Crates that are not there
    /// are left out; an error when none is.
    pub fn find<N: AsRef<str>, V: AsRef<str>>(
        crates: impl IntoIterator<Item = (N, V)>,
        cargo_home: Option<&Path>,
    ) -> Result<Self, CorpusError> {
        let home = cargo_home.map(Path::to_path_buf).or_else(default_cargo_home);
        let registry = home.unwrap_or_else(|| PathBuf::from(".cargo")).join("registry").join("src");
        let mut roots: Vec<PathBuf> = std::fs::read_dir(&registry)
            .map(|entries| {
                entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
            })
            .unwrap_or_default();
        roots.sort();
        let mut found: Vec<Unpacked> = Vec::new();
        let mut missing = 0;
        for (name, version) in crates {
            let (name, version) = (name.as_ref(), version.as_ref());
            let plain = |text: &str| !text.is_empty() && !text.contains(['/', '\\']) && !text.starts_with('.');
            let folder = (plain(name) && plain(version))
                .then(|| roots.iter().map(|root| root.join(format!("{name}-{version}"))).find(|folder| folder.is_dir()))
                .flatten();
            match folder {
                Some(folder) => found.push(Unpacked { name: name.to_owned(), version: version.to_owned(), folder }),
                None => missing += 1,
            }
        }
        if found.is_empty() {
            return Err(CorpusError::NotFound {
                pattern: registry.display().to_string(),
                message: "none of the crates that this program was built from is unpacked here".to_owned(),
                hint: "set CARGO_HOME if Cargo's home is elsewhere, or train on your own files: loam train RECIPE"
                    .to_owned(),
            });
        }
        found.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        found.dedup_by(|a, b| a.folder == b.folder);
        Ok(Self { crates: found, missing })
    }

    /// Crates found.
    pub fn len(&self) -> usize {
        self.crates.len()
    }

    /// Never true: [`CargoSources::find`] fails rather than find none.
    pub fn is_empty(&self) -> bool {
        self.crates.is_empty()
    }

    /// Writes the sources and domains as JSON lines (`text`, `crate`, `path`) into a folder, which appears
    /// whole or not at all, and plans how to prepare them.
    pub fn write(&self, directory: &Path, caps: &CargoCaps) -> Result<CargoCorpus, CorpusError> {
        let making = FolderInMaking::start(directory, MARKER)?;
        let mut listed: Vec<CrateFiles> = self
            .crates
            .iter()
            .map(|unpacked| CrateFiles::list(&unpacked.name, &unpacked.version, &unpacked.folder))
            .collect();
        // By hash, so that a cap does not keep the crates that begin with a.
        listed.sort_by_key(|files| (*blake3::hash(files.name.as_bytes()).as_bytes(), files.label.clone()));
        let held = choose_held_out(&listed);
        let (aside, train): (Vec<&CrateFiles>, Vec<&CrateFiles>) =
            listed.iter().partition(|files| held.contains(&files.name.as_str()));

        let mut collector = Collector::new(making.path());
        collector.write("code", &train, &[files::Kind::Code], caps.code)?;
        collector.write("docs", &train, &[files::Kind::Docs], caps.docs)?;
        collector.write("readmes", &train, &[files::Kind::Readme], caps.readmes)?;
        collector.write("changelogs", &train, &[files::Kind::ChangeLog], caps.changelogs)?;
        collector.write("licenses", &train, &[files::Kind::License], caps.licenses)?;
        collector.write("held_out/prose", &aside, &[files::Kind::Readme, files::Kind::Docs], caps.held_out)?;
        collector.write("held_out/code", &aside, &[files::Kind::Code], caps.held_out)?;
        let bytes = collector.bytes;

        let labels = |crates: &[&CrateFiles]| {
            let mut labels: Vec<String> = crates.iter().map(|files| files.label.clone()).collect();
            labels.sort();
            labels
        };
        let path_of = |name: &str| vec![directory.join(format!("{name}.jsonl")).to_string_lossy().into_owned()];
        let has_text = |name: &str| bytes.get(name).is_some_and(|&bytes| bytes > 0);
        let sources: Vec<SourcePlan> = ["code", "docs", "readmes", "changelogs", "licenses"]
            .into_iter()
            .filter(|name| has_text(name))
            .map(|name| SourcePlan { text_field: Some("text".to_owned()), ..SourcePlan::new(name, path_of(name)) })
            .collect();
        let domains = ["prose", "code"];
        let held_out: Vec<HeldOutPlan> = domains
            .into_iter()
            .filter(|name| has_text(&format!("held_out/{name}")))
            .map(|name| HeldOutPlan {
                text_field: Some("text".to_owned()),
                ..HeldOutPlan::new(name, path_of(&format!("held_out/{name}")))
            })
            .collect();
        if sources.is_empty() {
            return Err(CorpusError::NotFound {
                pattern: directory.display().to_string(),
                message: format!("the {} crates found hold no text that can be used", self.crates.len()),
                hint: "train on your own files: loam train RECIPE".to_owned(),
            });
        }
        let corpus = CargoCorpus {
            sources,
            held_out,
            crates_used: labels(&train),
            crates_held_out: labels(&aside),
            crates_missing: self.missing,
            bytes,
        };
        let marker = serde_json::json!({
            "crates_used": corpus.crates_used,
            "crates_held_out": corpus.crates_held_out,
            "crates_missing": corpus.crates_missing,
            "bytes": corpus.bytes,
            "caps": caps,
        });
        replace_file(&making.path().join(MARKER), format!("{marker:#}").as_bytes())?;
        making.finish()?;
        Ok(corpus)
    }
}

fn default_cargo_home() -> Option<PathBuf> {
    std::env::var_os("CARGO_HOME")
        .filter(|home| !home.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
}

/// The crates to hold out, about one in 25: all versions of a name together, and enough of them that both
/// domains have text. None when there are fewer than four names.
fn choose_held_out(listed: &[CrateFiles]) -> Vec<&str> {
    /// Bytes of files that each domain should find.
    const ENOUGH: u64 = 50_000;
    let mut names: Vec<&str> = listed.iter().map(|files| files.name.as_str()).collect();
    names.dedup();
    if names.len() < 4 {
        return Vec::new();
    }
    let rank = |name: &&str| *blake3::hash(format!("held out: {name}").as_bytes()).as_bytes();
    names.sort_by_key(rank);
    let usual = names.len().div_ceil(25);
    let most = (names.len() / 4).max(usual);
    let mut taken = usual;
    let available = |kind: files::Kind, taken: usize| -> u64 {
        listed.iter().filter(|files| names[..taken].contains(&files.name.as_str())).map(|files| files.bytes(kind)).sum()
    };
    while taken < most
        && (available(files::Kind::Code, taken) < ENOUGH || available(files::Kind::Readme, taken) < ENOUGH / 2)
    {
        taken += 1;
    }
    names.truncate(taken);
    names
}

#[cfg(test)]
mod tests;
