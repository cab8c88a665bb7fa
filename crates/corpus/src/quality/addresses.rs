//! Addresses of the web, which stay one word: spaCy's pattern, read from left to right in linear time.

use super::characters::is_lower;

fn is_host(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(u32::from(character), 0xA1..=0xFFFF)
}

/// True where a text is an address as a whole: a scheme and a user where there are, a host or an IPv4 address, a port and a
/// path where there are.
pub(super) fn is_address(text: &str) -> bool {
    // No host without a dot: most of the words that are asked for end here.
    if !text.contains('.') {
        return false;
    }
    let scheme = text.find("://").filter(|&at| {
        let word = |character: char| character.is_alphanumeric() || matches!(character, '_' | '+' | '-' | '.');
        text[..at].chars().all(word) && text[..at].chars().nth(1).is_some()
    });
    if from_host(text) || scheme.is_some_and(|at| from_host(&text[at + 3..])) {
        return true;
    }
    // A user is whatever stands before an @, at least one character.
    text.match_indices('@').any(|(at, _)| at > 0 && from_host(&text[at + 1..]))
}

fn from_host(text: &str) -> bool {
    let end = text.find(|character| !is_host(character) && !matches!(character, '_' | '-' | '.'));
    let (host, rest) = text.split_at(end.unwrap_or(text.len()));
    ends_well(rest) && (is_domain(host) || is_public(host))
}

/// A port where there is one, and a path where there is one.
fn ends_well(rest: &str) -> bool {
    let path = match rest.strip_prefix(':') {
        Some(port) => {
            let digits = port.bytes().take_while(u8::is_ascii_digit).count();
            if !(2..=5).contains(&digits) {
                return false;
            }
            &port[digits..]
        }
        None => rest,
    };
    path.is_empty() || path.starts_with(['/', '?', '#'])
}

fn is_domain(host: &str) -> bool {
    let Some((labels, top)) = host.rsplit_once('.') else { return false };
    let length = top.chars().count();
    let label = |label: &str| label.starts_with(is_host) && label.ends_with(is_host) && label.chars().nth(64).is_none();
    (2..=63).contains(&length) && top.chars().all(is_lower) && labels.split('.').all(label)
}

/// An IPv4 address of the public network that is neither the first nor the last of its own.
fn is_public(host: &str) -> bool {
    let mut octets = [0u16; 4];
    let mut parts = host.split('.');
    for octet in &mut octets {
        let Some(part) = parts.next().filter(|part| (1..=3).contains(&part.len())) else { return false };
        match part.parse() {
            Ok(value) if part.bytes().all(|byte| byte.is_ascii_digit()) => *octet = value,
            _ => return false,
        }
    }
    let private = matches!(octets, [10 | 127, ..] | [169, 254, ..] | [192, 168, ..] | [172, 16..=31, ..]);
    let within = (1..=223).contains(&octets[0]) && octets[1] < 256 && octets[2] < 256 && (1..=254).contains(&octets[3]);
    parts.next().is_none() && !private && within
}
