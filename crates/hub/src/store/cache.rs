//! Objects on disk: `s3/STORE/BUCKET/HASH/TAG/NAME` in the cache.
//!
//! HASH is of endpoint, bucket, and key, so that no key can lead anywhere else; TAG is of the contents, so that a changed
//! object lies beside what it was; NAME ends as the key does, since that says how a file is read. Beside the tags,
//! `object.json` has the key and what its contents were last.

use super::client::Object;
use crate::cache::make_parent;
use crate::error::HubError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The largest note that is read, in bytes.
const LARGEST_NOTE: u64 = 1 << 16;
/// The longest name that a file gets, in bytes.
const LONGEST_NAME: usize = 120;

/// What the cache knows of an object.
#[derive(Deserialize, Serialize)]
struct Note {
    key: String,
    size: u64,
    etag: String,
}

/// The cache's folder of one bucket.
pub(super) struct Cache {
    root: PathBuf,
    endpoint: String,
    bucket: String,
}

impl Cache {
    /// The folder of a bucket at an endpoint; Amazon's is one for all its regions, since a bucket's name is.
    pub fn new(cache: &Path, endpoint: Option<&str>, bucket: &str) -> Self {
        let endpoint = endpoint.unwrap_or("amazonaws.com");
        let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
        let root = cache.join("s3").join(safe_name(host)).join(safe_name(bucket));
        Self { root, endpoint: endpoint.to_owned(), bucket: bucket.to_owned() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn folder(&self, key: &str) -> PathBuf {
        self.root.join(digest(&[&self.endpoint, &self.bucket, key]))
    }

    /// Where an object's contents lie, or will.
    pub fn file(&self, object: &Object) -> PathBuf {
        let name = object.key.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        self.folder(&object.key).join(tag(&object.etag)).join(safe_name(name))
    }

    /// An object's contents, where they are there.
    pub fn whole(&self, object: &Object) -> Option<PathBuf> {
        let file = self.file(object);
        fs::metadata(&file).is_ok_and(|found| found.is_file() && found.len() == object.size).then_some(file)
    }

    /// Where contents grow until they are whole.
    pub fn partial(&self, object: &Object) -> PathBuf {
        self.folder(&object.key).join(format!("{}.incomplete", tag(&object.etag)))
    }

    /// Keeps other processes and threads from writing the same object until it is dropped.
    pub fn lock(&self, object: &Object) -> Result<File, HubError> {
        let path = self.folder(&object.key).join("lock");
        make_parent(&path)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(HubError::io(&path))?;
        file.lock().map_err(HubError::io(&path))?;
        Ok(file)
    }

    /// Notes that these are an object's contents now. Under its lock.
    pub fn note(&self, object: &Object) -> Result<(), HubError> {
        let folder = self.folder(&object.key);
        if self.noted(&folder).as_ref() == Some(object) {
            return Ok(());
        }
        let note = Note { key: object.key.clone(), size: object.size, etag: object.etag.clone() };
        let text = serde_json::to_vec(&note).unwrap_or_default();
        let (path, aside) = (folder.join("object.json"), folder.join("object.json.incomplete"));
        fs::write(&aside, text).map_err(HubError::io(&aside))?;
        fs::rename(&aside, &path).map_err(HubError::io(&path))
    }

    fn noted(&self, folder: &Path) -> Option<Object> {
        let path = folder.join("object.json");
        if fs::metadata(&path).ok()?.len() > LARGEST_NOTE {
            return None;
        }
        let note: Note = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        // What a note says of another object, or of one in a bucket whose name is the same but for its case.
        let ours = self.folder(&note.key).file_name() == folder.file_name();
        ours.then_some(Object { key: note.key, size: note.size, etag: note.etag })
    }

    /// The objects whose contents are there, as they were last seen.
    pub fn objects(&self) -> Vec<Object> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let objects = entries.filter_map(|entry| self.noted(&entry.path()));
        objects.filter(|object| self.whole(object).is_some()).collect()
    }
}

/// Forty hexadecimal digits that name texts.
fn digest(texts: &[&str]) -> String {
    let hash = texts.iter().fold(Sha256::new(), |hash, text| hash.chain_update(text).chain_update([0]));
    let mut digits = String::with_capacity(40);
    for byte in hash.finalize().iter().take(20) {
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// A folder's name for an entity tag: the tag where it is a hash, as most are.
fn tag(etag: &str) -> String {
    let bare = bare(etag);
    let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte) || byte == b'-';
    if (8..=64).contains(&bare.len()) && bare.bytes().all(plain) { bare.to_owned() } else { digest(&[etag]) }
}

/// An entity tag without its quotes.
pub(super) fn bare(etag: &str) -> &str {
    etag.trim_start_matches("W/").trim_matches('"')
}

/// A name that every file system takes for one file's, with the end of the name that it comes from.
fn safe_name(name: &str) -> String {
    let odd = |c: char| c.is_control() || "<>:\"/\\|?*".contains(c);
    let mut safe: String = name.chars().map(|c| if odd(c) { '_' } else { c }).collect();
    // Windows drops them.
    let kept = safe.trim_end_matches(['.', ' ']).len();
    safe.truncate(kept);
    if safe.len() > LONGEST_NAME {
        let mut from = safe.len() - LONGEST_NAME;
        while !safe.is_char_boundary(from) {
            from += 1;
        }
        safe.replace_range(..from, "");
    }
    let stem = safe.split('.').next().unwrap_or_default().trim().to_ascii_lowercase();
    // Devices of Windows, in any folder and with any ending.
    let device = matches!(stem.as_str(), "con" | "prn" | "aux" | "nul")
        || (stem.len() == 4 && ["com", "lpt"].iter().any(|port| stem.starts_with(port)));
    if stem.is_empty() || device { format!("_{safe}") } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, etag: &str) -> Object {
        Object { key: key.to_owned(), size: 1, etag: etag.to_owned() }
    }

    #[test]
    fn no_key_leaves_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path(), Some("http://localhost:9000/x"), "data");
        let root = folder.path().join("s3/localhost_9000_x/data");
        assert_eq!(cache.root(), root);
        let long = "长".repeat(300) + ".jsonl.gz";
        let keys = [
            "a/../../../etc/passwd",
            "..",
            "/etc/passwd",
            "\\\\host\\share",
            "C:\\x",
            "a\0b",
            "nul.txt",
            "/",
            "",
            &long,
        ];
        for key in keys {
            let file = cache.file(&object(key, "\"../../x\""));
            let parts = file.strip_prefix(&root).unwrap().components().collect::<Vec<_>>();
            assert_eq!(parts.len(), 3, "{key:?}: {parts:?}");
            assert!(parts.iter().all(|part| matches!(part, std::path::Component::Normal(_))), "{key:?}: {parts:?}");
            let name = file.file_name().unwrap().to_str().unwrap();
            assert!(name.len() <= LONGEST_NAME && !name.contains(['\\', ':', '\0']), "{name:?}");
        }
        assert!(cache.file(&object(&long, "x")).to_str().unwrap().ends_with("长.jsonl.gz"));
        assert!(cache.file(&object("p/a b+c.txt", "x")).ends_with("a b+c.txt"));
        assert!(cache.file(&object("p/.jsonl", "x")).ends_with("_.jsonl"));
    }

    #[test]
    fn what_differs_lies_apart() {
        let folder = Path::new("c");
        let file = |endpoint, bucket, key, etag| Cache::new(folder, endpoint, bucket).file(&object(key, etag));
        let tag = "\"0123456789abcdef0123456789abcdef\"";
        let one = file(None, "b", "a/x.txt", tag);
        assert!(one.ends_with("0123456789abcdef0123456789abcdef/x.txt"), "{}", one.display());
        for other in [
            file(Some("http://h"), "b", "a/x.txt", tag),
            file(None, "c", "a/x.txt", tag),
            file(None, "b", "b/x.txt", tag),
            file(None, "b", "a/x.txt", "\"0123456789abcdef0123456789abcdef-2\""),
        ] {
            assert_ne!(one, other);
        }
        // Tags that differ in case alone, where the file system may not.
        assert_ne!(file(None, "b", "x", "\"AbcdefghiJ\""), file(None, "b", "x", "\"abcdefghij\""));
    }

    #[test]
    fn notes_of_other_objects_are_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path(), None, "b");
        let object = object("k.txt", "\"e\"");
        let lock = cache.lock(&object).unwrap();
        cache.note(&object).unwrap();
        drop(lock);
        assert!(cache.objects().is_empty());
        let file = cache.file(&object);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "x").unwrap();
        assert_eq!(cache.objects(), std::slice::from_ref(&object));
        let note = cache.folder("k.txt").join("object.json");
        let other = cache.folder("other.txt");
        fs::create_dir_all(&other).unwrap();
        fs::copy(&note, other.join("object.json")).unwrap();
        assert_eq!(cache.objects(), [object]);
        fs::write(&note, "{\"key\":").unwrap();
        assert!(cache.objects().is_empty());
    }
}
