//! Which call the parameters mean.
//!
//! A selector that leaves this module is complete: nothing later checks whether an identifier is
//! there, or whether a number came with its status.

use crate::id::CallId;
use crate::legacy::error::ParamError;
use crate::legacy::params::{Name, Params};
use crate::model::number::{Number, NumberError};
use crate::model::selector::{Selector, StatusWord};

/// Reads the identifiers and `status`.
///
/// # Errors
///
/// When there is no identifier, an `extension` without `status`, or a malformed one of them.
pub(super) fn selector(params: &Params) -> Result<Selector, ParamError> {
    let call_id = params.get_canonical(Name::CallId, |sent| CallId::new(sent).to_string())?;
    let call_id = call_id.map(|(raw, canonical)| printable(Name::CallId, raw).map(|_| canonical));
    let extension = identifier(params, Name::Extension)?.map(|raw| Number::parse(&raw));
    let status = params.word(Name::Status)?.map(StatusWord::list);
    let selector = Selector {
        call_id: call_id.transpose()?,
        platform_call_id: identifier(params, Name::PlatformCallId)?,
        native_id: identifier(params, Name::NativeId)?,
        meeting_id: identifier(params, Name::MeetingId)?,
        extension: extension.transpose().map_err(|error| about_number(Name::Extension, error))?,
        status: status
            .transpose()
            .map_err(|error| ParamError(format!("Parameter {} {error}.", Name::Status)))?,
    };
    match (selector.names().as_slice(), &selector.status) {
        ([] | ["status"], _) => Err(ParamError(
            "One of the parameters callID, platformCallID, nativeID, meetingID and extension is \
             needed."
                .to_owned(),
        )),
        (_, None) if selector.extension.is_some() => Err(ParamError(
            "Parameter status is needed with extension: send ongoing, last or next.".to_owned(),
        )),
        _ => Ok(selector),
    }
}

/// Reads a value that is compared to the letter, or by its own rules.
pub(super) fn identifier(params: &Params, name: Name) -> Result<Option<String>, ParamError> {
    let value = params.get(name)?.map(|raw| printable(name, raw));
    Ok(value.transpose()?.map(str::to_owned))
}

/// No real identifier has a control character, and a database or a log may cut the value at one.
pub(super) fn printable(name: Name, value: &str) -> Result<&str, ParamError> {
    if value.contains(char::is_control) {
        return Err(ParamError(format!("Parameter {name} must not hold control characters.")));
    }
    Ok(value)
}

/// Why the value of `name` is no number.
pub(super) fn about_number(name: Name, error: NumberError) -> ParamError {
    ParamError(format!("Parameter {name} holds {error}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Selector, ParamError> {
        selector(&Params::parse(query.as_bytes(), b"", 1024))
    }

    #[track_caller]
    fn check_selector(query: &str, expected: &str) {
        assert_eq!(read(query).unwrap().canonical(), expected, "{query}");
    }

    #[track_caller]
    fn check_error(query: &str, expected: &str) {
        assert_eq!(read(query), Err(ParamError(expected.to_owned())), "{query}");
    }

    #[test]
    fn each_identifier_selects_and_several_narrow() {
        check_selector("callID=Rec-1", "callID=5:Rec-1;");
        check_selector(
            "ccdr_id=%7B57DAB8B1-894C-409A-B240-BD8BEAE78896%7D",
            "callID=36:57dab8b1-894c-409a-b240-bd8beae78896;",
        );
        check_selector(
            "platformcallid=71627389&status=LAST&status=last",
            "platformCallID=8:71627389;status=last;",
        );
        check_selector("nativeID=TRS|1|-1&meetingID=M6DD", "nativeID=8:TRS|1|-1;meetingID=4:M6DD;");
        check_selector(
            "extension=+49301238856&status=ongoing,+next",
            "extension=12:+49301238856;status=ongoing,next;",
        );
    }

    #[test]
    fn spellings_of_one_guid_under_different_aliases_are_one_identifier() {
        check_selector(
            "callID=57DAB8B1894C409AB240BD8BEAE78896&cid=57dab8b1-894c-409a-b240-bd8beae78896",
            "callID=36:57dab8b1-894c-409a-b240-bd8beae78896;",
        );
    }

    #[test]
    fn a_selector_that_is_missing_or_malformed_is_an_error_that_names_the_parameter() {
        let needed = "One of the parameters callID, platformCallID, nativeID, meetingID and \
                      extension is needed.";
        check_error("", needed);
        check_error("callID=&status=last&foo=1", needed);
        let status = "Parameter status is needed with extension: send ongoing, last or next.";
        check_error("extension=8856", status);
        check_error("extension=8856&callID=x&status=", status);
        check_error(
            "extension=8856&status=recorded",
            "Parameter status takes ongoing, last and next, separated by commas.",
        );
        check_error("callID=x&status=last,last", "Parameter status takes each word once.");
        check_error(
            "extension=tel:&status=last",
            "Parameter extension holds no number, SIP address or user id.",
        );
        check_error("callID=a%00b", "Parameter callID must not hold control characters.");
        check_error("nativeID=a%7F", "Parameter nativeID must not hold control characters.");
        check_error(
            "extension=%0A8856&status=last",
            "Parameter extension must not hold control characters.",
        );
        check_error(
            "callID=a&cid=b",
            "Parameter callID (or cid or ccdr_id beside it) was sent with different values: send one.",
        );
        check_error(
            "callID=a&native_id=b",
            "A parameter is spelt almost like nativeID: write nativeID.",
        );
    }
}
