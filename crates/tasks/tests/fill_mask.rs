//! Masks are told as the fill-mask pipeline of transformers tells them; `fixtures/fill_mask.py` writes what it says.

use burn::tensor::Device;
use loam_models::weights::{write_json, write_tensors};
use loam_tasks::MaskFiller;
use serde_json::Value;

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Numbers from -1 to 1 that follow from a name, as in the fixtures of the models.
fn formula(name: &str, count: usize) -> Vec<f32> {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    (1..=count as u64).map(|i| (mix(seed ^ mix(i)) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// A model as transformers would have saved it, and the texts with what its pipeline says.
fn case(name: &str) -> (tempfile::TempDir, Value) {
    let mut all: Value = serde_json::from_str(include_str!("fixtures/fill_mask.json")).unwrap();
    let mut value = all[name].take();
    let folder = tempfile::tempdir().unwrap();
    for (file, content) in value["files"].as_object().unwrap() {
        write_json(&folder.path().join(file), content).unwrap();
    }
    let shape = |shape: &Value| shape.as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect();
    let tensors: Vec<(String, Vec<usize>, Vec<f32>)> = value["tensors"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, size)| {
            let size: Vec<usize> = shape(size);
            let scale = name.ends_with(".weight") && name.to_lowercase().contains("norm");
            let offset = f32::from(u8::from(scale));
            let values = formula(name, size.iter().product()).into_iter().map(|x| x * 0.5 + offset).collect();
            (name.clone(), size, values)
        })
        .collect();
    write_tensors(&folder.path().join("model.safetensors"), &tensors).unwrap();
    (folder, value["texts"].take())
}

/// Compares two JSON values, numbers within 1e-5.
fn same(found: &Value, expected: &Value, place: &str) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            assert!(found.keys().eq(expected.keys()), "{place}: {found:?}");
            for (key, value) in expected {
                same(&found[key], value, &format!("{place}.{key}"));
            }
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{place}");
            for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
                same(found, expected, &format!("{place}[{number}]"));
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() < 1e-5, "{place}: {a} and {b}");
        }
        _ => assert_eq!(found, expected, "{place}"),
    }
}

#[test]
fn masks_are_told_as_in_transformers() {
    for name in ["bert", "roberta", "xlm-roberta"] {
        let (folder, texts) = case(name);
        let filler = MaskFiller::open(folder.path(), &Device::flex()).unwrap();
        for expected in texts.as_array().unwrap() {
            let text = expected["text"].as_str().unwrap();
            let found = serde_json::to_value(filler.fill(text, 4).unwrap()).unwrap();
            same(&found, expected, name);
            // The other spelling is the same mask.
            let other = text.replace(filler.mask(), "[MASK]");
            let again = serde_json::to_value(filler.fill(&other, 4).unwrap()).unwrap();
            same(&again["masks"], &expected["masks"], name);
        }
    }
}

#[test]
fn what_cannot_be_told_is_said() {
    let (folder, _) = case("roberta");
    let filler = MaskFiller::open(folder.path(), &Device::flex()).unwrap();
    let said = |text: &str| filler.fill(text, 4).unwrap_err().to_string();
    assert!(said("Paris is a city.").contains("has no mask; write <mask> or [MASK]"), "{}", said("Paris is a city."));
    assert!(said("").contains("no mask"));
    let long = said(&format!("<mask> {}", "cat ".repeat(60)));
    assert!(long.contains("the model sees 24 at most"), "{long}");
    let refused = |file: &str, from: &str, to: &str, words: &str| {
        let (folder, _) = case("roberta");
        let path = folder.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let error = MaskFiller::open(folder.path(), &Device::flex()).err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    };
    refused("config.json", "\"roberta\"", "\"gpt2\"", "\"gpt2\"");
    refused("tokenizer.json", "<mask>", "<hidden>", "has no mask");
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert!(MaskFiller::open(folder.path(), &Device::flex()).is_err());
}
