//! Which of many things each of many draws takes, so that all are taken before any comes again.

/// The places, below `all`, of the `draw`-th draw of `count` things (counted from 0). Any `all` of them in a row, over
/// draws that follow each other, are different; and few of them are spread evenly, since they lie a golden section apart
/// (Weyl's sequence). They depend on the numbers alone, so a run that is gone on with draws what it would have drawn.
pub(crate) fn places(draw: u64, count: usize, all: usize) -> impl Iterator<Item = usize> {
    let stride = coprime_near(all as f64 * 0.618_033_988_75, all);
    let first = u128::from(draw) * count as u128;
    (0..count as u128).map(move |index| ((first + index) * stride as u128 % all.max(1) as u128) as usize)
}

/// The number nearest to `about` that has no divisor in common with `count`.
fn coprime_near(about: f64, count: usize) -> usize {
    let common = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let about = about as usize;
    let near = (0..=count).flat_map(|distance| [about.saturating_sub(distance), about + distance]);
    near.filter(|stride| *stride > 0).find(|stride| common(*stride, count) == 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn all_are_taken_before_any_comes_again() {
        for all in 1..60 {
            for count in 1..=all {
                let drawn: Vec<usize> = (0..all as u64).flat_map(|draw| places(draw, count, all)).collect();
                assert!(drawn.iter().all(|place| *place < all));
                for window in drawn.windows(all) {
                    assert_eq!(window.iter().collect::<HashSet<_>>().len(), all, "{count} of {all}");
                }
            }
        }
    }

    #[test]
    fn few_are_spread() {
        for all in [64, 100, 257] {
            let mut first: Vec<usize> = (0..8).flat_map(|draw| places(draw, 1, all)).collect();
            first.sort_unstable();
            let gaps = first.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(gaps.max().unwrap() <= all / 4, "{first:?} of {all}");
        }
    }
}
