//! The ranges of a recipe's values, and what must go together.

use super::error::{Place, RecipeError};
use super::settings::without_number;
use super::{
    Length, ModelFamily, ModelRecipe, ObjectiveKind, Recipe, RecordFormat, Split, TokenizerKind, TokenizerRecipe,
};
use std::collections::BTreeSet;
use std::fmt::Display;

/// Most token ids, channels, blocks, heads or positions; more is a slip of the finger, and sizes that are products of
/// two of them stay far from overflow.
const LARGEST: usize = 1 << 24;

/// What is wrong with a value.
#[derive(Debug)]
pub(super) struct Problem {
    /// The keys that it comes from, the likeliest culprit first.
    pub(super) keys: Vec<String>,
    reason: String,
}

impl Problem {
    pub(super) fn at(self, place: Place) -> RecipeError {
        let key = self.keys.first().map_or_else(String::new, |key| without_number(key));
        RecipeError::Invalid { place, key, reason: self.reason }
    }
}

fn require(good: bool, key: &str, value: impl Display, rule: &str) -> Result<(), Problem> {
    if good {
        return Ok(());
    }
    Err(Problem { keys: vec![key.to_owned()], reason: format!("{} = {value}: {rule}", without_number(key)) })
}

fn require_of(good: bool, keys: &[&str], reason: impl FnOnce() -> String) -> Result<(), Problem> {
    if good {
        return Ok(());
    }
    Err(Problem { keys: keys.iter().map(|&key| key.to_owned()).collect(), reason: reason() })
}

fn at_least_one(key: &str, value: u64) -> Result<(), Problem> {
    require(value >= 1, key, value, "must be at least 1")
}

fn size(key: &str, value: usize) -> Result<(), Problem> {
    require((1..=LARGEST).contains(&value), key, value, &format!("must be from 1 to {LARGEST}"))
}

fn positive(key: &str, value: f64) -> Result<(), Problem> {
    require(value > 0.0 && value.is_finite(), key, value, "must be above 0")
}

fn not_negative(key: &str, value: f64) -> Result<(), Problem> {
    require(value >= 0.0 && value.is_finite(), key, value, "must be 0 or above")
}

fn below_one(key: &str, value: f64) -> Result<(), Problem> {
    require((0.0..1.0).contains(&value), key, value, "must be 0 or above, and below 1")
}

/// Checks every value; the first that is wrong, in the order of the documentation.
pub(super) fn check(recipe: &Recipe) -> Result<(), Problem> {
    data(recipe)?;
    match &recipe.tokenizer {
        TokenizerRecipe::Load { path } => {
            require(!path.as_os_str().is_empty(), "tokenizer.path", "\"\"", "name a path")?;
        }
        TokenizerRecipe::Train { kind, vocab } => {
            size("tokenizer.vocab", *vocab)?;
            require(
                *kind != TokenizerKind::Bpe || *vocab >= 256,
                "tokenizer.vocab",
                vocab,
                "must be at least 256, for byte-level BPE begins with the 256 bytes",
            )?;
        }
    }
    let context = model(recipe)?;
    train(recipe, context)?;
    lora(recipe)?;
    objective(recipe)?;
    at_least_one("ledger.refresh_every", recipe.ledger.refresh_every)?;
    at_least_one("ledger.tokens", recipe.ledger.tokens.unwrap_or(1))?;
    positive("ledger.documents_budget", recipe.ledger.documents_budget)?;
    let rate = recipe.ledger.documents_rate.unwrap_or(1.0);
    require(rate > 0.0 && rate <= 1.0, "ledger.documents_rate", rate, "must be above 0, and at most 1")?;
    at_least_one("baseline.tokens", recipe.baseline.tokens)
}

fn data(recipe: &Recipe) -> Result<(), Problem> {
    let sources = &recipe.data.sources;
    if let Some(folder) = &recipe.data.prepared {
        require(!folder.as_os_str().is_empty(), "data.prepared", "\"\"", "name a folder")?;
        return Ok(());
    }
    require_of(!sources.is_empty(), &["data.source"], || {
        "no training data; add [[data.source]] with name and path, or for one source: data.train = [\"text.txt\"]"
            .to_owned()
    })?;
    let mut names = BTreeSet::new();
    for (number, source) in sources.iter().enumerate() {
        let key = |name: &str| format!("data.source.{number}.{name}");
        let quoted = format!("{:?}", source.name);
        let plain = !source.name.trim().is_empty() && !source.name.chars().any(char::is_control);
        require(plain, &key("name"), &quoted, "must be a name of visible characters")?;
        require(names.insert(&source.name), &key("name"), &quoted, "another source has this name")?;
        let path_keys = [&*key("path"), "data.train", &*key("name")];
        let no_path = source.path.is_empty() || source.path.iter().any(String::is_empty);
        require_of(!no_path, &path_keys, || format!("source {quoted} has no path, or an empty one"))?;
        not_negative(&key("weight"), source.weight)?;
        if let Some(field) = &source.text_field {
            require(!field.is_empty(), &key("text_field"), "\"\"", "name a field, or leave the key out")?;
        }
        let good = source.split != Split::Separator(String::new());
        require(good, &key("split"), "\"separator:\"", "needs the text between documents")?;
        let fields = source.input_field.is_some() == source.target_field.is_some();
        require_of(fields, &[&key("input_field"), &key("target_field")], || {
            format!("source {quoted} names one field of a pair; name both input_field and target_field")
        })?;
        let plain = source.format == RecordFormat::Text || !source.is_pairs();
        require_of(plain, &[&key("format")], || {
            format!("source {quoted} is of conversations, which name no fields and no targets")
        })?;
        let one_way = source.target_path.is_empty() || source.input_field.is_none();
        require_of(one_way, &[&key("target_path"), &key("target_field")], || {
            format!("source {quoted} has its targets in other files and in a field; keep one")
        })?;
        require_of(!source.target_path.iter().any(String::is_empty), &[&key("target_path")], || {
            format!("source {quoted} has an empty target_path")
        })?;
    }
    require_of(sources.iter().any(|source| source.weight > 0.0), &["data.source.0.weight"], || {
        "every source has weight 0; at least one must be above".to_owned()
    })?;
    for (domain, paths) in &recipe.data.held_out {
        let keys = [&*format!("data.held_out.{domain}")];
        let plain = !domain.trim().is_empty() && !domain.chars().any(char::is_control);
        require_of(plain, &keys, || format!("a held-out domain is called {domain:?}; give it a visible name"))?;
        let no_path = paths.is_empty() || paths.iter().any(String::is_empty);
        require_of(!no_path, &keys, || format!("held-out domain {domain:?} has no path, or an empty one"))?;
    }
    Ok(())
}

fn lora(recipe: &Recipe) -> Result<(), Problem> {
    let lora = &recipe.lora;
    if let Some(rank) = lora.rank {
        size("lora.rank", rank)?;
        let continued = matches!(recipe.model, ModelRecipe::From { .. });
        require_of(continued, &["lora.rank"], || {
            "adapters are for a model that was trained before: name it with model.from".to_owned()
        })?;
    }
    let more = lora.alpha.is_some() || !lora.targets.is_empty();
    require_of(lora.rank.is_some() || !more, &["lora.alpha", "lora.targets"], || {
        "lora.rank is what turns adapters on; 8 is usual".to_owned()
    })?;
    positive("lora.alpha", lora.alpha.unwrap_or(1.0))?;
    require(!lora.targets.iter().any(String::is_empty), "lora.targets", "\"\"", "name layers, or leave the key out")
}

/// What is learned, from what, by what.
fn objective(recipe: &Recipe) -> Result<(), Problem> {
    let objective = &recipe.objective;
    let share = objective.mask > 0.0 && objective.mask < 1.0;
    require(share, "objective.mask", objective.mask, "must be above 0 and below 1")?;
    let span = objective.span >= 1.0 && objective.span.is_finite();
    require(span, "objective.span", objective.span, "must be at least 1 token")?;
    below_one("objective.label_smoothing", objective.label_smoothing)?;
    if let (ModelRecipe::New(shape), Some(kind)) = (&recipe.model, objective.kind) {
        let good = match shape.family {
            ModelFamily::Bert => kind == ObjectiveKind::Masked,
            ModelFamily::Seq2Seq | ModelFamily::T5 => matches!(kind, ObjectiveKind::Pairs | ObjectiveKind::Spans),
            _ => kind == ObjectiveKind::Causal,
        };
        let family = match kind {
            ObjectiveKind::Causal => "gpt, llama, rnn, lstm or gru",
            ObjectiveKind::Masked => "bert",
            ObjectiveKind::Pairs | ObjectiveKind::Spans => "seq2seq or t5",
        };
        require_of(good, &["objective.kind", "model.family"], || {
            let (kind, other) = (kind.name(), shape.family.name());
            format!("objective.kind = \"{kind}\" is not for model.family = \"{other}\", but for {family}")
        })?;
    }
    let kind = recipe.objective_kind();
    let masked = matches!(kind, None | Some(ObjectiveKind::Masked));
    require_of(masked || !objective.next_sentence, &["objective.next_sentence", "objective.kind"], || {
        let kind = kind.map_or("", ObjectiveKind::name);
        format!("objective.next_sentence = true goes with objective.kind = \"masked\", not with \"{kind}\"")
    })?;
    let conversations =
        recipe.data.sources.iter().filter(|source| source.format == RecordFormat::Conversations).count();
    let key = ["data.source.0.format"];
    require_of(conversations == 0 || conversations == recipe.data.sources.len(), &key, || {
        "some sources are of conversations and others are not; a run learns from one or the other".to_owned()
    })?;
    let clean = |number: usize| recipe.data.sources[number].clean.as_ref().unwrap_or(&recipe.data.clean);
    let cleaned = conversations > 0 && (0..recipe.data.sources.len()).any(|number| !clean(number).is_empty());
    require_of(!cleaned, &["data.clean", "data.source.0.clean"], || {
        "conversations are read as their template writes them; data.clean is for text and pairs".to_owned()
    })?;
    require_of(conversations == 0 || matches!(kind, None | Some(ObjectiveKind::Causal)), &key, || {
        "conversations are learned with objective.kind = \"causal\"".to_owned()
    })?;
    if let (Some(ObjectiveKind::Masked), ModelRecipe::New(_), TokenizerRecipe::Train { kind, .. }) =
        (kind, &recipe.model, &recipe.tokenizer)
    {
        require_of(*kind == TokenizerKind::WordPiece, &["tokenizer.kind", "objective.kind", "model.family"], || {
            let kind = kind.name();
            format!(
                "masked words need a token for the mask; tokenizer.kind = \"wordpiece\" has one, \"{kind}\" has none"
            )
        })?;
    }
    let sources = &recipe.data.sources;
    let pairs = sources.iter().filter(|source| source.is_pairs()).count();
    if let Some(text) = sources.iter().position(|source| !source.is_pairs()).filter(|_| pairs > 0) {
        let name = &sources[text].name;
        return require_of(false, &[&format!("data.source.{text}.name")], || {
            format!("source {name:?} is of text and others are of pairs; a run learns from one or the other")
        });
    }
    let key = "data.source.0.path";
    require_of(kind != Some(ObjectiveKind::Pairs) || pairs > 0, &["objective.kind", "model.family", key], || {
        "pairs are learned from sources of pairs: name the targets of every source with target_path, or its fields with \
         input_field and target_field; objective.kind = \"spans\" trains on text"
            .to_owned()
    })?;
    let of_text = matches!(kind, Some(ObjectiveKind::Masked | ObjectiveKind::Spans));
    require_of(!of_text || pairs == 0, &["data.source.0.target_path", "data.source.0.target_field"], || {
        format!("objective.kind = \"{}\" learns from text, not from pairs", kind.map_or("", ObjectiveKind::name))
    })?;
    for domain in recipe.data.held_out_target.keys() {
        let keys = [&*format!("data.held_out_target.{domain}")];
        require_of(recipe.data.held_out.contains_key(domain), &keys, || {
            format!("held-out domain {domain:?} has targets and no inputs; name them in [data.held_out]")
        })?;
    }
    let by_files = sources.iter().any(|source| !source.target_path.is_empty());
    for domain in recipe.data.held_out.keys().filter(|_| by_files) {
        let keys = [&*format!("data.held_out.{domain}")];
        require_of(recipe.data.held_out_target.contains_key(domain), &keys, || {
            format!("held-out domain {domain:?} has no targets; name their files in [data.held_out_target]")
        })?;
    }
    Ok(())
}

/// Gives the context of a new model.
fn model(recipe: &Recipe) -> Result<Option<usize>, Problem> {
    let shape = match &recipe.model {
        ModelRecipe::From { from, context } => {
            size("model.context", context.unwrap_or(1))?;
            require(!from.as_os_str().is_empty(), "model.from", "\"\"", "name a model's folder")?;
            return Ok(*context);
        }
        ModelRecipe::New(shape) => shape,
    };
    size("model.width", shape.width)?;
    size("model.layers", shape.layers)?;
    size("model.heads", shape.heads)?;
    size("model.context", shape.context)?;
    below_one("model.dropout", shape.dropout)?;
    let has_heads = shape.family.has_heads();
    require_of(!has_heads || shape.width.is_multiple_of(shape.heads), &["model.width", "model.heads"], || {
        let (width, heads) = (shape.width, shape.heads);
        let near = width.next_multiple_of(heads);
        format!("model.width = {width} is not divisible by model.heads = {heads}; {near} would be")
    })?;
    let may_untie = !has_heads || shape.family == ModelFamily::Llama;
    require_of(shape.tied || may_untie, &["model.tied", "model.family"], || {
        format!("model.tied = false: {} has the embeddings as its output's weights", shape.family.name())
    })?;
    let odd = shape.family == ModelFamily::Llama && !(shape.width / shape.heads).is_multiple_of(2);
    require_of(!odd, &["model.width", "model.heads"], || {
        let (width, heads) = (shape.width, shape.heads);
        let near = width.next_multiple_of(2 * heads);
        format!(
            "model.width = {width} over model.heads = {heads} is odd, and llama's rotary positions turn pairs; {near} \
             would do"
        )
    })?;
    Ok(Some(shape.context))
}

fn train(recipe: &Recipe, context: Option<usize>) -> Result<(), Problem> {
    let train = &recipe.train;
    match train.length {
        Length::Steps(steps) => at_least_one("train.steps", steps)?,
        Length::Epochs(epochs) => positive("train.epochs", epochs)?,
        Length::Minutes(minutes) => positive("train.minutes", minutes)?,
    }
    at_least_one("train.batch_tokens", train.batch_tokens as u64)?;
    let (batch, micro) = (train.batch_tokens, train.micro_batch_tokens);
    if let Some(context) = context {
        require_of(batch >= context, &["train.batch_tokens", "model.context"], || {
            format!("train.batch_tokens = {batch} is less than one sequence of model.context = {context}")
        })?;
        require_of(micro.is_none_or(|micro| micro >= context), &["train.micro_batch_tokens", "model.context"], || {
            let micro = micro.unwrap_or_default();
            format!("train.micro_batch_tokens = {micro} is less than one sequence of model.context = {context}")
        })?;
    }
    if let Some(micro) = micro {
        at_least_one("train.micro_batch_tokens", micro as u64)?;
        require_of(micro <= batch, &["train.micro_batch_tokens", "train.batch_tokens"], || {
            format!("train.micro_batch_tokens = {micro} is more than train.batch_tokens = {batch}")
        })?;
    }
    positive("train.lr", train.lr)?;
    require(
        (0.0..=1.0).contains(&train.min_lr),
        "train.min_lr",
        train.min_lr,
        "must be a fraction of train.lr, 0 to 1",
    )?;
    not_negative("train.warmup", train.warmup)?;
    let whole = train.warmup < 1.0 || train.warmup.fract() == 0.0;
    require(whole, "train.warmup", train.warmup, "must be a fraction below 1, or a whole number of steps")?;
    if let Length::Steps(steps) = train.length {
        require_of(train.warmup <= steps as f64, &["train.warmup", "train.steps"], || {
            format!("train.warmup = {} is longer than train.steps = {steps}", train.warmup)
        })?;
    }
    not_negative("train.weight_decay", train.weight_decay)?;
    below_one("train.beta1", train.beta1)?;
    below_one("train.beta2", train.beta2)?;
    positive("train.epsilon", train.epsilon)?;
    not_negative("train.clip", train.clip)?;
    at_least_one("train.eval_every", train.eval_every)?;
    at_least_one("train.eval_tokens", train.eval_tokens)?;
    at_least_one("train.checkpoint_every", train.checkpoint_every)?;
    at_least_one("train.keep_checkpoints", train.keep_checkpoints as u64)?;
    at_least_one("train.patience", train.patience.unwrap_or(1))?;
    require(i64::try_from(train.seed).is_ok(), "train.seed", train.seed, "must be at most 2^63 - 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (lines, expected) in [
            ("train.lr = -1", "line 2: train.lr = -1: must be above 0"),
            ("train.lr = nan", "line 2: train.lr = NaN: must be above 0"),
            ("train.lr = inf", "line 2: train.lr = inf: must be above 0"),
            ("train.steps = 0", "line 2: train.steps = 0: must be at least 1"),
            ("train.minutes = 0", "line 2: train.minutes = 0: must be above 0"),
            ("train.epochs = -1.5", "line 2: train.epochs = -1.5: must be above 0"),
            ("model.context = 0", "line 2: model.context = 0: must be from 1 to 16777216"),
            ("model.heads = 0", "line 2: model.heads = 0: must be from 1 to"),
            ("model.width = 100", "line 2: model.width = 100 is not divisible by model.heads = 6; 102 would be"),
            (
                "model.width = 18\nmodel.family = \"llama\"",
                "line 2: model.width = 18 over model.heads = 6 is odd, and llama's rotary positions turn pairs; 24 would do",
            ),
            ("model.heads = 5", "line 2: model.width = 384 is not divisible by model.heads = 5; 385 would be"),
            ("model.dropout = 1", "line 2: model.dropout = 1: must be 0 or above, and below 1"),
            ("tokenizer.vocab = 255", "line 2: tokenizer.vocab = 255: must be at least 256, for byte-level BPE"),
            ("tokenizer.vocab = 999999999", "line 2: tokenizer.vocab = 999999999: must be from 1 to"),
            ("tokenizer.path = \"\"", "line 2: tokenizer.path = \"\": name a path"),
            ("model.context = 9000", "line 2: train.batch_tokens = 8192 is less than one sequence of model.context"),
            ("train.micro_batch_tokens = 100", "line 2: train.micro_batch_tokens = 100 is less than one sequence"),
            ("train.micro_batch_tokens = 9000", "line 2: train.micro_batch_tokens = 9000 is more than"),
            ("train.min_lr = 1e-5\ntrain.beta2 = 1", "line 3: train.beta2 = 1: must be"),
            ("train.min_lr = 2", "line 2: train.min_lr = 2: must be a fraction of train.lr"),
            ("train.warmup = 2.5", "line 2: train.warmup = 2.5: must be a fraction below 1, or a whole number"),
            ("train.warmup = 3000", "line 2: train.warmup = 3000 is longer than train.steps = 2000"),
            ("train.steps = 50\ntrain.warmup = 60", "line 3: train.warmup = 60 is longer than train.steps = 50"),
            ("train.clip = -1", "line 2: train.clip = -1: must be 0 or above"),
            ("train.patience = 0", "line 2: train.patience = 0: must be at least 1"),
            ("ledger.refresh_every = 0", "line 2: ledger.refresh_every = 0: must be at least 1"),
            ("ledger.tokens = 0", "line 2: ledger.tokens = 0: must be at least 1"),
            ("ledger.documents_budget = 0", "line 2: ledger.documents_budget = 0: must be above 0"),
            ("ledger.documents_rate = 2", "line 2: ledger.documents_rate = 2: must be above 0, and at most 1"),
            ("data.held_out.x = []", "line 2: held-out domain \"x\" has no path, or an empty one"),
            ("data.held_out.\"\" = \"a\"", "line 2: a held-out domain is called \"\"; give it a visible name"),
        ] {
            let message = format!("data.train = \"a\"\n{lines}").parse::<Recipe>().unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}\n{expected}");
        }
        let good = "data.train = \"a\"\nmodel.from = \"m\"\ntrain.batch_tokens = 1\ntrain.minutes = 0.2";
        assert!(good.parse::<Recipe>().is_ok());
    }

    #[test]
    fn sources() {
        for (text, expected) in [
            ("data.train = []", "line 1: source \"train\" has no path, or an empty one"),
            ("data.train = [\"\"]", "line 1: source \"train\" has no path, or an empty one"),
            ("[[data.source]]\n[train]", "line 1: data.source = {…}: expected a list of tables: write [[data.source]]"),
            ("[[data.source]]\nname = \"a\"", "line 2: a [[data.source]] needs path = …"),
            ("[[data.source]]\npath = \"a\"", "line 2: a [[data.source]] needs name = …"),
            ("[[data.source]]\nname = \" \"\npath = \"a\"", "line 2: data.source.name = \" \": must be a name"),
            ("[[data.source]]\nname = \"a\"\npath = \"a\"\nweight = -1", "line 4: data.source.weight = -1: must be 0"),
            ("[[data.source]]\nname = \"a\"\npath = \"a\"\nweight = 0", "line 4: every source has weight 0"),
            ("[[data.source]]\nname = \"a\"\npath = \"a\"\nsplit = \"separator:\"", "line 4: data.source.split"),
            (
                "[[data.source]]\nname = \"a\"\npath = \"a\"\n[[data.source]]\nname = \"a\"\npath = \"b\"",
                "line 5: data.source.name = \"a\": another source has this name",
            ),
        ] {
            let message = text.parse::<Recipe>().unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}\n{expected}");
        }
    }
}
