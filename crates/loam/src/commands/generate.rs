//! `loam generate`.

use super::Misuse;
use crate::arguments::{GenerateArguments, Global};
use crate::machine;
use crate::terminal::Terminal;
use loam_models::sampling::SamplingOptions;
use loam_nn::burn::tensor::Device;
use loam_tasks::language_model::Found;
use loam_tasks::{Beams, LoadedModel, SourceModel, TextOptions};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::process::ExitCode;

pub fn run(arguments: &GenerateArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let sampling = SamplingOptions {
        temperature: arguments.temperature,
        top_k: arguments.top_k,
        top_p: arguments.top_p,
        min_p: arguments.min_p,
        repetition_penalty: arguments.repetition_penalty,
        seed: arguments.seed,
    };
    sampling.validate().map_err(|error| Misuse(error.to_string()))?;
    if arguments.beams == 0 || arguments.n_best == 0 || arguments.n_best > arguments.beams {
        return Err(Misuse(format!(
            "--n-best {} of --beams {}: both are at least 1, and no more come back than are kept",
            arguments.n_best, arguments.beams
        ))
        .into());
    }
    if arguments.batch == 0 {
        return Err(Misuse("--batch 0: at least one prompt is read at a time".into()).into());
    }
    let options = TextOptions {
        max_new_tokens: arguments.max_tokens,
        sampling,
        no_repeat_ngram: arguments.no_repeat_ngram,
        stop: arguments.stop.clone(),
    };
    let device = machine::device(&global.device)?;
    if let Some(file) = &arguments.prompts {
        let (text, origin) = if file.as_os_str() == "-" {
            (super::standard_input("the prompts")?, "standard input".to_owned())
        } else {
            (super::text_file(file)?, file.display().to_string())
        };
        let prompts = prompts(&text, &origin)?;
        if let Some(model) = source_model(arguments, &device)? {
            for batch in prompts.chunks(arguments.batch) {
                for line in from_source(&model, batch, arguments, &options)? {
                    terminal.result(line)?;
                }
            }
            return Ok(ExitCode::SUCCESS);
        }
        let model = LoadedModel::open_adapted(&arguments.model, arguments.adapter.as_deref(), &device)?;
        for batch in prompts.chunks(arguments.batch) {
            for line in objects(&model, batch, arguments, &options)? {
                terminal.result(line)?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let prompt = match &arguments.prompt {
        Some(prompt) => prompt.clone(),
        // The line end is the shell's, not the text's.
        None => super::standard_input("the prompt")?.trim_end_matches('\n').to_owned(),
    };
    if let Some(model) = source_model(arguments, &device)? {
        if terminal.json() {
            for line in from_source(&model, &[prompt], arguments, &options)? {
                terminal.result(line)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        for text in model.write(&[prompt], &options, beams(arguments))?.iter().flatten() {
            let score = if arguments.n_best > 1 { format!("{:.4}\t", text.score) } else { String::new() };
            terminal.result(format_args!("{score}{}", text.text))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let model = LoadedModel::open_adapted(&arguments.model, arguments.adapter.as_deref(), &device)?;
    if terminal.json() {
        for line in objects(&model, &[prompt], arguments, &options)? {
            terminal.result(line)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.beams > 1 {
        let found = model.search(
            std::slice::from_ref(&prompt),
            &options,
            arguments.beams,
            arguments.n_best,
            arguments.length_penalty,
        )?;
        let given = if terminal.quiet() { "" } else { &prompt };
        for text in found.iter().flatten() {
            let score = if arguments.n_best > 1 { format!("{:.4}\t", text.score) } else { String::new() };
            terminal.result(format_args!("{score}{given}{}", text.text))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !terminal.quiet() {
        terminal.part(&prompt)?;
    }
    let mut written = Ok(());
    model.write(&[prompt], &options, |_, text| {
        written = terminal.part(text);
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    written?;
    terminal.part("\n")?;
    Ok(ExitCode::SUCCESS)
}

/// The encoder and decoder that `--model` names, if it names one.
fn source_model(arguments: &GenerateArguments, device: &Device) -> anyhow::Result<Option<SourceModel>> {
    Ok(SourceModel::open_adapted(&arguments.model, arguments.adapter.as_deref(), device)?)
}

fn beams(arguments: &GenerateArguments) -> Beams {
    Beams { beams: arguments.beams, n_best: arguments.n_best, length_penalty: arguments.length_penalty }
}

/// What `--json` prints for each source of a batch, in their order.
fn from_source(
    model: &SourceModel,
    sources: &[String],
    arguments: &GenerateArguments,
    options: &TextOptions,
) -> anyhow::Result<Vec<String>> {
    let found = model.write(sources, options, beams(arguments))?;
    let object = |(source, found): (&String, Vec<Found>)| {
        let best = found.first();
        let mut object = json!({
            "prompt": source,
            "text": best.map(|best| &best.text),
            "tokens": best.map(|best| &best.tokens),
            "finish": best.map(|best| best.finish),
        });
        if arguments.beams > 1 {
            object["score"] = json!(best.map(|best| best.score));
            object["n_best"] = json!(found);
        }
        object.to_string()
    };
    Ok(sources.iter().zip(found).map(object).collect())
}

/// What `--json` prints for each prompt of a batch, in their order.
fn objects(
    model: &LoadedModel,
    prompts: &[String],
    arguments: &GenerateArguments,
    options: &TextOptions,
) -> anyhow::Result<Vec<String>> {
    if arguments.beams == 1 {
        let written = model.write(prompts, options, |_, _| ControlFlow::Continue(()))?;
        return written.iter().map(|generation| Ok(serde_json::to_string(generation)?)).collect();
    }
    let found = model.search(prompts, options, arguments.beams, arguments.n_best, arguments.length_penalty)?;
    let object = |(prompt, found): (&String, Vec<Found>)| {
        let best = found.first();
        json!({
            "prompt": prompt,
            "text": best.map(|best| &best.text),
            "tokens": best.map(|best| &best.tokens),
            "finish": best.map(|best| best.finish),
            "score": best.map(|best| best.score),
            "n_best": found,
        })
        .to_string()
    };
    Ok(prompts.iter().zip(found).map(object).collect())
}

/// The prompts of JSON lines.
fn prompts(text: &str, origin: &str) -> anyhow::Result<Vec<String>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| prompt_of(line, &format!("{origin}: line {}", number + 1))).collect()
}

/// The prompt of `{"prompt":…}`.
pub fn prompt_of(line: &str, origin: &str) -> anyhow::Result<String> {
    let value: Value =
        serde_json::from_str(line).map_err(|error| anyhow::anyhow!("{origin}: not valid JSON: {error}"))?;
    match value["prompt"].as_str() {
        Some(prompt) => Ok(prompt.to_owned()),
        None => anyhow::bail!("{origin}: an object with a text \"prompt\" is wanted, as in {{\"prompt\":\"Once\"}}"),
    }
}
