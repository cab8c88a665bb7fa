//! Flags of a cluster's members.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    after_help = "A scheduler knows the workers and hands them the files of `loam data prepare --scheduler`. It is no work \
                  itself, and sees no file. Nothing is encrypted and nobody is asked for a password: use it in a network \
                  whose members trust each other.\n\n\
                  Examples:\n  \
                  loam scheduler                         for workers on this machine\n  \
                  loam scheduler --bind 0.0.0.0          for workers elsewhere"
)]
pub struct SchedulerArguments {
    /// Address to listen at; 0.0.0.0 is all of this machine's
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub bind: String,
    /// Port to listen at; 0 takes a free one
    #[arg(long, default_value_t = 50050, value_name = "PORT")]
    pub port: u16,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Workers see the files of the corpus, and the folder of the result, under the same paths as whoever prepares: \
                  share them. All need the same version of Loam. A worker that stops, for whatever reason, loses the file at hand \
                  alone; another reads it. --threads N bounds what it computes with, --device and --dtype are for models that \
                  score.\n\n\
                  Examples:\n  \
                  loam worker --scheduler node1:50050 --bind 0.0.0.0\n  \
                  loam worker --scheduler node1:50050 --slots 4        where files have few documents each"
)]
pub struct WorkerArguments {
    /// The scheduler to work for
    #[arg(long, default_value = "127.0.0.1:50050", value_name = "HOST:PORT")]
    pub scheduler: String,
    /// Files to read at the same time; the documents of one are read by all threads already
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub slots: u16,
    /// Address to listen at, for whoever prepares to fetch counts from
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub bind: String,
    /// Name by which others reach this machine [default: the address that the scheduler sees]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Port to listen at; 0 takes a free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub port: u16,
    /// Folder for Ballista's small files [default: a new one, which goes with the worker]
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
}
