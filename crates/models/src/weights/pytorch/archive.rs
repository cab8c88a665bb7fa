//! The zip archive that `torch.save` writes: stored entries only, which are read where they lie.
//!
//! A crate for zip archives would be happy to unpack, and to be told sizes by the archive; here an entry is a range of
//! the file that no other entry touches.

use super::pickle;
use super::{Place, Storage};
use std::collections::HashMap;

/// The largest pickle that is read; a state dict of a hundred thousand tensors has 20 MiB.
const LARGEST_PICKLE: usize = 64 << 20;
const ENTRY: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;

pub(super) fn looks_like(bytes: &[u8]) -> bool {
    bytes.starts_with(&LOCAL.to_le_bytes())
}

/// One entry's contents.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: usize,
    end: usize,
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<(String, Place)>, String> {
    let entries = entries(bytes)?;
    let mut pickles = entries.keys().filter(|name| name.split_once('/').is_some_and(|(_, rest)| rest == "data.pkl"));
    let (Some(name), None) = (pickles.next(), pickles.next()) else {
        return Err(if entries.keys().any(|name| name.contains("/code/") || name.ends_with("constants.pkl")) {
            "is a TorchScript program; save the weights with torch.save(model.state_dict(), …)".into()
        } else {
            "is a zip archive without one data.pkl in it, so torch.save did not write it".into()
        });
    };
    let prefix = &name[..name.len() - "data.pkl".len()];
    if entries.keys().any(|other| other.starts_with(&format!("{prefix}code/"))) {
        return Err("is a TorchScript program; save the weights with torch.save(model.state_dict(), …)".into());
    }
    if let Some(order) = entries.get(&format!("{prefix}byteorder"))
        && bytes[order.start..order.end] != *b"little"
    {
        return Err("was written on a machine of another byte order; save it again on a little-endian one".into());
    }
    let range = entries[name];
    let pickled = &bytes[range.start..range.end];
    if pickled.len() > LARGEST_PICKLE {
        return Err(format!("has a data.pkl of {} bytes, which no state dict has", pickled.len()));
    }
    let mut pickle = pickle::Pickle::default();
    let (root, _) = pickle.read(pickled).map_err(|reason| format!("data.pkl {reason}"))?;
    let data = format!("{prefix}data/");
    let storages: HashMap<String, Storage> = entries
        .iter()
        .filter_map(|(name, range)| {
            let key = name.strip_prefix(&data)?;
            Some((key.to_owned(), Storage { start: range.start, end: range.end }))
        })
        .collect();
    super::place(&pickle, root, &storages)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<u64, String> {
    let end = at.checked_add(N).filter(|&end| end <= bytes.len());
    let Some(end) = end else { return Err("is a damaged zip archive: it ends inside its own list".into()) };
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(&bytes[at..end]);
    Ok(u64::from_le_bytes(wide))
}

fn index(value: u64, length: usize, what: &str) -> Result<usize, String> {
    usize::try_from(value)
        .ok()
        .filter(|&value| value <= length)
        .ok_or_else(|| format!("is a damaged zip archive: {what} lies beyond its end; was it cut short?"))
}

/// Every entry's name and range.
fn entries(bytes: &[u8]) -> Result<HashMap<String, Range>, String> {
    let length = bytes.len();
    // The end record is 22 bytes and a comment of up to 65,535.
    let earliest = length.saturating_sub(22 + 65_535);
    let end = (earliest..=length.saturating_sub(22))
        .rev()
        .find(|&at| bytes.get(at..at + 4) == Some(&END.to_le_bytes()))
        .ok_or("is a zip archive without an end; was it cut short?")?;
    let mut count = number::<2>(bytes, end + 10)?;
    let mut size = number::<4>(bytes, end + 12)?;
    let mut start = number::<4>(bytes, end + 16)?;
    if end >= 20 && number::<4>(bytes, end - 20)? == u64::from(LOCATOR_64) {
        let wide = index(number::<8>(bytes, end - 12)?, length, "its end record")?;
        if number::<4>(bytes, wide)? != u64::from(END_64) {
            return Err("is a damaged zip archive: its end record is not where it is said to be".into());
        }
        count = number::<8>(bytes, wide + 32)?;
        size = number::<8>(bytes, wide + 40)?;
        start = number::<8>(bytes, wide + 48)?;
    }
    let directory = index(start, length, "its list of entries")?;
    let directory_end = index(start.saturating_add(size), length, "its list of entries")?;
    // An entry of the list has at least 46 bytes.
    if count > (directory_end - directory) as u64 / 46 {
        return Err(format!("is a damaged zip archive: {count} entries do not fit its list"));
    }
    let mut entries = HashMap::new();
    let mut ranges = Vec::new();
    let mut at = directory;
    for _ in 0..count {
        let (name, range, from, next) = entry(&bytes[..directory_end], at, directory)?;
        ranges.push((from, range.end, name.clone()));
        if entries.insert(name.clone(), range).is_some() {
            return Err(format!("is a zip archive with two entries named {name}"));
        }
        at = next;
    }
    ranges.sort();
    if let Some(pair) = ranges.windows(2).find(|pair| pair[1].0 < pair[0].1) {
        return Err(format!("is a zip archive whose entries {} and {} overlap", pair[0].2, pair[1].2));
    }
    Ok(entries)
}

/// The entry listed at `at`: its name, its contents, the start of its local header, and where the next one is listed.
fn entry(bytes: &[u8], at: usize, directory: usize) -> Result<(String, Range, usize, usize), String> {
    if number::<4>(bytes, at)? != u64::from(ENTRY) {
        return Err("is a damaged zip archive: its list of entries is broken".into());
    }
    let [name_length, extra_length, comment_length] =
        [number::<2>(bytes, at + 28)?, number::<2>(bytes, at + 30)?, number::<2>(bytes, at + 32)?].map(|n| n as usize);
    let name_end = at + 46 + name_length;
    let extra_end = name_end + extra_length;
    let name = bytes.get(at + 46..name_end).ok_or("is a damaged zip archive: a name is cut short")?;
    let name = std::str::from_utf8(name).map_err(|_| "is a zip archive with a name that is not UTF-8")?.to_owned();
    let extra = bytes.get(name_end..extra_end).ok_or("is a damaged zip archive: its list of entries is cut short")?;
    if number::<2>(bytes, at + 8)? & 1 != 0 {
        return Err(format!("is a zip archive whose entry {name} is encrypted"));
    }
    if number::<2>(bytes, at + 10)? != 0 {
        return Err(format!("is a zip archive whose entry {name} is compressed; torch.save stores its entries plain"));
    }
    let mut packed = number::<4>(bytes, at + 20)?;
    let mut size = number::<4>(bytes, at + 24)?;
    let mut local = number::<4>(bytes, at + 42)?;
    // Sizes and places beyond 32 bits stand in the extra field of kind 1, in this order, those alone that are needed.
    let mut rest = extra;
    while rest.len() >= 4 {
        let (kind, length) = (number::<2>(rest, 0)?, number::<2>(rest, 2)? as usize);
        let body = rest.get(4..4 + length).ok_or("is a damaged zip archive: an extra field is cut short")?;
        if kind == 1 {
            let mut place = 0;
            for value in [&mut size, &mut packed, &mut local] {
                if *value == 0xffff_ffff {
                    *value = number::<8>(body, place)?;
                    place += 8;
                }
            }
        }
        rest = &rest[4 + length..];
    }
    if packed != size {
        return Err(format!("is a zip archive whose entry {name} has two sizes, {packed} and {size}"));
    }
    let from = index(local, directory, &format!("entry {name}"))?;
    if number::<4>(bytes, from)? != u64::from(LOCAL) {
        return Err(format!("is a damaged zip archive: entry {name} does not begin where it is said to"));
    }
    let start = from as u64 + 30 + number::<2>(bytes, from + 26)? + number::<2>(bytes, from + 28)?;
    let start = index(start, directory, &format!("entry {name}"))?;
    let end = index((start as u64).saturating_add(size), directory, &format!("entry {name}"))?;
    Ok((name, Range { start, end }, from, extra_end + comment_length))
}
