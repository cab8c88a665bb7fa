//! What is fetched: models and data sets from the Hugging Face Hub, and objects from [stores](store) that speak S3.
//!
//! `hf:org/name[@revision]` names a model, `hf:datasets/org/name[@revision]/path` files of a data set. Both are fetched
//! into the cache that Hugging Face's own libraries keep, in its layout, so that each finds what the other fetched.
//! Downloads go on where they were cut off, and every file is checked against the hash that the Hub gives for it before
//! it gets its name. The crates for this do one or the other, not both, so the protocol is spoken here, over `ureq`.
#![forbid(unsafe_code)]

mod cache;
mod download;
mod error;
mod hash;
mod reference;
mod settings;
mod snapshot;
pub mod store;

pub use error::HubError;
pub use reference::{Kind, Reference};
pub use settings::{Settings, on_progress, set_offline};
pub use snapshot::Hub;

use std::path::PathBuf;

/// Whether a text names something on the Hub rather than a path.
pub fn is_reference(text: &str) -> bool {
    text.starts_with(reference::SCHEME)
}

/// The folder of a model that `text` names on the Hub, fetched where it is not there yet; none where it names a path.
///
/// # Errors
/// When the name is not one, or the model cannot be fetched.
pub fn model(text: &str) -> Result<Option<PathBuf>, HubError> {
    if !is_reference(text) {
        return Ok(None);
    }
    let reference = Reference::parse(text)?;
    Hub::new(Settings::from_environment())?.model(&reference).map(Some)
}

/// The files of a data set that `text` names on the Hub, fetched where they are not there yet; none where it names a
/// path. Without a path of its own every file that `wanted` accepts is fetched.
///
/// # Errors
/// When the name is not one, nothing matches, or a file cannot be fetched.
pub fn files(text: &str, wanted: &dyn Fn(&str) -> bool) -> Result<Option<Vec<PathBuf>>, HubError> {
    if !is_reference(text) {
        return Ok(None);
    }
    let reference = Reference::parse(text)?;
    Hub::new(Settings::from_environment())?.files(&reference, wanted).map(Some)
}

/// The same reference with its revision replaced by the commit that it means now, so that it means the same tomorrow.
///
/// # Errors
/// When the Hub cannot be asked and the cache does not know.
pub fn pinned(text: &str) -> Result<String, HubError> {
    let reference = Reference::parse(text)?;
    let commit = Hub::new(Settings::from_environment())?.commit(&reference)?;
    Ok(reference.at(&commit).to_string())
}
