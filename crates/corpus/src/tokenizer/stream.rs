//! Decoding one token at a time, for text that is written while it is generated.
//!
//! A token may end in the middle of a character, and for some kinds its text depends on its neighbors
//! (spaces, `##`). So text is held back until it can no longer change.

use tokenizers::DecodeStreamError;
use tokenizers::tokenizer::step_decode_stream;

use super::Tokenizer;
use super::byte_level::{byte_of, decodes_bytes};

/// An incremental decoder: the pieces from [`TextStream::push`] and [`TextStream::finish`], joined, are
/// the text that [`Tokenizer::decode`] gives for all ids at once.
pub struct TextStream {
    tokenizer: Tokenizer,
    state: State,
}

enum State {
    /// Bytes not yet given out: the start of a character.
    Bytes(Vec<u8>),
    Window {
        ids: Vec<u32>,
        prefix: String,
        prefix_index: usize,
    },
}

impl TextStream {
    pub(super) fn new(tokenizer: Tokenizer) -> Self {
        let state = if decodes_bytes(&tokenizer.inner.model) {
            State::Bytes(Vec::new())
        } else {
            State::Window { ids: Vec::new(), prefix: String::new(), prefix_index: 0 }
        };
        Self { tokenizer, state }
    }

    /// Takes a token and gives the text that is now certain, if any; never half a character.
    pub fn push(&mut self, id: u32) -> Option<String> {
        let model = &self.tokenizer.inner.model;
        match &mut self.state {
            State::Bytes(bytes) => {
                let token = model.id_to_token(id)?;
                if model.get_added_vocabulary().is_special_token(&token) {
                    return None;
                }
                let spelled: Option<Vec<u8>> = token.chars().map(byte_of).collect();
                match spelled {
                    Some(spelled) => bytes.extend(spelled),
                    // An added token is spelled as it is.
                    None => bytes.extend(token.as_bytes()),
                }
                let text = drain_characters(bytes);
                (!text.is_empty()).then_some(text)
            }
            State::Window { ids, prefix, prefix_index } => {
                match step_decode_stream(model, vec![id], true, ids, prefix, prefix_index) {
                    Ok(text) => text,
                    Err(error) => {
                        // What was given out cannot be taken back; go on from here.
                        debug_assert!(error.is::<DecodeStreamError>());
                        prefix.clear();
                        *prefix_index = 0;
                        ids.clear();
                        None
                    }
                }
            }
        }
    }

    /// What is left at the end: an unfinished character shows as U+FFFD, as [`Tokenizer::decode`] shows it.
    pub fn finish(&mut self) -> Option<String> {
        let text = match &mut self.state {
            State::Bytes(bytes) => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                bytes.clear();
                text
            }
            State::Window { ids, prefix, .. } => {
                let whole = self.tokenizer.inner.model.decode(ids, true).unwrap_or_default();
                ids.clear();
                whole.strip_prefix(prefix.as_str()).unwrap_or_default().to_owned()
            }
        };
        (!text.is_empty()).then_some(text)
    }
}

/// Takes all that is certain from the front: whole characters, and U+FFFD for bytes that can start none.
fn drain_characters(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut done = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        done += chunk.valid().len();
        let rest = &bytes[done..];
        let unfinished =
            std::str::from_utf8(rest).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none());
        if chunk.invalid().is_empty() || unfinished {
            break;
        }
        text.push('\u{FFFD}');
        done += chunk.invalid().len();
    }
    bytes.drain(..done);
    text
}
