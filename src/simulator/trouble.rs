//! What Graph refuses for reasons that no request can mend: the codes that people meet with this API.

use serde_json::Value;

use super::fields::{BadField, Fields};

/// A refusal that a tester asks for, of a call, an app or a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The calling channel of the app's bot is not enabled.
    NotRegistered,
    /// Nobody consented for the tenant.
    NoConsent,
    /// The token is of another tenant than the call.
    OtherTenant,
    /// The call is not there, or not the app's.
    NoCall,
    /// What Graph says when it does not know itself.
    Internal,
}

impl Trouble {
    const ALL: [Self; 5] =
        [Self::NotRegistered, Self::NoConsent, Self::OtherTenant, Self::NoCall, Self::Internal];

    /// Graph's code, which is a string there.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::NotRegistered => "7503",
            Self::NoConsent => "7504",
            Self::OtherTenant => "7505",
            Self::NoCall => "8522",
            Self::Internal => "9999",
        }
    }

    /// Takes the field `error`, a code as string or number.
    ///
    /// # Errors
    ///
    /// When it is no code that is known.
    pub(super) fn take(fields: &mut Fields) -> Result<Option<Self>, BadField> {
        let code = match fields.take("error") {
            None => return Ok(None),
            Some(Value::String(code)) => code,
            Some(other) => other.to_string(),
        };
        let found = Self::ALL.into_iter().find(|trouble| trouble.code() == code);
        found.map(Some).ok_or_else(|| {
            let codes = Self::ALL.map(Self::code).join(", ");
            BadField::new("error", format!("must be one of {codes}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_taken_as_string_or_number() {
        let take = |body: &str| Trouble::take(&mut Fields::read(body.as_bytes()).unwrap());
        assert_eq!(take(r#"{"error": "7505"}"#), Ok(Some(Trouble::OtherTenant)));
        assert_eq!(take(r#"{"error": 9999}"#), Ok(Some(Trouble::Internal)));
        assert_eq!(take("{}"), Ok(None));
        let error = take(r#"{"error": 7506}"#).unwrap_err().to_string();
        assert_eq!(error, "error: must be one of 7503, 7504, 7505, 8522, 9999");
    }
}
