//! A recipe file's text, or a clear word about what stands there instead.

use super::error::{Place, RecipeError};
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// A longer file is data, given in the wrong place.
const LONGEST_RECIPE: u64 = 1 << 20;

/// Reads the text of a recipe file.
pub(super) fn read(path: &Path) -> Result<String, RecipeError> {
    let unreadable = |source| RecipeError::Unreadable { path: path.to_owned(), source };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(RecipeError::Missing { path: path.to_owned(), hint: neighbor(path) });
        }
        Err(error) => return Err(unreadable(error)),
    };
    let place = |line| Place::File { path: path.to_owned(), line };
    if metadata.is_dir() {
        let inside = path.join("recipe.toml");
        let hint = if inside.is_file() { format!(", for instance {}", inside.display()) } else { String::new() };
        return Err(RecipeError::Folder { path: path.to_owned(), hint });
    }
    let mut bytes = Vec::new();
    // A device has no length beforehand, and perhaps no end.
    fs::File::open(path).and_then(|file| file.take(LONGEST_RECIPE + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > LONGEST_RECIPE {
        let reason = format!("it has more than {LONGEST_RECIPE} bytes");
        return Err(RecipeError::NotARecipe { place: place(None), reason });
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let reason = "this is not UTF-8 text".to_owned();
        RecipeError::NotARecipe { place: place(Some(line(good, good.len()))), reason }
    })
}

/// The recipe beside a missing one whose name is nearest.
fn neighbor(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wanted = path.file_stem().unwrap_or_default().to_string_lossy();
    let Ok(entries) = fs::read_dir(folder) else {
        return format!(", nor the folder {}", folder.display());
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|candidate| candidate.extension().is_some_and(|extension| extension == "toml"))
        .filter_map(|candidate| {
            let likeness = strsim::jaro_winkler(&candidate.file_stem()?.to_string_lossy(), &wanted);
            (likeness > 0.8).then_some((likeness, candidate))
        })
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map_or_else(String::new, |(_, candidate)| format!("; did you mean {}?", candidate.display()))
}

/// Line, from 1, of an offset.
pub(super) fn line(text: &[u8], offset: usize) -> usize {
    text[..offset.min(text.len())].split(|&byte| byte == b'\n').count()
}
