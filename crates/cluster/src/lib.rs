//! The first pass of a preparation on many machines, by Apache Ballista.
//!
//! What takes the time of a preparation looks at one document after the other, and the pipeline keeps what came of it by input
//! file: a part and a note in the folder where the result is made. So the work that travels is the name of a file, and what
//! comes back is counts. A scheduler hands out tasks, workers call the function [`FUNCTION`] of each, which is the
//! corpus's own [`FileReader`](loam_corpus::pipeline::FileReader), and whoever began the preparation waits for the notes,
//! compares, and writes. The result is that of a preparation on one machine, byte for byte.
//!
//! All of them must see the folder of the result and the files of the corpus under the same paths. Nothing is encrypted and
//! nobody is asked who they are: a scheduler belongs in a network whose members trust each other.
//!
//! Without the feature `ballista`, only what a worker does is here, and no cluster.
#![forbid(unsafe_code)]

mod address;
mod current_directory;
mod error;
mod reading;
mod task;

#[cfg(feature = "ballista")]
mod function;
#[cfg(any(feature = "ballista", test))]
mod report;
#[cfg(feature = "ballista")]
mod scheduler;
#[cfg(feature = "ballista")]
mod session;
#[cfg(feature = "ballista")]
mod worker;

pub use address::{Address, SCHEDULER_PORT};
pub use error::ClusterError;
pub use reading::{Read, Reading};
pub use task::{FUNCTION, Task, deal};

#[cfg(feature = "ballista")]
pub use scheduler::{SchedulerOptions, run_scheduler};
#[cfg(feature = "ballista")]
pub use session::{Cluster, GiveUp};
#[cfg(feature = "ballista")]
pub use worker::{WorkerEvent, WorkerOptions, run_worker};
