//! What a run leaves behind, as types: the events in `events.jsonl` and the rows of `metrics.parquet`,
//! `ledger.parquet`, `document_values.parquet` and `document_sums.parquet`. Whoever reads a run (the report, `loam runs`, `loam query`) reads these.

use loam_corpus::{HeldOutSummary, SourceSummary};
use serde::{Deserialize, Serialize};

/// One line of `events.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventLine {
    /// When it happened: RFC 3339, UTC.
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// The precision of runs that were recorded before there was a choice.
fn f32_name() -> String {
    "f32".to_owned()
}

/// What runs learned that were recorded before there was a choice.
fn causal_name() -> String {
    "causal".to_owned()
}

/// What happened in a run, in words and numbers. Losses are nats a token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run began, or went on from a checkpoint.
    Start {
        /// Version of Loam.
        loam: String,
        /// Processor, as the system names it.
        machine: String,
        /// Device that computes: `cpu`, `cuda:0`, ...
        device: String,
        /// Threads that compute.
        threads: usize,
        /// In what precision products are made: `f32`, `bf16`; `f32` where bf16 was asked for and the device cannot.
        #[serde(default = "f32_name")]
        precision: String,
        /// Seed of initialization, data order and dropout.
        seed: u64,
        /// Step of the checkpoint that the run goes on from; none for a fresh start.
        resumed_from: Option<u64>,
    },
    /// The tokenizer is ready.
    Tokenizer {
        /// `bpe`, `wordpiece`, `unigram` or `word`.
        kind: String,
        /// Number of token ids.
        vocabulary: usize,
        /// Where it came from: `trained`, or the path that it was loaded from.
        origin: String,
    },
    /// The text is tokenized.
    Data {
        /// BLAKE3 hash over every token shard.
        hash: String,
        /// Training sources, in the order of the recipe.
        sources: Vec<SourceSummary>,
        /// Held-out domains.
        held_out: Vec<HeldOutSummary>,
    },
    /// The model is built.
    Model {
        /// `gpt`, ...
        family: String,
        /// All trainable parameters.
        parameters: u64,
        /// Parameters that are not trained, where adapters are.
        #[serde(default)]
        frozen_parameters: u64,
        /// Parameters outside the embeddings.
        non_embedding_parameters: u64,
        /// Width of the residual stream.
        width: usize,
        /// Number of blocks.
        layers: usize,
        /// Attention heads a block.
        heads: usize,
        /// Longest sequence, in tokens.
        context: usize,
    },
    /// How long and in what portions the run trains.
    Plan {
        /// Optimizer steps.
        steps: u64,
        /// Tokens an optimizer step.
        batch_tokens: usize,
        /// Tokens a micro-batch, all of one source.
        micro_batch_tokens: usize,
        /// What is learned: `causal`, `masked`, `pairs` or `spans`.
        #[serde(default = "causal_name")]
        objective: String,
    },
    /// A simple model's held-out loss, for comparison.
    Baseline {
        /// Held-out domain.
        domain: String,
        /// `unigram`, `bigram`, `trigram`.
        name: String,
        /// Nats a token.
        loss: f64,
        /// Bits a byte of text.
        bits_per_byte: f64,
        /// Share of the tokens that were the model's most probable ones; none in records from before it was measured.
        #[serde(default)]
        accuracy: Option<f64>,
    },
    /// A held-out evaluation; the last one of a run covers the whole domain.
    Evaluation {
        /// Optimizer steps done.
        step: u64,
        /// Held-out domain.
        domain: String,
        /// Nats a token.
        loss: f64,
        /// Bits a byte of text.
        bits_per_byte: f64,
        /// Share of the tokens that were the model's most probable ones; none in records from before it was measured.
        #[serde(default)]
        accuracy: Option<f64>,
        /// Tokens that were scored.
        tokens: u64,
    },
    /// What a task is trained on, and for how long.
    FineTuning {
        /// `classify`, ...
        task: String,
        /// Optimizer steps.
        steps: u64,
        /// Times that every example is seen.
        epochs: f64,
        /// Training examples.
        examples: u64,
        /// Tokens in them, without padding.
        tokens: u64,
        /// Examples an optimizer step.
        batch: usize,
    },
    /// How well a task is done on the examples that are kept for this.
    Measurement {
        /// Optimizer steps done.
        step: u64,
        /// Epochs done.
        epoch: f64,
        /// Loss and metrics.
        #[serde(flatten)]
        measured: crate::finetune::Measured,
    },
    /// A checkpoint stands on disk, whole.
    Checkpoint {
        /// Optimizer steps done.
        step: u64,
        /// Folder, relative to the run.
        path: String,
        /// Whether it has the lowest held-out loss so far.
        best: bool,
    },
    /// Text that the trained model wrote.
    Sample {
        /// What it was given.
        prompt: String,
        /// What it added.
        text: String,
        /// Sampling temperature.
        temperature: f64,
    },
    /// What the ledger cost.
    LedgerCost {
        /// Wall time spent on the ledger, in seconds.
        seconds: f64,
        /// The same over the wall time of training without it.
        overhead: f64,
        /// Fresh held-out gradients that were taken.
        refreshes: u64,
        /// Held-out tokens a domain that each refresh reads.
        tokens_per_domain: usize,
        /// Who the momentum is credited to: `sources` or `history`.
        momentum: String,
        /// Memory that the ledger's vectors took, in bytes.
        memory_bytes: u64,
    },
    /// What the ledger by document cost.
    DocumentCost {
        /// Wall time spent on it, in seconds.
        seconds: f64,
        /// The same over the wall time of training without any ledger.
        overhead: f64,
        /// Share of the micro-batches that were scored.
        rate: f64,
        /// Micro-batches scored in this session.
        micro_batches: u64,
        /// Targets scored, over all sessions.
        tokens_scored: u64,
        /// Documents that have some.
        documents: u64,
    },
    /// The run stopped.
    Finish {
        /// `done`, `interrupted`, `early_stop` or `non_finite`.
        reason: String,
        /// Optimizer steps done.
        step: u64,
        /// Training tokens seen.
        tokens: u64,
        /// Wall time of this session, in seconds.
        seconds: f64,
        /// Training tokens a second, evaluation and checkpoints not counted.
        tokens_per_second: f64,
        /// BLAKE3 hash of the final weights.
        weights_hash: String,
    },
}

/// One measurement: a row of `metrics.parquet`, columns named as the fields.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricRow {
    /// Optimizer steps done.
    pub step: u64,
    /// Training tokens seen.
    pub tokens: u64,
    /// Seconds of training so far, summed over resumed sessions.
    pub seconds: f64,
    /// `train_loss`, `held_out_loss`, `held_out_accuracy`, `bits_per_byte`, `learning_rate`, `gradient_norm`,
    /// `tokens_per_second`.
    pub metric: String,
    /// Held-out domain, or source for `train_loss` by source; empty where neither applies.
    pub domain: String,
    /// The value, in the metric's unit.
    pub value: f64,
}

/// One line of the books: a row of `ledger.parquet`, columns named as the fields.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerRow {
    /// Step at which the interval begins.
    pub from_step: u64,
    /// Step at which it ends.
    pub step: u64,
    /// Held-out domain.
    pub domain: String,
    /// `source`, `history` (momentum carried over, where it is a line of its own), `decay` (weight decay), or
    /// `measured` (the change in held-out loss as evaluated on the ledger's sequences).
    pub line: String,
    /// Source of a `source` line; empty otherwise.
    pub source: String,
    /// Nats a held-out token by which the loss came down; positive is helpful. For `measured`, the same of the
    /// measurement, so that the sum of the other lines should equal it.
    pub value: f64,
    /// Training tokens of the source in the interval; 0 on other lines.
    pub tokens: u64,
}

/// What a document did to a held-out domain: a row of `document_values.parquet`, columns named as the fields. Documents of
/// which nothing was scored have no row.
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentValueRow {
    /// Its id in `documents.parquet`; empty for the tokens of a source that belong to no document there.
    pub id: String,
    /// Its source.
    pub source: String,
    /// Held-out domain.
    pub domain: String,
    /// Nats a held-out token by which it brought the loss down over the run, as estimated: what its scored targets did,
    /// divided by the rate. Positive is helpful. Sums over documents are unbiased.
    pub value: f64,
    /// Standard error of the value, in nats: what drawing which micro-batches are scored makes of it.
    pub standard_error: f64,
    /// Its targets that were trained on, as often as they were.
    pub tokens_trained: u64,
    /// Those of them that were scored.
    pub tokens_scored: u64,
    /// Nats that the scored targets alone brought down; over `tokens_scored` it is the value of a token.
    pub value_scored: f64,
}

/// What all documents of a source did to a held-out domain: a row of `document_sums.parquet`, columns named as the fields.
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentSumRow {
    /// The source.
    pub source: String,
    /// Held-out domain.
    pub domain: String,
    /// Sum of its documents' values, in nats a held-out token; what the ledger books to the source stands beside it.
    pub value: f64,
    /// Standard error of the sum, in nats. Documents of one micro-batch are drawn together, so it is not that of independent
    /// values.
    pub standard_error: f64,
    /// Targets trained on.
    pub tokens_trained: u64,
    /// Targets scored.
    pub tokens_scored: u64,
    /// Share of the micro-batches that are scored.
    pub rate: f64,
}

/// A number of the open books by document, for a checkpoint ([`crate::ledger::DocumentBooks::tallies`]).
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentTally {
    /// A document, what is left of a source, or a source.
    pub slot: u64,
    /// The domain, by its place.
    pub domain: u64,
    /// Targets trained on.
    pub tokens_trained: u64,
    /// Targets scored.
    pub tokens_scored: u64,
    /// Sum of their values, in nats.
    pub sum: f64,
    /// Sum over micro-batches of the squared values.
    pub squares: f64,
}
