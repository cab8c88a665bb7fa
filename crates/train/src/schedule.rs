//! Learning-rate schedules: how the rate rises, stays and falls over a run.
//!
//! A schedule is a factor on the peak rate and a pure function of the step, so a resumed run needs no state for it.

use serde::{Deserialize, Serialize};

/// Last part of a warm-up–stable–decay run that decays (Hägele et al. 2024 find 10 to 20 % enough).
const DECAY_FRACTION: f64 = 0.2;

/// The shape of the learning rate after its warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// The peak throughout; the floor is not used.
    Constant,
    /// A straight line from the peak to the floor.
    Linear,
    /// Half a cosine wave from the peak to the floor (Loshchilov & Hutter, *SGDR*, 2017, equation 5, one cycle).
    #[default]
    Cosine,
    /// The peak, then over the last 20 % of the steps a fall as 1 − √(progress) (Hägele et al., *Scaling laws and
    /// compute-optimal training beyond fixed training durations*, 2024, equation 1).
    WarmupStableDecay,
}

impl Schedule {
    /// Every schedule.
    pub const ALL: &'static [Schedule] =
        &[Schedule::Constant, Schedule::Linear, Schedule::Cosine, Schedule::WarmupStableDecay];

    /// What a recipe calls it.
    pub fn name(self) -> &'static str {
        match self {
            Schedule::Constant => "constant",
            Schedule::Linear => "linear",
            Schedule::Cosine => "cosine",
            Schedule::WarmupStableDecay => "warmup-stable-decay",
        }
    }

    /// The learning rate of a step as a fraction of the peak rate.
    ///
    /// `step` counts from 0, `steps` is the length of the run, both in optimizer steps. Over the first `warmup_steps`
    /// the factor is `(step + 1) / warmup_steps`, so the first step already learns. From there it follows the shape
    /// and nears `floor` (a fraction of the peak, usually 0.1), which it reaches at `step == steps`, the end of the
    /// last step; past the end it stays. A warm-up as long as the run is all warm-up.
    pub fn factor(self, step: u64, steps: u64, warmup_steps: u64, floor: f64) -> f64 {
        if step < warmup_steps {
            return (step + 1) as f64 / warmup_steps as f64;
        }
        let decay_from = |start: u64| {
            if step >= steps { 1.0 } else { step.saturating_sub(start) as f64 / (steps - start.min(step)) as f64 }
        };
        let fall = match self {
            Schedule::Constant => 0.0,
            Schedule::Linear => decay_from(warmup_steps),
            Schedule::Cosine => 0.5 - 0.5 * (std::f64::consts::PI * decay_from(warmup_steps)).cos(),
            Schedule::WarmupStableDecay => {
                let decay_steps = (steps as f64 * DECAY_FRACTION).ceil() as u64;
                decay_from(steps.saturating_sub(decay_steps).max(warmup_steps)).sqrt()
            }
        };
        1.0 - (1.0 - floor) * fall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-12
    }

    #[test]
    fn boundaries() {
        for &schedule in Schedule::ALL {
            let factor = |step| schedule.factor(step, 1000, 50, 0.1);
            assert!(close(factor(0), 0.02), "{schedule:?}");
            assert!(close(factor(49), 1.0) && close(factor(50), 1.0), "{schedule:?}");
            let end = if schedule == Schedule::Constant { 1.0 } else { 0.1 };
            assert!(close(factor(1000), end) && close(factor(u64::MAX), end), "{schedule:?}");
        }
        // Half-way through the decay, from step 50 to step 1000.
        assert!(close(Schedule::Linear.factor(525, 1000, 50, 0.1), 0.55));
        assert!(close(Schedule::Cosine.factor(525, 1000, 50, 0.1), 0.55));
        // The decay runs from step 800; a quarter of it costs half of the way.
        assert!(close(Schedule::WarmupStableDecay.factor(800, 1000, 50, 0.1), 1.0));
        assert!(close(Schedule::WarmupStableDecay.factor(850, 1000, 50, 0.1), 0.55));
    }

    #[test]
    fn rises_then_falls() {
        for &schedule in Schedule::ALL {
            for (steps, warmup) in [(1000, 50), (100, 0), (10, 9), (7, 3), (1000, 900)] {
                let factors: Vec<f64> = (0..=steps).map(|step| schedule.factor(step, steps, warmup, 0.1)).collect();
                let (rise, fall) = factors.split_at(warmup as usize);
                assert!(rise.windows(2).all(|pair| pair[0] < pair[1]), "{schedule:?} {steps} {warmup}");
                assert!(fall.windows(2).all(|pair| pair[0] >= pair[1] - 1e-12), "{schedule:?} {steps} {warmup}");
                assert!(factors.iter().all(|factor| (0.0..=1.0).contains(factor)));
            }
        }
    }

    #[test]
    fn changes_little_from_step_to_step() {
        for &schedule in Schedule::ALL {
            let (steps, warmup) = (100_000, 1000);
            for step in 0..steps {
                let jump = schedule.factor(step + 1, steps, warmup, 0.0) - schedule.factor(step, steps, warmup, 0.0);
                // The steepest piece: the first step of a square root over 20,000 steps.
                assert!(jump.abs() < 1.0 / 20_000_f64.sqrt() + 1e-9, "{schedule:?} jumps by {jump} at {step}");
            }
        }
    }

    #[test]
    fn odd_lengths_do_not_panic() {
        for &schedule in Schedule::ALL {
            for steps in [0, 1, 2, u64::MAX] {
                for warmup in [0, 1, 2, 5, u64::MAX] {
                    for step in [0, 1, 2, 6, u64::MAX - 1] {
                        let factor = schedule.factor(step, steps, warmup, 0.1);
                        assert!((0.0..=1.0).contains(&factor), "{schedule:?} {step} {steps} {warmup}: {factor}");
                    }
                }
            }
        }
        assert!(close(Schedule::Cosine.factor(0, 1, 0, 0.1), 1.0));
    }

    #[test]
    fn names() {
        for schedule in Schedule::ALL {
            assert_eq!(serde_json::to_value(schedule).unwrap(), schedule.name());
        }
        assert_eq!(Schedule::WarmupStableDecay.name(), "warmup-stable-decay");
    }
}
