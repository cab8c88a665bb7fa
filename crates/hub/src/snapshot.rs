//! A repository at a commit: which of its files are needed, and having them.

use crate::cache::{Repository, is_commit};
use crate::download::Client;
use crate::error::HubError;
use crate::reference::{Kind, Reference, safe_path};
use crate::settings::Settings;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The most files that one reference may fetch.
const MOST_FILES: usize = 100_000;
/// The largest index of shards that is read, in bytes.
const LARGEST_INDEX: u64 = 256 << 20;

/// Where weights stand, in the order in which they are preferred, each with its index of shards.
const WEIGHTS: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// What else of a model's repository is needed.
const BESIDE: [&str; 14] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
    "README.md",
];

#[derive(Deserialize)]
struct Listing {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// A Hub with its cache.
pub struct Hub {
    client: Client,
    settings: Settings,
}

/// A repository whose commit is known.
struct At<'a> {
    reference: &'a Reference,
    repository: Repository,
    commit: String,
    names: BTreeSet<String>,
}

impl Hub {
    /// A Hub at these settings.
    ///
    /// # Errors
    /// When the endpoint is no address.
    pub fn new(settings: Settings) -> Result<Self, HubError> {
        if !["http://", "https://"].iter().any(|scheme| settings.endpoint.starts_with(scheme)) {
            let reason = "HF_ENDPOINT has to begin with https:// or http://";
            return Err(HubError::refused(settings.endpoint.clone(), reason));
        }
        Ok(Self { client: Client::new(settings.clone()), settings })
    }

    fn offline(&self, what: &Reference) -> HubError {
        HubError::Offline { what: what.to_string(), cache: self.settings.cache.clone() }
    }

    /// The commit that a reference's revision means now; offline, what it meant last.
    ///
    /// # Errors
    /// When neither the Hub nor the cache knows.
    pub fn commit(&self, reference: &Reference) -> Result<String, HubError> {
        if is_commit(&reference.revision) {
            return Ok(reference.revision.clone());
        }
        self.open(reference).map(|at| at.commit)
    }

    /// What a repository holds; offline, what the cache has of it.
    fn open<'a>(&self, reference: &'a Reference) -> Result<At<'a>, HubError> {
        let repository = Repository::new(&self.settings.cache, reference);
        if self.settings.offline {
            return self.cached(reference, repository);
        }
        let whole = Reference { path: None, ..reference.clone() }.to_string();
        let listing = match self.client.listing(&reference.listing(), &whole) {
            Ok(listing) => listing,
            // A commit never changes, so what the cache has of it is as good as the Hub's.
            Err(HubError::Network { what, reason }) if is_commit(&reference.revision) => {
                return self.cached(reference, repository).map_err(|_| HubError::Network { what, reason });
            }
            Err(error) => return Err(error),
        };
        let odd = |reason: String| HubError::refused(&whole, format!("the Hub did not answer as a Hub does: {reason}"));
        let listing: Listing = serde_json::from_value(listing).map_err(|error| odd(error.to_string()))?;
        if !is_commit(&listing.sha) {
            return Err(odd(format!("{:?} is no commit", listing.sha)));
        }
        // A name that leads out of the cache is not fetched, whoever lists it.
        let names = listing.siblings.into_iter().map(|file| file.rfilename).filter(|name| safe_path(name)).collect();
        repository.note(&reference.revision, &listing.sha)?;
        Ok(At { reference, repository, commit: listing.sha, names })
    }

    fn cached<'a>(&self, reference: &'a Reference, repository: Repository) -> Result<At<'a>, HubError> {
        let commit = repository.commit(&reference.revision).ok_or_else(|| self.offline(reference))?;
        let names: BTreeSet<String> = repository.listing(&commit).into_iter().collect();
        if names.is_empty() {
            return Err(self.offline(reference));
        }
        Ok(At { reference, repository, commit, names })
    }

    /// One file, from the cache or the Hub.
    fn have(&self, at: &At, name: &str) -> Result<PathBuf, HubError> {
        if let Some(file) = at.repository.file(&at.commit, name) {
            return Ok(file);
        }
        let file = Reference { path: Some(name.to_owned()), ..at.reference.clone() };
        if self.settings.offline {
            return Err(self.offline(&file));
        }
        let (url, what) = (at.reference.file(&at.commit, name), file.to_string());
        let facts = self.client.facts(&url, &what)?;
        if let Some(commit) = facts.commit.as_ref().filter(|commit| **commit != at.commit) {
            let reason = format!("it is of commit {commit}, and {} was asked for", at.commit);
            return Err(HubError::Damaged { what, reason });
        }
        let lock = at.repository.lock(&facts.tag)?;
        let blob = at.repository.blob(&facts.tag);
        if !blob.is_file() {
            self.client.fetch(&url, &facts, &blob, &what)?;
        }
        let linked = at.repository.link(&at.commit, name, &facts.tag);
        drop(lock);
        linked
    }

    /// The folder of a model: configuration, tokenizer, and weights (safetensors, or PyTorch's where there are none).
    /// Of a reference with a path, the folder or file at that path.
    ///
    /// # Errors
    /// When it is not a model, or cannot be fetched.
    pub fn model(&self, reference: &Reference) -> Result<PathBuf, HubError> {
        if reference.kind == Kind::Dataset {
            return Err(HubError::refused(reference.to_string(), "is a data set, and a model is asked for"));
        }
        let at = self.open(reference)?;
        let fail = |reason: &str| Err(HubError::refused(reference.to_string(), reason));
        let prefix = match &reference.path {
            None => String::new(),
            Some(path) if at.names.contains(path) => return self.have(&at, path),
            Some(path) => format!("{path}/"),
        };
        let there = |name: &str| at.names.contains(&format!("{prefix}{name}"));
        if !there("config.json") {
            if self.settings.offline {
                return Err(self.offline(reference));
            }
            let gguf: Vec<&str> = at.names.iter().map(String::as_str).filter(|name| is_gguf(name)).take(3).collect();
            return match gguf[..] {
                [] => fail("has no config.json, so it is not a model that Loam reads"),
                _ => fail(&format!("has no config.json; name one of its files, as in {reference}/{}", gguf[0])),
            };
        }
        let Some(weights) = WEIGHTS.iter().find(|name| there(name)) else {
            return fail("has no weights that Loam reads: neither model.safetensors nor pytorch_model.bin");
        };
        for name in BESIDE.iter().filter(|name| there(name)) {
            self.have(&at, &format!("{prefix}{name}"))?;
        }
        let file = self.have(&at, &format!("{prefix}{weights}"))?;
        if weights.ends_with(".index.json") {
            let size = std::fs::metadata(&file).map_err(HubError::io(&file))?.len();
            let text =
                if size <= LARGEST_INDEX { std::fs::read(&file).map_err(HubError::io(&file))? } else { Vec::new() };
            let index: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
            let map = index.get("weight_map").and_then(|map| map.as_object());
            let shards: BTreeSet<&str> = map.into_iter().flatten().filter_map(|(_, file)| file.as_str()).collect();
            if shards.is_empty() || shards.len() > MOST_FILES {
                return fail(&format!("has a {weights} that names no files"));
            }
            for shard in shards {
                if !there(shard) && !self.settings.offline {
                    return fail(&format!("has a {weights} that names {shard}, which is not there"));
                }
                self.have(&at, &format!("{prefix}{shard}"))?;
            }
        }
        Ok(at.repository.snapshot(&at.commit).join(prefix))
    }

    /// Files of a repository: the one at the reference's path, those in the folder there, or those that match the glob;
    /// of the latter two, those that `wanted` accepts.
    ///
    /// # Errors
    /// When there are none, or one cannot be fetched.
    pub fn files(&self, reference: &Reference, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<PathBuf>, HubError> {
        let at = self.open(reference)?;
        let chosen: Vec<&String> = match &reference.path {
            Some(path) if at.names.contains(path) => at.names.iter().filter(|name| *name == path).collect(),
            Some(path) if path.contains(['*', '?', '[']) => {
                let pattern = glob::Pattern::new(path).map_err(|error| {
                    HubError::refused(reference.to_string(), format!("is no pattern: {}", error.msg))
                })?;
                // As in a shell, only ** crosses folders.
                let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::default() };
                at.names.iter().filter(|name| pattern.matches_with(name, options) && wanted(name)).collect()
            }
            Some(path) => {
                at.names.iter().filter(|name| name.starts_with(&format!("{path}/")) && wanted(name)).collect()
            }
            None => at.names.iter().filter(|name| wanted(name)).collect(),
        };
        if chosen.is_empty() {
            if self.settings.offline {
                return Err(self.offline(reference));
            }
            let some: Vec<&str> = at.names.iter().map(String::as_str).take(8).collect();
            let reason = format!("matches no file that Loam reads; the repository has {}", some.join(", "));
            return Err(HubError::refused(reference.to_string(), reason));
        }
        if chosen.len() > MOST_FILES {
            let reason = format!("matches {} files; {MOST_FILES} are fetched at most", chosen.len());
            return Err(HubError::refused(reference.to_string(), reason));
        }
        chosen.into_iter().map(|name| self.have(&at, name)).collect()
    }
}

/// Whether a file's name ends as GGUF files' do.
fn is_gguf(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"))
}
