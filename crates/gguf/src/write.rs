//! Writing a file.

use crate::error::GgufError;
use crate::quantize::quantize;
use crate::tensor::TensorKind;
use crate::value::{Array, Value};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Where tensors begin: multiples of this.
const ALIGNMENT: usize = 32;

/// A tensor that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its name.
    pub name: String,
    /// Its shape, the last dimension lying together.
    pub shape: Vec<usize>,
    /// How its elements are stored: `F32`, `F16`, `BF16`, `Q8_0` or `Q4_0`.
    pub kind: TensorKind,
}

impl Planned {
    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() / self.kind.block() * self.kind.block_bytes()
    }
}

/// Writes a file of version 3, beside and renamed when it is whole. `values` gives the elements of the tensor of an index,
/// asked for in order.
///
/// # Errors
/// When the file cannot be written, or `values` fails.
pub fn write<E: From<GgufError>>(
    path: &Path,
    metadata: &[(String, Value)],
    tensors: &[Planned],
    mut values: impl FnMut(usize) -> Result<Vec<f32>, E>,
) -> Result<(), E> {
    let failed = |source| GgufError::Io { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // A temporary file is its owner's alone; this one is going to stay, under the user's mask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut aside = builder.prefix(".gguf").tempfile_in(folder).map_err(failed)?;
    {
        let mut out = BufWriter::new(aside.as_file_mut());
        let header = header(metadata, tensors);
        out.write_all(&header).map_err(failed)?;
        pad(&mut out, header.len()).map_err(failed)?;
        for (index, tensor) in tensors.iter().enumerate() {
            let bytes = quantize(tensor.kind, &values(index)?).ok_or_else(|| GgufError::Format {
                path: path.to_owned(),
                reason: format!("{} is only read; F32, F16, BF16, Q8_0 and Q4_0 are written", tensor.kind.name()),
            })?;
            assert_eq!(bytes.len(), tensor.bytes(), "elements of {} {:?}", tensor.name, tensor.shape);
            out.write_all(&bytes).map_err(failed)?;
            pad(&mut out, bytes.len()).map_err(failed)?;
        }
        out.flush().map_err(failed)?;
    }
    aside.as_file().sync_all().map_err(failed)?;
    aside.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

fn pad(out: &mut impl Write, length: usize) -> io::Result<()> {
    out.write_all(&[0; ALIGNMENT][..length.next_multiple_of(ALIGNMENT) - length])
}

fn header(metadata: &[(String, Value)], tensors: &[Planned]) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        put_text(&mut out, key);
        out.extend(value.code().to_le_bytes());
        put_value(&mut out, value);
    }
    let mut offset = 0;
    for tensor in tensors {
        put_text(&mut out, &tensor.name);
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        tensor.shape.iter().rev().for_each(|size| out.extend((*size as u64).to_le_bytes()));
        out.extend(tensor.kind.code().to_le_bytes());
        out.extend((offset as u64).to_le_bytes());
        offset += tensor.bytes().next_multiple_of(ALIGNMENT);
    }
    out
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(x) => out.push(*x),
        Value::I8(x) => out.extend(x.to_le_bytes()),
        Value::U16(x) => out.extend(x.to_le_bytes()),
        Value::I16(x) => out.extend(x.to_le_bytes()),
        Value::U32(x) => out.extend(x.to_le_bytes()),
        Value::I32(x) => out.extend(x.to_le_bytes()),
        Value::F32(x) => out.extend(x.to_le_bytes()),
        Value::Bool(x) => out.push(u8::from(*x)),
        Value::String(text) => put_text(out, text),
        Value::U64(x) => out.extend(x.to_le_bytes()),
        Value::I64(x) => out.extend(x.to_le_bytes()),
        Value::F64(x) => out.extend(x.to_le_bytes()),
        Value::Array(items) => put_list(out, items),
    }
}

fn put_list(out: &mut Vec<u8>, items: &Array) {
    out.extend(items.code().to_le_bytes());
    out.extend((items.len() as u64).to_le_bytes());
    match items {
        Array::U8(items) => out.extend(items),
        Array::I8(items) => items.iter().for_each(|x| out.extend(x.to_le_bytes())),
        Array::U16(items) => items.iter().for_each(|x| out.extend(x.to_le_bytes())),
        Array::I16(items) => items.iter().for_each(|x| out.extend(x.to_le_bytes())),
        Array::U32(items) => items.iter().for_each(|x| out.extend(x.to_le_bytes())),
        Array::I32(items) => items.iter().for_each(|x| out.extend(x.to_le_bytes())),
        Array::F32(items) => items.iter().for_each(|x| out.extend(x.to_le_bytes())),
        Array::Bool(items) => out.extend(items.iter().map(|x| u8::from(*x))),
        Array::String(items) => items.iter().for_each(|text| put_text(out, text)),
        Array::U64(items) => items.iter().for_each(|x| out.extend(x.to_le_bytes())),
        Array::I64(items) => items.iter().for_each(|x| out.extend(x.to_le_bytes())),
        Array::F64(items) => items.iter().for_each(|x| out.extend(x.to_le_bytes())),
        Array::Array(items) => items.iter().for_each(|items| put_list(out, items)),
    }
}
