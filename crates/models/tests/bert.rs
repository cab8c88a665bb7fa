//! BERT and its relations kept to their promises: gradients everywhere and right, fused as composed, padded as unpadded,
//! saved as loaded.

mod support;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use loam_models::bert::{Bert, BertConfig, Family, Inputs, MaskedBert};
use loam_models::weights::Tensors;
use support::{every_gradient_is_there_and_right, gradients_equal_finite_differences, host, ids, integers, near};

const VOCABULARY: usize = 53;
const CONTEXT: usize = 18;

fn config(family: Family, dropout: f64) -> BertConfig {
    let mut config =
        BertConfig { family, initializer_range: 0.15, ..BertConfig::new(VOCABULARY, CONTEXT, 24, 2, 3, dropout) };
    match family {
        Family::Bert => {}
        Family::Roberta | Family::XlmRoberta | Family::Camembert => {
            (config.pad_token_id, config.max_position_embeddings) = (Some(1), CONTEXT + 2);
        }
        Family::DistilBert => config.type_vocab_size = 0,
    }
    config
}

fn tiny(family: Family, dropout: f64, device: &Device) -> MaskedBert {
    MaskedBert::new(config(family, dropout), 5, device).unwrap()
}

/// Three rows of which two are short, with both token types.
fn inputs(family: Family) -> Inputs {
    let types = (0..3 * CONTEXT).map(|i| i64::from(i % CONTEXT > 8)).collect();
    Inputs {
        ids: ids([3, CONTEXT], VOCABULARY, 1),
        token_types: (family != Family::DistilBert).then(|| integers(types, [3, CONTEXT])),
        lengths: Some(vec![CONTEXT, 7, 12]),
    }
}

/// Places that are not padding, one of them twice, and what stands there; one target does not count.
fn masked() -> (Tensor<1, Int>, Tensor<1, Int>) {
    let row = CONTEXT as i64;
    (
        integers(vec![0, 5, 17, row + 2, row + 6, 2 * row, 2 * row + 11, 5], [8]),
        integers(vec![4, 0, 52, 7, -1, 9, 11, 3], [8]),
    )
}

fn loss(model: &MaskedBert, dropout_seed: Option<u64>) -> Tensor<1> {
    let (places, targets) = masked();
    model.loss(&inputs(model.config().family), places, targets, 1.0 / 7.0, dropout_seed)
}

#[test]
fn every_parameter_has_a_gradient() {
    let device = Device::flex().autodiff();
    for family in Family::ALL {
        every_gradient_is_there_and_right(&tiny(family, 0.1, &device), |model| loss(model, Some(3)));
        every_gradient_is_there_and_right(&tiny(family, 0.0, &device), |model| loss(model, None));
    }
}

#[test]
fn gradients_are_slopes() {
    let model = tiny(Family::Bert, 0.0, &Device::flex().autodiff());
    gradients_equal_finite_differences(&model, |model| loss(model, None));
}

#[test]
fn the_pooler_is_trained_through_its_vector() {
    let device = Device::flex().autodiff();
    let model = Bert::new(config(Family::Bert, 0.1), 3, &device).unwrap().with_pooler(3, &device);
    every_gradient_is_there_and_right(&model, |model| {
        let pooled = model.pool(model.encode(&inputs(Family::Bert), Some(5))).unwrap();
        assert_eq!(pooled.dims(), [3, 24]);
        (pooled.clone() * pooled).sum()
    });
}

#[test]
fn padding_changes_nothing() {
    for family in Family::ALL {
        let model = tiny(family, 0.0, &Device::flex());
        let all = inputs(family);
        let padded = model.logits(&all);
        for (row, length) in all.lengths.clone().unwrap().into_iter().enumerate() {
            let alone = Inputs {
                ids: all.ids.clone().slice([row..row + 1, 0..length]),
                token_types: all.token_types.clone().map(|types| types.slice([row..row + 1, 0..length])),
                lengths: None,
            };
            let found = padded.clone().slice([row..row + 1, 0..length, 0..VOCABULARY]);
            near(&format!("{family:?}, row {row}"), &host(found), &host(model.logits(&alone)), 1e-5);
        }
    }
}

#[test]
fn the_head_at_chosen_places_is_the_head_everywhere() {
    let model = tiny(Family::Bert, 0.0, &Device::flex());
    let (places, targets) = masked();
    let losses = host(model.token_losses(&inputs(Family::Bert), places.clone(), targets.clone()));
    let logits = host(model.logits(&inputs(Family::Bert)));
    let list = |tensor: Tensor<1, Int>| tensor.into_data().convert::<i64>().try_into_vec::<i64>().unwrap();
    let (places, targets) = (list(places), list(targets));
    for ((place, target), loss) in places.into_iter().zip(targets).zip(&losses) {
        let row = &logits[place as usize * VOCABULARY..][..VOCABULARY];
        let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
        let expected = if target < 0 { 0.0 } else { sum.ln() - f64::from(row[target as usize]) };
        assert!((f64::from(*loss) - expected).abs() < 1e-4, "place {place}: {loss} and {expected}");
    }
    let sum: f32 = losses.iter().sum();
    assert!((host(loss(&model, None))[0] - sum / 7.0).abs() < 1e-5);
}

#[test]
fn a_saved_model_loads_and_gives_the_same_logits() {
    let device = Device::flex();
    for family in Family::ALL {
        let folder = tempfile::tempdir().unwrap();
        let model = tiny(family, 0.0, &device);
        model.save(folder.path()).unwrap();
        let loaded = MaskedBert::load(folder.path(), &device).unwrap();
        assert_eq!(loaded.config(), model.config());
        assert_eq!(host(loaded.logits(&inputs(family))), host(model.logits(&inputs(family))));
        // The encoder of a masked model is read out of it.
        let encoder = Bert::load(folder.path(), &device).unwrap();
        assert_eq!(host(encoder.encode(&inputs(family), None)), host(model.encoder().encode(&inputs(family), None)));
        assert!(encoder.pool(encoder.encode(&inputs(family), None)).is_none());
    }
}

#[test]
fn a_saved_encoder_keeps_its_pooler() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let model = Bert::new(config(Family::Bert, 0.0), 3, &device).unwrap().with_pooler(4, &device);
    model.save(folder.path()).unwrap();
    let loaded = Bert::load(folder.path(), &device).unwrap();
    let pooled = |model: &Bert| host(model.pool(model.encode(&inputs(Family::Bert), None)).unwrap());
    assert_eq!(pooled(&model), pooled(&loaded));
    let error = MaskedBert::load(folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains("lacks the tensor"), "{error}");
}

#[test]
fn files_hold_the_names_of_transformers() {
    for (family, wanted) in [
        (
            Family::Bert,
            ["bert.encoder.layer.1.attention.self.query.weight", "cls.predictions.transform.LayerNorm.bias"],
        ),
        (Family::Roberta, ["roberta.encoder.layer.0.output.LayerNorm.weight", "lm_head.layer_norm.weight"]),
        (Family::DistilBert, ["distilbert.transformer.layer.1.ffn.lin2.bias", "vocab_projector.bias"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        tiny(family, 0.0, &Device::flex()).save(folder.path()).unwrap();
        let names = Tensors::open(&folder.path().join("model.safetensors")).unwrap().names().unwrap();
        for name in wanted {
            assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
        }
    }
}

#[test]
fn broken_folders_are_named() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    tiny(Family::Bert, 0.0, &device).save(folder.path()).unwrap();
    let config = folder.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    for (from, to, words) in [
        ("\"hidden_size\": 24", "\"hidden_size\": 240000", ["config.json", "parameters"]),
        ("\"max_position_embeddings\": 18", "\"max_position_embeddings\": 20", ["position_embeddings", "[20, 24]"]),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", ["model.safetensors", "encoder.layer.1."]),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", ["lacks the tensor", "encoder.layer.2."]),
        ("\"num_attention_heads\": 3", "\"num_attention_heads\": 0", ["num_attention_heads", "0"]),
        ("\"num_attention_heads\": 3", "\"num_attention_heads\": 5", ["num_attention_heads", "5"]),
        ("\"hidden_act\": \"gelu\"", "\"hidden_act\": \"mish\"", ["hidden_act", "mish"]),
        ("\"pad_token_id\": 0", "\"pad_token_id\": 53", ["pad_token_id", "53"]),
        ("\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": 0.0", ["layer_norm_eps", "0"]),
        ("\"model_type\": \"bert\"", "\"model_type\": \"opt\"", ["\"opt\"", "\"roberta\""]),
        ("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false", ["tie_word_embeddings", "false"]),
        ("\"vocab_size\": 53", "\"vocab_size\": -1", ["config.json", "-1"]),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        std::fs::write(&config, changed).unwrap();
        let error = MaskedBert::load(folder.path(), &device).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{to}: {error}");
    }
}

#[test]
fn a_configuration_counts_its_parameters() {
    for family in Family::ALL {
        let config = config(family, 0.0);
        let model = Bert::new(config.clone(), 1, &Device::flex()).unwrap();
        assert_eq!(config.parameters(), Some(model.num_params() as u64));
    }
    assert_eq!(BertConfig::new(1 << 40, 1, 1 << 40, 1, 1, 0.0).parameters(), None);
}
