//! The main text of a web page: without menus, boilerplate, and comments of readers.

use trafilatura::{Options, extract};

use crate::clean::strip_tags;
use crate::guard::guarded;

/// Elements within elements, at most. The extraction descends into them by calling itself.
const DEEPEST: usize = 400;
/// The longest page that is looked through for its main text, in bytes; of a longer one only the tags go.
const LONGEST: usize = 8 << 20;
/// Elements that have no end, so that nothing stands in them.
const VOID: [&[u8]; 14] = [
    b"area", b"base", b"br", b"col", b"embed", b"hr", b"img", b"input", b"link", b"meta", b"param", b"source",
    b"track", b"wbr",
];

/// The main text of a page, lists, tables, and code included; empty where there is none.
///
/// By the `trafilatura` crate, whose rules are those of the Python package of this name (Barbaresi 2021, "Trafilatura: A Web
/// Scraping Library and Command-Line Tool for Text Discovery and Extraction"). A page too long or too deep for it keeps all
/// text between its tags.
pub fn main_text(page: &str) -> String {
    if page.len() > LONGEST || depth(page) > DEEPEST {
        return strip_tags(page).trim().to_owned();
    }
    let options = Options::default().with_fallback(true).with_exclude_comments(true);
    match guarded(|| extract(page, &options)) {
        Ok(Ok(result)) => result.content_text.trim().to_owned(),
        Ok(Err(_)) => String::new(),
        Err(_) => strip_tags(page).trim().to_owned(),
    }
}

/// About how deep elements stand in elements: what its tags say, without the rules by which browsers close elements.
fn depth(page: &str) -> usize {
    let bytes = page.as_bytes();
    let (mut depth, mut deepest) = (0_usize, 0);
    for at in memchr::memchr_iter(b'<', bytes) {
        let rest = &bytes[at + 1..];
        if rest.first() == Some(&b'/') {
            depth = depth.saturating_sub(1);
        } else if rest.first().is_some_and(u8::is_ascii_alphabetic) {
            let end = rest.iter().take(10).position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(10.min(rest.len()));
            if !VOID.iter().any(|name| rest[..end].eq_ignore_ascii_case(name)) {
                depth += 1;
                deepest = deepest.max(depth);
            }
        }
    }
    deepest
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
        assert_eq!(depth("<p>a<br>b<br>c</p><p>d</p>"), 1);
    }
}
