//! Controlled experiments on the data: runs that differ in one thing, paired by their seeds.
//!
//! A study plans arms from a base recipe ([`mod@mix`], [`grids`], [`quality`]), tells what they cost ([`cost`]) and what so many seeds can
//! see ([`significance`]), makes the runs and goes on with what a kill left ([`conduct`]), and compares them with the base
//! ([`mod@effects`]). What the ledger of the base runs predicted is graded by the runs that were retrained ([`grade`]).

pub mod arm;
pub mod conduct;
pub mod cost;
pub mod effects;
pub mod folder;
pub mod grade;
pub mod grids;
pub mod mix;
pub mod quality;
pub mod significance;
pub mod subsets;
pub mod table;

pub use arm::{Arm, BASE, Change, Order};
pub use conduct::{BaseData, Conducted, Study, Told, prepare_base};
pub use cost::Cost;
pub use effects::{Effect, domains, effects, power_in_words, usual_spread};
pub use folder::{DomainLoss, RunResult, StudyFolder};
pub use grade::{Grade, grades};
pub use quality::Treatment;

/// What the mean over all held-out domains is called where a domain is asked for.
pub const MEAN: &str = "(mean)";
