//! The flags of `loam study`: laws of runs that there are, and experiments that make runs.

use super::result;
use clap::{Args, Subcommand};
use loam_tasks::metrics::Bootstrap;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum StudyCommand {
    /// What each source does: leave it out, double it, retrain, and grade what the ledger predicted
    Mix(Box<MixArguments>),
    /// How the loss falls with size and tokens: fit the law of Chinchilla, forecast, and spend compute by it
    Scale(Box<ScaleArguments>),
    /// What tokens are worth that the model has seen before, and where repetition stops paying
    Repeat(Box<RepeatArguments>),
    /// What cleaning and filters bring, and what noise at known rates costs
    Quality(Box<QualityArguments>),
    /// What a curriculum does, beside shuffled text
    Order(Box<OrderArguments>),
    /// Which documents matter: grade methods of attribution by training on random parts of the documents
    Subsets(Box<SubsetsArguments>),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Every source of the recipe is left out once and doubled once, at the same number of steps, and compared with the \
                        base by pairs of runs with the same seed. The ledger of the base runs predicts each difference; \
                        retraining grades it: slope, R2, Spearman, sign accuracy, with intervals, beside the count of tokens. All arms have \
                        the base's tokenizer and held-out text. A study that was stopped is gone on with by the same command.\n\n\
                        Examples:\n  \
                        loam study mix recipe.toml --seeds 5 --dry-run             what it costs, and what it can see\n  \
                        loam study mix recipe.toml --seeds 5 -o studies/mix\n  \
                        loam study mix recipe.toml --only drop --weights wiki=2,web=0.5 -o studies/mix\n  \
                        loam query \"select arm, difference, predicted from study where domain = '(mean)'\" studies/mix"
)]
pub struct MixArguments {
    #[command(flatten)]
    pub runs: RunsToMake,
    #[command(flatten)]
    pub fit: FitArguments,
    /// Only leave sources out, or only double them
    #[arg(long, value_name = "WHAT", value_parser = ["drop", "double", "weights"])]
    pub only: Option<String>,
    /// Another mixture: factors for the weights of some sources, as wiki=2,web=0.5; may be given often
    #[arg(long, value_name = "SOURCE=FACTOR,...")]
    pub weights: Vec<String>,
    /// Methods of attribution to grade beside the ledger, between commas, as in adam-dot,ek-fac,bm25
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME,...")]
    pub method: Vec<super::influence::MethodName>,
    /// Mixtures drawn around the recipe's own, for laws of mixtures
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub draw: usize,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Runs are rows of CSV, TSV, JSON lines, Parquet or Arrow with a loss and two of parameters, tokens and \
                        compute (C = 6 N D); columns are told by their usual names, whatever their case. Or they are made: a RECIPE's model in \
                        several widths, each trained for several numbers of tokens. The law is \
                        L(N, D) = E + A/N^a + B/D^b, fitted as Hoffmann et al. (2022) and, corrected, Besiroglu et al. (2024) do; \
                        intervals are 95 % of a bootstrap over runs.\n\n\
                        Examples:\n  \
                        loam study scale --points runs.csv\n  \
                        loam study scale --points chinchilla-points.csv --drop-highest 5 --resamples 4000\n  \
                        loam study scale --points runs.csv --forecast 70B,1.4T --compute 5.76e23 -o laws\n  \
                        loam study scale recipe.toml --widths 64,128,192,256 --tokens 500k,1M,2M -o studies/scale"
)]
pub struct ScaleArguments {
    #[command(flatten)]
    pub runs: RunsToMake,
    #[command(flatten)]
    pub points: PointsArguments,
    #[command(flatten)]
    pub fit: FitArguments,
    /// Widths of the models to train, at least three [default: quarters of the recipe's]
    #[arg(long, value_delimiter = ',', value_name = "N,...", conflicts_with = "points")]
    pub widths: Vec<usize>,
    /// Tokens to train each for, at least three [default: a quarter, a half and all of the recipe's]
    #[arg(long, value_delimiter = ',', value_name = "D,...", conflicts_with = "points")]
    pub tokens: Vec<String>,
    /// Forecast the loss of a model of N parameters after D new tokens, as 70B,1.4T; may be given often
    #[arg(long, value_name = "N,D")]
    pub forecast: Vec<String>,
    /// Tell the best size and tokens for so many floating-point operations; may be given often [default: powers of ten up
    /// to a hundred times the largest run]
    #[arg(long, value_name = "C")]
    pub compute: Vec<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Runs are rows as in `loam study scale`, with the number of different tokens (unique_tokens) beside all tokens, \
                        or with epochs beside either; or they are made from a RECIPE: parts of its text, each shown for several epochs. The law \
                        counts repeated tokens as fewer new ones: D' = U + U R (1 - \
                        exp(-(D/U - 1)/R)), R fitted (Muennighoff et al. 2023). Runs of one size do.\n\n\
                        Examples:\n  \
                        loam study repeat --points runs.csv\n  \
                        loam study repeat --points runs.csv --forecast 1B,100B,25B -o laws\n  \
                        loam study repeat recipe.toml --parts 0.125,0.25,0.5,1 --epochs 1,2,4,8 -o studies/repeat"
)]
pub struct RepeatArguments {
    #[command(flatten)]
    pub runs: RunsToMake,
    #[command(flatten)]
    pub points: PointsArguments,
    #[command(flatten)]
    pub fit: FitArguments,
    /// Parts of the text's documents
    #[arg(long, value_delimiter = ',', value_name = "P,...", default_values_t = [0.125, 0.25, 0.5, 1.0])]
    pub parts: Vec<f64>,
    /// Times that each part is shown
    #[arg(long, value_delimiter = ',', value_name = "E,...", default_values_t = [1.0, 2.0, 4.0, 8.0])]
    pub epochs: Vec<f64>,
    /// Forecast the loss of a model of N parameters after D tokens of which U are different, as 1B,100B,25B
    #[arg(long, value_name = "N,D,U")]
    pub forecast: Vec<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "What is held out is cut off first and no treatment touches it. Treatments: clean:STEP+STEP (steps as in a \
                        recipe's clean), filter (Gopher, C4, FineWeb), deduplicate (exact copies); noise at a rate from 0 to 1: shuffle-words, \
                        markup, garble (characters), copies (documents once more).\n\n\
                        Examples:\n  \
                        loam study quality recipe.toml --try filter --try deduplicate -o studies/quality\n  \
                        loam study quality recipe.toml --try garble:0.02 --try garble:0.1 --try garble:0.3 --seeds 5 -o studies/garble"
)]
pub struct QualityArguments {
    #[command(flatten)]
    pub runs: RunsToMake,
    #[command(flatten)]
    pub fit: FitArguments,
    /// A treatment of the training text; may be given often
    #[arg(long = "try", value_name = "TREATMENT", required = true)]
    pub treatments: Vec<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Every arm sees each document equally often: for the recipe's epochs, or once. random shows documents in one random \
                        order, which a curriculum has to do better than; common and rare go by the mean of -ln p of a document's \
                        tokens under the frequencies of the whole text.\n\n\
                        Example:\n  \
                        loam study order recipe.toml --orders random,short-first,common-first,rare-first -o studies/order"
)]
pub struct OrderArguments {
    #[command(flatten)]
    pub runs: RunsToMake,
    #[command(flatten)]
    pub fit: FitArguments,
    /// Orders of documents: random, short-first, long-first, common-first, rare-first
    #[arg(long, value_delimiter = ',', value_name = "ORDER,...", default_values_t = ["random", "short-first", "common-first", "rare-first"].map(str::to_owned))]
    pub orders: Vec<String>,
}

/// Runs that a study makes.
#[derive(Debug, Args)]
pub struct RunsToMake {
    /// The recipe that the study changes
    #[arg(value_name = "RECIPE")]
    pub recipe: Option<PathBuf>,
    /// Change a value of the recipe, as in train.steps=300; may be given often
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "recipe")]
    pub sets: Vec<String>,
    /// Seeds that every arm is trained with, from train.seed on
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub seeds: u64,
    /// Tell the runs, tokens, hours, and the smallest effect that these seeds can see, and train nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Train runs again that have failed
    #[arg(long)]
    pub retry_failed: bool,
    /// How far paired differences of the loss spread, in nats, while no two pairs are finished
    #[arg(long, default_value_t = 0.01, value_name = "NATS")]
    pub spread: f64,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Models are trained on random parts of the documents, with every seed. Of a held-out sequence each method says how much \
                        each document helps; added up over a part, that is its prediction of how well the part's model does, and Spearman's \
                        correlation over parts, the mean over sequences, is its linear datamodeling score (Park et al. 2023). The ceiling is what a \
                        method could reach that knew everything but the noise of seeds. A study that was stopped is gone on with by the \
                        same command.\n\n\
                        Examples:\n  \
                        loam study subsets recipe.toml --subsets 64 --seeds 2 --dry-run\n  \
                        loam study subsets recipe.toml --subsets 64 --seeds 2 -o studies/subsets\n  \
                        loam study subsets recipe.toml --method ek-fac,adam-dot,bm25 -o studies/subsets"
)]
pub struct SubsetsArguments {
    #[command(flatten)]
    pub runs: RunsToMake,
    #[command(flatten)]
    pub fit: FitArguments,
    /// Parts to train on
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub subsets: usize,
    /// The part of every source's documents in each
    #[arg(long, default_value_t = 0.5, value_name = "PART")]
    pub part: f64,
    /// Methods to grade, between commas
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["all"], value_name = "NAME,...")]
    pub method: Vec<super::influence::MethodName>,
    /// Held-out sequences of each domain that are asked about
    #[arg(long, default_value_t = 16, value_name = "N")]
    pub sequences: usize,
    /// Numbers that a gradient is projected to
    #[arg(long, default_value_t = 2048, value_name = "N", value_parser = clap::value_parser!(u64).range(16..=65536))]
    pub dimensions: u64,
}

/// Runs that there are.
#[derive(Debug, Args)]
pub struct PointsArguments {
    /// The runs: files, folders, globs
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "recipe")]
    pub points: Vec<String>,
    /// Column of a quantity whose name is no usual one: parameters, tokens, compute, loss, unique_tokens, epochs
    #[arg(long = "column", value_name = "WHAT=COLUMN")]
    pub columns: Vec<String>,
    /// Leave out the N runs of highest loss
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub drop_highest: usize,
}

/// How sure results are, and where they go.
#[derive(Debug, Args)]
pub struct FitArguments {
    /// Times that runs are drawn anew for intervals
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub resamples: usize,
    /// Seed of these draws
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Folder for report.html, and for the runs and tables of a study that makes runs
    #[arg(short, long, value_name = "DIR", value_parser = result::path())]
    pub out: Option<PathBuf>,
}

impl FitArguments {
    /// How runs are drawn anew.
    pub fn bootstrap(&self) -> Bootstrap {
        Bootstrap { resamples: self.resamples, seed: self.seed, ..Bootstrap::default() }
    }
}
