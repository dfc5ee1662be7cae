//! Structured logs on standard error.
//!
//! Invariants: one record is one line, whatever a message contains; libraries are heard from `warn` upwards only, because
//! below that they log what they carry, and that may be a token.

use std::{fmt::Write as _, io};

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter,
    filter::filter_fn,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    registry,
    util::SubscriberInitExt as _,
};

/// Crates whose records are this program's own.
const OWN: [&str; 2] = ["breakglass", "breakglassd"];
/// Libraries that are never heard: `cryptoki` reports each return value, which `hsm` does with its context.
const SILENT: [&str; 1] = ["cryptoki"];

/// How a record is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Plain,
    /// For programs: one JSON object a line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error("the log filter {filter:?} is not one; write for example info, or breakglass::hsm=debug,info")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// It was set up before.
    #[error("logging is set up already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sets up logging of the whole process; once. `filter` is a level, or directives as of `tracing_subscriber::EnvFilter`.
pub fn init(format: Format, filter: &str) -> Result<(), LogError> {
    subscriber(format, filter, io::stderr)?.try_init().map_err(LogError::Twice)
}

/// The subscriber that [`init`] sets up, with another place to write to.
pub fn subscriber<W>(
    format: Format,
    filter: &str,
    writer: W,
) -> Result<impl tracing::Subscriber + Send + Sync, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = parse(filter)?;
    let (plain, json) = match format {
        Format::Plain => (Some(writer), None),
        Format::Json => (None, Some(writer)),
    };
    // No colours: they only confuse journals and files.
    let plain = plain.map(|writer| fmt::layer().with_ansi(false).with_writer(OneLine(writer)));
    let json = json.map(|writer| {
        fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(OneLine(writer))
    });
    Ok(registry().with(filter).with(filter_fn(may_speak)).with(plain).with(json))
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(filter).map_err(|source| LogError::Filter { filter: filter.to_owned(), source })
}

/// Libraries may warn, whatever the filter says, but not tell: at lower levels some print frames, rows or attributes.
fn may_speak(metadata: &Metadata<'_>) -> bool {
    let own = metadata.target().split("::").next().is_some_and(|root| OWN.contains(&root));
    let silent = SILENT.iter().any(|library| metadata.target().starts_with(library));
    own || (*metadata.level() <= Level::WARN && !silent)
}

/// Makes writers that let no record be more than one line: a message may hold what somebody sent.
struct OneLine<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for OneLine<M> {
    type Writer = OneLine<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }
}

impl<W: io::Write> io::Write for OneLine<W> {
    /// The formatter hands over each record as a whole, with its newline.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(record);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let mut line = String::with_capacity(text.len() + 1);
        for c in text.chars() {
            if c.is_control() {
                // The escape of JSON, so that a JSON record stays one.
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            } else {
                line.push(c);
            }
        }
        line.push('\n');
        self.0.write_all(line.as_bytes())?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
