//! Phone numbers as integrations write them, and when two of them are equal.
//!
//! Equal means equal: the comparable form is compared whole, and a short extension meets a long
//! number only through a configured prefix. Nothing here compares the tails of numbers, because
//! two strangers may share one.

pub(crate) mod pattern;

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::id::canonical_guid;

/// What arrived in `extension`, or stands in a call's parties: raw and in comparable form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    /// As it arrived.
    pub(crate) raw: String,
    /// What is compared.
    pub(crate) normalised: String,
    /// A leading blank was taken for the `+` that a careless client had not escaped.
    pub(crate) repaired: bool,
}

/// A value that names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no number, SIP address or user id")]
pub(crate) struct NumberError;

impl Number {
    /// Reads a phone number, SIP address or user id; normalising what was normalised changes
    /// nothing.
    ///
    /// `raw` must not be trimmed before: a blank at its beginning may be all that a form decoder
    /// left of a `+`.
    ///
    /// # Errors
    ///
    /// When nothing is left to compare.
    pub(crate) fn parse(raw: &str) -> Result<Self, NumberError> {
        // Some have digits only; they are nobody's number all the same.
        if let Some(normalised) = canonical_guid(raw.trim()) {
            return Ok(Self { raw: raw.to_owned(), normalised, repaired: false });
        }
        let (written, scheme) = without_schemes(raw);
        let (base, parameters) = split_parameters(written);
        if base.trim().is_empty() {
            return Err(NumberError);
        }
        let mut repaired = false;
        let (mut normalised, takes_parameters) = if is_number(base) {
            let digits: String = base.chars().filter(|c| !is_punctuation(*c)).collect();
            if !digits.contains(|c: char| c != '+') {
                return Err(NumberError);
            }
            repaired = written.starts_with(' ') && lost_its_plus(&digits);
            (international(digits, repaired), true)
        } else {
            (base.trim().to_lowercase(), scheme || base.contains('@'))
        };
        if takes_parameters {
            for extension in parameters.split(';').filter_map(extension_parameter) {
                write!(normalised, ";ext={extension}").expect("a String takes every write");
            }
        } else {
            // An id that is no URI has no parameters: what looks like one is part of the id.
            normalised = written.trim().to_lowercase();
        }
        Ok(Self { raw: raw.to_owned(), normalised, repaired })
    }
}

/// Which long numbers a short one stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NumberingPlan {
    prefixes: Vec<String>,
}

impl NumberingPlan {
    /// Takes the prefixes of `numbering.prefixes`, in any usual spelling; one without a digit is
    /// left out.
    pub(crate) fn new(prefixes: &[String]) -> Self {
        let normalised = |prefix: &String| {
            let prefix = Number::parse(prefix).ok()?.normalised;
            // A prefix is too short for the rule that turns `00` into `+`; what it begins is not.
            Some(prefix.strip_prefix("00").map_or(prefix.clone(), |rest| format!("+{rest}")))
        };
        Self { prefixes: prefixes.iter().filter_map(normalised).collect() }
    }

    /// Every comparable form that is equal to `number`: its own first, then, for a short one, each
    /// prefix with it, and for a long one, what follows a prefix when that is short.
    pub(crate) fn alternatives(&self, number: &Number) -> Vec<String> {
        self.forms(&number.normalised)
    }

    /// As [`NumberingPlan::alternatives`], of a number that is in comparable form.
    pub(crate) fn forms(&self, own: &str) -> Vec<String> {
        let mut forms = vec![own.to_owned()];
        for prefix in &self.prefixes {
            let other = if is_short(own) {
                format!("{prefix}{own}")
            } else {
                match own.strip_prefix(prefix.as_str()) {
                    Some(rest) if is_short(rest) => rest.to_owned(),
                    _ => continue,
                }
            };
            if !forms.contains(&other) {
                forms.push(other);
            }
        }
        forms
    }
}

/// A number or address of which only the last three digits can be read, and not even its length.
pub(crate) fn masked(text: &str) -> String {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_digit).collect();
    let shown = &digits[digits.len().saturating_sub(3)..];
    format!("***{}", shown.iter().collect::<String>())
}

/// `text` behind its `tel:`, `sip:` or `sips:`, and whether there was one. The blank at the
/// beginning of what is left is kept.
fn without_schemes(text: &str) -> (&str, bool) {
    let mut rest = text;
    // Some gateways put `sip:` before a `tel:`.
    while let Some(inner) = without_scheme(rest.trim_start()) {
        rest = inner;
    }
    (rest, rest.len() != text.len())
}

fn without_scheme(text: &str) -> Option<&str> {
    ["tel:", "sip:", "sips:"].into_iter().find_map(|scheme| {
        let start = text.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then(|| &text[scheme.len()..])
    })
}

/// Splits before the first `;` behind the host, or behind the number when there is no host: a `;`
/// before the `@` belongs to the user part.
fn split_parameters(text: &str) -> (&str, &str) {
    let host = text.rfind('@').unwrap_or(0);
    match text[host..].find(';') {
        Some(at) => text.split_at(host + at),
        None => (text, ""),
    }
}

/// The value of `ext=…`, without punctuation; none for every other parameter.
fn extension_parameter(parameter: &str) -> Option<String> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("ext") {
        return None;
    }
    let value: String = value.to_lowercase().chars().filter(|c| !is_punctuation(*c)).collect();
    (!value.is_empty()).then_some(value)
}

fn is_number(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit() || "+*#".contains(c) || is_punctuation(c))
}

/// What people write between digits.
fn is_punctuation(c: char) -> bool {
    c.is_whitespace() || "().-".contains(c)
}

fn international(digits: String, repaired: bool) -> String {
    if repaired {
        return format!("+{digits}");
    }
    match digits.strip_prefix("00") {
        Some(rest) if leading_digits(rest) >= 8 => format!("+{rest}"),
        _ => digits,
    }
}

/// Whether digits behind a blank are an international number whose `+` was decoded to it.
fn lost_its_plus(digits: &str) -> bool {
    digits.starts_with(|c: char| ('1'..='9').contains(&c)) && leading_digits(digits) >= 8
}

fn leading_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// A number that is dialled inside one site: digits only, and at most seven of them.
fn is_short(text: &str) -> bool {
    (1..=7).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normalised(raw: &str) -> String {
        Number::parse(raw).unwrap().normalised
    }

    #[test]
    fn spellings_of_one_number_are_equal() {
        for raw in [
            "+49301238856",
            " +49 (30) 123-88.56 ",
            "tel:+49301238856",
            "TEL:+49-30-123-8856;phone-context=example.com",
            "0049301238856",
            "sip:+49301238856;user=phone",
            "sip:tel:+49301238856",
            "+49\u{a0}30 1238856",
        ] {
            assert_eq!(normalised(raw), "+49301238856", "{raw}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_compared_whole_and_without_case() {
        for (raw, expected) in [
            ("8856", "8856"),
            ("*21#", "*21#"),
            ("0012345", "0012345"),
            ("00+12345678", "00+12345678"),
            ("sip:Alice@Example.com", "alice@example.com"),
            ("sips:alice@example.com;transport=tls", "alice@example.com"),
            ("alice@example.com;transport=tls", "alice@example.com"),
            ("sip:+4930;ext=5@example.com", "+4930;ext=5@example.com"),
            ("sip:alice@example.com;ext=5", "alice@example.com;ext=5"),
            ("8A34A46B-3D17-4ADC-8DCE-DC4E7D572698", "8a34a46b-3d17-4adc-8dce-dc4e7d572698"),
            ("agent;7", "agent;7"),
            ("agent;ext=7", "agent;ext=7"),
        ] {
            assert_eq!(normalised(raw), expected, "{raw}");
        }
    }

    #[test]
    fn a_user_id_in_any_spelling_is_no_number_even_of_digits_only() {
        let canonical = "11111111-1111-1111-1111-111111111111";
        for raw in [
            canonical.to_owned(),
            canonical.replace('-', ""),
            format!("{{{canonical}}}"),
            format!(" {canonical}"),
        ] {
            assert_eq!(normalised(&raw), canonical, "{raw}");
        }
        assert_eq!(
            normalised("{8A34A46B3D174ADC8DCEDC4E7D572698}"),
            normalised("8a34a46b-3d17-4adc-8dce-dc4e7d572698")
        );
    }

    #[test]
    fn an_extension_behind_a_number_stays_significant() {
        assert_eq!(normalised("tel:+4930123;EXT=1-2;isub=9"), "+4930123;ext=12");
        assert_ne!(normalised("+4930123;ext=12"), normalised("+4930123"));
        assert_eq!(normalised("+4930123;ext="), "+4930123");
    }

    #[test]
    fn a_plus_that_arrived_as_a_blank_is_repaired() {
        for (raw, expected, repaired) in [
            (" 49301238856", "+49301238856", true),
            (" 49 (30) 123-8856", "+49301238856", true),
            ("tel: 49301238856", "+49301238856", true),
            (" 49301238856;ext=12", "+49301238856;ext=12", true),
            (" 4930123", "4930123", false),
            (" 0301238856", "0301238856", false),
            (" +49301238856", "+49301238856", false),
            ("49301238856", "49301238856", false),
            (" alice1234567890", "alice1234567890", false),
        ] {
            let number = Number::parse(raw).unwrap();
            assert_eq!(
                (number.normalised.as_str(), number.repaired),
                (expected, repaired),
                "{raw}"
            );
            assert_eq!(number.raw, raw);
        }
    }

    #[test]
    fn a_value_that_names_nobody_is_an_error() {
        for raw in ["", "  ", "tel:", "sip: ", "(-)", "+", ";ext=12", "sip:;x"] {
            assert_eq!(Number::parse(raw), Err(NumberError), "{raw:?}");
        }
    }

    #[test]
    fn a_short_number_meets_a_long_one_only_through_a_prefix() {
        let plan = NumberingPlan::new(&["+49 30 123".to_owned(), "0049-40-9".to_owned()]);
        let forms = |raw| plan.alternatives(&Number::parse(raw).unwrap());
        assert_eq!(forms("8856"), ["8856", "+49301238856", "+494098856"]);
        assert_eq!(forms("+49301238856"), ["+49301238856", "8856"]);
        assert_eq!(forms("+49401238856"), ["+49401238856"]);
        assert_eq!(forms("12345678"), ["12345678"]);
        assert_eq!(forms("+4930123"), ["+4930123"]);
        assert_eq!(forms("+4930123;ext=8856"), ["+4930123;ext=8856"]);
        assert_eq!(forms("alice@example.com"), ["alice@example.com"]);
    }

    #[test]
    fn without_a_plan_a_number_is_equal_to_itself_only() {
        let plan = NumberingPlan::new(&["---".to_owned()]);
        assert_eq!(plan.alternatives(&Number::parse("8856").unwrap()), ["8856"]);
    }

    #[test]
    fn a_mask_shows_the_last_three_digits() {
        assert_eq!(masked("+49 (30) 123-8856"), "***856");
        assert_eq!(masked("+49301238856;ext=12"), "***612");
        assert_eq!(masked("12"), "***12");
        assert_eq!(masked("alice@example.com"), "***");
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(
            raw in "(sip:|TEL:|sips:| |;|ext=|ext|=|@|\\+|00|[0-9a-zA-Z().*#-]|\\PC){0,24}",
        ) {
            if let Ok(number) = Number::parse(&raw) {
                let again = Number::parse(&number.normalised).unwrap();
                prop_assert_eq!(&again.normalised, &number.normalised);
                prop_assert!(!again.repaired);
            }
        }

        #[test]
        fn no_text_makes_it_panic(raw in any::<String>()) {
            let _ = Number::parse(&raw).map(|number| {
                NumberingPlan::new(std::slice::from_ref(&raw)).alternatives(&number)
            });
            prop_assert!(masked(&raw).len() <= 6);
        }
    }
}
