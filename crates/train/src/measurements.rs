//! What a run measures as it goes on: rows of `metrics.parquet`, and curves for `TensorBoard`.

use crate::error::TrainError;
use crate::record::MetricRow;
use crate::run::Run;
use crate::table;
use crate::tensorboard::EventWriter;
use std::time::{SystemTime, UNIX_EPOCH};

/// Rows that a run aims at for each of its per-step metrics.
const ROWS: u64 = 2000;

/// Where in a run something was measured.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub step: u64,
    pub tokens: u64,
    pub seconds: f64,
}

pub(crate) struct Measurements {
    rows: Vec<MetricRow>,
    curves: EventWriter,
}

impl Measurements {
    /// Of a run that begins, or goes on from a checkpoint, with the rows up to it.
    pub fn open(run: &Run, checkpoint: Option<u64>) -> Result<Self, TrainError> {
        let folder = run.tensorboard();
        let (rows, curves) = match checkpoint {
            Some(step) => (table::read(&run.metrics(), step)?, EventWriter::resume(&folder, step + 1)),
            None => (Vec::new(), EventWriter::create(&folder)),
        };
        Ok(Self { rows, curves: curves.map_err(|source| TrainError::io(folder, source))? })
    }

    /// Whether per-step metrics of this step, one of so many, are kept.
    pub fn keeps(step: u64, steps: u64) -> bool {
        step.is_multiple_of((steps / ROWS).max(1)) || step == steps
    }

    pub fn push(&mut self, place: Place, metric: &str, domain: &str, value: f64) {
        let Place { step, tokens, seconds } = place;
        let tag = if domain.is_empty() { metric.to_owned() } else { format!("{metric}/{domain}") };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
        // The curves are a courtesy; the tables are the record, and report a full disk.
        let _ = self.curves.scalar(&tag, step, value as f32, now);
        self.rows.push(MetricRow {
            step,
            tokens,
            seconds,
            metric: metric.to_owned(),
            domain: domain.to_owned(),
            value,
        });
    }

    pub fn rows(&self) -> &[MetricRow] {
        &self.rows
    }

    pub fn flush(&mut self) {
        // As above.
        let _ = self.curves.flush();
    }
}
