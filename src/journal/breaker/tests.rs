use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp(1_795_000_000_000);
const SECOND: Duration = Duration::from_secs(1);
const GRAPH: Sign = Sign::Unreachable(Where::Graph, None);
const FAILS: Sign = Sign::Failing(None);
const ASKED_BY_LOGIN: Duration = Duration::from_hours(1);
const LOGIN: Sign = Sign::Unreachable(Where::Login, Some(ASKED_BY_LOGIN));

/// Tells it of attempts of one deletion each; how many it took until it stopped.
fn attempts_until_stopped(signs: impl IntoIterator<Item = Sign>) -> Option<usize> {
    let mut breaker = Breaker::default();
    let mut count = 0;
    signs.into_iter().find_map(|sign| {
        count += 1;
        let change = breaker.tell(sign, DeletionId::random(), None, NOW, 0.0);
        assert_eq!(change.is_some(), breaker.is_stopped());
        change.map(|_| count)
    })
}

fn stopped() -> Breaker {
    let mut breaker = Breaker::default();
    let change = breaker.tell(Sign::Refused, DeletionId::random(), None, NOW, 0.0);
    assert_eq!(change, Some(Change::Stopped));
    breaker
}

/// Sends a probe at `now`, which has to be due, and tells what came of it.
fn probe(breaker: &mut Breaker, sign: Sign, now: Timestamp) -> Option<Change> {
    assert_eq!(breaker.gate(now), Gate::Probe, "{now}");
    let probe = breaker.probe(now);
    assert!(matches!(breaker.gate(now), Gate::Closed(_)), "one at a time");
    assert_eq!((probe.is_some(), breaker.probe(now)), (true, None));
    breaker.tell(sign, DeletionId::random(), probe, now, 0.0)
}

#[test]
fn a_refused_app_stops_a_tenant_at_once_and_what_does_not_arrive_after_some_attempts() {
    assert_eq!(attempts_until_stopped([Sign::Refused]), Some(1));
    assert_eq!(attempts_until_stopped([Sign::NotConfigured]), Some(1));
    assert_eq!(attempts_until_stopped([GRAPH; 9]), Some(3));
    assert_eq!(attempts_until_stopped([Sign::Unreachable(Where::Login, None); 9]), Some(3));
    assert_eq!(attempts_until_stopped([LOGIN; 9]), Some(1));
    assert_eq!(attempts_until_stopped([FAILS; 20]), Some(10));
    assert_eq!(attempts_until_stopped([GRAPH, GRAPH, Sign::Works, GRAPH, GRAPH]), None);
    let sometimes = [FAILS, FAILS, FAILS, FAILS, FAILS, FAILS, FAILS, FAILS, FAILS, Sign::Works];
    assert_eq!(attempts_until_stopped(sometimes.repeat(3)), None);
    assert_eq!(attempts_until_stopped([Sign::None; 50]), None);
    assert_eq!(attempts_until_stopped([Sign::OtherApp; 50]), None, "its other calls are ours");
}

#[test]
fn what_is_said_of_one_call_keeps_no_others_back() {
    let mut breaker = Breaker::default();
    let deletions = [DeletionId::random(), DeletionId::random()];
    for _ in 0..50 {
        for deletion in deletions {
            assert_eq!(breaker.tell(FAILS, deletion, None, NOW, 0.0), None);
        }
    }
    let third = breaker.tell(FAILS, DeletionId::random(), None, NOW, 0.0);
    assert_eq!(third, Some(Change::Stopped));
}

#[test]
fn probes_of_a_refused_app_come_one_at_a_time_at_growing_distances_until_one_succeeds() {
    let mut breaker = stopped();
    let mut now = NOW;
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        let due = now + SECOND * seconds;
        assert_eq!(breaker.gate(due - Duration::from_millis(1)), Gate::Closed(due));
        now = due;
        assert_eq!(probe(&mut breaker, Sign::Refused, now), None);
    }
    now = now + SECOND * 60;
    breaker.note_waiting(7);
    let change = probe(&mut breaker, Sign::Works, now);
    assert_eq!(change, Some(Change::Over { after: now.since(NOW), waited: 7 }));
    assert_eq!(breaker.gate(now), Gate::Open);
}

#[test]
fn what_was_sent_before_it_stopped_neither_ends_it_nor_prolongs_it() {
    let mut breaker = stopped();
    for sign in [Sign::Works, FAILS, Sign::Refused] {
        assert_eq!(breaker.tell(sign, DeletionId::random(), None, NOW, 0.0), None);
        assert_eq!(breaker.gate(NOW), Gate::Closed(NOW + SECOND), "{sign:?}");
    }
}

#[test]
fn a_probe_that_told_nothing_is_made_again_and_one_that_was_not_sent_is_still_due() {
    let mut breaker = stopped();
    let now = NOW + SECOND;
    let unsent = breaker.probe(now).unwrap();
    breaker.no_probe(unsent);
    for unsent in [Sign::OtherApp, Sign::NotSent] {
        assert_eq!(probe(&mut breaker, unsent, now), None);
    }
    assert_eq!(probe(&mut breaker, Sign::None, now), None);
    assert_eq!(breaker.gate(now), Gate::Closed(now + SECOND));
}

/// A breaker that has met nothing but failed requests of several deletions.
fn failing() -> Breaker {
    let mut breaker = Breaker::default();
    let told = || Some(breaker.tell(FAILS, DeletionId::random(), None, NOW, 0.0));
    assert_eq!(std::iter::from_fn(told).take(10).last(), Some(Some(Change::Stopped)));
    breaker
}

#[test]
fn what_arrives_and_fails_is_probed_every_second_whether_or_not_it_is_answered() {
    let mut breaker = failing();
    let mut now = NOW;
    for _ in 0..100 {
        now = now + SECOND;
        assert_eq!(breaker.gate(now - Duration::from_millis(1)), Gate::Closed(now));
        assert_eq!(probe(&mut breaker, FAILS, now), None);
    }
    let mut last = None;
    for _ in 0..5 {
        now = now + SECOND;
        assert_eq!(breaker.gate(now), Gate::Probe, "the one before hangs");
        let unsent = breaker.probe(now).unwrap();
        breaker.no_probe(unsent);
        assert_eq!(breaker.gate(now), Gate::Probe, "it was not sent");
        last = breaker.probe(now);
    }
    assert_eq!(
        breaker.tell(Sign::Failing(Some(SECOND * 90)), DeletionId::random(), last, now, 0.0),
        None
    );
    assert_eq!(breaker.gate(now), Gate::Closed(now + SECOND * 5));
    assert_eq!(probe(&mut breaker, Sign::Refused, now + SECOND * 5), None);
    assert_eq!(breaker.gate(now + SECOND * 5), Gate::Closed(now + SECOND * 6));
    assert_eq!(probe(&mut breaker, Sign::Refused, now + SECOND * 6), None);
    assert_eq!(breaker.gate(now + SECOND * 6), Gate::Closed(now + SECOND * 8));
}

#[test]
fn probes_that_end_together_are_one_outage_and_the_next_one_comes_after_a_second() {
    for sign in [Sign::Unreachable(Where::Login, None), Sign::Refused] {
        let mut breaker = failing();
        let mut now = NOW;
        let mut under_way = Vec::new();
        for _ in 0..8 {
            now = now + SECOND;
            under_way.push(breaker.probe(now).unwrap());
        }
        let late = under_way.pop();
        for probe in under_way {
            assert_eq!(breaker.tell(sign, DeletionId::random(), Some(probe), now, 0.0), None);
            assert_eq!(breaker.gate(now), Gate::Closed(now + SECOND), "{sign:?}");
        }
        now = now + SECOND;
        let next = breaker.probe(now);
        for old in [sign, Sign::Works, Sign::None, Sign::NotSent, FAILS] {
            assert_eq!(breaker.tell(old, DeletionId::random(), late, now, 0.0), None);
            assert_eq!(breaker.probe(now), None, "one at a time: {old:?}");
        }
        breaker.no_probe(late.unwrap());
        assert_eq!(breaker.probe(now), None, "one at a time");
        assert_eq!(breaker.tell(sign, DeletionId::random(), next, now, 0.0), None);
        assert_eq!(breaker.gate(now), Gate::Closed(now + SECOND * 2), "{sign:?}");
    }
}

#[test]
fn a_probe_of_an_earlier_stop_says_nothing_of_the_next_one() {
    let mut breaker = failing();
    let late = breaker.probe(NOW + SECOND);
    let over = breaker.tell(Sign::Works, DeletionId::random(), None, NOW + SECOND, 0.0);
    assert!(matches!(over, Some(Change::Over { .. })));
    let now = NOW + SECOND * 2;
    breaker.tell(Sign::Refused, DeletionId::random(), None, now, 0.0);
    for sign in [Sign::Refused, Sign::Works, FAILS] {
        assert_eq!(breaker.tell(sign, DeletionId::random(), late, now, 0.0), None);
        assert_eq!(breaker.gate(now), Gate::Closed(now + SECOND), "{sign:?}");
    }
}

#[test]
fn what_ends_soon_and_what_has_time_take_turns() {
    for mut breaker in [stopped(), failing()] {
        let mut now = NOW;
        let mut turns = Vec::new();
        for _ in 0..4 {
            now = now + RARE_PROBE;
            let probe = breaker.probe(now).unwrap();
            turns.push(probe.first);
            breaker.tell(Sign::None, DeletionId::random(), Some(probe), now, 0.0);
        }
        assert_eq!(turns, [First::EndsSoon, First::HasTime, First::EndsSoon, First::HasTime]);
    }
}

#[test]
fn the_first_success_of_whatever_was_sent_shows_that_not_everything_fails() {
    for is_probe in [false, true] {
        let mut breaker = failing();
        let probe = breaker.probe(NOW + SECOND).filter(|_| is_probe);
        let change = breaker.tell(Sign::Works, DeletionId::random(), probe, NOW + SECOND, 0.0);
        assert!(matches!(change, Some(Change::Over { .. })));
        assert_eq!(breaker.gate(NOW + SECOND), Gate::Open);
    }
}

#[test]
fn what_is_asked_for_is_waited_for_and_a_clock_that_is_set_back_prolongs_nothing() {
    let (graph, login) = (Where::Graph, Where::Login);
    let of_graph = [(graph, 30, 30), (graph, 0, 1), (graph, 86_400, 300)];
    // Nobody asks it before that.
    let of_login = [(login, 30, 30), (login, 0, 1), (login, 86_400, 86_400)];
    for (place, asked, seconds) in of_graph.into_iter().chain(of_login) {
        let mut breaker = Breaker::default();
        let sign = Sign::Unreachable(place, Some(SECOND * asked));
        for _ in 0..3 {
            breaker.tell(sign, DeletionId::random(), None, NOW, 0.0);
        }
        assert_eq!(breaker.gate(NOW), Gate::Closed(NOW + SECOND * seconds));
        assert_eq!(breaker.gate(NOW - SECOND * 3600), Gate::Probe);
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_next_probe_is_within_its_bounds_and_alone_unless_requests_arrive(
        steps in proptest::collection::vec(
            (0_usize..10, any::<bool>(), 0_usize..4, 0_u64..100_000), 1..80,
        ),
    ) {
        let mut breaker = Breaker::default();
        let (mut now, mut under_way) = (NOW, Vec::new());
        for (sign, begins, which, wait) in steps {
            now = now + Duration::from_millis(wait);
            let sign = [
                Sign::Works, Sign::None, Sign::OtherApp, Sign::NotSent, Sign::Refused,
                Sign::NotConfigured, GRAPH, FAILS, Sign::Failing(Some(SECOND * 90)), LOGIN,
            ][sign];
            match breaker.gate(now) {
                Gate::Probe => {
                    let is_failing = breaker.stopped.as_ref().unwrap().is_failing;
                    let counts = |probe: &Probe| probe.period == breaker.period;
                    prop_assert!(is_failing || !under_way.iter().any(counts));
                    if begins {
                        under_way.extend(breaker.probe(now));
                    }
                }
                Gate::Closed(until) => {
                    prop_assert!(breaker.is_stopped() && now < until);
                    prop_assert!(until <= now + ASKED_BY_LOGIN + ASKED_BY_LOGIN / 4);
                }
                Gate::Open => prop_assert!(!breaker.is_stopped()),
            }
            let was_stopped = breaker.is_stopped();
            let is_there = which < under_way.len();
            let probe = is_there.then(|| under_way.swap_remove(which));
            let change = breaker.tell(sign, DeletionId::random(), probe, now, 0.5);
            match change {
                Some(Change::Stopped) => prop_assert!(!was_stopped && breaker.is_stopped()),
                Some(Change::Over { .. }) => prop_assert!(was_stopped && !breaker.is_stopped()),
                Some(Change::Patience) => prop_assert!(was_stopped && breaker.is_stopped()),
                None => prop_assert_eq!(was_stopped, breaker.is_stopped()),
            }
        }
    }
}

#[test]
fn a_removal_that_the_tenant_does_not_allow_says_nothing_of_other_operations() {
    let failed = |code: &str| Answer {
        status: Some(500),
        request_id: None,
        client_request_id: None,
        date: None,
        diagnostic: None,
        result: Err(GraphError::ServerError { status: 500, code: Some(code.to_owned()) }),
    };
    let removal = Operation::RemoveParticipant;
    assert_eq!(Sign::of(removal, &failed("9999")), Sign::None);
    assert_eq!(Sign::of(removal, &failed("UnknownError")), FAILS);
    for other in [Operation::HangUp, Operation::Reject, Operation::Invite, Operation::ReadRoster] {
        assert_eq!(Sign::of(other, &failed("9999")), FAILS, "{other:?}");
    }
}

#[test]
fn a_login_keeps_every_probe_back_only_when_there_is_no_token() {
    let unavailable = LoginError::Unavailable { status: 429, retry_after: Some(SECOND * 3600) };
    for (status, kept) in [(None, Some(SECOND * 3600)), (Some(401), None)] {
        let answer = Answer {
            status,
            request_id: None,
            client_request_id: None,
            date: None,
            diagnostic: None,
            result: Err(GraphError::Login(unavailable.clone())),
        };
        let sign = Sign::of(Operation::HangUp, &answer);
        assert_eq!(sign, Sign::Unreachable(Where::Login, kept));
        assert_eq!(sign.patience(), kept);
    }
}

#[test]
fn a_login_that_asks_for_patience_while_its_tenant_is_stopped_is_told_of() {
    let mut breaker = Breaker::default();
    let without = Sign::Unreachable(Where::Login, None);
    for _ in 0..3 {
        breaker.tell(without, DeletionId::random(), None, NOW, 0.0);
    }
    let probe = breaker.probe(NOW + SECOND);
    let change = breaker.tell(LOGIN, DeletionId::random(), probe, NOW + SECOND, 0.0);
    assert_eq!(change, Some(Change::Patience));
    assert_eq!(breaker.gate(NOW + SECOND), Gate::Closed(NOW + SECOND + ASKED_BY_LOGIN));
}
