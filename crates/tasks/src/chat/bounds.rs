//! Bounds on what a template writes of lists and maps.
//!
//! Fuel bounds the texts, lists, and maps that a template makes, but a list that holds another one twice, which holds
//! another one twice, is small in memory and endless when it is written; minijinja counts it after it was written. Here
//! it is measured first, wherever minijinja lets one: where it is printed, in `tojson`, `string`, `join`, `pprint`, and as
//! an argument of methods. Not covered are operators (`~`, `==`) and text filters (`upper`) on such lists.

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, filters};
use std::fmt::{self, Write};

/// The longest text of a list or map, in bytes.
pub(super) const LONGEST: usize = 16 << 20;

/// Counts what would be written.
struct Counter(usize);

impl Write for Counter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        if self.0 > LONGEST { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Refuses a list or map whose text is too long.
fn check(value: &Value) -> Result<(), Error> {
    if matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable)
        && write!(Counter(0), "{value}").is_err()
    {
        let reason = format!("a list or map that would be written as more than {LONGEST} bytes");
        return Err(Error::new(ErrorKind::InvalidOperation, reason));
    }
    Ok(())
}

/// Refuses a format that pads to a width of more than five digits: Python's `format` pads before minijinja counts.
fn check_format(format: &str) -> Result<(), Error> {
    if format.as_bytes().windows(6).any(|bytes| bytes.iter().all(u8::is_ascii_digit)) {
        return Err(Error::new(ErrorKind::InvalidOperation, "format: a width beyond 99999"));
    }
    Ok(())
}

/// Puts the checks into an environment.
pub(super) fn install(environment: &mut Environment) {
    environment.set_formatter(|out, state, value| {
        check(value)?;
        minijinja::escape_formatter(out, state, value)
    });
    environment.add_filter("string", |state: &State, value: &Value| -> Result<Value, Error> {
        check(value)?;
        filters::string(state, value)
    });
    environment.add_filter("pprint", |value: &Value| -> Result<String, Error> {
        check(value)?;
        Ok(filters::pprint(value))
    });
    environment.add_filter("unchecked join", filters::join);
    environment.add_filter("join", |state: &mut State, arguments: minijinja::value::Rest<Value>| {
        arguments.iter().try_for_each(check)?;
        state.apply_filter("unchecked join", &arguments)
    });
    environment.set_unknown_method_callback(|state, value, method, arguments| {
        arguments.iter().try_for_each(check)?;
        if let ("format", Some(format)) = (method, value.as_str()) {
            check_format(format)?;
        }
        minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)
    });
}
