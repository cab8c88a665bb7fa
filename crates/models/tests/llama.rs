//! The llama family kept to its promises: gradients everywhere and right, cached as whole, saved as loaded, padding that
//! changes nothing, and sizes that are refused before memory is taken for them.

mod support;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use loam_models::generate::row;
use loam_models::llama::{Family, Llama, LlamaConfig, Rope, Scaling};
use loam_models::lstm::{Cell, Recurrent, RecurrentConfig};
use loam_models::{Cache, CausalModel, Gpt, GptConfig, LanguageModel};
use loam_nn::parameters;
use support::{every_gradient_is_there_and_right, host, ids, integers, near};

const VOCABULARY: usize = 43;
const CONTEXT: usize = 32;

/// A model of a family that uses all that the family has.
fn config(family: Family) -> LlamaConfig {
    let gemma = family.is_gemma();
    LlamaConfig {
        family,
        num_key_value_heads: 2,
        head_dim: 6,
        hidden_act: if gemma { "gelu_pytorch_tanh" } else { "silu" }.to_owned(),
        initializer_range: 0.2,
        tie_word_embeddings: family != Family::Llama,
        attention_bias: matches!(family, Family::Llama | Family::Qwen2),
        mlp_bias: family == Family::Smollm3,
        attention_dropout: 0.1,
        local_rope: (family == Family::Gemma3).then(|| Rope::plain(100.0)),
        sliding_window: (family != Family::Llama).then_some(5),
        sliding_layers: (0..3).map(|layer| family == Family::Mistral || family != Family::Llama && layer < 2).collect(),
        rotary_layers: (0..3).map(|layer| family != Family::Smollm3 || layer != 1).collect(),
        query_pre_attn_scalar: gemma.then_some(9.0),
        attn_logit_softcapping: (family == Family::Gemma2).then_some(3.0),
        final_logit_softcapping: gemma.then_some(4.0),
        ..LlamaConfig::new(VOCABULARY, CONTEXT, 24, 3, 4, 0.0)
    }
}

fn model(family: Family, device: &Device) -> Llama {
    Llama::new(config(family), 7, device).unwrap()
}

#[test]
fn every_gradient_is_there() {
    for family in Family::ALL {
        let model = model(family, &Device::flex().autodiff());
        let loss =
            |model: &Llama| model.loss(ids([2, 13], VOCABULARY, 1), ids([26], VOCABULARY, 2), 1.0 / 26.0, Some(3));
        every_gradient_is_there_and_right(&model, loss);
        let names = parameters::list(&model);
        assert!(names.iter().any(|p| p.name == "model.layers.1.self_attn.k_proj.weight" && p.shape == [12, 24]));
    }
}

#[test]
fn cached_decoding_equals_the_whole_pass() {
    let device = Device::flex();
    let tokens: Vec<u32> = (0..CONTEXT as u32).map(|i| i * 17 % VOCABULARY as u32).collect();
    for family in Family::ALL {
        let model = model(family, &device);
        let whole = host(model.logits(row(&tokens, &device), &mut Cache::default()));
        let mut cache = Cache::default();
        let mut pieces = Vec::new();
        for piece in [&tokens[..5], &tokens[5..6], &tokens[6..13], &tokens[13..]] {
            pieces.extend(host(model.logits(row(piece, &device), &mut cache)));
        }
        near(family.name(), &pieces, &whole, 2e-5);
        // The loss is the one of these logits.
        let targets: Vec<i64> = tokens[1..].iter().map(|&id| i64::from(id)).collect();
        let length = targets.len();
        let losses = host(model.token_losses(row(&tokens[..length], &device), integers(targets, [length])));
        let expected: Vec<f32> = whole
            .chunks(VOCABULARY)
            .zip(&tokens[1..])
            .map(|(logits, &id)| logits.iter().map(|x| x.exp()).sum::<f32>().ln() - logits[id as usize])
            .collect();
        near(family.name(), &losses, &expected, 1e-4);
    }
}

#[test]
fn padding_changes_nothing() {
    let device = Device::flex();
    for family in Family::ALL {
        let model = model(family, &device);
        let (long, short) = (ids([1, 12], VOCABULARY, 3), ids([1, 7], VOCABULARY, 4));
        let padding = ids([1, 5], VOCABULARY, 5);
        let together = Tensor::cat(vec![long.clone(), Tensor::cat(vec![short.clone(), padding], 1)], 0);
        let logits = |ids| model.logits(ids, &mut Cache::default());
        let all = logits(together);
        near(family.name(), &host(all.clone().narrow(0, 0, 1)), &host(logits(long)), 1e-5);
        near(family.name(), &host(all.narrow(0, 1, 1).narrow(1, 0, 7)), &host(logits(short)), 1e-5);
    }
}

#[test]
fn a_saved_model_loads_and_gives_the_same_losses() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    for family in Family::ALL {
        let mut config = config(family);
        config.rope.scaling = match family {
            Family::Llama => {
                Scaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original: 16.0 }
            }
            Family::Qwen3 => Scaling::Yarn {
                factor: 4.0,
                original: 8.0,
                beta_fast: 32.0,
                beta_slow: 1.0,
                attention_factor: 1.25,
                truncate: true,
            },
            Family::Gemma3 => Scaling::Linear { factor: 8.0 },
            _ => Scaling::None,
        };
        let model = Llama::new(config.clone(), 7, &device).unwrap();
        assert_eq!(config.parameters(), Some(model.num_params() as u64), "{}", family.name());
        model.save(folder.path(), Some(0)).unwrap();
        let loaded = CausalModel::load(folder.path(), &device).unwrap();
        let losses =
            |model: &CausalModel| host(model.token_losses(ids([2, 9], VOCABULARY, 1), ids([18], VOCABULARY, 2)));
        assert_eq!(losses(&loaded), losses(&model.into()), "{}", family.name());
        assert_eq!(loaded.shape().family, family.name());
        let CausalModel::Llama(loaded) = loaded else { panic!("another family") };
        config.tokens.extend([("bos_token_id".to_owned(), 0.into()), ("eos_token_id".to_owned(), 0.into())]);
        assert_eq!(*loaded.config(), config);
    }
}

#[test]
fn a_folder_says_which_family_it_holds() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let gpt: CausalModel = Gpt::new(GptConfig::new(11, 8, 12, 2, 3, 0.0), 1, &device).unwrap().into();
    let recurrent: CausalModel =
        Recurrent::new(RecurrentConfig::new(Cell::Lstm, 11, 8, 12, 2, 0.0), 1, &device).unwrap().into();
    for model in [gpt, recurrent] {
        model.save(folder.path(), None).unwrap();
        let loaded = CausalModel::load(folder.path(), &device).unwrap();
        assert_eq!(loaded.shape(), model.shape());
        // The names are the checkpoint's: nothing of the enumeration stands in them.
        assert_eq!(parameters::list(&loaded), parameters::list(&model));
        assert!(parameters::list(&loaded).iter().all(|p| !p.name.contains("Gpt") && !p.name.contains("Recurrent")));
    }
    let path = folder.path().join("config.json");
    std::fs::write(&path, r#"{"model_type": "mamba"}"#).unwrap();
    let error = CausalModel::load(folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains("\"mamba\"") && error.contains("\"gpt2\"") && error.contains("\"gemma3_text\""), "{error}");
}

#[test]
fn impossible_configurations_are_refused() {
    let device = Device::flex();
    let base = || LlamaConfig::new(10, 8, 12, 1, 3, 0.0);
    for (config, word) in [
        (LlamaConfig { num_key_value_heads: 2, ..base() }, "num_key_value_heads"),
        (LlamaConfig { head_dim: 5, ..base() }, "head_dim"),
        (LlamaConfig { max_position_embeddings: 0, ..base() }, "max_position_embeddings"),
        (LlamaConfig { attention_dropout: 1.0, ..base() }, "attention_dropout"),
        (LlamaConfig { hidden_act: "sin".into(), ..base() }, "hidden_act"),
        (LlamaConfig { sliding_window: Some(0), ..base() }, "sliding_window"),
        (LlamaConfig { rms_norm_eps: f64::NAN, ..base() }, "rms_norm_eps"),
        (LlamaConfig { rope: Rope::plain(0.0), ..base() }, "rope_theta"),
    ] {
        let error = Llama::new(config, 1, &device).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    assert_eq!(LlamaConfig { vocab_size: 1 << 60, hidden_size: 1 << 60, ..base() }.parameters(), None);
}
