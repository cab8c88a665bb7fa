//! The encoder and decoder kept to their promises: gradients everywhere and right, fused as composed, padded as unpadded,
//! cached as whole, saved as loaded.

mod support;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use loam_models::Cache;
use loam_models::seq2seq::{Seq2Seq, Seq2SeqConfig, Source};
use loam_nn::head;
use support::{every_gradient_is_there_and_right, gradients_equal_finite_differences, host, ids, integers, near};

const VOCABULARY: usize = 47;

fn config(dropout: f64) -> Seq2SeqConfig {
    Seq2SeqConfig {
        decoder_layers: 1,
        decoder_attention_heads: 2,
        decoder_ffn_dim: 20,
        attention_dropout: dropout,
        activation_dropout: dropout,
        init_std: 0.15,
        ..Seq2SeqConfig::new(VOCABULARY, 16, 12, 2, 3, dropout)
    }
}

fn learned(dropout: f64) -> Seq2SeqConfig {
    Seq2SeqConfig { static_position_embeddings: false, activation_function: "swish".into(), ..config(dropout) }
}

fn tiny(config: Seq2SeqConfig, device: &Device) -> Seq2Seq {
    Seq2Seq::new(config, 5, device).unwrap()
}

/// Three sources, two of them short.
fn source() -> Source {
    Source { ids: ids([3, 16], VOCABULARY, 1), lengths: Some(vec![16, 4, 9]) }
}

/// What is written: three rows of sixteen, the last of them short.
fn targets() -> Vec<i64> {
    (0..48).map(|i| if i > 43 { -1 } else { (i * 29 + 3) % VOCABULARY as i64 }).collect()
}

fn loss(model: &Seq2Seq, smoothing: f32, dropout_seed: Option<u64>) -> Tensor<1> {
    let inputs = integers(model.config().decoder_inputs(&targets(), 16), [3, 16]);
    let kind = head::Loss { smoothing, ..head::Loss::scaled(1.0 / 44.0) };
    model.loss(&source(), inputs, integers(targets(), [48]), kind, dropout_seed)
}

#[test]
fn every_parameter_has_a_gradient() {
    let device = Device::flex().autodiff();
    for (dropout, seed) in [(0.0, None), (0.1, Some(3))] {
        for config in [config(dropout), learned(dropout)] {
            every_gradient_is_there_and_right(&tiny(config, &device), |model| loss(model, 0.1, seed));
        }
    }
}

#[test]
fn gradients_are_slopes() {
    // Padding trains nothing where it is read, which a slope cannot know.
    let config = Seq2SeqConfig { decoder_start_token_id: 2, ..learned(0.0) };
    let model = tiny(config, &Device::flex().autodiff());
    gradients_equal_finite_differences(&model, |model| loss(model, 0.1, None));
}

#[test]
fn the_decoder_reads_what_came_before() {
    let config = config(0.0);
    assert_eq!(config.decoder_inputs(&[5, 6, -1, 8, 9, 10], 3), [46, 5, 6, 46, 8, 9]);
    assert_eq!(config.decoder_inputs(&[5, -1, 6], 3), [46, 5, 46]);
    assert!(config.decoder_inputs(&[], 3).is_empty());
}

#[test]
fn padding_changes_nothing() {
    for config in [config(0.0), learned(0.0)] {
        let model = tiny(config, &Device::flex());
        let inputs = integers(model.config().decoder_inputs(&targets(), 16), [3, 16]);
        let padded = host(model.token_losses(&source(), inputs.clone(), integers(targets(), [48])));
        for (row, length) in [16, 4, 9].into_iter().enumerate() {
            let alone = Source { ids: source().ids.slice([row..row + 1, 0..length]), lengths: None };
            let targets = integers(targets()[row * 16..][..16].to_vec(), [16]);
            let losses = model.token_losses(&alone, inputs.clone().narrow(0, row, 1), targets);
            near(&format!("row {row}"), &padded[row * 16..][..16], &host(losses), 1e-5);
        }
    }
}

#[test]
fn cached_decoding_equals_the_whole_pass() {
    for config in [config(0.1), learned(0.1)] {
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
        near("logits", &host(Tensor::cat(steps, 1)), &whole, 1e-5);
        let losses = host(model.token_losses(&source(), inputs, integers(targets(), [48])));
        for (position, (target, loss)) in targets().into_iter().zip(losses).enumerate() {
            let row = &whole[position * VOCABULARY..][..VOCABULARY];
            let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            let expected = if target < 0 { 0.0 } else { sum.ln() - f64::from(row[target as usize]) };
            assert!((f64::from(loss) - expected).abs() < 1e-5, "position {position}: {loss} and {expected}");
        }
    }
}

#[test]
fn a_saved_model_loads_and_gives_the_same_loss() {
    let device = Device::flex();
    for config in [config(0.0), learned(0.0)] {
        let folder = tempfile::tempdir().unwrap();
        let model = tiny(config, &device);
        model.save(folder.path()).unwrap();
        let loaded = Seq2Seq::load(folder.path(), &device).unwrap();
        assert_eq!(loaded.config(), model.config());
        assert_eq!(host(loss(&loaded, 0.1, None)), host(loss(&model, 0.1, None)));
    }
}

#[test]
fn broken_folders_are_named() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    tiny(config(0.0), &device).save(folder.path()).unwrap();
    let path = folder.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to, words) in [
        ("\"d_model\": 12", "\"d_model\": 120000", ["config.json", "parameters"]),
        ("\"encoder_layers\": 2", "\"encoder_layers\": 1", ["has not", "model.encoder.layers.1."]),
        ("\"decoder_layers\": 1", "\"decoder_layers\": 2", ["lacks the tensor", "model.decoder.layers.1."]),
        ("\"decoder_ffn_dim\": 20", "\"decoder_ffn_dim\": 21", ["model.decoder.layers.0.fc1.weight", "[21, 12]"]),
        ("\"decoder_attention_heads\": 2", "\"decoder_attention_heads\": 5", ["decoder_attention_heads", "5"]),
        ("\"decoder_start_token_id\": 46", "\"decoder_start_token_id\": 47", ["decoder_start_token_id", "47"]),
        ("\"activation_function\": \"relu\"", "\"activation_function\": \"xielu\"", ["activation_function", "xielu"]),
        ("\"static_position_embeddings\": true", "\"static_position_embeddings\": false", ["lacks", "embed_positions"]),
        ("\"decoder_vocab_size\": 47", "\"decoder_vocab_size\": 40", ["decoder_vocab_size", "40"]),
        ("\"model_type\": \"marian\"", "\"model_type\": \"t5\"", ["\"t5\"", "\"marian\""]),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        std::fs::write(&path, changed).unwrap();
        let error = Seq2Seq::load(folder.path(), &device).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{to}: {error}");
    }
    // Sines and cosines are not in the file, so that their number cannot be checked there; it costs nothing either.
    std::fs::write(&path, text.replace("\"max_position_embeddings\": 16", "\"max_position_embeddings\": 260000000"))
        .unwrap();
    assert!(Seq2Seq::load(folder.path(), &device).is_ok());
}

#[test]
fn a_configuration_counts_its_parameters() {
    for config in [config(0.0), learned(0.0)] {
        let model = tiny(config.clone(), &Device::flex());
        assert_eq!(config.parameters(), Some(model.num_params() as u64));
    }
    assert_eq!(Seq2SeqConfig::new(1 << 40, 1, 1 << 40, 1, 1, 0.0).parameters(), None);
}
