//! White space as Python sees it, whose `split` the reference programs cut words with.

/// `str.isspace`: Unicode's white space, and the four separators of ASCII (file, group, record, unit), which Unicode does
/// not count.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\x1c'..='\x1f')
}

/// `str.split()`: the words between white space, none of them empty.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_are_parted_by_any_white_space() {
        let words = |text| super::words(text).collect::<Vec<_>>();
        assert_eq!(words("\x1c a\u{3000}b\x1fc\u{a0}\u{85}"), ["a", "b", "c"]);
        assert_eq!(words("a\u{200b}b"), ["a\u{200b}b"]);
        assert_eq!(words(" \n"), [""; 0]);
    }
}
