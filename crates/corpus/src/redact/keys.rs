//! Keys and tokens, by the prefixes that their makers gave them so that they can be found.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{Hit, Redaction};

/// What stands behind a prefix.
#[derive(Clone, Copy)]
enum Body {
    /// Capitals and digits, exactly so many.
    Capitals(usize),
    /// Letters and digits, at least so many.
    Letters(usize),
    /// Letters, digits, `_` and `-`, at least so many.
    Wide(usize),
    /// The same, with a digit, a capital and a small letter among them, because the prefix is short.
    Mixed(usize),
}

const FORMS: [(&str, Redaction, Body); 19] = [
    ("AKIA", Redaction::AwsKey, Body::Capitals(16)),
    ("ASIA", Redaction::AwsKey, Body::Capitals(16)),
    ("ghp_", Redaction::GithubToken, Body::Letters(36)),
    ("gho_", Redaction::GithubToken, Body::Letters(36)),
    ("ghu_", Redaction::GithubToken, Body::Letters(36)),
    ("ghs_", Redaction::GithubToken, Body::Letters(36)),
    ("ghr_", Redaction::GithubToken, Body::Letters(36)),
    ("github_pat_", Redaction::GithubToken, Body::Wide(22)),
    ("sk-", Redaction::OpenaiKey, Body::Mixed(20)),
    ("AIza", Redaction::GoogleKey, Body::Wide(35)),
    ("xoxb-", Redaction::SlackToken, Body::Wide(20)),
    ("xoxp-", Redaction::SlackToken, Body::Wide(20)),
    ("xoxa-", Redaction::SlackToken, Body::Wide(20)),
    ("sk_live_", Redaction::StripeKey, Body::Letters(16)),
    ("rk_live_", Redaction::StripeKey, Body::Letters(16)),
    ("sk_test_", Redaction::StripeKey, Body::Letters(16)),
    ("hf_", Redaction::PlatformToken, Body::Letters(30)),
    ("glpat-", Redaction::PlatformToken, Body::Wide(20)),
    ("npm_", Redaction::PlatformToken, Body::Letters(36)),
];

struct Finders {
    forms: Vec<Finder<'static>>,
    jwt: Finder<'static>,
    begin: Finder<'static>,
    end: Finder<'static>,
}

static FINDERS: LazyLock<Finders> = LazyLock::new(|| Finders {
    forms: FORMS.iter().map(|(prefix, ..)| Finder::new(prefix)).collect(),
    jwt: Finder::new("eyJ"),
    begin: Finder::new("-----BEGIN "),
    end: Finder::new("-----"),
});

fn is_wide(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn run(bytes: &[u8], inside: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|&&byte| inside(byte)).count()
}

/// Bytes of the body at the start, where it is one.
fn body(bytes: &[u8], body: Body) -> Option<usize> {
    let (length, fits) = match body {
        Body::Capitals(exact) => {
            let length = run(bytes, |byte| byte.is_ascii_alphanumeric());
            let capitals = bytes[..length].iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
            (length, capitals && length == exact)
        }
        Body::Letters(least) => {
            let length = run(bytes, |byte| byte.is_ascii_alphanumeric());
            (length, length >= least)
        }
        Body::Wide(least) | Body::Mixed(least) => {
            let length = run(bytes, is_wide);
            (length, length >= least)
        }
    };
    let any = |of: fn(&u8) -> bool| bytes[..length].iter().any(of);
    let mixed = || any(u8::is_ascii_digit) && any(u8::is_ascii_uppercase) && any(u8::is_ascii_lowercase);
    (fits && (!matches!(body, Body::Mixed(_)) || mixed())).then_some(length)
}

/// Finds keys and tokens.
pub(super) fn find(text: &str, hits: &mut Vec<Hit>) {
    let bytes = text.as_bytes();
    let finders = &*FINDERS;
    let alone = |start: usize| start == 0 || !(bytes[start - 1].is_ascii_alphanumeric() || bytes[start - 1] == b'_');
    for ((prefix, kind, form), finder) in FORMS.into_iter().zip(&finders.forms) {
        let mut next = 0;
        for start in finder.find_iter(bytes) {
            let from = start + prefix.len();
            if start < next || !alone(start) {
                continue;
            }
            // What was looked through as one body holds no other.
            next = from + run(&bytes[from..], is_wide);
            if let Some(length) = body(&bytes[from..], form) {
                hits.push(Hit { start, end: from + length, kind });
            }
        }
    }
    let mut next = 0;
    for start in finders.jwt.find_iter(bytes) {
        if start < next || !alone(start) {
            continue;
        }
        let header = start + run(&bytes[start..], is_wide);
        next = header;
        if header - start < 10 || !bytes[header..].starts_with(b".eyJ") {
            continue;
        }
        let claims = header + 1 + run(&bytes[header + 1..], is_wide);
        next = claims;
        if bytes.get(claims) == Some(&b'.') {
            let end = claims + 1 + run(&bytes[claims + 1..], is_wide);
            next = end;
            if end - claims > 10 {
                hits.push(Hit { start, end, kind: Redaction::Jwt });
            }
        }
    }
    private_keys(text, finders, hits);
}

/// Blocks from `-----BEGIN … PRIVATE KEY-----` to their end; without one, to where their lines stop being a key.
fn private_keys(text: &str, finders: &Finders, hits: &mut Vec<Hit>) {
    const MARK: &str = "PRIVATE KEY-----";
    const LONGEST_NAME: usize = 40;
    const LONGEST_KEY: usize = 1 << 15;
    let bytes = text.as_bytes();
    let head = |at: usize| -> Option<usize> {
        let line = &bytes[at..bytes.len().min(at + LONGEST_NAME)];
        let name = run(line, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ');
        let name = &line[..(name + 5).min(line.len())];
        name.ends_with(MARK.as_bytes()).then_some(at + name.len())
    };
    let mut next = 0;
    for start in finders.begin.find_iter(bytes) {
        if start < next {
            continue;
        }
        let Some(from) = head(start + "-----BEGIN ".len()) else { continue };
        // Nothing but the key stands between the marks, so that the next dashes are those of its end.
        let dashes = finders.end.find(&bytes[from..]).map(|dashes| from + dashes);
        let closes = dashes.filter(|&dashes| bytes[dashes..].starts_with(b"-----END ") && dashes - from < LONGEST_KEY);
        let end = closes.and_then(|dashes| head(dashes + "-----END ".len()));
        next = end.unwrap_or_else(|| from + key_lines(&text[from..]));
        hits.push(Hit { start, end: next, kind: Redaction::PrivateKey });
    }
}

/// Bytes of the lines at the start that hold nothing but base64, without the last line end.
fn key_lines(text: &str) -> usize {
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    let mut end = 0;
    for line in text.split_inclusive('\n').skip(1) {
        let bare = line.trim_ascii_end();
        if bare.is_empty() || !bare.bytes().all(base64) {
            break;
        }
        end = bare.as_ptr() as usize - text.as_ptr() as usize + bare.len();
    }
    end
}
