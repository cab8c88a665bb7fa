//! `tojson` of chat templates: Python's `json.dumps(…, ensure_ascii=False)`.

use super::bounds::LONGEST;
use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// A value as Python writes it: `", "` and `": "` between things, or lines of `indent` spaces.
pub(super) fn dumps(value: &Value, indent: Option<usize>, sort_keys: bool) -> Result<String, Error> {
    let mut text = String::new();
    write(&mut text, value, indent, sort_keys, 0)?;
    Ok(text)
}

/// Deeper values are refused: nothing that templates are given is so deep.
const DEEPEST: usize = 64;

fn write(text: &mut String, value: &Value, indent: Option<usize>, sorted: bool, depth: usize) -> Result<(), Error> {
    let wrong = |what: String| Error::new(ErrorKind::InvalidOperation, format!("tojson: {what}"));
    if depth > DEEPEST {
        return Err(wrong("nested too deeply".into()));
    }
    if text.len() > LONGEST {
        return Err(wrong(format!("longer than {LONGEST} bytes")));
    }
    match value.kind() {
        ValueKind::None => text.push_str("null"),
        ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => text.push_str(&value.to_string()),
        ValueKind::String => text.push_str(&quoted(value.as_str().unwrap_or_default())),
        ValueKind::Map => {
            let mut keys: Vec<Value> = value.try_iter()?.collect();
            if sorted {
                keys.sort_by_key(ToString::to_string);
            }
            let entries =
                keys.iter().map(|key| Ok((Some(key), value.get_item(key)?))).collect::<Result<Vec<_>, Error>>()?;
            group(text, ['{', '}'], entries, indent, sorted, depth)?;
        }
        ValueKind::Seq | ValueKind::Iterable => {
            group(text, ['[', ']'], value.try_iter()?.map(|item| (None, item)).collect(), indent, sorted, depth)?;
        }
        kind => return Err(wrong(format!("{kind} has no form in JSON"))),
    }
    Ok(())
}

fn group(
    text: &mut String,
    [open, close]: [char; 2],
    entries: Vec<(Option<&Value>, Value)>,
    indent: Option<usize>,
    sorted: bool,
    depth: usize,
) -> Result<(), Error> {
    let line = |text: &mut String, depth: usize| {
        if let Some(indent) = indent {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent * depth));
        }
    };
    let empty = entries.is_empty();
    text.push(open);
    for (number, (key, item)) in entries.into_iter().enumerate() {
        if number > 0 {
            text.push_str(if indent.is_some() { "," } else { ", " });
        }
        line(text, depth + 1);
        if let Some(key) = key {
            text.push_str(&quoted(&key.to_string()));
            text.push_str(": ");
        }
        write(text, &item, indent, sorted, depth + 1)?;
    }
    if !empty {
        line(text, depth);
    }
    text.push(close);
    Ok(())
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
