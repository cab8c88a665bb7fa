//! Where results go.

use clap::builder::{PathBufValueParser, TypedValueParser};
use std::path::PathBuf;

/// A path on this machine. What names a store or the Hub would be taken for the name of a folder, and the result for
/// written there.
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match path.to_str() {
        Some(text) if loam_hub::store::is_address(text) => {
            Err(format!("results are written on this machine; write a folder, then `aws s3 cp --recursive DIR {text}`"))
        }
        Some(text) if loam_hub::is_reference(text) => {
            Err(format!("results are written on this machine; write a folder, then upload it to {text}"))
        }
        _ => Ok(path),
    })
}
