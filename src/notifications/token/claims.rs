//! What a token says, and what of it must be so; pure.
//!
//! A claim that is missing is never as good as one that is right.

use std::time::Duration;

use serde::Deserialize;

use crate::clock::Timestamp;
use crate::config::notifications::NotificationsConfig;
use crate::id::{TenantId, canonical_guid};
use crate::notifications::token::parts::{read_object, shown};
use crate::notifications::token::{NotProven, Proof};

/// How far the clocks of sender and receiver may be apart.
const LEEWAY: Duration = Duration::from_mins(5);

/// The claims that count, as they were signed. Times are seconds since 1970.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    iss: Option<String>,
    aud: Option<Audience>,
    exp: Option<i64>,
    nbf: Option<i64>,
    tid: Option<String>,
    #[serde(rename = "http://schemas.microsoft.com/identity/claims/tenantid")]
    long_tid: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// What is configured about issuers and audiences.
#[derive(Debug)]
pub(super) struct Expectations {
    pub(super) issuers: Vec<String>,
    pub(super) audiences: Vec<String>,
    /// Of these tenants, only the one that is said here.
    pub(super) apps: Vec<(TenantId, String)>,
}

impl Claims {
    /// # Errors
    ///
    /// When `payload` is no object, a claim is of the wrong type, or is there twice.
    pub(super) fn read(payload: &[u8]) -> Result<Self, NotProven> {
        read_object(payload).ok_or(NotProven::Claims)
    }

    fn tenant(&self) -> Result<TenantId, NotProven> {
        let guid = |text: &String| canonical_guid(text).ok_or(NotProven::Tenant);
        let short = self.tid.as_ref().map(guid).transpose()?;
        let long = self.long_tid.as_ref().map(guid).transpose()?;
        match (short, long) {
            (None, None) => Err(NotProven::NoTenant),
            (Some(short), Some(long)) if short != long => Err(NotProven::Tenant),
            (Some(tenant), _) | (None, Some(tenant)) => Ok(TenantId::new(&tenant)),
        }
    }

    /// Whom they are for, for an operator who is to find the key to set.
    fn described(&self, audiences: &[String]) -> String {
        let audience = audiences.first().map(String::as_str).unwrap_or_default();
        let tenant = self.tenant();
        let tenant = tenant.as_ref().map_or("(none)", TenantId::as_str);
        format!("audience {} in tenant {tenant}", shown(audience))
    }
}

impl Expectations {
    /// Those that are configured.
    pub(super) fn of(config: &NotificationsConfig) -> Self {
        let (issuers, audiences) = (config.issuers.clone(), config.audiences.clone());
        Self { issuers, audiences, apps: config.apps.clone() }
    }

    /// What claims prove that were signed.
    ///
    /// # Errors
    ///
    /// When one of them is not as it must be at `now`.
    pub(super) fn check(&self, claims: &Claims, now: Timestamp) -> Result<Proof, NotProven> {
        let issuer = claims.iss.as_deref().ok_or(NotProven::Issuer)?;
        if !self.issuers.iter().any(|known| without_slash(known) == without_slash(issuer)) {
            return Err(NotProven::Issuer);
        }
        let audiences = match &claims.aud {
            None => &[],
            Some(Audience::One(one)) => std::slice::from_ref(one),
            Some(Audience::Several(several)) => &several[..],
        };
        let is_meant =
            |known: &&String| audiences.iter().any(|audience| is_same_audience(known, audience));
        let not_ours = || NotProven::Audience(claims.described(audiences));
        let app_id = self.audiences.iter().find(is_meant).ok_or_else(not_ours)?;
        let expires_at = claims.exp.ok_or(NotProven::NoExpiry)?;
        if now >= instant(expires_at) + LEEWAY {
            return Err(NotProven::Expired);
        }
        if claims.nbf.is_some_and(|begins_at| now + LEEWAY < instant(begins_at)) {
            return Err(NotProven::NotYetValid);
        }
        let tenant = claims.tenant()?;
        // What one tenant's app is told of must not pass for a call of another one's.
        let app_id = match self.apps.iter().find(|(of, _)| *of == tenant) {
            None => app_id,
            Some((_, own)) if is_meant(&own) => own,
            Some(_) => return Err(not_ours()),
        };
        Ok(Proof { tenant, app_id: app_id.clone() })
    }
}

fn instant(seconds: i64) -> Timestamp {
    Timestamp(seconds.saturating_mul(1000))
}

/// Government clouds were seen to write a slash that others do not.
fn without_slash(name: &str) -> &str {
    name.strip_suffix('/').unwrap_or(name)
}

/// An app's id is a GUID, and how it was typed into a configuration makes no difference.
fn is_same_audience(one: &str, other: &str) -> bool {
    let (one, other) = (without_slash(one), without_slash(other));
    one == other || canonical_guid(one).is_some_and(|guid| canonical_guid(other) == Some(guid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const NOW: i64 = 1_795_329_000;
    const APP: &str = "2891555a-92ff-42e6-80fa-6e1300c6b5c6";
    const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    const LONG: &str = "http://schemas.microsoft.com/identity/claims/tenantid";

    /// The good claims with `changes`; null removes one.
    fn check_changed(changes: &Value) -> Result<Proof, NotProven> {
        let mut claims = json!({
            "iss": "https://api.botframework.com", "aud": APP, "tid": TENANT,
            "iat": NOW, "nbf": NOW, "exp": NOW + 3900,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        check_text(&claims.to_string())
    }

    fn check_text(text: &str) -> Result<Proof, NotProven> {
        let expectations = Expectations {
            issuers: vec![
                "https://api.botframework.com".to_owned(),
                "https://graph.microsoft.com/".to_owned(),
            ],
            audiences: vec![APP.to_uppercase(), "api://botid-1".to_owned()],
            apps: Vec::new(),
        };
        expectations.check(&Claims::read(text.as_bytes())?, Timestamp(NOW * 1000))
    }

    #[track_caller]
    fn check(changes: &Value, expected: Option<NotProven>) {
        let proven = check_changed(changes).map(|_| ());
        assert_eq!(proven, expected.map_or(Ok(()), Err), "{changes}");
    }

    #[test]
    fn good_claims_prove_tenant_and_app() {
        let proof = check_changed(&json!({})).unwrap();
        assert_eq!(proof, Proof { tenant: TenantId::new(TENANT), app_id: APP.to_uppercase() });
    }

    #[test]
    fn the_issuer_is_one_of_the_list_and_one_slash_makes_no_difference() {
        for good in [
            "https://api.botframework.com",
            "https://api.botframework.com/",
            "https://graph.microsoft.com",
            "https://graph.microsoft.com/",
        ] {
            check(&json!({ "iss": good }), None);
        }
        for wrong in [
            json!("https://api.botframework.com//"),
            json!("https://API.botframework.com"),
            json!("https://api.botframework.com.example"),
            json!("https://api.botframework.co"),
            json!(""),
            Value::Null,
        ] {
            check(&json!({ "iss": wrong }), Some(NotProven::Issuer));
        }
        // One in a list would do for other readers.
        check(&json!({ "iss": ["https://api.botframework.com"] }), Some(NotProven::Claims));
    }

    #[test]
    fn the_audience_is_one_of_the_list_alone_or_among_others() {
        for good in [json!(APP), json!([APP]), json!(["x", APP]), json!(format!("{APP}/"))] {
            assert_eq!(check_changed(&json!({ "aud": good })).unwrap().app_id, APP.to_uppercase());
        }
        let proof = check_changed(&json!({ "aud": "api://botid-1/" })).unwrap();
        assert_eq!(proof.app_id, "api://botid-1");
        for wrong in [
            json!("72f988bf-86f1-41af-91ab-2d7cd011db47"),
            json!("api://BotId-1"),
            json!(format!("{APP}//")),
            json!(""),
            json!([]),
            json!([""]),
            Value::Null,
        ] {
            let refused = check_changed(&json!({ "aud": wrong })).unwrap_err();
            let NotProven::Audience(whom) = refused else { panic!("{wrong}: {refused:?}") };
            assert!(whom.ends_with(&format!(" in tenant {TENANT}")), "{wrong}: {whom}");
        }
        for wrong in [json!(1), json!([APP, 1]), json!({ "a": APP })] {
            check(&json!({ "aud": wrong }), Some(NotProven::Claims));
        }
    }

    #[test]
    fn a_tenants_notifications_are_for_its_own_app() {
        const OTHER: &str = "57dab8b1-894c-409a-b240-bd8beae78896";
        let expectations = Expectations {
            issuers: vec!["a".to_owned()],
            audiences: vec!["first".to_owned(), "second".to_owned()],
            apps: vec![(TenantId::new(OTHER), "second".to_owned())],
        };
        let check = |tenant: &str, audience: Value| {
            let claims =
                json!({"iss": "a", "aud": audience, "exp": 4_000_000_000_i64, "tid": tenant});
            let claims = Claims::read(claims.to_string().as_bytes()).unwrap();
            expectations.check(&claims, Timestamp(0)).map(|proof| proof.app_id)
        };
        assert_eq!(check(OTHER, json!("second")).as_deref(), Ok("second"));
        assert_eq!(check(OTHER, json!(["first", "second"])).as_deref(), Ok("second"));
        let refused = check(OTHER, json!("first")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "the token is for audience first in tenant {OTHER}, and neither \
                 notifications.audiences nor that tenant's client_id has it"
            )
        );
        let odd = check(OTHER, json!("a\nb".repeat(500))).unwrap_err().to_string();
        assert!(odd.len() < 300 && !odd.contains('\n'), "{odd}");
        let stranger = "72f988bf-86f1-41af-91ab-2d7cd011db47";
        assert_eq!(check(stranger, json!("first")).as_deref(), Ok("first"));
    }

    #[test]
    fn without_configured_audiences_nothing_is_proven() {
        let expectations =
            Expectations { issuers: vec!["a".to_owned()], audiences: Vec::new(), apps: Vec::new() };
        for claims in [json!({ "iss": "a" }), json!({ "iss": "a", "aud": "" })] {
            let claims = Claims::read(claims.to_string().as_bytes()).unwrap();
            let proven = expectations.check(&claims, Timestamp(0));
            assert!(matches!(proven, Err(NotProven::Audience(_))), "{proven:?}");
        }
    }

    #[test]
    fn a_token_ends_five_minutes_after_its_end() {
        check(&json!({ "exp": NOW - 299 }), None);
        check(&json!({ "exp": NOW - 300 }), Some(NotProven::Expired));
        check(&json!({ "exp": NOW - 301 }), Some(NotProven::Expired));
        check(&json!({ "exp": i64::MAX }), None);
        check(&json!({ "exp": i64::MIN }), Some(NotProven::Expired));
        check(&json!({ "exp": null }), Some(NotProven::NoExpiry));
        for wrong in [json!("1795329000"), json!(1e300), json!(u64::MAX), json!(1.5), json!(true)] {
            check(&json!({ "exp": wrong }), Some(NotProven::Claims));
        }
    }

    #[test]
    fn a_token_begins_five_minutes_before_its_beginning_and_need_not_name_one() {
        check(&json!({ "nbf": null }), None);
        check(&json!({ "nbf": NOW + 300 }), None);
        check(&json!({ "nbf": NOW + 301 }), Some(NotProven::NotYetValid));
        check(&json!({ "nbf": i64::MAX }), Some(NotProven::NotYetValid));
        check(&json!({ "nbf": i64::MIN }), None);
        check(&json!({ "nbf": "soon" }), Some(NotProven::Claims));
    }

    #[test]
    fn the_tenant_has_two_names_and_one_value() {
        check(&json!({ "tid": null }), Some(NotProven::NoTenant));
        check(&json!({ "tid": null, LONG: TENANT }), None);
        check(&json!({ LONG: TENANT.to_uppercase() }), None);
        check(&json!({ LONG: APP }), Some(NotProven::Tenant));
        check(&json!({ LONG: "" }), Some(NotProven::Tenant));
        for wrong in ["", "contoso.example", "common", " 72f988bf-86f1-41af-91ab-2d7cd011db47"] {
            check(&json!({ "tid": wrong }), Some(NotProven::Tenant));
        }
        check(&json!({ "tid": [TENANT] }), Some(NotProven::Claims));
    }

    #[test]
    fn a_claim_that_is_there_twice_says_nothing() {
        let twice = format!(r#"{{"iss":"a","tid":"{APP}","tid":"{TENANT}"}}"#);
        let values = json!(["https://api.botframework.com", APP, NOW + 3900, NOW, TENANT, null]);
        let list = values.to_string();
        for text in [&twice[..], &list, "[]", "null", "", "{", "{}{}", "{\"iss\":\"\\ud800\"}"] {
            assert_eq!(check_text(text), Err(NotProven::Claims), "{text}");
        }
        let deep = format!("{{\"a\":{}", "[".repeat(12_000));
        assert_eq!(check_text(&deep), Err(NotProven::Claims));
    }

    proptest! {
        #[test]
        fn no_claims_make_it_panic_and_none_made_up_prove_anything(
            text in "\\PC{0,40}",
            exp in any::<i64>(),
            nbf in any::<i64>(),
        ) {
            prop_assert!(check_text(&text).is_err());
            let _ = check_changed(&json!({ "exp": exp, "nbf": nbf }));
            for name in ["tid", "iss", "aud"] {
                let mut changes = json!({});
                changes[name] = json!(text.clone());
                let proven = check_changed(&changes);
                prop_assert!(proven.is_err(), "{} {:?}", name, proven);
            }
        }
    }
}
