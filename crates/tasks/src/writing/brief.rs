//! What a model that writes is asked: the words around a text, kept beside the model that was trained with them.

use crate::language_model::TaskError;
use crate::model_folder::json_beside;
use loam_models::weights;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WritingTask {
    /// The text in another language.
    Translate,
    /// The text in fewer words.
    Summarize,
    /// An answer to what was said.
    Chat,
}

/// Where the text stands in a prompt.
pub const PLACE: &str = "{text}";

/// The file beside a model.
const FILE: &str = "task.json";

impl WritingTask {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Translate, Self::Summarize, Self::Chat];

    /// What the command line calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Translate => "translate",
            Self::Summarize => "summarize",
            Self::Chat => "chat",
        }
    }

    /// What a language model is asked where nobody says, in the language of the text.
    pub fn usual_prompt(self, text: &str) -> &'static str {
        match (self, is_chinese(text)) {
            (Self::Translate, false) => "Translate the following text.\n\n{text}",
            (Self::Translate, true) => "请翻译下面的文字。\n\n{text}",
            (Self::Summarize, false) => "Summarize the following text.\n\n{text}",
            (Self::Summarize, true) => "请概括下面的文字。\n\n{text}",
            (Self::Chat, _) => PLACE,
        }
    }
}

impl fmt::Display for WritingTask {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Whether a text is Chinese: whether it has at least as many Chinese characters as letters of other scripts, three letters counting
/// for one character, since a word has several.
pub(crate) fn is_chinese(text: &str) -> bool {
    let (mut chinese, mut others) = (0_u64, 0_u64);
    for character in text.chars() {
        match character as u32 {
            0x3400..=0x9fff | 0x2_0000..=0x3_ffff => chinese += 1,
            _ if character.is_alphabetic() => others += 1,
            _ => {}
        }
    }
    chinese > 0 && chinese * 3 >= others
}

/// What a model was trained to write, and how it was asked: `task.json` beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// What is written.
    pub task: WritingTask,
    /// The words around the text, which stands where `{text}` is; none where the model reads the text alone, or, of a language
    /// model, the usual words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

impl Brief {
    /// What lies beside a model: in its folder, or in that of its run.
    ///
    /// # Errors
    /// When the file cannot be read, or is another one of that name.
    pub fn beside(folder: &Path) -> Result<Option<Self>, TaskError> {
        // A file of this name beside a model's folder is ours only where that is a run's.
        let run = folder.parent().filter(|parent| parent.join("recipe.toml").exists());
        for place in [Some(folder), run].into_iter().flatten() {
            let path = place.join(FILE);
            let Some(value) = json_beside(&path)? else { continue };
            let brief: Self = serde_json::from_value(value)
                .map_err(|error| TaskError::Request(format!("{}: {error}", path.display())))?;
            if let Some(prompt) = &brief.prompt {
                check_prompt(prompt).map_err(|error| TaskError::Request(format!("{}: {error}", path.display())))?;
            }
            return Ok(Some(brief));
        }
        Ok(None)
    }

    /// Writes it into a folder.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn save(&self, folder: &Path) -> Result<(), TaskError> {
        let text = serde_json::to_string_pretty(self).expect("a brief is JSON") + "\n";
        Ok(weights::write_synced(&folder.join(FILE), text.as_bytes())?)
    }
}

/// Refuses a prompt in which a text has no place, or several.
///
/// # Errors
/// When it is one.
pub fn check_prompt(prompt: &str) -> Result<(), TaskError> {
    match prompt.matches(PLACE).count() {
        1 => Ok(()),
        0 => Err(TaskError::Request(format!("the prompt {prompt:?} has no {PLACE}, where the text goes"))),
        many => Err(TaskError::Request(format!("the prompt {prompt:?} has {many} times {PLACE}; once is enough"))),
    }
}

/// A text in its prompt.
pub(crate) fn asked(prompt: &str, text: &str) -> String {
    prompt.replacen(PLACE, text, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brief_lies_beside_a_model_or_its_run() {
        let run = tempfile::tempdir().unwrap();
        let model = run.path().join("model");
        std::fs::create_dir(&model).unwrap();
        assert_eq!(Brief::beside(&model).unwrap(), None);
        std::fs::write(run.path().join("task.json"), "[\"somebody else's\"]").unwrap();
        assert_eq!(Brief::beside(&model).unwrap(), None);
        std::fs::write(run.path().join("recipe.toml"), "").unwrap();
        let brief = Brief { task: WritingTask::Summarize, prompt: Some("In short: {text}".to_owned()) };
        brief.save(run.path()).unwrap();
        assert_eq!(Brief::beside(&model).unwrap(), Some(brief));
        Brief { task: WritingTask::Translate, prompt: None }.save(&model).unwrap();
        assert_eq!(Brief::beside(&model).unwrap().unwrap().task, WritingTask::Translate);
        std::fs::write(model.join("task.json"), "{\"task\":\"summarize\",\"prompt\":\"x\"}").unwrap();
        assert!(Brief::beside(&model).unwrap_err().to_string().contains("{text}"));
        std::fs::write(model.join("task.json"), "{\"task\":\"sing\"}").unwrap();
        assert!(Brief::beside(&model).unwrap_err().to_string().contains("sing"));
    }

    #[test]
    fn prompts_have_one_place_and_the_language_of_their_text() {
        assert!(check_prompt("a {text} b").is_ok());
        assert!(check_prompt("a").unwrap_err().to_string().contains("has no {text}"));
        assert!(check_prompt("{text}{text}").unwrap_err().to_string().contains("2 times"));
        assert_eq!(asked("a {text}", "{text}"), "a {text}");
        assert!(
            is_chinese("基于平方和 (SOS) 的方法") && !is_chinese("a word 中") && !is_chinese("") && !is_chinese("שלום")
        );
        assert!(WritingTask::Summarize.usual_prompt("中文").starts_with('请'));
    }
}
