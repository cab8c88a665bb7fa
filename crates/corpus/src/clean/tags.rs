//! Text out of HTML and XML.
//!
//! Not a parser of documents but of marks: it needs no well-formed page, reads each character a bounded number of times
//! and leaves alone what only looks like a tag, as the `<` of `a < b`. The main text of a page, without its menus, is
//! another matter.

use std::borrow::Cow;

use html_escape::decode_html_entities;

/// Elements that stand within a line: without their tags the text goes on where it was.
const INLINE: [&str; 34] = [
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "i", "ins", "kbd",
    "label", "mark", "q", "rp", "rt", "ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time",
    "tt", "u", "wbr",
];
/// Elements between which a space is enough.
const CELLS: [&str; 3] = ["td", "th", "img"];
/// Elements whose content is not text to read.
const UNREAD: [&str; 2] = ["script", "style"];

/// The text between tags, with entities decoded. Comments, declarations, and the bodies of `script` and `style` go; so does
/// the rest of the text where one of them does not end. What stands in a CDATA section is text. Tags of elements
/// within a line leave nothing, those of cells a space, all others a line end.
///
/// A `<` that no tag's name, slash, `!` or `?` follows, or behind which no `>` stands, is text. Entities are decoded once:
/// of `&lt;b&gt;`, the text `<b>` is left, which is a tag to a second run; where no entity spells a tag, the function is
/// idempotent.
pub fn strip_tags(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'<' | b'&')) {
        return Cow::Borrowed(text);
    }
    let mut page = Page { text, at: 0, last_close: text.rfind('>'), plain: String::with_capacity(text.len()) };
    while let Some(open) = text[page.at..].find('<').map(|found| page.at + found) {
        page.read_to(open);
        page.mark();
    }
    page.read_to(text.len());
    Cow::Owned(page.plain)
}

struct Page<'t> {
    text: &'t str,
    at: usize,
    /// The last `>`: behind it no tag ends, and nobody need look.
    last_close: Option<usize>,
    plain: String,
}

impl Page<'_> {
    /// Takes everything up to `end` as text.
    fn read_to(&mut self, end: usize) {
        decode(&self.text[self.at..end], &mut self.plain);
        self.at = end;
    }

    /// Deals with the `<` at which the page stands.
    fn mark(&mut self) {
        let rest = &self.text[self.at..];
        let bytes = rest.as_bytes();
        if rest.starts_with("<!--") {
            self.skip(after(rest, 4, "-->"));
        } else if rest.starts_with("<![CDATA[") {
            let end = rest.find("]]>").unwrap_or(rest.len());
            self.plain.push_str(&rest[9..end.max(9)]);
            self.skip(end + 3);
        } else if let Some(end) = bytes.get(1).filter(|byte| matches!(byte, b'!' | b'?')).and_then(|_| self.close(2)) {
            self.skip(end);
        } else if let Some((name, end)) = self.tag() {
            self.tag_of(&name, end);
        } else {
            self.plain.push('<');
            self.at += 1;
        }
    }

    fn skip(&mut self, length: usize) {
        self.at = self.text.len().min(self.at + length);
    }

    /// The tag at which the page stands: its name in lower case, with a slash before it where it ends an element, and its
    /// length.
    fn tag(&self) -> Option<(String, usize)> {
        let rest = &self.text[self.at + 1..];
        let slash = usize::from(rest.starts_with('/'));
        let named = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_' | b'.');
        let length = rest.as_bytes()[slash..].iter().take_while(|byte| named(byte)).count();
        let first = rest.as_bytes().get(slash).filter(|byte| byte.is_ascii_alphabetic());
        first?;
        let name = rest[..slash + length].to_ascii_lowercase();
        Some((name, self.close(1 + slash + length)?))
    }

    /// Where the tag at which the page stands ends, in bytes from there: behind the first `>` outside quotes, or the first
    /// of all where a quote does not end.
    fn close(&self, from: usize) -> Option<usize> {
        if self.last_close.is_none_or(|last| last < self.at + from) {
            return None;
        }
        let rest = self.text.as_bytes().get(self.at + from..)?;
        let mut quote = None;
        // A value that goes on for more than this is a quote that was forgotten.
        for (at, &byte) in rest.iter().enumerate().take(1 << 16) {
            match (byte, quote) {
                (b'>', None) => return Some(from + at + 1),
                (b'"' | b'\'', None) => {
                    // An apostrophe inside a word opens nothing: quotes follow `=` or white space.
                    let before = rest[..at].iter().rev().find(|byte| !byte.is_ascii_whitespace());
                    quote = (before == Some(&b'=')).then_some(byte);
                }
                (other, Some(open)) if other == open => quote = None,
                _ => {}
            }
        }
        rest.iter().position(|&byte| byte == b'>').map(|at| from + at + 1)
    }

    fn tag_of(&mut self, name: &str, length: usize) {
        let closes_itself = self.text[..self.at + length].ends_with("/>");
        self.skip(length);
        if UNREAD.contains(&name) && !closes_itself {
            let end = end_of_element(&self.text[self.at..], name);
            self.skip(end);
            return;
        }
        let element = name.trim_start_matches('/');
        if INLINE.contains(&element) || self.plain.is_empty() {
            return;
        }
        let between = if CELLS.contains(&element) { ' ' } else { '\n' };
        let blank = self.plain.ends_with(char::is_whitespace);
        if !blank || (between == '\n' && !self.plain.ends_with('\n')) {
            if blank {
                self.plain.truncate(self.plain.trim_end_matches([' ', '\t']).len());
            }
            if !self.plain.is_empty() && !self.plain.ends_with('\n') {
                self.plain.push(between);
            }
        }
    }
}

/// Longer names are none.
const LONGEST_ENTITY: usize = 40;

/// Adds a text with its entities decoded. Each is handed over alone: looking from every `&` for a `;` that never comes
/// would take time that grows with the square of the text.
fn decode(text: &str, plain: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'#';
        let name = rest.bytes().skip(1).take(LONGEST_ENTITY).take_while(of_name).count();
        let end = if rest.as_bytes().get(1 + name) == Some(&b';') { name + 2 } else { 1 };
        plain.push_str(&decode_html_entities(&rest[..end]));
        rest = &rest[end..];
    }
    plain.push_str(rest);
}

/// How many bytes there are up to and with `end`, looked for from `from` on; all where it is missing.
fn after(text: &str, from: usize, end: &str) -> usize {
    text[from..].find(end).map_or(text.len(), |at| from + at + end.len())
}

/// How many bytes there are up to and with `</name…>`.
fn end_of_element(text: &str, name: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = text[at..].find("</").map(|found| at + found) {
        let begin = found + 2;
        let tail = bytes.get(begin + name.len());
        let same =
            bytes.get(begin..begin + name.len()).is_some_and(|other| other.eq_ignore_ascii_case(name.as_bytes()));
        if same && tail.is_none_or(|byte| !byte.is_ascii_alphanumeric()) {
            return after(text, begin, ">");
        }
        at = begin;
    }
    text.len()
}
