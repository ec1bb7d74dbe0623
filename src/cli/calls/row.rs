//! What the fields of one line of an import mean, and whether they make a call.

use std::collections::HashMap;

use super::reader::{Field, Fields};
use crate::clock::Timestamp;
use crate::config::graph::{TENANT_EXPECTED, parse_tenant};
use crate::id::{CallId, GraphCallId, TenantId, canonical_guid};
use crate::model::call::{CallState, Direction, Party};
use crate::model::number::{Number, NumberError};
use crate::store::records::ImportedCall;

/// The longest value in bytes; a request to the legacy API cannot carry more either.
const LONGEST_VALUE: usize = 1024;
/// Targets of one call at most.
const MOST_TARGETS: usize = 1000;

/// Makes calls of fields, and numbers the tenants in the order in which they come.
#[derive(Debug)]
pub(super) struct Checker {
    /// The time of the import.
    now: Timestamp,
    default_tenant: Option<TenantId>,
    tenants: Vec<TenantId>,
    by_spelling: HashMap<String, usize>,
}

impl Checker {
    /// For an import at `now`; calls without a tenant are of `default_tenant`.
    pub(super) fn new(now: Timestamp, default_tenant: Option<TenantId>) -> Self {
        Self { now, default_tenant, tenants: Vec::new(), by_spelling: HashMap::new() }
    }

    /// The tenants so far; [`ImportedCall::tenant_row`] counts in it.
    pub(super) fn tenants(&self) -> &[TenantId] {
        &self.tenants
    }

    /// The call that the fields describe; its `tenant_row` is the position in
    /// [`Checker::tenants`], because the store's own number needs the store.
    ///
    /// # Errors
    ///
    /// The first field that is wrong, and why; never its value, which may be a number.
    pub(super) fn call(&mut self, fields: &Fields<'_>) -> Result<ImportedCall, String> {
        for (field, _) in Field::ALL {
            let value = fields.get(field);
            value.map_or(Ok(()), check_text).map_err(|problem| wrong(field, &problem))?;
        }
        let graph_id = identifier(fields, Field::GraphCallId)?
            .ok_or_else(|| wrong(Field::GraphCallId, "is missing"))?;
        // It becomes a part of a path, where these two mean another place.
        if matches!(graph_id, "." | "..") {
            return Err(wrong(Field::GraphCallId, "cannot stand in the address of a call"));
        }
        let started_at = time(fields, Field::StartedAt)?;
        let ended_at = time(fields, Field::EndedAt)?;
        if let (Some(start), Some(end)) = (started_at, ended_at)
            && end < start
        {
            return Err(wrong(Field::EndedAt, "lies before startedAt"));
        }
        let state = match (fields.get(Field::State), ended_at) {
            (None, None) => CallState::Established,
            (None, Some(_)) => CallState::Terminated,
            (Some(word), _) => word
                .parse::<CallState>()
                .map_err(|error| wrong(Field::State, &error.to_string()))?,
        };
        if ended_at.is_some() && state != CallState::Terminated {
            return Err(wrong(Field::State, "a call that has an endedAt is terminated"));
        }
        // An end is what `status=last` compares. Of one that was not said, all that is known is
        // that it is over by now.
        let ended_at = match state {
            CallState::Terminated => ended_at.or_else(|| started_at.max(Some(self.now))),
            _ => None,
        };
        Ok(ImportedCall {
            tenant_row: self.tenant(fields)?,
            call_id: identifier(fields, Field::CallId)?.map(CallId::new),
            graph_id: GraphCallId(graph_id.to_owned()),
            platform_call_id: identifier(fields, Field::PlatformCallId)?.map(str::to_owned),
            native_id: identifier(fields, Field::NativeId)?.map(str::to_owned),
            meeting_id: identifier(fields, Field::MeetingId)?.map(str::to_owned),
            direction: fields.get(Field::Direction).map(direction).transpose()?,
            state,
            parties: parties(fields)?,
            started_at,
            ended_at,
            subject: fields.get(Field::Subject).map(str::to_owned),
        })
    }

    fn tenant(&mut self, fields: &Fields<'_>) -> Result<i64, String> {
        let spelling = fields.get(Field::TenantId).unwrap_or_default();
        let position = if let Some(known) = self.by_spelling.get(spelling) {
            *known
        } else {
            let id = if spelling.is_empty() {
                self.default_tenant.clone().ok_or("is missing, and graph.tenant_id is not set")
            } else {
                parse_tenant(spelling).ok_or(TENANT_EXPECTED)
            };
            let id = id.map_err(|problem| match problem {
                TENANT_EXPECTED => wrong(Field::TenantId, &format!("expected {problem}")),
                _ => wrong(Field::TenantId, problem),
            })?;
            let position = self.tenants.iter().position(|known| *known == id);
            let position = position.unwrap_or_else(|| {
                self.tenants.push(id);
                self.tenants.len() - 1
            });
            self.by_spelling.insert(spelling.to_owned(), position);
            position
        };
        Ok(i64::try_from(position).expect("there are fewer tenants than bytes of memory"))
    }
}

fn wrong(field: Field, problem: &str) -> String {
    format!("`{}`: {problem}", field.name())
}

/// What holds for every text: nothing that is longer than a request could carry, and no control
/// character, which is also what a quote that is closed lines later runs into.
fn check_text(text: &str) -> Result<(), String> {
    if text.chars().any(char::is_control) {
        Err("holds a line end or a control character".to_owned())
    } else if text.len() > LONGEST_VALUE {
        Err(format!("is longer than {LONGEST_VALUE} bytes"))
    } else {
        Ok(())
    }
}

/// An identifier is compared to the letter, so a blank around it would hide the call for good.
fn identifier<'a>(fields: &'a Fields<'_>, field: Field) -> Result<Option<&'a str>, String> {
    match fields.get(field) {
        Some(text) if text.trim() != text => Err(wrong(field, "begins or ends with a blank")),
        value => Ok(value),
    }
}

fn time(fields: &Fields<'_>, field: Field) -> Result<Option<Timestamp>, String> {
    let parse = |text: &str| {
        Timestamp::parse(text.trim()).map_err(|_error| {
            wrong(field, "expected a date and time with an offset, such as 2026-11-22T04:32:55Z")
        })
    };
    fields.get(field).map(parse).transpose()
}

fn direction(text: &str) -> Result<Direction, String> {
    [Direction::Incoming, Direction::Outgoing]
        .into_iter()
        .find(|direction| direction.as_str().eq_ignore_ascii_case(text.trim()))
        .ok_or_else(|| wrong(Field::Direction, "expected incoming or outgoing"))
}

fn parties(fields: &Fields<'_>) -> Result<Vec<Party>, String> {
    if fields.targets.len() > MOST_TARGETS {
        return Err(wrong(Field::Targets, &format!("more than {MOST_TARGETS}")));
    }
    let source = fields.get(Field::Source).map(|raw| (Field::Source, "source", raw));
    let targets = fields.targets.iter().map(|raw| (Field::Targets, "target", raw.as_ref()));
    let mut parties: Vec<Party> = Vec::with_capacity(1 + fields.targets.len());
    for (field, role, raw) in source.into_iter().chain(targets) {
        check_text(raw).map_err(|problem| wrong(field, &problem))?;
        let number = number(raw).map_err(|error| wrong(field, &error.to_string()))?;
        let kind = kind(&number.normalised);
        let Number { raw, normalised, .. } = number;
        parties.push(Party { role, kind, raw, normalised, display_name: None });
    }
    Ok(parties)
}

/// Reads a party. Nothing has decoded a file as a form, so a blank in it is a blank and never was
/// a plus.
fn number(raw: &str) -> Result<Number, NumberError> {
    let mut number = Number::parse(raw.trim())?;
    // A blank that stood behind a scheme was taken for a plus, which now stands in front.
    if number.repaired {
        number.normalised.remove(0);
        number.repaired = false;
    }
    Ok(number)
}

/// What a party is, by what it looks like.
fn kind(normalised: &str) -> &'static str {
    let base = normalised.split(";ext=").next().unwrap_or_default();
    if base.bytes().all(|byte| byte.is_ascii_digit() || b"+*#".contains(&byte)) {
        "number"
    } else if canonical_guid(normalised).is_some() {
        "user"
    } else {
        "address"
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::{Format, read};
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn call(json: &str) -> Result<ImportedCall, String> {
        let mut checker = Checker::new(NOW, Some(TenantId::new("contoso.example")));
        let mut result = None;
        read(json.as_bytes(), Format::Jsonl, &mut |_, fields| {
            result = Some(fields.and_then(|fields| checker.call(&fields)));
            true
        })
        .unwrap();
        result.unwrap()
    }

    #[track_caller]
    fn check_error(members: &str, expected: &str) {
        let json = format!(r#"{{"graphCallID":"g1",{members}}}"#);
        assert_eq!(call(&json).unwrap_err(), expected, "{json}");
    }

    #[test]
    fn a_state_that_was_not_said_follows_from_the_end() {
        let state = |members: &str| {
            let call = call(&format!(r#"{{"graphCallID":"g1"{members}}}"#)).unwrap();
            (call.state, call.ended_at)
        };
        let end = Timestamp::parse("2026-11-22T04:32:55Z").unwrap();
        assert_eq!(state(""), (CallState::Established, None));
        assert_eq!(
            state(r#","endedAt":"2026-11-22T04:32:55Z""#),
            (CallState::Terminated, Some(end))
        );
        assert_eq!(state(r#","state":"Incoming""#), (CallState::Incoming, None));
    }

    #[test]
    fn an_end_that_was_not_said_is_the_time_of_the_import_or_a_later_start() {
        let end = |members: &str| {
            let json = format!(r#"{{"graphCallID":"g1","state":"terminated"{members}}}"#);
            call(&json).unwrap().ended_at
        };
        assert_eq!(end(""), Some(NOW));
        assert_eq!(end(r#","startedAt":"2020-01-01T00:00:00Z""#), Some(NOW));
        let later = "2100-01-01T00:00:00Z";
        let expected = Timestamp::parse(later).unwrap();
        assert_eq!(end(&format!(r#","startedAt":"{later}""#)), Some(expected));
    }

    #[test]
    fn a_party_is_a_number_a_user_or_an_address() {
        let call = call(
            r#"{"graphCallID":"g1","source":"tel:+49 30 123;ext=7","targets":["*21#",
               "8A34A46B-3D17-4ADC-8DCE-DC4E7D572698","sip:Alice@example.com","reception"]}"#
                .replace('\n', "")
                .as_str(),
        );
        let parties = call.unwrap().parties;
        let parties: Vec<_> = parties
            .iter()
            .map(|party| (party.role, party.kind, party.normalised.as_str()))
            .collect();
        assert_eq!(
            parties,
            [
                ("source", "number", "+4930123;ext=7"),
                ("target", "number", "*21#"),
                ("target", "user", "8a34a46b-3d17-4adc-8dce-dc4e7d572698"),
                ("target", "address", "alice@example.com"),
                ("target", "address", "reception"),
            ]
        );
    }

    #[test]
    fn a_blank_before_a_number_is_no_plus() {
        let line =
            "graphCallID,source,targets\ng1, 49301238856,+4930; 49301238857;tel: 49301238858";
        let mut numbers = Vec::new();
        read(line.as_bytes(), Format::Csv, &mut |_, fields| {
            let call = Checker::new(NOW, Some(TenantId::new("t"))).call(&fields.unwrap()).unwrap();
            numbers.extend(call.parties.into_iter().map(|party| party.normalised));
            true
        })
        .unwrap();
        assert_eq!(numbers, ["49301238856", "+4930", "49301238857", "49301238858"]);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field_and_never_quoted() {
        check_error(
            r#""startedAt":"2026-11-22""#,
            "`startedAt`: expected a date and time with an offset, such as 2026-11-22T04:32:55Z",
        );
        check_error(
            r#""startedAt":"2026-11-22T05:00:00Z","endedAt":"2026-11-22T04:00:00Z""#,
            "`endedAt`: lies before startedAt",
        );
        check_error(
            r#""state":"hold","endedAt":"2026-11-22T04:00:00Z""#,
            "`state`: a call that has an endedAt is terminated",
        );
        check_error(r#""direction":"both""#, "`direction`: expected incoming or outgoing");
        check_error(r#""source":"tel:""#, "`source`: no number, SIP address or user id");
        check_error(r#""targets":["8856"," "]"#, "`targets`: no number, SIP address or user id");
        check_error(r#""callID":" a""#, "`callID`: begins or ends with a blank");
        check_error(r#""subject":"a\nb""#, "`subject`: holds a line end or a control character");
        check_error(
            &format!(r#""nativeID":"{}""#, "x".repeat(1025)),
            "`nativeID`: is longer than 1024 bytes",
        );
        check_error(
            r#""tenantID":"../contoso""#,
            "`tenantID`: expected the tenant's GUID or a domain name of it",
        );
        assert_eq!(call(r#"{"callID":"a"}"#).unwrap_err(), "`graphCallID`: is missing");
        for dots in [".", ".."] {
            let error = call(&format!(r#"{{"graphCallID":"{dots}"}}"#)).unwrap_err();
            assert_eq!(error, "`graphCallID`: cannot stand in the address of a call");
        }
        assert!(call(r#"{"graphCallID":"..."}"#).is_ok());
        let unknown = call(r#"{"graphCallID":"g","state":"ended"}"#).unwrap_err();
        assert!(unknown.starts_with("`state`: no call state of Graph's: expected one of"));
    }

    #[test]
    fn one_tenant_in_several_spellings_is_one() {
        let mut checker = Checker::new(NOW, None);
        let mut rows = Vec::new();
        let lines = r#"{"graphCallID":"1","tenantID":"57DAB8B1-894C-409A-B240-BD8BEAE78896"}
            {"graphCallID":"2","tenantID":"contoso.example"}
            {"graphCallID":"3","tenantID":"57dab8b1894c409ab240bd8beae78896"}
            {"graphCallID":"4"}"#;
        read(lines.as_bytes(), Format::Jsonl, &mut |_, fields| {
            rows.push(checker.call(&fields.unwrap()).map(|call| call.tenant_row));
            true
        })
        .unwrap();
        let missing = "`tenantID`: is missing, and graph.tenant_id is not set".to_owned();
        assert_eq!(rows, [Ok(0), Ok(1), Ok(0), Err(missing)]);
        assert_eq!(checker.tenants().len(), 2);
    }
}
