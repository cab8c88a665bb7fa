//! Whoever begins a preparation: hands out the files, waits for the notes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ballista_core::config::{BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, BallistaConfig};
use ballista_core::execution_plans::execute_physical_plan;
use ballista_core::extension::SessionConfigExt;
use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::common::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::TryStreamExt;
use loam_corpus::CorpusError;
use loam_corpus::pipeline::{FileReaders, FilesToRead, PipelineProgress};

use crate::address::Address;
use crate::error::ClusterError;
use crate::function::read_function;
use crate::reading::begin_run;
use crate::report::unpack;
use crate::task::{Task, deal};

/// Tasks of a job at most. Files beyond share tasks.
const MOST_TASKS: usize = 1024;
/// Jobs in a row that may end without a single file more.
const TRIES: usize = 3;
/// How often notes are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How long a shared folder may take to show what a worker wrote.
const SHOW: Duration = Duration::from_secs(60);

/// A cluster that carries out the first pass of preparations.
#[derive(Debug)]
pub struct Cluster {
    scheduler: Address,
    runtime: tokio::runtime::Runtime,
    give_up: GiveUp,
}

/// Ends the run under way: workers finish the file at hand and begin no other.
#[derive(Clone, Debug, Default)]
pub struct GiveUp(Arc<Mutex<Option<PathBuf>>>);

impl GiveUp {
    /// Ends it, if one is under way.
    pub fn now(&self) {
        if let Some(run) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A run whose folder is gone is over.
            let _ = std::fs::remove_file(run);
        }
    }
}

impl Cluster {
    /// The cluster of this scheduler.
    ///
    /// # Errors
    /// Where nobody answers there.
    pub fn connect(scheduler: Address) -> std::result::Result<Self, ClusterError> {
        scheduler.try_connect(Duration::from_secs(10))?;
        let runtime = tokio::runtime::Runtime::new()
            .map_err(|error| ClusterError::Stopped { what: "session", message: error.to_string() })?;
        Ok(Self { scheduler, runtime, give_up: GiveUp::default() })
    }

    /// What ends the run under way, for handlers of signals.
    pub fn give_up(&self) -> GiveUp {
        self.give_up.clone()
    }

    /// Hands out what is left, once, and waits; what Ballista said if it could not.
    async fn hand_out(
        &self,
        run: &str,
        files: &mut FilesToRead,
        progress: &mut dyn FnMut(&PipelineProgress),
    ) -> std::result::Result<Option<DataFusionError>, CorpusError> {
        let plan = match plan(run, files) {
            Ok(plan) => plan,
            Err(error) => return Ok(Some(error)),
        };
        let job = run_job(self.scheduler.url(), run, plan);
        let mut job = std::pin::pin!(job);
        loop {
            match tokio::time::timeout(LOOK, &mut job).await {
                Ok(ended) => return Ok(ended.err()),
                Err(_) => files.look(progress)?,
            }
        }
    }
}

impl FileReaders for Cluster {
    fn read(
        &mut self,
        files: &mut FilesToRead,
        progress: &mut dyn FnMut(&PipelineProgress),
    ) -> std::result::Result<(), CorpusError> {
        let run = run_name();
        let path = begin_run(files.folder(), &run)?;
        *self.give_up.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
        let read = self.runtime.block_on(self.read_all(&run, files, progress));
        self.give_up.now();
        read
    }
}

impl Cluster {
    async fn read_all(
        &self,
        run: &str,
        files: &mut FilesToRead,
        progress: &mut dyn FnMut(&PipelineProgress),
    ) -> std::result::Result<(), CorpusError> {
        let mut tries = 0;
        files.look(progress)?;
        loop {
            let before = files.left().count();
            if before == 0 {
                return Ok(());
            }
            let failed = self.hand_out(run, files, progress).await?;
            files.look(progress)?;
            if let Some(error) = &failed
                && let Some(error) = unpack(&error.to_string())
            {
                return Err(error);
            }
            if failed.is_none() {
                wait_for_notes(files, progress).await?;
            }
            let left = files.left().count();
            // A worker that went with its counts has left its files: what is there counts.
            if left == 0 {
                return Ok(());
            }
            tries = if left < before { 0 } else { tries + 1 };
            if tries >= TRIES || (failed.is_none() && left == before) {
                return Err(given_up(&self.scheduler, files.folder(), left, failed.as_ref()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Waits until a shared folder shows what workers say that they have written.
async fn wait_for_notes(
    files: &mut FilesToRead,
    progress: &mut dyn FnMut(&PipelineProgress),
) -> std::result::Result<(), CorpusError> {
    let begun = Instant::now();
    while files.left().next().is_some() && begun.elapsed() < SHOW {
        tokio::time::sleep(LOOK).await;
        files.look(progress)?;
    }
    Ok(())
}

fn given_up(scheduler: &Address, folder: &Path, left: usize, failed: Option<&DataFusionError>) -> CorpusError {
    match failed {
        None => CorpusError::invalid(
            format!("workers say that they have read {left} more files, and {} does not show them", folder.display()),
            "the result must lie in a folder that all workers share, under the same path",
        ),
        Some(error) => {
            let said: String = error.to_string().chars().take(1000).collect();
            CorpusError::invalid(
                format!("the cluster of {scheduler} has not read {left} files: {said}"),
                format!("see that workers run: loam worker --scheduler {scheduler}; what is finished stays"),
            )
        }
    }
}

/// A partition for each task, each with a row that the function is called on. Ballista gives a partition to whoever asks next.
fn plan(run: &str, files: &FilesToRead) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = Arc::new(Schema::new(vec![Field::new("task", DataType::Utf8, false)]));
    let mut partitions = Vec::new();
    for numbers in deal(files.left().collect(), MOST_TASKS) {
        let task = Task {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run: run.to_owned(),
            folder: files.folder().to_path_buf(),
            directory: files.directory().map(Path::to_path_buf),
            files: numbers,
        };
        let task = serde_json::to_string(&task).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let rows = Arc::new(StringArray::from(vec![task]));
        partitions.push(vec![RecordBatch::try_new(schema.clone(), vec![rows])?]);
    }
    let rows = MemorySourceConfig::try_new_exec(&partitions, schema.clone(), None)?;
    let call: Arc<dyn PhysicalExpr> = Arc::new(ScalarFunctionExpr::try_new(
        read_function(None),
        vec![Arc::new(Column::new("task", 0))],
        &schema,
        Arc::new(ConfigOptions::default()),
    )?);
    Ok(Arc::new(ProjectionExec::try_new([(call, "documents".to_owned())], rows)?))
}

/// Runs a job to its end. What it returns are counts that the notes have too.
async fn run_job(url: String, run: &str, plan: Arc<dyn ExecutionPlan>) -> Result<()> {
    let mut config = SessionConfig::new_with_ballista().with_ballista_job_name("loam data prepare");
    // Workers with several slots take tasks one by one too.
    config.options_mut().set(BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, "1")?;
    let codec = config.ballista_physical_extension_codec();
    let ballista = BallistaConfig::default();
    let stream =
        execute_physical_plan::<PhysicalPlanNode>(url, &ballista, plan, codec.as_ref(), run.to_owned(), config);
    stream.await?.try_for_each(|_| std::future::ready(Ok(()))).await
}

/// A name that no other run has.
fn run_name() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    format!("{now:x}-{:x}", std::process::id())
}
