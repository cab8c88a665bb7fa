//! Conversations as training data: written by the template that the model will be asked with.

use super::template::{CHATML, ChatTemplate, Message};
use crate::TaskError;
use loam_corpus::{ConversationWriter, Marked, Turn};
use std::path::Path;
use std::sync::Arc;

/// What writes conversations for a run, with its template's source: the template that is named, or else that of the model
/// in `folder`, or else `chatml`.
///
/// # Errors
/// When the template cannot be read, or is not valid.
pub fn writer(folder: Option<&Path>, named: Option<&str>) -> Result<(ConversationWriter, String), TaskError> {
    let template = match (named, folder) {
        (Some(name), Some(folder)) => ChatTemplate::named(name, folder)?,
        (Some(name), None) => ChatTemplate::named(name, Path::new(""))?,
        (None, Some(folder)) => match ChatTemplate::of_folder(folder)? {
            Some(template) => template,
            None => ChatTemplate::named("chatml", folder)?,
        },
        (None, None) => ChatTemplate::new(CHATML.to_owned(), Vec::new(), "chatml".to_owned())?,
    };
    let source = template.source().to_owned();
    let write = move |turns: &[Turn]| {
        let messages: Vec<Message> =
            turns.iter().map(|turn| Message::new(turn.role.as_str(), turn.content.as_str())).collect();
        let rendered = template.render_marked(&messages).map_err(|error| error.to_string())?;
        Ok(Marked { text: rendered.text, answers: rendered.answers })
    };
    Ok((ConversationWriter(Arc::new(write)), source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(role: &str, content: &str) -> Turn {
        Turn { role: role.to_owned(), content: content.to_owned() }
    }

    fn answers(template: &str, turns: &[Turn]) -> Result<Vec<String>, TaskError> {
        let template = ChatTemplate::new(template.to_owned(), Vec::new(), "test".to_owned())?;
        let messages: Vec<Message> = turns.iter().map(|t| Message::new(t.role.as_str(), t.content.as_str())).collect();
        let rendered = template.render_marked(&messages)?;
        Ok(rendered.answers.iter().map(|answer| rendered.text[answer.clone()].to_owned()).collect())
    }

    #[test]
    fn answers_are_found_with_and_without_marks() {
        let turns = [turn("user", "a?"), turn("assistant", "b."), turn("user", "c?"), turn("assistant", "d.")];
        let expected = ["b.<|im_end|>", "d.<|im_end|>"];
        assert_eq!(answers(CHATML, &turns).unwrap(), expected);
        let unmarked = CHATML.replace("{% generation %}", "").replace("{% endgeneration %}", "");
        assert_eq!(answers(&unmarked, &turns).unwrap(), expected);
        let anew = "{{ messages|length }}{% for message in messages %}{{ message.content }}{% endfor %}";
        let error = answers(anew, &turns).unwrap_err().to_string();
        assert!(error.contains("message 1 cannot be told"), "{error}");
    }
}
