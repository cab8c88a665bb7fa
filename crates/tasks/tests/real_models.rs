//! Models that others trained, where they are at hand: `LOAM_TEST_DATA` names the folder, `../shared` is the usual one.

use burn::tensor::Device;
use loam_models::generate::GenerateOptions;
use loam_models::gguf::TensorKind;
use loam_models::sampling::SamplingOptions;
use loam_tasks::LoadedModel;
use std::path::PathBuf;

/// What transformers, decoding greedily, goes on with.
const PROMPT: &str = "Once upon a time, there was a little girl named Lily.";
const STORY: &str = " She loved to play outside in the park. One day, she saw a big, red ball. She wanted to play with it, \
                     but it was too high.\nLily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't know \
                     what to do. She said, \"I want to play with your ball, but I can't find it.\"";

fn model(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LOAM_TEST_DATA").map_or_else(|| PathBuf::from("../../../shared"), PathBuf::from);
    let folder = root.join("models").join(name);
    if !folder.exists() {
        eprintln!("skipped: no {}", folder.display());
    }
    folder.exists().then_some(folder)
}

fn story(model: &LoadedModel) -> String {
    let sampling = SamplingOptions { temperature: 0.0, ..SamplingOptions::default() };
    let options = GenerateOptions { max_new_tokens: 120, sampling, ..GenerateOptions::default() };
    let mut streamed = String::new();
    let written = model.generate(PROMPT, &options, &[], |text| streamed.push_str(text)).unwrap();
    assert_eq!(streamed, written.text);
    written.text
}

#[test]
fn a_small_llama_tells_its_story() {
    let Some(folder) = model("tinystories-260k") else { return };
    let device = Device::flex();
    let loaded = LoadedModel::open(&folder, &device).unwrap();
    assert!(story(&loaded).starts_with(STORY));
    let score = loaded.score(PROMPT).unwrap();
    // Its tokenizer puts a token before every text, so that the text's first has a probability too.
    assert!(score.logprobs.iter().all(Option::is_some) && score.scored == score.tokens.len());

    // Through GGUF, tokenizer and all.
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("model.gguf");
    loaded.save_gguf(&path, TensorKind::F32).unwrap();
    let again = LoadedModel::open(&path, &device).unwrap();
    assert!(story(&again).starts_with(STORY));
    assert_eq!(again.score(PROMPT).unwrap(), score);
    let text = "A 狗 and a café:\n\t🎉  two  spaces";
    assert_eq!(again.tokenizer.encode(text), loaded.tokenizer.encode(text));
    assert_eq!(again.tokenizer.decode(&again.tokenizer.encode(text)), text);
}
