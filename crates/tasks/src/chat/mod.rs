//! Conversations with a model, through its own template.

mod bounds;
pub mod evaluation;
mod json;
mod template;
mod training;

pub use template::{CHATML, ChatTemplate, Message, Rendered};
pub use training::writer;

use crate::TaskError;
use crate::language_model::{Generation, LoadedModel, TextOptions};
use loam_models::decode::Remembering;
use loam_models::{CausalModel, LanguageModel};
use std::ops::ControlFlow;

/// A conversation under way.
#[derive(Debug)]
pub struct Chat<'a> {
    model: &'a LoadedModel,
    template: ChatTemplate,
    messages: Vec<Message>,
    /// Each prompt begins with most of the one before.
    decoder: Remembering<'a, CausalModel>,
}

/// What a turn came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// What the model said.
    pub answer: Generation,
    /// Tokens of the conversation that it answers to.
    pub read: usize,
    /// Those of them that it had read for the turn before, and not again.
    pub known: usize,
    /// Messages, the oldest ones, that were left out because the context is too short for them.
    pub dropped: usize,
}

impl<'a> Chat<'a> {
    /// A conversation of no messages.
    pub fn new(model: &'a LoadedModel, template: ChatTemplate) -> Self {
        Self { model, template, messages: Vec::new(), decoder: model.remembering() }
    }

    /// What was said so far, the system's instruction first where there is one.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Begins again; the system's instruction stays.
    pub fn reset(&mut self) {
        self.messages.truncate(self.instructed());
    }

    /// Replaces the whole conversation.
    pub fn set_messages(&mut self, messages: Vec<Message>) {
        self.messages = messages;
    }

    /// Gives or, where it is empty, takes away the system's instruction.
    pub fn set_system(&mut self, instruction: &str) {
        self.messages.drain(..self.instructed());
        if !instruction.is_empty() {
            self.messages.insert(0, Message::new("system", instruction));
        }
    }

    /// Takes back the last question with its answer; whether there was one.
    pub fn undo(&mut self) -> bool {
        let question = self.messages.iter().rposition(|message| message.role == "user");
        if let Some(question) = question {
            self.messages.truncate(question);
        }
        question.is_some()
    }

    fn instructed(&self) -> usize {
        usize::from(self.messages.first().is_some_and(|message| message.role == "system"))
    }

    /// Says something and lets the model answer, passing its text to `on_text` as it comes; `on_text` may end the answer.
    /// Where the context is too short for the conversation and `options.max_new_tokens` (at most half of it), the oldest
    /// turns are left out of what the model reads. After an error the conversation is as it was.
    ///
    /// # Errors
    /// When the template fails, or what was said alone is longer than the context.
    pub fn say(
        &mut self,
        text: &str,
        options: &TextOptions,
        on_text: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Turn, TaskError> {
        self.messages.push(Message::new("user", text));
        let turn = self.answer(options, on_text);
        match &turn {
            Ok(turn) => self.messages.push(Message::new("assistant", turn.answer.text.clone())),
            Err(_) => {
                self.messages.pop();
            }
        }
        turn
    }

    fn answer(
        &self,
        options: &TextOptions,
        mut on_text: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Turn, TaskError> {
        let (prompt, dropped) = self.prompt(options.max_new_tokens)?;
        let room = (self.model.model.context() + 1).saturating_sub(prompt.len());
        let options = TextOptions { max_new_tokens: options.max_new_tokens.min(room), ..options.clone() };
        let read = prompt.len();
        let mut answers = self.model.write_through(&self.decoder, &[prompt], &options, |_, text| on_text(text))?;
        Ok(Turn { answer: answers.remove(0), read, known: self.decoder.known(), dropped })
    }

    /// What the model reads, and how many of the oldest messages are not in it.
    fn prompt(&self, wanted: usize) -> Result<(Vec<u32>, usize), TaskError> {
        let context = self.model.model.context();
        let room = context - wanted.min(context / 2);
        let instructed = self.instructed();
        let mut first = instructed;
        loop {
            let kept: Vec<Message> =
                self.messages[..instructed].iter().chain(&self.messages[first..]).cloned().collect();
            let text = self.template.render(&kept, true)?.text;
            let ids = self.model.tokenizer.encode_with_special_tokens(&text);
            if ids.len() <= room {
                return Ok((ids, first - instructed));
            }
            // A conversation begins with a question again.
            let later = self.messages[first + 1..].iter().position(|message| message.role == "user");
            match later {
                Some(later) => first += 1 + later,
                None if ids.len() <= context => return Ok((ids, first - instructed)),
                None => {
                    return Err(TaskError::Request(format!(
                        "this alone is {} tokens long and the model's context is {context}; shorten it",
                        ids.len()
                    )));
                }
            }
        }
    }
}
