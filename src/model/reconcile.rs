//! When Graph is asked whether it still has a call. Pure.
//!
//! Notifications get lost, those that tell of a call's end above all. The times here are those of a
//! row, so they outlive the process; none is further away than [`SILENCE`], so that a clock that was
//! wrong for a while delays no look for longer than that.

use std::time::Duration;

use super::call::CallState;
use crate::clock::Timestamp;
use crate::id::canonical_guid;

/// A call that runs and of which nothing was heard for so long is asked about. Graph itself ends a
/// call that its app has not kept alive for this time.
pub(crate) const SILENCE: Duration = Duration::from_mins(45);

/// So long after Graph took a deletion, or said that a call is ending, the end should have been told.
pub(crate) const CONFIRMATION: Duration = Duration::from_mins(1);

/// A call that Graph still has although it said that the call is ending is asked about this often.
pub(crate) const ENDING: Duration = Duration::from_mins(5);

/// The length of a GUID with dashes.
const GUID: usize = 36;

/// When a call in this state is looked at again that Graph still has: its deletion was taken at
/// `taken_at`, if there is one.
///
/// The waits after a deletion double, because each is as long as the time until then.
pub(crate) fn after_still_there(
    now: Timestamp,
    state: CallState,
    taken_at: Option<Timestamp>,
) -> Timestamp {
    match taken_at {
        Some(taken_at) => now + now.since(taken_at).clamp(CONFIRMATION, SILENCE),
        None if state >= CallState::Terminating => now + ENDING,
        None => now + SILENCE,
    }
}

/// When a call is looked at that was due at or before `now`, if it was heard of since that time was
/// set; none when it is to be looked at now.
pub(crate) fn after_news(now: Timestamp, last_seen_at: Timestamp) -> Option<Timestamp> {
    let at = (last_seen_at + SILENCE).min(now + SILENCE);
    (at > now).then_some(at)
}

/// Whether a call of `app_id`, as an audience is spelled, belongs to the app that asks. Graph shows a
/// call to its own app only, and to any other one it says that there is none.
///
/// An audience is the client id, or a URI that ends with it.
pub(crate) fn is_same_app(app_id: &str, client_id: &str) -> bool {
    let ending = |text: &str| text.get(text.len().saturating_sub(GUID)..).and_then(canonical_guid);
    let guid = |text: &str| canonical_guid(text).or_else(|| ending(text));
    match (guid(app_id), guid(client_id)) {
        (Some(one), Some(other)) => one == other,
        _ => app_id.eq_ignore_ascii_case(client_id),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000);

    #[test]
    fn the_looks_after_a_deletion_double_from_a_minute_to_three_quarters_of_an_hour() {
        let mut now = NOW + CONFIRMATION;
        let mut waits = Vec::new();
        for _ in 0..9 {
            let next = after_still_there(now, CallState::Terminating, Some(NOW));
            waits.push(next.since(now).as_secs() / 60);
            now = next;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 45, 45, 45]);
    }

    #[test]
    fn a_call_that_nobody_deleted_is_looked_at_by_its_state() {
        let after = |state| after_still_there(NOW, state, None).since(NOW);
        assert_eq!(after(CallState::Hold), SILENCE);
        assert_eq!(after(CallState::Terminating), ENDING);
    }

    #[test]
    fn news_put_a_look_off_until_the_call_has_been_silent_for_long_enough() {
        let minute = Duration::from_mins(1);
        assert_eq!(after_news(NOW, NOW - minute), Some(NOW - minute + SILENCE));
        assert_eq!(after_news(NOW, NOW - SILENCE), None);
        assert_eq!(after_news(NOW, NOW + SILENCE * 9), Some(NOW + SILENCE), "a clock was set back");
    }

    #[test]
    fn an_app_is_known_by_its_guid_however_it_is_spelled() {
        const APP: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";
        for ours in [
            APP.to_owned(),
            APP.to_uppercase(),
            APP.replace('-', ""),
            format!("{{{APP}}}"),
            format!("api://{APP}"),
            format!("api://botid-{APP}"),
        ] {
            assert!(is_same_app(&ours, APP) && is_same_app(APP, &ours), "{ours}");
        }
        for other in ["", "1891555a-92ff-42e6-80fa-6e1300c6b5c6", "api://recorder", "äöü"] {
            assert!(!is_same_app(other, APP) && !is_same_app(APP, other), "{other}");
        }
        assert!(is_same_app("the-bot", "The-Bot"));
    }

    proptest! {
        #[test]
        fn no_clock_makes_a_look_come_at_once_or_later_than_after_the_silence(
            now in any::<i64>(),
            then in any::<i64>(),
        ) {
            let (now, then) = (Timestamp(now / 2), Timestamp(then));
            let next = after_still_there(now, CallState::Established, Some(then));
            prop_assert!(next >= now + CONFIRMATION && next <= now + SILENCE);
            if let Some(next) = after_news(now, then) {
                prop_assert!(next > now && next <= now + SILENCE);
            }
        }
    }
}
