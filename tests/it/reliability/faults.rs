//! Nearly every third answer goes wrong, in every way that answers can: each deletion comes to an end,
//! nobody is asked before he said so, nobody else gets a token, and nobody is invited twice.

mod forms;
mod handshake;
mod trouble;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use self::forms::{Fault, Patience};
use self::trouble::{Elsewhere, Exchange};
use self::world::{World, choice};
use super::{amount, figure};
use crate::support::{all_of, until};

/// Deletions on one database.
const DELETIONS: u64 = 500;
/// Gateways at once, because each of them waits most of the time.
const TOGETHER: usize = 4;
/// Of a hundred answers, how many go wrong.
const SHARE: usize = 30;

/// Requests that came although the answer before them asked for more patience.
fn too_early(exchanges: &[Exchange]) -> Vec<&str> {
    let mut not_before = BTreeMap::new();
    let mut early = Vec::new();
    for exchange in exchanges {
        let last = not_before.insert(&exchange.what, exchange.not_before);
        if last.flatten().is_some_and(|not_before| exchange.at < not_before) {
            early.push(exchange.what.as_str());
        }
    }
    early
}

/// Invitations that were sent again although the first may have been taken.
fn invited_again(exchanges: &[Exchange]) -> Vec<&str> {
    let mut perhaps_taken = BTreeSet::new();
    let invitations = exchanges.iter().filter(|one| one.what.ends_with("/invite"));
    let again = invitations.filter(|one| {
        let is_again = perhaps_taken.contains(&one.what);
        let was_not_taken = one.fault.as_ref().is_some_and(Fault::says_that_nothing_was_done);
        if !was_not_taken {
            perhaps_taken.insert(&one.what);
        }
        is_again
    });
    again.map(|one| one.what.as_str()).collect()
}

/// What came of deletions, added up.
#[derive(Default)]
struct Tally {
    requests: usize,
    /// Answers that went wrong, by their form.
    met: BTreeMap<String, usize>,
    /// By kind and state.
    ends: BTreeMap<String, i64>,
}

impl Tally {
    /// Asks a gateway of its own for `count` deletions, and looks at what came of them.
    async fn of(seed: u64, count: usize) -> Self {
        let elsewhere = Elsewhere::start().await;
        let mut world = World::begin(seed, elsewhere.address, choice(SHARE, Fault::any)).await;
        world.make(count).await;
        world.ask().await;
        world.comes_to_an_end(true).await;
        world.check().await;
        let exchanges = world.trouble.exchanges();
        assert_eq!(too_early(&exchanges), [""; 0], "seed {seed}");
        assert_eq!(invited_again(&exchanges), [""; 0], "seed {seed}");
        assert_eq!(elsewhere.came(), 0, "seed {seed}: a redirect was followed");
        let mut tally = Self { requests: exchanges.len(), ..Self::default() };
        for fault in exchanges.iter().filter_map(|one| one.fault.as_ref()) {
            *tally.met.entry(fault.name()).or_default() += 1;
        }
        tally.ends.extend(world.ends());
        tally
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        for (form, count) in other.met {
            *self.met.entry(form).or_default() += count;
        }
        for (end, count) in other.ends {
            *self.ends.entry(end).or_default() += count;
        }
    }
}

#[tokio::test]
async fn every_deletion_comes_to_an_end_whatever_is_answered() {
    let asked = amount("RELIABILITY_FAULTS", DELETIONS);
    let seeds: Vec<_> = (0..asked.div_ceil(DELETIONS)).collect();
    let mut tally = Tally::default();
    for together in seeds.chunks(TOGETHER) {
        let each = together.iter().map(async |seed| {
            let count = DELETIONS.min(asked - seed * DELETIONS);
            Tally::of(*seed, usize::try_from(count).expect("a count")).await
        });
        all_of(each).await.into_iter().for_each(|one| tally.add(one));
    }
    let Tally { requests, met, ends } = tally;
    let wrong: usize = met.values().sum();
    figure(format_args!(
        "faults: {asked} deletions, {requests} requests, {wrong} answers wrong {met:?}; ends {ends:?}"
    ));
    assert!((20..=40).contains(&(wrong * 100 / requests)), "{wrong} of {requests}");
    // Each form of each fault, but those that say nothing more than another one.
    assert!(met.len() >= 27, "{} forms: {met:?}", met.len());
    for kind in world::KINDS {
        let sent: i64 = ["sent", "gone", "confirmed"]
            .iter()
            .filter_map(|state| ends.get(&format!("{kind} {state}")))
            .sum();
        assert!(sent > 0, "{kind}: {ends:?}");
    }
}

#[tokio::test]
async fn who_does_not_wait_as_he_was_asked_to_is_noticed() {
    let elsewhere = Elsewhere::start().await;
    let throttled = |_: &mut _| Fault::Answer { status: 429, patience: Patience::Absurd };
    let of_calls = Box::new(move |what: &str, seeded: &mut _| {
        what.contains("/calls/").then(|| throttled(seeded))
    });
    let mut world = World::begin(1, elsewhere.address, of_calls).await;
    world.make(5).await;
    world.ask().await;
    let gateway = &world.gateway;
    let waits = "SELECT count(*) FROM attempts WHERE status = 429";
    until("somebody waits", async || (gateway.value::<i64>(waits) > 0).then_some(())).await;
    assert_eq!(too_early(&world.trouble.exchanges()), [""; 0]);
    // As if the wait were not kept, also of those whose callers were told that it is too long.
    gateway.change("UPDATE attempts SET not_before = NULL");
    gateway
        .change("UPDATE deletions SET state = 'open', settled_at = NULL WHERE state = 'obsolete'");
    gateway.change(
        "UPDATE steps SET state = 'open', next_attempt_at = 1 WHERE state IN ('open', 'obsolete')",
    );
    until("a request comes too early", async || {
        (!too_early(&world.trouble.exchanges()).is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_invites_again_is_noticed() {
    let elsewhere = Elsewhere::start().await;
    let cut = |_: &mut _| Fault::ResetAfter;
    let of_invitations =
        Box::new(move |what: &str, seeded: &mut _| what.ends_with("/invite").then(|| cut(seeded)));
    let mut world = World::begin(1, elsewhere.address, of_invitations).await;
    world.make(5).await;
    world.ask().await;
    world.comes_to_an_end(false).await;
    assert_eq!(invited_again(&world.trouble.exchanges()), [""; 0]);
    // As if it were not known that it may have been taken.
    let gateway = &world.gateway;
    let mine = "deletion IN (SELECT deletion FROM deletions WHERE state = 'unknown')";
    gateway.change(&format!("UPDATE attempts SET effect_possible = 0 WHERE {mine}"));
    gateway.change(&format!("UPDATE steps SET state = 'open', next_attempt_at = 1 WHERE {mine}"));
    gateway
        .change("UPDATE deletions SET state = 'open', settled_at = NULL WHERE state = 'unknown'");
    until("the invitation is sent again", async || {
        (!invited_again(&world.trouble.exchanges()).is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_follows_a_redirect_is_noticed() {
    let elsewhere = Elsewhere::start().await;
    let redirected = |_: &mut _| Fault::Redirect { status: 307 };
    let world = World::begin(1, elsewhere.address, choice(100, redirected)).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("it can be built");
    let url = format!("http://{}/v1.0/communications/calls/a", world.trouble.address);
    // Nobody answers there.
    let _never = tokio::time::timeout(
        std::time::Duration::from_millis(500),
        client.delete(url).json(&json!({})).send(),
    )
    .await;
    assert_eq!(elsewhere.came(), 1);
}
