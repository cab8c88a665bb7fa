//! Contrastive training as the loop of fine-tuning has it: gradients of whole batches, however they are taken.

use super::training::{EmbedRecipe, EmbedTask};
use super::{EmbedExamples, EmbedOptions, Encoder, Modules, ScoredPair, SimilarityLoss, TextPair};
use burn::tensor::{Device, Tensor};
use loam_corpus::{Framing, Tokenizer, TokenizerKind, train_tokenizer};
use loam_models::{Bert, BertConfig};
use loam_nn::parameters;
use loam_train::finetune::{Settings, Task, gradient};
use std::sync::Arc;

const WORDS: [&str; 12] =
    ["sea", "fire", "rain", "tower", "river", "stone", "cloud", "tree", "light", "wind", "sand", "snow"];

fn sentence(number: usize, words: usize) -> Arc<str> {
    let word = |place: usize| WORDS[(number * 7 + place * 5 + number * place) % 12];
    (0..words).map(word).collect::<Vec<_>>().join(" ").into()
}

fn tokenizer() -> Tokenizer {
    let texts = (0..12).map(|number| Ok(sentence(number, 9).to_string()));
    train_tokenizer(TokenizerKind::WordPiece, 80, Framing::Plain, texts, &mut |_, _| {}).unwrap()
}

fn pairs(count: usize) -> EmbedExamples {
    // Every third pair has a document that another one has, too, and every second a negative.
    let pair = |number: usize| TextPair {
        anchor: sentence(number, 2 + number % 3),
        positive: sentence(100 + number - number % 3 / 2, 5 + number % 9),
        negatives: if number.is_multiple_of(2) { vec![sentence(200 + number, 6)] } else { Vec::new() },
    };
    EmbedExamples::Pairs((0..count).map(pair).collect())
}

fn scored(count: usize) -> EmbedExamples {
    let pair = |number: usize| ScoredPair {
        first: sentence(number, 4),
        second: sentence(300 + number, 3 + number % 5),
        score: [0.0, 0.5, 1.0, 0.25][number % 4],
        place: String::new(),
    };
    EmbedExamples::Scored((0..count).map(pair).collect())
}

fn task(train: &EmbedExamples, loss: SimilarityLoss, dropout: f64, device: &Device) -> (EmbedTask, Bert) {
    let tokenizer = tokenizer();
    let model = Bert::new(BertConfig::new(tokenizer.vocabulary(), 32, 16, 2, 2, dropout), 5, device).unwrap();
    let encoder = Encoder::of(&model, Modules::default(), EmbedOptions { pooling: None, normalize: Some(true) });
    let recipe = EmbedRecipe { loss, ..EmbedRecipe::default() };
    (EmbedTask::new(train, None, tokenizer, encoder, recipe, 16).unwrap(), model)
}

fn settings(micro_batch_tokens: usize) -> Settings {
    Settings { micro_batch_tokens, ..Settings::default() }
}

fn host(gradients: Vec<Tensor<1>>) -> Vec<f32> {
    gradients.into_iter().flat_map(parameters::to_host).collect()
}

#[test]
fn a_batch_in_parts_has_the_gradient_of_the_whole() {
    let device = Device::default().autodiff();
    for (examples, loss) in [
        (pairs(15), SimilarityLoss::Cosent),
        (scored(15), SimilarityLoss::Cosent),
        (scored(15), SimilarityLoss::Cosine),
    ] {
        let (task, model) = task(&examples, loss, 0.0, &device);
        let batch: Vec<usize> = (0..15).collect();
        let of = |tokens| {
            let (loss, gradients) = gradient(&task, &model, &batch, &settings(tokens), (1, 0), &device).unwrap();
            (loss, host(gradients))
        };
        let (whole, parts, each) = (of(1 << 20), of(60), of(1));
        // The loss of a batch without regard to parts is the same once more.
        let asked = task.loss(&model, &batch, 1.0 / 15.0, None, &device).into_scalar::<f32>();
        assert!((f64::from(asked) - whole.0).abs() < 1e-5, "{asked} {}", whole.0);
        let largest = whole.1.iter().fold(0_f32, |most, x| most.max(x.abs()));
        assert!(largest > 1e-3);
        for other in [parts, each] {
            assert!((other.0 - whole.0).abs() < 1e-5, "{} {}", other.0, whole.0);
            let far = whole.1.iter().zip(&other.1).fold(0_f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(far < 1e-4 * largest, "{far} of {largest}");
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let device = Device::default().autodiff();
    // With dropout, both passes of a batch in parts must drop the same.
    for (tokens, dropout) in [(1 << 20, 0.0), (60, 0.0), (60, 0.1)] {
        let examples = pairs(12);
        let (task, model) = task(&examples, SimilarityLoss::Cosent, dropout, &device);
        let batch: Vec<usize> = (0..12).collect();
        let of = |model: &Bert| gradient(&task, model, &batch, &settings(tokens), (1, 3), &device).unwrap();
        let (_, gradients) = of(&model);
        let norm =
            gradients.iter().map(|one| f64::from(one.clone().powi_scalar(2).sum().into_scalar::<f32>())).sum::<f64>();
        let moved = |step: f64| {
            let along =
                |place: usize, values: Tensor<1>| values + gradients[place].clone() * (step / norm.sqrt()) as f32;
            of(&parameters::update(model.clone(), along)).0
        };
        let step = 2e-3;
        let slope = (moved(step) - moved(-step)) / (2.0 * step);
        assert!((slope - norm.sqrt()).abs() < 0.02 * norm.sqrt(), "{tokens} {dropout}: {slope} and {}", norm.sqrt());
    }
}

#[test]
fn a_document_that_two_pairs_share_is_no_negative() {
    let device = Device::default().autodiff();
    let of = |pairs: &[(usize, usize)]| {
        let pair = |&(anchor, positive): &(usize, usize)| TextPair {
            anchor: sentence(anchor, 3),
            positive: sentence(positive, 7),
            negatives: Vec::new(),
        };
        let examples = EmbedExamples::Pairs(pairs.iter().map(pair).collect());
        let (task, model) = task(&examples, SimilarityLoss::Cosent, 0.0, &device);
        let batch: Vec<usize> = (0..pairs.len()).collect();
        let (loss, _) = gradient(&task, &model, &batch, &settings(1 << 20), (1, 0), &device).unwrap();
        loss * pairs.len() as f64
    };
    // Twice the same pair: each is told from the other document alone.
    let (once, twice) = (of(&[(1, 10), (2, 11)]), of(&[(1, 10), (1, 10), (2, 11)]));
    let third = of(&[(1, 10), (1, 10), (1, 10), (2, 11)]);
    assert!((third - twice - (twice - once)).abs() < 1e-4, "{once} {twice} {third}");
    // Two documents of one anchor are not told from each other: alone, they teach nothing.
    let known = of(&[(1, 10), (1, 11)]);
    assert!(known.abs() < 1e-6, "{known}");
}

#[test]
fn what_leaves_nothing_to_learn_is_refused() {
    let device = Device::default();
    let tokenizer = tokenizer();
    let model = Bert::new(BertConfig::new(tokenizer.vocabulary(), 32, 16, 1, 2, 0.0), 5, &device).unwrap();
    let encoder = Encoder::of(&model, Modules::default(), EmbedOptions::default());
    let refused = |examples: &EmbedExamples, recipe: &EmbedRecipe, batch: usize| {
        let task = EmbedTask::new(examples, None, tokenizer.clone(), encoder, recipe.clone(), batch);
        task.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let usual = EmbedRecipe::default();
    assert!(refused(&pairs(1).without_negatives(), &usual, 8).contains("nothing to tell apart"));
    assert!(refused(&pairs(8), &usual, 1).contains("train.batch = 1"));
    assert!(refused(&pairs(8), &EmbedRecipe { scale: -1.0, ..usual.clone() }, 8).contains("embed.scale"));
    assert!(refused(&scored(1), &usual, 8).contains("the same score"));
    let EmbedExamples::Scored(mut high) = scored(4) else { panic!("not scored") };
    high[2].score = 5.0;
    high[2].place = "a.tsv, row 3".to_owned();
    let cosine = EmbedRecipe { loss: SimilarityLoss::Cosine, ..usual.clone() };
    let told = refused(&EmbedExamples::Scored(high.clone()), &cosine, 8);
    assert!(told.contains("a.tsv, row 3") && told.contains("cosent"), "{told}");
    assert!(refused(&EmbedExamples::Scored(high), &usual, 8).is_empty());
}

impl EmbedExamples {
    fn without_negatives(mut self) -> Self {
        if let Self::Pairs(pairs) = &mut self {
            for pair in pairs {
                pair.negatives.clear();
            }
        }
        self
    }
}
