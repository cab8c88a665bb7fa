//! Files that match a glob.
//!
//! The crate `glob` follows links below `**`: one that leads back up gives every file forty times, and two of them more
//! paths than a disk has bytes. As in a shell, `**` here does not go through links to folders; other steps do, since there
//! are only as many as the pattern has.

use std::path::{MAIN_SEPARATOR, Path, PathBuf, is_separator};

use glob::{MatchOptions, Pattern};
use walkdir::WalkDir;

use crate::error::CorpusError;

/// The files that match a glob, in the order of their names, folder by folder.
///
/// # Errors
/// When it is not one. A folder that cannot be listed is an error among the files.
pub fn glob_files(pattern: &str) -> Result<Box<dyn Iterator<Item = Result<PathBuf, CorpusError>>>, CorpusError> {
    let wrong = |error: glob::PatternError| {
        CorpusError::invalid(format!("{pattern}: not a valid pattern: {error}"), "use *, ?, ** and [abc]")
    };
    let parts: Vec<&str> = pattern.split(is_separator).collect();
    let Some(deep) = parts.iter().position(|part| *part == "**") else {
        return Ok(Box::new(
            steps(pattern).map_err(wrong)?.filter(|path| path.as_ref().map_or(true, |path| path.is_file())),
        ));
    };
    Pattern::new(pattern).map_err(wrong)?;
    let below = Pattern::new(&parts[deep..].join("/")).map_err(wrong)?;
    let separator = MAIN_SEPARATOR.to_string();
    let above = match parts[..deep].join(&separator) {
        above if deep == 0 => above + ".",
        // The root.
        above if above.is_empty() => separator,
        above => above,
    };
    let folders = steps(&above).map_err(wrong)?;
    Ok(Box::new(folders.flat_map(move |folder| -> Box<dyn Iterator<Item = _>> {
        match folder {
            // A pattern that begins with ** gives paths that begin with no dot.
            Ok(folder) if deep == 0 => Box::new(walk(folder, below.clone()).map(|path| Ok(without_dot(path?)))),
            Ok(folder) if folder.is_dir() => Box::new(walk(folder, below.clone())),
            Ok(_) => Box::new(std::iter::empty()),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    })))
}

/// What matches a pattern without `**`.
fn steps(pattern: &str) -> Result<impl Iterator<Item = Result<PathBuf, CorpusError>> + use<>, glob::PatternError> {
    let listed = |error: glob::GlobError| {
        let path = error.path().to_path_buf();
        CorpusError::Io { action: "list", path, source: error.into() }
    };
    Ok(glob::glob(pattern)?.map(move |path| path.map_err(listed)))
}

/// The files below a folder whose paths from there match a pattern.
fn walk(folder: PathBuf, pattern: Pattern) -> impl Iterator<Item = Result<PathBuf, CorpusError>> {
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
    let entries = WalkDir::new(&folder).min_depth(1).sort_by_file_name().into_iter();
    entries.filter_map(move |entry| match entry {
        Ok(entry) => {
            let path = entry.path();
            let matches = path.strip_prefix(&folder).is_ok_and(|path| pattern.matches_path_with(path, options));
            (matches && is_file(&entry)).then(|| Ok(entry.into_path()))
        }
        Err(error) => Some(Err(not_listed(error, &folder))),
    })
}

fn without_dot(path: PathBuf) -> PathBuf {
    path.strip_prefix(".").map(Path::to_path_buf).unwrap_or(path)
}

/// Whether an entry is a file, or a link to one.
pub(super) fn is_file(entry: &walkdir::DirEntry) -> bool {
    entry.file_type().is_file() || (entry.file_type().is_symlink() && entry.path().is_file())
}

/// The error of a folder that cannot be listed.
pub(super) fn not_listed(error: walkdir::Error, folder: &Path) -> CorpusError {
    let path = error.path().unwrap_or(folder).to_path_buf();
    let source = error.into_io_error().unwrap_or_else(|| std::io::Error::other("a loop of links"));
    CorpusError::Io { action: "list", path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_that_the_crate_gives() {
        // Tests run in the folder of their crate.
        for pattern in [
            "**/glob*.rs",
            "src/**/g*.rs",
            "src/read/g*.rs",
            "s*/**/read/[g]*.rs",
            "../*/src/re*/**/globs.rs",
            "no/**/x",
        ] {
            let ours: Vec<PathBuf> = glob_files(pattern).unwrap().map(Result::unwrap).collect();
            let theirs: Vec<PathBuf> =
                glob::glob(pattern).unwrap().map(Result::unwrap).filter(|path| path.is_file()).collect();
            assert_eq!(ours, theirs, "{pattern}");
            assert_eq!(ours.is_empty(), pattern.starts_with("no"), "{pattern}");
        }
        assert!(glob_files("a**b").is_err() && glob_files("**/[").is_err());
    }
}
