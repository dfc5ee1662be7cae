//! Words for people: times, durations, aligned fields, and foreign text made harmless.
//!
//! Invariant: nothing that [`safe`] returns can move a cursor, change a colour, or show letters in another order.

use std::fmt::Write as _;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Text of unknown origin, with everything that is not plainly visible written as `\u{…}`.
pub(crate) fn safe(text: &str) -> String {
    use GeneralCategory as G;
    text.chars().fold(String::with_capacity(text.len()), |mut shown, character| {
        let hidden = matches!(
            character.general_category(),
            G::Control
                | G::Format
                | G::PrivateUse
                | G::Surrogate
                | G::Unassigned
                | G::LineSeparator
                | G::ParagraphSeparator
        );
        if hidden {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
        shown
    })
}

/// `2026-01-31 12:00:00 UTC`.
pub(crate) fn instant(seconds: i64) -> String {
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => format!("{seconds} (Unix seconds)"),
    }
}

/// An instant and how far away it is.
pub(crate) fn until(seconds: i64, now: i64) -> String {
    let away = seconds.saturating_sub(now);
    match away {
        0 => format!("{} (now)", instant(seconds)),
        1.. => format!("{} (in {})", instant(seconds), duration(away)),
        _ => format!("{} ({} ago)", instant(seconds), duration(away.saturating_neg())),
    }
}

/// The two largest units: `1 hour 30 minutes`.
pub(crate) fn duration(seconds: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let mut rest = seconds.max(0);
    let mut parts = Vec::new();
    for (length, name) in UNITS {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            parts.push(format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0 seconds".to_owned() } else { parts.join(" ") }
}

/// Reads `900`, `90s`, `15m`, `1h`, `7d`, or several of them together (`1h30m`), as seconds.
pub(crate) fn parse_duration(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is not a duration: write 90s, 15m, 1h30m or 7d");
    let (mut total, mut number) = (0_u32, String::new());
    for character in text.chars() {
        let unit = match character {
            '0'..='9' => {
                number.push(character);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        let count: u32 = number.parse().map_err(|_| wrong())?;
        total = count.checked_mul(unit).and_then(|more| total.checked_add(more)).ok_or_else(wrong)?;
        number.clear();
    }
    match (number.is_empty(), total) {
        (true, 0) => Err(wrong()),
        (true, _) => Ok(total),
        // A bare number means seconds, but `1h30` could mean anything.
        (false, 0) => number.parse().map_err(|_| wrong()),
        (false, _) => Err(wrong()),
    }
}

/// Labels and values, one below the other; a label that is empty continues the value above.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Adds a line.
    pub(crate) fn add(&mut self, label: &str, value: impl Into<String>) -> &mut Self {
        self.0.push((label.to_owned(), value.into()));
        self
    }

    /// Adds several lines under one label.
    pub(crate) fn list(&mut self, label: &str, values: impl IntoIterator<Item = String>) -> &mut Self {
        for (index, value) in values.into_iter().enumerate() {
            self.add(if index == 0 { label } else { "" }, value);
        }
        self
    }

    /// The lines, indented by two spaces, values in one column.
    pub(crate) fn render(&self) -> String {
        let width = self.0.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        self.0.iter().fold(String::new(), |mut text, (label, value)| {
            let mut lines = value.lines();
            let first = lines.next().unwrap_or_default();
            let line = format!("  {label:<width$}  {first}");
            let _ = writeln!(text, "{}", line.trim_end());
            for line in lines {
                let _ = writeln!(text, "  {:<width$}  {line}", "");
            }
            text
        })
    }
}

/// Rows under headings, columns as wide as their widest cell.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut text = line(head.to_vec());
    for row in rows {
        text.push('\n');
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_said() {
        for (text, seconds) in
            [("900", 900), ("90s", 90), ("15m", 900), ("1h", 3_600), ("1h30m", 5_400), ("7d", 604_800)]
        {
            assert_eq!(parse_duration(text), Ok(seconds), "{text}");
        }
        for text in ["", "m", "1h30", "1.5h", "-1s", "1 h", "99999999d", "0s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(duration(0), "0 seconds");
        assert_eq!(duration(61), "1 minute 1 second");
        assert_eq!(duration(5_400), "1 hour 30 minutes");
        assert_eq!(duration(90 * 86_400), "90 days");
    }

    #[test]
    fn hidden_characters_are_shown() {
        assert_eq!(safe("a\u{1b}[31mb\u{202e}c\n"), "a\\u{1b}[31mb\\u{202e}c\\u{a}");
        assert_eq!(safe("Zoë 日本"), "Zoë 日本");
    }

    #[test]
    fn instants_say_how_far_away_they_are() {
        assert_eq!(until(3_600, 0), "1970-01-01 01:00:00 UTC (in 1 hour)");
        assert_eq!(until(0, 60), "1970-01-01 00:00:00 UTC (1 minute ago)");
    }

    #[test]
    fn columns_align() {
        let rows = vec![vec!["a".to_owned(), "long".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["one", "b", "c"], &rows), "one  b     c\na    long  x\n");
        let mut fields = Fields::default();
        fields.add("a", "1").list("long", ["2".to_owned(), "3".to_owned()]);
        assert_eq!(fields.render(), "  a     1\n  long  2\n        3\n");
    }
}
