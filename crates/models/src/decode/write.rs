//! Greedy choice and sampling, over a batch.

use super::{Decoder, Finish, Logits, Rules, check_prompts};
use crate::error::ModelError;
use crate::sampling::{Sampler, SamplingOptions};
use std::ops::ControlFlow;

/// How to go on from prompts.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Tokens to write at most, a row.
    pub max_new_tokens: usize,
    /// How each token is chosen; every row draws from a sequence of its own with this seed, so that it gets what it
    /// would get alone. Its repetition penalty counts, not that of the rules.
    pub sampling: SamplingOptions,
    /// What may not come next.
    pub rules: Rules,
    /// Tokens that end the text; they are not passed on.
    pub ends: Vec<u32>,
}

/// What became of one prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The new tokens.
    pub tokens: Vec<u32>,
    /// Why there are no more.
    pub finish: Finish,
}

/// One row that is still being written.
struct Row {
    number: usize,
    history: Vec<u32>,
    sampler: Sampler,
    /// Tokens in the state.
    held: usize,
}

/// Continues every prompt, passing each new token with the number of its prompt to `on_token`, which may end that row.
/// Rows that have ended leave the batch. Text longer than the model's context goes on from its last half, which is read
/// again.
///
/// # Errors
/// When a prompt is empty, longer than the model's context, or holds ids that the model has not; when an option is out of
/// its range.
pub fn write<D: Decoder>(
    decoder: &D,
    prompts: &[&[u32]],
    options: &WriteOptions,
    mut on_token: impl FnMut(usize, u32) -> ControlFlow<()>,
) -> Result<Vec<Written>, ModelError> {
    check_prompts(decoder, prompts)?;
    options.rules.check(decoder.vocabulary())?;
    let sampler = Sampler::new(options.sampling.clone()).map_err(|error| ModelError::Request(error.to_string()))?;
    let mut written: Vec<Written> = vec![Written { tokens: Vec::new(), finish: Finish::Length }; prompts.len()];
    let allowance = allowance(decoder, prompts, options.max_new_tokens);
    if allowance == 0 || prompts.is_empty() {
        return Ok(written);
    }
    let mut rows: Vec<Row> = prompts
        .iter()
        .enumerate()
        .map(|(number, prompt)| Row { number, history: prompt.to_vec(), sampler: sampler.clone(), held: prompt.len() })
        .collect();
    let numbers: Vec<usize> = (0..prompts.len()).collect();
    let (mut state, mut logits) = decoder.begin(&numbers, prompts);
    let mut scratch = Vec::new();
    for step in 1..=allowance {
        let last = step == allowance;
        let (mut kept, mut tokens) = (Vec::new(), Vec::new());
        for (place, row) in rows.iter_mut().enumerate() {
            let next = choose(row, &logits, place, options, last, &mut scratch);
            let out = &mut written[row.number];
            if options.ends.contains(&next) {
                out.finish = Finish::Stop;
                continue;
            }
            row.history.push(next);
            out.tokens.push(next);
            if on_token(row.number, next).is_break() {
                out.finish = Finish::Stop;
            } else if !last {
                kept.push(place);
                tokens.push(next);
            }
        }
        if kept.is_empty() {
            break;
        }
        if kept.len() < rows.len() {
            decoder.select(&mut state, &kept);
            let mut place = 0..;
            rows.retain(|_| kept.binary_search(&place.next().unwrap_or(usize::MAX)).is_ok());
        }
        (state, logits) = advance(decoder, &mut rows, &tokens, state);
    }
    Ok(written)
}

/// How many tokens may be written where `asked` were asked for: a target ends with the context, a text slides through it.
fn allowance<D: Decoder>(decoder: &D, prompts: &[&[u32]], asked: usize) -> usize {
    if decoder.slides() {
        return asked;
    }
    let longest = prompts.iter().map(|prompt| prompt.len()).max().unwrap_or(0);
    // The last token is not read.
    asked.min((decoder.context() - longest).saturating_add(1))
}

fn choose(
    row: &mut Row,
    logits: &Logits,
    place: usize,
    options: &WriteOptions,
    last: bool,
    scratch: &mut Vec<f32>,
) -> u32 {
    let scores = logits.row(place);
    if options.rules.no_repeat_ngram == 0
        && options.rules.banned.is_empty()
        && !(last && options.rules.forced_end.is_some())
    {
        return row.sampler.sample(scores, &row.history);
    }
    scratch.clear();
    scratch.extend_from_slice(scores);
    options.rules.mask(scratch, &row.history, last);
    row.sampler.sample(scratch, &row.history)
}

/// Reads the newest token of every row; a row that has filled the context is read again from its last half.
fn advance<D: Decoder>(decoder: &D, rows: &mut [Row], tokens: &[u32], mut state: D::State) -> (D::State, Logits) {
    let context = decoder.context();
    let full: Vec<usize> = (0..rows.len()).filter(|&place| rows[place].held >= context).collect();
    if full.is_empty() {
        for row in rows {
            row.held += 1;
        }
        let logits = decoder.step(tokens, &mut state);
        return (state, logits);
    }
    let half = context.div_ceil(2);
    let sources: Vec<usize> = full.iter().map(|&place| rows[place].number).collect();
    let tails: Vec<&[u32]> =
        full.iter().map(|&place| &rows[place].history[rows[place].history.len() - half..]).collect();
    let (again, again_logits) = decoder.begin(&sources, &tails);
    let others: Vec<usize> = (0..rows.len()).filter(|place| !full.contains(place)).collect();
    let joined = if others.is_empty() {
        (again, again_logits)
    } else {
        decoder.select(&mut state, &others);
        let stepped: Vec<u32> = others.iter().map(|&place| tokens[place]).collect();
        let other_logits = decoder.step(&stepped, &mut state);
        // Those read again come last in the joined state; then each goes back to its place.
        let mut places = vec![0; rows.len()];
        for (index, &place) in others.iter().chain(&full).enumerate() {
            places[place] = index;
        }
        let mut state = decoder.join(vec![state, again]);
        decoder.select(&mut state, &places);
        let vocabulary = other_logits.vocabulary;
        let values = [other_logits.values, again_logits.values].concat();
        let values = places.iter().flat_map(|&index| values[index * vocabulary..][..vocabulary].iter().copied());
        (state, Logits { values: values.collect(), vocabulary })
    };
    for (place, row) in rows.iter_mut().enumerate() {
        row.held = if full.contains(&place) { half } else { row.held + 1 };
    }
    joined
}
