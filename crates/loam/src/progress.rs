//! The progress of long work: one line that is redrawn on a terminal, a line now and then in a pipe.

use crate::terminal::{Terminal, count, duration, short};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use loam_corpus::{Dropped, Progress};
use loam_train::record::Event;
use loam_train::{Observer, StepProgress};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two lines in a pipe.
const PIPE_INTERVAL: Duration = Duration::from_secs(10);

/// Watches a run and tells its user.
pub struct Watcher {
    terminal: Terminal,
    bar: Option<ProgressBar>,
    spinner: Option<ProgressBar>,
    last_line: Option<Instant>,
    /// Lines about the n-gram models, until the plan is told.
    baselines: Vec<String>,
    folder: Option<PathBuf>,
}

impl Watcher {
    /// A watcher that talks to `terminal`.
    pub fn new(terminal: Terminal) -> Self {
        Self { terminal, bar: None, spinner: None, last_line: None, baselines: Vec::new(), folder: None }
    }

    /// Names the run's folder as soon as the run has begun, and not where it is refused.
    pub fn name_folder(&mut self, folder: &Path) {
        self.folder = Some(folder.to_owned());
    }

    fn say(&self, line: &str) {
        match self.bar.as_ref().or(self.spinner.as_ref()) {
            Some(bar) if !bar.is_finished() => bar.suspend(|| self.terminal.say(line)),
            _ => self.terminal.say(line),
        }
    }

    /// Shows what is being done; the line is redrawn, or written now and then.
    pub fn doing(&mut self, what: &str) {
        if self.terminal.quiet() {
            return;
        }
        if self.terminal.live() {
            let spinner = self.spinner.get_or_insert_with(|| {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
                bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a valid template"));
                bar
            });
            spinner.set_message(what.to_owned());
            spinner.tick();
        } else if self.time_for_a_line() {
            self.terminal.say(what);
        }
    }

    /// Ends what [`Watcher::doing`] showed.
    pub fn done(&mut self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }

    fn time_for_a_line(&mut self) -> bool {
        let due = self.last_line.is_none_or(|last| last.elapsed() >= PIPE_INTERVAL);
        if due {
            self.last_line = Some(Instant::now());
        }
        due
    }

    fn close_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn tell_baselines(&mut self) {
        for line in std::mem::take(&mut self.baselines) {
            self.say(&line);
        }
    }

    /// What of a source or domain does not reach the model.
    fn tell_loss(&self, name: &str, tokens: u64, unknown: u64, dropped: &[Dropped]) {
        if unknown > 0 {
            let share = 100.0 * unknown as f64 / tokens.max(1) as f64;
            self.say(&format!("    {name}: {} tokens ({share:.1} %) are unknown words", count(unknown)));
        }
        for Dropped { reason, documents } in dropped {
            self.say(&format!("    {name}: {} documents dropped: {reason}", count(*documents)));
        }
    }

    #[allow(clippy::too_many_lines, reason = "an arm an event")]
    fn tell(&mut self, event: &Event) {
        match event {
            Event::Start { machine, device, threads, precision, resumed_from, .. } => {
                if let Some(folder) = self.folder.take() {
                    self.say(&format!("run: {}", folder.display()));
                }
                let threads = format!("{threads} {}", if *threads == 1 { "thread" } else { "threads" });
                self.say(&format!("computing on {device} ({machine}), {threads}, {precision}"));
                if let Some(step) = resumed_from {
                    self.say(&format!("going on from step {step}"));
                }
            }
            Event::Tokenizer { kind, vocabulary, origin } => {
                let how = if origin == "trained" { format!("{kind}, trained") } else { format!("from {origin}") };
                self.say(&format!("tokenizer: {how}, {} ids", count(*vocabulary as u64)));
            }
            Event::Data { sources, held_out, .. } => {
                self.say("source              documents  duplicates        bytes       tokens   share");
                for source in sources {
                    self.say(&format!(
                        "  {:<16} {:>10} {:>11} {:>12} {:>12} {:>5.1} %",
                        source.name,
                        count(source.documents),
                        count(source.duplicate_documents),
                        count(source.bytes),
                        count(source.tokens),
                        100.0 * source.share
                    ));
                    self.tell_loss(&source.name, source.tokens, source.unknown_tokens, &source.dropped);
                }
                for domain in held_out {
                    let overlap = match domain.overlap_documents {
                        0 => String::new(),
                        n => format!(", {} of them also in training", count(n)),
                    };
                    self.say(&format!(
                        "  held out: {}, {} tokens (documents: {}{overlap})",
                        domain.name,
                        count(domain.tokens),
                        count(domain.documents)
                    ));
                    self.tell_loss(&domain.name, domain.tokens, domain.unknown_tokens, &domain.dropped);
                }
            }
            Event::Model { family, parameters, frozen_parameters, width, layers, heads, context, .. } => {
                let trained = short(*parameters as f64);
                let parameters = match frozen_parameters {
                    0 => format!("{trained} parameters"),
                    frozen => {
                        format!("{trained} parameters in adapters for {} that stay as they are", short(*frozen as f64))
                    }
                };
                self.say(&format!(
                    "model: {family}, {parameters} (layers {layers}, width {width}, heads {heads}, context {context})"
                ));
            }
            Event::Baseline { domain, name, loss, bits_per_byte, accuracy } => self.baselines.push(format!(
                "  {name:<8} on {domain}: {loss:.3} nats a token, {bits_per_byte:.3} bits a byte{}",
                right(*accuracy)
            )),
            Event::Plan { steps, batch_tokens, .. } => {
                if !self.baselines.is_empty() {
                    self.say("to beat, the held-out loss of n-gram models:");
                    self.tell_baselines();
                }
                self.say(&format!(
                    "training: {} steps of {} tokens, {} tokens in all",
                    count(*steps),
                    count(*batch_tokens as u64),
                    short(*steps as f64 * *batch_tokens as f64)
                ));
            }
            Event::FineTuning { task, steps, epochs, examples, tokens, batch } => self.say(&format!(
                "training to {task}: {} examples of {} tokens in all, {} steps of {batch} examples, {epochs} epochs",
                count(*examples),
                short(*tokens as f64),
                count(*steps)
            )),
            Event::Measurement { epoch, measured, .. } => {
                let metrics: Vec<String> = measured
                    .metrics
                    .iter()
                    .map(|(name, value)| format!("{} {value:.4}", name.replace('_', " ")))
                    .collect();
                self.say(&format!("epoch {epoch:.2}: validation loss {:.4}, {}", measured.loss, metrics.join(", ")));
            }
            Event::Evaluation { step, domain, loss, bits_per_byte, accuracy, .. } => {
                if !self.terminal.live() || self.bar.is_none() {
                    self.say(&format!(
                        "step {step}: held-out {domain}: {loss:.4} nats a token, {bits_per_byte:.4} bits a byte{}",
                        right(*accuracy)
                    ));
                }
            }
            Event::LedgerCost { overhead, refreshes, .. } => self.say(&format!(
                "the ledger took {refreshes} held-out gradients and added {:.1} % to the time of training",
                100.0 * overhead
            )),
            Event::DocumentCost { overhead, rate, documents, .. } => self.say(&format!(
                "{documents} documents were valued on {:.1} % of the micro-batches, which added {:.1} % to the time of training",
                100.0 * rate,
                100.0 * overhead
            )),
            Event::Finish { reason, step, tokens, seconds, tokens_per_second, .. } => {
                self.close_bar();
                let how = match reason.as_str() {
                    "interrupted" => "interrupted, saved",
                    "non_finite" => "failed",
                    "early_stop" => "stopped early: the held-out loss no longer fell",
                    _ => "trained",
                };
                self.say(&format!(
                    "{how}: step {}, {} tokens; {} at {} tokens/s",
                    count(*step),
                    short(*tokens as f64),
                    duration(*seconds),
                    count(*tokens_per_second as u64)
                ));
            }
            Event::Checkpoint { .. } | Event::Sample { .. } => {}
        }
    }
}

impl Observer for Watcher {
    fn preparing(&mut self, progress: &Progress) {
        match progress {
            Progress::Found { source, skipped, .. } if *skipped > 0 => {
                self.warning(&format!("{source}: {skipped} files left out, not of a kind that Loam reads"));
            }
            Progress::TokenizerReady { asked: Some(asked), vocabulary } if vocabulary < asked => {
                self.warning(&format!(
                    "the text is too small for a vocabulary of {}; it has {}",
                    count(*asked as u64),
                    count(*vocabulary as u64)
                ))
            }
            Progress::Found { .. } | Progress::TokenizerReady { .. } => {}
            Progress::Reading { source, documents, bytes } => {
                self.doing(&format!("reading {source}: {} documents, {} bytes", count(*documents), count(*bytes)));
            }
            Progress::TrainingTokenizer { documents, bytes } => {
                self.doing(&format!("training the tokenizer: {} documents, {} bytes", count(*documents), count(*bytes)))
            }
            Progress::Tokenizing { source, documents, tokens, .. } => {
                self.doing(&format!("tokenizing {source}: {} documents, {} tokens", count(*documents), count(*tokens)))
            }
            Progress::PassedOver(note) => self.warning(&note.to_string()),
            Progress::PassedOverMore(more) => self.warning(&format!("{} more like these", count(*more))),
            Progress::Finishing => self.doing("writing the tokens to disk"),
        }
    }

    fn event(&mut self, event: &Event) {
        self.done();
        if self.terminal.json() {
            let line = serde_json::to_string(event).expect("events are JSON");
            // Nobody reading is no reason to end a training.
            let _ = self.terminal.result(line);
        }
        if !self.terminal.quiet() {
            self.tell(event);
        }
    }

    fn step(&mut self, progress: &StepProgress) {
        if self.terminal.quiet() {
            return;
        }
        let accuracy = progress.accuracy.map_or(String::new(), |share| format!(", {:.1} % right", 100.0 * share));
        let held_out = progress.held_out.map_or(String::new(), |loss| format!(" · held-out {loss:.3}{accuracy}"));
        let numbers = format!(
            "loss {:.3}{held_out} · {} tokens/s · {} left",
            progress.loss,
            count(progress.tokens_per_second as u64),
            duration(progress.seconds_left)
        );
        if self.terminal.live() {
            let bar = self.bar.get_or_insert_with(|| {
                let target = ProgressDrawTarget::stderr_with_hz(8);
                let bar = ProgressBar::with_draw_target(Some(progress.steps), target);
                let template = "{bar:24} {pos}/{len} · {msg}";
                bar.set_style(ProgressStyle::with_template(template).expect("a valid template").progress_chars("━╸ "));
                bar
            });
            bar.set_position(progress.step);
            bar.set_message(numbers);
        } else if self.time_for_a_line() {
            self.terminal.say(format_args!("step {}/{} · {numbers}", progress.step, progress.steps));
        }
    }

    fn warning(&mut self, message: &str) {
        self.done();
        self.terminal.warning(message);
    }
}

/// How often the most probable token was the true one, as the end of a sentence.
pub fn right(accuracy: Option<f64>) -> String {
    accuracy.map_or_else(String::new, |share| format!(", {:.2} % of the tokens right", 100.0 * share))
}

/// Of objects in stores, smaller ones have no line of their own: there may be a hundred thousand.
const SMALL: u64 = 1 << 20;

/// Tells of what is fetched, file by file.
pub fn tell_of_downloads(terminal: Terminal) {
    let watcher = std::sync::Mutex::new(Watcher::new(terminal));
    loam_hub::on_progress(move |file, bytes, total| {
        let Ok(mut watcher) = watcher.lock() else { return };
        let whole = total.map_or_else(String::new, |total| format!(" of {}", count(total)));
        watcher.doing(&format!("{file}: {}{whole} bytes", count(bytes)));
        if total == Some(bytes) {
            watcher.done();
            if loam_hub::store::is_address(file) && bytes < SMALL {
                return;
            }
            watcher.say(&format!("fetched {file}, {} bytes", count(bytes)));
        }
    });
}
