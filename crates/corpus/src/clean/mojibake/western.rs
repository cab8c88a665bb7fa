//! UTF-8 that was read as Windows-1252 or Latin-1.

use memchr::memchr2_iter;

/// What Windows-1252 has from 0x80 to 0x9F, as browsers read it: where it has nothing, the control character of Latin-1.
const SYMBOLS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
];

/// What a character of UTF-8 is of. Those that stand together in a text are of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// U+0080 to U+009F, as there are between two readings.
    Control,
    /// Signs of Latin-1, punctuation, symbols, pictures: beside letters of any script.
    Sign,
    Latin,
    /// Phonetic letters and marks that combine.
    Phonetic,
    Greek,
    Cyrillic,
    Armenian,
    Hebrew,
    Arabic,
    /// The scripts of India and of what is around it, and Ethiopic.
    Abugida,
    Thai,
    Georgian,
    Hangul,
    /// Chinese characters, kana, and their punctuation.
    Han,
}

impl Group {
    /// None of characters that hardly any text has, and many a chance sequence.
    fn of(character: char) -> Option<Self> {
        Some(match u32::from(character) {
            0x80..=0x9F => Self::Control,
            0xA0..=0xBF | 0xD7 | 0xF7 | 0x2C6..=0x2DD => Self::Sign,
            // Of the rarer letters, those of Vietnamese, of Pinyin, and of Romanian.
            0xC0..=0x17F
            | 0x192
            | 0x1A0..=0x1A1
            | 0x1AF..=0x1B0
            | 0x1CD..=0x1DC
            | 0x218..=0x21B
            | 0x1E00..=0x1EFF
            | 0xFB00..=0xFB06 => Self::Latin,
            0x250..=0x2C5 | 0x300..=0x36F => Self::Phonetic,
            0x370..=0x3FF | 0x1F00..=0x1FFF => Self::Greek,
            0x400..=0x52F => Self::Cyrillic,
            0x531..=0x58F => Self::Armenian,
            0x5B0..=0x5F4 => Self::Hebrew,
            0x60C..=0x6FF | 0xFB50..=0xFDFF | 0xFE70..=0xFEFC => Self::Arabic,
            0x900..=0xDFF | 0xF00..=0x109F | 0x1200..=0x137F | 0x1780..=0x17FF => Self::Abugida,
            0xE01..=0xEDF => Self::Thai,
            0x10A0..=0x10FF => Self::Georgian,
            0x2000..=0x2BFF | 0xFE00..=0xFE0F | 0xFEFF | 0xFFFD | 0x1_D400..=0x1_D7FF | 0x1_F000..=0x1_FAFF => {
                Self::Sign
            }
            0x1100..=0x11FF | 0xAC00..=0xD7A3 => Self::Hangul,
            0x3000..=0x9FFF | 0xF900..=0xFAFF | 0xFE30..=0xFE4F | 0xFF01..=0xFFE6 | 0x2_0000..=0x3_FFFF => Self::Han,
            _ => return None,
        })
    }

    fn is_beside(self, other: Self) -> bool {
        let open = |group| matches!(group, Self::Sign | Self::Control);
        self == other || open(self) || open(other)
    }
}

/// How certain it is that characters are a damaged one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Certainty {
    /// Text that is right may have them too.
    Possible,
    Sure,
}

/// Characters that may be the bytes of one.
struct Sequence {
    start: usize,
    end: usize,
    character: char,
    group: Group,
    certainty: Certainty,
    /// Its first character may be a letter by itself, with what follows such letters in a text.
    plain: bool,
}

/// Whether there is anything to look at more closely: a letter that a sequence may begin with, or a control character.
pub(super) fn is_suspect(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr2_iter(0xC2, 0xC3, bytes).any(|at| match (bytes[at], bytes[at + 1]) {
        (0xC2, second) => second < 0xA0,
        (_, second) => {
            let next = text[at + 2..].chars().next();
            let capital = matches!(second, 0x82 | 0x83);
            (0x82..=0xB4).contains(&second)
                && next.is_some_and(|next| is_continuation(next) || (capital && next == ' '))
        }
    })
}

/// The byte, from 0x80 on, that is read as this character.
fn byte_of(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ 0x80..=0xFF => Some(code as u8),
        0x152..=0x2122 => SYMBOLS.iter().position(|&symbol| symbol == character).map(|at| 0x80 + at as u8),
        _ => None,
    }
}

fn is_continuation(character: char) -> bool {
    byte_of(character).is_some_and(|byte| byte < 0xC0)
}

/// Whether a character may follow a capital letter in a text that is right: what closes, joins, refers, or is itself a
/// letter.
fn may_follow_letter(character: char) -> bool {
    matches!(
        character,
        '‘' | '’'
            | '“'
            | '”'
            | '…'
            | '–'
            | '—'
            | '•'
            | '›'
            | '»'
            | '™'
            | '®'
            | '©'
            | '°'
            | 'ª'
            | 'º'
            | '·'
            | '´'
            | '¹'
            | '²'
            | '³'
            | '\u{A0}'
            | '\u{AD}'
    ) || character.is_alphabetic()
}

/// Whether a letter may follow it within a text that is right: no quotation mark that closes, no sign.
fn may_precede_letter(character: char) -> bool {
    matches!(character, '‘' | '’' | '…' | '–' | '—' | '·' | '´' | '\u{A0}' | '\u{AD}') || character.is_alphabetic()
}

/// The line with its sequences put together, where there are any.
pub(super) fn mend(line: &str) -> Option<String> {
    let (mut found, whole) = sequences(line);
    settle_runs(&mut found);
    if found.iter().all(|sequence| sequence.certainty < Certainty::Sure) {
        return None;
    }
    // Letters that are no sequence's speak against those that are doubtful.
    let least = if whole { Certainty::Possible } else { Certainty::Sure };
    let mut mended = String::with_capacity(line.len());
    let mut at = 0;
    for sequence in found.iter().filter(|sequence| sequence.certainty >= least) {
        mended.push_str(&line[at..sequence.start]);
        mended.push(sequence.character);
        at = sequence.end;
    }
    mended.push_str(&line[at..]);
    Some(mended)
}

/// The sequences of a line, and whether they have all of its characters beyond ASCII.
fn sequences(line: &str) -> (Vec<Sequence>, bool) {
    let mut found = Vec::new();
    let mut whole = true;
    let mut before = None;
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let start = line.len() - rest.len();
        let read =
            if first.is_ascii() { None } else { sequence(rest, start, before).or_else(|| space(rest, start, before)) };
        let length = read.as_ref().map_or(first.len_utf8(), |read: &Sequence| read.end - start);
        // A character that was lost says nothing of the others.
        whole &= read.is_some() || first.is_ascii() || first == char::REPLACEMENT_CHARACTER;
        found.extend(read);
        before = rest[..length].chars().next_back();
        rest = &rest[length..];
    }
    (found, whole)
}

/// The sequence that a text begins with.
fn sequence(text: &str, start: usize, before: Option<char>) -> Option<Sequence> {
    let mut characters = text.chars();
    let lead = characters.next()?;
    let mut bytes = [byte_of(lead)?, 0, 0, 0];
    let length = match bytes[0] {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0 => 4,
        _ => return None,
    };
    let mut others = ['\0'; 3];
    let mut end = start + lead.len_utf8();
    for at in 1..length {
        let next = characters.next().filter(|&next| is_continuation(next))?;
        bytes[at] = byte_of(next)?;
        others[at - 1] = next;
        end += next.len_utf8();
    }
    let others = &others[..length - 1];
    let character = std::str::from_utf8(&bytes[..length]).ok()?.chars().next()?;
    let group = Group::of(character)?;
    let after = characters.next();
    let plain = others.iter().all(|&other| match lead {
        // No language has these before other letters that a sequence may have.
        'Â' | 'Ã' | 'Ä' | 'Å' | 'â' | 'ã' if other.is_alphabetic() => false,
        // No capital follows a small letter.
        'à'..='ð' if other.is_alphabetic() => matches!(other, 'š' | 'ž' | 'ª' | 'º'),
        _ => may_follow_letter(other),
    });
    let certain = match length {
        2 => is_sure_of_two(group, lead, others[0], plain, before, after),
        3 => is_sure_of_three(group, others, plain, before, after),
        _ => matches!(bytes[1], 0x9D | 0x9F),
    };
    let certainty = if certain { Certainty::Sure } else { Certainty::Possible };
    Some(Sequence { start, end, character, group, certainty, plain })
}

fn is_sure_of_two(
    group: Group,
    lead: char,
    other: char,
    plain: bool,
    before: Option<char>,
    after: Option<char>,
) -> bool {
    let lower = before.is_some_and(char::is_lowercase);
    let upper = before.is_some_and(char::is_uppercase);
    match group {
        // A capital after a small letter, and no letter after it.
        Group::Latin | Group::Sign if lower && lead.is_uppercase() => true,
        Group::Phonetic => lower && (!plain || after.is_some_and(char::is_lowercase)),
        Group::Latin | Group::Sign if !plain => true,
        _ if upper => {
            let within = !may_precede_letter(other) || other == '\u{AD}';
            group == Group::Latin && within && after.is_some_and(char::is_lowercase)
        }
        // The name of the letter: « Â », “Ã”.
        _ if before
            .is_some_and(|before| matches!(before, '“' | '‘' | '«' | '‹' | '„' | '"' | '\'' | '(' | '\u{A0}')) =>
        {
            after.is_some_and(char::is_alphabetic)
        }
        Group::Latin if matches!(other, '\u{A0}') => {
            lead == 'Ã' && after.is_some_and(|after| after.is_alphabetic() || matches!(after, ' ' | ',' | '.'))
        }
        // Signs after the name of the letter, without a space.
        Group::Latin if lead == 'Ã' && matches!(other, '©' | '®' | '°' | '²' | '³' | '¹') => true,
        Group::Latin => after.is_some_and(char::is_lowercase) && (lead == 'Ã' || !may_precede_letter(other)),
        Group::Sign => {
            !matches!(other, '\u{A0}' | '\u{AD}') || before.is_some_and(|before| before.is_ascii_punctuation())
        }
        _ => false,
    }
}

fn is_sure_of_three(group: Group, others: &[char], plain: bool, before: Option<char>, after: Option<char>) -> bool {
    let [second, third] = others else { return false };
    let letter = before.is_some_and(char::is_alphabetic);
    match group {
        // Dashes and quotation marks are â, €, and a third.
        Group::Sign if *second == '€' => true,
        // The mark that files begin with.
        Group::Sign if (*second, *third) == ('»', '¿') => true,
        Group::Sign | Group::Latin | Group::Greek | Group::Georgian => {
            !plain || (letter && after.is_some_and(char::is_lowercase) && !may_precede_letter(*third))
        }
        _ => !plain && !letter,
    }
}

/// À and U+00A0 where the latter, the second byte of each, has become a space.
fn space(text: &str, start: usize, before: Option<char>) -> Option<Sequence> {
    let (character, spaces) = match text.strip_prefix(['Ã', 'Â']) {
        Some(after) if after.starts_with(' ') => {
            (if text.starts_with('Ã') { 'à' } else { '\u{A0}' }, after.len() - after.trim_start_matches(' ').len())
        }
        _ => return None,
    };
    let sure = match character {
        'à' => before.is_some_and(char::is_lowercase),
        _ => before.is_some_and(|before| before.is_lowercase() || matches!(before, '.' | ',' | ';' | ':' | '!' | '?')),
    };
    // Of several spaces, the first was the byte; one alone may stand for both.
    let end = start + 2 + usize::from(spaces > 1 || character != 'à');
    let certainty = if sure { Certainty::Sure } else { Certainty::Possible };
    Some(Sequence { start, end, character, group: Group::Sign, certainty, plain: true })
}

/// Sequences that follow each other without anything between are no chance, if they could be words.
fn settle_runs(found: &mut [Sequence]) {
    let mut from = 0;
    while from < found.len() {
        let mut to = from + 1;
        while to < found.len() && found[to].start == found[to - 1].end && found[to].group.is_beside(found[to - 1].group)
        {
            to += 1;
        }
        let run = &mut found[from..to];
        let odd = run.iter().any(|sequence| !sequence.plain);
        let varied = run.iter().any(|sequence| sequence.character != run[0].character);
        let certain = run.iter().any(|sequence| sequence.certainty == Certainty::Sure);
        if run.len() > 1 && (certain || odd || (varied && run.len() > 3)) {
            for sequence in run {
                sequence.certainty = Certainty::Sure;
            }
        }
        from = to;
    }
}

/// The text with Windows-1252's characters in place of control characters, where there are any.
pub(super) fn without_controls(text: &str) -> Option<String> {
    let is_control = |character: char| ('\u{80}'..='\u{9F}').contains(&character);
    text.contains(is_control).then(|| {
        let of = |character: char| if is_control(character) { SYMBOLS[character as usize - 0x80] } else { character };
        text.chars().map(of).collect()
    })
}
