//! Held-out accuracy against a plain count over the logits.

use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_corpus::IGNORE;
use loam_models::lstm::{Cell, Recurrent, RecurrentConfig};
use loam_models::{Cache, CausalModel, Gpt, GptConfig, LanguageModel};
use loam_train::batch;
use loam_train::objective::Example;

const VOCABULARY: u32 = 7;
const TIME: usize = 9;

fn example(seed: u32, length: usize) -> Example {
    let id = |i: usize| (i as u32 * 5 + seed * 3 + seed * i as u32 % 4) % VOCABULARY;
    let inputs = (0..length).map(id).collect();
    let targets = (0..length).map(|i| if i == 2 { IGNORE } else { id(i + 1) }).collect();
    Example { inputs, targets, ..Example::default() }
}

/// Targets that count, and those whose logit is the first of the largest.
fn counted(model: &CausalModel, examples: &[Example]) -> (u64, u64) {
    let (mut told, mut right) = (0, 0);
    for example in examples {
        let ids: Vec<i64> = example.inputs.iter().map(|&id| i64::from(id)).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, example.inputs.len()]), &Device::flex());
        let logits = model.logits(ids, &mut Cache::default()).into_data().convert::<f32>();
        let logits = logits.try_into_vec::<f32>().unwrap();
        for (row, &target) in logits.chunks(VOCABULARY as usize).zip(&example.targets) {
            let best = (0..row.len()).fold(0, |best, id| if row[id] > row[best] { id } else { best });
            told += u64::from(target != IGNORE);
            right += u64::from(target == best as u32);
        }
    }
    (told, right)
}

#[test]
fn accuracy_is_the_share_of_most_probable_tokens() {
    let device = Device::flex();
    let vocabulary = VOCABULARY as usize;
    let gpt = Gpt::new(GptConfig::new(vocabulary, TIME, 16, 2, 2, 0.0), 5, &device).unwrap();
    let lstm = RecurrentConfig {
        tie_word_embeddings: false,
        ..RecurrentConfig::new(Cell::Lstm, vocabulary, TIME, 12, 1, 0.0)
    };
    let lstm = Recurrent::new(lstm, 5, &device).unwrap();
    for model in [CausalModel::from(gpt), CausalModel::from(lstm)] {
        let examples: Vec<Example> = (0..40).map(|seed| example(seed, TIME - seed as usize % 3)).collect();
        let (told, right) = counted(&model, &examples);
        assert!(right > 0 && right < told, "{right} of {told}");
        let found = batch::evaluate(&model, &examples, 4 * TIME, &[], &device);
        assert_eq!((found.tokens, found.hits), (told, right));
        assert_eq!(found.accuracy(), Some(right as f64 / told as f64));
        assert!(found.per_token().is_finite());
    }
    assert_eq!(batch::HeldOutLoss::default().accuracy(), None);
}
