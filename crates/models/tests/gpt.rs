//! GPT-2 kept to its promises: gradients everywhere and right, fused as composed, cached as whole, saved as loaded.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_models::generate::row;
use loam_models::{Cache, Gpt, GptConfig, LanguageModel};
use loam_nn::{ops, parameters};

const VOCABULARY: usize = 61;
const CONTEXT: usize = 24;

fn tiny(dropout: f64, device: &Device) -> Gpt {
    let config = GptConfig { initializer_range: 0.1, ..GptConfig::new(VOCABULARY, CONTEXT, 24, 2, 3, dropout) };
    Gpt::new(config, 5, device).unwrap()
}

fn batch(sequences: usize, time: usize, device: &Device) -> (Tensor<2, Int>, Tensor<1, Int>) {
    let id = |i: usize| ((i * 2_654_435_761) >> 7) as i64 % VOCABULARY as i64;
    let inputs: Vec<i64> = (0..sequences * time).map(id).collect();
    // Every seventh target counts for nothing.
    let targets: Vec<i64> = (0..sequences * time).map(|i| if i % 7 == 3 { -1 } else { id(i + 1) }).collect();
    (
        Tensor::from_data(TensorData::new(inputs, [sequences, time]), device),
        Tensor::from_data(TensorData::new(targets, [sequences * time]), device),
    )
}

fn loss_and_gradients(model: &Gpt, dropout_seed: Option<u64>) -> (f32, Vec<Vec<f32>>) {
    let (inputs, targets) = batch(3, 17, &Device::flex());
    let loss = model.loss(inputs, targets, 1.0 / 40.0, dropout_seed);
    let value = loss.clone().into_scalar::<f32>();
    let gradients = parameters::gradients(model, loss.backward());
    let names = parameters::list(model);
    let gradients = gradients.into_iter().zip(&names).map(|(gradient, parameter)| {
        parameters::to_host(gradient.unwrap_or_else(|| panic!("{} has no gradient", parameter.name)))
    });
    (value, gradients.collect())
}

#[test]
fn every_parameter_has_a_gradient() {
    let model = tiny(0.1, &Device::flex().autodiff());
    let names = parameters::list(&model);
    let (_, gradients) = loss_and_gradients(&model, Some(3));
    for (parameter, gradient) in names.iter().zip(&gradients) {
        let norm: f32 = gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
        assert!(norm.is_finite() && norm > 1e-7, "{}: gradient norm {norm}", parameter.name);
    }
    // The checkpoint's names, so that a renamed field is noticed here and not by a user's loader.
    assert!(names.iter().any(|p| p.name == "transformer.h.1.attn.c_attn.weight" && p.shape == [24, 72]), "{names:?}");
    assert!(names.iter().any(|p| p.name == "transformer.wpe.weight"));
}

#[test]
fn fused_operations_equal_composed_ones() {
    for dropout in [0.0, 0.2] {
        let model = tiny(dropout, &Device::flex().autodiff());
        let names = parameters::list(&model);
        let (fused_loss, fused) = loss_and_gradients(&model, Some(11));
        let (composed_loss, composed) = ops::with_composed(|| loss_and_gradients(&model, Some(11)));
        assert!((fused_loss - composed_loss).abs() < 1e-5 * composed_loss.abs(), "{fused_loss} {composed_loss}");
        for ((parameter, a), b) in names.iter().zip(&fused).zip(&composed) {
            let norm = b.iter().map(|x| x * x).sum::<f32>().sqrt();
            let error = a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f32>().sqrt();
            assert!(error < 2e-5 * norm, "{}: {error} of {norm} at dropout {dropout}", parameter.name);
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let model = tiny(0.0, &Device::flex().autodiff());
    let (_, gradients) = loss_and_gradients(&model, None);
    let loss_at = |parameter: usize, direction: &[f32], step: f32| -> f64 {
        let moved = parameters::update(model.clone(), |index, values| {
            if index != parameter {
                return values;
            }
            let device = values.device();
            values + parameters::from_host(direction.iter().map(|d| d * step).collect(), &device)
        });
        let (inputs, targets) = batch(3, 17, &Device::flex());
        f64::from(moved.loss(inputs, targets, 1.0 / 40.0, None).into_scalar::<f32>())
    };
    for (index, (parameter, gradient)) in parameters::list(&model).iter().zip(&gradients).enumerate() {
        // Along the gradient itself the slope is its norm: the direction where rounding hides least.
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let direction: Vec<f32> = gradient.iter().map(|g| (f64::from(*g) / norm) as f32).collect();
        let step = 2e-2;
        let slope = (loss_at(index, &direction, step) - loss_at(index, &direction, -step)) / f64::from(2.0 * step);
        assert!((slope - norm).abs() < 0.02 * norm + 2e-5, "{}: slope {slope}, gradient {norm}", parameter.name);
    }
}

#[test]
fn cached_decoding_equals_the_whole_pass() {
    let device = Device::flex();
    let model = tiny(0.1, &device);
    let ids: Vec<u32> = (0..CONTEXT as u32).map(|i| i * 17 % VOCABULARY as u32).collect();
    let targets: Vec<i64> = ids[1..].iter().map(|&id| i64::from(id)).collect();
    let length = targets.len();
    let whole = model
        .token_losses(row(&ids[..length], &device), Tensor::from_data(TensorData::new(targets, [length]), &device))
        .into_data()
        .try_into_vec::<f32>()
        .unwrap();
    let mut cache = Cache::default();
    let mut pieces: Vec<f32> = Vec::new();
    // In pieces of unequal length, as a prompt and what follows it.
    for piece in [&ids[..5], &ids[5..6], &ids[6..13], &ids[13..length]] {
        let logits = model.logits(row(piece, &device), &mut cache);
        pieces.extend(logits.into_data().try_into_vec::<f32>().unwrap());
    }
    for (position, expected) in whole.iter().enumerate() {
        let logits = &pieces[position * VOCABULARY..(position + 1) * VOCABULARY];
        let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
        let loss = sum.ln() - f64::from(logits[ids[position + 1] as usize]);
        assert!((loss - f64::from(*expected)).abs() < 1e-4, "position {position}: {loss} and {expected}");
    }
}

#[test]
fn a_saved_model_loads_and_gives_the_same_losses() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(0.0, &device);
    model.save(folder.path(), Some(0)).unwrap();
    let loaded = Gpt::load(folder.path(), &device).unwrap();
    let losses = |model: &Gpt| {
        let (inputs, targets) = batch(2, CONTEXT, &device);
        model.token_losses(inputs, targets).into_data().try_into_vec::<f32>().unwrap()
    };
    assert_eq!(losses(&model), losses(&loaded));

    // What is broken is named, with its path.
    let weights = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    let error = Gpt::load(folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains("model.safetensors") && error.contains("cut short"), "{error}");
    std::fs::write(&weights, &bytes).unwrap();
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"n_embd\": 24", "\"n_embd\": 48")).unwrap();
    let error = Gpt::load(folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains("config.json") && error.contains("parameters"), "{error}");
    std::fs::write(&config, text.replace("\"n_positions\": 24", "\"n_positions\": 20")).unwrap();
    let error = Gpt::load(folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains("transformer.wpe.weight") && error.contains("[20, 24]"), "{error}");
    std::fs::write(&config, text.replace("\"gpt2\"", "\"opt\"")).unwrap();
    let error = Gpt::load(folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains("\"opt\""), "{error}");
}

#[test]
fn a_seed_decides_initialization_and_dropout() {
    let device = Device::flex().autodiff();
    let (a, b) = (tiny(0.3, &device), tiny(0.3, &device));
    assert_eq!(loss_and_gradients(&a, Some(1)), loss_and_gradients(&b, Some(1)));
    assert_ne!(loss_and_gradients(&a, Some(1)).0, loss_and_gradients(&a, Some(2)).0);
    assert_ne!(loss_and_gradients(&a, Some(1)).0, loss_and_gradients(&a, None).0);
}

#[test]
fn impossible_configurations_are_refused() {
    let device = Device::flex();
    for (config, word) in [
        (GptConfig::new(10, 8, 10, 1, 3, 0.0), "n_head"),
        (GptConfig::new(10, 0, 12, 1, 3, 0.0), "n_positions"),
        (GptConfig::new(10, 8, 12, 1, 3, 1.5), "pdrop"),
        (GptConfig { activation_function: "softsign".into(), ..GptConfig::new(10, 8, 12, 1, 3, 0.0) }, "softsign"),
        (GptConfig { layer_norm_epsilon: 0.0, ..GptConfig::new(10, 8, 12, 1, 3, 0.0) }, "layer_norm_epsilon"),
    ] {
        let error = Gpt::new(config, 1, &device).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_configuration_counts_its_parameters() {
    let config = GptConfig::new(61, 12, 24, 3, 4, 0.0);
    let model = Gpt::new(config.clone(), 1, &Device::flex()).unwrap();
    assert_eq!(config.parameters(), Some(model.num_params() as u64));
    let untied = GptConfig { tie_word_embeddings: false, ..config };
    let model = Gpt::new(untied.clone(), 1, &Device::flex()).unwrap();
    assert_eq!(untied.parameters(), Some(model.num_params() as u64));
    assert_eq!(GptConfig::new(1 << 40, 1, 1 << 40, 1, 1, 0.0).parameters(), None);
}
