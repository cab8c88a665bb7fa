//! The model card: front matter that the Hub reads, and a page that a person reads.

use crate::bert::Family;
use serde_json::Value;
use std::path::Path;

/// Where a model came from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The repository on the Hub, as `org/name`, that it was imported from.
    pub base_model: Option<String>,
}

/// What a family is used for: the Hub's name of the task, and the class in transformers.
fn task(family: &str, class: &str) -> (&'static str, &'static str) {
    let ends = |end: &str| class.ends_with(end);
    match family {
        "textcnn" | "rnn" | "lstm" | "gru" if ends("ForSequenceClassification") => {
            ("text-classification", "AutoModelForSequenceClassification")
        }
        _ if Family::ALL.iter().any(|bert| bert.name() == family) => match class {
            _ if ends("ForMaskedLM") || ends("ForPreTraining") => ("fill-mask", "AutoModelForMaskedLM"),
            _ if ends("ForSequenceClassification") => ("text-classification", "AutoModelForSequenceClassification"),
            _ if ends("ForTokenClassification") => ("token-classification", "AutoModelForTokenClassification"),
            _ if ends("ForQuestionAnswering") => ("question-answering", "AutoModelForQuestionAnswering"),
            _ => ("feature-extraction", "AutoModel"),
        },
        "marian" => ("translation", "AutoModelForSeq2SeqLM"),
        "t5" | "mt5" => ("text2text-generation", "AutoModelForSeq2SeqLM"),
        _ => ("text-generation", "AutoModelForCausalLM"),
    }
}

/// A card for a model that has none.
pub(super) fn card(
    title: &str,
    configuration: &Value,
    parameters: u64,
    dtype: &str,
    folder: &Path,
    origin: &Origin,
) -> String {
    let text = |key: &str| configuration.get(key).and_then(Value::as_str);
    let family = text("model_type").unwrap_or("unknown");
    let class = configuration.pointer("/architectures/0").and_then(Value::as_str).unwrap_or_default();
    let (pipeline, auto) = task(family, class);
    // What transformers has no class for opens in Loam alone.
    let ours = matches!(family, "lstm" | "gru" | "rnn" | "textcnn" | "word2vec");
    let sentence = folder.join("modules.json").exists();
    let library = match (ours, sentence) {
        (true, _) => "loam",
        (_, true) => "sentence-transformers",
        _ => "transformers",
    };
    let mut front =
        format!("---\nlibrary_name: {library}\npipeline_tag: {pipeline}\ntags:\n- loam\n- {}\n", quoted(family));
    for key in ["language", "license"] {
        if let Some(value) = text(key) {
            front.push_str(&format!("{key}: {}\n", quoted(value)));
        }
    }
    if let Some(base) = &origin.base_model {
        front.push_str(&format!("base_model: {}\n", quoted(base)));
    }
    let use_it = if ours {
        "```\nloam inspect .\n```".to_owned()
    } else {
        format!(
            "```python\nfrom transformers import {auto}, AutoTokenizer\n\n\
             tokenizer = AutoTokenizer.from_pretrained(\".\")\nmodel = {auto}.from_pretrained(\".\")\n```"
        )
    };
    format!(
        "{front}---\n\n# {title}\n\nA model of the family {family} with {parameters} parameters in {dtype}, written by \
         Loam {}.\n\n## Use\n\n{use_it}\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// A YAML scalar: plain where it can be, else as JSON writes it.
fn quoted(value: &str) -> String {
    let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
    let starts = value.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let word = ["no", "yes", "on", "off", "null", "true", "false"].contains(&value.to_ascii_lowercase().as_str());
    if plain && starts && !word { value.to_owned() } else { serde_json::Value::from(value).to_string() }
}
