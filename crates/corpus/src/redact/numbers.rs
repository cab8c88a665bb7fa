//! What is made of digits: phone numbers, IPv4 addresses, card numbers, Chinese identity numbers.

use std::net::Ipv4Addr;

use super::addresses::is_public_ipv4;
use super::{Hit, Redaction};

/// The longest that is looked at: a card number of 19 digits in groups.
const LONGEST: usize = 32;

/// Finds them all. Every place where a number begins is looked at once, and no further than [`LONGEST`] bytes.
pub(super) fn find(text: &str, private: bool, hits: &mut Vec<Hit>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        // Most of a text has no digits; without a way out of the inner loop, it is compiled to vector instructions.
        let ahead = &bytes[at..bytes.len().min(at + 64)];
        if !ahead.iter().fold(false, |found, byte| found | byte.is_ascii_digit()) {
            at += ahead.len();
            continue;
        }
        at += ahead.iter().position(u8::is_ascii_digit).unwrap_or(0);
        let (end, kind) = number(text, at, private);
        if let Some((start, kind)) = kind {
            hits.push(Hit { start, end, kind });
        }
        at = end;
    }
}

/// What begins at a digit: the byte to go on from, and the start and kind of what it is.
fn number(text: &str, at: usize, private: bool) -> (usize, Option<(usize, Redaction)>) {
    let bytes = text.as_bytes();
    let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let skip = (at + digits, None);
    let before = text[..at].chars().next_back();
    if before.is_some_and(|before| joins(before) || before == '_') {
        return skip;
    }
    let found = ipv4(text, at, private)
        .map(|end| (at, end, Redaction::Ipv4))
        .or_else(|| chinese_id(text, at).map(|end| (at, end, Redaction::ChineseId)))
        .or_else(|| card(text, at).map(|end| (at, end, Redaction::Card)))
        .or_else(|| phone(text, at).map(|(start, end)| (start, end, Redaction::Phone)));
    found.map_or(skip, |(start, end, kind)| (end, Some((start, kind))))
}

/// A letter or digit of a word that a number would be part of. Chinese characters are not: nothing parts them from a number.
fn joins(character: char) -> bool {
    character.is_alphanumeric() && u32::from(character) < 0x2E80
}

/// True where nothing that belongs to a number follows: a full stop may, but no decimals.
fn ends(text: &str, at: usize) -> bool {
    let mut after = text[at..].chars();
    match after.next() {
        Some('.' | '-' | ',' | '/' | ':') => !after.next().is_some_and(|next| next.is_ascii_digit()),
        Some(next) => !joins(next) && next != '_' && next != '%',
        None => true,
    }
}

/// True where a number or word before this place goes on here: `3.`, `x-`, `$`.
fn continues(text: &str, at: usize) -> bool {
    let mut before = text[..at].chars().rev();
    match before.next() {
        Some('.' | '-' | ',' | '/' | '+') => {
            before.next().is_some_and(|before| joins(before) || matches!(before, '.' | '-'))
        }
        Some(before) => matches!(before, '$' | '€' | '£' | '¥' | '￥' | '#' | '_' | '='),
        None => false,
    }
}

/// Words before numbers with dots that are no addresses.
const BEFORE_VERSIONS: [&str; 10] =
    ["v", "ver", "version", "versions", "release", "section", "chapter", "rfc", "build", "clause"];

fn ipv4(text: &str, at: usize, private: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut octets = [0u8; 4];
    let mut place = at;
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            place += usize::from(bytes.get(place) == Some(&b'.'));
        }
        let length = bytes[place..].iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
        let written = &text[place..place + length];
        // Zeros in front would be octal to some, and are no address to others.
        if written.len() > 1 && written.starts_with('0') {
            return None;
        }
        *octet = written.parse().ok()?;
        place += length;
        if index < 3 && bytes.get(place) != Some(&b'.') {
            return None;
        }
    }
    let after = &text[place..];
    let goes_on = after.starts_with(|next: char| joins(next) || next == '_')
        || after.strip_prefix('.').is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_digit()))
        || after.strip_prefix('-').is_some_and(|rest| rest.starts_with(joins));
    let before = &text[..at];
    let mut back = before.chars().rev();
    let (first, second) = (back.next(), back.next());
    let part = match first {
        Some('.' | '-') => second.is_some_and(joins),
        // A product and its version.
        Some('/') => second.is_some_and(char::is_alphabetic),
        _ => false,
    };
    let bare = before.trim_end_matches([' ', ':', '.', '=']);
    let from = bare.char_indices().rev().take(10).take_while(|(_, character)| character.is_ascii_alphabetic()).last();
    let word = from.map_or("", |(from, _)| &bare[from..]);
    let version = BEFORE_VERSIONS.iter().any(|known| word.eq_ignore_ascii_case(known));
    let fits = private || is_public_ipv4(Ipv4Addr::from(octets));
    (!goes_on && !part && !version && fits).then_some(place)
}

/// First two digits of the regions.
fn is_region(region: u32) -> bool {
    matches!(region, 11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83)
}

fn is_date(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => 0,
    };
    (1850..2100).contains(&year) && (1..=days).contains(&day)
}

fn value(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
}

fn chinese_id(text: &str, at: usize) -> Option<usize> {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let written: &[u8; 18] = text.as_bytes()[at..].first_chunk()?;
    let digits = &written[..17];
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    let check = b"10X98765432"[sum as usize % 11];
    let fits = written[17].to_ascii_uppercase() == check
        && is_region(value(&digits[..2]))
        && is_date(value(&digits[6..10]), value(&digits[10..12]), value(&digits[12..14]));
    (fits && !continues(text, at) && ends(text, at + 18)).then_some(at + 18)
}

/// Digits in groups, with the same mark between all of them.
struct Groups {
    digits: Vec<u8>,
    /// Digits of each group.
    lengths: Vec<usize>,
    /// Where each group ends.
    ends: Vec<usize>,
}

/// A group this long is the last: what follows it is another number.
const LAST_GROUP: usize = 7;

fn groups(text: &str, at: usize, marks: &[u8]) -> Groups {
    let bytes = &text.as_bytes()[..text.len().min(at + LONGEST)];
    let (digits, lengths, ends) = (Vec::with_capacity(LONGEST), Vec::with_capacity(8), Vec::with_capacity(8));
    let mut found = Groups { digits, lengths, ends };
    let mut mark = None;
    let mut place = at;
    loop {
        let length = bytes[place..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            break;
        }
        let end = place + length;
        found.digits.extend_from_slice(&bytes[place..end]);
        found.lengths.push(length);
        found.ends.push(end);
        let Some(next) = bytes.get(end).copied().filter(|next| length < LAST_GROUP && marks.contains(next)) else {
            break;
        };
        if *mark.get_or_insert(next) != next {
            break;
        }
        place = end + 1;
    }
    found
}

impl Groups {
    /// The end of the most groups from the first on that are a number of the kind asked for.
    fn longest(&self, fits: impl Fn(&[u8], &[usize]) -> bool) -> Option<usize> {
        (1..=self.lengths.len()).rev().find_map(|count| {
            let lengths = &self.lengths[..count];
            let digits = &self.digits[..lengths.iter().sum()];
            fits(digits, lengths).then(|| self.ends[count - 1])
        })
    }
}

fn passes_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let doubled = u32::from(digit - b'0') * (1 + place as u32 % 2);
            doubled / 10 + doubled % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Prefixes and lengths that cards in use have.
fn is_issued(digits: &[u8]) -> bool {
    let (two, four) = (value(&digits[..2]), value(&digits[..4]));
    match digits.len() {
        13 => digits[0] == b'4',
        14 => matches!(two, 36 | 38 | 39) || matches!(four, 3000..=3059),
        15 => matches!(two, 34 | 37),
        16 => {
            digits[0] == b'4'
                || matches!(two, 51..=55 | 60 | 62 | 64 | 65 | 81)
                || matches!(four, 2221..=2720 | 3528..=3589)
        }
        17..=19 => matches!(two, 62) || (digits.len() == 19 && digits[0] == b'4'),
        _ => false,
    }
}

fn card(text: &str, at: usize) -> Option<usize> {
    let end = groups(text, at, b" -").longest(|digits, lengths| {
        let grouped = match *lengths {
            [_] | [4, 6, 4 | 5] => true,
            [ref first @ .., last] => first.len() > 2 && first.iter().all(|&length| length == 4) && last <= 4,
            [] => false,
        };
        let varied = digits.iter().any(|digit| *digit != digits[0]);
        grouped && digits.len() > 12 && varied && is_issued(digits) && passes_luhn(digits)
    })?;
    (!continues(text, at) && ends(text, end)).then_some(end)
}

/// Where a phone number starts and ends whose first digit is here.
fn phone(text: &str, at: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let opened = at > 0 && bytes[at - 1] == b'(';
    if at > 0 && bytes[at - 1] == b'+' {
        let before = text[..at - 1].chars().next_back();
        let end = international(text, at).filter(|&end| ends(text, end))?;
        return (!before.is_some_and(|before| joins(before) || before == '+')).then_some((at - 1, end));
    }
    if continues(text, at - usize::from(opened)) {
        return None;
    }
    let end = if opened { after_bracket(text, at) } else { chinese(text, at).or_else(|| american(text, at)) };
    let end = end.filter(|&end| ends(text, end))?;
    Some((at - usize::from(opened), end))
}

/// Behind a `+`: eight to fifteen digits (E.164), in groups with a mark between, some of them in brackets. Numbers of North
/// America have eleven, Chinese ones thirteen.
fn international(text: &str, at: usize) -> Option<usize> {
    let bytes = &text.as_bytes()[..text.len().min(at + LONGEST)];
    let most = match bytes[at..] {
        [b'1', ..] => 11,
        [b'8', b'6', ..] => 13,
        _ => 15,
    };
    let (mut digits, mut place, mut open) = (0, at, false);
    let mut end = None;
    loop {
        let group = bytes[place..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        digits += group;
        place += group;
        if group == 0 || digits > most {
            break;
        }
        if bytes.get(place) == Some(&b')') && open {
            (open, place) = (false, place + 1);
        }
        if digits >= 8 && !open {
            end = Some(place);
        }
        place += usize::from(matches!(bytes.get(place), Some(b' ' | b'-' | b'.')));
        if bytes.get(place) == Some(&b'(') && !open {
            (open, place) = (true, place + 1);
        }
    }
    end.filter(|_| bytes[at] != b'0')
}

/// `139 1234 5678`, `13912345678`, `86-139-1234-5678`, `010-12345678`, `0755 1234567`.
fn chinese(text: &str, at: usize) -> Option<usize> {
    let mobile = |digits: &[u8]| digits.len() == 11 && digits[0] == b'1' && (b'3'..=b'9').contains(&digits[1]);
    groups(text, at, b" -").longest(|digits, lengths| match lengths {
        [11] | [3, 4, 4] => mobile(digits),
        [13] | [2, 11] | [2, 3, 4, 4] => digits.starts_with(b"86") && mobile(&digits[2..]),
        [3, 8] => digits[0] == b'0' && matches!(digits[1], b'1' | b'2'),
        [4, 7 | 8] => digits[0] == b'0' && (b'3'..=b'9').contains(&digits[1]),
        _ => false,
    })
}

/// An area code and the exchange: neither begins with 0 or 1 (North American Numbering Plan).
fn is_american(digits: &[u8]) -> bool {
    digits.len() == 10 && digits[0] > b'1' && digits[3] > b'1' && !(digits[1] == b'1' && digits[2] == b'1')
}

/// `555-234-5678`, `555.234.5678`, `1-555-234-5678`.
fn american(text: &str, at: usize) -> Option<usize> {
    groups(text, at, b"-.").longest(|digits, lengths| match lengths {
        [3, 3, 4] => is_american(digits),
        [1, 3, 3, 4] => digits[0] == b'1' && is_american(&digits[1..]),
        _ => false,
    })
}

/// `(555) 234-5678`, `(010) 1234 5678`.
fn after_bracket(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let area = bytes[at..].iter().take(5).take_while(|byte| byte.is_ascii_digit()).count();
    if bytes.get(at + area) != Some(&b')') {
        return None;
    }
    let next = at + area + 1;
    let next = next + usize::from(matches!(bytes.get(next), Some(b' ' | b'-')));
    groups(text, next, b" -.").longest(|digits, lengths| {
        let all = [&bytes[at..at + area], digits].concat();
        match lengths {
            [3, 4] => area == 3 && is_american(&all),
            [7 | 8] | [4, 4] => (3..=4).contains(&area) && all[0] == b'0' && (10..=12).contains(&all.len()),
            _ => false,
        }
    })
}
