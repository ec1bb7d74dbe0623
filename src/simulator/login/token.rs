//! The tokens that open Graph's side. Each carries its expiry and its app, so that nothing has to be
//! kept; it proves nothing to anybody else.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock::Timestamp;

/// How a token of ours begins; a client treats the whole as opaque.
const PREFIX: &str = "callgate-simulator.";

/// Who logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) struct App {
    pub(in crate::simulator) tenant: String,
    pub(in crate::simulator) client_id: String,
}

/// What a bearer token turns out to be.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::simulator) enum Bearer {
    /// It was not issued here; it is good for everything and never over.
    Foreign,
    Expired,
    Of(App),
}

/// A token for `app` that is good for `lifetime`.
pub(super) fn issue(app: &App, now: Timestamp, lifetime: Duration) -> String {
    let who = json!({"tid": app.tenant, "appid": app.client_id}).to_string();
    let who = BASE64_URL_SAFE_NO_PAD.encode(who);
    format!("{PREFIX}{}.{who}.{}", (now + lifetime).0, Uuid::new_v4())
}

/// Reads a token that came with a request.
pub(in crate::simulator) fn read(token: &str, now: Timestamp) -> Bearer {
    match parts(token) {
        None => Bearer::Foreign,
        Some((expires, _)) if expires <= now => Bearer::Expired,
        Some((_, app)) => Bearer::Of(app),
    }
}

fn parts(token: &str) -> Option<(Timestamp, App)> {
    let (expires, rest) = token.strip_prefix(PREFIX)?.split_once('.')?;
    let (who, _) = rest.split_once('.')?;
    let who: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(who).ok()?).ok()?;
    let text = |name: &str| who[name].as_str().map(str::to_owned);
    let app = App { tenant: text("tid")?, client_id: text("appid")? };
    Some((Timestamp(expires.parse().ok()?), app))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_of_ours_is_expired_exactly_at_its_end_and_a_foreign_one_never() {
        let app = App { tenant: "t".to_owned(), client_id: "a".to_owned() };
        let token = issue(&app, Timestamp(5_000), Duration::from_secs(3599));
        let end = Timestamp(5_000 + 3_599_000);
        assert_eq!(read(&token, end - Duration::from_millis(1)), Bearer::Of(app));
        assert_eq!(read(&token, end), Bearer::Expired);
        assert_eq!(read("FAKE.ACCESS.TOKEN", Timestamp(i64::MAX)), Bearer::Foreign);
    }

    proptest! {
        #[test]
        fn any_tenant_and_app_come_out_of_a_token_as_they_went_in(tenant: String, client_id: String) {
            let app = App { tenant, client_id };
            let token = issue(&app, Timestamp(0), Duration::from_secs(1));
            prop_assert_eq!(read(&token, Timestamp(0)), Bearer::Of(app));
        }

        #[test]
        fn whatever_is_behind_the_prefix_is_read_or_foreign(rest in "[0-9A-Za-z.-]{0,40}") {
            prop_assert_eq!(read(&format!("{PREFIX}{rest}"), Timestamp(0)), Bearer::Foreign);
        }
    }
}
