//! The runs that laws are fitted to: size, tokens and loss, out of CSV, TSV, JSON lines, Parquet or Arrow files.
//!
//! Columns are told by the names that they usually have, whatever their case and what stands between words. Of parameters,
//! tokens and compute any two do, since training costs C = 6 N D.

use std::path::PathBuf;

use loam_corpus::Bytes;
use loam_tasks::rows::{Row, Rows};
use serde::Serialize;
use serde_json::Value;

use super::frontier::OPERATIONS;
use crate::InfluenceError;

/// One run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Parameters of the model.
    pub parameters: f64,
    /// Tokens that it was trained on, repeated ones included.
    pub tokens: f64,
    /// Different tokens among them; as many as [`Self::tokens`] where none was repeated.
    pub unique_tokens: f64,
    /// The loss that it came to, in nats a token.
    pub loss: f64,
}

impl Point {
    /// A run without repetition.
    pub fn new(parameters: f64, tokens: f64, loss: f64) -> Self {
        Self { parameters, tokens, unique_tokens: tokens, loss }
    }

    /// Times that each token was seen.
    pub fn epochs(&self) -> f64 {
        self.tokens / self.unique_tokens
    }
}

/// What a column can hold, with the names that it usually has, the surest first.
const QUANTITIES: [(&str, &[&str]); 6] = [
    (
        "parameters",
        &[
            "parameters",
            "params",
            "n_params",
            "num_params",
            "parameter_count",
            "model_size",
            "model_parameters",
            "size",
            "n",
        ],
    ),
    ("tokens", &["tokens", "training_tokens", "train_tokens", "tokens_seen", "n_tokens", "num_tokens", "d"]),
    ("compute", &["compute", "flops", "flop", "training_flops", "training_flop", "training_compute", "c"]),
    (
        "loss",
        &[
            "loss",
            "final_loss",
            "held_out_loss",
            "valid_loss",
            "validation_loss",
            "val_loss",
            "eval_loss",
            "test_loss",
            "nats",
            "l",
        ],
    ),
    ("unique_tokens", &["unique_tokens", "unique_training_tokens", "unique_data", "unique", "u"]),
    ("epochs", &["epochs", "epoch", "passes", "repetitions"]),
];

/// Runs from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// They.
    pub points: Vec<Point>,
    /// Quantity to the column that it was taken from.
    pub columns: Vec<(&'static str, String)>,
}

impl Points {
    /// Reads the runs in `paths` (files, folders, globs). `named` gives the column of a quantity where its name is no usual one.
    ///
    /// # Errors
    /// [`InfluenceError::Points`] where the file cannot be read, a column is missing, or a cell is no number.
    pub fn read(paths: &[String], named: &[(String, String)]) -> Result<Self, InfluenceError> {
        let path = PathBuf::from(paths.first().map(String::as_str).unwrap_or_default());
        let fail = |detail: String, hint: String| InfluenceError::Points { path: path.clone(), detail, hint };
        for (quantity, _) in named {
            if !QUANTITIES.iter().any(|(known, _)| known == quantity) {
                let known: Vec<&str> = QUANTITIES.iter().map(|(known, _)| *known).collect();
                return Err(fail(
                    format!("{quantity:?} is nothing that runs have here"),
                    format!("a column may hold {}", known.join(", ")),
                ));
            }
        }
        let mut asked: Vec<String> = named.iter().map(|(_, column)| column.clone()).collect();
        asked.extend(QUANTITIES.iter().flat_map(|(_, names)| names.iter().map(|name| (*name).to_owned())));
        let rows =
            Rows::read(paths, Bytes::default(), &asked).map_err(|error| InfluenceError::Rows(Box::new(error)))?;
        let mut columns: Vec<(&'static str, String)> = Vec::new();
        for (quantity, usual) in QUANTITIES {
            if let Some((_, column)) = named.iter().find(|(name, _)| name == quantity) {
                if !rows.names.contains(column) {
                    let hint = format!("the columns are {}", rows.names.join(", "));
                    return Err(fail(format!("there is no column {column:?}"), hint));
                }
                columns.push((quantity, column.clone()));
            } else if let Some(column) =
                usual.iter().find_map(|usual| rows.names.iter().find(|name| plain(name) == *usual))
            {
                columns.push((quantity, column.clone()));
            }
        }
        let has = |quantity: &str| columns.iter().any(|(known, _)| *known == quantity);
        let sizes = [has("parameters"), has("tokens") || (has("unique_tokens") && has("epochs")), has("compute")];
        let lacking = match (has("loss"), sizes.iter().filter(|known| **known).count()) {
            (false, _) => Some("no column says what the loss was"),
            (true, 0 | 1) => Some("two of parameters, tokens and compute are needed, and the columns do not say them"),
            _ => None,
        };
        if let Some(lacking) = lacking {
            let hint = format!(
                "name them, as in --column loss=NAME --column parameters=NAME; the columns are {}",
                rows.names.join(", ")
            );
            return Err(fail(lacking.into(), hint));
        }
        let points = rows.rows.iter().map(|row| point(row, &columns)).collect::<Result<_, _>>()?;
        Ok(Self { points, columns })
    }
}

/// A run of a row.
fn point(row: &Row, columns: &[(&'static str, String)]) -> Result<Point, InfluenceError> {
    let number = |quantity: &str| -> Result<Option<f64>, InfluenceError> {
        let Some((_, column)) = columns.iter().find(|(known, _)| *known == quantity) else { return Ok(None) };
        let number = match row.fields.get(column) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
            Some(Value::String(text)) => text.trim().replace('_', "").parse().ok(),
            Some(_) => None,
        };
        number.map(Some).ok_or_else(|| InfluenceError::Points {
            path: row.path.to_path_buf(),
            detail: format!("row {}: {} in column {column:?} is no number", row.number, row.fields[column]),
            hint: "write numbers as 1234.5 or 1.2e9".into(),
        })
    };
    let (size, compute, epochs) = (number("parameters")?, number("compute")?, number("epochs")?);
    let (mut tokens, mut unique) = (number("tokens")?, number("unique_tokens")?);
    tokens = tokens.or_else(|| Some(unique? * epochs?));
    tokens = tokens.or_else(|| Some(compute? / OPERATIONS / size?));
    let parameters = size.or_else(|| Some(compute? / OPERATIONS / tokens?));
    unique = unique.or_else(|| Some(tokens? / epochs?)).or(tokens);
    match (parameters, tokens, unique, number("loss")?) {
        (Some(parameters), Some(tokens), Some(unique_tokens), Some(loss)) => {
            Ok(Point { parameters, tokens, unique_tokens, loss })
        }
        _ => Err(InfluenceError::Points {
            path: row.path.to_path_buf(),
            detail: format!("row {} lacks a number", row.number),
            hint: "every run needs its loss and two of parameters, tokens and compute; delete the row, or fill it"
                .into(),
        }),
    }
}

/// `Training FLOP` as `training_flop`.
fn plain(name: &str) -> String {
    let mut plain = String::new();
    for character in name.trim().chars() {
        if character.is_alphanumeric() {
            plain.extend(character.to_lowercase());
        } else if !plain.ends_with('_') {
            plain.push('_');
        }
    }
    plain.trim_matches('_').to_owned()
}

/// Leaves out the `count` runs of highest loss; which they are, in the order of the file.
pub fn drop_highest(points: &mut Vec<Point>, count: usize) -> Vec<Point> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|one, other| points[*other].loss.total_cmp(&points[*one].loss));
    let mut dropped: Vec<usize> = order.into_iter().take(count).collect();
    dropped.sort_unstable();
    let gone: Vec<Point> = dropped.iter().map(|index| points[*index]).collect();
    let mut index = 0;
    points.retain(|_| {
        index += 1;
        dropped.binary_search(&(index - 1)).is_err()
    });
    gone
}

/// That every number is one, and above 0.
pub(super) fn check_numbers(points: &[Point]) -> Result<(), InfluenceError> {
    for (number, point) in (1..).zip(points) {
        for (name, value) in [
            ("parameters", point.parameters),
            ("tokens", point.tokens),
            ("unique tokens", point.unique_tokens),
            ("loss", point.loss),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return Err(InfluenceError::Law {
                    what: format!("the {name} of run {number} is {value}, and a law of powers needs a number above 0"),
                    hint: "leave such runs out; a run that diverged says nothing of those that did not".into(),
                });
            }
        }
        if point.epochs() < 1.0 - 1e-6 {
            return Err(InfluenceError::Law {
                what: format!(
                    "run {number} saw {} tokens and {} different ones, which are more than there can be",
                    point.tokens, point.unique_tokens
                ),
                hint: "unique tokens are those that were seen at least once".into(),
            });
        }
    }
    Ok(())
}

/// That there are more runs than parameters.
pub(super) fn check_count(points: usize, parameters: usize) -> Result<(), InfluenceError> {
    if points > parameters {
        return Ok(());
    }
    Err(InfluenceError::Law {
        what: format!("{points} runs cannot tell a law of {parameters} parameters"),
        hint: format!("give at least {}, and more for intervals that say anything", parameters + 1),
    })
}

/// How many different numbers there are; those within a millionth of each other are one.
pub(crate) fn distinct(numbers: impl Iterator<Item = f64>) -> usize {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers.dedup_by(|next, before| (*next - *before).abs() <= 1e-6 * before.abs());
    numbers.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str, named: &[(&str, &str)]) -> Result<Points, InfluenceError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let named: Vec<_> = named.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect();
        Points::read(&[path.display().to_string()], &named)
    }

    #[test]
    fn columns_are_told_by_their_names() {
        let chinchilla = "x,y,color,Model Size,Training FLOP,hex_color,loss\n\
                          1,2,#faebdd,1e9,6e18,#faebdd,3.5\n1,2,#f8d1b8,2e9,6e18,#f8d1b8,3.25\n1,2,#f8d1b8,2e9,6e18,#f8d1b8,3.0\n\
                          4,4,#f8d1b8,2e9,6e18,#f8d1b8,3.0\n";
        let points = read("points.csv", chinchilla, &[]).unwrap();
        assert_eq!(points.points.len(), 4);
        assert_eq!(points.points[0], Point::new(1e9, 1e9, 3.5));
        assert_eq!(points.columns[1], ("compute", "Training FLOP".to_owned()));
        let lines = "{\"n\":1e6,\"unique_tokens\":1000,\"epochs\":4,\"val_loss\":5.5}\n";
        let points = read("points.jsonl", lines, &[]).unwrap().points;
        assert_eq!(points, [Point { parameters: 1e6, tokens: 4000.0, unique_tokens: 1000.0, loss: 5.5 }]);
        assert_eq!(points[0].epochs(), 4.0);
        let own = "{\"weights\":1e6,\"tokens\":1000,\"nats\":5.5}\n";
        assert_eq!(read("own.jsonl", own, &[("parameters", "weights")]).unwrap().points.len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let said = |name: &str, text: &str, named: &[(&str, &str)]| read(name, text, named).unwrap_err().to_string();
        let lines = "{\"n\":1e6,\"tokens\":1000,\"score\":5.5}\n";
        assert!(said("a.jsonl", lines, &[]).contains("no column says what the loss was"));
        assert!(said("a.jsonl", lines, &[("loss", "scor")]).contains("the columns are"));
        assert!(said("a.jsonl", lines, &[("los", "score")]).contains("a column may hold"));
        assert!(said("a.jsonl", "{\"n\":1e6,\"loss\":1}\n", &[]).contains("two of parameters, tokens and compute"));
        let word = "{\"n\":1e6,\"tokens\":\"many\",\"loss\":5.5}\n";
        assert!(said("a.jsonl", word, &[]).contains("row 1: \"many\" in column \"tokens\" is no number"));
        let gap = "{\"n\":1e6,\"tokens\":5,\"loss\":5.5}\n{\"n\":1e6,\"tokens\":null,\"loss\":5.5}\n";
        assert!(said("a.jsonl", gap, &[]).contains("row 2 lacks a number"));
        assert!(Points::read(&["/nowhere/points.csv".into()], &[]).is_err());
    }

    #[test]
    fn the_highest_losses_go() {
        let mut points: Vec<Point> = [3.0, 9.0, 4.0, 8.0].map(|loss| Point::new(1.0, 1.0, loss)).to_vec();
        let gone = drop_highest(&mut points, 2);
        assert_eq!(gone.iter().map(|point| point.loss).collect::<Vec<_>>(), [9.0, 8.0]);
        assert_eq!(points.iter().map(|point| point.loss).collect::<Vec<_>>(), [3.0, 4.0]);
        assert_eq!(drop_highest(&mut points, 9).len(), 2);
    }
}
