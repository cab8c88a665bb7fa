//! Differences with their intervals, one a row, around zero.

use super::scale::{Scale, extent};
use super::{Drawing, WIDTH, coordinate, escape, shortened, text_width};
use crate::numbers;

/// A difference.
pub(crate) struct ForestRow {
    pub name: String,
    pub value: f64,
    /// Its interval, where there is one.
    pub interval: Option<(f64, f64)>,
    /// What was predicted, drawn as a ring.
    pub predicted: Option<f64>,
}

const ROW: f64 = 21.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 26.0;

/// The rows as SVG; none without one. Values below zero are drawn as helpful, above as harmful.
pub(crate) fn forest(label: &str, rows: &[ForestRow]) -> Option<String> {
    let values = rows.iter().flat_map(|row| {
        let (low, high) = row.interval.unwrap_or((row.value, row.value));
        [row.value, low, high, row.predicted.unwrap_or(row.value)]
    });
    let (low, high) = extent(values.chain([0.0]))?;
    if rows.is_empty() {
        return None;
    }
    let names: Vec<String> = rows.iter().map(|row| shortened(&row.name, WIDTH * 0.36)).collect();
    let left = names.iter().map(|name| text_width(name)).fold(40.0, f64::max) + 12.0;
    let bottom = TOP + ROW * rows.len() as f64;
    let x = Scale::new(low, high, left, WIDTH - 12.0).padded();
    let mut drawing = Drawing::new(bottom + BOTTOM, label);
    let decimals = x.tick_decimals(4);
    for tick in x.ticks(4) {
        let class = if tick == 0.0 { "axis" } else { "grid" };
        drawing.line((x.at(tick), TOP), (x.at(tick), bottom), class);
        drawing.text(x.at(tick), bottom + 17.0, "tick middle", &numbers::fixed(tick, decimals));
    }
    for (index, (row, name)) in rows.iter().zip(&names).enumerate() {
        let at = TOP + ROW * (index as f64 + 0.5);
        drawing.text(left - 10.0, at + 4.0, "name end", name);
        let clear = row.interval.is_some_and(|(low, high)| low > 0.0 || high < 0.0);
        let class = match (clear, row.value < 0.0) {
            (false, _) => "quiet",
            (true, true) => "c0",
            (true, false) => "c1",
        };
        if let Some((low, high)) = row.interval {
            drawing.push(format_args!(
                "<path class=\"whisker {class}\" d=\"M{} {at}L{} {at}\"/>",
                coordinate(x.at(low)),
                coordinate(x.at(high)),
                at = coordinate(at)
            ));
        }
        for (value, shape, what) in [(Some(row.value), "dot", "retrained"), (row.predicted, "ring", "predicted")] {
            let Some(value) = value.filter(|value| value.is_finite()) else { continue };
            drawing.push(format_args!(
                "<circle class=\"{shape} {class}\" cx=\"{}\" cy=\"{}\" r=\"3.4\"><title>{}, {what}: {} nats</title></circle>",
                coordinate(x.at(value)),
                coordinate(at),
                escape(&row.name),
                numbers::nats(value)
            ));
        }
    }
    Some(drawing.finish())
}

#[cfg(test)]
mod tests {
    use super::{ForestRow, forest};

    #[test]
    fn rows_stand_around_zero() {
        let row = |name: &str, value, interval| ForestRow { name: name.into(), value, interval, predicted: Some(0.1) };
        let rows =
            [row("<drop>", 0.2, Some((0.1, 0.3))), row("double", -0.1, Some((-0.3, 0.1))), row("alone", 0.0, None)];
        let svg = forest("differences", &rows).unwrap();
        assert!(svg.contains("&lt;drop&gt;") && !svg.contains("<drop>") && !svg.contains("NaN"));
        assert_eq!((svg.matches("whisker c1").count(), svg.matches("whisker quiet").count()), (1, 1));
        assert_eq!(svg.matches("class=\"ring").count(), 3);
        assert!(forest("nothing", &[]).is_none());
    }
}
