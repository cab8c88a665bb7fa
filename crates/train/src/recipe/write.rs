//! The resolved recipe as text: every value with its reason beside it.

use super::keys::KEYS;
use super::{Length, ModelRecipe, Recipe, SourceRecipe, TokenizerRecipe};
use loam_corpus::clean::Step;
use std::fmt::Write;

/// Column at which the reasons stand.
const REASON_COLUMN: usize = 38;

/// See [`Recipe::to_toml`].
pub(super) fn to_toml(recipe: &Recipe) -> String {
    let mut text = "# Every value of this run. `loam train` with this file does it again.\n".to_owned();
    section(&mut text, "[data]");
    if let Some(folder) = &recipe.data.prepared {
        line(&mut text, "data.prepared", Value::Set(string(&folder.to_string_lossy())));
    }
    if !recipe.data.clean.is_empty() {
        line(&mut text, "data.clean", Value::Set(steps(&recipe.data.clean)));
    }
    let bytes = recipe.data.bytes;
    line(&mut text, "data.encoding", Value::Set(string(&bytes.encoding.to_string())));
    line(&mut text, "data.damage", Value::Set(string(bytes.damage.name())));
    line(&mut text, "data.max_expansion", Value::Set(bytes.expansion.to_string()));
    for source in &recipe.data.sources {
        section(&mut text, "[[data.source]]");
        for (key, _) in KEYS {
            if let Some(value) = key.strip_prefix("data.source.").map(|name| of_source(source, name)) {
                line(&mut text, key, value);
            }
        }
    }
    if recipe.data.prepared.is_none() {
        section(&mut text, "[data.held_out]");
    }
    if recipe.data.prepared.is_none() && recipe.data.held_out.is_empty() {
        text.push_str("# domain = [\"files\"]; without any, 2 % of each source are held out\n");
    }
    for (domain, paths) in &recipe.data.held_out {
        let _ = writeln!(text, "{} = {}", domain_key(domain), strings(paths));
    }
    if !recipe.data.held_out_target.is_empty() {
        section(&mut text, "[data.held_out_target]");
    }
    for (domain, paths) in &recipe.data.held_out_target {
        let _ = writeln!(text, "{} = {}", domain_key(domain), strings(paths));
    }
    let own_tokenizer = |name: &&&str| recipe.data.prepared.is_none() || **name != "tokenizer";
    for name in super::keys::SECTIONS.iter().filter(|name| **name != "data").filter(own_tokenizer) {
        section(&mut text, &format!("[{name}]"));
        for (key, _) in KEYS.iter().filter(|(key, _)| key.split_once('.').is_some_and(|(section, _)| section == *name))
        {
            line(&mut text, key, of_recipe(recipe, key));
        }
    }
    text
}

/// A domain's name as a key.
fn domain_key(domain: &str) -> String {
    let bare = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '-';
    if domain.chars().all(bare) && !domain.is_empty() { domain.to_owned() } else { string(domain) }
}

/// What stands for a key.
enum Value {
    Set(String),
    /// Left to the program; the text shows how it could be set.
    Automatic(&'static str),
    /// Excluded by another key, so not shown.
    Excluded,
}

fn section(text: &mut String, header: &str) {
    let _ = write!(text, "\n{header}\n");
}

fn line(text: &mut String, key: &str, value: Value) {
    let reason = KEYS.iter().find(|(known, _)| *known == key).map_or("", |(_, reason)| reason);
    let name = key.rsplit('.').next().unwrap_or(key);
    let setting = match value {
        Value::Set(value) => format!("{name} = {value}"),
        Value::Automatic(example) => format!("# {name} = {example}"),
        Value::Excluded => return,
    };
    let _ = writeln!(text, "{setting:<width$} # {reason}", width = REASON_COLUMN - 1);
}

fn of_source(source: &SourceRecipe, name: &str) -> Value {
    match name {
        "name" => Value::Set(string(&source.name)),
        "path" => Value::Set(strings(&source.path)),
        "weight" => Value::Set(float(source.weight)),
        "text_field" => {
            source.text_field.as_ref().map_or(Value::Automatic("\"text\""), |field| Value::Set(string(field)))
        }
        "split" => Value::Set(string(&String::from(source.split.clone()))),
        "format" => Value::Set(string(source.format.name())),
        "clean" => source.clean.as_ref().map_or(Value::Excluded, |list| Value::Set(steps(list))),
        "target_path" if source.target_path.is_empty() => Value::Excluded,
        "target_path" => Value::Set(strings(&source.target_path)),
        "input_field" => source.input_field.as_ref().map_or(Value::Excluded, |field| Value::Set(string(field))),
        "target_field" => source.target_field.as_ref().map_or(Value::Excluded, |field| Value::Set(string(field))),
        _ => Value::Excluded,
    }
}

fn of_recipe(recipe: &Recipe, key: &str) -> Value {
    let Recipe { tokenizer, model, train, lora, objective, ledger, baseline, .. } = recipe;
    let optional =
        |value: Option<u64>, example| value.map_or(Value::Automatic(example), |value| Value::Set(value.to_string()));
    if recipe.data.prepared.is_some() && key.starts_with("tokenizer.") {
        return Value::Excluded;
    }
    if let (TokenizerRecipe::Load { path }, "tokenizer.path") = (tokenizer, key) {
        return Value::Set(string(&path.to_string_lossy()));
    }
    if let (TokenizerRecipe::Train { kind, vocab }, "tokenizer.kind" | "tokenizer.vocab") = (tokenizer, key) {
        return Value::Set(if key == "tokenizer.kind" { string(kind.name()) } else { vocab.to_string() });
    }
    match model {
        ModelRecipe::From { from, .. } if key == "model.from" => return Value::Set(string(&from.to_string_lossy())),
        ModelRecipe::From { context: Some(context), .. } if key == "model.context" => {
            return Value::Set(context.to_string());
        }
        ModelRecipe::New(shape) => match key {
            "model.family" => return Value::Set(string(shape.family.name())),
            "model.width" => return Value::Set(shape.width.to_string()),
            "model.layers" => return Value::Set(shape.layers.to_string()),
            "model.heads" => return Value::Set(shape.heads.to_string()),
            "model.context" => return Value::Set(shape.context.to_string()),
            "model.dropout" => return Value::Set(float(shape.dropout)),
            "model.tied" => return Value::Set(shape.tied.to_string()),
            _ => {}
        },
        ModelRecipe::From { .. } => {}
    }
    match (key, train.length) {
        ("train.steps", Length::Steps(steps)) => return Value::Set(steps.to_string()),
        ("train.epochs", Length::Epochs(epochs)) => return Value::Set(float(epochs)),
        ("train.minutes", Length::Minutes(minutes)) => return Value::Set(float(minutes)),
        _ => {}
    }
    let value = match key {
        "train.batch_tokens" => train.batch_tokens.to_string(),
        "train.micro_batch_tokens" => return optional(train.micro_batch_tokens.map(|tokens| tokens as u64), "2048"),
        "train.lr" => float(train.lr),
        "train.min_lr" => float(train.min_lr),
        "train.schedule" => string(train.schedule.name()),
        "train.warmup" => float(train.warmup),
        "train.weight_decay" => float(train.weight_decay),
        "train.beta1" => float(train.beta1),
        "train.beta2" => float(train.beta2),
        "train.epsilon" => float(train.epsilon),
        "train.clip" => float(train.clip),
        "train.dtype" => string(train.dtype.name()),
        "train.eval_every" => train.eval_every.to_string(),
        "train.eval_tokens" => train.eval_tokens.to_string(),
        "train.checkpoint_every" => train.checkpoint_every.to_string(),
        "train.keep_checkpoints" => train.keep_checkpoints.to_string(),
        "train.patience" => return optional(train.patience, "5"),
        "train.seed" => train.seed.to_string(),
        "lora.rank" => return optional(lora.rank.map(|rank| rank as u64), "8"),
        "lora.alpha" => return lora.alpha.map_or(Value::Automatic("16.0"), |alpha| Value::Set(float(alpha))),
        "lora.targets" if lora.targets.is_empty() => return Value::Automatic("[\"q_proj\", \"v_proj\"]"),
        "lora.targets" => strings(&lora.targets),
        "objective.kind" => {
            return objective.kind.map_or(Value::Automatic("\"causal\""), |kind| Value::Set(string(kind.name())));
        }
        "objective.mask" => float(objective.mask),
        "objective.masking" => string(objective.masking.name()),
        "objective.whole_words" => objective.whole_words.to_string(),
        "objective.next_sentence" => objective.next_sentence.to_string(),
        "objective.span" => float(objective.span),
        "objective.chat_template" => {
            return objective
                .chat_template
                .as_ref()
                .map_or(Value::Automatic("\"chatml\""), |name| Value::Set(string(name)));
        }
        "objective.label_smoothing" => float(objective.label_smoothing),
        "ledger.enabled" => ledger.enabled.to_string(),
        "ledger.refresh_every" => ledger.refresh_every.to_string(),
        "ledger.momentum" => string(ledger.momentum.name()),
        "ledger.tokens" => return optional(ledger.tokens, "8192"),
        "ledger.documents" => ledger.documents.to_string(),
        "ledger.documents_budget" => float(ledger.documents_budget),
        "ledger.documents_rate" => {
            return ledger.documents_rate.map_or(Value::Automatic("0.01"), |rate| Value::Set(float(rate)));
        }
        "baseline.enabled" => baseline.enabled.to_string(),
        "baseline.tokens" => baseline.tokens.to_string(),
        _ => return Value::Excluded,
    };
    Value::Set(value)
}

fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn steps(steps: &[Step]) -> String {
    strings(&steps.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn strings(texts: &[String]) -> String {
    let items: Vec<String> = texts.iter().map(|text| string(text)).collect();
    format!("[{}]", items.join(", "))
}

/// The shortest text that reads back as the same number.
fn float(number: f64) -> String {
    if number != 0.0 && number.abs() < 1e-3 { format!("{number:e}") } else { format!("{number:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_written_once() {
        let variants = [
            "data.train = \"a\"",
            "data.train = \"a\"\ndata.clean = [\"letters\"]",
            "data.prepared = \"d\"",
            "[[data.source]]\nname = \"a\"\npath = \"b\"\nclean = []",
            "data.train = \"a\"\ntrain.epochs = 2\ntokenizer.path = \"t\"\nmodel.from = \"m\"",
            "data.train = \"a\"\ntrain.minutes = 2",
            "[[data.source]]\nname = \"a\"\npath = \"b\"\ntarget_path = \"c\"",
            "[[data.source]]\nname = \"a\"\npath = \"b\"\ninput_field = \"c\"\ntarget_field = \"d\"",
        ];
        let texts = variants.map(|variant| variant.parse::<Recipe>().unwrap().to_toml());
        for (key, reason) in KEYS.iter().filter(|(key, _)| *key != "data.train") {
            let counts = texts.each_ref().map(|text| text.matches(reason).count());
            assert!(counts.contains(&1) && counts.iter().all(|&count| count <= 1), "{key}: {counts:?}");
        }
        assert!(texts[0].contains("\nlr = 6e-4  "), "{}", texts[0]);
        assert!(texts[0].contains("\nepsilon = 1e-8  "), "{}", texts[0]);
        assert!(texts[0].lines().all(|line| line.chars().count() <= 120), "{}", texts[0]);
    }

    #[test]
    fn reading_it_again_gives_the_same() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        for trial in 0..300 {
            let mut recipe: Recipe = "data.train = \"a\"".parse().unwrap();
            let source = recipe.data.sources[0].clone();
            let strange = ["plain", "two words", "quote\"d", "back\\slash", "土", "a.b", "#", "'", "0", "=[x]"];
            for (number, name) in strange.iter().enumerate().take(trial % 11) {
                let mut source = SourceRecipe { name: (*name).to_owned(), ..source.clone() };
                source.weight = random() as f64 / 1e7;
                source.path.push(format!("{name}\n\t*.txt"));
                if number % 2 == 0 {
                    source.text_field = Some((*name).to_owned());
                    source.split = super::super::Split::Separator(format!("\n{name}\n"));
                    source.clean = Some(Step::ALL[..number % 16].to_vec());
                }
                recipe.data.held_out.insert(format!("{name}{trial}"), source.path.clone());
                recipe.data.held_out.insert((*name).to_owned(), source.path.clone());
                recipe.data.sources.push(source);
            }
            recipe.data.clean = Step::ALL[trial % 16..].to_vec();
            let train = &mut recipe.train;
            train.length = match trial % 3 {
                0 => Length::Steps(random() + 2000),
                1 => Length::Epochs(random() as f64 / 3e5 + 0.01),
                _ => Length::Minutes(random() as f64 / 7e6 + 0.01),
            };
            train.lr = random() as f64 / 1e13 + 1e-12;
            train.weight_decay = random() as f64 * 1e10;
            train.seed = random() << 20;
            if trial % 2 == 0 {
                train.patience = Some(random() + 1);
                train.micro_batch_tokens = Some(1024);
                recipe.ledger.tokens = Some(random() + 1);
                recipe.ledger.documents_rate = Some(1.0 / (random() as f64 + 1.0));
                recipe.tokenizer = TokenizerRecipe::Load { path: "a/\"b\"/tokenizer.json".into() };
                recipe.model =
                    ModelRecipe::From { from: "C:\\models\\土".into(), context: (trial % 4 == 0).then_some(77) };
                recipe.lora.rank = Some(4);
                recipe.lora.targets = vec!["a.b".to_owned(), "土".to_owned()];
            }
            let text = recipe.to_toml();
            let again = text.parse::<Recipe>().unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(again, recipe, "{text}");
        }
    }
}
