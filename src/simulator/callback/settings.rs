//! Where and how notifications are sent, as a tester says it.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};

use crate::simulator::fields::{BadField, Fields};
use crate::simulator::notification::Form;

/// Longer than any client waits.
const LONGEST_DELAY: u64 = 600_000;
const LONGEST_WINDOW: u64 = 60_000;
/// How long notifications are held to be shuffled, or to fill a batch, unless it is said.
const USUAL_WINDOW: u64 = 100;
const MOST_CONNECTIONS: u64 = 64;
const LARGEST_BATCH: u64 = 1000;
const CHANGES: [&str; 3] = ["created", "updated", "deleted"];

/// How notifications are sent. It holds for what happens to calls after it was set.
#[derive(Clone, Debug)]
pub(in crate::simulator) struct Settings {
    /// At a loopback address.
    pub(in crate::simulator) url: Url,
    pub(in crate::simulator) form: Form,
    /// The share of notifications that is never sent.
    pub(super) lose: f64,
    /// How many are lost at most; none is without end.
    pub(super) lose_times: Option<u64>,
    /// Only notifications with this `changeType` are lost.
    pub(super) lose_only: Option<String>,
    pub(super) delay: Duration,
    /// How much later the end of a call is told than that it is ending.
    pub(super) end: Duration,
    /// The share of notifications that is sent twice.
    pub(super) double: f64,
    pub(super) shuffle: bool,
    /// How many entries one POST may carry.
    pub(super) batch: usize,
    pub(super) window: Duration,
    /// How many POSTs are under way at most. With one, nothing overtakes anything; with more, only
    /// news of different calls do.
    pub(super) connections: usize,
    /// Whom the tokens are for, instead of the call's tenant.
    pub(super) tenant_id: Option<String>,
    /// Whom the tokens are for, instead of the call's app or the one that logged in to its tenant.
    pub(in crate::simulator) audience: Option<String>,
}

impl Settings {
    /// Takes the fields of `POST /sim/callback`.
    ///
    /// # Errors
    ///
    /// When a field is missing or malformed, or the URL is not one of this machine's own.
    pub(in crate::simulator) fn read(mut fields: Fields) -> Result<Self, BadField> {
        let url = read_url(&mut fields)?;
        let form = match fields.text("form")? {
            None => Form::V1,
            Some(name) => Form::parse(&name)
                .ok_or_else(|| BadField::new("form", "must be v1.0 or beta-2018"))?,
        };
        let lose_times = fields.number("loseTimes", 1..=u64::MAX)?;
        let lose = read_share(&mut fields, "lose")?;
        if lose.is_none() && lose_times.is_some() {
            return Err(BadField::new("loseTimes", "needs lose"));
        }
        let lose_only = fields.text("loseOnly")?;
        if lose_only.as_deref().is_some_and(|change| !CHANGES.contains(&change)) {
            return Err(BadField::new("loseOnly", "must be created, updated or deleted"));
        }
        let milliseconds =
            |given: Option<u64>, usual| Duration::from_millis(given.unwrap_or(usual));
        let settings = Self {
            url,
            form,
            lose: lose.unwrap_or(0.0),
            lose_times,
            lose_only,
            end: milliseconds(fields.number("endMs", 0..=LONGEST_DELAY)?, 0),
            delay: milliseconds(fields.number("delayMs", 0..=LONGEST_DELAY)?, 0),
            double: read_share(&mut fields, "double")?.unwrap_or(0.0),
            shuffle: fields.flag("shuffle")?.unwrap_or(false),
            batch: read_count(&mut fields, "batch", LARGEST_BATCH)?,
            window: milliseconds(fields.number("windowMs", 1..=LONGEST_WINDOW)?, USUAL_WINDOW),
            connections: read_count(&mut fields, "connections", MOST_CONNECTIONS)?,
            tenant_id: fields.text("tenantId")?,
            audience: fields.text("audience")?,
        };
        fields.finish()?;
        Ok(settings)
    }

    /// The form in which the control API shows it, and takes it.
    pub(super) fn listing(&self) -> Value {
        json!({
            "url": self.url.as_str(),
            "form": self.form.as_str(),
            "lose": self.lose,
            "loseTimes": self.lose_times,
            "loseOnly": self.lose_only,
            "delayMs": self.delay.as_millis(),
            "endMs": self.end.as_millis(),
            "double": self.double,
            "shuffle": self.shuffle,
            "batch": self.batch,
            "windowMs": self.window.as_millis(),
            "connections": self.connections,
            "tenantId": self.tenant_id,
            "audience": self.audience,
        })
    }
}

/// A plain URL whose host is this machine for certain: what a simulator sends could be taken for
/// Microsoft's, so nothing of it leaves.
fn read_url(fields: &mut Fields) -> Result<Url, BadField> {
    let bad = |problem: &str| BadField::new("url", problem);
    let text = fields.text("url")?.ok_or_else(|| bad("is required"))?;
    let url = Url::parse(&text).map_err(|error| BadField::new("url", error.to_string()))?;
    if url.scheme() != "http" {
        return Err(bad("must begin with http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("must not hold credentials"));
    }
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    if host != "localhost" && !address.is_ok_and(|ip: IpAddr| ip.is_loopback()) {
        return Err(bad("must name a loopback address or localhost"));
    }
    Ok(url)
}

/// A share of notifications: a number from 0 to 1, or `true` for all of them.
fn read_share(fields: &mut Fields, field: &str) -> Result<Option<f64>, BadField> {
    if let Some(flag) = fields.peek(field).and_then(Value::as_bool) {
        fields.take(field);
        return Ok(Some(if flag { 1.0 } else { 0.0 }));
    }
    fields.share(field)
}

/// How many of something, one unless it is said.
fn read_count(fields: &mut Fields, field: &str, most: u64) -> Result<usize, BadField> {
    let count = fields.number(field, 1..=most)?.unwrap_or(1);
    Ok(usize::try_from(count).expect("the range was checked, and its end is small"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &Value) -> Result<Settings, String> {
        let fields = Fields::read(body.to_string().as_bytes()).unwrap();
        Settings::read(fields).map_err(|error| error.to_string())
    }

    #[test]
    fn notifications_are_sent_to_this_machine_only() {
        for url in [
            "http://127.0.0.1:8082/api/calls",
            "http://127.9.9.9/",
            "http://[::1]:8082/api/calls?x=1",
            "http://localhost:8082/api/calls",
            "HTTP://LOCALHOST/",
            "http://2130706433/",
        ] {
            read(&json!({"url": url})).expect(url);
        }
        for url in [
            "",
            "/api/calls",
            "127.0.0.1:8082",
            "https://127.0.0.1/api/calls",
            "ftp://127.0.0.1/",
            "http://192.0.2.1/",
            "http://0.0.0.0:8082/",
            "http://[::]/",
            "http://[::ffff:192.0.2.1]/",
            "http://10.0.0.1/",
            "http://bot.contoso.com/api/calls",
            "http://localhost.contoso.com/",
            "http://127.0.0.1.contoso.com/",
            "http://127.0.0.1@contoso.com/",
            "http://ann@127.0.0.1/",
            "http://ann:pw@127.0.0.1/",
            "http://:pw@127.0.0.1/",
        ] {
            let error = read(&json!({"url": url})).expect_err(url);
            assert!(error.starts_with("url: "), "{url}: {error}");
        }
    }

    #[test]
    fn a_bad_field_is_named() {
        let url = "http://127.0.0.1:1/";
        for (body, field) in [
            (json!({}), "url"),
            (json!({"url": 1}), "url"),
            (json!({"url": url, "form": "v2.0"}), "form"),
            (json!({"url": url, "form": 1}), "form"),
            (json!({"url": url, "lose": 1.5}), "lose"),
            (json!({"url": url, "lose": "1"}), "lose"),
            (json!({"url": url, "loseTimes": 2}), "loseTimes"),
            (json!({"url": url, "lose": true, "loseTimes": 0}), "loseTimes"),
            (json!({"url": url, "lose": true, "loseOnly": "ended"}), "loseOnly"),
            (json!({"url": url, "endMs": "1"}), "endMs"),
            (json!({"url": url, "delayMs": -1}), "delayMs"),
            (json!({"url": url, "delayMs": 600_001}), "delayMs"),
            (json!({"url": url, "double": -0.1}), "double"),
            (json!({"url": url, "shuffle": 1}), "shuffle"),
            (json!({"url": url, "batch": 0}), "batch"),
            (json!({"url": url, "windowMs": 0}), "windowMs"),
            (json!({"url": url, "connections": 65}), "connections"),
            (json!({"url": url, "tenantId": ""}), "tenantId"),
            (json!({"url": url, "audience": []}), "audience"),
            (json!({"url": url, "delay": 1}), "delay"),
        ] {
            let error = read(&body).unwrap_err();
            assert!(error.starts_with(&format!("{field}: ")), "{body}: {error}");
        }
    }

    #[test]
    fn what_is_shown_can_be_set_again() {
        let given = json!({
            "url": "http://127.0.0.1:1/", "form": "beta-2018", "lose": true, "loseTimes": 3,
            "loseOnly": "deleted", "endMs": 4, "delayMs": 5, "double": 0.5, "shuffle": true, "batch": 7, "windowMs": 9,
            "connections": 8, "tenantId": "t", "audience": "app",
        });
        let shown = read(&given).unwrap().listing();
        assert_eq!((&shown["lose"], &shown["double"]), (&json!(1.0), &json!(0.5)));
        assert_eq!(read(&shown).unwrap().listing(), shown);
    }

    proptest! {
        #[test]
        fn whatever_url_is_accepted_leads_to_this_machine(
            scheme in "(http|https|HTTP|ftp)?", between in "[:/\\\\@]{0,4}",
            host in "[0-9a-zA-Z.:@%\\[\\]/-]{0,24}", rest in ".{0,8}"
        ) {
            let url = format!("{scheme}{between}{host}{rest}");
            if let Ok(settings) = read(&json!({"url": url})) {
                let host = settings.url.host_str().unwrap();
                let ours = host == "localhost" || host == "[::1]" || host.starts_with("127.");
                prop_assert!(ours && settings.url.scheme() == "http", "{url}");
            }
        }
    }
}
