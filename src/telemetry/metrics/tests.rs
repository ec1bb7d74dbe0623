//! What the exposition says of a gateway in a given state.

use std::collections::BTreeMap;

use super::*;

const TENANT: &str = "57dab8b1-894c-409a-b240-bd8beae78896";

/// Of a process that is well and has done nothing.
fn well() -> Scrape {
    let read = StoreRead {
        deletions: Vec::new(),
        oldest_open: None,
        all_paused: false,
        paused: BTreeSet::new(),
    };
    let of_tenant =
        TenantFigures { tenant: TenantId::new(TENANT), in_flight: 0, kept: 0, stop: None };
    Scrape {
        now: Timestamp(0),
        started: Timestamp(0),
        health: HealthReport::default(),
        requests: Requests::default(),
        notifications: Counts::default(),
        journal: JournalFigures {
            attempts: Counts::default(),
            places: 1,
            taken: 0,
            tenants: vec![of_tenant],
        },
        logins: Vec::new(),
        store: StoreFigures {
            commits: Counts::default(),
            queued: Vec::new(),
            condition: Condition::Well,
            files: Vec::new(),
            read: Some(read),
        },
    }
}

/// What is said of sending: each state that is said to be so or not.
fn sending(scrape: &Scrape) -> BTreeMap<&str, u64> {
    let of = &scrape.journal.tenants[0];
    scrape.sending(of).map(|(labels, value)| (labels[1].1, value)).collect()
}

#[test]
fn nothing_flows_while_the_store_fails_whether_or_not_it_can_be_read() {
    assert_eq!(sending(&well())["flowing"], 1);
    for condition in Condition::ALL.iter().filter(|one| **one != Condition::Well) {
        for is_read in [true, false] {
            let mut scrape = well();
            scrape.store.condition = *condition;
            scrape.store.read.take_if(|_| !is_read);
            let seen = sending(&scrape);
            assert_eq!((seen["flowing"], seen["sender_stopped"]), (0, 1), "{condition:?}");
            assert_eq!(seen.contains_key("paused"), is_read, "{condition:?}");
        }
    }
}

#[test]
fn nothing_flows_before_the_sender_has_begun() {
    let mut scrape = well();
    scrape.health.unready.insert("sender", "not started");
    let seen = sending(&scrape);
    assert_eq!((seen["flowing"], seen["sender_stopped"]), (0, 1));
}

#[test]
fn what_somebody_is_woken_for_begins_at_0_for_every_action_and_the_rest_when_it_is_met() {
    let scrape = well();
    scrape.requests.answered("GetCallID", "found", 200, Duration::ZERO);
    let text = scrape.text();
    let lines: BTreeSet<_> =
        text.lines().filter(|line| line.starts_with("callgate_requests_total{")).collect();
    let mut expected = BTreeSet::from([
        "callgate_requests_total{action=\"GetCallID\",outcome=\"found\"} 1".to_owned(),
    ]);
    for action in Action::ALL {
        for outcome in ["unavailable", "internal"] {
            let action = action.word();
            expected.insert(format!(
                "callgate_requests_total{{action=\"{action}\",outcome=\"{outcome}\"}} 0"
            ));
        }
    }
    assert_eq!(lines, expected.iter().map(String::as_str).collect());
}
