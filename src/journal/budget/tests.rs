use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp(1_795_000_000_000);

fn tenant(name: &str) -> TenantId {
    TenantId::new(name)
}

fn budget(all: usize, rate: Option<&str>, tenants: &[&str]) -> (Budget, Clock) {
    let clock = Clock::manual(NOW);
    let rate = rate.map(|rate| Rate::parse(rate).unwrap());
    let tenants = tenants.iter().map(|name| tenant(name));
    (Budget::new(all, rate, tenants, clock.clone()), clock)
}

/// All places that this tenant gets.
fn take_all(budget: &Budget, name: &str) -> Vec<Place> {
    std::iter::from_fn(|| budget.take(&tenant(name))).collect()
}

/// A place of this tenant as a look takes it.
fn drawn(budget: &Budget, name: &str) -> Option<Place> {
    let mut draw = budget.draw();
    (draw.room.tenants[&tenant(name)].room > 0).then(|| draw.place(&tenant(name)).unwrap())
}

fn stop(budget: &Budget, name: &str) {
    let mut place = budget.take(&tenant(name)).unwrap();
    let change = place.tell(Sign::Refused, DeletionId::random(), 0.0);
    assert_eq!(change, Some(Change::Stopped));
}

#[test]
fn one_tenant_has_all_places_and_of_several_a_part_is_kept_for_each() {
    for (all, tenants, first) in [
        (5, &["a"][..], 5),
        (8, &["a", "b"], 6),
        (2, &["a", "b"], 1),
        (1, &["a", "b"], 1),
        (12, &["a", "b", "c"], 8),
    ] {
        let (budget, _) = budget(all, None, tenants);
        let taken = take_all(&budget, "a");
        assert_eq!(taken.len(), first, "{all} {tenants:?}");
        let others: Vec<_> =
            tenants[1..].iter().map(|name| take_all(&budget, name).len()).collect();
        assert!(all == 1 || others.iter().all(|count| *count > 0), "{others:?}");
        drop(taken);
        assert_eq!(take_all(&budget, "a").len(), first);
    }
}

#[test]
fn a_stopped_tenant_has_one_probe_when_it_is_due_and_keeps_no_more_from_the_others() {
    let (budget, clock) = budget(8, None, &["a", "b"]);
    stop(&budget, "a");
    assert!(budget.take(&tenant("a")).is_none());
    assert_eq!(budget.room_at(&tenant("a")), Some(NOW + Duration::from_secs(1)));
    assert_eq!(take_all(&budget, "b").len(), 7);
    clock.advance(Duration::from_secs(1));
    let draw = budget.draw();
    assert_eq!(draw.room.tenants[&tenant("a")].room, 1);
    assert!(budget.take(&tenant("a")).is_none(), "the probe is drawn");
    drop(draw);
    assert!(budget.take(&tenant("a")).is_none(), "what comes in is no probe");
    let mut probe = drawn(&budget, "a").unwrap();
    assert!(drawn(&budget, "a").is_none());
    budget.note_waiting(&[(tenant("a"), 3)]);
    let change = probe.tell(Sign::Works, DeletionId::random(), 0.0);
    assert_eq!(change, Some(Change::Over { after: Duration::from_secs(1), waited: 3 }));
    drop(probe);
    assert_eq!(take_all(&budget, "a").len(), 6);
}

#[test]
fn a_probe_whose_place_is_dropped_unsent_is_due_as_before() {
    let (budget, clock) = budget(2, None, &["a"]);
    stop(&budget, "a");
    clock.advance(Duration::from_secs(1));
    drop(drawn(&budget, "a").unwrap());
    let draw = budget.draw();
    assert!(draw.room.tenants[&tenant("a")].probe.is_some());
    drop(draw);
    let mut unsent = drawn(&budget, "a").unwrap();
    assert_eq!(unsent.tell(Sign::OtherApp, DeletionId::random(), 0.0), None);
    drop(unsent);
    assert!(drawn(&budget, "a").is_some());
}

#[test]
fn a_rate_holds_for_each_tenant_and_what_was_drawn_in_vain_goes_back() {
    let (budget, clock) = budget(100, Some("50/s"), &["a", "b"]);
    let draw = budget.draw();
    assert_eq!(draw.room.tenants[&tenant("a")], Share { room: 5, ..Share::default() });
    assert!(budget.take(&tenant("a")).is_none(), "all of it is drawn");
    drop(draw);
    assert_eq!(take_all(&budget, "a").len(), 5);
    assert_eq!(budget.room_at(&tenant("a")), Some(NOW + Duration::from_millis(21)));
    assert_eq!(take_all(&budget, "b").len(), 5);
    clock.advance(Duration::from_millis(40));
    assert_eq!(take_all(&budget, "a").len(), 2);
}

#[test]
fn a_call_of_another_app_is_shown_for_a_while() {
    let (budget, clock) = budget(2, None, &["a"]);
    budget.take(&tenant("a")).unwrap().tell(Sign::OtherApp, DeletionId::random(), 0.0);
    assert_eq!(budget.without_other_app(), []);
    clock.advance(SHOWN);
    assert_eq!(budget.without_other_app(), [tenant("a")]);
    assert_eq!(budget.without_other_app(), []);
}

proptest! {
    #[test]
    fn no_more_places_are_out_than_there_are_and_all_come_back(
        all in 1_usize..12,
        steps in proptest::collection::vec((0_usize..4, 0_usize..3), 1..60),
    ) {
        let (budget, _) = budget(all, None, &["a", "b"]);
        let (mut places, mut draws) = (Vec::new(), Vec::new());
        for (act, who) in steps {
            let who = tenant(["a", "b", "unknown"][who]);
            match act {
                0 => places.extend(budget.take(&who)),
                1 => draws.push(budget.draw()),
                2 => places.extend(draws.last_mut().and_then(|draw: &mut Draw| draw.place(&who))),
                _ if who == tenant("a") => drop(draws.pop()),
                _ => drop(places.pop()),
            }
            let drawn: usize = draws.iter().map(|draw| draw.left).sum();
            prop_assert!(places.len() + drawn <= all);
            prop_assert_eq!(budget.state().busy, places.len() + drawn);
        }
        drop((places, draws));
        prop_assert_eq!(budget.state().busy, 0);
        prop_assert!(budget.state().tenants.values().all(|tenant| tenant.busy == 0));
    }
}
