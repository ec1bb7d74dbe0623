//! Who somebody is: the forms in which Graph names a person, a phone or a bot.
//!
//! What cannot be read as a number is kept as it came and compared whole; what is encrypted names
//! nobody.

use serde_json::Value;

use super::json::{Object, identifier, is_identifier, line, member, object};
use crate::id::canonical_guid;
use crate::model::number::Number;

/// The longest display name in characters.
const LONGEST_NAME: usize = 256;

/// The members of an identity set that name somebody, the number first, and what each one is; none
/// where only its id can tell.
const FORMS: [(&str, Option<&str>); 8] = [
    ("phone", None),
    ("assertedIdentity", None),
    ("onPremises", None),
    ("user", Some(USER)),
    ("guest", Some(USER)),
    ("azureCommunicationServicesUser", None),
    ("applicationInstance", Some(APPLICATION)),
    ("application", Some(APPLICATION)),
];
const NUMBER: &str = "number";
const USER: &str = "user";
const ADDRESS: &str = "address";
const APPLICATION: &str = "application";

/// Everything that an identity set says of one.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    pub(crate) all: Vec<Identity>,
    pub(crate) display_name: Option<String>,
}

/// One name of somebody.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// `number`, `user`, `address` or `application`, as the registry's parties have it.
    pub(crate) kind: &'static str,
    pub(crate) raw: String,
    pub(crate) normalised: String,
}

impl Identities {
    /// Reads a `participantInfo` with its `identity`, or the bare set that the first betas had in
    /// its place; whatever else it is, it names nobody.
    pub(crate) fn read(value: &Value) -> Self {
        value.as_object().map_or_else(Self::default, Self::of)
    }

    /// Reads what is known to be an object.
    pub(crate) fn of(outer: &Object) -> Self {
        let set = object(outer, "identity").unwrap_or(outer);
        let mut identities = Self::default();
        for (form, kind) in FORMS {
            let Some(value) = member(set, form) else { continue };
            let id = match value {
                Value::Object(identity) => {
                    let name = line(identity, "displayName", LONGEST_NAME);
                    identities.display_name = identities.display_name.take().or(name);
                    identifier(identity, "id")
                }
                _ => identifier(set, form),
            };
            identities.all.extend(id.and_then(|id| Identity::read(&id, kind)));
        }
        // Some services say it beside the identity; a bare GUID there is a participant's.
        if identities.all.is_empty() {
            let id = identifier(outer, "id").filter(|id| without_prefix(id).is_some());
            identities.all.extend(id.and_then(|id| Identity::read(&id, None)));
        }
        identities
    }

    /// The first of one of these kinds.
    pub(crate) fn first(&self, kinds: &[&str]) -> Option<&Identity> {
        self.all.iter().find(|identity| kinds.contains(&identity.kind))
    }

    /// The number or address of a participant.
    pub(crate) fn number(&self) -> Option<&Identity> {
        self.first(&[NUMBER]).or_else(|| self.first(&[ADDRESS]))
    }

    /// The user, or the bot, that a participant is.
    pub(crate) fn user(&self) -> Option<&Identity> {
        self.first(&[USER]).or_else(|| self.first(&[APPLICATION]))
    }

    /// The id of the user that a participant is, in lower case: to the letter otherwise, also when it
    /// could be read as a number.
    pub(crate) fn user_id(&self) -> Option<String> {
        let id = self.first(&[USER])?.raw.as_str();
        let id = without_prefix(id).map_or(id, |(id, _)| id);
        Some(canonical_guid(id).unwrap_or_else(|| id.to_lowercase()))
    }

    /// The id of the application that a participant is. A resource account stands before it, and is
    /// one when there is nothing else.
    pub(crate) fn app_id(&self) -> Option<String> {
        let is_app = |identity: &&Identity| identity.kind == APPLICATION;
        let app = self.all.iter().rfind(is_app)?;
        let id = without_prefix(&app.raw).map_or(app.raw.as_str(), |(id, _)| id);
        Some(canonical_guid(id).unwrap_or_else(|| app.normalised.clone()))
    }
}

impl Identity {
    /// Reads an id, of a `kind` when the set says which.
    fn read(raw: &str, kind: Option<&'static str>) -> Option<Self> {
        let (id, prefix) = without_prefix(raw).unwrap_or((raw, None));
        let normalised = comparable(id);
        // What a caller asks for cannot be empty, so nothing empty is compared with it.
        if !is_identifier(&normalised) {
            return None;
        }
        let kind = kind.or(prefix).unwrap_or_else(|| looks_like(&normalised));
        Some(Self { kind, raw: raw.to_owned(), normalised })
    }
}

/// What stands behind the prefix of an id of the Teams service (`8:orgid:…`, `4:+49…`, `28:…`),
/// and what the prefix says it is. Ids of other services (`8:acs:…`) are compared whole.
fn without_prefix(id: &str) -> Option<(&str, Option<&'static str>)> {
    let behind = |prefix: &str| {
        let start = id.get(..prefix.len())?;
        start.eq_ignore_ascii_case(prefix).then(|| &id[prefix.len()..])
    };
    let guid = |prefix: &str| behind(prefix).filter(|rest| canonical_guid(rest).is_some());
    let number = || behind("4:").filter(|rest| looks_like(&comparable(rest)) == NUMBER);
    guid("8:orgid:")
        .map(|rest| (rest, Some(USER)))
        .or_else(|| guid("28:orgid:").or_else(|| guid("28:")).map(|rest| (rest, Some(APPLICATION))))
        .or_else(|| number().map(|rest| (rest, Some(NUMBER))))
        .or_else(|| behind("8:acs:").map(|_| (id, Some(ADDRESS))))
}

/// What is compared. Nothing has decoded a body as a form, so a blank in it never was a plus.
fn comparable(id: &str) -> String {
    match Number::parse(id.trim()) {
        Ok(number) if number.repaired => number.normalised.trim_start_matches('+').to_owned(),
        Ok(number) => number.normalised,
        Err(_) => id.trim().to_lowercase(),
    }
}

/// What somebody is, by what the id looks like.
fn looks_like(normalised: &str) -> &'static str {
    let base = normalised.split(";ext=").next().unwrap_or_default();
    let is_dialled = |byte: u8| byte.is_ascii_digit() || b"+*#".contains(&byte);
    if base.bytes().any(|byte| byte.is_ascii_digit()) && base.bytes().all(is_dialled) {
        NUMBER
    } else if canonical_guid(normalised).is_some() {
        USER
    } else {
        ADDRESS
    }
}

/// Whether an object names somebody in one of the forms, readable or not.
pub(crate) fn is_set(value: &Object) -> bool {
    FORMS.iter().any(|(form, _)| member(value, form).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &[&str]) {
        let identities = Identities::read(&serde_json::from_str(json).unwrap());
        let found: Vec<String> = identities
            .all
            .iter()
            .map(|identity| {
                let Identity { kind, raw, normalised } = identity;
                if raw == normalised {
                    format!("{kind} {raw}")
                } else {
                    format!("{kind} {raw} = {normalised}")
                }
            })
            .chain(identities.display_name.map(|name| format!("name {name}")))
            .collect();
        assert_eq!(found, expected, "{json}");
    }

    #[test]
    fn every_form_of_identity_is_read() {
        check(
            r#"{"identity":{"phone":{"id":"+12345678901","displayName":"Jo","identityProvider":"None"}}}"#,
            &["number +12345678901", "name Jo"],
        );
        check(
            r#"{"user":{"id":"8A34A46B-3D17-4ADC-8DCE-DC4E7D572698","displayName":"Test User"}}"#,
            &[
                "user 8A34A46B-3D17-4ADC-8DCE-DC4E7D572698 = 8a34a46b-3d17-4adc-8dce-dc4e7d572698",
                "name Test User",
            ],
        );
        check(r#"{"identity":{"Guest":{"ID":"g-1","displayName":"G"}}}"#, &["user g-1", "name G"]);
        check(r#"{"identity":{"applicationInstance":{"id":"a-1"}}}"#, &["application a-1"]);
        check(r#"{"identity":{"application":{"id":"a-2"}}}"#, &["application a-2"]);
        check(
            r#"{"identity":{"onPremises":{"id":"sip:Alice@example.com"}}}"#,
            &["address sip:Alice@example.com = alice@example.com"],
        );
        check(
            r#"{"identity":{"azureCommunicationServicesUser":{"id":"8:acs:R_1"}}}"#,
            &["address 8:acs:R_1 = 8:acs:r_1"],
        );
        check(r#"{"identity":{"phone":"tel:+49 30 1"}}"#, &["number tel:+49 30 1 = +49301"]);
    }

    #[test]
    fn several_identities_of_one_are_all_kept_and_null_is_none() {
        check(
            r#"{"identity":{"phone":null,"application":null,"device":null,"encrypted":null,
               "user":{"id":"u-1","displayName":null},"assertedIdentity":{"id":"+4930123","displayName":"A"}}}"#,
            &["number +4930123", "user u-1", "name A"],
        );
    }

    #[test]
    fn what_names_nobody_is_none() {
        for json in [
            r#"{"identity":{"encrypted":{"id":"AAEC"}}}"#,
            r#"{"identity":{"device":{"id":"d-1"}}}"#,
            r#"{"identity":{"phone":{"id":""}}}"#,
            r#"{"identity":{"phone":{"id":null},"user":{}}}"#,
            r#"{"identity":{"phone":{"id":["+49"]}}}"#,
            r#"{"identity":{"phone":{"id":"+49\u0000"}}}"#,
            r#"{"identity":null,"id":"1a1b1c1d-0000-4000-8000-000000000001"}"#,
            r#"{"identity":"+4930"}"#,
            "[]",
            "7",
            "null",
        ] {
            check(json, &[]);
        }
    }

    #[test]
    fn what_is_no_number_is_kept_and_compared_whole() {
        check(r#"{"phone":{"id":"anonymous"}}"#, &["address anonymous"]);
        check(r#"{"phone":{"id":"+"}}"#, &["address +"]);
        check(
            r#"{"user":{"id":"11111111-1111-1111-1111-111111111111"}}"#,
            &["user 11111111-1111-1111-1111-111111111111"],
        );
        check(r#"{"phone":{"id":8856}}"#, &["number 8856"]);
        check(r#"{"phone":{"id":"tel: 49301238856"}}"#, &["number tel: 49301238856 = 49301238856"]);
        check(
            r#"{"phone":{"id":"0049 (30) 123-8856"}}"#,
            &["number 0049 (30) 123-8856 = +49301238856"],
        );
    }

    #[test]
    fn an_id_of_the_teams_service_is_read_without_its_prefix() {
        check(
            r#"{"user":{"id":"8:orgid:8A34A46B-3D17-4ADC-8DCE-DC4E7D572698"}}"#,
            &[
                "user 8:orgid:8A34A46B-3D17-4ADC-8DCE-DC4E7D572698 = 8a34a46b-3d17-4adc-8dce-dc4e7d572698",
            ],
        );
        check(r#"{"phone":{"id":"4:+4930123"}}"#, &["number 4:+4930123 = +4930123"]);
        check(r#"{"id":"4:8856","identity":{"encrypted":{"id":"x"}}}"#, &["number 4:8856 = 8856"]);
        check(r#"{"phone":{"id":"4:anonymous"}}"#, &["address 4:anonymous"]);
        check(
            r#"{"identity":{"onPremises":{"id":"28:8a34a46b-3d17-4adc-8dce-dc4e7d572698"}}}"#,
            &[
                "application 28:8a34a46b-3d17-4adc-8dce-dc4e7d572698 = 8a34a46b-3d17-4adc-8dce-dc4e7d572698",
            ],
        );
    }

    #[test]
    fn a_display_name_is_cut() {
        let json = format!(r#"{{"user":{{"displayName":"{}"}}}}"#, "\u{e4}".repeat(300));
        let identities = Identities::read(&serde_json::from_str(&json).unwrap());
        assert_eq!(identities.display_name.unwrap().chars().count(), LONGEST_NAME);
    }
}
