//! The prose of an article in the markup of MediaWiki.
//!
//! Templates, tables, references, and links to files and categories go, since nothing of them reads as text without the
//! programs that MediaWiki runs; links leave their words, headings and lists their lines. One pass, each bracket looked at
//! a bounded number of times, so that an article that never closes one costs no more than another.

use html_escape::decode_html_entities;

use crate::clean::strip_tags;

/// Elements whose content is no prose.
const UNREAD: [&str; 12] = [
    "ref",
    "gallery",
    "timeline",
    "score",
    "imagemap",
    "graph",
    "mapframe",
    "maplink",
    "templatedata",
    "inputbox",
    "hiero",
    "references",
];
/// Brackets within brackets, at most.
const DEEPEST: usize = 64;

/// The text of an article.
pub fn wiki_text(article: &str) -> String {
    // In dumps, elements are written as entities of the XML that was taken off before; entities are left for last.
    let mut text = without_unread(article);
    text = without_balanced(&text, "{{", "}}");
    text = without_balanced(&text, "{|", "|}");
    let linked = links(&text);
    let plain = strip_tags(&linked);
    lines(&decode_html_entities(&plain))
}

/// Without comments and the elements that are no prose.
fn without_unread(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let lower = text.to_ascii_lowercase();
    let mut at = 0;
    // Of an element that does not end, its mark alone goes, and it is not looked for again.
    let mut endless: Vec<&str> = Vec::new();
    while let Some(open) = lower[at..].find('<').map(|found| at + found) {
        kept.push_str(&text[at..open]);
        let rest = &lower[open..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            at = comment.find("-->").map_or(text.len(), |end| open + 4 + end + 3);
            continue;
        }
        let name_of = |name: &&&str| {
            let after = rest[1..].strip_prefix(**name).and_then(|after| after.bytes().next());
            after.is_some_and(|byte| !byte.is_ascii_alphanumeric())
        };
        let named = UNREAD.iter().find(name_of).filter(|name| !endless.contains(*name));
        let Some(name) = named else {
            kept.push('<');
            at = open + 1;
            continue;
        };
        let Some(tag) = rest.find('>') else {
            kept.push_str(&text[open..]);
            return kept;
        };
        if rest[..tag].ends_with('/') {
            at = open + tag + 1;
            continue;
        }
        let close = format!("</{name}");
        if let Some(end) = rest[tag..].find(&close) {
            let end = open + tag + end + close.len();
            at = lower[end..].find('>').map_or(text.len(), |more| end + more + 1);
        } else {
            endless.push(name);
            at = open + tag + 1;
        }
    }
    kept.push_str(&text[at.min(text.len())..]);
    kept
}

/// Without what stands between two marks, which may stand in each other. A mark that is never closed goes alone.
fn without_balanced(text: &str, open: &str, close: &str) -> String {
    if !text.contains(open) {
        return text.to_owned();
    }
    // Where each mark that is closed ends.
    let mut ends: Vec<(usize, usize)> = Vec::new();
    let mut waiting: Vec<usize> = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at + 1 < bytes.len() {
        if bytes[at..].starts_with(open.as_bytes()) {
            waiting.push(at);
            at += open.len();
        } else if bytes[at..].starts_with(close.as_bytes()) {
            if let Some(start) = waiting.pop() {
                while ends.last().is_some_and(|(inner, _)| *inner > start) {
                    ends.pop();
                }
                ends.push((start, at + close.len()));
            }
            at += close.len();
        } else {
            at += 1;
        }
    }
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    for (start, end) in ends {
        kept.push_str(&text[from..start]);
        from = end;
    }
    kept.push_str(&text[from..]);
    if waiting.is_empty() { kept } else { kept.replace(open, "") }
}

/// Links as their words: `[[page|words]]`, `[address words]`; those to files and categories go.
fn links(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    // For every link that is open, where its words begin in `kept`.
    let mut open: Vec<usize> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['[', ']']) {
        kept.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("[[") {
            if open.len() < DEEPEST {
                open.push(kept.len());
            }
            rest = after;
        } else if let Some(after) = rest.strip_prefix("]]") {
            if let Some(start) = open.pop() {
                let words = link_words(&kept[start..]).to_owned();
                kept.truncate(start);
                kept.push_str(&words);
            }
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let address = after.starts_with("http://") || after.starts_with("https://") || after.starts_with("//");
            if let Some(end) = after.find([']', '\n']).filter(|end| address && after[*end..].starts_with(']')) {
                kept.push_str(after[..end].split_once(' ').map_or("", |(_, words)| words.trim()));
                rest = &after[end + 1..];
            } else {
                kept.push('[');
                rest = after;
            }
        } else {
            kept.push(']');
            rest = &rest[1..];
        }
    }
    kept.push_str(rest);
    kept
}

/// What is read of a link; nothing of one to a file, a category, or another language.
fn link_words(link: &str) -> &str {
    let (page, words) = match link.split_once('|') {
        Some((page, words)) => (page, words.rsplit('|').next().unwrap_or(words)),
        None => (link, link),
    };
    let page = page.trim_start();
    match page.split_once(':') {
        // Of a link that begins with a colon, the words are read whatever it leads to.
        Some(("", _)) => words.trim_start_matches(':'),
        Some((space, _)) if is_unread_space(space) => "",
        _ => words,
    }
}

/// Namespaces of files and categories in the larger languages, and the codes of languages.
fn is_unread_space(space: &str) -> bool {
    const SPACES: [&str; 24] = [
        "file",
        "image",
        "category",
        "media",
        "文件",
        "图像",
        "圖像",
        "檔案",
        "分类",
        "分類",
        "datei",
        "bild",
        "kategorie",
        "fichier",
        "catégorie",
        "archivo",
        "categoría",
        "immagine",
        "categoria",
        "файл",
        "категория",
        "ファイル",
        "カテゴリ",
        "plik",
    ];
    let space = space.trim().to_lowercase();
    let is_language = matches!(space.len(), 2 | 3) && space.bytes().all(|byte| byte.is_ascii_lowercase());
    is_language || SPACES.contains(&space.as_str())
}

/// Headings, lists, and emphasis as plain lines; magic words and lines of bare punctuation go.
fn lines(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut blank = true;
    for line in text.lines() {
        let mut line = line.trim();
        if line.starts_with("__") && line.ends_with("__") && !line.contains(' ') {
            continue;
        }
        if line.starts_with('=') && line.ends_with('=') {
            line = line.trim_matches('=').trim();
        } else {
            line = line.trim_start_matches(['*', '#', ':', ';']).trim_start();
        }
        let line = line.replace("'''", "").replace("''", "");
        let line = line.trim();
        if !line.is_empty() && !line.chars().any(char::is_alphanumeric) {
            continue;
        }
        if line.is_empty() {
            if !blank {
                kept.push('\n');
            }
            blank = true;
        } else {
            kept.push_str(line);
            kept.push('\n');
            blank = false;
        }
    }
    kept.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_left() {
        let article = "{{Infobox person|name={{nowrap|A B}}|born=1900}}\n'''A B''' (born [[1900]]) was a \
                       [[Sweden|Swedish]] ''writer''.<ref name=\"x\">A book, {{cite}}</ref> She wrote [https://example.org \
                       a book] and [[File:A.jpg|thumb|A [[boat]] here]]more.<ref name=y/>\n\n== Life ==\n* one\n* \
                       two\n{| class=\"wikitable\"\n| cell {{x}}\n|}\nAfter &amp; end.\n[[Category:Writers]]\n[[de:A \
                       B]]\n__NOTOC__";
        assert_eq!(
            wiki_text(article),
            "A B (born 1900) was a Swedish writer. She wrote a book and more.\n\nLife\none\ntwo\n\nAfter & end."
        );
    }

    #[test]
    fn chinese_and_brackets_of_prose() {
        assert_eq!(wiki_text("'''红楼梦'''是[[清代|清朝]]小说[1]。[[分类:小说]]"), "红楼梦是清朝小说[1]。");
        assert_eq!(wiki_text("a < b and c > d"), "a < b and c > d");
    }

    #[test]
    fn what_is_never_closed_costs_no_more() {
        for part in ["{{", "[[", "<ref>", "{|", "[http://a ", "<!--", "'''", "[[a|", "]]", "}}", "<ref", "{{a[[b<ref>"]
        {
            wiki_text(&part.repeat(100_000));
        }
        assert_eq!(wiki_text("a {{ b {{c}} d"), "a  b  d");
    }
}
