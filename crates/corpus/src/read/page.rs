//! A web page that stands in a file of its own.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::compression::{self, Compression};
use super::{Found, LONGEST_RECORD, http};
use crate::error::CorpusError;

/// The one document of a page's file.
pub(super) struct PageFile {
    path: PathBuf,
    input: Option<Box<dyn Read + Send>>,
}

impl PageFile {
    pub(super) fn open(path: &Path, compression: Compression, expansion: u64) -> Result<Self, CorpusError> {
        let input = compression::open(path, compression, expansion)?;
        Ok(Self { path: path.to_path_buf(), input: Some(input) })
    }

    pub(super) fn next_text(&mut self) -> Result<Option<(u64, Found)>, CorpusError> {
        let Some(input) = self.input.take() else { return Ok(None) };
        let mut bytes = Vec::new();
        input.take(LONGEST_RECORD as u64 + 1).read_to_end(&mut bytes).map_err(CorpusError::io("read", &self.path))?;
        if bytes.len() > LONGEST_RECORD {
            return Err(CorpusError::invalid(
                format!("{}: a page longer than {} MiB", self.path.display(), LONGEST_RECORD >> 20),
                "leave it out, or save its text as .txt",
            ));
        }
        Ok(http::content(&bytes, "text/html").map(|found| (0, found)))
    }
}
