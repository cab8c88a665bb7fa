//! T5 kept to its promises: gradients everywhere and right, fused as composed, padded as unpadded, cached as whole, saved as
//! loaded; and its numbers are those of transformers and PEFT, which `fixtures/t5.py` writes.

mod support;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use loam_models::decode::{self, BeamOptions, FromSource, Rules, WriteOptions};
use loam_models::sampling::SamplingOptions;
use loam_models::source_to_target::Source;
use loam_models::t5::Family;
use loam_models::weights::{Tensors, write_json, write_tensors};
use loam_models::{Adapted, Cache, LoraConfig, SourceToTarget, T5, T5Config};
use loam_nn::initialize::mix;
use loam_nn::{head, parameters};
use serde_json::Value;
use std::ops::ControlFlow;
use support::{every_gradient_is_there_and_right, gradients_equal_finite_differences, host, ids, integers, near};

const VOCABULARY: usize = 47;

/// Version 1.0: more heads than the hidden states are wide, fewer layers of the decoder, distances beyond the last bucket.
fn plain(dropout: f64) -> T5Config {
    T5Config {
        d_kv: 5,
        d_ff: 20,
        num_decoder_layers: 1,
        is_gated_act: false,
        dense_act_fn: "relu".to_owned(),
        relative_attention_num_buckets: 6,
        relative_attention_max_distance: 9,
        ..T5Config::new(VOCABULARY, 16, 12, 2, 3, dropout)
    }
}

/// Version 1.1: gated, with an output of its own.
fn gated(dropout: f64) -> T5Config {
    T5Config {
        tied: false,
        scale_decoder_outputs: false,
        num_decoder_layers: 2,
        num_layers: 1,
        initializer_factor: 0.6,
        ..T5Config::new(VOCABULARY, 16, 12, 2, 3, dropout)
    }
}

fn multilingual() -> T5Config {
    T5Config { family: Family::Mt5, n_positions: None, ..gated(0.1) }
}

fn tiny(config: T5Config, device: &Device) -> T5 {
    T5::new(config, 5, device).unwrap()
}

/// Three sources, two of them short.
fn source() -> Source {
    Source { ids: ids([3, 16], VOCABULARY, 1), lengths: Some(vec![16, 4, 9]) }
}

/// What is written: three rows of sixteen, the last of them short.
fn targets() -> Vec<i64> {
    (0..48).map(|i| if i > 43 { -1 } else { (i * 29 + 3) % VOCABULARY as i64 }).collect()
}

fn loss(model: &T5, smoothing: f32, dropout_seed: Option<u64>) -> Tensor<1> {
    let inputs = integers(model.config().decoder_inputs(&targets(), 16), [3, 16]);
    let kind = head::Loss { smoothing, ..head::Loss::scaled(1.0 / 44.0) };
    model.loss(&source(), inputs, integers(targets(), [48]), kind, dropout_seed)
}

#[test]
fn every_parameter_has_a_gradient() {
    let device = Device::flex().autodiff();
    for (dropout, seed, smoothing) in [(0.0, None, 0.0), (0.1, Some(3), 0.1)] {
        for config in [plain(dropout), gated(dropout)] {
            every_gradient_is_there_and_right(&tiny(config, &device), |model| loss(model, smoothing, seed));
        }
    }
}

#[test]
fn gradients_are_slopes() {
    for config in [plain(0.0), gated(0.0)] {
        let model = tiny(config, &Device::flex().autodiff());
        gradients_equal_finite_differences(&model, |model| loss(model, 0.1, None));
    }
}

#[test]
fn dropout_follows_from_its_seed() {
    let model = tiny(plain(0.2), &Device::flex());
    let at = |seed| host(loss(&model, 0.0, seed));
    assert_eq!(at(Some(1)), at(Some(1)));
    assert_ne!(at(Some(1)), at(Some(2)));
    assert_ne!(at(Some(1)), at(None));
    let device = Device::flex();
    let weights = |seed| {
        let model = T5::new(plain(0.0), seed, &device).unwrap();
        parameters::values(&model).into_iter().map(host).collect::<Vec<_>>()
    };
    assert_eq!(weights(4), weights(4));
    assert_ne!(weights(4), weights(5));
}

#[test]
fn weights_begin_as_transformers_has_them() {
    let config = T5Config { tied: false, initializer_factor: 0.5, ..T5Config::new(3000, 16, 96, 1, 4, 0.0) };
    let (width, head, inner) = (96_f64, 24_f64, config.d_ff as f64);
    let model = tiny(config, &Device::flex());
    for (parameter, values) in parameters::list(&model).iter().zip(parameters::values(&model)) {
        let name = &parameter.name;
        let expected = match name.rsplit('.').nth(1).unwrap() {
            "shared" | "lm_head" => 1.0,
            "q" => (width * head).powf(-0.5),
            "o" => (4.0 * head).powf(-0.5),
            "wo" => inner.powf(-0.5),
            "layer_norm" | "final_layer_norm" => {
                assert!(host(values).iter().all(|&x| x == 0.5), "{name}");
                continue;
            }
            _ => width.powf(-0.5),
        };
        let values = host(values);
        let count = values.len() as f64;
        let deviation = (values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / count).sqrt();
        let found = deviation / (0.5 * expected);
        assert!((found - 1.0).abs() < 4.0 / (2.0 * count).sqrt(), "{name}: {found} of what it should be");
    }
}

#[test]
fn padding_changes_nothing() {
    for config in [plain(0.0), gated(0.0)] {
        let model = tiny(config, &Device::flex());
        let inputs = integers(model.config().decoder_inputs(&targets(), 16), [3, 16]);
        let padded = host(model.token_losses(&source(), inputs.clone(), integers(targets(), [48])));
        for (row, length) in [16, 4, 9].into_iter().enumerate() {
            let alone = Source { ids: source().ids.slice([row..row + 1, 0..length]), lengths: None };
            let targets = integers(targets()[row * 16..][..16].to_vec(), [16]);
            let losses = model.token_losses(&alone, inputs.clone().narrow(0, row, 1), targets);
            near(&format!("row {row}"), &padded[row * 16..][..16], &host(losses), 2e-5);
        }
    }
}

#[test]
fn cached_decoding_equals_the_whole_pass() {
    for config in [plain(0.1), gated(0.1)] {
        let model = tiny(config, &Device::flex());
        let inputs = integers(model.config().decoder_inputs(&targets(), 16), [3, 16]);
        let memory = model.memory(&source());
        let whole = host(model.logits(&memory, inputs.clone(), &mut Cache::default()));
        let mut cache = Cache::default();
        let mut steps = Vec::new();
        for (first, time) in [(0, 5), (5, 1), (6, 7), (13, 3)] {
            steps.push(model.logits(&memory, inputs.clone().narrow(1, first, time), &mut cache));
        }
        assert_eq!(cache.len(), 16);
        near("logits", &host(Tensor::cat(steps, 1)), &whole, 2e-5);
        let losses = host(model.token_losses(&source(), inputs, integers(targets(), [48])));
        for (position, (target, loss)) in targets().into_iter().zip(losses).enumerate() {
            let row = &whole[position * VOCABULARY..][..VOCABULARY];
            let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            let expected = if target < 0 { 0.0 } else { sum.ln() - f64::from(row[target as usize]) };
            assert!((f64::from(loss) - expected).abs() < 2e-5, "position {position}: {loss} and {expected}");
        }
    }
}

#[test]
fn a_saved_model_loads_and_gives_the_same_loss() {
    let device = Device::flex();
    for config in [plain(0.0), gated(0.0), multilingual(), T5Config { scale_decoder_outputs: false, ..plain(0.0) }] {
        let folder = tempfile::tempdir().unwrap();
        let model = tiny(config, &device);
        model.save(folder.path()).unwrap();
        let loaded = T5::load(folder.path(), &device).unwrap();
        assert_eq!(loaded.config(), model.config());
        assert_eq!(host(loss(&loaded, 0.1, None)), host(loss(&model, 0.1, None)));
        let either = SourceToTarget::load(folder.path(), &device).unwrap();
        assert_eq!(either.shape().family, model.config().family.name());
        assert_eq!(either.limit(), None);
        assert_eq!(either.shape().context, model.config().n_positions.unwrap_or(512));
        assert!(either.inner_parameters() < model.num_params() as u64);
    }
}

/// The tensors of a saved model.
fn tensors(path: &std::path::Path) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let file = Tensors::open(path).unwrap();
    let read = |name: String| {
        let (values, shape) = file.get(&name).unwrap().unwrap();
        (name, shape, values)
    };
    file.names().unwrap().into_iter().map(read).collect()
}

#[test]
fn copies_of_the_embeddings_are_passed_over() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(plain(0.0), &device);
    model.save(folder.path()).unwrap();
    let path = folder.path().join("model.safetensors");
    let mut all = tensors(&path);
    let shared = all.iter().find(|(name, ..)| name == "shared.weight").unwrap().clone();
    let copy = |name: &str| (name.to_owned(), shared.1.clone(), shared.2.clone());
    all.extend(["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"].map(copy));
    let unused = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";
    all.push((unused.to_owned(), vec![6, 3], vec![0.0; 18]));
    write_tensors(&path, &all).unwrap();
    let loaded = T5::load(folder.path(), &device).unwrap();
    assert_eq!(loaded.config(), model.config());
    assert_eq!(host(loss(&loaded, 0.0, None)), host(loss(&model, 0.0, None)));
    // A name is enough, whichever of them.
    let mut one = all.clone();
    one.retain(|(name, ..)| name != "shared.weight" && !name.starts_with("encoder.embed") && name != "lm_head.weight");
    write_tensors(&path, &one).unwrap();
    let loaded = T5::load(folder.path(), &device).unwrap();
    assert_eq!(host(loss(&loaded, 0.0, None)), host(loss(&model, 0.0, None)));
    // Another table for the encoder is no copy.
    let place = all.iter().position(|(name, ..)| name == "encoder.embed_tokens.weight").unwrap();
    all[place].2[7] += 1.0;
    write_tensors(&path, &all).unwrap();
    let error = T5::load(folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains("encoder.embed_tokens.weight is not shared.weight"), "{error}");
}

#[test]
fn broken_folders_are_named() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    tiny(plain(0.0), &device).save(folder.path()).unwrap();
    let path = folder.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to, words) in [
        ("\"d_model\": 12", "\"d_model\": 120000", ["config.json", "parameters"]),
        ("\"num_heads\": 3", "\"num_heads\": 200000000", ["config.json", "parameters"]),
        ("\"num_layers\": 2", "\"num_layers\": 200000000", ["config.json", "parameters"]),
        (
            "\"relative_attention_num_buckets\": 6",
            "\"relative_attention_num_buckets\": 2",
            ["buckets = 2", "at least 4"],
        ),
        ("\"relative_attention_max_distance\": 9", "\"relative_attention_max_distance\": 3", ["distance = 3", "half"]),
        ("\"relative_attention_num_buckets\": 6", "\"relative_attention_num_buckets\": 7", ["bias.weight", "[7, 3]"]),
        ("\"num_layers\": 2", "\"num_layers\": 1", ["has not", "encoder.block.1."]),
        ("\"num_decoder_layers\": 1", "\"num_decoder_layers\": 2", ["lacks the tensor", "decoder.block.1."]),
        ("\"d_ff\": 20", "\"d_ff\": 21", ["encoder.block.0.layer.1.DenseReluDense.wi.weight", "[21, 12]"]),
        ("\"d_kv\": 5", "\"d_kv\": 4", ["SelfAttention.q.weight", "[12, 12]"]),
        ("\"d_kv\": 5,", "", ["d_kv is missing", "whole number"]),
        ("\"is_gated_act\": false", "\"is_gated_act\": true", ["has not", "DenseReluDense.wi.weight"]),
        ("\"dense_act_fn\": \"relu\"", "\"dense_act_fn\": \"xielu\"", ["dense_act_fn", "xielu"]),
        ("\"feed_forward_proj\": \"relu\"", "\"feed_forward_proj\": \"swi-glu\"", ["feed_forward_proj", "swi-glu"]),
        ("\"feed_forward_proj\": \"relu\"", "\"feed_forward_proj\": \"a-b-c\"", ["feed_forward_proj", "a-b-c"]),
        ("\"decoder_start_token_id\": 46", "\"decoder_start_token_id\": 47", ["decoder_start_token_id", "47"]),
        ("\"is_encoder_decoder\": true", "\"is_encoder_decoder\": false", ["is_encoder_decoder", "encoder alone"]),
        ("\"n_positions\": 16", "\"n_positions\": 0", ["n_positions", "0"]),
        ("\"dropout_rate\": 0.0", "\"dropout_rate\": 1.5", ["dropout_rate", "1.5"]),
        ("\"layer_norm_epsilon\": 1e-6", "\"layer_norm_epsilon\": -1.0", ["layer_norm_epsilon", "-1"]),
        ("\"model_type\": \"t5\"", "\"model_type\": \"umt5\"", ["\"umt5\"", "\"t5\""]),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        std::fs::write(&path, changed).unwrap();
        let error = T5::load(folder.path(), &device).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{to}: {error}");
    }
}

#[test]
fn a_configuration_counts_its_parameters() {
    for config in [plain(0.0), gated(0.0), multilingual()] {
        let model = tiny(config.clone(), &Device::flex());
        assert_eq!(config.parameters(), Some(model.num_params() as u64));
    }
    assert_eq!(T5Config::new(1 << 40, 1, 1 << 40, 1, 1, 0.0).parameters(), None);
}

#[test]
fn impossible_configurations_are_refused() {
    for config in [
        T5Config { num_layers: 0, ..plain(0.0) },
        T5Config { d_kv: 0, ..plain(0.0) },
        T5Config { relative_attention_num_buckets: 3, ..plain(0.0) },
        T5Config { dropout_rate: 1.0, ..plain(0.0) },
        T5Config { initializer_factor: f64::NAN, ..plain(0.0) },
        T5Config { pad_token_id: Some(VOCABULARY), ..plain(0.0) },
        T5Config { dense_act_fn: "none".to_owned(), ..plain(0.0) },
    ] {
        assert!(T5::new(config.clone(), 1, &Device::flex()).is_err(), "{config:?}");
    }
}

/// Numbers from -1 to 1 that follow from a name, as in `families.py`.
fn formula(name: &str, count: usize) -> Vec<f32> {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    (1..=count as u64).map(|i| (mix(seed ^ mix(i)) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().unwrap()],
    }
}

fn whole(value: &Value) -> Vec<i64> {
    numbers(value).into_iter().map(|x| x as i64).collect()
}

fn rows(value: &Value) -> Tensor<2, Int> {
    let count = value.as_array().unwrap().len();
    let values = whole(value);
    let time = values.len() / count;
    integers(values, [count, time])
}

fn floats(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|x| x as f32).collect()
}

/// Tensors of these names and shapes, with what `scaled` makes of the formula's numbers.
fn filled(shapes: &Value, scaled: impl Fn(&str, f32) -> f32) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let tensor = |(name, shape): (&String, &Value)| {
        let shape: Vec<usize> = whole(shape).into_iter().map(|size| size as usize).collect();
        let values = formula(name, shape.iter().product()).into_iter().map(|x| scaled(name, x)).collect();
        (name.clone(), shape, values)
    };
    shapes.as_object().unwrap().iter().map(tensor).collect()
}

/// A case's model as transformers saved it.
fn folder(case: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_json(&folder.path().join("config.json"), &case["config"]).unwrap();
    let tensors = filled(&case["tensors"], |name, x| x * 0.5 + f32::from(u8::from(name.contains("norm"))));
    write_tensors(&folder.path().join("model.safetensors"), &tensors).unwrap();
    folder
}

/// Each gradient's norm, and its products with three fixed directions, within 1e-3 of the norm.
fn compare_gradients(what: &str, found: &[(String, Vec<f32>)], expected: &Value) {
    let expected = expected.as_object().unwrap();
    let mut names: Vec<&String> = found.iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, expected.keys().collect::<Vec<_>>(), "{what}");
    let scale = expected.values().map(|summary| numbers(summary)[0] as f32).fold(0.0, f32::max);
    for (name, gradient) in found {
        let wanted = floats(&expected[name]);
        let mut found = vec![gradient.iter().map(|x| x * x).sum::<f32>().sqrt()];
        for number in 0..3 {
            let direction = formula(&format!("{name} {number}"), gradient.len());
            found.push(gradient.iter().zip(direction).map(|(a, b)| a * b).sum());
        }
        for (found, one) in found.iter().zip(&wanted) {
            assert!((found - one).abs() <= 1e-3 * wanted[0] + 1e-6 * scale, "{what}: {name}: {found} and {one}");
        }
    }
}

fn compare_loss(what: &str, found: f32, expected: &Value) {
    let expected = expected.as_f64().unwrap();
    assert!((f64::from(found) - expected).abs() <= 1e-5 * expected.max(1.0), "{what}: loss {found} and {expected}");
}

const CASES: [&str; 6] = ["t5", "t5 1.1", "t5 silu", "t5 gelu", "mt5", "mt5 tied"];

fn cases() -> Vec<(&'static str, Value)> {
    let mut all: Value = serde_json::from_str(include_str!("fixtures/t5.json")).unwrap();
    CASES.map(|name| (name, all[name].take())).to_vec()
}

fn source_of(case: &Value) -> Source {
    let lengths = whole(&case["lengths"]).into_iter().map(|length| length as usize).collect();
    Source { ids: rows(&case["ids"]), lengths: Some(lengths) }
}

fn loss_of(model: &T5, case: &Value) -> Tensor<1> {
    let targets = whole(&case["targets"]);
    let counted = targets.iter().filter(|&&target| target >= 0).count() as f32;
    let (count, kind) = (targets.len(), head::Loss::scaled(1.0 / counted));
    model.loss(&source_of(case), rows(&case["inputs"]), integers(targets, [count]), kind, None)
}

fn logits_of(model: &T5, case: &Value) -> Vec<f32> {
    host(model.logits(&model.memory(&source_of(case)), rows(&case["inputs"]), &mut Cache::default()))
}

#[test]
fn numbers_are_those_of_transformers() {
    for (name, case) in cases() {
        let folder = folder(&case);
        let model = T5::load(folder.path(), &Device::flex().autodiff()).unwrap();
        let targets = whole(&case["targets"]);
        assert_eq!(model.config().decoder_inputs(&targets, 6), whole(&case["inputs"]), "{name}");
        near(&format!("{name}: logits"), &logits_of(&model, &case), &floats(&case["logits"]), 1e-4);
        let (value, gradients) = support::loss_and_gradients(&model, loss_of(&model, &case));
        compare_loss(name, value, &case["loss"]);
        compare_gradients(name, &gradients, &case["gradients"]);
        // What is written has the same names and meaning.
        let written = tempfile::tempdir().unwrap();
        model.valid().save(written.path()).unwrap();
        let mut names = Tensors::open(&written.path().join("model.safetensors")).unwrap().names().unwrap();
        names.sort();
        assert_eq!(names, case["tensors"].as_object().unwrap().keys().cloned().collect::<Vec<_>>(), "{name}");
        let again = T5::load(written.path(), &Device::flex()).unwrap();
        assert_eq!(again.config(), model.config(), "{name}");
        near(&format!("{name}: saved"), &logits_of(&again, &case), &floats(&case["logits"]), 1e-4);
    }
}

#[test]
fn texts_are_those_of_transformers() {
    let device = Device::flex();
    for (name, case) in cases() {
        let folder = folder(&case);
        let model = SourceToTarget::load(folder.path(), &device).unwrap();
        let decoder = FromSource::new(&model, model.memory(&source_of(&case)), &device);
        let start = [model.start() as u32];
        let prompts = [&start[..]; 3];
        let options = WriteOptions {
            max_new_tokens: 50,
            sampling: SamplingOptions { temperature: 0.0, ..SamplingOptions::default() },
            rules: Rules { no_repeat_ngram: 2, ..Rules::default() },
            ends: Vec::new(),
        };
        let written = decode::write(&decoder, &prompts, &options, |_, _| ControlFlow::Continue(())).unwrap();
        for (written, expected) in written.iter().zip(case["greedy"].as_array().unwrap()) {
            assert_eq!(written.tokens.iter().map(|&id| i64::from(id)).collect::<Vec<_>>(), whole(expected), "{name}");
        }
        let options = BeamOptions { n_best: 2, ends: vec![model.end().unwrap() as u32], ..BeamOptions::new(3, 12) };
        let found = decode::search(&decoder, &prompts, &options).unwrap();
        for (found, expected) in found.iter().flatten().zip(case["beams"].as_array().unwrap()) {
            let tokens: Vec<i64> = found.tokens.iter().map(|&id| i64::from(id)).collect();
            assert_eq!(tokens, whole(&expected["tokens"]), "{name}");
            let score = expected["score"].as_f64().unwrap();
            assert!((found.score - score).abs() < 1e-4, "{name}: {} and {score}", found.score);
        }
    }
}

#[test]
fn adapters_are_those_of_peft() {
    let device = Device::flex();
    for (name, case) in cases() {
        let expected = &case["adapters"];
        if expected.is_null() {
            continue;
        }
        let base = folder(&case);
        let adapters = tempfile::tempdir().unwrap();
        write_json(&adapters.path().join("adapter_config.json"), &expected["config"]).unwrap();
        let tensors = filled(&expected["tensors"], |_, x| x * 0.3);
        write_tensors(&adapters.path().join("adapter_model.safetensors"), &tensors).unwrap();
        let load = || T5::load(base.path(), &device).unwrap();
        let adapted = Adapted::load(load(), adapters.path(), &device.clone().autodiff()).unwrap();
        near(&format!("{name}: adapted"), &logits_of(&adapted.merge(), &case), &floats(&expected["logits"]), 1e-4);
        let (value, gradients) = support::loss_and_gradients(&adapted, loss_of(&adapted.effective(), &case));
        compare_loss(name, value, &expected["loss"]);
        let named = |(name, values)| (format!("base_model.model.{name}.weight"), values);
        compare_gradients(name, &gradients.into_iter().map(named).collect::<Vec<_>>(), &expected["gradients"]);
        // Where nothing is said, those that PEFT adapts; tables never.
        let new = |targets: &[&str]| {
            let targets = targets.iter().map(|&target| target.to_owned()).collect();
            Adapted::new(load(), "base", LoraConfig { rank: 2, alpha: 4.0, targets }, 1, &device).unwrap()
        };
        if name == "t5" {
            let written = tempfile::tempdir().unwrap();
            new(&[]).save(written.path()).unwrap();
            let mut names = Tensors::open(&written.path().join("adapter_model.safetensors")).unwrap().names().unwrap();
            names.sort();
            assert_eq!(names, expected["tensors"].as_object().unwrap().keys().cloned().collect::<Vec<_>>());
        }
        let all = new(&["all-linear"]);
        assert!(parameters::list(&all).iter().all(|one| !one.name.contains("bias") && !one.name.contains("shared")));
        near(&format!("{name}: new"), &logits_of(&all.merge(), &case), &floats(&case["logits"]), 1e-4);
    }
}
