//! What the outputs of a classifier are called, and what kind of answer they make together. Keys are those of Hugging
//! Face's `PretrainedConfig`: `id2label`, `label2id`, `num_labels`, `problem_type`.

use crate::configuration::{check_sizes, read_size, read_text};
use crate::error::ModelError;
use burn::tensor::{Tensor, activation};
use serde_json::{Map, Value, json};

/// Labels that a file may ask for by their number alone, without naming them.
const MOST_UNNAMED: usize = 1 << 16;

/// What the outputs answer together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Which one label a text has.
    SingleLabel,
    /// Which labels a text has, any number of them.
    MultiLabel,
    /// Numbers.
    Regression,
}

impl Problem {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::SingleLabel, Self::MultiLabel, Self::Regression];

    /// Its `problem_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::SingleLabel => "single_label_classification",
            Self::MultiLabel => "multi_label_classification",
            Self::Regression => "regression",
        }
    }
}

/// The names of a classifier's outputs, by their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    names: Vec<String>,
    problem: Problem,
}

impl Labels {
    /// Labels of these names.
    ///
    /// # Errors
    /// When there are none, or only one to choose from.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>, problem: Problem) -> Result<Self, ModelError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        check_sizes(&[("num_labels", names.len())])?;
        if names.len() == 1 && problem == Problem::SingleLabel {
            let reason = "a single label leaves nothing to choose; name two, or make it a regression";
            return Err(ModelError::Configuration(reason.to_owned()));
        }
        Ok(Self { names, problem })
    }

    /// The labels of a `config.json`: two without names where it says nothing, as transformers has it. Without a
    /// `problem_type`, one output is a regression and several are a choice.
    pub(crate) fn from_json(value: &Value) -> Result<Self, ModelError> {
        let wrong = |reason: String| ModelError::Configuration(reason);
        let names = if let Some(labels) = value.get("id2label").filter(|labels| !labels.is_null()) {
            named(labels)?
        } else {
            let count = read_size(value, "num_labels")?.unwrap_or(2);
            if count > MOST_UNNAMED {
                return Err(wrong(format!("num_labels = {count} without an id2label that names them")));
            }
            (0..count).map(|id| format!("LABEL_{id}")).collect()
        };
        let problem = match read_text(value, "problem_type")? {
            None if names.len() == 1 => Problem::Regression,
            None => Problem::SingleLabel,
            Some(name) => Problem::ALL.into_iter().find(|problem| problem.name() == name).ok_or_else(|| {
                let known = Problem::ALL.map(Problem::name).join(", ");
                wrong(format!("problem_type = {name:?} is none of {known}"))
            })?,
        };
        Self::new(names, problem)
    }

    /// Writes `id2label` and `label2id`.
    pub(crate) fn write_names(&self, fields: &mut Map<String, Value>) {
        let by_id: Map<String, Value> =
            self.names.iter().enumerate().map(|(id, name)| (id.to_string(), json!(name))).collect();
        let by_name: Map<String, Value> =
            self.names.iter().enumerate().map(|(id, name)| (name.clone(), json!(id))).collect();
        fields.insert("id2label".into(), Value::Object(by_id));
        fields.insert("label2id".into(), Value::Object(by_name));
    }

    /// Writes `id2label`, `label2id` and `problem_type`.
    pub(crate) fn write(&self, fields: &mut Map<String, Value>) {
        self.write_names(fields);
        fields.insert("problem_type".into(), json!(self.problem.name()));
    }

    /// The names, in the order of the outputs.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many outputs there are; never 0.
    #[allow(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The output of this name.
    pub fn id(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// What the outputs answer together.
    pub fn problem(&self) -> Problem {
        self.problem
    }

    /// What logits `[batch, labels]` say: probabilities of one label among all, probabilities of each label by itself,
    /// or the numbers as they are.
    pub fn scores(&self, logits: Tensor<2>) -> Tensor<2> {
        match self.problem {
            Problem::SingleLabel => activation::softmax(logits, 1),
            Problem::MultiLabel => activation::sigmoid(logits),
            Problem::Regression => logits,
        }
    }
}

/// The names of an `id2label`, whose keys are the numbers from 0 on.
fn named(labels: &Value) -> Result<Vec<String>, ModelError> {
    let wrong = |reason: &str| ModelError::Configuration(format!("id2label {reason}"));
    let fields = labels.as_object().ok_or_else(|| wrong("is not an object of numbers and names"))?;
    let mut names: Vec<Option<String>> = vec![None; fields.len()];
    for (id, name) in fields {
        let place = id.parse::<usize>().ok().and_then(|id| names.get_mut(id));
        let place = place.ok_or_else(|| wrong(&format!("has the id {id:?}; ids go from 0 on without a gap")))?;
        let name =
            name.as_str().map(str::to_owned).ok_or_else(|| wrong(&format!("names {id} with {name}, no text")))?;
        if place.replace(name).is_some() {
            return Err(wrong(&format!("has the id {id:?} twice")));
        }
    }
    names.into_iter().collect::<Option<_>>().ok_or_else(|| wrong("has gaps between its ids"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &Value) -> Result<Labels, String> {
        Labels::from_json(value).map_err(|error| error.to_string())
    }

    #[test]
    fn labels_go_into_a_file_and_out() {
        for problem in Problem::ALL {
            let labels = Labels::new((0..12).map(|id| format!("kind {id}")), problem).unwrap();
            let mut fields = Map::new();
            labels.write(&mut fields);
            assert_eq!(fields["label2id"]["kind 11"], json!(11));
            assert_eq!(read(&Value::Object(fields)).unwrap(), labels);
        }
    }

    #[test]
    fn what_a_file_leaves_open_is_as_in_transformers() {
        assert_eq!(read(&json!({})).unwrap().names(), ["LABEL_0", "LABEL_1"]);
        assert_eq!(read(&json!({ "num_labels": 1 })).unwrap().problem(), Problem::Regression);
        let three = json!({ "id2label": { "2": "c", "0": "a", "1": "b" } });
        let three = read(&three).unwrap();
        assert_eq!((three.names().join(""), three.problem()), ("abc".to_owned(), Problem::SingleLabel));
        assert_eq!(three.id("c"), Some(2));
    }

    #[test]
    fn lies_are_named() {
        for (value, words) in [
            (json!({ "num_labels": 1_u64 << 60 }), "without an id2label"),
            (json!({ "num_labels": 0 }), "num_labels = 0"),
            (json!({ "num_labels": "many" }), "many"),
            (json!({ "id2label": {} }), "num_labels = 0"),
            (json!({ "id2label": { "0": "a", "2": "b" } }), "without a gap"),
            (json!({ "id2label": { "0": "a", "00": "b" } }), "twice"),
            (json!({ "id2label": { "0": "a", "1": 3 } }), "no text"),
            (json!({ "id2label": ["a", "b"] }), "not an object"),
            (json!({ "id2label": { "0": "a" }, "problem_type": "single_label_classification" }), "nothing to choose"),
            (json!({ "problem_type": "ranking" }), "ranking"),
        ] {
            let error = read(&value).unwrap_err();
            assert!(error.contains(words), "{value}: {error}");
        }
    }
}
