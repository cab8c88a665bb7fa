//! Clusters of documents that share a key, and which of each stays.
//!
//! Records of key and document are sorted, so that documents of one key stand side by side; each is united with the first of
//! them, which is linear however many there are. Likeness is passed on: of A like B and B like C, one stays. The union-find
//! structure always links to the smaller number, so a cluster is known by its first document, whatever the order of unions.
//! It takes four bytes for each document number up to the highest, and four more where the one that stays is chosen by length
//! or score.

use serde::{Deserialize, Serialize};

use super::external_sort::{ExternalSorter, Scratch};
use crate::error::CorpusError;

/// Which document of a cluster stays. Among equals, the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The one of the lowest number.
    #[default]
    First,
    /// The one of most bytes.
    Longest,
    /// The one of the highest score; scores are compared in single precision, and one without a score is below all others.
    Best,
}

/// What was decided of one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its cluster, named by the lowest number in it; none where it is like no other.
    pub cluster: Option<u64>,
    /// Whether it stays.
    pub kept: bool,
    /// Documents of its cluster, itself included.
    pub size: u64,
}

/// Two or more documents that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The one that stays.
    pub kept: u64,
    /// All of them, in ascending order.
    pub members: Vec<u64>,
}

/// Every document's cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clusters {
    /// For every number the lowest of its cluster.
    first: Vec<u32>,
    /// Ascending by `first`.
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    first: u32,
    kept: u32,
    size: u32,
}

impl Clusters {
    /// What was decided of a document; one that was never added is like no other.
    pub fn verdict(&self, document: u64) -> Verdict {
        let row = usize::try_from(document).ok().and_then(|number| self.first.get(number)).and_then(|first| {
            let place = self.rows.binary_search_by_key(first, |row| row.first).ok()?;
            self.rows.get(place)
        });
        match row {
            Some(row) => Verdict {
                cluster: Some(row.first.into()),
                kept: u64::from(row.kept) == document,
                size: row.size.into(),
            },
            None => Verdict { cluster: None, kept: true, size: 1 },
        }
    }

    /// Clusters of two documents and more.
    pub fn count(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Documents that do not stay.
    pub fn removed(&self) -> u64 {
        self.rows.iter().map(|row| u64::from(row.size) - 1).sum()
    }

    /// All clusters, ascending by their first documents. Takes eight bytes a document in them.
    pub fn list(&self) -> impl Iterator<Item = Cluster> {
        let mut members: Vec<(u32, u32)> = Vec::new();
        for (number, &first) in self.first.iter().enumerate() {
            if self.rows.binary_search_by_key(&first, |row| row.first).is_ok() {
                members.push((first, number as u32));
            }
        }
        members.sort_unstable();
        let mut begin = 0;
        self.rows.iter().map(move |row| {
            let end = begin + row.size as usize;
            let cluster = Cluster {
                kept: row.kept.into(),
                members: members[begin..end].iter().map(|(_, number)| u64::from(*number)).collect(),
            };
            begin = end;
            cluster
        })
    }
}

/// Gathers records of a key and a document: `WORDS` words, the last of which is the document's number.
#[derive(Debug)]
pub(super) struct Grouping<const WORDS: usize> {
    keep: Keep,
    sorter: ExternalSorter<WORDS>,
    /// Numbers seen: the highest and one.
    numbers: usize,
    /// Length or score as a number of the same order; empty where the first stays.
    worth: Vec<u32>,
}

impl<const WORDS: usize> Grouping<WORDS> {
    pub(super) fn new(keep: Keep, scratch: &Scratch) -> Self {
        Self { keep, sorter: ExternalSorter::new(scratch), numbers: 0, worth: Vec::new() }
    }

    /// Makes a document known.
    pub(super) fn document(&mut self, number: u64, bytes: usize) -> Result<(), CorpusError> {
        let place = place_of(number)?;
        self.numbers = self.numbers.max(place + 1);
        if self.keep == Keep::Longest {
            self.set_worth(place, u32::try_from(bytes).unwrap_or(u32::MAX));
        }
        Ok(())
    }

    pub(super) fn set_score(&mut self, number: u64, score: f64) -> Result<(), CorpusError> {
        let place = place_of(number)?;
        if self.keep == Keep::Best {
            self.set_worth(place, order_of(score as f32));
        }
        Ok(())
    }

    fn set_worth(&mut self, place: usize, worth: u32) {
        if self.worth.len() <= place {
            self.worth.resize(place + 1, 0);
        }
        self.worth[place] = worth;
    }

    /// Adds a record of a document that is known.
    pub(super) fn push(&mut self, record: [u64; WORDS]) -> Result<(), CorpusError> {
        self.sorter.push(record)
    }

    /// Unites what shares a key, where `alike` does not object.
    pub(super) fn finish(self, mut alike: impl FnMut(u64, u64) -> bool) -> Result<Clusters, CorpusError> {
        let mut forest = Forest::new(self.numbers);
        let mut key = None;
        // Those that are not alike though they share the key, each standing for the ones that are like it.
        let mut first: Vec<u64> = Vec::with_capacity(REPRESENTATIVES);
        for record in self.sorter.sort()? {
            let record = record?;
            let document = record[WORDS - 1];
            if key.as_ref().is_none_or(|key: &[u64; WORDS]| key[..WORDS - 1] != record[..WORDS - 1]) {
                key = Some(record);
                first.clear();
            }
            let united = first.iter().any(|&first| {
                let known = forest.find(first as u32) == forest.find(document as u32);
                if !known && alike(first, document) {
                    forest.unite(first as u32, document as u32);
                    return true;
                }
                known
            });
            if !united && first.len() < REPRESENTATIVES {
                first.push(document);
            }
        }
        Ok(forest.clusters(&self.worth))
    }
}

/// Documents of one key that later ones are compared with, where those of one key need not be alike.
const REPRESENTATIVES: usize = 8;

fn place_of(number: u64) -> Result<usize, CorpusError> {
    match u32::try_from(number) {
        Ok(place) if place < u32::MAX => Ok(place as usize),
        _ => Err(CorpusError::invalid(
            format!("document number {number}"),
            format!("documents are numbered from 0 to {}; cluster larger corpora in parts", u32::MAX - 1),
        )),
    }
}

/// A number above 0 in the order of the scores; a score that is not a number is below all others.
fn order_of(score: f32) -> u32 {
    if score.is_nan() {
        return 0;
    }
    let bits = score.to_bits();
    // Without the sign's bit set, an order; with it, the reverse order below.
    if bits >> 31 == 0 { bits | (1 << 31) } else { !bits }
}

/// Union-find over numbers (Tarjan and van Leeuwen 1984: linking by index, halving paths).
struct Forest(Vec<u32>);

impl Forest {
    fn new(numbers: usize) -> Self {
        Self((0..numbers as u32).collect())
    }

    fn find(&mut self, number: u32) -> u32 {
        let parents = &mut self.0;
        let mut number = number;
        loop {
            let parent = parents[number as usize];
            if parent == number {
                return number;
            }
            let grandparent = parents[parent as usize];
            parents[number as usize] = grandparent;
            number = grandparent;
        }
    }

    fn unite(&mut self, one: u32, other: u32) {
        let (one, other) = (self.find(one), self.find(other));
        self.0[one.max(other) as usize] = one.min(other);
    }

    fn clusters(self, worth: &[u32]) -> Clusters {
        let mut first = self.0;
        let mut shared = vec![0_u64; first.len().div_ceil(64)];
        // A parent is never above its child, so it points at its root already.
        for number in 0..first.len() {
            let root = first[first[number] as usize];
            first[number] = root;
            if root as usize != number {
                shared[root as usize / 64] |= 1 << (root % 64);
            }
        }
        let mut rows: Vec<Row> = Vec::new();
        for (word, &bits) in shared.iter().enumerate() {
            rows.extend((0..64).filter(|bit| bits >> bit & 1 == 1).map(|bit| {
                let first = word as u32 * 64 + bit;
                Row { first, kept: first, size: 1 }
            }));
        }
        let worth = |number: u32| worth.get(number as usize).copied().unwrap_or(0);
        for (number, &root) in first.iter().enumerate() {
            let number = number as u32;
            if number != root
                && let Ok(place) = rows.binary_search_by_key(&root, |row| row.first)
            {
                let row = &mut rows[place];
                row.size += 1;
                if worth(number) > worth(row.kept) {
                    row.kept = number;
                }
            }
        }
        Clusters { first, rows }
    }
}

#[cfg(test)]
mod tests {
    use super::super::arithmetic::Draws;
    use super::*;

    fn group(keep: Keep, memory: usize, records: &[[u64; 2]], scores: &[f64]) -> Clusters {
        let mut grouping = Grouping::new(keep, &Scratch { memory, ..Scratch::default() });
        for &[key, number] in records {
            grouping.document(number, (number * 7 % 5) as usize).unwrap();
            grouping.push([key, number]).unwrap();
        }
        for (number, &score) in scores.iter().enumerate() {
            grouping.set_score(number as u64, score).unwrap();
        }
        grouping.finish(|_, _| true).unwrap()
    }

    #[test]
    fn likeness_is_passed_on() {
        let clusters = group(Keep::First, 1 << 20, &[[1, 5], [1, 2], [2, 2], [2, 9], [3, 4], [4, 7], [4, 0]], &[]);
        let listed: Vec<_> = clusters.list().collect();
        assert_eq!(listed, [Cluster { kept: 0, members: vec![0, 7] }, Cluster { kept: 2, members: vec![2, 5, 9] }]);
        assert_eq!(clusters.verdict(9), Verdict { cluster: Some(2), kept: false, size: 3 });
        assert_eq!(clusters.verdict(2), Verdict { cluster: Some(2), kept: true, size: 3 });
        for lone in [3, 4, 1000, u64::MAX] {
            assert_eq!(clusters.verdict(lone), Verdict { cluster: None, kept: true, size: 1 });
        }
        assert_eq!((clusters.count(), clusters.removed()), (2, 3));
    }

    #[test]
    fn the_rule_chooses_the_one_that_stays() {
        let records: Vec<_> = (0..5).map(|number| [1, number]).collect();
        let kept = |keep, scores: &[f64]| group(keep, 1 << 20, &records, scores).list().next().unwrap().kept;
        assert_eq!(kept(Keep::First, &[0.0, 1.0]), 0);
        // Their lengths are 0, 2, 4, 1, 3.
        assert_eq!(kept(Keep::Longest, &[]), 2);
        assert_eq!(kept(Keep::Best, &[-2.0, -1.0, f64::NAN, -0.5, -0.5]), 3);
        assert_eq!(kept(Keep::Best, &[f64::NEG_INFINITY, f64::NAN]), 0);
        assert_eq!(kept(Keep::Best, &[]), 0);
    }

    #[test]
    fn equal_to_a_plain_search_spilling_or_not() {
        let mut draws = Draws::new(5);
        let records: Vec<[u64; 2]> = (0..3000).map(|_| [draws.draw() % 2500, draws.draw() % 2000]).collect();
        // The lowest number that can be reached through shared keys, found by lowering until nothing changes.
        let mut lowest: Vec<u64> = (0..2000).collect();
        loop {
            let mut of_key = vec![u64::MAX; 2500];
            for &[key, number] in &records {
                of_key[key as usize] = of_key[key as usize].min(lowest[number as usize]);
            }
            let before = lowest.clone();
            for &[key, number] in &records {
                lowest[number as usize] = lowest[number as usize].min(of_key[key as usize]);
            }
            if lowest == before {
                break;
            }
        }
        let clusters = group(Keep::First, 1 << 20, &records, &[]);
        for number in 0..2000 {
            let verdict = clusters.verdict(number);
            assert_eq!(verdict.cluster.unwrap_or(number), lowest[number as usize]);
            assert_eq!(verdict.kept, lowest[number as usize] == number);
        }
        assert_eq!(clusters, group(Keep::First, 1000, &records, &[]));
    }

    #[test]
    fn those_that_are_not_alike_stand_apart() {
        let mut grouping = Grouping::<2>::new(Keep::First, &Scratch::default());
        for number in 0..100 {
            grouping.document(number, 0).unwrap();
            grouping.push([1, number]).unwrap();
        }
        let clusters = grouping.finish(|one, other| one % 3 == other % 3).unwrap();
        assert_eq!(clusters.count(), 3);
        assert_eq!(clusters.verdict(98).cluster, Some(2));
    }

    #[test]
    fn numbers_have_a_bound() {
        let mut grouping = Grouping::<2>::new(Keep::First, &Scratch::default());
        assert!(grouping.document(u64::from(u32::MAX), 0).unwrap_err().to_string().contains("4294967294"));
        assert_eq!(grouping.finish(|_, _| true).unwrap().count(), 0);
    }
}
