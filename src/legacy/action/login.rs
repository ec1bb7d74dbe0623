//! What somebody logs in with: `Authorization: Basic`, or `userName` and `password`.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use crate::legacy::LegacyRequest;
use crate::legacy::error::ParamError;
use crate::legacy::params::{self, Name, Params};
use crate::secret::Secret;

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Longer logins and passwords are nobody's.
const LONGEST: usize = 1024;

/// The fields of `RequestToken`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenRequest {
    pub(crate) sent: SentLogin,
    /// A password stands in the query string, where proxies and logs see it.
    pub(crate) in_query: bool,
}

/// The login that came with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SentLogin {
    /// None was sent: a client that waits to be asked is asked.
    Absent,
    /// `Authorization: Basic` that holds none, or several different ones: answered like one that is
    /// wrong.
    Malformed,
    /// To be looked at.
    Sent { login: String, password: Secret<String> },
}

/// What `request` and its parameters log in with. Both forms may be there when they say the same.
///
/// # Errors
///
/// When a parameter is malformed, one of the two is missing, or they contradict the header.
pub(crate) fn token_request(
    request: &LegacyRequest,
    params: &Params,
) -> Result<TokenRequest, ParamError> {
    let login = params.get(Name::Login)?;
    let password = params.get(Name::Password)?;
    let in_query = params.password_in_query();
    let sent = match request.basic.as_ref().map(|basic| decode(basic.expose())) {
        Some(None) => SentLogin::Malformed,
        Some(Some((basic_login, basic_password))) => {
            same(Name::Login, login, &basic_login)?;
            same(Name::Password, password, &basic_password)?;
            SentLogin::Sent { login: basic_login, password: Secret::new(basic_password) }
        }
        None => match (login, password) {
            (None, None) => SentLogin::Absent,
            (Some(login), Some(password)) => SentLogin::Sent {
                login: login.to_owned(),
                password: Secret::new(password.to_owned()),
            },
            (None, Some(_)) => return Err(missing(Name::Login, Name::Password)),
            (Some(_), None) => return Err(missing(Name::Password, Name::Login)),
        },
    };
    params.switch(Name::Detail)?;
    Ok(TokenRequest { sent, in_query })
}

/// What of `Authorization: Basic` must not be written down: all of it, and the password in it.
pub(super) fn of_header(request: &LegacyRequest) -> impl Iterator<Item = String> {
    let basic = request.basic.as_ref().map(Secret::expose);
    let password = basic.and_then(decode).map(|(_, password)| password);
    basic.map(|basic| String::from_utf8_lossy(basic).into_owned()).into_iter().chain(password)
}

/// Login and password out of `Authorization: Basic` (RFC 7617): what stands in front of the first
/// colon and behind it; none when there is no base64 or no colon, or one of the two is too long.
fn decode(basic: &Bytes) -> Option<(String, String)> {
    let decoded = params::text(BASE64.decode(basic).ok()?);
    let (login, password) = decoded.split_once(':')?;
    let fits = |text: &str| text.len() <= LONGEST;
    (fits(login) && fits(password)).then(|| (login.to_owned(), password.to_owned()))
}

/// A parameter that says something else than the header is no guess which of them was meant.
fn same(name: Name, parameter: Option<&str>, header: &str) -> Result<(), ParamError> {
    match parameter {
        Some(parameter) if parameter != header => Err(ParamError(format!(
            "Parameter {name} differs from Authorization: Basic: send one of them."
        ))),
        _ => Ok(()),
    }
}

fn missing(name: Name, beside: Name) -> ParamError {
    ParamError(format!("Parameter {name} is missing beside {beside}."))
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
    use proptest::prelude::*;

    use super::*;
    use crate::legacy::action::tests::request;

    fn read(basic: Option<&[u8]>, query: &str, form: &str) -> Result<TokenRequest, String> {
        let mut request = request(None, None);
        request.basic = basic.map(|value| Secret::new(Bytes::copy_from_slice(value)));
        let params = Params::parse(query.as_bytes(), form.as_bytes(), LONGEST);
        token_request(&request, &params).map_err(|error| error.0)
    }

    fn sent(login: &str, password: &str) -> SentLogin {
        SentLogin::Sent { login: login.to_owned(), password: Secret::new(password.to_owned()) }
    }

    fn basic(text: &[u8]) -> String {
        BASE64_STANDARD.encode(text)
    }

    #[test]
    fn a_basic_value_is_read_in_both_encodings_and_with_and_without_padding() {
        for (bytes, login, password) in [
            (&b"jane:secret"[..], "jane", "secret"),
            (b"jane:a:b:", "jane", "a:b:"),
            (b":x", "", "x"),
            (b"jane:", "jane", ""),
            ("jürgen:größe".as_bytes(), "jürgen", "größe"),
            (b"j\xfcrgen:gr\xf6\xdfe\x80", "jürgen", "größe€"),
        ] {
            for encoded in [BASE64_STANDARD.encode(bytes), BASE64_STANDARD_NO_PAD.encode(bytes)] {
                let found = read(Some(encoded.as_bytes()), "", "").unwrap();
                assert_eq!(found, TokenRequest { sent: sent(login, password), in_query: false });
            }
        }
    }

    #[test]
    fn a_basic_value_without_base64_or_colon_or_of_great_length_is_a_wrong_login() {
        let long = "x".repeat(LONGEST + 1);
        for value in [
            b"jane:secret".to_vec(),
            b"\xfc".to_vec(),
            basic(b"jane").into_bytes(),
            b"amFuZTpz, amFuZTpz".to_vec(),
            b"amFuZTp-".to_vec(),
            basic(format!("{long}:x").as_bytes()).into_bytes(),
            basic(format!("x:{long}").as_bytes()).into_bytes(),
        ] {
            assert_eq!(read(Some(&value), "", "").unwrap().sent, SentLogin::Malformed);
        }
        let fits = format!("{0}:{0}", "x".repeat(LONGEST));
        let found = read(Some(basic(fits.as_bytes()).as_bytes()), "", "").unwrap().sent;
        assert!(matches!(found, SentLogin::Sent { .. }), "{found:?}");
    }

    #[test]
    fn parameters_are_read_in_both_encodings_from_query_and_form() {
        for text in [
            "userName=j%C3%BCrgen&password=gr%C3%B6%C3%9Fe",
            "USERNAME=j%FCrgen&password=gr%F6%DFe",
        ] {
            let expected = |in_query| TokenRequest { sent: sent("jürgen", "größe"), in_query };
            assert_eq!(read(None, text, ""), Ok(expected(true)));
            assert_eq!(read(None, "", text), Ok(expected(false)));
            // Two encodings of one text are one text.
            assert_eq!(read(None, "userName=j%FCrgen", text), Ok(expected(false)));
        }
        assert_eq!(read(None, "userName=&password=", "").unwrap().sent, SentLogin::Absent);
    }

    #[test]
    fn half_a_login_is_an_error_unless_the_header_has_the_other_half() {
        for (query, missing) in [("userName=zzz", "password"), ("password=zzz", "userName")] {
            let error = read(None, query, "").unwrap_err();
            assert!(error.starts_with(&format!("Parameter {missing} is missing")), "{error}");
            assert!(!error.contains("zzz"));
        }
        let header = basic(b"jane:secret");
        for (query, in_query) in [
            ("userName=jane", false),
            ("password=secret", true),
            ("userName=jane&password=secret", true),
        ] {
            let found = read(Some(header.as_bytes()), query, "");
            assert_eq!(found, Ok(TokenRequest { sent: sent("jane", "secret"), in_query }));
        }
        for (query, name) in [
            ("userName=zzz", "userName"),
            ("userName=JANE&password=secret", "userName"),
            ("userName=jane&password=zzz", "password"),
        ] {
            let error = read(Some(header.as_bytes()), query, "").unwrap_err();
            assert!(error.starts_with(&format!("Parameter {name} differs")), "{error}");
            assert!(!error.contains("zzz"));
        }
    }

    #[test]
    fn a_defect_of_a_parameter_is_told_also_beside_a_header() {
        let header = basic(b"jane:secret");
        for query in
            ["user_name=x", "userName=%", "password=a&password=b", "pass-word=x", "detail=2"]
        {
            assert!(read(Some(header.as_bytes()), query, "").is_err(), "{query}");
        }
        let long = format!("userName=jane&password={}", "x".repeat(LONGEST + 1));
        assert!(read(None, "", &long).unwrap_err().contains("too long"));
    }

    proptest! {
        #[test]
        fn whatever_the_header_holds_it_is_a_login_or_malformed(value in any::<Vec<u8>>()) {
            let found = read(Some(&value), "", "").unwrap().sent;
            prop_assert!(found != SentLogin::Absent);
        }

        #[test]
        fn what_a_client_encodes_is_read_back(login in "[^:]{0,40}", password in "\\PC{0,40}") {
            let header = basic(format!("{login}:{password}").as_bytes());
            let found = read(Some(header.as_bytes()), "", "").unwrap().sent;
            prop_assert_eq!(found, sent(&login, &password));
        }
    }
}
