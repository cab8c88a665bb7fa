//! Heads over encoders, convolutions over words and recurrent classifiers kept to their promises: gradients everywhere and
//! right, fused as composed, padded as unpadded, saved as loaded, and nothing random that was not asked for.

mod support;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_models::bert::{
    Bert, BertConfig, Family, Inputs, MaskedBert, NextSentenceBert, PretrainingBert, SequenceBert, SpanBert, TokenBert,
};
use loam_models::classifier::Targets;
use loam_models::lora::{Adapted, LoraConfig};
use loam_models::lstm::{Cell, RecurrentConfig, RecurrentEncoder};
use loam_models::recurrent_classifier::Pooling;
use loam_models::{
    CausalModel, Classifier, Gpt, GptConfig, Labels, Llama, LlamaConfig, Problem, RecurrentClassifier, SequenceCausal,
    SequenceClassifier, TextCnn, TextCnnConfig,
};
use loam_nn::parameters;
use support::{every_gradient_is_there_and_right, gradients_equal_finite_differences, host, ids, integers, near};

const VOCABULARY: usize = 37;
const CONTEXT: usize = 12;
const LENGTHS: [usize; 3] = [CONTEXT, 2, 7];

fn labels(problem: Problem) -> Labels {
    Labels::new(["bad", "so so", "good"], problem).unwrap()
}

fn config(family: Family, dropout: f64) -> BertConfig {
    let mut config =
        BertConfig { family, initializer_range: 0.2, ..BertConfig::new(VOCABULARY, CONTEXT, 16, 1, 2, dropout) };
    match family {
        Family::Bert => {}
        Family::DistilBert => config.type_vocab_size = 0,
        _ => (config.pad_token_id, config.max_position_embeddings) = (Some(1), CONTEXT + 2),
    }
    config
}

fn encoder(family: Family, dropout: f64, device: &Device) -> Bert {
    Bert::new(config(family, dropout), 5, device).unwrap()
}

fn inputs(family: Family) -> Inputs {
    let types = (0..3 * CONTEXT).map(|i| i64::from(i % CONTEXT > 5 || i % CONTEXT == 1)).collect();
    Inputs {
        ids: ids([3, CONTEXT], VOCABULARY, 1),
        token_types: (family == Family::Bert).then(|| integers(types, [3, CONTEXT])),
        lengths: Some(LENGTHS.to_vec()),
    }
}

/// One row of inputs without its padding.
fn alone(inputs: &Inputs, row: usize) -> Inputs {
    let length = LENGTHS[row];
    let cut = |ids: Tensor<2, Int>| ids.slice([row..row + 1, 0..length]);
    Inputs { ids: cut(inputs.ids.clone()), token_types: inputs.token_types.clone().map(cut), lengths: None }
}

fn values() -> Tensor<2> {
    let values = vec![1.0_f32, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0];
    Tensor::from_data(TensorData::new(values, [3, 3]), &Device::flex())
}

fn targets(problem: Problem) -> Targets {
    match problem {
        Problem::SingleLabel => Targets::Labels(integers(vec![2, -1, 0], [3])),
        _ => Targets::Values(values()),
    }
}

/// Every family of classifiers, with its kind of problem.
fn classifiers(dropout: f64, device: &Device) -> Vec<Classifier> {
    let bert = |family, problem| SequenceBert::new(encoder(family, dropout, device), labels(problem), 3, device).into();
    let kernel_sizes = vec![2, 4];
    let convolutions =
        TextCnnConfig { kernel_sizes, num_filters: 5, dropout, ..TextCnnConfig::new(VOCABULARY, CONTEXT, 6) };
    let recurrent = |cell, bidirectional, pooling| {
        let config =
            RecurrentConfig { bidirectional, ..RecurrentConfig::new(cell, VOCABULARY, CONTEXT, 6, 1, dropout) };
        RecurrentClassifier::new(config, pooling, labels(Problem::SingleLabel), 7, device).unwrap().into()
    };
    let causal = |body: CausalModel, problem| SequenceCausal::new(body, labels(problem), 0, 3, device).unwrap().into();
    let gpt = GptConfig { initializer_range: 0.2, ..GptConfig::new(VOCABULARY, CONTEXT, 16, 2, 2, dropout) };
    let mut llama = LlamaConfig::new(VOCABULARY, CONTEXT, 16, 2, 2, dropout);
    (llama.initializer_range, llama.tie_word_embeddings) = (0.2, false);
    let mut all: Vec<Classifier> = Family::ALL.map(|family| bert(family, Problem::SingleLabel)).into();
    all.push(bert(Family::Bert, Problem::MultiLabel));
    all.push(bert(Family::DistilBert, Problem::Regression));
    all.push(TextCnn::new(convolutions.clone(), labels(Problem::SingleLabel), 3, device).unwrap().into());
    all.push(TextCnn::new(convolutions, labels(Problem::MultiLabel), 3, device).unwrap().into());
    all.push(causal(Gpt::new(gpt, 5, device).unwrap().into(), Problem::SingleLabel));
    all.push(causal(Llama::new(llama, 5, device).unwrap().into(), Problem::MultiLabel));
    for (cell, pooling) in Cell::ALL.into_iter().zip(Pooling::ALL) {
        all.push(recurrent(cell, true, pooling));
        all.push(recurrent(cell, false, pooling));
    }
    all
}

/// What a classifier reads.
fn read(model: &Classifier) -> Inputs {
    inputs(if let Classifier::Bert(model) = model { model.config().family } else { Family::DistilBert })
}

fn loss(model: &Classifier, seed: Option<u64>) -> Tensor<1> {
    model.loss(&read(model), &targets(model.labels().problem()), 0.5, seed)
}

#[test]
fn every_parameter_has_a_gradient() {
    let device = Device::flex().autodiff();
    for (dropout, seed) in [(0.0, None), (0.2, Some(3))] {
        for model in classifiers(dropout, &device) {
            every_gradient_is_there_and_right(&model, |model| loss(model, seed));
        }
        for family in Family::ALL {
            let encoder = || encoder(family, dropout, &device);
            let told: Tensor<1, Int> = ids([3 * CONTEXT], 4, 2) - 1;
            let model = TokenBert::new(encoder(), labels(Problem::SingleLabel), 3, &device);
            every_gradient_is_there_and_right(&model, |model| model.loss(&inputs(family), told.clone(), 0.1, seed));
            let (starts, ends) = (integers(vec![3, 0, -1], [3]), integers(vec![9, 1, 6], [3]));
            let model = SpanBert::new(encoder(), 3, &device);
            // What adds the same to every token's logit moves no span: the last biases are seen by the logits alone.
            let unpadded = Inputs { lengths: None, ..inputs(family) };
            every_gradient_is_there_and_right(&model, |model| {
                let (start, end) = model.logits(&unpadded, seed);
                model.loss(&inputs(family), starts.clone(), ends.clone(), 0.5, seed)
                    + (start.powi_scalar(2) + end.powi_scalar(2)).sum() * 0.1
            });
        }
        let follows = || integers(vec![1, 0, -1], [3]);
        let model = NextSentenceBert::new(encoder(Family::Bert, dropout, &device), 3, &device).unwrap();
        every_gradient_is_there_and_right(&model, |model| model.loss(&inputs(Family::Bert), follows(), 0.5, seed));
        let masked = MaskedBert::on(encoder(Family::Bert, dropout, &device), 4, &device);
        let model = PretrainingBert::new(masked, 3, &device).unwrap();
        let words = || (integers(vec![1, 5, 13, 30], [4]), integers(vec![4, 0, -1, 9], [4]));
        every_gradient_is_there_and_right(&model, |model| {
            model.loss(&inputs(Family::Bert), words(), follows(), (0.3, 0.5), seed)
        });
    }
}

#[test]
fn gradients_are_slopes() {
    for model in classifiers(0.0, &Device::flex().autodiff()) {
        // Where the largest state changes, a maximum has no slope.
        if !matches!(&model, Classifier::Recurrent(model) if model.pooling() == Pooling::Max) {
            gradients_equal_finite_differences(&model, |model| loss(model, None));
        }
    }
}

#[test]
fn padding_changes_nothing() {
    let device = Device::flex();
    for model in classifiers(0.0, &device) {
        let all = read(&model);
        let padded = model.logits(&all, None);
        for row in 0..3 {
            let found = host(padded.clone().slice([row..row + 1, 0..3]));
            near("a classifier", &found, &host(model.logits(&alone(&all, row), None)), 1e-5);
        }
    }
    let all = inputs(Family::Roberta);
    let model = SpanBert::new(encoder(Family::Roberta, 0.0, &device), 3, &device);
    let (starts, ends) = ([3_i64, 0, 5], [9_i64, 1, 6]);
    let each: f32 = (0..3)
        .map(|row| {
            let place = |places: [i64; 3]| integers(vec![places[row]], [1]);
            host(model.loss(&alone(&all, row), place(starts), place(ends), 1.0, None))[0]
        })
        .sum();
    let place = |places: [i64; 3]| integers(places.to_vec(), [3]);
    near("spans", &host(model.loss(&all, place(starts), place(ends), 1.0, None)), &[each], 1e-5);
    let (start, _) = model.logits(&all, None);
    assert!(host(start)[CONTEXT + LENGTHS[1]] < -1e8, "no span begins in padding");
}

#[test]
fn scores_are_probabilities() {
    let device = Device::flex();
    let logits = Tensor::<2>::from_data([[1.0_f32, -2.0, 0.5]], &device);
    let scores = |problem| host(labels(problem).scores(logits.clone()));
    assert!((scores(Problem::SingleLabel).iter().sum::<f32>() - 1.0).abs() < 1e-6);
    assert!((scores(Problem::MultiLabel)[0] - 0.731_058_6).abs() < 1e-6);
    assert_eq!(scores(Problem::Regression), [1.0, -2.0, 0.5]);
}

#[test]
fn a_saved_classifier_loads_and_gives_the_same_logits() {
    let device = Device::flex();
    for model in classifiers(0.1, &device) {
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path()).unwrap();
        let loaded = Classifier::load(folder.path(), &device).unwrap();
        assert_eq!(loaded.labels(), model.labels());
        assert_eq!((loaded.context(), loaded.vocabulary()), (CONTEXT, VOCABULARY));
        let logits = |model: &Classifier| host(model.logits(&read(model), None));
        assert_eq!(logits(&loaded), logits(&model));
        let dropped = |model: &Classifier| host(model.logits(&read(model), Some(9)));
        assert_eq!(dropped(&loaded), dropped(&model), "the dropout is the same too");
        assert_ne!(dropped(&loaded), logits(&loaded));
    }
}

#[test]
fn other_saved_heads_load_and_give_the_same_logits() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    for family in Family::ALL {
        let (inputs, encoder) = (inputs(family), || encoder(family, 0.0, &device));
        let model = TokenBert::new(encoder(), labels(Problem::SingleLabel), 3, &device);
        model.save(folder.path()).unwrap();
        let loaded = TokenBert::load(folder.path(), &device).unwrap();
        assert_eq!(loaded.labels().names(), model.labels().names());
        assert_eq!(host(loaded.logits(&inputs)), host(model.logits(&inputs)));
        let model = SpanBert::new(encoder(), 3, &device);
        model.save(folder.path()).unwrap();
        let loaded = SpanBert::load(folder.path(), &device).unwrap();
        assert_eq!(host(loaded.logits(&inputs, None).1), host(model.logits(&inputs, None).1));
        // The encoder is read out of either.
        let again = Bert::load(folder.path(), &device).unwrap();
        assert_eq!(host(again.encode(&inputs, None)), host(model.encoder().encode(&inputs, None)));
    }
    let inputs = inputs(Family::Bert);
    let masked = || MaskedBert::on(encoder(Family::Bert, 0.0, &device), 4, &device);
    let model = PretrainingBert::new(masked(), 3, &device).unwrap();
    model.save(folder.path()).unwrap();
    let loaded = PretrainingBert::load(folder.path(), &device).unwrap();
    assert_eq!(host(loaded.logits(&inputs).0), host(model.logits(&inputs).0));
    assert_eq!(host(loaded.logits(&inputs).1), host(model.logits(&inputs).1));
    // Its parts are read by themselves.
    let words = MaskedBert::load(folder.path(), &device).unwrap();
    assert_eq!(host(words.logits(&inputs)), host(model.logits(&inputs).0));
    let model = NextSentenceBert::new(encoder(Family::Bert, 0.0, &device), 3, &device).unwrap();
    model.save(folder.path()).unwrap();
    let loaded = NextSentenceBert::load(folder.path(), &device).unwrap();
    assert_eq!(host(loaded.logits(&inputs)), host(model.logits(&inputs)));
    for family in [Family::Roberta, Family::DistilBert] {
        let error = NextSentenceBert::new(encoder(family, 0.0, &device), 3, &device).unwrap_err().to_string();
        assert!(error.contains(family.name()), "{error}");
    }
}

#[test]
fn a_new_head_is_made_only_where_one_is_asked_for() {
    let device = Device::flex();
    for family in Family::ALL {
        let folder = tempfile::tempdir().unwrap();
        encoder(family, 0.0, &device).save(folder.path()).unwrap();
        let refused = |error: String| {
            let words = ["lacks the head", "model.safetensors", "asked for"];
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        };
        refused(SequenceBert::load(folder.path(), &device).unwrap_err().to_string());
        refused(TokenBert::load(folder.path(), &device).unwrap_err().to_string());
        refused(SpanBert::load(folder.path(), &device).unwrap_err().to_string());
        let base = || Bert::load(folder.path(), &device).unwrap();
        let new = |seed| SequenceBert::new(base(), labels(Problem::SingleLabel), seed, &device);
        let logits = |model: SequenceBert| host(model.logits(&inputs(family), None));
        assert_eq!(logits(new(1)), logits(new(1)), "a seed makes the same head");
        assert_ne!(logits(new(1)), logits(new(2)));
    }
    // The pooler that BERT has is kept.
    let base = encoder(Family::Bert, 0.0, &device).with_pooler(8, &device);
    let pooled = |bert: &Bert| host(bert.pool(bert.encode(&inputs(Family::Bert), None)).unwrap());
    let model = SequenceBert::new(base.clone(), labels(Problem::SingleLabel), 1, &device);
    assert_eq!(pooled(model.encoder()), pooled(&base));
}

#[test]
fn another_head_is_named() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let bert = || encoder(Family::Bert, 0.0, &device);
    SequenceBert::new(bert(), labels(Problem::SingleLabel), 1, &device).save(folder.path()).unwrap();
    // Both heads' output is called `classifier`.
    let error = TokenBert::load(folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains("BertForSequenceClassification") && error.contains("BertForTokenClassification"), "{error}");
    MaskedBert::on(bert(), 4, &device).save(folder.path()).unwrap();
    let error = Classifier::load(folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains("BertForMaskedLM"), "{error}");
    let error = PretrainingBert::load(folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains("BertForPreTraining"), "{error}");
    // An encoder of a network that labels texts is read without its output layer.
    let config = RecurrentConfig::new(Cell::Gru, VOCABULARY, CONTEXT, 6, 1, 0.0);
    let labels = labels(Problem::SingleLabel);
    RecurrentClassifier::new(config, Pooling::Max, labels, 7, &device).unwrap().save(folder.path()).unwrap();
    RecurrentEncoder::load(folder.path(), &device).unwrap();
    let error = loam_models::CausalModel::load(folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains("classifier.weight"), "{error}");
}

/// Saves a classifier, changes its configuration, and expects these words.
fn broken(model: &Classifier, changes: &[(&str, &str, [&str; 2])]) {
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    let path = folder.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to, words) in changes {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        std::fs::write(&path, changed).unwrap();
        let error = Classifier::load(folder.path(), &Device::flex()).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{to}: {error}");
    }
}

#[test]
fn files_that_lie_are_refused() {
    let device = Device::flex();
    let single = || labels(Problem::SingleLabel);
    let bert = SequenceBert::new(encoder(Family::Bert, 0.0, &device), single(), 1, &device).into();
    broken(
        &bert,
        &[
            ("\"2\": \"good\"", "\"2\": \"good\", \"3\": \"best\"", ["classifier.weight", "[4, 16]"]),
            ("\"2\": \"good\"", "\"9\": \"good\"", ["id2label", "\"9\""]),
            ("single_label_classification", "guess", ["problem_type", "guess"]),
            ("\"classifier_dropout\": null", "\"classifier_dropout\": 1.5", ["classifier_dropout", "1.5"]),
            ("ForSequenceClassification", "ForQuestionAnswering", ["ForQuestionAnswering", "ForSequence"]),
            ("\"model_type\": \"bert\"", "\"model_type\": \"t5\"", ["\"t5\"", "\"textcnn\""]),
        ],
    );
    let convolutions = TextCnn::new(TextCnnConfig::new(VOCABULARY, CONTEXT, 6), single(), 3, &device).unwrap();
    let large = "\"num_filters\": 100000000";
    broken(
        &convolutions.into(),
        &[
            ("\"num_filters\": 100", large, ["config.json", "parameters"]),
            ("\"num_filters\": 100", "\"num_filters\": 10", ["convolutions.0.weight", "[10, 6, 3]"]),
            ("    3,\n", "    300000000,\n", ["kernel_sizes", "300000000"]),
            ("    3,\n", "    200000000,\n", ["config.json", "parameters"]),
            ("    3,\n", "    0,\n", ["kernel_sizes", "0"]),
            ("    3,\n", "    2,\n", ["convolutions.0.weight", "[100, 6, 2]"]),
            ("    3,\n", "", ["holds tensors", "convolutions.2"]),
            ("\"dropout\": 0.5", "\"dropout\": 2.0", ["dropout", "2"]),
            ("\"vocab_size\": 37", "\"vocab_size\": \"all\"", ["config.json", "all"]),
        ],
    );
    let config = RecurrentConfig::new(Cell::Lstm, VOCABULARY, CONTEXT, 6, 1, 0.0);
    let recurrent = RecurrentClassifier::new(config, Pooling::Mean, single(), 7, &device).unwrap();
    broken(
        &recurrent.into(),
        &[
            ("\"pooling\": \"mean\"", "\"pooling\": \"some\"", ["pooling", "some"]),
            ("\"bidirectional\": false", "\"bidirectional\": true", ["lacks the tensor", "_reverse"]),
            ("\"hidden_size\": 6", "\"hidden_size\": 600000", ["config.json", "parameters"]),
            ("\"num_hidden_layers\": 1", "\"num_hidden_layers\": 0", ["num_hidden_layers", "0"]),
        ],
    );
}

#[test]
fn adapters_leave_the_body_and_train_the_head() {
    let device = Device::flex();
    for model in classifiers(0.0, &device) {
        let config = LoraConfig { rank: 2, alpha: 4.0, targets: Vec::new() };
        let made = Adapted::new(model.clone(), "", config, 1, &device.clone().autodiff());
        if matches!(model, Classifier::TextCnn(_) | Classifier::Recurrent(_)) {
            assert!(made.unwrap_err().to_string().contains("Transformers"));
            continue;
        }
        let adapted = made.unwrap().with_head(&device.clone().autodiff());
        let logits = |model: &Classifier| host(model.logits(&read(model), None));
        assert_eq!(logits(&adapted.merge()), logits(&model), "they begin at nothing");
        // A begins away from zero and B at zero, so that A's gradient is zero at first; the head's is not.
        let moved = parameters::update(adapted.clone(), |_, values| values + 0.05);
        every_gradient_is_there_and_right(&moved, |adapted| loss(&adapted.effective(), None));
        gradients_equal_finite_differences(&moved, |adapted| loss(&adapted.effective(), None));
        let trained: Vec<String> = parameters::list(&adapted).into_iter().map(|parameter| parameter.name).collect();
        assert!(trained.iter().any(|name| name.contains("lora_A")), "{trained:?}");
        assert!(trained.iter().any(|name| name.ends_with("added")), "{trained:?}");
        assert!(trained.len() < parameters::list(&model).len() + trained.len() / 2, "{trained:?}");
        assert!(adapted.save(tempfile::tempdir().unwrap().path()).unwrap_err().to_string().contains("merged"));
    }
}

#[test]
fn configurations_count_their_parameters() {
    let config = TextCnnConfig::new(VOCABULARY, CONTEXT, 6);
    let model = TextCnn::new(config.clone(), labels(Problem::SingleLabel), 3, &Device::flex()).unwrap();
    assert_eq!(config.parameters(), Some((model.num_params() - 3 * 301) as u64));
    assert_eq!(TextCnnConfig::new(1 << 40, 1, 1 << 40).parameters(), None);
}
