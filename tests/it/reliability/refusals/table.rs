//! Every class of refusal, each with a call of its own.

use serde_json::{Value, json};

use crate::support::{CLIENT_ID, Gateway, Key, Site, TENANT, call};

/// Tenants whose every call is held, whose sending is paused, and in which we are no app.
const HELD: &str = "57dab8b1-894c-409a-b240-bd8beae78896";
const PAUSED: &str = "9d1a0f1c-7c1b-4d5e-8f00-0a1b2c3d4e5f";
const NOT_OURS: &str = "0e9c1f7e-52b1-4c3c-9f1c-6d1d3b0d6d11";
const NOBODY: &str = "57dab8b1-894c-409a-b240-bd8beae78896";
const REST: &str = "HTTP/1.1\r\nHost: a";

/// One class.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) request: String,
    pub(super) code: i32,
    /// Its reason, or what it was, in an answer with detail.
    pub(super) words: &'static [&'static str],
    /// What the audit record calls it; none when it is decided that it is not there.
    pub(super) audited: Option<&'static str>,
    /// The call, and what deletes it once [`lift`] was called.
    pub(super) control: Option<(String, String)>,
}

/// All of them, the gateway that they are asked of, and the key of a bot.
pub(super) async fn all() -> (Gateway, Vec<Case>, Key) {
    let site = Site::with("legacy.wait = \"5ms\"\nlegacy.on_ended = \"success\"").await;
    let mut text = std::fs::read_to_string(site.config()).expect("it was written");
    let url = site.graph.url();
    for tenant in [HELD, PAUSED] {
        for (name, value) in [
            ("client_id", CLIENT_ID),
            ("client_secret", "planted-client-secret"),
            ("base_url", &url),
            ("login_url", &url),
        ] {
            text.extend(["graph.tenants.", tenant, ".", name, " = \"", value, "\"\n"]);
        }
    }
    std::fs::write(site.config(), text).expect("a file can be written");
    let mut table = Table { site, lines: String::new(), cases: Vec::new() };
    table.keys().await;
    table.tokens().await;
    table.rights().await;
    table.held().await;
    table.shape().await;
    table.calls().await;
    table.next().await;
    let Table { site, lines, cases } = table;
    site.import(&lines).await;
    site.change("UPDATE calls SET app_id = 'other' WHERE subject = 'other app'");
    site.run(&["pause", "--tenant", PAUSED]).await;
    let bot = site.key(&["--right", "Notify"]).await;
    (Gateway::serve(site).await, cases, bot)
}

/// Removes every reason that a change of the database removes.
pub(super) async fn lift(gateway: &Gateway) {
    gateway.change("DELETE FROM holds");
    gateway.change("UPDATE calls SET app_id = NULL");
    gateway.change(
        "UPDATE keys SET revoked_at = NULL, expires_at = NULL, peers = NULL, post_only = 0, \
         requires_token = 0, reason_required = 0, numbers = NULL, identifier_kinds = NULL, \
         rights = 'DeleteCall'",
    );
    gateway.run(&["resume", "--tenant", PAUSED]).await;
}

/// All of them, while they are made.
struct Table {
    site: Site,
    lines: String,
    cases: Vec<Case>,
}

fn get(query: &str) -> String {
    format!("GET /verba/api?{query} {REST}\r\n\r\n")
}

impl Table {
    /// A running call of a tenant; gives what names it.
    async fn call(&mut self, tenant: &str, more: Value) -> String {
        let mut made = call(&format!("71{:02}", self.cases.len()), more);
        made["tenantID"] = json!(tenant);
        let id = made["graphCallID"].as_str().expect("text").to_owned();
        let there = json!({
            "id": id, "source": made["source"], "targets": made["targets"], "tenantId": tenant,
            "appId": CLIENT_ID,
        });
        self.site.graph.make(&there).await;
        self.lines.extend([made.to_string(), "\n".to_owned()]);
        id
    }

    /// A class whose request is the same when its reason is lifted.
    async fn lifted(
        &mut self,
        name: &'static str,
        code: i32,
        word: &'static [&'static str],
        key: &Key,
    ) {
        self.lifted_with(name, code, word, key, "").await;
    }

    async fn lifted_with(
        &mut self,
        name: &'static str,
        code: i32,
        words: &'static [&'static str],
        key: &Key,
        rest: &str,
    ) {
        let call = self.call(TENANT, json!({"subject": name})).await;
        let request = get(&key.query(&format!("nativeID={call}&detail=1{rest}")));
        let (audited, control) = (Some(words[0]), Some((call, request.clone())));
        self.cases.push(Case { name, request, code, words, audited, control });
    }

    /// A class whose request, made by `request` from the selector, differs from one that is right.
    async fn wrong(
        &mut self,
        name: &'static str,
        code: i32,
        words: &'static [&'static str],
        request: impl FnOnce(&str) -> String,
    ) {
        let call = self.call(TENANT, json!({"subject": name})).await;
        let selector = format!("nativeID={call}&detail=1");
        let right = get(&self.site.key.query(&selector));
        let (request, control) = (request(&selector), Some((call, right)));
        self.cases.push(Case { name, request, code, words, audited: Some(words[0]), control });
    }

    async fn keys(&mut self) {
        let key = self.site.key.clone();
        self.wrong("no key", -41, &["bad_key"], |selector| {
            get(&format!("action=DeleteCall&{selector}"))
        })
        .await;
        self.wrong("an unknown key", -41, &["bad_key"], |selector| {
            get(&format!("action=DeleteCall&apiKey={NOBODY}&{selector}"))
        })
        .await;
        self.wrong("a malformed key", -41, &["bad_key"], |selector| {
            get(&format!("action=DeleteCall&apiKey={}&{selector}", &key.secret[..30]))
        })
        .await;
        let revoked = self.site.key(&[]).await;
        self.site.run(&["keys", "revoke", &revoked.id]).await;
        self.lifted("a revoked key", -41, &["bad_key"], &revoked).await;
        let expired = self.site.key(&["--expires", "2099-01-01T00:00:00Z"]).await;
        let expire = format!("UPDATE keys SET expires_at = 1 WHERE key_id = '{}'", expired.id);
        self.site.change(&expire);
        self.lifted("an expired key", -41, &["bad_key"], &expired).await;
        let elsewhere = self.site.key(&["--allow", "192.0.2.0/24"]).await;
        self.lifted("another address", -41, &["bad_key"], &elsewhere).await;
    }

    async fn tokens(&mut self) {
        let guarded = self.site.key(&["--requires-token"]).await;
        let other = self.site.key(&["--requires-token"]).await;
        self.lifted("no token", -42, &["token_needed"], &guarded).await;
        let foreign = self.site.token(&other).await;
        for (name, change) in [
            ("a token that has expired", "expires_at = 1"),
            ("a token that was released", "released_at = 1"),
        ] {
            let token = self.site.token(&guarded).await;
            self.site.change(&format!(
                "UPDATE sessions SET {change} WHERE session = (SELECT max(session) FROM sessions)"
            ));
            let rest = format!("&token={token}");
            self.lifted_with(name, -43, &["token_expired"], &guarded, &rest).await;
        }
        for (name, token) in [
            ("another key's token", foreign.as_str()),
            ("an unknown token", NOBODY),
            ("a malformed token", "x"),
        ] {
            let rest = format!("&token={token}");
            self.lifted_with(name, -43, &["token_expired"], &guarded, &rest).await;
        }
    }

    async fn rights(&mut self) {
        for (name, flags, code, word) in [
            ("no right", ["--right", "GetCallID"], 2, &["not_permitted"]),
            ("another identifier", ["--identifier", "callID"], 2, &["not_permitted"]),
            ("another number", ["--numbers", "99*"], 2, &["not_found"]),
        ] {
            let key = self.site.key(&flags).await;
            self.lifted(name, code, word, &key).await;
        }
        let poster = self.site.key(&["--post-only"]).await;
        self.lifted("GET", 2, &["not_permitted"], &poster).await;
        let explains = self.site.key(&["--reason-required"]).await;
        self.lifted("no reason", -20, &["bad_parameter"], &explains).await;
        let key = self.site.key.clone();
        for (name, action) in [
            ("scope=all", "DeleteCall&scope=all"),
            ("RejectCall", "RejectCall"),
            ("DeleteParticipant", "DeleteParticipant&participantID=p"),
            ("InviteParticipant", "InviteParticipant&userID=278405a3-f568-4b3e-b684-009193463064"),
        ] {
            self.wrong(name, 2, &["not_permitted"], |selector| get(&key.ask(action, selector)))
                .await;
        }
        let other = self.site.key(&["--tenant", NOT_OURS]).await;
        let call = self.call(NOT_OURS, json!({})).await;
        let request = get(&other.query(&format!("nativeID={call}&detail=1")));
        self.plain("a tenant in which we are no app", 2, &["not_permitted"], request);
    }

    /// A class that nothing lifts.
    fn plain(
        &mut self,
        name: &'static str,
        code: i32,
        words: &'static [&'static str],
        request: String,
    ) {
        self.cases.push(Case {
            name,
            request,
            code,
            words,
            audited: Some(words[0]),
            control: None,
        });
    }

    fn hold(&self, tenant: &str, kind: &str, value: &str) {
        self.site.change(&format!(
            "INSERT INTO holds (hold_id, tenant, kind, value, set_by, set_at) \
             SELECT '{kind} {value}', tenant, '{kind}', '{value}', 'auditor', 1 FROM tenants \
             WHERE tenant_id = '{tenant}'"
        ));
    }

    async fn held(&mut self) {
        let key = self.site.key.clone();
        for (name, kind, field) in [
            ("a hold on the call", "call", "callID"),
            ("a hold on the chain", "platform_call", "platformCallID"),
            ("a hold on Graph's call", "native", ""),
            ("a hold on the meeting", "meeting", "meetingID"),
            ("a hold on the number", "number", ""),
        ] {
            let value = uuid::Uuid::new_v4().to_string();
            let more = if field.is_empty() { json!({}) } else { json!({field: value}) };
            let call = self.call(TENANT, more).await;
            let value = match kind {
                "native" => call.clone(),
                "number" => format!("71{:02}", self.cases.len()),
                _ => value,
            };
            self.hold(TENANT, kind, &value);
            let request = get(&key.query(&format!("nativeID={call}&detail=1")));
            let (words, control) = (&["policy"], Some((call, request.clone())));
            let audited = Some("policy");
            self.cases.push(Case { name, request, code: 2, words, audited, control });
        }
        let held = self.site.key(&["--tenant", HELD]).await;
        let call = self.call(HELD, json!({})).await;
        self.hold(HELD, "all", "*");
        let request = get(&held.query(&format!("nativeID={call}&detail=1")));
        let (words, control) = (&["policy"], Some((call.clone(), request.clone())));
        let (name, audited) = ("a hold on everything", Some("policy"));
        self.cases.push(Case { name, request, code: 2, words, audited, control });
        let request = get(&key.query(&format!("nativeID={call}&detail=1")));
        self.plain("another tenant's call", 2, &["not_found"], request);
    }

    /// `status=next`, each beside a call of that number that goes on and is not meant.
    async fn next(&mut self) {
        let may = self.site.key(&["--right", "DeleteCall", "--right", "next"]).await;
        self.wrong("next without an extension", 2, &["not_found"], |selector| {
            get(&may.query(&format!("{selector}&status=next")))
        })
        .await;
        let may_not = self.site.key.clone();
        let request = self.of_next(&may_not, "DeleteCall").await;
        self.plain("next without its right", 2, &["not_found"], request);
        for (name, right, action) in [
            ("next to remove", "DeleteParticipant", "DeleteParticipant&participantID=p"),
            (
                "next to invite",
                "InviteParticipant",
                "InviteParticipant&userID=278405a3-f568-4b3e-b684-009193463064",
            ),
            ("next to name", "GetCallID", "GetCallID"),
            ("next to tell", "GetCallInformation", "GetCallInformation"),
        ] {
            let key = self.site.key(&["--right", right, "--right", "next"]).await;
            let request = self.of_next(&key, action).await;
            self.plain(name, 2, &["not_found"], request);
        }
        let limits = ["--right", "DeleteCall", "--right", "next", "--numbers", "99*"];
        let limited = self.site.key(&limits).await;
        let of_other = self.of_next(&limited, "DeleteCall").await;
        let number = format!("71{:02}", self.cases.len() + 1);
        self.armed("next of another number", of_other);
        self.hold(TENANT, "number", &number);
        let of_held = self.of_next(&may, "DeleteCall").await;
        self.armed("next of a held number", of_held);
    }

    async fn of_next(&mut self, key: &Key, action: &str) -> String {
        let number = format!("71{:02}", self.cases.len());
        self.call(TENANT, json!({})).await;
        get(&key.ask(action, &format!("extension={number}&status=next&detail=1")))
    }

    /// What is armed and fires for none of the calls that there are, nor for any that may not be deleted.
    fn armed(&mut self, name: &'static str, request: String) {
        let (words, audited, control) = (&["armed"][..], None, None);
        self.cases.push(Case { name, request, code: 0, words, audited, control });
    }

    async fn shape(&mut self) {
        let key = self.site.key.clone();
        for name in ["Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"] {
            self.wrong("a prefetch", 2, &["prefetch"], |selector| {
                format!("GET /verba/api?{} {REST}\r\n{name}: prefetch\r\n\r\n", key.query(selector))
            })
            .await;
        }
        for method in ["HEAD", "DELETE", "PUT", "OPTIONS"] {
            self.wrong("another method", -20, &["bad_parameter"], |selector| {
                format!("{method} /verba/api?{} {REST}\r\n\r\n", key.query(selector))
            })
            .await;
        }
        self.wrong("another path", -30, &["unknown_action"], |selector| {
            format!("GET /verba/api2?{} {REST}\r\n\r\n", key.query(selector))
        })
        .await;
        let last = self.cases.last_mut().expect("it was just made");
        last.audited = None;
        self.wrong("an unknown action", -30, &["unknown_action"], |selector| {
            get(&key.ask("DeleteCalls", selector))
        })
        .await;
        for defect in [
            "call_id=x",
            "callID=x&callID=y",
            "dryRun=maybe",
            "status=recorded",
            "status=ongoing,ongoing",
            "scope=everything",
            "nativeID=%zz",
            "dry_run=1",
        ] {
            self.wrong("a bad parameter", -20, &["bad_parameter"], |selector| {
                get(&key.query(&format!("{selector}&{defect}")))
            })
            .await;
        }
        self.plain("no identifier", -20, &["bad_parameter"], get(&key.query("detail=1")));
        let request = get(&key.query("extension=7100&detail=1"));
        self.plain("no status", -20, &["bad_parameter"], request);
        self.wrong("a dry run", 0, &["would_send"], |selector| {
            get(&key.query(&format!("{selector}&dryRun=1")))
        })
        .await;
    }

    async fn calls(&mut self) {
        let key = self.site.key.clone();
        let request = get(&key.query(&format!("nativeID={NOBODY}&detail=1")));
        self.plain("no such call", 2, &["not_found"], request);
        let over = json!({"endedAt": "2026-11-22T05:40:00Z"});
        let over = self.call(TENANT, over).await;
        let request = get(&key.query(&format!("nativeID={over}&detail=1")));
        self.plain("a call that has ended", 0, &["already_ended"], request);
        self.lifted("other app", 2, &["not_permitted"], &key).await;
        let ringing = self.site.key(&["--right", "RejectCall", "--right", "DeleteCall"]).await;
        self.wrong("a call that does not ring", 2, &["ended"], |selector| {
            get(&ringing.ask("RejectCall", selector))
        })
        .await;
        let removing = self.site.key(&["--right", "DeleteParticipant"]).await;
        self.wrong("nobody of that number", 2, &["not_found"], |selector| {
            get(&removing.ask("DeleteParticipant&participant=%2B499", selector))
        })
        .await;
        let paused = self.site.key(&["--tenant", PAUSED]).await;
        let call = self.call(PAUSED, json!({})).await;
        let request = get(&paused.query(&format!("nativeID={call}&detail=1")));
        let control = Some((call, request.clone()));
        let (name, words) = ("sending is paused", &["accepted", "joined"][..]);
        self.cases.push(Case { name, request, code: 0, words, audited: None, control });
    }
}
