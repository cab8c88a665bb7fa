//! A result as an aligned table, as JSON lines, as CSV.

use std::fmt::Write;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Cell, QueryResult};

/// Significant digits of a number in a table; JSON and CSV have them all.
const DIGITS: usize = 6;
/// Space between columns.
const GAP: &str = "  ";
/// No column is cut below this width.
const NARROWEST: usize = 8;

impl QueryResult {
    /// The result as a table with a header: numbers at the right and rounded, text at the left. Where it would be wider
    /// than `width` columns of a terminal, the widest texts are cut with an ellipsis; none cuts nothing.
    pub fn to_table(&self, width: Option<usize>) -> String {
        let mut table: Vec<Vec<String>> = vec![self.columns.iter().map(|column| column.name.clone()).collect()];
        table.extend(self.rows.iter().map(|row| row.iter().map(readable).collect()));
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|column| table.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or(0))
            .collect();
        if let Some(width) = width {
            self.narrow(&mut widths, width);
        }
        let mut text = String::new();
        for (index, row) in table.iter().enumerate() {
            self.write_row(&mut text, row, &widths);
            if index == 0 {
                let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
                text.push_str(rule.join(GAP).trim_end());
                text.push('\n');
            }
        }
        text
    }

    /// Takes from the widest text columns until the table fits or none can give more.
    fn narrow(&self, widths: &mut [usize], width: usize) {
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > width {
            let texts =
                (0..widths.len()).filter(|column| !self.columns[*column].numeric && widths[*column] > NARROWEST);
            match texts.max_by_key(|column| widths[*column]) {
                Some(widest) => widths[widest] -= 1,
                None => break,
            }
        }
    }

    fn write_row(&self, text: &mut String, row: &[String], widths: &[usize]) {
        let mut line = String::new();
        for ((cell, width), column) in row.iter().zip(widths).zip(&self.columns) {
            let cell = cut(cell, *width);
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            let (before, after) = if column.numeric { (padding.as_str(), "") } else { ("", padding.as_str()) };
            let _ = write!(line, "{before}{cell}{after}{GAP}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }

    /// The result as JSON lines: one object a row, keys in the order of the columns. A key that two columns share comes
    /// twice; give the columns names of their own.
    pub fn to_json_lines(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            text.push('{');
            for (index, (column, cell)) in self.columns.iter().zip(row).enumerate() {
                let separator = if index > 0 { "," } else { "" };
                let _ = write!(text, "{separator}{}:{}", json(&column.name), json(cell));
            }
            text.push_str("}\n");
        }
        text
    }

    /// The result as CSV (RFC 4180) with a header; nothing is an empty field.
    pub fn to_csv(&self) -> String {
        let mut lines = vec![self.columns.iter().map(|column| field(&column.name)).collect::<Vec<_>>().join(",")];
        lines.extend(
            self.rows.iter().map(|row| row.iter().map(|cell| field(&exact(cell))).collect::<Vec<_>>().join(",")),
        );
        lines.push(String::new());
        lines.join("\r\n")
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// A cell for reading: one line, numbers rounded.
fn readable(cell: &Cell) -> String {
    match cell {
        Cell::Float(value) => rounded(*value),
        Cell::Text(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        other => exact(other),
    }
}

/// A cell in full.
fn exact(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Boolean(value) => value.to_string(),
        Cell::Integer(value) => value.to_string(),
        Cell::Unsigned(value) => value.to_string(),
        Cell::Float(value) => value.to_string(),
        Cell::Text(text) => text.clone(),
    }
}

/// A number to [`DIGITS`] significant digits without trailing zeros; very large and very small ones with an exponent.
fn rounded(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-5..15).contains(&magnitude) {
        return format!("{value:.*e}", DIGITS - 1);
    }
    let decimals = (DIGITS as i32 - 1 - magnitude).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `text` in at most `width` columns of a terminal.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut taken = 1;
    for character in text.chars() {
        taken += character.width().unwrap_or(0);
        if taken > width {
            break;
        }
        short.push(character);
    }
    short.push('…');
    short
}

/// A field of CSV, quoted where it must be.
fn field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::{Cell, Column, QueryResult};
    use super::rounded;

    fn result() -> QueryResult {
        let column = |name: &str, numeric| Column { name: name.into(), data_type: String::new(), numeric };
        QueryResult {
            columns: vec![column("source", false), column("nats", true), column("n", true)],
            rows: vec![
                vec![Cell::Text("中文来源".into()), Cell::Float(1.234_567_89), Cell::Unsigned(7)],
                vec![Cell::Text("a \"long\" name, truly\nlong".into()), Cell::Float(f64::NAN), Cell::Integer(-12)],
                vec![Cell::Null, Cell::Float(-0.5), Cell::Null],
            ],
            warnings: Vec::new(),
        }
    }

    #[test]
    fn tables_line_up_and_fit() {
        let table = result().to_table(Some(28));
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "source             nats    n");
        assert_eq!(lines[2], "中文来源        1.23457    7");
        assert_eq!(lines[3], "a \"long\" name…      NaN  -12");
        assert_eq!(lines[4], "                   -0.5");
        assert!(result().to_table(None).contains("truly long"));
    }

    #[test]
    fn json_and_csv_keep_everything() {
        let json = result().to_json_lines();
        assert_eq!(json.lines().next().unwrap(), r#"{"source":"中文来源","nats":1.23456789,"n":7}"#);
        assert_eq!(json.lines().nth(2).unwrap(), r#"{"source":null,"nats":-0.5,"n":null}"#);
        for line in json.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        assert!(result().to_csv().contains("\"a \"\"long\"\" name, truly\nlong\",NaN,-12\r\n"));
    }

    #[test]
    fn numbers_round_to_six_digits() {
        assert_eq!(rounded(0.1 + 0.2), "0.3");
        assert_eq!(rounded(1_234_567.891), "1234568");
        assert_eq!(rounded(1e-9), "1.00000e-9");
        assert_eq!(rounded(100.0), "100");
    }
}
