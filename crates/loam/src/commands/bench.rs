//! `loam bench`.

use super::Misuse;
use crate::arguments::{BenchKernelsArguments, BenchTrainArguments, Global};
use crate::machine;
use crate::progress::Watcher;
use crate::terminal::{Terminal, count, short};
use loam_kernels::matrix::Precision;
use loam_kernels::rates::{self, Rate};
use loam_nn::precision;
use loam_train::bench::{self, Plan, SHAPES, StepSpeed};
use std::io;
use std::process::ExitCode;

/// Tokens of a step at most; more would not tell more.
const MOST_TOKENS: usize = 1 << 16;

pub fn train(arguments: &BenchTrainArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let device = machine::device(&global.device)?;
    if arguments.steps == 0 {
        return Err(Misuse("--steps 0: give at least one step to measure".into()).into());
    }
    let mut shape =
        *SHAPES.iter().find(|shape| shape.name == arguments.config).expect("a name that the parser let through");
    shape.context = arguments.context.unwrap_or(shape.context);
    shape.batch = arguments.batch.unwrap_or(shape.batch);
    if !shape.context.checked_mul(shape.batch).is_some_and(|tokens| (1..=MOST_TOKENS).contains(&tokens)) {
        return Err(Misuse(format!(
            "--context {} with --batch {}: give sizes whose product is from 1 to {} tokens",
            shape.context,
            shape.batch,
            count(MOST_TOKENS as u64)
        ))
        .into());
    }
    let plan = Plan {
        shape,
        steps: arguments.steps,
        warmup: arguments.warmup,
        seed: 1,
        precision: global.precision(),
        threads: rayon::current_num_threads(),
    };
    if precision::on(&device, plan.precision) != plan.precision {
        terminal.warning("this processor has no bf16 products; measuring f32");
    }
    let mut watcher = Watcher::new(terminal);
    watcher.doing(&format!("warming up {}", shape.name));
    let speed = bench::measure(&plan, &device, |step, time| {
        watcher.doing(&format!("step {step}/{}: {:.0} ms", plan.steps, time.as_secs_f64() * 1e3));
    })?;
    watcher.done();
    if terminal.json() {
        terminal.result(serde_json::to_string(&speed)?)?;
    } else {
        tell(&speed, terminal)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub fn kernels(arguments: &BenchKernelsArguments, terminal: Terminal) -> anyhow::Result<ExitCode> {
    if arguments.repetitions == 0 {
        return Err(Misuse("--repetitions 0: give at least one call to measure".into()).into());
    }
    let peak = loam_kernels::peak::multiply_adds(Precision::F32);
    terminal.say(format_args!(
        "{}, {} threads; multiply-adds in registers: {peak:.0} GFLOP/s; best of {}",
        machine::processor(),
        rayon::current_num_threads(),
        arguments.repetitions
    ));
    let mut group = String::new();
    let mut written = Ok(());
    rates::measure(arguments.repetitions, |rate| {
        if written.is_ok() {
            written = tell_rate(rate, &mut group, terminal);
        }
    });
    written?;
    Ok(ExitCode::SUCCESS)
}

fn tell_rate(rate: &Rate, group: &mut String, terminal: Terminal) -> io::Result<()> {
    let ms = rate.seconds * 1e3;
    if terminal.json() {
        let line = serde_json::json!({
            "group": rate.group, "name": rate.name, "ms": ms, "rate": rate.rate, "unit": rate.unit
        });
        return terminal.result(line);
    }
    if *group != rate.group {
        group.clone_from(&rate.group);
        terminal.result(format_args!("\n{group}"))?;
    }
    terminal.result(format_args!("  {:<38} {ms:>9.3} ms {:>8.1} {}", rate.name, rate.rate, rate.unit))
}

fn tell(speed: &StepSpeed, terminal: Terminal) -> io::Result<()> {
    terminal.result(format_args!(
        "{} in {}, {} sequences of {} tokens, {} parameters, {} on {}",
        speed.shape,
        speed.dtype,
        speed.batch,
        count(speed.context as u64),
        short(speed.parameters as f64),
        if speed.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", speed.threads) },
        machine::processor()
    ))?;
    terminal.result(format_args!(
        "{} tokens/s: {:.1} ms a step (median of {}; {:.1} to {:.1})",
        count(speed.tokens_per_s as u64),
        speed.ms_per_step,
        speed.steps,
        speed.ms_fastest,
        speed.ms_slowest
    ))?;
    terminal.result(format_args!(
        "{:.0} GFLOP/s, {:.0} % of the {:.0} that the registers can do",
        speed.gflops,
        100.0 * speed.share_of_peak,
        speed.peak_gflops
    ))?;
    let faults = speed.warm_page_faults.map_or_else(String::new, |faults| format!("; {} page faults", count(faults)));
    terminal.result(format_args!(
        "{:.0} MB resident at most; {} bytes taken from the system once warm, at most {} in a step{faults}",
        speed.peak_rss_mb,
        count(speed.warm_bytes_taken),
        count(speed.warm_bytes_taken_most)
    ))?;
    let total = speed.operations.iter().map(|operation| operation.ms).sum::<f64>();
    for operation in &speed.operations {
        terminal.result(format_args!(
            "  {:<26} {:>9.2} ms {:>5.1} % {:>6.0} calls",
            operation.name,
            operation.ms,
            100.0 * operation.ms / total,
            operation.calls
        ))?;
    }
    Ok(())
}
