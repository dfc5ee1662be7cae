//! Errors as people and programs see them: what happened, all causes, and what to do next.

use anyhow::Error;
use serde_json::json;

use super::{
    exit::{self, Exit},
    output::Out,
    text,
};

/// Says why a command failed, and returns what the process ends with.
pub(crate) fn failure(out: &mut Out, error: &Error) -> Exit {
    if is_closed_pipe(error) {
        // Whoever read our output has seen enough.
        return Exit::Done;
    }
    let (exit, reason) = exit::classify(error);
    let said = if out.is_json() {
        let causes: Vec<String> = error.chain().skip(1).map(|cause| text::safe(&cause.to_string())).collect();
        let document = json!({ "error": {
            "reason": reason,
            "message": text::safe(&error.to_string()),
            "causes": causes,
            "next": hint(&reason),
            "exit_code": exit as u8,
        }});
        out.say(document.to_string())
    } else {
        out.say(describe(error, &reason))
    };
    // Where not even stderr takes a message, the exit code has to do.
    let _ = said;
    exit
}

/// The error and its causes, one per line, without saying the same twice.
fn describe(error: &Error, reason: &str) -> String {
    let mut said = lines(&error.to_string());
    let mut shown = format!("error: {said}");
    for cause in error.chain().skip(1) {
        let cause = lines(&cause.to_string());
        if !said.contains(&cause) {
            shown.extend(["\n  because: ", &cause]);
            said.push_str(&cause);
        }
    }
    if let Some(hint) = hint(reason) {
        shown.extend(["\n  next: ", hint]);
    }
    shown
}

/// Foreign text made harmless, line by line.
fn lines(text: &str) -> String {
    text.trim_end().lines().map(text::safe).collect::<Vec<_>>().join("\n  ")
}

/// What to do next, where the message cannot know.
fn hint(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "SERVER_UNREACHABLE" | "SERVER_TIMEOUT" => {
            "check that breakglassd runs and that daemon in your configuration is its gRPC address; breakglass doctor looks"
        }
        "SERVER_NOT_PINNED" => {
            "do not go on: somebody else answers at this address, or your charter is not the daemon's"
        }
        "TRANSPORT" => "try again: the answer was lost, and asking again is safe",
        "CHARTER_NOT_PINNED" => {
            "compare the twelve words of both charters with the custodians: breakglass charter show FILE"
        }
        "CHARTER_MISMATCH" | "CHARTER_ROLLBACK" => {
            "breakglass charter pull fetches the charter in force; check its words with the custodians"
        }
        "CHARTER_EXPIRED" => "only a new charter helps: breakglass charter draft",
        "CHARTER_FORK" => "keep both files, and find out with the custodians who signed which",
        "CLOCK_SKEW" => "set the clock of this machine; breakglass doctor shows the difference",
        "PIV_NO_SERVICE" => "start pcscd; where it listens elsewhere, PCSCLITE_CSOCK_NAME says so",
        "DEVELOPMENT_CHARTER" => "for a test: verify --development",
        _ => return None,
    })
}

fn is_closed_pipe(error: &Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::cli::exit::Problem;

    #[test]
    fn causes_are_walked_and_nothing_is_said_twice() {
        let error = anyhow!("disk full")
            .context("a.json could not be written: disk full")
            .context("nothing was filed");
        assert_eq!(
            describe(&error, "FAILED"),
            "error: nothing was filed\n  because: a.json could not be written: disk full"
        );
    }

    #[test]
    fn foreign_text_cannot_move_the_cursor() {
        let error = anyhow!("bad \u{1b}[2Jname");
        assert_eq!(describe(&error, "FAILED"), "error: bad \\u{1b}[2Jname");
    }

    #[test]
    fn the_kind_of_the_cause_decides_the_code() {
        let problem = Problem::unverified("TOKEN_TIME", "late");
        let (exit, reason) = exit::classify(&anyhow::Error::new(problem).context("outer"));
        assert_eq!((exit, reason.as_str()), (Exit::Unverified, "TOKEN_TIME"));
        assert_eq!(exit::classify(&anyhow!("x")).0, Exit::Refused);
    }
}
