//! What Graph posts to an app about its calls, in the forms it has had over the years.
//!
//! Pure: a call and what happened to it give the entries of `value`. Each form is written from the
//! documents and from traffic that people posted, and not from our own reader.

mod beta;
mod v1;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::calls::{Call, CallState};

/// What happened to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Made,
    /// It is in this state now, and goes on.
    State(CallState),
    Ended,
    Rejected,
    /// Who is in it changed.
    Roster,
    /// The invitation at this place of the call is over.
    Invitation(usize),
}

/// The form of notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As documented today and seen in traffic: `resource` beside `resourceUrl`, `resultInfo`.
    V1,
    /// As first documented: `callState`, `terminationReason`, three steps to the end.
    Beta2018,
}

impl Form {
    /// Its name in the control API.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1.0",
            Self::Beta2018 => "beta-2018",
        }
    }

    /// The form of this name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::V1, Self::Beta2018].into_iter().find(|form| form.as_str() == name)
    }

    /// The entries of `value` that tell of `news`, in their order. Each belongs into a notification
    /// of its own, unless several are sent together. `callback` is the URL that the app gave.
    pub(super) fn entries(self, call: &Call, news: News, callback: &str) -> Vec<Value> {
        match self {
            Self::V1 => vec![v1::entry(call, news, callback)],
            Self::Beta2018 => beta::entries(call, news),
        }
    }

    /// The body around `entries`.
    pub(super) fn body(self, entries: &[&Value]) -> Value {
        match self {
            Self::V1 => json!({
                "@odata.type": "#microsoft.graph.commsNotifications",
                "value": entries,
            }),
            Self::Beta2018 => json!({"value": entries}),
        }
    }
}

/// Where callers and called are said to be.
const REGION: &str = "westus";
const LANGUAGE: &str = "en-US";

/// A call's path below `prefix`, its id as one segment.
fn path(prefix: &str, call: &Call) -> String {
    const ENCODED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    format!("{prefix}/calls/{}", utf8_percent_encode(&call.id, ENCODED))
}

/// What is behind the call's path in the resource of `news`.
fn below(call: &Call, news: News) -> String {
    match news {
        News::Roster => "/participants".to_owned(),
        News::Invitation(place) => format!("/operations/{}", call.invitations[place].id),
        News::Made | News::State(_) | News::Ended | News::Rejected => String::new(),
    }
}

#[cfg(test)]
mod tests;
