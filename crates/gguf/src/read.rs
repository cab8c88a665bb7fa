//! Reading a file.

use crate::dequantize::dequantize;
use crate::error::GgufError;
use crate::tensor::{Tensor, TensorKind};
use crate::value::{Array, Value};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Lists of lists of lists: nobody writes more.
const DEEPEST: usize = 4;
/// Dimensions of a tensor.
const MOST_DIMENSIONS: u32 = 4;

/// A GGUF file, version 2 or 3, mapped into memory.
pub struct Gguf {
    map: memmap2::Mmap,
    path: PathBuf,
    metadata: Vec<(String, Value)>,
    keys: HashMap<String, usize>,
    tensors: Vec<Tensor>,
    names: HashMap<String, usize>,
}

/// The part of a file that was not read yet.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What is wrong with a file, without its path.
type Found<T> = Result<T, String>;

impl<'a> Cursor<'a> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, count: usize) -> Found<&'a [u8]> {
        if count > self.left() {
            return Err(format!("ends at byte {} in the middle of its header; was it cut short?", self.bytes.len()));
        }
        self.at += count;
        Ok(&self.bytes[self.at - count..self.at])
    }

    fn array<const N: usize>(&mut self) -> Found<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("so many bytes"))
    }

    fn u32(&mut self) -> Found<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Found<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count of things of at least `smallest` bytes each, of which the rest of the file has room for so many.
    fn count(&mut self, what: &str, smallest: usize) -> Found<usize> {
        let count = self.u64()?;
        let room = (self.left() / smallest) as u64;
        if count > room {
            return Err(format!("says that it holds {count} {what}, and has room for {room}; was it cut short?"));
        }
        Ok(count as usize)
    }

    fn string(&mut self) -> Found<String> {
        let length = self.count("bytes of text", 1)?;
        let at = self.at;
        let text = std::str::from_utf8(self.take(length)?);
        text.map(str::to_owned).map_err(|_| format!("the text at byte {at} is not UTF-8"))
    }

    fn bool(&mut self) -> Found<bool> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(format!("{other} at byte {} is neither true nor false", self.at - 1)),
        }
    }

    fn value(&mut self, code: u32) -> Found<Value> {
        Ok(match code {
            0 => Value::U8(self.array::<1>()?[0]),
            1 => Value::I8(i8::from_le_bytes(self.array()?)),
            2 => Value::U16(u16::from_le_bytes(self.array()?)),
            3 => Value::I16(i16::from_le_bytes(self.array()?)),
            4 => Value::U32(self.u32()?),
            5 => Value::I32(i32::from_le_bytes(self.array()?)),
            6 => Value::F32(f32::from_le_bytes(self.array()?)),
            7 => Value::Bool(self.bool()?),
            8 => Value::String(self.string()?),
            9 => Value::Array(self.list(0)?),
            10 => Value::U64(self.u64()?),
            11 => Value::I64(i64::from_le_bytes(self.array()?)),
            12 => Value::F64(f64::from_le_bytes(self.array()?)),
            _ => return Err(format!("a value at byte {} is of the unknown type {code}", self.at)),
        })
    }

    fn items<T>(&mut self, smallest: usize, mut read: impl FnMut(&mut Self) -> Found<T>) -> Found<Vec<T>> {
        let count = self.count("elements of a list", smallest)?;
        (0..count).map(|_| read(self)).collect()
    }

    fn list(&mut self, depth: usize) -> Found<Array> {
        if depth == DEEPEST {
            return Err(format!("lists at byte {} are more than {DEEPEST} deep", self.at));
        }
        Ok(match self.u32()? {
            0 => Array::U8(self.items(1, |c| Ok(c.array::<1>()?[0]))?),
            1 => Array::I8(self.items(1, |c| c.array().map(i8::from_le_bytes))?),
            2 => Array::U16(self.items(2, |c| c.array().map(u16::from_le_bytes))?),
            3 => Array::I16(self.items(2, |c| c.array().map(i16::from_le_bytes))?),
            4 => Array::U32(self.items(4, Self::u32)?),
            5 => Array::I32(self.items(4, |c| c.array().map(i32::from_le_bytes))?),
            6 => Array::F32(self.items(4, |c| c.array().map(f32::from_le_bytes))?),
            7 => Array::Bool(self.items(1, Self::bool)?),
            8 => Array::String(self.items(8, Self::string)?),
            // A list of nothing has a type and a length.
            9 => Array::Array(self.items(12, |c| c.list(depth + 1))?),
            10 => Array::U64(self.items(8, Self::u64)?),
            11 => Array::I64(self.items(8, |c| c.array().map(i64::from_le_bytes))?),
            12 => Array::F64(self.items(8, |c| c.array().map(f64::from_le_bytes))?),
            code => return Err(format!("a list at byte {} holds the unknown type {code}", self.at)),
        })
    }

    /// A tensor's entry; its bytes are counted from where the data begins.
    fn tensor(&mut self) -> Found<Tensor> {
        let name = self.string()?;
        let dimensions = self.u32()?;
        if dimensions > MOST_DIMENSIONS {
            return Err(format!("tensor {name} has {dimensions} dimensions; {MOST_DIMENSIONS} is the most"));
        }
        let mut shape: Vec<u64> = (0..dimensions).map(|_| self.u64()).collect::<Found<_>>()?;
        let code = self.u32()?;
        let kind = TensorKind::of_code(code).ok_or_else(|| {
            let known = TensorKind::ALL.map(TensorKind::name).join(", ");
            format!("tensor {name} is of type {code}, which is not read here; these are: {known}")
        })?;
        let row = shape.first().copied().unwrap_or(1);
        if !row.is_multiple_of(kind.block() as u64) {
            return Err(format!("rows of {row} of tensor {name} are not whole blocks of {}", kind.name()));
        }
        let count = shape.iter().try_fold(1_u64, |count, size| count.checked_mul(*size));
        let size = count.and_then(|count| (count / kind.block() as u64).checked_mul(kind.block_bytes() as u64));
        let start = self.u64()?;
        let end = size.and_then(|size| start.checked_add(size));
        let (Some(end), Ok(start)) = (end.and_then(|end| usize::try_from(end).ok()), usize::try_from(start)) else {
            return Err(format!("tensor {name} {shape:?} is larger than any file"));
        };
        shape.reverse();
        let shape = shape.into_iter().map(|size| size as usize).collect();
        Ok(Tensor { name, shape, kind, bytes: start..end })
    }
}

struct Header {
    metadata: Vec<(String, Value)>,
    keys: HashMap<String, usize>,
    tensors: Vec<Tensor>,
    names: HashMap<String, usize>,
}

fn parse(bytes: &[u8]) -> Found<Header> {
    let mut cursor = Cursor { bytes, at: 0 };
    if cursor.take(4).ok() != Some(b"GGUF") {
        return Err("is not a GGUF file: it does not begin with GGUF".into());
    }
    match cursor.u32()? {
        2 | 3 => {}
        version if version.swap_bytes() <= 3 => return Err("is a big-endian GGUF file, which is not read here".into()),
        version => return Err(format!("is GGUF of version {version}; 2 and 3 are read here")),
    }
    // Name, dimensions, type, offset.
    let tensor_count = cursor.count("tensors", 24)?;
    let metadata_count = cursor.count("metadata values", 13)?;
    let (mut metadata, mut keys) = (Vec::new(), HashMap::new());
    for index in 0..metadata_count {
        let key = cursor.string()?;
        let code = cursor.u32()?;
        let value = cursor.value(code).map_err(|reason| format!("{key}: {reason}"))?;
        if keys.insert(key.clone(), index).is_some() {
            return Err(format!("has the metadata {key} twice"));
        }
        metadata.push((key, value));
    }
    let (mut tensors, mut names) = (Vec::new(), HashMap::new());
    for index in 0..tensor_count {
        let tensor = cursor.tensor()?;
        if names.insert(tensor.name.clone(), index).is_some() {
            return Err(format!("has the tensor {} twice", tensor.name));
        }
        tensors.push(tensor);
    }
    let alignment = match keys.get("general.alignment").map(|&index| &metadata[index].1) {
        None => 32,
        Some(value) => value
            .as_u64()
            .filter(|alignment| alignment.is_power_of_two() && *alignment <= 1 << 20)
            .ok_or_else(|| "general.alignment is not a power of two up to 2^20".to_owned())?
            as usize,
    };
    let data = cursor.at.next_multiple_of(alignment);
    for tensor in &mut tensors {
        let name = &tensor.name;
        if !tensor.bytes.start.is_multiple_of(alignment) {
            return Err(format!("tensor {name} begins at {}, not at a multiple of {alignment}", tensor.bytes.start));
        }
        let (start, end) = (tensor.bytes.start.checked_add(data), tensor.bytes.end.checked_add(data));
        let (Some(start), Some(end)) = (start, end.filter(|end| *end <= bytes.len())) else {
            return Err(format!(
                "tensor {name} ends beyond the file, which has {} bytes; was it cut short?",
                bytes.len()
            ));
        };
        tensor.bytes = start..end;
    }
    let mut places: Vec<&Tensor> = tensors.iter().filter(|tensor| !tensor.bytes.is_empty()).collect();
    places.sort_by_key(|tensor| tensor.bytes.start);
    if let Some(pair) = places.windows(2).find(|pair| pair[0].bytes.end > pair[1].bytes.start) {
        return Err(format!("tensors {} and {} lie over each other", pair[0].name, pair[1].name));
    }
    Ok(Header { metadata, keys, tensors, names })
}

/// The GGUF file that `path` means: itself, or the only one of a folder that lacks the file `unless`. None where it means
/// something else.
///
/// # Errors
/// When a folder holds several and does not say which.
pub fn find(path: &Path, unless: &str) -> Result<Option<PathBuf>, GgufError> {
    let is_gguf = |path: &Path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    if !path.is_dir() {
        return Ok(is_gguf(path).then(|| path.to_owned()));
    }
    if path.join(unless).exists() {
        return Ok(None);
    }
    let entries = std::fs::read_dir(path).map_err(|source| GgufError::Io { path: path.to_owned(), source })?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| is_gguf(path)).collect();
    if found.len() > 1 {
        let reason = format!("holds {} GGUF files and no {unless}; name one of them", found.len());
        return Err(GgufError::Format { path: path.to_owned(), reason });
    }
    Ok(found.pop())
}

impl Gguf {
    /// Opens a file and reads all but its tensors.
    ///
    /// # Errors
    /// When it is missing, cut short or not what it says.
    #[allow(unsafe_code)]
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let io = |source| GgufError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        // SAFETY: the map is read-only and every length in it is checked before use; a file that another process
        // shrinks while it is being read ends this process, as it does every reader of mapped files.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        let Header { metadata, keys, tensors, names } =
            parse(&map).map_err(|reason| GgufError::Format { path: path.to_owned(), reason })?;
        Ok(Self { map, path: path.to_owned(), metadata, keys, tensors, names })
    }

    /// Checks bytes as if they were a file: what a fuzzer runs.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(bytes: &[u8]) -> Result<(), String> {
        let header = parse(bytes)?;
        for tensor in &header.tensors {
            dequantize(tensor.kind, &bytes[tensor.bytes.clone()]);
        }
        Ok(())
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.map.len() as u64
    }

    /// All metadata, in the file's order.
    pub fn metadata(&self) -> &[(String, Value)] {
        &self.metadata
    }

    /// A metadata value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).map(|&index| &self.metadata[index].1)
    }

    /// All tensors, in the file's order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// A tensor by its name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.names.get(name).map(|&index| &self.tensors[index])
    }

    /// A tensor's elements.
    pub fn values(&self, tensor: &Tensor) -> Vec<f32> {
        dequantize(tensor.kind, &self.map[tensor.bytes.clone()])
    }

    /// An error about this file.
    pub fn wrong(&self, reason: impl Into<String>) -> GgufError {
        GgufError::Format { path: self.path.clone(), reason: reason.into() }
    }
}
