//! Every command and flag, each with its help.

mod cluster;
mod data;
mod embed;
mod influence;
mod result;
mod study;
mod tasks;
mod word2vec;
mod writing;

use clap::{Args, Parser, Subcommand, ValueEnum};
use loam_nn::precision::Precision;
use std::path::PathBuf;

pub use cluster::{SchedulerArguments, WorkerArguments};
pub use data::{DataCommand, InspectArguments, PrepareArguments, ReadingArguments, WhyArguments};
pub use embed::{EvalEmbedArguments, SearchArguments, SearchMethod, SimilarityLossName};
pub use influence::{InfluenceArguments, methods};
pub use study::{
    FitArguments, MixArguments, OrderArguments, PointsArguments, QualityArguments, RepeatArguments, RunsToMake,
    ScaleArguments, StudyCommand, SubsetsArguments,
};
pub use tasks::{
    AnswerArguments, ClassWeightsName, ClassifyArguments, EvalAnswerArguments, EvalClassifyArguments, EvalCommand,
    EvalLanguageModelArguments, EvalTagArguments, FamilyName, FineTuneArguments, GivenArguments, MeasureArguments,
    SpanArguments, SplitArguments, TagArguments,
};
pub use word2vec::{
    AnalogiesArguments, ConvertArguments, NearestArguments, VectorKind, Word2VecCommand, Word2VecTrainArguments,
};
pub use writing::{
    EvalChatArguments, EvalSummarizeArguments, EvalTranslateArguments, PairsArguments, SummarizeArguments,
    TranslateArguments, WritingArguments,
};

/// Train, evaluate and explain language models, and measure what the training data did to them.
#[derive(Debug, Parser)]
#[command(
    name = "loam",
    version,
    max_term_width = 100,
    after_help = "Without a command, loam runs the demonstration: it trains a small GPT on text that is on this disk \
                  already, lets it write, and leaves a report.\n\n\
                  Examples:\n  \
                  loam                                          the demonstration, about three minutes\n  \
                  loam train recipes/gpt-wikitext2.toml          train as a recipe says\n  \
                  loam train recipe.toml --set train.lr=3e-4     ... with one value changed\n  \
                  loam generate --model runs/NAME 'Once upon'    let the result write\n  \
                  loam report runs/NAME                          see what the data did"
)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Where to compute: auto, cpu
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    pub device: String,
    /// Precision of matrix products: f32, bf16 [default: f32; in training, the train.dtype of the recipe]; of written
    /// weights in export and import, also f16
    #[arg(long, global = true, value_name = "DTYPE", value_parser = ["f32", "f16", "bf16"])]
    pub dtype: Option<String>,
    /// Threads that compute [default: one a core]
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// Print results as JSON, one object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// Fetch nothing: what hf: and s3:// name is read from the cache alone
    #[arg(long, global = true)]
    pub offline: bool,
    /// No progress and no remarks, only results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a small GPT on the sources of the crates on this disk, let it write, and report what the data did
    Demo(DemoArguments),
    /// Train a model as a recipe says, or go on with a run
    Train(TrainArguments),
    /// Train a model for a task on labeled examples, from a model that there is or from nothing
    #[command(name = "finetune")]
    FineTune(Box<FineTuneArguments>),
    /// Measure how well a model does a task
    #[command(subcommand)]
    Eval(EvalCommand),
    /// Let a model write
    Generate(GenerateArguments),
    /// Converse with a model
    Chat(ChatArguments),
    /// Tell how probable a model finds a text, token by token
    Score(ScoreArguments),
    /// Tell the labels of texts
    Classify(ClassifyArguments),
    /// Find spans of texts that have a label: names and the like
    Tag(TagArguments),
    /// Answer questions by a part of a text
    Answer(AnswerArguments),
    /// Translate texts
    Translate(TranslateArguments),
    /// Summarize texts
    Summarize(SummarizeArguments),
    /// Turn texts into vectors
    Embed(EmbedArguments),
    /// Find the documents of a corpus that are nearest to a query
    Search(SearchArguments),
    /// Tell what the masks of a text may stand for
    FillMask(FillMaskArguments),
    /// Take a model of another format, or from the Hub, into a folder
    Import(ImportArguments),
    /// Write a model for others: another precision, shards, a model card
    Export(ExportArguments),
    /// Tell what a model holds: family, parameters by module, memory, vocabulary, template
    Inspect(InspectModelArguments),
    /// Tokenizers
    #[command(subcommand)]
    Tokenizer(TokenizerCommand),
    /// Vectors of words, by skip-gram or CBOW
    #[command(name = "word2vec", subcommand)]
    Word2Vec(Word2VecCommand),
    /// Text, before it is trained on
    #[command(subcommand)]
    Data(DataCommand),
    /// Hand out the files of preparations to workers, on a cluster
    Scheduler(SchedulerArguments),
    /// Read files of preparations for a scheduler, on a cluster
    Worker(WorkerArguments),
    /// Tell what the training data did: values of sources, and the documents that made a model say something
    Influence(InfluenceArguments),
    /// Find out what data does, by experiments and laws: mixtures, sizes, repetition, quality, order
    #[command(subcommand)]
    Study(StudyCommand),
    /// Draw the report of a run
    Report(ReportArguments),
    /// List the runs in a folder
    Runs(RunsArguments),
    /// Ask the records of runs in SQL
    Query(QueryArguments),
    /// Measure how fast this machine trains
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Tell what Loam finds on this machine
    Doctor,
    /// Print shell completions
    Completions(CompletionsArguments),
}

#[derive(Debug, Args)]
#[command(
    after_help = "The text is the sources of the crates that Loam itself is built from, where Cargo has unpacked \
                        them ($CARGO_HOME, or ~/.cargo). Nothing is downloaded.\n\n\
                        Examples:\n  loam demo\n  loam demo --minutes 10 --out runs/longer"
)]
pub struct DemoArguments {
    /// Folder for the run [default: runs/demo, or the next free runs/demo-N]
    #[arg(short, long, value_name = "DIR", value_parser = result::path())]
    pub out: Option<PathBuf>,
    /// Minutes of training
    #[arg(long, default_value_t = 2.0, value_name = "M", allow_negative_numbers = true)]
    pub minutes: f64,
    /// Seed of initialization, data order and dropout
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
}

impl Global {
    /// The precision of products that was asked for.
    pub fn precision(&self) -> Precision {
        if self.dtype.as_deref() == Some("bf16") { Precision::Bf16 } else { Precision::F32 }
    }
}

impl Default for DemoArguments {
    fn default() -> Self {
        Self { out: None, minutes: 2.0, seed: 1 }
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "A recipe is a TOML file; recipes/ has examples with a reason beside every value. Ctrl-C saves a \
                        checkpoint and stops; --resume goes on from the last one, to the bit. Data, tokenizer.path, and model.from may \
                        also name something on the Hub, as hf:org/name, and data something in a store, as s3://bucket/key.\n\n\
                        Examples:\n  \
                        loam train recipes/gpt-wikitext2.toml\n  \
                        loam train recipe.toml --set train.steps=300 --set model.layers=4 -o runs/small\n  \
                        loam train --resume -o runs/small\n  \
                        loam train corpus/*.txt -o runs/mine           one source a path, every value a default"
)]
pub struct TrainArguments {
    /// A recipe, or text files and folders (also s3://bucket/key) to train on with every value at its default
    #[arg(value_name = "RECIPE|PATH")]
    pub inputs: Vec<String>,
    /// Change a value of the recipe, as in train.lr=3e-4; may be given often
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Folder for the run [default: runs/RECIPE, or the next free runs/RECIPE-N]
    #[arg(short, long, value_name = "RUN", value_parser = result::path())]
    pub out: Option<PathBuf>,
    /// Go on with the run in the folder of -o from its last checkpoint
    #[arg(long)]
    pub resume: bool,
    /// Seed of initialization, data order and dropout; the same as --set train.seed=N
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
                        loam generate --model runs/demo 'fn main() {'\n  \
                        loam generate --model runs/demo --temperature 0 --max-tokens 40 'The '\n  \
                        loam generate --model DIR --beams 4 --n-best 3 'The '       the three most probable texts\n  \
                        loam generate --model runs/multi30k --beams 5 'A man sleeps.'   an encoder with a decoder: its target\n  \
                        loam generate --model DIR --prompts in.jsonl > out.jsonl    {\"prompt\":...} a line, in order\n  \
                        echo 'Once upon a time' | loam generate --model DIR --json")]
pub struct GenerateArguments {
    /// What to go on from; read from standard input where it is absent
    pub prompt: Option<String>,
    /// Prompts as JSON lines, {"prompt":...} each; - is standard input. One object a line comes out, in the same order
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    pub prompts: Option<PathBuf>,
    /// Prompts that are continued side by side
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub batch: usize,
    /// Search with so many beams for the most probable text, instead of drawing
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub beams: usize,
    /// Texts that a search gives back, the best first
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub n_best: usize,
    /// A search's scores are divided by length to this power: above 0 favors longer texts
    #[arg(long, default_value_t = 1.0, value_name = "A", allow_negative_numbers = true)]
    pub length_penalty: f64,
    /// No sequence of so many tokens comes twice; 0 for off
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub no_repeat_ngram: usize,
    /// Model folder in the Hugging Face layout, a GGUF file, a run's folder, or hf:org/name
    #[arg(short, long, value_name = "PATH")]
    pub model: PathBuf,
    /// Adapters for the model: a folder with PEFT's adapter_config.json, a run's folder, or hf:org/name
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Tokens to write at most
    #[arg(short = 'n', long, default_value_t = 200, value_name = "N")]
    pub max_tokens: usize,
    /// Randomness: 0 always takes the most probable token
    #[arg(short, long, default_value_t = 0.8, value_name = "T", allow_negative_numbers = true)]
    pub temperature: f32,
    /// Choose among the K most probable tokens only; 0 for all
    #[arg(long, default_value_t = 0, value_name = "K")]
    pub top_k: usize,
    /// Choose among the fewest tokens that hold this much probability; 1 for all
    #[arg(long, default_value_t = 0.95, value_name = "P", allow_negative_numbers = true)]
    pub top_p: f32,
    /// Leave out tokens less probable than this fraction of the most probable one; 0 for none
    #[arg(long, default_value_t = 0.0, value_name = "P", allow_negative_numbers = true)]
    pub min_p: f32,
    /// Make tokens that have occurred less probable; 1 for off
    #[arg(long, default_value_t = 1.0, value_name = "R", allow_negative_numbers = true)]
    pub repetition_penalty: f32,
    /// End before this text; may be given often
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Seed of the choices
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The conversation is written as the model's own chat template has it. At the prompt, /help lists \
                        the commands, a line that ends with \\ goes on, and Ctrl-C ends an answer. Where standard \
                        input is no terminal, each line is a turn; with --json, {\"prompt\":...} or plain text, and an \
                        object a turn comes out.\n\n\
                        Examples:\n  \
                        loam chat --model DIR\n  \
                        loam chat --model DIR --system 'Answer in one sentence.' --temperature 0\n  \
                        printf 'Hello\\nWhy?\\n' | loam chat --model DIR --json"
)]
pub struct ChatArguments {
    /// Model folder in the Hugging Face layout, a GGUF file, a run's folder, or hf:org/name
    #[arg(short, long, value_name = "DIR")]
    pub model: PathBuf,
    /// Adapters for the model: a folder with PEFT's adapter_config.json, a run's folder, or hf:org/name
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// An instruction that stands before the conversation
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Another template than the model's: chatml, or a file with a Jinja template
    #[arg(long, value_name = "chatml|FILE")]
    pub template: Option<String>,
    /// Tokens of an answer at most
    #[arg(short = 'n', long, default_value_t = 512, value_name = "N")]
    pub max_tokens: usize,
    /// Randomness: 0 always takes the most probable token
    #[arg(short, long, default_value_t = 0.7, value_name = "T", allow_negative_numbers = true)]
    pub temperature: f32,
    /// Choose among the fewest tokens that hold this much probability; 1 for all
    #[arg(long, default_value_t = 0.95, value_name = "P", allow_negative_numbers = true)]
    pub top_p: f32,
    /// Make tokens that have occurred less probable; 1 for off
    #[arg(long, default_value_t = 1.0, value_name = "R", allow_negative_numbers = true)]
    pub repetition_penalty: f32,
    /// End an answer before this text; may be given often
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Seed of the choices
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
}

#[derive(Debug, Args)]
#[command(after_help = "With --json, one object: {\"tokens\":[ids],\"logprobs\":[null,...],\"loss\":nats a token,\
                        \"bits_per_byte\":...,\"scored\":n}\n\n\
                        Examples:\n  loam score --model runs/demo --text 'let x = 1;'\n  \
                        loam score --model runs/demo --file chapter.txt --json\n  \
                        loam score --model model.gguf --text 'Once upon a time'")]
pub struct ScoreArguments {
    /// Model folder in the Hugging Face layout, a GGUF file, a run's folder, or hf:org/name
    #[arg(short, long, value_name = "PATH")]
    pub model: PathBuf,
    /// Adapters for the model: a folder with PEFT's adapter_config.json, a run's folder, or hf:org/name
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// The text
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    pub text: Option<String>,
    /// A file with the text; without --text and --file, standard input is read
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "One vector a text, in the order of the texts. Where the model is one of sentence-transformers, its \
                        modules.json says how tokens are pooled and whether vectors are normalized.\n\n\
                        Without --json, a line has the numbers of one vector; with it: {\"embedding\":[...]}\n\n\
                        Examples:\n  loam embed --model DIR --text 'A cat sits on the mat.' --json\n  \
                        loam embed --model hf:sentence-transformers/all-MiniLM-L6-v2 --file sentences.txt --json\n  \
                        loam embed --model DIR --file reviews.jsonl --text-field body --pooling cls < /dev/null"
)]
pub struct EmbedArguments {
    /// Model folder in the Hugging Face layout, a run's folder, or hf:org/name
    #[arg(short, long, value_name = "DIR")]
    pub model: PathBuf,
    /// A text; may be given often
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    pub text: Vec<String>,
    /// A file with a text a line, or with JSON lines (.jsonl); without --text and --file, standard input is read
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Lines are JSON objects, whose field --text-field holds the text; so they are in files called .jsonl
    #[arg(long)]
    pub jsonl: bool,
    /// Field of JSON lines that holds the text
    #[arg(long, value_name = "FIELD", default_value = "text")]
    pub text_field: String,
    /// How tokens become one vector [default: as the model says, else mean]
    #[arg(long, value_enum, value_name = "HOW")]
    pub pooling: Option<Pooling>,
    /// Scale vectors to length 1, or leave them [default: as the model says, else false]
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    pub normalize: Option<bool>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A mask is written as the model's tokenizer spells it ([MASK], <mask>), or as [MASK] for any model. A text \
                        may have several: each is told with the others unknown.\n\n\
                        With --json, one object a text: {\"text\":...,\"masks\":[{\"position\":place among the tokens,\
                        \"candidates\":[{\"token\":...,\"id\":...,\"probability\":...,\"text\":...}]}]}\n\n\
                        Examples:\n  loam fill-mask --model runs/bert-wikitext2 'Paris is the [MASK] of France.'\n  \
                        loam fill-mask --model hf:FacebookAI/roberta-base --top-k 3 'A <mask> barks.'\n  \
                        loam fill-mask --model DIR --file sentences.txt --json"
)]
pub struct FillMaskArguments {
    #[command(flatten)]
    pub given: GivenArguments,
    /// Model folder in the Hugging Face layout with a head over masked words, a run's folder, or hf:org/name
    #[arg(short, long, value_name = "DIR")]
    pub model: PathBuf,
    /// Tokens that are told of each mask
    #[arg(long, default_value_t = 5, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub top_k: u32,
    /// A file with a text a line, or with JSON lines (.jsonl), whose field text counts; without TEXT and --file, standard
    /// input is read
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Ways from tokens to one vector.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Pooling {
    /// The mean of all tokens
    Mean,
    /// The first token
    Cls,
    /// The last token
    Last,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Reads safetensors and PyTorch's .bin, whole or in shards. A .bin is read as data; nothing in it runs. \
                        Weights keep their precision unless --dtype says otherwise; tokenizer, chat template, and \
                        generation settings are kept as they are.\n\n\
                        Examples:\n  loam import hf:openai-community/gpt2 -o models/gpt2\n  \
                        loam import hf:org/name@v1.0 -o models/name --dtype bf16\n  \
                        loam import downloads/pytorch_model.bin -o models/name   config.json stands beside it"
)]
pub struct ImportArguments {
    /// A folder, a file of weights with config.json beside it, or `hf:org/name@revision`
    #[arg(value_name = "SRC")]
    pub source: PathBuf,
    /// Folder for the model
    #[arg(short, long, value_name = "DIR", value_parser = result::path())]
    pub out: PathBuf,
    /// Bytes of tensors in one file at most, as in 500MB or 5GB
    #[arg(long, value_name = "SIZE", default_value = "5GB")]
    pub max_shard_size: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The folder opens in transformers with AutoModel...from_pretrained. Precision: --dtype f32, f16, or \
                        bf16; without it, as stored.\n\n\
                        Examples:\n  loam export runs/demo -o exported\n  \
                        loam export runs/demo -o exported --dtype bf16 --max-shard-size 2GB\n  \
                        loam export models/gpt2 -o gpt2.safetensors --dtype f16\n  \
                        loam export runs/demo -o demo.gguf --quantize q8_0"
)]
pub struct ExportArguments {
    /// Model folder in the Hugging Face layout, a GGUF file, a run's folder, or hf:org/name
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Adapters for the model: a folder with PEFT's adapter_config.json, a run's folder, or hf:org/name
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Folder for the model, a file that ends in .safetensors for its weights alone, or one that ends in .gguf for model,
    /// tokenizer, and chat template
    #[arg(short, long, value_name = "DIR|FILE", value_parser = result::path())]
    pub out: PathBuf,
    /// Bytes of tensors in one file at most, as in 500MB or 5GB
    #[arg(long, value_name = "SIZE", default_value = "5GB")]
    pub max_shard_size: String,
    /// Matrices of a .gguf in blocks of 32 integers of 8 or 4 bits with a scale each
    #[arg(long, value_name = "KIND", value_parser = ["q8_0", "q4_0"])]
    pub quantize: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  loam inspect runs/demo\n  loam inspect hf:org/name --json")]
pub struct InspectModelArguments {
    /// Model folder in the Hugging Face layout, a run's folder, a file of weights, or hf:org/name
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum TokenizerCommand {
    /// Train a tokenizer
    Train(TokenizerTrainArguments),
}

#[derive(Debug, Args)]
#[command(after_help = "The folder gets tokenizer.json and tokenizer_config.json, as Hugging Face's libraries read \
                        them.\n\n\
                        Examples:\n  \
                        loam tokenizer train corpus/ --vocab 8192 -o tokenizer\n  \
                        loam tokenizer train a.jsonl b.txt.gz --kind unigram --vocab 16000 -o tokenizer")]
pub struct TokenizerTrainArguments {
    /// Text files, folders and globs, also as s3://bucket/key or hf:datasets/org/name
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<String>,
    /// The algorithm
    #[arg(long, value_enum, default_value_t = Kind::Bpe)]
    pub kind: Kind,
    /// Number of token ids
    #[arg(long, default_value_t = 8192, value_name = "N")]
    pub vocab: usize,
    /// Field of records that holds the text [default: text]
    #[arg(long, value_name = "FIELD")]
    pub text_field: Option<String>,
    #[command(flatten)]
    pub reading: ReadingArguments,
    /// Folder for the tokenizer
    #[arg(short, long, value_name = "DIR", value_parser = result::path())]
    pub out: PathBuf,
}

/// Kinds of tokenizers.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    /// Byte-level byte-pair encoding, as GPT-2's
    Bpe,
    /// Pieces with ## inside words, as BERT's
    Wordpiece,
    /// Unigram language model, as SentencePiece's
    Unigram,
    /// Whole words, the most frequent
    Word,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  loam report runs/demo        writes runs/demo/report.html")]
pub struct ReportArguments {
    /// The run's folder
    pub run: PathBuf,
}

#[derive(Debug, Args)]
pub struct RunsArguments {
    /// Folder that holds runs
    #[arg(default_value = "runs", value_name = "DIR")]
    pub folder: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Tables: metrics, ledger, documents, texts (of `loam data prepare`), events; each has a column run.\n\
                        Functions of texts: language(text), quality_rule(text), redact(text), clean(text, 'strip_tags,letters'), \
                        similarity(text, text), content_hash(text).\n\n\
                        Examples:\n  \
                        loam query \"select domain, source, sum(value) nats from ledger where line = 'source' group by \
                        1, 2 order by 3 desc\" runs/demo\n  \
                        loam query \"select source, count(*), sum(tokens) from documents group by source\"\n  \
                        loam query \"select id, left(text, 60) from texts where quality_rule(text) is null limit 5\" clean\n  \
                        loam query \"select step, domain, value from metrics where metric = 'held_out_loss' order by step\" \
                        --format csv"
)]
pub struct QueryArguments {
    /// One SQL query (DataFusion's dialect)
    #[arg(value_name = "SQL")]
    pub sql: String,
    /// Runs to ask [default: every run in runs/]
    #[arg(value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// How to print the rows; --json is the same as --format json
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns
    Table,
    /// One object a line
    Json,
    /// Comma-separated values
    Csv,
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Time a training step on random tokens: forward, backward, AdamW
    Train(BenchTrainArguments),
    /// Time every operation by itself: matrix products, attention, norms, recurrent layers
    Kernels(BenchKernelsArguments),
}

#[derive(Debug, Args)]
#[command(after_help = "Prints GFLOP/s where products dominate and GB/s where memory does; bare products at the same \
                        shapes stand beside the operations that are built on them.\n\n\
                        Examples:\n  loam bench kernels\n  loam bench kernels --repetitions 3 --threads 1 --json")]
pub struct BenchKernelsArguments {
    /// Calls of each operation, of which the fastest counts
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub repetitions: usize,
}

#[derive(Debug, Args)]
#[command(after_help = "Prints tokens a second, the rate of floating-point operations and its share of what the \
                        machine's registers could do, milliseconds by operation, and the most memory that was \
                        resident. benches/peers has scripts that measure PyTorch on the same shapes.\n\n\
                        Examples:\n  loam bench train\n  \
                        loam bench train --config gpt-124m --steps 5 --json\n  \
                        loam bench train --config bert-mini\n  \
                        loam bench train --context 4096 --batch 1\n  \
                        loam bench train --dtype bf16 --threads 1")]
pub struct BenchTrainArguments {
    /// Model and batch
    #[arg(long, value_name = "SHAPE", default_value = "gpt-14m", value_parser = shapes())]
    pub config: String,
    /// Tokens a sequence, other than the shape's
    #[arg(long, value_name = "N")]
    pub context: Option<usize>,
    /// Sequences a step, other than the shape's
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Steps to measure
    #[arg(long, default_value_t = 12, value_name = "N")]
    pub steps: usize,
    /// Steps before, which are not measured
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub warmup: usize,
}

fn shapes() -> clap::builder::PossibleValuesParser {
    loam_train::bench::SHAPES.iter().map(|shape| shape.name).collect::<Vec<_>>().into()
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  loam completions bash > ~/.local/share/bash-completion/completions/loam")]
pub struct CompletionsArguments {
    /// The shell
    pub shell: clap_complete::Shell,
}
