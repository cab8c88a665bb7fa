//! Numbers in a reader's form: grouped, rounded to what matters, with their unit, and with a true minus sign.

/// A space that does not break and is narrower than one between words.
const THIN: char = '\u{202f}';

/// An integer with thousands separated: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count to three figures with its magnitude: `834`, `12.3 k`, `1.2 M`.
pub(crate) fn compact(number: f64) -> String {
    scaled(number, 1000.0, &["", "k", "M", "B", "T"])
}

/// A size in bytes to three figures: `19.8 MB`.
pub(crate) fn bytes(number: u64) -> String {
    scaled(number as f64, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"])
}

fn scaled(number: f64, base: f64, units: &[&str]) -> String {
    if !number.is_finite() {
        return "–".to_owned();
    }
    let (mut size, mut unit) = (number.abs(), 0);
    while size >= 999.5 && unit + 1 < units.len() {
        size /= base;
        unit += 1;
    }
    let decimals = usize::from(unit > 0) * if size < 9.995 { 2 } else { usize::from(size < 99.95) };
    let mut text = fixed(size.copysign(number), decimals);
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    if !units[unit].is_empty() {
        text.push(THIN);
        text.push_str(units[unit]);
    }
    text
}

/// A number with `decimals` decimals and a true minus sign; never a negative zero; a dash where it is not finite.
pub(crate) fn fixed(number: f64, decimals: usize) -> String {
    if !number.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{:.decimals$}", number.abs());
    let zero = text.chars().all(|c| c == '0' || c == '.');
    if number < 0.0 && !zero { format!("−{text}") } else { text }
}

/// Decimals that show the largest of some numbers to about three figures, so that a column of them lines up.
pub(crate) fn decimals(numbers: impl IntoIterator<Item = f64>) -> usize {
    let largest = numbers.into_iter().filter(|n| n.is_finite()).fold(0.0_f64, |largest, n| largest.max(n.abs()));
    match largest {
        n if n >= 100.0 => 1,
        n if n >= 10.0 => 2,
        n if n >= 0.1 || n == 0.0 => 3,
        n if n >= 0.01 => 4,
        n if n >= 0.001 => 5,
        _ => 6,
    }
}

/// One number of nats to about three figures.
pub(crate) fn nats(number: f64) -> String {
    fixed(number, decimals([number]))
}

/// A share as a percentage: `13 %`, and `1.9 %` below ten.
pub(crate) fn percent(share: f64) -> String {
    let number = share * 100.0;
    let text = if number == 0.0 || number.abs() >= 9.95 {
        fixed(number, 0)
    } else if number.abs() < 0.05 {
        return format!("under 0.1{THIN}%");
    } else {
        fixed(number, 1).trim_end_matches(".0").to_owned()
    };
    format!("{text}{THIN}%")
}

/// A share as a percentage with one decimal, for columns.
pub(crate) fn percent_column(share: f64) -> String {
    format!("{}{THIN}%", fixed(share * 100.0, 1))
}

/// A number for a sentence: three figures, and two below 0.1.
pub(crate) fn rough(number: f64) -> String {
    let decimals = match number.abs() {
        n if n >= 100.0 => 0,
        n if n >= 10.0 => 1,
        n if n >= 1.0 => 2,
        n if n >= 0.1 || n == 0.0 => 3,
        n => (1.0 - n.log10().floor()).clamp(2.0, 12.0) as usize,
    };
    fixed(number, decimals)
}

/// A duration: `43 s`, `2 min 3 s`, `5 h 12 min`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".to_owned();
    }
    if seconds < 9.95 {
        return format!("{}{THIN}s", fixed(seconds, 1));
    }
    let whole = seconds.round() as u64;
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}{THIN}s"),
        (0, _) => format!("{minutes}{THIN}min {rest}{THIN}s"),
        (hours, _) if hours < 48 => format!("{hours}{THIN}h {minutes}{THIN}min"),
        (hours, _) => format!("{}{THIN}days {}{THIN}h", hours / 24, hours % 24),
    }
}

/// A count with its noun: `1 source`, `5 sources`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// Words in a row: `a`, `a and b`, `a, b and c`.
pub(crate) fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, compact, decimals, duration, fixed, grouped, listed, nats, percent, percent_column, rough};

    fn plain(text: &str) -> String {
        text.replace('\u{202f}', " ")
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(plain(&compact(999.0)), "999");
        assert_eq!(plain(&compact(999_700.0)), "1 M");
        assert_eq!(plain(&compact(1_234_567.0)), "1.23 M");
        assert_eq!(plain(&compact(500_000.0)), "500 k");
        assert_eq!(plain(&bytes(19_840_000)), "19.8 MB");
        assert_eq!(plain(&bytes(12)), "12 B");
        assert_eq!(fixed(-0.0004, 3), "0.000");
        assert_eq!(fixed(-1.5, 1), "−1.5");
        assert_eq!(fixed(f64::NAN, 3), "–");
        assert_eq!(nats(0.01234), "0.0123");
        assert_eq!(decimals([0.2, 40.0]), 2);
        assert_eq!(
            (rough(3.016), rough(0.009_94), rough(-0.011_62)),
            ("3.02".into(), "0.0099".into(), "−0.012".into())
        );
        assert_eq!(plain(&percent_column(-0.16)), "−16.0 %");
        assert_eq!(plain(&percent(0.019)), "1.9 %");
        assert_eq!(plain(&percent(-0.31)), "−31 %");
        assert_eq!(plain(&percent(0.0001)), "under 0.1 %");
        assert_eq!(plain(&duration(123.4)), "2 min 3 s");
        assert_eq!(plain(&duration(18_720.0)), "5 h 12 min");
        assert_eq!(listed(&["a".into(), "b".into(), "c".into()]), "a, b and c");
    }
}
