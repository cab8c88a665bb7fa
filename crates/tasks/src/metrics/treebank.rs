//! Words by the conventions of the Penn Treebank, for the English that stands within Chinese answers.
//!
//! Punctuation is parted from words, and words that were written together are parted from each other (MacIntyre, 1995). What is
//! done with hyphens, colons, asterisks and backticks is left out: CMRC's script removes them before words are cut.

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
const CONTRACTIONS: [(&str, usize); 8] = [
    ("cannot", 3),
    ("d'ye", 1),
    ("gimme", 3),
    ("gonna", 3),
    ("gotta", 3),
    ("lemme", 3),
    ("more'n", 4),
    ("wanna", 3),
];

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
        if let Some(rest) = opened(word) {
            self.done.push("'".to_owned());
            word = rest;
        }
        let mut ends = Vec::new();
        while let Some((rest, end)) = without_clitic(word) {
            ends.push(end);
            word = rest;
        }
        let parts = match CONTRACTIONS.iter().find(|(whole, _)| *whole == word) {
            Some(&(_, at)) => [&word[..at], &word[at..]],
            None => [word, ""],
        };
        let all = parts.into_iter().chain(ends.into_iter().rev());
        self.done.extend(all.filter(|part| !part.is_empty()).map(str::to_owned));
    }
}

/// A word without the quote that opens it, unless the quote and what follows are a clitic.
fn opened(word: &str) -> Option<&str> {
    let rest = word.strip_prefix('\'')?;
    let letters = rest.find(|character: char| !is_word(character)).unwrap_or(rest.len());
    let clitic = matches!(&rest[..letters], "re" | "ve" | "ll" | "m" | "t" | "s" | "d" | "n");
    (letters > 0 && !clitic).then_some(rest)
}

/// A word's beginning and the clitic or the closing quote that it ends in.
fn without_clitic(word: &str) -> Option<(&str, &str)> {
    CLITICS.iter().chain(&["'"]).find_map(|clitic| {
        let rest = word.strip_suffix(clitic)?;
        (!rest.is_empty() && !rest.ends_with('\'')).then(|| word.split_at(rest.len()))
    })
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
            ("'quoted' dogs' 's", &["'", "quoted", "'", "dogs", "'", "'s"]),
            ("🙂 שלום, x", &["🙂", "שלום", ",", "x"]),
        ];
        for (text, words) in cases {
            assert_eq!(treebank_words(text), words);
        }
    }
}
