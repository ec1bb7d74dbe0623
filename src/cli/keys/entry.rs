//! A key as it is listed and shown; its secret is not in here.

use serde::Serialize;

use crate::cli::output::short_time;
use crate::clock::Timestamp;
use crate::id::TenantId;
use crate::model::key::ApiKey;
use crate::model::rights::Right;
use crate::store::access::{KeyReport, KeyUse};

/// The characters of a name that a list shows.
const NAME: usize = 18;
/// And of a tenant.
const TENANT: usize = 16;
/// The state of a key that goes on.
const VALID: &str = "valid";

/// A key, as `--json` prints it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a member of the JSON")]
pub(super) struct KeyEntry {
    id: String,
    name: String,
    owner: Option<String>,
    state: &'static str,
    #[serde(rename = "tenantID")]
    tenant: String,
    rights: Vec<String>,
    identifiers: Vec<&'static str>,
    numbers: Vec<String>,
    allow: Vec<String>,
    requires_token: bool,
    post_only: bool,
    reason_required: bool,
    query_passwords: bool,
    weak: bool,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    #[serde(rename = "successorID")]
    successor: Option<String>,
    last_used_at: Option<String>,
    query_password_uses: u64,
    uses: Vec<UseEntry>,
    #[serde(skip)]
    times: Times,
}

/// From where a key was used.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UseEntry {
    peer: String,
    login: Option<String>,
    first_used_at: String,
    last_used_at: String,
    #[serde(skip)]
    first: Timestamp,
    #[serde(skip)]
    last: Timestamp,
}

/// What tables show to the second.
struct Times {
    expires: Option<Timestamp>,
    last_used: Option<Timestamp>,
    /// When it got its successor.
    rotated: Option<Timestamp>,
}

impl KeyEntry {
    /// One for each of the keys, as they are at `now`.
    pub(super) fn all(reports: &[KeyReport], now: Timestamp) -> Vec<Self> {
        let made_at = |id| {
            let key = reports.iter().find(|report| report.key.id == id);
            key.map(|report| report.key.created_at)
        };
        let entry =
            |report: &KeyReport| Self::new(report, report.key.successor.and_then(made_at), now);
        reports.iter().map(entry).collect()
    }

    fn new(report: &KeyReport, rotated: Option<Timestamp>, now: Timestamp) -> Self {
        let key = &report.key;
        Self {
            id: key.id.to_string(),
            name: key.name.clone(),
            owner: key.owner.clone(),
            state: state(key, now),
            tenant: key.tenant.to_string(),
            rights: key.rights.iter().map(ToString::to_string).collect(),
            identifiers: key.identifiers.iter().map(|kind| kind.as_str()).collect(),
            numbers: key.numbers.iter().map(ToString::to_string).collect(),
            allow: key.peers.iter().map(ToString::to_string).collect(),
            requires_token: key.requires_token,
            post_only: key.post_only,
            reason_required: key.reason_required,
            query_passwords: key.query_passwords,
            weak: key.weak,
            created_at: key.created_at.to_string(),
            expires_at: key.expires_at.map(|at| at.to_string()),
            revoked_at: key.revoked_at.map(|at| at.to_string()),
            successor: key.successor.map(|id| id.to_string()),
            last_used_at: report.last_used_at.map(|at| at.to_string()),
            query_password_uses: report.query_password_uses,
            uses: report.uses.iter().map(UseEntry::new).collect(),
            times: Times { expires: key.expires_at, last_used: report.last_used_at, rotated },
        }
    }

    /// It is the key of this id.
    pub(super) fn is(&self, id: &str) -> bool {
        self.id == id
    }

    /// It is a key of this tenant.
    pub(super) fn is_of(&self, tenant: Option<&TenantId>) -> bool {
        tenant.is_some_and(|tenant| tenant.as_str() == self.tenant)
    }

    /// The cells of a list, without the tenant: everything that fits.
    pub(super) fn cells(&self) -> [String; 7] {
        let state = if self.weak && self.state == VALID { "weak" } else { self.state };
        [
            self.id.clone(),
            shortened(&self.name, NAME),
            state.to_owned(),
            self.short_rights(),
            self.limits().join(","),
            self.times.expires.map(day).unwrap_or_default(),
            self.last_use(),
        ]
    }

    /// The tenant as a list shows it.
    pub(super) fn short_tenant(&self) -> String {
        shortened(&self.tenant, TENANT)
    }

    /// Each fact with its name; those that do not apply are left out.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let or = |items: Vec<&str>, all: &str| match items.len() {
            0 => all.to_owned(),
            _ => items.join(", "),
        };
        let texts =
            |items: &[String], all: &str| or(items.iter().map(String::as_str).collect(), all);
        let queries = match (self.query_passwords, self.query_password_uses) {
            (true, 0) => "allowed, none came".to_owned(),
            (true, count) => format!("allowed, {count} came: whoever reads a log may have them"),
            (false, 0) => "refused".to_owned(),
            (false, count) => format!("refused, {count} came"),
        };
        let facts = [
            ("key id", Some(self.id.clone())),
            ("name", Some(self.name.clone())),
            ("owner", self.owner.clone()),
            ("state", Some(self.state.to_owned())),
            ("weak", self.weak.then(|| "yes: it was imported and could be guessed".to_owned())),
            ("tenant", Some(self.tenant.clone())),
            ("rights", Some(texts(&self.rights, "none"))),
            ("identifiers", Some(or(self.identifiers.clone(), "all"))),
            ("numbers", Some(texts(&self.numbers, "all"))),
            ("from", Some(texts(&self.allow, "everywhere"))),
            ("needs", Some(or(self.needs(), "nothing but the key"))),
            ("passwords in the query", Some(queries)),
            ("created", Some(self.created_at.clone())),
            ("expires", Some(self.expires_at.clone().unwrap_or_else(|| "never".to_owned()))),
            ("revoked", self.revoked_at.clone()),
            ("successor", self.successor.clone()),
            ("last used", Some(self.last_used_at.clone().unwrap_or_else(|| "never".to_owned()))),
        ];
        facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// From where it was used, the latest first.
    pub(super) fn uses(&self) -> Vec<[String; 4]> {
        let cells = |one: &UseEntry| {
            let login = one.login.clone().unwrap_or_default();
            [one.peer.clone(), login, short_time(one.first), short_time(one.last)]
        };
        self.uses.iter().map(cells).collect()
    }

    fn needs(&self) -> Vec<&'static str> {
        [(self.requires_token, "token"), (self.post_only, "post"), (self.reason_required, "reason")]
            .into_iter()
            .filter_map(|(needed, what)| needed.then_some(what))
            .collect()
    }

    /// What it needs beside the secret, and what keeps it from some calls, places or logins.
    fn limits(&self) -> Vec<&'static str> {
        let mut words = self.needs();
        let others = [
            (!self.allow.is_empty(), "from"),
            (!self.numbers.is_empty(), "numbers"),
            (!self.identifiers.is_empty(), "ids"),
            (!self.query_passwords, "no-query"),
        ];
        words.extend(others.into_iter().filter_map(|(is_so, word)| is_so.then_some(word)));
        words
    }

    /// Those that a new key has are one word, and so are the two of a key that logs in.
    fn short_rights(&self) -> String {
        let all = [&Right::DEFAULT[..], &Right::LOGIN].concat();
        let sets = if self.requires_token {
            [("default", &all[..]), ("default,no-login", &Right::DEFAULT), ("login", &Right::LOGIN)]
        } else {
            [("default,login", &all[..]), ("default", &Right::DEFAULT), ("login", &Right::LOGIN)]
        };
        let mut left = self.rights.clone();
        let mut words = Vec::new();
        for (word, rights) in sets {
            if rights.iter().all(|right| left.contains(&right.to_string())) {
                left.retain(|name| !rights.iter().any(|right| right.to_string() == *name));
                words.push(word.to_owned());
            }
        }
        words.extend(left);
        words.join(",")
    }

    /// When it was used last; by whom when it should not have been, because it has a successor.
    fn last_use(&self) -> String {
        let Some(last) = self.times.last_used else { return String::new() };
        let time = day(last);
        let is_since = self.times.rotated.is_some_and(|rotated| last >= rotated);
        match self.uses.first().filter(|_| is_since) {
            Some(UseEntry { peer, login: Some(login), .. }) => format!("{time} by {peer} {login}"),
            Some(UseEntry { peer, .. }) => format!("{time} by {peer}"),
            None => time,
        }
    }
}

impl UseEntry {
    fn new(one: &KeyUse) -> Self {
        Self {
            peer: one.peer.clone(),
            login: (!one.login.is_empty()).then(|| one.login.clone()),
            first_used_at: one.first_used_at.to_string(),
            last_used_at: one.last_used_at.to_string(),
            first: one.first_used_at,
            last: one.last_used_at,
        }
    }
}

/// A time for a list that has no room for more than its day.
fn day(at: Timestamp) -> String {
    let text = short_time(at);
    text.split_once('T').map_or_else(|| text.clone(), |(day, _)| day.to_owned())
}

/// No more than so many characters of `text`.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

fn state(key: &ApiKey, now: Timestamp) -> &'static str {
    match key {
        key if key.revoked_at.is_some() => "revoked",
        key if !key.is_valid_at(now) => "expired",
        key if key.successor.is_some() => "rotated",
        _ => VALID,
    }
}
