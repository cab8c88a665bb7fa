//! What is held out, so that nothing like it is trained on.
//!
//! A document is held out when its content hash is small: the choice does not change when files are renamed or others are
//! added. Documents that were found to be alike follow the first of them. A source that is held out as a whole comes first in
//! the order of reading, so that what is like it is known when the others are looked at; those of them go.

use std::collections::{HashMap, HashSet};

use super::plan::{PipelinePlan, PipelineSource};
use super::row::{Row, Side};

/// How a cluster was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decided {
    Train,
    HeldOut,
    /// It holds a document of a source that is held out.
    Domain,
}

/// Decides sides, row by row in the order of their numbers.
#[derive(Clone, Debug)]
pub(super) struct Sides {
    part: f64,
    domains: HashSet<String>,
    clusters: HashMap<u64, Decided>,
    /// Content hashes of documents that are held out because nothing of their source else would be.
    chosen: HashSet<String>,
}

impl Sides {
    pub(super) fn new(plan: &PipelinePlan) -> Self {
        let held_out = |source: &&PipelineSource| source.held_out;
        Self {
            part: plan.split.held_out,
            domains: plan.sources.iter().filter(held_out).map(|source| source.name.clone()).collect(),
            clusters: HashMap::new(),
            chosen: HashSet::new(),
        }
    }

    /// Gives a row its side, or lets it go. Whether it was decided by the row itself.
    pub(super) fn assign(&mut self, row: &mut Row) -> bool {
        if !row.stays() {
            return false;
        }
        let of_domain = self.domains.contains(&*row.source);
        let known = row.cluster.and_then(|cluster| self.clusters.get(&cluster)).copied();
        let decided = match known {
            _ if of_domain => Decided::Domain,
            Some(decided) => decided,
            None => self.by_hash(row),
        };
        if let Some(cluster) = row.cluster.filter(|_| known != Some(decided)) {
            self.clusters.insert(cluster, decided);
        }
        match decided {
            Decided::Domain if !of_domain => {
                let cluster = row.cluster.unwrap_or_default();
                row.drop_for("like_held_out", Some(format!("like document {cluster}, which is held out")));
            }
            Decided::Train => row.side = Some(Side::Train),
            Decided::HeldOut | Decided::Domain => row.side = Some(Side::HeldOut),
        }
        known.is_none() && !of_domain
    }

    fn by_hash(&self, row: &Row) -> Decided {
        let Some(hash) = &row.content_hash else { return Decided::Train };
        if unit(hash.get(..16)) < self.part || self.chosen.contains(hash) { Decided::HeldOut } else { Decided::Train }
    }
}

/// Looks at all rows beforehand, since a source of few documents may have none with a small hash: the smallest is taken then.
#[derive(Debug)]
pub(super) struct Lookout {
    sides: Sides,
    sources: HashMap<String, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    deciding: u64,
    held_out: u64,
    smallest: Option<String>,
}

impl Lookout {
    pub(super) fn new(sides: &Sides) -> Self {
        Self { sides: sides.clone(), sources: HashMap::new() }
    }

    pub(super) fn see(&mut self, row: &mut Row) {
        if !self.sides.assign(row) {
            return;
        }
        let seen = match self.sources.get_mut(&*row.source) {
            Some(seen) => seen,
            None => self.sources.entry(row.source.to_string()).or_default(),
        };
        seen.deciding += 1;
        seen.held_out += u64::from(row.side == Some(Side::HeldOut));
        if let Some(hash) = &row.content_hash
            && seen.smallest.as_ref().is_none_or(|smallest| hash < smallest)
        {
            seen.smallest = Some(hash.clone());
        }
    }

    /// The documents to hold out beside those of small hashes.
    pub(super) fn choose(self, sides: &mut Sides) {
        let lacking = self.sources.into_values().filter(|seen| seen.held_out == 0 && seen.deciding > 1);
        sides.chosen.extend(lacking.filter_map(|seen| seen.smallest));
    }
}

/// Whether a document stays where a part of its source does. By the other half of its hash than the split.
pub(super) fn stays_in_part(row: &Row, part: f64) -> bool {
    part >= 1.0 || row.content_hash.as_ref().is_none_or(|hash| unit(hash.get(16..32)) < part)
}

/// Hexadecimal digits as a number from 0 to 1.
fn unit(digits: Option<&str>) -> f64 {
    let value = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(u64::MAX);
    value as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duplicates::{content_hash, hexadecimal};

    fn row(number: u64, source: &str, cluster: Option<u64>) -> Row {
        let hash = hexadecimal(&content_hash(&format!("{source} {number}")));
        Row { number, source: source.into(), cluster, content_hash: Some(hash), ..Row::default() }
    }

    fn sides(part: f64, domains: &[&str]) -> Sides {
        let domains = domains.iter().map(|&name| name.to_owned()).collect();
        Sides { part, domains, clusters: HashMap::new(), chosen: HashSet::new() }
    }

    #[test]
    fn a_part_is_held_out_and_clusters_stay_together() {
        let mut sides = sides(0.1, &[]);
        let mut held = 0;
        for number in 0..10_000 {
            let mut rows = [row(2 * number, "a", Some(2 * number)), row(2 * number + 1, "a", Some(2 * number))];
            for row in &mut rows {
                sides.assign(row);
            }
            assert_eq!(rows[0].side, rows[1].side);
            held += u64::from(rows[0].side == Some(Side::HeldOut));
        }
        assert!((900..1100).contains(&held), "{held}");
    }

    #[test]
    fn what_is_like_a_held_out_domain_goes() {
        let mut sides = sides(0.0, &["exam"]);
        let mut exam = row(0, "exam", Some(0));
        let (mut like, mut other) = (row(1, "web", Some(0)), row(2, "web", None));
        sides.assign(&mut exam);
        sides.assign(&mut like);
        sides.assign(&mut other);
        assert_eq!((exam.side, like.side, other.side), (Some(Side::HeldOut), None, Some(Side::Train)));
        assert_eq!(like.rule.as_deref(), Some("like_held_out"));
    }

    #[test]
    fn a_small_source_still_holds_one_out() {
        let mut sides = sides(1e-6, &[]);
        let mut lookout = Lookout::new(&sides);
        (0..5).for_each(|number| lookout.see(&mut row(number, "few", None)));
        lookout.see(&mut row(9, "single", None));
        lookout.choose(&mut sides);
        let mut rows: Vec<Row> = (0..5).map(|number| row(number, "few", None)).collect();
        for row in &mut rows {
            sides.assign(row);
        }
        assert_eq!(rows.iter().filter(|row| row.side == Some(Side::HeldOut)).count(), 1);
        let mut single = row(9, "single", None);
        sides.assign(&mut single);
        assert_eq!(single.side, Some(Side::Train));
    }
}
