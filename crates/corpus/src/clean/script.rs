//! The two ways to write Chinese.

use std::borrow::Cow;

use hanconv::{s2t, t2s};

/// Traditional Chinese written in simplified characters, by OpenCC's dictionaries: of the phrases and characters that a
/// place may begin with, the longest is taken, so that 乾坤 keeps the character that 乾燥 changes. Words stay those of their
/// region (軟體 becomes 软体, not 软件), and everything that is not traditional Chinese stays as it is; Japanese loses characters
/// that it shares with traditional Chinese.
pub fn simplified(text: &str) -> Cow<'_, str> {
    if text.is_ascii() { Cow::Borrowed(text) } else { Cow::Owned(t2s(text)) }
}

/// Simplified Chinese written in traditional characters, by OpenCC's standard and dictionaries: phrases before characters,
/// so that 头发 becomes 頭髮 and 发现 發現. Where a simplified character stands for several and no phrase tells which, the most
/// usual is taken; text that is traditional already may therefore change where it uses one of those (后, 里).
pub fn traditional(text: &str) -> Cow<'_, str> {
    if text.is_ascii() { Cow::Borrowed(text) } else { Cow::Owned(s2t(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_come_before_characters() {
        assert_eq!(simplified("乾坤大挪移，乾燥的頭髮發現了。"), "乾坤大挪移，干燥的头发发现了。");
        assert_eq!(traditional("头发发现了，皇后以后干净的乾坤。"), "頭髮發現了，皇后以後乾淨的乾坤。");
        assert_eq!(simplified("軟體 naïve カタカナ"), "软体 naïve カタカナ");
    }

    #[test]
    fn there_and_back() {
        for text in ["红楼梦是一部伟大的小说。", "土壤里有水，机器学习三次。", "plain English, 123", ""]
        {
            assert_eq!(simplified(&traditional(text)), text);
            assert_eq!(simplified(text), text);
        }
    }
}
