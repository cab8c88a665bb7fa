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

mod lanes;
mod passes;
mod rows;

pub use rows::{Rows, balanced_cuts};

use passes::{Group, add_multiple, change_outputs, read_group};
use rayon::prelude::*;
use rows::Part;

/// Windows that one task of the first pass handles.
const GROUP: usize = 32;

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

/// How the rows of a matrix are divided among tasks, and how they are held back.
#[derive(Clone, Debug)]
pub struct Owners {
    /// Ends of the ranges of rows that tasks own, the last of them the number of rows ([`balanced_cuts`]). They decide speed
    /// alone.
    pub cuts: Vec<usize>,
    /// For every row, how much a window adds to what holds it back, or nothing where none is: a row moves
    /// 1 / (1 + rate · windows · this) as far as its gradient says.
    ///
    /// A row that a batch changes hundreds of times is changed by gradients that do not know of each other, and would swing
    /// wider from batch to batch. With the expected number of its pairs in a window here, it moves about as far as one
    /// implicit step would take it, while rows that a batch changes once or twice move as they should.
    pub inertia: Vec<f32>,
}

impl Owners {
    /// How far a row goes.
    fn reach(&self, row: u32, rate: f32, windows: usize) -> f32 {
        self.inertia.get(row as usize).map_or(1.0, |inertia| 1.0 / (1.0 + rate * windows as f32 * inertia))
    }
}

/// Who owns rows, and memory that steps use again.
#[derive(Debug)]
pub struct Workspace {
    input: Owners,
    output: Owners,
    groups: Vec<Group>,
}

impl Workspace {
    /// For matrices of these owners.
    pub fn new(input: Owners, output: Owners) -> Self {
        Self { input, output, groups: Vec::new() }
    }
}

/// One step: every row of `input` and `output`, `[vocabulary, width]`, goes down the summed gradients of the batch's
/// losses, all taken at the rows as they were, `rate` times as far, less where [`Owners`] hold it back.
///
/// The loss of a word x that predicts the center y, among negative samples k: -ln σ(x·y) - Σ ln σ(-x·k). Under CBOW, x is
/// the mean of the window's words, and each of them is changed by the whole gradient of that mean, as word2vec.c does.
///
/// Panics on rows outside the vocabulary and places outside the text.
pub fn step(kind: Kind, input: &mut Rows, output: &mut Rows, batch: &Batch, rate: f32, workspace: &mut Workspace) {
    assert_eq!(input.width(), output.width(), "input and output rows");
    let negatives = batch.negatives_each();
    assert_eq!(batch.negatives.len(), batch.windows.len() * negatives, "negatives [{}, n]", batch.windows.len());
    let Workspace { input: input_owners, output: output_owners, groups } = workspace;
    let windows = batch.windows.len();
    let count = windows.div_ceil(GROUP);
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
            let reach = |row| output_owners.reach(row, rate, windows);
            change_outputs(kind, input, &parts(index), group, &mut part, reach);
        }
    };
    let (input_cuts, output_cuts) = (&input_owners.cuts, &output_owners.cuts);
    let reach = |row| input_owners.reach(row, rate, windows);
    // Few tasks are not worth a meeting of threads.
    if (input_cuts.len() == 1 && output_cuts.len() == 1) || count == 1 {
        groups.iter_mut().enumerate().for_each(read);
        output.parts(output_cuts).into_iter().for_each(|part| change_output(groups, part));
        input.parts(input_cuts).into_iter().for_each(|part| change_inputs(batch.words, groups, part, reach));
        return;
    }
    groups.par_iter_mut().enumerate().for_each(read);
    let groups = &*groups;
    output.parts(output_cuts).into_par_iter().for_each(|part| change_output(groups, part));
    input.parts(input_cuts).into_par_iter().for_each(|part| change_inputs(batch.words, groups, part, reach));
}

/// Adds what each place is to be changed by to the row of its word.
fn change_inputs(words: &[u32], groups: &[Group], mut part: Part, reach: impl Fn(u32) -> f32) {
    for group in groups {
        for (number, change) in group.changes(words) {
            if let Some(row) = part.row(number) {
                add_multiple(row, change, reach(number));
            }
        }
    }
}
