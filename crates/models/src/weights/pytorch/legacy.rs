//! What `torch.save` wrote before version 1.6: pickles one after the other (a magic number, a version, facts of the
//! machine, the object, the storages' keys), then each storage's length and numbers.

use super::pickle::{Pickle, Value};
use super::{Element, Place, Storage};
use std::collections::HashMap;

/// The pickle of the magic number 0x1950a86a20f9469cfc6c.
const MAGIC: [u8; 15] = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
/// The version of the format.
const VERSION: i64 = 1001;
/// The most bytes of pickles before the numbers.
const LARGEST_PICKLE: usize = 64 << 20;

pub(super) fn looks_like(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<(String, Place)>, String> {
    let mut at = MAGIC.len();
    let within = |at: usize| &bytes[at..bytes.len().min(at.saturating_add(LARGEST_PICKLE))];
    let mut version = Pickle::default();
    let (value, length) = version.read(within(at))?;
    if !matches!(value, Value::Int(VERSION)) {
        return Err(
            "is of a version of PyTorch's old format that is not read; save it again with a newer PyTorch".into()
        );
    }
    at += length;
    let mut machine = Pickle::default();
    let (value, length) = machine.read(within(at))?;
    if let Value::Dict(facts) = value {
        let big = machine.dicts[facts].iter().any(|(key, value)| {
            matches!((key, value), (Value::Text(key), Value::Bool(false)) if machine.texts[*key] == "little_endian")
        });
        if big {
            return Err("was written on a machine of another byte order; save it again on a little-endian one".into());
        }
    }
    at += length;
    let mut pickle = Pickle::default();
    let (root, length) = pickle.read(within(at))?;
    at += length;
    let mut keys = Pickle::default();
    let (value, length) = keys.read(within(at))?;
    at += length;
    let Value::List(list) = value else { return Err("does not list its storages; was it cut short?".into()) };
    let kinds: HashMap<&str, Element> =
        pickle.storages.iter().map(|storage| (storage.key, Element(storage.kind.0))).collect();
    let mut storages = HashMap::new();
    for key in &keys.lists[list] {
        let Value::Text(key) = key else { return Err("lists a storage without a name".into()) };
        let key = keys.texts[*key];
        let cut = || format!("ends inside storage {key:?}; was it cut short?");
        let start = at.checked_add(8).filter(|&start| start <= bytes.len()).ok_or_else(cut)?;
        let count = u64::from_le_bytes(bytes[at..start].try_into().expect("eight bytes"));
        let width = kinds.get(key).and_then(|kind| kind.bytes()).ok_or_else(|| format!("has no tensor in {key:?}"))?;
        let length = usize::try_from(count).ok().and_then(|count| count.checked_mul(width));
        let end = length.and_then(|n| start.checked_add(n)).filter(|&end| end <= bytes.len()).ok_or_else(cut)?;
        storages.insert(key.to_owned(), Storage { start, end });
        at = end;
    }
    super::place(&pickle, root, &storages)
}
