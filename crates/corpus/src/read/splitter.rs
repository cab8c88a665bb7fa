//! Text files cut into documents.
//!
//! A text file seldom says where its documents end. The marks that common corpora use are looked for in
//! the first mebibyte; without any, the file is one document, cut into pieces at paragraphs so that one
//! enormous file (or one enormous line) needs no more memory than a small one.

use super::stream::TextStream;
use super::{LONGEST_DOCUMENT, PIECE, Split};
use crate::error::CorpusError;

const MARK: &str = "<|endoftext|>";
/// How much of a file is searched for marks before the rule for it is settled.
const PROBE: usize = 1 << 20;

#[derive(Clone, Debug)]
enum Rule {
    Whole { longest: usize },
    Line,
    Paragraph,
    Separator(String),
    WikiText,
}

/// What a rule found at the front of the window.
struct Cut {
    /// The document ends here.
    end: usize,
    /// The next one begins here.
    next: usize,
}

/// The documents of one text file.
pub(super) struct TextDocuments {
    stream: TextStream,
    split: Split,
    rule: Option<Rule>,
    /// Text read and not yet given out: `window[start..]`.
    window: String,
    start: usize,
    /// Where `window[start..]` begins in the stream, in bytes.
    offset: u64,
    /// Bytes of `window[start..]` already searched without finding an end.
    searched: usize,
    ended: bool,
}

impl TextDocuments {
    pub(super) fn new(stream: TextStream, split: Split) -> Self {
        Self { stream, split, rule: None, window: String::new(), start: 0, offset: 0, searched: 0, ended: false }
    }

    /// The next document that is not blank, with its offset.
    pub(super) fn next_text(&mut self) -> Result<Option<(u64, String)>, CorpusError> {
        if self.rule.is_none() {
            self.settle()?;
        }
        let rule = self.rule.clone().unwrap_or(Rule::Whole { longest: PIECE });
        loop {
            let waiting = &self.window[self.start..];
            if let Some(cut) = rule.find(waiting, self.searched, self.ended) {
                if let Some(found) = self.take(&cut, &rule) {
                    return Ok(Some(found));
                }
                continue;
            }
            let longest = if let Rule::Whole { longest } = rule { longest } else { LONGEST_DOCUMENT };
            if waiting.len() > longest {
                let end = soft_end(waiting, longest);
                if let Some(found) = self.take(&Cut { end, next: end }, &rule) {
                    return Ok(Some(found));
                }
                continue;
            }
            if self.ended {
                let end = waiting.len();
                if end == 0 {
                    return Ok(None);
                }
                if let Some(found) = self.take(&Cut { end, next: end }, &rule) {
                    return Ok(Some(found));
                }
                continue;
            }
            self.searched = waiting.len();
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<(), CorpusError> {
        if self.start > 0 {
            self.window.drain(..self.start);
            self.start = 0;
        }
        let mut skipped = 0;
        self.ended = !self.stream.fill(&mut self.window, &mut skipped)?;
        self.offset += skipped;
        Ok(())
    }

    fn settle(&mut self) -> Result<(), CorpusError> {
        self.rule = Some(match &self.split {
            Split::File => Rule::Whole { longest: LONGEST_DOCUMENT },
            Split::Line => Rule::Line,
            Split::Paragraph => Rule::Paragraph,
            Split::Separator(separator) => Rule::Separator(separator.clone()),
            Split::Auto => {
                while !self.ended && self.window.len() < PROBE {
                    self.fill()?;
                }
                if self.window.contains(MARK) {
                    Rule::Separator(MARK.to_owned())
                } else if find_heading(&self.window, 0, self.ended).is_some() {
                    Rule::WikiText
                } else {
                    Rule::Whole { longest: PIECE }
                }
            }
        });
        Ok(())
    }

    /// Moves the window past a document and gives it out, unless it is blank.
    fn take(&mut self, cut: &Cut, rule: &Rule) -> Option<(u64, String)> {
        let text = &self.window[self.start..self.start + cut.end];
        let (lead, text) = match rule {
            Rule::Whole { .. } | Rule::WikiText => (0, text),
            _ => {
                let trimmed = text.trim_start_matches(['\n', '\r']);
                (text.len() - trimmed.len(), trimmed.trim_end_matches(['\n', '\r']))
            }
        };
        let found = (!text.trim().is_empty()).then(|| (self.offset + lead as u64, text.to_owned()));
        self.start += cut.next;
        self.offset += cut.next as u64;
        self.searched = 0;
        found
    }
}

impl Rule {
    /// Finds the end of the document at the front of `text`, given that the first `searched` bytes were
    /// looked at before without success.
    fn find(&self, text: &str, searched: usize, ended: bool) -> Option<Cut> {
        match self {
            Self::Whole { .. } => None,
            Self::Line => {
                let end = searched + text.as_bytes()[searched..].iter().position(|&byte| byte == b'\n')?;
                Some(Cut { end, next: end + 1 })
            }
            Self::Paragraph => {
                // A blank line may have been cut by the end of the window: go back over white space.
                let from = text[..searched].trim_end().len();
                let next = blank_line_end(&text[from..], ended)? + from;
                Some(Cut { end: next, next })
            }
            Self::Separator(separator) => {
                let mut from = searched.saturating_sub(separator.len());
                while !text.is_char_boundary(from) {
                    from -= 1;
                }
                let end = from + text[from..].find(separator.as_str())?;
                Some(Cut { end, next: end + separator.len() })
            }
            Self::WikiText => {
                let mut from = searched.saturating_sub(4096);
                while !text.is_char_boundary(from) {
                    from -= 1;
                }
                // The heading at the very front belongs to this document.
                let first = text.bytes().take_while(u8::is_ascii_whitespace).count();
                let skip = text[first..].find('\n').map_or(text.len(), |line| first + line);
                let end = find_heading(text, from.max(skip), ended)?;
                Some(Cut { end, next: end })
            }
        }
    }
}

/// Where the first line after a blank line begins.
fn blank_line_end(text: &str, ended: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(line) = bytes[at..].iter().position(|&byte| byte == b'\n') {
        let mut next = at + line + 1;
        let mut blank = None;
        while next < bytes.len() && bytes[next].is_ascii_whitespace() {
            if bytes[next] == b'\n' {
                blank = Some(next + 1);
            }
            next += 1;
        }
        if next == bytes.len() && !ended {
            return None;
        }
        if blank.is_some() {
            return blank;
        }
        at += line + 1;
    }
    None
}

/// Where the first `WikiText` article heading at or after `from` begins: a line ` = Title = ` between blank
/// lines (or at the start), with a single `=` on either side.
fn find_heading(text: &str, from: usize, ended: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut search = from;
    while let Some(found) = text[search..].find(" = ") {
        let at = search + found;
        search = at + 1;
        let starts_line = at == 0 || bytes[at - 1] == b'\n';
        if !starts_line || !ends_blank(&text[..at]) {
            continue;
        }
        let length = match text[at..].find('\n') {
            Some(length) => length,
            None if ended => text.len() - at,
            None => return None,
        };
        let line = text[at..at + length].trim_end_matches('\r');
        let Some(title) = line.strip_prefix(" = ").and_then(|rest| rest.trim_end().strip_suffix(" =")) else {
            continue;
        };
        let after = &text[(at + length + 1).min(text.len())..];
        let next_line = match after.find('\n') {
            Some(end) => &after[..end],
            None if ended => after,
            None => return None,
        };
        if !title.is_empty() && !title.starts_with('=') && !title.ends_with('=') && next_line.trim().is_empty() {
            return Some(at);
        }
    }
    None
}

/// True when the text is empty or its last line is blank.
fn ends_blank(text: &str) -> bool {
    let Some(text) = text.strip_suffix('\n') else { return text.is_empty() };
    text.rsplit('\n').next().is_none_or(|line| line.trim().is_empty())
}

/// The best place to end a piece of at most `longest` bytes: after a blank line, after a line, at a
/// character, in this order, and not in the first half.
fn soft_end(text: &str, longest: usize) -> usize {
    let mut longest = longest.min(text.len());
    while !text.is_char_boundary(longest) {
        longest -= 1;
    }
    cut_near(text, longest / 2, longest).unwrap_or(longest)
}

/// The last end of a paragraph in `text[low..=high]`, else of a line, else of a word; `None` without any.
///
/// Both bounds are moved down to character boundaries.
pub(crate) fn cut_near(text: &str, low: usize, high: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let high = high.min(bytes.len());
    let mut line = None;
    let mut word = None;
    for at in (low.max(1)..=high).rev() {
        match bytes[at - 1] {
            b'\n' => {
                let before = bytes[..at - 1].iter().rev().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
                if before == Some(&b'\n') {
                    return Some(at);
                }
                line = line.or(Some(at));
            }
            b' ' => word = word.or(Some(at)),
            _ => {}
        }
    }
    line.or(word)
}
