//! A gateway with calls of every kind, and trouble on its way to Graph.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::forms::Fault;
use super::trouble::{Choice, Time, Trouble};
use crate::support::{Gateway, Key, Seeded, Site, TENANT, all_of, until};

/// What is asked for, each as often as the others.
pub(super) const KINDS: [&str; 5] =
    ["DeleteCall", "DeleteParticipant", "InviteParticipant", "scope=all", "RejectCall"];
const RIGHTS: [&str; 5] =
    ["DeleteCall", "DeleteParticipant", "InviteParticipant", "scope-all", "RejectCall"];
const APP: &str = crate::support::CLIENT_ID;
const ANN: &str = "278405a3-f568-4b3e-b684-009193463064";
/// Callers at the same time.
const CALLERS: usize = 10;
/// How long something may be open while nothing is sent.
const PATIENCE: Duration = Duration::from_mins(1);
/// After how long of that what is due waits for a probe of its tenant, and time passes faster.
const STANDSTILL: Duration = Duration::from_millis(300);
/// How much of it in each turn: so little that the lease of a request without an answer does not lapse.
const FASTER: i64 = 1_000;

pub(super) struct World {
    pub(super) gateway: Gateway,
    pub(super) trouble: Trouble,
    key: Key,
    seeded: Seeded,
    count: usize,
}

/// That so many of a hundred requests meet a fault.
pub(super) fn choice(
    percent: usize,
    fault: impl Fn(&mut Seeded) -> Fault + Send + Sync + 'static,
) -> Box<Choice> {
    Box::new(move |_, seeded| seeded.percent(percent).then(|| fault(seeded)))
}

impl World {
    /// Everything is there but calls.
    pub(super) async fn begin(seed: u64, elsewhere: SocketAddr, choice: Box<Choice>) -> Self {
        let lines = "legacy.wait = \"1ms\"\ngraph.deadline = \"72h\"\ngraph.concurrency = 32\n\
                     graph.request_timeout = \"1s\"\nlog.level = \"error\"";
        let site = Site::with(lines).await;
        let trouble = Trouble::start(&site.graph.url(), elsewhere, seed, choice).await;
        redirect(&site, &format!("http://{}", trouble.address));
        let gateway = Gateway::serve(site).await;
        gateway.announce(json!({})).await;
        let key = gateway.key_with(&RIGHTS).await;
        Self { gateway, trouble, key, seeded: Seeded::new(seed), count: 0 }
    }

    /// Calls, so many; those that ring last, because they ring for a short time only.
    pub(super) async fn make(&mut self, count: usize) {
        self.count = count;
        for number in self.numbers() {
            self.gateway.graph.make(&described(number)).await;
        }
        let people: usize = (0..count).map(|number| people(number).len()).sum();
        let known = "SELECT (SELECT count(*) FROM calls) + (SELECT count(*) FROM roster)";
        let expected = i64::try_from(count + people).expect("a count");
        let probe = async || (self.gateway.value::<i64>(known) == expected).then_some(());
        until("all calls are known", probe).await;
    }

    /// By kind.
    fn numbers(&self) -> Vec<usize> {
        let mut numbers: Vec<_> = (0..self.count).collect();
        numbers.sort_by_key(|number| number % KINDS.len());
        numbers
    }

    /// Asks for all of them, those that ring first. None is refused: each is recorded, and tried.
    pub(super) async fn ask(&mut self) {
        let mut numbers = self.numbers();
        numbers.reverse();
        let shares = numbers.chunks(self.count.div_ceil(CALLERS));
        all_of(shares.map(async |share| {
            for number in share {
                let query = format!("apiKey={}&{}", self.key.secret, asked(*number));
                let answer = self.gateway.get(&query).await;
                assert!(matches!(answer.code(), 0 | 2), "{number}: {}", answer.body);
                assert!(!answer.element("DeletionID").is_empty(), "{number}: {}", answer.body);
            }
        }))
        .await;
        assert_eq!(usize::try_from(self.gateway.recorded()).expect("a count"), self.count);
    }

    /// Moves the clock on until nothing is open; `with_absence` lets Graph not listen at times.
    pub(super) async fn comes_to_an_end(&mut self, with_absence: bool) {
        let (trouble, seeded) = (&mut self.trouble, &mut self.seeded);
        let time = trouble.time().clone();
        comes_to_an_end(&self.gateway, &time, FASTER, async || {
            if with_absence && seeded.percent(10) {
                trouble.is_away(Duration::from_millis(300)).await;
            }
        })
        .await;
    }

    /// How many ended in which way, by kind.
    pub(super) fn ends(&self) -> Vec<(String, i64)> {
        let database = self.gateway.database();
        let rows = "SELECT CASE scope WHEN 'all' THEN 'scope=all' ELSE kind END || ' ' || state, \
                    count(*) FROM deletions GROUP BY 1";
        let mut rows = database.prepare(rows).expect("the table exists");
        let rows = rows.query_map((), |row| Ok((row.get(0)?, row.get(1)?)));
        rows.expect("the query is valid").map(|row| row.expect("text and a count")).collect()
    }

    /// Whatever is called done was done, and nothing was sent without a record.
    pub(super) async fn check(&self) {
        let done = "SELECT coalesce(group_concat(graph_id), '') FROM deletions JOIN calls USING (call) \
                    WHERE kind IN ('DeleteCall', 'RejectCall') \
                    AND deletions.state IN ('sent', 'gone', 'confirmed')";
        let done: String = self.gateway.value(done);
        for call in done.split(',').filter(|call| !call.is_empty()) {
            assert_eq!(self.gateway.graph.state(call).await, "terminated", "{call}");
        }
        let failed = "SELECT coalesce(group_concat(graph_id || ' ' || failure, '; '), '') \
                      FROM deletions JOIN calls USING (call) WHERE deletions.state = 'failed'";
        let failed: String = self.gateway.value(failed);
        let exchanges = self.trouble.exchanges();
        for failed in failed.split("; ") {
            let call = failed.split(' ').next().unwrap_or_default();
            let is_its = |what: &str| what.split('/').any(|part| part == call);
            let refused = |fault: &Fault| matches!(fault, Fault::Redirect { .. });
            let mut its = exchanges.iter().filter(|one| is_its(&one.what));
            // Nothing else here is a refusal for good.
            let was_refused = its.any(|one| one.fault.as_ref().is_some_and(refused));
            assert!(failed.is_empty() || was_refused, "{failed}");
        }
        let mut received = BTreeMap::<String, i64>::new();
        for exchange in exchanges {
            let rest = exchange.what.split("/calls/").nth(1).unwrap_or_default();
            // The registry looks as well, at calls as a whole.
            let is_look = exchange.what.starts_with("GET ") && !rest.contains('/');
            let call = rest.split('/').next().unwrap_or_default();
            if !call.is_empty() && !is_look {
                *received.entry(call.to_owned()).or_default() += 1;
            }
        }
        for (call, received) in received {
            let recorded: i64 = self.gateway.value(&format!(
                "SELECT count(*) FROM attempts JOIN deletions USING (deletion) JOIN calls USING (call) \
                 WHERE graph_id = '{call}'"
            ));
            assert!(received <= recorded, "{call}: sent {received}, recorded {recorded}");
        }
    }
}

/// Moves the clock of `gateway` on until nothing is open, by so many milliseconds in each turn of a tenth
/// of a second while it stands still.
pub(super) async fn comes_to_an_end(
    gateway: &Gateway,
    time: &Time,
    faster: i64,
    mut meanwhile: impl AsyncFnMut(),
) {
    let (mut attempts, mut changed) = (0, Instant::now());
    while gateway.value::<i64>(OPEN) > 0 {
        let open: i64 = gateway.value(OPEN);
        assert!(changed.elapsed() < PATIENCE, "{open} are open for ever");
        let count: i64 = gateway.value("SELECT count(*) FROM attempts");
        if count != attempts {
            (attempts, changed) = (count, Instant::now());
        }
        let wait = gateway.value::<i64>(NEXT) - time.now();
        if wait > 0 {
            time.advance(&gateway.clock, wait + 1_000);
        } else if changed.elapsed() > STANDSTILL {
            time.advance(&gateway.clock, faster);
        }
        meanwhile().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const OPEN: &str = "SELECT count(*) FROM deletions WHERE state = 'open'";
/// When something is due next, as far as the login does not keep it back.
const NEXT: &str = "SELECT coalesce(min(min(max(coalesce(parked, next_attempt_at), coalesce(login_not_before, 0)), \
                    deadline_at)), 0) FROM steps JOIN tenants USING (tenant) WHERE state = 'open'";

/// Puts something between the gateway and Graph.
pub(super) fn redirect(site: &Site, url: &str) {
    let mut text = std::fs::read_to_string(site.config()).expect("it was written");
    let graph = site.graph.url();
    for key in ["graph.base_url", "graph.login_url"] {
        let before = format!("{key} = \"{graph}\"");
        assert!(text.contains(&before), "{text}");
        text = text.replace(&before, &format!("{key} = \"{url}\""));
    }
    std::fs::write(site.config(), text).expect("a file can be written");
}

fn kind(number: usize) -> &'static str {
    KINDS[number % KINDS.len()]
}

/// Us and the others.
fn people(number: usize) -> Vec<Value> {
    let others = match kind(number) {
        "DeleteParticipant" => 1,
        "scope=all" => 2,
        _ => return Vec::new(),
    };
    let us = json!({"id": format!("us-{number}"), "identity": {"application": {"id": APP}}});
    let other = |other| json!({"id": format!("p-{number}-{other}"), "identity": "+49301"});
    std::iter::once(us).chain((0..others).map(other)).collect()
}

/// As `POST /sim/calls` takes it.
fn described(number: usize) -> Value {
    let mut call = json!({
        "id": format!("c-{number}"), "source": "+4930123456", "targets": ["8856"],
        "tenantId": TENANT,
    });
    let people = people(number);
    if !people.is_empty() {
        call["myParticipantId"] = json!(format!("us-{number}"));
        call["participants"] = json!(people);
    }
    if kind(number) == "RejectCall" {
        call["state"] = json!("incoming");
        call["direction"] = json!("incoming");
    }
    call
}

/// What is asked about it.
fn asked(number: usize) -> String {
    let call = format!("callID=c-{number}&detail=1&action=");
    match kind(number) {
        "scope=all" => format!("{call}DeleteCall&scope=all"),
        "DeleteParticipant" => format!("{call}DeleteParticipant&participantID=p-{number}-0"),
        "InviteParticipant" => format!("{call}InviteParticipant&userID={ANN}"),
        plain => format!("{call}{plain}"),
    }
}
