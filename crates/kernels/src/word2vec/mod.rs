//! Word vectors by skip-gram and CBOW with negative sampling (Mikolov et al. 2013, "Distributed Representations of Words
//! and Phrases and their Compositionality", equation 4).
//!
//! The usual implementations let threads change the same rows without looking (Hogwild), so that no two runs agree. Here a
//! step takes a batch of windows, and every thread has columns of its own of all rows:
//!
//! 1. It takes what its columns have of each pair's dot product. Then threads meet and read each other's.
//! 2. It changes its columns: what the words in the windows are to be changed by, summed by place in the text, then the
//!    output rows, then the input rows.
//!
//! So only scalars go from thread to thread; rows that one core changed and another needs would cost more than the work on
//! them. The same number of threads gives the same bits. The words in a window share its negative samples (Ji et al. 2016,
//! "Parallelizing Word2Vec in Shared and Distributed Memory"), which makes small matrix products of what would be single
//! dot products.

mod lanes;
mod meeting;
mod passes;
mod rows;

pub use rows::Rows;

use meeting::Meeting;
use passes::Pages;
use rows::Columns;
use std::cell::UnsafeCell;
use std::sync::Mutex;

/// Columns that a thread has at least. Finding rows and finishing dot products takes as long for few columns as for many:
/// two threads took as long as one for 100 columns, and nine tenths of it for 300.
pub const COLUMNS: usize = 128;

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

/// How rows of a matrix are held back: for every row, how much a window adds to what holds it back, or nothing where none
/// is: a row moves 1 / (1 + rate · windows · this) as far as its gradient says.
///
/// A row that a batch changes hundreds of times is changed by gradients that do not know of each other, and would swing
/// wider from batch to batch. With the expected number of its pairs in a window here, it moves about as far as one
/// implicit step would take it, while rows that a batch changes once or twice move as they should.
#[derive(Clone, Debug, Default)]
pub struct Inertia(pub Vec<f32>);

impl Inertia {
    /// How far a row goes.
    fn reach(&self, row: u32, rate: f32, windows: usize) -> f32 {
        self.0.get(row as usize).map_or(1.0, |inertia| 1.0 / (1.0 + rate * windows as f32 * inertia))
    }
}

/// What holds rows back, and memory that steps use again.
#[derive(Debug)]
pub struct Workspace {
    input: Inertia,
    output: Inertia,
    threads: Vec<Memory>,
}

/// Of one thread: its pages, and the scores of two steps, since the others may still read those of the step before.
#[derive(Debug, Default)]
struct Memory {
    pages: Pages,
    scores: [Scores; 2],
}

/// What one thread writes and all read.
#[derive(Debug, Default)]
struct Scores(UnsafeCell<Vec<f32>>);

// SAFETY: `steps` says at each use why it may.
unsafe impl Sync for Scores {}

impl Workspace {
    /// For matrices that are held back so.
    pub fn new(input: Inertia, output: Inertia) -> Self {
        Self { input, output, threads: Vec::new() }
    }
}

/// A batch, and how far rows go down its gradients.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The windows.
    pub batch: Batch<'a>,
    /// The learning rate.
    pub rate: f32,
}

impl Step<'_> {
    /// Targets of a window.
    fn targets(&self) -> usize {
        self.batch.negatives_each() + 1
    }
}

/// Step after step: every row of `input` and `output`, `[vocabulary, width]`, goes down the summed gradients of a batch's
/// losses, all taken at the rows as they were before it, `rate` times as far, less where [`Inertia`] holds it back.
///
/// The loss of a word x that predicts the center y, among negative samples k: -ln σ(x·y) - Σ ln σ(-x·k). Under CBOW, x is
/// the mean of the window's words, and each of them is changed by the whole gradient of that mean, as word2vec.c does.
///
/// Threads of the pool go through all steps together, one for each [`COLUMNS`]; what they wait for each other within a step
/// takes microseconds, on a machine that has nothing else to do.
///
/// Panics on rows outside the vocabulary and places outside the text.
pub fn steps(kind: Kind, input: &mut Rows, output: &mut Rows, steps: &[Step], workspace: &mut Workspace) {
    assert_eq!(input.width(), output.width(), "input and output rows");
    for Step { batch, .. } in steps {
        let (windows, negatives) = (batch.windows.len(), batch.negatives.len());
        assert_eq!(negatives, windows * batch.negatives_each(), "negatives [{windows}, n]");
    }
    let threads = rayon::current_num_threads().min(input.width() / COLUMNS).max(1);
    workspace.threads.resize_with(threads, Memory::default);
    let Workspace { input: input_inertia, output: output_inertia, threads: memories } = workspace;
    let (pages, scores): (Vec<_>, Vec<_>) =
        memories.iter_mut().map(|memory| (&mut memory.pages, &memory.scores)).unzip();
    let columns = Columns::divide(input, threads).into_iter().zip(Columns::divide(output, threads)).zip(pages);
    let walkers: Vec<_> = columns.map(|walker| Mutex::new(Some(walker))).collect();
    let meeting = Meeting::new(threads);
    let walk = |thread: usize| {
        let Some(((mut input, mut output), pages)) = walkers[thread].lock().ok().and_then(|mut walker| walker.take())
        else {
            return;
        };
        let _breaks = meeting.broken_by_panic();
        for (number, step) in steps.iter().enumerate() {
            let (page, windows) = (number % 2, step.batch.windows.len());
            // SAFETY: scores of this thread and page were read by others two steps ago at the latest, and all of them have
            // come to a meeting since.
            pages.read(kind, &input, &output, step, unsafe { &mut *scores[thread][page].0.get() });
            meeting.wait();
            // SAFETY: their threads write them again two steps on, after a meeting that this thread comes to.
            pages.sum(scores.iter().map(|scores| unsafe { (*scores[page].0.get()).as_slice() }));
            let input_reach = |row| input_inertia.reach(row, step.rate, windows);
            let output_reach = |row| output_inertia.reach(row, step.rate, windows);
            pages.change(kind, &mut input, &mut output, step, [&input_reach, &output_reach]);
        }
    };
    if threads == 1 {
        walk(0);
    } else {
        rayon::broadcast(|context| {
            if context.index() < threads {
                walk(context.index());
            }
        });
    }
}

/// As [`steps`], of one.
pub fn step(kind: Kind, input: &mut Rows, output: &mut Rows, batch: &Batch, rate: f32, workspace: &mut Workspace) {
    steps(kind, input, output, &[Step { batch: *batch, rate }], workspace);
}
