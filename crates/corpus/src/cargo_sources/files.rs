//! Which files of a crate are which kind of text.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::rust_source::{documentation, without_comments};

/// Larger files are generated, or data.
const LARGEST: u64 = 256 << 10;
/// Longer lines are generated, or data, in characters.
const LONGEST_LINE: usize = 2000;
/// Shorter texts teach nothing, in bytes.
const SHORTEST: usize = 100;

/// A kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Code,
    Docs,
    Readme,
    ChangeLog,
    License,
}

impl Kind {
    /// The kind of file that a name says; Rust files are [`Kind::Code`] and [`Kind::Docs`] alike.
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let extension = Path::new(&name).extension().and_then(|extension| extension.to_str());
        if extension == Some("rs") {
            return Some(Self::Code);
        }
        let begins = |words: &[&str]| words.iter().any(|word| name.starts_with(word));
        // LICENSE-MIT and COPYING.LESSER have no extension that says text, but are.
        if begins(&["license", "licence", "copying", "notice", "unlicense", "copyright"]) {
            return (!matches!(extension, Some("html" | "json" | "toml" | "tmpl" | "hbs"))).then_some(Self::License);
        }
        if !matches!(extension, None | Some("md" | "markdown" | "txt" | "rst")) {
            return None;
        }
        if begins(&["readme"]) {
            Some(Self::Readme)
        } else if begins(&["changelog", "changes", "history", "release", "news"]) {
            Some(Self::ChangeLog)
        } else {
            None
        }
    }
}

/// One file of a crate.
#[derive(Clone, Debug)]
pub(super) struct CrateFile {
    kind: Kind,
    bytes: u64,
    /// With `/`, relative to the crate.
    pub(super) path: String,
    place: PathBuf,
}

/// The files of one crate that hold text.
#[derive(Clone, Debug)]
pub(super) struct CrateFiles {
    pub(super) name: String,
    /// `name-version`.
    pub(super) label: String,
    files: Vec<CrateFile>,
}

impl CrateFiles {
    /// Lists a crate's files in the order of the hash of their path. What cannot be listed is left out.
    pub(super) fn list(name: &str, version: &str, folder: &Path) -> Self {
        let mut files = Vec::new();
        for entry in WalkDir::new(folder).max_depth(12).into_iter().filter_map(Result::ok) {
            if !entry.file_type().is_file() {
                continue;
            }
            let (Some(kind), Ok(metadata)) = (Kind::of(entry.path()), entry.metadata()) else { continue };
            if metadata.len() > LARGEST || metadata.len() < SHORTEST as u64 {
                continue;
            }
            let Some(path) = entry.path().strip_prefix(folder).ok().and_then(Path::to_str) else { continue };
            let path = path.replace('\\', "/");
            files.push(CrateFile { kind, bytes: metadata.len(), path, place: entry.into_path() });
        }
        files.sort_by_key(|file| *blake3::hash(file.path.as_bytes()).as_bytes());
        Self { name: name.to_owned(), label: format!("{name}-{version}"), files }
    }

    /// The files that may hold this kind of text.
    pub(super) fn of(&self, kind: Kind) -> impl Iterator<Item = &CrateFile> {
        let stored = if kind == Kind::Docs { Kind::Code } else { kind };
        self.files.iter().filter(move |file| file.kind == stored)
    }

    /// The size of those files.
    pub(super) fn bytes(&self, kind: Kind) -> u64 {
        self.of(kind).map(|file| file.bytes).sum()
    }
}

impl CrateFile {
    /// Reads this kind of text out of the file; `None` for what is generated, not UTF-8 or too short.
    pub(super) fn read(&self, kind: Kind) -> Option<String> {
        let text = String::from_utf8(std::fs::read(&self.place).ok()?).ok()?;
        if is_generated(&text) {
            return None;
        }
        let text = match kind {
            Kind::Code => without_comments(&text),
            Kind::Docs => documentation(&text),
            Kind::Readme | Kind::ChangeLog | Kind::License => text,
        };
        (text.trim().len() >= SHORTEST && !is_table(&text)).then_some(text)
    }
}

fn is_generated(text: &str) -> bool {
    text.contains('\0')
        || text.lines().any(|line| line.len() > LONGEST_LINE && line.chars().nth(LONGEST_LINE).is_some())
        || text.lines().take(10).any(|line| line.contains("@generated") || line.contains("automatically generated"))
}

/// Tables of numbers: more than a third of the words begin with a digit, or of the characters are digits.
fn is_table(text: &str) -> bool {
    let (mut digits, mut visible) = (0, 0);
    for byte in text.bytes() {
        digits += usize::from(byte.is_ascii_digit());
        visible += usize::from(!byte.is_ascii_whitespace());
    }
    let (mut numbers, mut words) = (0, 0);
    for word in text.split_ascii_whitespace() {
        numbers += usize::from(word.trim_start_matches(['(', '[', '{', '-']).starts_with(|c: char| c.is_ascii_digit()));
        words += 1;
    }
    digits * 3 > visible || numbers * 3 > words
}
