//! Names of what lies in a store.

use crate::error::HubError;
use std::fmt;

/// What every address begins with.
pub(super) const SCHEME: &str = "s3://";

/// An object of a bucket, those below a prefix, or those that match a glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The bucket's name.
    pub bucket: String,
    /// A key as it is, without percent-encoding, or a glob over keys; empty for the whole bucket.
    pub key: String,
}

impl Address {
    /// Reads `s3://bucket[/key]`.
    ///
    /// # Errors
    /// When it is not such an address.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let fail = |reason: &str| HubError::Address { text: text.to_owned(), reason: reason.to_owned() };
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| fail("does not begin with s3://"))?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if bucket.is_empty() || bucket.len() > 255 || !bucket.bytes().all(good) || bucket.starts_with('.') {
            return Err(fail("has no name of a bucket, which is letters, digits, '-', '_', and '.'"));
        }
        if key.len() > 1024 {
            return Err(fail("has a key of more than 1024 bytes, which no store has"));
        }
        if has_dots(key) {
            return Err(fail("has a key with . or .. between its slashes, which no URL can hold"));
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// Whether many are meant, by a glob.
    pub(super) fn is_glob(&self) -> bool {
        self.key.contains(['*', '?', '['])
    }
}

/// Whether clients and servers would take parts of a key for steps up and down, and so reach another object.
pub(super) fn has_dots(key: &str) -> bool {
    key.split('/').any(is_dots)
}

/// Whether a part of a key is a step up, or none.
pub(super) fn is_dots(part: &str) -> bool {
    part == "." || part == ".."
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, bucket, key) in [
            ("s3://data/a/b.txt", "data", "a/b.txt"),
            ("s3://my.Old_bucket/", "my.Old_bucket", ""),
            ("s3://data//a b+c/中文%20.txt", "data", "/a b+c/中文%20.txt"),
            ("s3://data/**/part-[0-9]?.jsonl.gz", "data", "**/part-[0-9]?.jsonl.gz"),
            ("s3://data/a..b/...", "data", "a..b/..."),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.bucket.as_str(), address.key.as_str()), (bucket, key));
            assert_eq!(address.to_string(), text);
        }
        assert_eq!(Address::parse("s3://data").unwrap().key, "");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["s3://", "s3:///key", "s3://../x", "s3://b/../x", "s3://b/a/./x", "s3://a@b/x", "s3:b/x", "/x"] {
            let message = Address::parse(text).unwrap_err().to_string();
            assert!(message.starts_with(text) && message.contains("write s3://bucket/key"), "{message}");
        }
        assert!(Address::parse(&format!("s3://b/{}", "k".repeat(1025))).is_err());
    }
}
