//! Word vectors: fast against reference at every SIMD level, changes against finite differences of the loss, and equal bits
//! on any number of threads and ranges of rows.

mod support;

use loam_kernels::reference;
use loam_kernels::reference::widen;
use loam_kernels::simd::{SimdLevel, with_simd_level};
use loam_kernels::word2vec::{Batch, COLUMNS, Inertia, Kind, Rows, Step, Window, Workspace, step, steps};
use support::calculus::differences;
use support::{Random, assert_close, at_every_level};

const KINDS: [Kind; 2] = [Kind::SkipGram, Kind::Cbow];
const VOCABULARY: usize = 37;

struct Example {
    words: Vec<u32>,
    windows: Vec<Window>,
    negatives: Vec<u32>,
}

impl Example {
    /// `places` of text in sentences of 11 words, a window around each; `reach` gives how far each goes.
    fn new(places: usize, negatives: usize, seed: u64, reach: impl Fn(&mut Random) -> usize) -> Self {
        let mut random = Random(seed);
        let words = random.ids(places, VOCABULARY);
        let windows: Vec<Window> = (0..places)
            .map(|center| {
                let (start, end) = (center / 11 * 11, (center / 11 * 11 + 11).min(places));
                let reach = reach(&mut random);
                let first = center.saturating_sub(reach).max(start);
                Window { center: center as u32, first: first as u32, end: (center + reach + 1).min(end) as u32 }
            })
            .filter(|window| window.end - window.first > 1)
            .collect();
        let negatives = random.ids(windows.len() * negatives, VOCABULARY);
        Self { words, windows, negatives }
    }

    fn batch(&self) -> Batch<'_> {
        Batch { words: &self.words, windows: &self.windows, negatives: &self.negatives }
    }
}

fn rows(values: &[f32], width: usize) -> Rows {
    let mut rows = Rows::zeros(values.len() / width, width);
    for (index, values) in values.chunks(width).enumerate() {
        rows.set(index, values);
    }
    rows
}

fn values(rows: &Rows) -> Vec<f32> {
    let mut values = Vec::new();
    for row in 0..rows.rows() {
        rows.copy(row, &mut values);
    }
    values
}

/// `input` and `output` after one step.
fn stepped(kind: Kind, input: &[f32], output: &[f32], width: usize, batch: &Batch) -> [Vec<f32>; 2] {
    held_back(kind, input, output, width, batch, &[])
}

/// As [`stepped`], with rows held back.
fn held_back(kind: Kind, input: &[f32], output: &[f32], width: usize, batch: &Batch, inertia: &[f32]) -> [Vec<f32>; 2] {
    let (mut input, mut output) = (rows(input, width), rows(output, width));
    let mut workspace = Workspace::new(Inertia(inertia.to_vec()), Inertia(inertia.to_vec()));
    step(kind, &mut input, &mut output, batch, 0.1, &mut workspace);
    [values(&input), values(&output)]
}

/// With so many threads.
fn with_threads<T: Send>(threads: usize, action: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads").install(action)
}

#[test]
fn a_step_is_the_reference() {
    at_every_level(|| {
        for kind in KINDS {
            for (width, negatives, reach) in [(1, 1, 1), (16, 5, 5), (100, 5, 5), (37, 7, 3), (130, 0, 9), (300, 20, 2)]
            {
                let example = Example::new(150, negatives, 3, |random| 1 + random.below(reach));
                let mut random = Random(7);
                let (input, output) = (random.values(VOCABULARY * width), random.values(VOCABULARY * width));
                let batch = example.batch();
                let fast = with_threads(2, || stepped(kind, &input, &output, width, &batch));
                let mut plain = [widen(&input), widen(&output)];
                let [plain_input, plain_output] = &mut plain;
                reference::word2vec::step(kind, plain_input, plain_output, width, &batch, f64::from(0.1_f32));
                for (what, (fast, plain)) in ["input", "output"].iter().zip(fast.iter().zip(&plain)) {
                    assert_close(&format!("{kind:?}, width {width}, {what}"), fast, plain, 1e-5);
                }
            }
        }
    });
}

#[test]
fn a_step_goes_down_the_gradient_of_the_loss() {
    let width = 6;
    // Windows of three words, so that the mean of CBOW is always of two.
    let example = Example::new(30, 4, 5, |_| 1);
    let windows = example.windows.iter().filter(|window| window.end - window.first == 3).copied().collect::<Vec<_>>();
    let negatives = &example.negatives[..windows.len() * 4];
    let batch = Batch { words: &example.words, windows: &windows, negatives };
    let mut random = Random(9);
    let (input, output) = (random.values(VOCABULARY * width), random.values(VOCABULARY * width));
    for kind in KINDS {
        let new = stepped(kind, &input, &output, width, &batch);
        let gradient =
            |old: &[f32], new: &[f32]| old.iter().zip(new).map(|(old, new)| (old - new) / 0.1).collect::<Vec<_>>();
        let plain_output = widen(&output);
        let mut by_input =
            differences(&input, |input| reference::word2vec::loss(kind, input, &plain_output, width, &batch));
        let plain_input = widen(&input);
        let by_output =
            differences(&output, |output| reference::word2vec::loss(kind, &plain_input, output, width, &batch));
        if kind == Kind::Cbow {
            // Each of the two words is changed by the whole gradient of their mean.
            for slope in &mut by_input {
                *slope *= 2.0;
            }
        }
        assert_close(&format!("{kind:?}, input"), &gradient(&input, &new[0]), &by_input, 1e-5);
        assert_close(&format!("{kind:?}, output"), &gradient(&output, &new[1]), &by_output, 1e-5);
    }
}

#[test]
fn rows_are_held_back_by_their_inertia() {
    let width = 20;
    let example = Example::new(80, 5, 17, |random| 1 + random.below(4));
    let mut random = Random(19);
    let (input, output) = (random.values(VOCABULARY * width), random.values(VOCABULARY * width));
    let inertia: Vec<f32> = (0..VOCABULARY).map(|row| row as f32 / 9.0).collect();
    let batch = example.batch();
    for kind in KINDS {
        let free = stepped(kind, &input, &output, width, &batch);
        let held = held_back(kind, &input, &output, width, &batch, &inertia);
        for ((old, free), held) in [&input, &output].iter().zip(&free).zip(&held) {
            let expected: Vec<f64> = (0..old.len())
                .map(|at| {
                    let reach = 1.0 + 0.1 * batch.windows.len() as f64 * f64::from(inertia[at / width]);
                    f64::from(old[at]) + f64::from(free[at] - old[at]) / reach
                })
                .collect();
            assert_close(&format!("{kind:?}"), held, &expected, 1e-5);
        }
    }
}

#[test]
fn threads_change_roundings_alone_and_agree_with_themselves() {
    let width = 5 * COLUMNS + 7;
    let mut random = Random(13);
    let (input, output) = (random.values(VOCABULARY * width), random.values(VOCABULARY * width));
    let examples: Vec<Example> = (0..12).map(|seed| Example::new(90, 5, seed, |random| 1 + random.below(5))).collect();
    for kind in KINDS {
        let run = |threads| {
            with_threads(threads, || {
                let (mut input, mut output) = (rows(&input, width), rows(&output, width));
                let all: Vec<Step> =
                    examples.iter().map(|example| Step { batch: example.batch(), rate: 0.01 }).collect();
                let mut workspace = Workspace::new(Inertia::default(), Inertia::default());
                for steps_of in all.chunks(7) {
                    steps(kind, &mut input, &mut output, steps_of, &mut workspace);
                }
                [values(&input), values(&output)].concat()
            })
        };
        let widest = *SimdLevel::available().last().expect("portable is always available");
        with_simd_level(widest, || {
            // More threads than five have nothing to do.
            for threads in [1, 2, 3, 5, 16] {
                let first = run(threads);
                assert!((0..5).all(|_| run(threads) == first), "{kind:?}, {threads} threads");
                assert_close(&format!("{kind:?}, {threads} threads"), &first, &widen(&run(1)), 1e-4);
            }
        });
    }
}

#[test]
fn a_panic_of_one_thread_frees_the_others() {
    let example = Example::new(90, 5, 3, |random| 1 + random.below(5));
    for threads in [1, 2, 4] {
        let negatives = vec![VOCABULARY as u32; example.negatives.len()];
        let batch = Batch { negatives: &negatives, ..example.batch() };
        let rows = vec![0.5; VOCABULARY * 600];
        let action = || stepped(Kind::Cbow, &rows, &rows, 600, &batch);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| with_threads(threads, action)));
        assert!(outcome.is_err(), "{threads} threads");
    }
}
