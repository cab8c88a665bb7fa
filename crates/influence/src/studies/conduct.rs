//! Making the runs of a study, one after the other, and going on with what a kill left.

use std::path::{Path, PathBuf};

use loam_corpus::{Prepared, content_hash, derive};
use loam_train::recipe::{Length, ModelRecipe, Recipe, TokenizerRecipe};
use loam_train::{Observer, Session, TrainError, session};

use super::arm::{Arm, BASE};
use super::folder::{RunResult, StudyFolder};
use super::quality;
use crate::InfluenceError;

/// A study: arms, each trained with every seed.
#[derive(Clone, Debug)]
pub struct Study {
    /// The recipe that arms change.
    pub recipe: Recipe,
    /// The arms, the base first where there is one.
    pub arms: Vec<Arm>,
    /// The seeds.
    pub seeds: Vec<u64>,
}

/// What happens while a study is conducted.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// A run begins, or goes on.
    Begins {
        /// Its number, from 1.
        number: usize,
        /// Of so many.
        of: usize,
        /// Its arm.
        arm: &'a Arm,
        /// Its seed.
        seed: u64,
        /// Whether an earlier session began it.
        resumed: bool,
    },
    /// A run is finished, or has failed.
    Ended(&'a RunResult),
}

/// How a study ended.
#[derive(Clone, Debug)]
pub struct Conducted {
    /// Finished and failed runs, by arm and seed.
    pub results: Vec<RunResult>,
    /// Whether somebody asked to stop before all were made.
    pub interrupted: bool,
}

/// The text of a study, prepared.
#[derive(Debug)]
pub struct BaseData {
    /// Its tokens.
    pub prepared: Prepared,
    /// The folder with `tokens/` and `documents.parquet`.
    pub folder: PathBuf,
}

impl BaseData {
    /// Names and weights of the sources.
    pub fn weights(&self) -> Vec<(String, f64)> {
        self.prepared.sources().iter().map(|source| (source.name.clone(), source.weight)).collect()
    }

    /// Training tokens in all.
    pub fn tokens(&self) -> u64 {
        self.prepared.sources().iter().filter(|source| source.weight > 0.0).map(|source| source.tokens).sum()
    }
}

/// Prepares the text of a study in `folder`, or opens what is there.
///
/// # Errors
/// [`InfluenceError::Study`] for a recipe whose runs have no fixed length; [`InfluenceError::Train`] where the text cannot be prepared.
pub fn prepare_base(
    recipe: &Recipe,
    folder: &Path,
    session: &Session,
    observer: &mut dyn Observer,
) -> Result<BaseData, InfluenceError> {
    if matches!(recipe.train.length, Length::Minutes(_)) {
        return Err(InfluenceError::Study {
            what: "runs of so many minutes are of different lengths, and their losses cannot be compared".into(),
            hint: "set train.steps or train.epochs, as in --set train.steps=300".into(),
        });
    }
    let (prepared, folder) = session::prepare_tokens(recipe, folder, session, observer)?;
    Ok(BaseData { prepared, folder })
}

impl Study {
    /// Runs in all.
    pub fn runs(&self) -> usize {
        self.arms.len() * self.seeds.len()
    }

    /// The arm that others are compared with: the first.
    pub fn base(&self) -> Option<&Arm> {
        self.arms.first()
    }

    /// Optimizer steps of an arm on the base's data or a part of it.
    pub fn steps(&self, arm: &Arm, base: &BaseData) -> u64 {
        let tokens = base.tokens() as f64 * arm.change.part.unwrap_or(1.0);
        match (arm.change.steps, self.recipe.train.length) {
            (Some(steps), _) | (None, Length::Steps(steps)) => steps,
            (None, Length::Epochs(epochs)) => {
                ((epochs * tokens / self.recipe.train.batch_tokens as f64).ceil() as u64).max(1)
            }
            (None, Length::Minutes(_)) => 1,
        }
    }

    /// Training tokens of one run of an arm.
    pub fn tokens(&self, arm: &Arm, base: &BaseData) -> u64 {
        self.steps(arm, base) * self.recipe.train.batch_tokens as u64
    }

    /// What is known of every run already.
    ///
    /// # Errors
    /// [`InfluenceError::Study`] where the folder holds runs of another study.
    pub fn known(&self, base: &BaseData, folder: &StudyFolder) -> Result<Vec<RunResult>, InfluenceError> {
        let mut known = Vec::new();
        for arm in &self.arms {
            for seed in &self.seeds {
                if let Some(result) = folder.read_result(&arm.name, *seed)? {
                    self.check_own(&result, arm, base, folder)?;
                    known.push(result);
                }
            }
        }
        Ok(known)
    }

    fn check_own(
        &self,
        result: &RunResult,
        arm: &Arm,
        base: &BaseData,
        folder: &StudyFolder,
    ) -> Result<(), InfluenceError> {
        // A run that failed by another recipe is in nobody's way.
        if result.failed.is_some() || result.fingerprint == self.fingerprint(arm, base) {
            return Ok(());
        }
        Err(other_study(folder, arm))
    }

    /// A hash of all that decides what a run of this arm comes to, but for its seed.
    fn fingerprint(&self, arm: &Arm, base: &BaseData) -> String {
        // Where the data lies decides nothing.
        let recipe = arm.recipe(&self.recipe, Path::new("data"), 0).to_toml();
        let change = serde_json::to_string(&arm.change).unwrap_or_default();
        let text = [recipe.as_str(), change.as_str(), base.prepared.hash()].join("\n");
        format!("{:032x}", u128::from_be_bytes(content_hash(&text)))
    }

    /// Makes every run that is not finished. Runs are made seed by seed, so that a study that is stopped has compared all arms on
    /// the seeds that it came to. A run that fails is kept as failed, and the others go on; `again` tries it anew.
    ///
    /// # Errors
    /// Where the folder cannot be written, holds another study, or an arm's data cannot be made.
    pub fn conduct(
        &self,
        base: &BaseData,
        folder: &StudyFolder,
        session: &Session,
        again: bool,
        observer: &mut dyn Observer,
        told: &mut dyn FnMut(Told<'_>),
    ) -> Result<Conducted, InfluenceError> {
        let mut number = 0;
        let mut interrupted = false;
        'seeds: for seed in &self.seeds {
            for arm in &self.arms {
                number += 1;
                let fingerprint = self.fingerprint(arm, base);
                if let Some(result) = folder.read_result(&arm.name, *seed)? {
                    self.check_own(&result, arm, base, folder)?;
                    let mended = result.fingerprint != fingerprint;
                    if result.failed.is_none() || !(again || mended) {
                        continue;
                    }
                    folder.forget(&arm.name, *seed)?;
                }
                let run = folder.run(&arm.name, *seed);
                let begun = run.join("recipe.toml").is_file();
                if begun && folder.begun_by(&arm.name, *seed)?.is_some_and(|by| by != fingerprint) {
                    return Err(other_study(folder, arm));
                }
                folder.begin(&arm.name, *seed, &fingerprint)?;
                told(Told::Begins { number, of: self.runs(), arm, seed: *seed, resumed: begun });
                let outcome = self.data_of(arm, base, folder, session, observer).and_then(|data| {
                    let result = if begun {
                        session::resume(&run, session, observer)
                    } else {
                        session::start(&arm.recipe(&self.recipe, &data, *seed), &run, session, observer)
                    };
                    result.map_err(InfluenceError::from)
                });
                let result = match outcome {
                    Ok(outcome) if outcome.reason == "interrupted" => {
                        interrupted = true;
                        break 'seeds;
                    }
                    Ok(_) => RunResult::of(&run, &arm.name, *seed, &fingerprint),
                    Err(InfluenceError::Train(error @ TrainError::Io { .. })) => return Err(error.into()),
                    Err(error @ (InfluenceError::Write { .. } | InfluenceError::Open { .. })) => return Err(error),
                    Err(error) => Some(failed(&arm.name, *seed, &fingerprint, &error.to_string())),
                };
                let mut result = result.unwrap_or_else(|| {
                    failed(&arm.name, *seed, &fingerprint, "its records do not say that it has finished")
                });
                let all = base.tokens() as f64 * arm.change.part.unwrap_or(1.0);
                result.unique_tokens = result.tokens.min(all as u64);
                folder.write_result(&result)?;
                told(Told::Ended(&result));
            }
        }
        Ok(Conducted { results: self.known(base, folder)?, interrupted })
    }

    /// The folder with the data of an arm, made where it is not there.
    fn data_of(
        &self,
        arm: &Arm,
        base: &BaseData,
        folder: &StudyFolder,
        session: &Session,
        observer: &mut dyn Observer,
    ) -> Result<PathBuf, InfluenceError> {
        if let Some(treatment) = &arm.change.treatment {
            let data = folder.data(&arm.name);
            let recipe = Recipe {
                data: quality::treated(&self.recipe.data, treatment, &data)?,
                tokenizer: TokenizerRecipe::Load { path: base.folder.join("tokens/tokenizer") },
                ..self.recipe.clone()
            };
            return Ok(session::prepare_tokens(&recipe, &data, session, observer)?.1);
        }
        let change = arm.derivation(&base.weights());
        if change == loam_corpus::Derivation::default() {
            return Ok(base.folder.clone());
        }
        let data = folder.data(&arm.name);
        if !data.join("tokens/index.json").is_file() {
            derive(&base.prepared, &base.folder.join("documents.parquet"), &change, &data)?;
        }
        Ok(data)
    }
}

fn other_study(folder: &StudyFolder, arm: &Arm) -> InfluenceError {
    InfluenceError::Study {
        what: format!(
            "{} holds a run of the arm {:?} of another recipe, other data, or another study",
            folder.path().display(),
            arm.name
        ),
        hint: "choose another folder with -o, or give the recipe and the flags that it was begun with".into(),
    }
}

/// A run that has come to nothing.
fn failed(arm: &str, seed: u64, fingerprint: &str, why: &str) -> RunResult {
    RunResult {
        arm: arm.to_owned(),
        seed,
        fingerprint: fingerprint.to_owned(),
        failed: Some(why.to_owned()),
        losses: Vec::new(),
        steps: 0,
        tokens: 0,
        unique_tokens: 0,
        parameters: 0,
        seconds: 0.0,
        tokens_per_second: 0.0,
        weights_hash: String::new(),
    }
}

/// Checks what every study asks of a recipe.
///
/// # Errors
/// [`InfluenceError::Study`] for a name that two arms share, no seed, and a model of another's where the study changes shapes.
pub(super) fn check(study: &Study) -> Result<(), InfluenceError> {
    let refuse = |what: String, hint: &str| Err(InfluenceError::Study { what, hint: hint.into() });
    if study.seeds.is_empty() {
        return refuse("a study without seeds makes no run".into(), "give --seeds 3");
    }
    for (place, arm) in study.arms.iter().enumerate() {
        if study.arms[..place]
            .iter()
            .any(|other| super::arm::folder_name(&other.name) == super::arm::folder_name(&arm.name))
        {
            return refuse(format!("two arms are called {:?}", arm.name), "give sources and arms names that differ");
        }
    }
    if matches!(study.recipe.model, ModelRecipe::From { .. }) && study.arms.iter().any(|arm| arm.change.shape.is_some())
    {
        return refuse(
            "a model that is gone on with has its size".into(),
            "a study of sizes needs a recipe of a new model, without model.from",
        );
    }
    debug_assert!(study.arms.iter().all(|arm| arm.name != BASE || arm.change.weights.is_empty()));
    Ok(())
}
