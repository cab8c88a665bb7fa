//! Marked-up text as lines: paragraphs, items, rows, and code each in lines of their own.
//!
//! Reads what the extraction writes, which is well-formed: every `<` opens a tag, and values stand in double quotes.

use html_escape::decode_html_entities;

/// Elements that stand in lines of their own.
const BLOCKS: [&str; 26] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "main",
    "ol",
    "p",
    "section",
    "summary",
    "table",
    "ul",
];

/// The text between tags, a line for each block. White space is that of the page in code alone; items begin with `- `,
/// and bars stand between the cells of a row.
pub(super) fn lines(html: &str) -> String {
    let mut lines = Lines::default();
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        lines.text(&rest[..open]);
        let Some(close) = tag_end(&rest[open..]) else {
            rest = "";
            break;
        };
        lines.tag(&rest[open + 1..open + close - 1]);
        rest = &rest[open + close..];
    }
    lines.text(rest);
    lines.text.trim_matches(['\n', ' ', '\t']).to_owned()
}

/// The length of the tag that begins here.
fn tag_end(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.bytes()
        .position(|byte| {
            quoted ^= byte == b'"';
            byte == b'>' && !quoted
        })
        .map(|at| at + 1)
}

#[derive(Default)]
struct Lines {
    text: String,
    /// Elements of code that are open.
    code: usize,
    /// Cells of the row that is open.
    cells: usize,
    /// Whether a tag within a line was the last thing read.
    bordered: bool,
}

impl Lines {
    fn text(&mut self, text: &str) {
        let text = decode_html_entities(text);
        if std::mem::take(&mut self.bordered) && self.parts(&text) {
            self.text.push(' ');
        }
        if self.code > 0 {
            self.text.push_str(&text);
            return;
        }
        let mut words = text.split([' ', '\n', '\t', '\r', '\u{c}']).filter(|word| !word.is_empty());
        if text.starts_with(char::is_whitespace) {
            self.space();
        }
        if let Some(first) = words.next() {
            self.text.push_str(first);
        }
        for word in words {
            self.text.push(' ');
            self.text.push_str(word);
        }
        if text.ends_with(char::is_whitespace) {
            self.space();
        }
    }

    /// Whether a space is missing before this text: the extraction takes those around marks within a line of a quotation.
    /// Scripts that set no spaces, or that add endings to marked words, are left alone.
    fn parts(&self, next: &str) -> bool {
        let spaced = |character: char| character.is_alphanumeric() && character < '\u{e00}';
        self.text.ends_with(spaced) && next.starts_with(spaced)
    }

    fn tag(&mut self, tag: &str) {
        let (opens, tag) = tag.strip_prefix('/').map_or((true, tag), |tag| (false, tag));
        let name = tag.split([' ', '\n', '/']).next().unwrap_or_default();
        self.bordered = !matches!(name, "sub" | "sup");
        match name {
            "br" => self.end_line(),
            "pre" | "code" if opens => self.code += 1,
            "pre" | "code" => self.code = self.code.saturating_sub(1),
            "li" if opens => {
                self.end_line();
                self.text.push_str("- ");
            }
            "tr" => {
                self.end_line();
                self.cells = 0;
            }
            "td" | "th" if opens => {
                if self.cells > 0 {
                    self.space();
                    self.text.push_str("| ");
                }
                self.cells += 1;
            }
            // A cell stays within its row, and an item's first block behind its mark.
            _ if BLOCKS.contains(&name) && self.cells > 0 && name != "table" => self.space(),
            _ if BLOCKS.contains(&name) && self.text.ends_with("\n- ") && opens => {}
            "li" => self.end_line(),
            "table" => {
                self.end_line();
                self.cells = 0;
            }
            _ if BLOCKS.contains(&name) => self.end_line(),
            _ => {}
        }
        // Code that has lines of its own stands apart from the text around it.
        if name == "pre" {
            self.end_line();
        }
    }

    fn space(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with([' ', '\n']) {
            self.text.push(' ');
        }
    }

    fn end_line(&mut self) {
        let kept = self.text.trim_end_matches([' ', '\t']).len();
        self.text.truncate(kept);
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_items_rows_and_code_have_their_lines() {
        let html = "<h1>A title</h1><p>One\n  line, <b>bold</b>&amp; <i>more</i>.</p><ul><li>first</li><li><p>second</p></li></ul>\
                    <table><tbody><tr><th>a</th><th>b</th></tr><tr><td><p>1</p></td><td title=\"x>y\">2</td></tr></tbody></table>\
                    <pre><code>fn main() {\n    x &lt; 1;\n}\n</code></pre><p>Use <code>a  b</code>.</p>你好<br>世界";
        let expected = "A title\nOne line, bold& more.\n- first\n- second\na | b\n1 | 2\nfn main() {\n    x < 1;\n}\nUse a  b.\n你好\n世界";
        assert_eq!(lines(html), expected);
    }

    #[test]
    fn words_around_a_mark_stay_apart() {
        assert_eq!(lines("<blockquote>allows us to<em>craft</em>a packet</blockquote>"), "allows us to craft a packet");
        assert_eq!(
            lines("<p>H<sub>2</sub>O, x<b>.</b>y, 强<b>调</b>的, 박<b>채규</b>는</p>"),
            "H2O, x.y, 强调的, 박채규는"
        );
    }

    #[test]
    fn what_is_broken_is_survived() {
        for html in ["", "<", "a<b", "</code>x  y", "<p", "<li>", "<td>a</td><td>b</td>"] {
            lines(html);
        }
        assert_eq!(lines("</code>x  y"), "x y");
    }
}
