//! A corpus as vectors on disk, made once and read by whoever searches it again.
//!
//! A file is named by a hash of the model and of every text, so that another model or a changed corpus has another file and none is ever
//! out of date. It holds safetensors: `vectors` `[windows, width]` (f32), `documents` `[windows]` (u32) and `spans` `[windows, 2]` (u64)
//! of the windows, and `texts` `[documents, 32]` (u8), the hashes of the documents, by which a file lends its vectors to another one of
//! the same model, where a corpus has grown. It is written aside and renamed.

use super::{Embedder, Passages};
use crate::language_model::TaskError;
use loam_models::{ModelError, weights};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What is in `__metadata__` under `loam` before the hash of the model, so that a file of another kind or layout is not read. One entry,
/// since several have no order, and equal indexes should be equal files.
const KIND: &str = "search-1";
/// The end of the files' names.
const END: &str = "safetensors";
/// Bytes of a header that are read to learn whose file it is.
const LONGEST_HEADER: u64 = 1 << 20;

type Hash = [u8; 32];

/// How an index came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexOrigin {
    /// It was there.
    Found,
    /// It was made.
    Made {
        /// Documents that were embedded.
        anew: usize,
        /// Documents whose vectors another index had.
        lent: usize,
        /// What was wrong with the index that was there, if one was.
        broken: Option<String>,
    },
}

/// An index of a corpus.
#[derive(Clone, Debug)]
pub struct Index {
    /// The vectors.
    pub passages: Passages,
    /// How it came to be.
    pub origin: IndexOrigin,
    /// Its file.
    pub path: PathBuf,
}

impl Index {
    /// Opens the index of these documents in a folder, or makes it. `done` is told of windows as they are embedded, and how many there are.
    ///
    /// # Errors
    /// When a document has no tokens at all, and when the file cannot be written.
    pub fn open<S: AsRef<str>>(
        folder: &Path,
        embedder: &Embedder,
        documents: &[S],
        done: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, TaskError> {
        let (model, width) = (embedder.hash(), embedder.width());
        let texts: Vec<Hash> =
            documents.iter().map(|document| *blake3::hash(document.as_ref().as_bytes()).as_bytes()).collect();
        let mut hasher = blake3::Hasher::new();
        hasher.update(model.as_bytes());
        for text in &texts {
            hasher.update(text);
        }
        let path = folder.join(format!("{}.{END}", &hasher.finalize().to_hex()[..32]));
        let mut broken = None;
        match read(&path, &model, width) {
            Ok(Some((known, passages))) if known == texts && fits(&passages, documents) => {
                return Ok(Self { passages, origin: IndexOrigin::Found, path });
            }
            Ok(None) => {}
            Ok(Some(_)) => broken = Some("is of other texts than its name says".to_owned()),
            Err(reason) => broken = Some(reason),
        }
        let lender = lender(folder, &path, &model).and_then(|lender| read(&lender, &model, width).ok().flatten());
        let (passages, lent) = join(embedder, documents, &texts, lender, done)?;
        write(&path, &model, &texts, &passages)?;
        let anew = documents.len() - lent;
        Ok(Self { passages, origin: IndexOrigin::Made { anew, lent, broken }, path })
    }
}

/// The vectors of documents: those that another index has, and the others anew. Also how many it had.
fn join<S: AsRef<str>>(
    embedder: &Embedder,
    documents: &[S],
    texts: &[Hash],
    lender: Option<(Vec<Hash>, Passages)>,
    done: &mut dyn FnMut(usize, usize),
) -> Result<(Passages, usize), TaskError> {
    let (known, lending) = lender.unwrap_or_default();
    let mut windows: Vec<Range<usize>> = vec![0..0; known.len()];
    let mut begin = 0;
    for own in lending.documents.chunk_by(|one, other| one == other) {
        windows[own[0] as usize] = begin..begin + own.len();
        begin += own.len();
    }
    let fits = |own: &Range<usize>, text: &str| own.clone().all(|window| in_text(lending.spans[window], text));
    let numbers: HashMap<&Hash, usize> = known.iter().zip(0..).collect();
    let of = |document: usize| {
        let own = windows[*numbers.get(&texts[document])?].clone();
        (own.start < own.end && fits(&own, documents[document].as_ref())).then_some(own)
    };
    let anew: Vec<usize> = (0..documents.len()).filter(|document| of(*document).is_none()).collect();
    let lent = documents.len() - anew.len();
    let made =
        embedder.passages(&anew.iter().map(|document| documents[*document].as_ref()).collect::<Vec<_>>(), done)?;
    if lent == 0 {
        return Ok((made, 0));
    }
    let mut joined = Passages { width: embedder.width(), ..Passages::default() };
    let mut next = 0;
    for document in 0..documents.len() {
        let (source, own) = if let Some(own) = of(document) {
            (&lending, own)
        } else {
            let own = made.documents[next..].chunk_by(|one, other| one == other).next().map_or(0, <[u32]>::len);
            next += own;
            (&made, next - own..next)
        };
        joined.vectors.extend_from_slice(&source.vectors[own.start * joined.width..own.end * joined.width]);
        joined.spans.extend_from_slice(&source.spans[own.clone()]);
        joined.documents.extend(own.map(|_| document as u32));
    }
    Ok((joined, lent))
}

/// The newest other index of this model.
fn lender(folder: &Path, own: &Path, model: &str) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let lends = |path: &PathBuf| {
        path != own && path.extension().is_some_and(|end| end == END) && model_of(path).is_some_and(|its| its == model)
    };
    files.filter(lends).max_by_key(|path| (path.metadata().and_then(|about| about.modified()).ok(), path.clone()))
}

/// The hash of the model whose index a file is, by its header alone.
fn model_of(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    let mut header = Vec::new();
    file.take(length.min(LONGEST_HEADER)).read_to_end(&mut header).ok()?;
    let header: serde_json::Value = serde_json::from_slice(&header).ok()?;
    let (kind, model) = header["__metadata__"]["loam"].as_str()?.split_once(' ')?;
    (kind == KIND).then(|| model.to_owned())
}

/// The hashes of texts and the passages of a file; none where there is no file.
fn read(path: &Path, model: &str, width: usize) -> Result<Option<(Vec<Hash>, Passages)>, String> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if model_of(path).as_deref() != Some(model) {
        return Err("is no index of this model".to_owned());
    }
    let file = SafeTensors::deserialize(&bytes).map_err(|error| error.to_string())?;
    let tensor = |name: &str, dtype: Dtype| {
        let found = file.tensor(name).map_err(|error| error.to_string())?;
        if found.dtype() == dtype { Ok(found) } else { Err(format!("{name} is {:?}", found.dtype())) }
    };
    let (vectors, documents) = (tensor("vectors", Dtype::F32)?, tensor("documents", Dtype::U32)?);
    let (spans, texts) = (tensor("spans", Dtype::U64)?, tensor("texts", Dtype::U8)?);
    let count = documents.shape().first().copied().unwrap_or(0);
    let of_texts = texts.shape().first().copied().unwrap_or(0);
    if vectors.shape() != [count, width] || spans.shape() != [count, 2] || texts.shape() != [of_texts, 32] {
        return Err("its tables do not belong together".to_owned());
    }
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let passages = Passages {
        width,
        vectors: vectors.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        documents: documents.data().as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect(),
        spans: spans.data().chunks_exact(16).map(|pair| (number(&pair[..8]), number(&pair[8..]))).collect(),
    };
    let sorted =
        passages.documents.is_sorted() && passages.documents.last().is_none_or(|last| (*last as usize) < of_texts);
    if !sorted || !passages.vectors.iter().all(|value| value.is_finite()) {
        return Err("its numbers are no vectors of documents".to_owned());
    }
    Ok(Some((texts.data().as_chunks::<32>().0.to_vec(), passages)))
}

/// Whether every document has windows and they lie in it.
fn fits<S: AsRef<str>>(passages: &Passages, documents: &[S]) -> bool {
    let having = passages.documents.chunk_by(|one, other| one == other).count();
    having == documents.len()
        && passages.documents.iter().zip(&passages.spans).all(|(document, span)| {
            documents.get(*document as usize).is_some_and(|document| in_text(*span, document.as_ref()))
        })
}

fn in_text((begin, end): (u64, u64), text: &str) -> bool {
    begin <= end && end <= text.len() as u64
}

fn write(path: &Path, model: &str, texts: &[Hash], passages: &Passages) -> Result<(), TaskError> {
    let wrong = |error: &dyn std::fmt::Display| ModelError::format(path, format!("cannot be written: {error}"));
    let count = passages.documents.len();
    let vectors: Vec<u8> = passages.vectors.iter().flat_map(|value| value.to_le_bytes()).collect();
    let documents: Vec<u8> = passages.documents.iter().flat_map(|value| value.to_le_bytes()).collect();
    let spans: Vec<u8> =
        passages.spans.iter().flat_map(|span| [span.0.to_le_bytes(), span.1.to_le_bytes()]).flatten().collect();
    let texts_bytes = texts.concat();
    let tables = [
        ("vectors", Dtype::F32, vec![count, passages.width], &vectors),
        ("documents", Dtype::U32, vec![count], &documents),
        ("spans", Dtype::U64, vec![count, 2], &spans),
        ("texts", Dtype::U8, vec![texts.len(), 32], &texts_bytes),
    ];
    let mut views = Vec::new();
    for (name, dtype, shape, bytes) in tables {
        views.push((name, TensorView::new(dtype, shape, bytes).map_err(|error| wrong(&error))?));
    }
    let about = HashMap::from([("loam".to_owned(), format!("{KIND} {model}"))]);
    let file = safetensors::serialize(views, Some(about)).map_err(|error| wrong(&error))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|source| ModelError::io(folder, source))?;
    // Named by the process, so that two that make the same index do not write into one file.
    let aside = path.with_extension(format!("{}.partial", std::process::id()));
    let put = || -> Result<(), ModelError> {
        weights::write_synced(&aside, &file)?;
        fs::rename(&aside, path).map_err(|source| ModelError::io(path, source))
    };
    Ok(put().inspect_err(|_| drop(fs::remove_file(&aside)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_written_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        assert_eq!(read(&path, "m", 2), Ok(None));
        let passages = Passages {
            width: 2,
            vectors: vec![0.6, 0.8, 1.0, 0.0],
            documents: vec![0, 1],
            spans: vec![(0, 3), (1, 9)],
        };
        let texts = vec![[1; 32], [2; 32]];
        write(&path, "m", &texts, &passages).unwrap();
        assert_eq!(read(&path, "m", 2), Ok(Some((texts.clone(), passages.clone()))));
        assert!(
            fits(&passages, &["abc", "abcdefghi"])
                && !fits(&passages, &["abc", "abcdefgh"])
                && !fits(&passages, &["abc"])
        );
        assert!(read(&path, "other", 2).is_err() && read(&path, "m", 3).is_err());
        assert_eq!(lender(folder.path(), &folder.path().join("b.safetensors"), "m"), Some(path.clone()));
        assert_eq!(lender(folder.path(), &path, "m"), None);
        assert_eq!(lender(folder.path(), &folder.path().join("b.safetensors"), "other"), None);
        // Damaged anywhere, it is an error or reads as vectors of these documents, and never a panic.
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for change in [0xff, 0x01] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                fs::write(&path, &bytes).unwrap();
                let _ = read(&path, "m", 2);
            }
            fs::write(&path, &whole[..at]).unwrap();
            assert!(read(&path, "m", 2).is_err());
        }
        let unsorted = Passages { documents: vec![1, 0], ..passages };
        write(&path, "m", &texts, &unsorted).unwrap();
        assert!(read(&path, "m", 2).is_err());
    }
}
