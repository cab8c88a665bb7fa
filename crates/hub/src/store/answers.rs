//! What a store answers in XML: pages of listings, and why it refuses.
//!
//! Elements are known by their names alone: Google's store has another namespace than Amazon's, and some have none.

use quick_xml::Reader;
use quick_xml::events::Event;

/// An object, as a listing has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub key: String,
    pub size: Option<u64>,
    /// As it was given, with its quotes.
    pub tag: String,
}

/// A page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub objects: Vec<Listed>,
    /// What to ask for the next page with, where this is not the last.
    pub next: Option<String>,
}

/// Why a store refuses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: String,
    pub message: String,
    /// Where the bucket is, where that is what is wrong.
    pub region: Option<String>,
}

/// Reads a page of a listing.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn page(xml: &str) -> Result<Page, String> {
    let (mut page, mut object) = (Page::default(), Listed::default());
    let (mut encoded, mut truncated, mut next) = (false, false, String::new());
    walk(xml, "ListBucketResult", |path, text| match path {
        ["Contents", "Key"] => object.key = text,
        ["Contents", "Size"] => object.size = text.trim().parse().ok(),
        ["Contents", "ETag"] => text.trim().clone_into(&mut object.tag),
        ["Contents"] => page.objects.push(std::mem::take(&mut object)),
        ["EncodingType"] => encoded = text.trim() == "url",
        ["IsTruncated"] => truncated = text.trim() == "true",
        ["NextContinuationToken"] => next = text,
        _ => {}
    })?;
    if encoded {
        for object in &mut page.objects {
            object.key = decode(&object.key).ok_or_else(|| format!("the key {:?} is no text", object.key))?;
        }
    }
    if truncated {
        // Taking the list for whole would leave out the rest without a word.
        page.next = Some(next).filter(|next| !next.is_empty());
        page.next.as_ref().ok_or("its list goes on, and it does not say how to ask for the rest")?;
    }
    Ok(page)
}

/// Reads why a store refuses; empty where it does not say.
pub(super) fn refusal(xml: &str) -> Refusal {
    let mut refusal = Refusal::default();
    let _ = walk(xml, "Error", |path, text| match path {
        ["Code"] => refusal.code = words(&text, 64),
        ["Message"] => refusal.message = words(&text, 300),
        ["Region"] => refusal.region = Some(text.trim().to_owned()),
        _ => {}
    });
    refusal
}

/// One line of at most so many characters, which a terminal can be given.
fn words(text: &str, most: usize) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(most)
        .collect()
}

/// Calls `end` for every element below the root when it ends, with its path from there and its text.
fn walk(xml: &str, root: &str, mut end: impl FnMut(&[&str], String)) -> Result<(), String> {
    let mut reader = Reader::from_str(xml);
    let mut path: Vec<String> = Vec::new();
    let mut text = String::new();
    let (mut begun, mut ended) = (false, false);
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(element) => {
                let name = element.local_name().as_ref().to_owned();
                text.clear();
                if begun {
                    path.push(name);
                } else if name == root {
                    begun = true;
                } else {
                    return Err(format!("it answers <{}>", words(&name, 40)));
                }
            }
            Event::Empty(element) if !begun && element.local_name().as_ref() == root => (begun, ended) = (true, true),
            Event::Text(piece) if begun => text.push_str(&piece),
            Event::CData(piece) if begun => text.push_str(&piece),
            Event::GeneralRef(reference) if begun => match (reference.resolve_char_ref(), &*reference) {
                (Ok(Some(character)), _) => text.push(character),
                (_, "amp") => text.push('&'),
                (_, "lt") => text.push('<'),
                (_, "gt") => text.push('>'),
                (_, "quot") => text.push('"'),
                (_, "apos") => text.push('\''),
                _ => return Err("it has an entity that XML does not".to_owned()),
            },
            Event::End(_) => {
                if path.is_empty() {
                    ended = true;
                } else {
                    end(&path.iter().map(String::as_str).collect::<Vec<_>>(), std::mem::take(&mut text));
                    path.pop();
                }
            }
            Event::Eof if ended => return Ok(()),
            Event::Eof if begun => return Err("it ends in the middle".to_owned()),
            Event::Eof => return Err("it has no XML".to_owned()),
            _ => {}
        }
    }
}

/// A key as forms encode it: some stores write a space as `+`, all write a plus as `%2B`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                (digit()? * 16 + digit()?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_every_vendor_are_read() {
        let amazon = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>a</Prefix>
            <KeyCount>2</KeyCount><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
            <NextContinuationToken>1u&amp;x==</NextContinuationToken>
            <Contents><Key>a/b+c%2Bd/%E4%B8%AD.txt</Key><ETag>&quot;0a-1&quot;</ETag><Size>7</Size>
            <Owner><ID>x</ID></Owner></Contents>
            <Contents><Key>a</Key><Size>x</Size></Contents><CommonPrefixes><Prefix>a/z/</Prefix></CommonPrefixes>
            </ListBucketResult>"#;
        let page = page(amazon).unwrap();
        assert_eq!(page.next.as_deref(), Some("1u&x=="));
        assert_eq!(page.objects[0], Listed { key: "a/b c+d/中.txt".into(), size: Some(7), tag: "\"0a-1\"".into() });
        assert_eq!(page.objects[1], Listed { key: "a".into(), size: None, tag: String::new() });
        // Another namespace, a prefix for it, and keys as they are.
        let other = r#"<g:ListBucketResult xmlns:g="http://doc.s3.amazonaws.com/2006-03-01"><g:Contents>
            <g:Key>a+b&#x26;&#99;</g:Key></g:Contents><g:IsTruncated>false</g:IsTruncated></g:ListBucketResult>"#;
        let page = super::page(other).unwrap();
        assert_eq!((page.objects[0].key.as_str(), page.next), ("a+b&c", None));
        assert_eq!(super::page("<ListBucketResult/>").map(|page| page.objects.len()), Ok(0));
    }

    #[test]
    fn broken_pages_are_an_error_or_a_page() {
        let whole = "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><Contents><Key>a%2B\
                     </Key><![CDATA[x]]><Size>7</Size></Contents><NextContinuationToken>&#x41;&amp;</NextContinuationToken>\
                     </ListBucketResult>";
        assert!(page(whole).is_ok());
        for at in 0..whole.len() {
            assert!(page(&whole[..at]).is_err(), "{at}");
            for other in ["<", ">", "&", ";", "%", "/", "!", "]", "\0", "é", "</a>", "<a>", "&#xFFFFFFFF;"] {
                let (changed, put) = (
                    format!("{}{other}{}", &whole[..at], &whole[at + 1..]),
                    format!("{}{other}{}", &whole[..at], &whole[at..]),
                );
                let _ = (page(&changed), page(&put), refusal(&changed));
            }
        }
    }

    #[test]
    fn what_is_no_page_is_told() {
        for (xml, expected) in [
            ("", "no XML"),
            ("<html><body>Sign in</body></html>", "<html>"),
            ("<ListBucketResult><Contents><Key>a</Key>", "middle"),
            ("<ListBucketResult><Contents>&bomb;</Contents></ListBucketResult>", "entity"),
            ("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", "goes on"),
            (
                "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>%FF</Key></Contents></ListBucketResult>",
                "no text",
            ),
        ] {
            let error = page(xml).unwrap_err();
            assert!(error.contains(expected), "{xml}: {error}");
        }
    }

    #[test]
    fn refusals_are_words_for_a_terminal() {
        let xml = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>a\u{1b}[31m\n b</Message>\
                   <Region>eu-north-1</Region></Error>";
        let refusal = refusal(xml);
        assert_eq!((refusal.message.as_str(), refusal.region.as_deref()), ("a [31m b", Some("eu-north-1")));
        assert_eq!(super::refusal("no XML at all"), Refusal::default());
    }
}
