//! The methods, and how they are set.

use std::path::PathBuf;

use super::projection::Projection;

/// A way to say what a document did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// ⟨g_q, g_i⟩ at the last weights: a step of gradient descent on i brings q's loss down by that much, to first order.
    GradientDot,
    /// The same divided by both lengths.
    GradientCosine,
    /// ⟨P g_q, g_i⟩ with Adam's denominators P at the last weights: a step of Adam in the place of one of gradient descent, as the ledger
    /// has it (compare LESS, Xia et al. 2024).
    AdamDot,
    /// Σ η_c ⟨g_q, g_i⟩ over checkpoints c with their learning rates (TracInCP, Pruthi et al. 2020, equation 1).
    TracIn,
    /// φ_qᵀ (ΦᵀΦ/n + λI)⁻¹ φ_i of projected gradients φ (TRAK, Park et al. 2023, of one model and with the loss as its output).
    Trak,
    /// The same of gradients that were projected matrix by matrix, each with a Fisher matrix of its own (LoGra, Choe et al. 2024).
    LoGra,
    /// g_qᵀ (F + λI)⁻¹ g_i with F factored for the whole model (EK-FAC influence, Grosse et al. 2023).
    EkFac,
    /// The cosine of mean last hidden states.
    Representation,
    /// Words in common, by BM25 (Robertson & Zaragoza 2009).
    Bm25,
    /// Tokens of the question that stand in the document as they are, in stretches of [`Settings::shortest_span`] and more.
    Spans,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 10] = [
        Self::GradientDot,
        Self::GradientCosine,
        Self::AdamDot,
        Self::TracIn,
        Self::Trak,
        Self::LoGra,
        Self::EkFac,
        Self::Representation,
        Self::Bm25,
        Self::Spans,
    ];

    /// What a user calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::GradientDot => "gradient-dot",
            Self::GradientCosine => "gradient-cosine",
            Self::AdamDot => "adam-dot",
            Self::TracIn => "tracin",
            Self::Trak => "trak",
            Self::LoGra => "logra",
            Self::EkFac => "ek-fac",
            Self::Representation => "representation",
            Self::Bm25 => "bm25",
            Self::Spans => "spans",
        }
    }

    /// Whether what it says of a document's passages adds up; else the best passage speaks for its document.
    pub fn adds_up(self) -> bool {
        !matches!(self, Self::GradientCosine | Self::Representation)
    }

    pub(super) fn projection(self, settings: &Settings) -> Option<Projection> {
        match self {
            Self::GradientDot | Self::GradientCosine | Self::AdamDot | Self::TracIn | Self::Trak | Self::EkFac => {
                Some(Projection::Hashed { dimensions: settings.dimensions })
            }
            Self::LoGra => Some(Projection::TwoSided { rank: settings.rank }),
            Self::Representation | Self::Bm25 | Self::Spans => None,
        }
    }
}

/// How methods are to work.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Numbers that a gradient is projected to.
    pub dimensions: usize,
    /// Rows and columns that [`Method::LoGra`] leaves of a matrix.
    pub rank: usize,
    /// λ as a part of the mean eigenvalue, where a curvature is inverted.
    pub damping: f64,
    /// Passages that EK-FAC's factors are measured on, spread over all.
    pub factor_passages: usize,
    /// Checkpoints that [`Method::TracIn`] sums over, the newest; a run keeps `train.keep_checkpoints`.
    pub checkpoints: usize,
    /// Shortest stretch in tokens that [`Method::Spans`] counts.
    pub shortest_span: usize,
    /// Seed of projections.
    pub seed: u64,
    /// Held-out sequences that speak for a domain.
    pub domain_sequences: usize,
    /// The folder of indexes; none: `influence` in the run's.
    pub folder: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dimensions: 2048,
            rank: 16,
            damping: 0.1,
            factor_passages: 512,
            checkpoints: 5,
            shortest_span: 4,
            seed: 1,
            domain_sequences: 64,
            folder: None,
        }
    }
}
