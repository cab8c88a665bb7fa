//! `loam train`.

use super::Misuse;
use crate::arguments::{Global, TrainArguments};
use crate::machine;
use crate::progress::{Watcher, right};
use crate::terminal::Terminal;
use loam_train::recipe::{Recipe, SourceRecipe};
use loam_train::{Outcome, session};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn run(arguments: &TrainArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let session = machine::session(&global.device)?;
    let mut watcher = Watcher::new(terminal);
    let (folder, outcome) = if arguments.resume {
        let folder = folder_to_resume(arguments, global.dtype.as_deref())?;
        if loam_tasks::finetune::is_fine_tuning(&folder) {
            let message = format!(
                "{0} is a run of fine-tuning; go on with it by: loam finetune --resume -o {0}",
                folder.display()
            );
            return Err(Misuse(message).into());
        }
        machine::stop_on_interrupt();
        watcher.name_folder(&folder);
        let outcome = session::resume(&folder, &session, &mut watcher)?;
        (folder, outcome)
    } else {
        let (recipe, name) = recipe(arguments, global.dtype.as_deref())?;
        let folder = arguments.out.clone().unwrap_or_else(|| super::free_run(&name));
        machine::stop_on_interrupt();
        watcher.name_folder(&folder);
        let outcome = session::start(&recipe, &folder, &session, &mut watcher)?;
        (folder, outcome)
    };
    finish(&folder, &outcome, terminal)
}

/// Tells how a run ended and draws its report.
pub fn finish(folder: &Path, outcome: &Outcome, terminal: Terminal) -> anyhow::Result<ExitCode> {
    if outcome.reason == "interrupted" {
        terminal.say(format_args!("go on with: loam train --resume -o {}", folder.display()));
        return Ok(ExitCode::from(machine::INTERRUPTED));
    }
    for (domain, loss) in &outcome.held_out {
        terminal.say(format_args!(
            "held-out {domain}: {:.4} nats a token, {:.4} bits a byte{}; {} tokens",
            loss.per_token(),
            loss.bits_per_byte(),
            right(loss.accuracy()),
            crate::terminal::count(loss.tokens)
        ));
    }
    draw(folder, terminal);
    terminal.say(format_args!("model: {}", folder.join("model").display()));
    Ok(ExitCode::SUCCESS)
}

/// Draws a run's page.
pub fn draw(folder: &Path, terminal: Terminal) {
    match loam_report::write(folder) {
        Ok(page) => terminal.say(format_args!("report: {}", page.display())),
        // The run is done and safe; its page can be drawn again.
        Err(error) => terminal.warning(format_args!("the report could not be drawn: {error}")),
    }
}

fn folder_to_resume(arguments: &TrainArguments, dtype: Option<&str>) -> anyhow::Result<PathBuf> {
    if !arguments.sets.is_empty() || arguments.seed.is_some() || dtype.is_some() {
        return Err(
            Misuse("--resume goes on with the run's own recipe; start a new run to change values".into()).into()
        );
    }
    match (&arguments.out, arguments.inputs.as_slice()) {
        (Some(folder), []) => Ok(folder.clone()),
        (Some(folder), [_]) if folder.join("recipe.toml").exists() => Ok(folder.clone()),
        (None, [folder]) if Path::new(folder).join("recipe.toml").exists() => Ok(PathBuf::from(folder)),
        _ => Err(Misuse("--resume needs the run's folder: loam train --resume -o runs/NAME".into()).into()),
    }
}

fn recipe(arguments: &TrainArguments, dtype: Option<&str>) -> anyhow::Result<(Recipe, String)> {
    let mut sets = arguments.sets.clone();
    sets.extend(arguments.seed.map(|seed| format!("train.seed={seed}")));
    sets.extend(dtype.map(|dtype| format!("train.dtype=\"{dtype}\"")));
    let name = |path: &str| {
        let stem = Path::new(path).file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy().into_owned());
        stem.chars()
            .map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
            .collect::<String>()
    };
    let [first, ..] = arguments.inputs.as_slice() else {
        return Err(Misuse(
            "give a recipe, or text to train on: loam train recipes/gpt-wikitext2.toml, or loam train corpus.txt"
                .into(),
        )
        .into());
    };
    let path = Path::new(first);
    let is_recipe = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    if is_recipe && arguments.inputs.len() > 1 {
        return Err(Misuse("one recipe at a time; texts belong into the recipe, or stand alone".into()).into());
    }
    let mut recipe = if is_recipe {
        Recipe::load(path, &sets)?
    } else {
        let mut recipe = Recipe::default();
        let prepared = |input: &String| Path::new(input).join("tokens").join("index.json").is_file();
        let texts = match &arguments.inputs[..] {
            [folder] if prepared(folder) => {
                recipe.data.prepared = Some(folder.into());
                &[]
            }
            inputs => inputs,
        };
        if let Some(folder) = texts.iter().find(|input| prepared(input)) {
            let alone = format!("{folder} is prepared with its tokenizer and its mixture; train on it alone");
            return Err(Misuse(alone).into());
        }
        for input in texts {
            let mut source = name(input);
            while recipe.data.sources.iter().any(|other| other.name == source) {
                source.push('_');
            }
            recipe.data.sources.push(SourceRecipe::new(source, vec![input.clone()]));
        }
        recipe.with(&sets)?
    };
    let beside = if is_recipe { path.parent().unwrap_or(Path::new("")) } else { Path::new("") };
    recipe.resolve_paths(beside)?;
    Ok((recipe, name(first)))
}
