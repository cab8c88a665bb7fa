//! The flags of what is done with texts: training for a task, measuring, using.

use super::data::ReadingArguments;
use super::result;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    after_help = "Tasks: classify (labels of texts: sentiment, spam, topics, intents; one label, several, or a number; pairs of \
                        texts).\n\n\
                        Data are .csv .tsv .jsonl .json .parquet .arrow and .txt with tabs. Which field is the text and which the \
                        label is told by looking; where that cannot be, two rows are shown, and --text-field and --label-field \
                        say it. Texts longer than the model sees are read in windows, not cut.\n\n\
                        Leaves in the run's folder: recipe.toml (all of the above, which may be given again), events.jsonl, \
                        metrics.parquet, checkpoints, and model/, the weights that were best on the validation examples, for \
                        loam classify, loam eval and transformers.\n\n\
                        Examples:\n  \
                        loam finetune classify --model hf:sentence-transformers/all-MiniLM-L6-v2 --train train.tsv --valid dev.tsv\n  \
                        loam finetune classify --family textcnn --train reviews.csv -o runs/reviews\n  \
                        loam finetune classify --model DIR --train a.jsonl --lr find\n  \
                        loam finetune recipe.toml --set train.epochs=5\n  \
                        loam finetune --resume -o runs/reviews"
)]
pub struct FineTuneArguments {
    /// The task, or a recipe that ends in .toml
    #[arg(value_name = "TASK|RECIPE")]
    pub what: Option<String>,
    /// Model to go on from: a folder, a run's folder, or hf:org/name
    #[arg(short, long, value_name = "DIR", conflicts_with = "family")]
    pub model: Option<String>,
    /// Family of a new model
    #[arg(long, value_enum, value_name = "FAMILY")]
    pub family: Option<FamilyName>,
    /// Training examples
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub train: Vec<String>,
    /// Examples that tell which weights are best [default: a tenth of the training examples]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub valid: Vec<String>,
    /// Folder for the run [default: runs/TASK, or the next free runs/TASK-N]
    #[arg(short, long, value_name = "DIR", value_parser = result::path())]
    pub out: Option<PathBuf>,
    /// Times that every example is seen [default: 3 from a model, 10 from nothing]
    #[arg(long, value_name = "N")]
    pub epochs: Option<f64>,
    /// Examples an optimizer step [default: 32]
    #[arg(long, value_name = "N")]
    pub batch: Option<u64>,
    /// Peak learning rate, or find: then a short search says which, and is taken [default: 5e-5 from a model, else by family]
    #[arg(long, value_name = "RATE|find")]
    pub lr: Option<String>,
    /// Measurements in a row without a better one after which training stops
    #[arg(long, value_name = "N")]
    pub patience: Option<u64>,
    /// Tokens of a window [default: as many as the model sees, 256 of a new one]
    #[arg(long, value_name = "TOKENS")]
    pub context: Option<u64>,
    /// Tokenizer of a new model: a path, or one to train as word:10000 [default: word:10000, of Chinese wordpiece:10000]
    #[arg(long, value_name = "PATH|KIND:N")]
    pub tokenizer: Option<String>,
    /// Fields of the text; several are joined by a space
    #[arg(long, value_delimiter = ',', value_name = "FIELD,...")]
    pub text_field: Vec<String>,
    /// Field of the second text of a pair
    #[arg(long, value_name = "FIELD")]
    pub pair_field: Option<String>,
    /// Field of the label; several hold 1 or 0 for a label each
    #[arg(long, value_delimiter = ',', value_name = "FIELD,...")]
    pub label_field: Vec<String>,
    /// What stands between the labels of a text that may have several
    #[arg(long, value_name = "TEXT")]
    pub label_separator: Option<String>,
    /// Names of labels that are numbers, from 0 on, or a file with a name a line
    #[arg(long, value_delimiter = ',', value_name = "NAME,...|FILE")]
    pub label_names: Vec<String>,
    /// How much the examples of each label count
    #[arg(long, value_enum, value_name = "WAY")]
    pub class_weights: Option<ClassWeightsName>,
    /// Seed of order, new weights and dropout [default: 1]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Change a value of the recipe: KEY=VALUE, such as train.warmup=0.06
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Go on with the run in --out from its last checkpoint
    #[arg(long)]
    pub resume: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FamilyName {
    /// Convolutions over words
    Textcnn,
    /// Long short-term memory, both directions
    Lstm,
    /// Gated recurrent units, both directions
    Gru,
    /// A plain recurrent network, both directions
    Rnn,
    /// Transformer encoder
    Bert,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ClassWeightsName {
    /// All the same
    None,
    /// In inverse proportion to how many there are
    Balanced,
}

#[derive(Debug, Args)]
#[command(
    after_help = "One result a text, in order and number; a line that cannot be read has an error in its place, and the others go \
                        on. Texts longer than the model sees are read in windows, whose scores are averaged.\n\n\
                        With --json: {\"label\":...,\"scores\":{label:probability,...}}, of several labels \"labels\":[...], of a \
                        number \"score\":...; --top-k K leaves the K most probable scores\n\n\
                        Examples:\n  loam classify --model runs/reviews 'A fine film.'\n  \
                        loam classify --model DIR --file texts.txt --json\n  \
                        cat rows.jsonl | loam classify --model DIR --jsonl --text-field body --json"
)]
pub struct ClassifyArguments {
    /// The text; several may be given
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    pub text: Vec<String>,
    /// Model folder with a head over texts, a run's folder, or hf:org/name
    #[arg(short, long, value_name = "DIR")]
    pub model: PathBuf,
    /// Second text of a pair, where one text is given
    #[arg(long, value_name = "TEXT", requires = "text")]
    pub pair: Option<String>,
    /// A file with a text a line, or with JSON lines (.jsonl); without TEXT and --file, standard input is read
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Lines are JSON objects, whose field --text-field holds the text; so they are in files called .jsonl
    #[arg(long)]
    pub jsonl: bool,
    /// Field of JSON lines that holds the text
    #[arg(long, value_name = "FIELD", default_value = "text")]
    pub text_field: String,
    /// Field of JSON lines that holds the second text of a pair
    #[arg(long, value_name = "FIELD")]
    pub pair_field: Option<String>,
    /// Labels that are told of each text [default: the chosen one, and all with --json]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub top_k: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub enum EvalCommand {
    /// Labels of texts: accuracy, precision, recall, F1, MCC, calibration, confusion
    Classify(EvalClassifyArguments),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Every metric has its 95 % interval: percentiles of bootstrap resamples of the examples. With --against, both \
                        models answer the same examples, and a paired test says whether they differ.\n\n\
                        With --json: {\"task\":\"classify\",\"metrics\":{name:{\"value\":...,\"low\":...,\"high\":...}},\
                        \"examples\":n}\n\n\
                        Examples:\n  loam eval classify --model runs/reviews --data test.csv\n  \
                        loam eval classify --model runs/a --against runs/b --data test.tsv --json"
)]
pub struct EvalClassifyArguments {
    /// Model folder with a head over texts, a run's folder, or hf:org/name
    #[arg(short, long, value_name = "DIR")]
    pub model: PathBuf,
    /// A second model on the same examples
    #[arg(long, value_name = "DIR")]
    pub against: Option<PathBuf>,
    /// Labeled examples
    #[arg(long, required = true, value_name = "FILE", num_args = 1..)]
    pub data: Vec<String>,
    /// Fields of the text; several are joined by a space
    #[arg(long, value_delimiter = ',', value_name = "FIELD,...")]
    pub text_field: Vec<String>,
    /// Field of the second text of a pair
    #[arg(long, value_name = "FIELD")]
    pub pair_field: Option<String>,
    /// Field of the label; several hold 1 or 0 for a label each
    #[arg(long, value_delimiter = ',', value_name = "FIELD,...")]
    pub label_field: Vec<String>,
    /// What stands between the labels of a text that may have several
    #[arg(long, value_name = "TEXT")]
    pub label_separator: Option<String>,
    /// A file for every example's labels and scores, as JSON lines
    #[arg(long, value_name = "FILE", value_parser = result::path())]
    pub predictions: Option<PathBuf>,
    /// Bootstrap resamples
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub resamples: u32,
    /// Seed of the resamples
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    #[command(flatten)]
    pub reading: ReadingArguments,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Each row goes to a part by its text and the seed alone: equal texts stay together, so none leaks from one part \
                        into another, and rows that are added later move no other. Parts are written as JSON lines.\n\n\
                        Example:\n  loam data split reviews.csv --part train=0.8 --part dev=0.1 --part test=0.1 -o reviews"
)]
pub struct SplitArguments {
    /// Tables or records
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<String>,
    /// A part's name and share; shares sum to 1
    #[arg(long = "part", value_name = "NAME=SHARE", required = true)]
    pub parts: Vec<String>,
    /// Fields by which rows are told apart [default: all of them]
    #[arg(long, value_delimiter = ',', value_name = "FIELD,...")]
    pub by: Vec<String>,
    /// Folder for NAME.jsonl
    #[arg(short, long, value_name = "DIR", value_parser = result::path())]
    pub out: PathBuf,
    /// Seed of the parts
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    #[command(flatten)]
    pub reading: ReadingArguments,
}
