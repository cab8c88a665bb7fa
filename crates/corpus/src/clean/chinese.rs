//! The words of Chinese, which no spaces part.

use std::sync::LazyLock;

use jieba_rs::Jieba;

/// Characters that are split at once: nobody writes that many without a comma.
const LONGEST_RUN: usize = 4096;

/// Its dictionary takes an eighth of a second to read, which texts without Chinese do not pay.
static JIEBA: LazyLock<Jieba> = LazyLock::new(Jieba::new);

/// The words of Chinese characters, together the whole run. One that is in the dictionary as it stands is not split further.
pub(super) fn words_of(run: &str) -> Vec<&str> {
    if JIEBA.has_word(run) {
        return vec![run];
    }
    let mut words = Vec::new();
    let mut rest = run;
    while !rest.is_empty() {
        let end = rest.char_indices().nth(LONGEST_RUN).map_or(rest.len(), |(end, _)| end);
        words.extend(JIEBA.cut(&rest[..end], true).iter().map(|token| token.word));
        rest = &rest[end..];
    }
    words
}

/// The parts of any text, together the whole of it: words where it is Chinese, numbers and words of other scripts, and
/// characters by themselves.
pub(crate) fn cut_chinese(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').flat_map(|line| {
        let mut rest = line;
        std::iter::from_fn(move || {
            let end = rest.char_indices().nth(LONGEST_RUN).map_or(rest.len(), |(end, _)| end);
            let (part, after) = rest.split_at(end);
            rest = after;
            (!part.is_empty()).then(|| JIEBA.cut(part, true))
        })
        .flatten()
        .map(|token| token.word)
    })
}
