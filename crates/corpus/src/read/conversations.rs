//! Conversations, in the forms in which they are passed around.
//!
//! - `messages`: a list of `role` and `content` (OpenAI, Hugging Face);
//! - `conversations`: a list of `from` and `value` (ShareGPT), or of `role` and `content`;
//! - `instruction`, perhaps `input`, and `output` (Alpaca), perhaps with `system` and with `history`, a list of pairs;
//! - `prompt` or `question`, and `completion`, `response` or `answer`.

use serde_json::{Map, Value};

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// `system`, `user` or `assistant`; some data have more.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Turn {
    fn new(role: &str, content: &str) -> Self {
        let role = match role {
            "human" | "prompter" => "user",
            "gpt" | "bot" | "model" | "chatgpt" => "assistant",
            other => other,
        };
        Self { role: role.to_owned(), content: content.to_owned() }
    }
}

/// The conversation that a record holds, or what is wrong with it.
pub(super) fn turns(record: &Map<String, Value>) -> Result<Vec<Turn>, String> {
    for list in ["messages", "conversations"] {
        if let Some(messages) = record.get(list) {
            let messages = messages.as_array().ok_or_else(|| format!("field \"{list}\" is not a list"))?;
            return messages.iter().enumerate().map(|(number, message)| turn(list, number, message)).collect();
        }
    }
    let text = |name: &str| record.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    let any = |names: &[&str]| names.iter().find_map(|name| text(name));
    let mut turns: Vec<Turn> = text("system").map(|system| Turn::new("system", system)).into_iter().collect();
    for pair in record.get("history").and_then(Value::as_array).into_iter().flatten() {
        match (pair.get(0).and_then(Value::as_str), pair.get(1).and_then(Value::as_str)) {
            (Some(question), Some(answer)) => {
                turns.extend([Turn::new("user", question), Turn::new("assistant", answer)]);
            }
            _ => return Err("an entry of \"history\" is not a question and its answer".to_owned()),
        }
    }
    let (question, answer) = match text("instruction") {
        Some(instruction) => {
            let question =
                text("input").map_or_else(|| instruction.to_owned(), |input| format!("{instruction}\n\n{input}"));
            (Some(question), any(&["output", "response"]))
        }
        None => (any(&["prompt", "question"]).map(str::to_owned), any(&["completion", "response", "answer", "output"])),
    };
    match (question, answer) {
        (Some(question), Some(answer)) => {
            turns.extend([Turn::new("user", &question), Turn::new("assistant", answer)]);
            Ok(turns)
        }
        // A record that has its fields and nothing in them is one to pass over.
        (None, _) | (_, None)
            if ["instruction", "prompt", "question"].iter().any(|name| record.contains_key(*name)) =>
        {
            Ok(Vec::new())
        }
        _ => Err("no conversation".to_owned()),
    }
}

fn turn(list: &str, number: usize, message: &Value) -> Result<Turn, String> {
    let text = |names: [&str; 2]| names.iter().find_map(|name| message.get(*name)).and_then(Value::as_str);
    match (text(["role", "from"]), text(["content", "value"])) {
        (Some(role), Some(content)) => Ok(Turn::new(role, content)),
        (None, _) => Err(format!("message {number} of \"{list}\" has no \"role\"")),
        (_, None) => Err(format!("message {number} of \"{list}\" has no text in \"content\"")),
    }
}
