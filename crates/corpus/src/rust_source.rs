//! Rust source taken apart into code, literals and comments.
//!
//! The demonstration trains on Rust without its comments and on the comments as prose. Both need to know
//! what is a comment, and that needs a lexer: `"// no"` is a string, `'"'` a character, `'a` a lifetime,
//! `r#"…"#` ends where its hashes end, and block comments nest. This one knows exactly that much.

/// What a stretch of source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Anything but literals with quotes and comments; white space included.
    Code,
    /// A string, byte string, C string or character literal, with its prefix.
    Literal,
    /// A comment that documents nothing.
    Comment,
    /// `///` or `/**`, about what follows.
    OuterDoc,
    /// `//!` or `/*!`, about what it stands in.
    InnerDoc,
}

/// Cuts source into stretches that, joined, are the source.
struct Lexer<'a> {
    source: &'a str,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

impl Lexer<'_> {
    /// Kind and length of the stretch at the front.
    fn measure(&self) -> Option<(Kind, usize)> {
        let bytes = self.source.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if let Some((kind, start, end)) = self.special(at) {
                return Some(if start > 0 { (Kind::Code, start) } else { (kind, end) });
            }
            at = self.skip(at);
        }
        (at > 0).then_some((Kind::Code, at))
    }

    /// A literal or comment whose first byte is at `at`: its kind, start and end.
    fn special(&self, at: usize) -> Option<(Kind, usize, usize)> {
        let bytes = self.source.as_bytes();
        match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                let end = self.source[at..].find('\n').map_or(bytes.len(), |length| at + length);
                let kind = match &bytes[at + 2..end] {
                    [b'/', b'/', ..] => Kind::Comment,
                    [b'/', ..] => Kind::OuterDoc,
                    [b'!', ..] => Kind::InnerDoc,
                    _ => Kind::Comment,
                };
                Some((kind, at, end))
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                let end = block_end(bytes, at);
                let kind = match &bytes[at + 2..end] {
                    [b'*', b'*' | b'/', ..] => Kind::Comment,
                    [b'*', ..] if end > at + 4 => Kind::OuterDoc,
                    [b'!', ..] => Kind::InnerDoc,
                    _ => Kind::Comment,
                };
                Some((kind, at, end))
            }
            b'"' => Some((Kind::Literal, at, quoted_end(bytes, at, b'"'))),
            b'\'' => self.character_end(at).map(|end| (Kind::Literal, at, end)),
            byte if is_word(byte) => {
                let end = word_end(bytes, at);
                let quote = bytes.get(end).copied();
                match (&bytes[at..end], quote) {
                    (b"b" | b"c", Some(b'"')) => Some((Kind::Literal, at, quoted_end(bytes, end, b'"'))),
                    (b"b", Some(b'\'')) => Some((Kind::Literal, at, quoted_end(bytes, end, b'\''))),
                    (b"r" | b"br" | b"cr", Some(b'"' | b'#')) => {
                        raw_end(bytes, end).map(|end| (Kind::Literal, at, end))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Where to look next after code at `at`.
    fn skip(&self, at: usize) -> usize {
        let bytes = self.source.as_bytes();
        match bytes[at] {
            byte if is_word(byte) => word_end(bytes, at),
            // A lifetime: its name must not be read as the prefix of a string.
            b'\'' => word_end(bytes, at + 1).max(at + 1),
            _ => at + 1,
        }
    }

    /// The end of a character literal at a quote; `None` for a lifetime.
    fn character_end(&self, at: usize) -> Option<usize> {
        let bytes = self.source.as_bytes();
        if bytes.get(at + 1) == Some(&b'\\') {
            return Some(quoted_end(bytes, at, b'\''));
        }
        let character = self.source[at + 1..].chars().next()?;
        let end = at + 1 + character.len_utf8();
        (character != '\'' && bytes.get(end) == Some(&b'\'')).then_some(end + 1)
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = (Kind, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, length) = self.measure()?;
        let (stretch, rest) = self.source.split_at(length);
        self.source = rest;
        Some((kind, stretch))
    }
}

fn word_end(bytes: &[u8], at: usize) -> usize {
    at + bytes.get(at..).unwrap_or_default().iter().take_while(|&&byte| is_word(byte)).count()
}

/// The end of a quoted literal with escapes whose quote is at `at`.
fn quoted_end(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut end = at + 1;
    while end < bytes.len() {
        match bytes[end] {
            b'\\' => end += 2,
            byte if byte == quote => return end + 1,
            _ => end += 1,
        }
    }
    bytes.len()
}

/// The end of a raw string whose hashes or quote begin at `at`; `None` for a raw identifier.
fn raw_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at..].iter().take_while(|&&byte| byte == b'#').count();
    if bytes.get(at + hashes) != Some(&b'"') {
        return None;
    }
    let mut end = at + hashes + 1;
    while end < bytes.len() {
        end += 1;
        if bytes[end - 1] == b'"' && bytes[end..].iter().take(hashes).filter(|&&byte| byte == b'#').count() == hashes {
            return Some(end + hashes);
        }
    }
    Some(bytes.len())
}

/// The end of a block comment, nested ones included.
fn block_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0;
    let mut end = at;
    while end < bytes.len() {
        match (bytes[end], bytes.get(end + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                end += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                end += 2;
                if depth == 0 {
                    return end;
                }
            }
            _ => end += 1,
        }
    }
    bytes.len()
}

/// Source without any comments: the same tokens, no line that held only a comment, and no two blank lines
/// in a row. Literals stay as they are, to the byte.
pub(crate) fn without_comments(source: &str) -> String {
    let mut text = Cleaner::default();
    for (kind, stretch) in (Lexer { source }) {
        match kind {
            Kind::Code => text.code(stretch),
            Kind::Literal => text.literal(stretch),
            _ => text.comment(),
        }
    }
    text.end_line();
    while text.out.ends_with("\n\n") {
        text.out.pop();
    }
    text.out
}

#[derive(Default)]
struct Cleaner {
    out: String,
    line_start: usize,
    /// Trailing white space before this place belongs to a literal.
    floor: usize,
    had_comment: bool,
    after_blank: bool,
}

impl Cleaner {
    fn code(&mut self, stretch: &str) {
        let mut lines = stretch.split('\n');
        self.out.push_str(lines.next().unwrap_or_default());
        for line in lines {
            self.end_line();
            self.out.push_str(line);
        }
    }

    fn literal(&mut self, stretch: &str) {
        self.out.push_str(stretch);
        self.floor = self.out.len();
    }

    fn comment(&mut self) {
        self.had_comment = true;
        if self.out.len() > self.line_start && !self.out.ends_with([' ', '\t']) {
            self.out.push(' ');
        }
    }

    fn end_line(&mut self) {
        let low = self.floor.max(self.line_start);
        let kept = low + self.out[low..].trim_end().len();
        self.out.truncate(kept);
        let blank = self.out.len() == self.line_start;
        let drop = blank && (self.had_comment || self.after_blank || self.out.is_empty());
        if !drop {
            self.out.push('\n');
            self.after_blank = blank;
        }
        self.line_start = self.out.len();
        self.had_comment = false;
    }
}

/// The documentation in a source file as prose: its doc comments without their markers, a blank line
/// between those of different items. Code examples stay, their hidden lines do not.
pub(crate) fn documentation(source: &str) -> String {
    let mut blocks: Vec<Vec<String>> = Vec::new();
    let mut open = None;
    for (kind, stretch) in (Lexer { source }) {
        match kind {
            Kind::OuterDoc | Kind::InnerDoc => {
                if open != Some(kind) {
                    blocks.push(Vec::new());
                    open = Some(kind);
                }
                if let Some(block) = blocks.last_mut() {
                    block.extend(doc_lines(stretch));
                }
            }
            Kind::Code if stretch.trim().is_empty() => {}
            _ => open = None,
        }
    }
    let texts: Vec<String> = blocks.iter().map(|lines| as_prose(lines)).filter(|text| !text.is_empty()).collect();
    texts.join("\n\n")
}

/// The lines of one doc comment without markers.
fn doc_lines(comment: &str) -> Vec<String> {
    if let Some(line) = comment.strip_prefix("///").or_else(|| comment.strip_prefix("//!")) {
        return vec![line.trim_end().to_owned()];
    }
    let inner = comment.get(3..).unwrap_or_default();
    let inner = inner.strip_suffix("*/").unwrap_or(inner);
    let starred =
        inner.lines().skip(1).filter(|line| !line.trim().is_empty()).all(|line| line.trim_start().starts_with('*'));
    inner
        .lines()
        .enumerate()
        .map(|(number, line)| {
            let line = line.trim_end();
            if number > 0 && starred {
                line.trim_start().strip_prefix('*').unwrap_or_default().to_owned()
            } else {
                line.to_owned()
            }
        })
        .collect()
}

fn as_prose(lines: &[String]) -> String {
    let indent = lines
        .iter()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.bytes().take_while(|&byte| byte == b' ').count())
        .min()
        .unwrap_or(0);
    let mut fenced = false;
    let mut text = String::new();
    for line in lines {
        let line = line.get(indent..).unwrap_or_default();
        let bare = line.trim_start();
        if bare.starts_with("```") {
            fenced = !fenced;
        }
        if fenced && (bare == "#" || bare.starts_with("# ")) {
            continue;
        }
        text.push_str(line);
        text.push('\n');
    }
    text.trim_matches('\n').trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Literals whole, code cut at white space: what a compiler would see alike.
    fn tokens(source: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (kind, stretch) in (Lexer { source }) {
            match kind {
                Kind::Code => found.extend(stretch.split_whitespace().map(str::to_owned)),
                Kind::Literal => found.push(stretch.to_owned()),
                _ => {}
            }
        }
        found
    }

    #[test]
    fn what_looks_like_a_comment_and_is_none() {
        for source in [
            r#"let a = "// no";"#,
            r#"let a = "\"/* no */";"#,
            r##"let a = r#"// "no" */"#;"##,
            "let a = br\"/*\\\";",
            "let a = '\"'; let b = \"//\";",
            r"let a = '\''; let b = '/'; let c = b'\'';",
            "fn f<'a>(x: &'a str) -> &'a str { x }",
            "'outer: loop { break 'outer; }",
            "let r#type = c\"//\"; let r = r\"//\";",
            "let a = \"two\n\n\n// lines  \n\";",
        ] {
            assert_eq!(without_comments(source).trim_end(), source, "{source}");
        }
    }

    #[test]
    fn comments_go_and_tokens_stay() {
        assert_eq!(without_comments("a/* x */b"), "a b\n");
        assert_eq!(without_comments("a /* x /* y */ z */ b"), "a  b\n");
        assert_eq!(without_comments("let x = 1; // one\nlet y = 2;\n"), "let x = 1;\nlet y = 2;\n");
        assert_eq!(without_comments("//! top\n\n// more\nfn f() {}\n\n\n\nfn g() {}\n"), "fn f() {}\n\nfn g() {}\n");
        assert_eq!(without_comments("'a'/**/'b'"), "'a' 'b'\n");
        assert_eq!(without_comments("/* only */"), "\n".trim_end());
    }

    #[test]
    fn unfinished_source_ends_quietly() {
        for source in
            ["\"open", "/* open /* ", "r#\"open\"", "'\\", "b'", "'", "r#", "/", "//", "/*", "/**/", "\\", "b\"\\"]
        {
            let stripped = without_comments(source);
            assert!(stripped.len() <= source.len() + 1, "{source}: {stripped}");
            documentation(source);
        }
    }

    #[test]
    fn random_source_keeps_its_tokens() {
        let parts = [
            "let ", "x", " = ", "\"", "'", "//", "/*", "*/", "\n", "r#\"", "\"#", "\\", "b'", "'a", "///", "/**", " ",
            "é", "#", "r\"", "'\\''", "\t", "//!", "\r\n",
        ];
        let mut state = 1u64;
        for _ in 0..20_000 {
            let mut source = String::new();
            for _ in 0..12 {
                state = crate::permutation::mix(state);
                source.push_str(parts[state as usize % parts.len()]);
            }
            let whole: String = (Lexer { source: &source }).map(|(_, stretch)| stretch).collect();
            assert_eq!(whole, source);
            let stripped = without_comments(&source);
            // A quote with a comment taken away beside it may read as another literal, as it does to a
            // compiler; whatever has no such quote keeps its tokens.
            if !source.contains(['\'', '#']) {
                // An open string at the end gets the line end that every file gets.
                let (stripped, source) = (stripped.trim_end_matches('\n'), source.trim_end_matches('\n'));
                assert_eq!(tokens(stripped), tokens(source), "{source:?} became {stripped:?}");
            }
            documentation(&source);
        }
    }

    #[test]
    fn documentation_becomes_prose() {
        let source = "//! A crate.\n//!\n//! More.\n\n/// Adds.\n///\n/// ```\n/// # use x;\n/// let a = 1;\n/// ```\n#[inline]\nfn add() {}\n\n/** Block\n * lines\n */\nfn b() {}\n//// not this\n/***/ /**/ struct S; // nor this\n";
        assert_eq!(documentation(source), "A crate.\n\nMore.\n\nAdds.\n\n```\nlet a = 1;\n```\n\nBlock\nlines");
    }
}
