//! The data ledger: what each source, momentum and weight decay did to the held-out loss of each domain.
//!
//! # What is booked
//!
//! Write `ℓ_d` for the mean loss on held-out domain *d* (nats a token), `g_d` for its gradient, and `Δw` for the change
//! of the weights over an interval of training steps. Under the Adam denominators that were actually used, `Δw` is linear
//! in the gradients, so it splits exactly into a term for each source, one for momentum carried over and one for weight
//! decay: `Δw = Σ_s Δw_s + Δw_history + Δw_decay`. The loss changes by `⟨ḡ_d, Δw⟩`, with `ḡ_d` the mean gradient on the
//! straight way from the interval's first weights to its last, and the value of source *s* for domain *d* is what its
//! term took off the loss,
//!
//! ```text
//! value(s, d) = − Σ_intervals ⟨ḡ_d, Δw_s⟩        ḡ_d ≈ Σ_i ω_i g_d(w_start + t_i Δw)
//! ```
//!
//! by a quadrature of one, three or seven points (`loam_train::ledger`). Values are nats by which the held-out loss *came
//! down*: positive is helpful, negative hurt. Nothing is normalized away.
//!
//! # Whether it is true
//!
//! The books close when the lines add up to the change that was measured on the same held-out sequences:
//! residual = measured − Σ lines. [`DomainSummary`] carries the residual, its share of the measured change, a verdict
//! at [`CLOSES_WITHIN`], and the correlation over intervals of booked and measured.
//!
//! The ancestor is In-Run Data Shapley (Wang et al., 2024), `⟨∇ℓ(z), ∇ℓ(z_held_out)⟩` summed over the steps of SGD; its
//! first-order form is this sum with `Δw_s` the step of SGD. Here
//! `Δw_s` is the step that `AdamW` took.

mod book;
mod read;
mod series;
mod summary;

pub use book::{Interval, Line};
pub use read::Ledger;
pub use series::{Bin, LineSeries, Series};
pub use summary::{Books, CLOSES_WITHIN, DomainSummary, LedgerSummary, LineSummary};

#[cfg(test)]
mod tests;
