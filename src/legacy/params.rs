//! Query string and form as parameters, read once and judged later.
//!
//! Reading never fails: what is wrong with a parameter is kept until a step takes that parameter,
//! so that a defect in one that nobody reads changes nothing, and an earlier step's error hides
//! it. Values are never decoded lossily: a replaced character would name another call. Nothing
//! here may print a value, or a name that we do not know.

use std::collections::BTreeMap;
use std::fmt;

use encoding_rs::WINDOWS_1252;

use super::LegacyRequest;
use super::error::ParamError;
use crate::config::limits::LimitsConfig;

mod name;

pub(crate) use name::Name;
use name::recognise;

/// The parameters of one request. `Debug` shows names only.
pub(crate) struct Params {
    known: BTreeMap<Name, Slot>,
    unknown: usize,
    value_limit: usize,
    /// A password stands in the query string, where proxies and logs see it.
    password_in_query: bool,
}

/// What was sent under one name.
#[derive(Default)]
struct Slot {
    /// It was sent under a spelling of ours, if only with an empty value.
    spelt: bool,
    /// The values that are not empty, in the order they were sent.
    values: Vec<String>,
    defect: Option<Defect>,
}

#[derive(Clone, Copy)]
enum Defect {
    Encoding,
    TooLong,
    NearMiss,
}

impl Params {
    /// Reads the query string and the form of `request`, merged.
    pub(crate) fn read(request: &LegacyRequest, limits: &LimitsConfig) -> Self {
        let query = request.uri.expose().query().unwrap_or_default();
        let form = request.form.as_ref().map_or(&[][..], |form| form.expose().as_ref());
        Self::parse(query.as_bytes(), form, limits.value)
    }

    /// Reads two strings of pairs; a value longer than `value_limit` bytes is a defect.
    pub(super) fn parse(query: &[u8], form: &[u8], value_limit: usize) -> Self {
        let known = BTreeMap::new();
        let mut params = Self { known, unknown: 0, value_limit, password_in_query: false };
        for pair in pairs(query) {
            params.keep(pair);
        }
        params.password_in_query = params.has(Name::Password);
        for pair in pairs(form) {
            params.keep(pair);
        }
        params
    }

    /// The value of `name`; none when it is absent or empty.
    ///
    /// # Errors
    ///
    /// When it is wrongly encoded, too long, there twice with different values, or there under a
    /// spelling that only resembles its own.
    pub(crate) fn get(&self, name: Name) -> Result<Option<&str>, ParamError> {
        self.get_canonical(name, str::to_owned).map(|found| found.map(|(raw, _)| raw))
    }

    /// The value of `name` as it was sent, and as `canonical` spells it: values that are equal so
    /// are one.
    ///
    /// # Errors
    ///
    /// As [`Params::get`].
    pub(crate) fn get_canonical(
        &self,
        name: Name,
        canonical: impl Fn(&str) -> String,
    ) -> Result<Option<(&str, String)>, ParamError> {
        let Some(slot) = self.known.get(&name) else { return Ok(None) };
        if let Some(defect) = slot.defect {
            return Err(self.describe(name, defect));
        }
        let Some((first, others)) = slot.values.split_first() else { return Ok(None) };
        let value = canonical(first);
        if others.iter().any(|other| canonical(other) != value) {
            return Err(different(name));
        }
        Ok(Some((first, value)))
    }

    /// Whether `name` was sent with a value, well-formed or not.
    pub(crate) fn has(&self, name: Name) -> bool {
        self.known.get(&name).is_some_and(|slot| slot.defect.is_some() || !slot.values.is_empty())
    }

    /// Whether a password came in the query string, well-formed or not.
    pub(crate) fn password_in_query(&self) -> bool {
        self.password_in_query
    }

    /// Every value that was sent under `name`, for those who must not write it down.
    pub(crate) fn all(&self, name: Name) -> impl Iterator<Item = &str> {
        self.known.get(&name).into_iter().flat_map(|slot| slot.values.iter().map(String::as_str))
    }

    /// The known parameters that were sent, in their documented spelling, for the log.
    pub(crate) fn known_names(&self) -> Vec<&'static str> {
        self.known.iter().filter(|(_, slot)| slot.spelt).map(|(name, _)| name.as_str()).collect()
    }

    /// How many parameters were sent that are none of ours, for the log.
    pub(crate) fn unknown_count(&self) -> usize {
        self.unknown
    }

    fn keep(&mut self, pair: &[u8]) {
        let equals = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = equals.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
        let Some((name, exact)) = decode(name).and_then(utf_8).as_deref().and_then(recognise)
        else {
            self.unknown += 1;
            return;
        };
        if !exact {
            self.unknown += 1;
        }
        if !exact && value.is_empty() {
            return;
        }
        let slot = self.known.entry(name).or_default();
        slot.spelt |= exact;
        if value.is_empty() {
            return;
        }
        let old = name.is_text_of_old_clients();
        let value = decode(value).and_then(|it| if old { Some(text(it)) } else { utf_8(it) });
        match value {
            _ if !exact => slot.defect = Some(Defect::NearMiss),
            None => slot.defect = slot.defect.or(Some(Defect::Encoding)),
            Some(value) if value.len() > self.value_limit => {
                slot.defect = slot.defect.or(Some(Defect::TooLong));
            }
            Some(value) => slot.values.push(value),
        }
    }

    fn describe(&self, name: Name, defect: Defect) -> ParamError {
        ParamError(match defect {
            Defect::Encoding => format!(
                "Parameter {name} is wrongly encoded: send UTF-8, and a percent sign as %25."
            ),
            Defect::TooLong => format!(
                "Parameter {name} is too long: at most {} bytes are read.",
                self.value_limit
            ),
            Defect::NearMiss => {
                format!("A parameter is spelt almost like {name}: write {name}.")
            }
        })
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Params")
            .field("known", &self.known_names())
            .field("unknown", &self.unknown)
            .finish_non_exhaustive()
    }
}

fn different(name: Name) -> ParamError {
    let others = if name == Name::CallId { " (or cid or ccdr_id beside it)" } else { "" };
    ParamError(format!("Parameter {name}{others} was sent with different values: send one."))
}

fn pairs(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty())
}

/// Bytes of a login or password as text: UTF-8, and else Windows-1252, in which every byte is some
/// character.
pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        WINDOWS_1252.decode_without_bom_handling(error.as_bytes()).0.into_owned()
    })
}

fn utf_8(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok()
}

/// Decodes `%XX` and `+`; none when a `%` stands without two hexadecimal digits behind it.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hexadecimal(*rest.next()?)? << 4 | hexadecimal(*rest.next()?)?,
            b'+' => b' ',
            other => *other,
        });
    }
    Some(bytes)
}

fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;
    use crate::id::RequestId;
    use crate::secret::{SafeUri, Secret};

    fn query(text: &str) -> Params {
        Params::parse(text.as_bytes(), b"", 1024)
    }

    #[track_caller]
    fn check(text: &str, name: Name, expected: Option<&str>) {
        assert_eq!(query(text).get(name), Ok(expected), "{text}");
    }

    #[track_caller]
    fn check_error(text: &str, name: Name, word: &str) {
        let error = query(text).get(name).unwrap_err().to_string();
        assert!(error.contains(word) && error.contains(name.as_str()), "{text}: {error}");
        assert!(!error.contains("zzz"), "{text} is echoed: {error}");
    }

    #[test]
    fn a_value_is_decoded_once() {
        check("callID=a%2Bb+c%2525", Name::CallId, Some("a+b c%25"));
        check("callID=%C3%BC", Name::CallId, Some("ü"));
        check("callID=ü", Name::CallId, Some("ü"));
        check("callID=a=b=", Name::CallId, Some("a=b="));
        check("nativeID=%7b57dab8b1%7D%7C1%7c-1", Name::NativeId, Some("{57dab8b1}|1|-1"));
    }

    #[test]
    fn names_are_read_in_any_case_and_encoded_or_not() {
        for text in ["callid=x", "CALLID=x", "call%49D=x", "cid=x", "CCDR_ID=x"] {
            check(text, Name::CallId, Some("x"));
        }
    }

    #[test]
    fn an_empty_value_is_the_same_as_none() {
        for text in ["", "&&", "callID", "callID=", "callID=&callID", "call_id=", "x=callID"] {
            check(text, Name::CallId, None);
        }
        check("callID=&cid=x&callID", Name::CallId, Some("x"));
    }

    #[test]
    fn equal_repeats_are_one_and_different_ones_an_error() {
        check("callID=x&callID=%78", Name::CallId, Some("x"));
        check("callID=x&cid=x&ccdr_id=x", Name::CallId, Some("x"));
        check_error("callID=zzz&callID=zzzz", Name::CallId, "different values");
        check_error("cid=zzz&ccdr_id=zzzz", Name::CallId, "ccdr_id");
        check_error("status=zzz&STATUS=ZZZ", Name::Status, "different values");
    }

    #[test]
    fn only_login_and_password_may_be_in_windows_1252() {
        check("userName=j%FCrgen", Name::Login, Some("jürgen"));
        check("password=%80%c3%bc", Name::Password, Some("€Ã¼"));
        check("password=%c3%bc", Name::Password, Some("ü"));
        check("password=%FC&password=%C3%BC", Name::Password, Some("ü"));
        for (text, name) in [("callID=%FC", Name::CallId), ("token=%FC", Name::Token)] {
            check_error(text, name, "wrongly encoded");
        }
        check_error("password=%F", Name::Password, "wrongly encoded");
        check_error("user-name=zzz", Name::Login, "almost");
    }

    #[test]
    fn it_is_known_whether_a_password_stands_in_the_query() {
        let found = |query: &str, form: &str| {
            Params::parse(query.as_bytes(), form.as_bytes(), 8).password_in_query()
        };
        for query in ["password=x", "PASSWORD=%", "pass_word=x", "a=b&password=toolongaword"] {
            assert!(found(query, "") && found(query, query), "{query}");
            assert!(!found("", query) && !found("userName=x&password=", query), "{query}");
        }
        let params = query("password=a&password=b");
        assert_eq!(params.all(Name::Password).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_form_is_merged_with_the_query() {
        let params = Params::parse(b"callID=x", b"callID=x&status=last", 1024);
        assert_eq!(params.get(Name::CallId), Ok(Some("x")));
        assert_eq!(params.get(Name::Status), Ok(Some("last")));
        let params = Params::parse(b"callID=x", b"callID=y", 1024);
        assert!(params.get(Name::CallId).is_err());
    }

    #[test]
    fn values_that_are_canonically_equal_are_one() {
        let params = query("apiKey=ABC&apikey=abc");
        let found = params.get_canonical(Name::ApiKey, str::to_lowercase);
        assert_eq!(found, Ok(Some(("ABC", "abc".to_owned()))));
        assert!(params.get(Name::ApiKey).is_err());
    }

    #[test]
    fn a_wrong_encoding_is_an_error_when_the_parameter_is_taken() {
        for value in
            ["zzz%", "zzz%4", "zzz%4g", "zzz%%41", "zzz%+1", "zzz%FF", "zzz%C3", "%ed%a0%80"]
        {
            let text = format!("callID={value}&status=last");
            check_error(&text, Name::CallId, "encoded");
            check(&text, Name::Status, Some("last"));
        }
        assert!(Params::parse(b"", b"callID=\xff", 1024).get(Name::CallId).is_err());
    }

    #[test]
    fn a_value_is_limited_in_decoded_bytes() {
        let params = Params::parse(b"callID=%C3%BC%C3%BC&nativeID=12345", b"", 4);
        assert_eq!(params.get(Name::CallId), Ok(Some("üü")));
        let error = params.get(Name::NativeId).unwrap_err().to_string();
        assert_eq!(error, "Parameter nativeID is too long: at most 4 bytes are read.");
    }

    #[test]
    fn a_name_that_almost_equals_one_of_ours_is_an_error_for_that_one() {
        for text in ["call_id=zzz", "call-ID=zzz", "c.i.d=zzz", "ccdrid=zzz&callID=x", "ccdr-id=%"]
        {
            check_error(text, Name::CallId, "almost");
        }
        check_error("dry_run=1", Name::DryRun, "write dryRun");
        for text in ["amp;callID=zzz", "callID[]=zzz&callID=x", "callID%5B%5d=zzz", "+callID=zzz"] {
            check_error(&format!("action=x&{text}"), Name::CallId, "almost");
        }
        check_error("status=last&nativeID%0D%0A=zzz", Name::NativeId, "almost");
        check("amp;=x&[]=x&+=x", Name::CallId, None);
        check("calls=x&call id=x&callIDs=x&_=x", Name::CallId, None);
    }

    #[test]
    fn the_log_gets_known_names_and_the_number_of_others() {
        let params = query("CID=s3cret&foo=bar&_=1&%=2&call_id=s3cret&token=&apikey=s3cret");
        assert_eq!(params.known_names(), ["apiKey", "token", "callID"]);
        assert_eq!(params.unknown_count(), 4);
        assert!(!format!("{params:?}").contains("s3cret"));
        assert!(params.has(Name::CallId) && !params.has(Name::Token) && !params.has(Name::Scope));
    }

    #[test]
    fn a_request_is_read_from_its_uri_and_its_form() {
        let request = LegacyRequest {
            id: RequestId::random(),
            peer: [127, 0, 0, 1].into(),
            at_our_path: true,
            post: true,
            uri: SafeUri::new("/verba/api?action=DeleteCall".parse().unwrap()),
            form: Some(Secret::new(Bytes::from_static(b"callID=x"))),
            api_key_header: None,
            bearer: None,
            basic: None,
            prefetch: false,
        };
        let limits = LimitsConfig { request_line: 1, headers: 1, body: 1, value: 10 };
        let params = Params::read(&request, &limits);
        assert_eq!(params.get(Name::Action), Ok(Some("DeleteCall")));
        assert_eq!(params.get(Name::CallId), Ok(Some("x")));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            query in any::<Vec<u8>>(),
            form in "(callID|ccdr_id|action|[&=%+]|[0-9a-fA-F]|\\PC){0,40}",
        ) {
            let params = Params::parse(&query, form.as_bytes(), 8);
            for name in [Name::Action, Name::CallId] {
                if let Ok(Some(value)) = params.get(name) {
                    prop_assert!(!value.is_empty() && value.len() <= 8);
                }
            }
        }

        #[test]
        fn what_was_encoded_is_read_back(value in "\\PC{1,40}") {
            let encoded = utf8_percent_encode(&value, NON_ALPHANUMERIC);
            let params = query(&format!("callID={encoded}"));
            prop_assert_eq!(params.get(Name::CallId), Ok(Some(value.as_str())));
        }
    }
}
