//! What each operation reaches on this machine: GFLOP/s where products dominate, GB/s where memory does. Bare products at
//! the same shapes stand beside the operations that are built on them.

mod elements;
mod positions;
mod recurrent;
mod transformer;

use crate::dropout;
use crate::matrix::Precision;
use std::time::Instant;
use transformer::Shape;

/// What one operation reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// The sizes that it ran at, in words.
    pub group: String,
    /// The operation.
    pub name: String,
    /// The fastest of several calls, in seconds.
    pub seconds: f64,
    /// Thousand millions a second of what `unit` counts.
    pub rate: f64,
    /// `GFLOP/s` or `GB/s`.
    pub unit: &'static str,
}

/// Measures every operation, the best of so many repetitions, since the machine may be busy with something else; each
/// result is passed on as it is there. A minute or two at ten repetitions.
pub fn measure(repetitions: usize, mut report: impl FnMut(&Rate)) {
    let mut bench = Bench { repetitions, group: String::new(), report: &mut report };
    for shape in [
        Shape { name: "GPT, 14 M", batch: 8, time: 256, width: 384, heads: 6, layers: 6, vocabulary: 8192 },
        Shape { name: "demonstration", batch: 2, time: 256, width: 192, heads: 6, layers: 5, vocabulary: 4096 },
    ] {
        transformer::training_step(&mut bench, &shape, Precision::F32);
        if Precision::Bf16.is_native() {
            transformer::training_step(&mut bench, &shape, Precision::Bf16);
        }
    }
    positions::masks(&mut bench);
    positions::rotations(&mut bench);
    for (batch, time, inputs, hidden) in
        [(32, 64, 256, 256), (64, 35, 650, 650), (8, 128, 128, 128), (1, 256, 256, 256)]
    {
        recurrent::layers(&mut bench, batch, time, inputs, hidden);
    }
    elements::elements(&mut bench, 2048, 1536);
    elements::products_by_sequence(&mut bench, 2048, 384, 8192);
}

/// Where measurements are taken and passed on.
struct Bench<'a> {
    repetitions: usize,
    group: String,
    report: &'a mut dyn FnMut(&Rate),
}

impl Bench<'_> {
    /// The smallest number of seconds that `action` took, after one call to warm up.
    fn best(&self, mut action: impl FnMut()) -> f64 {
        action();
        let time = |()| {
            let start = Instant::now();
            action();
            start.elapsed().as_secs_f64()
        };
        std::iter::repeat_n((), self.repetitions.max(1)).map(time).fold(f64::INFINITY, f64::min)
    }

    /// Says what the next lines have in common.
    fn group(&mut self, group: String) {
        self.group = group;
    }

    /// Passes a result on.
    fn line(&mut self, name: &str, seconds: f64, amount: usize, unit: &'static str) {
        let (group, name) = (self.group.clone(), name.trim().to_owned());
        (self.report)(&Rate { group, name, seconds, rate: amount as f64 / seconds / 1e9, unit });
    }
}

fn values(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (dropout::hash([1, 2], i) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}
