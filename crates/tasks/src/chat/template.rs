//! A model's chat template: a Jinja program that writes a conversation as the model was trained to read it.
//!
//! Templates are programs of strangers. They run with what transformers gives them (Jinja's `trim_blocks` and
//! `lstrip_blocks`, Python's string methods, `raise_exception`, `strftime_now`, `tojson`, `{% generation %}`), see no files,
//! and stop when their fuel is used up: an instruction takes one, and so do 64 bytes of every text, list, and map that the
//! template makes, so what it makes in memory is bounded too, at 320 MB over the whole run.

use super::{bounds, json};
use crate::TaskError;
use loam_corpus::Tokenizer;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Instructions, and portions of 64 bytes, that a template may take: a long conversation takes some ten thousand.
const FUEL: u64 = 5_000_000;

/// Longest template that is read, in bytes; the longest in use have some ten thousand.
const LONGEST: u64 = 1 << 20;

/// Stands before and behind the text of `{% generation %}` blocks while a template runs.
const MARKS: [char; 2] = ['\u{FFF80}', '\u{FFF81}'];

/// The layout of `--template chatml`: plain, and for models that have none of their own.
pub const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}\
{% if message.role == 'assistant' %}{% generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}\
{% else %}{{ message.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`; templates may know more.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// A message of a role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// A conversation as the model reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The text, special tokens spelled out.
    pub text: String,
    /// Where the answers stand in it, in bytes, as the template's `{% generation %}` blocks say; empty where it has none.
    pub answers: Vec<Range<usize>>,
}

/// A chat template with the special tokens that it may name.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    tokens: Vec<(String, String)>,
    origin: String,
    source: String,
}

impl ChatTemplate {
    /// The template of a model's folder: `chat_template.jinja`, or `chat_template` of `tokenizer_config.json` (of several
    /// named ones, `default`). None where the model has none.
    ///
    /// # Errors
    /// When a file cannot be read, or the template is not valid.
    pub fn of_folder(folder: &Path) -> Result<Option<Self>, TaskError> {
        let (config, config_file) = config(folder)?;
        let tokens = special_tokens(&config);
        let file = folder.join("chat_template.jinja");
        if folder.is_dir()
            && let Some(source) = read(&file)?
        {
            return Self::new(source, tokens, file.display().to_string()).map(Some);
        }
        let origin = format!("{}: chat_template", config_file.display());
        match &config["chat_template"] {
            serde_json::Value::Null => Ok(None),
            serde_json::Value::String(source) => Self::new(source.clone(), tokens, origin).map(Some),
            serde_json::Value::Array(named) => {
                let default = named.iter().find(|entry| entry["name"] == "default").or_else(|| named.first());
                match default.and_then(|entry| entry["template"].as_str()) {
                    Some(source) => Self::new(source.to_owned(), tokens, origin).map(Some),
                    None => Err(TaskError::Request(format!("{origin}: none of its entries has a name and a template"))),
                }
            }
            _ => Err(TaskError::Request(format!("{origin}: neither a text nor a list of named templates"))),
        }
    }

    /// The template that a user names: `chatml`, or a file.
    ///
    /// # Errors
    /// When the file cannot be read, or the template is not valid.
    pub fn named(name: &str, folder: &Path) -> Result<Self, TaskError> {
        let tokens = special_tokens(&config(folder)?.0);
        if name == "chatml" {
            return Self::new(CHATML.to_owned(), tokens, "chatml".to_owned());
        }
        match read(Path::new(name))? {
            Some(source) => Self::new(source, tokens, name.to_owned()),
            None => Err(TaskError::Request(format!("{name}: there is no such template; chatml, or a file"))),
        }
    }

    /// A template from its source, with special tokens by their names (`bos_token`, `eos_token`, …); `origin` says in
    /// errors where it is from.
    ///
    /// # Errors
    /// When the template is not valid.
    pub fn new(source: String, tokens: Vec<(String, String)>, origin: String) -> Result<Self, TaskError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| TaskError::Request(error.to_string()))?);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        bounds::install(&mut environment);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, format!("the template refuses this conversation: {message}")))
        });
        environment.add_function("strftime_now", |format: String| -> Result<String, Error> {
            jiff::fmt::strtime::format(&format, &jiff::Zoned::now())
                .map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {error}")))
        });
        environment.add_filter("tojson", |value: Value, options: Kwargs| -> Result<String, Error> {
            let indent: Option<usize> = options.get("indent")?;
            let sort_keys: Option<bool> = options.get("sort_keys")?;
            let _: Option<bool> = options.get("ensure_ascii")?;
            options.assert_all_used()?;
            json::dumps(&value, indent.map(|indent| indent.min(16)), sort_keys.unwrap_or(false))
        });
        let wrong = |error: &Error| TaskError::Request(format!("{origin}: not a valid template: {}", words(error)));
        environment.add_template_owned("chat", with_marks(&source)).map_err(|error| wrong(&error))?;
        Ok(Self { environment, tokens, origin, source })
    }

    /// Writes a whole conversation with its answers marked: by the template's `{% generation %}` blocks, and where it has
    /// none, as what each answer adds to the text before it.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`], and when the answers cannot be found: a template that writes earlier messages anew once
    /// an answer follows has no place that is the answer.
    pub fn render_marked(&self, messages: &[Message]) -> Result<Rendered, TaskError> {
        let mut whole = self.render(messages, false)?;
        if !whole.answers.is_empty() {
            return Ok(whole);
        }
        for (number, _) in messages.iter().enumerate().filter(|(_, message)| message.role == "assistant") {
            let before = self.render(&messages[..number], true)?.text;
            let with = self.render(&messages[..=number], false)?.text;
            if !with.starts_with(&before) || !whole.text.starts_with(&with) {
                return Err(TaskError::Request(format!(
                    "{}: it marks no answers with {{% generation %}}, and message {number} cannot be told from what \
                     stands around it",
                    self.origin
                )));
            }
            // White space behind an answer belongs to the layout.
            whole.answers.push(before.len()..with.trim_end().len().max(before.len()));
        }
        Ok(whole)
    }

    /// The template's source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Writes a conversation; with `answer_next`, what an answer begins with stands at the end.
    ///
    /// # Errors
    /// When the template raises, asks for what there is not, or runs too long.
    pub fn render(&self, messages: &[Message], answer_next: bool) -> Result<Rendered, TaskError> {
        let fail = |error: &Error| TaskError::Request(format!("{}: {}", self.origin, words(error)));
        let template = self.environment.get_template("chat").map_err(|error| fail(&error))?;
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| {
                let content = message.content.replace(MARKS, "");
                Value::from_pairs([("role", Value::from(message.role.as_str())), ("content", Value::from(content))])
            })
            .collect();
        let mut context: Vec<(String, Value)> = vec![
            ("messages".into(), Value::from(messages)),
            ("add_generation_prompt".into(), Value::from(answer_next)),
            ("tools".into(), Value::from(())),
            ("documents".into(), Value::from(())),
        ];
        context.extend(self.tokens.iter().map(|(name, token)| (name.clone(), Value::from(token.as_str()))));
        let text = template.render(Value::from_pairs(context)).map_err(|error| fail(&error))?;
        Ok(without_marks(&text))
    }
}

fn read(file: &Path) -> Result<Option<String>, TaskError> {
    let wrong = |error: &dyn std::fmt::Display| TaskError::Request(format!("{}: {error}", file.display()));
    match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(&error)),
        Ok(metadata) if metadata.len() > 64 * LONGEST => return Err(wrong(&"longer than any template")),
        Ok(_) => {}
    }
    std::fs::read_to_string(file).map(Some).map_err(|error| wrong(&error))
}

/// What `tokenizer_config.json` says, or a GGUF file in its place, and which of them it was.
fn config(folder: &Path) -> Result<(serde_json::Value, PathBuf), TaskError> {
    if folder.is_file() {
        return Ok((Tokenizer::open(folder)?.config().clone(), folder.to_owned()));
    }
    let file = folder.join("tokenizer_config.json");
    let config = match read(&file)? {
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| TaskError::Request(format!("{}: not valid JSON: {error}", file.display())))?,
        None => serde_json::Value::Null,
    };
    Ok((config, file))
}

/// `bos_token` and its like, as `tokenizer_config.json` has them.
fn special_tokens(config: &serde_json::Value) -> Vec<(String, String)> {
    let spelled = |token: &serde_json::Value| token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned);
    let entries = config.as_object().into_iter().flatten().filter(|(name, _)| name.ends_with("_token"));
    entries.filter_map(|(name, token)| Some((name.clone(), spelled(token)?))).collect()
}

/// An error in one line, with the line of the template.
fn words(error: &Error) -> String {
    if error.kind() == ErrorKind::OutOfFuel {
        return format!(
            "the template runs without end or makes texts without bound; it was stopped after {FUEL} instructions of 64 \
             bytes each"
        );
    }
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    error.line().map_or(what.clone(), |line| format!("line {line}: {what}"))
}

/// `{% generation %}` and `{% endgeneration %}` become marks in the text, between tags that keep what the originals do to
/// the space around them.
fn with_marks(source: &str) -> String {
    let mut marked = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        // Behind the opening: `{%}` is no tag.
        let Some(length) = rest[start + 2..].find("%}") else { break };
        let (tag, end) = (&rest[start..start + length + 4], start + length + 4);
        let inside = &tag[2..tag.len() - 2];
        let (left, inside) = inside.split_at(inside.len() - inside.trim_start_matches(['-', '+']).len());
        let (inside, right) = inside.split_at(inside.trim_end_matches(['-', '+']).len());
        marked.push_str(&rest[..start]);
        let mark = match inside.trim() {
            "generation" => Some(MARKS[0]),
            "endgeneration" => Some(MARKS[1]),
            _ => None,
        };
        match mark {
            Some(mark) => {
                marked.push_str(&format!("{{%{left} set _ = 0 -%}}{{{{ '{mark}' }}}}{{%- set _ = 0 {right}%}}"));
            }
            None => marked.push_str(tag),
        }
        rest = &rest[end..];
    }
    marked.push_str(rest);
    marked
}

fn without_marks(marked: &str) -> Rendered {
    let (mut text, mut answers, mut start) = (String::with_capacity(marked.len()), Vec::new(), None);
    for character in marked.chars() {
        if character == MARKS[0] {
            start = Some(text.len());
        } else if character == MARKS[1] {
            if let Some(start) = start.take() {
                answers.push(start..text.len());
            }
        } else {
            text.push(character);
        }
    }
    Rendered { text, answers }
}
