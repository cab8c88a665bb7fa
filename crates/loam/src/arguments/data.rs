//! `loam data`: looking at text, preparing it, asking what became of it.

use super::result;
use super::tasks::SplitArguments;
use clap::{Args, Subcommand};
use loam_corpus::{Bytes, Damage, TextEncoding};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Show text as a model would see it, and what is odd about it
    Inspect(InspectArguments),
    /// Clean, filter, redact, and deduplicate text, with a reason for every document that goes
    Prepare(Box<PrepareArguments>),
    /// Cut labeled rows into parts, such as train, dev and test
    Split(SplitArguments),
    /// Say what happened to a document, and why
    Why(WhyArguments),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Writes DIR/text/*.parquet (what is left), DIR/held_out/*.parquet and DIR/tokens/ (where asked for), \
                        DIR/documents.parquet (a row for every document: rule, values, cluster, split, tokens) and \
                        DIR/summary.json. One that was stopped goes on where it was when it is called again.\n\n\
                        Steps from flags are taken in this order: clean, language, filter, redact, decontaminate, deduplicate. A \
                        recipe (PATH.toml) has [[source]] and [[step]] tables in any order:\n\n  \
                        [[source]]\n  name = \"web\"\n  path = [\"crawl/*.warc.gz\"]\n  \
                        [[step]]\n  kind = \"language\"          # clean, filter, redact, score, decontaminate, deduplicate\n  \
                        keep = [\"en\", \"zh\"]\n  \
                        [tokenizer]                # then [split] held_out = 0.02, [mix] tokens, temperature, order_by\n  \
                        kind = \"bpe\"\n  vocab = 8192\n\n\
                        Examples:\n  \
                        loam data prepare crawl/*.warc.gz --language en --filter all --deduplicate exact,near -o clean\n  \
                        loam data prepare recipe.toml -o clean\n  \
                        loam query \"select rule, count(*), sum(bytes) from documents group by rule order by 2 desc\" clean\n  \
                        loam data prepare text/ --deduplicate near --tokenizer bpe:8192 --budget 50000000 -o clean\n  \
                        loam data prepare recipe.toml --scheduler node1:50050 -o /shared/clean\n  \
                        loam train clean -o runs/clean"
)]
pub struct PrepareArguments {
    /// Files, folders and globs, also as s3://bucket/key or hf:datasets/org/name; or one recipe that ends in .toml
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<String>,
    /// Folder for the result
    #[arg(short, long, value_name = "DIR", value_parser = result::path())]
    pub out: PathBuf,
    /// Field of records that holds the text [default: text]
    #[arg(long, value_name = "FIELD")]
    pub text_field: Option<String>,
    /// Where documents of text files end: auto, file, line, paragraph, separator:STRING
    #[arg(long, default_value = "auto", value_name = "HOW")]
    pub split: String,
    /// Steps of cleaning: mojibake, strip_tags, control, nfc, nfkc, width, simplified, traditional, letters,
    /// lowercase, split_words, stop_words, stem
    #[arg(long, value_delimiter = ',', value_name = "STEP,...")]
    pub clean: Vec<String>,
    /// Languages to keep: en, zh, ..., or labels of the language model
    #[arg(long, value_delimiter = ',', value_name = "CODE,...")]
    pub language: Vec<String>,
    /// A model of fastText (lid.176.ftz) that tells languages, in place of the built-in one
    #[arg(long, value_name = "FILE")]
    pub language_model: Option<PathBuf>,
    /// Published filters: all, or gopher_repetition, gopher_quality, c4, fineweb
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    pub filter: Vec<String>,
    /// What to take out: all, or email, phone, ip, card, ...
    #[arg(long, value_delimiter = ',', value_name = "KIND,...")]
    pub redact: Vec<String>,
    /// Files of evaluation sets whose texts must not be trained on
    #[arg(long, value_name = "FILE")]
    pub decontaminate: Vec<String>,
    /// What must not stand there twice: url, exact, line, paragraph, near, passage
    #[arg(long, value_delimiter = ',', value_name = "WHAT,...")]
    pub deduplicate: Vec<String>,
    /// Make tokens too, for `loam train DIR`: a tokenizer.json or its folder, or one to train: bpe:8192, unigram:32000, ...
    #[arg(long, value_name = "PATH|KIND:N")]
    pub tokenizer: Option<String>,
    /// Part of the documents to hold out, with all that is like them [default: 0.02 with --tokenizer, else none]
    #[arg(long, value_name = "PART")]
    pub held_out: Option<f64>,
    /// Tokens to train on; larger sources are cut to their share of them
    #[arg(long, value_name = "TOKENS", requires = "tokenizer")]
    pub budget: Option<u64>,
    /// Column by which documents are shown in ascending order, instead of shuffled: characters, metadata.FIELD, ...
    #[arg(long, value_name = "COLUMN", requires = "tokenizer")]
    pub order_by: Option<String>,
    /// Have the files read by the workers of this scheduler (see loam worker); the result is the same
    #[arg(long, value_name = "HOST:PORT")]
    pub scheduler: Option<String>,
    #[command(flatten)]
    pub reading: ReadingArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  loam data why clean 3fa9        a document by its id, or the beginning of it\n  \
                        loam data why clean news.jsonl  documents of a file")]
pub struct WhyArguments {
    /// What `loam data prepare` or `loam train` wrote
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// A document's id, the beginning of one, or a part of its path
    #[arg(value_name = "DOCUMENT")]
    pub document: String,
    /// Documents to tell of at most
    #[arg(short = 'n', long, default_value_t = 10, value_name = "N")]
    pub rows: usize,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Reads .txt .md .jsonl .json .csv .tsv .parquet .arrow .html .xml (MediaWiki) .warc .wet, plain or as .gz .bz2 \
                        .xz .zst, as files, folders and globs, on this machine, in a store (s3://bucket/key, with the keys, region and \
                        endpoint that AWS_* variables and ~/.aws tell), or on the Hub (hf:datasets/org/name).\n\n\
                        Examples:\n  loam data inspect corpus/\n  \
                        loam data inspect reviews.jsonl --text-field body --tokenizer runs/demo/model\n  \
                        loam data inspect 's3://bucket/crawl/*.jsonl.gz'\n  \
                        loam data inspect chat.json --tokenizer models/chat    conversations, and what of them is learned\n  \
                        loam data inspect news.en --targets news.de            pairs, a line of each file"
)]
pub struct InspectArguments {
    /// Text files, folders and globs, also as s3://bucket/key or hf:datasets/org/name
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<String>,
    /// Field of records that holds the text [default: text]
    #[arg(long, value_name = "FIELD")]
    pub text_field: Option<String>,
    /// Documents to show
    #[arg(short = 'n', long, default_value_t = 5, value_name = "N")]
    pub rows: usize,
    /// A tokenizer.json, or a folder with one, to count tokens with; its chat template writes conversations
    #[arg(long, value_name = "PATH")]
    pub tokenizer: Option<PathBuf>,
    /// Another template for conversations than the tokenizer's: chatml, or a file with a Jinja template
    #[arg(long, value_name = "chatml|FILE")]
    pub template: Option<String>,
    /// Take records for conversations also where they have a field text
    #[arg(long, conflicts_with_all = ["text_field", "input_field", "targets"])]
    pub conversations: bool,
    /// Pairs: field of the input, or number of a column of text files
    #[arg(long, value_name = "FIELD", requires = "target_field", conflicts_with_all = ["text_field", "targets"])]
    pub input_field: Option<String>,
    /// Pairs: field of the target, or number of a column of text files
    #[arg(long, value_name = "FIELD", requires = "input_field")]
    pub target_field: Option<String>,
    /// Pairs: files whose lines are the targets of the lines of PATH
    #[arg(long, value_name = "PATH", conflicts_with = "text_field")]
    pub targets: Vec<String>,
    /// Steps of cleaning, shown before and after: mojibake, strip_tags, control, nfc, nfkc, width, simplified, traditional,
    /// letters, lowercase, split_words, stop_words, stem
    #[arg(long, value_delimiter = ',', value_name = "STEP,...")]
    pub clean: Vec<String>,
    #[command(flatten)]
    pub reading: ReadingArguments,
}

/// How the bytes of files become text.
#[derive(Clone, Copy, Debug, Args)]
pub struct ReadingArguments {
    /// Encoding of the files: auto, utf-8, gb18030, big5, shift_jis, latin1, ...
    #[arg(long, default_value = "auto", value_name = "NAME")]
    pub encoding: TextEncoding,
    /// Bytes that are no text: refuse stops at the first, replace puts U+FFFD in their place
    #[arg(long, default_value = "refuse", value_name = "WAY")]
    pub damage: Damage,
    /// How many times its size a compressed file may grow to
    #[arg(long, default_value_t = loam_corpus::LARGEST_EXPANSION, value_name = "N")]
    pub max_expansion: u64,
}

impl ReadingArguments {
    /// As the library takes them.
    pub fn bytes(&self) -> Bytes {
        Bytes { encoding: self.encoding, damage: self.damage, expansion: self.max_expansion }
    }
}
