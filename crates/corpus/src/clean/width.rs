//! Characters of the width of a Chinese one, and of half of it.

use std::borrow::Cow;

use unicode_normalization::char::compose;

/// The katakana of U+FF66 to U+FF9D, in their usual width.
const KATAKANA: [char; 56] = [
    'ヲ', 'ァ', 'ィ', 'ゥ', 'ェ', 'ォ', 'ャ', 'ュ', 'ョ', 'ッ', 'ー', 'ア', 'イ', 'ウ', 'エ', 'オ', 'カ', 'キ', 'ク',
    'ケ', 'コ', 'サ', 'シ', 'ス', 'セ', 'ソ', 'タ', 'チ', 'ツ', 'テ', 'ト', 'ナ', 'ニ', 'ヌ', 'ネ', 'ノ', 'ハ', 'ヒ',
    'フ', 'ヘ', 'ホ', 'マ', 'ミ', 'ム', 'メ', 'モ', 'ヤ', 'ユ', 'ヨ', 'ラ', 'リ', 'ル', 'レ', 'ロ', 'ワ', 'ン',
];

/// Latin letters, digits and signs in half width, katakana in full width, whatever they were typed in:
///
/// - Full-width letters `Ａ` to `Ｚ` and `ａ` to `ｚ`, digits `０` to `９`, and the signs ``＂＃＄％＆＇＊＋－．／＜＝＞＠［＼］＾＿｀｛｜｝``
///   become those of ASCII.
/// - Half-width katakana (U+FF65 to U+FF9F) become full-width ones, with the marks of voice behind them in one character
///   (`ｶﾞ` becomes `ガ`), and half-width Japanese punctuation ``｡｢｣､`` becomes ``。「」、``.
///
/// Nothing else changes: the full-width signs ``！（），：；？～``, which are Chinese punctuation, stay, and so do ``。、《》“”…``, the
/// space U+3000, the currency signs from U+FFE0 on, and half-width Hangul.
///
/// Idempotent.
pub fn width(text: &str) -> Cow<'_, str> {
    // U+FF02 to U+FF9F are EF BC 82 to EF BE 9F.
    if !text.as_bytes().windows(2).any(|pair| pair[0] == 0xEF && (0xBC..=0xBE).contains(&pair[1])) {
        return Cow::Borrowed(text);
    }
    let mut changed = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let usual = of_usual_width(character);
        // A mark of voice makes one character with the katakana before it.
        let voiced = characters.peek().and_then(|&next| mark(next)).and_then(|mark| compose(usual, mark));
        if voiced.is_some() && usual != character {
            characters.next();
        }
        changed.push(voiced.filter(|_| usual != character).unwrap_or(usual));
    }
    if changed == text { Cow::Borrowed(text) } else { Cow::Owned(changed) }
}

/// What a half-width mark of voice is when it combines.
fn mark(character: char) -> Option<char> {
    match character {
        'ﾞ' => Some('\u{3099}'),
        'ﾟ' => Some('\u{309A}'),
        _ => None,
    }
}

fn of_usual_width(character: char) -> char {
    match character {
        '！' | '（' | '）' | '，' | '：' | '；' | '？' | '～' => character,
        '\u{FF01}'..='\u{FF5D}' => char::from((character as u32 - 0xFF01) as u8 + b'!'),
        '｡' => '。',
        '｢' => '「',
        '｣' => '」',
        '､' => '、',
        '･' => '・',
        'ｦ'..='ﾝ' => KATAKANA[character as usize - 'ｦ' as usize],
        'ﾞ' => '゛',
        'ﾟ' => '゜',
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_signs_to_half_and_katakana_to_full() {
        assert_eq!(width("Ｌｏａｍ２．０：９９％！（测试），～"), "Loam2.0：99%！（测试），～");
        assert_eq!(width("ｶﾀｶﾅ ｶﾞｷﾞ ﾊﾟﾋﾟ ｳﾞ ﾜﾞ ｦ ﾝ ｰ･｡｢｣､"), "カタカナ ガギ パピ ヴ ヷ ヲ ン ー・。「」、");
        // Marks with nothing to combine with, or after what was never half as wide, stay by themselves.
        assert_eq!(width("ｱﾞ ﾞ カﾞ"), "ア゛ ゛ カ゛");
    }

    #[test]
    fn everything_else_stays() {
        let kept = "，。！？：；（）《》“”、…—～\u{3000}￥￠￦ﾡ 中文 Loam カガ naïve \u{FEFF}ﬁ";
        assert!(matches!(width(kept), Cow::Borrowed(_)));
        let all: String = ('\u{FF00}'..='\u{FFEF}').collect();
        let once = width(&all).into_owned();
        assert_eq!(width(&once), once);
        let changed: String = all.chars().filter(|&one| width(&one.to_string()) != one.to_string()).collect();
        assert_eq!(changed.chars().count(), 2 * 26 + 10 + 24 + 63);
    }

    #[test]
    fn it_is_the_form_kc_of_what_it_changes() {
        use unicode_normalization::UnicodeNormalization;
        for character in '\u{FF01}'..='\u{FF9D}' {
            let changed = of_usual_width(character);
            if changed != character {
                assert_eq!(changed.to_string(), character.to_string().nfkc().collect::<String>());
            }
        }
    }
}
