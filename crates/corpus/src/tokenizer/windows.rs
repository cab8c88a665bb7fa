//! Texts, and pairs of them, as encoders read them: in windows that a model can see, each with its special tokens, every
//! token with its place in the text that it is from.

use tokenizers::{Encoding, PostProcessor, TruncationDirection};

use super::Tokenizer;

/// A window of a text, or of a pair, as a model reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Token ids, special tokens among them.
    pub ids: Vec<u32>,
    /// Of each token the segment that it belongs to: 0, or 1 for the second text of a pair, as the tokenizer has it.
    pub types: Vec<u32>,
    /// Of each token its text, 0 or 1, and the bytes of it that the token covers; none for special tokens.
    pub places: Vec<Option<(usize, usize, usize)>>,
}

impl Tokenizer {
    /// A text in windows of at most `longest` tokens, special ones counted, that overlap by `overlap` tokens of text; of a
    /// pair, every window has the whole first text and a part of the second. There is always one window. A first text that
    /// would leave the second less than half of the room is cut to that, whose tokens the second number of the result counts.
    pub fn windows(&self, text: &str, second: Option<&str>, longest: usize, overlap: usize) -> (Vec<Window>, usize) {
        let model = &self.inner.model;
        let frame = model.get_post_processor().map_or(0, |processor| processor.added_tokens(second.is_some()));
        let room = longest.saturating_sub(frame).max(1);
        let encode = |text: &str| model.encode(text, false).unwrap_or_default();
        let (mut first, second) = (encode(text), second.map(encode));
        let mut cut = 0;
        let parts = match second {
            None => parts(first, room, overlap).into_iter().map(|part| (part, None)).collect(),
            Some(second) => {
                let most = room - (room / 2).min(second.len());
                if first.len() > most {
                    cut = first.len() - most;
                    first.truncate(most, 0, TruncationDirection::Right);
                    first.take_overflowing();
                }
                let left = room - first.len();
                let paired = parts(second, left, overlap).into_iter();
                paired.map(|part| (first.clone(), Some(part))).collect::<Vec<_>>()
            }
        };
        let framed = parts.into_iter().map(|(first, second)| {
            let of_first = first.len();
            let found = model.post_process(first, second, true).unwrap_or_default();
            Window::of(&found, of_first)
        });
        (framed.collect(), cut)
    }
}

impl Window {
    /// Texts are told apart by how many tokens the first one has: what an encoding says of sequences is lost where one of them is
    /// cut or used again.
    fn of(encoding: &Encoding, of_first: usize) -> Self {
        let special = encoding.get_special_tokens_mask();
        let mut own = 0;
        let place = |(token, (begin, end)): (usize, &(usize, usize))| {
            (special.get(token) != Some(&1)).then(|| {
                own += 1;
                (usize::from(own > of_first), *begin, *end)
            })
        };
        Self {
            ids: encoding.get_ids().to_vec(),
            types: encoding.get_type_ids().to_vec(),
            places: encoding.get_offsets().iter().enumerate().map(place).collect(),
        }
    }
}

/// An encoding in parts of at most so many tokens.
fn parts(mut encoding: Encoding, room: usize, overlap: usize) -> Vec<Encoding> {
    if encoding.len() > room {
        // Otherwise a step forward would be none.
        encoding.truncate(room, overlap.min(room.saturating_sub(1)), TruncationDirection::Right);
    }
    let more = encoding.take_overflowing();
    std::iter::once(encoding).chain(more).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Framing, TokenizerKind, train_tokenizer};
    use super::*;

    fn tokenizer() -> Tokenizer {
        let texts = ["the quick brown fox jumps over the lazy dog", "北京 is a city, Straße 人工智能"].repeat(8);
        let texts = texts.into_iter().map(|text| Ok(text.to_owned()));
        train_tokenizer(TokenizerKind::WordPiece, 90, Framing::Plain, texts, &mut |_, _| {}).unwrap()
    }

    #[test]
    fn windows_cover_a_text_and_say_where() {
        let tokenizer = tokenizer();
        let text = "the quick brown fox jumps over 北京 the lazy dog";
        let (whole, cut) = tokenizer.windows(text, None, 512, 0);
        assert_eq!((whole.len(), cut), (1, 0));
        assert_eq!(whole[0].ids, tokenizer.encode_framed(text, 512));
        assert_eq!((whole[0].places[0], *whole[0].places.last().unwrap()), (None, None));
        let slices: Vec<&str> = whole[0].places.iter().flatten().map(|&(_, begin, end)| &text[begin..end]).collect();
        assert!(slices.contains(&"北") && slices.contains(&"the"), "{slices:?}");
        for (longest, overlap) in [(8, 0), (8, 3), (4, 1), (3, 5), (1, 0)] {
            let (windows, _) = tokenizer.windows(text, None, longest, overlap);
            let mut seen: Vec<(usize, usize)> = windows
                .iter()
                .flat_map(|window| window.places.iter().flatten().map(|place| (place.1, place.2)))
                .collect();
            seen.dedup();
            seen.sort_unstable();
            seen.dedup();
            let all: Vec<(usize, usize)> = whole[0].places.iter().flatten().map(|place| (place.1, place.2)).collect();
            assert_eq!(seen, all, "{longest} {overlap}");
            assert!(windows.iter().all(|window| window.ids.len() <= longest.max(3)), "{longest} {overlap}");
        }
    }

    #[test]
    fn of_a_pair_the_first_text_stands_in_every_window() {
        let tokenizer = tokenizer();
        let (question, context) = ("the lazy dog", "the quick brown fox jumps over the lazy dog. the quick brown fox");
        let (windows, cut) = tokenizer.windows(question, Some(context), 16, 2);
        assert!(windows.len() > 1 && cut == 0);
        for window in &windows {
            let asked: Vec<(usize, usize)> =
                window.places.iter().flatten().filter(|place| place.0 == 0).map(|place| (place.1, place.2)).collect();
            assert_eq!((&question[asked[0].0..asked[0].1], asked.last().unwrap().1), ("the", question.len()));
            let second = window.places.iter().position(|place| place.is_some_and(|place| place.0 == 1)).unwrap();
            assert_eq!((window.types[second], window.types[0]), (1, 0));
        }
        // A pair that fits whole, many times: what an encoding says of its sequence once differed from time to time.
        for _ in 0..40 {
            let (whole, _) = tokenizer.windows(question, Some(context), 64, 2);
            let texts: Vec<usize> = whole[0].places.iter().flatten().map(|place| place.0).collect();
            let (asked, told) = (tokenizer.encode(question).len(), tokenizer.encode(context).len());
            assert_eq!(texts, [vec![0; asked], vec![1; told]].concat());
        }
        let (windows, cut) = tokenizer.windows(context, Some("dog"), 9, 0);
        assert!(windows.len() == 1 && cut > 0, "{cut}");
        for (text, second) in [("", None), ("", Some("")), ("the", Some("")), ("", Some("dog"))] {
            let (windows, _) = tokenizer.windows(text, second, 16, 4);
            assert_eq!(windows.len(), 1, "{text:?} {second:?}");
            assert!(!windows[0].ids.is_empty());
        }
    }
}
