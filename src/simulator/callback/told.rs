//! What was posted to the callback, for `GET /sim/notifications`.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::queue::Waiting;

/// The latest that are kept.
const KEPT: usize = 1000;

/// The latest notifications, in the order in which their POSTs ended.
#[derive(Debug, Default)]
pub(super) struct Told(VecDeque<(Summary, Option<u16>)>);

/// A notification in a line.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    call_id: String,
    /// Its own members, in the words of its form; null where it says nothing.
    change_type: Value,
    resource: Value,
    state: Value,
    reason: Value,
}

impl Summary {
    pub(super) fn of(one: &Waiting) -> Self {
        let entry = &one.entry;
        let first = |names: [&Value; 2]| {
            names.into_iter().find(|value| !value.is_null()).cloned().unwrap_or_default()
        };
        let data = &entry["resourceData"];
        Self {
            call_id: one.call_id.clone(),
            change_type: entry["changeType"].clone(),
            resource: first([&entry["resourceUrl"], &entry["resource"]]),
            state: first([&data["state"], &data["callState"]]),
            reason: first([&data["resultInfo"], &data["terminationReason"]]),
        }
    }
}

impl Told {
    /// Keeps the notifications of one POST; `status` is none without an answer.
    pub(super) fn keep(&mut self, posted: &[Summary], status: Option<u16>) {
        for one in posted {
            if self.0.len() == KEPT {
                self.0.pop_front();
            }
            self.0.push_back((one.clone(), status));
        }
    }

    /// The form in which the control API shows them.
    pub(super) fn listing(&self) -> Value {
        let shown = self.0.iter().map(|(one, status)| {
            json!({
                "callId": one.call_id,
                "changeType": one.change_type,
                "resource": one.resource,
                "state": one.state,
                "reason": one.reason,
                "status": status,
            })
        });
        shown.collect()
    }
}
