//! What is handed out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The name of the function that carries a task out, in plans.
pub const FUNCTION: &str = "loam_read";

/// Files of a preparation to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The version of Loam that hands it out.
    pub version: String,
    /// The preparation's run; a worker drops a task whose run is over.
    pub run: String,
    /// The folder where the result is made.
    pub folder: PathBuf,
    /// Where relative paths begin, if there are any.
    pub directory: Option<PathBuf>,
    /// The numbers of the files.
    pub files: Vec<usize>,
}

/// Deals files, given by number and bytes, into at most so many tasks of about the same size; the largest task comes first, so
/// that nobody waits for it alone in the end.
pub fn deal(mut files: Vec<(usize, u64)>, most: usize) -> Vec<Vec<usize>> {
    files.sort_by_key(|(number, bytes)| (Reverse(*bytes), *number));
    let count = files.len().min(most.max(1));
    let mut tasks: Vec<(u64, Vec<usize>)> = vec![(0, Vec::new()); count];
    let mut least: BinaryHeap<Reverse<(u64, usize)>> = (0..count).map(|task| Reverse((0, task))).collect();
    for (number, bytes) in files {
        let Some(Reverse((sum, task))) = least.pop() else { break };
        // Opening a file costs something too.
        let sum = sum + bytes + 1;
        tasks[task].0 = sum;
        tasks[task].1.push(number);
        least.push(Reverse((sum, task)));
    }
    tasks.sort_by_key(|(bytes, files)| (Reverse(*bytes), files[0]));
    tasks.into_iter().map(|(_, files)| files).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_dealt_evenly() {
        assert!(deal(vec![], 8).is_empty());
        assert_eq!(deal(vec![(0, 5), (1, 9), (2, 9), (3, 0)], 8), [vec![1], vec![2], vec![0], vec![3]]);
        let files: Vec<(usize, u64)> = (0..1000).map(|number| (number, (number as u64 * 7919) % 1000)).collect();
        let tasks = deal(files.clone(), 16);
        assert_eq!(tasks.len(), 16);
        let mut all: Vec<usize> = tasks.iter().flatten().copied().collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..1000));
        let size = |task: &Vec<usize>| task.iter().map(|number| files[*number].1).sum::<u64>();
        let sizes: Vec<u64> = tasks.iter().map(size).collect();
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(most - least < 1000, "{sizes:?}");
        assert_eq!(deal(vec![(7, 1), (8, 1)], 0), [vec![7, 8]]);
    }
}
