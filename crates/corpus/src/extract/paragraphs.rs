//! Marks for paragraphs that a page sets off without any.
//!
//! Many pages, old ones above all, part paragraphs by two line ends in a row, or by the block before: a quotation, a
//! picture, a heading. Such text stands beside elements and in none, and the extraction loses it.

use std::borrow::Cow;

use super::tags::Tags;

/// Elements behind whose end, or at whose beginning, a paragraph may begin without a mark.
const BLOCKS: [&str; 15] =
    ["blockquote", "div", "dl", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "pre", "table", "td", "ul"];

/// A page in which each of these paragraphs begins with `<p>`: text behind the end of a block, text behind two line ends,
/// and the text before those where it stands at the beginning of a block.
pub(super) fn with_paragraphs(page: &str) -> Cow<'_, str> {
    let mut changed = String::new();
    let mut copied = 0;
    let mut mark = |before: usize, after: usize| {
        changed.push_str(&page[copied..before]);
        changed.push_str("<p>");
        copied = after;
    };
    // Where the text of a block began that may be a paragraph.
    let mut first = None;
    let mut is_code = false;
    let mut tags = Tags::of(page).peekable();
    while let Some(tag) = tags.next() {
        if tag.is_one_of(&["pre"]) {
            is_code = !tag.ends;
        }
        if is_code {
            continue;
        }
        if tag.is_one_of(&["br"]) {
            let mut end = tag.end;
            while let Some(next) =
                tags.next_if(|next| next.is_one_of(&["br"]) && page[end..next.start].trim_start().is_empty())
            {
                end = next.end;
            }
            if end > tag.end {
                if let Some(begins) = first.take() {
                    mark(begins, begins);
                }
                mark(tag.start, end);
            }
        } else if tag.is_one_of(&BLOCKS) {
            let naked = page[tag.end..].trim_start().starts_with(|character| character != '<');
            first = (naked && !tag.ends).then_some(tag.end);
            if naked && tag.ends {
                mark(tag.end, tag.end);
            }
        }
    }
    if copied == 0 {
        return Cow::Borrowed(page);
    }
    changed.push_str(&page[copied..]);
    Cow::Owned(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_line_ends_begin_a_paragraph() {
        assert_eq!(with_paragraphs("a<br>b<brx><br/> <BR\n/>c<br"), "a<br>b<brx><p>c<br");
        assert_eq!(with_paragraphs("<div> one<br><br>two<br>three</div>"), "<div><p> one<p>two<br>three</div>");
        assert_eq!(with_paragraphs("<div>one<br>two</div>"), "<div>one<br>two</div>");
        assert_eq!(with_paragraphs("<div><b>one</b><br><br><br>two"), "<div><b>one</b><p>two");
    }

    #[test]
    fn so_does_the_end_of_a_block() {
        assert_eq!(
            with_paragraphs("<blockquote>a</blockquote>\n你好 <p>b</p>"),
            "<blockquote>a</blockquote><p>\n你好 <p>b</p>"
        );
        assert!(matches!(with_paragraphs("<div>a</div> <div>b</div>\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn scripts_and_code_hold_no_paragraphs() {
        let page = "<script>x = \"</div>text<br><br>\"</SCRIPT><style>a</div>b";
        assert_eq!(with_paragraphs(page), page);
        assert_eq!(with_paragraphs("<pre>a<br><br>b</pre>c"), "<pre>a<br><br>b</pre><p>c");
    }
}
