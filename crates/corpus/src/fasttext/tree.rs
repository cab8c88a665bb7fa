//! The binary tree of a hierarchical softmax: labels that stood often have short paths (Huffman's code).

/// A count that no label has, of nodes that are not made yet.
const NONE_YET: i64 = 1_000_000_000_000_000;

/// A tree whose leaves are the labels. Node `labels + n` has the output matrix's row `n`.
pub(super) struct Tree {
    labels: usize,
    /// Of the nodes that are no leaves: what lies below on both sides.
    below: Vec<[u32; 2]>,
    /// Of all nodes but the root: what lies above, and whether on its second side.
    above: Vec<(u32, bool)>,
}

impl Tree {
    /// Of the counts of labels, at least one.
    pub(super) fn new(counts: &[i64]) -> Result<Self, String> {
        let labels = counts.len();
        if let Some(count) = counts.iter().find(|count| !(0..NONE_YET).contains(*count)) {
            return Err(format!("a label that stood {count} times"));
        }
        let mut sums = counts.to_vec();
        sums.resize(2 * labels - 1, NONE_YET);
        let mut below = Vec::with_capacity(labels - 1);
        let mut above = vec![(0, false); 2 * labels - 2];
        // Labels from the rarest, as they stand, and nodes in the order in which they are made.
        let (mut leaf, mut node) = (labels, labels);
        for made in labels..2 * labels - 1 {
            let sides = [false, true].map(|second| {
                let lower = if leaf > 0 && sums[leaf - 1] < sums[node] {
                    leaf -= 1;
                    leaf
                } else {
                    node += 1;
                    node - 1
                };
                above[lower] = (made as u32, second);
                lower
            });
            sums[made] = sums[sides[0]].saturating_add(sums[sides[1]]);
            below.push(sides.map(|side| side as u32));
        }
        Ok(Self { labels, below, above })
    }

    /// The logarithm of a label's probability. `second` says that of a row's second side, from 0 to 1.
    pub(super) fn logarithm(&self, label: usize, mut second: impl FnMut(usize) -> f32) -> f32 {
        let mut path = Vec::new();
        let mut node = label;
        while let Some((up, is_second)) = self.above.get(node) {
            node = *up as usize;
            path.push((node - self.labels, *is_second));
        }
        path.iter().rev().fold(0.0, |sum, (row, is_second)| {
            let probability = second(*row);
            sum + super::output::logarithm(if *is_second { probability } else { 1.0 - probability })
        })
    }

    /// The most probable label, with the logarithm of its probability; none where numbers are none.
    pub(super) fn best(&self, mut second: impl FnMut(usize) -> f32) -> Option<(usize, f32)> {
        let mut best: Option<(usize, f32)> = None;
        let mut to_do = vec![(2 * self.labels - 2, 0.0)];
        while let Some((node, sum)) = to_do.pop() {
            if best.is_some_and(|(_, highest)| sum < highest) {
                continue;
            }
            let Some(row) = node.checked_sub(self.labels) else {
                best = (!f32::is_nan(sum)).then_some((node, sum)).or(best);
                continue;
            };
            let probability = second(row);
            let sides = [1.0 - probability, probability].map(|side| sum + super::output::logarithm(side));
            let [first, other] = self.below[row].map(|node| node as usize);
            // In the order of the original, which of equals takes the last.
            to_do.extend([(other, sides[1]), (first, sides[0])]);
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_the_best_of_them() {
        let counts = [50, 20, 20, 7, 7, 7, 1];
        let tree = Tree::new(&counts).unwrap();
        let second = |row: usize| [0.1, 0.8, 0.35, 0.5, 0.9, 0.45][row];
        let all: Vec<f32> = (0..counts.len()).map(|label| tree.logarithm(label, second).exp()).collect();
        assert!((all.iter().sum::<f32>() - 1.0).abs() < 1e-3, "{all:?}");
        let (label, logarithm) = tree.best(second).unwrap();
        assert!(all.iter().all(|other| *other <= all[label]) && (logarithm.exp() - all[label]).abs() < 1e-6);
        // The rarest lie deepest.
        let depth = |label: usize| {
            let mut rows = 0;
            tree.logarithm(label, |_| {
                rows += 1;
                0.5
            });
            rows
        };
        assert!(depth(0) < depth(6) && depth(6) == (0..7).map(depth).max().unwrap());
        assert_eq!(Tree::new(&[3]).unwrap().best(second), Some((0, 0.0)));
        assert_eq!(tree.best(|_| f32::NAN), None);
        assert!(Tree::new(&[1, -1]).is_err() && Tree::new(&[1, NONE_YET]).is_err());
        // Counts that are not in order, as no true file has them, make a tree all the same.
        let odd = Tree::new(&[1, 9, 0, 9, 0, NONE_YET - 1]).unwrap();
        assert!((0..6).all(|label| odd.logarithm(label, |_| 0.5) < 0.0));
    }
}
