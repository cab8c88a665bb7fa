//! `loam study quality`.

use super::Misuse;
use super::experiment::{self, Kind};
use crate::arguments::{Global, QualityArguments};
use crate::terminal::Terminal;
use loam_influence::studies::{Treatment, quality};
use std::process::ExitCode;

const KIND: Kind = Kind {
    name: "quality",
    title: "What cleaning brings, and noise costs",
    treats_text: true,
    predicts: false,
    compares: true,
};

pub fn run(arguments: &QualityArguments, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    let treatments: Vec<Treatment> = arguments
        .treatments
        .iter()
        .map(|text| Treatment::parse(text).map_err(|expected| Misuse(format!("--try {text}: give {expected}"))))
        .collect::<Result<_, _>>()?;
    let made = experiment::make(KIND, &arguments.runs, &arguments.fit, global, terminal, |recipe, _, seeds| {
        quality::plan(recipe, seeds, &treatments)
    })?;
    match made {
        Ok(made) => {
            experiment::tell(KIND, &made, &arguments.runs, terminal)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(code) => Ok(code),
    }
}
