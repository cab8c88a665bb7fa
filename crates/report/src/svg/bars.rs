//! Shares beside each other: for each source, what it took and what it gave.

use super::scale::{Scale, extent};
use super::{Drawing, WIDTH, coordinate, escape, shortened, text_width};
use crate::numbers;

/// One bar of a group.
pub(crate) struct Bar {
    /// What it measures, for the key and tooltips.
    pub name: &'static str,
    /// Class in the style sheet.
    pub class: &'static str,
}

/// One group of bars.
pub(crate) struct BarRow {
    /// Shown at the left.
    pub name: String,
    /// A share for each bar of the chart; none where it is not known.
    pub shares: Vec<Option<f64>>,
}

const TOP: f64 = 24.0;
const BAR: f64 = 11.0;
const GAP: f64 = 11.0;

/// Groups of bars of shares as SVG; none without a group.
pub(crate) fn bars(label: &str, bars: &[Bar], rows: &[BarRow]) -> Option<String> {
    let (low, high) = extent(rows.iter().flat_map(|row| row.shares.iter().flatten().copied()))?;
    let names: Vec<String> = rows.iter().map(|row| shortened(&row.name, 116.0)).collect();
    let left = names.iter().map(|name| text_width(name)).fold(30.0, f64::max) + 10.0;
    let room = if low < 0.0 { 44.0 } else { 0.0 };
    let x = Scale::new(low.min(0.0), high.max(0.0), left + room, WIDTH - 52.0);
    let group = BAR * bars.len() as f64 + GAP;
    let mut drawing = Drawing::new(TOP + group * rows.len() as f64, label);
    let mut key = left;
    for bar in bars {
        drawing.push(format_args!(
            "<rect class=\"{}\" x=\"{}\" y=\"3\" width=\"12\" height=\"9\"/>",
            bar.class,
            coordinate(key)
        ));
        drawing.text(key + 17.0, 12.0, "tick", bar.name);
        key += text_width(bar.name) + 34.0;
    }
    for (index, (row, name)) in rows.iter().zip(&names).enumerate() {
        let top = TOP + group * index as f64;
        drawing.text(left - 8.0, top + BAR * bars.len() as f64 / 2.0 + 4.0, "name end", name);
        for (place, (bar, share)) in bars.iter().zip(&row.shares).enumerate() {
            let y = top + BAR * place as f64;
            let Some(share) = share.filter(|share| share.is_finite()) else { continue };
            let (from, to) = (x.at(share.min(0.0)), x.at(share.max(0.0)));
            drawing.push(format_args!(
                "<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{}, {}: {}</title></rect>",
                bar.class,
                coordinate(from),
                coordinate(y),
                coordinate((to - from).max(0.6)),
                BAR - 1.0,
                escape(&row.name),
                bar.name,
                numbers::percent(share)
            ));
            let (at, class) = if share < 0.0 { (from - 4.0, "small end") } else { (to + 4.0, "small") };
            drawing.text(at, y + BAR - 2.0, class, &numbers::percent(share));
        }
    }
    drawing.line((x.at(0.0), TOP - 3.0), (x.at(0.0), TOP + group * rows.len() as f64 - GAP + 3.0), "axis");
    Some(drawing.finish())
}

#[cfg(test)]
mod tests {
    use super::{Bar, BarRow, bars};

    #[test]
    fn shares_of_any_sign_draw() {
        let kinds = [Bar { name: "tokens", class: "took" }, Bar { name: "value", class: "gave" }];
        let rows = [
            BarRow { name: "code".into(), shares: vec![Some(0.5), Some(1.1)] },
            BarRow { name: "\"spam\"".into(), shares: vec![Some(0.5), Some(-0.1)] },
            BarRow { name: "new".into(), shares: vec![None, Some(f64::NAN)] },
        ];
        let svg = bars("shares", &kinds, &rows).unwrap();
        assert!(svg.contains("&quot;spam&quot;") && svg.contains('−') && !svg.contains("NaN"));
        assert!(bars("none", &kinds, &[]).is_none());
    }
}
