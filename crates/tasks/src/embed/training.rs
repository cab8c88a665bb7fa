//! Training an encoder so that near vectors mean like texts.

use super::evaluation::{RANKED, RankedQuery, correlations, means, ranked};
use super::loss::{Told, contrastive, scaled, similarity};
use super::pooling::{beginning, scale};
use super::{EmbedExamples, Encoder, Passages, Pooling, Retrieval, ScoredPair, SimilarityLoss, layout};
use crate::language_model::TaskError;
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_corpus::Tokenizer;
use loam_models::Bert;
use loam_models::causal::Shape;
use loam_train::TrainError;
use loam_train::finetune::{Joined, Measured, Task};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// Validation pairs with scores whose loss is taken together.
const SCORED: usize = 64;

/// What is particular to this task: the table `[embed]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbedRecipe {
    /// What cosines are multiplied by before a softmax, one over its temperature; 20 as in sentence-transformers.
    pub scale: f64,
    /// What pairs with scores teach.
    pub loss: SimilarityLoss,
    /// How tokens become a vector, where it is not as the model says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    /// Fields of texts that do not belong to the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub negative_fields: Vec<String>,
}

impl Default for EmbedRecipe {
    fn default() -> Self {
        Self { scale: 20.0, loss: SimilarityLoss::default(), pooling: None, negative_fields: Vec::new() }
    }
}

impl EmbedRecipe {
    /// Whether it says nothing, so that it needs no table.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Texts of the training examples, each once.
#[derive(Default)]
struct Texts {
    numbers: HashMap<Arc<str>, usize>,
    ids: Vec<Vec<u32>>,
    lengths: Vec<usize>,
    /// How many are longer than what is read of them.
    cut: usize,
}

impl Texts {
    fn number(&mut self, text: &Arc<str>, tokenizer: &Tokenizer, longest: usize) -> Result<usize, TaskError> {
        if let Some(number) = self.numbers.get(text) {
            return Ok(*number);
        }
        let (ids, whole) = beginning(tokenizer, text, longest);
        if ids.is_empty() {
            let short: String = text.chars().take(60).collect();
            return Err(TaskError::Request(format!("the text {short:?} has no tokens, so it has no vector")));
        }
        self.cut += usize::from(!whole);
        self.numbers.insert(text.clone(), self.ids.len());
        self.lengths.push(ids.len());
        self.ids.push(ids);
        Ok(self.ids.len() - 1)
    }
}

/// Training examples as numbers of texts.
enum Encoded {
    /// An anchor, what belongs to it, and what does not; and of every anchor all that belongs to it.
    Pairs(Vec<(usize, usize, Vec<usize>)>, HashMap<usize, BTreeSet<usize>>),
    /// Two texts and their score.
    Scored(Vec<(usize, usize, f32)>),
}

/// What tells which weights are best.
enum Valid {
    Pairs(Retrieval),
    Scored(Vec<ScoredPair>),
}

/// An encoder's training and validation examples.
pub struct EmbedTask {
    recipe: EmbedRecipe,
    encoder: Encoder,
    tokenizer: Tokenizer,
    texts: Texts,
    train: Encoded,
    lengths: Vec<usize>,
    valid: Option<Valid>,
    hash: String,
}

impl EmbedTask {
    /// Examples for a model that is used as `encoder` says, in batches of so many.
    ///
    /// # Errors
    /// When there is nothing to tell apart, in the examples or in a batch, or a score is none that the loss can learn.
    pub(crate) fn new(
        train: &EmbedExamples,
        valid: Option<EmbedExamples>,
        tokenizer: Tokenizer,
        encoder: Encoder,
        recipe: EmbedRecipe,
        batch: usize,
    ) -> Result<Self, TaskError> {
        check(train, &recipe, batch)?;
        let mut texts = Texts::default();
        let mut number = |text: &Arc<str>| texts.number(text, &tokenizer, encoder.longest);
        let encoded = match train {
            EmbedExamples::Pairs(pairs) => {
                let (mut rows, mut known) = (Vec::with_capacity(pairs.len()), HashMap::new());
                for pair in pairs {
                    let (anchor, positive) = (number(&pair.anchor)?, number(&pair.positive)?);
                    let negatives = pair.negatives.iter().map(&mut number).collect::<Result<_, _>>()?;
                    known.entry(anchor).or_insert_with(BTreeSet::new).insert(positive);
                    rows.push((anchor, positive, negatives));
                }
                Encoded::Pairs(rows, known)
            }
            EmbedExamples::Scored(pairs) => {
                let row = |pair: &ScoredPair| Ok((number(&pair.first)?, number(&pair.second)?, pair.score as f32));
                Encoded::Scored(pairs.iter().map(row).collect::<Result<_, TaskError>>()?)
            }
        };
        let valid = valid.filter(|valid| !valid.is_empty()).map(|valid| match valid {
            EmbedExamples::Pairs(_) => Valid::Pairs(Retrieval::of_pairs(&valid, &[])),
            EmbedExamples::Scored(pairs) => Valid::Scored(pairs),
        });
        let mut task =
            Self { recipe, encoder, tokenizer, texts, train: encoded, lengths: Vec::new(), valid, hash: String::new() };
        let cost = |example| task.texts(example).into_iter().map(|text| task.texts.lengths[text]).sum();
        task.lengths = (0..train.len()).map(cost).collect();
        task.hash = task.hashed();
        Ok(task)
    }

    /// Training texts of which only the beginning is read.
    pub(crate) fn cut(&self) -> usize {
        self.texts.cut
    }

    /// Of what is learned: the texts, what is told of them, and how.
    fn hashed(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut say = |said: String| {
            hasher.update(said.as_bytes());
        };
        say(format!("{:?}{:?}{}", self.texts.ids, self.recipe, self.tokenizer.hash()));
        match &self.train {
            Encoded::Pairs(rows, _) => say(format!("{rows:?}")),
            Encoded::Scored(rows) => say(format!("{rows:?}")),
        }
        match &self.valid {
            Some(Valid::Pairs(valid)) => {
                let relevance: Vec<BTreeSet<&usize>> = valid.relevance.iter().map(|of| of.keys().collect()).collect();
                say(format!("{:?}{:?}{relevance:?}", valid.queries, valid.documents));
            }
            Some(Valid::Scored(pairs)) => {
                let said: Vec<_> = pairs.iter().map(|pair| (&pair.first, &pair.second, pair.score)).collect();
                say(format!("{said:?}"));
            }
            None => {}
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Where each text stands among those of a batch.
    fn places(texts: &[usize]) -> HashMap<usize, usize> {
        texts.iter().copied().zip(0..).collect()
    }

    fn vectors(&self, model: &Bert, texts: &[Arc<str>], device: &Device) -> Vec<Vec<f32>> {
        let ids: Vec<Vec<u32>> =
            texts.iter().map(|text| beginning(&self.tokenizer, text, self.encoder.longest).0).collect();
        let rows: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let mut vectors = self.encoder.vectors(model, &rows, device, &mut |_| {});
        for vector in &mut vectors {
            scale(vector);
        }
        vectors
    }

    fn measure_pairs(&self, model: &Bert, valid: &Retrieval, device: &Device) -> Result<Measured, TrainError> {
        let passages = Passages::of(model, &self.encoder, &self.tokenizer, &valid.documents, device, &mut |_, _| {})
            .map_err(|error| TrainError::Request(error.to_string()))?;
        let queries = self.vectors(model, &valid.queries, device);
        let mut found: Vec<RankedQuery> = Vec::with_capacity(queries.len());
        let (mut loss, mut count) = (0.0, 0_u64);
        passages.scores(&queries, valid.documents.len(), device, |query, scores| {
            let relevance = &valid.relevance[query];
            let own = |document: usize| relevance.get(&document).is_some_and(|worth| *worth > 0.0);
            // Neither right nor wrong: what also belongs to the query, and itself.
            let kept = |document: usize| !own(document) && valid.documents[document] != valid.queries[query];
            let scaled = |document: usize| self.recipe.scale * f64::from(scores[document]);
            // No cosine is more than 1, so nothing overflows.
            let others: f64 =
                (0..scores.len()).filter(|one| kept(*one)).map(|one| (scaled(one) - self.recipe.scale).exp()).sum();
            let mut order: Vec<usize> = (0..scores.len()).filter(|one| own(*one) || kept(*one)).collect();
            for document in order.iter().copied().filter(|one| own(*one)) {
                let own = scaled(document) - self.recipe.scale;
                loss += (others + own.exp()).ln() - own;
                count += 1;
            }
            order.sort_by(|one, other| scores[*other].total_cmp(&scores[*one]).then(one.cmp(other)));
            let best = order.into_iter().take(RANKED).map(|document| (document, f64::from(scores[document])));
            found.push(ranked(best.collect(), relevance));
        });
        let metrics: BTreeMap<String, f64> = means(&found).collect();
        let loss = loss / count.max(1) as f64;
        // It also tells the second of several documents, where the first is found at once.
        Ok(Measured { loss, metrics, deciding: "ndcg_at_10".to_owned(), examples: found.len() as u64 })
    }

    fn measure_scored(&self, model: &Bert, valid: &[ScoredPair], device: &Device) -> Measured {
        let side = |of: fn(&ScoredPair) -> &Arc<str>| {
            self.vectors(model, &valid.iter().map(|pair| of(pair).clone()).collect::<Vec<_>>(), device)
        };
        let (first, second) = (side(|pair| &pair.first), side(|pair| &pair.second));
        let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let pairs = valid.iter().zip(first.iter().zip(&second)).map(|(pair, (a, b))| (pair.score, cosine(a, b)));
        let pairs: Vec<(f64, f64)> = pairs.collect();
        let (mut loss, mut blocks) = (0.0, 0_u64);
        for block in pairs.chunks(SCORED) {
            let cosines: Vec<f32> = block.iter().map(|pair| pair.1 as f32).collect();
            let scores: Vec<f32> = block.iter().map(|pair| pair.0 as f32).collect();
            let cosines = Tensor::<1>::from_data(TensorData::new(cosines, [block.len()]), device);
            let of_block = similarity(cosines, &scores, self.recipe.loss, self.recipe.scale as f32);
            loss += f64::from(of_block.into_scalar::<f32>());
            blocks += 1;
        }
        Measured {
            loss: loss / blocks.max(1) as f64,
            metrics: correlations(&pairs).collect(),
            deciding: "spearman".to_owned(),
            examples: pairs.len() as u64,
        }
    }
}

/// Says what leaves nothing to learn, if anything.
fn check(train: &EmbedExamples, recipe: &EmbedRecipe, batch: usize) -> Result<(), TaskError> {
    let wrong = |message: String| Err(TaskError::Request(message));
    if !(recipe.scale.is_finite() && recipe.scale > 0.0) {
        return wrong(format!("embed.scale = {}: give a number above 0", recipe.scale));
    }
    match train {
        EmbedExamples::Pairs(pairs) => {
            let documents: BTreeSet<&Arc<str>> =
                pairs.iter().flat_map(|pair| pair.negatives.iter().chain([&pair.positive])).collect();
            if documents.len() < 2 {
                let message = "every training pair has the same second text, so there is nothing to tell apart; give pairs with \
                               others, or negatives";
                return wrong(message.to_owned());
            }
            if batch < 2 && pairs.iter().any(|pair| pair.negatives.is_empty()) {
                let message =
                    "train.batch = 1: a pair is told apart from the others of its batch; give 2 or more, or negatives";
                return wrong(message.to_owned());
            }
        }
        EmbedExamples::Scored(pairs) if recipe.loss == SimilarityLoss::Cosine => {
            if let Some(pair) = pairs.iter().find(|pair| !(-1.0..=1.0).contains(&pair.score)) {
                return wrong(format!(
                    "{}: the score {} is no cosine, which is from -1 to 1; divide scores by the highest, or learn their order \
                     alone (--similarity-loss cosent)",
                    pair.place, pair.score
                ));
            }
        }
        EmbedExamples::Scored(pairs) => {
            if pairs.iter().all(|pair| pair.score == pairs[0].score) {
                return wrong("every training pair has the same score, so there is no order to learn".to_owned());
            }
            if batch < 2 {
                let message = "train.batch = 1: the order of scores is learned within a batch; give 2 or more";
                return wrong(message.to_owned());
            }
        }
    }
    Ok(())
}

impl Task for EmbedTask {
    type Model = Bert;

    fn name(&self) -> &'static str {
        "embed"
    }

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn weight(&self, _example: usize) -> f64 {
        1.0
    }

    fn loss(
        &self,
        model: &Bert,
        examples: &[usize],
        scale: f32,
        dropout_seed: Option<u64>,
        device: &Device,
    ) -> Tensor<1> {
        let texts: BTreeSet<usize> = examples.iter().flat_map(|example| self.texts(*example)).collect();
        let texts: Vec<usize> = texts.into_iter().collect();
        let vectors = self.encode(model, &texts, dropout_seed, device);
        self.joined_loss(examples, &texts, vectors) * (scale * examples.len() as f32)
    }

    fn joined(&self) -> Option<&dyn Joined<Bert>> {
        Some(self)
    }

    fn measure(&self, model: &Bert, device: &Device) -> Result<Option<Measured>, TrainError> {
        Ok(match &self.valid {
            None => None,
            Some(Valid::Pairs(valid)) => Some(self.measure_pairs(model, valid, device)?),
            Some(Valid::Scored(valid)) => Some(self.measure_scored(model, valid, device)),
        })
    }

    fn export(&self, model: &Bert, folder: &Path) -> Result<(), TrainError> {
        let Encoder { pooling, normalize, longest, .. } = self.encoder;
        model.save(folder)?;
        self.tokenizer.save_with_length(folder, Some(longest))?;
        Ok(layout::write(folder, pooling, normalize, model.config().hidden_size, longest)?)
    }

    fn hash(&self) -> &str {
        &self.hash
    }

    fn describe(&self, model: &Bert) -> Shape {
        model.config().shape()
    }
}

impl Joined<Bert> for EmbedTask {
    fn text_lengths(&self) -> &[usize] {
        &self.texts.lengths
    }

    fn texts(&self, example: usize) -> Vec<usize> {
        match &self.train {
            Encoded::Pairs(rows, _) => {
                let (anchor, positive, negatives) = &rows[example];
                [*anchor, *positive].into_iter().chain(negatives.iter().copied()).collect()
            }
            Encoded::Scored(rows) => vec![rows[example].0, rows[example].1],
        }
    }

    fn encode(&self, model: &Bert, texts: &[usize], dropout_seed: Option<u64>, device: &Device) -> Tensor<2> {
        let rows: Vec<&[u32]> = texts.iter().map(|text| self.texts.ids[*text].as_slice()).collect();
        self.encoder.pooled(model, &rows, dropout_seed, device)
    }

    fn joined_loss(&self, examples: &[usize], texts: &[usize], vectors: Tensor<2>) -> Tensor<1> {
        let places = Self::places(texts);
        let vectors = scaled(vectors);
        let device = vectors.device();
        let rows = |chosen: &[usize]| {
            let places: Vec<i64> = chosen.iter().map(|text| places[text] as i64).collect();
            let count = places.len();
            vectors.clone().select(0, Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &device))
        };
        let scale = self.recipe.scale as f32;
        match &self.train {
            Encoded::Scored(pairs) => {
                let side = |of: fn(&(usize, usize, f32)) -> usize| {
                    rows(&examples.iter().map(|example| of(&pairs[*example])).collect::<Vec<_>>())
                };
                let cosines = (side(|pair| pair.0) * side(|pair| pair.1)).sum_dim(1).reshape([examples.len()]);
                let scores: Vec<f32> = examples.iter().map(|example| pairs[*example].2).collect();
                similarity(cosines, &scores, self.recipe.loss, scale)
            }
            Encoded::Pairs(pairs, known) => {
                let (mut anchors, mut documents, mut columns) = (Vec::new(), Vec::new(), HashMap::new());
                let mut targets = Vec::new();
                for example in examples {
                    let (anchor, positive, negatives) = &pairs[*example];
                    anchors.push(*anchor);
                    for document in std::iter::once(positive).chain(negatives) {
                        columns.entry(*document).or_insert_with(|| {
                            documents.push(*document);
                            documents.len() - 1
                        });
                    }
                    targets.push(columns[positive]);
                }
                let mut left_out = Vec::new();
                for (row, (anchor, target)) in anchors.iter().zip(&targets).enumerate() {
                    let belongs = known.get(anchor).into_iter().flatten().chain([anchor]);
                    let others = belongs.filter_map(|text| columns.get(text)).filter(|column| *column != target);
                    left_out.extend(others.map(|column| (row, *column)));
                }
                contrastive(rows(&anchors), rows(&documents), &Told { targets, left_out }, scale)
            }
        }
    }
}
