//! From settings to a recipe: types first, then the ranges.

use super::check::check;
use super::error::{Place, RecipeError};
use super::settings::{Setting, Settings, shorten, without_number};
use super::{
    BaselineRecipe, DataRecipe, LedgerRecipe, Length, LoraRecipe, ModelRecipe, ModelShape, ObjectiveRecipe, Recipe,
    RecordFormat, SourceRecipe, Split, TokenizerKind, TokenizerRecipe, TrainRecipe,
};
use loam_corpus::clean::Step;
use loam_corpus::{Bytes, Damage, TextEncoding};
use std::path::{Path, PathBuf};

/// Reads and checks a recipe; `path` is where its text comes from.
pub(super) fn parse(text: &str, path: Option<&Path>, sets: &[String]) -> Result<Recipe, RecipeError> {
    let whole = path.map_or(Place::Recipe, |path| Place::File { path: path.to_owned(), line: None });
    let mut settings = Settings::of_file(text, path)?;
    for set in sets {
        settings.apply(set)?;
    }
    if settings.0.is_empty() {
        return Err(RecipeError::Empty { place: whole });
    }
    settings.refuse_conflicts()?;
    let recipe = settings.recipe(&whole)?;
    check(&recipe).map_err(|problem| {
        let place = problem.keys.iter().find_map(|key| Some(settings.0.get(key)?.place.clone()));
        problem.at(place.unwrap_or(whole))
    })?;
    Ok(recipe)
}

impl Settings {
    fn optional<T: FromToml>(&self, key: &str) -> Result<Option<T>, RecipeError> {
        let Some(setting) = self.0.get(key) else { return Ok(None) };
        T::from_toml(setting).map(Some).map_err(|expected| RecipeError::WrongType {
            place: setting.place.clone(),
            key: shorten(&without_number(key)),
            found: shorten(&setting.value.to_string()),
            expected,
        })
    }

    fn get<T: FromToml>(&self, key: &str, default: T) -> Result<T, RecipeError> {
        Ok(self.optional(key)?.unwrap_or(default))
    }

    fn recipe(&self, whole: &Place) -> Result<Recipe, RecipeError> {
        Ok(Recipe {
            data: self.data(whole)?,
            tokenizer: self.tokenizer()?,
            model: self.model()?,
            train: self.train()?,
            lora: self.lora()?,
            objective: self.objective()?,
            ledger: self.ledger()?,
            baseline: self.baseline()?,
        })
    }

    fn data(&self, whole: &Place) -> Result<DataRecipe, RecipeError> {
        let clean = self.optional::<Steps>("data.clean")?.map_or_else(Vec::new, |steps| steps.0);
        let usual = Bytes::default();
        let bytes = Bytes {
            encoding: self.get("data.encoding", usual.encoding)?,
            damage: self.get("data.damage", usual.damage)?,
            expansion: self.get("data.max_expansion", usual.expansion)?,
        };
        let prepared = self.optional("data.prepared")?;
        let mut data = DataRecipe { clean, prepared, bytes, ..DataRecipe::default() };
        if let Some(Paths(path)) = self.optional("data.train")? {
            data.sources.push(SourceRecipe::new("train", path));
        }
        for number in 0..self.source_count() {
            let prefix = format!("data.source.{number}.");
            let required = |name: &str| {
                let any = self.0.iter().find(|(key, _)| key.starts_with(&prefix));
                RecipeError::Invalid {
                    place: any.map_or_else(|| whole.clone(), |(_, setting)| setting.place.clone()),
                    key: format!("data.source.{name}"),
                    reason: format!("a [[data.source]] needs {name} = …"),
                }
            };
            let key = |name: &str| format!("{prefix}{name}");
            data.sources.push(SourceRecipe {
                name: self.optional(&key("name"))?.ok_or_else(|| required("name"))?,
                path: self.optional::<Paths>(&key("path"))?.ok_or_else(|| required("path"))?.0,
                weight: self.get(&key("weight"), 1.0)?,
                text_field: self.optional(&key("text_field"))?,
                split: self.get(&key("split"), Split::Auto)?,
                format: self.get(&key("format"), RecordFormat::Text)?,
                target_path: self.optional::<Paths>(&key("target_path"))?.map_or_else(Vec::new, |paths| paths.0),
                input_field: self.optional(&key("input_field"))?,
                target_field: self.optional(&key("target_field"))?,
                clean: self.optional::<Steps>(&key("clean"))?.map(|steps| steps.0),
            });
        }
        for key in self.0.keys() {
            if let Some(domain) = key.strip_prefix("data.held_out.")
                && let Some(Paths(paths)) = self.optional(key)?
            {
                data.held_out.insert(domain.to_owned(), paths);
            }
            if let Some(domain) = key.strip_prefix("data.held_out_target.")
                && let Some(Paths(paths)) = self.optional(key)?
            {
                data.held_out_target.insert(domain.to_owned(), paths);
            }
        }
        Ok(data)
    }

    fn tokenizer(&self) -> Result<TokenizerRecipe, RecipeError> {
        Ok(match self.optional::<PathBuf>("tokenizer.path")? {
            Some(path) => TokenizerRecipe::Load { path },
            None => TokenizerRecipe::Train {
                kind: self.get("tokenizer.kind", TokenizerKind::Bpe)?,
                vocab: self.get("tokenizer.vocab", 8192)?,
            },
        })
    }

    fn model(&self) -> Result<ModelRecipe, RecipeError> {
        if let Some(from) = self.optional("model.from")? {
            return Ok(ModelRecipe::From { from, context: self.optional("model.context")? });
        }
        let shape = ModelShape::default();
        Ok(ModelRecipe::New(ModelShape {
            family: self.get("model.family", shape.family)?,
            width: self.get("model.width", shape.width)?,
            layers: self.get("model.layers", shape.layers)?,
            heads: self.get("model.heads", shape.heads)?,
            context: self.get("model.context", shape.context)?,
            dropout: self.get("model.dropout", shape.dropout)?,
            tied: self.get("model.tied", shape.tied)?,
        }))
    }

    fn train(&self) -> Result<TrainRecipe, RecipeError> {
        let train = TrainRecipe::default();
        let length = match (self.optional("train.epochs")?, self.optional("train.minutes")?) {
            (Some(epochs), _) => Length::Epochs(epochs),
            (_, Some(minutes)) => Length::Minutes(minutes),
            _ => self.optional("train.steps")?.map_or(train.length, Length::Steps),
        };
        Ok(TrainRecipe {
            length,
            batch_tokens: self.get("train.batch_tokens", train.batch_tokens)?,
            micro_batch_tokens: self.optional("train.micro_batch_tokens")?,
            lr: self.get("train.lr", train.lr)?,
            min_lr: self.get("train.min_lr", train.min_lr)?,
            schedule: self.get("train.schedule", train.schedule)?,
            warmup: self.get("train.warmup", train.warmup)?,
            weight_decay: self.get("train.weight_decay", train.weight_decay)?,
            beta1: self.get("train.beta1", train.beta1)?,
            beta2: self.get("train.beta2", train.beta2)?,
            epsilon: self.get("train.epsilon", train.epsilon)?,
            clip: self.get("train.clip", train.clip)?,
            dtype: self.get("train.dtype", train.dtype)?,
            eval_every: self.get("train.eval_every", train.eval_every)?,
            eval_tokens: self.get("train.eval_tokens", train.eval_tokens)?,
            checkpoint_every: self.get("train.checkpoint_every", train.checkpoint_every)?,
            keep_checkpoints: self.get("train.keep_checkpoints", train.keep_checkpoints)?,
            patience: self.optional("train.patience")?,
            seed: self.get("train.seed", train.seed)?,
        })
    }

    fn lora(&self) -> Result<LoraRecipe, RecipeError> {
        Ok(LoraRecipe {
            rank: self.optional("lora.rank")?,
            alpha: self.optional("lora.alpha")?,
            targets: self.optional::<Names>("lora.targets")?.map_or_else(Vec::new, |names| names.0),
        })
    }

    fn objective(&self) -> Result<ObjectiveRecipe, RecipeError> {
        let objective = ObjectiveRecipe::default();
        Ok(ObjectiveRecipe {
            kind: self.optional("objective.kind")?,
            mask: self.get("objective.mask", objective.mask)?,
            masking: self.get("objective.masking", objective.masking)?,
            whole_words: self.get("objective.whole_words", objective.whole_words)?,
            next_sentence: self.get("objective.next_sentence", objective.next_sentence)?,
            span: self.get("objective.span", objective.span)?,
            chat_template: self.optional("objective.chat_template")?,
            label_smoothing: self.get("objective.label_smoothing", objective.label_smoothing)?,
        })
    }

    fn ledger(&self) -> Result<LedgerRecipe, RecipeError> {
        let ledger = LedgerRecipe::default();
        Ok(LedgerRecipe {
            enabled: self.get("ledger.enabled", ledger.enabled)?,
            refresh_every: self.get("ledger.refresh_every", ledger.refresh_every)?,
            momentum: self.get("ledger.momentum", ledger.momentum)?,
            tokens: self.optional("ledger.tokens")?,
            documents: self.get("ledger.documents", ledger.documents)?,
            documents_budget: self.get("ledger.documents_budget", ledger.documents_budget)?,
            documents_rate: self.optional("ledger.documents_rate")?,
        })
    }

    fn baseline(&self) -> Result<BaselineRecipe, RecipeError> {
        let baseline = BaselineRecipe::default();
        Ok(BaselineRecipe {
            enabled: self.get("baseline.enabled", baseline.enabled)?,
            tokens: self.get("baseline.tokens", baseline.tokens)?,
        })
    }
}

/// A type that a setting can be read as.
trait FromToml: Sized {
    /// The value, or what was expected, in words.
    fn from_toml(setting: &Setting) -> Result<Self, String>;
}

impl FromToml for f64 {
    fn from_toml(setting: &Setting) -> Result<f64, String> {
        match setting.value {
            toml::Value::Float(number) => Ok(number),
            toml::Value::Integer(number) => Ok(number as f64),
            _ => Err("a number".to_owned()),
        }
    }
}

impl FromToml for u64 {
    fn from_toml(setting: &Setting) -> Result<u64, String> {
        /// Largest float below which every whole number is one.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match setting.value {
            toml::Value::Integer(number) => u64::try_from(number).ok(),
            // 2e7 is a float to TOML and a whole number to everyone else.
            toml::Value::Float(number) if number.fract() == 0.0 && (0.0..EXACT).contains(&number) => {
                Some(number as u64)
            }
            _ => None,
        }
        .ok_or_else(|| "a whole number, not negative".to_owned())
    }
}

impl FromToml for usize {
    fn from_toml(setting: &Setting) -> Result<usize, String> {
        usize::try_from(u64::from_toml(setting)?).map_err(|_| "a smaller number".to_owned())
    }
}

impl FromToml for bool {
    fn from_toml(setting: &Setting) -> Result<bool, String> {
        setting.value.as_bool().ok_or_else(|| "true or false".to_owned())
    }
}

impl FromToml for String {
    fn from_toml(setting: &Setting) -> Result<String, String> {
        let text = setting.value.as_str().or(setting.raw.as_deref());
        text.map(str::to_owned).ok_or_else(|| "text in quotes".to_owned())
    }
}

impl FromToml for PathBuf {
    fn from_toml(setting: &Setting) -> Result<PathBuf, String> {
        String::from_toml(setting).map(PathBuf::from).map_err(|_| "a path in quotes".to_owned())
    }
}

/// A path or a list of them.
struct Paths(Vec<String>);

impl FromToml for Paths {
    fn from_toml(setting: &Setting) -> Result<Paths, String> {
        let expected = || "a path in quotes, or a list of them: [\"one.txt\", \"two/*.txt\"]".to_owned();
        match &setting.value {
            toml::Value::Array(items) => {
                let paths: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
                paths.map(Paths).ok_or_else(expected)
            }
            toml::Value::Table(_) => Err(format!("{}; a name with a dot in it wants quotes", expected())),
            _ => String::from_toml(setting).map(|path| Paths(vec![path])).map_err(|_| expected()),
        }
    }
}

/// A name or a list of them.
struct Names(Vec<String>);

impl FromToml for Names {
    fn from_toml(setting: &Setting) -> Result<Names, String> {
        let expected = || "a name in quotes, or a list of them: [\"q_proj\", \"v_proj\"]".to_owned();
        match &setting.value {
            toml::Value::Array(items) => {
                let names: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
                names.map(Names).ok_or_else(expected)
            }
            _ => String::from_toml(setting).map(|name| Names(vec![name])).map_err(|_| expected()),
        }
    }
}

/// Steps of cleaning.
struct Steps(Vec<Step>);

impl FromToml for Steps {
    fn from_toml(setting: &Setting) -> Result<Steps, String> {
        let names =
            Names::from_toml(setting).map_err(|_| "a list of steps: [\"strip_tags\", \"letters\"]".to_owned())?;
        names.0.iter().map(|name| name.parse()).collect::<Result<_, _>>().map(Steps)
    }
}

impl FromToml for TextEncoding {
    fn from_toml(setting: &Setting) -> Result<TextEncoding, String> {
        let name = String::from_toml(setting).map_err(|_| "the name of an encoding, or \"auto\"".to_owned())?;
        name.parse()
    }
}

impl FromToml for Damage {
    fn from_toml(setting: &Setting) -> Result<Damage, String> {
        String::from_toml(setting)?.parse()
    }
}

impl FromToml for Split {
    fn from_toml(setting: &Setting) -> Result<Split, String> {
        Split::try_from(String::from_toml(setting).map_err(|_| Split::EXPECTED.to_owned())?)
    }
}

/// An enum of named choices.
pub(super) trait Choice: Copy + 'static {
    /// Every choice.
    const ALL: &'static [Self];

    /// What a recipe calls it.
    fn name(self) -> &'static str;
}

impl<T: Choice> FromToml for T {
    fn from_toml(setting: &Setting) -> Result<T, String> {
        let text = String::from_toml(setting).unwrap_or_default();
        T::ALL.iter().copied().find(|choice| choice.name() == text).ok_or_else(|| {
            let names: Vec<String> = T::ALL.iter().map(|choice| format!("\"{}\"", choice.name())).collect();
            let nearest = T::ALL
                .iter()
                .map(|choice| (strsim::damerau_levenshtein(&text.to_lowercase(), choice.name()), choice.name()))
                .min_by_key(|(distance, _)| *distance)
                .filter(|(distance, name)| T::ALL.len() > 1 && *distance <= (name.len() / 3).max(1));
            let hint = nearest.map(|(_, name)| format!("; did you mean \"{name}\"?")).unwrap_or_default();
            match &*names {
                [only] => only.clone(),
                names => format!("one of {}{hint}", names.join(", ")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The message about a recipe with one source and these lines, which begin at line 2.
    fn complaint(lines: &str, sets: &[&str]) -> String {
        let text = format!("data.train = \"a.txt\"\n{lines}");
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        parse(&text, Some(Path::new("recipes/x.toml")), &sets).unwrap_err().to_string()
    }

    fn with(lines: &str, sets: &[&str]) -> Recipe {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        parse(&format!("data.train = \"a.txt\"\n{lines}"), None, &sets).unwrap()
    }

    #[test]
    fn every_key_has_a_default() {
        let recipe = with("", &[]);
        let source = |path: &[&str]| SourceRecipe::new("train", path.iter().map(|&path| path.to_owned()).collect());
        let data = DataRecipe { sources: vec![source(&["a.txt"])], ..DataRecipe::default() };
        assert_eq!(recipe, Recipe { data, ..Recipe::default() });
        let two: Recipe = "[data]\ntrain = [\"a\", 'b']".parse().unwrap();
        assert_eq!(two.data.sources, [source(&["a", "b"])]);
    }

    #[test]
    fn the_recipe_of_the_design() {
        let recipe: Recipe = r#"
            [[data.source]]
            name = "wikitext"
            path = ["wikitext2.train.raw.gz"]
            weight = 1
            [[data.source]]
            name = "code"
            path = "src/**/*.rs"
            weight = 0.5
            split = "separator:\n---\n"
            text_field = "body"
            [data.held_out]
            wikitext = ["wikitext2.valid.raw.gz"]
            "code 2.0" = "held.rs"
            [tokenizer]
            kind = "unigram"
            vocab = 4096
            [model]
            width = 192
            [train]
            epochs = 2
            batch_tokens = 1.6e4
            lr = 1e-3
            schedule = "warmup-stable-decay"
            warmup = 100
            dtype = "bf16"
            patience = 5
            [ledger]
            enabled = false
            momentum = "history"
            tokens = 4096
        "#
        .parse()
        .unwrap();
        assert_eq!(recipe.data.sources[1].name, "code");
        assert_eq!(recipe.data.sources[1].path, ["src/**/*.rs"]);
        assert_eq!(recipe.data.sources[1].split, Split::Separator("\n---\n".to_owned()));
        assert_eq!(recipe.data.held_out["code 2.0"], ["held.rs"]);
        assert_eq!(recipe.tokenizer, TokenizerRecipe::Train { kind: TokenizerKind::Unigram, vocab: 4096 });
        assert_eq!(recipe.model, ModelRecipe::New(ModelShape { width: 192, ..ModelShape::default() }));
        assert_eq!((recipe.train.length, recipe.train.batch_tokens), (Length::Epochs(2.0), 16_000));
        assert_eq!((recipe.train.warmup_steps(1000), recipe.train.patience), (100, Some(5)));
        assert_eq!((recipe.ledger.enabled, recipe.ledger.tokens), (false, Some(4096)));
    }

    #[test]
    fn unknown_keys() {
        assert_eq!(
            complaint("\n[train]\nsteps = 5\nlearning_rate = 1e-3\n", &[]),
            "recipes/x.toml:5: unknown key \"train.learning_rate\"; did you mean \"train.lr\"?"
        );
        assert_eq!(
            complaint("[trian]\nlr = 1", &[]),
            "recipes/x.toml:2: unknown key \"trian\"; did you mean \"train\"?"
        );
        assert_eq!(complaint("lr = 1", &[]), "recipes/x.toml:2: unknown key \"lr\"; did you mean \"train.lr\"?");
        assert_eq!(
            complaint("", &["train.block_size=3"]),
            "--set train.block_size=3: unknown key \"train.block_size\"; did you mean \"model.context\"?"
        );
        let source = "[[data.source]]\nname = \"a\"\nfile = \"b\"".parse::<Recipe>().unwrap_err().to_string();
        assert!(
            source.starts_with("line 3: unknown key \"data.source.file\"; the keys of [data.source] are name, path")
        );
        for quoted in ["\"train.lr\" = 1", "\"data.source.99999999.name\" = \"a\"", "data.\"source.1.name\" = \"a\""] {
            assert!(complaint(quoted, &[]).contains("write keys without quotes"), "{quoted}");
            assert!(complaint("", &[quoted]).contains("write keys without quotes"), "{quoted}");
        }
        // The first in the file, not in the alphabet.
        assert!(complaint("[train]\nzzz = 1\n[model]\naaa = 1", &[]).contains("train.zzz"));
    }

    #[test]
    fn wrong_types() {
        for (lines, expected) in [
            ("train.lr = \"fast\"", "recipes/x.toml:2: train.lr = \"fast\": expected a number"),
            ("train.steps = -3", "recipes/x.toml:2: train.steps = -3: expected a whole number, not negative"),
            ("train.steps = 1.5", "recipes/x.toml:2: train.steps = 1.5: expected a whole number, not negative"),
            ("ledger.enabled = 1", "recipes/x.toml:2: ledger.enabled = 1: expected true or false"),
            ("model.from = 3", "recipes/x.toml:2: model.from = 3: expected a path in quotes"),
            (
                "model.family = \"lama\"",
                "recipes/x.toml:2: model.family = \"lama\": expected one of \"gpt\", \"llama\", \"rnn\", \"lstm\", \"gru\", \"bert\", \"seq2seq\", \"t5\"; did \
                 you mean \"llama\"?",
            ),
            (
                "train.schedule = \"cosin\"",
                "recipes/x.toml:2: train.schedule = \"cosin\": expected one of \"constant\", \"linear\", \"cosine\", \
                 \"warmup-stable-decay\"; did you mean \"cosine\"?",
            ),
            ("\ntrain = 3", "recipes/x.toml:3: train = 3: expected a table: write [train] on a line above"),
            ("train.seed = 99999999999999999999", "recipes/x.toml:2: train.seed = 99999999999999999999: expected"),
            (
                "data.held_out.a.b = \"x\"",
                "recipes/x.toml:2: data.held_out.a = { b = \"x\" }: expected a path in quotes",
            ),
            ("train.dtype = \"f16\"", "recipes/x.toml:2: train.dtype = \"f16\": expected one of \"f32\", \"bf16\""),
            ("train.lr = fast", "recipes/x.toml:2: not valid TOML: "),
            ("train.lr = 1\ntrain.lr = 2", "recipes/x.toml:3: not valid TOML: duplicate key"),
        ] {
            let message = complaint(lines, &[]);
            assert!(message.starts_with(expected), "{message}\n{expected}");
            assert!(!message.contains('\n'), "{message}");
        }
        let message = "[data.source]\nname = \"a\"".parse::<Recipe>().unwrap_err().to_string();
        assert!(message.starts_with("line 1: data.source = {…}: expected a list of tables: write [[data.source]]"));
    }

    #[test]
    fn one_length_only() {
        assert_eq!(
            complaint("[train]\nsteps = 5\nminutes = 1", &[]),
            "recipes/x.toml:4: train.steps and train.minutes are both set; the length of a run is one of train.steps, \
             train.epochs, train.minutes"
        );
        assert!(complaint("", &["train.steps=5", "train.epochs=1"]).contains("are both set"));
        assert_eq!(with("train.steps = 5", &["train.minutes=2"]).train.length, Length::Minutes(2.0));
        assert_eq!(with("train.minutes = 5", &["train.steps=2"]).train.length, Length::Steps(2));
        assert!(complaint("[[data.source]]\nname = \"a\"\npath = \"b\"", &[]).contains("short form for one source"));
        assert!(complaint("model.from = \"a\"\nmodel.width = 6", &[]).starts_with("recipes/x.toml:3: model.from and"));
        assert!(complaint("model.from = \"a\"", &["model.width=6"]).contains("keeps its shape"));
    }

    #[test]
    fn overrides() {
        let recipe =
            with("[model]\nwidth = 60", &["train.lr=3e-4", " train.schedule = linear", "model.from=../runs/a b"]);
        assert_eq!((recipe.train.lr, recipe.train.schedule), (3e-4, crate::schedule::Schedule::Linear));
        assert_eq!(recipe.model, ModelRecipe::From { from: "../runs/a b".into(), context: None });
        assert_eq!(with("", &["train.lr=1", "train.lr=2"]).train.lr, 2.0);
        assert_eq!(with("", &["tokenizer.path=2024"]).tokenizer, TokenizerRecipe::Load { path: "2024".into() });
        assert_eq!(with("", &["tokenizer.path=1#2"]).tokenizer, TokenizerRecipe::Load { path: "1#2".into() });
        assert_eq!(with("", &["data.train=[\"b\", \"c\"]"]).data.sources[0].path, ["b", "c"]);
        assert_eq!(with("", &["data.held_out.prose=p.txt"]).data.held_out["prose"], ["p.txt"]);
        assert_eq!(with("", &["data.held_out.\"a b\"=p.txt"]).data.held_out["a b"], ["p.txt"]);
        assert_eq!(with("", &["data.train=x\ny = 3"]).data.sources[0].path, ["x\ny = 3"]);
        for set in ["train.lr", "=3", "", "train..lr=3", "a\nb=3", "[train]\nlr=3", "train.lr#=3"] {
            assert!(complaint("", &[set]).contains("an override is KEY=VALUE"), "{set}");
        }
        assert_eq!(complaint("", &["train.lr=fast"]), "--set train.lr=fast: train.lr = \"fast\": expected a number");
        assert_eq!(
            complaint("", &["train=3"]),
            "--set train=3: train = 3: expected a table: write [train] on a line above"
        );
    }

    #[test]
    fn steps_of_cleaning() {
        let recipe: Recipe =
            "[data]\nclean = [\"letters\", \"lowercase\"]\n[[data.source]]\nname = \"a\"\npath = \"b\"\n\
             clean = [\"strip_tags\", \"stop_words:chinese\"]\n[[data.source]]\nname = \"c\"\npath = \"d\""
                .parse()
                .unwrap();
        assert_eq!(recipe.data.clean, [Step::Letters, Step::Lowercase]);
        let own = [Step::StripTags, "stop_words:chinese".parse().unwrap()];
        assert_eq!(recipe.data.sources[0].clean.as_deref(), Some(&own[..]));
        assert_eq!(recipe.data.sources[1].clean, None);
        assert_eq!(with("data.clean = \"letters\"", &[]).data.clean, [Step::Letters]);
        assert_eq!(with("", &["data.clean=[\"stem\"]"]).data.clean, [Step::Stem]);
        let message = complaint("data.clean = [\"lowercase\", \"stopwords\"]", &[]);
        assert!(
            message.starts_with("recipes/x.toml:2: data.clean = [\"lowercase\", \"stopwords\"]: expected"),
            "{message}"
        );
        assert!(message.ends_with("did you mean \"stop_words\"?"), "{message}");
        let conversations =
            "[[data.source]]\nname = \"a\"\npath = \"b\"\nformat = \"conversations\"\nclean = [\"letters\"]";
        let message = conversations.parse::<Recipe>().unwrap_err().to_string();
        assert!(message.contains("line 5: conversations are read as their template writes them"), "{message}");
        assert!(complaint("model.tied = false", &[]).contains("gpt has the embeddings as its output's weights"));
        assert!(complaint("data.claen = [\"stem\"]", &[]).contains("did you mean \"data.clean\"?"));
    }

    #[test]
    fn overrides_of_sources() {
        let text = "[[data.source]]\nname = \"a\"\npath = \"a\"\n[[data.source]]\nname = \"b c\"\npath = \"b\"";
        let with = |set: &str| parse(text, None, &[set.to_owned()]);
        assert_eq!(with("data.source.a.weight=2").unwrap().data.sources[0].weight, 2.0);
        assert_eq!(with("data.source.1.weight=2").unwrap().data.sources[1].weight, 2.0);
        assert_eq!(with("data.source.\"b c\".split=line").unwrap().data.sources[1].split, Split::Line);
        assert_eq!(with("data.train=c").unwrap().data.sources.len(), 1);
        assert_eq!(with("data.source=[{name=\"z\", path=\"z\"}]").unwrap().data.sources[0].name, "z");
        let error = |set| with(set).unwrap_err().to_string();
        assert!(error("data.source.d.weight=2").ends_with("unknown key \"data.source.d\"; the sources are a, b c"));
        assert!(error("data.source.7.weight=2").ends_with("the sources are a, b c"));
        assert!(error("data.source.a.wieght=2").contains("did you mean \"data.source.weight\""));
        assert!(error("data.source.a=2").contains("expected a list of tables"));
        assert!(error("data.source=2").contains("expected a list of tables"));
    }

    #[test]
    fn files_that_are_no_recipes() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let error = |path: &Path| Recipe::load(path, &[]).unwrap_err().to_string();
        let good = file("gpt-wikitext2.toml", b"\xEF\xBB\xBFdata.train = \"a\"");
        assert!(Recipe::load(&good, &[]).is_ok());
        assert!(error(&file("empty.toml", b"")).contains("empty.toml: the recipe is empty; it needs at least data"));
        assert!(error(&file("words.toml", b"# nothing\n[train]\n")).contains("the recipe is empty"));
        assert!(error(&file("no-data.toml", b"train.steps = 1")).contains("no-data.toml: no training data; add"));
        assert!(error(&file("half.toml", b"a = 1\nb = \"\xE5\"")).contains("half.toml:2: this is not UTF-8 text"));
        assert!(
            error(&file("large.toml", &vec![b' '; 2 << 20]))
                .contains("large.toml: it has more than 1048576 bytes; a recipe is")
        );
        assert!(error(&folder.path().join("gpt-wikitext.toml")).contains("no such recipe; did you mean"));
        assert!(error(&folder.path().join("none/x.toml")).contains("nor the folder"));
        assert!(error(folder.path()).ends_with("this is a folder; name a recipe file"));
        file("recipe.toml", b"");
        assert!(error(folder.path()).contains("for instance"));
        assert!(Recipe::load(&file("sets.toml", b""), &["data.train=a".to_owned()]).is_ok());
    }

    #[test]
    fn names_of_choices_agree_with_serde() {
        fn check<T: Choice + serde::Serialize>() {
            for &choice in T::ALL {
                assert_eq!(serde_json::to_value(choice).unwrap(), choice.name());
            }
        }
        check::<TokenizerKind>();
        check::<crate::schedule::Schedule>();
        check::<super::super::Precision>();
        check::<super::super::Momentum>();
        check::<super::super::ModelFamily>();
    }
}
