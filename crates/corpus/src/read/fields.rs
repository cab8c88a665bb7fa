//! Which fields of a record hold its text, whatever the file that it stood in.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::conversations::turns;
use super::{Found, Records};

/// The usual names of the two fields of a pair, the input first.
const PAIRS: [(&str, &str); 5] = [
    ("source", "target"),
    ("input", "target"),
    ("input", "output"),
    ("document", "summary"),
    ("article", "highlights"),
];

/// Fields are counted up to this many names, so that objects used as dictionaries need no memory.
const MOST_FIELDS: usize = 256;

/// Top-level fields of JSON records: name → type (`string`, `number`, …) → records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonFields(pub BTreeMap<String, BTreeMap<&'static str, u64>>);

impl JsonFields {
    pub(super) fn count(&mut self, record: &Map<String, Value>) {
        for (name, value) in record {
            self.count_type(name, type_name(value));
        }
    }

    /// One more record whose field `name` is of this type.
    pub(super) fn count_type(&mut self, name: &str, kind: &'static str) {
        if let Some(types) = self.0.get_mut(name) {
            *types.entry(kind).or_default() += 1;
        } else if self.0.len() < MOST_FIELDS {
            self.0.insert(name.to_owned(), BTreeMap::from([(kind, 1)]));
        }
    }
}

pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Where records hold their text.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    what: What,
    /// Whether the other fields are kept.
    metadata: bool,
}

#[derive(Clone, Debug)]
enum What {
    /// In this field; recognized without.
    Text(Option<String>),
    /// Input and target in these.
    Pair(String, String),
    /// In those of a conversation.
    Conversation,
    /// Where it can be seen: see [`Records::Recognized`].
    Recognized,
}

/// Why a record cannot be used, and what to do.
pub(super) struct Problem {
    pub(super) message: String,
    pub(super) hint: String,
}

impl Fields {
    pub(super) fn new(records: &Records, text_field: Option<&String>, metadata: bool) -> Self {
        let what = match records {
            Records::Conversations => What::Conversation,
            Records::PairFields { input, target } => What::Pair(input.clone(), target.clone()),
            Records::Recognized if text_field.is_none() => What::Recognized,
            _ => What::Text(text_field.cloned()),
        };
        Self { what, metadata }
    }

    /// The fields that were asked for.
    pub(super) fn asked(&self) -> Vec<String> {
        match &self.what {
            What::Text(field) => field.iter().cloned().collect(),
            What::Pair(input, target) => vec![input.clone(), target.clone()],
            What::Conversation | What::Recognized => Vec::new(),
        }
    }

    /// Whether texts without their other fields are wanted, of records with a field `text` or without.
    pub(super) fn only_text(&self, has_text: bool) -> bool {
        !self.metadata
            && match self.what {
                What::Text(_) => true,
                What::Recognized => has_text,
                _ => false,
            }
    }

    /// What a record holds.
    pub(super) fn of(&self, value: Value) -> Result<Found, Problem> {
        let (mut record, what) = match (value, &self.what) {
            (Value::String(text), What::Text(_) | What::Recognized) => return Ok(text.into()),
            (Value::Object(record), what) => (record, what),
            (other, _) => {
                let message = format!("a JSON {} instead of an object", type_name(&other));
                let hint = "each record is an object with a text field, or a string".to_owned();
                return Err(Problem { message, hint });
            }
        };
        let mut found = match what {
            What::Pair(input, target) => {
                let input = self.field(&mut record, input)?;
                let target = self.field(&mut record, target)?;
                Found::pair(&input, &target)
            }
            What::Conversation => match turns(&record) {
                Ok(turns) => Found::conversation(turns),
                Err(message) => return Err(self.problem(message, &record)),
            },
            What::Text(field) => self.text(&mut record, field.as_deref())?,
            What::Recognized => self.recognized(&mut record)?,
        };
        if self.metadata {
            found.metadata = record;
        }
        Ok(found)
    }

    /// The text of a record, in the field that was asked for or the one that can be told to hold it.
    fn text(&self, record: &mut Map<String, Value>, field: Option<&str>) -> Result<Found, Problem> {
        let strings = record.iter().filter(|(_, value)| value.is_string()).map(|(name, _)| name.as_str());
        match text_field(field, record.contains_key("text"), strings) {
            Some(name) => {
                let name = name.to_owned();
                self.field(record, &name).map(Found::from)
            }
            None => Err(self.problem("no field \"text\"".to_owned(), record)),
        }
    }

    fn recognized(&self, record: &mut Map<String, Value>) -> Result<Found, Problem> {
        if record.contains_key("text") {
            return self.text(record, None);
        }
        let listed = ["messages", "conversations"].iter().any(|name| record.get(*name).is_some_and(Value::is_array));
        // A question whose answer is blank is a conversation of which nothing is left; a question alone is a text.
        let answer = ["output", "response", "completion", "answer"].iter().any(|name| record.contains_key(*name));
        match turns(record) {
            Ok(turns) if listed || answer || !turns.is_empty() => return Ok(Found::conversation(turns)),
            Err(message) if listed => return Err(self.problem(message, record)),
            _ => {}
        }
        let has = |name: &str| record.get(name).is_some_and(Value::is_string);
        if let Some((input, target)) = PAIRS.iter().find(|(input, target)| has(input) && has(target)) {
            return Ok(Found::pair(&self.field(record, input)?, &self.field(record, target)?));
        }
        self.text(record, None)
    }

    /// The text of a field, which is taken from the record.
    fn field(&self, record: &mut Map<String, Value>, name: &str) -> Result<String, Problem> {
        match record.remove(name) {
            Some(Value::String(text)) => Ok(text),
            Some(Value::Null) => Ok(String::new()),
            Some(Value::Array(lines)) if lines.iter().all(Value::is_string) => {
                Ok(lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"))
            }
            Some(other) => {
                let message = format!("field \"{name}\" is a {} and not a string", type_name(&other));
                Err(self.problem(message, record))
            }
            None => Err(self.problem(format!("no field \"{name}\""), record)),
        }
    }

    fn problem(&self, message: String, record: &Map<String, Value>) -> Problem {
        let fields = record.iter().map(|(name, value)| (name.as_str(), type_name(value)));
        let hint = if matches!(self.what, What::Conversation) {
            "a conversation is a list of messages or conversations with role and content, or instruction and output, or \
             prompt and completion"
                .to_owned()
        } else {
            mapping_hint(fields)
        };
        Problem { message, hint }
    }
}

/// The field that holds the text: the one asked for, `text`, or the only one that could.
pub(super) fn text_field<'a>(
    asked: Option<&'a str>,
    has_text: bool,
    mut strings: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    match asked {
        Some(name) => Some(name),
        None if has_text => Some("text"),
        None => strings.next().filter(|_| strings.next().is_none()),
    }
}

/// What to do where no field can be told to be the text.
pub(super) fn mapping_hint<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let fields: Vec<String> =
        fields.take(20).map(|(name, kind)| format!("{} ({kind})", name.chars().take(40).collect::<String>())).collect();
    format!(
        "its fields are {}; name the one with the text as text_field, or two with a pair as input_field and target_field",
        fields.join(", ")
    )
}
