//! `loam score`.

use crate::arguments::{Global, ScoreArguments};
use crate::machine;
use crate::terminal::Terminal;
use loam_tasks::LoadedModel;
use std::process::ExitCode;

pub fn run(arguments: &ScoreArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    let text = match (&arguments.text, &arguments.file) {
        (Some(text), _) => text.clone(),
        (None, Some(file)) => super::text_file(file)?,
        (None, None) => super::standard_input("the text")?,
    };
    let model = LoadedModel::open_adapted(&arguments.model, arguments.adapter.as_deref(), &device)?;
    let score = model.score(&text)?;
    if terminal.json() {
        terminal.result(serde_json::to_string(&score)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (id, logprob) in score.tokens.iter().zip(&score.logprobs) {
        let token = model.tokenizer.decode(&[*id]);
        let logprob = logprob.map_or_else(|| "       –".to_owned(), |value| format!("{value:>8.3}"));
        terminal.result(format_args!("{logprob}  {id:>6}  {token:?}"))?;
    }
    match score.loss {
        Some(loss) => terminal.result(format_args!(
            "{loss:.4} nats a token, perplexity {:.2}, {} bits a byte over {} scored tokens",
            loss.exp(),
            score.bits_per_byte.map_or_else(|| "–".to_owned(), |bits| format!("{bits:.4}")),
            score.scored
        ))?,
        None => terminal.say("nothing to score: a text of one token has nothing before it"),
    }
    Ok(ExitCode::SUCCESS)
}
