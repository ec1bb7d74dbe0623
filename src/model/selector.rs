//! Which call a request means: five identifiers that narrow each other, and the status words.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use super::number::Number;

/// The identifiers of a request. At least one is set; `extension` never stands without `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    /// `callID`: our call id or Graph's own.
    pub(crate) call_id: Option<String>,
    /// `platformCallID`.
    pub(crate) platform_call_id: Option<String>,
    /// `nativeID`.
    pub(crate) native_id: Option<String>,
    /// `meetingID`.
    pub(crate) meeting_id: Option<String>,
    /// `extension`.
    pub(crate) extension: Option<Number>,
    /// `status`, in the order they are tried; none when the parameter was not sent.
    pub(crate) status: Option<Vec<StatusWord>>,
}

impl Selector {
    /// One text for all selectors that mean the same, and for no other. It holds what the caller
    /// sent, so it is compared and stored but never logged.
    pub(crate) fn canonical(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.identifiers() {
            // The length keeps one value from reading like two parameters.
            write!(text, "{name}={}:{value};", value.len()).expect("a String takes every write");
        }
        if let Some(words) = &self.status {
            let words: Vec<_> = words.iter().map(|word| word.as_str()).collect();
            write!(text, "status={};", words.join(",")).expect("a String takes every write");
        }
        text
    }

    /// The parameters that it was read from, in their documented spelling.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let status = self.status.is_some().then_some("status");
        self.identifiers().map(|(name, _)| name).chain(status).collect()
    }

    /// What its sender should know about how it was read, each a sentence.
    pub(crate) fn notes(&self) -> Vec<String> {
        let repaired = self.extension.as_ref().is_some_and(|number| number.repaired);
        let note = "Parameter extension began with a blank, which was read as an unescaped plus \
                    sign: send %2B.";
        repaired.then(|| note.to_owned()).into_iter().collect()
    }

    /// What it names the call by.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = IdentifierKind> {
        self.named().map(|(kind, _)| kind)
    }

    fn identifiers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.named().map(|(kind, value)| (kind.as_str(), value))
    }

    fn named(&self) -> impl Iterator<Item = (IdentifierKind, &str)> {
        let extension = self.extension.as_ref().map(|number| number.normalised.as_str());
        [
            (IdentifierKind::CallId, self.call_id.as_deref()),
            (IdentifierKind::PlatformCallId, self.platform_call_id.as_deref()),
            (IdentifierKind::NativeId, self.native_id.as_deref()),
            (IdentifierKind::MeetingId, self.meeting_id.as_deref()),
            (IdentifierKind::Extension, extension),
        ]
        .into_iter()
        .filter_map(|(kind, value)| Some((kind, value?)))
    }
}

/// One of the five names that a call can be named by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdentifierKind {
    CallId,
    PlatformCallId,
    NativeId,
    MeetingId,
    Extension,
}

impl IdentifierKind {
    const ALL: [Self; 5] =
        [Self::CallId, Self::PlatformCallId, Self::NativeId, Self::MeetingId, Self::Extension];

    /// The parameter's documented spelling.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::CallId => "callID",
            Self::PlatformCallId => "platformCallID",
            Self::NativeId => "nativeID",
            Self::MeetingId => "meetingID",
            Self::Extension => "extension",
        }
    }
}

impl fmt::Display for IdentifierKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no identifier.
#[derive(Debug, thiserror::Error)]
#[error("expected one of callID, platformCallID, nativeID, meetingID, extension")]
pub(crate) struct UnknownIdentifier;

impl FromStr for IdentifierKind {
    type Err = UnknownIdentifier;

    fn from_str(name: &str) -> Result<Self, UnknownIdentifier> {
        let is_it = |kind: &Self| kind.as_str().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(is_it).ok_or(UnknownIdentifier)
    }
}

/// One word of `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusWord {
    /// A call that has not ended and has no deletion that Graph has taken.
    Ongoing,
    /// The most recently ended call.
    Last,
    /// The first call that starts within a minute.
    Next,
}

impl StatusWord {
    const ALL: [Self; 3] = [Self::Ongoing, Self::Last, Self::Next];

    /// Its word in requests, columns and logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ongoing => "ongoing",
            Self::Last => "last",
            Self::Next => "next",
        }
    }

    /// Reads `status`: words between commas, blanks around them, in the order they are tried.
    ///
    /// # Errors
    ///
    /// When a word is none of ours, missing, or there twice.
    pub(crate) fn list(text: &str) -> Result<Vec<Self>, StatusError> {
        let mut words = Vec::new();
        for word in text.split(',') {
            let word = word.trim().parse()?;
            if words.contains(&word) {
                return Err(StatusError::Twice);
            }
            words.push(word);
        }
        Ok(words)
    }
}

impl fmt::Display for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StatusWord {
    type Err = StatusError;

    fn from_str(word: &str) -> Result<Self, StatusError> {
        let known = |known: &Self| known.as_str().eq_ignore_ascii_case(word);
        Self::ALL.into_iter().find(known).ok_or(StatusError::Unknown)
    }
}

/// Why a text is no list of status words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StatusError {
    /// A word is none of ours, or empty.
    #[error("takes ongoing, last and next, separated by commas")]
    Unknown,
    /// A word is there twice.
    #[error("takes each word once")]
    Twice,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Selector = Selector {
        call_id: None,
        platform_call_id: None,
        native_id: None,
        meeting_id: None,
        extension: None,
        status: None,
    };

    #[test]
    fn status_words_are_read_in_their_order_with_blanks_and_in_any_case() {
        use StatusWord::{Last, Next, Ongoing};
        assert_eq!(StatusWord::list("ongoing"), Ok(vec![Ongoing]));
        assert_eq!(StatusWord::list("ongoing, next"), Ok(vec![Ongoing, Next]));
        assert_eq!(StatusWord::list(" LAST ,Ongoing,next "), Ok(vec![Last, Ongoing, Next]));
    }

    #[test]
    fn a_status_that_is_no_list_of_our_words_is_an_error() {
        for text in
            ["recorded", "ongoing,recorded", "ongoing next", "last,", ",", "", "ongoing;last"]
        {
            assert_eq!(StatusWord::list(text), Err(StatusError::Unknown), "{text}");
        }
        assert_eq!(StatusWord::list("last, LAST"), Err(StatusError::Twice));
    }

    #[test]
    fn two_spellings_of_one_number_are_one_canonical_selector() {
        let by = |raw: &str| Selector {
            extension: Some(Number::parse(raw).unwrap()),
            status: Some(vec![StatusWord::Ongoing, StatusWord::Last]),
            ..NONE
        };
        assert_eq!(
            by("+49 30 1238856").canonical(),
            "extension=12:+49301238856;status=ongoing,last;"
        );
        assert_eq!(by("tel:+49301238856").canonical(), by(" 49301238856").canonical());
        assert_eq!(by("8856").names(), ["extension", "status"]);
    }

    #[test]
    fn a_value_that_reads_like_another_parameter_is_not_mistaken_for_it() {
        let one = Selector { call_id: Some("a;nativeID=1:b".into()), ..NONE };
        let two = Selector { call_id: Some("a".into()), native_id: Some("b".into()), ..NONE };
        assert_ne!(one.canonical(), two.canonical());
    }

    #[test]
    fn a_repaired_number_is_noted_without_its_value() {
        let by = |raw| Selector { extension: Some(Number::parse(raw).unwrap()), ..NONE };
        assert_eq!(by(" 49301238856").notes().len(), 1);
        assert!(!by(" 49301238856").notes()[0].contains("493"));
        assert!(by("+49301238856").notes().is_empty());
    }
}
