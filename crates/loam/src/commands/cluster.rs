//! `loam scheduler`, `loam worker`, and the cluster of `loam data prepare --scheduler`.

use super::Misuse;
use crate::arguments::{Global, SchedulerArguments, WorkerArguments};
use crate::machine;
use crate::terminal::{Terminal, count, duration};
use loam_cluster::{
    Address, Cluster, ClusterError, Read, Reading, SchedulerOptions, WorkerEvent, WorkerOptions, run_scheduler,
    run_worker,
};
use loam_corpus::pipeline::ScorePlan;
use std::process::ExitCode;

/// Interrupted, with what is finished kept.
const INTERRUPTED: i32 = 130;

pub fn scheduler(arguments: &SchedulerArguments, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let options = SchedulerOptions { bind: arguments.bind.clone(), port: arguments.port };
    run_scheduler(&options, |address| {
        terminal.say(format_args!("scheduler at {address}; workers join by: loam worker --scheduler {address}"));
    })?;
    terminal.say("scheduler stopped");
    Ok(ExitCode::SUCCESS)
}

pub fn worker(arguments: &WorkerArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let options = WorkerOptions {
        scheduler: address(&arguments.scheduler)?,
        slots: usize::from(arguments.slots),
        bind: arguments.bind.clone(),
        host: arguments.host.clone(),
        port: arguments.port,
        work_dir: arguments.work_dir.clone(),
    };
    let device = machine::device(&global.device)?;
    let scorers = move |plan: &ScorePlan| loam_tasks::open_scorer(plan, &device);
    let read = move |read: &Read| {
        let (path, documents, time) = (read.path.display(), count(read.documents), read.time.as_secs_f64());
        terminal.say(format_args!("{path}: {documents} documents in {}", duration(time)));
    };
    let scheduler = options.scheduler.clone();
    run_worker(&options, Reading::new(Box::new(scorers), Box::new(read)), |event| match event {
        WorkerEvent::Waiting => terminal.warning(format_args!("no scheduler answers at {scheduler} yet; waiting")),
        WorkerEvent::Ready => terminal.say(format_args!("worker of {scheduler}, {} at a time", arguments.slots)),
        WorkerEvent::Lost => terminal.warning(format_args!("the scheduler at {scheduler} does not answer; trying on")),
    })?;
    terminal.say("worker stopped");
    Ok(ExitCode::SUCCESS)
}

/// The cluster of a scheduler. From then on, Ctrl-C tells its workers to begin no other file.
pub fn connect(scheduler: &str) -> anyhow::Result<Cluster> {
    let cluster = Cluster::connect(address(scheduler)?)?;
    let give_up = cluster.give_up();
    // Without a handler, workers read on what nobody waits for; the next run goes on from there.
    let _ = ctrlc::set_handler(move || {
        give_up.now();
        std::process::exit(INTERRUPTED);
    });
    Ok(cluster)
}

fn address(text: &str) -> anyhow::Result<Address> {
    text.parse().map_err(|error: ClusterError| Misuse(format!("--scheduler {error}")).into())
}
