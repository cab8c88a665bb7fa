//! Equality by 64 bits, so that no word, line or n-gram becomes a string of its own.

const FIRST: u64 = 0x9E37_79B9_7F4A_7C15;
const SECOND: u64 = 0xD6E8_FEB8_6659_FD93;

fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

fn half(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |chunk| u64::from(u32::from_le_bytes(*chunk)))
}

/// A hash of some bytes, equal in every run.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let (low, high) = match length {
        0 => (0, 0),
        1..4 => (u64::from(bytes[0]) << 16 | u64::from(bytes[length / 2]) << 8 | u64::from(bytes[length - 1]), 0),
        4..9 => (half(bytes), half(&bytes[length - 4..])),
        9..17 => (word(bytes), word(&bytes[length - 8..])),
        _ => {
            let mut state = FIRST;
            let mut rest = bytes;
            while rest.len() > 16 {
                state = folded(word(rest) ^ state, word(&rest[8..]) ^ SECOND);
                rest = &rest[16..];
            }
            (word(&bytes[length - 16..]) ^ state, word(&bytes[length - 8..]))
        }
    };
    folded(low ^ FIRST, high ^ SECOND ^ length as u64)
}

/// The hash of an n-gram from that of its first n - 1 words and that of its last.
pub(super) fn joined(before: u64, last: u64) -> u64 {
    folded(before ^ FIRST, last ^ SECOND)
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Bits of the hash that do not choose the place.
    tag: u32,
    /// Zero where nothing is.
    count: u32,
}

/// How often each hash was seen. One table is used for one document after another.
#[derive(Debug, Default)]
pub(super) struct Counts {
    entries: Vec<Entry>,
    shift: u32,
}

impl Counts {
    /// Empties it, and makes room for so many hashes.
    pub(super) fn start(&mut self, hashes: usize) {
        let size = (hashes * 2).next_power_of_two().max(16);
        self.shift = 64 - size.trailing_zeros();
        self.entries.clear();
        self.entries.resize(size, Entry::default());
    }

    /// Counts a hash: its place, and how often it was seen with this time.
    pub(super) fn add(&mut self, hash: u64) -> (u32, u32) {
        let mask = self.entries.len() - 1;
        let tag = hash as u32;
        let mut place = (hash >> self.shift) as usize;
        loop {
            let entry = &mut self.entries[place & mask];
            if entry.count == 0 || entry.tag == tag {
                *entry = Entry { tag, count: entry.count + 1 };
                return ((place & mask) as u32, entry.count);
            }
            place += 1;
        }
    }

    /// How often the hash at a place was seen.
    pub(super) fn at(&self, place: u32) -> u32 {
        self.entries[place as usize].count
    }
}
