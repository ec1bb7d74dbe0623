//! What is to be done to one call: end it, reject it, remove somebody from it or invite somebody.

use super::selector::{about_number, identifier, printable, selector};
use super::takes;
use crate::config::graph::{TENANT_EXPECTED, parse_tenant};
use crate::id::{CallId, TenantId, canonical_guid};
use crate::legacy::error::ParamError;
use crate::legacy::params::{Name, Params};
use crate::model::deletion::{DeletionKind, Scope};
use crate::model::number::Number;
use crate::model::participant::{ClientContext, Invitation, ParticipantSelector};
use crate::model::plan::RejectReason;
use crate::model::selector::Selector;

/// Everything that a `DeleteCall`, `RejectCall`, `DeleteParticipant` or `InviteParticipant` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deletion {
    /// Which of them, with the parameters that it alone has. How many others `scope=all` may remove
    /// is the key's business, and none here.
    pub(crate) kind: DeletionKind,
    pub(crate) selector: Selector,
    /// Decide, and do nothing.
    pub(crate) dry_run: bool,
    /// Answer with what the plain answer leaves out; a dry run always does.
    pub(crate) detail: bool,
    /// For the audit record, at most 256 characters.
    pub(crate) reason: Option<String>,
}

/// Reads the parameters of a `DeleteCall`.
///
/// # Errors
///
/// When one is missing, malformed or contradictory, as of all in here.
pub(super) fn delete_call(params: &Params) -> Result<Deletion, ParamError> {
    let selector = selector(params)?;
    let scope = params.word(Name::Scope)?.map(str::to_ascii_lowercase);
    let scope = match scope.as_deref() {
        None | Some("leg") => Scope::Leg,
        Some("all") => Scope::All { most: 0 },
        Some(_) => return Err(takes(Name::Scope, "leg or all")),
    };
    deletion(params, selector, DeletionKind::DeleteCall(scope))
}

/// Reads those of a `RejectCall`.
pub(super) fn reject_call(params: &Params) -> Result<Deletion, ParamError> {
    let selector = selector(params)?;
    let reason = match params.word(Name::RejectReason)? {
        Some(word) => RejectReason::from_word(word)
            .ok_or_else(|| takes(Name::RejectReason, "none, busy or forbidden"))?,
        None => RejectReason::default(),
    };
    deletion(params, selector, DeletionKind::RejectCall(reason))
}

/// Reads those of a `DeleteParticipant`.
pub(super) fn delete_participant(params: &Params) -> Result<Deletion, ParamError> {
    let selector = selector(params)?;
    let id = identifier(params, Name::ParticipantId)?;
    let known = identifier(params, Name::Participant)?.map(|raw| Number::parse(&raw));
    let known = known.transpose().map_err(|error| about_number(Name::Participant, error))?;
    let who = match (id, known) {
        (Some(id), None) => ParticipantSelector::Id(id),
        (None, Some(known)) => ParticipantSelector::Known(known),
        (None, None) => {
            let text = "One of the parameters participantID and participant is needed.";
            return Err(ParamError(text.to_owned()));
        }
        (Some(_), Some(_)) => {
            let text = "Parameters participantID and participant were both sent: send one.";
            return Err(ParamError(text.to_owned()));
        }
    };
    deletion(params, selector, DeletionKind::DeleteParticipant(who))
}

/// Reads those of an `InviteParticipant`.
pub(super) fn invite_participant(params: &Params) -> Result<Deletion, ParamError> {
    let selector = selector(params)?;
    let invitation = Invitation {
        user_id: user_id(params)?,
        user_tenant: tenant_id(params)?,
        replaces: replaced(params)?,
        context: client_context(params)?,
    };
    deletion(params, selector, DeletionKind::InviteParticipant(invitation))
}

/// Reads what all of them have in common.
fn deletion(
    params: &Params,
    selector: Selector,
    kind: DeletionKind,
) -> Result<Deletion, ParamError> {
    let dry_run = params.switch(Name::DryRun)?;
    let detail = params.switch(Name::Detail)? || dry_run;
    Ok(Deletion { kind, selector, dry_run, detail, reason: reason(params)? })
}

fn user_id(params: &Params) -> Result<String, ParamError> {
    let canonical = |sent: &str| canonical_guid(sent.trim()).unwrap_or_else(|| sent.to_lowercase());
    let found = params.get_canonical(Name::UserId, canonical)?;
    let (raw, _) =
        found.ok_or_else(|| ParamError(format!("Parameter {} is needed.", Name::UserId)))?;
    // Graph invites one at a time, and no id of a user has a separator in it.
    if raw.contains([',', ';']) {
        let text = format!("Parameter {} names one user: send a request for each.", Name::UserId);
        return Err(ParamError(text));
    }
    // Graph would take anything else for the id of somebody whom it does not know.
    canonical_guid(raw.trim()).ok_or_else(|| takes(Name::UserId, "the user's object id, a GUID"))
}

fn tenant_id(params: &Params) -> Result<Option<TenantId>, ParamError> {
    let canonical = |sent: &str| TenantId::new(sent).to_string();
    let Some((raw, _)) = params.get_canonical(Name::TenantId, canonical)? else { return Ok(None) };
    parse_tenant(raw).map(Some).ok_or_else(|| takes(Name::TenantId, TENANT_EXPECTED))
}

fn replaced(params: &Params) -> Result<Option<String>, ParamError> {
    let canonical = |sent: &str| CallId::new(sent).to_string();
    let found = params.get_canonical(Name::ReplacesCallId, canonical)?;
    found.map(|(raw, _)| printable(Name::ReplacesCallId, raw).map(str::to_owned)).transpose()
}

fn client_context(params: &Params) -> Result<Option<ClientContext>, ParamError> {
    let Some(text) = params.get(Name::ClientContext)? else { return Ok(None) };
    let context = ClientContext::new(printable(Name::ClientContext, text)?);
    context.map(Some).ok_or_else(|| {
        ParamError(format!(
            "Parameter {} is too long: Microsoft Graph takes at most {} characters.",
            Name::ClientContext,
            ClientContext::LONGEST
        ))
    })
}

fn reason(params: &Params) -> Result<Option<String>, ParamError> {
    let Some(text) = params.get(Name::Reason)? else { return Ok(None) };
    if text.chars().count() > LONGEST_REASON {
        return Err(ParamError(format!(
            "Parameter {} is too long: at most {LONGEST_REASON} characters are kept.",
            Name::Reason
        )));
    }
    // People write lines; everything else that is not text is refused as in identifiers.
    printable(Name::Reason, &text.replace(['\t', '\n', '\r'], " "))?;
    Ok(Some(text.to_owned()))
}

const LONGEST_REASON: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANN: &str = "278405a3-f568-4b3e-b684-009193463064";

    type Reader = fn(&Params) -> Result<Deletion, ParamError>;

    fn read(reader: Reader, query: &str) -> Result<DeletionKind, String> {
        let params = Params::parse(format!("callID=x&{query}").as_bytes(), b"", 2048);
        reader(&params).map(|ask| ask.kind).map_err(|error| error.0)
    }

    #[track_caller]
    fn check_error(reader: Reader, query: &str, expected: &str) {
        assert_eq!(read(reader, query), Err(expected.to_owned()), "{query}");
    }

    #[test]
    fn a_participant_is_named_by_graphs_id_or_by_what_people_know() {
        let who = |query: &str| match read(delete_participant, query).unwrap() {
            DeletionKind::DeleteParticipant(who) => who,
            other => panic!("{other:?}"),
        };
        let id = "7e1b0346-917a-4d1d-b6ba-fa2d4c3fa8b1";
        assert_eq!(who(&format!("PARTICIPANTID={id}")), ParticipantSelector::Id(id.to_owned()));
        // It is Graph's, and opaque: what is another spelling of it for us may be none for Graph.
        let id = "{7E1B0346}/../a?b";
        let sent = format!("participantID={id}&participant=");
        assert_eq!(who(&sent), ParticipantSelector::Id(id.to_owned()));
        for (sent, normalised) in [
            ("+4930123456", "+4930123456"),
            ("sip:Bob@contoso.example;user=phone", "bob@contoso.example"),
            ("550FAE72-D251-43EC-868C-373732C2704F", "550fae72-d251-43ec-868c-373732c2704f"),
        ] {
            let ParticipantSelector::Known(number) = who(&format!("participant={sent}")) else {
                panic!("{sent}");
            };
            assert_eq!(number.normalised, normalised);
        }
    }

    #[test]
    fn a_participant_is_named_once() {
        let check = |query, expected| check_error(delete_participant, query, expected);
        check("", "One of the parameters participantID and participant is needed.");
        check(
            "participantID=a&participant=8856",
            "Parameters participantID and participant were both sent: send one.",
        );
        check("participant=tel:", "Parameter participant holds no number, SIP address or user id.");
        check("participantID=a%00", "Parameter participantID must not hold control characters.");
        check(
            "participant_id=a",
            "A parameter is spelt almost like participantID: write participantID.",
        );
        let error = read(delete_participant, "participantID=a&participantID=A").unwrap_err();
        assert!(error.contains("different values"), "{error}");
        let error = read(delete_participant, &format!("participantID={}", "a".repeat(2049)));
        assert!(error.unwrap_err().contains("too long"));
    }

    #[test]
    fn an_invitation_is_read_with_all_that_it_has() {
        let sent = "userID=278405A3-F568-4B3E-B684-009193463064\
                    &USERID={278405a3f5684b3eb684009193463064}\
                    &tenantID=%7B72F988BF86F141AF91AB2D7CD011DB47%7D&replacesCallID=Call-1\
                    &clientContext=a+b";
        let invitation = Invitation {
            user_id: "278405a3-f568-4b3e-b684-009193463064".to_owned(),
            user_tenant: Some(TenantId::new("72f988bf-86f1-41af-91ab-2d7cd011db47")),
            replaces: Some("Call-1".to_owned()),
            context: ClientContext::new("a b"),
        };
        assert_eq!(
            read(invite_participant, sent),
            Ok(DeletionKind::InviteParticipant(invitation.clone()))
        );
        let fewer = Invitation { user_tenant: None, replaces: None, context: None, ..invitation };
        assert_eq!(
            read(invite_participant, &format!("userID={ANN}&scope=both")),
            Ok(DeletionKind::InviteParticipant(fewer))
        );
    }

    #[test]
    fn an_invitation_that_cannot_be_one_is_an_error_that_names_the_parameter() {
        let check = |query: &str, expected| check_error(invite_participant, query, expected);
        check("", "Parameter userID is needed.");
        let one = "Parameter userID names one user: send a request for each.";
        check("userID=a,b,c,d,e,f", one);
        check("userID=a;b", one);
        let user = "Parameter userID takes the user's object id, a GUID.";
        for sent in
            ["a%0A", "%2B4930123456", "ann+smith", "sip:ann@x.de", "a/b?c", "x@contoso.example"]
        {
            check(&format!("userID={sent}"), user);
        }
        let tenant = "Parameter tenantID takes the tenant's GUID or a domain name of it.";
        check(&format!("userID={ANN}&tenantID=a/b"), tenant);
        check(&format!("userID={ANN}&tenantID=common"), tenant);
        check(
            &format!("userID={ANN}&replacesCallID=%7F"),
            "Parameter replacesCallID must not hold control characters.",
        );
        let context = |count| format!("userID={ANN}&clientContext={}", "ü".repeat(count));
        assert!(read(invite_participant, &context(256)).is_ok());
        check(
            &context(257),
            "Parameter clientContext is too long: Microsoft Graph takes at most 256 characters.",
        );
        let error = read(invite_participant, "userID=a&userID=b").unwrap_err();
        assert!(error.contains("different values"), "{error}");
        assert!(read(invite_participant, "user_id=a").unwrap_err().contains("write userID"));
    }

    #[test]
    fn what_an_action_does_not_read_is_not_looked_at() {
        let others = "rejectReason=%&scope=%&userID=%&clientContext=%";
        let query = format!("participantID=a&{others}");
        assert!(read(delete_participant, &query).is_ok());
        assert!(read(delete_call, "participantID=%&userID=a,b&rejectReason=rude").is_ok());
        assert!(read(reject_call, "participantID=%&userID=a,b&scope=both").is_ok());
        assert!(
            read(invite_participant, &format!("userID={ANN}&participantID=%&participant=%"))
                .is_ok()
        );
    }

    proptest! {
        #[test]
        fn what_is_read_is_printable_and_one_user(
            user in "[a-z,;@ \\x00-\\x20\u{7f}]{1,12}|\\{?[0-9a-fA-F]{32}\\}?",
            context in "\\PC{0,300}",
        ) {
            let encode = |text: &str| {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                    .to_string()
            };
            let query = format!("userID={}&clientContext={}", encode(&user), encode(&context));
            if let Ok(DeletionKind::InviteParticipant(read)) = read(invite_participant, &query) {
                prop_assert_eq!(canonical_guid(&read.user_id), Some(read.user_id.clone()));
                prop_assert_eq!(canonical_guid(user.trim()), Some(read.user_id));
                prop_assert!(context.chars().count() <= ClientContext::LONGEST);
            }
        }
    }
}
