//! The flags of what is done with texts: training for a task, measuring, using.

use super::data::ReadingArguments;
use super::embed::{EmbedTrainingArguments, EvalEmbedArguments};
use super::result;
use super::writing::{EvalChatArguments, EvalSummarizeArguments, EvalTranslateArguments, FineTuneWritingArguments};
use clap::{Args, Subcommand, ValueEnum};
use loam_tasks::classify::FieldNames;
use loam_tasks::metrics::Bootstrap;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    after_help = "Tasks: classify (labels of texts: sentiment, spam, topics, intents; one label, several, or a number; pairs of \
                        texts), tag (labels of words: named entities and the like), answer (the span of a text that answers a \
                        question, or none), embed (vectors of texts, by pairs that belong together or have scores); and of models \
                        that write: translate, summarize, chat (answers in conversations).\n\n\
                        Data of classify are .csv .tsv .jsonl .json .parquet .arrow and .txt with tabs. Which field is the text and which the \
                        label is told by looking; where that cannot be, two rows are shown, and --text-field and --label-field \
                        say it. Data of tag are columns as CoNLL has them (a word a line, its tag in the last column), or records with \
                        tokens and ner_tags, or with a text and spans. Data of answer are SQuAD's files, or rows with question, \
                        context and answers. Data of embed are pairs (anchor, positive), with negatives or without, pairs with scores \
                        (sentence1, sentence2, score), or SQuAD's files, whose questions belong to their paragraphs; every pair of a batch \
                        is told apart from the others, so larger batches teach more. Data of translate and summarize are rows with a \
                        source and a target, or files of lines with --targets; those of chat are messages, ShareGPT's or Alpaca's. Texts \
                        longer than the model sees are read in windows, not cut; examples of writing that are longer are left out, and \
                        counted.\n\n\
                        Leaves in the run's folder: recipe.toml (all of the above, which may be given again), events.jsonl, \
                        metrics.parquet, report.html, checkpoints, and model/, the weights that were best on the validation examples, for \
                        loam classify, loam tag and so on, loam search, loam eval and transformers.\n\n\
                        Examples:\n  \
                        loam finetune classify --model hf:sentence-transformers/all-MiniLM-L6-v2 --train train.tsv --valid dev.tsv\n  \
                        loam finetune classify --family textcnn --train reviews.csv -o runs/reviews\n  \
                        loam finetune classify --model DIR --train a.jsonl --lr find\n  \
                        loam finetune tag --family lstm --train train.conll --valid dev.conll -o runs/names\n  \
                        loam finetune summarize --model hf:HuggingFaceTB/SmolLM2-135M-Instruct --train dialogs.jsonl --lora\n  \
                        loam finetune translate --family seq2seq --train a.en --targets a.de --valid v.en --valid-targets v.de\n  \
                        loam finetune embed --model DIR --train pairs.jsonl --batch 64 -o runs/search\n  \
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
    #[command(flatten)]
    pub fields: FieldArguments,
    #[command(flatten)]
    pub writing: FineTuneWritingArguments,
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
    // Last, because its heading would go on over what follows.
    #[command(flatten)]
    pub embed: EmbedTrainingArguments,
}

/// Which fields of rows hold what.
#[derive(Clone, Debug, Args)]
pub struct FieldArguments {
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
}

impl FieldArguments {
    /// As the library takes them.
    pub fn names(&self) -> FieldNames {
        FieldNames {
            text_field: self.text_field.clone(),
            pair_field: self.pair_field.clone(),
            label_field: self.label_field.clone(),
            label_separator: self.label_separator.clone(),
        }
    }
}

/// Texts that something is done with.
#[derive(Clone, Debug, Args)]
pub struct GivenArguments {
    /// The text; several may be given
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    pub text: Vec<String>,
    /// A file with a text a line, or with JSON lines (.jsonl); without TEXT and --file, standard input is read
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Lines are JSON objects, whose field --text-field holds the text; so they are in files called .jsonl
    #[arg(long)]
    pub jsonl: bool,
    /// Field of JSON lines that holds the text
    #[arg(long, value_name = "FIELD", default_value = "text")]
    pub text_field: String,
}

/// What a model is measured on, and how surely.
#[derive(Clone, Debug, Args)]
pub struct MeasureArguments {
    /// The examples
    #[arg(long, required = true, value_name = "FILE", num_args = 1..)]
    pub data: Vec<String>,
    /// A second model on the same examples
    #[arg(long, value_name = "DIR")]
    pub against: Option<PathBuf>,
    /// Bootstrap resamples
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub resamples: u32,
    /// Seed of the resamples
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    #[command(flatten)]
    pub reading: ReadingArguments,
}

impl MeasureArguments {
    /// As the library takes them.
    pub fn bootstrap(&self) -> Bootstrap {
        Bootstrap { resamples: self.resamples as usize, seed: self.seed, ..Bootstrap::default() }
    }
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
    /// Transformer encoder and decoder, of models that write
    Seq2seq,
    /// T5, of models that write
    T5,
    /// Transformer decoder, of models that write
    Gpt,
    /// Transformer decoder with rotary positions, of models that write
    Llama,
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
    #[command(flatten)]
    pub given: GivenArguments,
    /// Model folder with a head over texts, a run's folder, or hf:org/name
    #[arg(short, long, value_name = "DIR")]
    pub model: PathBuf,
    /// Second text of a pair, where one text is given
    #[arg(long, value_name = "TEXT", requires = "text")]
    pub pair: Option<String>,
    /// Field of JSON lines that holds the second text of a pair
    #[arg(long, value_name = "FIELD")]
    pub pair_field: Option<String>,
    /// Labels that are told of each text [default: the chosen one, and all with --json]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub top_k: Option<u32>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "One result a text, in order and number; a line that cannot be read has an error in its place, and the others go \
                        on. Texts longer than the model sees are read in windows that overlap.\n\n\
                        With --json: {\"spans\":[{\"start\":0,\"end\":4,\"text\":...,\"label\":...,\"score\":...}]}, places in \
                        characters, so that text[start..end] is the span\n\n\
                        Examples:\n  loam tag --model runs/names 'Ada Lovelace lived in London.'\n  \
                        loam tag --model DIR --file texts.txt --json"
)]
pub struct TagArguments {
    #[command(flatten)]
    pub given: GivenArguments,
    /// Model folder with a head over words, a run's folder, or hf:org/name
    #[arg(short, long, value_name = "DIR")]
    pub model: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Entities are counted as seqeval does: strictly by the scheme of the gold tags (IOB2, IOBES, BILOU, IOB1) for f1, \
                        precision and recall, and leniently, as conlleval, for lenient_f1. Every metric has its 95 % interval: \
                        percentiles of bootstrap resamples of the sentences.\n\n\
                        With --json: {\"task\":\"tag\",\"metrics\":{name:{\"value\":...,\"low\":...,\"high\":...}},\
                        \"examples\":n,\"types\":[...]}\n\n\
                        Examples:\n  loam eval tag --model runs/names --data test.conll\n  \
                        loam eval tag --model runs/a --against runs/b --data test.conll --json"
)]
pub struct EvalTagArguments {
    /// Model folder with a head over words, a run's folder, or hf:org/name
    #[arg(short, long, value_name = "DIR")]
    pub model: PathBuf,
    /// Names of tags that are numbers, from 0 on
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    pub label_names: Vec<String>,
    /// A file for every word with its tag and the model's, in columns
    #[arg(long, value_name = "FILE", value_parser = result::path())]
    pub predictions: Option<PathBuf>,
    #[command(flatten)]
    pub measure: MeasureArguments,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The answer is a part of the context. Contexts longer than the model sees are read in windows that overlap. A model \
                        that was trained on questions without answers says nothing where nothing answers.\n\n\
                        With --json: {\"answer\":...,\"start\":...,\"end\":...,\"score\":...}, places in characters, so that \
                        context[start..end] is the answer; --top-k K adds \"others\":[...]\n\n\
                        Examples:\n  loam answer --model runs/answers --context-file report.txt 'Who wrote it?'\n  \
                        loam answer --model DIR --file questions.jsonl --json      rows with question and context"
)]
pub struct AnswerArguments {
    /// The question; several may be given
    #[arg(value_name = "QUESTION", conflicts_with = "file")]
    pub question: Vec<String>,
    /// Model folder with a head over spans, a run's folder, or hf:org/name
    #[arg(short, long, value_name = "DIR")]
    pub model: PathBuf,
    /// The text that the questions are about
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["context_file", "file"])]
    pub context: Option<String>,
    /// A file with it
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub context_file: Option<PathBuf>,
    /// A file of JSON lines with question and context each; without QUESTION and --file, standard input is read so
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Answers that are told of each question
    #[arg(long, default_value_t = 1, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=20))]
    pub top_k: u32,
    #[command(flatten)]
    pub spans: SpanArguments,
}

/// How spans are chosen.
#[derive(Clone, Copy, Debug, Args)]
pub struct SpanArguments {
    /// Tokens of an answer at most
    #[arg(long, default_value_t = 30, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub longest_answer: u32,
    /// Whether it may be that nothing answers [default: as the model was trained]
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    pub no_answer: Option<bool>,
    /// How much better than the best span nothing has to be, in logits
    #[arg(long, default_value_t = 0.0, value_name = "LOGITS", allow_negative_numbers = true)]
    pub no_answer_threshold: f32,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Judged as by the scripts of SQuAD 1.1, of SQuAD 2.0 where questions without an answer are among them, and of \
                        CMRC 2018 where texts are Chinese. Every metric has its 95 % interval: percentiles of bootstrap resamples of \
                        the questions.\n\n\
                        With --json: {\"task\":\"answer\",\"metrics\":{name:{\"value\":...,\"low\":...,\"high\":...}},\
                        \"examples\":n,\"measure\":...}\n\n\
                        Examples:\n  loam eval answer --model runs/answers --data dev-v2.0.json\n  \
                        loam eval answer --model DIR --data cmrc2018_dev.json --predictions said.json"
)]
pub struct EvalAnswerArguments {
    /// Model folder with a head over spans, a run's folder, or hf:org/name
    #[arg(short, long, value_name = "DIR")]
    pub model: PathBuf,
    /// A file for every question's id and answer, as SQuAD's script reads it
    #[arg(long, value_name = "FILE", value_parser = result::path())]
    pub predictions: Option<PathBuf>,
    #[command(flatten)]
    pub measure: MeasureArguments,
    #[command(flatten)]
    pub spans: SpanArguments,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Recognized by their fields: pairs of sentences of which one is right (sentence_good, sentence_bad: BLiMP), choices \
                        (question, choices, answer: MMLU and the like; goal, sol1, sol2: PIQA), texts (text, or text files). With \
                        --last-words the last word of every text is asked for (LAMBADA). Prompts and counting are those of \
                        lm-evaluation-harness without examples in the prompt. Every metric has its 95 % interval: percentiles of \
                        bootstrap resamples of what is asked.\n\n\
                        With --json: {\"task\":\"lm\",\"metrics\":{name:{\"value\":...,\"low\":...,\"high\":...}},\"examples\":n}\n\n\
                        Examples:\n  loam eval lm --model DIR --data blimp/data/*.jsonl\n  \
                        loam eval lm --model DIR --data lambada_test.jsonl --last-words\n  \
                        loam eval lm --model DIR --data piqa.valid.jsonl --labels piqa.valid-labels.lst\n  \
                        loam eval lm --model DIR --data wiki.test.txt"
)]
pub struct EvalLanguageModelArguments {
    /// Model folder in the Hugging Face layout, a GGUF file, a run's folder, or hf:org/name
    #[arg(short, long, value_name = "DIR")]
    pub model: PathBuf,
    /// A file with the answer of each row, one a line, for rows without one
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Ask for the last word of every text
    #[arg(long)]
    pub last_words: bool,
    /// Ask so many at most, spread over all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    #[command(flatten)]
    pub measure: MeasureArguments,
}

#[derive(Debug, Subcommand)]
pub enum EvalCommand {
    /// Language models: perplexity, and multiple choice by probabilities
    #[command(name = "lm")]
    LanguageModel(EvalLanguageModelArguments),
    /// Answers in conversations: the loss on them, and how often they are more probable than under another model
    Chat(EvalChatArguments),
    /// Summaries: ROUGE as rouge-score counts it, beside the first sentences
    Summarize(Box<EvalSummarizeArguments>),
    /// Translations: BLEU and chrF as sacreBLEU counts them
    Translate(Box<EvalTranslateArguments>),
    /// Answers out of texts: exact match and F1, as SQuAD and CMRC judge
    Answer(EvalAnswerArguments),
    /// Tags of words: F1 of entities, strict and lenient, by type
    Tag(EvalTagArguments),
    /// Vectors of texts: correlation with scores, or recall, MRR and nDCG of what is found
    Embed(EvalEmbedArguments),
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
    #[command(flatten)]
    pub fields: FieldArguments,
    /// A file for every example's labels and scores, as JSON lines
    #[arg(long, value_name = "FILE", value_parser = result::path())]
    pub predictions: Option<PathBuf>,
    #[command(flatten)]
    pub measure: MeasureArguments,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Each row goes to a part by its text and the seed alone: equal texts stay together, so none leaks from one part \
                        into another, and rows that are added later move no other. Parts are written as JSON lines, \
                        SQuAD's nested files as a question a row.\n\n\
                        Examples:\n  loam data split reviews.csv --part train=0.8 --part dev=0.1 --part test=0.1 -o reviews\n  \
                        loam data split squad.json --by context --part train=0.9 --part test=0.1 -o squad"
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
