//! `loam study`: one file a study.

mod experiment;
pub mod mix;
pub mod order;
pub mod quality;
pub mod repeat;
pub mod scale;
pub mod subsets;

use super::Misuse;
use crate::arguments::{Global, PointsArguments, StudyCommand};
use crate::terminal::{Terminal, count};
use loam_influence::laws::points::drop_highest;
use loam_influence::laws::{Estimate, Point, Points};
use std::process::ExitCode;

pub fn run(command: &StudyCommand, global: &Global, terminal: Terminal) -> anyhow::Result<ExitCode> {
    match command {
        StudyCommand::Mix(arguments) => mix::run(arguments, global, terminal),
        StudyCommand::Scale(arguments) => scale::run(arguments, global, terminal),
        StudyCommand::Repeat(arguments) => repeat::run(arguments, global, terminal),
        StudyCommand::Quality(arguments) => quality::run(arguments, global, terminal),
        StudyCommand::Order(arguments) => order::run(arguments, global, terminal),
        StudyCommand::Subsets(arguments) => subsets::run(arguments, global, terminal),
    }
}

/// The runs that were named, and those of them that are left out.
fn read(arguments: &PointsArguments, terminal: Terminal) -> anyhow::Result<(Vec<Point>, Vec<Point>)> {
    if arguments.points.is_empty() {
        let words = "give the runs that there are, as --points runs.csv, or a recipe to make some from, with -o DIR";
        return Err(Misuse(words.into()).into());
    }
    let mut named = Vec::new();
    for column in &arguments.columns {
        let Some((quantity, name)) = column.split_once('=') else {
            return Err(Misuse(format!("--column {column}: give WHAT=COLUMN, as loss=final_loss")).into());
        };
        named.push((quantity.trim().to_owned(), name.to_owned()));
    }
    let Points { mut points, columns } = Points::read(&arguments.points, &named)?;
    let told: Vec<String> = columns.iter().map(|(quantity, column)| format!("{quantity} from {column:?}")).collect();
    terminal.say(format_args!("{} runs; {}", count(points.len() as u64), told.join(", ")));
    let dropped = drop_highest(&mut points, arguments.drop_highest);
    if let (Some(low), Some(high)) = (
        dropped.iter().map(|point| point.loss).min_by(f64::total_cmp),
        dropped.iter().map(|point| point.loss).max_by(f64::total_cmp),
    ) {
        terminal.say(format_args!(
            "left out: the {} of highest loss, {low:.3} to {high:.3} nats",
            count(dropped.len() as u64)
        ));
    }
    Ok((points, dropped))
}

/// Numbers between commas, each as 1e9, 1_000 or 70B.
fn numbers(flag: &str, text: &str, names: &[&str]) -> anyhow::Result<Vec<f64>> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let numbers: Option<Vec<f64>> = parts.iter().map(|part| number(part)).collect();
    match numbers {
        Some(numbers) if numbers.len() == names.len() => Ok(numbers),
        _ => {
            Err(Misuse(format!("{flag} {text}: give {}, numbers above 0 as 1e9, 1_000_000 or 70B", names.join(",")))
                .into())
        }
    }
}

fn number(text: &str) -> Option<f64> {
    let plain = text.replace('_', "");
    let (digits, factor) = match plain.chars().last()?.to_ascii_lowercase() {
        'k' => (&plain[..plain.len() - 1], 1e3),
        'm' => (&plain[..plain.len() - 1], 1e6),
        'b' | 'g' => (&plain[..plain.len() - 1], 1e9),
        't' => (&plain[..plain.len() - 1], 1e12),
        _ => (&plain[..], 1.0),
    };
    let number = digits.trim().parse::<f64>().ok()? * factor;
    (number.is_finite() && number > 0.0).then_some(number)
}

/// A number to four figures: 0.3478, 482.0, 2085, 1.5e12.
fn figures(number: f64) -> String {
    match number.abs() {
        _ if !number.is_finite() => "–".to_owned(),
        size if size != 0.0 && !(1e-3..1e5).contains(&size) => format!("{number:.3e}"),
        size if size >= 1000.0 => format!("{number:.0}"),
        size if size >= 100.0 => format!("{number:.1}"),
        size if size >= 10.0 => format!("{number:.2}"),
        _ => format!("{number:.4}"),
    }
}

/// A line of a table of estimates.
fn line(name: &str, estimate: &Estimate, meaning: &str) -> String {
    let interval = format!("[{}, {}]", figures(estimate.low), figures(estimate.high));
    format!(
        "{name:<8} {:>10}  {interval:<24} {:>10}  {meaning}",
        figures(estimate.value),
        figures(estimate.standard_error)
    )
}

/// The head of that table.
fn head() -> String {
    format!("{:<8} {:>10}  {:<24} {:>10}", "", "value", "95 % interval", "std. error")
}

#[cfg(test)]
mod tests {
    use super::{figures, number, numbers};

    #[test]
    fn large_numbers_may_be_short() {
        assert_eq!(
            (number("70B"), number("1.4t"), number("1_000"), number("5.76e23")),
            (Some(70e9), Some(1.4e12), Some(1e3), Some(5.76e23))
        );
        for bad in ["", "B", "x", "-1", "0", "nan", "inf", "1e999"] {
            assert_eq!(number(bad), None, "{bad}");
        }
        assert!(numbers("--forecast", "1,2", &["N", "D"]).is_ok());
        assert!(numbers("--forecast", "1", &["N", "D"]).unwrap_err().to_string().contains("give N,D"));
        assert_eq!(
            (figures(0.34781), figures(482.013), figures(2085.43), figures(1.5e12)),
            ("0.3478".into(), "482.0".into(), "2085".into(), "1.500e12".into())
        );
    }
}
