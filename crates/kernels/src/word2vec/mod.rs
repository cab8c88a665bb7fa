//! Word vectors by skip-gram and CBOW with negative sampling (Mikolov et al. 2013, "Distributed Representations of Words
//! and Phrases and their Compositionality", equation 4).
//!
//! The usual implementations let threads change the same rows without looking (Hogwild), so that no two runs agree. Here a
//! step takes a batch of windows in three passes, each of them parallel, and gives the same bits on any number of threads:
//!
//! 1. Groups of windows read the rows as they were, and leave the derivative of each pair's loss and what the words in
//!    the windows are to be changed by, summed by place in the text.
//! 2. Each task owns a range of output rows and changes them, window by window.
//! 3. Each task owns a range of input rows and changes them, place by place.
//!
//! Only the scalars of pass 1 and one row a word of text are kept between passes, so this costs little more than changing
//! rows at once. The words in a window share its negative samples (Ji et al. 2016, "Parallelizing Word2Vec in Shared and
//! Distributed Memory"), which makes small matrix products of what would be single dot products.

mod passes;
mod rows;

pub use rows::{Rows, balanced_cuts};

use passes::{Group, add_rows, change_outputs, read_group};
use rayon::prelude::*;
use rows::Part;

/// Windows that one task of the first pass handles.
const GROUP: usize = 64;

/// What is predicted from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The center of a window from each of the words around it.
    SkipGram,
    /// The center of a window from the mean of the words around it.
    Cbow,
}

/// A place in the text with what stands around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Place of the word in the middle.
    pub center: u32,
    /// The first place of the window.
    pub first: u32,
    /// One past the last place of the window.
    pub end: u32,
}

/// Windows over a stretch of text, in the order of their centers.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Row of the word at every place.
    pub words: &'a [u32],
    /// The windows, each with at least one word beside its center.
    pub windows: &'a [Window],
    /// Rows of the words that are not in the middle, `[windows, negatives]`; one that is the center counts for nothing.
    pub negatives: &'a [u32],
}

impl Batch<'_> {
    /// Negative samples a window.
    fn negatives_each(&self) -> usize {
        self.negatives.len().checked_div(self.windows.len()).unwrap_or(0)
    }
}

/// How rows are divided among tasks, and memory that steps use again.
#[derive(Debug)]
pub struct Workspace {
    input_cuts: Vec<usize>,
    output_cuts: Vec<usize>,
    groups: Vec<Group>,
}

impl Workspace {
    /// Ends of the ranges of input and output rows that tasks own ([`balanced_cuts`]). They decide speed alone.
    pub fn new(input_cuts: Vec<usize>, output_cuts: Vec<usize>) -> Self {
        Self { input_cuts, output_cuts, groups: Vec::new() }
    }
}

/// One step: every row of `input` and `output`, `[vocabulary, width]`, goes down the summed gradients of the batch's
/// losses, all taken at the rows as they were, `rate` times as far.
///
/// The loss of a word x that predicts the center y, among negative samples k: -ln σ(x·y) - Σ ln σ(-x·k). Under CBOW, x is
/// the mean of the window's words, and each of them is changed by the whole gradient of that mean, as word2vec.c does.
///
/// Panics on rows outside the vocabulary and places outside the text.
pub fn step(kind: Kind, input: &mut Rows, output: &mut Rows, batch: &Batch, rate: f32, workspace: &mut Workspace) {
    assert_eq!(input.width(), output.width(), "input and output rows");
    let negatives = batch.negatives_each();
    assert_eq!(batch.negatives.len(), batch.windows.len() * negatives, "negatives [{}, n]", batch.windows.len());
    let Workspace { input_cuts, output_cuts, groups } = workspace;
    let count = batch.windows.len().div_ceil(GROUP);
    if groups.len() < count {
        groups.resize_with(count, Group::default);
    }
    let groups = &mut groups[..count];
    let parts = |group: usize| {
        let windows = &batch.windows[group * GROUP..(group * GROUP + GROUP).min(batch.windows.len())];
        let negatives = &batch.negatives[group * GROUP * negatives..][..windows.len() * negatives];
        Batch { words: batch.words, windows, negatives }
    };
    let read = |(index, group): (usize, &mut Group)| read_group(kind, input, output, &parts(index), rate, group);
    let change_output = |groups: &[Group], mut part: Part| {
        for (index, group) in groups.iter().enumerate() {
            change_outputs(kind, input, &parts(index), group, &mut part);
        }
    };
    if input_cuts.len() == 1 && output_cuts.len() == 1 {
        groups.iter_mut().enumerate().for_each(read);
        output.parts(output_cuts).into_iter().for_each(|part| change_output(groups, part));
        input.parts(input_cuts).into_iter().for_each(|part| change_inputs(batch.words, groups, part));
        return;
    }
    groups.par_iter_mut().enumerate().for_each(read);
    let groups = &*groups;
    output.parts(output_cuts).into_par_iter().for_each(|part| change_output(groups, part));
    input.parts(input_cuts).into_par_iter().for_each(|part| change_inputs(batch.words, groups, part));
}

/// Adds what each place is to be changed by to the row of its word.
fn change_inputs(words: &[u32], groups: &[Group], mut part: Part) {
    for group in groups {
        for (row, change) in group.changes(words) {
            if let Some(row) = part.row(row) {
                add_rows(row, change);
            }
        }
    }
}
