//! Names of what is on the Hub.

use crate::error::HubError;
use std::fmt;

/// What every name begins with.
pub(crate) const SCHEME: &str = "hf:";

/// A kind of repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Weights, configuration, tokenizer.
    Model,
    /// Data files.
    Dataset,
}

/// A repository at a revision, or a file, folder, or pattern in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Of what kind.
    pub kind: Kind,
    /// `org/name`, or the bare name of the oldest ones.
    pub repository: String,
    /// A branch, tag, or commit.
    pub revision: String,
    /// What in it: a file, a folder, or a glob; everything that is needed without.
    pub path: Option<String>,
}

impl Reference {
    /// Reads `hf:[datasets/]org/name[@revision][/path]`. A slash inside a revision is written `%2F`.
    ///
    /// # Errors
    /// When it is not such a name.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let fail = |reason: &str| HubError::Reference { text: text.to_owned(), reason: reason.to_owned() };
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| fail("does not begin with hf:"))?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (kind, rest) = match rest.strip_prefix("datasets/") {
            Some(rest) => (Kind::Dataset, rest),
            None => (Kind::Model, rest.strip_prefix("models/").unwrap_or(rest)),
        };
        let mut parts = rest.splitn(3, '/');
        let first = parts.next().unwrap_or_default();
        let second = parts.next();
        let mut path = parts.next().map(str::to_owned);
        let (name, revision) = match (first.split_once('@'), second) {
            // A bare name with a revision: what follows is a path.
            (Some((name, revision)), second) => {
                path = match (second, path) {
                    (None, _) => None,
                    (Some(second), None) => Some(second.to_owned()),
                    (Some(second), Some(path)) => Some(format!("{second}/{path}")),
                };
                (name.to_owned(), revision)
            }
            (None, None) => (first.to_owned(), "main"),
            (None, Some(second)) => {
                let (name, revision) = second.split_once('@').unwrap_or((second, "main"));
                (format!("{first}/{name}"), revision)
            }
        };
        let good = |part: &str| {
            !part.is_empty()
                && part.len() <= 96
                && !part.starts_with('.')
                && !part.contains("..")
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if !name.split('/').all(good) {
            return Err(fail("has no name of a repository, which is letters, digits, '-', '_', and '.'"));
        }
        let revision = revision.replace("%2F", "/").replace("%2f", "/");
        if !safe_path(&revision) {
            return Err(fail("has no revision after the @, which is a branch, tag, or commit"));
        }
        let path = path.map(|path| path.trim_end_matches('/').to_owned()).filter(|path| !path.is_empty());
        if path.as_deref().is_some_and(|path| !safe_path(path)) {
            return Err(fail("has a path that leads out of the repository"));
        }
        Ok(Self { kind, repository: name, revision, path })
    }

    /// The same at another revision.
    #[must_use]
    pub fn at(&self, revision: &str) -> Self {
        Self { revision: revision.to_owned(), ..self.clone() }
    }

    /// The cache's folder for the repository.
    pub(crate) fn folder(&self) -> String {
        let kind = match self.kind {
            Kind::Model => "models",
            Kind::Dataset => "datasets",
        };
        format!("{kind}--{}", self.repository.replace('/', "--"))
    }

    /// `/api/models/…/revision/…`.
    pub(crate) fn listing(&self) -> String {
        let kind = match self.kind {
            Kind::Model => "models",
            Kind::Dataset => "datasets",
        };
        format!("/api/{kind}/{}/revision/{}", self.repository, encode(&self.revision, false))
    }

    /// Where a file of it is.
    pub(crate) fn file(&self, commit: &str, path: &str) -> String {
        let kind = if self.kind == Kind::Dataset { "/datasets" } else { "" };
        format!("{kind}/{}/resolve/{}/{}", self.repository, encode(commit, false), encode(path, true))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind == Kind::Dataset { "datasets/" } else { "" };
        write!(f, "{SCHEME}{kind}{}", self.repository)?;
        if self.revision != "main" {
            write!(f, "@{}", self.revision.replace('/', "%2F"))?;
        }
        self.path.as_ref().map_or(Ok(()), |path| write!(f, "/{path}"))
    }
}

/// Whether a path stays inside the folder that it is joined to.
pub(crate) fn safe_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= 1024
        && !path.contains(['\\', '\0', ':'])
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// Percent-encodes what a URL's path cannot hold.
pub(crate) fn encode(text: &str, slashes: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (slashes && byte == b'/') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let read = |text: &str| Reference::parse(text).unwrap();
        let model = read("hf:org/name");
        assert_eq!((model.kind, model.repository.as_str(), model.revision.as_str()), (Kind::Model, "org/name", "main"));
        assert_eq!(read("hf:gpt2").repository, "gpt2");
        assert_eq!(read("hf:gpt2@v1/a/b.txt").path.as_deref(), Some("a/b.txt"));
        let data = read("hf:datasets/org/set@refs%2Fpr%2F1/data/*.jsonl");
        assert_eq!((data.kind, data.revision.as_str()), (Kind::Dataset, "refs/pr/1"));
        assert_eq!(data.path.as_deref(), Some("data/*.jsonl"));
        assert_eq!(data.folder(), "datasets--org--set");
        assert_eq!(data.listing(), "/api/datasets/org/set/revision/refs%2Fpr%2F1");
        assert_eq!(data.file("abc", "a b/ü.txt"), "/datasets/org/set/resolve/abc/a%20b/%C3%BC.txt");
        for text in ["hf:org/name", "hf:gpt2", "hf:org/name@v1.0", "hf:datasets/org/set@refs%2Fpr%2F1/data/*.jsonl"] {
            assert_eq!(read(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["hf:", "hf:/", "hf:../x", "hf:a/..", "hf:a/b@", "hf:a/b/../c", "hf:a b/c", "hf:a/b@../../x", "x"] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }
}
