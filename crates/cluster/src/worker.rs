//! `loam worker`: a Ballista executor that knows Loam's function.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_executor::health::ExecutorHealth;

use crate::address::Address;
use crate::error::ClusterError;
use crate::function::read_function;
use crate::reading::Reading;
use crate::scheduler::asked_to_stop;

/// How long a worker waits for its scheduler to appear.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a worker that is asked to stop may take to say so. What it was reading is somebody else's then.
const FAREWELL: Duration = Duration::from_secs(3);

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Its scheduler.
    pub scheduler: Address,
    /// Files that it reads at the same time. One file takes all threads already where its documents are many.
    pub slots: usize,
    /// The address to listen at, for those who fetch counts.
    pub bind: String,
    /// The name by which others reach it; the address that the scheduler sees by default.
    pub host: Option<String>,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// A folder for Ballista's own small files; a new one that goes with the worker by default.
    pub work_dir: Option<PathBuf>,
}

/// What a worker has to say beside what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerEvent {
    /// Nobody answers where the scheduler should be.
    Waiting,
    /// It takes tasks now.
    Ready,
    /// The scheduler does not answer any more; it is asked again and again.
    Lost,
}

/// Runs a worker until the process is asked to stop. What it was reading then is read by another.
///
/// # Errors
/// Where no scheduler appears, the port is taken, or Ballista cannot go on.
pub fn run_worker(
    options: &WorkerOptions,
    reading: Reading,
    mut told: impl FnMut(WorkerEvent),
) -> Result<(), ClusterError> {
    let stopped = |message: String| ClusterError::Stopped { what: "worker", message };
    wait_for_scheduler(&options.scheduler, &mut told)?;
    let own;
    let work_dir = match &options.work_dir {
        Some(folder) => {
            let wrong = |source| ClusterError::Folder { path: folder.clone(), source };
            std::fs::create_dir_all(folder).map_err(wrong)?;
            // Tasks change the current directory.
            std::path::absolute(folder).map_err(wrong)?
        }
        None => {
            let wrong = |source| ClusterError::Folder { path: std::env::temp_dir(), source };
            own = tempfile::Builder::new().prefix("loam-worker-").tempdir().map_err(wrong)?;
            own.path().to_path_buf()
        }
    };
    let mut registry = BallistaFunctionRegistry::default();
    let function = read_function(Some(Arc::new(reading)));
    registry.scalar_functions.insert(function.name().to_owned(), function);
    let health = ExecutorHealth::new();
    let config = ExecutorProcessConfig {
        bind_host: options.bind.clone(),
        external_host: options.host.clone(),
        port: free_port(&options.bind, options.port)?,
        scheduler_host: options.scheduler.host.clone(),
        scheduler_port: options.scheduler.port,
        vcores: options.slots.max(1),
        task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
        work_dir: Some(work_dir.display().to_string()),
        job_data_ttl_seconds: 24 * 3600,
        job_data_clean_up_interval_seconds: 600,
        // What a task needs is none of DataFusion's memory.
        memory_pool_size: Some(0),
        override_function_registry: Some(Arc::new(registry)),
        health: health.clone(),
        ..ExecutorProcessConfig::default()
    };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| stopped(error.to_string()))?;
    let outcome = runtime.block_on(async {
        let watch = async {
            let mut stop = std::pin::pin!(asked_to_stop());
            let mut ready = false;
            while tokio::time::timeout(Duration::from_millis(200), &mut stop).await.is_err() {
                if health.is_ready() != ready {
                    ready = !ready;
                    told(if ready { WorkerEvent::Ready } else { WorkerEvent::Lost });
                }
            }
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            // It hears the same signals, tells the scheduler, and waits for its tasks, which can take long.
            ended = start_executor_process(Arc::new(config)) => ended.map_err(|error| stopped(error.to_string())),
            () = watch => Ok(()),
        }
    });
    runtime.shutdown_background();
    outcome
}

fn wait_for_scheduler(address: &Address, told: &mut impl FnMut(WorkerEvent)) -> Result<(), ClusterError> {
    let begun = Instant::now();
    let mut waiting = false;
    loop {
        match address.try_connect(Duration::from_secs(5)) {
            Ok(()) => return Ok(()),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error),
            Err(_) => {
                if !waiting {
                    told(WorkerEvent::Waiting);
                    waiting = true;
                }
                std::thread::sleep(Duration::from_millis(500));
            }
        }
    }
}

/// The port, if it can be had. Ballista says nothing when it cannot.
fn free_port(bind: &str, port: u16) -> Result<u16, ClusterError> {
    let wrong = |source| ClusterError::Listen { host: bind.to_owned(), port, source };
    let listener = TcpListener::bind((bind, port)).map_err(wrong)?;
    Ok(listener.local_addr().map_err(wrong)?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_ports_are_told() {
        let port = free_port("127.0.0.1", 0).unwrap();
        let held = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let error = free_port("127.0.0.1", port).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--port"), "{error}");
        drop(held);
        assert!(free_port("no such host", 0).is_err());
    }
}
