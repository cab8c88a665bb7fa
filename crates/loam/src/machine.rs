//! The machine that this process runs on.

use loam_nn::burn::tensor::Device;
use loam_train::Session;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use sysinfo::System;

/// Set by Ctrl-C.
pub static STOP: AtomicBool = AtomicBool::new(false);
static PRESSED: AtomicU32 = AtomicU32::new(0);

/// Exit code of a run that was interrupted and saved.
pub const INTERRUPTED: u8 = 130;

/// Sizes the pool that every kernel runs on.
pub fn set_threads(threads: Option<usize>) -> Result<(), String> {
    let Some(threads) = threads else { return Ok(()) };
    if threads == 0 || threads > 4096 {
        return Err(format!("--threads {threads}: give a number from 1 to 4096"));
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|error| format!("--threads {threads}: {error}"))
}

/// The first Ctrl-C asks for a stop after the step at hand, the second ends the process.
pub fn stop_on_interrupt() {
    stop_on_interrupt_saying("stopping after this step, with a checkpoint");
}

/// [`stop_on_interrupt`], which says what the first Ctrl-C does.
pub fn stop_on_interrupt_saying(what: &'static str) {
    let handler = move || match PRESSED.fetch_add(1, Ordering::Relaxed) {
        0 => {
            STOP.store(true, Ordering::Relaxed);
            eprintln!("\n{what}; press Ctrl-C again to stop now");
        }
        _ => std::process::exit(i32::from(INTERRUPTED)),
    };
    // Without a handler the process ends at once, and goes on from its last checkpoint.
    let _ = ctrlc::set_handler(handler);
}

/// The processor's name.
pub fn processor() -> String {
    let mut system = System::new();
    system.refresh_cpu_all();
    let name = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let name = if name.is_empty() { std::env::consts::ARCH.to_owned() } else { name };
    format!("{name}, {cores} {}, {}", if cores == 1 { "core" } else { "cores" }, loam_kernels::simd_level())
}

/// Total and available memory, in bytes.
pub fn memory() -> (u64, u64) {
    let mut system = System::new();
    system.refresh_memory();
    (system.total_memory(), system.available_memory())
}

/// The device that a name stands for.
pub fn device(name: &str) -> anyhow::Result<Device> {
    loam_nn::device::parse(name).map_err(|error| crate::commands::Misuse(format!("--device: {error}")).into())
}

/// A session of training on `device`.
pub fn session(name: &str) -> anyhow::Result<Session<'static>> {
    Ok(Session {
        device: device(name)?,
        device_name: "cpu".to_owned(),
        threads: rayon::current_num_threads(),
        machine: processor(),
        memory_bytes: Some(memory().0),
        chat: Some(&|folder, name| loam_tasks::chat::writer(folder, name).map_err(|error| error.to_string())),
        stop: &STOP,
    })
}
