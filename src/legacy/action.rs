//! From parameters to what is asked: format, action, credentials, and the action's own fields.
//!
//! Each step is one method, called in the order of docs/PROTOCOL.md; an error of an earlier step
//! hides those of later ones. Nothing here looks at a key, a right or a call.

use std::fmt;

use super::LegacyRequest;
use super::error::{GatewayError, ParamError};
use super::params::{Name, Params};
use super::render::{Format, Style, legal};
use crate::id::canonical_guid;
use crate::model::rights::Right;
use crate::model::selector::Selector;
use crate::secret::Secret;

mod selector;

use selector::{printable, selector};

/// What is asked, with everything that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    DeleteCall(DeleteCall),
}

/// The fields of `DeleteCall`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeleteCall {
    pub(crate) selector: Selector,
    /// `scope=all`: everyone's leg, not ours alone.
    pub(crate) scope_all: bool,
    /// Decide, and do nothing.
    pub(crate) dry_run: bool,
    /// Answer with what the plain answer leaves out; a dry run always does.
    pub(crate) detail: bool,
    /// For the audit record, at most 256 characters.
    pub(crate) reason: Option<String>,
}

/// The actions by name. A new one is a variant here, its row in [`ActionName::ALL`], its right,
/// its variant of [`Action`] and its reader in [`Action::read`]; the compiler asks for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ActionName {
    DeleteCall,
}

impl ActionName {
    const ALL: [Self; 1] = [Self::DeleteCall];

    /// Its documented spelling.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::DeleteCall => "DeleteCall",
        }
    }

    /// The right that a key needs for it.
    pub(crate) const fn right(self) -> Right {
        match self {
            Self::DeleteCall => Right::DeleteCall,
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str().eq_ignore_ascii_case(word))
    }
}

impl fmt::Display for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the caller proves itself with, in canonical spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// None also when it was malformed: there is one answer for every key that is not accepted.
    pub(crate) api_key: Option<Secret<String>>,
    pub(crate) token: Token,
}

impl Credentials {
    /// All that was sent, for those who must not write it down.
    pub(crate) fn sent(&self) -> Vec<Secret<String>> {
        let token = match &self.token {
            Token::Sent(token) => Some(token.clone()),
            Token::Absent | Token::Malformed => None,
        };
        self.api_key.iter().cloned().chain(token).collect()
    }
}

/// The token that came with a request. One that the key does not need is ignored, whatever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// None was sent: a key that needs one is answered so.
    Absent,
    /// One was sent that cannot be one, or two different ones: answered like one that is unknown.
    Malformed,
    /// To be looked up.
    Sent(Secret<String>),
}

impl Params {
    /// How to answer, as far as it can be understood; whatever is wrong with it is an error of a
    /// later step, which is itself answered in this style.
    pub(crate) fn style(&self) -> Style {
        let echo = match self.word(Name::Action) {
            Ok(Some(sent)) => ActionName::parse(sent)
                .map_or_else(|| beginning_of(sent), |name| name.as_str().to_owned()),
            Ok(None) | Err(_) => String::new(),
        };
        let on = |name| matches!(self.switch(name), Ok(true));
        Style {
            format: self.format().unwrap_or_default(),
            echo,
            // Without detail a dry run would say nothing.
            detail: on(Name::Detail) || on(Name::DryRun),
        }
    }

    /// Step 1: `responseType`.
    ///
    /// # Errors
    ///
    /// When it is malformed or none of ours; the answer is XML then.
    pub(crate) fn format(&self) -> Result<Format, ParamError> {
        match self.word(Name::ResponseType)? {
            Some(word) => Format::parse(word)
                .ok_or_else(|| takes(Name::ResponseType, "XML, JSON, HTML or TEXT")),
            None => Ok(Format::default()),
        }
    }

    /// Step 2: `action`.
    ///
    /// # Errors
    ///
    /// [`GatewayError::UnknownAction`] when it is missing or none of ours, a parameter error when
    /// it is malformed or contradictory.
    pub(crate) fn action_name(&self) -> Result<ActionName, GatewayError> {
        let word = self.word(Name::Action)?.ok_or(GatewayError::UnknownAction)?;
        ActionName::parse(word).ok_or(GatewayError::UnknownAction)
    }

    /// Steps 3 and 4: what proves the caller. A header is read only when its parameter was not
    /// sent at all.
    pub(crate) fn credentials(&self, request: &LegacyRequest) -> Credentials {
        let api_key = if self.has(Name::ApiKey) {
            self.secret(Name::ApiKey)
        } else {
            from_header(request.api_key_header.as_ref())
        };
        let token = if self.has(Name::Token) {
            self.secret(Name::Token).map_or(Token::Malformed, Token::Sent)
        } else {
            from_header(request.bearer.as_ref()).map_or(Token::Absent, Token::Sent)
        };
        Credentials { api_key, token }
    }

    fn secret(&self, name: Name) -> Option<Secret<String>> {
        let (_, canonical) = self.get_canonical(name, guid).ok()??;
        Some(Secret::new(canonical))
    }

    /// A value that is one of ours whatever its case, so that repeats may differ in it.
    fn word(&self, name: Name) -> Result<Option<&str>, ParamError> {
        let found = self.get_canonical(name, str::to_ascii_lowercase)?;
        Ok(found.map(|(raw, _)| raw))
    }

    fn switch(&self, name: Name) -> Result<bool, ParamError> {
        let Some(word) = self.word(name)? else { return Ok(false) };
        match word.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" => Ok(true),
            "0" | "false" | "no" => Ok(false),
            _ => Err(takes(name, "1, true or yes, and 0, false or no")),
        }
    }
}

impl Action {
    /// Step 6: the action's own parameters, after the caller was found to have the right to it.
    ///
    /// # Errors
    ///
    /// When a parameter that the action reads is missing, malformed or contradictory; those that
    /// it does not read are not looked at.
    pub(crate) fn read(name: ActionName, params: &Params) -> Result<Self, ParamError> {
        match name {
            ActionName::DeleteCall => delete_call(params).map(Self::DeleteCall),
        }
    }
}

fn delete_call(params: &Params) -> Result<DeleteCall, ParamError> {
    let selector = selector(params)?;
    let scope = params.word(Name::Scope)?.map(str::to_ascii_lowercase);
    let scope_all = match scope.as_deref() {
        None | Some("leg") => false,
        Some("all") => true,
        Some(_) => return Err(takes(Name::Scope, "leg or all")),
    };
    let dry_run = params.switch(Name::DryRun)?;
    let detail = params.switch(Name::Detail)? || dry_run;
    Ok(DeleteCall { selector, scope_all, dry_run, detail, reason: reason(params)? })
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

fn takes(name: Name, words: &str) -> ParamError {
    ParamError(format!("Parameter {name} takes {words}."))
}

/// One value for every spelling of a GUID; anything else is looked up as it is.
fn guid(text: &str) -> String {
    canonical_guid(text).unwrap_or_else(|| text.to_owned())
}

fn from_header(header: Option<&Secret<String>>) -> Option<Secret<String>> {
    let text = header?.expose();
    (!text.is_empty()).then(|| Secret::new(guid(text)))
}

/// What an unknown action is echoed as.
fn beginning_of(text: &str) -> String {
    let beginning: String = text.chars().take(64).collect();
    legal(&beginning).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::codes::tests::USUAL;
    use super::super::render;
    use super::super::render::tests::read_back;
    use super::*;
    use crate::id::RequestId;
    use crate::secret::SafeUri;

    const KEY: &str = "74c8eea0-50c6-40b2-9f3e-252ed501c3c8";

    fn params(query: &str) -> Params {
        Params::parse(query.as_bytes(), b"", 1024)
    }

    fn read(query: &str) -> Result<DeleteCall, ParamError> {
        let Action::DeleteCall(ask) = Action::read(ActionName::DeleteCall, &params(query))?;
        Ok(ask)
    }

    #[track_caller]
    fn check_error(query: &str, expected: &str) {
        assert_eq!(read(query), Err(ParamError(expected.to_owned())), "{query}");
    }

    fn request(api_key: Option<&str>, bearer: Option<&str>) -> LegacyRequest {
        let secret = |text: &str| Secret::new(text.to_owned());
        LegacyRequest {
            id: RequestId::random(),
            peer: [127, 0, 0, 1].into(),
            post: false,
            uri: SafeUri::new("/".parse().unwrap()),
            form: None,
            api_key_header: api_key.map(secret),
            bearer: bearer.map(secret),
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
        assert!(!ask.scope_all && !ask.dry_run && !ask.detail && ask.reason.is_none());
        let ask = read("callID=x&scope=all&detail=yes&reason=wrong+call%0Aagain").unwrap();
        assert!(ask.scope_all && !ask.dry_run && ask.detail);
        assert_eq!(ask.reason.as_deref(), Some("wrong call\nagain"));
        let ask = read("callID=x&scope=leg&dryRun=TRUE&detail=0").unwrap();
        assert!(!ask.scope_all && ask.dry_run && ask.detail);
        check_error("callID=x&scope=both", "Parameter scope takes leg or all.");
        check_error(
            "callID=x&dryRun=on",
            "Parameter dryRun takes 1, true or yes, and 0, false or no.",
        );
        check_error(
            "callID=x&detail=2",
            "Parameter detail takes 1, true or yes, and 0, false or no.",
        );
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

    #[test]
    fn a_defect_in_a_parameter_that_nobody_reads_is_ignored() {
        assert!(read("callID=x&foo=%&%zz=1&apiKey=%&token=%&token=a&user-name=%").is_ok());
    }

    #[test]
    fn an_action_is_read_in_any_case_and_every_other_is_unknown() {
        let name = |query| params(query).action_name();
        assert_eq!(name("ACTION=deletecall&action=DeleteCall"), Ok(ActionName::DeleteCall));
        for query in
            ["", "action=", "action=GetCallID", "action=DeleteCalls", "action=%20DeleteCall"]
        {
            assert_eq!(name(query), Err(GatewayError::UnknownAction), "{query}");
        }
        for query in
            ["action=%", "action=DeleteCall&action=GetCallID", "action=DeleteCall&a.ction=x"]
        {
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
        assert_eq!(
            style("action=%&detail=1&detail=0&responseType=JSON"),
            (Json, String::new(), false)
        );
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
        for query in ["apiKey=%&token=%", "apiKey=a&apiKey=b&token=a&token=b", "api_key=a&to-ken=a"]
        {
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
            let error = match Action::read(ActionName::DeleteCall, &params) {
                Ok(_) => GatewayError::UnknownAction,
                Err(error) => error.into(),
            };
            let reply = render::error(&error, &style, USUAL);
            prop_assert_eq!(read_back(std::str::from_utf8(&reply.body).unwrap()), style.echo);
        }
    }
}
