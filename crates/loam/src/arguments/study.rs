//! The flags of `loam study`: laws of runs that there are, and experiments that make runs.

use super::result;
use clap::{Args, Subcommand};
use loam_tasks::metrics::Bootstrap;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum StudyCommand {
    /// How the loss falls with size and tokens: fit the law of Chinchilla, forecast, and spend compute by it
    Scale(Box<ScaleArguments>),
    /// What tokens are worth that the model has seen before, and where repetition stops paying
    Repeat(Box<RepeatArguments>),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Runs are rows of CSV, TSV, JSON lines, Parquet or Arrow with a loss and two of parameters, tokens and \
                        compute (C = 6 N D); columns are told by their usual names, whatever their case. The law is \
                        L(N, D) = E + A/N^a + B/D^b, fitted as Hoffmann et al. (2022) and, corrected, Besiroglu et al. (2024) do; \
                        intervals are 95 % of a bootstrap over runs.\n\n\
                        Examples:\n  \
                        loam study scale --points runs.csv\n  \
                        loam study scale --points chinchilla-points.csv --drop-highest 5 --resamples 4000\n  \
                        loam study scale --points runs.csv --forecast 70B,1.4T --compute 5.76e23 -o laws\n  \
                        loam study scale --points runs.jsonl --column loss=final_nats --json"
)]
pub struct ScaleArguments {
    #[command(flatten)]
    pub points: PointsArguments,
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
                        or with epochs beside either. The law counts repeated tokens as fewer new ones: D' = U + U R (1 - \
                        exp(-(D/U - 1)/R)), R fitted (Muennighoff et al. 2023). Runs of one size do.\n\n\
                        Examples:\n  \
                        loam study repeat --points runs.csv\n  \
                        loam study repeat --points runs.csv --forecast 1B,100B,25B -o laws"
)]
pub struct RepeatArguments {
    #[command(flatten)]
    pub points: PointsArguments,
    /// Forecast the loss of a model of N parameters after D tokens of which U are different, as 1B,100B,25B
    #[arg(long, value_name = "N,D,U")]
    pub forecast: Vec<String>,
}

/// Runs to fit a law to, and how to say how sure it is.
#[derive(Debug, Args)]
pub struct PointsArguments {
    /// The runs: files, folders, globs
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub points: Vec<String>,
    /// Column of a quantity whose name is no usual one: parameters, tokens, compute, loss, unique_tokens, epochs
    #[arg(long = "column", value_name = "WHAT=COLUMN")]
    pub columns: Vec<String>,
    /// Leave out the N runs of highest loss
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub drop_highest: usize,
    /// Times that the runs are drawn anew for intervals
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub resamples: usize,
    /// Seed of these draws
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Folder for report.html, with the curves, their bands and the runs
    #[arg(short, long, value_name = "DIR", value_parser = result::path())]
    pub out: Option<PathBuf>,
}

impl PointsArguments {
    /// How runs are drawn anew.
    pub fn bootstrap(&self) -> Bootstrap {
        Bootstrap { resamples: self.resamples, seed: self.seed, ..Bootstrap::default() }
    }
}
