//! Models through GGUF files: the same logits, names that llama.cpp knows, and damage that is refused.

mod support;

use burn::tensor::Device;
use loam_gguf::{Gguf, Planned, Value};
use loam_models::gguf::{self, TensorKind};
use loam_models::llama::{Family, Llama, LlamaConfig, Rope, Scaling};
use loam_models::lstm::{Cell, Recurrent, RecurrentConfig};
use loam_models::{Cache, CausalModel, Gpt, GptConfig, LanguageModel};
use loam_nn::initialize::mix;
use std::path::Path;
use support::{host, ids, near};

fn llama(family: Family) -> LlamaConfig {
    let gemma = family.is_gemma();
    let sliding = |layer: usize| match family {
        Family::Gemma2 => layer == 0,
        _ => family == Family::Gemma3,
    };
    let mut rope = Rope::plain(if family == Family::Llama { 500_000.0 } else { 5000.0 });
    rope.scaling = match family {
        Family::Llama => {
            Scaling::Llama3 { factor: 32.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original: 8192.0 }
        }
        Family::Qwen2 => Scaling::Yarn {
            factor: 4.0,
            original: 16.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            attention_factor: 0.1 * 4.0_f64.ln() + 1.0,
            truncate: true,
        },
        Family::Gemma3 => Scaling::Linear { factor: 8.0 },
        _ => Scaling::None,
    };
    LlamaConfig {
        family,
        num_key_value_heads: 2,
        head_dim: 8,
        hidden_act: if gemma { "gelu_pytorch_tanh" } else { "silu" }.to_owned(),
        initializer_range: 0.2,
        tie_word_embeddings: !matches!(family, Family::Llama | Family::Qwen2),
        attention_bias: family == Family::Qwen2,
        rope,
        local_rope: (family == Family::Gemma3).then(|| Rope::plain(10_000.0)),
        sliding_window: gemma.then_some(5),
        sliding_layers: (0..2).map(sliding).collect(),
        query_pre_attn_scalar: gemma.then_some(8.0),
        attn_logit_softcapping: (family == Family::Gemma2).then_some(3.0),
        final_logit_softcapping: (family == Family::Gemma2).then_some(4.0),
        ..LlamaConfig::new(37, 32, 32, 2, 4, 0.0)
    }
}

fn models(device: &Device) -> Vec<CausalModel> {
    let llamas = Family::ALL.map(|family| Llama::new(llama(family), 3, device).unwrap().into());
    let gpt = GptConfig { initializer_range: 0.2, ..GptConfig::new(37, 32, 32, 2, 4, 0.0) };
    llamas.into_iter().chain([Gpt::new(gpt, 3, device).unwrap().into()]).collect()
}

fn logits(model: &CausalModel) -> Vec<f32> {
    host(model.logits(ids([2, 12], 37, 5), &mut Cache::default()))
}

#[test]
fn a_model_comes_back_out_of_its_file() {
    let (device, folder) = (Device::flex(), tempfile::tempdir().unwrap());
    let path = folder.path().join("model.gguf");
    for model in models(&device) {
        let (name, expected) = (model.shape().family, logits(&model));
        let scale = expected.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        for (kind, tolerance) in [
            (TensorKind::F32, 1e-5),
            (TensorKind::F16, 3e-3),
            (TensorKind::BF16, 3e-2),
            (TensorKind::Q8_0, 5e-2),
            (TensorKind::Q4_0, 0.8),
        ] {
            gguf::save(&model, &path, kind, &[]).unwrap();
            // A folder of one such file is as good as the file.
            let loaded = CausalModel::load(folder.path(), &device).unwrap();
            near(&format!("{name} as {}", kind.name()), &logits(&loaded), &expected, tolerance * scale);
            if let (CausalModel::Llama(before), CausalModel::Llama(after)) = (&model, &loaded) {
                let mut config = after.config().clone();
                // Not in the format.
                config.initializer_range = 0.2;
                // GGUF knows Mistral as Llama.
                config.family = before.config().family;
                assert_eq!(&config, before.config(), "{name}");
            }
        }
    }
    assert!(gguf::save(&model_without_place(&device), &path, TensorKind::F32, &[]).is_err());
}

fn model_without_place(device: &Device) -> CausalModel {
    Recurrent::new(RecurrentConfig::new(Cell::Lstm, 11, 8, 12, 2, 0.0), 1, device).unwrap().into()
}

/// Writes a file's tensors again, some of them changed.
fn rewrite(from: &Path, to: &Path, change: impl Fn(&mut Vec<(String, Value)>, &mut Vec<Planned>)) {
    let file = Gguf::open(from).unwrap();
    let mut metadata = file.metadata().to_vec();
    let mut tensors: Vec<Planned> = file
        .tensors()
        .iter()
        .map(|t| Planned { name: t.name.clone(), shape: t.shape.clone(), kind: TensorKind::F32 })
        .collect();
    change(&mut metadata, &mut tensors);
    let shapes: Vec<usize> = tensors.iter().map(|t| t.shape.iter().product()).collect();
    loam_gguf::write::<loam_gguf::GgufError>(to, &metadata, &tensors, |index| Ok(vec![0.5; shapes[index]])).unwrap();
}

type Change<'a> = &'a dyn Fn(&mut Vec<(String, Value)>, &mut Vec<Planned>);

#[test]
fn what_does_not_fit_is_named() {
    let (device, folder) = (Device::flex(), tempfile::tempdir().unwrap());
    let (path, bad) = (folder.path().join("model.gguf"), folder.path().join("bad.gguf"));
    gguf::save(&models(&device)[0], &path, TensorKind::F32, &[]).unwrap();
    let complaint = |change: &dyn Fn(&mut Vec<(String, Value)>, &mut Vec<Planned>)| {
        rewrite(&path, &bad, change);
        CausalModel::load(&bad, &device).unwrap_err().to_string()
    };
    let set = |metadata: &mut Vec<(String, Value)>, key: &str, value: Value| {
        metadata.iter_mut().find(|(name, _)| name == key).unwrap().1 = value;
    };
    let cases: [(Change, &str); 9] = [
        (&|metadata, _| set(metadata, "general.architecture", Value::String("mamba".into())), "\"mamba\""),
        (&|metadata, _| drop(metadata.remove(0)), "general.architecture"),
        (&|metadata, _| set(metadata, "llama.block_count", Value::U32(u32::MAX)), "layers"),
        (&|metadata, _| set(metadata, "llama.embedding_length", Value::U32(1 << 27)), "parameters"),
        (&|metadata, _| set(metadata, "llama.block_count", Value::String("two".into())), "llama.block_count"),
        (&|metadata, _| set(metadata, "llama.attention.head_count_kv", Value::U32(3)), "num_key_value_heads"),
        (&|_, tensors| tensors[3].name = "blk.0.extra.weight".into(), "blk.0.extra.weight"),
        (&|_, tensors| drop(tensors.remove(4)), "parameters"),
        (&|_, tensors| tensors[2].shape.reverse(), "its metadata asks for"),
    ];
    for (change, word) in cases {
        let error = complaint(change);
        assert!(error.contains("bad.gguf") && error.contains(word), "{error} ({word})");
    }
}

#[test]
fn damaged_files_are_refused() {
    let (device, folder) = (Device::flex(), tempfile::tempdir().unwrap());
    let path = folder.path().join("model.gguf");
    for model in [&models(&device)[0], models(&device).last().unwrap()] {
        gguf::save(model, &path, TensorKind::Q8_0, &[]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let header = whole.len().min(2500);
        for seed in 0..300 {
            let random = |salt: u64| mix(seed ^ mix(salt)) as usize;
            let mut bytes = whole.clone();
            match random(1) % 4 {
                0 => bytes.truncate(random(2) % whole.len()),
                1 => bytes[random(2) % header] = random(3) as u8,
                2 => bytes[random(2) % header] ^= 1 << (random(3) % 8),
                _ => bytes[random(2) % header..].iter_mut().take(8).for_each(|byte| *byte = 0xff),
            }
            std::fs::write(&path, bytes).unwrap();
            if let Err(error) = CausalModel::load(&path, &device) {
                assert!(error.to_string().contains("model.gguf"), "{error}");
            }
        }
    }
}
