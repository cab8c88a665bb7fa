//! `loam scheduler`: who has what to do.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::utils::default_session_builder;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use datafusion::execution::FunctionRegistry;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};

use crate::error::ClusterError;
use crate::function::read_function;

/// Seconds without a word from a worker after which its tasks go to others. A worker that works says something every 5.
const SILENCE: u64 = 30;
/// Seconds after which a job that no worker takes is given up.
const NO_WORKERS: u64 = 180;

/// How a scheduler is reached.
#[derive(Clone, Debug)]
pub struct SchedulerOptions {
    /// The address to listen at; `127.0.0.1` is for workers on this machine, `0.0.0.0` for all.
    pub bind: String,
    /// The port; 0 takes a free one.
    pub port: u16,
}

/// Runs a scheduler until the process is asked to stop. `ready` hears where it listens.
///
/// # Errors
/// Where it cannot listen there, or Ballista cannot go on.
pub fn run_scheduler(options: &SchedulerOptions, ready: impl FnOnce(SocketAddr)) -> Result<(), ClusterError> {
    let stopped = |message: String| ClusterError::Stopped { what: "scheduler", message };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| stopped(error.to_string()))?;
    let outcome = runtime.block_on(async {
        let listen = |source| ClusterError::Listen { host: options.bind.clone(), port: options.port, source };
        let mut addresses = (options.bind.as_str(), options.port).to_socket_addrs().map_err(listen)?;
        let address = addresses
            .next()
            .ok_or_else(|| listen(std::io::Error::new(std::io::ErrorKind::NotFound, "this host has no address")))?;
        let listener = tokio::net::TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let config = SchedulerConfig {
            bind_host: options.bind.clone(),
            bind_port: address.port(),
            // Workers ask for work, so that nobody need reach them to give it.
            scheduling_policy: TaskSchedulingPolicy::PullStaged,
            executor_timeout_seconds: SILENCE,
            expire_dead_executor_interval_seconds: 5,
            no_executors_grace_period_seconds: NO_WORKERS,
            override_session_builder: Some(Arc::new(|config| {
                let mut state = default_session_builder(config)?;
                state.register_udf(read_function(None))?;
                Ok(state)
            })),
            ..SchedulerConfig::default()
        };
        let cluster = BallistaCluster::new_from_config(&config).await.map_err(|error| stopped(error.to_string()))?;
        let server = create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, Arc::new(config))
            .await
            .map_err(|error| stopped(error.to_string()))?;
        ready(address);
        tokio::select! {
            served = start_grpc_service_with_listener(listener, server) => served.map_err(|error| stopped(error.to_string())),
            () = asked_to_stop() => Ok(()),
        }
    });
    runtime.shutdown_background();
    outcome
}

/// Waits for Ctrl-C or a request to terminate.
pub(crate) async fn asked_to_stop() {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without a handler the system ends the process by itself.
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        () = interrupted => {}
        () = terminated => {}
    }
}
