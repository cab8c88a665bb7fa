//! Text out of marked-up documents: the main text of a web page, the prose of a wiki's article.

mod lines;
mod page;
mod paragraphs;
mod tags;
mod wiki;

use std::borrow::Cow;

pub use page::main_text;
pub use wiki::wiki_text;

/// How a document is marked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Markup {
    /// Not at all: it is text.
    #[default]
    None,
    /// A web page in HTML.
    Page,
    /// An article in the markup of MediaWiki.
    Wiki,
}

impl Markup {
    /// The text of a document that is marked up so; empty where a page has no main text.
    pub fn text(self, document: &str) -> Cow<'_, str> {
        match self {
            Self::None => Cow::Borrowed(document),
            Self::Page => Cow::Owned(main_text(document)),
            Self::Wiki => Cow::Owned(wiki_text(document)),
        }
    }
}
