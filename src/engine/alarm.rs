//! Events that a person has to hear of at once, whoever caused them: each is a log line of the highest level.
//!
//! What lasts is said again and again (`http::monitor`), and is a number of its own among the metrics.

use crate::{
    domain::{charter::Rules, event::Event},
    jose::GeneralJws,
};

/// Raises the alarm, if the event is one to raise it for.
pub(super) fn notice(event: &Event) {
    match event {
        Event::CharterProposed { charter } if by_recovery(charter) => tracing::error!(
            name: "charter.recovery.proposed",
            "ALARM: recovery custodians are to replace the custodians without the governance of today: see breakglass charter proposals; if nobody is lost, have governance adopt a version now, which ends this one"
        ),
        Event::CharterAdopted { charter } if by_recovery(charter) => tracing::error!(
            name: "charter.recovery.adopted",
            "ALARM: recovery custodians have replaced the custodians without the governance of before: see breakglass charter show"
        ),
        _ => {}
    }
}

fn by_recovery(charter: &GeneralJws) -> bool {
    Rules::parse(&charter.payload).is_ok_and(|rules| rules.document().by_recovery)
}
