//! Stems of English words: Porter's algorithm (1980, "An algorithm for suffix stripping") with the changes that NLTK made
//! to it, by which rouge-score compares words.
//!
//! A rule is a suffix, what it becomes, and what the rest of the word must be for it. In each step the first rule whose
//! suffix the word has decides, whether or not its condition holds.

/// Words that the rules would spoil, and their stems (NLTK).
const IRREGULAR: [(&str, &str); 16] = [
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

const STEP_2: [(&str, &str); 21] = [
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
];

const STEP_3: [(&str, &str); 7] =
    [("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", "")];

const STEP_4: [&str; 19] = [
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti",
    "ous", "ive", "ize",
];

/// The stem of a word of lower-case ASCII letters and digits; a digit counts as a consonant. Words of one or two
/// characters stay, and so do words with other characters.
pub(super) fn stem(word: &str) -> String {
    if let Some((_, stem)) = IRREGULAR.iter().find(|(irregular, _)| *irregular == word) {
        return (*stem).to_owned();
    }
    if word.len() <= 2 || !word.is_ascii() {
        return word.to_owned();
    }
    let mut word = word.to_owned();
    plural(&mut word);
    past_and_progressive(&mut word);
    // y after a consonant that does not begin the word.
    if word.len() > 2 && word.ends_with('y') && is_consonant(&word[..word.len() - 1], word.len() - 2) {
        replace(&mut word, 1, "i");
    }
    double_suffix(&mut word);
    if let Some((suffix, with)) = STEP_3.iter().find(|(suffix, _)| word.ends_with(suffix))
        && measure(without(&word, suffix)) > 0
    {
        replace(&mut word, suffix.len(), with);
    }
    if let Some(suffix) = STEP_4.iter().find(|suffix| word.ends_with(**suffix)) {
        let rest = without(&word, suffix);
        if measure(rest) > 1 && (*suffix != "ion" || rest.ends_with(['s', 't'])) {
            replace(&mut word, suffix.len(), "");
        }
    }
    final_e_and_l(&mut word);
    word
}

/// Step 1a.
fn plural(word: &mut String) {
    if word.ends_with("sses") {
        replace(word, 2, "");
    } else if word.ends_with("ies") {
        // NLTK: dies is die, flies is fli.
        replace(word, 3, if word.len() == 4 { "ie" } else { "i" });
    } else if word.ends_with('s') && !word.ends_with("ss") {
        replace(word, 1, "");
    }
}

/// Step 1b.
fn past_and_progressive(word: &mut String) {
    if word.ends_with("ied") {
        // NLTK: died is die, spied is spi.
        return replace(word, 3, if word.len() == 4 { "ie" } else { "i" });
    }
    if word.ends_with("eed") {
        if measure(without(word, "eed")) > 0 {
            replace(word, 1, "");
        }
        return;
    }
    let Some(suffix) = ["ed", "ing"]
        .into_iter()
        .find(|suffix| word.ends_with(suffix) && has_vowel(&word[..word.len() - suffix.len()]))
    else {
        return;
    };
    replace(word, suffix.len(), "");
    if ["at", "bl", "iz"].iter().any(|end| word.ends_with(end)) {
        word.push('e');
    } else if ends_in_double_consonant(word) {
        if !word.ends_with(['l', 's', 'z']) {
            word.pop();
        }
    } else if measure(word) == 1 && ends_short(word) {
        word.push('e');
    }
}

/// Step 2.
fn double_suffix(word: &mut String) {
    // NLTK looks for what else the word ends in once -alli is -al.
    while word.ends_with("alli") && measure(without(word, "alli")) > 0 {
        replace(word, 2, "");
    }
    if let Some((suffix, with)) = STEP_2.iter().find(|(suffix, _)| word.ends_with(suffix)) {
        if measure(without(word, suffix)) > 0 {
            replace(word, suffix.len(), with);
        }
    } else if word.ends_with("logi") && measure(&word[..word.len() - 3]) > 0 {
        // NLTK: the l belongs to the stem, so that short ones (geologi) count too.
        word.pop();
    }
}

/// Step 5.
fn final_e_and_l(word: &mut String) {
    if word.ends_with('e') {
        let rest = without(word, "e");
        let measure = measure(rest);
        if measure > 1 || (measure == 1 && !ends_short(rest)) {
            word.pop();
        }
    }
    if word.ends_with("ll") && measure(without(word, "l")) > 1 {
        word.pop();
    }
}

fn without<'w>(word: &'w str, suffix: &str) -> &'w str {
    &word[..word.len() - suffix.len()]
}

fn replace(word: &mut String, length: usize, with: &str) {
    word.truncate(word.len() - length);
    word.push_str(with);
}

/// Whether each letter is a consonant: no vowel, and no y after a consonant.
fn consonants(word: &str) -> impl Iterator<Item = bool> {
    word.bytes().scan(false, |before, letter| {
        *before = match letter {
            b'a' | b'e' | b'i' | b'o' | b'u' => false,
            b'y' => !*before,
            _ => true,
        };
        Some(*before)
    })
}

fn is_consonant(word: &str, place: usize) -> bool {
    consonants(word).nth(place).unwrap_or(false)
}

/// Porter's m: how often a consonant follows a vowel.
fn measure(word: &str) -> usize {
    let kinds = consonants(word);
    kinds
        .scan(true, |before, consonant| Some(!std::mem::replace(before, consonant) && consonant))
        .filter(|&m| m)
        .count()
}

fn has_vowel(word: &str) -> bool {
    consonants(word).any(|consonant| !consonant)
}

/// Porter's *d.
fn ends_in_double_consonant(word: &str) -> bool {
    let letters = word.as_bytes();
    let length = letters.len();
    length >= 2 && letters[length - 1] == letters[length - 2] && is_consonant(word, length - 1)
}

/// Porter's *o: consonant, vowel, consonant at the end, the last not w, x or y; and, by NLTK, a vowel and a consonant
/// alone.
fn ends_short(word: &str) -> bool {
    let kinds: Vec<bool> = consonants(word).collect();
    match kinds[..] {
        [false, true] => true,
        [.., true, false, true] => !word.ends_with(['w', 'x', 'y']),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measure_counts_consonants_after_vowels() {
        for (measured, words) in [
            (0, ["tr", "ee", "tree", "y", "by"]),
            (1, ["trouble", "oats", "trees", "ivy", "at"]),
            (2, ["troubles", "private", "oaten", "orrery", "yaya2a"]),
        ] {
            for word in words {
                assert_eq!(measure(word), measured, "{word}");
            }
        }
    }

    #[test]
    fn stems_are_those_of_the_paper_but_where_nltk_changed_it() {
        for (word, stemmed) in [
            ("caresses", "caress"),
            ("ponies", "poni"),
            ("cats", "cat"),
            ("agreed", "agre"),
            ("plastered", "plaster"),
            ("hopping", "hop"),
            ("falling", "fall"),
            ("filing", "file"),
            ("happy", "happi"),
            ("enjoy", "enjoy"),
            ("relational", "relat"),
            ("hopefulness", "hope"),
            ("adoption", "adopt"),
            ("controlling", "control"),
            ("geology", "geolog"),
            ("dies", "die"),
            ("flies", "fli"),
            ("succeed", "succeed"),
            ("skies", "sky"),
            ("1990s", "1990"),
            ("", ""),
            ("éclairs", "éclairs"),
        ] {
            assert_eq!(stem(word), stemmed, "{word}");
        }
    }
}
