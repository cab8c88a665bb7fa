//! Words by the conventions of the Penn Treebank, for the English that stands within Chinese answers.
//!
//! Punctuation is parted from words, and words that were written together are parted from each other (MacIntyre, 1995).
//! What is done with hyphens, colons, asterisks and backticks is left out: CMRC's script removes them before words are
//! cut.

use super::spaces::is_space;

/// What stands alone wherever it is.
const ALONE: &str = ";@#$%&?![](){}<>«»„“”‘’\u{2012}\u{2013}\u{2014}\u{2015}";
/// What may follow the last period of a text.
const CLOSING: &str = "])}>\"'»”’";
/// What a straight quote opens after.
const OPENING: &str = " ([{<«“‘„”’»";
/// Ends of words that are words themselves, in the order in which they are looked for.
const CLITICS: [&str; 7] = ["'s", "'m", "'d", "'ll", "'re", "'ve", "n't"];
/// Two words written as one, and where the second begins.
const CONTRACTIONS: [(&str, usize); 8] =
    [("cannot", 3), ("d'ye", 1), ("gimme", 3), ("gonna", 3), ("gotta", 3), ("lemme", 3), ("more'n", 4), ("wanna", 3)];

/// The words of lower-case text.
pub(super) fn treebank_words(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let mut words = Words::default();
    let mut place = 0;
    while let Some(&character) = characters.get(place) {
        let before = place.checked_sub(1).map(|before| characters[before]);
        let next = characters.get(place + 1).copied();
        let mut taken = 1;
        match character {
            _ if is_space(character) => words.end(),
            _ if ALONE.contains(character) => words.alone(&character.to_string()),
            '"' | '\'' if character == '"' || next == Some('\'') => {
                // Quotes are turned: ``what they open and close''.
                taken = if character == '"' { 1 } else { 2 };
                let opens = before.map_or(character == '"', |before| OPENING.contains(before));
                words.alone(if opens { "``" } else { "''" });
            }
            '\'' if !before.is_some_and(is_word) && opens(&characters[place + 1..]) => words.alone("'"),
            ',' if !next.is_some_and(char::is_numeric) => words.alone(","),
            '.' => {
                taken = characters[place..].iter().take_while(|character| **character == '.').count();
                let closes = |character: &char| is_space(*character) || CLOSING.contains(*character);
                if taken > 1 || characters[place + 1..].iter().all(closes) {
                    words.alone(&".".repeat(taken));
                } else {
                    words.word.push('.');
                }
            }
            _ => words.word.push(character),
        }
        place += taken;
    }
    words.end();
    words.done
}

#[derive(Default)]
struct Words {
    done: Vec<String>,
    /// The one that is being read.
    word: String,
}

impl Words {
    fn alone(&mut self, mark: &str) {
        self.end();
        self.done.push(mark.to_owned());
    }

    /// Ends the word, which may be several.
    fn end(&mut self) {
        let word = std::mem::take(&mut self.word);
        let mut word = word.as_str();
        let mut ends = Vec::new();
        while let Some((rest, end)) = without_clitic(word) {
            ends.push(end);
            word = rest;
        }
        let all = contraction(word).into_iter().chain(ends.into_iter().rev());
        self.done.extend(all.filter(|part| !part.is_empty()).map(str::to_owned));
    }
}

/// Whether a quote opens what follows: a word, unless quote and word are a clitic.
fn opens(rest: &[char]) -> bool {
    let word: String = rest.iter().take_while(|character| is_word(**character)).collect();
    !matches!(word.as_str(), "" | "re" | "ve" | "ll" | "m" | "t" | "s" | "d" | "n")
}

/// A word's beginning and the clitic or the closing quote that it ends in.
fn without_clitic(word: &str) -> Option<(&str, &str)> {
    CLITICS.iter().chain(&["'"]).find_map(|clitic| {
        let rest = word.strip_suffix(clitic)?;
        (!rest.is_empty() && !rest.ends_with('\'')).then(|| word.split_at(rest.len()))
    })
}

/// A word cut before, in and after the two words that are written as one in it, if any are.
fn contraction(word: &str) -> [&str; 4] {
    let found = CONTRACTIONS.iter().find_map(|&(whole, at)| {
        let start = word.find(whole)?;
        let (middle, end) = (start + at, start + whole.len());
        let apart = !word[..start].ends_with(is_word) && !word[end..].starts_with(is_word);
        apart.then(|| [&word[..start], &word[start..middle], &word[middle..end], &word[end..]])
    });
    found.unwrap_or([word, "", "", ""])
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::treebank_words;

    #[test]
    fn punctuation_and_clitics_are_parted() {
        let cases: [(&str, &[&str]); 6] = [
            ("", &[]),
            (
                "good muffins cost $3.88 (roughly 1,000.5 yen).",
                &["good", "muffins", "cost", "$", "3.88", "(", "roughly", "1,000.5", "yen", ")", "."],
            ),
            (
                "don't, she'll say it's \"fine\"...",
                &["do", "n't", ",", "she", "'ll", "say", "it", "'s", "``", "fine", "''", "..."],
            ),
            ("i cannot e.g. go; u.s. 5%", &["i", "can", "not", "e.g.", "go", ";", "u.s.", "5", "%"]),
            ("'quoted' dogs' 's a…'b", &["'", "quoted", "'", "dogs", "'", "'s", "a…", "'", "b"]),
            ("🙂 שלום, x", &["🙂", "שלום", ",", "x"]),
        ];
        for (text, words) in cases {
            assert_eq!(treebank_words(text), words);
        }
    }
}
