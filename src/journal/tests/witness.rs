//! A Graph that writes down every request with what is on disk at that moment, and answers by chance.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, Row};
use serde_json::{Value, json};

use super::graph::read_request;
use crate::model::deletion::LEG_ASKED_FOR;
use crate::store::admission::StepRef;

/// Numbers by chance, the same for the same seed.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `sides`.
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }

    /// One of these.
    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Operation, call and target, as [`named`] writes them.
    pub(super) what: String,
    /// The attempts on disk that it may be, by what is there before it is answered.
    pub(super) begun: Vec<(StepRef, i64)>,
    /// What is answered does not say that nothing was done.
    pub(super) may_be_done: bool,
}

/// One text for one request: the operation, Graph's id of the call, and whom it is about.
pub(super) fn named(operation: &str, call: &str, target: &str) -> String {
    format!("{operation} {call} {target}").trim_end().to_owned()
}

/// Whom an invitation is about, and the call that is left for it.
pub(super) fn invited(user: &str, replaces: Option<&str>) -> String {
    replaces.map_or_else(|| user.to_owned(), |call| format!("{user} from {call}"))
}

/// The listener.
pub(super) struct Witness {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

struct Shared {
    database: PathBuf,
    seen: Arc<Mutex<Vec<Seen>>>,
    dice: Mutex<Dice>,
}

impl Witness {
    /// Looks into this database.
    pub(super) fn start(database: &Path, dice: Dice) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let shared = Arc::new(Shared {
            database: database.to_owned(),
            seen: Arc::clone(&seen),
            dice: Mutex::new(dice),
        });
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || talk(stream.unwrap(), &shared));
            }
        });
        Self { url, seen }
    }

    /// What has arrived and was not looked at yet.
    pub(super) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn talk(mut stream: TcpStream, shared: &Shared) -> Option<()> {
    loop {
        let request = read_request(&mut stream)?;
        let answer = if request.split(' ').nth(1)?.ends_with("/token") {
            let grant = json!({"token_type": "Bearer", "expires_in": 3599, "access_token": "FAKE"});
            Some(with_body("200 OK", &grant))
        } else {
            let (operation, call, target) = read(&request);
            let begun = begun(&shared.database, operation, &call, &target);
            let what = named(operation, &call, &target);
            let (answer, may_be_done) = answer(operation, &mut shared.dice.lock().unwrap());
            shared.seen.lock().unwrap().push(Seen { what, begun, may_be_done });
            answer
        };
        stream.write_all(answer?.as_bytes()).ok()?;
    }
}

/// Operation, call and target of a request.
fn read(request: &str) -> (&'static str, String, String) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let rest = path.strip_prefix("/v1.0/communications/calls/").unwrap();
    let parts: Vec<_> = rest.split('/').collect();
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (operation, target) = match (method, &parts[1..]) {
        ("DELETE", []) => ("hang-up", String::new()),
        ("POST", ["reject"]) => ("reject", text(&body["reason"])),
        ("GET", ["participants"]) => ("read-roster", String::new()),
        ("DELETE", ["participants", one]) => ("remove-participant", (*one).to_owned()),
        ("POST", ["participants", "invite"]) => {
            let one = &body["participants"][0];
            let user = text(&one["identity"]["user"]["id"]);
            ("invite", invited(&user, one["replacesCallId"].as_str()))
        }
        other => panic!("nobody asks Graph for this: {other:?}"),
    };
    (operation, parts[0].to_owned(), target)
}

/// The attempts that are this request: each the last one of an open step, on disk as started and not
/// over; or over without an answer, because a request that nobody waits for any more may still arrive.
/// What gave way to the end of our leg was under way then.
fn begun(database: &Path, operation: &str, call: &str, target: &str) -> Vec<(StepRef, i64)> {
    let connection = Connection::open(database).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    let query = "SELECT a.deletion, a.position, a.number FROM steps AS s \
         JOIN deletions AS d ON d.deletion = s.deletion \
         JOIN calls AS c ON c.call = d.call JOIN attempts AS a ON a.deletion = s.deletion \
         AND a.position = s.position WHERE s.operation = ?1 AND c.graph_id = ?2 \
         AND ?3 = CASE s.operation WHEN 'reject' THEN s.reject_reason \
         ELSE coalesce(s.target, '') || coalesce((SELECT ' from ' || replaces FROM invitations \
         WHERE deletion = d.deletion), '') END \
         AND iif(a.answered_at IS NULL, \
         (d.state = 'open' AND s.state = 'open' OR s.failure = ?4) AND a.number = s.attempts, \
         a.status IS NULL AND a.effect_possible = 1)";
    let mut statement = connection.prepare(query).unwrap();
    let read =
        |row: &Row<'_>| Ok((StepRef { deletion: row.get(0)?, position: row.get(1)? }, row.get(2)?));
    statement
        .query_map((operation, call, target, LEG_ASKED_FOR), read)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// What Graph answers, and whether that leaves open what was done; nothing is answered with none.
fn answer(operation: &str, dice: &mut Dice) -> (Option<String>, bool) {
    let error = |status, code| Some(with_body(status, &json!({"error": {"code": code}})));
    match dice.roll(12) {
        0 if operation == "remove-participant" => (error("404 Not Found", "NotFound"), false),
        0 | 1 => (error("404 Not Found", "8522"), false),
        2 => (Some(empty("429 Too Many Requests\r\nretry-after: 1")), false),
        3 => (Some(empty("503 Service Unavailable")), true),
        4 => (Some(empty("500 Oops")), true),
        5 => (None, true),
        6 => (Some(empty("400 Bad Request")), false),
        _ => {
            let taken = match operation {
                "read-roster" => with_body("200 OK", &roster(dice)),
                "invite" => with_body("200 OK", &operation_of(dice)),
                "reject" => empty("202 Accepted"),
                _ => empty("204 No Content"),
            };
            (Some(taken), true)
        }
    }
}

/// Ourselves and some others.
fn roster(dice: &mut Dice) -> Value {
    let mut people = vec![json!({
        "id": "me", "info": {"identity": {"application": {"id": super::await_points::CLIENT}}},
    })];
    let is_alone = dice.roll(2) == 0;
    for id in ["p1", "p2", "p3"] {
        if !is_alone && dice.roll(2) == 0 {
            people.push(json!({"id": id, "info": {"identity": {"user": {"id": id}}}}));
        }
    }
    json!({"value": people})
}

fn operation_of(dice: &mut Dice) -> Value {
    let participants = match dice.roll(2) {
        0 => json!([]),
        _ => json!([{"participantId": "p9"}]),
    };
    json!({"id": format!("operation-{}", dice.roll(1000)), "status": "Running",
        "participants": participants})
}

fn with_body(status: &str, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

fn empty(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
}
