//! Damaged folders of every family: an error or a model, never a panic, and no memory for sizes that the files have not.

mod support;

use burn::tensor::Device;
use loam_models::bert::{Bert, BertConfig, Family, MaskedBert};
use loam_models::lstm::{Cell, Recurrent, RecurrentConfig};
use loam_models::seq2seq::{Seq2Seq, Seq2SeqConfig};
use loam_models::weights::{Tensors, write_tensors};
use loam_models::{
    CausalModel, LanguageModel, Llama, LlamaConfig, ModelError, SourceToTarget, T5, T5Config, llama, t5,
};
use loam_nn::initialize::mix;
use std::path::Path;
use support::{host, ids};

const TRIES: u64 = 250;

/// Damages each file of a folder in many ways and reads it.
fn damage(folder: &Path, load: impl Fn(&Path) -> Result<(), ModelError>) {
    load(folder).unwrap();
    for name in ["config.json", "model.safetensors"] {
        let path = folder.join(name);
        let whole = std::fs::read(&path).unwrap();
        // The numbers behind the header may be anything.
        let header = whole.len().min(3000);
        for seed in 0..TRIES {
            let random = |salt: u64| mix(seed ^ mix(salt));
            let mut bytes = whole.clone();
            match random(1) % 4 {
                0 => bytes.truncate(random(2) as usize % whole.len()),
                1 => bytes[random(2) as usize % header] = random(3) as u8,
                2 => bytes[random(2) as usize % header] ^= 1 << (random(3) % 8),
                // A digit that makes sizes longer.
                _ => bytes.insert(random(2) as usize % header, b'9'),
            }
            std::fs::write(&path, bytes).unwrap();
            if let Err(error) = load(folder) {
                let words = error.to_string();
                assert!(words.contains(".json") || words.contains(".safetensors") || words.contains(" = "), "{words}");
            }
        }
        std::fs::write(&path, whole).unwrap();
    }
}

#[test]
fn damaged_folders_are_refused() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    for family in Family::ALL {
        let types = if family == Family::DistilBert { 0 } else { 2 };
        let config = BertConfig { family, type_vocab_size: types, ..BertConfig::new(11, 9, 8, 1, 2, 0.0) };
        MaskedBert::new(config, 1, &device).unwrap().save(folder.path()).unwrap();
        damage(folder.path(), |folder| MaskedBert::load(folder, &device).map(drop));
        damage(folder.path(), |folder| Bert::load(folder, &device).map(drop));
    }
    let config = RecurrentConfig::new(Cell::Gru, 11, 9, 8, 2, 0.0);
    Recurrent::new(config, 1, &device).unwrap().save(folder.path(), None).unwrap();
    damage(folder.path(), |folder| Recurrent::load(folder, &device).map(drop));
    for family in llama::Family::ALL {
        let config = LlamaConfig {
            family,
            num_key_value_heads: 1,
            attention_bias: family == llama::Family::Qwen2,
            query_pre_attn_scalar: family.is_gemma().then_some(4.0),
            local_rope: (family == llama::Family::Gemma3).then(|| llama::Rope::plain(100.0)),
            ..LlamaConfig::new(11, 9, 8, 1, 2, 0.0)
        };
        Llama::new(config, 1, &device).unwrap().save(folder.path(), None).unwrap();
        damage(folder.path(), |folder| CausalModel::load(folder, &device).map(drop));
    }
    let config = Seq2SeqConfig::new(11, 9, 8, 1, 2, 0.0);
    Seq2Seq::new(config, 1, &device).unwrap().save(folder.path()).unwrap();
    damage(folder.path(), |folder| Seq2Seq::load(folder, &device).map(drop));
    for (family, tied) in [(t5::Family::T5, true), (t5::Family::T5, false), (t5::Family::Mt5, false)] {
        let config = T5Config { family, tied, is_gated_act: !tied, ..T5Config::new(11, 9, 8, 1, 2, 0.0) };
        T5::new(config, 1, &device).unwrap().save(folder.path()).unwrap();
        damage(folder.path(), |folder| SourceToTarget::load(folder, &device).map(drop));
    }
}

#[test]
fn checkpoints_as_they_were_published_are_read() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let model = MaskedBert::new(BertConfig::new(11, 9, 8, 1, 2, 0.0), 1, &device).unwrap();
    model.save(folder.path()).unwrap();
    let path = folder.path().join("model.safetensors");
    let file = Tensors::open(&path).unwrap();
    // The first BERT: scale and shift under TensorFlow's names, the head for next sentences, the pooler, copies of what is
    // tied, and the places that it counted.
    let old = |name: String| match name.rsplit_once("LayerNorm.") {
        Some((stem, "weight")) => format!("{stem}LayerNorm.gamma"),
        Some((stem, _)) => format!("{stem}LayerNorm.beta"),
        None => name,
    };
    let mut tensors: Vec<_> = file
        .names()
        .unwrap()
        .into_iter()
        .map(|name| {
            let (values, shape) = file.get(&name).unwrap().unwrap();
            (old(name), shape, values)
        })
        .collect();
    drop(file);
    let bias = tensors.iter().position(|(name, ..)| name == "cls.predictions.bias").unwrap();
    tensors[bias].0 = "cls.predictions.decoder.bias".to_owned();
    for (name, shape) in [
        ("bert.pooler.dense.weight", vec![8, 8]),
        ("bert.pooler.dense.bias", vec![8]),
        ("cls.seq_relationship.weight", vec![2, 8]),
        ("cls.seq_relationship.bias", vec![2]),
        ("cls.predictions.decoder.weight", vec![11, 8]),
        ("bert.embeddings.position_ids", vec![1, 9]),
    ] {
        let count = shape.iter().product();
        tensors.push((name.to_owned(), shape, vec![0.5; count]));
    }
    write_tensors(&path, &tensors).unwrap();
    let inputs = loam_models::bert::Inputs::new(ids([2, 7], 11, 4));
    let loaded = MaskedBert::load(folder.path(), &device).unwrap();
    assert_eq!(host(loaded.logits(&inputs)), host(model.logits(&inputs)));
    let encoder = Bert::load(folder.path(), &device).unwrap();
    assert!(encoder.pool(encoder.encode(&inputs, None)).is_some());

    // What nobody knows is named, not passed over.
    tensors.push(("bert.encoder.layer.0.adapter.weight".to_owned(), vec![1], vec![0.0]));
    write_tensors(&path, &tensors).unwrap();
    let error = Bert::load(folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains("bert.encoder.layer.0.adapter.weight"), "{error}");
}
