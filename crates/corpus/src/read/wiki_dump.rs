//! Dumps of wikis: the XML that MediaWiki exports, a page at a time.

use std::io::BufReader;

use quick_xml::events::Event;
use quick_xml::reader::Reader;
use serde_json::Value;

use super::stream::{TextReader, TextStream};
use super::{Found, LONGEST_RECORD, Markup};
use crate::error::CorpusError;

/// The articles of one dump.
pub(super) struct WikiDump {
    reader: Reader<BufReader<TextReader>>,
    buffer: Vec<u8>,
    metadata: bool,
    /// Whether the root was a dump's.
    begun: bool,
}

/// A page as far as it was read.
#[derive(Default)]
struct Page {
    title: String,
    space: String,
    id: String,
    text: String,
    redirects: bool,
}

impl WikiDump {
    pub(super) fn new(stream: TextStream, metadata: bool) -> Self {
        let reader = TextReader::new(stream, LONGEST_RECORD);
        let mut reader = Reader::from_reader(BufReader::with_capacity(64 << 10, reader));
        reader.config_mut().check_end_names = false;
        Self { reader, buffer: Vec::new(), metadata, begun: false }
    }

    /// The next article, with the offset of its page in the decompressed file. Redirects and pages outside the namespace of
    /// articles (discussions, templates, files) are left out.
    pub(super) fn next_text(&mut self) -> Result<Option<(u64, Found)>, CorpusError> {
        let mut page: Option<(u64, Page)> = None;
        // The elements that are open within the page.
        let mut path: Vec<String> = Vec::new();
        loop {
            self.buffer.clear();
            let position = self.reader.buffer_position();
            let event = match self.reader.read_event_into(&mut self.buffer) {
                Ok(event) => event,
                Err(error) => {
                    let text = error.to_string();
                    return Err(self.error(position, &text));
                }
            };
            match event {
                Event::Start(element) => {
                    let name = element.local_name().as_ref().to_owned();
                    if !self.begun {
                        if name != "mediawiki" {
                            return Err(
                                self.error(position, &format!("the element <{name}> where a dump has <mediawiki>"))
                            );
                        }
                        self.begun = true;
                    } else if name == "page" {
                        page = Some((position, Page::default()));
                        path.clear();
                    } else if page.is_some() {
                        path.push(name);
                    }
                }
                Event::Empty(element) => {
                    if let Some((_, page)) = &mut page {
                        page.redirects |= element.local_name().as_ref() == "redirect";
                    }
                }
                Event::End(element) if element.local_name().as_ref() == "page" => {
                    self.reader.get_mut().get_mut().record_ends();
                    if let Some((offset, page)) = page.take()
                        && !page.redirects
                        && (page.space.is_empty() || page.space == "0")
                        && !page.text.trim().is_empty()
                    {
                        return Ok(Some((offset, self.found(page))));
                    }
                }
                Event::End(_) => {
                    path.pop();
                }
                Event::Text(text) => {
                    if let Some((_, page)) = &mut page
                        && let Some(place) = page.place(&path)
                    {
                        place.push_str(&text);
                    }
                }
                Event::CData(text) => {
                    if let Some((_, page)) = &mut page
                        && let Some(place) = page.place(&path)
                    {
                        place.push_str(&text);
                    }
                }
                Event::GeneralRef(reference) => {
                    if let Some((_, page)) = &mut page
                        && let Some(place) = page.place(&path)
                    {
                        place.push_str(&html_escape::decode_html_entities(&format!("&{};", &*reference)));
                    }
                }
                Event::Eof => {
                    if !self.begun {
                        return Err(self.error(position, "no element at all"));
                    }
                    if page.is_some() {
                        return Err(self.error(position, "the file ends within a page"));
                    }
                    return Ok(None);
                }
                _ => {}
            }
        }
    }

    fn found(&self, page: Page) -> Found {
        let mut found = Found { text: page.text, markup: Markup::Wiki, ..Found::default() };
        if self.metadata {
            found.metadata.insert("title".to_owned(), Value::String(page.title));
            found.metadata.insert("page_id".to_owned(), Value::String(page.id));
        }
        found
    }

    fn error(&mut self, position: u64, message: &str) -> CorpusError {
        let reader = self.reader.get_mut().get_mut();
        reader.error.take().unwrap_or_else(|| CorpusError::InvalidText {
            path: reader.path().to_path_buf(),
            offset: position,
            message: message.to_owned(),
            hint: "of .xml files, dumps of MediaWiki are read; one that was cut short is read up to there with --past-errors"
                .to_owned(),
        })
    }
}

impl Page {
    /// Where text goes that stands under these elements of a page.
    fn place(&mut self, path: &[String]) -> Option<&mut String> {
        match path {
            [one] if one == "title" => Some(&mut self.title),
            [one] if one == "ns" => Some(&mut self.space),
            [one] if one == "id" => Some(&mut self.id),
            [one, two] if one == "revision" && two == "text" => Some(&mut self.text),
            _ => None,
        }
    }
}
