//! Text on a terminal, with what of it is learned marked.

use std::borrow::Cow;

/// Around what is learned where there are no colors.
pub const BRACKETS: [char; 2] = ['⟦', '⟧'];
const LEARNED: &str = "\x1b[32m";
const GIVEN: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// A text without characters that a terminal obeys: each becomes `U+FFFD`. Line ends and tabs stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    let obeyed = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    if text.contains(obeyed) {
        Cow::Owned(text.chars().map(|c| if obeyed(c) { char::REPLACEMENT_CHARACTER } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// A text of which the parts from and to `learned`, in characters, are learned: these in green and the rest dim, or these
/// in brackets where there are no colors. Colors begin anew on every line, so that a pager may start at any.
pub fn marked(text: &str, learned: &[[u64; 2]], color: bool) -> String {
    let text = printable(text);
    let characters: Vec<char> = text.chars().collect();
    let mut shown = String::with_capacity(text.len() + 64);
    let mut at = 0;
    let mut part = |range: [usize; 2], is_learned: bool| {
        let range = &characters[range[0].min(characters.len())..range[1].min(characters.len())];
        if range.is_empty() {
            return;
        }
        if color {
            let paint = if is_learned { LEARNED } else { GIVEN };
            for line in range.split_inclusive(|character| *character == '\n') {
                let words = line.strip_suffix(&['\n']).unwrap_or(line);
                if !words.is_empty() {
                    shown.push_str(paint);
                    shown.extend(words);
                    shown.push_str(PLAIN);
                }
                shown.extend(&line[words.len()..]);
            }
        } else {
            shown.extend(is_learned.then_some(BRACKETS[0]));
            shown.extend(range);
            shown.extend(is_learned.then_some(BRACKETS[1]));
        }
    };
    for [from, to] in learned.iter().map(|run| run.map(|place| usize::try_from(place).unwrap_or(usize::MAX))) {
        part([at, from.max(at)], false);
        part([from.max(at), to.max(at)], true);
        at = to.max(at);
    }
    part([at, usize::MAX], false);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_stand_around_what_is_learned() {
        assert_eq!(marked("问：a\n答：b", &[[6, 7]], false), "问：a\n答：⟦b⟧");
        assert_eq!(marked("ab", &[[0, 1], [1, 2]], false), "⟦a⟧⟦b⟧");
        assert_eq!(marked("ab", &[], false), "ab");
        assert_eq!(marked("ab", &[[1, 99], [5, 3]], false), "a⟦b⟧");
    }

    #[test]
    fn colors_begin_anew_on_every_line() {
        let shown = marked("给\nx", &[[2, 3]], true);
        assert_eq!(shown, "\x1b[2m给\x1b[0m\n\x1b[32mx\x1b[0m");
        assert_eq!(marked("a\nb", &[[0, 3]], true), "\x1b[32ma\x1b[0m\n\x1b[32mb\x1b[0m");
    }

    #[test]
    fn a_text_gives_a_terminal_no_orders() {
        assert_eq!(marked("\x1b[31mred\x07", &[[0, 1]], false), "⟦\u{FFFD}⟧[31mred\u{FFFD}");
        assert_eq!(printable("a\tb\n"), "a\tb\n");
    }
}
