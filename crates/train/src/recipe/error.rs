//! What can be wrong with a recipe, said with the place and a hint.

use std::fmt;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Where in a recipe something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A recipe file, with the line from 1 where one can be named.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line.
        line: Option<usize>,
    },
    /// A line, from 1, of a recipe without a file.
    Line(usize),
    /// An override, `KEY=VALUE`.
    Override(String),
    /// The recipe as a whole.
    Recipe,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line: Some(line) } => write!(formatter, "{}:{line}", path.display()),
            Place::File { path, line: None } => write!(formatter, "{}", path.display()),
            Place::Line(line) => write!(formatter, "line {line}"),
            Place::Override(text) => write!(formatter, "--set {text}"),
            Place::Recipe => formatter.write_str("recipe"),
        }
    }
}

/// Why a recipe cannot be used. The message has the place, the reason and a hint, on one line.
#[derive(Debug, Error)]
pub enum RecipeError {
    /// There is no such file.
    #[error("{}: no such recipe{hint}", path.display())]
    Missing {
        /// The file, as it was named.
        path: PathBuf,
        /// What may have been meant, or empty.
        hint: String,
    },
    /// Something on the Hub that cannot be had.
    #[error("{key}: {source}")]
    Hub {
        /// The key that names it.
        key: String,
        /// Why.
        source: loam_hub::HubError,
    },
    /// A folder stands where a file is wanted.
    #[error("{}: this is a folder; name a recipe file{hint}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What may have been meant, or empty.
        hint: String,
    },
    /// The file cannot be read.
    #[error("{}: cannot read the recipe: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is far too long, or not text.
    #[error("{place}: {reason}; a recipe is a short TOML file")]
    NotARecipe {
        /// The file, with the line.
        place: Place,
        /// What it is instead.
        reason: String,
    },
    /// Not a setting in it.
    #[error(
        "{place}: the recipe is empty; it needs at least data to train on, for instance: data.train = [\"text.txt\"]"
    )]
    Empty {
        /// The file.
        place: Place,
    },
    /// Not TOML.
    #[error("{place}: not valid TOML: {reason}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the TOML reader says.
        reason: String,
    },
    /// An override that is not `KEY=VALUE`.
    #[error("{place}: an override is KEY=VALUE, for instance train.lr=3e-4")]
    Override {
        /// The override.
        place: Place,
    },
    /// A key that no recipe has.
    #[error("{place}: unknown key \"{key}\"; {hint}")]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key, with its section.
        key: String,
        /// The nearest known key, or all that could stand there.
        hint: String,
    },
    /// A value of the wrong type, or a name that is none of the choices.
    #[error("{place}: {key} = {found}: expected {expected}")]
    WrongType {
        /// Where.
        place: Place,
        /// The key, with its section.
        key: String,
        /// The value, as TOML.
        found: String,
        /// What it may be, in words.
        expected: String,
    },
    /// A value that is out of range, or does not go with another.
    #[error("{place}: {reason}")]
    Invalid {
        /// Where.
        place: Place,
        /// The key, with its section.
        key: String,
        /// The setting and what is wrong with it.
        reason: String,
    },
    /// Settings that exclude each other.
    #[error("{place}: {first} and {second} are both set; {hint}")]
    Conflict {
        /// Where the second one stands.
        place: Place,
        /// A key.
        first: String,
        /// A key that excludes it.
        second: String,
        /// What to do.
        hint: String,
    },
    /// A path in the recipe leads nowhere.
    #[error("{key}: {path} {reason}; looked in {}", list(looked_in))]
    PathNotFound {
        /// The key, with its section.
        key: String,
        /// The path or glob, as it is written.
        path: String,
        /// Why it is not found.
        reason: String,
        /// Folders that it was looked for from.
        looked_in: Vec<PathBuf>,
    },
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(" and ")
}
