//! UTF-8 that was read as GBK.
//!
//! Three bytes make one Chinese character in UTF-8 and one and a half in GBK, so that every third character of such a text
//! is of a page of GBK that Chinese has little of. A text that is right is not UTF-8 when it is written as GBK but by a
//! chance that grows small with every character.

use std::sync::LazyLock;

use encoding_rs::GBK;

/// The code of every character of the first plane in GBK; 0 where it has none. Looked up for each character of Chinese, for
/// which an encoder is too slow.
static CODES: LazyLock<Vec<u16>> = LazyLock::new(|| {
    let mut codes = vec![0; 0x1_0000];
    for lead in 0x81..=0xFE_u8 {
        for trail in 0x40..=0xFE_u8 {
            let bytes = [lead, trail];
            let Some(text) = GBK.decode_without_bom_handling_and_without_replacement(&bytes) else { continue };
            let mut characters = text.chars();
            if let (Some(character @ '\u{80}'..='\u{FFFF}'), None) = (characters.next(), characters.next()) {
                codes[character as usize] = u16::from_be_bytes(bytes);
            }
        }
    }
    // Windows' GBK has it in one byte.
    codes['€' as usize] = 0x80;
    codes
});

/// The code of a character beyond ASCII.
fn code(character: char) -> Option<u16> {
    CODES.get(character as usize).copied().filter(|&code| code != 0)
}

/// Whether text begins with a character that such a reading may begin with, at a place where it may begin. The pages of
/// rare characters from E2 on have them, which are few in a text that is right.
fn begins(text: &str) -> bool {
    let mut characters = text.chars();
    let lead = characters.next().filter(|first| ('\u{4E00}'..='\u{9FFF}').contains(first)).and_then(code);
    lead.is_some_and(|code| {
        let [lead, second] = code.to_be_bytes();
        (0xE2..=0xEF).contains(&lead) && (0x80..=0xBF).contains(&second)
    }) && characters.next().is_some_and(|second| !second.is_ascii() && !matches!(second, '，' | '。' | '、'))
}

/// Where what is not ASCII begins after ASCII.
fn starts(text: &str) -> impl Iterator<Item = usize> {
    let bytes = text.as_bytes();
    (0..bytes.len()).filter(move |&at| !bytes[at].is_ascii() && (at == 0 || bytes[at - 1].is_ascii()))
}

/// Whether there is anything to look at more closely.
pub(super) fn is_suspect(text: &str) -> bool {
    starts(text).any(|at| begins(&text[at..]))
}

/// The line with what was read as GBK read as UTF-8, where there is any.
pub(super) fn mend(line: &str) -> Option<String> {
    let mut mended = String::new();
    let mut at = 0;
    for start in starts(line).filter(|&start| begins(&line[start..])) {
        if let Some((text, end)) = reread(&line[start..]) {
            mended.push_str(&line[at..start]);
            mended.push_str(&text);
            at = start + end;
        }
    }
    (at > 0).then(|| mended + &line[at..])
}

/// What a text begins with up to ASCII, read as UTF-8, and how many bytes that is of. A byte that GBK had nothing for stands
/// there as U+FFFD, or at the end as a question mark; the character that it was of is lost.
fn reread(text: &str) -> Option<(String, usize)> {
    let mut bytes = Vec::new();
    let mut end = 0;
    for character in text.chars().take_while(|character| !character.is_ascii()) {
        match code(character).map(u16::to_be_bytes) {
            Some([0, byte]) => bytes.push(Some(byte)),
            Some(pair) => bytes.extend(pair.map(Some)),
            None if character == char::REPLACEMENT_CHARACTER => bytes.push(None),
            None => return None,
        }
        end += character.len_utf8();
    }
    let mut read = String::with_capacity(end);
    let mut rest = &bytes[..];
    while let [first, others @ ..] = rest {
        let length = match first {
            Some(0..=0x7F) => 1,
            Some(0xC2..=0xDF) => 2,
            Some(0xE0..=0xEF) => 3,
            Some(0xF0..=0xF4) => 4,
            _ => return None,
        };
        if others.len() + 1 < length {
            // The last byte of an odd number took the next for its second, and both are gone where that was none of GBK.
            if !text[end..].starts_with('?') || others.len() + 2 < length {
                return None;
            }
            read.push(char::REPLACEMENT_CHARACTER);
            end += 1;
            break;
        }
        let (these, after) = rest.split_at(length);
        let known: Vec<u8> = these.iter().copied().flatten().collect();
        if known.len() == length {
            // What was U+FFFD before it was misread is gone.
            read.push(
                std::str::from_utf8(&known).ok()?.chars().next().filter(|&one| one != char::REPLACEMENT_CHARACTER)?,
            );
        } else if known[1..].iter().all(|byte| (0x80..=0xBF).contains(byte)) {
            read.push(char::REPLACEMENT_CHARACTER);
        } else {
            return None;
        }
        rest = after;
    }
    is_text(&read).then_some((read, end))
}

/// Whether this is what somebody wrote: Chinese or Japanese, or a quotation mark and the letter behind it.
fn is_text(read: &str) -> bool {
    let known = read.chars().filter(|&character| character != char::REPLACEMENT_CHARACTER);
    // The characters of GB 2312, and of these the usual ones where there are few to tell by.
    let last = if known.clone().nth(2).is_none() { 0xD7 } else { 0xF7 };
    let lost = read.chars().count() - known.clone().count();
    let (mut characters, mut common, mut signs) = (0, 0, 0);
    for character in known {
        match character {
            '\u{3000}'..='\u{30FF}' | '\u{FF01}'..='\u{FF5E}' => {
                characters += 1;
                common += 1;
            }
            '\u{4E00}'..='\u{9FFF}' => {
                characters += 1;
                let [page, place] = code(character).unwrap_or_default().to_be_bytes();
                common += usize::from((0xB0..=last).contains(&page) && place > 0xA0);
            }
            '\u{2010}'..='\u{2026}' => signs += 1,
            '·' | '\0'..='\u{7F}' => {}
            _ => return false,
        }
    }
    // Traditional Chinese has many characters beyond GB 2312.
    let least = if characters < 4 { characters } else { characters / 4 };
    let chinese = characters > 1 && common >= least && lost <= characters;
    chinese || (characters == 0 && signs > 0 && lost == 0)
}
