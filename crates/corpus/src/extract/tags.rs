//! The tags of a page, one after the other.

/// Elements in which a `<` begins no element.
const RAW: [&str; 3] = ["script", "style", "textarea"];

/// A tag where it stands.
pub(super) struct Tag<'p> {
    name: &'p str,
    /// Whether it is the end of an element.
    pub(super) ends: bool,
    /// Its first byte.
    pub(super) start: usize,
    /// The byte behind it.
    pub(super) end: usize,
    /// About how many attributes it has.
    pub(super) attributes: usize,
}

impl Tag<'_> {
    pub(super) fn is_one_of(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.name.eq_ignore_ascii_case(name))
    }
}

/// The tags of a page up to the first one that does not end; those in comments and scripts are none. Every byte is looked
/// at a bounded number of times.
pub(super) struct Tags<'p> {
    page: &'p str,
    at: usize,
}

impl<'p> Tags<'p> {
    pub(super) fn of(page: &'p str) -> Self {
        Self { page, at: 0 }
    }

    /// Goes behind the next of these, or to the end.
    fn pass(&mut self, text: &str) {
        let found = memchr::memmem::find(&self.page.as_bytes()[self.at..], text.as_bytes());
        self.at = found.map_or(self.page.len(), |found| self.at + found + text.len());
    }

    /// The tag whose name begins at `from`; nothing where it does not end.
    fn tag(&self, start: usize, from: usize) -> Option<Tag<'p>> {
        let bytes = self.page.as_bytes();
        let letters = bytes[from..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let mut at = from + letters;
        let (mut attributes, mut within, mut equals) = (0, false, false);
        loop {
            match *bytes.get(at)? {
                b'>' => break,
                quote @ (b'"' | b'\'') if equals => {
                    at += 1 + memchr::memchr(quote, &bytes[at + 1..])?;
                    (within, equals) = (false, false);
                }
                b' ' | b'\n' | b'\t' | b'\r' | b'\x0c' => within = false,
                b'/' if !equals => within = false,
                b'=' if within => equals = true,
                _ => {
                    // A value without quotes counts as well where space is before it.
                    attributes += usize::from(!within);
                    (within, equals) = (true, false);
                }
            }
            at += 1;
        }
        Some(Tag {
            name: &self.page[from..from + letters],
            ends: bytes[from - 1] == b'/',
            start,
            end: at + 1,
            attributes,
        })
    }
}

impl<'p> Iterator for Tags<'p> {
    type Item = Tag<'p>;

    fn next(&mut self) -> Option<Tag<'p>> {
        let bytes = self.page.as_bytes();
        loop {
            let start = self.at + memchr::memchr(b'<', bytes.get(self.at..)?)?;
            if bytes[start..].starts_with(b"<!--") {
                self.at = start + 2;
                self.pass("-->");
                continue;
            }
            let from = start + 1 + usize::from(bytes.get(start + 1) == Some(&b'/'));
            if !bytes.get(from).is_some_and(u8::is_ascii_alphabetic) {
                self.at = start + 1;
                continue;
            }
            let Some(tag) = self.tag(start, from) else {
                self.at = self.page.len();
                return None;
            };
            self.at = tag.end;
            if !tag.ends && tag.is_one_of(&RAW) {
                self.at = end_of(self.page, tag.end, tag.name);
            }
            return Some(tag);
        }
    }
}

/// Where the content of an element ends that holds no others.
fn end_of(page: &str, from: usize, name: &str) -> usize {
    let bytes = page.as_bytes();
    let mut ends = memchr::memmem::find_iter(&bytes[from..], b"</").map(|found| from + found);
    let named =
        |at: &usize| bytes[at + 2..].get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()));
    ends.find(named).unwrap_or(page.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(page: &str) -> Vec<(String, usize)> {
        Tags::of(page).map(|tag| (page[tag.start..tag.end].to_owned(), tag.attributes)).collect()
    }

    #[test]
    fn a_tag_ends_behind_its_values() {
        let page = "a < b <p class=\"x > y\" id=z>text</p><br/><a href='/b/c' checked data-x = 1>";
        let found = tags(page);
        let expected = ["<p class=\"x > y\" id=z>", "</p>", "<br/>", "<a href='/b/c' checked data-x = 1>"];
        assert_eq!(found.iter().map(|(tag, _)| tag.as_str()).collect::<Vec<_>>(), expected);
        assert_eq!(found[0].1, 2);
        assert!((3..=5).contains(&found[3].1), "{}", found[3].1);
        assert_eq!(
            tags(&format!("<p {}>", "a='>'b=\"<i>\"".repeat(50))),
            [(format!("<p {}>", "a='>'b=\"<i>\"".repeat(50)), 100)]
        );
    }

    #[test]
    fn comments_and_scripts_have_none() {
        assert_eq!(tags("<!-- <p> --><script>a<b c='</script><i></i>").len(), 4);
        assert_eq!(tags("<!--><b>").len(), 1);
        for broken in ["<", "</", "<p", "<p a='>", "<script>", "<script></", "<!--", "<é>", "<p é>"] {
            assert!(tags(broken).len() < 2, "{broken}");
        }
    }
}
