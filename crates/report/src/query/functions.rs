//! Functions of texts, as queries call them: those that `loam data prepare` takes its steps with.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::DataFusionError;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use loam_corpus::clean::{Step, clean};
use loam_corpus::deduplicate::{MinHashOptions, MinHasher};
use loam_corpus::quality::{Filters, Segmentation};
use loam_corpus::redact::Redactor;
use loam_corpus::{content_hash, identify_language};

/// A call, its result, and what it gives; for help.
pub const FUNCTIONS: [(&str, &str); 6] = [
    ("language(text)", "its language: en, zh, …"),
    ("quality_rule(text)", "the first rule of Gopher, C4, or FineWeb by which it would go, or null"),
    ("redact(text)", "without e-mail addresses, numbers, and keys that tell who a person is"),
    ("clean(text, 'strip_tags,letters')", "after steps of cleaning"),
    ("similarity(text, text)", "what two texts have in common, from 0 to 1, by MinHash over 5 words"),
    ("content_hash(text)", "by which documents.content_hash knows it"),
];

type Values<'a> = [&'a StringArray];

/// A function of texts, row by row; null where an argument is.
fn register(
    context: &SessionContext,
    name: &'static str,
    arguments: usize,
    result: DataType,
    of: impl Fn(&Values<'_>) -> Result<ArrayRef, DataFusionError> + Send + Sync + 'static,
) {
    let function = move |values: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(values)?;
        let texts: Vec<&StringArray> = arrays.iter().map(AsArray::as_string::<i32>).collect();
        of(&texts).map(ColumnarValue::Array)
    };
    let types = vec![DataType::Utf8; arguments];
    context.register_udf(create_udf(name, types, result, Volatility::Immutable, Arc::new(function)));
}

/// A text from a text.
fn register_text(
    context: &SessionContext,
    name: &'static str,
    of: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
) {
    register(context, name, 1, DataType::Utf8, move |values| {
        let results: StringArray = values[0].iter().map(|text| of(text?)).collect();
        Ok(Arc::new(results))
    });
}

/// Makes the functions known.
pub(super) fn register_all(context: &SessionContext) {
    register_text(context, "language", |text| Some(identify_language(text)?.code.to_owned()));
    let filters = Filters::default();
    register_text(context, "quality_rule", move |text| {
        let language = identify_language(text).map_or("en", |found| found.code);
        filters.apply(text, Segmentation::of(language)).verdict.map(|rule| rule.name().to_owned())
    });
    let redactor = Redactor::default();
    register_text(context, "redact", move |text| Some(redactor.redact(text).text.into_owned()));
    register_text(context, "content_hash", |text| Some(format!("{:032x}", u128::from_be_bytes(content_hash(text)))));
    register(context, "clean", 2, DataType::Utf8, |values| {
        let one = |(text, steps): (Option<&str>, Option<&str>)| {
            let (Some(text), Some(steps)) = (text, steps) else { return Ok(None) };
            let steps: Vec<Step> = steps
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(|name| {
                    name.parse().map_err(|error| DataFusionError::Plan(format!("clean: \"{name}\": expected {error}")))
                })
                .collect::<Result<_, _>>()?;
            Ok(clean(text, &steps).ok().map(std::borrow::Cow::into_owned))
        };
        let results: StringArray =
            values[0].iter().zip(values[1].iter()).map(one).collect::<Result<_, DataFusionError>>()?;
        Ok(Arc::new(results))
    });
    register(context, "similarity", 2, DataType::Float64, |values| {
        let hasher =
            MinHasher::new(&MinHashOptions::default()).map_err(|error| DataFusionError::Plan(error.to_string()))?;
        let one = |(one, other): (Option<&str>, Option<&str>)| {
            Some(hasher.signature(one?).similarity(&hasher.signature(other?)))
        };
        let results: Float64Array = values[0].iter().zip(values[1].iter()).map(one).collect();
        Ok(Arc::new(results))
    });
}
