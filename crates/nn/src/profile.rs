//! Where the time of a step goes: the fused operations note their times while somebody asks for them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

static RECORDING: AtomicBool = AtomicBool::new(false);
static TIMES: Mutex<BTreeMap<&'static str, OperationTime>> = Mutex::new(BTreeMap::new());

/// What one kind of operation took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationTime {
    /// Time in all calls.
    pub time: Duration,
    /// Number of calls.
    pub calls: u64,
}

/// Runs `body` and returns beside its result what each fused operation took in it, over all threads of the process.
/// One recording at a time: an inner one would take the outer one's times.
pub fn record<R>(body: impl FnOnce() -> R) -> (R, BTreeMap<&'static str, OperationTime>) {
    struct Stop;
    impl Drop for Stop {
        fn drop(&mut self) {
            RECORDING.store(false, Ordering::Relaxed);
        }
    }
    times().clear();
    RECORDING.store(true, Ordering::Relaxed);
    let stop = Stop;
    let result = body();
    drop(stop);
    (result, std::mem::take(&mut *times()))
}

fn times() -> std::sync::MutexGuard<'static, BTreeMap<&'static str, OperationTime>> {
    TIMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes the time until it is dropped.
pub(crate) struct Timer(Option<(&'static str, Instant)>);

/// Starts a timer for `operation`; nothing but a look at a flag unless a recording runs.
pub(crate) fn timer(operation: &'static str) -> Timer {
    Timer(RECORDING.load(Ordering::Relaxed).then(|| (operation, Instant::now())))
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some((operation, start)) = self.0 {
            let elapsed = start.elapsed();
            let mut times = times();
            let entry = times.entry(operation).or_default();
            entry.time += elapsed;
            entry.calls += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_noted_only_while_somebody_asks() {
        drop(timer("before"));
        let ((), times) = record(|| {
            drop(timer("inside"));
            drop(timer("inside"));
        });
        drop(timer("after"));
        assert_eq!(times.get("inside").map(|time| time.calls), Some(2));
        assert!(!times.contains_key("before") && !times.contains_key("after"));
    }
}
