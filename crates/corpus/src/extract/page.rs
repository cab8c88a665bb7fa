//! The main text of a web page: without menus, boilerplate, and comments of readers.

use trafilatura::dom::Document;
use trafilatura::{Options, extract_document};

use super::lines::lines;
use super::paragraphs::with_paragraphs;
use super::tags::Tags;
use crate::clean::strip_tags;
use crate::guard::guarded;

/// Elements within elements, at most. The extraction descends into them by calling itself.
const DEEPEST: usize = 400;
/// Elements that seem open at once by the tags alone, at most: reading a page looks through all of them at many a tag.
const MOST_OPEN: usize = 5000;
/// The longest page that is looked through for its main text, in bytes; of a longer one only the tags go.
const LONGEST: usize = 4 << 20;
/// Tags of such a page, at most.
const MOST_TAGS: usize = 150_000;
/// Attributes of one tag, at most: reading a page compares each with all before it.
const MOST_ATTRIBUTES: usize = 4000;
/// Elements that have no end, or whose end is mostly left out and follows from the next one.
const UNENDED: [&[u8]; 30] = [
    b"area",
    b"base",
    b"br",
    b"circle",
    b"col",
    b"dd",
    b"dt",
    b"ellipse",
    b"embed",
    b"hr",
    b"img",
    b"input",
    b"li",
    b"line",
    b"link",
    b"meta",
    b"option",
    b"p",
    b"param",
    b"path",
    b"polygon",
    b"polyline",
    b"rect",
    b"source",
    b"stop",
    b"td",
    b"th",
    b"tr",
    b"track",
    b"wbr",
];

/// The main text of a page, lists, tables, and code included; empty where there is none. Paragraphs, items, and rows stand
/// in lines of their own, and code as it was.
///
/// By the `trafilatura` crate, whose rules are those of the Python package of this name (Barbaresi 2021, "Trafilatura: A Web
/// Scraping Library and Command-Line Tool for Text Discovery and Extraction"). A page too long or too deep for it keeps all
/// text between its tags.
pub fn main_text(page: &str) -> String {
    let all = || strip_tags(page).trim().to_owned();
    let tags = memchr::memchr_iter(b'<', page.as_bytes()).take(MOST_TAGS + 1).count();
    let is_endless = || Tags::of(page).any(|tag| tag.attributes > MOST_ATTRIBUTES);
    if page.len() > LONGEST || tags > MOST_TAGS || most_open(page) > MOST_OPEN || is_endless() {
        return all();
    }
    let options = Options::default().with_fallback(true).with_exclude_comments(true);
    let found = guarded(|| {
        let document = Document::parse(&with_paragraphs(page));
        (!is_deep(&document)).then(|| extract_document(document, &options))
    });
    match found {
        Ok(Some(Ok(result))) => {
            let text = lines(&result.content_html);
            if text.is_empty() { result.content_text.trim().to_owned() } else { text }
        }
        Ok(Some(Err(_))) => String::new(),
        Ok(None) | Err(_) => all(),
    }
}

/// About how many elements are open at once: what the tags say, without the rules by which browsers close elements.
fn most_open(page: &str) -> usize {
    let bytes = page.as_bytes();
    let (mut open, mut most) = (0_usize, 0);
    for at in memchr::memchr_iter(b'<', bytes) {
        let rest = &bytes[at + 1..];
        let (ends, rest) = rest.strip_prefix(b"/").map_or((false, rest), |rest| (true, rest));
        let end = rest.iter().take(10).position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(10.min(rest.len()));
        let name = &rest[..end];
        if !name.first().is_some_and(u8::is_ascii_alphabetic)
            || UNENDED.iter().any(|unended| name.eq_ignore_ascii_case(unended))
        {
            continue;
        }
        if ends {
            open = open.saturating_sub(1);
        } else {
            open += 1;
            most = most.max(open);
        }
    }
    most
}

/// Whether elements stand deeper within each other than the extraction may descend.
fn is_deep(document: &Document) -> bool {
    let mut waiting = vec![(document.root(), 0)];
    while let Some((element, depth)) = waiting.pop() {
        if depth > DEEPEST {
            return true;
        }
        waiting.extend(document.children(element).into_iter().map(|child| (child, depth + 1)));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn menus_go_and_the_text_stays() {
        let sentence = "The quick brown fox jumps over the lazy dog and runs far away into the deep green wood. ";
        let page = format!(
            "<html><head><title>A fox</title></head><body><nav><ul><li><a href='/'>Home</a></li><li><a href='/x'>Contact \
             us</a></li></ul></nav><article><h1>A fox</h1><p>{sentence}{sentence}{sentence}</p><p>{sentence}{sentence}</p><ul><li>{sentence}</li></ul><pre>let x = \
             1;</pre></article><footer>Copyright 2020. All rights reserved.</footer></body></html>"
        );
        let text = main_text(&page);
        assert!(text.contains("quick brown fox") && text.contains("let x = 1;"), "{text}");
        assert!(text.lines().count() >= 4 && text.contains("\n- The quick"), "{text}");
        assert!(!text.contains("Contact us") && !text.contains("All rights reserved"), "{text}");
    }

    #[test]
    fn nothing_and_nonsense_are_survived() {
        assert_eq!(main_text(""), "");
        main_text("<");
        main_text("<p");
        main_text(&"<div>".repeat(200_000));
        main_text(&"<b><i>".repeat(150));
        main_text(&format!("{}text{}", "<table><tr><td>".repeat(130), "</td></tr></table>".repeat(130)));
        assert_eq!(main_text(&format!("{}deep text", "<div>".repeat(500))), "deep text");
        assert_eq!(most_open("<div>a<br>b<br>c</div><p>d<p>e<li>f<b></b>"), 1);
    }

    #[test]
    fn marks_that_nobody_closes_make_no_page_deep() {
        let sentence = "The quick brown fox jumps over the lazy dog and runs far away into the deep green wood. ";
        let paragraphs = format!("<p>{sentence}{sentence}").repeat(600);
        let shapes = "<svg><path d='M0 0'/><rect/></svg>".repeat(600);
        let script = format!("<script>var a = \"{}\";</script>", "<div>".repeat(600));
        let page = format!(
            "<html><body><nav><a href='/'>Contact us</a></nav>{shapes}{script}<article>{paragraphs}</article></body></html>"
        );
        let text = main_text(&page);
        assert_eq!(text.lines().count(), 600);
        assert!(text.starts_with("The quick") && !text.contains("Contact us"), "{}", &text[..200]);
    }

    #[test]
    fn paragraphs_between_line_ends_are_kept() {
        let sentence = |n: usize| {
            format!("Sentence {n} of the tale goes on for a while, until the river meets the sea again. ").repeat(3)
        };
        let paragraphs: Vec<String> = (0..12).map(sentence).collect();
        let page = format!(
            "<html><body><div id='content'><h1>A tale</h1><blockquote>Quoted words of somebody.</blockquote>{}</div></body></html>",
            paragraphs.join("<br />\n <BR>")
        );
        let text = main_text(&page);
        for n in 0..12 {
            assert!(text.contains(&format!("Sentence {n} of")), "{n}: {text}");
        }
        assert!(text.lines().count() >= 12, "{text}");
    }

    #[test]
    fn pages_beyond_all_bounds_keep_their_text() {
        let links = "<a href=x>".repeat(30_000) + "text";
        assert_eq!(main_text(&links), "text");
        assert!(main_text(&"<span>x</span> ".repeat(100_000)).starts_with("x x x"));
        assert!(main_text(&"long text ".repeat(500_000)).starts_with("long text long"));
        let attributes = (0..150_000).fold(String::new(), |all, n| all + &format!(" a{n}=\">\""));
        assert!(main_text(&format!("<p{attributes}>text")).ends_with("text"));
        main_text(&("<p".repeat(140_000) + &"x".repeat(3 << 20)));
        let frames = "<html><frameset cols='1,2'><frame src='a'><frame src='b'></frameset></html>";
        assert_eq!(main_text(frames), "");
    }
}
