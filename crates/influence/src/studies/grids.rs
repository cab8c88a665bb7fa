//! `study scale`, `study repeat`, `study order`: sizes by tokens, parts of the text by epochs, orders of documents.

use loam_train::recipe::{Length, ModelRecipe, Recipe};

use super::MEAN;
use super::arm::{Arm, Change, Order};
use super::conduct::{BaseData, Study, check};
use super::folder::RunResult;
use crate::InfluenceError;
use crate::laws::Point;

fn refuse<T>(what: String, hint: &str) -> Result<T, InfluenceError> {
    Err(InfluenceError::Study { what, hint: hint.into() })
}

/// Steps of so many tokens, at least one.
fn steps(tokens: f64, recipe: &Recipe) -> u64 {
    ((tokens / recipe.train.batch_tokens as f64).round() as u64).max(1)
}

/// Plans models of several widths (each with layers in proportion, and heads of the base's size), each trained for several
/// numbers of tokens. None: quarters of the base's width, and a quarter, a half and all of its tokens.
///
/// # Errors
/// [`InfluenceError::Study`] for a model that is gone on with, fewer than three widths or lengths, and widths that heads do not
/// divide.
pub fn plan_scale(
    recipe: &Recipe,
    base: &BaseData,
    seeds: &[u64],
    widths: &[usize],
    tokens: &[f64],
) -> Result<Study, InfluenceError> {
    let ModelRecipe::New(shape) = &recipe.model else {
        return refuse(
            "a model that is gone on with has its size".into(),
            "a study of sizes needs a recipe of a new model, without model.from",
        );
    };
    let head = (shape.width / shape.heads.max(1)).max(1);
    let widths: Vec<usize> = if widths.is_empty() {
        let part = |part: f64| ((shape.width as f64 * part / head as f64).round() as usize).max(1) * head;
        let mut widths = [0.25, 0.5, 0.75, 1.0].map(part).to_vec();
        widths.dedup();
        widths
    } else {
        widths.to_vec()
    };
    let whole = Study { recipe: recipe.clone(), arms: Vec::new(), seeds: Vec::new() };
    let most = whole.tokens(&Arm::base(false), base) as f64;
    let tokens: Vec<f64> =
        if tokens.is_empty() { [0.25, 0.5, 1.0].map(|part| part * most).to_vec() } else { tokens.to_vec() };
    let distinct = |count: usize, what: &str| {
        if count >= 3 {
            Ok(())
        } else {
            refuse(format!("{count} different {what} tell no law"), "give at least three of each")
        }
    };
    distinct(crate::laws::points::distinct(widths.iter().map(|width| *width as f64)), "widths")?;
    distinct(
        crate::laws::points::distinct(tokens.iter().map(|tokens| steps(*tokens, recipe) as f64)),
        "numbers of tokens",
    )?;
    let mut arms = Vec::new();
    for width in widths {
        if width == 0 || (shape.family.has_heads() && !width.is_multiple_of(head)) {
            return refuse(
                format!("the width {width} is no multiple of {head}, the width of a head of the recipe's model"),
                "give widths that are, or change model.heads",
            );
        }
        let layers = ((shape.layers as f64 * width as f64 / shape.width as f64).round() as usize).max(1);
        let heads = if shape.family.has_heads() { width / head } else { shape.heads };
        for tokens in &tokens {
            let steps = steps(*tokens, recipe);
            arms.push(Arm {
                name: format!("width-{width}-steps-{steps}"),
                words: format!("width {width}, {layers} layers, {steps} steps"),
                change: Change { shape: Some((width, layers, heads)), steps: Some(steps), ..Change::default() },
            });
        }
    }
    let study = Study { recipe: recipe.clone(), arms, seeds: seeds.to_vec() };
    check(&study)?;
    Ok(study)
}

/// Plans parts of the text, each shown for several epochs.
///
/// # Errors
/// [`InfluenceError::Study`] for parts that are none, fewer than two of them, and epochs below 1 or none above.
pub fn plan_repeat(
    recipe: &Recipe,
    base: &BaseData,
    seeds: &[u64],
    parts: &[f64],
    epochs: &[f64],
) -> Result<Study, InfluenceError> {
    if parts.iter().any(|part| !(*part > 0.0 && *part <= 1.0))
        || crate::laws::points::distinct(parts.iter().copied()) < 2
    {
        return refuse(
            format!("the parts {parts:?}"),
            "give at least two numbers above 0 and at most 1, as 0.125,0.25,0.5,1",
        );
    }
    let bad = epochs.iter().any(|epochs| !(epochs.is_finite() && *epochs >= 1.0))
        || !epochs.iter().any(|epochs| *epochs > 1.5);
    if bad {
        return refuse(format!("the epochs {epochs:?}"), "give numbers from 1 on, some of them above, as 1,2,4,8");
    }
    let mut arms = Vec::new();
    for part in parts {
        for epochs in epochs {
            let steps = steps(base.tokens() as f64 * part * epochs, recipe);
            arms.push(Arm {
                name: format!("part-{part}-epochs-{epochs}"),
                words: format!("{} % of the documents, {epochs} epochs", 100.0 * part),
                change: Change { part: Some(*part), steps: Some(steps), ..Change::default() },
            });
        }
    }
    let study = Study { recipe: recipe.clone(), arms, seeds: seeds.to_vec() };
    check(&study)?;
    Ok(study)
}

/// Plans orders of documents, beside shuffled windows. Every arm sees each document as often: the recipe's epochs, or one.
///
/// # Errors
/// [`InfluenceError::Study`] without orders.
pub fn plan_order(recipe: &Recipe, base: &BaseData, seeds: &[u64], orders: &[Order]) -> Result<Study, InfluenceError> {
    if orders.is_empty() {
        return refuse("no order was asked for".into(), "give --orders short-first,common-first");
    }
    let epochs = match recipe.train.length {
        Length::Epochs(epochs) => epochs.ceil().max(1.0),
        _ => 1.0,
    };
    let steps = steps(base.tokens() as f64 * epochs, recipe);
    let mut arms = vec![Arm {
        words: "shuffled".into(),
        change: Change { steps: Some(steps), ..Change::default() },
        ..Arm::base(false)
    }];
    arms.extend(orders.iter().map(|order| Arm {
        name: order.name().into(),
        words: format!("documents {}", order.name().replace('-', " ")),
        change: Change { order: Some(*order), steps: Some(steps), ..Change::default() },
    }));
    let study = Study { recipe: recipe.clone(), arms, seeds: seeds.to_vec() };
    check(&study)?;
    Ok(study)
}

/// Finished runs as points that laws are fitted to; the loss is the mean over the held-out domains.
pub fn points(results: &[RunResult]) -> Vec<Point> {
    results
        .iter()
        .filter_map(|run| {
            let loss = run.loss(MEAN)?;
            let tokens = run.tokens as f64;
            Some(Point {
                parameters: run.parameters as f64,
                tokens,
                // A step more than the text holds is no repetition.
                unique_tokens: (run.unique_tokens as f64).min(tokens),
                loss,
            })
        })
        .collect()
}
