//! `loam generate`.

use crate::arguments::{GenerateArguments, Global};
use crate::machine;
use crate::terminal::Terminal;
use loam_models::generate::GenerateOptions;
use loam_models::sampling::SamplingOptions;
use loam_tasks::LoadedModel;
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
    sampling.validate().map_err(|error| super::Misuse(error.to_string()))?;
    let device = machine::device(&global.device)?;
    let prompt = match &arguments.prompt {
        Some(prompt) => prompt.clone(),
        // The line end is the shell's, not the text's.
        None => super::standard_input("the prompt")?.trim_end_matches('\n').to_owned(),
    };
    let model = LoadedModel::open(&arguments.model, &device)?;
    let options = GenerateOptions { max_new_tokens: arguments.max_tokens, sampling, end_of_text: None };
    let json = terminal.json();
    let mut written = Ok(());
    if !json && !terminal.quiet() {
        terminal.part(&prompt)?;
    }
    let generation = model.generate(&prompt, &options, &arguments.stop, |text| {
        if !json && written.is_ok() {
            written = terminal.part(text);
        }
    })?;
    written?;
    if json {
        terminal.result(serde_json::to_string(&generation)?)?
    } else {
        terminal.part("\n")?
    }
    Ok(ExitCode::SUCCESS)
}
