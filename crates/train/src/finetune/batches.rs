//! In what order and company examples are shown.

use loam_nn::initialize::mix;

/// Batches out of which examples of like length are put together: enough that little is padding, few enough that the order
/// stays nearly random.
const WINDOW: usize = 50;

/// Uniform numbers from a seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((u128::from(mix(self.0)) * bound as u128) >> 64) as usize
    }

    /// Fisher and Yates, as Durstenfeld (1964) has it.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// The batches of an epoch: every example once, in an order that follows from the seed and the epoch's number. Examples are
/// shuffled, sorted by length within windows of 50 batches, cut into batches, and the batches are shuffled.
pub fn epoch(lengths: &[usize], batch: usize, seed: u64, number: u64) -> Vec<Vec<usize>> {
    let mut draw = Draw(mix(mix(seed ^ 0x6570_6f63) ^ number));
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    draw.shuffle(&mut order);
    let batch = batch.max(1);
    for window in order.chunks_mut(batch.saturating_mul(WINDOW)) {
        window.sort_by_key(|example| lengths[*example]);
    }
    let mut batches: Vec<Vec<usize>> = order.chunks(batch).map(<[usize]>::to_vec).collect();
    draw.shuffle(&mut batches);
    batches
}

/// A batch in parts that have at most so many tokens with their padding, and at least one example each; the examples of a
/// batch stand in the order of their lengths.
pub fn micro_batches<'a>(batch: &'a [usize], lengths: &[usize], tokens: usize) -> Vec<&'a [usize]> {
    let mut parts = Vec::new();
    let (mut begin, mut longest) = (0, 0);
    for (at, example) in batch.iter().enumerate() {
        let length = longest.max(lengths[*example]);
        if at > begin && (at + 1 - begin) * length > tokens {
            parts.push(&batch[begin..at]);
            (begin, longest) = (at, lengths[*example]);
        } else {
            longest = length;
        }
    }
    if begin < batch.len() {
        parts.push(&batch[begin..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_shows_everything_once() {
        let lengths: Vec<usize> = (0..1003).map(|example| 1 + example * 37 % 91).collect();
        let first = epoch(&lengths, 16, 3, 0);
        let mut seen: Vec<usize> = first.iter().flatten().copied().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..1003).collect::<Vec<_>>());
        assert_eq!(first.len(), 63);
        assert_eq!(first, epoch(&lengths, 16, 3, 0));
        assert_ne!(first, epoch(&lengths, 16, 3, 1));
        assert_ne!(first, epoch(&lengths, 16, 4, 0));
        let tokens: usize = lengths.iter().sum();
        let padded: usize = first.iter().map(|batch| batch.len() * lengths[*batch.last().unwrap()]).sum();
        assert!(padded < tokens + tokens / 20, "{padded} of {tokens}");
        assert!(epoch(&[], 16, 3, 0).is_empty());
    }

    #[test]
    fn large_batches_are_taken_in_parts() {
        let lengths = [3, 3, 5, 9, 30];
        let batch = [0, 1, 2, 3, 4];
        let parts: Vec<usize> = micro_batches(&batch, &lengths, 15).into_iter().map(<[usize]>::len).collect();
        assert_eq!(parts, [3, 1, 1]);
        assert!(micro_batches(&[], &lengths, 15).is_empty());
    }
}
