//! The flags of models that write texts from texts: training, measuring, using.

use super::result;
use super::tasks::{GivenArguments, MeasureArguments};
use clap::Args;
use std::path::PathBuf;

/// How texts are written.
#[derive(Clone, Debug, Args)]
pub struct WritingArguments {
    /// Texts that are kept at every step; 1 takes the most probable token [default: 5 of an encoder with a decoder, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub beams: Option<u16>,
    /// Scores are divided by the length to this power
    #[arg(long, default_value_t = 1.0, value_name = "POWER", allow_negative_numbers = true)]
    pub length_penalty: f64,
    /// Tokens to write at most
    #[arg(long, default_value_t = 128, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_tokens: u32,
    /// No sequence of so many tokens comes twice in a text; 0 is off
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=64))]
    pub no_repeat: u16,
    /// Texts that are read side by side
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: u16,
    /// What is asked, with {text} where the text goes [default: as the model was trained; of other language models, usual words]
    #[arg(long, value_name = "WORDS")]
    pub prompt: Option<String>,
}

/// What training for a task that writes takes beside the rest.
#[derive(Clone, Debug, Args)]
pub struct FineTuneWritingArguments {
    /// Train adapters of this rank in the place of the model (Hu et al. 2022) [default rank: 8]
    #[arg(long, value_name = "RANK", num_args = 0..=1, default_missing_value = "8", value_parser = clap::value_parser!(u16).range(1..))]
    pub lora: Option<u16>,
    /// Of pairs, the fields of source and target
    #[arg(long = "fields", value_delimiter = ',', value_name = "SOURCE,TARGET")]
    pub pair_fields: Vec<String>,
    /// Files of targets, whose lines belong to those of --train
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub targets: Vec<String>,
    /// The same of --valid
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "targets")]
    pub valid_targets: Vec<String>,
    /// What is asked, with {text} where the text goes; it is kept beside the model
    #[arg(long, value_name = "WORDS")]
    pub prompt: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "One translation a text, in order and number; a text that cannot be translated has an error in its place, and the \
                        others go on. The model is an encoder with a decoder, or a language model, which is asked in the words of \
                        --prompt.\n\n\
                        With --json: {\"translation\":...}\n\n\
                        Examples:\n  loam translate --model runs/translate 'A man rides a bicycle.'\n  \
                        loam translate --model DIR --file sentences.txt > translations.txt\n  \
                        loam translate --model SmolLM2.gguf --prompt 'Say in French: {text}' 'Good morning.'"
)]
pub struct TranslateArguments {
    #[command(flatten)]
    pub given: GivenArguments,
    /// Model folder of an encoder with a decoder or of a language model, a run's folder, a GGUF file, or hf:org/name
    #[arg(short, long, value_name = "DIR")]
    pub model: PathBuf,
    #[command(flatten)]
    pub writing: WritingArguments,
}

#[derive(Debug, Args)]
#[command(
    after_help = "One summary a text, in order and number; a text that cannot be summarized has an error in its place, and the \
                        others go on. With --file of a name that ends in .txt, a line is a text; --whole takes the file as one. A text longer \
                        than the model reads is summarized in parts, and their summaries are summarized again.\n\n\
                        With --json: {\"summary\":...,\"parts\":n}\n\n\
                        Examples:\n  loam summarize --model runs/summarize --file report.txt --whole\n  \
                        loam summarize --model DIR --file dialogs.jsonl --text-field dialogue --json"
)]
pub struct SummarizeArguments {
    #[command(flatten)]
    pub given: GivenArguments,
    /// The file, or standard input, is one text
    #[arg(long, conflicts_with_all = ["text", "jsonl"])]
    pub whole: bool,
    /// Model folder of an encoder with a decoder or of a language model, a run's folder, a GGUF file, or hf:org/name
    #[arg(short, long, value_name = "DIR")]
    pub model: PathBuf,
    #[command(flatten)]
    pub writing: WritingArguments,
}

/// A model that is measured on pairs, or what it wrote.
#[derive(Clone, Debug, Args)]
pub struct PairsArguments {
    /// Model folder of an encoder with a decoder or of a language model, a run's folder, a GGUF file, or hf:org/name
    #[arg(short, long, value_name = "DIR", required_unless_present = "texts")]
    pub model: Option<PathBuf>,
    /// A file with texts that were written already, one a line, in place of a model's
    #[arg(long = "texts", visible_alias = "translations", value_name = "FILE", conflicts_with = "model")]
    pub texts: Option<PathBuf>,
    /// Files of references, whose lines belong to those of --data, which then are sources, one a line
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub targets: Vec<String>,
    /// Fields of the source and of the references in rows
    #[arg(long, value_delimiter = ',', value_name = "SOURCE,TARGET,...")]
    pub fields: Vec<String>,
    /// Ask so many at most, spread over all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// A file for what is written, one a line
    #[arg(long, value_name = "FILE", value_parser = result::path())]
    pub predictions: Option<PathBuf>,
    #[command(flatten)]
    pub measure: MeasureArguments,
    #[command(flatten)]
    pub writing: WritingArguments,
}

#[derive(Debug, Args)]
#[command(
    after_help = "BLEU and chrF are those of sacreBLEU 2.6, whose signatures are printed. Every metric has its 95 % interval: \
                        percentiles of bootstrap resamples of the sentences.\n\n\
                        With --json: {\"task\":\"translate\",\"metrics\":{name:{\"value\":...,\"low\":...,\"high\":...}},\
                        \"examples\":n,\"signatures\":{...}}\n\n\
                        Examples:\n  loam eval translate --model runs/translate --data test.en --targets test.de\n  \
                        loam eval translate --translations said.txt --data pairs.tsv"
)]
pub struct EvalTranslateArguments {
    #[command(flatten)]
    pub pairs: PairsArguments,
    /// What BLEU counts as words [default: zh where references are Chinese, else 13a]
    #[arg(long, value_name = "NAME", value_parser = ["13a", "zh", "char", "intl", "none"])]
    pub tokenize: Option<String>,
    /// Whether case is left out
    #[arg(long)]
    pub lowercase: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "ROUGE-1, -2, -L and -Lsum, F1, are those of rouge-score 0.1.2, over stems, or over characters where references are \
                        Chinese; of several references the best one counts. Beside the model stand the first sentences of each text. Every \
                        metric has its 95 % interval: percentiles of bootstrap resamples of the texts.\n\n\
                        With --json: {\"task\":\"summarize\",\"metrics\":{name:{\"value\":...,\"low\":...,\"high\":...}},\
                        \"examples\":n,\"tokens\":...,\"lead\":{\"sentences\":3,\"metrics\":{...},\"compared\":{...}}}\n\n\
                        Examples:\n  loam eval summarize --model runs/summarize --data test.jsonl\n  \
                        loam eval summarize --model runs/summarize --against SmolLM2.gguf --data test.jsonl --limit 100\n  \
                        loam eval summarize --texts said.txt --data test.jsonl --fields dialogue,summary1,summary2"
)]
pub struct EvalSummarizeArguments {
    #[command(flatten)]
    pub pairs: PairsArguments,
    /// What ROUGE counts [default: characters where references are Chinese, else stems]
    #[arg(long, value_name = "WHAT", value_parser = ["stems", "words", "characters"])]
    pub tokens: Option<String>,
    /// Sentences of each text that are the summary to beat
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub lead: u16,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Conversations are written by the model's own chat template, and its answers alone are graded: loss in nats a token, \
                        perplexity, bits a byte, and the share of tokens that are the most probable ones. With --against, the win rate is the \
                        share of conversations whose answers are more probable under this model than under the other. Every metric has its \
                        95 % interval: percentiles of bootstrap resamples of the conversations.\n\n\
                        With --json: {\"task\":\"chat\",\"metrics\":{name:{\"value\":...,\"low\":...,\"high\":...}},\
                        \"examples\":n,\"answer_tokens\":n,\"win_rate\":{...}}\n\n\
                        Examples:\n  loam eval chat --model runs/chat --data held-out.jsonl\n  \
                        loam eval chat --model runs/chat --against hf:HuggingFaceTB/SmolLM2-135M-Instruct --data held-out.jsonl"
)]
pub struct EvalChatArguments {
    /// Model folder of a language model, a run's folder, a GGUF file, or hf:org/name
    #[arg(short, long, value_name = "DIR")]
    pub model: PathBuf,
    /// How conversations are written: chatml, or a file [default: the model's own template]
    #[arg(long, value_name = "TEMPLATE")]
    pub chat_template: Option<String>,
    #[command(flatten)]
    pub measure: MeasureArguments,
}
