//! The flags of vectors of texts: training an encoder for them, measuring it, and searching with it.

use super::Pooling;
use super::data::ReadingArguments;
use super::result;
use super::tasks::MeasureArguments;
use clap::{Args, ValueEnum};
use loam_tasks::embed::PairFields;
use std::path::PathBuf;

/// What `loam finetune embed` takes beside what every task does.
#[derive(Debug, Args)]
#[command(next_help_heading = "Of embed")]
pub struct EmbedTrainingArguments {
    /// What cosines are multiplied by before a softmax, one over its temperature [default: 20]
    #[arg(long, value_name = "NUMBER")]
    pub scale: Option<f64>,
    /// What pairs with scores teach: their order (Su 2022), or the scores (Reimers and Gurevych 2019) [default: cosent]
    #[arg(long, value_enum, value_name = "LOSS")]
    pub similarity_loss: Option<SimilarityLossName>,
    /// Fields of texts that do not belong to the first
    #[arg(long, value_delimiter = ',', value_name = "FIELD,...")]
    pub negative_field: Vec<String>,
    /// How tokens become one vector [default: as the model says, else mean]
    #[arg(long, value_enum, value_name = "HOW")]
    pub pooling: Option<Pooling>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SimilarityLossName {
    /// The order of scores
    Cosent,
    /// The scores, as cosines
    Cosine,
}

/// How documents are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SearchMethod {
    /// By vectors: what means the same
    #[default]
    Embed,
    /// By words, without a model
    Bm25,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Pairs with scores (sentence1, sentence2, score) are measured by the correlation of their cosines with the scores. \
                        Pairs that belong together (anchor, positive; query, document; ...), SQuAD's files, and queries with --qrels \
                        over a --corpus are measured by what is found: recall at 1, 5 and 10, mean reciprocal rank and nDCG at 10. \
                        Searched are all second texts of the data and the corpus; documents that are longer than the model sees are read \
                        in windows, of which the best counts. Which field is what is told by its name, else by the flags. Every metric \
                        has its 95 % interval: percentiles of bootstrap resamples of the pairs or queries.\n\n\
                        With --json: {\"task\":\"embed\",\"metrics\":{name:{\"value\":...,\"low\":...,\"high\":...}},\"examples\":n,\
                        \"kind\":\"similarity\"|\"retrieval\",\"documents\":n}\n\n\
                        Examples:\n  loam eval embed --model DIR --data sts.test.tsv\n  \
                        loam eval embed --model runs/embed --against DIR --data test.json --corpus all.json\n  \
                        loam eval embed --model DIR --data queries.jsonl --corpus corpus.jsonl --qrels qrels/test.tsv\n  \
                        loam eval embed --method bm25 --data test.json --corpus all.json"
)]
pub struct EvalEmbedArguments {
    /// Model folder of an encoder, a run's folder, or hf:org/name
    #[arg(short, long, value_name = "DIR", required_unless_present = "method")]
    pub model: Option<PathBuf>,
    /// How documents are looked for
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub method: SearchMethod,
    /// Documents that are searched beside those of the data
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub corpus: Vec<String>,
    /// Which documents of the corpus belong to which queries: rows of query, document and worth
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "corpus")]
    pub qrels: Vec<String>,
    #[command(flatten)]
    pub fields: PairFieldArguments,
    /// Field of the corpus that holds the text
    #[arg(long, value_name = "FIELD")]
    pub corpus_field: Option<String>,
    /// How tokens become one vector [default: as the model says, else mean]
    #[arg(long, value_enum, value_name = "HOW")]
    pub pooling: Option<Pooling>,
    /// A file for every pair's cosine, or every query's documents, as JSON lines
    #[arg(long, value_name = "FILE", value_parser = result::path())]
    pub predictions: Option<PathBuf>,
    #[command(flatten)]
    pub measure: MeasureArguments,
}

/// Which fields of rows hold the texts of a pair.
#[allow(clippy::struct_field_names, reason = "as the flags are called")]
#[derive(Clone, Debug, Args)]
pub struct PairFieldArguments {
    /// Field of the first text
    #[arg(long, value_name = "FIELD")]
    pub text_field: Option<String>,
    /// Field of the text that belongs to it
    #[arg(long, value_name = "FIELD")]
    pub pair_field: Option<String>,
    /// Field of how alike they are
    #[arg(long, value_name = "FIELD")]
    pub label_field: Option<String>,
    /// Fields of texts that do not belong to the first
    #[arg(long, value_delimiter = ',', value_name = "FIELD,...")]
    pub negative_field: Vec<String>,
}

impl PairFieldArguments {
    /// As the library takes them.
    pub fn names(&self) -> PairFields {
        PairFields {
            anchor: self.text_field.clone(),
            positive: self.pair_field.clone(),
            negatives: self.negative_field.clone(),
            score: self.label_field.clone(),
        }
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "A corpus is records with a text (and a title, and an id), SQuAD's files, or files of text, pages and archives. Documents \
                        that are longer than the model sees are read in windows, each with its own vector; the best window is told. The \
                        first search writes an index into --index, which the next ones read; it is known by the model and every text, and \
                        a corpus that has grown takes what it can from the one before.\n\n\
                        Without --json, lines of score, document and text; with it, an object a query: {\"query\":...,\
                        \"hits\":[{\"id\":...,\"score\":...,\"start\":...,\"end\":...,\"text\":...}]}, places in characters of the document. \
                        Scores are cosines, or BM25's sums with --method bm25.\n\n\
                        Examples:\n  loam search 'who built the tower' --model DIR --corpus notes/ articles.jsonl\n  \
                        loam search --file questions.txt --model DIR --corpus corpus.jsonl --top-k 10 --json\n  \
                        loam search 'Ada Lovelace' --method bm25 --corpus notes/"
)]
pub struct SearchArguments {
    /// What is looked for; several may be given, before --corpus
    #[arg(value_name = "QUERY", conflicts_with = "file")]
    pub query: Vec<String>,
    /// Model folder of an encoder, a run's folder, or hf:org/name
    #[arg(short, long, value_name = "DIR", required_unless_present = "method")]
    pub model: Option<PathBuf>,
    /// Files, folders and globs of what is searched
    #[arg(long, required = true, value_name = "FILE", num_args = 1..)]
    pub corpus: Vec<String>,
    /// Field of the corpus that holds the text
    #[arg(long, value_name = "FIELD")]
    pub corpus_field: Option<String>,
    /// A file with a query a line, or with JSON lines (.jsonl); without QUERY and --file, standard input is read
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Lines are JSON objects, whose field --text-field holds the query; so they are in files called .jsonl
    #[arg(long)]
    pub jsonl: bool,
    /// Field of JSON lines that holds the query
    #[arg(long, value_name = "FIELD", default_value = "text")]
    pub text_field: String,
    /// Documents that are told of each query
    #[arg(long, default_value_t = 5, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub top_k: u32,
    /// How documents are looked for
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub method: SearchMethod,
    /// Folder of indexes
    #[arg(long, value_name = "DIR", default_value = "indexes", value_parser = result::path())]
    pub index: PathBuf,
    /// How tokens become one vector [default: as the model says, else mean]
    #[arg(long, value_enum, value_name = "HOW")]
    pub pooling: Option<Pooling>,
    #[command(flatten)]
    pub reading: ReadingArguments,
}
