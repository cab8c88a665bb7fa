//! Decoding against transformers' `generate`, and batches against single prompts. `fixtures/decoding.py` writes what it
//! is compared with.

mod support;

use burn::tensor::Device;
use loam_models::decode::{
    self, BeamOptions, Causal, Decoder, EarlyStopping, FromSource, LengthPenalty, Remembering, Rules, WriteOptions,
};
use loam_models::lstm::Cell;
use loam_models::sampling::SamplingOptions;
use loam_models::seq2seq::{Seq2Seq, Source};
use loam_models::weights::{write_json, write_tensors};
use loam_models::{Gpt, GptConfig, LanguageModel, Recurrent, RecurrentConfig};
use loam_nn::initialize::mix;
use serde_json::Value;
use std::ops::ControlFlow;
use support::integers;

/// Numbers from -1 to 1 that follow from a name, as in `families.py`.
fn formula(name: &str, count: usize) -> Vec<f32> {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    (1..=count as u64).map(|i| (mix(seed ^ mix(i)) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// A folder with a fixture's model.
fn folder(model: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_json(&folder.path().join("config.json"), &model["config"]).unwrap();
    let tensors: Vec<_> = model["tensors"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, shape)| {
            let shape: Vec<usize> = numbers(shape).into_iter().map(|size| size as usize).collect();
            let scale = name.ends_with(".weight") && (name.contains("norm") || name.contains("Norm"));
            let offset = f32::from(u8::from(scale));
            let values = formula(name, shape.iter().product()).into_iter().map(|x| x * 0.5 + offset).collect();
            (name.clone(), shape, values)
        })
        .collect();
    write_tensors(&folder.path().join("model.safetensors"), &tensors).unwrap();
    folder
}

fn numbers(value: &Value) -> Vec<u32> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_u64().unwrap() as u32],
    }
}

/// What a case of the fixture asks for: rules, ends, allowance.
fn asked(case: &Value, marian: bool) -> (Rules, Vec<u32>, usize) {
    let settings = &case["settings"];
    let rules = Rules {
        repetition_penalty: settings["repetition_penalty"].as_f64().unwrap_or(1.0) as f32,
        no_repeat_ngram: settings["no_repeat_ngram_size"].as_u64().unwrap_or(0) as usize,
        banned: if marian { vec![30] } else { Vec::new() },
        forced_end: marian.then_some(0),
    };
    let ends = if settings["eos_token_id"].is_null() { vec![0] } else { numbers(&settings["eos_token_id"]) };
    (rules, ends, settings["max_new_tokens"].as_u64().unwrap() as usize)
}

/// Every case with the same settings in one batch, prompts of different lengths side by side.
fn compare<D: Decoder>(decoder: &D, cases: &[&Value], prompts: &[&[u32]], marian: bool) {
    let (rules, ends, max_new_tokens) = asked(cases[0], marian);
    let settings = &cases[0]["settings"];
    let count = settings["num_beams"].as_u64().unwrap() as usize;
    if count == 1 {
        let sampling = SamplingOptions {
            temperature: 0.0,
            repetition_penalty: rules.repetition_penalty,
            ..SamplingOptions::default()
        };
        let options = WriteOptions { max_new_tokens, sampling, rules, ends };
        let written = decode::write(decoder, prompts, &options, |_, _| ControlFlow::Continue(())).unwrap();
        for (written, case) in written.iter().zip(cases) {
            let expected = &case["found"][0];
            assert_eq!(written.tokens, numbers(&expected["tokens"]), "{case}");
            assert_eq!(written.finish.name(), expected["finish"], "{case}");
        }
        return;
    }
    let options = BeamOptions {
        beams: count,
        n_best: settings["num_return_sequences"].as_u64().unwrap() as usize,
        length_penalty: LengthPenalty::Power(settings["length_penalty"].as_f64().unwrap_or(1.0)),
        early_stopping: match &settings["early_stopping"] {
            Value::Bool(true) => EarlyStopping::AtOnce,
            Value::String(_) => EarlyStopping::Never,
            _ => EarlyStopping::Estimate,
        },
        rules,
        ends,
        ..BeamOptions::new(count, max_new_tokens)
    };
    let found = decode::search(decoder, prompts, &options).unwrap();
    for (found, case) in found.iter().zip(cases) {
        // Where fewer texts are possible than were asked for, transformers fills up with what has no probability.
        let possible = |expected: &&Value| expected["score"].as_f64().unwrap() > -1e8;
        let expected: Vec<&Value> = case["found"].as_array().unwrap().iter().filter(possible).collect();
        assert_eq!(found.len(), expected.len(), "{case}");
        for (hypothesis, expected) in found.iter().zip(expected) {
            assert_eq!(hypothesis.tokens, numbers(&expected["tokens"]), "{case}");
            assert_eq!(hypothesis.finish.name(), expected["finish"], "{case}");
            let score = expected["score"].as_f64().unwrap();
            let tolerance = 1e-4 + 1e-6 * score.abs();
            assert!((hypothesis.score - score).abs() < tolerance, "{} and {score}: {case}", hypothesis.score);
        }
    }
}

#[test]
fn results_equal_those_of_transformers() {
    let all: Value = serde_json::from_str(include_str!("fixtures/decoding.json")).unwrap();
    let device = Device::flex();
    let gpt_folder = folder(&all["models"]["gpt"]);
    let gpt = Gpt::load(gpt_folder.path(), &device).unwrap();
    let marian_folder = folder(&all["models"]["marian"]);
    let marian = Seq2Seq::load(marian_folder.path(), &device).unwrap();
    let cases: Vec<&Value> = all["cases"].as_array().unwrap().iter().collect();
    let mut compared = 0;
    for group in cases.chunk_by(|a, b| (&a["model"], &a["settings"]) == (&b["model"], &b["settings"])) {
        let prompts: Vec<Vec<u32>> = group.iter().map(|case| numbers(&case["prompt"])).collect();
        // In one batch, and each by itself.
        for run in std::iter::once(0..group.len()).chain((0..group.len()).map(|one| one..one + 1)) {
            let (cases, prompts) = (&group[run.clone()], &prompts[run]);
            compared += cases.len();
            if group[0]["model"] == "gpt" {
                let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
                compare(&Causal::new(&gpt, &device), cases, &prompts, false);
                continue;
            }
            let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
            let time = lengths.iter().copied().max().unwrap();
            let padded = prompts
                .iter()
                .flat_map(|prompt| prompt.iter().copied().chain(std::iter::repeat(30)).take(time).map(i64::from));
            let source = Source { ids: integers(padded.collect(), [prompts.len(), time]), lengths: Some(lengths) };
            let decoder = FromSource::new(&marian, marian.memory(&source), &device);
            let starts: Vec<&[u32]> = prompts.iter().map(|_| &[30][..]).collect();
            compare(&decoder, cases, &starts, true);
        }
    }
    assert_eq!(compared, 2 * cases.len());
}

const VOCABULARY: usize = 61;

fn sampling(seed: u64) -> SamplingOptions {
    SamplingOptions { temperature: 0.9, top_p: 0.9, seed, ..SamplingOptions::default() }
}

fn options(max_new_tokens: usize) -> WriteOptions {
    WriteOptions { max_new_tokens, sampling: sampling(7), ends: vec![3, 17, 42], ..WriteOptions::default() }
}

fn prompts() -> Vec<Vec<u32>> {
    [3, 11, 1, 20, 11, 24]
        .iter()
        .enumerate()
        .map(|(seed, &length)| (0..length).map(|i| ((i + 5 * seed) * 17 % VOCABULARY) as u32).collect())
        .collect()
}

/// A batch gives what each prompt gives alone, over the end of the context too.
fn a_batch_equals_single_prompts<M: LanguageModel>(model: &M) {
    let device = Device::flex();
    let decoder = Causal::new(model, &device);
    let prompts = prompts();
    let all: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let options = options(40);
    let mut seen: Vec<Vec<u32>> = vec![Vec::new(); all.len()];
    let together = decode::write(&decoder, &all, &options, |row, token| {
        seen[row].push(token);
        ControlFlow::Continue(())
    });
    let together = together.unwrap();
    let mut ended = 0;
    for (number, prompt) in all.iter().enumerate() {
        let alone = decode::write(&decoder, &[prompt], &options, |_, _| ControlFlow::Continue(())).unwrap();
        assert_eq!(together[number], alone[0], "prompt {number}");
        assert_eq!(together[number].tokens, seen[number]);
        ended += usize::from(alone[0].tokens.len() < 40);
    }
    assert!(ended > 0, "no row ends early");
}

#[test]
fn batches_of_every_family_equal_single_prompts() {
    let device = Device::flex();
    let config = GptConfig { initializer_range: 0.2, ..GptConfig::new(VOCABULARY, 24, 24, 2, 3, 0.0) };
    a_batch_equals_single_prompts(&Gpt::new(config, 5, &device).unwrap());
    for cell in Cell::ALL {
        let config =
            RecurrentConfig { initializer_range: 0.4, ..RecurrentConfig::new(cell, VOCABULARY, 24, 16, 2, 0.0) };
        a_batch_equals_single_prompts(&Recurrent::new(config, 5, &device).unwrap());
    }
}

/// A conversation: each prompt begins with most of the one before and what was written then.
fn what_is_remembered_changes_nothing<M: LanguageModel>(model: &M, goes_back: bool) {
    let device = Device::flex();
    let remembering = Remembering::new(model, &device);
    let write = |prompt: &[u32], fresh: bool| {
        let (on, options) =
            (|_: usize, _: u32| ControlFlow::Continue(()), WriteOptions { ends: Vec::new(), ..options(5) });
        let written = if fresh {
            decode::write(&Causal::new(model, &device), &[prompt], &options, on)
        } else {
            decode::write(&remembering, &[prompt], &options, on)
        };
        written.unwrap().remove(0).tokens
    };
    let mut prompt: Vec<u32> = vec![3, 1, 4, 1, 5];
    let mut known = Vec::new();
    for turn in 0..4 {
        let said = write(&prompt, false);
        assert_eq!(said, write(&prompt, true), "turn {turn}");
        known.push(remembering.known());
        prompt.extend(said);
        if turn == 2 {
            // Something in the middle is taken back.
            prompt.truncate(8);
        }
        prompt.extend([7, 7 + turn, 2]);
    }
    // The last token that was written was not read.
    assert_eq!(known, if goes_back { [0, 9, 17, 8] } else { [0, 9, 17, 0] });
    // The same prompt again: what comes after its last token is asked for anew.
    let expected = write(&prompt, true);
    assert_eq!(write(&prompt, false), expected);
    assert_eq!(write(&prompt, false), expected);
}

#[test]
fn a_conversation_is_not_read_again() {
    let device = Device::flex();
    let config = GptConfig { initializer_range: 0.3, ..GptConfig::new(31, 32, 16, 2, 2, 0.0) };
    what_is_remembered_changes_nothing(&Gpt::new(config, 3, &device).unwrap(), true);
    let config = RecurrentConfig::new(Cell::Lstm, 31, 32, 16, 2, 0.0);
    what_is_remembered_changes_nothing(&Recurrent::new(config, 3, &device).unwrap(), false);
}

#[test]
fn a_callback_ends_its_own_row() {
    let device = Device::flex();
    let config = GptConfig { initializer_range: 0.2, ..GptConfig::new(VOCABULARY, 24, 24, 2, 3, 0.0) };
    let model = Gpt::new(config, 5, &device).unwrap();
    let decoder = Causal::new(&model, &device);
    let options = WriteOptions { ends: Vec::new(), ..options(9) };
    let prompts: [&[u32]; 2] = [&[1, 2], &[5]];
    let whole = decode::write(&decoder, &prompts, &options, |_, _| ControlFlow::Continue(())).unwrap();
    let mut count = 0;
    let cut = decode::write(&decoder, &prompts, &options, |row, _| {
        count += usize::from(row == 0);
        if row == 0 && count == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let cut = cut.unwrap();
    assert_eq!(cut[0].tokens, whole[0].tokens[..3]);
    assert_eq!(cut[0].finish.name(), "stop");
    assert_eq!(cut[1], whole[1]);
}

#[test]
fn impossible_requests_are_refused() {
    let device = Device::flex();
    let model = Gpt::new(GptConfig::new(VOCABULARY, 24, 24, 1, 3, 0.0), 5, &device).unwrap();
    let decoder = Causal::new(&model, &device);
    let long = vec![1; 25];
    for (prompt, word) in [(&[][..], "empty"), (&long, "25 tokens long"), (&[61], "beyond the model's vocabulary")] {
        let error = decode::write(&decoder, &[&[1], prompt], &options(3), |_, _| ControlFlow::Continue(()));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("prompt 2"), "{error}");
        assert!(decode::search(&decoder, &[prompt], &BeamOptions::new(2, 3)).is_err());
    }
    for (beams, n_best, word) in [(0, 1, "beams"), (3, 4, "n_best"), (5000, 1, "beams"), (2, 0, "n_best")] {
        let options = BeamOptions { n_best, ..BeamOptions::new(beams, 3) };
        let error = decode::search(&decoder, &[&[1]], &options).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let penalty = BeamOptions { length_penalty: LengthPenalty::Wu(f64::NAN), ..BeamOptions::new(2, 3) };
    assert!(decode::search(&decoder, &[&[1]], &penalty).is_err());
    // A search ends with the context.
    let prompt = vec![1; 24];
    let found = decode::search(&decoder, &[&prompt], &BeamOptions::new(2, 30)).unwrap();
    assert_eq!(found[0][0].tokens.len(), 1);
    assert!(decode::search(&decoder, &[], &BeamOptions::new(2, 30)).unwrap().is_empty());
}
