//! Questions, and how a model reads them.

use loam_corpus::IGNORE;
use loam_train::learner::Learner;
use loam_train::objective::{Example, Kind};
use loam_train::reopen::Reopened;

use crate::InfluenceError;

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// A text, or what follows a prompt.
    Text {
        /// What the model reads first, and is not asked about.
        prompt: String,
        /// What it says.
        text: String,
    },
    /// A held-out domain, by its name.
    Domain(String),
    /// One of so many held-out sequences of a domain, spread over it.
    Sequence {
        /// The domain's place.
        domain: usize,
        /// Its number.
        number: usize,
        /// Of so many.
        of: usize,
    },
}

/// A question as the model reads it.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) examples: Vec<Example>,
    /// What stands in it.
    pub(super) text: String,
    /// What is asked about.
    pub(super) tokens: Vec<u32>,
}

impl Read {
    /// Targets that count.
    pub(super) fn counted(&self) -> usize {
        self.examples.iter().map(Example::counted).sum()
    }

    /// As a run's model reads it; what a reader has to know is added to `notes`.
    pub(super) fn of<M: Learner>(
        run: &Reopened<M>,
        question: &Question,
        domain_sequences: usize,
        notes: &mut Vec<String>,
    ) -> Result<Self, InfluenceError> {
        let refuse = |what: String, hint: &str| Err(InfluenceError::Attribution { what, hint: hint.to_owned() });
        let tokenizer = run.prepared.tokenizer();
        let of_examples = |examples: Vec<Example>| {
            let told = examples.iter().flat_map(|example| example.targets.iter().copied());
            let tokens: Vec<u32> = told.filter(|id| *id != IGNORE).collect();
            let whole = |example: &Example| match run.kind {
                Kind::Causal | Kind::Masked => example.inputs.clone(),
                Kind::Pairs | Kind::Spans => [example.source.as_slice(), &example.targets].concat(),
            };
            let texts: Vec<String> = examples.iter().map(|example| tokenizer.decode(&whole(example))).collect();
            Self { text: texts.join("\n"), tokens, examples }
        };
        let domains = run.prepared.held_out();
        match question {
            Question::Domain(name) => {
                let Some(domain) = domains.iter().position(|domain| domain.name == *name) else {
                    let names: Vec<&str> = domains.iter().map(|domain| domain.name.as_str()).collect();
                    return refuse(
                        format!("the run has no held-out domain {name:?}"),
                        &format!("it has {}", names.join(", ")),
                    );
                };
                let examples = run.held_out(domain, domain_sequences);
                if examples.is_empty() {
                    return refuse(format!("the held-out domain {name:?} is empty"), "ask about another, or a text");
                }
                Ok(of_examples(examples))
            }
            Question::Sequence { domain, number, of } => {
                let examples = run.held_out(*domain, *of).into_iter().nth(*number);
                Ok(of_examples(examples.into_iter().collect()))
            }
            Question::Text { prompt, text } => {
                let (first, tokens) = (tokenizer.encode(prompt), tokenizer.encode(text));
                if tokens.is_empty() {
                    return refuse(
                        "the question has no text".into(),
                        "give what the model said, with --prompt what it followed",
                    );
                }
                let whole = format!("{prompt}{text}");
                if matches!(run.kind, Kind::Pairs) {
                    let end = tokenizer.end_of_text();
                    let longest = first.len().max(tokens.len()) + usize::from(end.is_some());
                    if longest > run.context {
                        return refuse(
                            format!(
                                "a pair of {} and {} tokens does not fit the model's context of {}",
                                first.len(),
                                tokens.len(),
                                run.context
                            ),
                            "give a shorter --prompt or --text",
                        );
                    }
                    let ended = |ids: Vec<u32>| ids.into_iter().chain(end).collect();
                    let example =
                        Example { source: ended(first), targets: ended(tokens.clone()), ..Example::default() };
                    return Ok(Self { examples: vec![example], text: whole, tokens });
                }
                let all = [first.as_slice(), &tokens].concat();
                let window = run.window().max(1);
                let count = all.len().div_ceil(window);
                if count > 1 {
                    notes.push(format!(
                        "a question of {} tokens is longer than the model's context of {window}: it is read as {count} windows",
                        all.len()
                    ));
                }
                let mut examples = Vec::new();
                for part in 0..count {
                    let range = all.len() * part / count..all.len() * (part + 1) / count;
                    let before = match range.start {
                        0 => tokenizer.end_of_text(),
                        start => Some(all[start - 1]),
                    };
                    let mut example = run.passage(before, &all[range.clone()], 0, range.start);
                    // What stands in the prompt is read and not asked about.
                    let told = example.targets.len();
                    if matches!(run.kind, Kind::Causal) {
                        for (at, target) in example.targets.iter_mut().enumerate() {
                            if range.end + at < first.len() + told {
                                *target = IGNORE;
                            }
                        }
                    }
                    if example.counted() > 0 {
                        examples.push(example);
                    }
                }
                if examples.is_empty() {
                    return refuse("nothing of the question is told by the model".into(), "give a longer text");
                }
                Ok(Self { examples, text: whole, tokens })
            }
        }
    }
}
