//! The settings of a recipe as they were written, each with its place: from the file, then from overrides.

use super::error::{Place, RecipeError};
use super::{file, keys};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// A setting, what it excludes, and why. An override of the first takes the place of the others in the file; the other
/// way round is a conflict, or a width would silently drop the model that was to be continued.
const ALTERNATIVES: &[(&str, &[&str], &str)] = &[
    ("train.steps", &["train.epochs", "train.minutes"], LENGTH_HINT),
    ("train.epochs", &["train.steps", "train.minutes"], LENGTH_HINT),
    ("train.minutes", &["train.steps", "train.epochs"], LENGTH_HINT),
    ("tokenizer.path", &["tokenizer.kind", "tokenizer.vocab"], "load a tokenizer or train one"),
    (
        "model.from",
        &["model.family", "model.width", "model.layers", "model.heads", "model.dropout", "model.tied"],
        "a model that is continued keeps its shape",
    ),
    ("data.train", &["data.source"], "data.train is the short form for one source"),
    (
        "data.prepared",
        &["data.source", "data.train", "data.held_out", "data.held_out_target", "data.clean", "tokenizer"],
        "what is prepared has its sources, its held-out part and its tokenizer",
    ),
];

const LENGTH_HINT: &str = "the length of a run is one of train.steps, train.epochs, train.minutes";

/// One setting as it was written.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) value: toml::Value,
    pub(super) place: Place,
    /// The text of an override's value: a path such as `2024` stays a path.
    pub(super) raw: Option<String>,
}

impl Setting {
    fn is_override(&self) -> bool {
        matches!(self.place, Place::Override(_))
    }
}

/// Settings by key. Sources have their number in it: `data.source.0.name`.
#[derive(Debug, Default)]
pub(super) struct Settings(pub(super) BTreeMap<String, Setting>);

/// Walks a TOML document and collects its settings, and every complaint with its offset.
struct Walk<'a> {
    place: &'a dyn Fn(usize) -> Place,
    raw: Option<&'a str>,
    /// Names of the sources so far, for overrides that name one.
    names: Vec<String>,
    found: Vec<(String, Setting)>,
    problems: Vec<(usize, RecipeError)>,
}

impl Walk<'_> {
    fn table(&mut self, table: &DeTable<'_>, prefix: &str) {
        for (name, value) in table {
            let key =
                if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
            let offset = name.span().start;
            if !keys::DOMAINS.contains(&prefix) && name.get_ref().contains('.') {
                let place = (self.place)(offset);
                let hint = "write keys without quotes, their parts between dots".to_owned();
                self.problems.push((offset, RecipeError::UnknownKey { place, key: shorten(&key), hint }));
                continue;
            }
            if keys::SECTIONS.contains(&&*key) || keys::DOMAINS.contains(&&*key) {
                match value.get_ref() {
                    DeValue::Table(inner) => self.table(inner, &key),
                    other => self.wrong_type(offset, &key, other, &format!("a table: write [{key}] on a line above")),
                }
            } else if key == "data.source" {
                self.sources(offset, value.get_ref());
            } else if keys::DOMAINS.contains(&prefix) || keys::known(&without_number(&key)) {
                self.setting(key, offset, value);
            } else {
                let key = shorten(&without_number(&key));
                let hint = keys::hint(&key);
                self.problems.push((offset, RecipeError::UnknownKey { place: (self.place)(offset), key, hint }));
            }
        }
    }

    fn sources(&mut self, offset: usize, value: &DeValue<'_>) {
        const EXPECTED: &str =
            "a list of tables: write [[data.source]], with two brackets, above the name and path of each source";
        match value {
            DeValue::Array(sources) => {
                for (number, source) in sources.iter().enumerate() {
                    match source.get_ref() {
                        DeValue::Table(inner) if !inner.is_empty() => {
                            self.table(inner, &format!("data.source.{number}"));
                        }
                        other => self.wrong_type(source.span().start, "data.source", other, EXPECTED),
                    }
                }
            }
            // Only an override has a single table here: NAME.KEY or NUMBER.KEY of one source.
            DeValue::Table(sources) if self.raw.is_some() => {
                for (name, source) in sources {
                    let name = name.get_ref();
                    let number = self.names.iter().position(|known| known == name);
                    let number = number.or_else(|| name.parse().ok().filter(|&number| number < self.names.len()));
                    match (number, source.get_ref()) {
                        (Some(number), DeValue::Table(inner)) => self.table(inner, &format!("data.source.{number}")),
                        (Some(_), other) => self.wrong_type(offset, &format!("data.source.{name}"), other, EXPECTED),
                        (None, _) => {
                            let hint = match &*self.names {
                                [] => "the recipe has no [[data.source]]".to_owned(),
                                names => format!("the sources are {}", names.join(", ")),
                            };
                            let key = shorten(&format!("data.source.{name}"));
                            let place = (self.place)(offset);
                            self.problems.push((offset, RecipeError::UnknownKey { place, key, hint }));
                        }
                    }
                }
            }
            other => self.wrong_type(offset, "data.source", other, EXPECTED),
        }
    }

    fn setting(&mut self, key: String, offset: usize, value: &Spanned<DeValue<'_>>) {
        match toml::Value::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(value) => {
                let place = (self.place)(offset);
                self.found.push((key, Setting { value, place, raw: self.raw.map(str::to_owned) }));
            }
            Err(error) => self.wrong_type(offset, &key, value.get_ref(), error.message()),
        }
    }

    fn wrong_type(&mut self, offset: usize, key: &str, found: &DeValue<'_>, expected: &str) {
        let found = match found {
            DeValue::Table(_) => "{…}".to_owned(),
            DeValue::Array(_) => "[…]".to_owned(),
            DeValue::String(text) => shorten(&toml::Value::String(text.to_string()).to_string()),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(truth) => truth.to_string(),
            DeValue::Datetime(time) => time.to_string(),
        };
        let (key, expected) = (shorten(&without_number(key)), expected.to_owned());
        let place = (self.place)(offset);
        self.problems.push((offset, RecipeError::WrongType { place, key, found, expected }));
    }

    fn finish(self) -> Result<Vec<(String, Setting)>, RecipeError> {
        match self.problems.into_iter().min_by_key(|(offset, _)| *offset) {
            Some((_, problem)) => Err(problem),
            None => Ok(self.found),
        }
    }
}

impl Settings {
    pub(super) fn of_file(text: &str, path: Option<&Path>) -> Result<Settings, RecipeError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let place = |offset| {
            let line = file::line(text.as_bytes(), offset);
            path.map_or(Place::Line(line), |path| Place::File { path: path.to_owned(), line: Some(line) })
        };
        let document = DeTable::parse(text).map_err(|error| {
            let reason = error.message().trim().replace('\n', "; ");
            RecipeError::Syntax { place: place(error.span().map_or(0, |span| span.start)), reason }
        })?;
        let mut walk = Walk { place: &place, raw: None, names: Vec::new(), found: Vec::new(), problems: Vec::new() };
        walk.table(document.get_ref(), "");
        Ok(Settings(walk.finish()?.into_iter().collect()))
    }

    /// Applies one `KEY=VALUE`.
    pub(super) fn apply(&mut self, set: &str) -> Result<(), RecipeError> {
        let place = |_| Place::Override(shorten(set));
        let malformed = || RecipeError::Override { place: place(0) };
        let (key, value) = set.split_once('=').ok_or_else(malformed)?;
        let (key, value) = (key.trim(), value.trim());
        if key.is_empty() || key.chars().any(|character| "[]#{}".contains(character) || character.is_control()) {
            return Err(malformed());
        }
        let plain = format!("{key} = {value}");
        let quoted = format!("{key} = {}", toml::Value::String(value.to_owned()));
        let document = match DeTable::parse(&plain) {
            // More than one line could smuggle in more than one setting.
            Ok(document) if !value.contains('\n') => document,
            _ => DeTable::parse(&quoted).map_err(|_| malformed())?,
        };
        let names = self.source_names();
        let mut walk = Walk { place: &place, raw: Some(value), names, found: Vec::new(), problems: Vec::new() };
        walk.table(document.get_ref(), "");
        let replaces_sources = matches!(
            document.get_ref().get("data").and_then(|data| data.get_ref().get("source")).map(Spanned::get_ref),
            Some(DeValue::Array(_))
        );
        let found = walk.finish()?;
        if replaces_sources {
            self.0.retain(|key, setting| {
                !is_or_under(key, "data.source") && (key != "data.train" || setting.is_override())
            });
        }
        for (key, setting) in found {
            for (one, others, _) in ALTERNATIVES {
                if *one == key {
                    let gives_way = |key: &str| others.iter().any(|name| is_or_under(key, name));
                    self.0.retain(|key, setting| setting.is_override() || !gives_way(key));
                }
            }
            self.0.insert(key, setting);
        }
        Ok(())
    }

    fn source_names(&self) -> Vec<String> {
        let name = |number: usize| {
            let name = self.0.get(&format!("data.source.{number}.name")).and_then(|setting| setting.value.as_str());
            name.map_or_else(|| number.to_string(), str::to_owned)
        };
        (0..self.source_count()).map(name).collect()
    }

    pub(super) fn source_count(&self) -> usize {
        let number = |key: &String| key.strip_prefix("data.source.")?.split('.').next()?.parse::<usize>().ok();
        self.0.keys().filter_map(number).max().map_or(0, |last| last + 1)
    }

    pub(super) fn refuse_conflicts(&self) -> Result<(), RecipeError> {
        for (one, others, hint) in ALTERNATIVES {
            let excluded = |key: &str| others.iter().any(|name| is_or_under(key, name));
            if self.0.contains_key(*one)
                && let Some((second, setting)) = self.0.iter().find(|(key, _)| excluded(key))
            {
                let (first, second) = ((*one).to_owned(), without_number(second));
                let place = setting.place.clone();
                return Err(RecipeError::Conflict { place, first, second, hint: (*hint).to_owned() });
            }
        }
        Ok(())
    }
}

/// A text for a message: on one line, and cut when long.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short = String::new();
    for (number, character) in text.chars().enumerate() {
        match character {
            _ if number == LONGEST => {
                short.push('…');
                break;
            }
            control if control.is_control() => short.extend(control.escape_default()),
            visible => short.push(visible),
        }
    }
    short
}

/// The key without the number of its source.
pub(super) fn without_number(key: &str) -> String {
    match key.strip_prefix("data.source.").and_then(|rest| rest.split_once('.')) {
        Some((number, last)) if number.bytes().all(|byte| byte.is_ascii_digit()) => format!("data.source.{last}"),
        _ => key.to_owned(),
    }
}

fn is_or_under(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
