//! E-mail and IP addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use memchr::memchr_iter;

use super::{Hit, Redaction};

/// What may stand before the `@`, but for dots (RFC 5322, 3.2.3).
fn is_atom(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&byte)
}

/// Dots that each stand between two atoms: where the local part may begin at the earliest.
fn local_start(bytes: &[u8], at: usize) -> usize {
    let mut start = at;
    while start > 0 {
        let byte = bytes[start - 1];
        let dot = byte == b'.' && start < at && bytes[start] != b'.' && start >= 2 && is_atom(bytes[start - 2]);
        if !is_atom(byte) && !dot {
            break;
        }
        start -= 1;
    }
    start
}

/// Finds the e-mail addresses: as datatrove does, but that the last part of a domain has to begin with a letter, because
/// `package@1.2.3` is none.
pub(super) fn emails(text: &str, hits: &mut Vec<Hit>) {
    let bytes = text.as_bytes();
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    for at in memchr_iter(b'@', bytes) {
        let earliest = local_start(bytes, at);
        let mut before = text[..earliest].chars().next_back().is_some_and(is_word);
        // The address begins where a word begins or ends, so that quotes and brackets before it stay.
        let start = (earliest..at).find(|&place| {
            let word = is_word(char::from(bytes[place]));
            let boundary = word != before;
            before = word;
            boundary && bytes[place] != b'.'
        });
        let Some(start) = start else { continue };
        if let Some(length) = domain(&bytes[at + 1..]) {
            hits.push(Hit { start, end: at + 1 + length, kind: Redaction::Email });
        }
    }
}

/// Bytes of the domain at the start: labels with dots between, the last of them from a letter on.
fn domain(bytes: &[u8]) -> Option<usize> {
    let mut end = None;
    let mut at = 0;
    let mut labels = 0;
    loop {
        let run = bytes[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
        let label = &bytes[at..at + run];
        let bare = label.iter().rposition(|&byte| byte != b'-').map_or(0, |last| last + 1);
        if bare == 0 || label[0] == b'-' {
            return end;
        }
        labels += 1;
        if labels > 1 && label[0].is_ascii_alphabetic() && bare > 1 {
            end = Some(at + bare);
        }
        if bare < run || bytes.get(at + run) != Some(&b'.') {
            return end;
        }
        at += run + 1;
    }
}

/// True for addresses that the public network knows.
pub(super) fn is_public_ipv4(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    // RFC 6890: this network, private, shared, loopback, link-local, benchmarks, documentation, reserved.
    let special = match (a, b, c) {
        (192, 0, 0) => !matches!(d, 9 | 10),
        (0 | 10 | 127 | 240..=255, ..)
        | (100, 64..=127, _)
        | (169, 254, _)
        | (172, 16..=31, _)
        | (192, 168, _)
        | (192, 0, 2)
        | (198, 18 | 19, _)
        | (198, 51, 100)
        | (203, 0, 113) => true,
        _ => false,
    };
    !special
}

fn is_public_ipv6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // Of what is global unicast: protocol assignments, documentation, and 6to4 stand for none.
    let special = matches!((first, second), (0x2001, 0..=0x1FF | 0xDB8) | (0x2002, _) | (0x3FFF, 0..=0xFFF));
    (0x2000..=0x3FFF).contains(&first) && !special
}

/// The longest written form has 45 characters (RFC 4291, 2.2), and a zone is no part of it.
const LONGEST_IPV6: usize = 45;

/// Finds the IPv6 addresses.
pub(super) fn ipv6(text: &str, private: bool, hits: &mut Vec<Hit>) {
    let bytes = text.as_bytes();
    let inside = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
    let mut next = 0;
    for colon in memchr_iter(b':', bytes) {
        if colon < next {
            continue;
        }
        let before = bytes[next..colon].iter().rev().take_while(|&&byte| inside(byte)).count();
        let start = colon - before;
        let after = bytes[colon..].iter().take_while(|&&byte| inside(byte)).count();
        next = colon + after;
        let run = &text[start..next];
        // A full stop, a colon may follow it.
        let run = run.strip_suffix("::").map_or_else(|| run.trim_end_matches(['.', ':']), |_| run);
        let colons = memchr_iter(b':', run.as_bytes()).count();
        if colons < 2 || run.len() > LONGEST_IPV6 {
            continue;
        }
        let joined = |character: char| character.is_alphanumeric() || matches!(character, '_' | ':' | '.');
        let alone = !text[..start].chars().next_back().is_some_and(joined)
            && !text[start + run.len()..].chars().next().is_some_and(|next| next.is_alphanumeric() || next == '_');
        // `a::b` is a path in many languages of programming; an address has a group of digits first.
        let digits = run.split(':').find(|group| !group.is_empty());
        let number = digits.is_some_and(|group| group.bytes().any(|byte| byte.is_ascii_digit()));
        if !alone || !(number || colons > 3) {
            continue;
        }
        if run.parse::<Ipv6Addr>().is_ok_and(|address| private || is_public_ipv6(address)) {
            hits.push(Hit { start, end: start + run.len(), kind: Redaction::Ipv6 });
        }
    }
}
