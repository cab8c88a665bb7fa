//! From a text to the rows of the input matrix: words, n-grams of characters, n-grams of words (Bojanowski et al. 2017,
//! "Enriching Word Vectors with Subword Information"; Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification").

use std::ops::Range;

use super::file::Reader;
use super::index::Index;
use super::settings::Settings;

/// What a line ends with, as a word.
const END: &[u8] = b"</s>";
/// What labels begin with, by which those that the model lacks are passed over.
pub(super) const LABEL: &str = "__label__";
/// Bytes of a word in a dictionary that say nothing of how long it is: its end, count, and kind.
const SMALLEST_ENTRY: usize = 10;

/// The words and labels of a model.
pub(super) struct Dictionary {
    /// Where words, and then labels, stand in the file.
    entries: Vec<Range<usize>>,
    /// How many of these are words.
    words: usize,
    /// Hash and number of each, in the order of hashes, and of bytes where they are the same.
    by_hash: Vec<(u32, u32)>,
    index: Index,
    /// How often each label stood in what the model was trained on.
    pub(super) counts: Vec<i64>,
    /// In a pruned model: the n-grams that are left, with their rows behind the words.
    left: Option<Left>,
    settings: Settings,
}

/// N-grams in ascending order, with their rows.
struct Left {
    rows: Vec<(u32, u32)>,
    index: Index,
}

impl Left {
    fn row(&self, gram: u32) -> Option<u32> {
        let part = &self.rows[self.index.part(gram)];
        part.binary_search_by_key(&gram, |(gram, _)| *gram).ok().map(|place| part[place].1)
    }
}

/// FNV-1a of 32 bits, with bytes as signed numbers.
fn hash_on(hash: u32, byte: u8) -> u32 {
    (hash ^ i32::from(byte.cast_signed()).cast_unsigned()).wrapping_mul(16_777_619)
}

const HASH_OF_NOTHING: u32 = 2_166_136_261;

fn hash(word: &[u8]) -> u32 {
    word.iter().fold(HASH_OF_NOTHING, |hash, byte| hash_on(hash, *byte))
}

impl Dictionary {
    pub(super) fn read(reader: &mut Reader<'_>, content: &[u8], settings: Settings) -> Result<Self, String> {
        let size = reader.count("the size of the dictionary")?;
        let words = reader.count("the number of words")?;
        let labels = reader.count("the number of labels")?;
        let _tokens = reader.i64("the number of tokens")?;
        let left = reader.i64("the number of n-grams that are left")?;
        if words.checked_add(labels) != Some(size) || size > reader.left() / SMALLEST_ENTRY {
            return Err(format!("a dictionary of {size} entries, {words} words and {labels} labels"));
        }
        let mut entries = Vec::with_capacity(size);
        let mut counts = Vec::new();
        for number in 0..size {
            entries.push(reader.word()?);
            let count = reader.i64("the count of a word")?;
            let is_label = reader.byte("the kind of a word")? == 1;
            if is_label != (number >= words) {
                return Err("words and labels are mixed".to_owned());
            }
            if is_label {
                counts.push(count);
            }
        }
        let left = match usize::try_from(left) {
            Err(_) => None,
            Ok(count) => {
                if count > reader.left() / 8 {
                    return Err(format!("{count} n-grams are left, more than the file has"));
                }
                let mut rows = Vec::with_capacity(count);
                for _ in 0..count {
                    let gram = reader.count("an n-gram")?;
                    let row = reader.count("the row of an n-gram")?;
                    rows.push((gram as u32, row as u32));
                }
                rows.sort_unstable();
                let index = Index::new(rows.iter().map(|(gram, _)| *gram));
                Some(Left { rows, index })
            }
        };
        let mut by_hash: Vec<(u32, u32)> =
            entries.iter().zip(0..).map(|(entry, number)| (hash(&content[entry.clone()]), number)).collect();
        by_hash.sort_unstable_by_key(|(hash, number)| (*hash, &content[entries[*number as usize].clone()], *number));
        let index = Index::new(by_hash.iter().map(|(hash, _)| *hash));
        Ok(Self { entries, words, by_hash, index, counts, left, settings })
    }

    pub(super) fn is_pruned(&self) -> bool {
        self.left.is_some()
    }

    /// Rows that the input matrix must have.
    pub(super) fn rows(&self) -> usize {
        let grams = match &self.left {
            Some(left) => left.rows.iter().map(|(_, row)| *row as usize + 1).max().unwrap_or(0),
            None if self.settings.has_grams() => self.settings.buckets as usize,
            None => 0,
        };
        self.words + grams
    }

    /// The labels, as the file has them.
    pub(super) fn labels<'a>(&'a self, content: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.entries[self.words..].iter().map(|place| &content[place.clone()])
    }

    /// The number of a word or label.
    fn find(&self, content: &[u8], word: &[u8], hash: u32) -> Option<usize> {
        let part = &self.by_hash[self.index.part(hash)];
        let key = |(hash, number): &(u32, u32)| (*hash, &content[self.entries[*number as usize].clone()]);
        let found = part.binary_search_by(|entry| key(entry).cmp(&(hash, word))).ok()?;
        Some(part[found].1 as usize)
    }

    /// Tells the rows of a text, read as one line, in the order of the original: the words with their n-grams of
    /// characters, the line's end, and the n-grams of words.
    pub(super) fn rows_of(&self, content: &[u8], text: &str, tell: &mut impl FnMut(u32)) {
        let mut marked = Vec::new();
        let mut hashes: Vec<i32> = Vec::new();
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c | 0);
        let words = text.as_bytes().split(is_blank).filter(|word| !word.is_empty());
        for word in words.chain([END]) {
            let hash = hash(word);
            match self.find(content, word, hash) {
                Some(number) if number < self.words => {
                    tell(number as u32);
                    self.grams_of_characters(word, &mut marked, tell);
                }
                None if !word.starts_with(LABEL.as_bytes()) => self.grams_of_characters(word, &mut marked, tell),
                _ => continue,
            }
            if self.settings.words_in_a_gram > 1 {
                hashes.push(hash.cast_signed());
            }
            if word == END {
                break;
            }
        }
        self.grams_of_words(&hashes, tell);
    }

    /// Those of `<word>` from the least to the most characters, without the marks alone.
    fn grams_of_characters(&self, word: &[u8], marked: &mut Vec<u8>, tell: &mut impl FnMut(u32)) {
        let (least, most) = (self.settings.least_characters, self.settings.most_characters);
        if most == 0 || word == END {
            return;
        }
        marked.clear();
        marked.push(b'<');
        marked.extend_from_slice(word);
        marked.push(b'>');
        let continues = |byte: u8| byte & 0xc0 == 0x80;
        for from in 0..marked.len() {
            if continues(marked[from]) {
                continue;
            }
            let (mut hash, mut to) = (HASH_OF_NOTHING, from);
            for characters in 1..=most {
                if to == marked.len() {
                    break;
                }
                hash = hash_on(hash, marked[to]);
                to += 1;
                while to < marked.len() && continues(marked[to]) {
                    hash = hash_on(hash, marked[to]);
                    to += 1;
                }
                let is_mark = characters == 1 && (from == 0 || to == marked.len());
                if characters >= least && !is_mark {
                    self.gram(hash % self.settings.buckets, tell);
                }
            }
        }
    }

    fn grams_of_words(&self, hashes: &[i32], tell: &mut impl FnMut(u32)) {
        let buckets = u64::from(self.settings.buckets);
        for (from, first) in hashes.iter().enumerate() {
            let mut hash = i64::from(*first).cast_unsigned();
            for next in hashes.iter().take(from + self.settings.words_in_a_gram).skip(from + 1) {
                hash = hash.wrapping_mul(116_049_371).wrapping_add(i64::from(*next).cast_unsigned());
                self.gram((hash % buckets) as u32, tell);
            }
        }
    }

    fn gram(&self, gram: u32, tell: &mut impl FnMut(u32)) {
        match &self.left {
            None => tell(self.words as u32 + gram),
            Some(left) => {
                if let Some(row) = left.row(gram) {
                    tell(self.words as u32 + row);
                }
            }
        }
    }
}
