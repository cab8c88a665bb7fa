//! `loam doctor`: what Loam finds on this machine, and whether it computes right here.

use crate::arguments::Global;
use crate::machine;
use crate::terminal::Terminal;
use loam_kernels::matrix::{MatrixRef, Precision, product};
use serde::Serialize;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Serialize)]
struct Findings {
    loam: &'static str,
    target: &'static str,
    processor: String,
    simd: &'static str,
    threads: usize,
    memory_bytes: u64,
    memory_available_bytes: u64,
    devices: Vec<&'static str>,
    product_gflops: f64,
    product_error: f64,
    bf16_product_gflops: Option<f64>,
    cargo_sources: Option<usize>,
}

pub fn run(global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    machine::device(&global.device)?;
    let (memory, available) = machine::memory();
    let (rate, error) = measure(Precision::F32);
    let bf16 = Precision::Bf16.is_native().then(|| measure(Precision::Bf16).0);
    let findings = Findings {
        loam: env!("CARGO_PKG_VERSION"),
        target: env!("LOAM_TARGET"),
        processor: machine::processor(),
        simd: loam_kernels::simd_level(),
        threads: rayon::current_num_threads(),
        memory_bytes: memory,
        memory_available_bytes: available,
        devices: vec!["cpu"],
        product_gflops: rate,
        product_error: error,
        bf16_product_gflops: bf16,
        cargo_sources: super::demo::crates_on_disk(),
    };
    let right = error < 1e-4;
    if terminal.json() {
        terminal.result(serde_json::to_string(&findings)?)?;
    } else {
        let gibibytes = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        terminal.result(format_args!("loam        {} for {}", findings.loam, findings.target))?;
        terminal.result(format_args!("processor   {}", findings.processor))?;
        terminal.result(format_args!("threads     {} (--threads changes it)", findings.threads))?;
        terminal.result(format_args!(
            "memory      {:.1} GiB, {:.1} GiB available",
            gibibytes(memory),
            gibibytes(available)
        ))?;
        terminal.result(format_args!("devices     {}", findings.devices.join(", ")))?;
        let verdict = if right { "right" } else { "WRONG" };
        terminal.result(format_args!("products    {rate:.0} GFLOP/s in f32, {verdict} (largest error {error:.1e})"))?;
        terminal.result(match bf16 {
            Some(rate) => format!("            {rate:.0} GFLOP/s in bf16"),
            None => "            none in bf16: --dtype bf16 computes in f32 here".to_owned(),
        })?;
        terminal.result(match findings.cargo_sources {
            Some(count) => format!("demo text   the sources of {count} crates are on this disk"),
            None => "demo text   none: Cargo has unpacked no sources here".to_owned(),
        })?;
    }
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Rate of a matrix product of this machine, in GFLOP/s.
pub fn product_gflops() -> f64 {
    measure(Precision::F32).0
}

/// Rate of a matrix product in GFLOP/s, and its largest error against f64.
fn measure(precision: Precision) -> (f64, f64) {
    const N: usize = 768;
    let fill = |seed: usize| -> Vec<f32> {
        (0..N * N).map(|i| ((i * 7919 + seed * 104_729) % 1013) as f32 / 1013.0 - 0.5).collect()
    };
    let (a, b) = (fill(1), fill(2));
    let mut c = vec![0.0; N * N];
    let mut best = f64::INFINITY;
    for _ in 0..8 {
        let start = Instant::now();
        product(MatrixRef::new(&a, N, N), MatrixRef::new(&b, N, N), &mut c, false, precision);
        best = best.min(start.elapsed().as_secs_f64());
    }
    let error = (0..N)
        .map(|i| {
            let column = (i * 31) % N;
            let exact: f64 = (0..N).map(|k| f64::from(a[i * N + k]) * f64::from(b[k * N + column])).sum();
            (exact - f64::from(c[i * N + column])).abs()
        })
        .fold(0.0, f64::max);
    (2.0 * (N * N * N) as f64 / best / 1e9, error)
}
