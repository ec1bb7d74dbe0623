use bytes::Bytes;
use proptest::prelude::*;

use super::super::codes::tests::USUAL;
use super::super::render;
use super::super::render::tests::read_back;
use super::*;
use crate::id::RequestId;
use crate::secret::SafeUri;
use crate::telemetry::metrics::label::{self as metrics, Label as _};

const KEY: &str = "74c8eea0-50c6-40b2-9f3e-252ed501c3c8";

fn params(query: &str) -> Params {
    Params::parse(query.as_bytes(), b"", 1024)
}

fn read(query: &str) -> Result<Deletion, ParamError> {
    match read_as(ActionName::DeleteCall, &params(query))? {
        Action::Delete(ask) => Ok(ask),
        other => panic!("{other:?}"),
    }
}

fn read_as(name: ActionName, params: &Params) -> Result<Action, ParamError> {
    match name.steps() {
        Steps::Act { read, .. } => read(params),
        Steps::LogIn => panic!("nobody acts"),
    }
}

#[track_caller]
fn check_error(query: &str, expected: &str) {
    assert_eq!(read(query), Err(ParamError(expected.to_owned())), "{query}");
}

pub(super) fn request(api_key: Option<&str>, bearer: Option<&str>) -> LegacyRequest {
    let secret = |text: &str| Secret::new(text.to_owned());
    LegacyRequest {
        id: RequestId::random(),
        peer: [127, 0, 0, 1].into(),
        at_our_path: true,
        post: false,
        uri: SafeUri::new("/".parse().unwrap()),
        form: None,
        api_key_header: api_key.map(secret),
        bearer: bearer.map(secret),
        basic: None,
        prefetch: false,
    }
}

fn style(query: &str) -> (Format, String, bool) {
    let Style { format, echo, detail } = params(query).style();
    (format, echo, detail)
}

#[test]
fn switches_scope_and_reason_are_read() {
    let ask = read("callID=x").unwrap();
    assert!(!ask.kind.is_all() && !ask.dry_run && !ask.detail && ask.reason.is_none());
    let ask = read("callID=x&scope=all&detail=yes&reason=wrong+call%0Aagain").unwrap();
    assert!(ask.kind.is_all() && !ask.dry_run && ask.detail);
    assert_eq!(ask.reason.as_deref(), Some("wrong call\nagain"));
    let ask = read("callID=x&scope=leg&dryRun=TRUE&detail=0").unwrap();
    assert!(!ask.kind.is_all() && ask.dry_run && ask.detail);
    check_error("callID=x&scope=both", "Parameter scope takes leg or all.");
    check_error("callID=x&dryRun=on", "Parameter dryRun takes 1, true or yes, and 0, false or no.");
    check_error("callID=x&detail=2", "Parameter detail takes 1, true or yes, and 0, false or no.");
    check_error("callID=x&reason=a%00", "Parameter reason must not hold control characters.");
}

#[test]
fn a_reason_is_counted_in_characters() {
    assert!(read(&format!("callID=x&reason={}", "ü".repeat(256))).is_ok());
    check_error(
        &format!("callID=x&reason={}", "ü".repeat(257)),
        "Parameter reason is too long: at most 256 characters are kept.",
    );
}

fn look_up(name: ActionName, query: &str) -> Result<String, String> {
    match read_as(name, &params(query)) {
        Ok(Action::GetCallId(ask) | Action::GetCallInformation(ask)) => {
            Ok(ask.selector.canonical())
        }
        Ok(Action::GetDeletion(ask)) => Ok(ask.deletion_id.to_string()),
        Ok(Action::ReleaseToken) => Ok(String::new()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.0),
    }
}

#[test]
fn a_look_up_of_a_call_reads_the_selector_and_no_more_than_detail_besides() {
    for name in [ActionName::GetCallId, ActionName::GetCallInformation] {
        let ignored = "scope=%&dryRun=maybe&reason=%00&deletionID=x&returnMetadata=1&type=x";
        let read = look_up(name, &format!("extension=8856&status=last&{ignored}"));
        assert_eq!(read.as_deref(), Ok("extension=4:8856;status=last;"));
        assert!(look_up(name, "extension=8856").unwrap_err().contains("status"));
        assert!(look_up(name, "").unwrap_err().contains("is needed"));
        assert!(look_up(name, "callID=x&detail=maybe").unwrap_err().contains("detail"));
    }
}

#[test]
fn a_deletion_is_named_by_its_id_in_any_usual_spelling_of_a_guid() {
    let read = |query: &str| look_up(ActionName::GetDeletion, query);
    for sent in [KEY, "74C8EEA050C640B29F3E252ED501C3C8", "{74c8eea0-50c6-40b2-9f3e-252ed501c3c8}"]
    {
        assert_eq!(read(&format!("deletionid={sent}&DeletionID={KEY}")).as_deref(), Ok(KEY));
    }
    assert_eq!(read("callID=x").unwrap_err(), "Parameter deletionID is needed.");
    assert_eq!(read("deletionID=").unwrap_err(), "Parameter deletionID is needed.");
    for sent in ["x", "urn:uuid:74c8eea0-50c6-40b2-9f3e-252ed501c3c8", "%2074c8eea0", "%00"] {
        let error = read(&format!("deletionID={sent}")).unwrap_err();
        assert_eq!(error, "Parameter deletionID takes the id of a deletion.", "{sent}");
    }
    for sent in ["deletion_id", "Deletion-ID", "deletionID[]", "amp;deletionID"] {
        let error = read(&format!("{sent}={KEY}")).unwrap_err();
        assert!(error.contains("write deletionID"), "{sent}: {error}");
    }
    assert!(read(&format!("deletionID={KEY}&deletionID=x")).unwrap_err().contains("different"));
    assert!(read(&format!("deletionID={KEY}&detail=2")).unwrap_err().contains("detail"));
}

#[test]
fn a_release_reads_no_more_than_detail() {
    let name = ActionName::ReleaseToken;
    assert_eq!(look_up(name, "callID=%&userName=x&detail=1").as_deref(), Ok(""));
    assert!(look_up(name, "detail=maybe").unwrap_err().contains("detail"));
}

#[test]
fn whoever_logs_in_needs_no_token_and_whoever_logs_out_needs_one() {
    for name in ActionName::ALL {
        let rule = match name.steps() {
            Steps::LogIn => None,
            Steps::Act { always_with_token, .. } => Some(always_with_token),
        };
        let expected = match name.as_str() {
            "RequestToken" => None,
            other => Some(other == "ReleaseToken"),
        };
        assert_eq!(rule, expected, "{name}");
        assert!(metrics::Action::of(name.as_str()).is_some(), "{name} has a word in metrics");
    }
}

#[test]
fn all_that_proves_somebody_is_known_to_those_who_must_not_write_it_down() {
    let mut headers = request(None, None);
    headers.basic = Some(Secret::new(Bytes::from_static(b"amFuZTpzZWNyZXQ=")));
    let given = params("apiKey=k&token=t&password=a&password=b&userName=u").credentials(&headers);
    let sent: Vec<_> = given.sent().iter().map(|secret| secret.expose().clone()).collect();
    assert_eq!(sent, ["k", "t", "a", "b", "amFuZTpzZWNyZXQ=", "secret"]);
}

#[test]
fn a_defect_in_a_parameter_that_nobody_reads_is_ignored() {
    assert!(read("callID=x&foo=%&%zz=1&apiKey=%&token=%&token=a&user-name=%").is_ok());
}

#[test]
fn an_action_is_read_in_any_case_and_every_other_is_unknown() {
    let name = |query: &str| params(query).action_name();
    assert_eq!(name("ACTION=deletecall&action=DeleteCall"), Ok(ActionName::DeleteCall));
    for known in ActionName::ALL {
        let query = format!("action={}", known.as_str().to_uppercase());
        assert_eq!(name(&query), Ok(known));
    }
    for query in ["", "action=", "action=KeepCall", "action=DeleteCalls", "action=%20DeleteCall"] {
        assert_eq!(name(query), Err(GatewayError::UnknownAction), "{query}");
    }
    for query in ["action=%", "action=DeleteCall&action=GetCallID", "action=DeleteCall&a.ction=x"] {
        assert!(matches!(name(query), Err(GatewayError::Parameter(_))), "{query}");
    }
}

#[test]
fn an_unknown_response_type_is_a_parameter_error_in_xml() {
    for query in ["responseType=YAML", "responseType=JSON&responseType=XML", "responseType=%"] {
        assert!(params(query).format().is_err(), "{query}");
        assert_eq!(params(query).style().format, Format::Xml, "{query}");
    }
    assert_eq!(params("responsetype=json&ResponseType=").format(), Ok(Format::Json));
    assert_eq!(params("").format(), Ok(Format::Xml));
}

#[test]
fn the_style_is_what_is_well_formed_of_it() {
    use Format::{Json, Xml};
    assert_eq!(style("action=deletecall&detail=1"), (Xml, "DeleteCall".into(), true));
    assert_eq!(style("action=Foo%0A%00&dryRun=1&detail=0"), (Xml, "Foo\n".into(), true));
    assert_eq!(style("action=%&detail=1&detail=0&responseType=JSON"), (Json, String::new(), false));
    assert_eq!(style("detail=x&dryRun=%"), (Xml, String::new(), false));
    assert_eq!(style(&format!("action={}", "ü".repeat(65))).1, "ü".repeat(64));
}

#[test]
fn credentials_come_from_parameters_first_and_in_one_spelling() {
    let headers = request(Some("header-key"), Some("header-token"));
    let given =
        params("apiKey=74C8EEA050C640B29F3E252ED501C3C8&token=t&token=t").credentials(&headers);
    assert_eq!(given.api_key, Some(Secret::new(KEY.to_owned())));
    assert_eq!(given.token, Token::Sent(Secret::new("t".to_owned())));
    let given = params("apiKey=&token=").credentials(&headers);
    assert_eq!(given.api_key, Some(Secret::new("header-key".to_owned())));
    assert_eq!(given.token, Token::Sent(Secret::new("header-token".to_owned())));
    let given = params("").credentials(&request(Some(""), None));
    assert_eq!((given.api_key, given.token), (None, Token::Absent));
}

#[test]
fn a_malformed_credential_is_not_replaced_by_a_header() {
    let headers = request(Some(KEY), Some(KEY));
    for query in ["apiKey=%&token=%", "apiKey=a&apiKey=b&token=a&token=b", "api_key=a&to-ken=a"] {
        let given = params(query).credentials(&headers);
        assert_eq!((given.api_key, given.token), (None, Token::Malformed), "{query}");
    }
}

proptest! {
    #[test]
    fn any_request_is_answered_in_well_formed_markup(
        query in any::<Vec<u8>>(),
        form in "(&|=|action|responseType=JSON|callID|extension|status=last|%[0-9a-f]{2}|\\PC){0,30}",
        echo in "(%[0-9A-F]{2}|[a-z<>&\"'+%]){0,80}",
    ) {
        let form = format!("action={echo}&{form}");
        let params = Params::parse(&query, form.as_bytes(), 64);
        let style = Style { format: Format::Xml, ..params.style() };
        prop_assert!(style.echo.chars().count() <= 64);
        let error = match read_as(ActionName::DeleteCall, &params) {
            Ok(_) => GatewayError::UnknownAction,
            Err(error) => error.into(),
        };
        let reply = render::error(&error, &style, USUAL);
        prop_assert_eq!(read_back(std::str::from_utf8(&reply.body).unwrap()), style.echo);
    }
}
