//! A transcript for people: on the terminal before they sign it, and on paper.
//!
//! Invariant: every text that comes from outside is escaped, in the way of where it is shown.

use std::fmt::Write as _;

use anyhow::Result;

use crate::{
    cli::{qr, text, view},
    domain::{
        charter::Rules,
        id::PersonId,
        time::Timestamp,
        transcript::{SignedTranscript, Step, Transcript},
    },
    jose::{Digest, GeneralJws},
};

/// The steps as lines.
pub(super) fn text(transcript: &Transcript) -> String {
    let names: Vec<&str> = transcript.present.iter().map(PersonId::as_str).collect();
    let mut lines = format!(
        "{} {}, {} to {}\nPresent: {}\n",
        if transcript.rehearsal { "Rehearsal of the ceremony" } else { "Ceremony" },
        transcript.ceremony.as_str(),
        at(transcript.began),
        at(transcript.ended),
        names.join(", "),
    );
    for (number, step) in (1..).zip(&transcript.steps) {
        let seconds = step.ended - step.began;
        let line = format!("{number:>3}. {} ({seconds} s; {})", text::safe(&step.name), by(step));
        lines.extend([line.as_str(), "\n"]);
        for (name, fact) in &step.facts {
            lines.extend(["       ", &text::safe(name), ": ", &text::safe(fact), "\n"]);
        }
    }
    lines
}

fn at(seconds: i64) -> String {
    Timestamp::from_millis(seconds.saturating_mul(1000)).to_string()
}

fn by(step: &Step) -> String {
    step.acknowledged_by.iter().map(PersonId::as_str).collect::<Vec<_>>().join(", ")
}

const HEAD: &str = r"<!doctype html>
<html lang='en'><head><meta charset='utf-8'><title>Transcript</title><style>
body { font: 10.5pt/1.45 sans-serif; max-width: 180mm; margin: 10mm auto; color: #111; }
h1 { font-size: 17pt; margin: 0 0 2mm; } h2 { font-size: 12pt; margin: 6mm 0 1mm; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top; padding: 1mm 2mm; border-bottom: 0.2mm solid #bbb; }
code { font: 9pt monospace; overflow-wrap: anywhere; } .words { font-size: 12pt; font-weight: bold; }
.row { display: flex; gap: 6mm; align-items: center; } .line { border-bottom: 0.3mm solid #111; height: 12mm; }
.rehearsal { border: 0.5mm solid #111; padding: 2mm; font-weight: bold; }
@media print { tr, .row { break-inside: avoid; } }
</style></head><body>
";

/// The page for the binder.
pub(super) fn html(signed: &SignedTranscript, rules: &Rules) -> Result<String> {
    let (transcript, jws) = (signed.transcript(), signed.jws());
    let mut page = String::from(HEAD);
    writeln!(page, "<h1>Ceremony: {}</h1>", escape(transcript.ceremony.as_str()))?;
    if transcript.rehearsal {
        writeln!(page, "<p class='rehearsal'>A rehearsal. Nothing in it is in force anywhere.</p>")?;
    }
    writeln!(
        page,
        "<p>{} to {}, issuer {}</p>",
        at(transcript.began),
        at(transcript.ended),
        escape(transcript.iss.as_str())
    )?;
    for (title, digest) in
        [("The charter in force", transcript.charter), ("This transcript", Digest::of(&jws.payload))]
    {
        writeln!(
            page,
            "<h2>{title}</h2><div class='row'>{}<div><p class='words'>{}</p><code>{digest}</code></div></div>",
            qr::svg(&digest.to_string(), 30)?,
            escape(&view::charter::phrase(&digest)),
        )?;
    }
    steps(&mut page, transcript)?;
    signatures(&mut page, transcript, jws, rules)?;
    page.push_str("</body></html>\n");
    Ok(page)
}

fn steps(page: &mut String, transcript: &Transcript) -> Result<()> {
    page.push_str(
        "<h2>Steps</h2><table><tr><th>#</th><th>What</th><th>Ended</th><th>Took</th><th>Seen by</th></tr>\n",
    );
    for (number, step) in (1..).zip(&transcript.steps) {
        let facts = step.facts.iter().map(|(name, fact)| {
            format!("<br>{}: <code>{}</code>", escape(&text::safe(name)), escape(&text::safe(fact)))
        });
        writeln!(
            page,
            "<tr><td>{number}</td><td>{}{}</td><td>{}</td><td>{} s</td><td>{}</td></tr>",
            escape(&text::safe(&step.name)),
            facts.collect::<String>(),
            at(step.ended),
            step.ended - step.began,
            escape(&by(step)),
        )?;
    }
    page.push_str("</table>\n");
    Ok(())
}

/// Who signed with which device, and a line for ink.
fn signatures(page: &mut String, transcript: &Transcript, jws: &GeneralJws, rules: &Rules) -> Result<()> {
    page.push_str("<h2>Present</h2><table><tr><th>Who</th><th>Key that signed</th><th>By hand</th></tr>\n");
    for person in &transcript.present {
        let name = rules.person(person).map_or(person.as_str(), |record| record.name.as_str());
        let own =
            jws.signatures.iter().map(crate::jose::Signature::header).filter(|header| {
                rules.holder(&header.kid).is_some_and(|holder| holder.persons.contains(person))
            });
        let keys: Vec<String> = own.map(|header| header.kid.to_string()).collect();
        writeln!(
            page,
            "<tr><td>{} ({})</td><td><code>{}</code></td><td class='line'></td></tr>",
            escape(&text::safe(name)),
            escape(person.as_str()),
            escape(&keys.join(", ")),
        )?;
    }
    page.push_str("</table>\n");
    Ok(())
}

/// Foreign text inside HTML.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, character| {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
        escaped
    })
}
