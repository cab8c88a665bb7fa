//! The words of English text, as spaCy's rules split them: white space first, then punctuation at the ends of what stands
//! between, then within it, but for [`super::specials`] and addresses of the web.

use super::characters::{is_affix, is_alpha, is_currency, is_icon, is_lower, is_quote, is_upper};
use super::specials::Specials;

/// What follows a number directly and is a word of its own.
const UNITS: &[&str] = &[
    "km", "km²", "km³", "m", "m²", "m³", "dm", "dm²", "dm³", "cm", "cm²", "cm³", "mm", "mm²", "mm³", "ha", "µm", "nm",
    "yd", "in", "ft", "kg", "g", "mg", "µg", "t", "lb", "oz", "m/s", "km/h", "kmh", "mph", "hPa", "Pa", "mbar", "mb",
    "MB", "kb", "KB", "gb", "GB", "tb", "TB", "T", "G", "M", "K", "%", "км", "км²", "км³", "м", "м²", "м³", "дм",
    "дм²", "дм³", "см", "см²", "см³", "мм", "мм²", "мм³", "нм", "кг", "г", "мг", "м/с", "км/ч", "кПа", "Па", "мбар",
    "Кб", "КБ", "кб", "Мб", "МБ", "мб", "Гб", "ГБ", "гб", "Тб", "ТБ", "US$", "C$", "A$",
];

/// Bytes of the dots at the start.
fn dots(text: &str) -> usize {
    text.bytes().take_while(|&byte| byte == b'.').count()
}

/// Bytes of what leaves a word at its start; 0 where nothing does.
fn prefix(text: &str) -> usize {
    let Some(first) = text.chars().next() else { return 0 };
    match first {
        '§' | '%' | '=' | '—' | '–' => first.len_utf8(),
        '+' => usize::from(!text[1..].starts_with(|next: char| next.is_ascii_digit())),
        '.' => Some(dots(text)).filter(|&dots| dots > 1).unwrap_or(0),
        'U' => 3 * usize::from(text.starts_with("US$")),
        'C' | 'A' => 2 * usize::from(text[1..].starts_with('$')),
        _ if is_affix(first) || is_currency(first) || is_icon(first) => first.len_utf8(),
        _ => 0,
    }
}

fn ends_in_digit(text: &str) -> bool {
    text.as_bytes().last().is_some_and(u8::is_ascii_digit)
}

/// True where a full stop behind this text is a word of its own.
fn stop_leaves(before: &str) -> bool {
    let mut back = before.chars().rev();
    let Some(last) = back.next() else { return false };
    let second = back.next();
    last.is_ascii_digit()
        || matches!(last, '%' | '²' | '-' | '+' | '|')
        || is_lower(last)
        || is_affix(last)
        || (is_upper(last) && second.is_some_and(is_upper))
        || (second == Some('°') && matches!(last, 'F' | 'C' | 'K'))
}

/// Bytes of what leaves a word at its end; 0 where nothing does.
fn suffix(text: &str) -> usize {
    let Some(last) = text.chars().next_back() else { return 0 };
    let before = &text[..text.len() - last.len_utf8()];
    match last {
        '.' => {
            let run = text.bytes().rev().take_while(|&byte| byte == b'.').count();
            if run > 1 { run } else { usize::from(stop_leaves(before)) }
        }
        '…' => '…'.len_utf8() * (1 + usize::from(before.ends_with('…'))),
        's' | 'S' if before.ends_with('\'') => 2,
        's' | 'S' if before.ends_with('’') => 1 + '’'.len_utf8(),
        '—' | '–' => last.len_utf8(),
        _ if is_affix(last) || is_icon(last) => last.len_utf8(),
        '+' => usize::from(ends_in_digit(before)),
        _ => {
            let from = text.bytes().rposition(|byte| byte.is_ascii_digit()).map_or(text.len(), |digit| digit + 1);
            let unit = &text[from..];
            let unit = if UNITS.contains(&unit) { unit.len() } else { 0 };
            if unit == 0 && is_currency(last) && ends_in_digit(before) { last.len_utf8() } else { unit }
        }
    }
}

/// Bytes of what parts a word at `at`, which is not its start; 0 where nothing does.
fn infix(text: &str, at: usize, character: char) -> usize {
    let length = character.len_utf8();
    let before = text[..at].chars().next_back().unwrap_or('\0');
    let rest = &text[at + length..];
    let after = rest.chars().next().unwrap_or('\0');
    let joins = is_alpha(before) || before.is_ascii_digit();
    let parts = match character {
        '.' if after == '.' => return dots(&text[at..]),
        '.' => (is_lower(before) || is_quote(before)) && (is_upper(after) || is_quote(after)),
        '…' => true,
        ',' => is_alpha(before) && is_alpha(after),
        '+' | '*' | '^' => before.is_ascii_digit() && (after.is_ascii_digit() || after == '-'),
        '-' if before.is_ascii_digit() && (after.is_ascii_digit() || after == '-') => true,
        '-' if joins => {
            let run = rest.bytes().take_while(|&byte| byte == b'-').take(3).count();
            let ends = rest[run..].chars().next().is_some_and(is_alpha);
            return if run < 3 && ends { 1 + run } else { 0 };
        }
        '—' if joins && after == '—' => {
            let ends = rest['—'.len_utf8()..].chars().next().is_some_and(is_alpha);
            return if ends { 2 * length } else { 0 };
        }
        '—' | '–' | '~' | ':' | '<' | '>' | '=' | '/' => joins && is_alpha(after),
        _ => is_icon(character),
    };
    if parts { length } else { 0 }
}

/// Which of the rules would touch a string.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affixes {
    prefix: bool,
    suffix: bool,
    infix: bool,
}

impl Affixes {
    /// What they do to this one.
    pub(super) fn of(text: &str) -> Self {
        let mut places = text.char_indices();
        Self {
            prefix: prefix(text) > 0,
            suffix: suffix(text) > 0,
            infix: places.any(|(at, character)| infix(text, at, character) > 0),
        }
    }

    /// True where one of them does.
    pub(super) fn any(self) -> bool {
        self.prefix || self.suffix || self.infix
    }
}

/// Ends of the words of what stands between white space, after `ends`, before special strings are put together again.
pub(super) fn first_pass(span: &str, specials: Option<&Specials>, cut: &mut Vec<u32>, ends: &mut Vec<u32>) {
    let is_special = |text: &str| !text.is_empty() && specials.is_some_and(|specials| specials.find(text).is_some());
    let (mut from, mut to) = (0, span.len());
    cut.clear();
    while from < to && !is_special(&span[from..to]) {
        let before = prefix(&span[from..to]);
        if before > 0 && is_special(&span[from + before..to]) {
            from += before;
            ends.push(from as u32);
            break;
        }
        let behind = suffix(&span[from + before..to]);
        if behind > 0 && is_special(&span[from..to - behind]) {
            cut.push(to as u32);
            to -= behind;
            break;
        }
        if before + behind == 0 {
            break;
        }
        if before > 0 {
            from += before;
            ends.push(from as u32);
        }
        if behind > 0 {
            cut.push(to as u32);
            to -= behind;
        }
    }
    if from < to {
        let middle = &span[from..to];
        match specials.and_then(|specials| specials.find(middle)) {
            Some(special) => ends.extend(special.ends.iter().map(|end| end + from as u32)),
            None => inner(middle, from, ends),
        }
    }
    ends.extend(cut.iter().rev());
}

/// Ends of the words within what is left between prefixes and suffixes.
fn inner(middle: &str, from: usize, ends: &mut Vec<u32>) {
    let first = ends.len();
    let mut start = 0;
    let mut skip = 0;
    for (at, character) in middle.char_indices() {
        if at < skip || character.is_ascii_alphanumeric() {
            continue;
        }
        let length = infix(middle, at, character);
        skip = at + length;
        // What would part a word at its very start stays with it.
        if length == 0 || at == 0 {
            continue;
        }
        if at > start {
            ends.push((from + at) as u32);
        }
        ends.push((from + skip) as u32);
        start = skip;
    }
    if ends.len() > first && super::addresses::is_address(middle) {
        ends.truncate(first);
        start = 0;
    }
    if start < middle.len() {
        ends.push((from + middle.len()) as u32);
    }
}

/// Puts special strings together again that the first pass took apart, each where its words are what it would be split
/// into as plain text. The longest come first.
pub(super) fn second_pass(span: &str, specials: &Specials, ends: &mut Vec<u32>, found: &mut Vec<(usize, usize)>) {
    found.clear();
    let begin = |word: usize, ends: &[u32]| if word == 0 { 0 } else { ends[word - 1] as usize };
    for first in 0..ends.len() {
        let start = begin(first, ends);
        for last in first..ends.len() {
            let end = ends[last] as usize;
            if end - start > specials.longest {
                break;
            }
            let Some(special) = specials.find(&span[start..end]) else { continue };
            let same = special.plain.len() == last + 1 - first
                && special
                    .plain
                    .iter()
                    .zip(&ends[first..])
                    .all(|(plain, end)| *plain as usize + start == *end as usize);
            if same {
                found.push((first, last + 1));
            }
        }
    }
    if found.is_empty() {
        return;
    }
    found.sort_by_key(|&(first, last)| (usize::MAX - (last - first), first));
    let mut taken = vec![false; ends.len()];
    let mut kept: Vec<(usize, usize)> = Vec::new();
    for &(first, last) in found.iter() {
        if !taken[first] && !taken[last - 1] {
            kept.push((first, last));
        }
        taken[first..last].fill(true);
    }
    kept.sort_unstable();
    let old = std::mem::take(ends);
    let mut next = 0;
    for (first, last) in kept {
        ends.extend(&old[next..first]);
        let start = begin(first, &old);
        let special = specials.find(&span[start..old[last - 1] as usize]);
        ends.extend(special.into_iter().flat_map(|special| &special.ends).map(|end| end + start as u32));
        next = last;
    }
    ends.extend(&old[next..]);
}
