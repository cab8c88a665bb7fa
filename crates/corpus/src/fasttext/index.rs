//! Finding one of many numbers: sorted, with the place where each beginning of their bits starts. Numbers from a hash lie one
//! in a place, about; where a file has them all in one, finding is a binary search and still ends.

use std::ops::Range;

/// Where the numbers with the same first bits lie in a sorted list.
pub(super) struct Index {
    starts: Vec<u32>,
    shift: u32,
}

impl Index {
    /// Of numbers in ascending order, fewer than 2^32.
    pub(super) fn new(sorted: impl ExactSizeIterator<Item = u32>) -> Self {
        let bits = sorted.len().next_power_of_two().trailing_zeros().clamp(1, 31);
        let shift = 32 - bits;
        let mut starts = vec![0; (1 << bits) + 1];
        for number in sorted {
            starts[(number >> shift) as usize + 1] += 1;
        }
        for place in 1..starts.len() {
            starts[place] += starts[place - 1];
        }
        Self { starts, shift }
    }

    /// The part of the list that the number can only be in.
    pub(super) fn part(&self, number: u32) -> Range<usize> {
        let place = (number >> self.shift) as usize;
        self.starts[place] as usize..self.starts[place + 1] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_lies_in_its_part() {
        let spread: Vec<u32> = (0..1000).map(|n: u32| n.wrapping_mul(0x9e37_79b9)).collect();
        for mut numbers in [vec![], vec![7], vec![u32::MAX; 3], (0..100).collect(), spread] {
            numbers.sort_unstable();
            let index = Index::new(numbers.iter().copied());
            for number in [0, 1, 7, 1 << 31, u32::MAX].iter().chain(&numbers) {
                let part = &numbers[index.part(*number)];
                assert_eq!(part.contains(number), numbers.contains(number), "{number}");
            }
        }
    }
}
