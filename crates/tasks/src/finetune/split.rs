//! Which examples are kept aside.

/// A uniform number in [0, 1) that follows from a text and a seed: the same text is always on the same side.
fn uniform(text: &str, seed: u64) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(text.as_bytes());
    let bytes = hasher.finalize();
    let number = u64::from_le_bytes(bytes.as_bytes()[..8].try_into().expect("eight bytes"));
    (number >> 11) as f64 / (1_u64 << 53) as f64
}

/// Whether a text is held out where a part of all texts is. Copies of a text share its side, so that none leaks.
pub fn held_out(text: &str, part: f64) -> bool {
    uniform(text, 0) < part
}

/// The part of each row, out of parts that sum to 1: by the row's text and a seed alone, so that equal texts stay together and
/// rows that are added later move no other.
pub fn split_rows(texts: &[String], parts: &[f64], seed: u64) -> Vec<usize> {
    let side = |text: &String| {
        let mut left = uniform(text, seed);
        for (number, part) in parts.iter().enumerate() {
            if left < *part {
                return number;
            }
            left -= part;
        }
        parts.len().saturating_sub(1)
    };
    texts.iter().map(side).collect()
}

/// Takes the part that is held out from examples, in their order, by the text of each.
pub(crate) fn take_held_out<E>(train: &mut Vec<E>, part: f64, text: impl Fn(&E) -> String) -> Vec<E> {
    let (valid, rest) = std::mem::take(train).into_iter().partition(|example| held_out(&text(example), part));
    *train = rest;
    valid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_their_sizes_and_equal_texts_stay_together() {
        let texts: Vec<String> = (0..20_000).map(|number| format!("text {}", number / 2)).collect();
        let sides = split_rows(&texts, &[0.8, 0.1, 0.1], 1);
        for (part, share) in [0.8, 0.1, 0.1].into_iter().enumerate() {
            let count = sides.iter().filter(|side| **side == part).count() as f64;
            assert!((count / 20_000.0 - share).abs() < 0.01, "{part}: {count}");
        }
        assert!(sides.chunks(2).all(|pair| pair[0] == pair[1]));
        assert_ne!(sides, split_rows(&texts, &[0.8, 0.1, 0.1], 2));
        let kept = texts.iter().filter(|text| held_out(text, 0.1)).count();
        assert!((1800..2200).contains(&kept), "{kept}");
    }
}
