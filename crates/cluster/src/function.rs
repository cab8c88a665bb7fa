//! The function that plans call, one row a task.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, StringArray, UInt64Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::cast::as_string_array;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::reading::Reading;
use crate::report::pack;
use crate::task::{FUNCTION, Task};

/// `loam_read(task)`: the documents that were read. A scheduler and whoever asks it know the function by its name alone.
#[derive(Debug)]
struct ReadFunction {
    reading: Option<Arc<Reading>>,
    signature: Signature,
}

/// The function, as a worker has it or, without what carries tasks out, as plans need it.
pub(crate) fn read_function(reading: Option<Arc<Reading>>) -> Arc<ScalarUDF> {
    // It writes files: nobody may call it ahead of time because its argument is known.
    let signature = Signature::exact(vec![DataType::Utf8], Volatility::Volatile);
    Arc::new(ScalarUDF::new_from_impl(ReadFunction { reading, signature }))
}

impl PartialEq for ReadFunction {
    fn eq(&self, other: &Self) -> bool {
        self.reading.is_some() == other.reading.is_some()
    }
}

impl Eq for ReadFunction {}

impl Hash for ReadFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        FUNCTION.hash(state);
    }
}

impl ScalarUDFImpl for ReadFunction {
    fn name(&self) -> &str {
        FUNCTION
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::UInt64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let reading =
            self.reading.as_ref().ok_or_else(|| DataFusionError::Execution(format!("{FUNCTION} is for workers")))?;
        let [tasks] = &ColumnarValue::values_to_arrays(&arguments.args)?[..] else {
            return Err(DataFusionError::Execution(format!("{FUNCTION} takes a task")));
        };
        let tasks: &StringArray = as_string_array(tasks)?;
        let documents: Result<UInt64Array> =
            (0..tasks.len()).map(|row| carry_out(reading, tasks.value(row)).map(Some)).collect();
        Ok(ColumnarValue::Array(Arc::new(documents?)))
    }
}

fn carry_out(reading: &Reading, task: &str) -> Result<u64> {
    let task: Task = serde_json::from_str(task)
        .map_err(|error| DataFusionError::Execution(format!("{FUNCTION}: this is no task: {error}")))?;
    // An error of any other kind is taken for one that passes, and the task tried again.
    reading.carry_out(&task).map_err(|error| DataFusionError::Execution(pack(&error)))
}

#[cfg(test)]
mod tests {
    use loam_corpus::pipeline::no_scorers;

    use super::*;

    #[test]
    fn what_is_no_task_is_refused() {
        let reading = Reading::new(Box::new(no_scorers), Box::new(|_| {}));
        assert!(carry_out(&reading, "{}").unwrap_err().to_string().contains("no task"));
        let task = r#"{"version": "0", "run": "", "folder": "/no", "directory": null, "files": []}"#;
        let error = carry_out(&reading, task).unwrap_err().to_string();
        assert!(crate::report::unpack(&error).unwrap().to_string().contains("same version"), "{error}");
    }
}
