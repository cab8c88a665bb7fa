//! Flags of `loam word2vec`.

use super::ReadingArguments;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum Word2VecCommand {
    /// Train vectors on text
    Train(Word2VecTrainArguments),
    /// Show the words nearest to others
    Nearest(NearestArguments),
    /// Answer "a is to b as c is to ...", for three words or for a file of questions with their answers
    Analogies(AnalogiesArguments),
    /// Rewrite vectors in another format
    Convert(ConvertArguments),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Words that stand in like company get like vectors (Mikolov et al. 2013). Skip-gram learns rare words better; CBOW \
                  is several times as fast. A sentence is a line; words end at spaces and punctuation, and of Chinese \
                  every character is a word, unless the text was cut by others and --whitespace keeps their words.\n\n\
                  Reads what `loam data inspect` reads: files, folders, globs, s3://bucket/key, or hf:datasets/org/name. The file \
                  opens in gensim: KeyedVectors.load_word2vec_format(FILE, binary=...). The same text, seed, \
                  machine, and --threads give the same vectors; below --size 256 any number of threads does. Ctrl-C \
                  writes the vectors as far as they came and stops.\n\n\
                  Examples:\n  \
                  loam word2vec train corpus/ -o vectors.bin\n  \
                  loam word2vec train news.jsonl.gz --kind cbow --size 300 --epochs 10 --lowercase -o vectors.txt.gz\n  \
                  loam word2vec train segmented.txt --whitespace --min-count 2 -o vectors/      the vocabulary beside them"
)]
pub struct Word2VecTrainArguments {
    /// Text files, folders and globs
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<String>,
    /// File for the vectors; in a folder, vectors.txt or vectors.bin, and vocabulary.txt with the counts
    #[arg(short, long, value_name = "FILE|DIR", value_parser = super::result::path())]
    pub out: PathBuf,
    /// What is predicted from what
    #[arg(long, value_enum, default_value_t = VectorKind::SkipGram)]
    pub kind: VectorKind,
    /// Numbers in a vector
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub size: usize,
    /// Words at most on each side that a word is learned from; nearer ones count more
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub window: usize,
    /// Random other words that each word is told apart from: 5 to 20 for little text, 2 to 5 for much
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub negative: usize,
    /// Words that occur less often get no vector
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub min_count: u64,
    /// Words that get a vector at most, the most frequent
    #[arg(long, value_name = "N")]
    pub max_vocab: Option<usize>,
    /// Words with a larger share of the text than this are left out at random, the more the larger; 0 for none
    #[arg(long, default_value_t = 1e-3, value_name = "SHARE", allow_negative_numbers = true)]
    pub sample: f64,
    /// Passes over the text
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub epochs: usize,
    /// Learning rate at the beginning, from where it falls to zero [default: 0.025; cbow: 0.05]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// Make the text lower-case first
    #[arg(long)]
    pub lowercase: bool,
    /// Words are what stands between spaces, punctuation and all
    #[arg(long)]
    pub whitespace: bool,
    /// Write the binary format, also where the file is not called .bin
    #[arg(long)]
    pub binary: bool,
    /// Field of records that holds the text [default: text]
    #[arg(long, value_name = "FIELD")]
    pub text_field: Option<String>,
    #[command(flatten)]
    pub reading: ReadingArguments,
    /// Seed of first vectors, windows, and samples
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
}

/// What is predicted from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VectorKind {
    /// A word from each of those around it
    SkipGram,
    /// A word from the mean of those around it
    Cbow,
}

#[derive(Debug, Args)]
#[command(after_help = "FILE is in word2vec's text or binary format, plain or .gz, by whatever program.\n\n\
                        With --json, a line a word: {\"word\":...,\"nearest\":[{\"word\":...,\"cosine\":...},...]}\n\n\
                        Examples:\n  loam word2vec nearest vectors.bin river\n  \
                        loam word2vec nearest vectors.txt.gz paris tokyo --top-k 3 --json")]
pub struct NearestArguments {
    /// File of vectors, or the folder that train wrote
    #[arg(value_name = "FILE")]
    pub vectors: PathBuf,
    /// Words, each asked for itself
    #[arg(required = true, value_name = "WORD")]
    pub words: Vec<String>,
    /// Neighbors of each
    #[arg(short = 'k', long, default_value_t = 10, value_name = "K")]
    pub top_k: usize,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The answer is the word whose vector is nearest to b - a + c by cosine, all at length 1, other than the three \
                  (3CosAdd). A file of questions has sections that begin with \": name\", and lines of four words, as \
                  questions-words.txt. Questions with a word that is unknown, or not among the first N of --restrict, are \
                  left out and counted. Results equal those of gensim's evaluate_word_analogies.\n\n\
                  Examples:\n  loam word2vec analogies vectors.bin man king woman\n  \
                  loam word2vec analogies vectors.bin questions-words.txt\n  \
                  loam word2vec analogies vectors.bin questions-words.txt --restrict 30000 --case-sensitive --json"
)]
pub struct AnalogiesArguments {
    /// File of vectors, or the folder that train wrote
    #[arg(value_name = "FILE")]
    pub vectors: PathBuf,
    /// A file of questions, or the words a, b, and c
    #[arg(required = true, num_args = 1..=3, value_name = "QUESTIONS|A B C")]
    pub questions: Vec<String>,
    /// Look at the first N words alone, the most frequent
    #[arg(long, default_value_t = 300_000, value_name = "N")]
    pub restrict: usize,
    /// Tell upper from lower case in a file of questions
    #[arg(long)]
    pub case_sensitive: bool,
    /// Answers to a single question
    #[arg(short = 'k', long, default_value_t = 5, value_name = "K")]
    pub top_k: usize,
}

#[derive(Debug, Args)]
#[command(
    after_help = "IN may be in either of word2vec's formats, plain or .gz. OUT is binary where it is called .bin or \
                        .bin.gz, or with --binary, and compressed where it ends in .gz.\n\n\
                        Examples:\n  loam word2vec convert GoogleNews-vectors-negative300.bin.gz news.txt --top 100000\n  \
                        loam word2vec convert vectors.txt vectors.bin.gz"
)]
pub struct ConvertArguments {
    /// File of vectors
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// File to write
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    /// Write the binary format, also where the file is not called .bin
    #[arg(long)]
    pub binary: bool,
    /// Keep the first N words alone
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
}
