//! The flags of `loam influence`.

use clap::{Args, ValueEnum};
use loam_influence::attribution::Method;
use std::path::PathBuf;

/// A way to say which documents made a model say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MethodName {
    /// A step of gradient descent on the document, to first order
    GradientDot,
    /// The same for gradients of length 1
    GradientCosine,
    /// A step of Adam on the document, with the denominators of the last checkpoint
    AdamDot,
    /// Gradient products summed over checkpoints (Pruthi et al. 2020)
    Tracin,
    /// Projected gradients under their inverse Fisher matrix (Park et al. 2023)
    Trak,
    /// The same with a projection for every weight matrix (Choe et al. 2024)
    Logra,
    /// Influence functions with a factored Fisher matrix (Grosse et al. 2023)
    EkFac,
    /// Cosine of mean last hidden states
    Representation,
    /// Words in common: what every other method has to beat
    Bm25,
    /// Tokens that stand in the document as they are
    Spans,
    /// All of them
    All,
}

impl MethodName {
    /// The methods that it stands for.
    fn methods(self) -> Vec<Method> {
        vec![match self {
            Self::GradientDot => Method::GradientDot,
            Self::GradientCosine => Method::GradientCosine,
            Self::AdamDot => Method::AdamDot,
            Self::Tracin => Method::TracIn,
            Self::Trak => Method::Trak,
            Self::Logra => Method::LoGra,
            Self::EkFac => Method::EkFac,
            Self::Representation => Method::Representation,
            Self::Bm25 => Method::Bm25,
            Self::Spans => Method::Spans,
            Self::All => return Method::ALL.to_vec(),
        }]
    }
}

/// The methods that names stand for, each once.
pub fn methods(names: &[MethodName]) -> Vec<Method> {
    let mut methods = Vec::new();
    for method in names.iter().flat_map(|name| name.methods()) {
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    methods
}

#[derive(Debug, Args)]
#[command(
    after_help = "Without a question: what each source brought the held-out loss down by, from the run's ledger, and the best and the worst documents where the run \
                        valued them (ledger.documents). With one: the training \
                        documents that made the model say it, the best first, and those that spoke against it. A document's number is \
                        positive where more of it would have made the model say so sooner.\n\n\
                        The first question of a method of gradients makes an index in RUN/influence, one backward pass a passage; it is gone \
                        on with after a stop, and later questions take it from the disk. An index of other data is refused.\n\n\
                        Examples:\n  \
                        loam influence runs/mine\n  \
                        loam influence runs/mine --prompt 'The capital of France is' --text ' Paris'\n  \
                        loam influence runs/mine --domain support --top-k 20 --json\n  \
                        loam influence runs/mine --text 'as it stands' --method ek-fac,bm25,spans"
)]
pub struct InfluenceArguments {
    /// The run's folder
    pub run: PathBuf,
    /// What the model says
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// What it says it after; nothing is asked about it
    #[arg(long, value_name = "TEXT", requires = "text")]
    pub prompt: Option<String>,
    /// A held-out domain in the place of a text; may be given often
    #[arg(long, value_name = "NAME")]
    pub domain: Vec<String>,
    /// Rows with a field text, and maybe prompt: a question each
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How it is told; several between commas
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["adam-dot", "bm25"], value_name = "NAME,...")]
    pub method: Vec<MethodName>,
    /// Documents to show of each end
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub top_k: u64,
    /// Folder of the indexes [default: RUN/influence]
    #[arg(long, value_name = "DIR")]
    pub index: Option<PathBuf>,
    /// Numbers that a gradient is projected to; more are truer and larger on disk, two bytes each
    #[arg(long, default_value_t = 2048, value_name = "N", value_parser = clap::value_parser!(u64).range(16..=65536))]
    pub dimensions: u64,
    /// Rows and columns that logra leaves of a weight matrix
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    pub rank: u64,
    /// What is added to a curvature before it is inverted, as a part of its mean eigenvalue
    #[arg(long, default_value_t = 0.1, value_name = "PART")]
    pub damping: f64,
    /// Checkpoints that tracin sums over, the newest
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub checkpoints: u64,
    /// Passages that ek-fac measures its factors on
    #[arg(long, default_value_t = 512, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub factor_passages: u64,
    /// Shortest stretch in tokens that spans counts
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub shortest_span: u64,
}
