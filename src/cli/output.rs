//! Where a command writes: results to stdout, everything that is only for the person at the terminal to stderr.
//!
//! Invariant: with `--json`, stdout gets exactly one JSON document (one per line for streams), and nothing else.

use std::io::{self, IsTerminal as _, Write};

use anyhow::Result;
use serde::Serialize;

/// The two streams, and which form the result has.
pub(crate) struct Out {
    json: bool,
    stdout: Box<dyn Write>,
    stderr: Box<dyn Write>,
}

impl Out {
    /// The process's own streams.
    pub(crate) fn standard(json: bool) -> Self {
        Self { json, stdout: Box::new(io::stdout()), stderr: Box::new(io::stderr()) }
    }

    /// Whether the result is wanted as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Writes the result: as JSON if that is wanted, else as text.
    pub(crate) fn result(&mut self, json: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.json {
            let document = serde_json::to_string_pretty(json)?;
            writeln!(self.stdout, "{document}")?;
        } else {
            write!(self.stdout, "{}", terminated(text()))?;
        }
        Ok(self.stdout.flush()?)
    }

    /// Writes one item of a stream of results: as a line of JSON, or as text.
    pub(crate) fn item(&mut self, json: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.json {
            writeln!(self.stdout, "{}", serde_json::to_string(json)?)?;
        } else {
            write!(self.stdout, "{}", terminated(text()))?;
        }
        Ok(self.stdout.flush()?)
    }

    /// Says something to the person, not to the script.
    pub(crate) fn say(&mut self, text: impl AsRef<str>) -> Result<()> {
        write!(self.stderr, "{}", terminated(text.as_ref().to_owned()))?;
        Ok(self.stderr.flush()?)
    }

    /// Shows how far long work has come, to a person at a terminal only.
    pub(crate) fn progress(&mut self, text: &str) -> Result<()> {
        if io::stderr().is_terminal() {
            write!(self.stderr, "\r{text}")?;
            self.stderr.flush()?;
        }
        Ok(())
    }

    /// Asks on the terminal; `None` where there is nobody to answer.
    pub(crate) fn ask(&mut self, question: &str) -> Result<Option<String>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        write!(self.stderr, "{question} ")?;
        self.stderr.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(Some(answer.trim().to_owned()))
    }
}

fn terminated(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
