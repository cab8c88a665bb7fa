//! Recurrent networks kept to their promises: gradients everywhere and right, fused as composed, padded as unpadded,
//! cached as whole, saved as loaded.

mod support;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use loam_models::generate::{GenerateOptions, generate, row};
use loam_models::lstm::{Cell, Recurrent, RecurrentConfig, RecurrentEncoder};
use loam_models::{Cache, LanguageModel};
use loam_nn::{ops, parameters};
use std::ops::ControlFlow;
use support::{every_gradient_is_there_and_right, gradients_equal_finite_differences, host, ids, near};

const VOCABULARY: usize = 41;
const CELLS: [Cell; 3] = Cell::ALL;

/// Tied and untied networks of every cell.
fn configurations(dropout: f64) -> Vec<RecurrentConfig> {
    let tied = |cell| RecurrentConfig::new(cell, VOCABULARY, 20, 12, 2, dropout);
    let untied = |cell| RecurrentConfig { tie_word_embeddings: false, embedding_size: 7, ..tied(cell) };
    CELLS.into_iter().flat_map(|cell| [tied(cell), untied(cell)]).collect()
}

fn loss(model: &Recurrent, dropout_seed: Option<u64>) -> Tensor<1> {
    let targets: Tensor<1, Int> = ids([3 * 11], VOCABULARY + 1, 2) - 1;
    model.loss(ids([3, 11], VOCABULARY, 1), targets, 1.0 / 30.0, dropout_seed)
}

fn both_ways(cell: Cell, dropout: f64, device: &Device) -> RecurrentEncoder {
    let config = RecurrentConfig { bidirectional: true, ..RecurrentConfig::new(cell, VOCABULARY, 20, 6, 2, dropout) };
    RecurrentEncoder::new(config, 9, device).unwrap()
}

#[test]
fn every_parameter_has_a_gradient() {
    let device = Device::flex().autodiff();
    for (dropout, seed) in [(0.0, None), (0.2, Some(3))] {
        for config in configurations(dropout) {
            let model = Recurrent::new(config, 5, &device).unwrap();
            every_gradient_is_there_and_right(&model, |model| loss(model, seed));
        }
        for cell in CELLS {
            every_gradient_is_there_and_right(&both_ways(cell, dropout, &device), |model| {
                let states = model.encode(ids([3, 8], VOCABULARY, 1), Some(vec![8, 1, 5]), seed);
                let pooled = model.pool(states.clone(), Some(&[8, 1, 5]));
                states.powf_scalar(2.0).sum() + pooled.powf_scalar(2.0).sum()
            });
        }
    }
}

#[test]
fn gradients_are_slopes() {
    let device = Device::flex().autodiff();
    for config in configurations(0.0) {
        gradients_equal_finite_differences(&Recurrent::new(config, 5, &device).unwrap(), |model| loss(model, None));
    }
}

#[test]
fn padding_changes_nothing() {
    for cell in CELLS {
        let model = both_ways(cell, 0.0, &Device::flex());
        let (all, lengths) = (ids([3, 8], VOCABULARY, 1), vec![8, 1, 5]);
        let states = model.encode(all.clone(), Some(lengths.clone()), None);
        let pooled = model.pool(states.clone(), Some(&lengths));
        for (row, length) in lengths.into_iter().enumerate() {
            let alone = model.encode(all.clone().slice([row..row + 1, 0..length]), None, None);
            near("states", &host(states.clone().slice([row..row + 1, 0..length])), &host(alone.clone()), 1e-6);
            near("vector", &host(pooled.clone().narrow(0, row, 1)), &host(model.pool(alone, None)), 1e-6);
            let padding = host(states.clone().slice([row..row + 1, length..8]));
            assert!(padding.iter().all(|&x| x == 0.0), "{padding:?}");
        }
    }
}

#[test]
fn cached_decoding_equals_the_whole_pass() {
    for device in [Device::flex(), Device::flex().autodiff()] {
        for config in configurations(0.1) {
            let model = Recurrent::new(config, 5, &device).unwrap();
            let text: Vec<u32> = (0..20).map(|i| i * 17 % VOCABULARY as u32).collect();
            let targets = support::integers(text[1..].iter().map(|&id| i64::from(id)).collect(), [19]);
            let whole = host(model.token_losses(row(&text[..19], &Device::flex()), targets));
            let mut cache = Cache::default();
            let mut logits = Vec::new();
            for piece in [&text[..5], &text[5..6], &text[6..13], &text[13..19]] {
                logits.extend(host(model.logits(row(piece, &Device::flex()), &mut cache)));
            }
            assert_eq!(cache.len(), 19);
            for (position, expected) in whole.iter().enumerate() {
                let logits = &logits[position * VOCABULARY..][..VOCABULARY];
                let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
                let loss = sum.ln() - f64::from(logits[text[position + 1] as usize]);
                assert!((loss - f64::from(*expected)).abs() < 1e-5, "position {position}: {loss} and {expected}");
            }
        }
    }
}

#[test]
fn it_writes_text() {
    let device = Device::flex();
    for config in configurations(0.0) {
        let model = Recurrent::new(config, 5, &device).unwrap();
        let write = || {
            let mut text = Vec::new();
            let options = GenerateOptions { max_new_tokens: 30, ..GenerateOptions::default() };
            let written = generate(&model, &[1, 2, 3], &options, &device, |token| {
                text.push(token);
                ControlFlow::Continue(())
            });
            written.unwrap();
            text
        };
        let text = write();
        assert_eq!(text.len(), 30);
        assert_eq!(text, ops::with_composed(write));
    }
}

#[test]
fn a_saved_model_loads_and_gives_the_same_losses() {
    let device = Device::flex();
    for config in configurations(0.0) {
        let folder = tempfile::tempdir().unwrap();
        let model = Recurrent::new(config, 5, &device).unwrap();
        model.save(folder.path(), Some(0)).unwrap();
        let loaded = Recurrent::load(folder.path(), &device).unwrap();
        assert_eq!(host(loss(&model, None)), host(loss(&loaded, None)));
        // The states are there without the output layer too.
        let encoder = RecurrentEncoder::load(folder.path(), &device).unwrap();
        assert_eq!(encoder.config(), model.config());
    }
    let folder = tempfile::tempdir().unwrap();
    let model = both_ways(Cell::Gru, 0.0, &device);
    model.save(folder.path()).unwrap();
    let loaded = RecurrentEncoder::load(folder.path(), &device).unwrap();
    let states = |model: &RecurrentEncoder| host(model.encode(ids([2, 5], VOCABULARY, 3), None, None));
    assert_eq!(states(&model), states(&loaded));
    let error = Recurrent::load(folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains("bidirectional"), "{error}");
}

#[test]
fn broken_folders_are_named() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let config = RecurrentConfig::new(Cell::Lstm, VOCABULARY, 20, 12, 2, 0.0);
    Recurrent::new(config, 5, &device).unwrap().save(folder.path(), None).unwrap();
    let path = folder.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to, words) in [
        ("\"hidden_size\": 12", "\"hidden_size\": 120000000", ["hidden_size", "equal"]),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 200000000", ["config.json", "parameters"]),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", ["has not", "rnn.weight_ih_l1"]),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 0", ["num_hidden_layers", "0"]),
        ("\"model_type\": \"lstm\"", "\"model_type\": \"gru\"", ["rnn.weight_ih_l0", "[36, 12]"]),
        ("\"model_type\": \"lstm\"", "\"model_type\": \"elman\"", ["\"elman\"", "\"gru\""]),
        ("\"dropout\": 0.0", "\"dropout\": 1.0", ["dropout", "1"]),
        ("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false", ["lacks the tensor", "decoder.weight"]),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        std::fs::write(&path, changed).unwrap();
        let error = Recurrent::load(folder.path(), &device).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{to}: {error}");
    }
}

#[test]
fn a_configuration_counts_its_parameters() {
    let device = Device::flex();
    for config in configurations(0.0) {
        let model = Recurrent::new(config.clone(), 1, &device).unwrap();
        let encoder = RecurrentEncoder::new(config.clone(), 1, &device).unwrap();
        assert_eq!(config.parameters(), Some(encoder.num_params() as u64));
        let embeddings = (config.vocab_size * config.embedding_size) as u64;
        assert_eq!(model.non_embedding_parameters() + embeddings, model.num_params() as u64);
        assert_eq!(parameters::list(&model).len(), if config.tie_word_embeddings { 10 } else { 11 });
    }
    let config = both_ways(Cell::Lstm, 0.0, &device).config().clone();
    let count = both_ways(Cell::Lstm, 0.0, &device).num_params();
    assert_eq!(config.parameters(), Some(count as u64));
    let huge = RecurrentConfig::new(Cell::Lstm, 1 << 40, 1, 1 << 40, 1, 0.0);
    assert_eq!(huge.parameters(), None);
}
